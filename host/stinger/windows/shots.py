"""Windows before shots, and windows that are certainly not, with a share of the shots held out.

A positive ends ``lead_ms`` before an accepted trigger edge; see `stinger.windows.negatives` for the others.
What cannot be cut is counted with its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.sessions.session import Session
from stinger.windows.arrays import count_in_windows, stretch_of, take_windows
from stinger.windows.dataset import Dataset
from stinger.windows.describe import common_format, input_facts, window_samples
from stinger.windows.negatives import negative_candidates, sample_negatives
from stinger.windows.shot_rules import Shots, ShotWindows, find_shots, trigger_down
from stinger.windows.split import choose_groups, embargoed

CLASSES = ("idle", "shot")
#: With fewer positives neither training nor the held-out metric means anything.
MIN_POSITIVES = 4


@dataclass(frozen=True)
class _Cut:
    """Windows of one session, positives first: label, first sample, and the index's columns of each."""

    labels: NDArray[np.uint8]
    start: NDArray[np.int64]
    index: dict[str, NDArray[np.int64]]
    shots: Shots
    refused: Counter[str]


def cut_shots(sessions: Sequence[Session], spec: ShotWindows | None = None) -> Dataset:
    """Cut positives and negatives from blaster sessions and hold out a share of the shots.

    A window's group is its nearest accepted shot, numbered through all sessions. Training windows that share a
    raw sample with a held-out window are dropped.

    Args:
        sessions: Recordings with a trigger and the same channels and rate.
        spec: How to cut.

    Returns:
        Classes ``("idle", "shot")``; positives first, then negatives, each in the order of sessions and time.

    Raises:
        InputError: No shots, too few of them, or nothing to tell them from.
    """
    spec = spec or ShotWindows()
    channels, period_us = common_format(sessions)
    window = window_samples(spec.window_ms, period_us)
    lead = window_samples(spec.lead_ms, period_us)
    rng = np.random.default_rng(spec.seed)
    cuts = [_cut_session(session, spec, window, lead, rng) for session in sessions]
    refused = sum((cut.refused for cut in cuts), Counter[str]())
    _require_shots(sessions, cuts, refused)

    labels = np.concatenate([cut.labels for cut in cuts])
    order = np.argsort(labels == 0, kind="stable")
    labels = labels[order]
    session_of = np.repeat(np.arange(len(cuts)), [len(cut.start) for cut in cuts])[order]
    start = np.concatenate([cut.start for cut in cuts])[order]
    index = {name: np.concatenate([cut.index[name] for cut in cuts])[order] for name in cuts[0].index}
    first_shot = np.cumsum([0, *(len(cut.shots.accepted) for cut in cuts)])
    groups = index["shot_num"] + first_shot[session_of]

    held_out = np.isin(groups, choose_groups(groups[labels == 1], spec.held_out, rng))
    dropped = embargoed(session_of, start, window, held_out)
    refused["training window: shares samples with a held-out one"] += int(dropped.sum())
    keep = ~dropped
    labels, session_of, start, held_out = labels[keep], session_of[keep], start[keep], held_out[keep]
    _require_both(sessions, labels, held_out)

    windows = np.empty((len(start), window, len(channels)), dtype=np.int16)
    for i, session in enumerate(sessions):
        here = session_of == i
        windows[here] = take_windows(session.samples, start[here], window)
    return Dataset(
        windows=windows,
        labels=labels,
        classes=CLASSES,
        groups=groups[keep],
        held_out=held_out,
        session=session_of,
        start=start,
        channels=channels,
        period_us=period_us,
        lead_us=lead * period_us,
        meta={
            "kind": "shots",
            "parameters": {**asdict(spec), "near_ms": list(spec.near_ms)},
            "inputs": input_facts(sessions),
            "shots": {
                "accepted": int(first_shot[-1]),
                "too soon after the last": sum(len(cut.shots.rejected) for cut in cuts),
            },
            "refused": {reason: count for reason, count in sorted(refused.items()) if count},
            "index": {name: column[keep].tolist() for name, column in index.items()},
        },
    )


def _cut_session(session: Session, spec: ShotWindows, window: int, lead: int, rng: np.random.Generator) -> _Cut:
    shots = find_shots(session, spec.min_shot_gap_ms)
    edges = shots.accepted
    refused: Counter[str] = Counter()
    number = np.arange(len(edges), dtype=np.int64)

    def keep(good: NDArray[np.bool_], reason: str) -> None:
        nonlocal number
        refused[reason] += int((~good).sum())
        number = number[good]

    keep(edges >= lead + window, "shot: window starts before the recording")
    # Across a gap the lead would not be the lead, so nothing up to the edge may be missing.
    stretch = stretch_of(session)
    keep(stretch[edges[number] - lead - window] == stretch[edges[number]], "shot: a gap before it")
    down = count_in_windows(trigger_down(session), edges[number] - lead - window, window)
    keep(down == 0, "shot: trigger down inside the window")

    positive = edges[number] - lead - window
    candidates = negative_candidates(session, spec, window, lead)
    negative = sample_negatives(session, spec, candidates, positive, window=window, rng=rng)
    start = np.concatenate([positive, negative])
    # A negative is named by the sample after its window.
    event = np.concatenate([edges[number], np.minimum(negative + window, len(session) - 1)])
    shot = _nearest(session.t_us[edges], session.t_us[event])
    shot_us = session.t_us[edges[shot]]
    times_us = {
        "shot_timestamp_ms": shot_us,
        "distance_to_shot_ms": session.t_us[event] - shot_us,
        "event_timestamp_ms": session.t_us[event],
        "window_start_ms": session.t_us[start],
        "window_end_ms": session.t_us[start + window - 1],
    }
    return _Cut(
        labels=np.repeat(np.array([1, 0], dtype=np.uint8), [len(positive), len(negative)]),
        start=start,
        index={"shot_num": shot} | {name: us // 1000 for name, us in times_us.items()},
        shots=shots,
        refused=refused,
    )


def _nearest(shot_us: NDArray[np.int64], at_us: NDArray[np.int64]) -> NDArray[np.int64]:
    """Index of the shot nearest in time, ties to the earlier; empty ``at_us`` gives an empty answer."""
    after = np.searchsorted(shot_us, at_us)
    right = np.minimum(after, len(shot_us) - 1)
    left = np.maximum(after - 1, 0)
    nearer_right = np.abs(shot_us[right] - at_us) < np.abs(at_us - shot_us[left])
    return np.where(nearer_right, right, left).astype(np.int64)


def _require_shots(sessions: Sequence[Session], cuts: Sequence[_Cut], refused: Counter[str]) -> None:
    name = sessions[0].name + (f" and {len(sessions) - 1} more" if len(sessions) > 1 else "")
    accepted = sum(len(cut.shots.accepted) for cut in cuts)
    usable = sum(int(cut.labels.sum()) for cut in cuts)
    if not accepted:
        samples = sum(map(len, sessions))
        raise InputError(f"{name}: no shots in {samples} samples; record a session in which the trigger is pulled")
    if usable < MIN_POSITIVES:
        why = "; ".join(f"{count} x {reason}" for reason, count in refused.items() if count) or "none refused"
        raise InputError(
            f"{name}: {usable} usable of {accepted} shots, at least {MIN_POSITIVES} are needed ({why}); record more"
        )


def _require_both(sessions: Sequence[Session], labels: NDArray[np.uint8], held_out: NDArray[np.bool_]) -> None:
    for label, kind in enumerate(CLASSES):
        for split, name in ((False, "training"), (True, "held-out")):
            if not ((labels == label) & (held_out == split)).any():
                raise InputError(
                    f"{sessions[0].name}: no {name} windows of class {kind!r}; record a longer session with pauses "
                    "between shots"
                )
