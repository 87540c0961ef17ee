"""One shot close by: its traces, its window and lead, the trigger, gaps and the edges around it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

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


@dataclass(frozen=True)
class ShotView:
    """Which shot to draw, and how much around it.

    Attributes:
        edge: Sample of its trigger edge.
        title: What to write above.
        window: Samples of its window.
        lead: Samples from the window's end to the edge.
        used: Whether the window is in the dataset.
        pre_ms: Time shown before the edge; the window is always shown whole.
        post_ms: Time shown after it.
    """

    edge: int
    title: str
    window: int
    lead: int
    used: bool
    pre_ms: float
    post_ms: float


def shot_png(session: Session, shots: Shots, shot: ShotView) -> bytes:
    """Draw one shot as PNG.

    Args:
        session: The recording.
        shots: All its edges; those in view are marked.
        shot: Which one, and how.
    """
    return png_of(shot_figure(session, shots, shot))


def shot_figure(session: Session, shots: Shots, shot: ShotView) -> Figure:
    """Draw one shot; see `shot_png`."""
    groups = groups_of(session.channels)
    heights = [0.28] + [1.0] * len(groups)
    # Fixed margins: fitting them to each of hundreds of pictures takes longer than drawing.
    figure = Figure(figsize=(8.5, 1.2 + 1.9 * sum(heights)))
    figure.subplots_adjust(left=0.11, right=0.985, top=1 - 0.75 / figure.get_figheight(), bottom=0.09, hspace=0.24)
    axes = figure.subplots(len(heights), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
    period_s = session.period_us / 1e6
    reach_s = (shot.window + shot.lead + 2) * period_s
    zero_s = float(session.t_us[shot.edge] - session.t_us[0]) / 1e6
    view = View(session, zero_s, -max(shot.pre_ms / 1000, reach_s), max(shot.post_ms / 1000, period_s), whole=False)
    _draw_edges(axes[0], view, shots)
    for axis, group in zip(axes[1:], groups, strict=True):
        draw_channels(axis, view, group)
        axis.set_ylabel(axis_label(session.channels, group), fontsize=9)
        legend_above(axis, len(group))
    for axis in axes:
        draw_gaps(axis, view)
        _draw_window(axis, view, shot)
    axes[-1].set_xlim(view.low_s, view.high_s)
    axes[-1].set_xlabel("time in s from the trigger", fontsize=9)
    figure.text(0.015, 1 - 0.3 / figure.get_figheight(), shot.title, fontsize=11, ha="left", va="center")
    _draw_keys(figure, session, shot)
    return figure


def _draw_edges(axis: Axes, view: View, shots: Shots) -> None:
    session = view.session
    seen = view.visible(session.t_us)
    down = trigger_down(session)[seen].astype(np.float64)
    axis.fill_between(view.clock(session.t_us[seen]), 0, 0.45 * down, step="post", color=_TRIGGER, linewidth=0)
    for edges, mark in ((shots.accepted, ACCEPTED_MARK), (shots.rejected, REJECTED_MARK)):
        at = view.clock(session.t_us[edges])
        at = at[(at >= view.low_s) & (at <= view.high_s)]
        axis.plot(at, np.full(len(at), 0.75), **{**mark, "markersize": 7})
    strip(axis, {0.75: "edges", 0.22: "trigger"})


def _draw_window(axis: Axes, view: View, shot: ShotView) -> None:
    session = view.session
    first, last = shot.edge - shot.lead - shot.window, shot.edge - shot.lead
    if first >= 0:
        start, stop = view.clock(session.t_us[[first, last]]).tolist()
        look = (
            {"color": WINDOW, "alpha": 0.3} if shot.used else {"facecolor": "none", "edgecolor": WINDOW, "hatch": "//"}
        )
        axis.axvspan(start, stop, linewidth=0, zorder=0, **look)
        axis.axvspan(stop, 0.0, color=LEAD, alpha=0.3, linewidth=0, zorder=0)
    axis.axvline(0.0, color=SHOT, linewidth=1.0, zorder=1)


def _draw_keys(figure: Figure, session: Session, shot: ShotView) -> None:
    window = Patch(color=WINDOW, alpha=0.4, label="window")
    if not shot.used:
        window = Patch(facecolor="none", edgecolor=WINDOW, hatch="//", label="window refused")
    keys = [
        Line2D([], [], label="shot", **ACCEPTED_MARK),
        Line2D([], [], label="too soon after", **REJECTED_MARK),
        window,
        Patch(color=LEAD, alpha=0.4, label="lead"),
    ]
    if len(session.stretches()) > 1:
        keys.append(Patch(color=GAP, label="not recorded"))
    height = figure.get_figheight()
    figure.legend(
        handles=keys,
        loc="upper right",
        bbox_to_anchor=(0.99, 1 - 0.42 / height),
        ncols=len(keys),
        fontsize=8,
        frameon=False,
        borderaxespad=0.0,
    )
