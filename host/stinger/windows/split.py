"""Holding out windows honestly: by whole groups, and with an embargo on shared samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stinger.windows.arrays import count_in_windows


def choose_groups(groups: NDArray[np.int64], fraction: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Choose groups to hold out.

    Args:
        groups: Group numbers, repeats allowed.
        fraction: Share of the distinct groups to choose, above 0 and below 1.
        rng: Source of the choice.

    Returns:
        The chosen numbers, sorted: at least one, never all (empty when there are fewer than two groups).
    """
    known = np.unique(groups)
    if len(known) < 2:
        return known[:0]
    number = min(max(1, round(fraction * len(known))), len(known) - 1)
    return np.sort(rng.permutation(known)[:number])


def choose_stratified(labels: Sequence[str], fraction: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Choose recordings to hold out, the same share of each label; shape ``(len(labels),)``."""
    names = np.array(labels)
    held_out = np.zeros(len(names), dtype=np.bool_)
    for name in sorted(set(labels)):
        members = np.flatnonzero(names == name).astype(np.int64)
        held_out[choose_groups(members, fraction, rng)] = True
    return held_out


def embargoed(
    session: NDArray[np.int64],
    start: NDArray[np.int64],
    window: int,
    held_out: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Mark training windows that share a raw sample with a held-out window.

    Args:
        session: Session each window was cut from, shape ``(n,)``.
        start: First sample of each window in its session, shape ``(n,)``.
        window: Samples per window.
        held_out: Which windows are held out, shape ``(n,)``.

    Returns:
        Shape ``(n,)``; True only for windows that are not held out themselves.
    """
    marked = np.zeros(len(start), dtype=np.bool_)
    for number in np.unique(session[held_out]):
        here = np.flatnonzero(session == number)
        seen = np.zeros(int(start[here].max()) + window, dtype=np.bool_)
        seen[(start[here][held_out[here], None] + np.arange(window)).ravel()] = True
        marked[here] = count_in_windows(seen, start[here], window) > 0
    return marked & ~held_out
