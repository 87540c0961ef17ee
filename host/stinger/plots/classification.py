"""What a model says of each window of a recording, below what is true: a timeline.

Three things lie below each other in every row: the true label where one is known, the predicted one, with a cross below
each that is wrong, and the probability of every class, stacked. Colours are Okabe and Ito's, in an order of their own
for levels of distortion; names stand in the bars, so that nothing hangs on colour alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from stinger.errors import UsageError
from stinger.plots.style import ALARM, COLOURS, MUTED, figure
from stinger.plots.traces import GAP

#: From harmless to bad; other classes take the palette as it is.
_LEVELS = {"none": "#56B4E9", "low": "#E69F00", "high": "#D55E00"}
#: A label that the model does not know.
_FOREIGN = "#BBBBBB"
_ROW_S, _MOST_ROWS = 60.0, 8
_TRUTH, _SAID, _WRONG = (1.52, 0.22), (1.22, 0.22), 1.12
#: Narrower bars, as shares of a row, have no name in them.
_NAMED = 0.035


@dataclass(frozen=True)
class Timeline:
    """Windows of a recording and what a model says of them.

    Attributes:
        title: Heading.
        classes: Names of the model's classes.
        start_s: When each window begins, seconds from the recording's start, shape ``(n,)``.
        window_s: Length of a window.
        step_s: From the start of a window to that of the next.
        probability: Shape ``(n, classes)``.
        truth: What is true from when to when, where it is known: begin, end, label.
        wrong: Windows whose prediction is known to be wrong, shape ``(n,)``.
        gaps: From when to when nothing was recorded.
        length_s: Length of the recording.
    """

    title: str
    classes: tuple[str, ...]
    start_s: NDArray[np.float64]
    window_s: float
    step_s: float
    probability: NDArray[np.float64]
    truth: Sequence[tuple[float, float, str]]
    wrong: NDArray[np.bool_]
    gaps: Sequence[tuple[float, float]]
    length_s: float


def colours_of(classes: Sequence[str]) -> dict[str, str]:
    """Return the colour of each class."""
    if set(classes) <= set(_LEVELS):
        return {name: _LEVELS[name] for name in classes}
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(classes)}


def plot_classification(timeline: Timeline, path: Path) -> None:
    """Draw a timeline.

    Args:
        timeline: What to draw.
        path: The PNG file.

    Raises:
        UsageError: There are no windows to draw.
        InputError: The place cannot be written.
    """
    if not len(timeline.start_s):
        raise UsageError("nothing to draw: a timeline needs at least one window")
    colours = colours_of(timeline.classes)
    length, rows = _rows(timeline.length_s)
    with figure(13, 1.15 + 1.6 * len(rows), path) as drawing:
        grid = drawing.subplots(len(rows), 1, squeeze=False)
        for axes, low in zip(grid[:, 0], rows, strict=True):
            _draw_row(axes, timeline, colours, low, low + length)
        grid[-1, 0].set_xlabel("time in s")
        shown = timeline.title if len(timeline.title) <= 80 else timeline.title[:79] + "…"
        drawing.suptitle(shown, x=0.01, ha="left", fontweight="bold")
        keys = _keys(timeline, colours)
        drawing.legend(handles=keys, loc="outside upper right", ncols=len(keys), fontsize=9)


def _rows(length_s: float) -> tuple[float, list[float]]:
    """Length of a row, whole minutes unless there is but one row, and where each begins."""
    length = _ROW_S * max(1, int(np.ceil(length_s / (_ROW_S * _MOST_ROWS))))
    if length_s <= length:
        return max(length_s, 1e-3), [0.0]
    return length, [float(number) * length for number in range(int(np.ceil(length_s / length)))]


def _draw_row(axes: Axes, timeline: Timeline, colours: dict[str, str], low: float, high: float) -> None:
    answers = timeline.probability.argmax(axis=1)
    # A window speaks of its middle; windows that overlap share the time between their middles.
    wide = min(timeline.step_s, timeline.window_s)
    left = timeline.start_s + (timeline.window_s - wide) / 2
    seen = (left + wide > low) & (left < high)
    gaps = [(a, b - a) for a, b in timeline.gaps]
    axes.broken_barh(gaps, (0.0, 1.0), transform=axes.get_xaxis_transform(), facecolor=GAP, linewidth=0, zorder=0)
    for a, b, label in timeline.truth:
        if b > low and a < high:
            axes.broken_barh([(a, b - a)], _TRUTH, facecolor=colours.get(label, _FOREIGN), edgecolor="white")
            _name(axes, label, (max(a, low), min(b, high)), _TRUTH, high - low)
    for number, name in enumerate(timeline.classes):
        mine = seen & (answers == number)
        bars = [(at, wide) for at in left[mine].tolist()]
        axes.broken_barh(bars, _SAID, facecolor=colours[name], edgecolor="white", linewidth=0.6)
    bottom = np.zeros(int(seen.sum()))
    for number, name in enumerate(timeline.classes):
        top = bottom + timeline.probability[seen, number]
        # One collection, not a patch for each window: an hour has thousands.
        corners = [(left[seen], bottom), (left[seen], top), (left[seen] + wide, top), (left[seen] + wide, bottom)]
        boxes = np.stack([np.stack(corner, axis=1) for corner in corners], axis=1)
        axes.add_collection(PolyCollection(list(boxes), facecolor=colours[name], linewidth=0))
        bottom = top
    middles = left[seen & timeline.wrong] + wide / 2
    axes.plot(middles, np.full(len(middles), _WRONG), "x", color=ALARM, markersize=5, markeredgewidth=1.6)
    axes.set_xlim(low, high)
    axes.set_ylim(0, 1.8)
    ticks = {0.0: "0", 0.5: "probability", 1.0: "1", _SAID[0] + _SAID[1] / 2: "predicted"}
    if timeline.truth:
        ticks[_TRUTH[0] + _TRUTH[1] / 2] = "true"
    axes.set_yticks(list(ticks), list(ticks.values()), fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines["left"].set_visible(False)


def _name(axes: Axes, label: str, span: tuple[float, float], height: tuple[float, float], row: float) -> None:
    """Write a label into its bar, if there is room."""
    if (span[1] - span[0]) / row < _NAMED * max(1.0, len(label) / 5):
        return
    axes.text(
        sum(span) / 2, height[0] + height[1] / 2 - 0.01, label, ha="center", va="center", fontsize=8, clip_on=True
    )


def _keys(timeline: Timeline, colours: dict[str, str]) -> list[Patch | Line2D]:
    order = sorted(timeline.classes, key=lambda name: list(_LEVELS).index(name) if name in _LEVELS else len(_LEVELS))
    keys: list[Patch | Line2D] = [Patch(color=colours[name], label=name) for name in order]
    if any(label not in colours for _, _, label in timeline.truth):
        keys.append(Patch(color=_FOREIGN, label="not known to the model"))
    if timeline.wrong.any():
        keys.append(Line2D([], [], color=ALARM, marker="x", linestyle="", markeredgewidth=1.6, label="wrong"))
    if timeline.gaps:
        keys.append(Patch(color=GAP, label="not recorded"))
    if not timeline.truth:
        keys.append(Line2D([], [], color=MUTED, linestyle="", label="no labels known"))
    return keys
