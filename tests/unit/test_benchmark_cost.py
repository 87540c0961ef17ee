"""What the board needs, estimated: held to what the linker and the emulated board say."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from toy import channels_for, toy_dataset

from stinger.errors import InputError
from stinger.features.sets import ON_DEVICE
from stinger.models.train import train
from stinger.workflow.benchmark_cost import TOLERANCE, estimate, mean_steps, measure, on_board
from stinger_export.integer.quantise import quantise

CASES = {
    "logreg, three channels": ("logreg", "rich", {}, {"channels": 3, "window": 100}),
    "logreg, many classes": ("logreg", "summary", {}, {"classes": 6}),
    "mlp": ("mlp", "rich", {}, {}),
    "logreg, coupled": ("logreg", "coupled", {}, {"window": 100}),
    "logreg, invariant": ("logreg", "invariant", {}, {"window": 100, "classes": 3}),
    "mlp, invariant_rich": ("mlp", "invariant_rich", {"hidden_layer_sizes": (16,)}, {}),
    "logreg, magnetic": ("logreg", "magnetic", {}, {"channels": 9, "classes": 3}),
    "rf, magnetic": ("rf", "magnetic", {"n_estimators": 10}, {"channels": 9, "window": 100}),
    "rf, coupled": ("rf", "coupled", {"n_estimators": 20}, {}),
    "logreg, flatten": ("logreg", "flatten", {}, {}),
    "dt, flatten, two channels": ("dt", "flatten", {}, {"window": 20, "channels": 2}),
    "torch-cnn": ("torch-cnn", "flatten", {"filters": (4, 8), "kernel_size": 5, "epochs": 3}, {"window": 20}),
    "torch-cnn, deep": ("torch-cnn", "flatten", {"filters": (4, 4, 4), "kernel_size": 3}, {"window": 24, "classes": 3}),
    "mlp, small, many classes": ("mlp", "summary", {"hidden_layer_sizes": (24, 8)}, {"classes": 4}),
    "rf": ("rf", "rich", {}, {}),
    "hgb": ("hgb", "rich", {"max_iter": 30}, {}),
    "hgb, many classes": ("hgb", "summary", {"max_iter": 12}, {"classes": 4}),
    "rf, small, one channel": ("rf", "summary", {"n_estimators": 8, "max_depth": 5}, {"channels": 1, "classes": 3}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_estimate_is_close_to_the_emulated_board(case):
    family, features, options, shape = CASES[case]
    dataset = toy_dataset(**shape)
    model = train(dataset, family, features=features, options=options)
    integer = quantise(model)
    guess, truth = estimate(integer, model.calibration), measure(integer, dataset.windows)
    assert truth.measured
    assert not guess.measured
    for name in ("flash", "ram", "cycles"):
        assert getattr(guess, name) == pytest.approx(getattr(truth, name), rel=TOLERANCE), name


def test_every_feature_set_of_the_board_has_an_estimate():
    for features in ON_DEVICE:
        dataset = toy_dataset(per_class=30, channels=channels_for(features))
        assert on_board(train(dataset, "dt", features=features), dataset).cycles > 1000


def test_bigger_models_cost_more():
    dataset = toy_dataset()
    sizes = [(4,), (16,), (64, 32)]
    costs = [on_board(train(dataset, "mlp", options={"hidden_layer_sizes": s}), dataset) for s in sizes]
    assert all(a.flash < b.flash and a.cycles < b.cycles and a.ram == b.ram for a, b in itertools.pairwise(costs))


def test_steps_are_those_of_the_trees():
    dataset = toy_dataset()
    model = train(dataset, "rf", options={"n_estimators": 3})
    forest = quantise(model).body
    x = model.calibration
    walked = sum(tree.tree_.decision_path(x.astype(np.float32)).sum(axis=1) - 1 for tree in model.estimator.estimators_)
    assert mean_steps(forest, x) == pytest.approx(float(np.mean(walked)))


@pytest.mark.parametrize(
    ("family", "features", "complaint"),
    [
        ("torch-cnn", "float-flatten", "does not compute float-flatten features"),
        ("rf", "float-rich", "does not compute float-rich features"),
    ],
)
def test_what_the_board_cannot_do_is_named(family, features, complaint):
    dataset = toy_dataset(per_class=30)
    with pytest.raises(InputError, match=complaint):
        on_board(train(dataset, family, features=features), dataset)
