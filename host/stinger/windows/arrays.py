"""Counting over windows without loops: what a window holds, whether it crosses a gap."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from stinger.sessions.session import Session

#: Weight of a squared count of rotation and of acceleration in `motion_score`.
_MOTION_WEIGHTS = {"g": 20, "a": 1}


def stretch_of(session: Session) -> NDArray[np.int64]:
    """Number of the gap-free stretch each sample lies in, int64, shape ``(n,)``."""
    return np.cumsum(session.gap_before, dtype=np.int64)


def running_count(mark: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Count the marked samples before each index, shape ``(n + 1,)``; see `count_in_windows`."""
    before = np.zeros(len(mark) + 1, dtype=np.int64)
    np.cumsum(mark, out=before[1:])
    return before


def count_in_windows(mark: NDArray[np.bool_], start: NDArray[np.int64], window: int) -> NDArray[np.int64]:
    """Count the marked samples in ``[start, start + window)``.

    Args:
        mark: One boolean per sample, shape ``(n,)``.
        start: First sample of each window, ``0 <= start <= n - window``.
        window: Samples per window.
    """
    before = running_count(mark)
    counted: NDArray[np.int64] = before[start + window] - before[start]
    return counted


def take_windows(samples: NDArray[np.int16], start: NDArray[np.int64], window: int) -> NDArray[np.int16]:
    """Copy windows out of a recording.

    Args:
        samples: Shape ``(n, channels)``.
        start: First sample of each window, shape ``(m,)``.
        window: Samples per window.

    Returns:
        int16, shape ``(m, window, channels)``, contiguous.
    """
    if not len(start):
        return np.empty((0, window, samples.shape[1]), dtype=np.int16)
    view = sliding_window_view(samples, window, axis=0)
    return np.ascontiguousarray(view[start].transpose(0, 2, 1))


def running_motion(session: Session) -> NDArray[np.int64]:
    """Sum the motion of all samples before each index, shape ``(n + 1,)``.

    A sample's motion is 20 (gx^2 + gy^2 + gz^2) + (ax^2 + ay^2 + az^2), an integer, so that comparing windows is
    exact. Channels that are neither acceleration nor rotation count nothing.
    """
    energy = np.zeros(len(session), dtype=np.int64)
    for column, channel in enumerate(session.channels):
        weight = _MOTION_WEIGHTS.get(channel.name[:1], 0)
        if weight:
            counts = session.samples[:, column].astype(np.int64)
            energy += weight * counts * counts
    before = np.zeros(len(session) + 1, dtype=np.int64)
    np.cumsum(energy, out=before[1:])
    return before


def motion_score(session: Session, start: NDArray[np.int64], window: int) -> NDArray[np.float64]:
    """How much moves in each window: mean(gx^2+gy^2+gz^2) + 0.05 mean(ax^2+ay^2+az^2), in counts squared."""
    before = running_motion(session)
    score: NDArray[np.float64] = (before[start + window] - before[start]) / (_MOTION_WEIGHTS["g"] * window)
    return score
