"""What one session gives to a dataset; small and picklable, so that sessions can be cut anywhere and forgotten."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.sessions.session import Channel


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
        shots: One entry for each accepted shot: where it is and what became of it; JSON values.
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
    shots: tuple[dict[str, Any], ...] = ()
    rejected_shots: int = 0

    @property
    def name(self) -> str:
        """The session's name."""
        return str(self.facts["name"])
