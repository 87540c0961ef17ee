"""Where a window that precedes no shot may lie.

A candidate is named by the sample after its last one (its end). In strict mode a candidate lies wholly outside every
edge's forbidden zone, from ``lead + window`` before the edge to ``neg_avoid_post_ms`` after it, so that neither a
shot's preparation nor its recoil is ever taught as "idle". The Stinger's own exporter looks only at the end.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stinger.sessions.session import Session
from stinger.windows.arrays import running_count, running_motion, stretch_of
from stinger.windows.shot_rules import Shots, trigger_down
from stinger.windows.spec import ExploreSpec


@dataclass(frozen=True)
class Candidates:
    """Where negatives of one session may end.

    Attributes:
        allowed: For each sample, whether a window may end before it, shape ``(n,)``.
        motion: Motion of the window that ends before each sample, int64, shape ``(n,)``; 0 before the first window.
        t_us: The session's clock, shape ``(n,)``.
        refused: How many windows may not be negatives, and why.
    """

    allowed: NDArray[np.bool_]
    motion: NDArray[np.int64]
    t_us: NDArray[np.int64]
    refused: Counter[str]


def find_candidates(session: Session, shots: Shots, spec: ExploreSpec, window: int, lead: int) -> Candidates:
    """Find where negatives may end.

    Args:
        session: A recording.
        shots: Its edges.
        spec: Says how long the zones are and which edges have one.
        window: Samples per window.
        lead: Samples from a positive's end to its edge.
    """
    n = len(session)
    allowed = np.zeros(n, dtype=np.bool_)
    motion = np.zeros(n, dtype=np.int64)
    if n <= window:
        return Candidates(allowed, motion, session.t_us, Counter())
    before = running_motion(session)
    motion[window:] = before[window:n] - before[: n - window]
    forbidden = forbidden_zones(session, shots, spec, window, lead)
    lies = _what_lies(session, forbidden, window)
    if spec.strict:
        refused = lies
    else:
        refused = {"the trigger is down inside": lies["the trigger is down inside"]}
        refused["in a forbidden zone"] = forbidden[window:]
    good = np.ones(n - window, dtype=np.bool_)
    counted: Counter[str] = Counter()
    for reason, wrong in refused.items():
        counted[f"idle candidate: {reason}"] = int((good & wrong).sum())
        good &= ~wrong
    allowed[window:] = good
    return Candidates(allowed, motion, session.t_us, counted)


def forbidden_zones(session: Session, shots: Shots, spec: ExploreSpec, window: int, lead: int) -> NDArray[np.bool_]:
    """Mark the samples around edges that no negative may hold (or, as the reference has it, end before)."""
    edges = shots.accepted if spec.neg_avoid_edges == "accepted" else np.union1d(shots.accepted, shots.rejected)
    before_us = (spec.lead_ms + spec.shot_window_ms) * 1000
    if spec.strict:
        # A window rounded up to whole samples is no reason to let a negative into a positive.
        before_us = max(before_us, (lead + window) * session.period_us)
    edge_us = session.t_us[edges]
    first = np.searchsorted(session.t_us, edge_us - before_us, side="left")
    last = np.searchsorted(session.t_us, edge_us + spec.neg_avoid_post_ms * 1000, side="right")
    change = np.zeros(len(session) + 1, dtype=np.int64)
    np.add.at(change, first, 1)
    np.add.at(change, last, -1)
    marked: NDArray[np.bool_] = np.cumsum(change[:-1]) > 0
    return marked


def count_lies(
    session: Session, forbidden: NDArray[np.bool_], start: NDArray[np.int64], labels: NDArray[np.uint8], window: int
) -> Counter[str]:
    """Count the windows that strict mode would have refused, by reason; one may count for several."""
    if not len(start):
        return Counter()
    lies = _what_lies(session, forbidden, window)
    counted: Counter[str] = Counter()
    for label, name in ((1, "shot"), (0, "idle")):
        # The last window of a recording has no sample after it, so it never was a candidate.
        mine = start[(labels == label) & (start < len(session) - window)]
        for reason, wrong in lies.items():
            if label == 0 or reason != "in a forbidden zone":
                counted[f"{name}: {reason}"] = int(wrong[mine].sum())
    return +counted


def _what_lies(session: Session, forbidden: NDArray[np.bool_], window: int) -> dict[str, NDArray[np.bool_]]:
    """For each start in ``0 .. n - window - 1``: what is wrong with the window there."""
    n = len(session)
    down = running_count(trigger_down(session))
    zone = running_count(forbidden)
    stretch = stretch_of(session)
    return {
        "it spans a gap": stretch[window - 1 : n - 1] != stretch[: n - window],
        "the trigger is down inside": down[window:n] != down[: n - window],
        "in a forbidden zone": zone[window:n] != zone[: n - window],
    }
