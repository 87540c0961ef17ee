"""A dataset: labelled windows and where each one came from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stinger.sessions.session import Channel


@dataclass(frozen=True)
class Dataset:
    """Labelled windows cut from one or more sessions.

    Attributes:
        windows: int16, shape ``(n, window, channels)``.
        labels: Class index of each window, uint8, shape ``(n,)``.
        classes: Class names.
        groups: What must not be torn apart by a split (shot number or recording), int64, shape ``(n,)``.
        held_out: True for windows that no training may see, shape ``(n,)``.
        session: Index of the session each window was cut from, int64, shape ``(n,)``.
        start: Index of each window's first sample in its session, int64, shape ``(n,)``.
        channels: What the windows' channels are.
        period_us: Sample period in microseconds.
        lead_us: Time from window end to event, microseconds.
        meta: Parameters, counts of what was refused and why, input hashes; plain JSON values.
    """

    windows: NDArray[np.int16]
    labels: NDArray[np.uint8]
    classes: tuple[str, ...]
    groups: NDArray[np.int64]
    held_out: NDArray[np.bool_]
    session: NDArray[np.int64]
    start: NDArray[np.int64]
    channels: tuple[Channel, ...]
    period_us: int
    lead_us: int
    meta: dict[str, object] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def window(self) -> int:
        """Samples per window."""
        return int(self.windows.shape[1])
