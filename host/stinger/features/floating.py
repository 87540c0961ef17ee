"""Floating-point feature sets, as the toolchain before this one defined them, in float64.

For comparison with the integer sets, and for values that are no counts. Statistics are population statistics (ddof
0), means and sums over the ``N`` samples of a window; magnitudes are of triads of channels.

- ``float-summary``: mean, std and ``max|x|`` of each channel.
- ``float-rich``: these, ``mean|x|`` of each channel, then mean, std and max of each triad's magnitude.
- ``float-invariant``: with ``j_i = a_(i+1) - a_i`` of the accelerometer, ``m = |a|`` and ``w = |g|`` of the gyroscope:
  mean, std, max, rms of ``|j|``; std, largest size and range of ``m - mean(m)``; mean, std, max, range of ``w``;
  mean(w) of the second half less that of the first; mean ``|j|`` of the second half over that of the first, and the
  same of std(w) (the first half of ``|j|`` has ``N//2 - 1`` values; 1 if the divisor is at most 1e-6); share of
  ``sum |j|**2`` in the last ``N//4`` values (1/4 if the sum is at most 1e-6); the changes of ``|j| >= mean|j|``
  divided by ``N-2``.
- ``float-invariant-rich``: these, then the std of each gyroscope axis and of each axis of ``j``.
- ``float-flatten``: the window row by row.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from stinger.errors import UsageError
from stinger.features.base import BlockFeatures, check_window, find_triads, motion_triads
from stinger.features.flatten import flatten_names
from stinger.features.integer import summary_names
from stinger.features.invariant import MIN_WINDOW, invariant_names

#: Divisors up to here count as zero.
_TINY = 1e-6

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FloatFeatures(BlockFeatures):
    """A float64 feature set: as integer ones, but for any finite values too."""

    integer: ClassVar[bool] = False

    def compute_values(self, windows: Floats) -> Floats:
        """Compute the features of float64 windows ``(n, window, channels)``: float64 ``(n, features)``.

        Raises:
            UsageError: The windows have another shape or type.
        """
        return self._checked(windows, np.float64)

    def _block(self, windows: NDArray[Any]) -> Floats:
        # Samples first, windows last: every operation then runs along memory, and sums have one order of addition
        # however many windows there are, but for one alone, which numpy would sum pairwise.
        x = windows.transpose(1, 2, 0).astype(np.float64, order="C")
        if len(windows) == 1:
            return self._features(x.repeat(2, axis=2)).T[:1]
        return self._features(x).T

    @abstractmethod
    def _features(self, x: Floats) -> Floats:
        """Compute features ``(features, windows)`` of samples ``(samples, channels, windows)``."""


@dataclass(frozen=True)
class FloatSummary(FloatFeatures):
    """``float-summary`` and ``float-rich``."""

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each feature, as in the integer set."""
        return summary_names(self.channel_names, self.triads, rich=self.name == "float-rich")

    def _features(self, x: Floats) -> Floats:
        size = np.abs(x)
        blocks = [x.mean(axis=0), _std(x), size.max(axis=0)]
        if self.name == "float-rich":
            blocks.append(size.mean(axis=0))
        for first in self.triads:
            m = _magnitude(x[:, first : first + 3])
            blocks.append(np.stack([m.mean(axis=0), _std(m), m.max(axis=0)]))
        return np.concatenate(blocks)


@dataclass(frozen=True)
class FloatInvariant(FloatFeatures):
    """``float-invariant`` and ``float-invariant-rich``; ``triads`` are the accelerometer and the gyroscope."""

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each feature, as in the integer set."""
        return invariant_names(self.channel_names, self.triads, rich=self.name == "float-invariant-rich")

    def _features(self, x: Floats) -> Floats:
        a, g = (x[:, first : first + 3] for first in self.triads)
        j = np.diff(a, axis=0)
        features = _invariant(_magnitude(j), _magnitude(a), _magnitude(g))
        if self.name == "float-invariant-rich":
            features += [*_std(g), *_std(j)]
        return np.stack(features)


@dataclass(frozen=True)
class FloatFlatten(FloatFeatures):
    """``float-flatten``."""

    @property
    def names(self) -> tuple[str, ...]:
        """``ax[0]``, ``ay[0]`` and so on: channel and sample."""
        return flatten_names(self.channel_names, self.window)

    def _features(self, x: Floats) -> Floats:
        return x.reshape(-1, x.shape[2])


def _invariant(jerk: Floats, m: Floats, w: Floats) -> list[Floats]:
    n, half = len(m), len(m) // 2
    squares, mean_jerk = jerk * jerk, jerk.mean(axis=0)
    deviation = m - m.mean(axis=0)
    above = jerk >= mean_jerk
    first, second = jerk[: half - 1], jerk[half - 1 :]
    return [
        mean_jerk,
        _std(jerk),
        jerk.max(axis=0),
        np.sqrt(squares.mean(axis=0)),
        _std(m),
        np.abs(deviation).max(axis=0),
        np.ptp(m, axis=0),
        w.mean(axis=0),
        _std(w),
        w.max(axis=0),
        np.ptp(w, axis=0),
        w[half:].mean(axis=0) - w[:half].mean(axis=0),
        _ratio(second.mean(axis=0), first.mean(axis=0), 1.0),
        _ratio(_std(w[half:]), _std(w[:half]), 1.0),
        _ratio(squares[-(n // 4) :].sum(axis=0), squares.sum(axis=0), 0.25),
        (above[1:] != above[:-1]).sum(axis=0) / (n - 2),
    ]


def _magnitude(v: Floats) -> Floats:
    """Length of vectors ``(samples, 3, windows)``."""
    length: Floats = np.sqrt(v[:, 0] * v[:, 0] + v[:, 1] * v[:, 1] + v[:, 2] * v[:, 2])
    return length


def _std(x: Floats) -> Floats:
    """Population standard deviation along the first axis."""
    deviation = x - x.mean(axis=0)
    std: Floats = np.sqrt((deviation * deviation).mean(axis=0))
    return std


def _ratio(above: Floats, below: Floats, otherwise: float) -> Floats:
    usable = below > _TINY
    return np.where(usable, above / np.where(usable, below, 1.0), otherwise)


def feature_set(name: str, channel_names: Sequence[str], window: int) -> FloatFeatures:
    """Look up a ``float-`` feature set.

    Raises:
        UsageError: Unknown name, impossible window, or channels that lack a sensor the set needs.
    """
    channels = tuple(channel_names)
    if name in ("float-invariant", "float-invariant-rich"):
        check_window(window, MIN_WINDOW, name)
        return FloatInvariant(name, channels, window, motion_triads(name, channels))
    check_window(window)
    if name == "float-flatten":
        return FloatFlatten(name, channels, window)
    if name in ("float-summary", "float-rich"):
        return FloatSummary(name, channels, window, find_triads(channels) if name == "float-rich" else ())
    raise UsageError(f"unknown feature set {name!r}")
