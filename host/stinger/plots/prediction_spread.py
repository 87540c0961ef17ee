"""How models' probabilities of labelled windows are spread: shots apart from the rest, training apart from the test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from stinger.plots.predictions import Curve, legend, short
from stinger.plots.traces import SHOT, WINDOW, png_of, tidy


@dataclass(frozen=True)
class Answers:
    """What every model says of some labelled windows.

    Attributes:
        name: What these windows are, for instance "held out".
        positive: Whether a window precedes a shot (is of the class whose probability is shown), shape ``(m,)``.
        p: Probabilities, NaN where a model had no full window, shape ``(models, m)``.
        classes: What a positive is called, and what the others are called.
    """

    name: str
    positive: NDArray[np.bool_]
    p: NDArray[np.float64]
    classes: tuple[str, str]


def histogram_png(curves: Sequence[Curve], answers: Sequence[Answers], *, title: str, dpi: int) -> bytes:
    """Draw how the models' probabilities of labelled windows are spread; see `histogram_figure`."""
    return png_of(histogram_figure(curves, answers, title=title), dpi)


def histogram_figure(curves: Sequence[Curve], answers: Sequence[Answers], *, title: str) -> Figure:
    """Draw a row per model and a column per kind of windows: share of positives and of the others per probability."""
    rows, columns = len(curves), len(answers)
    width, height = 5.6 * columns + 1.0, 1.75 * rows + 1.75
    figure = Figure(figsize=(width, height))
    figure.subplots_adjust(
        left=0.85 / width, right=1 - 0.2 / width, top=1 - 1.15 / height, bottom=0.6 / height, hspace=0.5, wspace=0.14
    )
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    bins = np.linspace(0, 1, 26)
    for row, curve in enumerate(curves):
        for column, part in enumerate(answers):
            axis = axes[row, column]
            _draw_spread(axis, part, row, curve, bins)
            tidy(axis)
            if row == rows - 1:
                axis.set_xlabel("probability")
            if column == 0:
                axis.set_ylabel(f"{short(curve.label, 24)}\n% of windows", fontsize=9)
    axes[0, 0].set_xlim(0, 1)
    figure.text(0.25 / width, 1 - 0.28 / height, short(title, 40 + 30 * columns), fontsize=13, ha="left", va="center")
    keys: list[Artist] = [
        Patch(facecolor=SHOT, alpha=0.45, label=f"'{short(answers[0].classes[0], 20)}'"),
        Patch(facecolor=WINDOW, alpha=0.6, label=short(answers[0].classes[1], 20)),
        Line2D([], [], color="black", linewidth=0.9, linestyle=":", label="threshold"),
    ]
    legend(figure, keys, 0.25, len(keys))
    return figure


def _draw_spread(axis: Axes, part: Answers, row: int, curve: Curve, bins: NDArray[np.float64]) -> None:
    said = []
    for chosen, colour, alpha, name in (
        (~part.positive, WINDOW, 0.6, part.classes[1]),
        (part.positive, SHOT, 0.45, f"'{part.classes[0]}'"),
    ):
        p = part.p[row][chosen]
        p = p[~np.isnan(p)]
        if not len(p):
            continue
        weights = np.full(len(p), 100 / len(p))
        axis.hist(p, bins=list(bins), weights=weights, color=colour, alpha=alpha, linewidth=0)
        axis.hist(p, bins=list(bins), weights=weights, color=colour, histtype="step", linewidth=1.2)
        said.append(f"{int((p >= curve.threshold).sum())} of {len(p)} {name}")
    axis.axvline(curve.threshold, color="black", linewidth=0.9, linestyle=":")
    text = f"{part.name}: at {curve.threshold:.2f} or more are {', '.join(reversed(said))}"
    axis.set_title(short(text, 90), fontsize=9, loc="left")
