"""Examples in three parts: to learn from, to know when to stop, and to measure on.

Windows overlap, so a part takes whole recordings, or whole stretches of one label; never some windows of one. What is
held out is not looked at before the model is finished: when to stop is decided on a part of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError, UsageError
from stinger.models.ast.examples import Examples

#: What stays together, by the names that `--split` has for it.
KINDS = ("auto", "session", "group", "given")
#: With fewer recordings, `auto` holds out stretches of them.
_FEWEST_RECORDINGS = 4
_ATTEMPTS = 50
_WORDS = {"session": "recordings", "group": "stretches of one label"}


@dataclass(frozen=True)
class Parts:
    """Which examples are for what; each array has shape ``(n,)``.

    Attributes:
        kind: What was held out whole: ``session``, ``group`` or ``given``.
        train: To learn from.
        valid: To know when to stop.
        test: To measure on.
    """

    kind: str
    train: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    test: NDArray[np.bool_]

    def named(self) -> dict[str, NDArray[np.bool_]]:
        """The parts by name."""
        return {"training": self.train, "validation": self.valid, "held-out": self.test}


def divide(
    examples: Examples, kind: str = "auto", *, test_size: float = 0.25, valid_size: float = 0.2, seed: int = 1
) -> Parts:
    """Divide examples by whole recordings or stretches; every class is in every part.

    Args:
        examples: Labelled windows.
        kind: One of `KINDS`; ``auto`` takes what the data say themselves, else recordings, else stretches of a label.
        test_size: Share of the units to hold out.
        valid_size: Share of the rest to know when to stop.
        seed: Seed of the choice.

    Raises:
        UsageError: Unknown kind, or a split that windows of one stretch would leak through.
        InputError: There are too few units, or the data's own parts share some.
    """
    if kind in ("random", "time"):
        raise UsageError(
            f"--split {kind} would tear overlapping windows apart, and a transformer learns those by heart; "
            "choose session or group"
        )
    if kind not in KINDS:
        raise UsageError(f"--split {kind!r} is unknown here; choose {', '.join(KINDS)}")
    given = examples.held_out if examples.held_out is not None and examples.held_out.any() else None
    if kind == "given" and given is None:
        raise InputError("the data do not say what is held out; choose --split session or group")
    if kind == "auto":
        several = len(np.unique(examples.recordings)) >= _FEWEST_RECORDINGS
        kind = "given" if given is not None else "session" if several else "group"
    rng = np.random.default_rng(seed)
    if kind == "given" and given is not None:
        apart = not np.intersect1d(examples.recordings[given], examples.recordings[~given]).size
        units = examples.recordings if apart else _segments(examples)
        test = given
        _require_classes(examples, test, "held-out")
    else:
        units = examples.recordings if kind == "session" else _segments(examples)
        everything = np.ones(len(examples), np.bool_)
        test = _choose(examples, units, everything, share=test_size, rng=rng, part="held-out")
    valid = _choose(examples, units, ~test, share=valid_size, rng=rng, part="validation")
    parts = Parts(kind, ~test & ~valid, valid, test)
    check_leaks(examples, parts)
    return parts


def check_leaks(examples: Examples, parts: Parts) -> None:
    """Refuse parts that share a stretch of one label, or moments of one recording.

    Raises:
        InputError: They do; the line says how many windows.
    """
    named = list(parts.named().items())
    for i, (one, mine) in enumerate(named):
        for other, theirs in named[i + 1 :]:
            torn = np.isin(_segments(examples)[theirs], _segments(examples)[mine])
            shared = overlapping(examples, theirs, mine)
            count = int((torn | shared[theirs]).sum())
            if count:
                raise InputError(
                    f"{count} of {int(theirs.sum())} {other} windows lie in one stretch with {one} windows, or share "
                    "moments of a recording with them: what is measured would be memory; split by session or group"
                )


def overlapping(examples: Examples, these: NDArray[np.bool_], those: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark those of ``these`` windows that overlap in time with one of ``those`` of the same recording."""
    marked = np.zeros(len(examples), dtype=np.bool_)
    recordings = examples.recordings
    for number in np.unique(recordings[these]):
        mine = np.flatnonzero(these & (recordings == number))
        theirs = np.flatnonzero(those & (recordings == number))
        # A window overlaps one that begins before its end unless that many have ended by its beginning.
        begun = np.searchsorted(np.sort(examples.start_ns[theirs]), examples.end_ns[mine], side="left")
        ended = np.searchsorted(np.sort(examples.end_ns[theirs]), examples.start_ns[mine], side="right")
        marked[mine] = begun > ended
    return marked


def few(examples: Examples, parts: Parts, most: int, seed: int) -> Parts:
    """Keep at most so many examples of each class in each part."""
    rng = np.random.default_rng(seed)
    kept = []
    for mine in parts.named().values():
        chosen = np.zeros(len(examples), dtype=np.bool_)
        for label in range(len(examples.classes)):
            rows = np.flatnonzero(mine & (examples.labels == label))
            chosen[rng.permutation(rows)[:most]] = True
        kept.append(chosen)
    return Parts(parts.kind, *kept)


def _segments(examples: Examples) -> NDArray[np.int64]:
    """Number of each example's stretch, the same in a recording that was given twice, shape ``(n,)``."""
    if len(np.unique(examples.recordings)) == len(examples.sources):
        return examples.segment
    first = np.full(int(examples.sequence.max(initial=0)) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, examples.sequence, examples.segment)
    within = examples.segment - first[examples.sequence]
    _, numbers = np.unique(np.stack([examples.recordings, within]), axis=1, return_inverse=True)
    return numbers.reshape(-1).astype(np.int64)


def _choose(
    examples: Examples,
    units: NDArray[np.int64],
    among: NDArray[np.bool_],
    *,
    share: float,
    rng: np.random.Generator,
    part: str,
) -> NDArray[np.bool_]:
    """Choose a share of the units, of each kind alike, until all classes are on both sides."""
    if not 0 < share < 1:
        raise UsageError(f"the share of {part} windows must be above 0 and below 1, is {share:g}")
    known, place = np.unique(units[among], return_inverse=True)
    labels = examples.labels[among]
    has = np.zeros((len(known), len(examples.classes)), dtype=np.bool_)
    has[place, labels] = True
    # Recordings of several labels are rarely alike: unless each unit has one label, all are one kind.
    patterns = has if bool((has.sum(axis=1) == 1).all()) else np.zeros((len(known), 1), dtype=np.bool_)
    for _ in range(_ATTEMPTS):
        chosen = np.zeros(len(known), dtype=np.bool_)
        for pattern in np.unique(patterns, axis=0):
            members = np.flatnonzero((patterns == pattern).all(axis=1))
            number = min(max(1, round(share * len(members))), max(0, len(members) - 1))
            chosen[rng.permutation(members)[:number]] = True
        if has[chosen].any(axis=0).all() and has[~chosen].any(axis=0).all():
            picked = np.zeros(len(examples), dtype=np.bool_)
            picked[np.flatnonzero(among)[chosen[place]]] = True
            return picked
    word = _WORDS["session" if len(known) <= len(examples.sources) else "group"]
    counts = {name: int(has[:, i].sum()) for i, name in enumerate(examples.classes)}
    fewest = min(counts, key=lambda name: counts[name])
    raise InputError(
        f"too few {word} to keep {part} ones apart: {len(known)} in all, {counts[fewest]} with {fewest!r}; "
        "record more of it, or choose --split group"
    )


def _require_classes(examples: Examples, rows: NDArray[np.bool_], part: str) -> None:
    count = np.bincount(examples.labels[rows], minlength=len(examples.classes))
    if not count.all():
        raise InputError(f"class {examples.classes[int(np.argmin(count))]!r} has no {part} windows; record more of it")
