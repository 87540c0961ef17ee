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
from toy import toy_dataset

from stinger.errors import InputError, UsageError
from stinger.models.families import FAMILIES, LEAF_STEPS
from stinger.models.train import train
from stinger.models.validate import MAX_CALIBRATION

TWO, FOUR = toy_dataset(classes=2), toy_dataset(classes=4, per_class=60)


@pytest.mark.parametrize("family", FAMILIES)
def test_two_classes_learn_and_are_measured_on_held_out_windows(family):
    model = train(TWO, family)
    truth = TWO.labels[TWO.held_out]
    probability = model.predict_proba(TWO.windows[TWO.held_out])
    found = model.spec.metrics
    assert found["accuracy"] == np.mean(probability.argmax(axis=1) == truth)
    assert found["balanced_accuracy"] == metrics.balanced_accuracy_score(truth, probability.argmax(axis=1))
    assert found["pr_auc"] == metrics.average_precision_score(truth, probability[:, 1])
    assert found["roc_auc"] > 0.75
    assert found["base_rate"] == 0.5
    assert (found["train_windows"], found["held_out_windows"]) == (180, 60)


@pytest.mark.parametrize("family", FAMILIES)
def test_four_classes(family):
    model = train(FOUR, family, features="summary", name="motion")
    assert model.spec.name == "motion"
    assert model.spec.metrics["accuracy"] > 0.4
    assert "pr_auc" not in model.spec.metrics
    np.testing.assert_allclose(model.predict_proba(FOUR.windows).sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_held_out_windows_do_not_touch_the_fit(family):
    other = np.where(TWO.held_out[:, None, None], 0, TWO.windows).astype(np.int16)
    a, b = train(TWO, family), train(replace(TWO, windows=other), family)
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
    model = train(TWO, "mlp", options={"hidden_layer_sizes": [8, 4], "max_iter": 200})
    assert [w.shape for w in model.estimator[-1].coefs_] == [(30, 8), (8, 4), (4, 1)]
    assert model.spec.options == {"hidden_layer_sizes": [8, 4]}
    assert json.loads(json.dumps(model.spec.to_json()))["options"] == {"hidden_layer_sizes": [8, 4]}
    assert train(TWO, "mlp", options={"hidden_layer_sizes": [64, 32]}).spec.options == {}


def test_seed_changes_the_fit_and_repeats_it():
    features = train(TWO, "mlp").spec.feature_set.compute(TWO.windows)
    runs = [train(TWO, "mlp", seed=s).predict_proba_features(features) for s in (1, 1, 2)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0] != runs[2]).any()


def test_weights_do_not_depend_on_the_number_of_threads():
    program = (
        "import hashlib; from toy import toy_dataset; from stinger.models.train import train\n"
        "from stinger.models.archive import pack\n"
        "d = toy_dataset(per_class=400)\n"
        "print([hashlib.sha256(pack(train(d, f).estimator)).hexdigest() for f in ('logreg', 'mlp')])"
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
        ({"family": "svm"}, "known: logreg, mlp, rf"),
        ({"features": "flatten"}, "known: summary, rich"),
        ({"name": "two words"}, "not a C identifier"),
        ({"name": "x" * 49}, "not a C identifier"),
        ({"options": {"kernel": "rbf"}}, "no option 'kernel'; it takes C, max_iter"),
        ({"options": {"C": -1.0}}, "options do not fit"),
        ({"family": "mlp", "options": {"hidden_layer_sizes": 5}}, "options do not fit"),
    ],
)
def test_unusable_arguments_are_refused_in_one_line(arguments, message):
    with pytest.raises(UsageError, match=message) as caught:
        train(TWO, **{"family": "logreg", **arguments})
    assert "\n" not in str(caught.value)
