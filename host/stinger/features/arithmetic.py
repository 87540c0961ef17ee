"""The exact arithmetic of integer features. Samples run along the first axis, windows along the last.

Everything here is defined on integers without bound; the int64 of numpy and the words of the device hold all
intermediate values for windows of up to 1024 int16 samples, which the modules using them show.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: What stands for 1 where a feature is a ratio or a share.
ONE = 1024
INT16_MIN, INT16_MAX = -32768, 32767

Integers = NDArray[np.int64]


def isqrt(x: Integers) -> Integers:
    """Integer square root: the largest ``r`` with ``r*r <= x``, elementwise, for ``0 <= x < 2**52``."""
    root = np.sqrt(x.astype(np.float64)).astype(np.int64)
    root -= root * root > x
    root += (root + 1) * (root + 1) <= x
    return root


def mean(x: Integers, unit: int) -> Integers:
    """Mean in units of ``unit`` counts to the nearest, halves up: ``(2*S + unit*n) // (2*unit*n)``."""
    n = len(x)
    rounded: Integers = (2 * x.sum(axis=0) + unit * n) // (2 * unit * n)
    return rounded


def spread(x: Integers) -> Integers:
    """``n*Q - S*S``, the population variance times ``n*n``; below ``2**50`` for values of 16 bits."""
    total = x.sum(axis=0)
    squares: Integers = np.einsum("i...,i...->...", x, x)
    result: Integers = len(x) * squares - total * total
    return result


def std(x: Integers, unit: int) -> Integers:
    """Population standard deviation in units of ``unit`` (1 or 2) counts, to the nearest."""
    halves = isqrt((4 // (unit * unit)) * spread(x) // (len(x) * len(x)))
    return (halves + 1) // 2


def ratio(p: Integers, q: Integers, otherwise: int) -> Integers:
    """``p / q`` in units of 1/1024 to the nearest, halves up, at most 32,767 (just under 32).

    The quotient has 15 bits, so that a device finds it by 15 steps of shift, compare and subtract, whatever the
    width of ``p`` and ``q``.

    Args:
        p: Not negative, below ``2**51``.
        q: Not negative, below ``2**51``.
        otherwise: The result where ``q`` is 0.
    """
    quotient = (2 * ONE * p + q) // (2 * np.maximum(q, 1))
    return np.where(q == 0, otherwise, quotient.clip(max=INT16_MAX))
