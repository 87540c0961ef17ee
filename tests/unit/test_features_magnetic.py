"""The ``magnetic`` set: numpy, C and ONNX against plain Python integers, and what it is meant to see."""

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
from image_driver import ImageDriver
from scipy.spatial.transform import Rotation
from test_integer_parity import difficult_stream
from toy import extreme_windows, toy_dataset

from stinger.check.compare import compare_exactly, feature_crc
from stinger.check.replay import replay_native
from stinger.errors import UsageError
from stinger.features.sets import feature_set
from stinger.link.board import Board
from stinger.models.train import train
from stinger.sessions.session import Channel
from stinger.windows.replay import ReplayStream
from stinger_export.firmware import build_firmware
from stinger_export.image.model import from_image, to_image
from stinger_export.integer.c_source import limits_header, write_c_source
from stinger_export.integer.quantise import quantise
from stinger_export.onnx_graph import run_graph, to_onnx_features
from stinger_virtual.transport import EmulatedTransport

VECTORS = Path(__file__).parents[1] / "vectors"
_SPEC = importlib.util.spec_from_file_location("make_magnetic", VECTORS / "make_magnetic.py")
make_magnetic = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(make_magnetic)

NINE = tuple(make_magnetic.NINE)
CASES = json.loads((VECTORS / "features_magnetic.json").read_text())["cases"]
SHAPES = sorted({(len(c["samples"]), tuple(c["channels"])) for c in CASES})


def of_shape(shape):
    return [c for c in CASES if (len(c["samples"]), tuple(c["channels"])) == shape]


def toy(shape, **options):
    """A dataset of windows of a shape, its channels named as in the vectors."""
    window, names = shape
    dataset = toy_dataset(**{"per_class": 20, **options}, window=window, channels=9)
    extra = np.zeros((len(dataset), window, len(names) - 9), dtype=np.int16)
    channels = tuple(Channel(name, "count", 1.0) for name in names)
    return replace(dataset, windows=np.concatenate([dataset.windows, extra], axis=2), channels=channels)


def test_vectors_are_what_the_script_makes():
    assert (VECTORS / "features_magnetic.json").read_text() == make_magnetic.text()


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["name"])
def test_numpy_equals_vectors(case):
    window = np.array([case["samples"]], dtype=np.int16)
    features = feature_set("magnetic", case["channels"], window.shape[1])
    computed = features.compute(window)
    assert computed.dtype == np.int16
    assert computed[0].tolist() == case["features"]
    assert len(features) == len(features.names) == len(set(features.names)) == len(case["features"])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_c_equals_vectors(shape, tmp_path):
    dataset, cases = toy(shape), of_shape(shape)
    write_c_source(quantise(train(dataset, "logreg", features="magnetic")), tmp_path)
    samples = np.concatenate([np.array(c["samples"], dtype=np.int16) for c in cases])
    gap = np.zeros(len(samples), dtype=bool)
    gap[:: shape[0]] = True
    t_us = np.cumsum(np.where(gap, 10 * dataset.period_us, dataset.period_us))
    result = replay_native(tmp_path, ReplayStream(samples, t_us, gap, dataset.period_us), sanitize=True)
    expected = np.array([c["features"] for c in cases], dtype=np.int16)
    got = result.feature_crc[result.ready]
    assert [c["name"] for c, a, b in zip(cases, got, feature_crc(expected), strict=True) if a != b] == []


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_graph_equals_vectors_and_numpy(shape):
    model = train(toy(shape), "logreg", features="magnetic")
    cases = of_shape(shape)
    [found] = run_graph(to_onnx_features(model), np.array([c["samples"] for c in cases], dtype=np.int16))
    assert found.tolist() == [c["features"] for c in cases]
    noise = np.random.default_rng(1).integers(-32768, 32768, (60, shape[0], len(shape[1]))).astype(np.int16)
    windows = np.concatenate([extreme_windows(shape[0], len(shape[1])), noise])
    [found] = run_graph(to_onnx_features(model), windows)
    np.testing.assert_array_equal(found, model.spec.feature_set.compute(windows))


@pytest.mark.parametrize(("family", "window"), [("logreg", 256), ("mlp", 50), ("rf", 33), ("logreg", 8)])
def test_c_equals_numpy_on_a_difficult_stream(family, window, tmp_path):
    dataset = toy((window, NINE), classes=3, per_class=60)
    model = quantise(train(dataset, family, features="magnetic"))
    write_c_source(model, tmp_path)
    stream = difficult_stream(dataset)
    result = replay_native(tmp_path, stream, sanitize=True)
    ready = stream.ready(window)
    comparison = compare_exactly(("L2", "L3"), model.decide(stream.windows(window)), ready, result)
    assert comparison.failure is None
    assert comparison.windows > 1000


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([8, 9, 31, 64, 100]).flatmap(lambda n: hnp.arrays(np.int16, (1, n, 9))))
def test_numpy_equals_plain_integers_on_any_window(windows):
    found = feature_set("magnetic", NINE, windows.shape[1]).compute(windows)[0]
    assert found.tolist() == make_magnetic.plain_features(list(NINE), windows[0].tolist())


@pytest.mark.parametrize("window", [256, 1024])
def test_extremes_of_long_windows(window):
    windows = extreme_windows(window, 9)
    found = feature_set("magnetic", NINE, window).compute(windows)
    assert found.tolist() == [make_magnetic.plain_features(list(NINE), w.tolist()) for w in windows]


def test_needs_three_sensors_and_eight_samples():
    with pytest.raises(UsageError, match=r"magnetic features need a magnetometer \(mx, my, mz\); the channels are ax"):
        feature_set("magnetic", NINE[3:], 50)
    both = r"need an accelerometer \(ax, ay, az\) and a gyroscope \(gx, gy, gz\); the channels are mx, my, mz; choose"
    with pytest.raises(UsageError, match=both):
        feature_set("magnetic", NINE[:3], 50)
    with pytest.raises(UsageError, match="a window of magnetic features must have 8 to 1024 samples, not 7"):
        feature_set("magnetic", NINE, 7)


def seen(rng, count: int = 40, window: int = 50, *, iron: float = 0.0, noise: float = 0.0, change: float = 0.0):
    """Windows of a device that turns at 20 to 60 °/s in a field of 8192 counts, 30 degrees below level.

    Args:
        rng: Source of directions, turning and noise.
        count: How many.
        window: Samples of each.
        iron: What the device itself adds to the field, counts.
        noise: Of each sample of the magnetometer, counts.
        change: What is added to the field in the world half-way, counts.
    """
    rate = rng.standard_normal((count, 3))
    rate *= rng.uniform(20, 60, (count, 1)) / np.linalg.norm(rate, axis=1, keepdims=True)
    poses = Rotation.random(count, rng=rng)
    rows = []
    for i in range(window):
        field = 8192 * np.array([0.75**0.5, 0.0, -0.5]) + change * (i >= window // 2) * np.array([0.6, 0.8, 0])
        pose = poses * Rotation.from_rotvec(np.radians(rate) * 0.01 * i)
        m = pose.inv().apply(field) + iron * np.array([0.6, 0.0, 0.8]) + noise * rng.standard_normal((count, 3))
        rows.append(np.hstack([m, pose.inv().apply([0, 0, 2048.0]), 16.4 * rate]))
    windows = np.rint(np.stack(rows, axis=1)).astype(np.int16)
    features = feature_set("magnetic", NINE, window)
    return dict(zip(features.names, features.compute(windows).T.astype(float), strict=True))


def test_strength_and_dip_are_those_of_the_field_however_the_device_turns():
    found = seen(np.random.default_rng(1))
    for name, expected in {
        "mean_|m|": 4096,
        "latest_|m|": 4096,
        "vertical": -2048,
        "latest_vertical": -2048,
        "size_vertical": 2048,
        "horizontal": 4096 * 0.75**0.5,
        "sine_of_dip": -8192,
    }.items():
        np.testing.assert_allclose(found[name], expected, atol=8, err_msg=name)
    assert found["std_|m|"].max() <= 1
    assert found["std_vertical"].max() <= 5  # of the accelerometer's counts


@pytest.mark.parametrize(("window", "lag"), [(50, 8), (100, 16), (20, 4), (256, 16)])
def test_the_field_turns_as_the_device_does(window, lag):
    found = seen(np.random.default_rng(2), window=window)
    assert found["turning_correlation"].min() > 0.998 * 16384
    expected = 2**25 * lag * np.radians(0.01 / 16.4)
    np.testing.assert_allclose(found["turning_gain"], min(expected, 32767), rtol=0.02)
    assert (found["turning_residual"] / found["mean_|g|"]).max() < 0.1


def test_what_is_magnetised_in_the_device_shows_in_gain_and_residual():
    rng = np.random.default_rng(3)
    clean, magnetised = seen(rng, noise=20), seen(rng, noise=20, iron=2000)
    assert magnetised["turning_gain"].std() > 5 * clean["turning_gain"].std()
    assert np.median(magnetised["turning_residual"]) > 1.3 * np.median(clean["turning_residual"])


def test_a_field_that_changes_is_no_turning():
    rng = np.random.default_rng(4)
    steady, changed = seen(rng, noise=20), seen(rng, noise=20, change=6000)
    assert changed["turning_correlation"].max() < steady["turning_correlation"].min()
    assert changed["turning_residual"].min() > 3 * steady["turning_residual"].max()
    # The latest samples already see what is new.
    latest, mean = changed["latest_|m|"] - 4096, changed["mean_|m|"] - 4096
    assert (np.abs(latest) > 1.5 * np.abs(mean)).all()


def test_nothing_pulls_and_nothing_turns():
    """In free fall there is no down; a device that lies still has a field that says nothing of turning."""
    windows = np.zeros((1, 50, 9), dtype=np.int16)
    windows[:, :, 0] = 8000
    windows[:, :, 5] = 63
    features = feature_set("magnetic", NINE, 50)
    found = dict(zip(features.names, features.compute(windows)[0].tolist(), strict=True))
    assert (found["mean_|m|"], found["horizontal"], found["vertical"], found["sine_of_dip"]) == (4000, 4000, 0, 0)
    assert {found[f"turning_{name}"] for name in ("correlation", "gain", "residual")} == {0}


def test_the_emulated_board_gives_the_same_bits(tmp_path):
    dataset = toy((50, NINE), classes=3, per_class=30)
    model = quantise(train(dataset, "logreg", features="magnetic", folds=0))
    write_c_source(model, tmp_path)
    firmware = build_firmware(tmp_path, tmp_path / "firmware")
    extreme = extreme_windows(50, 9)[[0, 5, 7, -1]].reshape(-1, 9)
    noise = np.random.default_rng(2).integers(-32768, 32768, (120, 9))
    samples = np.concatenate([dataset.windows[:4].reshape(-1, 9), extreme, noise]).astype(np.int16)
    gap = np.isin(np.arange(len(samples)), (0, 130))
    stream = ReplayStream(samples, np.arange(len(samples)) * dataset.period_us, gap, dataset.period_us)
    with Board(EmulatedTransport(firmware.bin.read_bytes())) as board:
        assert board.hello().model.feature_set == "magnetic"
        result = board.replay(stream.samples, stream.t_us, stream.gap_before)
    ready = stream.ready(50)
    comparison = compare_exactly(("L2", "L4"), model.decide(stream.windows(50)), ready, result)
    assert comparison.failure is None
    assert comparison.windows == len(samples) - 2 * 49
    assert result.cycles[ready].mean() < 6000  # features and a logistic regression of three classes
    assert firmware.model_ram_bytes < 2048


def test_only_what_a_model_needs_is_compiled_for_it_and_its_image_says_what_it_is():
    model = quantise(train(toy((50, NINE)), "logreg", features="magnetic", folds=0))
    on = [line.split()[1] for line in limits_header(model).splitlines() if line.endswith(" 1") and "WITH" in line]
    assert on == ["STINGER_WITH_NETWORKS", "STINGER_WITH_MAGNETIC"]
    loaded = from_image(to_image(model))
    assert (loaded.spec.features, loaded.spec.feature_set.triads) == ("magnetic", (0, 3, 6))


def test_a_build_for_fewer_sensors_refuses_the_image(tmp_path):
    data = to_image(quantise(train(toy((50, NINE)), "logreg", features="magnetic", folds=0)))
    small = ImageDriver.build(tmp_path, extreme_windows(50, 6), sanitize=False)
    assert small(data) == ["0 refused"]
