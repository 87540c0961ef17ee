"""What a feature set is, and what all of them share: triads of channels, checks of shape, work in blocks.

A *triad* is three consecutive channels whose names are one stem followed by x, y and z: ``ax ay az``, ``acc_x acc_y
acc_z``, ``gyrX gyrY gyrZ``. Its magnitude does not depend on how the sensor is turned. Any triad will do for some
sets; others need to know which one is the accelerometer and which the gyroscope, which the stem says: `motion_triads`,
and `field_triads` where it takes a magnetometer, too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from stinger.errors import UsageError

#: Largest window for which every intermediate value provably fits the device's 64-bit arithmetic.
MAX_WINDOW = 1024
#: Values of windows computed at a time, so that what lies between stays in the cache.
_BLOCK_VALUES = 1 << 15
#: By sensor, stems of its triads in lower case, without separators at the end; and how to explain them.
_SENSORS = {
    "a magnetometer": ({"m", "mag", "magnet", "magnetic", "magnetic_field", "magnetometer"}, "mx, my, mz"),
    "an accelerometer": ({"a", "acc", "accel", "acceleration", "accelerometer"}, "ax, ay, az"),
    "a gyroscope": ({"g", "gyr", "gyro", "gyroscope", "rotation"}, "gx, gy, gz"),
}


class FeatureSet(Protocol):
    """What a window becomes before a model sees it, for one window shape.

    Sets with ``integer`` true are the device's: exact on int16 samples, int16 results. The others are floating-point
    definitions for comparison. Every set is a value: hashable where its parts are, and safe to send to a process.
    """

    @property
    def name(self) -> str:
        """What users call it."""
        ...

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the window's channels, in order."""
        ...

    @property
    def window(self) -> int:
        """Samples per window."""
        ...

    @property
    def triads(self) -> tuple[int, ...]:
        """Index of the first channel of each triad whose magnitude is used, in order of use."""
        ...

    @property
    def integer(self) -> bool:
        """Whether results are int16, defined exactly; otherwise they are float64."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each feature, in the order of the vector."""
        ...

    def __len__(self) -> int:
        """Return the number of features."""
        ...

    def compute(self, windows: NDArray[np.int16]) -> NDArray[Any]:
        """Compute the features of int16 windows ``(n, window, channels)``: int16 or float64 ``(n, features)``."""
        ...


@dataclass(frozen=True)
class BlockFeatures(ABC):
    """A feature set computed block by block; what is particular to one is `names` and `_block`.

    Attributes:
        name: What users call it.
        channel_names: Names of the window's channels, in order.
        window: Samples per window.
        triads: Index of the first channel of each (x, y, z) triad whose magnitude is used.
    """

    name: str
    channel_names: tuple[str, ...]
    window: int
    triads: tuple[int, ...] = ()

    #: Whether results are int16; otherwise they are float64.
    integer: ClassVar[bool] = True

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Name of each feature, in the order of the vector."""

    @abstractmethod
    def _block(self, windows: NDArray[Any]) -> NDArray[Any]:
        """Compute the features of so few windows that their intermediate values stay in the cache."""

    def __len__(self) -> int:
        return len(self.names)

    def compute(self, windows: NDArray[np.int16]) -> NDArray[Any]:
        """Compute the features of many windows.

        Args:
            windows: Shape ``(n, window, channels)``, int16; a view, of sliding windows for instance, is welcome.

        Returns:
            Shape ``(n, features)``: int16, bit for bit what the device computes, if ``integer``; else float64.

        Raises:
            UsageError: The windows have another shape or type.
        """
        return self._checked(windows, np.int16)

    def _checked(self, windows: NDArray[Any], dtype: type[np.number[Any]]) -> NDArray[Any]:
        expected = (self.window, len(self.channel_names))
        if windows.dtype != dtype or windows.shape[1:] != expected:
            raise UsageError(
                f"features need {dtype.__name__} windows of shape (n, {expected[0]}, {expected[1]}), "
                f"got {windows.dtype}{windows.shape}"
            )
        vectors = np.empty((len(windows), len(self)), dtype=np.int16 if self.integer else np.float64)
        block = max(1, _BLOCK_VALUES // (self.window * max(1, len(self.channel_names))))
        for at in range(0, len(windows), block):
            vectors[at : at + block] = self._block(windows[at : at + block])
        return vectors


def check_window(window: int, least: int = 2, name: str = "") -> None:
    """Refuse an impossible window.

    Args:
        window: Samples per window.
        least: The fewest samples from which every feature is defined.
        name: Of the feature set that needs them, if it needs more than others do.

    Raises:
        UsageError: Too few samples, or more than `MAX_WINDOW`.
    """
    if not least <= window <= MAX_WINDOW:
        what = f"a window of {name} features" if name else "a window"
        raise UsageError(f"{what} must have {least} to {MAX_WINDOW} samples, not {window}")


def find_triads(channel_names: Sequence[str]) -> tuple[int, ...]:
    """Return the index of the first channel of each triad."""
    return tuple(i for i in range(len(channel_names) - 2) if _is_triad(channel_names[i : i + 3]))


def motion_triads(name: str, channel_names: Sequence[str]) -> tuple[int, int]:
    """Find the accelerometer and the gyroscope among channels.

    Args:
        name: Of the feature set that needs them, for the message.
        channel_names: Names of the channels, in order.

    Returns:
        Index of the accelerometer's first channel and of the gyroscope's. The first one of each counts.

    Raises:
        UsageError: One of them is missing.
    """
    accelerometer, gyroscope = _find_sensors(name, channel_names, ("an accelerometer", "a gyroscope"))
    return accelerometer, gyroscope


def field_triads(name: str, channel_names: Sequence[str]) -> tuple[int, int, int]:
    """Find the magnetometer, the accelerometer and the gyroscope; as `motion_triads`.

    Raises:
        UsageError: One of them is missing.
    """
    sensors = ("a magnetometer", "an accelerometer", "a gyroscope")
    magnetometer, accelerometer, gyroscope = _find_sensors(name, channel_names, sensors)
    return magnetometer, accelerometer, gyroscope


def _find_sensors(name: str, channel_names: Sequence[str], sensors: Sequence[str]) -> list[int]:
    stems = [(_stem(channel_names[i]), i) for i in find_triads(channel_names)]
    found = [[i for stem, i in stems if stem in _SENSORS[sensor][0]] for sensor in sensors]
    missing = [f"{sensor} ({_SENSORS[sensor][1]})" for sensor, at in zip(sensors, found, strict=True) if not at]
    if missing:
        raise UsageError(
            f"{name} features need {' and '.join(missing)}; the channels are {', '.join(channel_names) or 'none'}; "
            "choose summary, rich or flatten, which take any channels"
        )
    return [at[0] for at in found]


def _is_triad(names: Sequence[str]) -> bool:
    stems = {n[:-1] for n in names}
    return len(stems) == 1 and [n[-1:].lower() for n in names] == ["x", "y", "z"]


def _stem(name: str) -> str:
    return name[:-1].rstrip("_-. ").lower()
