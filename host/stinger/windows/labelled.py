"""Windows of one session that somebody labelled: as a whole, or stretch by stretch with events."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.sessions.session import Session
from stinger.windows.arrays import take_windows
from stinger.windows.cuts import Cut
from stinger.windows.describe import select_channels, session_facts, window_samples
from stinger.windows.spec import ExploreSpec

#: Labels are stored in one byte, and a board's decision frame holds no more.
MAX_CLASSES = 32

_UNLABELLED = -1
_CONTRADICTORY = -2


def cut_labelled(session: Session, spec: ExploreSpec, kind: str) -> Cut:
    """Cut overlapping windows that lie in one label and in one gap-free stretch.

    Args:
        session: A recording.
        spec: How long the windows are and how far apart.
        kind: ``recordings``: the recording's own label, which is one group; ``events``: its events of kind
            ``label``, where a group is a stretch of one label without another between.

    Raises:
        UsageError: The window is too long, or a channel is not there.
        InputError: There are too many labels.
    """
    columns = select_channels(session, spec.channels)
    window = window_samples(spec.label_window_ms, session.period_us)
    stride = max(1, round(spec.stride * window))
    refused: Counter[str] = Counter()
    if kind == "recordings":
        names: tuple[str, ...] = () if session.label is None else (session.label,)
        owner = np.full(len(session), 0 if names else _UNLABELLED, dtype=np.int64)
        refused["recording: no label"] = int(not names)
    else:
        names, owner = _paint(session)
        refused["sample: two labels at once"] = int((owner == _CONTRADICTORY).sum())
        refused["recording: no label"] = int(not names)
    group_of = np.cumsum(np.diff(owner, prepend=owner[:1]) != 0)
    starts: list[NDArray[np.int64]] = []
    for a, b in _stretches(session, owner):
        starts.append(np.arange(a, b - window + 1, stride, dtype=np.int64))
        refused["stretch: shorter than a window"] += not len(starts[-1])
    start = np.concatenate([np.empty(0, dtype=np.int64), *starts])
    refused["recording: no stretch as long as a window"] += bool(names) and not len(start)
    return Cut(
        facts=session_facts(session),
        kind=kind if names else None,
        channels=tuple(session.channels[i] for i in columns),
        period_us=session.period_us,
        window=window,
        lead=0,
        names=names,
        windows=take_windows(session.samples[:, columns], start, window),
        labels=owner[start].astype(np.uint8),
        start=start,
        group=group_of[start],
        groups=int(group_of[-1]) + 1 if len(group_of) else 0,
        index={
            "window_start_ms": session.t_us[start] // 1000,
            "window_end_ms": session.t_us[start + window - 1] // 1000,
        },
        refused=+refused,
    )


def label_events(session: Session) -> list[tuple[int, int, str]]:
    """Samples ``[a, b)`` of each event that labels something, and its label."""
    labels = [event for event in session.events if event.kind == "label"]
    first = np.searchsorted(session.t_us, [event.start_us for event in labels], side="left")
    last = np.searchsorted(session.t_us, [event.end_us for event in labels], side="left")
    return [(int(a), int(b), event.label) for a, b, event in zip(first, last, labels, strict=True) if b > a]


def _paint(session: Session) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Names of the labels, and for each sample the index of its label."""
    events = label_events(session)
    names = tuple(sorted({label for _, _, label in events}))
    if len(names) > MAX_CLASSES:
        raise InputError(f"{session.name}: {len(names)} labels, at most {MAX_CLASSES} classes are possible")
    owner = np.full(len(session), _UNLABELLED, dtype=np.int64)
    for a, b, label in events:
        mine = names.index(label)
        here = owner[a:b]
        owner[a:b] = np.where((here == _UNLABELLED) | (here == mine), mine, _CONTRADICTORY)
    return names, owner


def _stretches(session: Session, owner: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Half-open ranges of one label without a gap."""
    begins = session.gap_before | (np.diff(owner, prepend=owner[:1]) != 0)
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(session))
    return [(int(a), int(b)) for a, b in zip(first, last, strict=True) if owner[a] >= 0]
