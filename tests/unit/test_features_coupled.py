"""The ``coupled`` set: numpy, C and ONNX against plain Python integers, and what it is meant to see."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from test_integer_parity import difficult_stream
from toy import extreme_windows, toy_dataset

from stinger.check.compare import compare_exactly, feature_crc
from stinger.check.replay import replay_native
from stinger.errors import UsageError
from stinger.features.sets import feature_set
from stinger.models.train import train
from stinger.sessions.session import Channel
from stinger.windows.replay import ReplayStream
from stinger_export.image.model import from_image, to_image
from stinger_export.integer.c_source import write_c_source
from stinger_export.integer.quantise import quantise
from stinger_export.onnx_graph import run_graph, to_onnx_features

VECTORS = Path(__file__).parents[1] / "vectors"
_SPEC = importlib.util.spec_from_file_location("make_coupled", VECTORS / "make_coupled.py")
make_coupled = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(make_coupled)

SIX = ["ax", "ay", "az", "gx", "gy", "gz"]
CASES = json.loads((VECTORS / "features_coupled.json").read_text())["cases"]
SHAPES = sorted({(len(c["samples"]), tuple(c["channels"])) for c in CASES})


def of_shape(shape):
    return [c for c in CASES if (len(c["samples"]), tuple(c["channels"])) == shape]


def toy(shape):
    """A dataset of windows of a shape, its channels named as in the vectors."""
    window, names = shape
    dataset = toy_dataset(per_class=20, window=window, channels=len(names))
    return replace(dataset, channels=tuple(Channel(name, "count", 1.0) for name in names))


def test_vectors_are_what_the_script_makes():
    assert (VECTORS / "features_coupled.json").read_text() == make_coupled.text()


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["name"])
def test_numpy_equals_vectors(case):
    window = np.array([case["samples"]], dtype=np.int16)
    features = feature_set("coupled", case["channels"], window.shape[1])
    computed = features.compute(window)
    assert computed.dtype == np.int16
    assert computed[0].tolist() == case["features"]
    assert len(features) == len(features.names) == len(set(features.names)) == len(case["features"])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_c_equals_vectors(shape, tmp_path):
    dataset, cases = toy(shape), of_shape(shape)
    write_c_source(quantise(train(dataset, "logreg", features="coupled")), tmp_path)
    samples = np.concatenate([np.array(c["samples"], dtype=np.int16) for c in cases])
    gap = np.zeros(len(samples), dtype=bool)
    gap[:: shape[0]] = True
    t_us = np.cumsum(np.where(gap, 10 * dataset.period_us, dataset.period_us))
    result = replay_native(tmp_path, ReplayStream(samples, t_us, gap, dataset.period_us))
    expected = np.array([c["features"] for c in cases], dtype=np.int16)
    got = result.feature_crc[result.ready]
    assert [c["name"] for c, a, b in zip(cases, got, feature_crc(expected), strict=True) if a != b] == []


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_graph_equals_vectors_and_numpy(shape):
    model = train(toy(shape), "logreg", features="coupled")
    cases = of_shape(shape)
    [found] = run_graph(to_onnx_features(model), np.array([c["samples"] for c in cases], dtype=np.int16))
    assert found.tolist() == [c["features"] for c in cases]
    noise = np.random.default_rng(1).integers(-32768, 32768, (60, shape[0], len(shape[1]))).astype(np.int16)
    windows = np.concatenate([extreme_windows(shape[0], len(shape[1])), noise])
    [found] = run_graph(to_onnx_features(model), windows)
    np.testing.assert_array_equal(found, model.spec.feature_set.compute(windows))


@pytest.mark.parametrize(("family", "window"), [("logreg", 100), ("mlp", 50), ("rf", 33), ("logreg", 4)])
def test_c_equals_numpy_on_a_difficult_stream(family, window, tmp_path):
    dataset = toy_dataset(classes=3, per_class=60, window=window)
    model = quantise(train(dataset, family, features="coupled"))
    write_c_source(model, tmp_path)
    stream = difficult_stream(dataset)
    result = replay_native(tmp_path, stream, sanitize=True)
    ready = stream.ready(window)
    comparison = compare_exactly(("L2", "L3"), model.decide(stream.windows(window)), ready, result)
    assert comparison.failure is None
    assert comparison.windows > 1000


def test_an_image_of_a_coupled_model_says_so():
    model = quantise(train(toy_dataset(window=100), "logreg", features="coupled"))
    assert from_image(to_image(model)).spec.features == "coupled"


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([4, 7, 32, 65, 100]).flatmap(lambda n: hnp.arrays(np.int16, (1, n, 6))))
def test_numpy_equals_plain_integers_on_any_window(windows):
    found = feature_set("coupled", SIX, windows.shape[1]).compute(windows)[0]
    assert found.tolist() == make_coupled.plain_features(SIX, windows[0].tolist())


@pytest.mark.parametrize("window", [100, 1024])
def test_extremes_of_long_windows(window):
    windows = extreme_windows(window, 6)
    found = feature_set("coupled", SIX, window).compute(windows)
    assert found.tolist() == [make_coupled.plain_features(SIX, w.tolist()) for w in windows]


def test_correlations_are_those_of_numpy():
    """On smooth movement each is within a hundredth of the correlation of the same samples in floating point."""
    rng = np.random.default_rng(3)
    phase = rng.uniform(0, 6, (40, 1, 6)) + np.arange(100)[None, :, None] * rng.uniform(0.02, 0.3, (40, 1, 6))
    windows = np.rint(2000 * np.sin(phase) + rng.normal(0, 30, phase.shape)).astype(np.int16)
    features = feature_set("coupled", SIX, 100)
    found = dict(zip(features.names, features.compute(windows).T, strict=True))
    x = windows[:, 3::4].astype(float)
    angle = x[:, :, 3].cumsum(axis=1)
    for name, pair in {"corr_az_gy": (x[:, :, 2], x[:, :, 4]), "corr_angle_gx_gy": (angle, x[:, :, 4])}.items():
        expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(*pair, strict=True)]
        assert np.abs(found[name] / 1024 - expected).max() < 0.01


def test_needs_both_sensors_and_four_samples():
    with pytest.raises(UsageError, match="coupled features need a gyroscope"):
        feature_set("coupled", ["ax", "ay", "az"], 50)
    with pytest.raises(UsageError, match="a window of coupled features must have 4 to 1024 samples, not 3"):
        feature_set("coupled", SIX, 3)
