"""Windows before shots, and windows that are certainly not, of one session.

A positive ends ``lead_ms`` before an accepted trigger edge; see `stinger.windows.negatives` for the others.
What cannot be cut is counted with its reason.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from stinger.sessions.session import Session
from stinger.windows.arrays import count_in_windows, stretch_of, take_windows
from stinger.windows.cuts import FATES, GAP_BEFORE, TOO_EARLY, TRIGGER_DOWN, USED, Cut, CutShots
from stinger.windows.describe import select_channels, session_facts, window_samples
from stinger.windows.negatives import count_lies, find_candidates, forbidden_zones
from stinger.windows.sampling import sample_negatives
from stinger.windows.shot_rules import Shots, find_shots, nearest_shot, trigger_down
from stinger.windows.spec import ExploreSpec

CLASSES = ("idle", "shot")


def cut_shots(session: Session, spec: ExploreSpec) -> Cut:
    """Cut positives and negatives from a blaster session; a window's group is its nearest accepted shot.

    Raises:
        UsageError: The window is too long, or a channel is not there.
    """
    columns = select_channels(session, spec.channels)
    window = window_samples(spec.shot_window_ms, session.period_us)
    lead = window_samples(spec.lead_ms, session.period_us)
    shots = find_shots(session, spec.min_shot_gap_ms)
    fate = _fates(session, shots, spec, window, lead)
    used = fate == USED
    positive = shots.accepted[used] - lead - window

    candidates = find_candidates(session, shots, spec, window, lead)
    negative_end = sample_negatives(candidates, positive, spec, window)
    start = np.concatenate([positive, negative_end - window])
    labels = np.repeat(np.array([1, 0], dtype=np.uint8), [len(positive), len(negative_end)])
    # A negative is named by the sample after its window.
    event = np.concatenate([shots.accepted[used], negative_end])
    refused = Counter(f"shot: {FATES[what]}" for what in fate[~used].tolist()) + candidates.refused
    refused["idle: fewer than wanted"] = max(0, spec.neg_mult * len(positive) - len(negative_end))
    tolerated: Counter[str] = Counter()
    if not spec.strict:
        tolerated = count_lies(session, forbidden_zones(session, shots, spec, window, lead), start, labels, window)
    index = _index(session, shots, start, event, window)
    return Cut(
        facts=session_facts(session),
        kind="shots",
        channels=tuple(session.channels[i] for i in columns),
        period_us=session.period_us,
        window=window,
        lead=lead,
        names=CLASSES,
        windows=take_windows(session.samples[:, columns], start, window),
        labels=labels,
        start=start,
        group=index["shot_num"],
        groups=len(shots.accepted),
        index=index,
        refused=+refused,
        tolerated=tolerated,
        shots=CutShots(shots.accepted, session.t_us[shots.accepted] // 1000, fate),
        rejected_shots=len(shots.rejected),
    )


def _fates(session: Session, shots: Shots, spec: ExploreSpec, window: int, lead: int) -> NDArray[np.uint8]:
    """Say of each accepted shot that its window is used, or why not: indices into `FATES`."""
    start = shots.accepted - lead - window
    fate = np.full(len(start), USED, dtype=np.uint8)
    inside = start >= 0
    fate[~inside] = TOO_EARLY
    if spec.strict:
        # Across a gap the lead would not be the lead, so nothing up to the edge may be missing.
        stretch = stretch_of(session)
        gap = stretch[np.maximum(start, 0)] != stretch[shots.accepted]
        down = count_in_windows(trigger_down(session), start[inside], window) > 0
        fate[np.flatnonzero(inside)[down]] = TRIGGER_DOWN
        fate[inside & gap] = GAP_BEFORE
    return fate


def _index(
    session: Session, shots: Shots, start: NDArray[np.int64], event: NDArray[np.int64], window: int
) -> dict[str, NDArray[np.int64]]:
    edge_us = session.t_us[shots.accepted]
    shot = nearest_shot(edge_us, session.t_us[event]) if len(event) else event
    times_us = {
        "shot_timestamp_ms": edge_us[shot],
        "distance_to_shot_ms": session.t_us[event] - edge_us[shot],
        "event_timestamp_ms": session.t_us[event],
        "window_start_ms": session.t_us[start],
        "window_end_ms": session.t_us[start + window - 1],
    }
    return {"shot_num": shot} | {name: us // 1000 for name, us in times_us.items()}
