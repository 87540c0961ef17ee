"""What one session gives to a dataset; small and picklable, so that sessions can be cut anywhere and forgotten."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stinger.sessions.session import Channel

#: What can become of a shot's window.
FATES = ("used", "window starts before the recording", "trigger down inside the window", "a gap before it")
USED, TOO_EARLY, TRIGGER_DOWN, GAP_BEFORE = range(4)


class CutShot(NamedTuple):
    """One accepted shot: the sample of its edge, when that was, and what became of its window."""

    edge: int
    timestamp_ms: int
    fate: str


@dataclass(frozen=True)
class CutShots:
    """The accepted shots of one session, in columns: a hundred sessions' shots must not fill the memory.

    Attributes:
        edge: Sample of each shot's edge, int64, shape ``(s,)``.
        timestamp_ms: When it was, int64, shape ``(s,)``.
        fate: Index into `FATES`, uint8, shape ``(s,)``.
    """

    edge: NDArray[np.int64]
    timestamp_ms: NDArray[np.int64]
    fate: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.edge)

    def __iter__(self) -> Iterator[CutShot]:
        for edge, at, fate in zip(self.edge.tolist(), self.timestamp_ms.tolist(), self.fate.tolist(), strict=True):
            yield CutShot(edge, at, FATES[fate])


def no_shots() -> CutShots:
    """The shots of a session that has none."""
    return CutShots(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.uint8))


@dataclass(frozen=True)
class Cut:
    """Windows of one session, and what is written down about it.

    Attributes:
        facts: Name, hash, size, label, subject and faults of the session; JSON values.
        kind: ``shots``, ``recordings`` or ``events``: what gave the windows their classes; None if nothing did.
        channels: What the windows' channels are.
        period_us: The session's sample period.
        window: Samples per window.
        lead: Samples from a positive's end to its edge, 0 where there are no shots.
        names: Names of the classes ``labels`` speaks of.
        windows: int16, shape ``(m, window, channels)``.
        labels: Index into ``names``, uint8, shape ``(m,)``.
        start: First sample of each window, int64, shape ``(m,)``.
        group: Number of the group each window belongs to, within the session, int64, shape ``(m,)``.
        groups: How many groups the session has.
        index: Further columns of the index, each int64 of shape ``(m,)``.
        refused: What was not cut, and why.
        tolerated: Windows that strict mode would have refused.
        shots: Where each accepted shot is and what became of it.
        rejected_shots: Trigger edges that count as no shot.
    """

    facts: dict[str, Any]
    kind: str | None
    channels: tuple[Channel, ...]
    period_us: int
    window: int
    lead: int
    names: tuple[str, ...]
    windows: NDArray[np.int16]
    labels: NDArray[np.uint8]
    start: NDArray[np.int64]
    group: NDArray[np.int64]
    groups: int
    index: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    tolerated: Counter[str] = field(default_factory=Counter)
    shots: CutShots = field(default_factory=no_shots)
    rejected_shots: int = 0

    @property
    def name(self) -> str:
        """The session's name."""
        return str(self.facts["name"])
