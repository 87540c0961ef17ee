"""The float sets against the formulas of the toolchain before this one, one window and one feature at a time."""

from __future__ import annotations

import math
import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from toy import extreme_windows, toy_dataset

from stinger.errors import UsageError
from stinger.features.sets import feature_set

SIX = ["ax", "ay", "az", "gx", "gy", "gz"]
FLOATS = ["float-summary", "float-rich", "float-invariant", "float-invariant-rich", "float-flatten"]


def mean(x):
    return math.fsum(x) / len(x)


def std(x):
    centre = mean(x)
    return math.sqrt(math.fsum((v - centre) ** 2 for v in x) / len(x))


def length(vectors):
    return [math.sqrt(x * x + y * y + z * z) for x, y, z in vectors]


def ratio(above, below, otherwise):
    return above / below if below > 1e-6 else otherwise


def summary(window):
    columns = list(zip(*window, strict=True))
    return [mean(x) for x in columns] + [std(x) for x in columns] + [max(abs(v) for v in x) for x in columns]


def rich(window):
    columns = list(zip(*window, strict=True))
    result = summary(window) + [mean([abs(v) for v in x]) for x in columns]
    for at in (0, 3):
        m = length([row[at : at + 3] for row in window])
        result += [mean(m), std(m), max(m)]
    return result


def jerk(window):
    return [[after[k] - before[k] for k in range(3)] for before, after in pairwise(window)]


def invariant(window):
    n = len(window)
    j = length(jerk(window))
    m, w = length([row[:3] for row in window]), length([row[3:] for row in window])
    m = [v - mean(m) for v in m]
    squares = [v * v for v in j]
    above = [v >= mean(j) for v in j]
    return [
        *(mean(j), std(j), max(j), math.sqrt(mean(squares))),
        *(std(m), max(abs(v) for v in m), max(m) - min(m)),
        *(mean(w), std(w), max(w), max(w) - min(w)),
        mean(w[n // 2 :]) - mean(w[: n // 2]),
        ratio(mean(j[n // 2 - 1 :]), mean(j[: n // 2 - 1]), 1.0),
        ratio(std(w[n // 2 :]), std(w[: n // 2]), 1.0),
        ratio(sum(squares[-(n // 4) :]), sum(squares), 0.25),
        sum(a != b for a, b in pairwise(above)) / (n - 2),
    ]


def invariant_rich(window):
    axes = [[row[k] for row in window] for k in (3, 4, 5)]
    return invariant(window) + [std(x) for x in axes] + [std(x) for x in zip(*jerk(window), strict=True)]


def flatten(window):
    return [value for row in window for value in row]


DIRECT = dict(zip(FLOATS, (summary, rich, invariant, invariant_rich, flatten), strict=True))


def assert_direct(name, windows):
    found = feature_set(name, SIX, windows.shape[1])
    computed = found.compute(windows)
    assert computed.dtype == np.float64
    assert computed.shape == (len(windows), len(found)) == (len(windows), len(found.names))
    for window, vector in zip(windows, computed, strict=True):
        expected = DIRECT[name](window.astype(float).tolist())
        if name.startswith("float-invariant"):
            j = np.array(length(jerk(window.astype(float).tolist())))
            if np.abs(j - j.mean()).min() < 1e-9:  # a tie, which rounding decides
                expected[15] = vector[15]
            if std(length(window[: windows.shape[1] // 2, 3:].astype(float).tolist())) < 1e-5:  # the divisor's limit
                expected[13] = vector[13]
        np.testing.assert_allclose(vector, expected, rtol=1e-10, atol=1e-8)


elements = st.one_of(st.sampled_from([-32768, -1, 0, 1, 32767]), st.integers(-32768, 32767), st.integers(-5, 5))


@settings(max_examples=60, deadline=None)
@given(
    windows=st.integers(4, 60).flatmap(lambda n: hnp.arrays(np.int16, (2, n, 6), elements=elements)),
    name=st.sampled_from(FLOATS),
)
def test_every_float_set_is_its_formula(windows, name):
    assert_direct(name, windows)


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("window", [4, 5, 7, 50])
def test_float_sets_are_their_formulas_at_the_extremes(name, window):
    assert_direct(name, extreme_windows(window, 6))


@pytest.mark.parametrize("name", FLOATS)
def test_float_sets_are_their_formulas_on_motion(name):
    assert_direct(name, toy_dataset(per_class=40).windows)


def test_the_rules_for_small_divisors():
    still = np.full((1, 8, 6), 100, np.int16)
    vector = dict(zip(*named("float-invariant", still), strict=True))
    assert (vector["ratio_of_mean_|jerk|"], vector["ratio_of_std_|g|"]) == (1.0, 1.0)
    assert (vector["last_quarter_|jerk|"], vector["crossings_|jerk|"]) == (0.25, 0.0)
    assert vector["mean_|g|"] == pytest.approx(100 * math.sqrt(3))


def test_a_first_half_of_jerk_has_one_value_less():
    """Of 8 samples 7 steps, 3 in the first half; one of 6 counts in the second: 6 / 4 over 3 / 3."""
    windows = np.zeros((1, 8, 6), np.int16)
    windows[0, 1:, 0] = 3  # the first step
    windows[0, 4:, 0] = 9  # the fourth
    vector = dict(zip(*named("float-invariant", windows), strict=True))
    assert vector["ratio_of_mean_|jerk|"] == pytest.approx((6 / 4) / (3 / 3))
    assert vector["last_quarter_|jerk|"] == 0.0


def named(name, windows):
    found = feature_set(name, SIX, windows.shape[1])
    return found.names, found.compute(windows)[0].tolist()


def test_values_that_are_no_counts():
    """The same numbers in other units: every length scales, every ratio stays."""
    windows = toy_dataset(per_class=20).windows
    found = feature_set("float-invariant", SIX, windows.shape[1])
    counts, physical = found.compute(windows), found.compute_values(windows / 2048)
    np.testing.assert_allclose(physical[:, :12], counts[:, :12] / 2048, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(physical[:, 12:15], counts[:, 12:15], rtol=1e-9)
    with pytest.raises(UsageError, match="float64 windows"):
        found.compute_values(windows)
    with pytest.raises(UsageError, match="int16 windows"):
        found.compute(windows / 2048)


@pytest.mark.parametrize("name", FLOATS)
def test_a_window_alone_gives_what_it_gives_among_others(name):
    """Bit for bit: results cannot depend on how work is cut into blocks, nor on a view's memory order."""
    windows = toy_dataset(per_class=120).windows
    found = feature_set(name, SIX, windows.shape[1])
    together = found.compute(windows)
    for at, count in ((0, 1), (1, 1), (77, 2), (100, 3), (102, 131), (239, 1)):
        np.testing.assert_array_equal(found.compute(windows[at : at + count]), together[at : at + count])
    turned = np.asfortranarray(windows)
    np.testing.assert_array_equal(found.compute(turned), together)


def test_float_sets_are_fast():
    windows = np.tile(toy_dataset(seed=1).windows, (50, 1, 1))
    for name in FLOATS:
        found = feature_set(name, SIX, windows.shape[1])
        started = time.process_time()
        found.compute(windows)
        assert len(windows) / (time.process_time() - started) * 60 > 1_000_000, name
