"""What a recording looks like: traces, gaps, shots, the windows cut from it, and a model's probability."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.files import write_bytes
from stinger.sessions.session import Channel, Session, starts_after_gap
from stinger.windows.dataset import Dataset
from stinger.windows.describe import session_hash
from stinger.windows.shot_rules import Shots, find_shots

#: Colour-blind safe (Okabe and Ito): x, y, z, then what follows.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_GAP = "#d9d9d9"
_SHOT = "#a50026"
_WINDOW_COLOURS = ("#74add1", _SHOT)
_ACCEPTED_MARK: dict[str, Any] = {"color": _SHOT, "marker": "v", "markersize": 6, "linestyle": ""}
_REJECTED_MARK: dict[str, Any] = {"color": "#7f7f7f", "marker": "x", "markersize": 4, "linestyle": ""}
_PROBABILITY = "#4b2991"
_QUANTITIES = {"a": "acceleration", "g": "rotation", "m": "magnetic field"}
#: What the detail shows around its shot, seconds.
_DETAIL_S = (2.0, 1.0)
_DPI = 110

_Probability = tuple[NDArray[np.int64], NDArray[np.float64]]


def plot_session(
    session: Session,
    path: Path,
    *,
    shots: Shots | None = None,
    probability: _Probability | None = None,
    dataset: Dataset | None = None,
    title: str | None = None,
) -> None:
    """Draw one recording as PNG: the whole of it on the left, one shot close by on the right.

    Args:
        session: The recording.
        path: Where to write.
        shots: Its shots; found in the trigger when not given.
        probability: Time in microseconds on the session's clock and the probability (0..1) of a shot at each,
            both of shape ``(n,)``; gets a panel of its own. The line breaks where the times have a gap.
        dataset: Windows cut from the session; shown as a strip.
        title: Heading; the session's name when not given.

    Raises:
        InputError: The session has no samples, or the place cannot be written.
    """
    if not len(session):
        raise InputError(f"{session.name}: no samples to draw")
    shots = find_shots(session) if shots is None else shots
    groups = _groups(session.channels)
    strips = int(session.trigger is not None) + int(dataset is not None)
    heights = [0.25] * strips + [1.0] * len(groups) + [0.9] * (probability is not None)
    spans = [(0.0, 0.0, max(session.duration_s, 1e-3))]
    centre = _detail_shot(session, shots)
    if centre is not None:
        spans.append((float(session.t_us[centre] - session.t_us[0]) / 1e6, -_DETAIL_S[0], _DETAIL_S[1]))
    figure = Figure(figsize=(14, 1.0 + 2.1 * sum(heights)), layout="constrained")
    axes = figure.subplots(
        len(heights),
        len(spans),
        squeeze=False,
        sharex="col",
        height_ratios=heights,
        width_ratios=[2.6, 1.0][: len(spans)],
    )
    for column, (zero_s, low, high) in enumerate(spans):
        view = _View(session, zero_s, low, high, first=column == 0)
        rows = list(axes[:, column])
        if session.trigger is not None:
            _draw_shots(rows.pop(0), view, shots)
        if dataset is not None:
            _draw_windows(rows.pop(0), view, dataset)
        for axis, group in zip(rows, groups, strict=False):
            _draw_channels(axis, view, group)
            if view.first:
                axis.set_ylabel(_axis_label(session.channels, group))
                _legend_above(axis, len(group))
        if probability is not None:
            _draw_probability(rows[-1], view, probability, shots)
        for axis in rows:
            _draw_gaps(axis, view)
        axes[-1, column].set_xlim(low, high)
        axes[-1, column].set_xlabel("time in s" if view.first else f"time in s from the shot at {zero_s:.1f} s")
    _heading(figure, title or session.name)
    keys = _keys(session, shots, dataset)
    if keys:
        figure.legend(handles=keys, loc="outside upper right", ncols=len(keys), fontsize=9, frameon=False)
    _save(figure, path)


def plot_collection(sessions: Sequence[Session], path: Path, *, title: str | None = None) -> None:
    """Draw labelled recordings as PNG: a row per class with its first recording, a column per quantity.

    Args:
        sessions: Labelled recordings with the same channels; unlabelled ones are left out.
        path: Where to write.
        title: Heading.

    Raises:
        InputError: No recording has a label and samples, or the place cannot be written.
    """
    labelled = [session for session in sessions if session.label is not None and len(session)]
    if not labelled:
        raise InputError("no labelled recordings to draw; label them first")
    classes = sorted({session.label or "" for session in labelled})
    groups = _groups(labelled[0].channels)
    figure = Figure(figsize=(13, 0.9 + 1.7 * len(classes)), layout="constrained")
    axes = figure.subplots(len(classes), len(groups), squeeze=False, sharex=True, sharey="col")
    for row, label in enumerate(classes):
        mine = [session for session in labelled if session.label == label]
        view = _View(mine[0], 0.0, 0.0, mine[0].duration_s, first=True)
        for column, group in enumerate(groups):
            axis = axes[row, column]
            _draw_channels(axis, view, group)
            _draw_gaps(axis, view)
            if row == 0:
                axis.set_title(_axis_label(mine[0].channels, group).replace("\n", " "), fontsize=11, loc="left")
                _legend_above(axis, len(group))
        axes[row, 0].set_ylabel(f"{label}\n{len(mine)} recording{'s' * (len(mine) > 1)}", fontsize=10)
    for axis in axes[-1]:
        axis.set_xlabel("time in s")
    _heading(figure, title or f"{len(labelled)} recordings, the first of each class")
    _save(figure, path)


@dataclass(frozen=True)
class _View:
    """A part of a session on one time axis: which moment is zero, and from when to when, in seconds."""

    session: Session
    zero_s: float
    low_s: float
    high_s: float
    first: bool

    def clock(self, t_us: NDArray[np.int64]) -> NDArray[np.float64]:
        seconds: NDArray[np.float64] = (t_us - self.session.t_us[0]) / 1e6 - self.zero_s
        return seconds

    def visible(self, t_us: NDArray[np.int64]) -> slice:
        """What lies in view, so that the vertical axis fits it; ``t_us`` ascends."""
        seconds = self.clock(t_us)
        return slice(int(np.searchsorted(seconds, self.low_s)), int(np.searchsorted(seconds, self.high_s, "right")))


def _draw_channels(axis: Axes, view: _View, group: Sequence[int]) -> None:
    session = view.session
    seen = view.visible(session.t_us)
    time, broken = _broken(view.clock(session.t_us[seen]), session.gap_before[seen])
    for colour, number in zip(_COLOURS, group, strict=False):
        channel = session.channels[number]
        value = np.insert(session.samples[seen, number] * channel.scale, broken, np.nan)
        axis.plot(time, value, color=colour, linewidth=0.6 if view.first else 1.0, label=channel.name)
    _tidy(axis)


def _draw_probability(axis: Axes, view: _View, probability: _Probability, shots: Shots) -> None:
    t_us, p = probability
    time, broken = _broken(view.clock(t_us), starts_after_gap(t_us, view.session.period_us))
    for at in view.clock(view.session.t_us[shots.accepted]).tolist():
        axis.axvline(at, color=_SHOT, linewidth=0.8, alpha=0.55, zorder=1)
    axis.axhline(0.5, color="black", linewidth=0.6, linestyle=":", zorder=1)
    axis.plot(
        time,
        np.insert(p.astype(np.float64), broken, np.nan),
        color=_PROBABILITY,
        linewidth=0.7 if view.first else 1.2,
        zorder=2,
    )
    axis.set_ylim(-0.04, 1.04)
    axis.set_yticks([0, 0.5, 1])
    _tidy(axis)
    if view.first:
        axis.set_ylabel("probability\nof a shot")


def _draw_shots(axis: Axes, view: _View, shots: Shots) -> None:
    t_us = view.session.t_us
    axis.plot(view.clock(t_us[shots.accepted]), np.full(len(shots.accepted), 0.7), **_ACCEPTED_MARK)
    axis.plot(view.clock(t_us[shots.rejected]), np.full(len(shots.rejected), 0.2), **_REJECTED_MARK)
    _strip(axis, {0.45: "shots"} if view.first else {})


def _draw_windows(axis: Axes, view: _View, dataset: Dataset) -> None:
    session = view.session
    mine = dataset.session == _number_in(dataset, session)
    length_s = dataset.window * dataset.period_us / 1e6
    start = view.clock(session.t_us[dataset.start[mine]])
    for label, colour in enumerate(_WINDOW_COLOURS):
        for held_out, low in ((False, 0.55), (True, 0.05)):
            chosen = (dataset.labels[mine] == label) & (dataset.held_out[mine] == held_out)
            bars = [(at, length_s) for at in start[chosen].tolist()]
            axis.broken_barh(bars, (low, 0.4), facecolor=colour, linewidth=0)
    _strip(axis, {0.75: "training", 0.25: "held out"} if view.first else {})


def _keys(session: Session, shots: Shots, dataset: Dataset | None) -> list[Artist]:
    """What the marks above the traces mean."""
    keys: list[Artist] = []
    if session.trigger is not None:
        keys.append(Line2D([], [], label=f"{len(shots.accepted)} shots", **_ACCEPTED_MARK))
    if len(shots.rejected):
        keys.append(Line2D([], [], label=f"{len(shots.rejected)} too soon after a shot", **_REJECTED_MARK))
    if dataset is not None:
        for name, colour in zip(dataset.classes, _WINDOW_COLOURS, strict=False):
            keys.append(Patch(color=colour, label=f"window '{name}'"))
    if len(session.stretches()) > 1:
        keys.append(Patch(color=_GAP, label="not recorded"))
    return keys


def _legend_above(axis: Axes, columns: int) -> None:
    place: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1.0, 0.97), "borderaxespad": 0.0}
    axis.legend(ncols=columns, fontsize=8, frameon=False, handlelength=1.2, **place)


def _draw_gaps(axis: Axes, view: _View) -> None:
    after = np.flatnonzero(view.session.gap_before)[1:]
    time = view.clock(view.session.t_us)
    for start, stop in zip(time[after - 1].tolist(), time[after].tolist(), strict=True):
        axis.axvspan(start, stop, color=_GAP, linewidth=0, zorder=0)


def _broken(time: NDArray[np.float64], gap: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Prepare a line that breaks before each gap: the times, and where to put a NaN into the values."""
    after = np.flatnonzero(gap)[1:].astype(np.int64)
    return np.insert(time, after, np.nan), after


def _groups(channels: Sequence[Channel]) -> list[list[int]]:
    """Channels that share a panel: the same quantity in the same unit."""
    groups: dict[tuple[str, str], list[int]] = {}
    for number, channel in enumerate(channels):
        groups.setdefault((_quantity(channel), channel.unit), []).append(number)
    return list(groups.values())


def _quantity(channel: Channel) -> str:
    return _QUANTITIES.get(channel.name[0], channel.name) if channel.name[1:] in ("x", "y", "z") else channel.name


def _axis_label(channels: Sequence[Channel], group: Sequence[int]) -> str:
    channel = channels[group[0]]
    unit = channel.unit if "unstated" not in channel.unit else "unit unstated"
    unit = unit.replace("m/s^2", "m/s²").replace("deg/s", "°/s")
    return f"{_quantity(channel)}\n({unit})" if "unstated" in unit else f"{_quantity(channel)}\nin {unit}"


def _detail_shot(session: Session, shots: Shots) -> int | None:
    """The accepted shot to show close by: the middle one of those without a gap around or a shot before."""
    before, after = (round(s * 1e6 / session.period_us) for s in _DETAIL_S)
    gap = np.concatenate([[0], np.cumsum(session.gap_before)])
    first = np.clip(shots.accepted - before + 1, 0, len(session))
    last = np.clip(shots.accepted + after, 0, len(session))
    whole = (gap[last] == gap[first]) & (shots.accepted >= before)
    alone = whole & (np.diff(session.t_us[shots.accepted], prepend=-(1 << 62)) > 1.5e6 * _DETAIL_S[0])
    chosen = shots.accepted[alone if alone.any() else whole if whole.any() else slice(None)]
    return int(chosen[len(chosen) // 2]) if len(chosen) else None


def _number_in(dataset: Dataset, session: Session) -> int:
    """Which of the dataset's inputs the session is, by content; the first where the dataset does not say."""
    inputs = dataset.meta.get("inputs")
    if not isinstance(inputs, list):
        return 0
    wanted = session_hash(session)
    numbers = [i for i, entry in enumerate(inputs) if isinstance(entry, dict) and entry.get("sha256") == wanted]
    return numbers[0] if numbers else -1


def _strip(axis: Axes, labels: dict[float, str]) -> None:
    axis.set_ylim(0, 1)
    axis.set_yticks(list(labels), list(labels.values()), fontsize=8)
    axis.spines[["left", "top", "right", "bottom"]].set_visible(False)
    axis.tick_params(axis="both", length=0)


def _tidy(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", color="#eeeeee", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.tick_params(labelsize=9)


def _heading(figure: Figure, text: str) -> None:
    # Longer ones would run into the legend.
    figure.suptitle(text if len(text) <= 70 else text[:69] + "…", fontsize=13, x=0.01, ha="left")


def _save(figure: Figure, path: Path) -> None:
    """Write the PNG without date or version, so that equal pictures are equal bytes."""
    FigureCanvasAgg(figure)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    write_bytes(path, stream.getvalue())
