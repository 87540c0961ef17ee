"""The table of feature sets: names, what channels they take, what they refuse."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from toy import toy_dataset

from stinger.errors import InputError, UsageError
from stinger.features import integer
from stinger.features.base import motion_triads
from stinger.features.sets import FEATURE_SETS, ON_DEVICE, feature_set, require_on_device
from stinger.models.train import train
from stinger_export.emlearn_header import to_emlearn
from stinger_export.integer.c_source import model_source
from stinger_export.integer.quantise import quantise

SIX = ("ax", "ay", "az", "gx", "gy", "gz")
NINE = ("mx", "my", "mz", *SIX)
SIZES = {"summary": 18, "rich": 30, "invariant": 16, "invariant_rich": 22, "flatten": 120}


@pytest.mark.parametrize("name", FEATURE_SETS)
def test_every_set_is_complete(name):
    channels = NINE if name == "magnetic" else SIX
    found = feature_set(name, list(channels), 20)
    assert (found.name, found.channel_names, found.window) == (name, channels, 20)
    assert found.integer is not name.startswith("float-")
    assert len(found) == len(found.names) == len(set(found.names))
    windows = np.random.default_rng(1).integers(-32768, 32767, (7, 20, len(channels)), dtype=np.int16)
    computed = found.compute(windows)
    assert computed.dtype == (np.int16 if found.integer else np.float64)
    assert computed.shape == (7, len(found))
    assert found.compute(windows[:0]).shape == (0, len(found))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(found)).compute(windows), computed)  # noqa: S301


@pytest.mark.parametrize("name", SIZES)
def test_integer_and_float_sets_correspond(name):
    exact = feature_set("float-" + name.replace("_", "-"), SIX, 20)
    found = feature_set(name, SIX, 20)
    assert len(found) == SIZES[name]
    assert found.names == exact.names
    assert found.triads == exact.triads


def test_the_device_computes_what_the_integer_module_defines():
    assert set(ON_DEVICE) <= set(FEATURE_SETS)
    for name in ("summary", "rich"):
        assert feature_set(name, SIX, 50) == integer.feature_set(name, SIX, 50)
    for name in ON_DEVICE:
        require_on_device(name)
    known = "summary, rich, coupled, magnetic, invariant, invariant_rich, flatten"
    with pytest.raises(InputError, match=f"does not compute float-rich features, only {known}"):
        require_on_device("float-rich")


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("invarient", "invariant"), ("Rich", "rich"), ("invariant-rich", "invariant_rich"), ("float_rich", "float-rich")],
)
def test_an_unknown_name_gets_the_nearest_one(wrong, meant):
    with pytest.raises(UsageError, match=f"unknown feature set '{wrong}'; did you mean {meant}\\? known: summary, "):
        feature_set(wrong, SIX, 50)


def test_a_name_near_nothing_gets_the_list():
    with pytest.raises(UsageError, match="unknown feature set 'q'; known: summary, rich"):
        feature_set("q", SIX, 50)


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        (SIX, (0, 3)),
        (("gx", "gy", "gz", "t", "ax", "ay", "az"), (4, 0)),
        (("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"), (0, 3)),
        (("accX", "accY", "accZ", "gyrX", "gyrY", "gyrZ"), (0, 3)),
        (("mx", "my", "mz", "ax", "ay", "az", "gx", "gy", "gz"), (3, 6)),
        # The first accelerometer of two.
        (("ax", "ay", "az", "acc_x", "acc_y", "acc_z", "gx", "gy", "gz"), (0, 6)),
    ],
)
def test_sensors_are_found_by_their_names(channels, expected):
    assert motion_triads("invariant", channels) == expected
    windows = np.random.default_rng(2).integers(-3000, 3000, (5, 12, len(channels)), dtype=np.int16)
    a, g = expected
    alone = np.concatenate([windows[:, :, a : a + 3], windows[:, :, g : g + 3]], axis=2)
    computed = feature_set("invariant_rich", channels, 12).compute(windows)
    np.testing.assert_array_equal(computed, feature_set("invariant_rich", SIX, 12).compute(alone))


@pytest.mark.parametrize("name", ["invariant", "invariant_rich", "float-invariant", "float-invariant-rich"])
@pytest.mark.parametrize(
    ("channels", "missing"),
    [
        (SIX[:3], r"need a gyroscope \(gx, gy, gz\); the channels are ax, ay, az;"),
        (SIX[3:], r"need an accelerometer \(ax, ay, az\); the channels are gx, gy, gz;"),
        (("mx", "my", "mz"), r"need an accelerometer \(ax, ay, az\) and a gyroscope \(gx, gy, gz\);"),
        (("ax", "az", "ay", "gx", "gy", "gz"), "need an accelerometer"),
        ((), "the channels are none"),
    ],
)
def test_a_missing_sensor_is_named(name, channels, missing):
    with pytest.raises(UsageError, match=f"{name} features .*{missing}"):
        feature_set(name, channels, 50)


@pytest.mark.parametrize("name", [n for size in SIZES for n in (size, "float-" + size.replace("_", "-"))])
def test_windows_have_a_least_and_a_largest_size(name):
    least = 4 if "invariant" in name else 2
    for window in (least, 1024):
        assert feature_set(name, SIX, window).window == window
    for window in (-1, 0, 1, least - 1, 1025):
        with pytest.raises(UsageError, match=f"must have {least} to 1024 samples, not {window}"):
            feature_set(name, SIX, window)


def test_flatten_is_the_samples():
    windows = np.random.default_rng(3).integers(-32768, 32767, (4, 3, 2), dtype=np.int16)
    found = feature_set("flatten", ("u", "v"), 3)
    assert found.names == ("u[0]", "v[0]", "u[1]", "v[1]", "u[2]", "v[2]")
    np.testing.assert_array_equal(found.compute(windows), windows.reshape(4, 6))


@pytest.mark.parametrize("name", ["float-flatten", "float-rich"])
def test_nothing_is_made_for_the_device_whose_features_the_device_lacks(name):
    """A model would otherwise run on features it was not trained on, silently."""
    trained = train(toy_dataset(per_class=30), "logreg", features="rich")
    other = replace(trained, spec=replace(trained.spec, features=name))
    with pytest.raises(InputError, match=f"the device does not compute {name} features"):
        to_emlearn(other)
    integer_model = replace(quantise(trained), spec=other.spec)
    with pytest.raises(InputError, match=f"the device does not compute {name} features"):
        model_source(integer_model)
