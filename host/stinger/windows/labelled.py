"""Windows from recordings that have one label each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError, UsageError
from stinger.sessions.session import Session
from stinger.windows.arrays import take_windows
from stinger.windows.dataset import Dataset
from stinger.windows.describe import common_format, input_facts, window_samples
from stinger.windows.split import choose_stratified

#: Labels are stored in one byte, and a board's decision frame holds no more.
MAX_CLASSES = 32


@dataclass(frozen=True)
class LabelledWindows:
    """How windows are cut from labelled recordings.

    Attributes:
        window_ms: Length of a window.
        stride: Step from one window to the next, as a share of a window.
        held_out: Share of each label's recordings held out, where the recordings do not say themselves.
        seed: Seed of that choice.
    """

    window_ms: float = 1000
    stride: float = 0.5
    held_out: float = 0.25
    seed: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot be cut."""
        if self.window_ms <= 0 or not 0 < self.stride <= 1:
            raise UsageError("the window must be longer than 0 ms and the stride above 0 and at most 1")
        if not 0 < self.held_out < 1:
            raise UsageError(f"the held-out share must be above 0 and below 1, is {self.held_out}")


def cut_labelled(sessions: Sequence[Session], spec: LabelledWindows | None = None) -> Dataset:
    """Cut windows from labelled recordings; the recording is the group.

    Where recordings say whether they are for training or testing, that is the split; otherwise a share of each
    label's recordings is held out. Recordings without a label are ignored and counted.

    Args:
        sessions: Recordings with the same channels and rate, each with its label.
        spec: How to cut.

    Returns:
        Classes are the labels, sorted; windows in the order of the sessions, then of time.

    Raises:
        InputError: Fewer than two labels, or one with nothing to train on or nothing held out.
    """
    spec = spec or LabelledWindows()
    channels, period_us = common_format(sessions)
    window = window_samples(spec.window_ms, period_us)
    stride = max(1, round(spec.stride * window))
    refused: Counter[str] = Counter()
    starts: dict[int, NDArray[np.int64]] = {}
    for number, session in enumerate(sessions):
        if session.label is None:
            refused["recording: no label"] += 1
            continue
        start, short = _starts(session, window, stride)
        refused["stretch: shorter than a window"] += short
        if len(start):
            starts[number] = start
        else:
            refused["recording: no stretch as long as a window"] += 1
    used = list(starts)
    names = [sessions[number].label or "" for number in used]
    classes = tuple(sorted(set(names)))
    if not 2 <= len(classes) <= MAX_CLASSES:
        raise InputError(
            f"{len(classes)} labels in {len(sessions)} recordings ({', '.join(classes) or 'none'}); "
            f"2 to {MAX_CLASSES} classes are needed: label the recordings"
        )
    said = np.array([sessions[number].split == "test" for number in used])
    by_export = bool(said.any())
    test = said if by_export else choose_stratified(names, spec.held_out, np.random.default_rng(spec.seed))
    _require_both(names, test, by_export=by_export)

    counts = [len(starts[number]) for number in used]
    start = np.concatenate([starts[number] for number in used])
    session_of = np.repeat(np.array(used, dtype=np.int64), counts)
    windows = np.concatenate([take_windows(sessions[n].samples, starts[n], window) for n in used])
    labels = np.repeat(np.array([classes.index(name) for name in names], dtype=np.uint8), counts)
    return Dataset(
        windows=windows,
        labels=labels,
        classes=classes,
        groups=session_of.copy(),
        held_out=np.repeat(test, counts),
        session=session_of,
        start=start,
        channels=channels,
        period_us=period_us,
        lead_us=0,
        meta={
            "kind": "labelled",
            "parameters": {**asdict(spec), "split": "export" if by_export else "recording"},
            "inputs": input_facts(sessions),
            "refused": {reason: count for reason, count in sorted(refused.items()) if count},
            "index": _index(sessions, session_of, start, window),
        },
    )


def _starts(session: Session, window: int, stride: int) -> tuple[NDArray[np.int64], int]:
    """First samples of all windows, and how many stretches are too short for one."""
    stretches = session.stretches()
    starts = [np.arange(a, b - window + 1, stride, dtype=np.int64) for a, b in stretches]
    return np.concatenate(starts), sum(not len(start) for start in starts)


def _require_both(names: Sequence[str], test: NDArray[np.bool_], *, by_export: bool) -> None:
    for name in sorted(set(names)):
        mine = test[np.array(names) == name]
        if mine.all():
            where = "all in testing/" if by_export else f"{len(mine)} in all"
            raise InputError(f"class {name!r} has no recording to train on ({where}); add recordings of it")
        if not mine.any():
            where = "none in testing/" if by_export else f"{len(mine)} in all"
            raise InputError(f"class {name!r} has no recording to hold out ({where}); add recordings of it")


def _index(
    sessions: Sequence[Session], session_of: NDArray[np.int64], start: NDArray[np.int64], window: int
) -> dict[str, list[int]]:
    first_us = np.empty(len(start), dtype=np.int64)
    last_us = np.empty_like(first_us)
    for number in np.unique(session_of).tolist():
        here = session_of == number
        first_us[here] = sessions[number].t_us[start[here]]
        last_us[here] = sessions[number].t_us[start[here] + window - 1]
    return {"window_start_ms": (first_us // 1000).tolist(), "window_end_ms": (last_us // 1000).tolist()}
