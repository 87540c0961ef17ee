"""The device's products, roots and quotients without a divider, against Python's."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

import numpy as np
import pytest

from stinger_export.toolchain import compile_host, device_sources

# Input: rows of three u32. Output: of each row what the function named on the command line makes of it, u64.
DRIVER = r"""
#include "stinger_internal.h"
#include <stdio.h>

int main(int count, char **name) {
    uint32_t row[3];
    while (count == 2 && fread(row, sizeof row, 1, stdin) == 1) {
        uint64_t made = name[1][0] == 'm'   ? stinger_multiply(row[0], row[1])
                        : name[1][0] == 'r' ? stinger_isqrt32(row[0])
                        : name[1][0] == 'q' ? stinger_quotient(row[0], row[1])
                        : name[1][0] == 'i' ? stinger_inverse(row[0])
                                            : stinger_divide(row[0], row[1], stinger_inverse(row[1]));
        fwrite(&made, sizeof made, 1, stdout);
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arithmetic")
    (folder / "driver.c").write_text(DRIVER)
    library = device_sources() / "stinger_ml"
    compile_host([folder / "driver.c", library / "stinger_arithmetic.c"], folder / "driver", include=[library])

    def run(function: str, *columns: Sequence[int] | np.ndarray) -> np.ndarray:
        rows = np.zeros((len(columns[0]), 3), np.uint32)
        for k, column in enumerate(columns):
            rows[:, k] = column
        done = subprocess.run(
            [folder / "driver", function], input=rows.tobytes(), capture_output=True, check=True, timeout=60
        )
        return np.frombuffer(done.stdout, np.uint64)

    return run


def everywhere(rng, count, top=2**32):
    """Numbers of every size below `top`, and those beside powers of two."""
    spread = (2.0 ** rng.uniform(0, np.log2(top), count)).astype(np.uint64)
    edges = [2**k + d for k in range(1, 32) for d in (-1, 0, 1)]
    return np.concatenate([spread, [0, 1, top - 1], [e for e in edges if e < top]]).astype(np.uint64)


@pytest.fixture(scope="module")
def rng():
    return np.random.default_rng(20)


def test_multiply(device, rng):
    a = everywhere(rng, 200_000)
    b = rng.permutation(a)
    assert np.array_equal(device("multiply", a, b), a * b)


def test_root(device, rng):
    squares = np.arange(1, 65536, dtype=np.uint64) ** 2
    x = np.concatenate([everywhere(rng, 500_000), squares - 1, squares, np.minimum(squares + 1, 2**32 - 1)])
    root = device("root", x)
    assert np.all(root**2 <= x)
    assert np.all((root + 1) ** 2 > x)


def test_quotient(device, rng):
    d = np.maximum(everywhere(rng, 500_000, 2**28), 2)
    # Largest quotient and rest that are allowed, and anything below.
    most = np.minimum(d * 65536 - 1, 2**32 - 1)
    x = np.where(rng.random(len(d)) < 0.1, most, (most * rng.random(len(d))).astype(np.uint64))
    assert np.array_equal(device("quotient", x, d), x // d)
    multiple = d * (x // d)
    assert np.array_equal(device("quotient", multiple, d), x // d)


def test_inverse_of_every_divisor(device):
    d = np.arange(2, 65536, dtype=np.uint64)
    assert np.array_equal(device("inverse", d), (2**32 - 1) // d)


def test_divide(device, rng):
    d = np.tile(np.arange(2, 513, dtype=np.uint64), 400)
    x = rng.integers(0, 2**32, len(d), dtype=np.uint64)
    x[::7] = x[::7] // d[::7] * d[::7]
    assert np.array_equal(device("divide", x, d), x // d)
