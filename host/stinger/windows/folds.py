"""Folds of the training part, with the same care as the split: whole groups, no shared samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.windows.dataset import Dataset
from stinger.windows.splits import recordings, sharing

#: What one unit is called where a dataset was split by it.
UNIT_NAMES = {"session": "recordings", "subject": "people"}


def units_of(dataset: Dataset, kind: str | None = None) -> tuple[NDArray[np.int64], str]:
    """Number the units that belong together, and say what they are.

    Windows of one person are alike even where they are of different recordings: a dataset that was split by people
    or recordings is also folded by them, and resampled by them.

    Args:
        dataset: The windows.
        kind: The split's kind; by default what the dataset says of its own.

    Returns:
        Unit of each window, shape ``(n,)``, and the word for many of them.
    """
    if kind is None:
        own: Any = dataset.meta.get("split")
        kind = str(own.get("kind")) if isinstance(own, dict) else "group"
    if kind == "subject" and dataset.subject is not None:
        return dataset.subject, UNIT_NAMES[kind]
    if kind == "session":
        return recordings(dataset), UNIT_NAMES[kind]
    return dataset.groups, "shots" if dataset.meta.get("kind") == "shots" else "groups"


def group_folds(
    dataset: Dataset,
    rows: NDArray[np.bool_],
    folds: int,
    *,
    units: NDArray[np.int64] | None = None,
    seed: int = 1,
) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Cut some windows of a dataset into folds by whole units, with an embargo.

    Units that have the same labels are dealt out evenly, so each fold looks like the whole. Each window is in the
    test part of exactly one fold; the training part of a fold shares no raw sample with its test part.

    Args:
        dataset: The windows.
        rows: Which of them to use, shape ``(n,)``.
        folds: How many at most; fewer where a class has fewer units, but two at least.
        units: What must not be torn apart, shape ``(n,)``; by default the dataset's groups.
        seed: Seed of the dealing.

    Returns:
        Training and test part of each fold, both of shape ``(n,)``.

    Raises:
        InputError: A class among them has a single unit, or two folds leave a class out of a training part.
    """
    units = dataset.groups if units is None else units
    present = np.unique(dataset.labels[rows])
    counts = {int(c): len(np.unique(units[rows & (dataset.labels == c)])) for c in present}
    fewest = min(counts, key=lambda c: counts[c], default=0)
    if counts.get(fewest, 0) < 2:
        name = dataset.classes[fewest]
        raise InputError(f"class {name!r} has {counts.get(fewest, 0)} group(s) to train on, folds need two")
    for number in range(min(folds, counts[fewest]), 1, -1):
        parts = _folds(dataset, rows, number, units, seed)
        if all(len(np.unique(dataset.labels[train])) == len(present) for train, _ in parts):
            return parts
    raise InputError("folds would leave a class with nothing to train on; record more of it")


def _folds(
    dataset: Dataset, rows: NDArray[np.bool_], number: int, units: NDArray[np.int64], seed: int
) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    fold = np.full(len(dataset), -1, dtype=np.int64)
    fold[rows] = _deal(units[rows], dataset.labels[rows], number, np.random.default_rng(seed))
    raw = recordings(dataset)
    parts = []
    for k in range(number):
        test = fold == k
        train = rows & ~test
        train &= ~sharing(raw, dataset.start, dataset.window, train, test)
        parts.append((train, test))
    return parts


def _deal(
    units: NDArray[np.int64], labels: NDArray[np.uint8], number: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Deal units out to folds, those with the same labels one after another; return each row's fold."""
    known, place = np.unique(units, return_inverse=True)
    has = np.zeros((len(known), int(labels.max()) + 1), dtype=np.bool_)
    has[place, labels] = True
    shuffled = rng.permutation(len(known))
    keys: Sequence[NDArray[np.bool_]] = [has[shuffled, label] for label in range(has.shape[1])]
    fold = np.empty(len(known), dtype=np.int64)
    # Sorted by labels, neighbours are alike; what is left over of one kind is followed by the next kind.
    fold[shuffled[np.lexsort(keys)]] = np.arange(len(known)) % number
    dealt: NDArray[np.int64] = fold[place]
    return dealt
