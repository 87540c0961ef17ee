"""Windows that certainly precede no shot.

A negative lies wholly outside every edge's forbidden zone, from ``lead + window`` before the edge to
``avoid_after_ms`` after it, so that neither a shot's preparation nor its recoil is ever taught as "idle".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stinger.sessions.session import Session
from stinger.windows.arrays import count_in_windows, motion_score, stretch_of
from stinger.windows.shot_rules import ShotWindows, rising_edges, trigger_down


def negative_candidates(session: Session, spec: ShotWindows, window: int, lead: int) -> NDArray[np.int64]:
    """Every start of a window wholly outside the forbidden zones, without a gap or a trigger inside.

    Args:
        session: A recording.
        spec: Says how long the zone after an edge is.
        window: Samples per window.
        lead: Samples from a positive's end to its edge.

    Returns:
        int64, ascending.
    """
    trigger = trigger_down(session)
    forbidden = trigger.copy()
    edge_us = session.t_us[rising_edges(trigger)]
    before_us = (lead + window) * session.period_us
    first = np.searchsorted(session.t_us, edge_us - before_us, side="left")
    last = np.searchsorted(session.t_us, edge_us + spec.avoid_after_ms * 1000, side="right")
    for a, b in zip(first.tolist(), last.tolist(), strict=True):
        forbidden[a:b] = True
    stretch = stretch_of(session)
    start = np.arange(max(0, len(session) - window + 1), dtype=np.int64)
    good = count_in_windows(forbidden, start, window) == 0
    good &= stretch[start] == stretch[start + window - 1]
    chosen: NDArray[np.int64] = start[good]
    return chosen


def sample_negatives(
    session: Session,
    spec: ShotWindows,
    candidates: NDArray[np.int64],
    positives: NDArray[np.int64],
    *,
    window: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Choose negatives: first near ones, then moving ones, then any, no two ends too close in time.

    Near ones are what happens just before a shot's preparation, moving ones are the running and handling that
    a model must not take for it; the rest keeps quiet moments represented.

    Args:
        session: A recording.
        spec: How many of which kind, and how far apart.
        candidates: Starts to choose from, ascending.
        positives: Starts of the session's positives.
        window: Samples per window.
        rng: Source of the choice.

    Returns:
        Chosen starts, ascending; fewer than wanted where the recording has no more.
    """
    wanted = spec.negatives_per_positive * len(positives)
    if not len(candidates) or not wanted:
        return candidates[:0]
    end_us = session.t_us[candidates + window - 1]
    near = _in_bands(end_us, session.t_us[positives], spec.near_ms)
    score = motion_score(session, candidates, window)
    moving = score >= np.quantile(score, spec.still_quantile)
    free = np.ones(len(candidates), dtype=np.bool_)
    taken: list[int] = []
    for eligible, share in (
        (near, spec.near_share),
        (moving, spec.near_share + spec.moving_share),
        (np.ones_like(near), 1.0),
    ):
        for i in rng.permutation(np.flatnonzero(eligible)).tolist():
            if len(taken) >= round(share * wanted):
                break
            if free[i]:
                taken.append(i)
                apart_us = spec.min_separation_ms * 1000
                a = int(np.searchsorted(end_us, end_us[i] - apart_us, side="right"))
                b = int(np.searchsorted(end_us, end_us[i] + apart_us, side="left"))
                free[a : max(b, i + 1)] = False
    return candidates[np.sort(np.array(taken, dtype=np.int64))]


def _in_bands(
    end_us: NDArray[np.int64], positive_us: NDArray[np.int64], near_ms: tuple[float, float]
) -> NDArray[np.bool_]:
    """Mark ends that lie in the near band before some positive's start."""
    near = np.zeros(len(end_us), dtype=np.bool_)
    for begin in positive_us.tolist():
        near |= (end_us >= begin - near_ms[1] * 1000) & (end_us <= begin - near_ms[0] * 1000)
    return near
