"""Traces of a recording on a time axis: broken at gaps, thinned to what can be seen, with gaps shaded."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stinger.sessions.session import Channel, Session
from stinger.windows.shot_rules import Shots

#: Colour-blind safe (Okabe and Ito): x, y, z, then what follows.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
GAP = "#d9d9d9"
SHOT = "#a50026"
WINDOW = "#74add1"
LEAD = "#fdae61"
ACCEPTED_MARK: dict[str, Any] = {"color": SHOT, "marker": "v", "markersize": 6, "linestyle": ""}
REJECTED_MARK: dict[str, Any] = {"color": "#7f7f7f", "marker": "x", "markersize": 4, "linestyle": ""}

_QUANTITIES = {"a": "acceleration", "g": "rotation", "m": "magnetic field"}
_DPI = 110
#: More samples than this in one view are thinned to their extremes: no screen shows them all.
_MANY = 50_000
_BINS = 5_000


@dataclass(frozen=True)
class View:
    """A part of a session on one time axis.

    Attributes:
        session: The recording.
        zero_s: Which moment is zero, in seconds from the first sample.
        low_s: Left edge, in seconds from zero.
        high_s: Right edge.
        whole: Whether it shows all of the session.
    """

    session: Session
    zero_s: float
    low_s: float
    high_s: float
    whole: bool

    def clock(self, t_us: NDArray[np.int64]) -> NDArray[np.float64]:
        """Seconds from zero."""
        seconds: NDArray[np.float64] = (t_us - self.session.t_us[0]) / 1e6 - self.zero_s
        return seconds

    def visible(self, t_us: NDArray[np.int64]) -> slice:
        """What lies in view, so that the vertical axis fits it; ``t_us`` ascends."""
        seconds = self.clock(t_us)
        return slice(int(np.searchsorted(seconds, self.low_s)), int(np.searchsorted(seconds, self.high_s, "right")))


def draw_channels(axis: Axes, view: View, group: Sequence[int]) -> None:
    """Draw some channels in physical units."""
    session = view.session
    seen = view.visible(session.t_us)
    time, gap = view.clock(session.t_us[seen]), session.gap_before[seen]
    for colour, number in zip(COLOURS, group, strict=False):
        channel = session.channels[number]
        x, y = line(time, session.samples[seen, number] * channel.scale, gap)
        axis.plot(x, y, color=colour, linewidth=0.6 if view.whole else 1.0, label=channel.name)
    tidy(axis)


def line(
    time: NDArray[np.float64], value: NDArray[Any], gap: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points of a line that breaks before each gap (NaN); of very many samples the extremes of short stretches."""
    if len(time) > _MANY:
        first = np.union1d(np.arange(0, len(time), -(-len(time) // _BINS)), np.flatnonzero(gap))
        last = np.append(first[1:], len(time)) - 1
        value = np.column_stack([np.minimum.reduceat(value, first), np.maximum.reduceat(value, first)]).ravel()
        time = np.column_stack([time[first], time[last]]).ravel()
        gap = np.column_stack([gap[first], np.zeros(len(first), dtype=np.bool_)]).ravel()
    after = np.flatnonzero(gap)
    after = after[after > 0]
    return np.insert(time, after, np.nan), np.insert(value.astype(np.float64), after, np.nan)


def draw_gaps(axis: Axes, view: View) -> None:
    """Shade the time in which nothing was recorded."""
    after = np.flatnonzero(view.session.gap_before)[1:]
    start, stop = view.clock(view.session.t_us[after - 1]), view.clock(view.session.t_us[after])
    seen = (stop > view.low_s) & (start < view.high_s)
    axis.broken_barh(
        list(zip(start[seen].tolist(), (stop - start)[seen].tolist(), strict=True)),
        (0.0, 1.0),
        transform=axis.get_xaxis_transform(),
        facecolor=GAP,
        linewidth=0,
        zorder=0,
    )


def draw_shots(axis: Axes, view: View, shots: Shots) -> None:
    """Mark accepted and rejected edges in a strip of their own."""
    t_us = view.session.t_us
    for edges, height, mark in ((shots.accepted, 0.7, ACCEPTED_MARK), (shots.rejected, 0.2, REJECTED_MARK)):
        at = view.clock(t_us[edges])
        at = at[(at >= view.low_s) & (at <= view.high_s)]
        axis.plot(at, np.full(len(at), height), **mark)
    strip(axis, {0.45: "shots"} if view.whole else {})


def groups_of(channels: Sequence[Channel]) -> list[list[int]]:
    """Channels that share a panel: the same quantity in the same unit."""
    groups: dict[tuple[str, str], list[int]] = {}
    for number, channel in enumerate(channels):
        groups.setdefault((_quantity(channel), channel.unit), []).append(number)
    return list(groups.values())


def axis_label(channels: Sequence[Channel], group: Sequence[int]) -> str:
    """What a panel shows, in which unit."""
    channel = channels[group[0]]
    unit = channel.unit if "unstated" not in channel.unit else "unit unstated"
    unit = unit.replace("m/s^2", "m/s²").replace("deg/s", "°/s")
    return f"{_quantity(channel)}\n({unit})" if "unstated" in unit else f"{_quantity(channel)}\nin {unit}"


def legend_above(axis: Axes, columns: int) -> None:
    """Name the lines above the panel, where they hide nothing."""
    place: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1.0, 0.97), "borderaxespad": 0.0}
    axis.legend(ncols=columns, fontsize=8, frameon=False, handlelength=1.2, **place)


def strip(axis: Axes, labels: dict[float, str]) -> None:
    """Make an axis a bare strip with labels at heights of 0 to 1."""
    axis.set_ylim(0, 1)
    axis.set_yticks(list(labels), list(labels.values()), fontsize=8)
    axis.spines[["left", "top", "right", "bottom"]].set_visible(False)
    axis.tick_params(axis="both", length=0)


def tidy(axis: Axes) -> None:
    """Take away what is no data."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", color="#eeeeee", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.tick_params(labelsize=9)


def heading(figure: Figure, text: str) -> None:
    """Put a title at the left; a longer one would run into the legend."""
    figure.suptitle(text if len(text) <= 70 else text[:69] + "…", fontsize=13, x=0.01, ha="left")


def png_of(figure: Figure, dpi: int = _DPI) -> bytes:
    """Render without date or version, so that equal pictures are equal bytes."""
    FigureCanvasAgg(figure)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
    return stream.getvalue()


def _quantity(channel: Channel) -> str:
    return _QUANTITIES.get(channel.name[0], channel.name) if channel.name[1:] in ("x", "y", "z") else channel.name
