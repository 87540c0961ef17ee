"""Pictures of how good one model's answers to single windows are: ranking, calibration, single units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from stinger.errors import UsageError
from stinger.evaluation.calibration import judged
from stinger.evaluation.intervals import Figure
from stinger.evaluation.metrics import precision_recall, predicted, roc_curve
from stinger.evaluation.report import ClassReport, WindowReport
from stinger.plots.style import ALARM, COLOURS, MUTED, colour, figure, panels

#: Units drawn side by side; of more, those with the worst windows.
MAX_UNITS = 60


def plot_ranking(
    report: WindowReport,
    labels: NDArray[Any],
    probability: NDArray[Any],
    path: Path,
    *,
    title: str = "Held-out windows",
) -> None:
    """Draw ROC and precision-recall curves: of the second of two classes, or of every class against the others.

    Args:
        report: Measured from the same windows.
        labels: Class of each window, shape ``(n,)``.
        probability: Shape ``(n, classes)``.
        path: The PNG file.
        title: What was classified.

    Raises:
        UsageError: No class can be drawn: each has all windows or none.
        InputError: The place cannot be written.
    """
    two = len(report.classes) == 2
    drawn = [k for k, one in enumerate(report.classes) if 0 < one.windows < report.windows and (k == 1 or not two)]
    if not drawn:
        raise UsageError("a curve needs windows of two classes; hold out both")
    rows = -(-len(drawn) // 2) if len(drawn) > 4 else len(drawn)
    with figure(8.8, 4.6 + 0.17 * rows, path) as drawing:
        ranks, recalls = panels(drawing, 2)
        ranks.plot([0, 1], [0, 1], "--", color=MUTED, linewidth=1.2, label="no knowledge 0.500")
        for number, k in enumerate(drawn):
            one, true, shade = report.classes[k], labels == k, colour(number)
            style = "-" if number < len(COLOURS) else ":"
            ranks.plot(
                *roc_curve(true, probability[:, k]),
                style,
                color=shade,
                linewidth=1.8,
                label=_label(one, "roc_auc", two),
            )
            precision, recall, _ = precision_recall(true, probability[:, k])
            recalls.step(
                recall, precision, style, where="post", color=shade, linewidth=1.8, label=_label(one, "pr_auc", two)
            )
            if two:
                recalls.axhline(
                    one.base_rate, color=MUTED, linestyle="--", linewidth=1.2, label=f"base rate {one.base_rate:.3f}"
                )
                _mark_threshold(ranks, recalls, report)
        _name_axes(ranks, "false positive rate", "true positive rate", "ROC")
        _name_axes(recalls, "recall", "precision", "precision and recall")
        for axes in (ranks, recalls):
            axes.legend(
                loc="upper center", bbox_to_anchor=(0.5, -0.14), fontsize=8.5, ncols=1 if len(drawn) <= 4 else 2
            )
        drawing.suptitle(title, x=0.01, ha="left", fontweight="bold")


def _label(one: ClassReport, name: str, two: bool) -> str:
    area = "AUC" if name == "roc_auc" else "AP"
    start = "" if two else f"{_short(one.name)} "
    base = "" if two or name == "roc_auc" else f" (base {one.base_rate:.2f})"
    return f"{start}{area} {_with_interval(one.figures[name], short=not two)}{base}"


def _mark_threshold(ranks: Axes, recalls: Axes, report: WindowReport) -> None:
    """Mark where the answers are."""
    table = report.confusion
    false = table[0, 1] / max(1, table[0].sum())
    positive = report.classes[1].figures
    name = "most probable class" if report.threshold is None else f"threshold {report.threshold:.3f}"
    for axes, x, y in (
        (ranks, false, positive["recall"].value),
        (recalls, positive["recall"].value, positive["precision"].value),
    ):
        axes.plot([x], [y], "o", color=COLOURS[1], markersize=8, markeredgecolor="white", zorder=5, label=name)


def _name_axes(axes: Axes, x: str, y: str, title: str) -> None:
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.03), aspect="equal")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title)
    axes.grid(True)


def plot_calibration(report: WindowReport, path: Path, *, title: str = "Held-out windows") -> None:
    """Draw how often what was said with a probability came true, and how often each probability was said.

    Raises:
        InputError: The place cannot be written.
    """
    bins = [row for row in report.reliability if row.windows]
    middle = [(row.low + row.high) / 2 for row in report.reliability]
    two = len(report.classes) == 2
    with figure(5.4, 6.0, path) as drawing:
        above, below = drawing.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        above.plot([0, 1], [0, 1], "--", color=MUTED, linewidth=1.2, label="perfect")
        for row in bins:
            # The standard error of a share shows what a few windows can tell.
            spread = np.sqrt(max(row.observed * (1 - row.observed), 0.25 / row.windows) / row.windows)
            above.plot(
                [row.probability] * 2,
                np.clip([row.observed - spread, row.observed + spread], 0, 1),
                color=COLOURS[0],
                linewidth=1.2,
                alpha=0.6,
            )
        above.plot(
            [row.probability for row in bins],
            [row.observed for row in bins],
            "o-",
            color=COLOURS[0],
            markeredgecolor="white",
            markersize=7,
            label="model, ± one standard error",
        )
        above.set(xlim=(-0.02, 1.02), ylim=(-0.03, 1.03))
        above.set_ylabel(f"share that was {report.classes[1].name!r}" if two else "share of right answers")
        scores = (report.figures["brier"], report.figures["calibration_error"])
        texts = [f"{name} {_with_interval(f)}" for name, f in zip(("Brier", "calibration error"), scores, strict=True)]
        above.set_title("\n".join(texts))
        above.grid(True)
        above.legend(loc="upper left")
        below.bar(middle, [row.windows for row in report.reliability], width=0.09, color=COLOURS[5])
        below.set_ylabel("windows")
        below.set_xlabel(f"probability of {report.classes[1].name!r}" if two else "probability of the answer")
        below.set_yscale("symlog", linthresh=10)
        below.yaxis.set_major_formatter("{x:,.0f}")
        drawing.suptitle(title, x=0.01, ha="left", fontweight="bold")


def plot_units(
    report: WindowReport,
    labels: NDArray[Any],
    probability: NDArray[Any],
    units: NDArray[np.int64],
    path: Path,
    *,
    names: dict[int, str] | None = None,
    title: str = "Held-out windows",
) -> None:
    """Draw every window's probability, one column for each unit that was held out as a whole.

    Of two classes it is the probability of the second one, with the threshold; of more, that of the true class, where
    a window below 1/2 may be answered wrong and a cross says that it is.

    Args:
        report: Measured from the same windows.
        labels: Class of each window, shape ``(n,)``.
        probability: Shape ``(n, classes)``.
        units: Unit of each window, shape ``(n,)``.
        path: The PNG file.
        names: What to call the units; their numbers if not given.
        title: What was classified.

    Raises:
        InputError: The place cannot be written.
    """
    two = len(report.classes) == 2
    shown = probability[:, 1] if two else probability[np.arange(len(labels)), labels]
    if two and report.threshold is not None:
        wrong = (shown >= report.threshold) != (labels == 1)
    else:
        wrong = predicted(probability) != labels
    known, place = np.unique(units, return_inverse=True)
    kept = _worst(place, len(known), wrong, judged(labels, probability)[1])
    column = np.full(len(known), -1)
    column[kept] = np.arange(len(kept))
    at = column[place].astype(float)
    visible = at >= 0
    at += _spread(place)
    with figure(max(6.0, 2.2 + 0.2 * len(kept)), 4.4, path) as drawing:
        [axes] = panels(drawing, 1)
        for k, one in enumerate(report.classes):
            right = visible & (labels == k) & ~wrong
            axes.scatter(at[right], shown[right], s=16, color=colour(k), alpha=0.75, linewidths=0, label=one.name)
            missed = visible & (labels == k) & wrong
            axes.scatter(at[missed], shown[missed], s=30, color=colour(k), marker="x", linewidths=1.6)
        axes.scatter([], [], s=30, color="black", marker="x", linewidths=1.6, label=f"wrong: {int(wrong.sum())}")
        if two and report.threshold is not None:
            axes.axhline(report.threshold, color=ALARM, linestyle="--", linewidth=1.2)
            axes.text(
                1.005, report.threshold, f"{report.threshold:.3f}", color=ALARM, transform=axes.get_yaxis_transform()
            )
        texts = [_short((names or {}).get(int(known[i]), str(known[i]))) for i in kept]
        upright = max(map(len, texts)) * len(kept) > 110
        axes.set_xticks(range(len(kept)), texts, rotation=90 if upright else 0, fontsize=7.5 if upright else 9)
        axes.set(xlim=(-0.7, len(kept) - 0.3), ylim=(-0.03, 1.03))
        axes.set_ylabel(f"probability of {report.classes[1].name!r}" if two else "probability of the true class")
        some = "" if len(kept) == len(known) else f"the worst {len(kept)} of {len(known)} "
        axes.set_xlabel(f"{some}{report.unit_name} held out")
        axes.grid(True, axis="y")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.14), ncols=min(6, len(report.classes) + 1), fontsize=8.5)
        drawing.suptitle(title, x=0.01, ha="left", fontweight="bold")


def _worst(
    place: NDArray[np.int64], number: int, wrong: NDArray[np.bool_], true: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Choose the units to draw: all, or those with the most wrong windows, in the order of their numbers."""
    if number <= MAX_UNITS:
        return np.arange(number)
    faults = np.bincount(place, wrong, number)
    # Of equally good ones those in which there was something to find.
    finds = np.bincount(place, true, number) > 0
    return np.sort(np.lexsort((~finds, -faults))[:MAX_UNITS])


def _spread(place: NDArray[np.int64]) -> NDArray[np.float64]:
    """Move windows of one unit a little to the side, so that they do not cover each other; shape ``(n,)``."""
    order = np.argsort(place, kind="stable")
    _, first, size = np.unique(place[order], return_index=True, return_counts=True)
    within = np.empty(len(place))
    within[order] = (np.arange(len(place)) - np.repeat(first, size) + 0.5) / np.repeat(size, size) - 0.5
    return 0.6 * within


def _with_interval(one: Figure, *, short: bool = False) -> str:
    digits = 2 if short else 3
    if not np.isfinite(one.low):
        return f"{one.value:.{digits}f}"
    return f"{one.value:.{digits}f} ({one.low:.{digits}f} to {one.high:.{digits}f})"


def _short(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:8]}…{name[-9:]}"
