"""The window itself as features, row by row: for models that find their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from stinger.features.base import BlockFeatures, check_window


@dataclass(frozen=True)
class FlattenFeatures(BlockFeatures):
    """The samples as they are, int16."""

    @property
    def names(self) -> tuple[str, ...]:
        """``ax[0]``, ``ay[0]`` and so on: channel and sample."""
        return flatten_names(self.channel_names, self.window)

    def __len__(self) -> int:
        return self.window * len(self.channel_names)

    def _block(self, windows: NDArray[Any]) -> NDArray[Any]:
        return windows.reshape(len(windows), -1)


def flatten_names(channel_names: Sequence[str], window: int) -> tuple[str, ...]:
    """Name the values of a window row by row."""
    return tuple(f"{channel}[{i}]" for i in range(window) for channel in channel_names)


def feature_set(name: str, channel_names: Sequence[str], window: int) -> FlattenFeatures:
    """Look up ``flatten``.

    Raises:
        UsageError: Impossible window.
    """
    check_window(window)
    return FlattenFeatures(name, tuple(channel_names), window)
