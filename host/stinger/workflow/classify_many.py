"""Models of any kind on the same recordings that none of them has seen: who is right how often, and how sure is that.

::

    answers = [classify_many(model, recordings) for model in (Path("field_model"), Path("field_ast"))]
    print(answers_markdown(answers))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.evaluation.intervals import Figure
from stinger.evaluation.metrics import predicted
from stinger.evaluation.report import WindowReport, window_report
from stinger.markdown import grid
from stinger.plots.curves import plot_confusion
from stinger.sessions.mcap_format.labels import LEVELS
from stinger.workflow.classify import ClassifyOptions, ClassifyResult, classify
from stinger.workflow.progress import Progress

_FIGURES = {
    "accuracy": "accuracy",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "macro_f1": "macro F1",
}


@dataclass(frozen=True)
class Answers:
    """What a model says of several recordings, of windows whose label is known.

    Attributes:
        model: Its name.
        classes: Names of its classes.
        labels: True class of each window, shape ``(n,)``.
        probability: Shape ``(n, classes)``.
        recording: Number of each window's recording, shape ``(n,)``.
        results: What it says of each recording, windows without a label included.
        report: How good that is; intervals come from drawing whole recordings again.
    """

    model: str
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    probability: NDArray[np.float64]
    recording: NDArray[np.int64]
    results: tuple[ClassifyResult, ...]
    report: WindowReport

    @property
    def accuracy(self) -> float:
        """Share of the windows that are right."""
        return float(self.report.figures["accuracy"].value)


def classify_many(
    model: Path,
    recordings: Sequence[Path],
    progress: Progress | None = None,
    *,
    name: str | None = None,
    step_s: float | None = None,
    seed: int = 1,
) -> Answers:
    """Classify recordings and measure what comes out.

    Args:
        model: Any model that `stinger magnetic classify` takes.
        recordings: Labelled recordings that it has not seen.
        progress: Says what is being done.
        name: What to call the model; its own name if not given.
        step_s: Seconds from the start of a window to that of the next; default: one window after the other.
        seed: Of the intervals.

    Raises:
        InputError: One of them cannot be read, the model was trained on one, or none has windows with labels that the
            model knows.
    """
    progress = progress or Progress()
    results = [classify(ClassifyOptions(model, recording, step_s=step_s), progress) for recording in recordings]
    seen = [note for result in results for note in result.notes if "was trained on this recording" in note]
    if seen:
        raise InputError(f"{seen[0].split(':')[0]}; give recordings that it has not seen")
    labels, probability, owner = [], [], []
    for number, result in enumerate(results):
        known = [i for i, truth in enumerate(result.truth) if truth in result.classes]
        labels += [result.classes.index(str(result.truth[i])) for i in known]
        probability.append(result.probability[known])
        owner += [number] * len(known)
    if not labels:
        raise InputError(f"none of {len(results)} recordings has windows with labels that {model} knows; label them")
    truth, said = np.array(labels, dtype=np.int64), np.concatenate(probability)
    classes, units = results[0].classes, np.array(owner, dtype=np.int64)
    return Answers(
        model=name or results[0].model,
        classes=classes,
        labels=truth,
        probability=said,
        recording=units,
        results=tuple(results),
        report=window_report(
            truth,
            said,
            classes,
            threshold=0.5 if len(classes) == 2 else None,
            units=units,
            unit_name="recordings",
            seed=seed,
        ),
    )


def answers_table(answers: Sequence[Answers]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows for people: a model in each row, figures with their 95 % intervals."""
    names = [name for name in _FIGURES if all(name in one.report.figures for one in answers)]
    rows = [
        [one.model, f"{len(one.labels):,}", *(_with_interval(one.report.figures[name]) for name in names)]
        for one in answers
    ]
    return ["model", "windows", *(_FIGURES[name] for name in names)], rows


def answers_markdown(answers: Sequence[Answers]) -> str:
    """Return the same table in markdown."""
    return grid(*answers_table(answers), numbers=True)


def plot_answers(answers: Sequence[Answers], path: Path, *, title: str = "Recordings that no model has seen") -> None:
    """Draw the confusion of each model, levels of distortion in their order.

    Raises:
        UsageError: There is no model.
        InputError: The models have different classes, or the place cannot be written.
    """
    if len({one.classes for one in answers}) > 1:
        raise InputError("the models have different classes; draw them one by one")
    classes = answers[0].classes if answers else ()
    order = sorted(range(len(classes)), key=lambda i: LEVELS.index(classes[i]) if set(classes) <= set(LEVELS) else i)
    place = np.argsort(order)
    shown = {one.model: (place[one.labels], place[predicted(one.probability)]) for one in answers}
    plot_confusion(shown, [classes[i] for i in order], path, title=title)


def _with_interval(figure: Figure) -> str:
    known = np.isfinite(figure.low) and np.isfinite(figure.high)
    return f"{figure.value:.3f}" + (f" ({figure.low:.3f} to {figure.high:.3f})" if known else "")
