"""The integer invariant sets: against plain Python integers, against the float definition, within their bounds."""

from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from toy import extreme_windows, toy_dataset

from stinger.features.sets import feature_set

VECTORS = Path(__file__).parents[1] / "vectors"
_SPEC = importlib.util.spec_from_file_location("make_invariant", VECTORS / "make_invariant.py")
make_invariant = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(make_invariant)

SIX = ["ax", "ay", "az", "gx", "gy", "gz"]
CASES = json.loads((VECTORS / "features_invariant.json").read_text())["cases"]


def oracle(name, windows, channels=SIX):
    return np.array([make_invariant.plain_features(name, channels, w.tolist()) for w in windows])


def ramps(window):
    """Ramps of every steepness, up, down, and in one sensor only."""
    slopes = np.array([1, -1, 3, 60, -60, 700, 30000])[:, None, None]
    line = np.arange(window)[None, :, None] - window // 2
    both = slopes * line * np.array([1, -2, 3, 1, 1, -1])
    acc, gyro = both * np.array([1, 1, 1, 0, 0, 0]), both * np.array([0, 0, 0, 1, 1, 1])
    return np.concatenate([both, acc, gyro]).clip(-32768, 32767).astype(np.int16)


def test_vectors_are_what_the_script_makes():
    assert (VECTORS / "features_invariant.json").read_text() == make_invariant.text()


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["name"])
def test_numpy_equals_vectors(case):
    window = np.array([case["samples"]], dtype=np.int16)
    features = feature_set(case["feature_set"], case["channels"], window.shape[1])
    computed = features.compute(window)
    assert computed.dtype == np.int16
    assert computed[0].tolist() == case["features"]
    assert len(features) == len(features.names) == len(set(features.names)) == len(case["features"])


def test_vectors_reach_the_corners():
    """A ratio limited at 32, each result of a division by nothing, and limited jerk."""
    seen = np.array([c["features"][:16] for c in CASES if c["feature_set"].startswith("invariant")])
    assert {32767, 1024} <= set(seen[:, 12])
    assert {32767, 1024, 0} <= set(seen[:, 13])
    assert {0, 256, 1024} <= set(seen[:, 14])
    assert {0, 1024} <= set(seen[:, 15])
    assert seen[:, 2].max() == 32767
    assert seen[:, 11].min() < -1000 < 1000 < seen[:, 11].max()


@pytest.mark.parametrize("window", [4, 5, 6, 7, 50, 59])
def test_numpy_equals_plain_integers_at_the_extremes(window):
    windows = np.concatenate([extreme_windows(window, 6), ramps(window)])
    computed = feature_set("invariant_rich", SIX, window).compute(windows)
    np.testing.assert_array_equal(computed, oracle("invariant_rich", windows))


@pytest.mark.parametrize("window", [1023, 1024])
def test_the_largest_windows_stay_exact_and_within_their_bounds(window):
    """`fits` in the plain version fails if an intermediate value needs more bits than the definition promises."""
    rng = np.random.default_rng(5)
    corners = rng.choice(np.array([-32768, 32767], np.int16), (4, window, 6))
    halves = extreme_windows(window, 6)[[0, 1, 5, 6, -1]]
    windows = np.concatenate([halves, corners, ramps(window)[::5]])
    computed = feature_set("invariant_rich", SIX, window).compute(windows)
    np.testing.assert_array_equal(computed, oracle("invariant_rich", windows))


def test_the_bounds_follow_from_int16_and_1024_samples():
    """Each width that `fits` is given, from the largest values there can be."""
    n, steps, half = 1024, 1023, 512
    magnitude = int((3 * 32768**2) ** 0.5)
    assert 3 * 32768**2 < 2**32
    assert 4 * (2**30 - 1) < 2**32
    assert steps * (2**30 - 1) < 2**40
    assert max(steps * 65535, n * magnitude) < 2**26
    assert max(steps * 65535**2, n * magnitude**2, n * 32768**2) < 2**42
    assert steps * steps * 65535**2 < 2**52
    # A std is at most half the range of the values, here of h, which has the widest.
    assert (n * 65535) ** 2 // 4 < 2**50
    assert 4096 * (half * magnitude) ** 2 // 4 < 2**60
    assert 64 * magnitude // 2 < 2**21
    assert 64 * magnitude // 2 * half < 2**30
    assert half * half * magnitude < 2**34
    assert half * half * 65535 < 2**35
    assert 2049 * steps * (2**30 - 1) < 2**52
    # In int64, as numpy computes: nothing above is near 2**63.
    assert 2**60 + 2**57 < 2**63


counts = st.one_of(st.sampled_from([-32768, -32767, -1, 0, 1, 32766, 32767]), st.integers(-32768, 32767))
small = st.integers(-4, 4)


@settings(max_examples=200, deadline=None)
@given(
    windows=st.tuples(st.integers(4, 70), st.sampled_from([counts, small])).flatmap(
        lambda kind: hnp.arrays(np.int16, (1, kind[0], 6), elements=kind[1])
    )
)
def test_numpy_equals_plain_integers(windows):
    computed = feature_set("invariant_rich", SIX, windows.shape[1]).compute(windows)
    np.testing.assert_array_equal(computed, oracle("invariant_rich", windows))
    shorter = feature_set("invariant", SIX, windows.shape[1]).compute(windows)
    np.testing.assert_array_equal(shorter, computed[:, :16])


#: Largest distance from the float definition in units of each feature. The first four: |j| is truncated to half counts,
#: and results are rounded; magnitudes are truncated to counts, whence one count in a std or one unit of two in others.
DISTANCE = [1.0, 0.75, 1.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
UNIT = np.array([1, 1, 1, 1, 1, 2, 2, 2, 1, 2, 2, 2])


def assert_near_float(windows):
    """Check every feature of windows whose jerk is not limited."""
    n = windows.shape[1]
    integer = feature_set("invariant_rich", SIX, n).compute(windows).astype(float)
    exact = feature_set("float-invariant-rich", SIX, n).compute(windows)
    assert np.abs(np.diff(windows[:, :, :3].astype(int), axis=1)).max() <= 18_000
    slack = 1e-9
    for k, (distance, unit) in enumerate(zip(DISTANCE, UNIT, strict=True)):
        assert (np.abs(integer[:, k] - exact[:, k] / unit) <= distance + slack).all(), k
    np.testing.assert_allclose(integer[:, 16:], exact[:, 16:], rtol=0, atol=0.5 + slack)

    a, g = windows[:, :, :3].astype(float), windows[:, :, 3:].astype(float)
    jerk, w = np.linalg.norm(np.diff(a, axis=1), axis=2), np.linalg.norm(g, axis=2)
    half = n // 2
    # Ratios: as far as the truncation of both sides allows, means of |j| by half a count, stds of w by 1/2 and 1/64.
    for k, above, below, loss in (
        (12, jerk[:, half - 1 :].mean(axis=1), jerk[:, : half - 1].mean(axis=1), (0.5, 0.0)),
        (13, w[:, half:].std(axis=1), w[:, :half].std(axis=1), (0.5 + 1 / 64, 0.5)),
    ):
        usable = below > 1
        lowest = 1024 * (above - loss[0]) / (below + loss[1]) - 0.5 - slack
        highest = 1024 * (above + loss[1]) / np.where(usable, below - loss[0], 1) + 0.5 + slack
        low_enough, high_enough = integer[:, k] >= np.minimum(lowest, 32767), integer[:, k] <= highest
        assert (low_enough & high_enough)[usable].all(), k
    np.testing.assert_allclose(integer[:, 14], 1024 * exact[:, 14], rtol=0, atol=0.5 + 1e-6)
    # Crossings are the same wherever no |j| lies within a count of the mean.
    clear = np.abs(jerk - jerk.mean(axis=1, keepdims=True)).min(axis=1) > 1
    np.testing.assert_allclose(integer[clear, 15], 1024 * exact[clear, 15], rtol=0, atol=0.5 + slack)
    return clear


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    window=st.integers(4, 90),
    size=st.sampled_from([2, 30, 500, 6000]),
    drift=st.sampled_from([0, 1, 100]),
)
def test_integers_are_near_the_float_definition(seed, window, size, drift):
    rng = np.random.default_rng(seed)
    windows = rng.normal(0, size, (20, window, 6)) * rng.uniform(0.2, 3, (20, window, 1))
    windows += drift * np.arange(window)[None, :, None] + rng.integers(-2000, 2000, (20, 1, 6))
    assert_near_float(windows.clip(-9000, 9000).astype(np.int16))


def test_integers_are_near_the_float_definition_on_motion():
    """And crossings are compared on enough of the windows to mean something."""
    clear = assert_near_float(toy_dataset(classes=3, per_class=400, seed=3).windows.clip(-9000, 9000))
    assert clear.mean() > 0.15


def test_turning_the_sensor_changes_nothing():
    """Axes swapped and reversed, which is exact on integers, unless a reversed -32768 is lost."""
    windows = toy_dataset(seed=4).windows.clip(-32767, 32767)
    turned = windows[:, :, [2, 0, 1, 5, 3, 4]] * np.array([1, -1, -1, 1, -1, -1], np.int16)
    features = feature_set("invariant", SIX, windows.shape[1])
    np.testing.assert_array_equal(features.compute(turned), features.compute(windows))


def test_a_still_window_has_the_neutral_values():
    window = np.full((1, 50, 6), 7, np.int16)
    still = feature_set("invariant_rich", SIX, 50).compute(window)[0]
    names = feature_set("invariant_rich", SIX, 50).names
    nonzero = {name: int(value) for name, value in zip(names, still, strict=True) if value}
    # |g| of (7, 7, 7) is 12.1: 12 counts, 6 units of two.
    assert nonzero == {
        "mean_|g|": 6,
        "max_|g|": 6,
        "ratio_of_mean_|jerk|": 1024,
        "ratio_of_std_|g|": 1024,
        "last_quarter_|jerk|": 256,
    }


def test_a_million_windows_a_minute():
    windows = np.tile(toy_dataset(seed=1).windows, (50, 1, 1))
    features = feature_set("invariant", SIX, windows.shape[1])
    started = time.process_time()
    features.compute(windows)
    assert len(windows) / (time.process_time() - started) * 60 > 1_000_000
