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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.errors import UsageError
from stinger.features.arithmetic import INT16_MAX, isqrt, mean, std
from stinger.features.base import MAX_WINDOW, BlockFeatures, FeatureSet, check_window, find_triads

__all__ = ["MAX_WINDOW", "FeatureSet", "SummaryFeatures", "feature_set", "isqrt"]


@dataclass(frozen=True)
class SummaryFeatures(BlockFeatures):
    """``summary`` or ``rich`` features for one window shape."""

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each feature, in the order of the vector."""
        return summary_names(self.channel_names, self.triads, rich=self.name == "rich")

    def _block(self, windows: NDArray[Any]) -> NDArray[np.int64]:
        # Samples first, windows last: every operation then runs along memory.
        x = windows.transpose(1, 2, 0).astype(np.int64, order="C")
        size = np.abs(x)
        blocks = [mean(x, 1), std(x, 1), size.max(axis=0)]
        if self.name == "rich":
            blocks.append(mean(size, 1))
        for first in self.triads:
            m = isqrt((x[:, first : first + 3] ** 2).sum(axis=1))
            blocks.append(np.stack([mean(m, 2), std(m, 2), (m.max(axis=0) + 1) // 2]))
        vectors: NDArray[np.int64] = np.concatenate(blocks).T
        return vectors.clip(max=INT16_MAX)


def summary_names(channel_names: Sequence[str], triads: Sequence[int], *, rich: bool) -> tuple[str, ...]:
    """Name the features of a ``summary`` or ``rich`` set, integer or float: by kind, then by channel or triad."""
    kinds = ("mean", "std", "max", "mean_abs") if rich else ("mean", "std", "max")
    per_channel = [f"{kind}_{channel}" for kind in kinds for channel in channel_names]
    per_triad = [f"{kind}_|{channel_names[t][:-1]}|" for t in triads for kind in ("mean", "std", "max")]
    return tuple(per_channel + per_triad)


def feature_set(name: str, channel_names: Sequence[str], window: int) -> SummaryFeatures:
    """Look up ``summary`` or ``rich``; `stinger.features.sets` knows the others too.

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
    check_window(window)
    channels = tuple(channel_names)
    return SummaryFeatures(name, channels, window, find_triads(channels) if name == "rich" else ())
