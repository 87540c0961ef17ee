"""Fewer windows, for a quick look: whole groups of them, so that every split still holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError, UsageError
from stinger.windows.dataset import Dataset


def subset(dataset: Dataset, max_rows: int, *, seed: int = 1) -> Dataset:
    """Choose groups at random until no more fit into ``max_rows`` windows.

    Groups with the same classes in the same parts (training, held out) are one kind, and the kinds keep their shares.

    Args:
        dataset: The windows.
        max_rows: Windows to keep, at most.
        seed: Seed of the choice.

    Returns:
        The chosen windows in their order; the dataset itself where it has no more.

    Raises:
        UsageError: ``max_rows`` is not a number of windows.
        InputError: A class has nothing left in a part that had it.
    """
    if max_rows < 1:
        raise UsageError(f"--max-rows must be 1 or more, is {max_rows}")
    if len(dataset) <= max_rows:
        return dataset
    known, place, size = np.unique(dataset.groups, return_inverse=True, return_counts=True)
    kind = _kinds(dataset, place, len(known))
    turn = _turns(kind, np.random.default_rng(seed))
    chosen = np.zeros(len(known), dtype=np.bool_)
    rows = 0
    for group in np.argsort(turn, kind="stable").tolist():
        if rows + size[group] <= max_rows:
            chosen[group] = True
            rows += int(size[group])
    kept = chosen[place]
    missing = np.setdiff1d(_cells(dataset), _cells(dataset)[kept])
    if len(missing):
        part, name = ("held-out" if missing[0] % 2 else "training"), dataset.classes[int(missing[0]) // 2]
        raise InputError(
            f"--max-rows {max_rows} leaves no {part} windows of {name!r}: whole groups are kept, and there are "
            f"{len(known)} of {size.min()} to {size.max()} windows; raise it"
        )
    smaller = dataset.rows(kept)
    return replace(smaller, meta={**smaller.meta, "max_rows": max_rows})


def _kinds(dataset: Dataset, place: NDArray[np.int64], number: int) -> NDArray[np.int64]:
    """Number the kinds of groups: which classes they have, and in which part of the dataset; shape ``(groups,)``."""
    cell = _cells(dataset)
    has = np.zeros((number, int(cell.max()) + 1), dtype=np.bool_)
    has[place, cell] = True
    _, kind = np.unique(has, axis=0, return_inverse=True)
    numbers: NDArray[np.int64] = kind.reshape(-1).astype(np.int64)
    return numbers


def _cells(dataset: Dataset) -> NDArray[np.int64]:
    """Number each window's class and part together, shape ``(n,)``."""
    return dataset.labels.astype(np.int64) * 2 + dataset.held_out


def _turns(kind: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Give every group a place in the queue: each kind's first ones early, its last ones late."""
    turn = np.empty(len(kind))
    for number in range(int(kind.max()) + 1):
        members = rng.permutation(np.flatnonzero(kind == number))
        # The first one of every kind comes before everything else.
        turn[members] = np.append(-1.0, (np.arange(1, len(members)) + 0.5) / len(members))
    return turn
