"""Holding out windows honestly: by whole units, and with an embargo on shared samples.

Windows overlap, so a window held out at random mostly consists of samples that training has seen. What is held out
here is whole: a shot or recording (`group`), a session, a person (`subject`), the end of each session (`time`), or
what the recordings themselves say (`given`); `random` is there to compare with. The embargo then takes from training
every window that still shares a raw sample with a held-out one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError, UsageError
from stinger.windows.arrays import running_count
from stinger.windows.dataset import Dataset
from stinger.windows.spec import SPLIT_KINDS


@dataclass(frozen=True)
class Leak:
    """What held-out windows have in common with training windows.

    Attributes:
        held_out: Windows held out.
        shared: Of those, the ones that share a raw sample with a window of the same split's training part, were
            there no embargo.
        remaining: Of those, the ones that do so after the embargo (all of ``shared`` without one).
        embargoed: Training windows the embargo takes away.
    """

    held_out: int
    shared: int
    remaining: int
    embargoed: int


@dataclass(frozen=True)
class Split:
    """A dataset in two parts.

    Attributes:
        kind: How it was split, one of `SPLIT_KINDS` but ``auto``.
        train: Windows to learn from, shape ``(n,)``.
        test: Windows held out, shape ``(n,)``.
        leak: What they share.
    """

    kind: str
    train: NDArray[np.bool_]
    test: NDArray[np.bool_]
    leak: Leak


def split(dataset: Dataset, kind: str, *, test_size: float = 0.25, seed: int = 1, embargo: bool = True) -> Split:
    """Hold out a part of a dataset.

    Args:
        dataset: Labelled windows; its own ``held_out`` and ``embargoed`` do not matter.
        kind: One of `SPLIT_KINDS`.
        test_size: Share to hold out, of the units the kind speaks of; ``given`` does not ask.
        seed: Seed of the choice.
        embargo: Leave out training windows that share raw samples with held-out ones.

    Raises:
        UsageError: Unknown kind, or an impossible share.
        InputError: The dataset cannot be split this way: fewer than two units.
    """
    if kind not in SPLIT_KINDS:
        raise UsageError(f"unknown split {kind!r}; choose {', '.join(SPLIT_KINDS)}")
    if not 0 < test_size < 1:
        raise UsageError(f"the held-out share must be above 0 and below 1, is {test_size:g}")
    if kind == "auto":
        kind = "given" if _given(dataset).any() else "group"
    test = _held_out(dataset, kind, test_size, np.random.default_rng(seed))
    if not test.any() or test.all():
        what = "learn from" if test.any() else "hold out"
        raise InputError(f"a split by {kind} leaves nothing to {what}; record more, or choose another --split")
    raw = recordings(dataset)
    shared = sharing(raw, dataset.start, dataset.window, test, ~test)
    dropped = sharing(raw, dataset.start, dataset.window, ~test, test)
    leak = Leak(
        held_out=int(test.sum()),
        shared=int(shared.sum()),
        remaining=0 if embargo else int(shared.sum()),
        embargoed=int(dropped.sum()) if embargo else 0,
    )
    return Split(kind, ~test & ~dropped if embargo else ~test, test, leak)


def leakage(
    dataset: Dataset, *, test_size: float = 0.25, seeds: Sequence[int] = tuple(range(1, 11))
) -> dict[str, dict[str, float | str]]:
    """For each kind of split: how much of the held-out part training has seen, without and with the embargo.

    Returns:
        By kind, the mean over the seeds of ``without_embargo`` and ``with_embargo`` (shares of the held-out
        windows) and ``training_lost`` (share of the training windows the embargo takes away); or ``impossible``,
        which says why.
    """
    report: dict[str, dict[str, float | str]] = {}
    raw = recordings(dataset)
    for kind in SPLIT_KINDS[1:]:
        shares = []
        try:
            for seed in seeds:
                one = split(dataset, kind, test_size=test_size, seed=seed)
                # Counted anew, not taken from the split's own word.
                still = sharing(raw, dataset.start, dataset.window, one.test, one.train)
                lost = one.leak.embargoed / int((~one.test).sum())
                shares.append((one.leak.shared / one.leak.held_out, float(still.sum()) / one.leak.held_out, lost))
        except InputError as error:
            report[kind] = {"impossible": str(error)}
            continue
        means = np.mean(shares, axis=0).tolist()
        report[kind] = dict(zip(("without_embargo", "with_embargo", "training_lost"), means, strict=True))
    return report


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


def sharing(
    session: NDArray[np.int64],
    start: NDArray[np.int64],
    window: int,
    these: NDArray[np.bool_],
    those: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Mark those of ``these`` windows that share a raw sample with one of ``those``.

    Args:
        session: Session each window was cut from, shape ``(n,)``.
        start: First sample of each window in its session, shape ``(n,)``.
        window: Samples per window.
        these: Which windows to mark, shape ``(n,)``.
        those: Which windows to compare them with, shape ``(n,)``.
    """
    marked = np.zeros(len(start), dtype=np.bool_)
    for number in np.unique(session[those]):
        here = np.flatnonzero(session == number)
        ends = int(start[here].max()) + window
        change = np.zeros(ends + 1, dtype=np.int64)
        np.add.at(change, start[here][those[here]], 1)
        np.add.at(change, start[here][those[here]] + window, -1)
        before = running_count(np.cumsum(change[:-1]) > 0)
        marked[here] = before[start[here] + window] > before[start[here]]
    return marked & these


def recordings(dataset: Dataset) -> NDArray[np.int64]:
    """Number of the raw recording behind each window: a log that was given twice is one recording."""
    inputs = dataset.meta.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        return dataset.session
    first: dict[object, int] = {}
    numbers = [first.setdefault(entry.get("sha256", i), i) for i, entry in enumerate(inputs)]
    return np.array(numbers, dtype=np.int64)[dataset.session]


def _held_out(dataset: Dataset, kind: str, test_size: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    if kind == "given":
        test = _given(dataset)
        if not test.any():
            raise InputError("no recording says whether it is for training or testing; choose another --split")
        return test
    if kind == "time":
        return _latest(dataset, test_size)
    if kind == "random":
        units = np.arange(len(dataset), dtype=np.int64)
    elif kind == "group":
        units = dataset.groups
    elif kind == "session":
        units = recordings(dataset)
    else:
        if dataset.subject is None or (dataset.subject < 0).any():
            raise InputError("the recordings do not all say who was recorded; choose another --split")
        units = dataset.subject
    number = len(np.unique(units))
    if number < 2:
        raise InputError(f"a split by {kind} needs at least two, there is {number}; choose another --split")
    return _choose_units(units, dataset.labels, test_size, rng, stratify_mixed=kind == "group")


def _choose_units(
    units: NDArray[np.int64],
    labels: NDArray[np.uint8],
    test_size: float,
    rng: np.random.Generator,
    *,
    stratify_mixed: bool,
) -> NDArray[np.bool_]:
    """Choose the same share of the units of each kind, where a unit's kind is the labels it has.

    Sessions and people have several labels each and few of them are alike: there, unless every unit has a single
    label, all are one kind.
    """
    known, place = np.unique(units, return_inverse=True)
    has = np.zeros((len(known), int(labels.max()) + 1 if len(labels) else 1), dtype=np.bool_)
    has[place, labels] = True
    pure = bool((has.sum(axis=1) == 1).all())
    kinds = has if pure or stratify_mixed else np.zeros((len(known), 1), dtype=np.bool_)
    chosen = np.zeros(len(known), dtype=np.bool_)
    for pattern in np.unique(kinds, axis=0):
        members = np.flatnonzero((kinds == pattern).all(axis=1)).astype(np.int64)
        chosen[choose_groups(members, test_size, rng)] = True
    return chosen[place]


def _latest(dataset: Dataset, test_size: float) -> NDArray[np.bool_]:
    """Mark the last share of each session's windows."""
    test = np.zeros(len(dataset), dtype=np.bool_)
    for number in np.unique(dataset.session):
        here = np.flatnonzero(dataset.session == number)
        order = here[np.argsort(dataset.start[here], kind="stable")]
        test[order[len(order) - round(test_size * len(order)) :]] = True
    return test


def _given(dataset: Dataset) -> NDArray[np.bool_]:
    inputs = dataset.meta.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        return np.zeros(len(dataset), dtype=np.bool_)
    return np.array([entry.get("split") == "test" for entry in inputs], dtype=np.bool_)[dataset.session]
