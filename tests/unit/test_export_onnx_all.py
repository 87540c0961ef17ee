"""ONNX of every family on every feature set: features bit for bit, probabilities within 1e-6, no label flips."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from small_models import CLASSES, probes, taken, trained
from toy import channels_for, extreme_windows, toy_dataset

from stinger.errors import InputError, UsageError
from stinger.features.magnetic import MIN_WINDOW
from stinger.features.sets import FEATURE_SETS, feature_set
from stinger.models.families import FAMILIES
from stinger.models.spec import TrainedModel
from stinger.models.train import fit_rows
from stinger.sessions.session import Channel
from stinger_export.forms import BOOSTED, CONVOLUTIONS, FORESTS, NETWORKS
from stinger_export.onnx_graph import (
    TARGET_OPSET,
    TARGET_OPSET_ML,
    run_graph,
    run_onnx,
    to_onnx,
    to_onnx_classifier,
    to_onnx_features,
)

VECTORS = Path(__file__).parents[1] / "vectors"


def describes_itself(graph: onnx.ModelProto, model: TrainedModel) -> None:
    """It is valid, states its operators, and holds what whoever runs it must know."""
    onnx.checker.check_model(graph, full_check=True)
    assert {o.domain: o.version for o in graph.opset_import} == {"": TARGET_OPSET, "ai.onnx.ml": TARGET_OPSET_ML}
    spec, said = model.spec, {entry.key: entry.value for entry in graph.metadata_props}
    assert json.loads(said["opset"]) == {"ai.onnx": TARGET_OPSET, "ai.onnx.ml": TARGET_OPSET_ML}
    assert (said["family"], said["feature_set"], said["data_hash"]) == (spec.family, spec.features, spec.data_hash)
    assert json.loads(said["classes"]) == list(spec.classes)
    assert [(c["name"], c["unit"]) for c in json.loads(said["channels"])] == [(c.name, c.unit) for c in spec.channels]
    assert said["policy"] == ""  # these have none


def agree(model: TrainedModel, windows: np.ndarray) -> None:
    expected = model.predict_proba(windows)
    graph = to_onnx(model)
    describes_itself(graph, model)
    label, probability, logits = run_graph(graph, windows)
    assert (label.dtype, probability.dtype, logits.dtype) == (np.int64, np.float32, np.float32)
    classes = expected.shape[1]
    assert (probability.shape, logits.shape) == (expected.shape, (len(windows), 1 if classes == 2 else classes))
    assert np.abs(probability - expected).max() <= 1e-6  # 1e-5 is what was promised
    np.testing.assert_array_equal(label, expected.argmax(axis=1))
    wide = logits.astype(np.float64)
    wide = np.concatenate([np.zeros_like(wide), wide], axis=1) if classes == 2 else wide
    shares = np.exp(wide - wide.max(axis=1, keepdims=True))
    assert np.abs(shares / shares.sum(axis=1, keepdims=True) - expected).max() <= 1e-5


def test_every_family_has_an_onnx_form():
    assert {*NETWORKS, *FORESTS, *BOOSTED, *CONVOLUTIONS} == set(FAMILIES)


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("features", FEATURE_SETS)
@pytest.mark.parametrize("family", FAMILIES)
def test_onnxruntime_agrees_with_every_estimator(family, features, classes):
    if taken(family, features):
        agree(trained(family, features, classes), probes(classes, channels_for(features)))
        return
    # What cannot be trained cannot be exported either, should a file claim to be such a model.
    model = trained(family, FAMILIES[family].features[0], classes)
    with pytest.raises(InputError, match=f"cannot be exported: {family} takes .* features, not {features}") as caught:
        to_onnx(replace(model, spec=replace(model.spec, features=features)))
    assert "\n" not in str(caught.value)


def test_an_unknown_family_is_refused_by_name():
    model = trained("logreg", "rich")
    other = replace(model, spec=replace(model.spec, family="oracle"))
    for export in (to_onnx, to_onnx_classifier):
        with pytest.raises(InputError, match="oracle has no ONNX form; train one of logreg"):
            export(other)


@pytest.mark.parametrize("family", ["torch-cnn", "torch-mlp", "hgb", "rf"])
def test_families_as_they_come_agree(family):
    dataset = toy_dataset(per_class=60)
    features = (FAMILIES[family].features or ("float-rich",))[0]
    model = fit_rows(dataset, np.ones(len(dataset), dtype=bool), family, features=features, seed=1, options={})
    agree(model, np.concatenate([toy_dataset(per_class=400, seed=5).windows, extreme_windows(50, 6)]))


@pytest.mark.parametrize(("window", "kernel"), [(2, 3), (7, 9), (13, 1), (50, 9)])
def test_convolutions_reach_beyond_the_ends_as_the_estimator_does(window, kernel):
    dataset = toy_dataset(classes=3, per_class=20, window=window, channels=4)
    options = {"filters": (3, 5, 4), "kernel_size": kernel, "epochs": 2}
    model = fit_rows(
        dataset, np.ones(len(dataset), dtype=bool), "torch-cnn", features="flatten", seed=1, options=options
    )
    agree(model, np.concatenate([dataset.windows, extreme_windows(window, 4)]))


def of_shape(name: str, window: int, channels: tuple[str, ...]) -> TrainedModel:
    model = trained("logreg", "rich")
    named = tuple(Channel(c, "count", 1.0) for c in channels)
    return replace(model, spec=replace(model.spec, features=name, window=window, channels=named))


def cases() -> dict[tuple[str, int, tuple[str, ...]], list[dict]]:
    found: dict[tuple[str, int, tuple[str, ...]], list[dict]] = {}
    for file in ("features", "features_coupled", "features_invariant", "features_magnetic"):
        for case in json.loads((VECTORS / f"{file}.json").read_text())["cases"]:
            found.setdefault((case["feature_set"], len(case["samples"]), tuple(case["channels"])), []).append(case)
    return found


@pytest.mark.parametrize(("shape", "rows"), cases().items(), ids=lambda x: "-".join(map(str, x[:2])))
def test_features_in_the_graph_equal_the_vectors(shape, rows):
    [found] = run_graph(to_onnx_features(of_shape(*shape)), np.array([c["samples"] for c in rows], dtype=np.int16))
    assert found.dtype == np.int16
    assert found.tolist() == [c["features"] for c in rows]


@pytest.mark.parametrize("window", [4, 5, 8, 50, 59, 1024])
@pytest.mark.parametrize("name", FEATURE_SETS)
def test_features_in_the_graph_equal_numpy_in_every_bit(name, window):
    """Floating-point ones too: both add in the same order."""
    rng = np.random.default_rng(window)
    channels = ("gx", "gy", "gz", "t", "ax", "ay", "az")
    if name == "magnetic":
        if window < MIN_WINDOW:
            with pytest.raises(UsageError, match="must have 8 to 1024 samples"):
                feature_set(name, (*channels, "mx", "my", "mz"), window)
            return
        channels = (*channels, "mx", "my", "mz")
    some, width = 12 if window == 1024 else 60, len(channels)
    noise = rng.integers(-32768, 32768, (some, window, width))
    quiet = rng.integers(-3, 4, (some, window, width)) + rng.integers(-20000, 20000, (some, 1, width))
    windows = np.concatenate([extreme_windows(window, width), noise, quiet, rng.integers(0, 2, (some, window, width))])
    windows = windows.astype(np.int16)
    found = feature_set(name, channels, window)
    [computed] = run_graph(to_onnx_features(of_shape(name, window, channels)), windows)
    assert computed.dtype == (np.int16 if found.integer else np.float64)
    np.testing.assert_array_equal(computed, found.compute(windows))


@pytest.mark.parametrize("name", FEATURE_SETS)
def test_no_windows_give_no_features_and_no_answers(name):
    model = trained("logreg", name)
    nothing = probes(2, channels_for(name))[:0]
    [found] = run_graph(to_onnx_features(model), nothing)
    assert found.shape == (0, len(model.spec.feature_set))
    label, probability = run_onnx(to_onnx(model), nothing)
    assert (label.shape, probability.shape) == ((0,), (0, 2))


@pytest.mark.parametrize("features", ["rich", "float-invariant", "flatten"])
@pytest.mark.parametrize("family", ["logreg", "rf", "hgb", "xgb", "torch-cnn"])
def test_the_graph_is_its_two_halves(family, features):
    if not taken(family, features):
        features = "float-flatten"
    model = trained(family, features, 3)
    [computed] = run_graph(to_onnx_features(model), probes(3))
    whole, second = run_graph(to_onnx(model), probes(3)), to_onnx_classifier(model)
    for one, other in zip(whole, run_graph(second, computed), strict=True):
        np.testing.assert_array_equal(one, other)
    assert f"Takes {features} features; gives label" in second.doc_string
    with pytest.raises(InputError, match=r"_classifier takes (int16|float64) features of shape \(n, \d+\), got"):
        run_graph(second, computed[:, 1:])


@pytest.mark.parametrize("family", FAMILIES)
def test_graphs_are_valid_lean_and_the_same_each_time(family):
    features = (FAMILIES[family].features or ("float-invariant-rich",))[0]
    model = trained(family, features)
    for export in (to_onnx, to_onnx_features, to_onnx_classifier):
        graph = export(model)
        onnx.checker.check_model(graph, full_check=True)
        assert graph.SerializeToString(deterministic=True) == export(model).SerializeToString(deterministic=True)
        read = {name for node in graph.graph.node for name in node.input} | {o.name for o in graph.graph.output}
        assert all(set(node.output) & read for node in graph.graph.node)
        assert {c.name for c in graph.graph.initializer} <= read
        assert graph.graph.doc_string


def test_a_threshold_between_two_floats_parts_them_as_the_forest_does():
    """Trees compare float32 numbers with float64 thresholds: rounding those up would send a vector the other way."""
    for family in ("dt", "et"):
        model = trained(family, "float-rich")
        tree = getattr(model.estimator, "estimators_", [model.estimator])[0].tree_
        node = int(np.flatnonzero(tree.children_left != -1)[0])
        rows = np.repeat(model.calibration[:1], 3, axis=0)
        middle = np.float32(tree.threshold[node])
        rows[:, tree.feature[node]] = [np.nextafter(middle, np.float32(s)) for s in (-np.inf, middle, np.inf)]
        expected = model.predict_proba_features(rows)
        np.testing.assert_allclose(run_graph(to_onnx_classifier(model), rows)[1], expected, rtol=0, atol=1e-6)
