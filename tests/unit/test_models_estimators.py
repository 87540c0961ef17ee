"""Our own estimators: scikit-learn's checks of its interface, and what each promises beyond it."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from stinger.models.boosted import HistGradientTreesClassifier, Trees, XGBTreesClassifier
from stinger.models.calibrated import CalibratedRidgeClassifier
from stinger.models.torch_net import TorchCNNClassifier, TorchMLPClassifier

#: What scikit-learn itself leaves out here: it needs pandas, or SciPy's array API switched on.
LEFT_OUT = {"check_array_api_input", "check_classifier_data_not_an_array"}
OURS = {
    "ridge": CalibratedRidgeClassifier(),
    "hgb": HistGradientTreesClassifier(max_iter=20),
    "xgb": XGBTreesClassifier(n_estimators=20),
    "torch-mlp": TorchMLPClassifier((8,), epochs=15),
    "torch-cnn": TorchCNNClassifier(filters=(4, 8), epochs=15),
}


def rows(classes: int, n: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers that overlap, like features."""
    X, y = make_classification(n, 12, n_informative=6, n_classes=classes, flip_y=0.15, random_state=seed)
    return np.rint(X * 500), y


@pytest.mark.parametrize("name", OURS)
def test_scikit_learn_accepts_the_estimator(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(OURS[name], on_skip=None, on_fail=None)
    unhappy = {r["check_name"]: r["exception"] for r in results if r["status"] != "passed"}
    assert {check: reason for check, reason in unhappy.items() if check not in LEFT_OUT} == {}
    assert len(results) - len(unhappy) > 40


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", OURS)
def test_works_in_pipelines_searches_and_cross_validation(name, classes):
    X, y = rows(classes, 150)
    y = np.array(["left", "middle", "right"])[y]
    pipeline = make_pipeline(StandardScaler(), OURS[name])
    scores = cross_validate(pipeline, X, y, cv=3, scoring="neg_log_loss")["test_score"]
    assert np.isfinite(scores).all()
    option = {"ridge": "alpha", "torch-mlp": "alpha", "torch-cnn": "alpha"}.get(name, "learning_rate")
    search = GridSearchCV(OURS[name], {option: [0.01, 0.1]}, cv=2).fit(X, y)
    assert search.best_params_.keys() == {option}
    probability = search.predict_proba(X)
    assert probability.shape == (150, classes)
    np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=0, atol=1e-12)
    assert (search.predict(X) == np.unique(y)[probability.argmax(axis=1)]).all()


@pytest.mark.parametrize("name", OURS)
def test_one_class_is_refused(name):
    with pytest.raises(ValueError, match="two classes"):
        OURS[name].fit(np.zeros((5, 6)), np.ones(5, int))


def test_ridge_scores_are_scikit_learns_and_its_probabilities_mean_something():
    X, y = rows(2, 9000)
    X = X / X.std(axis=0)
    ours, theirs = CalibratedRidgeClassifier().fit(X[:1000], y[:1000]), RidgeClassifier().fit(X[:1000], y[:1000])
    score, p = theirs.decision_function(X[1000:]), ours.predict_proba(X[1000:])[:, 1]
    assert roc_auc_score(y[1000:], p) == pytest.approx(roc_auc_score(y[1000:], score), abs=1e-9)
    # Of the rows that are given about p, the share p is positive: within a few points over all tenths of p.
    tenth = np.minimum((p * 10).astype(int), 9)
    off = [abs((y[1000:] - p)[tenth == part].sum()) for part in range(10)]
    assert sum(off) / len(p) < 0.05
    logistic = LogisticRegression().fit(X[:1000], y[:1000]).predict_proba(X[1000:])[:, 1]
    naive = 1 / (1 + np.exp(-(score + 1) / 2))  # the sigmoid of a regression of 0 and 1
    assert log_loss(y[1000:], p) < log_loss(y[1000:], logistic) + 0.02
    assert log_loss(y[1000:], p) < log_loss(y[1000:], naive) - 0.02


@pytest.mark.parametrize("classes", [2, 5])
def test_ridge_is_one_linear_layer(classes):
    X, y = rows(classes, 600)
    model = CalibratedRidgeClassifier().fit(X, y)
    logits = X @ model.coef_.T + model.intercept_
    assert logits.shape[1] == (1 if classes == 2 else classes)
    full = np.column_stack([np.zeros(len(X)), logits]) if classes == 2 else logits
    share = np.exp(full - full.max(axis=1, keepdims=True))
    np.testing.assert_allclose(model.predict_proba(X), share / share.sum(axis=1, keepdims=True), atol=1e-12)


def test_ridge_is_sure_of_nothing_on_noise_and_not_too_sure_of_what_is_obvious():
    random = np.random.default_rng(0)
    X, y = random.normal(size=(500, 20)), random.random(500) < 0.2
    p = CalibratedRidgeClassifier().fit(X, y).predict_proba(random.normal(size=(500, 20)))[:, 1]
    assert abs(p.mean() - 0.2) < 0.05
    assert p.max() < 0.5
    obvious = np.repeat([[-1.0], [1.0]], 50, axis=0)
    p = CalibratedRidgeClassifier().fit(obvious, obvious[:, 0] > 0).predict_proba(obvious)
    assert 0.9 < p.max() < 1


def test_ridge_needs_two_rows_of_each_class():
    with pytest.raises(ValueError, match="2 rows of each class"):
        CalibratedRidgeClassifier().fit(np.arange(6.0)[:, None], [0, 0, 0, 0, 0, 1])
    assert CalibratedRidgeClassifier().fit(np.arange(6.0)[:, None], [0, 0, 0, 0, 1, 1]).predict([[0.0]]) == [0]


@pytest.mark.parametrize("classes", [2, 4])
def test_hgb_is_scikit_learns_bit_for_bit(classes):
    X, y = rows(classes)
    X = X * 1.1  # not only whole numbers
    ours = HistGradientTreesClassifier(max_iter=30, random_state=5).fit(X[:1500], y[:1500])
    theirs = HistGradientBoostingClassifier(max_iter=30, early_stopping=False).fit(X[:1500], y[:1500])
    np.testing.assert_array_equal(ours.predict_proba(X), theirs.predict_proba(X))
    np.testing.assert_array_equal(ours.decision_function(X), theirs.decision_function(X))
    assert ours.n_iter_ == 30
    assert ours.trees_.sound(12, 1 if classes == 2 else classes)


@pytest.mark.parametrize("classes", [2, 4])
def test_xgb_is_xgboosts_to_float32(classes):
    X, y = rows(classes)
    X[::3] *= 1 / 3
    options = {"learning_rate": 0.1, "n_estimators": 40, "max_depth": 5, "random_state": 3}
    ours = XGBTreesClassifier(**options).fit(X[:1500], y[:1500])
    theirs = xgboost.XGBClassifier(**options, base_score=0.5, tree_method="hist", n_jobs=1).fit(X[:1500], y[:1500])
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=0, atol=2e-6)
    assert ours.trees_.sound(12, 1 if classes == 2 else classes)


def test_xgb_goes_right_exactly_at_a_threshold():
    X = np.array([0.1, 0.1, 0.3, 0.3] * 20)[:, None]
    ours = XGBTreesClassifier(n_estimators=1, min_child_weight=0).fit(X, X[:, 0] > 0.2)
    tree = json.loads(
        bytes(
            xgboost.train(
                {"objective": "binary:logistic", "base_score": 0.5, "eta": 0.1, "min_child_weight": 0},
                xgboost.DMatrix(X, label=X[:, 0] > 0.2),
                1,
            ).save_raw("json")
        )
    )["learner"]["gradient_booster"]["model"]["trees"][0]
    edge = float(np.float32(tree["split_conditions"][0]))
    below = float(np.nextafter(np.float32(edge), np.float32(0)))
    left, right = ours.decision_function([[below], [edge]])
    assert left < 0 < right


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_trees_sum_what_a_walk_along_them_finds(data):
    """Random sound trees against the definition, walked one row and one tree at a time."""
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    outputs, rounds = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    left, right, root = [], [], []
    for _ in range(outputs * rounds):
        root.append(len(left))
        left.append(-1), right.append(-1)
        for _ in range(data.draw(st.integers(0, 6))):
            leaves = [i for i in range(root[-1], len(left)) if left[i] < 0]
            at = int(random.choice(leaves))
            left[at], right[at] = len(left), len(left) + 1
            left += [-1, -1]
            right += [-1, -1]
    n = len(left)
    leaf = np.array(left) < 0
    trees = Trees(
        feature=np.where(leaf, 0, random.integers(0, 4, n)).astype(np.int32),
        threshold=np.where(leaf, 0, random.integers(-3, 4, n)).astype(np.float64),
        left=np.array(left, np.int32),
        right=np.array(right, np.int32),
        value=np.where(leaf, random.normal(size=n), 0.0),
        root=np.array(root, np.int32),
        baseline=random.normal(size=outputs),
    )
    assert trees.sound(4, outputs)
    X = random.integers(-4, 5, (7, 4)).astype(np.float64)
    expected = np.tile(trees.baseline, (len(X), 1))
    for i, x in enumerate(X):
        for number, start in enumerate(root):
            node = start
            while left[node] >= 0:
                node = left[node] if x[trees.feature[node]] <= trees.threshold[node] else right[node]
            expected[i, number % outputs] += trees.value[node]
    np.testing.assert_array_equal(trees.sums(X), expected)
