"""Integer features that do not depend on how the sensor is turned: ``invariant`` and ``invariant_rich``.

For a window of ``N`` int16 samples (4 to 1024) of an accelerometer ``a`` and a gyroscope ``g``; ``//`` rounds towards
minus infinity, ``isqrt`` is the integer square root, a *half* is ``N // 2`` samples and a *quarter* ``N // 4``::

    m_i = isqrt(ax*ax + ay*ay + az*az)            |a| in counts, at most 56,755; w_i the same of g
    j_i = a_(i+1) - a_i, each axis limited to int16          the N-1 steps of the accelerometer ("jerk")
    e_i = min(jx*jx + jy*jy + jz*jz, 2**30 - 1)              |j|**2
    h_i = isqrt(4*e_i)                                       |j| in half counts, at most 65,535

An axis that changes by more than 32,767 counts (16 g on a Stinger) from one sample to the next, or ``|j|`` beyond
32,768, is limited; nothing else is until the end. With ``mean`` and
``std`` as in `stinger.features.integer` (``mean2`` and ``std2`` are those of magnitudes there, in units of two), ``S``
a sum, the indices 1 and 2 for the first and second part of a window, and every feature finally limited to int16::

     0  mean of |j|          counts      mean2(h)
     1  std of |j|           counts      std2(h)
     2  max of |j|           counts      (max(h) + 1) // 2
     3  rms of |j|           counts      (isqrt(4*S(e) // (N-1)) + 1) // 2
     4  std of m             counts      std(m)
     5  max |m - mean(m)|    2 counts    (max(N*max(m) - S(m), S(m) - N*min(m)) + N) // (2*N)
     6  range of m           2 counts    (max(m) - min(m) + 1) // 2
     7  mean of w            2 counts    mean2(w)
     8  std of w             counts      std(w)
     9  max of w             2 counts    (max(w) + 1) // 2
    10  range of w           2 counts    (max(w) - min(w) + 1) // 2
    11  mean(w2) - mean(w1)  2 counts    (S(w2)*n1 - S(w1)*n2 + n1*n2) // (2*n1*n2); w1 the first half of n1 values
    12  mean(j2) / mean(j1)  1/1024      ratio(S(h2)*n1, S(h1)*n2, 1024); h1 the first N//2 - 1 values
    13  std(w2) / std(w1)    1/1024      ratio(d2, d1, 1024); d = isqrt(4096*(n*Q - S*S) // (n*n)), 1/64 counts
    14  share of the last    1/1024      ratio(S(last quarter of e), S(e), 256)
    15  crossings of |j|     1/1024      ratio(C, N-2, 0); C counts changes of (N-1)*h_i >= S(h) along i

    ratio(p, q, otherwise) = otherwise if q == 0 else min((2048*p + q) // (2*q), 32767)

``invariant_rich`` adds the std of each gyroscope axis (16-18) and of each axis of ``j`` (19-21), in counts.

What a C version needs, for any int16 input and N up to 1024 (``tests/vectors/make_invariant.py`` checks each width):

- 32 bits for squares and sums of three of them, ``4*e`` and ``4*S(e) // (N-1)``; 26 for sums of ``h``, ``m`` and ``w``
  and for single values times N;
- 64 bits for sums of squares (42), ``n*Q`` (52), ``n*Q - S*S`` (50), 4096 times it (60), products of a sum and a count
  (35), and what ``ratio`` divides (52 by 42);
- no division of 64 by 64 bits: quotients of wide numbers have 15 bits (``ratio``, 11) and come from as many steps of
  shift, compare and subtract; ``isqrt(x // (n*n))`` is ``isqrt(x) // n``, a root of 30 bits and a division of 32.

``device/stinger_ml/stinger_invariant.c`` is that version; its sums slide with the window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.features.arithmetic import INT16_MAX, INT16_MIN, ONE, Integers, isqrt, mean, ratio, spread, std
from stinger.features.base import BlockFeatures, check_window, motion_triads

#: With fewer samples a half of the jerk, or the last quarter of it, is empty.
MIN_WINDOW = 4
_SQUARE_MAX = 2**30 - 1


@dataclass(frozen=True)
class InvariantFeatures(BlockFeatures):
    """``invariant`` or ``invariant_rich`` for one window shape; ``triads`` are the accelerometer and the gyroscope."""

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each feature, in the order of the vector."""
        return invariant_names(self.channel_names, self.triads, rich=self.name == "invariant_rich")

    def _block(self, windows: NDArray[Any]) -> NDArray[np.int64]:
        samples = windows.transpose(1, 2, 0)
        a, g = (samples[:, first : first + 3].astype(np.int64, order="C") for first in self.triads)
        j = np.diff(a, axis=0).clip(INT16_MIN, INT16_MAX)
        e = np.minimum(_square(j), _SQUARE_MAX)
        m, w = isqrt(_square(a)), isqrt(_square(g))
        features = [*_jerk(e), *_magnitudes(m, w), *_changes(e, w)]
        if self.name == "invariant_rich":
            features += [*std(g, 1), *std(j, 1)]
        vectors: NDArray[np.int64] = np.stack(features, axis=1).clip(INT16_MIN, INT16_MAX)
        return vectors


def _square(v: Integers) -> Integers:
    """Squared length of vectors ``(samples, 3, windows)``."""
    squares: Integers = np.einsum("ijk,ijk->ik", v, v)
    return squares


def _jerk(e: Integers) -> list[Integers]:
    """Features 0 to 3."""
    h = isqrt(4 * e)
    rms = (isqrt(4 * e.sum(axis=0) // len(e)) + 1) // 2
    return [mean(h, 2), std(h, 2), (h.max(axis=0) + 1) // 2, rms]


def _magnitudes(m: Integers, w: Integers) -> list[Integers]:
    """Features 4 to 10."""
    n, total = len(m), m.sum(axis=0)
    highest, lowest = m.max(axis=0), m.min(axis=0)
    deviation = (np.maximum(n * highest - total, total - n * lowest) + n) // (2 * n)
    of_m = [std(m, 1), deviation, (highest - lowest + 1) // 2]
    highest, lowest = w.max(axis=0), w.min(axis=0)
    return [*of_m, mean(w, 2), std(w, 1), (highest + 1) // 2, (highest - lowest + 1) // 2]


def _changes(e: Integers, w: Integers) -> list[Integers]:
    """Features 11 to 15: how the window's second part differs from its first."""
    n, half = len(w), len(w) // 2
    first, second = w[:half].sum(axis=0), w[half:].sum(axis=0)
    both = half * (n - half)
    rise = (second * half - first * (n - half) + both) // (2 * both)
    deviations = ratio(_std_64(w[half:]), _std_64(w[:half]), ONE)

    h, middle = isqrt(4 * e), half - 1
    steps = ratio(h[middle:].sum(axis=0) * middle, h[:middle].sum(axis=0) * (n - half), ONE)
    share = ratio(e[-(n // 4) :].sum(axis=0), e.sum(axis=0), ONE // 4)
    above = (n - 1) * h >= h.sum(axis=0)
    changes = (above[1:] != above[:-1]).sum(axis=0)
    return [rise, steps, deviations, share, ratio(changes, np.full_like(changes, n - 2), 0)]


def _std_64(x: Integers) -> Integers:
    """Population standard deviation in units of 1/64 count, rounded down; 0 only if ``x`` is constant."""
    return isqrt((spread(x) << 12) // (len(x) * len(x)))


def invariant_names(channel_names: Sequence[str], triads: Sequence[int], *, rich: bool) -> tuple[str, ...]:
    """Name the features of an ``invariant`` or ``invariant_rich`` set, integer or float."""
    accelerometer, gyroscope = (channel_names[first : first + 3] for first in triads)
    m, w = f"|{accelerometer[0][:-1]}|", f"|{gyroscope[0][:-1]}|"
    names = [f"{kind}_|jerk|" for kind in ("mean", "std", "max", "rms")]
    names += [f"{kind}_{m}" for kind in ("std", "max_deviation", "range")]
    names += [f"{kind}_{w}" for kind in ("mean", "std", "max", "range")]
    names += [f"rise_of_mean_{w}", "ratio_of_mean_|jerk|", f"ratio_of_std_{w}"]
    names += ["last_quarter_|jerk|", "crossings_|jerk|"]
    if rich:
        names += [f"std_{channel}" for channel in gyroscope] + [f"std_jerk_{channel}" for channel in accelerometer]
    return tuple(names)


def feature_set(name: str, channel_names: Sequence[str], window: int) -> InvariantFeatures:
    """Look up ``invariant`` (16 features) or ``invariant_rich`` (22).

    Raises:
        UsageError: Impossible window, or channels without an accelerometer or a gyroscope.
    """
    check_window(window, MIN_WINDOW, name)
    return InvariantFeatures(name, tuple(channel_names), window, motion_triads(name, channel_names))
