"""The small mathematical library of the float implementations that `stinger bench device` compares with."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stinger_export.stand_ins import round_down
from stinger_export.toolchain import compile_host, device_sources

BENCH = device_sources() / "bench"


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    library = tmp_path_factory.mktemp("bench_math") / "bench_math.so"
    compile_host([BENCH / "bench_math.c"], library, include=[BENCH / "include"])
    loaded = ctypes.CDLL(str(library))

    def function(name, values):
        f = loaded[f"bench_{name}"]
        f.restype, f.argtypes = ctypes.c_float, [ctypes.c_float]
        return np.array([f(v) for v in values.tolist()], dtype=np.float32)

    return function


def all_kinds(count: int = 40_000) -> np.ndarray:
    """Float32 of random bits: every exponent, both signs, subnormal, infinite, NaN; and the edges."""
    bits = np.random.default_rng(1).integers(0, 2**32, count, dtype=np.uint32)
    edges = np.array([0, 1, 2, 3, 0x7FFFFF, 0x800000, 0x3F800000, 0x7F7FFFFF, 0x7F800000, 0x7FC00000], dtype=np.uint32)
    return np.concatenate([bits, edges, edges | np.uint32(1 << 31)]).view(np.float32)


def test_roots_are_rounded_as_numpys(call):
    x = all_kinds()
    with np.errstate(invalid="ignore"):
        expected = np.sqrt(x)
    np.testing.assert_array_equal(call("sqrtf", x), expected)
    near_squares = (np.arange(1, 3000, dtype=np.float32) ** 2)[:, None] + np.array([-1, 0, 1], dtype=np.float32)
    np.testing.assert_array_equal(call("sqrtf", near_squares.ravel()), np.sqrt(near_squares.ravel()))


@pytest.mark.parametrize(
    ("name", "low", "high"), [("expf", -87.0, 88.7), ("tanhf", -12.0, 12.0), ("expf", -0.1, 0.1), ("tanhf", -0.5, 0.5)]
)
def test_functions_are_near_the_exact_ones(call, name, low, high):
    x = np.random.default_rng(2).uniform(low, high, 20_000).astype(np.float32)
    exact = getattr(np, name[:-1])(x.astype(np.float64))
    assert np.abs(call(name, x) / exact - 1).max() < 3e-7


def test_logarithms_are_near_the_exact_ones(call):
    x = np.abs(all_kinds())
    x = x[np.isfinite(x) & (x > 0)]
    x = np.concatenate([x, np.random.default_rng(3).uniform(0.5, 2, 20_000).astype(np.float32)])
    exact = np.log(x.astype(np.float64))
    assert np.abs(call("logf", x) - exact).max() < 1e-5
    assert np.abs(call("logf", x) / np.where(exact == 0, 1, exact) - (exact != 0)).max() < 3e-7


@pytest.mark.parametrize("name", ["expf", "tanhf", "logf"])
def test_extremes_come_out_as_in_c(call, name):
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e30, -1e30, 1e-40], dtype=np.float32)
    with np.errstate(all="ignore"):
        expected = getattr(np, name[:-1])(x.astype(np.float64)).astype(np.float32)
    np.testing.assert_allclose(call(name, x), expected, rtol=1e-6)


@given(st.floats(-1e6, 1e6), st.integers(-3, 3))
def test_float32_compares_with_a_rounded_threshold_as_with_the_exact_one(threshold, steps):
    t = np.array([threshold])
    rounded = round_down(t)
    x = np.float32(threshold)
    for _ in range(abs(steps)):
        x = np.nextafter(x, np.float32(np.copysign(np.inf, steps)))
    assert (x <= rounded[0]) == (float(x) <= threshold)
