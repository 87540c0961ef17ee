"""Counting over windows without loops: what a window holds, whether it crosses a gap."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from stinger.sessions.session import Session


def stretch_of(session: Session) -> NDArray[np.int64]:
    """Number of the gap-free stretch each sample lies in, int64, shape ``(n,)``."""
    return np.cumsum(session.gap_before, dtype=np.int64)


def count_in_windows(mark: NDArray[np.bool_], start: NDArray[np.int64], window: int) -> NDArray[np.int64]:
    """Count the marked samples in ``[start, start + window)``.

    Args:
        mark: One boolean per sample, shape ``(n,)``.
        start: First sample of each window, ``0 <= start <= n - window``.
        window: Samples per window.
    """
    before = np.concatenate([[0], np.cumsum(mark, dtype=np.int64)])
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


def motion_score(session: Session, start: NDArray[np.int64], window: int) -> NDArray[np.float64]:
    """How much moves in each window: mean(gx^2+gy^2+gz^2) + 0.05 mean(ax^2+ay^2+az^2), in counts squared.

    Channels that are neither acceleration nor rotation count nothing.
    """
    weight = [{"g": 1.0, "a": 0.05}.get(channel.name[:1], 0.0) for channel in session.channels]
    energy = (session.samples.astype(np.float64) ** 2) @ np.array(weight)
    before = np.concatenate([[0.0], np.cumsum(energy)])
    score: NDArray[np.float64] = (before[start + window] - before[start]) / window
    return score
