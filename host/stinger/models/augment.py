"""More training windows from those there are: the other arm, and a sensor worn a little differently.

Both are exact motions of the sensor's frame, so a changed window is one that the sensor could have recorded. A mirror
turns a left arm's movement into a right arm's: under a reflection of one axis an acceleration changes its sign along
that axis, and an angular velocity, which is an axial vector, along the two others. A rotation turns both sensors alike.

Only training windows are ever changed. Features of changed windows are computed from the changed samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stinger.errors import UsageError
from stinger.features.base import motion_triads
from stinger.windows.dataset import Dataset

#: Values of ``mirror``.
AXES = ("x", "y", "z")
_BLOCK = 1024  # windows turned at a time


@dataclass(frozen=True)
class Augmentation:
    """Which copies of each training window to add.

    Attributes:
        mirror: The accelerometer axis along which the other arm's acceleration has the other sign; None for no mirror.
        rotations: How many turned copies of each window, and of its mirror image.
        degrees: Standard deviation of the angle they are turned by, about an axis in any direction.
        seed: Seed of axes and angles.
    """

    mirror: str | None = None
    rotations: int = 0
    degrees: float = 20.0
    seed: int = 1

    def __post_init__(self) -> None:
        if self.mirror is not None and self.mirror not in AXES:
            raise UsageError(f"unknown mirror axis {self.mirror!r}; choose one of {', '.join(AXES)}")
        if self.rotations < 0 or not 0 <= self.degrees <= 180:
            raise UsageError(
                f"rotations must be 0 or more, and degrees 0 to 180, not {self.rotations} and {self.degrees:g}"
            )

    @property
    def copies(self) -> int:
        """Windows that each one becomes, itself included."""
        return (1 if self.mirror is None else 2) * (1 + self.rotations)


def augment(
    windows: NDArray[np.int16], channels: Sequence[str], augmentation: Augmentation
) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Make the copies.

    Args:
        windows: int16, shape ``(n, window, channels)``.
        channels: Names of the channels; they must hold an accelerometer and a gyroscope.
        augmentation: What to add.

    Returns:
        The windows ``(n * copies, window, channels)``: first all as they are, then all mirrored, then all turned and so
        on, rounded to int16 and limited to its range; and for each the row it comes from, int64 ``(n * copies,)``.

    Raises:
        UsageError: There is no accelerometer, or no gyroscope.
    """
    sensors = motion_triads("augmented", channels)
    random = np.random.default_rng(augmentation.seed)
    found = []
    for copy in range(1 + augmentation.rotations):
        for mirrored in (False, True)[: 1 if augmentation.mirror is None else 2]:
            signs = _signs(len(channels), sensors, augmentation.mirror) if mirrored else None
            turns = _rotations(len(windows), augmentation.degrees, random) if copy else None
            found.append(_changed(windows, sensors, signs, turns))
    return np.concatenate(found), np.tile(np.arange(len(windows)), len(found))


def augment_dataset(dataset: Dataset, augmentation: Augmentation) -> Dataset:
    """Make the copies of every window of a dataset; whatever else is known of a window, its copies share.

    They share its group, session and subject too, so that no split can part them.
    """
    windows, rows = augment(dataset.windows, [c.name for c in dataset.channels], augmentation)
    columns = {
        name: getattr(dataset, name)[rows]
        for name in ("labels", "groups", "held_out", "session", "start", "embargoed", "subject")
        if getattr(dataset, name) is not None
    }
    meta = dict(dataset.meta)
    index = meta.get("index")
    if isinstance(index, dict):
        meta["index"] = {name: column[rows] for name, column in index.items()}
    return replace(dataset, windows=windows, meta=meta, **columns)


def _changed(
    windows: NDArray[np.int16],
    sensors: tuple[int, int],
    signs: NDArray[np.int32] | None,
    turns: NDArray[np.float64] | None,
) -> NDArray[np.int16]:
    changed = windows.copy() if signs is None else (windows * signs).clip(-32768, 32767).astype(np.int16)
    if turns is None:
        return changed
    for start in range(0, len(windows), _BLOCK):
        part = slice(start, start + _BLOCK)
        for first in sensors:
            vectors = changed[part, :, first : first + 3].astype(np.float64)
            turned = np.rint(vectors @ turns[part].transpose(0, 2, 1)).clip(-32768, 32767)
            changed[part, :, first : first + 3] = turned.astype(np.int16)
    return changed


def _signs(channels: int, sensors: tuple[int, int], mirror: str | None) -> NDArray[np.int32]:
    signs = np.ones(channels, dtype=np.int32)
    for axis, name in enumerate(AXES):
        signs[sensors[0 if name == mirror else 1] + axis] = -1
    return signs


def _rotations(n: int, degrees: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Rotation matrices ``(n, 3, 3)`` by Rodrigues' formula."""
    axis = random.normal(size=(n, 3))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    angle = np.deg2rad(random.normal(0.0, degrees, size=n))[:, None, None]
    x, y, z = axis.T
    zero = np.zeros(n)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(n, 3, 3)
    turns: NDArray[np.float64] = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
    return turns
