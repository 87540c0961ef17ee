"""Families and training: what is fitted, what is measured, what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from toy import toy_dataset

from stinger.errors import InputError, UsageError
from stinger.features.sets import feature_set
from stinger.models.families import FAMILIES, LEAF_STEPS
from stinger.models.threshold import best_f1
from stinger.models.train import fit_rows, train
from stinger.models.validate import MAX_CALIBRATION
from stinger.windows.folds import group_folds

TWO, FOUR = toy_dataset(classes=2), toy_dataset(classes=4, per_class=60)


def features_for(family: str) -> str:
    return (FAMILIES[family].features or ("rich",))[0]


#: Enough for what is tested here.
QUICK = {"torch-mlp": {"epochs": 8}, "torch-cnn": {"epochs": 20, "filters": (8, 16)}, "hgb": {"max_iter": 30}}


@pytest.mark.parametrize("family", FAMILIES)
def test_two_classes_learn_and_are_measured_on_held_out_windows(family):
    model = train(TWO, family, features=features_for(family), options=QUICK.get(family), folds=2)
    truth = TWO.labels[TWO.held_out]
    probability = model.predict_proba(TWO.windows[TWO.held_out])
    found = model.spec.metrics
    assert found["accuracy"] == np.mean(probability.argmax(axis=1) == truth)
    assert found["balanced_accuracy"] == metrics.balanced_accuracy_score(truth, probability.argmax(axis=1))
    assert found["pr_auc"] == metrics.average_precision_score(truth, probability[:, 1])
    assert found["roc_auc"] > 0.7
    answers = probability[:, 1] >= model.spec.threshold
    assert found["f1"] == metrics.f1_score(truth, answers)
    assert found["precision"] == metrics.precision_score(truth, answers, zero_division=0.0)
    assert found["recall"] == metrics.recall_score(truth, answers)
    assert found["threshold_folds"] == 2
    assert found["base_rate"] == 0.5
    assert (found["train_windows"], found["held_out_windows"]) == (180, 60)


@pytest.mark.parametrize("family", FAMILIES)
def test_four_classes(family):
    features = "flatten" if features_for(family) == "flatten" else "summary"
    model = train(FOUR, family, features=features, name="motion", options=QUICK.get(family))
    assert model.spec.name == "motion"
    found = model.spec.metrics
    assert found["accuracy"] > 0.4
    guesses = model.predict_proba(FOUR.windows[FOUR.held_out]).argmax(axis=1)
    assert found["macro_f1"] == metrics.f1_score(FOUR.labels[FOUR.held_out], guesses, average="macro")
    assert "pr_auc" not in found
    assert model.spec.threshold == 0.5
    np.testing.assert_allclose(model.predict_proba(FOUR.windows).sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_held_out_windows_do_not_touch_the_fit(family):
    other = np.where(TWO.held_out[:, None, None], 0, TWO.windows).astype(np.int16)
    how = {"features": features_for(family), "options": QUICK.get(family), "folds": 0}
    a, b = (train(data, family, **how) for data in (TWO, replace(TWO, windows=other)))
    np.testing.assert_array_equal(a.predict_proba(TWO.windows), b.predict_proba(TWO.windows))


def test_rf_leaves_are_exact_and_forest_is_close_to_scikit_learn():
    rounded = train(FOUR, "rf")
    for tree in rounded.estimator.estimators_:
        steps = tree.tree_.value * LEAF_STEPS
        np.testing.assert_array_equal(steps, np.rint(steps))
        np.testing.assert_array_equal(steps.sum(axis=2), LEAF_STEPS)
    plain = FAMILIES["rf"].build(1)
    features = rounded.spec.feature_set.compute(FOUR.windows).astype(np.float64)
    plain.fit(features[~FOUR.held_out], FOUR.labels[~FOUR.held_out])
    change = np.abs(plain.predict_proba(features) - rounded.estimator.predict_proba(features))
    assert 0 < change.max() < 1 / LEAF_STEPS


def test_calibration_is_the_training_features():
    model = train(TWO, "logreg")
    expected = model.spec.feature_set.compute(TWO.windows[~TWO.held_out])
    np.testing.assert_array_equal(model.calibration, expected)
    big = toy_dataset(per_class=3200, window=2)
    assert MAX_CALIBRATION / 2 < len(train(big, "logreg").calibration) <= MAX_CALIBRATION


def test_options_reach_the_estimator_and_only_differences_are_kept():
    model = train(TWO, "mlp", options={"hidden_layer_sizes": [8, 4], "max_iter": 200}, folds=0)
    assert [w.shape for w in model.estimator[-1].coefs_] == [(30, 8), (8, 4), (4, 1)]
    assert model.spec.options == {"hidden_layer_sizes": [8, 4]}
    assert json.loads(json.dumps(model.spec.to_json()))["options"] == {"hidden_layer_sizes": [8, 4]}
    assert train(TWO, "mlp", options={"hidden_layer_sizes": [64, 32]}, folds=0).spec.options == {}


def test_seed_changes_the_fit_and_repeats_it():
    features = train(TWO, "mlp", folds=0).spec.feature_set.compute(TWO.windows)
    runs = [train(TWO, "mlp", seed=s, folds=0).predict_proba_features(features) for s in (1, 1, 2)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0] != runs[2]).any()


def test_weights_do_not_depend_on_the_number_of_threads():
    program = (
        "import hashlib; from toy import toy_dataset; from stinger.models.train import train\n"
        "from stinger.models.archive import pack\n"
        "d = toy_dataset(per_class=400)\n"
        "print([hashlib.sha256(pack(train(d, f, folds=0).estimator)).hexdigest() for f in ('logreg', 'mlp')])"
    )
    outputs = set()
    for threads in ("1", "2"):
        result = subprocess.run(
            [sys.executable, "-c", program],
            env={"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads, "PYTHONPATH": str(Path(__file__).parent)},
            capture_output=True,
            text=True,
            check=True,
        )
        outputs.add(result.stdout)
    assert len(outputs) == 1


@pytest.mark.parametrize("family", ["logreg", "hgb"])
def test_embargoed_windows_are_not_trained_on(family):
    embargoed = (TWO.groups % 4 == 1) & (np.arange(len(TWO)) % 3 == 0)
    spoilt = np.where(embargoed[:, None, None], 0, TWO.windows).astype(np.int16)
    marked = replace(TWO, embargoed=embargoed)
    a, b = train(marked, family), train(replace(marked, windows=spoilt), family)
    np.testing.assert_array_equal(a.predict_proba(TWO.windows), b.predict_proba(TWO.windows))
    assert a.spec.threshold == b.spec.threshold
    assert a.spec.metrics == b.spec.metrics
    assert a.spec.metrics["train_windows"] == 180 - embargoed.sum()
    without = train(marked.without_embargoed(), family)
    np.testing.assert_array_equal(a.predict_proba(TWO.windows), without.predict_proba(TWO.windows))


def test_fit_rows_fits_exactly_those_rows():
    rows = TWO.groups % 5 != 2
    model = fit_rows(TWO, rows, "logreg", features="summary")
    features = model.spec.feature_set.compute(TWO.windows).astype(np.float64)
    direct = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(features[rows], TWO.labels[rows])
    np.testing.assert_allclose(model.predict_proba(TWO.windows), direct.predict_proba(features), atol=1e-12)
    assert model.spec.metrics == {}
    assert model.spec.threshold == 0.5
    assert fit_rows(TWO, rows, "logreg", features="summary", folds=3).spec.threshold != 0.5
    with pytest.raises(InputError, match="'class 1' has no training windows"):
        fit_rows(TWO, TWO.labels == 0, "logreg")


def test_a_model_knows_the_recordings_it_was_trained_on():
    session = TWO.groups % 3
    inputs = [{"name": str(i), "sha256": f"{i:064x}"} for i in range(3)]
    data = replace(TWO, session=session, held_out=session == 1, meta={"inputs": inputs})
    assert train(data, "logreg").spec.trained_on == (f"{0:064x}", f"{2:064x}")
    assert fit_rows(data, session == 1, "logreg").spec.trained_on == (f"{1:064x}",)
    assert train(TWO, "logreg").spec.trained_on == ()
    nameless = replace(data, meta={"inputs": [{"name": "theirs"}] * 3})
    assert train(nameless, "logreg").spec.trained_on == ()


def test_the_threshold_comes_from_folds_of_the_training_part():
    model = train(TWO, "logreg")
    rows = TWO.training
    features = model.spec.feature_set.compute(TWO.windows).astype(np.float64)
    probability = np.full(len(TWO), np.nan)
    for part, other in group_folds(TWO, rows, 5, seed=1):
        direct = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(
            features[part], TWO.labels[part]
        )
        probability[other] = direct.predict_proba(features[other])[:, 1]
    assert np.isfinite(probability[rows]).all()
    assert model.spec.threshold == best_f1(TWO.labels[rows], probability[rows])
    other_test = np.where(TWO.held_out, 1 - TWO.labels, TWO.labels).astype(np.uint8)
    assert train(replace(TWO, labels=other_test), "logreg").spec.threshold == model.spec.threshold


def test_a_class_with_one_group_keeps_the_default_threshold():
    few = replace(TWO, groups=np.where(TWO.held_out, 0, np.where(TWO.labels == 1, 1, TWO.groups)))
    model = train(few, "logreg")
    assert (model.spec.threshold, model.spec.metrics["threshold_folds"]) == (0.5, 0)
    two = replace(TWO, groups=np.where(TWO.held_out, 0, np.where(TWO.labels == 1, 1 + TWO.groups % 2, TWO.groups)))
    assert train(two, "logreg").spec.metrics["threshold_folds"] == 2


@pytest.mark.parametrize("part", ["training", "held-out"])
def test_features_that_are_not_numbers_are_refused_by_name(monkeypatch, part):
    chosen = feature_set("float-rich", [c.name for c in TWO.channels], TWO.window)
    first = TWO.windows[TWO.training if part == "training" else TWO.held_out][0]

    class WithGap:
        def __getattr__(self, name):
            return getattr(chosen, name)

        def compute(self, windows):
            vectors = chosen.compute(windows)
            vectors[(windows == first).all(axis=(1, 2)), 3] = np.nan
            return vectors

    monkeypatch.setattr("stinger.models.train.feature_set", lambda *_: WithGap())
    with pytest.raises(InputError, match=f"feature 'mean_gx' is not a number in 1 of .* {part} windows") as caught:
        train(TWO, "logreg", features="float-rich")
    assert "\n" not in str(caught.value)


def test_shuffled_labels_give_chance():
    data = toy_dataset(per_class=500)
    areas = []
    for seed in range(5):
        labels = np.random.default_rng(seed).permutation(data.labels)
        areas.append(train(replace(data, labels=labels), "logreg", folds=0).spec.metrics["roc_auc"])
    # 250 of each class are held out: one area's standard deviation is 0.03, the mean's 0.012.
    assert abs(np.mean(areas) - 0.5) < 0.05
    assert train(data, "logreg", folds=0).spec.metrics["roc_auc"] > 0.8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"held_out": np.zeros(240, bool)}, "no held-out windows"),
        ({"held_out": np.ones(240, bool)}, "no training windows"),
        ({"labels": np.zeros(240, np.uint8)}, "'class 1' has no training windows"),
        ({"labels": TWO.labels * (~TWO.held_out)}, "'class 1' has no held-out windows"),
        ({"labels": TWO.labels + np.uint8(1)}, "label 2 of 2 classes"),
        ({"classes": ("only",), "labels": np.zeros(240, np.uint8)}, "needs two"),
        ({"classes": ("a", "b", "c")}, "'c' has no training windows"),
    ],
)
def test_degenerate_datasets_are_refused_in_one_line(change, message):
    with pytest.raises(InputError, match=message) as caught:
        train(replace(TWO, **change), "logreg")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"family": "svm"}, "known: logreg, ridge, mlp, rf"),
        ({"features": "spectrum"}, "known: summary, rich"),
        ({"family": "torch-cnn"}, "takes flatten or float-flatten features, not rich"),
        ({"name": "two words"}, "not a C identifier"),
        ({"name": "x" * 49}, "not a C identifier"),
        ({"options": {"kernel": "rbf"}}, "no option 'kernel'; it takes C, max_iter"),
        ({"options": {"C": -1.0}}, "cannot be fitted like this"),
        ({"family": "mlp", "options": {"hidden_layer_sizes": 5}}, "cannot be fitted like this"),
    ],
)
def test_unusable_arguments_are_refused_in_one_line(arguments, message):
    with pytest.raises(UsageError, match=message) as caught:
        train(TWO, **{"family": "logreg", **arguments})
    assert "\n" not in str(caught.value)
