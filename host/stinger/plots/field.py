"""What a distorted magnetic field looks like along a recording, and how its strength is spread, level by level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.plots.classification import colours_of
from stinger.plots.traces import (
    GAP,
    View,
    axis_label,
    draw_channels,
    draw_gaps,
    heading,
    legend_above,
    line,
    png_of,
    strip,
    tidy,
)
from stinger.sessions.mcap_format.labels import LEVELS
from stinger.sessions.session import Session
from stinger.sessions.vectors import vector_columns, vector_strength
from stinger.windows.labelled import label_events

_BINS = 60


def field_png(session: Session, *, title: str | None = None) -> bytes:
    """Draw a recording of the magnetic field as PNG: labels, axes, strength, and on the right how strength is spread.

    Args:
        session: A recording with channels ``mx``, ``my`` and ``mz``; labels are events.
        title: Heading; the session's name when not given.

    Raises:
        InputError: It has no samples or no magnetometer.
    """
    columns, strength = vector_columns(session, "m"), vector_strength(session, "m")
    if columns is None or strength is None or not len(session):
        raise InputError(f"{session.name}: no samples of a magnetometer (mx, my, mz) to draw; give another recording")
    labels = label_events(session)
    found = colours_of(sorted({label for _, _, label in labels}))
    colours = {name: found[name] for name in sorted(found, key=_rank)}
    figure = Figure(figsize=(13, 5.0), layout="constrained")
    grid = figure.add_gridspec(3, 2, height_ratios=[0.18, 1, 1], width_ratios=[4.2, 1])
    above = figure.add_subplot(grid[0, 0])
    traces = figure.add_subplot(grid[1, 0], sharex=above)
    below = figure.add_subplot(grid[2, 0], sharex=above)
    beside = figure.add_subplot(grid[2, 1], sharey=below)
    view = View(session, 0.0, 0.0, max(session.duration_s, 1e-3), whole=True)
    for a, b, label in labels:
        start, stop = view.clock(session.t_us[[a, b - 1]]).tolist()
        above.broken_barh([(start, stop - start)], (0.1, 0.8), facecolor=colours[label], linewidth=0)
    strip(above, {0.5: "label"})
    draw_channels(traces, view, columns)
    traces.set_ylabel(axis_label(session.channels, columns))
    legend_above(traces, len(columns))
    _draw_strength(below, view, strength, labels, colours=colours, unit=session.channels[columns[0]].unit)
    _draw_spread(beside, strength, labels, colours)
    for axis in (traces, below):
        draw_gaps(axis, view)
    for axis in (above, traces):
        axis.tick_params(labelbottom=False)
    below.set_xlim(view.low_s, view.high_s)
    below.set_xlabel("time in s")
    heading(figure, title or session.name)
    keys = [Patch(color=colour, label=name) for name, colour in colours.items()]
    if len(session.stretches()) > 1:
        keys.append(Patch(color=GAP, label="not recorded"))
    figure.legend(handles=keys, loc="outside upper right", ncols=max(1, len(keys)), fontsize=9, frameon=False)
    return png_of(figure)


def _rank(name: str) -> tuple[int, str]:
    """Levels of distortion in their order, other labels by name."""
    return (LEVELS.index(name) if name in LEVELS else len(LEVELS), name)


_Labels = Sequence[tuple[int, int, str]]


def _draw_strength(
    axis: Axes, view: View, strength: NDArray[np.float64], labels: _Labels, *, colours: Mapping[str, str], unit: str
) -> None:
    session = view.session
    time, gap = view.clock(session.t_us), session.gap_before
    relative = unit == "earth field"
    if relative:
        axis.axhline(1.0, color="#999999", linewidth=0.7, linestyle=":", zorder=1)
    x, y = line(time, strength, gap)
    axis.plot(x, y, color="#bbbbbb", linewidth=0.5, zorder=2)
    for a, b, label in labels:
        x, y = line(time[a:b], strength[a:b], gap[a:b])
        axis.plot(x, y, color=colours[label], linewidth=0.7, zorder=3)
    axis.set_ylim(0, _top(strength))
    axis.set_ylabel("field strength |m|\n" + ("of Earth's field" if relative else f"in {unit}"))
    tidy(axis)


def _draw_spread(axis: Axes, strength: NDArray[np.float64], labels: _Labels, colours: Mapping[str, str]) -> None:
    """How often each strength was read, level by level."""
    edges = np.linspace(0, _top(strength), _BINS + 1)
    for name, colour in colours.items():
        mine = np.concatenate([strength[a:b] for a, b, label in labels if label == name])
        count, _ = np.histogram(mine, edges)
        share = count / max(1, len(mine))
        axis.stairs(share, edges, orientation="horizontal", color=colour, fill=True, alpha=0.45)
    axis.set_xlabel("share of the samples")
    axis.set_title("how strength is spread", fontsize=9, loc="left")
    axis.tick_params(labelleft=False)
    tidy(axis)


def _top(strength: NDArray[np.float64]) -> float:
    return 1.05 * max(float(strength.max()), 1e-9)
