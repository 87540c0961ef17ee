"""The table of families: what each is built from, needs and takes."""

from __future__ import annotations

import importlib.util
import warnings
from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import average_precision_score
from sklearn.tree import DecisionTreeClassifier
from toy import toy_dataset

from stinger.errors import UsageError
from stinger.features.sets import FEATURE_SETS, feature_set
from stinger.models.families import FAMILIES, LEAF_STEPS, family
from stinger.models.torch_net import TorchCNNClassifier

DATA = toy_dataset(classes=3, per_class=40)


def test_every_family_has_its_name_and_is_buildable_and_cloneable():
    assert list(FAMILIES) == ["logreg", "ridge", "mlp", "rf", "et", "hgb", "dt", "xgb", "torch-mlp", "torch-cnn"]
    for name, kind in FAMILIES.items():
        assert family(name) is kind
        assert kind.name == name
        assert kind.description
        estimator = clone(kind.build(7, channels=3))
        params = estimator.get_params()
        for option, default in kind.defaults.items():
            assert params.get(option, params.get(f"classify__{option}")) == default
        if name != "ridge":
            assert params.get("random_state", params.get("classify__random_state")) == 7


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_predicts_any_number_of_classes(name):
    kind = FAMILIES[name]
    features = feature_set((kind.features or ("summary",))[0], [c.name for c in DATA.channels], DATA.window)
    X = features.compute(DATA.windows).astype(np.float64)
    small = {"max_iter", "epochs", "n_estimators"} & set(kind.defaults)
    estimator = kind.build(1, channels=6, **dict.fromkeys(small, 10))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator.fit(X, DATA.labels.astype(np.int64))
    kind.finish(estimator)
    probability = estimator.predict_proba(X)
    assert probability.shape == (len(X), 3)
    np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=0, atol=1e-9)
    assert np.mean(probability.argmax(axis=1) == DATA.labels) > 0.45


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("et", ExtraTreesClassifier(50, min_samples_leaf=2, max_depth=10, random_state=1)),
        ("dt", DecisionTreeClassifier(min_samples_leaf=5, max_depth=8, random_state=1)),
    ],
)
def test_leaves_of_trees_are_exact_and_close_to_scikit_learn(name, plain):
    features = feature_set("rich", [c.name for c in DATA.channels], DATA.window)
    X, y = features.compute(DATA.windows).astype(np.float64), DATA.labels.astype(np.int64)
    rounded = FAMILIES[name].build(1).fit(X, y)
    FAMILIES[name].finish(rounded)
    for tree in getattr(rounded, "estimators_", [rounded]):
        steps = tree.tree_.value * LEAF_STEPS
        np.testing.assert_array_equal(steps, np.rint(steps))
        np.testing.assert_array_equal(steps.sum(axis=2), LEAF_STEPS)
    change = np.abs(plain.fit(X, y).predict_proba(X) - rounded.predict_proba(X))
    assert 0 < change.max() < 1 / LEAF_STEPS


@pytest.mark.parametrize(("name", "module"), [("torch-mlp", "torch"), ("torch-cnn", "torch"), ("xgb", "xgboost")])
def test_a_missing_extra_is_named(monkeypatch, name, module):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: None if n == module else found(n, *a))
    with pytest.raises(
        UsageError, match=rf"{name} needs {module}; install stinger-ml\[{FAMILIES[name].extra}\]"
    ) as caught:
        FAMILIES[name].build(1)
    assert "\n" not in str(caught.value)
    assert FAMILIES[name].unfitted(1) is not None


def test_options_that_a_family_does_not_have_are_refused():
    for name, kind in FAMILIES.items():
        with pytest.raises(UsageError, match=f"{name} has no option 'kernel'; it takes"):
            kind.build(1, kernel="rbf")


def test_convolutions_look_at_samples_and_at_nothing_else():
    kind = FAMILIES["torch-cnn"]
    for features in FEATURE_SETS:
        if features in ("flatten", "float-flatten"):
            kind.check_features(features)
        else:
            with pytest.raises(UsageError, match="torch-cnn takes flatten or float-flatten features, not"):
                kind.check_features(features)
        FAMILIES["rf"].check_features(features)
    assert isinstance(kind.build(1, channels=3), TorchCNNClassifier)
    assert kind.build(1, channels=3).channels == 3
    assert kind.build(1).channels == 6


def test_pr_auc_of_a_rare_class_is_far_above_chance():
    """Unweighted fits rank a rare class well; every family that takes any features does."""
    rare = toy_dataset(classes=2, per_class=150)
    keep = (rare.labels == 0) | (np.arange(len(rare.labels)) % 6 == 1)
    rare = replace(rare, windows=rare.windows[keep], labels=rare.labels[keep])
    X = feature_set("rich", [c.name for c in rare.channels], rare.window).compute(rare.windows).astype(np.float64)
    half = np.arange(len(X)) % 8 < 4
    for name, kind in FAMILIES.items():
        if kind.features is None:
            estimator = kind.build(1).fit(X[half], rare.labels[half].astype(np.int64))
            kind.finish(estimator)
            score = average_precision_score(rare.labels[~half], estimator.predict_proba(X[~half])[:, 1])
            assert score > 2 * rare.labels[~half].mean(), name
