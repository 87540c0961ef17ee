"""Integer feature sets: what the device computes, defined once and exactly.

For a window of ``N`` int16 samples and one channel ``x``, with ``S = sum(x)``, ``Q = sum(x*x)`` and
``A = sum(|x|)`` (population statistics, all divisions rounding towards minus infinity)::

    mean     = (2*S + N) // (2*N)                                nearest count, halves up
    std      = (isqrt(4*(N*Q - S*S) // (N*N)) + 1) // 2          nearest count
    max      = max(|x|)
    mean_abs = (2*A + N) // (2*N)

For a triad of channels (accelerometer, gyroscope) the magnitude ``m = isqrt(x*x + y*y + z*z)`` reaches
56,755, so its features are in units of two counts to fit int16::

    mean = (S + N) // (2*N)      std = (isqrt((N*Q - S*S) // (N*N)) + 1) // 2      max = (max(m) + 1) // 2

Every feature is finally limited to 32,767, so a feature vector is int16 on every platform. ``device/stinger_ml``
computes the same integers incrementally, ``stinger_export.onnx_graph`` inside the graph; ``tests/vectors`` hold
all three to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stinger.errors import UsageError

#: Largest window for which every intermediate value provably fits the device's 64-bit arithmetic.
MAX_WINDOW = 1024
_INT16_MAX = 32767
#: Values of windows computed at a time.
_BLOCK_VALUES = 1 << 15


@dataclass(frozen=True)
class FeatureSet:
    """An integer feature set for one window shape.

    Attributes:
        name: ``summary`` or ``rich``.
        channel_names: Names of the window's channels, in order.
        window: Samples per window.
        triads: Index of the first channel of each (x, y, z) triad whose magnitude is used.
    """

    name: str
    channel_names: tuple[str, ...]
    window: int
    triads: tuple[int, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each feature, in the order of the vector."""
        kinds = ("mean", "std", "max", "mean_abs") if self.name == "rich" else ("mean", "std", "max")
        per_channel = [f"{kind}_{channel}" for kind in kinds for channel in self.channel_names]
        per_triad = [f"{kind}_|{self.channel_names[t][:-1]}|" for t in self.triads for kind in ("mean", "std", "max")]
        return tuple(per_channel + per_triad)

    def __len__(self) -> int:
        return len(self.names)

    def compute(self, windows: NDArray[np.int16]) -> NDArray[np.int16]:
        """Compute the features of many windows.

        Args:
            windows: Shape ``(n, window, channels)``, int16.

        Returns:
            Shape ``(n, features)``, int16, bit for bit what the device computes.

        Raises:
            UsageError: The windows have another shape or type.
        """
        expected = (self.window, len(self.channel_names))
        if windows.dtype != np.int16 or windows.shape[1:] != expected:
            raise UsageError(
                f"features need int16 windows of shape (n, {expected[0]}, {expected[1]}), "
                f"got {windows.dtype}{windows.shape}"
            )
        vectors = np.empty((len(windows), len(self)), dtype=np.int16)
        block = max(1, _BLOCK_VALUES // (self.window * max(1, len(self.channel_names))))
        for at in range(0, len(windows), block):
            vectors[at : at + block] = self._block(windows[at : at + block])
        return vectors

    def _block(self, windows: NDArray[np.int16]) -> NDArray[np.int64]:
        """Compute the features of so few windows that their intermediate values stay in the cache."""
        x = windows.astype(np.int64)
        magnitude = np.abs(x)
        mean, std = _mean(x, 1), _std(x, 1)
        blocks = [mean, std, magnitude.max(axis=1)]
        if self.name == "rich":
            blocks.append(_mean(magnitude, 1))
        for first in self.triads:
            m = isqrt((x[:, :, first : first + 3] ** 2).sum(axis=2))[:, :, None]
            blocks += [_mean(m, 2), _std(m, 2), (m.max(axis=1) + 1) // 2]
        vector: NDArray[np.int64] = np.concatenate(blocks, axis=1)
        limited: NDArray[np.int64] = vector.clip(max=_INT16_MAX)
        return limited


def isqrt(x: NDArray[np.int64]) -> NDArray[np.int64]:
    """Integer square root: the largest ``r`` with ``r*r <= x``, elementwise, for ``0 <= x < 2**52``."""
    root = np.sqrt(x.astype(np.float64)).astype(np.int64)
    root -= root * root > x
    root += (root + 1) * (root + 1) <= x
    return root


def _mean(x: NDArray[np.int64], unit: int) -> NDArray[np.int64]:
    n = x.shape[1]
    mean: NDArray[np.int64] = (2 * x.sum(axis=1) + unit * n) // (2 * unit * n)
    return mean


def _std(x: NDArray[np.int64], unit: int) -> NDArray[np.int64]:
    n = x.shape[1]
    spread = n * (x * x).sum(axis=1) - x.sum(axis=1) ** 2
    halves = isqrt((4 // (unit * unit)) * spread // (n * n))
    return (halves + 1) // 2


def feature_set(name: str, channel_names: Sequence[str], window: int) -> FeatureSet:
    """Look up an integer feature set.

    Args:
        name: ``summary`` (mean, std, max per channel) or ``rich`` (also mean of absolute values, and mean, std
            and max of the magnitude of each triad of channels).
        channel_names: Names of the channels; consecutive names ending in x, y, z form a triad.
        window: Samples per window, 2 to `MAX_WINDOW`.

    Raises:
        UsageError: Unknown name or impossible window.
    """
    if name not in ("summary", "rich"):
        raise UsageError(f"unknown feature set {name!r}; known: summary, rich")
    if not 2 <= window <= MAX_WINDOW:
        raise UsageError(f"a window must have 2 to {MAX_WINDOW} samples, not {window}")
    channels = tuple(channel_names)
    triads: tuple[int, ...] = ()
    if name == "rich":
        triads = tuple(i for i in range(len(channels) - 2) if _is_triad(channels[i : i + 3]))
    return FeatureSet(name, channels, window, triads)


def _is_triad(names: tuple[str, ...]) -> bool:
    stems = {n[:-1] for n in names}
    return len(stems) == 1 and [n[-1:].lower() for n in names] == ["x", "y", "z"]
