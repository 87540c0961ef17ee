"""The report of `stinger train` as files: ``report.json`` and pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from stinger.evaluation.metrics import predicted
from stinger.files import replace_dir
from stinger.plots.curves import plot_confusion
from stinger.plots.report import plot_calibration, plot_ranking, plot_units
from stinger.windows.dataset import Dataset
from stinger.windows.folds import UNIT_NAMES, units_of
from stinger.workflow.train import TrainResult


def write_report(result: TrainResult, directory: Path) -> None:
    """Write ``report.json`` and the pictures; an earlier report in the same place is replaced.

    Args:
        result: What was trained and measured.
        directory: Where to.

    Raises:
        InputError: The place cannot be written.
    """
    report, parts, probability = result.report, result.parts, result.probability
    dataset = parts.dataset
    held_out = dataset.held_out
    labels = dataset.labels[held_out]
    units, _ = units_of(dataset, parts.kind)
    spec = result.model.spec
    title = f"{spec.family} on {spec.features}: {report.windows:,} held-out windows"
    answered = predicted(probability)
    if report.threshold is not None:
        answered = (probability[:, 1] >= report.threshold).astype(np.int64)
    with replace_dir(directory) as building:
        (building / "report.json").write_text(json.dumps(result.to_json(), indent=2) + "\n", "utf-8")
        plot_ranking(report, labels, probability, building / "ranking.png", title=title)
        plot_calibration(report, building / "calibration.png", title=title)
        plot_confusion({spec.name: (labels, answered)}, spec.classes, building / "confusion.png", title=title)
        names = _unit_names(dataset, parts.kind)
        plot_units(report, labels, probability, units[held_out], building / "units.png", names=names, title=title)


def _unit_names(dataset: Dataset, kind: str) -> dict[int, str] | None:
    """What people call the units a dataset was split by; None where their numbers must do."""
    inputs: Any = dataset.meta.get("inputs")
    subjects: Any = dataset.meta.get("subjects")
    if kind not in UNIT_NAMES:
        return None
    if kind == "subject":
        return dict(enumerate(subjects)) if isinstance(subjects, list) else None
    return {i: str(one.get("name", i)) for i, one in enumerate(inputs)} if isinstance(inputs, list) else None
