"""What `stinger train` says about a model: figures with intervals, confusion, calibration.

All of it is a function of labels, probabilities, the threshold and of which windows belong together; the threshold
was chosen elsewhere, on training windows (`stinger.models.threshold`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.evaluation.calibration import Bin, brier_terms, calibration_error, reliability
from stinger.evaluation.intervals import LEAST_UNITS, LEVEL, Figure, affordable_draws, interval, unit_weights
from stinger.evaluation.metrics import answer_shares, confusion, predicted, rank_areas, weighted_confusion

#: Figures of a class, in the order they are shown.
CLASS_FIGURES = ("roc_auc", "pr_auc", "precision", "recall", "f1")
#: Figures of all classes together.
MODEL_FIGURES = ("accuracy", "balanced_accuracy", "brier", "calibration_error")


@dataclass(frozen=True)
class ClassReport:
    """One class against all others.

    Attributes:
        name: The class.
        windows: How many held-out windows are of it.
        base_rate: Their share: what the area under the precision-recall curve is without any knowledge.
        figures: Each of `CLASS_FIGURES`.
    """

    name: str
    windows: int
    base_rate: float
    figures: dict[str, Figure]


@dataclass(frozen=True)
class WindowReport:
    """How good a model's answers to single windows are.

    Attributes:
        classes: Every class against the others.
        figures: Each of `MODEL_FIGURES` and, of more than two classes, ``macro_*`` of each of `CLASS_FIGURES`.
        threshold: Of two classes, the second is answered where its probability is at least this; None for more,
            where the most probable class is the answer.
        confusion: Count of each pair of true (row) and answered class (column), shape ``(classes, classes)``.
        reliability: Probability against what happened.
        windows: Windows it was measured on.
        units: How many shots, recordings or people they belong to.
        unit_name: What those are.
        draws: Bootstrap draws behind the intervals; 0 where there are too few units for any.
        notes: What a reader must know to read them.
    """

    classes: tuple[ClassReport, ...]
    figures: dict[str, Figure]
    threshold: float | None
    confusion: NDArray[np.int64]
    reliability: tuple[Bin, ...]
    windows: int
    units: int
    unit_name: str
    draws: int
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; what has no meaning is None."""
        return {
            "windows": self.windows,
            "threshold": self.threshold,
            "figures": {name: figure.to_json() for name, figure in self.figures.items()},
            "classes": [
                {
                    "name": one.name,
                    "windows": one.windows,
                    "base_rate": one.base_rate,
                    "figures": {name: figure.to_json() for name, figure in one.figures.items()},
                }
                for one in self.classes
            ],
            "confusion": self.confusion.tolist(),
            "reliability": [_finite(asdict(row)) for row in self.reliability],
            "intervals": {"level": LEVEL, "draws": self.draws, "units": self.units, "unit_name": self.unit_name},
            "notes": list(self.notes),
        }


def window_report(
    labels: NDArray[np.integer],
    probability: NDArray[np.float64],
    classes: Sequence[str],
    *,
    threshold: float | None = None,
    units: NDArray[np.int64],
    unit_name: str = "groups",
    draws: int | None = None,
    seed: int = 1,
) -> WindowReport:
    """Measure answers to windows.

    Args:
        labels: Class of each window, shape ``(n,)``, at least one.
        probability: Shape ``(n, classes)``.
        classes: Names of the classes.
        threshold: Of two classes; otherwise, or if None, the most probable class is the answer.
        units: What each window belongs to, shape ``(n,)``; see `stinger.evaluation.intervals`.
        unit_name: What those are.
        draws: Bootstrap draws for the intervals; 0 leaves them out, None makes as many as are affordable.
        seed: Seed of the draws.
    """
    guesses = predicted(probability) if threshold is None else (probability[:, 1] >= threshold).astype(np.int64)
    answers = _Answers(labels, probability, guesses)
    number = len(np.unique(units))
    draws = affordable_draws(len(labels), len(classes)) if draws is None else draws
    draws = draws if number >= LEAST_UNITS else 0
    value = {name: x[0] for name, x in answers.figures(np.ones((1, len(labels)))).items()}
    parts = (
        [answers.figures(weights) for weights in unit_weights(units, labels, draws=draws, seed=seed)] if draws else []
    )
    drawn = {name: np.concatenate([part[name] for part in parts]) for name in value} if draws else {}
    few = [k for k in range(len(classes)) if len(np.unique(units[labels == k])) < LEAST_UNITS]
    figures = {
        name: interval(float(x), drawn[name]) if draws and not _rests_on(name, few) else Figure(float(x))
        for name, x in value.items()
    }
    of_class = [
        ClassReport(
            name=name,
            windows=int((labels == k).sum()),
            base_rate=float(np.mean(labels == k)),
            figures={f: figures[f"{f}:{k}"] for f in CLASS_FIGURES},
        )
        for k, name in enumerate(classes)
    ]
    return WindowReport(
        classes=tuple(of_class),
        figures={name: figure for name, figure in figures.items() if ":" not in name},
        threshold=threshold,
        confusion=confusion(labels, guesses, len(classes)),
        reliability=tuple(reliability(labels, probability)),
        windows=len(labels),
        units=number,
        unit_name=unit_name,
        draws=draws,
        notes=tuple(_notes(labels, classes, few, number, unit_name)),
    )


@dataclass(frozen=True)
class _Answers:
    """What was asked, and answered."""

    labels: NDArray[np.integer]
    probability: NDArray[np.float64]
    guesses: NDArray[np.int64]

    def figures(self, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Every figure for each weighting ``(draws, n)``; those of class ``k`` end in ``:k``."""
        number = self.probability.shape[1]
        table = weighted_confusion(self.labels, self.guesses, number, weights)
        precision, recall, f1 = answer_shares(table)
        areas = [rank_areas(self.labels == k, self.probability[:, k], weights) for k in range(number)]
        by_class = {
            "roc_auc": np.stack([roc for roc, _ in areas], axis=1),
            "pr_auc": np.stack([pr for _, pr in areas], axis=1),
            "precision": precision,
            "recall": recall,
            "f1": f1,
        }
        total = weights.sum(axis=1)
        figures = {
            "accuracy": np.einsum("dkk->d", table) / total,
            "balanced_accuracy": recall.mean(axis=1),
            "brier": weights @ brier_terms(self.labels, self.probability) / total,
            "calibration_error": calibration_error(self.labels, self.probability, weights),
        }
        if number > 2:
            figures |= {f"macro_{name}": values.mean(axis=1) for name, values in by_class.items()}
        return figures | {f"{name}:{k}": values[:, k] for name, values in by_class.items() for k in range(number)}


def _finite(row: dict[str, float]) -> dict[str, float | None]:
    return {name: value if np.isfinite(value) else None for name, value in row.items()}


def _rests_on(figure: str, few: Sequence[int]) -> bool:
    """Whether a figure speaks of a class that too few units have: its own one, or the mean over all."""
    name, _, k = figure.partition(":")
    if k:
        return int(k) in few
    return bool(few) and (name.startswith("macro_") or name == "balanced_accuracy")


def _notes(
    labels: NDArray[np.integer], classes: Sequence[str], few: Sequence[int], number: int, unit_name: str
) -> list[str]:
    notes = [
        f"class {name!r} is not among the measured windows: it has no figures"
        for k, name in enumerate(classes)
        if not (labels == k).any()
    ]
    if number < LEAST_UNITS:
        return [*notes, f"no intervals: {number} {unit_name} held out cannot say how others would differ"]
    if few:
        names = ", ".join(classes[k] for k in few)
        notes.append(f"no intervals where {names} count: fewer than {LEAST_UNITS} {unit_name} held out have them")
    return notes
