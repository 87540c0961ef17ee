"""What a shot is in a recording, and the rules by which windows are cut around shots."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stinger.errors import UsageError
from stinger.sessions.session import Session


@dataclass(frozen=True)
class ShotWindows:
    """How windows are cut around shots; times in milliseconds.

    Attributes:
        window_ms: Length of a window.
        lead_ms: From a positive's end to its trigger edge.
        min_shot_gap_ms: An edge this soon after the last accepted one is the same shot.
        avoid_after_ms: Recoil and reaction after an edge, forbidden to negatives.
        negatives_per_positive: Negatives wanted for each positive.
        near_share: Share of the negatives that end shortly before a positive begins.
        near_ms: Nearest and farthest end of a near negative before the positive's start.
        moving_share: Share of the negatives, from anywhere, that show motion.
        still_quantile: The stillest share of all candidates, which does not count as motion.
        min_separation_ms: Least time between the ends of two negatives.
        held_out: Share of the shots held out.
        seed: Seed of every choice.
    """

    window_ms: float = 500
    lead_ms: float = 100
    min_shot_gap_ms: float = 1000
    avoid_after_ms: float = 1000
    negatives_per_positive: int = 12
    near_share: float = 0.4
    near_ms: tuple[float, float] = (0, 2000)
    moving_share: float = 0.45
    still_quantile: float = 0.25
    min_separation_ms: float = 100
    held_out: float = 0.25
    seed: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot be cut."""
        times = (self.lead_ms, self.min_shot_gap_ms, self.avoid_after_ms, self.min_separation_ms, *self.near_ms)
        if self.window_ms <= 0 or min(times) < 0 or self.negatives_per_positive < 1:
            raise UsageError("window, times and negatives per positive must be positive")
        shares = (self.near_share, self.moving_share, self.still_quantile)
        if not all(0 <= share <= 1 for share in shares) or self.near_share + self.moving_share > 1:
            raise UsageError("shares of negatives must be 0..1 and near + moving at most 1")
        if not 0 < self.held_out < 1:
            raise UsageError(f"the held-out share must be above 0 and below 1, is {self.held_out}")


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
    for edge in edges.tolist():
        if not accepted or session.t_us[edge] - session.t_us[accepted[-1]] >= min_gap_ms * 1000:
            accepted.append(edge)
    kept = np.array(accepted, dtype=np.int64)
    return Shots(kept, np.setdiff1d(edges, kept))
