"""The picture of a search: what score costs how much flash, and how many cycles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from stinger.errors import UsageError
from stinger.plots.style import ALARM, MUTED, colour, figure, panels


@dataclass(frozen=True)
class ParetoPoint:
    """A model that was tried.

    Attributes:
        name: What it is called.
        family: Its family; points of one have one colour.
        score: How good it is.
        error: Standard error of the score, 0 if unknown.
        flash: Bytes.
        cycles: Per decision.
        finalist: Scored on all folds; the others were dropped before.
        front: On the Pareto front.
        chosen: The one that was chosen.
    """

    name: str
    family: str
    score: float
    error: float
    flash: float
    cycles: float
    finalist: bool
    front: bool
    chosen: bool


def plot_pareto(
    points: Sequence[ParetoPoint],
    path: Path,
    *,
    score: str,
    min_score: float | None = None,
    max_flash: float | None = None,
    max_cycles: float | None = None,
) -> None:
    """Draw score against flash, and against cycles.

    Args:
        points: Every model that has a score.
        path: The PNG file.
        score: What the score is.
        min_score: Least score asked for.
        max_flash: Most flash allowed.
        max_cycles: Most cycles allowed.

    Raises:
        UsageError: Nothing to draw.
        InputError: The place cannot be written.
    """
    if not points:
        raise UsageError("no models to draw; give at least one")
    families = {name: colour(i) for i, name in enumerate(sorted({point.family for point in points}))}
    with figure(11.5, 5.0, path) as drawing:
        left, right = panels(drawing, 2, share_y=True)
        _panel(left, points, [point.flash for point in points], families, max_flash)
        _panel(right, points, [point.cycles for point in points], families, max_cycles)
        left.set_xlabel("flash, bytes (classifier and model)")
        right.set_xlabel("cycles per decision (features included)")
        left.set_ylabel(f"{score}, mean over the folds")
        for point in points:
            if point.chosen:
                left.set_title(f"chosen: {point.name}", fontweight="bold")
        for axes in (left, right):
            if min_score is not None:
                axes.axhline(min_score, color=ALARM, linestyle="--", linewidth=1.2)
        left.set_ylim(*_score_limits(points, min_score))
        handles, labels = left.get_legend_handles_labels()
        known = dict(zip(labels, handles, strict=True))
        drawing.legend(known.values(), known.keys(), loc="outside lower center", ncols=5)
        drawing.suptitle("What a better score costs on the board", x=0.01, ha="left", fontweight="bold")


def _panel(
    axes: Axes,
    points: Sequence[ParetoPoint],
    sizes: Sequence[float],
    families: dict[str, str],
    limit: float | None,
) -> None:
    pairs = list(zip(points, sizes, strict=True))
    for name, shade in families.items():
        dropped = [(x, p.score) for p, x in pairs if p.family == name and not p.finalist]
        final = [(x, p) for p, x in pairs if p.family == name and p.finalist]
        if dropped:
            across, up = [x for x, _ in dropped], [y for _, y in dropped]
            axes.scatter(across, up, s=16, color=shade, alpha=0.28, linewidths=0, zorder=2)
        axes.errorbar(
            [x for x, _ in final],
            [p.score for _, p in final],
            yerr=[p.error for _, p in final],
            fmt="o",
            markersize=7,
            color=shade,
            markeredgecolor="white",
            elinewidth=0.8,
            ecolor=(shade, 0.45),
            label=name,
            zorder=4,
        )
    if any(not p.finalist for p in points):
        axes.scatter([], [], s=16, color=MUTED, alpha=0.5, linewidths=0, label="dropped early (fewer folds)")
    _front(axes, [(x, p.score) for p, x in pairs if p.finalist])
    for point, x in pairs:
        if point.chosen:
            axes.plot(
                x, point.score, "o", markersize=15, color="none", markeredgecolor="black", label="chosen", zorder=5
            )
    if limit is not None:
        axes.axvline(limit, color=ALARM, linestyle="--", linewidth=1.2, label="budget")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 3, 5, 8)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / 1000:g} k"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(True)


def _front(axes: Axes, pairs: Sequence[tuple[float, float]]) -> None:
    """Draw the best score that each size, or less, reaches."""
    steps: list[tuple[float, float]] = []
    for x, score in sorted(pairs, key=lambda pair: (pair[0], -pair[1])):
        if not steps or score > steps[-1][1]:
            steps.append((x, score))
    if len(steps) > 1:
        axes.step(
            *zip(*steps, strict=True), where="post", color=MUTED, linewidth=1.4, zorder=3, label="best for the size"
        )


def _score_limits(points: Sequence[ParetoPoint], min_score: float | None) -> tuple[float, float]:
    """Show the finalists, and three quarters of what was dropped; the rest is far below."""
    shown = [p.score - p.error for p in points if p.finalist] + [p.score + p.error for p in points if p.finalist]
    dropped = [p.score for p in points if not p.finalist]
    shown += [float(np.quantile(dropped, 0.25)), max(dropped)] if dropped else []
    shown += [min_score] if min_score is not None else []
    room = 0.12 * max(0.05, max(shown) - min(shown))
    return max(0.0, min(shown) - room), min(1.02, max(shown) + room)
