"""What models say at every sample of a recording, and which of it they could have learnt by heart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no types

from stinger.errors import InputError
from stinger.models.policy import Policy, motion_energy, run_policy, to_units
from stinger.models.spec import ModelSpec
from stinger.sessions.session import Channel, Session
from stinger.windows.arrays import running_count
from stinger.windows.replay import stream_of
from stinger.workflow.prediction_models import Shown
from stinger.workflow.progress import Progress

#: Windows in memory at a time.
_WINDOWS_AT_ONCE = 4096
#: Clocks of two boards of one kind differ by less than this share.
_RATE_TOLERANCE = 0.02


@dataclass(frozen=True)
class Scores:
    """What one model says at every sample of a recording.

    Attributes:
        ready: Whether the window that ends there is full and free of gaps, shape ``(n,)``.
        p: The probability, NaN where not ready, shape ``(n,)``.
        on: Whether its policy is on there, shape ``(n,)``; None without a policy.
    """

    ready: NDArray[np.bool_]
    p: NDArray[np.float64]
    on: NDArray[np.bool_] | None


def for_model(session: Session, spec: ModelSpec, label: str) -> tuple[NDArray[np.int16], list[str]]:
    """Return a recording's samples as a model expects them, and what had to be done to them.

    Channels are found by name. Counts of another scale are converted; of another unit they mean something else.

    Args:
        session: A recording.
        spec: The model's.
        label: What to call the model.

    Returns:
        int16, shape ``(n, model's channels)``, and one line for each change.

    Raises:
        InputError: A channel is missing or in another unit, or the rate is another.
    """
    if abs(session.period_us - spec.period_us) > _RATE_TOLERANCE * spec.period_us:
        raise InputError(
            f"{session.name} has {1e6 / session.period_us:.4g} samples a second, {label} was trained on "
            f"{1e6 / spec.period_us:.4g}; give a recording of that rate, or train on recordings of this one"
        )
    names = [channel.name for channel in session.channels]
    columns, changes = [], []
    for channel in spec.channels:
        if channel.name not in names:
            raise InputError(
                f"{session.name} has no channel {channel.name!r}, which {label} needs; it has {', '.join(names)}"
            )
        number = names.index(channel.name)
        column, change = _scaled(session, number, channel, label)
        columns.append(column)
        changes += change
    return np.ascontiguousarray(np.stack(columns, axis=1)), changes


def _scaled(session: Session, number: int, wanted: Channel, label: str) -> tuple[NDArray[np.int16], list[str]]:
    own, counts = session.channels[number], session.samples[:, number]
    if own.unit != wanted.unit:
        raise InputError(
            f"{session.name}: {own.name} is in {own.unit or 'no unit'}, {label} was trained on "
            f"{wanted.unit or 'no unit'}; convert the recording, or say its --units"
        )
    if abs(own.scale - wanted.scale) <= 1e-9 * wanted.scale:
        return counts, []
    limits = np.iinfo(np.int16)
    physical = np.rint(counts * (own.scale / wanted.scale))
    lost = int(((physical < limits.min) | (physical > limits.max)).sum())
    text = f"{own.name}: {own.scale:.4g} {own.unit} per count became {label}'s {wanted.scale:.4g}"
    if lost:
        text += f"; {lost:,} samples were beyond its range and are clipped"
    return np.clip(physical, limits.min, limits.max).astype(np.int16), [text]


def score_all(shown: Sequence[Shown], session: Session, target: str, progress: Progress) -> list[Scores]:
    """Run models over every gap-free window of a recording, a few thousand windows at a time.

    Models on the same features share them. The result does not depend on how many processors there are.

    Args:
        shown: The models.
        session: The recording, with what they need; see `for_model`.
        target: The class whose probability is wanted.
        progress: Says how far it is.

    Returns:
        What each model says, in their order.

    Raises:
        InputError: The recording lacks something, or has no stretch as long as a window.
    """
    scores: list[Scores | None] = [None] * len(shown)
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number, one in enumerate(shown):
        spec = one.model.spec
        groups.setdefault((spec.window, spec.period_us, spec.channels), []).append(number)
    with progress.bar("predicting") as bar, threadpool_limits(1):
        for done, members in enumerate(groups.values()):
            alike = [shown[number] for number in members]
            found = _score_alike(alike, session, target, lambda i, n, d=done: bar(d * n + i, len(groups) * n))
            for number, one_score in zip(members, found, strict=True):
                scores[number] = one_score
    return [score for score in scores if score is not None]


def _score_alike(shown: Sequence[Shown], session: Session, target: str, bar: Any) -> list[Scores]:
    """Run models of the same window and channels over a recording."""
    first = shown[0].model.spec
    samples, _ = for_model(session, first, shown[0].label)
    fitted = replace(session, samples=samples, channels=first.channels, period_us=first.period_us)
    ready = stream_of([(fitted, 0, len(fitted))]).ready(first.window) if len(fitted) else np.zeros(0, np.bool_)
    ends = np.flatnonzero(ready)
    if not len(ends):
        longest = max((b - a for a, b in fitted.stretches()), default=0)
        raise InputError(
            f"{session.name}: the longest stretch without a gap has {longest} samples, a window of "
            f"{shown[0].label} {first.window}; give a longer recording"
        )
    view = sliding_window_view(samples, first.window, axis=0).transpose(0, 2, 1)
    p = [np.full(len(fitted), np.nan) for _ in shown]
    policies = [_policy(one.model.spec, target) for one in shown]
    # Where the gyroscope's counts are added up: of each triad that a policy's gate looks at.
    motion = {policy.gyro: np.zeros(len(fitted), np.int64) for policy in policies if policy and policy.gate_lsb}
    for at in range(0, len(ends), _WINDOWS_AT_ONCE):
        part = ends[at : at + _WINDOWS_AT_ONCE]
        windows = view[part - first.window + 1]
        features: dict[str, NDArray[Any]] = {}
        for number, one in enumerate(shown):
            spec = one.model.spec
            if spec.features not in features:
                features[spec.features] = spec.feature_set.compute(windows)
            said = one.model.predict_proba_features(features[spec.features])
            p[number][part] = said[:, spec.classes.index(target)]
        for gyro, energy in motion.items():
            energy[part] = motion_energy(windows, gyro)
        bar(min(at + _WINDOWS_AT_ONCE, len(ends)), len(ends))
    still = np.zeros(len(fitted), np.int64)
    scores = []
    for said, policy in zip(p, policies, strict=True):
        on = None
        if policy is not None:
            units = to_units(np.nan_to_num(said))
            on = run_policy(policy, fitted.t_us, ready, units, motion.get(policy.gyro, still)).on
        scores.append(Scores(ready, said, on))
    return scores


def _policy(spec: ModelSpec, target: str) -> Policy | None:
    """Return the model's policy, if it acts on the class that is shown."""
    policy = spec.policy
    return policy if policy is not None and spec.classes[policy.positive] == target else None


def shares_samples(
    start: NDArray[np.int64], length: int, samples: int, ready: NDArray[np.bool_], window: int
) -> NDArray[np.bool_]:
    """Mark the samples whose window shares a sample with one of some other windows.

    Args:
        start: First sample of each of those, shape ``(m,)``.
        length: Their length.
        samples: Samples of the recording.
        ready: Where a window is full, shape ``(samples,)``.
        window: Its length.
    """
    change = np.zeros(samples + 1, dtype=np.int64)
    np.add.at(change, start, 1)
    np.add.at(change, np.minimum(start + length, samples), -1)
    before = running_count(np.cumsum(change[:-1]) > 0)
    end = np.arange(samples)
    marked: NDArray[np.bool_] = before[end + 1] > before[np.maximum(end - window + 1, 0)]
    return marked & ready
