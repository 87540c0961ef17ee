"""Integer features of how a movement's parts go together: ``coupled``.

What tells one arm movement from another is less how strong its parts are than which go together: in which posture the
arm is fast, which way it tilts as it turns. ``coupled`` is ``rich`` (`stinger.features.integer`, its triads here are
the accelerometer ``a`` and the gyroscope ``g``) and 36 more. For a window of ``N`` int16 samples, ``//`` and ``>>``
rounding towards minus infinity, ``isqrt`` the integer square root::

    6  steps     of ax ay az gx gy gz: 4*(|x_1 - x_0| + ... + |x_(N-1) - x_(N-2)|) // N          1/4 counts

The others look at ``B = N // d`` samples, every ``d``-th with ``d = (N + 31) // 32``, the newest among them: at least
17 of a window of 32 or more. Ten signals are taken there, oldest sample first::

    ax ay az gx gy gz        the samples
    tx ty tz                 the angle turned: t_i = g_0 + ... + g_i of each gyroscope axis      at most 2**20 in size
    w                        isqrt(gx*gx + gy*gy + gz*gz)                                        at most 56,755

    e_i = B*x_i - (x_0 + ... + x_(B-1)) of each signal x, its distance from the mean             at most 2**24 in size
    k   = the smallest k >= 0 with max|e_i| < 2**(12 + k)                                        at most 13
    v_i = e_i >> k                                                                               -4096 to 4095
    r   = isqrt(v_0*v_0 + ... + v_(B-1)*v_(B-1))                                                 at most 23,170
    q   = 2**26 // r, or 0 if r < 2048: a signal that hardly moves goes with nothing             at most 2**15

    3  angles    size of the turning about each gyroscope axis: (r << k) >> 9 of tx ty tz
    9  a, g      correlation of ax ay az (outer) with gx gy gz (inner)                           1/1024
    9  t, g      of tx ty tz (outer) with gx gy gz (inner)
    9  w, all    of w with ax ay az gx gy gz tx ty tz

    correlation of x with y = sign(c) * (((((|c| >> 12) * q_x) >> 14) * q_y) >> 16), c the sum of v_i(x) * v_i(y)

Every feature is finally limited to int16. Everything fits 32 bits, ``|c| <= r_x * r_y`` (nearly) seeing to it that
products with ``q`` do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.features.arithmetic import INT16_MAX, Integers, isqrt
from stinger.features.base import BlockFeatures, check_window, motion_triads
from stinger.features.integer import SummaryFeatures

#: Samples that the signals are taken of, at most.
MAX_POINTS = 32
#: With fewer samples a correlation says nothing.
MIN_WINDOW = 4
#: Bits of a centred signal, without its sign.
BITS = 12
#: Smallest size of a centred signal that goes with others.
LEAST = 2048
#: Signals correlated with each other, outer and inner ones; 0 to 2 are a, 3 to 5 g, 6 to 8 the angles, 9 the speed.
PAIRS = (((0, 1, 2), (3, 4, 5)), ((6, 7, 8), (3, 4, 5)), ((9,), tuple(range(9))))


@dataclass(frozen=True)
class CoupledFeatures(BlockFeatures):
    """``coupled`` for one window shape; ``triads`` are the accelerometer and the gyroscope."""

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each feature, in the order of the vector."""
        channels = [self.channel_names[first + i] for first in self.triads for i in range(3)]
        angles = [f"angle_{channel}" for channel in channels[3:]]
        signals = [*channels, *angles, f"|{channels[3][:-1]}|"]
        names = [f"step_{channel}" for channel in channels] + angles
        names += [f"corr_{signals[i]}_{signals[j]}" for outer, inner in PAIRS for i in outer for j in inner]
        return (*self._rich.names, *names)

    @property
    def _rich(self) -> SummaryFeatures:
        return SummaryFeatures("rich", self.channel_names, self.window, self.triads)

    def _block(self, windows: NDArray[Any]) -> NDArray[np.int64]:
        chosen = [first + i for first in self.triads for i in range(3)]
        x = windows[:, :, chosen].transpose(1, 2, 0).astype(np.int64, order="C")
        steps = 4 * np.abs(np.diff(x, axis=0)).sum(axis=0) // self.window
        at = points(self.window)
        speed = isqrt((x[at, 3:] ** 2).sum(axis=1, keepdims=True))
        signals = np.concatenate([x[at], x[at, 3:].cumsum(axis=0), speed], axis=1)
        v, k, r = _centred(signals)
        parts = [steps, (r << k)[6:9] >> 9, *(_correlations(v, r, *pair) for pair in PAIRS)]
        rest: NDArray[np.int64] = np.concatenate(parts).T.clip(max=INT16_MAX)
        return np.concatenate([self._rich._block(windows), rest], axis=1)


def points(window: int) -> NDArray[np.int64]:
    """Which samples of a window the signals are taken of."""
    spacing = -(-window // MAX_POINTS)
    return np.arange(window - 1, -1, -spacing)[: window // spacing][::-1]


def _centred(signals: Integers) -> tuple[Integers, Integers, Integers]:
    """``v``, ``k`` and ``r`` of signals ``(points, signals, windows)``."""
    e = len(signals) * signals - signals.sum(axis=0)
    largest = np.abs(e).max(axis=0)
    k = np.maximum(np.frexp(largest.astype(np.float64))[1].astype(np.int64) - BITS, 0)  # frexp: bits of an integer
    v = e >> k
    return v, k, isqrt((v * v).sum(axis=0))


def _correlations(v: Integers, r: Integers, outer: Sequence[int], inner: Sequence[int]) -> Integers:
    q = np.where(r < LEAST, 0, 2**26 // np.maximum(r, 1))
    c = np.einsum("bin,bjn->ijn", v[:, outer], v[:, inner])
    size = ((((np.abs(c) >> 12) * q[list(outer), None]) >> 14) * q[list(inner)]) >> 16
    result: Integers = np.sign(c) * size
    return result.reshape(-1, result.shape[-1])


def feature_set(name: str, channel_names: Sequence[str], window: int) -> CoupledFeatures:
    """Look up ``coupled``: 66 features of six channels.

    Raises:
        UsageError: Impossible window, or channels without an accelerometer or a gyroscope.
    """
    check_window(window, MIN_WINDOW, name)
    return CoupledFeatures(name, tuple(channel_names), window, motion_triads(name, channel_names))
