"""Whole recordings as a model answers them that never saw them.

A recording the model was trained on is answered by refits of its recipe without that recording; where there is no
other to learn from, by refits without the block of time in question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError, UsageError
from stinger.evaluation.streaming import ground
from stinger.evaluation.tuning import Recording
from stinger.models.policy import Policy, gyro_triad, motion_energy, to_units
from stinger.models.spec import ModelSpec, TrainedModel
from stinger.models.train import fit_rows
from stinger.sessions.session import Session
from stinger.windows.dataset import Dataset
from stinger.windows.describe import select_channels, session_hash
from stinger.windows.replay import stream_of
from stinger.windows.shot_rules import find_shots, trigger_down
from stinger.windows.shots import CLASSES
from stinger.windows.splits import recordings
from stinger.windows.store import data_hash
from stinger.workflow.progress import Progress
from stinger_export.integer.model import IntegerModel
from stinger_export.integer.quantise import quantise

#: Blocks of time, where a recording must be left out of its own training piece by piece.
BLOCKS = 5
#: How a recording was answered.
UNSEEN, REFITTED, BY_BLOCKS = "by the model", "by a refit without it", "by refits without the block"
_SHOT = CLASSES[1]
_WINDOWS_AT_ONCE = 8192
#: Clocks of two boards of one kind differ by less.
_PERIOD_TOLERANCE = 0.02


@dataclass(frozen=True)
class Scored:
    """One recording with the answers of a model that never saw it.

    Attributes:
        recording: Times, probabilities, motion, and what it asks of a policy.
        session: The recording itself.
        how: `UNSEEN`, `REFITTED` or `BY_BLOCKS`.
    """

    recording: Recording
    session: Session
    how: str

    @property
    def seconds(self) -> float:
        """What was recorded, without gaps."""
        return sum(self._lasts(a, b) for a, b in self.session.stretches())

    def _lasts(self, first: int, stop: int) -> float:
        t_us = self.session.t_us
        return float(t_us[stop - 1] - t_us[first] + self.session.period_us) / 1e6


class Answers:
    """What a model says about windows, as the board would say it where it can.

    Attributes:
        level: ``L2`` for the integer model, ``L0`` for the estimator of a family or feature set without one.
    """

    def __init__(self, model: TrainedModel) -> None:
        self._model = model
        self._event = event_class(model.spec)
        self._integer: IntegerModel | None = None
        try:
            self._integer = quantise(model)
        except InputError:
            # No integer form: the estimator's probabilities, rounded to the board's unit, stand in.
            self._integer = None
        self.level = "L0" if self._integer is None else "L2"

    def __call__(self, windows: NDArray[np.int16]) -> NDArray[np.uint16]:
        """Probability of the event in 1/32768 for windows ``(n, window, channels)``."""
        if self._integer is not None:
            answered: NDArray[np.uint16] = self._integer.decide(windows).probability[:, self._event]
            return answered
        return to_units(self._model.predict_proba(windows)[:, self._event])


def event_class(spec: ModelSpec) -> int:
    """Index of the class a policy acts on.

    Raises:
        UsageError: The model does not speak of shots.
    """
    if _SHOT in spec.classes:
        return spec.classes.index(_SHOT)
    if len(spec.classes) == 2 and spec.lead_us:
        return 1
    raise UsageError(
        f"model {spec.name} tells {', '.join(spec.classes)} apart, not shots from the rest; "
        "give one that was trained on recordings with shots"
    )


def stock_policy(spec: ModelSpec, percent: float = 50) -> Policy:
    """The stock firmware's policy for a model; without a gate for one without a gyroscope."""
    gyro = gyro_triad([channel.name for channel in spec.channels])
    policy = Policy.stock(percent, window=spec.window, period_us=spec.period_us, gyro=gyro or 0)
    return replace(policy, positive=event_class(spec), gate_lsb=policy.gate_lsb if gyro is not None else 0)


def trained_on(spec: ModelSpec) -> frozenset[str]:
    """Hashes of the recordings that a model has seen.

    Raises:
        InputError: It does not say: an older stinger trained it.
    """
    if not spec.trained_on:
        raise InputError(f"model {spec.name} does not say which recordings it was trained on; train it again")
    return frozenset(spec.trained_on)


def require_recipe(model: TrainedModel, dataset: Dataset, where: str) -> None:
    """Refuse a dataset that is not the one a model was trained on.

    Raises:
        InputError: It is another.
    """
    if data_hash(dataset) != model.spec.data_hash:
        raise InputError(f"{where} is not the dataset that model {model.spec.name} was trained on; give that one")


def cross_fitted(
    model: TrainedModel,
    dataset: Dataset | None,
    sessions: Sequence[Session],
    progress: Progress,
    *,
    training_only: bool = False,
) -> list[Scored]:
    """Answer whole recordings, each by a model that never saw it.

    Args:
        model: The model; it answers what it was not trained on.
        dataset: What it was trained on, for refitting it; see `require_recipe`.
        sessions: The recordings.
        progress: Says what is being done.
        training_only: Look away from the windows that the dataset holds out, and from the shots they belong to.

    Raises:
        UsageError: A recording was trained on and there is no dataset, or the channels do not fit.
        InputError: A recording has no trigger or another rate, comes twice, or there is too little left to refit on.
    """
    seen = trained_on(model.spec)
    known: dict[str, str] = {}
    own: Answers | None = None
    scored = []
    with progress.bar("recordings") as show:
        for number, session in enumerate(sessions, start=1):
            digest = session_hash(session)
            if digest in known:
                raise InputError(f"{session.name} holds the same samples as {known[digest]}; leave one out")
            known[digest] = session.name
            view = _View(model.spec, session)
            counted = _not_held_out(dataset, session, digest) if training_only and dataset is not None else None
            if digest not in seen:
                own = own or Answers(model)
                probability, how = view.answered(own), UNSEEN
            elif dataset is None:
                raise UsageError(
                    f"model {model.spec.name} was trained on {session.name}; give --train-dir with its dataset, so "
                    "that a refit without this recording can answer it"
                )
            else:
                probability, how = _refitted(model, dataset, view, digest)
            scored.append(Scored(view.recording(probability, counted), session, how))
            show(number, len(sessions))
    return scored


class _View:
    """One recording through a model's window."""

    def __init__(self, spec: ModelSpec, session: Session) -> None:
        if session.trigger is None:
            raise InputError(f"{session.name} has no trigger, so nobody knows its shots; leave it out")
        if abs(session.period_us - spec.period_us) > _PERIOD_TOLERANCE * spec.period_us:
            raise InputError(
                f"{session.name} has a sample every {session.period_us} us, model {spec.name} expects one every "
                f"{spec.period_us}; resample it, or train a model for this rate"
            )
        columns = select_channels(session, [channel.name for channel in spec.channels])
        for column, channel in zip(columns, spec.channels, strict=True):
            given = session.channels[column]
            if given.unit != channel.unit or not np.isclose(given.scale, channel.scale, rtol=1e-6):
                raise InputError(
                    f"{session.name}: one count of {given.name} is {given.scale:.6g} {given.unit}, model {spec.name} "
                    f"was trained with {channel.scale:.6g} {channel.unit}; convert the recording"
                )
        self.spec, self.session = spec, session
        stream = stream_of([(session, 0, len(session))])
        self.ready = stream.ready(spec.window)
        self._ends = np.flatnonzero(self.ready)
        self._windows = (
            np.lib.stride_tricks.sliding_window_view(session.samples[:, columns], spec.window, axis=0)
            if len(session) >= spec.window
            else None
        )
        self._gyro = gyro_triad([channel.name for channel in spec.channels])

    def answered(self, answers: Answers, among: NDArray[np.bool_] | None = None) -> NDArray[np.uint16]:
        """Probability per sample, of those ``among`` them; 0 elsewhere and where no window is complete."""
        probability = np.zeros(len(self.session), dtype=np.uint16)
        ends = self._ends if among is None else self._ends[among[self._ends]]
        for part in self._parts(ends):
            probability[part] = answers(self._at(part))
        return probability

    def recording(self, probability: NDArray[np.uint16], counted: NDArray[np.bool_] | None) -> Recording:
        """Put together what tuning and drawing need."""
        session, shots = self.session, find_shots(self.session)
        motion = np.zeros(len(session), dtype=np.int64)
        if self._gyro is not None:
            for part in self._parts(self._ends):
                motion[part] = motion_energy(self._at(part), self._gyro)
        asked = ground(
            session.t_us,
            self.ready,
            shots.accepted,
            session.period_us,
            pulls=np.union1d(shots.accepted, shots.rejected),
            down=trigger_down(session),
            counted=counted,
        )
        return Recording(session.name, session.t_us, self.ready, probability, motion, asked)

    def _parts(self, ends: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        return [ends[i : i + _WINDOWS_AT_ONCE] for i in range(0, len(ends), _WINDOWS_AT_ONCE)]

    def _at(self, ends: NDArray[np.int64]) -> NDArray[np.int16]:
        """Windows that end at these samples."""
        assert self._windows is not None  # noqa: S101 - no window ends in a recording shorter than one
        windows: NDArray[np.int16] = np.ascontiguousarray(self._windows[ends - self.spec.window + 1].transpose(0, 2, 1))
        return windows


def _refitted(model: TrainedModel, dataset: Dataset, view: _View, digest: str) -> tuple[NDArray[np.uint16], str]:
    inputs = _inputs(dataset)
    if digest not in inputs:
        raise InputError(f"{view.session.name} was trained on, but the dataset does not name it; explore again")
    mine = recordings(dataset) == inputs.index(digest)
    others = dataset.training & ~mine
    if others.any():
        _require_all(dataset, others, view.session.name)
        return view.answered(_refit(model, dataset, others)), REFITTED
    return _by_blocks(model, dataset, view, mine & dataset.training), BY_BLOCKS


def _by_blocks(model: TrainedModel, dataset: Dataset, view: _View, rows: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """Refit without each block of time and a window's length around it."""
    event = event_class(model.spec)
    shots = np.sort(dataset.start[rows & (dataset.labels == event)])
    blocks = min(BLOCKS, len(shots))
    if blocks < 2:
        raise InputError(
            f"{view.session.name}: {len(shots)} shot(s) to train on, leaving out blocks of time takes two; record more"
        )
    # Blocks with as many shots each; the cuts are halfway between two.
    first = [len(shots) * k // blocks for k in range(1, blocks)]
    cuts = [0, *((shots[i - 1] + shots[i]) // 2 for i in first), len(view.session)]
    samples = np.arange(len(view.session))
    probability = np.zeros(len(view.session), dtype=np.uint16)
    for low, high in pairwise(cuts):
        # A window that ends in the block begins up to a window before it: one more keeps clear of those, too.
        clear = (dataset.start + dataset.window <= low - dataset.window) | (dataset.start >= high)
        _require_all(dataset, rows & clear, f"{view.session.name} without a block of its time")
        block = (samples >= low) & (samples < high)
        probability += view.answered(_refit(model, dataset, rows & clear), block)
    return probability


def _refit(model: TrainedModel, dataset: Dataset, rows: NDArray[np.bool_]) -> Answers:
    spec = model.spec
    fitted = fit_rows(
        dataset, rows, spec.family, features=spec.features, seed=spec.seed, name=spec.name, options=spec.options
    )
    return Answers(fitted)


def _require_all(dataset: Dataset, rows: NDArray[np.bool_], without: str) -> None:
    for label, name in enumerate(dataset.classes):
        if not (rows & (dataset.labels == label)).any():
            raise InputError(f"without {without} no window of class {name!r} is left to refit on; record more")


def _not_held_out(dataset: Dataset, session: Session, digest: str) -> NDArray[np.bool_] | None:
    """Mark the samples of a recording that belong to no held-out window, nor to the shot it comes before."""
    inputs = _inputs(dataset)
    if digest not in inputs:
        return None
    held_out = dataset.held_out & (recordings(dataset) == inputs.index(digest))
    # From a window's first sample to just beyond the edge it leads to.
    reach = dataset.window + round(dataset.lead_us / dataset.period_us) + 1
    change = np.zeros(len(session) + 1, dtype=np.int64)
    np.add.at(change, dataset.start[held_out], 1)
    np.add.at(change, np.minimum(dataset.start[held_out] + reach, len(session)), -1)
    free: NDArray[np.bool_] = np.cumsum(change[:-1]) == 0
    return free


def _inputs(dataset: Dataset) -> list[str]:
    inputs = dataset.meta.get("inputs")
    return [str(one.get("sha256")) for one in inputs] if isinstance(inputs, list) else []
