"""From sessions to a dataset: each session is cut by itself, then the cuts are put together and split.

`cut_session` depends on nothing but its session and the spec, so sessions can be cut in any order, anywhere, and
forgotten; what `assemble` holds is windows only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.sessions.session import Session
from stinger.windows.cuts import Cut
from stinger.windows.dataset import Dataset
from stinger.windows.describe import common_format, json_hash
from stinger.windows.exporter import exporter_meta
from stinger.windows.labelled import MAX_CLASSES, cut_labelled, label_events
from stinger.windows.shots import CLASSES, cut_shots
from stinger.windows.spec import ExploreSpec
from stinger.windows.spill import Spill, unload
from stinger.windows.splits import Split, split

#: With fewer positives neither training nor the held-out metric means anything.
MIN_POSITIVES = 4


def cut_session(session: Session, spec: ExploreSpec, index: int = 0) -> Cut:
    """Cut the windows of one session.

    Args:
        session: A recording.
        spec: How to cut; every session is cut as if it were the only one.
        index: Its number among the recordings, for messages only.

    Raises:
        UsageError: The spec does not fit the session.
        InputError: The session has no samples.
    """
    if not len(session):
        raise InputError(f"{session.name} (recording {index + 1}): no samples; leave it out")
    kind = spec.classes
    if kind == "auto":
        if session.label is not None:
            kind = "recordings"
        elif session.trigger is not None:
            kind = "shots"
        else:
            kind = "events" if label_events(session) else "recordings"
    if kind == "shots" and session.trigger is not None:
        return cut_shots(session, spec)
    # Without a trigger nothing can be asked for shots: the cut is empty and says so.
    return cut_labelled(session if kind != "shots" else replace(session, label=None), spec, kind)


def assemble(cuts: Sequence[Cut], spec: ExploreSpec, spill: Spill | None = None) -> Dataset:
    """Put cuts together to a dataset and hold a part of it out.

    Args:
        cuts: One for each session, in the order in which the sessions are numbered.
        spec: The same that the cuts were made with.
        spill: Where to keep the windows, if not in memory.

    Returns:
        For shots classes ``("idle", "shot")``, all positives before all negatives; else the labels, sorted. All
        windows are there, the embargoed ones marked.

    Raises:
        InputError: The sessions have neither labels nor shots, differ in kind or format, hold too little, or cannot
            be split.
    """
    used = _of_one_kind(cuts)
    kind = used[0].kind
    channels, period_us = common_format(used)
    refused = sum((cut.refused for cut in cuts), Counter[str]())
    classes = CLASSES if kind == "shots" else tuple(sorted({name for cut in used for name in cut.names}))
    if kind == "shots":
        _require_shots(used, refused, spec)
    elif not 2 <= len(classes) <= MAX_CLASSES:
        shown = ", ".join(classes[:5]) + (", ..." if len(classes) > 5 else "") or "none"
        raise InputError(
            f"{len(classes)} labels in {len(cuts)} recordings ({shown}); "
            f"2 to {MAX_CLASSES} classes are needed: label the recordings"
        )
    numbers = [number for number, cut in enumerate(cuts) if cut.kind is not None]
    session = np.repeat(np.array(numbers, dtype=np.int64), [len(cut.labels) for cut in used])
    labels = np.concatenate([_relabelled(cut, classes) for cut in used])
    first_group = np.cumsum([0, *(cut.groups for cut in cuts)], dtype=np.int64)
    groups = np.concatenate([cut.group for cut in used]) + first_group[session]
    start = np.concatenate([cut.start for cut in used])
    index = {name: np.concatenate([cut.index[name] for cut in used]) for name in used[0].index}
    order = np.arange(len(labels))
    if kind == "shots" and len(used) > 1:
        order = np.argsort(labels == 0, kind="stable")
        session, labels, groups, start = (x[order] for x in (session, labels, groups, start))
        index = {name: column[order] for name, column in index.items()}
    subjects = sorted({str(cut.facts["subject"]) for cut in used if cut.facts["subject"] is not None})
    dataset = Dataset(
        windows=_ordered_windows(used, order, spill),
        labels=labels,
        classes=classes,
        groups=groups,
        held_out=np.zeros(len(labels), dtype=np.bool_),
        session=session,
        start=start,
        channels=channels,
        period_us=period_us,
        lead_us=used[0].lead * period_us,
        meta=_meta(cuts, spec, refused, kind=str(kind), subjects=subjects, labels=labels),
        subject=_subject(cuts, subjects, session),
    )
    dataset.meta["index"] = index
    return _with_split(dataset, spec)


def _with_split(dataset: Dataset, spec: ExploreSpec) -> Dataset:
    chosen = split(dataset, spec.split, test_size=spec.test_size, seed=spec.seed, embargo=spec.embargo)
    _require_both(dataset, chosen)
    embargoed = ~chosen.test & ~chosen.train
    meta = dict(dataset.meta)
    meta["split"] = {
        "kind": chosen.kind,
        "test_size": spec.test_size,
        "embargo": spec.embargo,
        "held_out_windows": chosen.leak.held_out,
        "held_out_sharing_samples_without_embargo": chosen.leak.shared,
        "held_out_sharing_samples": chosen.leak.remaining,
        "embargoed_training_windows": chosen.leak.embargoed,
    }
    return replace(dataset, held_out=chosen.test, embargoed=embargoed if embargoed.any() else None, meta=meta)


def _of_one_kind(cuts: Sequence[Cut]) -> list[Cut]:
    if not cuts:
        raise InputError("no recordings to cut; give at least one")
    used = [cut for cut in cuts if cut.kind is not None]
    if not used:
        raise InputError(f"{cuts[0].name}: neither a label nor a trigger, so nothing to learn; label it")
    for cut in used:
        if (cut.kind == "shots") != (used[0].kind == "shots"):
            a, b = (used[0], cut) if cut.kind == "shots" else (cut, used[0])
            raise InputError(f"{a.name} has a label and {b.name} a trigger; cut the two kinds separately")
    return used


def _relabelled(cut: Cut, classes: Sequence[str]) -> NDArray[np.uint8]:
    return np.array([classes.index(name) for name in cut.names], dtype=np.uint8)[cut.labels]


def _ordered_windows(cuts: Sequence[Cut], order: NDArray[np.int64], spill: Spill | None) -> NDArray[np.int16]:
    """Windows of all cuts, one after another, in the given order; made without a second copy."""
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    shape = (len(order), *cuts[0].windows.shape[1:])
    windows = spill.empty(shape) if spill is not None else np.empty(shape, dtype=np.int16)
    first = 0
    for cut in cuts:
        windows[place[first : first + len(cut.windows)]] = cut.windows
        first += len(cut.windows)
        unload(cut.windows)
        unload(windows)
    return windows


def _subject(cuts: Sequence[Cut], subjects: Sequence[str], session: NDArray[np.int64]) -> NDArray[np.int64] | None:
    if not subjects:
        return None
    known = [-1 if cut.facts["subject"] is None else subjects.index(str(cut.facts["subject"])) for cut in cuts]
    return np.array(known, dtype=np.int64)[session]


def _meta(
    cuts: Sequence[Cut],
    spec: ExploreSpec,
    refused: Counter[str],
    *,
    kind: str,
    subjects: Sequence[str],
    labels: NDArray[np.uint8],
) -> dict[str, object]:
    inputs = [cut.facts for cut in cuts]
    content = [{name: value for name, value in facts.items() if name != "name"} for facts in inputs]
    tolerated = sum((cut.tolerated for cut in cuts), Counter[str]())
    meta: dict[str, object] = {
        "kind": kind,
        "parameters": spec.parameters(),
        "recipe_hash": json_hash({"parameters": spec.parameters(), "inputs": content}),
        "inputs": inputs,
        "subjects": list(subjects),
        "refused": _counts(refused),
    }
    if kind == "shots":
        meta["shots"] = {
            "accepted": sum(len(cut.shots) for cut in cuts),
            "too soon after the last": sum(cut.rejected_shots for cut in cuts),
        }
        meta["tolerated"] = _counts(tolerated)
        meta["exporter"] = exporter_meta(cuts, spec, labels)
        # One log cut the exporter's way also gets the exporter's index, byte for byte.
        meta["exporter_index"] = not spec.strict and len(cuts) == 1
    return meta


def _counts(counter: Counter[str]) -> dict[str, int]:
    return {reason: count for reason, count in sorted(counter.items()) if count}


def _require_shots(cuts: Sequence[Cut], refused: Counter[str], spec: ExploreSpec) -> None:
    name = cuts[0].name + (f" and {len(cuts) - 1} more" if len(cuts) > 1 else "")
    accepted = sum(len(cut.shots) for cut in cuts)
    usable = sum(int((cut.labels == 1).sum()) for cut in cuts)
    if not accepted:
        samples = sum(int(cut.facts["samples"]) for cut in cuts)
        raise InputError(f"{name}: no shots in {samples} samples; record a session in which the trigger is pulled")
    if usable < MIN_POSITIVES:
        shots = {reason: count for reason, count in _counts(refused).items() if reason.startswith("shot:")}
        why = "; ".join(f"{count} x {reason}" for reason, count in shots.items()) or "none refused"
        raise InputError(
            f"{name}: {usable} usable of {accepted} shots, at least {MIN_POSITIVES} are needed ({why}); record more"
        )
    if not any((cut.labels == 0).any() for cut in cuts):
        what = f"--neg-strategy {spec.neg_strategy}"
        raise InputError(
            f"{name}: no idle windows were found with {what}; relax its limits, or record a longer session with "
            "pauses between shots"
        )


def _require_both(dataset: Dataset, chosen: Split) -> None:
    """Refuse a split in which a class has nothing to learn from or nothing to be measured on."""
    for label, name in enumerate(dataset.classes):
        mine = dataset.labels == label
        units = len(np.unique(dataset.groups[mine]))
        of = f"{units} {'shot or recording' if units == 1 else 'shots or recordings'}"
        if not (mine & chosen.test).any():
            raise InputError(
                f"class {name!r} has nothing to hold out (split by {chosen.kind}, {of} in all); "
                "record more of it or choose another --split"
            )
        if not (mine & chosen.train).any():
            lost = " after the embargo" if (mine & ~chosen.test).any() else ""
            raise InputError(
                f"class {name!r} has nothing to train on{lost} (split by {chosen.kind}, {of} in all); "
                "record more of it or choose another --split"
            )
