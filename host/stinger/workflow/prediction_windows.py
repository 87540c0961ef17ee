"""Labelled windows of one recording: those of a dataset that was cut from it, or cut now; and what training saw."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError, UsageError
from stinger.models.spec import ModelSpec
from stinger.plots.session import WindowStrip
from stinger.sessions.session import Session
from stinger.windows.arrays import take_windows
from stinger.windows.dataset import Dataset
from stinger.windows.describe import session_hash
from stinger.windows.explore import cut_session
from stinger.windows.spec import ExploreSpec
from stinger.windows.store import data_hash
from stinger.workflow.prediction_models import Shown
from stinger.workflow.prediction_scores import Scores, shares_samples


@dataclass(frozen=True)
class Labelled:
    """Labelled windows of the recording at hand.

    Attributes:
        strip: Where they lie, their classes, and which are held out.
        known: Whether they are a dataset's, so that what training saw is known to the sample.
    """

    strip: WindowStrip
    known: bool

    def positive(self, target: str) -> NDArray[np.bool_]:
        """Whether each window is of the class that is shown, shape ``(m,)``."""
        names = np.array([name == target for name in self.strip.classes], dtype=np.bool_)
        marked: NDArray[np.bool_] = names[self.strip.labels]
        return marked

    @property
    def end(self) -> NDArray[np.int64]:
        """Last sample of each window, shape ``(m,)``."""
        return self.strip.start + self.strip.window - 1


def find_windows(session: Session, dataset: Dataset | None, spec: ModelSpec) -> Labelled:
    """Take a dataset's windows of a recording, or else cut the recording as the dataset was.

    Args:
        session: The recording.
        dataset: With its embargoed windows, if there is one.
        spec: Of a model; without a dataset it says how long windows are and how long the lead.

    Raises:
        UsageError: A channel that the dataset or the model has is missing.
    """
    placed = None if dataset is None else _placed(session, dataset)
    if dataset is not None and placed is not None:
        rows, start = placed
        held_out = dataset.held_out[rows]
        strip = WindowStrip(
            start=start,
            labels=dataset.labels[rows],
            held_out=held_out,
            embargoed=~held_out & ~dataset.training[rows],
            classes=dataset.classes,
            window=dataset.window,
            lead_us=dataset.lead_us,
        )
        return Labelled(strip, known=True)
    cut = cut_session(session, _parameters(dataset, spec))
    n = len(cut.labels)
    strip = WindowStrip(
        start=cut.start,
        labels=cut.labels,
        held_out=np.ones(n, np.bool_),
        embargoed=np.zeros(n, np.bool_),
        classes=cut.names,
        window=cut.window,
        lead_us=cut.lead * cut.period_us,
    )
    return Labelled(strip, known=False)


def min_shot_gap_ms(dataset: Dataset | None) -> float:
    """How soon after a shot a trigger pull is none, as the dataset was cut."""
    parameters = _stored(dataset)
    value = parameters.get("min_shot_gap_ms", ExploreSpec().min_shot_gap_ms)
    return float(value) if isinstance(value, int | float) and 0 <= value < 1e9 else ExploreSpec().min_shot_gap_ms


@dataclass(frozen=True)
class Seen:
    """What a model knows of a recording from training.

    Attributes:
        mark: Samples whose window it knows, shape ``(n,)``.
        sure: Whether that is known to the sample; otherwise it is what the model may have seen.
        note: What the user should know, without the model's name; None if nothing.
    """

    mark: NDArray[np.bool_]
    sure: bool = True
    note: str | None = None


def seen_by(one: Shown, score: Scores, session: Session, labelled: Labelled, dataset: Dataset | None) -> Seen:
    """Find out what a model knows of a recording from training.

    Args:
        one: The model.
        score: What it says.
        session: The recording.
        labelled: Its labelled windows.
        dataset: The dataset, if there is one.
    """
    nothing = np.zeros(len(session), np.bool_)
    if one.fresh or (dataset is not None and one.model.spec.data_hash == data_hash(dataset)):
        if not labelled.known:
            return Seen(nothing)
        strip = labelled.strip
        training = strip.start[~strip.held_out & ~strip.embargoed]
        return Seen(shares_samples(training, strip.window, len(session), score.ready, one.model.spec.window))
    trained_on = one.model.spec.trained_on
    if session_hash(session) in trained_on:
        return Seen(
            score.ready.copy(),
            sure=False,
            note="trained on parts of this recording without saying which, so nothing here is a test; name the "
            "dataset with --train-dir to see",
        )
    if not trained_on:
        return Seen(
            nothing, sure=False, note="does not say what it was trained on; if on this recording, nothing is a test"
        )
    return Seen(nothing)


def choose_shots(seen: NDArray[np.bool_], most: int | None) -> list[int]:
    """Choose shots to draw, by number, ascending: those that no model saw first, evenly spread.

    Args:
        seen: Of each shot, whether a model saw its window.
        most: How many, or None for all.
    """
    if most is None or len(seen) <= most:
        return list(range(len(seen)))
    unseen, rest = np.flatnonzero(~seen), np.flatnonzero(seen)
    chosen = _spread(unseen, most)
    return sorted(chosen + _spread(rest, most - len(chosen)))


def choose_negatives(
    labelled: Labelled, target: str, scores: Sequence[Scores], most: int, seed: int
) -> list[tuple[int, bool]]:
    """Choose windows of other classes to draw: half of them those of the highest probability, the rest at random.

    Held-out windows come before those of training; embargoed ones are never taken.

    Returns:
        Row of each chosen window, in order of time, and whether it was taken for its probability.
    """
    strip = labelled.strip
    highest = np.nanmax([np.nan_to_num(score.p[labelled.end], nan=-1.0) for score in scores], axis=0)
    rows = np.flatnonzero(~labelled.positive(target) & ~strip.embargoed & (highest >= 0))
    taken: list[tuple[int, bool]] = []
    for pool in (rows[strip.held_out[rows]], rows[~strip.held_out[rows]]):
        number = min(most - len(taken), len(pool))
        order = pool[np.argsort(-highest[pool], kind="stable")].tolist()
        worst = (number + 1) // 2
        drawn = random.Random(seed).sample(order[worst:], number - worst)
        taken += [(row, True) for row in order[:worst]] + [(row, False) for row in drawn]
    return sorted(taken, key=lambda one: (int(strip.start[one[0]]), one[0]))


def _spread(numbers: NDArray[np.int64], most: int) -> list[int]:
    if len(numbers) <= most:
        return [int(n) for n in numbers]
    places = [(2 * i + 1) * len(numbers) // (2 * most) for i in range(most)]
    return [int(numbers[place]) for place in places]


def _placed(session: Session, dataset: Dataset) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Rows of a dataset that were cut from a recording and where they start in it; None if none were."""
    inputs: Any = dataset.meta.get("inputs")
    inputs = inputs if isinstance(inputs, list) else []
    hashes = [one.get("sha256") if isinstance(one, dict) else None for one in inputs]
    if any(hashes):
        own = session_hash(session)
        numbers = [number for number, name in enumerate(hashes) if name == own]
        if not numbers:
            return None
        rows = np.flatnonzero(np.isin(dataset.session, numbers))
        return rows, dataset.start[rows]
    return _placed_by_content(session, dataset)


def _placed_by_content(session: Session, dataset: Dataset) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Find the windows of a dataset that knows times only, as the Stinger's own exporter's does."""
    columns: Any = dataset.meta.get("index")
    times = columns.get("window_start_ms") if isinstance(columns, dict) else None
    names = [channel.name for channel in session.channels]
    if times is None or not all(channel.name in names for channel in dataset.channels):
        return None
    start = np.searchsorted(session.t_us // 1000, np.asarray(times, dtype=np.int64)).astype(np.int64)
    rows = np.arange(len(dataset), dtype=np.int64)
    if not len(rows) or int(start.max()) + dataset.window > len(session):
        return None
    samples = session.samples[:, [names.index(channel.name) for channel in dataset.channels]]
    same = np.array_equal(take_windows(samples, start, dataset.window), dataset.windows)
    return (rows, start) if same else None


def _stored(dataset: Dataset | None) -> Mapping[str, Any]:
    parameters = None if dataset is None else dataset.meta.get("parameters")
    if parameters is None and dataset is not None:
        parameters = dataset.meta.get("exporter")
    return parameters if isinstance(parameters, Mapping) else {}


def _parameters(dataset: Dataset | None, spec: ModelSpec) -> ExploreSpec:
    """How to cut: as the dataset was, else as the model's windows are."""
    names = tuple(channel.name for channel in spec.channels)
    fallback = ExploreSpec(channels=names, window_ms=spec.window * spec.period_us / 1000, lead_ms=spec.lead_us / 1000)
    stored = {name: value for name, value in _stored(dataset).items() if name in ExploreSpec.__dataclass_fields__}
    if not stored:
        return fallback
    try:
        return replace(fallback, **{**stored, "channels": names, "window_ms": fallback.window_ms})
    except (TypeError, ValueError, UsageError, InputError):
        # The remarks of a dataset are not covered by its hash; the model's own windows will do.
        return fallback
