"""The numpy features against an oracle in plain Python integers, and against the committed vectors."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from toy import extreme_windows

from stinger.errors import UsageError
from stinger.features.integer import feature_set, isqrt

VECTORS = Path(__file__).parents[1] / "vectors"
_SPEC = importlib.util.spec_from_file_location("make_features", VECTORS / "make_features.py")
make_features = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(make_features)

SIX = ["ax", "ay", "az", "gx", "gy", "gz"]
CASES = json.loads((VECTORS / "features.json").read_text())["cases"]


def oracle(name, channels, windows):
    return np.array([make_features.plain_features(name, channels, w.tolist()) for w in windows])


def test_vectors_are_what_the_script_makes():
    assert (VECTORS / "features.json").read_text() == make_features.text()


def test_vectors_cover_what_they_promise():
    seen = {(len(c["samples"]), len(c["channels"]), c["feature_set"]) for c in CASES}
    assert seen >= {(n, c, s) for n in (2, 7, 50, 59) for c in (3, 6) for s in ("summary", "rich")}


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["name"])
def test_numpy_equals_vectors(case):
    window = np.array([case["samples"]], dtype=np.int16)
    features = feature_set(case["feature_set"], case["channels"], window.shape[1])
    computed = features.compute(window)
    assert computed.dtype == np.int16
    assert computed[0].tolist() == case["features"]
    assert len(features) == len(features.names) == len(case["features"])


@pytest.mark.parametrize(("window", "channels"), [(50, 6), (59, 6), (59, 3), (7, 3), (2, 6)])
@pytest.mark.parametrize("name", ["summary", "rich"])
def test_numpy_equals_oracle_at_the_extremes(window, channels, name):
    windows = extreme_windows(window, channels)
    computed = feature_set(name, SIX[:channels], window).compute(windows)
    np.testing.assert_array_equal(computed, oracle(name, SIX[:channels], windows))


counts = st.one_of(st.sampled_from([-32768, -32767, -1, 0, 1, 32766, 32767]), st.integers(-32768, 32767))


@settings(max_examples=150, deadline=None)
@given(
    windows=st.tuples(st.integers(2, 70), st.sampled_from([3, 6])).flatmap(
        lambda size: hnp.arrays(np.int16, (1, *size), elements=counts)
    ),
    name=st.sampled_from(["summary", "rich"]),
)
def test_numpy_equals_oracle(windows, name):
    channels = SIX[: windows.shape[2]]
    computed = feature_set(name, channels, windows.shape[1]).compute(windows)
    np.testing.assert_array_equal(computed, oracle(name, channels, windows))


def test_largest_window_of_extremes_stays_exact():
    windows = extreme_windows(1024, 6)
    computed = feature_set("rich", SIX, 1024).compute(windows)
    np.testing.assert_array_equal(computed, oracle("rich", SIX, windows))


def test_isqrt_around_every_kind_of_square():
    root = np.array([0, 1, 2, 3, 255, 46340, 56755, 2**20, 2**25, 2**26 - 1], dtype=np.int64)
    for offset in (-1, 0, 1):
        x = root * root + offset
        x = x[(x >= 0) & (x < 2**52)]
        r = isqrt(x)
        assert (r * r <= x).all()
        assert ((r + 1) * (r + 1) > x).all()


def test_names_follow_the_vector():
    names = feature_set("rich", SIX, 50).names
    assert names[:2] == ("mean_ax", "mean_ay")
    assert names[24:] == ("mean_|a|", "std_|a|", "max_|a|", "mean_|g|", "std_|g|", "max_|g|")


@pytest.mark.parametrize(("name", "window"), [("richer", 50), ("rich", 1), ("rich", 1025)])
def test_impossible_feature_sets_are_refused(name, window):
    with pytest.raises(UsageError):
        feature_set(name, SIX, window)


@pytest.mark.parametrize("windows", [np.zeros((1, 50, 6)), np.zeros((1, 49, 6), np.int16), np.zeros((50, 6), np.int16)])
def test_windows_of_another_kind_are_refused(windows):
    with pytest.raises(UsageError, match="int16 windows of shape"):
        feature_set("rich", SIX, 50).compute(windows)
