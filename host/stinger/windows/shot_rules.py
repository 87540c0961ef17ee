"""What a shot is in a recording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stinger.sessions.session import Session


@dataclass(frozen=True)
class Shots:
    """Trigger edges of one session, as sample indices (int64, ascending).

    Attributes:
        accepted: Edges that count as shots.
        rejected: Edges too soon after an accepted one.
    """

    accepted: NDArray[np.int64]
    rejected: NDArray[np.int64]


def trigger_down(session: Session) -> NDArray[np.bool_]:
    """Where the trigger is down, shape ``(n,)``; nowhere without a trigger."""
    if session.trigger is None:
        return np.zeros(len(session), dtype=np.bool_)
    return session.trigger.astype(np.bool_)


def rising_edges(down: NDArray[np.bool_]) -> NDArray[np.int64]:
    """First samples with the trigger down; a recording that begins with it down has no edge there."""
    return np.flatnonzero(down[1:] & ~down[:-1]).astype(np.int64) + 1


def find_shots(session: Session, min_gap_ms: float = 1000) -> Shots:
    """Find the rising edges of the trigger and say which are shots of their own.

    Args:
        session: A recording; without a trigger it has no shots.
        min_gap_ms: An edge is accepted when it comes at least this long after the last accepted one.
    """
    edges = rising_edges(trigger_down(session))
    accepted: list[int] = []
    last_us = None
    for edge, at_us in zip(edges.tolist(), session.t_us[edges].tolist(), strict=True):
        if last_us is None or at_us - last_us >= min_gap_ms * 1000:
            accepted.append(edge)
            last_us = at_us
    kept = np.array(accepted, dtype=np.int64)
    return Shots(kept, np.setdiff1d(edges, kept))


def nearest_shot(shot_us: NDArray[np.int64], at_us: NDArray[np.int64]) -> NDArray[np.int64]:
    """Index of the shot nearest in time, ties to the earlier; empty ``at_us`` gives an empty answer."""
    after = np.searchsorted(shot_us, at_us)
    right = np.minimum(after, len(shot_us) - 1)
    left = np.maximum(after - 1, 0)
    nearer_right = np.abs(shot_us[right] - at_us) < np.abs(at_us - shot_us[left])
    return np.where(nearer_right, right, left).astype(np.int64)
