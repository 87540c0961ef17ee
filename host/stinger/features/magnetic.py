"""Integer features of how distorted the magnetic field is: ``magnetic``.

Of the field that a magnetometer measures, two things do not depend on how the device is held or turned: how strong it
is, and how much of it is vertical, along the pull that the accelerometer feels. Iron and magnets nearby change both.
A third needs the gyroscope: where the field is the same at every place, it turns in the device's frame as the device
turns, backwards, ``dm/dt = m x w``; what magnetised parts of the device itself add does not turn, and at the edge of a
distortion the field changes faster. `docs/magnetic.md` says what each is worth.

For a window of ``N`` int16 samples (8 to 1024) of a magnetometer, an accelerometer ``a`` and a gyroscope ``g``; ``//``
and ``>>`` round towards minus infinity, ``isqrt`` is the integer square root, ``mean2`` and ``std`` are those of
`stinger.features.integer` (``mean2`` in units of two counts), ``S`` is a sum, ``limit`` to plus and minus 16,383::

    m_i = isqrt(mx*mx + my*my + mz*mz)         the field's strength, at most 56,755; w_i the same of g
    d_i = mx*ax + my*ay + mz*az                at most 3 * 2**30 in size
    v_i = 0 if isqrt(ax*ax + ay*ay + az*az) < 64: nothing pulls, or
          sign(d_i) * min(|d_i| // isqrt(ax*ax + ay*ay + az*az), m_i, 32767)               the vertical field

    L = the largest power of two that is at most N / 4, k = min(L, 16)
    u_i = limit(m_i - m_(i-k))                 each axis of the magnetometer, for i = k to N - 1
    t_i = (g_(i-k+1) + ... + g_i) // k         each axis of the gyroscope: the mean turning in between
    p_i = limit((m_(i-k/2) x t_i) >> 13)       each axis of the cross product, at most 2**31 - 2**15 in size before >>

    U, P, C = S(u*u), S(p*p), S(u*p)           over i and the three axes, each at most (N-k) * 3 * 16,383**2 < 2**40
    root(X) = isqrt(X >> 2*s) << s, s the smallest number >= 0 with X >> 2*s < 2**32           at most 2**20
    r = min(ratio(16*|C|, root(U) * root(P), 0), 16384), with the sign of C        1/16384: 1 where turning is all

     0  mean of m            2 counts    M = mean2(m)
     1  std of m             counts      std(m)
     2  latest m             2 counts    mean2 of the last L
     3  vertical             2 counts    mean2(v)
     4  its size             2 counts    V = (|S(v)| + N) // (2*N)                                  at most M
     5  std of v             counts      std(v)
     6  latest v             2 counts    mean2 of the last L
     7  horizontal           2 counts    isqrt(M*M - V*V)
     8  sine of the dip      1/16384     sign(S(v)) * (16384*V // M), or 0 if M is 0
     9  turning              2 counts    mean2(w)
    10  correlation          1/16384     r
    11  gain                 1/4096      sign(C) * ratio(4*|C|, P, 0)
    12  residual             counts      (isqrt(U // (N-k)) * isqrt(2**28 - r*r) + 2**13) >> 14

``ratio`` is that of `stinger.features.arithmetic`. The gain is what turning changes the field by, in no unit that is
known here: with ``c`` radians for a count of the gyroscope in a sample's time it is about ``2**25 * k * c``, more or
less of it where the device itself is magnetised. Every feature is finally limited to int16.

What a C version needs, for any int16 input and N up to 1024 (``tests/vectors/make_magnetic.py`` checks each width):
64 bits for sums of squares (42), N times them (52), ``d`` (33), ``U``, ``P``, ``C`` (40), and what ``ratio`` divides
(57 by 42); 32 for everything else, ``t`` taking 16 and ``|u*p|`` of a sample, three axes together, 30. The quotient of
``d`` has 16 bits, because ``|d| <= |m| * |a|`` and ``|a|`` is less than a 64th above its integer root.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.features.arithmetic import INT16_MAX, INT16_MIN, Integers, isqrt, mean, ratio, std
from stinger.features.base import BlockFeatures, check_window, field_triads

#: With fewer samples there is no lag in the last quarter of a window that has a middle.
MIN_WINDOW = 8
#: Most samples between which a change of the field is taken.
MAX_LAG = 16
#: Below this length of the accelerometer's vector nothing says where down is.
LEAST_PULL = 64
#: Limit of changes, and bits taken off a product of field and turning.
LIMIT, BITS = 16383, 13
#: What stands for 1 in correlation and dip.
UNIT = 16384


@dataclass(frozen=True)
class MagneticFeatures(BlockFeatures):
    """``magnetic`` for one window shape; ``triads`` are the magnetometer, the accelerometer and the gyroscope."""

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each feature, in the order of the vector."""
        field, _, gyroscope = (f"|{self.channel_names[first][:-1]}|" for first in self.triads)
        names = [f"{kind}_{field}" for kind in ("mean", "std", "latest")]
        names += ["vertical", "size_vertical", "std_vertical", "latest_vertical", "horizontal", "sine_of_dip"]
        return (*names, f"mean_{gyroscope}", "turning_correlation", "turning_gain", "turning_residual")

    def _block(self, windows: NDArray[Any]) -> NDArray[np.int64]:
        samples = windows.transpose(1, 2, 0)
        m, a, g = (samples[:, first : first + 3].astype(np.int64, order="C") for first in self.triads)
        strength = isqrt(_dot(m, m))
        v = _vertical(m, a, strength)
        last = latest(self.window)
        mean_m, sum_v = mean(strength, 2), v.sum(axis=0)
        size_v = (np.abs(sum_v) + self.window) // (2 * self.window)
        dip = np.sign(sum_v) * (UNIT * size_v // np.maximum(mean_m, 1))
        features = [
            *(mean_m, std(strength, 1), mean(strength[-last:], 2)),
            *(mean(v, 2), size_v, std(v, 1), mean(v[-last:], 2)),
            *(isqrt(mean_m * mean_m - size_v * size_v), dip, mean(isqrt(_dot(g, g)), 2)),
            *_turning(m, g, lag(self.window)),
        ]
        vectors: NDArray[np.int64] = np.stack(features, axis=1).clip(INT16_MIN, INT16_MAX)
        return vectors


def latest(window: int) -> int:
    """``L`` of a window: how many of its samples count as the latest, a power of two."""
    return 1 << ((window // 4).bit_length() - 1)


def lag(window: int) -> int:
    """``k`` of a window: samples between which a change is taken, a power of two."""
    return min(latest(window), MAX_LAG)


def _dot(x: Integers, y: Integers) -> Integers:
    """Scalar products of vectors ``(samples, 3, windows)``."""
    product: Integers = np.einsum("ijk,ijk->ik", x, y)
    return product


def _vertical(m: Integers, a: Integers, strength: Integers) -> Integers:
    pull, d = isqrt(_dot(a, a)), _dot(m, a)
    size = np.minimum(np.abs(d) // np.maximum(pull, 1), np.minimum(strength, INT16_MAX))
    return np.where(pull < LEAST_PULL, 0, np.sign(d) * size)


def _turning(m: Integers, g: Integers, k: int) -> list[Integers]:
    """Features 10 to 12: how the field's change goes together with turning."""
    u = (m[k:] - m[:-k]).clip(-LIMIT, LIMIT)
    turned = g.cumsum(axis=0)
    t = (turned[k:] - turned[:-k]) // k
    middle = m[k // 2 : len(m) - k // 2]
    y, z = [1, 2, 0], [2, 0, 1]
    p = ((middle[:, y] * t[:, z] - middle[:, z] * t[:, y]) >> BITS).clip(-LIMIT, LIMIT)
    changes, turns, both = (_dot(one, other).sum(axis=0) for one, other in ((u, u), (p, p), (u, p)))
    size, sign = np.abs(both), np.sign(both)
    r = np.minimum(ratio(16 * size, _root(changes) * _root(turns), 0), UNIT)
    rest = isqrt(changes // len(u)) * isqrt(UNIT * UNIT - r * r)
    return [sign * r, sign * ratio(4 * size, turns, 0), (rest + UNIT // 2) // UNIT]


def _root(x: Integers) -> Integers:
    s = sum((x >= 1 << (32 + 2 * i)).astype(np.int64) for i in range(4))
    return isqrt(x >> 2 * s) << s


def feature_set(name: str, channel_names: Sequence[str], window: int) -> MagneticFeatures:
    """Look up ``magnetic``: 13 features of nine channels.

    Raises:
        UsageError: Impossible window, or channels without a magnetometer, an accelerometer or a gyroscope.
    """
    check_window(window, MIN_WINDOW, name)
    return MagneticFeatures(name, tuple(channel_names), window, field_triads(name, channel_names))
