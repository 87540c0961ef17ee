"""Sample streams for replaying into a board, and the windows a board sees while they pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stinger.arrays import read_arrays, write_arrays
from stinger.errors import InputError
from stinger.sessions.session import Session, starts_after_gap
from stinger.windows.dataset import Dataset

#: A replay larger than this (bytes, unpacked) was not written by us.
_MAX_BYTES = 2**28
_ADVICE = "export the model again"


@dataclass(frozen=True)
class ReplayStream:
    """Samples in the order a board gets them.

    Attributes:
        samples: int16, shape ``(n, channels)``.
        t_us: int64, shape ``(n,)``.
        gap_before: True where a window must not reach further back, shape ``(n,)``.
        period_us: Sample period.
    """

    samples: NDArray[np.int16]
    t_us: NDArray[np.int64]
    gap_before: NDArray[np.bool_]
    period_us: int

    def __len__(self) -> int:
        return len(self.t_us)

    def ready(self, window: int) -> NDArray[np.bool_]:
        """Mark samples that complete a gap-free window of ``window`` samples."""
        index = np.arange(len(self))
        start = np.maximum.accumulate(np.where(self.gap_before, index, 0))
        return index - start + 1 >= window

    def windows(self, window: int) -> NDArray[np.int16]:
        """Return the window ending at each ready sample, shape ``(ready, window, channels)``."""
        ready = np.flatnonzero(self.ready(window))
        if len(ready) == 0:
            return np.zeros((0, window, self.samples.shape[1]), dtype=np.int16)
        view = np.lib.stride_tricks.sliding_window_view(self.samples, window, axis=0).transpose(0, 2, 1)
        return np.ascontiguousarray(view[ready - window + 1])


def stream_of(pieces: Sequence[tuple[Session, int, int]]) -> ReplayStream:
    """Join stretches ``(session, start, stop)`` of sessions; every piece starts after a gap.

    Raises:
        InputError: There are no samples, or the sessions differ in channels or rate.
    """
    pieces = [(s, a, b) for s, a, b in pieces if b > a]
    if not pieces:
        raise InputError("nothing to replay: the recordings hold no samples")
    first = pieces[0][0]
    for session, _, _ in pieces:
        if [c.name for c in session.channels] != [c.name for c in first.channels]:
            raise InputError(f"{session.name}: its channels differ from those of {first.name}")
        # The same device jitters by a few microseconds per sample; anything beyond is another rate.
        if abs(session.period_us - first.period_us) * 50 > first.period_us:
            raise InputError(f"{session.name}: {session.period_us} us per sample, {first.name} has {first.period_us}")
    t_us = np.concatenate([s.t_us[a:b] for s, a, b in pieces])
    gap = starts_after_gap(t_us, first.period_us)
    starts = np.cumsum([0] + [b - a for _, a, b in pieces[:-1]])
    gap[starts] = True
    samples = np.concatenate([s.samples[a:b] for s, a, b in pieces])
    return ReplayStream(samples, t_us, gap, first.period_us)


def held_out_stream(
    dataset: Dataset, sessions: Sequence[Session], at_least: int
) -> tuple[ReplayStream, NDArray[np.int64]]:
    """Choose the stretches around held-out windows, so that a board classifies each of them while they pass.

    Args:
        dataset: Cut from ``sessions``.
        sessions: The recordings.
        at_least: Complete windows wanted; stretches grow at both ends until there are as many, or none are left.

    Returns:
        The stream, and for each held-out window of the dataset the stream position of its last sample.

    Raises:
        InputError: No window is held out.
    """
    rows = np.flatnonzero(dataset.held_out)
    if len(rows) == 0:
        raise InputError("the dataset holds out no windows; there is nothing to replay")
    margin = 0
    while True:
        pieces = _pieces(dataset, sessions, rows, margin)
        windows = sum(max(0, b - a - dataset.window + 1) for _, a, b in pieces)
        longest = max(len(s) for s in sessions)
        if windows >= at_least or margin > longest:
            break
        margin = 2 * margin + dataset.window // 2
    stream = stream_of([(sessions[i], a, b) for i, a, b in pieces])
    offset = np.cumsum([0] + [b - a for _, a, b in pieces])
    last = dataset.start[rows] + dataset.window - 1
    position = np.empty(len(rows), dtype=np.int64)
    for k, (i, a, b) in enumerate(pieces):
        inside = (dataset.session[rows] == i) & (last >= a) & (last < b)
        position[inside] = offset[k] + last[inside] - a
    return stream, position


def excerpt(dataset: Dataset, sessions: Sequence[Session], samples: int) -> ReplayStream:
    """Choose one stretch of a recording around the middle one of the held-out windows of the last class.

    Args:
        dataset: Cut from ``sessions``.
        sessions: The recordings.
        samples: Length of the stretch; shorter where the recording is.

    Raises:
        InputError: No window is held out.
    """
    held_out = np.flatnonzero(dataset.held_out)
    if len(held_out) == 0:
        raise InputError("the dataset holds out no windows; there is nothing to replay")
    wanted = held_out[dataset.labels[held_out] == dataset.labels[held_out].max()]
    row = int(wanted[len(wanted) // 2])
    session = sessions[int(dataset.session[row])]
    middle = int(dataset.start[row]) + dataset.window // 2
    start = min(max(0, middle - samples // 2), max(0, len(session) - samples))
    return stream_of([(session, start, min(len(session), start + samples))])


def _pieces(
    dataset: Dataset, sessions: Sequence[Session], rows: NDArray[np.int64], margin: int
) -> list[tuple[int, int, int]]:
    """Merge the held-out windows, grown by ``margin`` samples, into disjoint index ranges per session."""
    pieces: list[tuple[int, int, int]] = []
    for i, start in sorted(zip(dataset.session[rows].tolist(), dataset.start[rows].tolist(), strict=True)):
        a, b = max(0, start - margin), min(len(sessions[i]), start + dataset.window + margin)
        if pieces and pieces[-1][0] == i and a <= pieces[-1][2]:
            pieces[-1] = (i, pieces[-1][1], max(b, pieces[-1][2]))
        else:
            pieces.append((i, a, b))
    return pieces


def save_replay(stream: ReplayStream, path: Path) -> None:
    """Write a stream as ``.npz``; the same stream gives the same bytes."""
    write_arrays(
        path,
        {
            "samples": stream.samples,
            "t_us": stream.t_us,
            "gap_before": stream.gap_before,
            "period_us": np.array(stream.period_us, dtype=np.int64),
        },
    )


def load_replay(path: Path) -> ReplayStream:
    """Read a stream.

    Raises:
        InputError: The file is missing, damaged or oversized.
    """
    arrays = read_arrays(path, _MAX_BYTES, _ADVICE)
    if arrays.keys() != {"samples", "t_us", "gap_before", "period_us"} or arrays["period_us"].shape != ():
        raise InputError(f"{path} is not a replay; {_ADVICE}")
    stream = ReplayStream(arrays["samples"], arrays["t_us"], arrays["gap_before"], int(arrays["period_us"]))
    n = len(stream.samples)
    shapes_fit = stream.samples.ndim == 2 and stream.t_us.shape == stream.gap_before.shape == (n,)
    types = [array.dtype.name for array in (stream.samples, stream.t_us, stream.gap_before)]
    if not shapes_fit or types != ["int16", "int64", "bool"] or stream.period_us <= 0:
        raise InputError(f"{path} is not a replay; {_ADVICE}")
    return stream
