"""One moment close by: what models say around it, and every axis of the recording below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from stinger.plots.predictions import (
    PALETTE,
    UNSPOKEN,
    Curve,
    draw_curve,
    draw_unspoken,
    legend,
    probability_axis,
    seen_keys,
    short,
)
from stinger.plots.traces import (
    ACCEPTED_MARK,
    GAP,
    LEAD,
    REJECTED_MARK,
    SHOT,
    WINDOW,
    View,
    axis_label,
    draw_channels,
    draw_gaps,
    groups_of,
    legend_above,
    png_of,
    strip,
)
from stinger.sessions.session import Session
from stinger.windows.shot_rules import Shots, trigger_down

_TRIGGER = "#4d4d4d"
#: All in inches.
_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 10.0, 0.95, 0.2, 0.95, 0.55
_STRIP, _PROBABILITY, _CHANNELS, _SPACE = 0.4, 1.9, 1.55, 0.34


@dataclass(frozen=True)
class Moment:
    """What a picture is about.

    Attributes:
        at_us: Zero of its time axis: a trigger edge, or the moment that an idle window speaks of.
        what: What happens at zero; ends the label of the time axis.
        shot: Whether that is a shot.
        title: What to write above.
        window_s: How long a window is; the one shown ends a lead before zero.
        before_s: How much is shown before zero.
        after_s: How much is shown after it.
    """

    at_us: int
    what: str
    shot: bool
    title: str
    window_s: float
    before_s: float
    after_s: float


@dataclass(frozen=True)
class Scene:
    """A piece of a recording with everything a picture of it needs; small enough to be sent to another process.

    Attributes:
        session: The piece.
        shots: Its trigger edges.
        curves: What the models say in it.
        moment: What it is about.
    """

    session: Session
    shots: Shots
    curves: tuple[Curve, ...]
    moment: Moment


def cut_scene(session: Session, shots: Shots, curves: Sequence[Curve], moment: Moment) -> Scene:
    """Cut out of a recording what a picture shows."""
    low_us, high_us = moment.at_us - moment.before_s * 1e6, moment.at_us + moment.after_s * 1e6
    # A sample more on either side: a gap may reach into the picture.
    first = max(0, int(np.searchsorted(session.t_us, low_us)) - 1)
    last = min(len(session), int(np.searchsorted(session.t_us, high_us, side="right")) + 1)
    part = slice(first, last)
    piece = replace(
        session,
        t_us=session.t_us[part],
        samples=session.samples[part],
        trigger=None if session.trigger is None else session.trigger[part],
        events=(),
        faults=(),
    )
    inside = [edges[(edges >= part.start) & (edges < part.stop)] - part.start for edges in _edges(shots)]
    return Scene(
        piece,
        Shots(*inside),
        tuple(curve.between(low_us - curve.period_us, high_us + curve.period_us) for curve in curves),
        moment,
    )


def moment_png(scene: Scene, dpi: int) -> bytes:
    """Draw one moment as PNG, 10 inches wide."""
    return png_of(moment_figure(scene), dpi)


def moment_figure(scene: Scene) -> Figure:
    """Draw one moment: the trigger, probabilities of all models, and a panel per sensor."""
    session, moment = scene.session, scene.moment
    groups = groups_of(session.channels)
    height = _TOP + _STRIP + _PROBABILITY + (_CHANNELS + _SPACE) * len(groups) + _BOTTOM
    figure = Figure(figsize=(_WIDTH, height))
    zero_s = float(moment.at_us - session.t_us[0]) / 1e6
    view = View(session, zero_s, -moment.before_s, moment.after_s, whole=False)
    top = height - _TOP
    edges, probability = _axes(figure, top, _STRIP), _axes(figure, top - _STRIP, _PROBABILITY - 0.08)
    panels = [
        _axes(figure, top - _STRIP - _PROBABILITY - _SPACE * (n + 1) - _CHANNELS * n, _CHANNELS)
        for n in range(len(groups))
    ]
    _draw_edges(edges, view, scene)
    _draw_probabilities(probability, view, scene)
    for axis, group in zip(panels, groups, strict=True):
        draw_channels(axis, view, group)
        axis.set_ylabel(axis_label(session.channels, group), fontsize=9)
        legend_above(axis, len(group))
    for axis in [edges, probability, *panels]:
        draw_gaps(axis, view)
        _draw_window(axis, scene)
        axis.set_xlim(view.low_s, view.high_s)
        axis.tick_params(labelbottom=axis is panels[-1], labelsize=8)
    panels[-1].set_xlabel(f"time in s from {moment.what}", fontsize=9)
    figure.text(0.2 / _WIDTH, 1 - 0.28 / height, short(moment.title, 105), fontsize=11, ha="left", va="center")
    _draw_keys(figure, scene)
    return figure


def _edges(shots: Shots) -> tuple[Any, Any]:
    return shots.accepted, shots.rejected


def _axes(figure: Figure, top: float, height: float) -> Axes:
    whole = figure.get_figheight()
    width = (_WIDTH - _LEFT - _RIGHT) / _WIDTH
    return figure.add_axes((_LEFT / _WIDTH, (top - height) / whole, width, height / whole))


def _draw_edges(axis: Axes, view: View, scene: Scene) -> None:
    session = view.session
    down = trigger_down(session).astype(np.float64)
    axis.fill_between(view.clock(session.t_us), 0, 0.4 * down, step="post", color=_TRIGGER, linewidth=0)
    for edges, mark in zip(_edges(scene.shots), (ACCEPTED_MARK, REJECTED_MARK), strict=True):
        at = view.clock(session.t_us[edges])
        at = at[(at >= view.low_s) & (at <= view.high_s)]
        axis.plot(at, np.full(len(at), 0.75), **{**mark, "markersize": 7})
    strip(axis, {0.75: "shots", 0.2: "trigger"} if session.trigger is not None else {})


def _draw_probabilities(axis: Axes, view: View, scene: Scene) -> None:
    probability_axis(axis, scene.curves)
    draw_unspoken(axis, view, scene.curves[0])
    row = 0
    for number, curve in enumerate(scene.curves):
        labelled = replace(curve, label=f"{short(curve.label, 30)}: {_at_zero(curve, scene.moment)}")
        draw_curve(axis, view, labelled, PALETTE[number % len(PALETTE)], row=row, width=1.4)
        row += curve.on_us is not None
    axis.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    axis.set_ylabel("probability" + ("\nbelow: policy on" if row else ""), fontsize=9)
    place: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0 + _STRIP / _PROBABILITY)}
    axis.legend(ncols=3, fontsize=8, frameon=False, handlelength=1.2, borderaxespad=0.0, **place)


def _at_zero(curve: Curve, moment: Moment) -> str:
    """What the model says of moment zero."""
    place = int(np.searchsorted(curve.t_us, moment.at_us, side="right")) - 1
    if place < 0 or moment.at_us - int(curve.t_us[place]) > curve.period_us:
        return "nothing at 0 s"
    return f"{curve.p[place]:.2f} at 0 s"


def _draw_window(axis: Axes, scene: Scene) -> None:
    moment, lead_s = scene.moment, scene.curves[0].lead_us / 1e6
    axis.axvspan(-lead_s - moment.window_s, -lead_s, color=WINDOW, alpha=0.25, linewidth=0, zorder=0.5)
    if lead_s:
        axis.axvspan(-lead_s, 0.0, color=LEAD, alpha=0.3, linewidth=0, zorder=0.5)
    axis.axvline(0.0, color=SHOT if moment.shot else _TRIGGER, linewidth=1.0, zorder=1)


def _draw_keys(figure: Figure, scene: Scene) -> None:
    keys: list[Artist] = [Patch(color=WINDOW, alpha=0.4, label="window")]
    if scene.curves[0].lead_us:
        keys.append(Patch(color=LEAD, alpha=0.4, label="lead"))
    keys += seen_keys(scene.curves)
    low, high = scene.moment.at_us - scene.moment.before_s * 1e6, scene.moment.at_us + scene.moment.after_s * 1e6
    inside = (scene.session.t_us >= low) & (scene.session.t_us <= high)
    if len(scene.session.stretches()) > 1 or not inside.any():
        keys += [Patch(color=GAP, label="not recorded"), Patch(color=UNSPOKEN, label="no full window")]
    thresholds = {curve.threshold for curve in scene.curves}
    shown = f"threshold {min(thresholds):.2f}" if len(thresholds) == 1 else "thresholds"
    keys.append(Line2D([], [], color="black", linewidth=0.8, linestyle=":", label=shown))
    legend(figure, keys, _LEFT, len(keys))
