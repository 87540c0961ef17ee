"""Pictures of how good models are, and of how far their integer form is from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from numpy.typing import NDArray

from stinger.errors import UsageError
from stinger.evaluation.metrics import accuracy, average_precision, confusion, precision_recall, predicted
from stinger.plots.style import ALARM, MUTED, colour, figure, panels

#: Differences below this are drawn on it: a 16-bit probability cannot tell them from none.
_SMALLEST = 1e-6


def plot_confusion(
    models: Mapping[str, tuple[NDArray[Any], NDArray[Any]]],
    classes: Sequence[str],
    path: Path,
    *,
    title: str = "Held-out windows",
) -> None:
    """Draw one confusion matrix per model: right answers in blue, wrong ones in red.

    Args:
        models: Model name to true and answered labels, both integers ``(n,)``.
        classes: Names of the classes.
        path: The PNG file.
        title: What was classified.

    Raises:
        UsageError: Nothing to draw.
        InputError: The place cannot be written.
    """
    _some(models)
    side = 0.72 * len(classes) + 1.0
    with figure(side * len(models) + 1.2, side + 1.2, path) as drawing:
        for axes, (name, (labels, guesses)) in zip(
            panels(drawing, len(models), share_y=True), models.items(), strict=True
        ):
            _matrix(axes, confusion(labels, guesses, len(classes)), classes)
            axes.set_title(f"{name}: {100 * accuracy(labels, guesses):.1f} % right")
            axes.set_xlabel("answered")
        drawing.axes[0].set_ylabel("true class")
        drawing.suptitle(title, x=0.01, ha="left", fontweight="bold")


def _matrix(axes: Axes, table: NDArray[np.int64], classes: Sequence[str]) -> None:
    share = table / np.maximum(1, table.sum(axis=1, keepdims=True))
    diagonal = np.eye(len(classes), dtype=bool)[:, :, None]
    shades = np.where(diagonal, colormaps["Blues"](share), colormaps["Reds"](share))
    shades[table == 0] = 0.965, 0.965, 0.965, 1.0
    axes.imshow(shades)
    for row, column in np.ndindex(table.shape):
        count = table[row, column]
        text = f"{count}\n{100 * share[row, column]:.0f} %" if count else "0"
        shade = "white" if share[row, column] > 0.55 else ("black" if count else MUTED)
        axes.text(column, row, text, ha="center", va="center", color=shade, fontsize=9)
    names = [_short(c) for c in classes]
    slanted = len(classes) > 2
    axes.set_xticks(range(len(names)), names, rotation=30 if slanted else 0, ha="right" if slanted else "center")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def plot_precision_recall(
    models: Mapping[str, tuple[NDArray[Any], NDArray[Any]]],
    base_rate: float,
    path: Path,
    *,
    title: str = "Held-out windows",
) -> None:
    """Draw the precision-recall curves of two-class models, with the point of threshold 0.5 marked.

    Args:
        models: Model name to labels (0 or 1, ``(n,)``, both present) and probabilities of class 1 ``(n,)``.
        base_rate: Share of class 1: what a guess that knows nothing reaches.
        path: The PNG file.
        title: What was classified.

    Raises:
        UsageError: Nothing to draw.
        InputError: The place cannot be written.
    """
    _some(models)
    with figure(6.2, 4.8, path) as drawing:
        [axes] = panels(drawing, 1)
        for index, (name, (labels, probability)) in enumerate(models.items()):
            precision, recall, threshold = precision_recall(labels, probability)
            area = average_precision(labels, probability)
            axes.step(
                recall, precision, where="post", color=colour(index), linewidth=1.8, label=f"{name}   AP {area:.3f}"
            )
            at = int(np.searchsorted(threshold, 0.5))
            if at < len(threshold):
                axes.plot(recall[at], precision[at], "o", color=colour(index), markersize=7, markeredgecolor="white")
        axes.plot([], [], "o", color=MUTED, markersize=7, markeredgecolor="white", label="threshold 0.5")
        axes.axhline(base_rate, color=MUTED, linestyle="--", linewidth=1.2, label=f"no knowledge   AP {base_rate:.3f}")
        axes.set(xlim=(-0.02, 1.02), ylim=(0, 1.03))
        axes.set_xlabel("recall: share of the events that are answered")
        axes.set_ylabel("precision: share of the answers that are right")
        axes.set_title(title, fontweight="bold")
        axes.grid(True)
        axes.legend(loc="lower left")


def plot_parity(
    models: Mapping[str, tuple[NDArray[Any], NDArray[Any]]],
    path: Path,
    *,
    bound: float = 0.03,
    title: str = "Integer model against the estimator it came from",
) -> None:
    """Draw, per model, how far the integer model's probabilities are from the estimator's.

    Args:
        models: Model name to the estimator's (L0) and the integer model's (L2 and on) probabilities, both
            ``(n, K)``, 1 = certain.
        path: The PNG file.
        bound: The largest difference allowed; drawn as a line.
        title: Heading.

    Raises:
        UsageError: Nothing to draw, or probabilities of different shapes.
        InputError: The place cannot be written.
    """
    _some(models)
    with figure(3.7 * len(models) + 0.8, 4.0, path) as drawing:
        for index, (axes, (name, (host, integer))) in enumerate(
            zip(panels(drawing, len(models), share_y=True), models.items(), strict=True)
        ):
            if host.shape != integer.shape or host.ndim != 2 or not len(host):
                raise UsageError(
                    f"{name}: probabilities of the same windows are needed, got {host.shape}, {integer.shape}"
                )
            _differences(axes, host, integer, bound, colour(index))
            flips = int((predicted(host) != predicted(integer)).sum())
            largest = float(np.abs(host - integer).max())
            flipped = f"{flips} label flip{'' if flips == 1 else 's'}"
            axes.set_title(f"{name}   {len(host):,} windows\nmax |Δp| {_rounded(largest)}, {flipped}")
            two = host.shape[1] == 2
            axes.set_xlabel("p of class 1, estimator" if two else "p of the answer, estimator")
        drawing.axes[0].set_ylabel("|Δp|, largest over the classes")
        drawing.suptitle(title, x=0.01, ha="left", fontweight="bold")


def _differences(axes: Axes, host: NDArray[Any], integer: NDArray[Any], bound: float, shade: str) -> None:
    difference = np.maximum(np.abs(host - integer).max(axis=1), _SMALLEST)
    probability = host[:, 1] if host.shape[1] == 2 else host.max(axis=1)
    flipped = predicted(host) != predicted(integer)
    axes.scatter(probability[~flipped], difference[~flipped], s=7, alpha=0.25, color=shade, linewidths=0)
    axes.scatter(probability[flipped], difference[flipped], s=34, marker="x", color=ALARM, label="label flip")
    axes.axhline(bound, color=ALARM, linestyle="--", linewidth=1.3)
    axes.text(0.02, bound * 1.15, f"bound {bound:g}", color=ALARM, fontsize=9, transform=axes.get_yaxis_transform())
    axes.set_yscale("log")
    axes.set(xlim=(-0.03, 1.03), ylim=(_SMALLEST / 1.6, max(2.0, bound * 3)))
    axes.grid(True)
    if flipped.any():
        axes.legend(loc="lower right")


def _rounded(value: float) -> str:
    return f"{value:.1e}" if 0 < value < 1e-3 else f"{value:.4f}"


def _short(name: str) -> str:
    return name if len(name) <= 14 else f"{name[:13]}…"


def _some(models: Mapping[str, Any]) -> None:
    if not models:
        raise UsageError("no models to draw; give at least one")
