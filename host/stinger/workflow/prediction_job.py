"""What is drawn and written of one recording's predictions: scenes, histogram, table, summary and remarks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.plots.prediction_moments import Moment, Scene, cut_scene
from stinger.plots.prediction_spread import Answers
from stinger.plots.predictions import Curve
from stinger.sessions.session import Session
from stinger.windows.dataset import Dataset
from stinger.windows.shot_rules import Shots
from stinger.workflow.prediction_models import Shown
from stinger.workflow.prediction_scores import Scores, for_model
from stinger.workflow.prediction_windows import Labelled, Seen, choose_negatives, choose_shots

#: What a picture of a shot or an idle window shows before and after its moment, seconds.
_BEFORE_S, _AFTER_S = 2.0, 1.0


@dataclass(frozen=True)
class Job:
    """Everything that is drawn and written.

    Attributes:
        session: The recording.
        shots: Its shots.
        shown: The models.
        scores: What each of them says at every sample.
        seen: What each of them knows of the recording from training.
        curves: The same, ready to be drawn.
        labelled: Labelled windows of the recording.
        target: Class whose probability is shown.
    """

    session: Session
    shots: Shots
    shown: Sequence[Shown]
    scores: Sequence[Scores]
    seen: Sequence[Seen]
    curves: tuple[Curve, ...]
    labelled: Labelled
    target: str

    @property
    def lead_us(self) -> int:
        """From a window's end to the moment it speaks of; the same for all models."""
        return self.shown[0].model.spec.lead_us

    @property
    def known(self) -> NDArray[np.bool_]:
        """Samples whose window any model saw in training."""
        marked: NDArray[np.bool_] = np.any([seen.mark for seen in self.seen], axis=0)
        return marked


def remarks(job: Job, dataset: Dataset | None) -> list[str]:
    """What a user should know before believing the pictures."""
    notes = [f"the recording: {fault}" for fault in job.session.faults]
    for one in job.shown:
        notes += for_model(job.session, one.model.spec, one.label)[1]
    for note in dict.fromkeys(seen.note for seen in job.seen if seen.note is not None):
        labels = [one.label for one, seen in zip(job.shown, job.seen, strict=True) if seen.note == note]
        notes.append(f"{', '.join(labels)}: {note}")
    if not len(job.shots.accepted):
        why = "the trigger is never pulled" if job.session.trigger is not None else "it has no trigger"
        notes.append(f"no shots in {job.session.name}: {why}, so there are no pictures of shots")
    if dataset is not None and not job.labelled.known and any(one.fresh for one in job.shown):
        notes.append(f"{job.session.name} is not in the dataset: all of it is new to the models")
    share = float(np.mean(job.known[job.scores[0].ready]))
    if share and job.labelled.known:
        notes.append(f"{share:.0%} of the windows share samples with training, yellow in the pictures: no test there")
    strip = job.labelled.strip
    leaked = int(job.known[job.labelled.end[strip.held_out]].sum()) if job.labelled.known else 0
    if leaked:
        notes.append(
            f"{leaked} of {int(strip.held_out.sum())} held-out windows share samples with training: "
            "explore with --embargo"
        )
    return notes


def shot_scenes(job: Job, most: int | None) -> list[tuple[str, Scene]]:
    """Pictures of shots: names below the output directory, and scenes."""
    session = job.session
    lead = round(job.lead_us / session.period_us)
    edges = job.shots.accepted
    seen = job.known[np.maximum(edges - lead - 1, 0)] & (edges > lead)
    scenes = []
    for number in choose_shots(seen, most):
        edge = int(edges[number])
        at_s = float(session.t_us[edge] - session.t_us[0]) / 1e6
        state = _state(job, bool(seen[number]))
        moment = Moment(
            at_us=int(session.t_us[edge]),
            what="the trigger",
            shot=True,
            title=f"shot {number} of {brief(session.name)} at {at_s:.2f} s: {state}",
            window_s=_window_s(job),
            before_s=_BEFORE_S,
            after_s=_AFTER_S,
        )
        scenes.append((f"shots/shot_{number:03d}.png", cut_scene(session, job.shots, job.curves, moment)))
    return scenes


def negative_scenes(job: Job, most: int, seed: int) -> list[tuple[str, Scene]]:
    """Pictures of windows of other classes: names below the output directory, and scenes."""
    session, strip = job.session, job.labelled.strip
    scenes = []
    for place, (row, worst) in enumerate(choose_negatives(job.labelled, job.target, job.scores, most, seed)):
        start = int(strip.start[row])
        at_us = int(session.t_us[start + strip.window - 1]) + job.lead_us
        at_s = (at_us - int(session.t_us[0])) / 1e6
        state = "held out" if strip.held_out[row] else "for training"
        why = "among the highest probabilities" if worst else "drawn at random"
        if not job.labelled.known:
            state = _state(job, bool(job.known[start + strip.window - 1]))
        moment = Moment(
            at_us=at_us,
            what=f"the moment a window of '{strip.classes[strip.labels[row]]}' speaks of",
            shot=False,
            title=f"'{strip.classes[strip.labels[row]]}' in {brief(session.name)} at {at_s:.2f} s: {state}, {why}",
            window_s=_window_s(job),
            before_s=_BEFORE_S,
            after_s=_AFTER_S,
        )
        scenes.append((f"negatives/neg_{place:03d}.png", cut_scene(session, job.shots, job.curves, moment)))
    return scenes


def _window_s(job: Job) -> float:
    """How long a window of the first model is."""
    return job.shown[0].model.spec.window * job.session.period_us / 1e6


def _state(job: Job, seen: bool) -> str:
    if not seen:
        return "not seen in training"
    return "seen in training" if job.labelled.known else "maybe seen in training"


def brief(name: str) -> str:
    """Cut a long name at its beginning; its end tells recordings apart."""
    return name if len(name) <= 40 else f"…{name[-39:]}"


def answers(job: Job) -> list[Answers]:
    """What the models say of labelled windows, those of training apart; a part without windows is left out."""
    strip, end = job.labelled.strip, job.labelled.end
    positive = job.labelled.positive(job.target)
    others = [
        name for number, name in enumerate(strip.classes) if (strip.labels == number).any() and name != job.target
    ]
    classes = (job.target, f"'{others[0]}'" if len(others) == 1 else "others")
    if job.labelled.known:
        training = ~strip.held_out & ~strip.embargoed
        parts = [("held out", strip.held_out), ("training, no test", training)]
    else:
        known = job.known[end]
        parts = [("not in training", ~known), ("maybe in training", known)]
    p = np.stack([score.p[end] for score in job.scores])
    return [Answers(name, positive[part], p[:, part], classes) for name, part in parts if part.any()]


def summary(job: Job, answers: Sequence[Answers], pictures: Sequence[str], notes: Sequence[str]) -> dict[str, Any]:
    """Put ``summary.json`` together.

    Args:
        job: What is shown.
        answers: What the models say of labelled windows.
        pictures: Names of the scenes drawn.
        notes: What a user should know.
    """
    session = job.session
    models = []
    for number, (one, curve) in enumerate(zip(job.shown, job.curves, strict=True)):
        spec = one.model.spec
        reached = {}
        for part in answers:
            p = np.nan_to_num(part.p[number], nan=-1.0)
            reached[part.name] = {
                name: [int((p[chosen] >= curve.threshold).sum()), int((p[chosen] >= 0).sum())]
                for name, chosen in ((job.target, part.positive), ("others", ~part.positive))
            }
        models.append(
            {
                "name": one.name,
                "label": one.label,
                "origin": one.origin,
                "family": spec.family,
                "features": spec.features,
                "window_samples": spec.window,
                "lead_ms": spec.lead_us / 1000,
                "threshold": curve.threshold,
                "policy": job.scores[number].on is not None,
                "reached_threshold": reached,
            }
        )
    return {
        "recording": session.name,
        "samples": len(session),
        "duration_s": session.duration_s,
        "gaps": max(0, len(session.stretches()) - 1),
        "shots": len(job.shots.accepted),
        "class": job.target,
        "predictions": int(job.scores[0].ready.sum()),
        "in_dataset": job.labelled.known,
        "models": models,
        "pictures": {
            "shots": sum(name.startswith("shots/") for name in pictures),
            "negatives": sum(name.startswith("negatives/") for name in pictures),
        },
        "notes": list(dict.fromkeys(notes)),
    }


def table(job: Job) -> Iterator[str]:
    """Rows of ``predictions.csv``, one per sample of the recording."""
    t_us = job.session.t_us
    ready = np.all([score.ready for score in job.scores], axis=0)
    names = [f"p_{one.name}" for one in job.shown] if len(job.shown) > 1 else ["p"]
    columns: list[tuple[str, NDArray[Any], Callable[[Any], str]]] = [
        ("time_ms", t_us + job.lead_us, _ms(t_us + job.lead_us)),
        ("window_end_ms", t_us, _ms(t_us)),
        ("ready", ready.astype(int), str),
        ("in_training", job.known.astype(int), str),
        *((name, score.p, _probability) for name, score in zip(names, job.scores, strict=True)),
    ]
    for one, score in zip(job.shown, job.scores, strict=True):
        if score.on is not None:
            columns.append((f"on_{one.name}" if len(job.shown) > 1 else "on", score.on.astype(int), str))
    yield ",".join(name for name, _, _ in columns) + "\r\n"
    for first in range(0, len(t_us), 4096):
        cells = [map(form, values[first : first + 4096].tolist()) for _, values, form in columns]
        for row in zip(*cells, strict=True):
            yield ",".join(row) + "\r\n"


def _probability(p: float) -> str:
    return "" if math.isnan(p) else f"{p:.6f}"


def _ms(t_us: NDArray[np.int64]) -> Callable[[int], str]:
    """Milliseconds: whole where all of them are, else with three decimals."""
    return _exact_ms if (t_us % 1000).any() else _whole_ms


def _whole_ms(t_us: int) -> str:
    return str(t_us // 1000)


def _exact_ms(t_us: int) -> str:
    return f"{t_us / 1000:.3f}"
