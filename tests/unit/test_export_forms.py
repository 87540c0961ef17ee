"""Every family that can be exported against what it was made from, and one clear line for those that cannot."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from test_integer_parity import difficult_stream
from toy import extreme_windows, toy_dataset

from stinger.check.compare import compare_exactly
from stinger.check.prove import host_levels, prove
from stinger.check.replay import replay_native
from stinger.errors import InputError, UsageError
from stinger.models.families import FAMILIES
from stinger.models.spec import TrainedModel
from stinger.models.train import train
from stinger_export.bundle import export_bundle, load_bundle
from stinger_export.emlearn_header import run_emlearn, to_emlearn
from stinger_export.forms import BOOSTED, CONVOLUTIONS, FORESTS, NETWORKS, portable
from stinger_export.integer.c_source import write_c_source
from stinger_export.integer.forest import quantise_boosted
from stinger_export.integer.model import ONE
from stinger_export.integer.quantise import TARGET_LOSS, quantise
from stinger_export.onnx_graph import run_onnx, to_onnx

#: The others have tests of their own.
NEW = ("ridge", "et", "dt", "torch-mlp", "hgb", "xgb")


@cache
def trained(family: str, classes: int = 2) -> TrainedModel:
    features = (FAMILIES[family].features or ("rich",))[0]
    return train(toy_dataset(classes=classes, per_class=80), family, features=features, name="toy", folds=0)


def test_every_family_has_a_form_or_is_refused():
    assert {*NETWORKS, *FORESTS, *BOOSTED, *CONVOLUTIONS} == set(FAMILIES)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("family", NEW)
def test_portable_form_predicts_the_same(family, classes):
    model = trained(family, classes)
    windows = np.concatenate([toy_dataset(classes=classes, per_class=300, seed=5).windows, extreme_windows(50, 6)])
    features = model.spec.feature_set.compute(windows)
    before = copy.deepcopy(model)
    np.testing.assert_allclose(
        portable(model).predict_proba(features.astype(np.float64)),
        model.predict_proba_features(features),
        rtol=0,
        atol=1e-12,
    )
    assert (before.predict_proba_features(features) == model.predict_proba_features(features)).all()


def test_a_perceptron_without_hidden_layers_is_linear():
    model = trained("torch-mlp")
    for classes in (2, 4):
        model = trained("torch-mlp", classes)
        flat = FAMILIES["torch-mlp"].build(1, hidden_layer_sizes=(), epochs=2)
        dataset = toy_dataset(classes=classes, per_class=80)
        features = model.spec.feature_set.compute(dataset.windows).astype(np.float64)
        flat.fit(features, dataset.labels.astype(np.int64))
        np.testing.assert_allclose(
            portable(replace(model, estimator=flat)).predict_proba(features), flat.predict_proba(features), atol=1e-12
        )


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("family", NEW)
def test_integer_model_stays_near_the_estimator_and_c_gives_its_bits(family, classes, tmp_path):
    model = trained(family, classes)
    integer = quantise(model)
    calibrated = integer.body.decide(model.calibration)[0] / ONE
    assert np.abs(calibrated - model.predict_proba_features(model.calibration)).max() <= TARGET_LOSS
    write_c_source(integer, tmp_path)
    stream = difficult_stream(toy_dataset(classes=classes, per_class=80))
    result = replay_native(tmp_path, stream, sanitize=True)
    comparison = compare_exactly(("L2", "L3"), integer.decide(stream.windows(50)), stream.ready(50), result)
    assert comparison.failure is None


@pytest.mark.parametrize("family", ["et", "dt"])
def test_forests_are_exact_at_all_levels(family, tmp_path):
    """At each threshold and beside it; random thresholds lie anywhere between whole numbers."""
    model = trained(family)
    base = model.calibration[0].astype(np.int64)
    rows = []
    for tree in portable(model).estimators_:
        for node in np.flatnonzero(tree.tree_.children_left != -1)[:40]:
            for step in (-1, 0, 1):
                row = base.copy()
                row[tree.tree_.feature[node]] = np.floor(tree.tree_.threshold[node]) + step
                rows.append(row)
    features = np.clip(rows, -32768, 32767).astype(np.int16)
    expected = model.predict_proba_features(features)
    np.testing.assert_allclose(quantise(model).body.decide(features)[0] / ONE, expected, rtol=0, atol=2 / ONE)
    label, probability = run_emlearn(to_emlearn(model), features, tmp_path)
    np.testing.assert_allclose(probability, expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(label, expected.argmax(axis=1))
    windows = toy_dataset(per_class=500, seed=9).windows
    label, probability = run_onnx(to_onnx(model), windows)
    np.testing.assert_allclose(probability, model.predict_proba(windows), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(label, model.predict_proba(windows).argmax(axis=1))


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("family", BOOSTED)
def test_boosted_trees_are_near_at_all_levels(family, classes):
    """At each threshold and beside it no row takes another way: leaves are rounded to far less than would show."""
    model = trained(family, classes)
    trees = model.estimator.trees_
    base = model.calibration[0].astype(np.int64)
    inner = np.flatnonzero(trees.left >= 0)[:400]
    rows = np.repeat(base[None], 3 * len(inner), axis=0)
    for i, node in enumerate(inner):
        for j, step in enumerate((-1, 0, 1)):
            rows[3 * i + j, trees.feature[node]] = np.floor(trees.threshold[node]) + step
    features = np.clip(rows, -32768, 32767).astype(np.int16)
    expected = model.predict_proba_features(features)
    assert np.abs(quantise(model).body.decide(features)[0] / ONE - expected).max() < 1e-3
    windows = toy_dataset(classes=classes, per_class=500, seed=9).windows
    label, probability = run_onnx(to_onnx(model), windows)
    np.testing.assert_allclose(probability, model.predict_proba(windows), rtol=0, atol=1e-5)
    np.testing.assert_array_equal(label, model.predict_proba(windows).argmax(axis=1))


@pytest.mark.parametrize("family", BOOSTED)
def test_a_bundle_of_boosted_trees_has_no_emlearn_header(family, tmp_path):
    model = trained(family)
    with pytest.raises(InputError, match="emlearn knows no boosted trees"):
        to_emlearn(model)
    bundle = load_bundle(export_bundle(model, tmp_path / "bundle").path)
    assert bundle.emlearn() is None
    assert not (bundle.path / "emlearn").exists()
    assert (bundle.path / "model.onnx").is_file()
    stream = bundle.replay
    proof = prove(
        bundle, host_levels(bundle, stream), {"L3": replay_native(bundle.source_dir, stream)}, in_range_only=True
    )
    assert proof.failures == ()
    assert [c.name for c in proof.comparisons] == ["L0-L1", "L0-L2", "L2-L3"]


def test_boosted_trees_that_no_board_holds_are_refused():
    model = trained("hgb")
    trees = model.estimator.trees_
    with pytest.raises(InputError, match="too large for a board"):
        quantise_boosted(replace(trees, value=trees.value * 1e6), 30)
    with pytest.raises(InputError, match="65,528 features"):
        quantise_boosted(trees, 65_529)
    with pytest.raises(InputError, match="a board holds"):
        quantise_boosted(replace(trees, root=np.resize(trees.root, 40_000)), 30)


def test_a_random_threshold_just_below_a_whole_number_is_not_rounded_past_it():
    """Plain float32 would make 20001 of 20000.99999999, and send another vector left; the graph must not."""
    model = copy.deepcopy(trained("et"))
    for tree in model.estimator.estimators_:
        inner = tree.tree_.children_left != -1
        tree.tree_.threshold[inner] = np.floor(tree.tree_.threshold[inner]) + 0.99999999
    windows = toy_dataset(per_class=500, seed=9).windows
    _, probability = run_onnx(to_onnx(model), windows)
    np.testing.assert_allclose(probability, model.predict_proba(windows), rtol=0, atol=1e-6)


def test_families_without_a_form_on_the_device_are_refused_in_one_line():
    known = trained("logreg")
    model = replace(known, spec=replace(known.spec, family="oracle"))
    for target in (quantise, to_emlearn, portable):
        with pytest.raises(InputError, match="oracle has no integer form; train one of logreg") as caught:
            target(model)
        assert "\n" not in str(caught.value)


def test_features_that_the_device_does_not_compute_are_refused_in_one_line(tmp_path):
    model = train(toy_dataset(per_class=40), "logreg", features="float-flatten", folds=0)
    only_onnx(model, tmp_path, "does not compute float-flatten features")


def only_onnx(model: TrainedModel, directory: Path, reason: str) -> None:
    """What such a model can be exported to is ONNX; anything else is refused when asked for."""
    with pytest.raises(UsageError, match=reason) as caught:
        export_bundle(model, directory / "refused", targets=("integer",))
    assert "\n" not in str(caught.value)
    assert not (directory / "refused").exists()
    assert export_bundle(model, directory / "bundle").targets == ("onnx",)
