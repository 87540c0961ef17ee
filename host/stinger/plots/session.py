"""What a recording looks like: traces, gaps, shots, the windows cut from it, and a model's probability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.files import write_bytes
from stinger.plots.traces import (
    ACCEPTED_MARK,
    COLOURS,
    GAP,
    LEAD,
    REJECTED_MARK,
    SHOT,
    WINDOW,
    View,
    axis_label,
    draw_channels,
    draw_gaps,
    draw_shots,
    groups_of,
    heading,
    legend_above,
    line,
    png_of,
    strip,
    tidy,
)
from stinger.sessions.session import Session, starts_after_gap
from stinger.windows.dataset import Dataset
from stinger.windows.labelled import label_events
from stinger.windows.shot_rules import Shots, find_shots

#: What the detail shows around its shot, seconds.
_DETAIL_S = (2.0, 1.0)
_PROBABILITY = "#4b2991"
_EMBARGOED = "#969696"

_Probability = tuple[NDArray[np.int64], NDArray[np.float64]]


@dataclass(frozen=True)
class WindowStrip:
    """Where the windows of one session lie.

    Attributes:
        start: First sample of each window, shape ``(m,)``.
        labels: Class of each, shape ``(m,)``.
        held_out: Which are held out, shape ``(m,)``.
        embargoed: Which are left out because they share samples with a held-out one, shape ``(m,)``.
        classes: Names of the classes.
        window: Samples per window.
        lead_us: From a positive's end to its shot; 0 without shots.
    """

    start: NDArray[np.int64]
    labels: NDArray[np.uint8]
    held_out: NDArray[np.bool_]
    embargoed: NDArray[np.bool_]
    classes: tuple[str, ...]
    window: int
    lead_us: int

    @property
    def colours(self) -> tuple[str, ...]:
        """One for each class."""
        if self.classes == ("idle", "shot"):
            return (WINDOW, SHOT)
        return tuple(COLOURS[i % len(COLOURS)] for i in range(len(self.classes)))


def strip_of(dataset: Dataset, number: int) -> WindowStrip:
    """Return where a dataset's windows lie in its session with that number."""
    mine = dataset.session == number
    held_out = dataset.held_out[mine]
    return WindowStrip(
        start=dataset.start[mine],
        labels=dataset.labels[mine],
        held_out=held_out,
        embargoed=~held_out & ~dataset.training[mine],
        classes=dataset.classes,
        window=dataset.window,
        lead_us=dataset.lead_us,
    )


def plot_session(
    session: Session,
    path: Path,
    *,
    shots: Shots | None = None,
    probability: _Probability | None = None,
    windows: WindowStrip | None = None,
    title: str | None = None,
) -> None:
    """Draw one recording into a PNG file; see `session_png`.

    Raises:
        InputError: The session has no samples, or the place cannot be written.
    """
    write_bytes(path, session_png(session, shots=shots, probability=probability, windows=windows, title=title))


def session_png(
    session: Session,
    *,
    shots: Shots | None = None,
    probability: _Probability | None = None,
    windows: WindowStrip | None = None,
    title: str | None = None,
) -> bytes:
    """Draw one recording as PNG: the whole of it on the left, one shot close by on the right.

    Args:
        session: The recording.
        shots: Its shots; found in the trigger when not given.
        probability: Time in microseconds on the session's clock and the probability (0..1) of a shot at each,
            both of shape ``(n,)``; gets a panel of its own. The line breaks where the times have a gap.
        windows: Windows cut from the session; shown as a strip.
        title: Heading; the session's name when not given.

    Raises:
        InputError: The session has no samples.
    """
    figure = _session_figure(session, shots=shots, probability=probability, windows=windows, title=title)
    return png_of(figure)


def plot_collection(sessions: Sequence[Session], path: Path, *, title: str | None = None) -> None:
    """Draw labelled recordings into a PNG file: a row per class with its first recording; see `collection_png`.

    Args:
        sessions: Labelled recordings with the same channels; unlabelled ones are left out.
        path: Where to write.
        title: Heading.

    Raises:
        InputError: No recording has a label and samples, or the place cannot be written.
    """
    labelled = [session for session in sessions if session.label is not None and len(session)]
    first = {str(session.label): session for session in reversed(labelled)}
    counts = {name: sum(session.label == name for session in labelled) for name in first}
    write_bytes(path, collection_png(list(first.values()), counts, title=title))


def collection_png(examples: Sequence[Session], counts: Mapping[str, int], *, title: str | None = None) -> bytes:
    """Draw one recording of each class as PNG: a row per class, a column per quantity.

    Args:
        examples: A labelled recording of each class, all with the same channels.
        counts: How many recordings each class has.
        title: Heading.

    Raises:
        InputError: There are none.
    """
    return png_of(_collection_figure(examples, counts, title=title))


def _session_figure(
    session: Session,
    *,
    shots: Shots | None,
    probability: _Probability | None,
    windows: WindowStrip | None,
    title: str | None,
) -> Figure:
    if not len(session):
        raise InputError(f"{session.name}: no samples to draw")
    shots = find_shots(session) if shots is None else shots
    labels = label_events(session)
    groups = groups_of(session.channels)
    strips = int(session.trigger is not None) + int(bool(labels)) + int(windows is not None)
    heights = [0.25] * strips + [1.0] * len(groups) + [0.9] * (probability is not None)
    views = [View(session, 0.0, 0.0, max(session.duration_s, 1e-3), whole=True)]
    centre = _detail_shot(session, shots)
    if centre is not None:
        zero_s = float(session.t_us[centre] - session.t_us[0]) / 1e6
        views.append(View(session, zero_s, -_DETAIL_S[0], _DETAIL_S[1], whole=False))
    figure = Figure(figsize=(14, 1.0 + 2.1 * sum(heights)), layout="constrained")
    axes = figure.subplots(
        len(heights),
        len(views),
        squeeze=False,
        sharex="col",
        height_ratios=heights,
        width_ratios=[2.6, 1.0][: len(views)],
    )
    for column, view in enumerate(views):
        rows = list(axes[:, column])
        if session.trigger is not None:
            draw_shots(rows.pop(0), view, shots)
        if labels:
            _draw_labels(rows.pop(0), view, labels, _label_names(labels, windows))
        if windows is not None:
            _draw_windows(rows.pop(0), view, windows)
        for axis, group in zip(rows, groups, strict=False):
            draw_channels(axis, view, group)
            if view.whole:
                axis.set_ylabel(axis_label(session.channels, group))
                legend_above(axis, len(group))
        if probability is not None:
            _draw_probability(rows[-1], view, probability, shots)
        for axis in rows:
            draw_gaps(axis, view)
            if not view.whole and windows is not None and windows.lead_us:
                _draw_window_and_lead(axis, windows, session.period_us)
        axes[-1, column].set_xlim(view.low_s, view.high_s)
        axes[-1, column].set_xlabel("time in s" if view.whole else f"time in s from the shot at {view.zero_s:.1f} s")
    heading(figure, title or session.name)
    keys = _keys(session, shots, windows, labels, detail=len(views) > 1)
    if keys:
        figure.legend(handles=keys, loc="outside upper right", ncols=len(keys), fontsize=9, frameon=False)
    return figure


def _collection_figure(examples: Sequence[Session], counts: Mapping[str, int], *, title: str | None) -> Figure:
    if not examples:
        raise InputError("no labelled recordings to draw; label them first")
    examples = sorted(examples, key=lambda session: session.label or "")
    groups = groups_of(examples[0].channels)
    figure = Figure(figsize=(13, 0.9 + 1.7 * len(examples)), layout="constrained")
    axes = figure.subplots(len(examples), len(groups), squeeze=False, sharex=True, sharey="col")
    for row, session in enumerate(examples):
        view = View(session, 0.0, 0.0, session.duration_s, whole=True)
        for column, group in enumerate(groups):
            axis = axes[row, column]
            draw_channels(axis, view, group)
            draw_gaps(axis, view)
            if row == 0:
                axis.set_title(axis_label(session.channels, group).replace("\n", " "), fontsize=11, loc="left")
                legend_above(axis, len(group))
        number = counts.get(session.label or "", 1)
        axes[row, 0].set_ylabel(f"{session.label}\n{number} recording{'s' * (number > 1)}", fontsize=10)
    for axis in axes[-1]:
        axis.set_xlabel("time in s")
    heading(figure, title or f"{sum(counts.values())} recordings, the first of each class")
    return figure


def _draw_probability(axis: Axes, view: View, probability: _Probability, shots: Shots) -> None:
    t_us, p = probability
    for at in view.clock(view.session.t_us[shots.accepted]).tolist():
        axis.axvline(at, color=SHOT, linewidth=0.8, alpha=0.55, zorder=1)
    axis.axhline(0.5, color="black", linewidth=0.6, linestyle=":", zorder=1)
    x, y = line(view.clock(t_us), p.astype(np.float64), starts_after_gap(t_us, view.session.period_us))
    axis.plot(x, y, color=_PROBABILITY, linewidth=0.7 if view.whole else 1.2, zorder=2)
    axis.set_ylim(-0.04, 1.04)
    axis.set_yticks([0, 0.5, 1])
    tidy(axis)
    if view.whole:
        axis.set_ylabel("probability\nof a shot")


def _label_names(labels: Sequence[tuple[int, int, str]], windows: WindowStrip | None) -> Sequence[str]:
    """Labels in the order of their colours: a dataset's classes keep theirs in each of its recordings."""
    return sorted({label for _, _, label in labels}) if windows is None else windows.classes


def _draw_labels(axis: Axes, view: View, labels: Sequence[tuple[int, int, str]], names: Sequence[str]) -> None:
    session = view.session
    for number, name in enumerate(names):
        bars = []
        for a, b, label in labels:
            if label == name:
                start, stop = view.clock(session.t_us[[a, b - 1]]).tolist()
                bars.append((start, stop - start))
        axis.broken_barh(bars, (0.15, 0.7), facecolor=COLOURS[number % len(COLOURS)], linewidth=0)
    strip(axis, {0.5: "labels"} if view.whole else {})


def _draw_windows(axis: Axes, view: View, windows: WindowStrip) -> None:
    session = view.session
    length_s = windows.window * session.period_us / 1e6
    start = view.clock(session.t_us[windows.start])
    rows = [
        (windows.labels == label, windows.held_out == held_out, low, colour)
        for label, colour in enumerate(windows.colours)
        for held_out, low in ((False, 0.55), (True, 0.05))
    ]
    for is_label, in_row, low, colour in rows:
        bars = [(at, length_s) for at in start[is_label & in_row & ~windows.embargoed].tolist()]
        axis.broken_barh(bars, (low, 0.4), facecolor=colour, linewidth=0)
    left_out = [(at, length_s) for at in start[windows.embargoed].tolist()]
    axis.broken_barh(left_out, (0.55, 0.4), facecolor="none", edgecolor=_EMBARGOED, linewidth=0.8)
    strip(axis, {0.75: "training", 0.25: "held out"} if view.whole else {})


def _draw_window_and_lead(axis: Axes, windows: WindowStrip, period_us: int) -> None:
    lead_s, window_s = windows.lead_us / 1e6, windows.window * period_us / 1e6
    axis.axvspan(-lead_s - window_s, -lead_s, color=WINDOW, alpha=0.28, linewidth=0, zorder=0)
    axis.axvspan(-lead_s, 0.0, color=LEAD, alpha=0.28, linewidth=0, zorder=0)
    axis.axvline(0.0, color=SHOT, linewidth=0.9, zorder=1)


def _keys(
    session: Session,
    shots: Shots,
    windows: WindowStrip | None,
    labels: Sequence[tuple[int, int, str]],
    *,
    detail: bool,
) -> list[Artist]:
    """What the marks above and behind the traces mean."""
    keys: list[Artist] = []
    if session.trigger is not None:
        keys.append(Line2D([], [], label=f"{len(shots.accepted)} shots", **ACCEPTED_MARK))
    if len(shots.rejected):
        keys.append(Line2D([], [], label=f"{len(shots.rejected)} too soon after a shot", **REJECTED_MARK))
    if windows is not None:
        for name, colour in zip(windows.classes, windows.colours, strict=True):
            keys.append(Patch(color=colour, label=f"window '{name}'"))
        if windows.embargoed.any():
            keys.append(Patch(facecolor="none", edgecolor=_EMBARGOED, label="embargoed"))
        if detail and windows.lead_us:
            keys.append(Patch(color=LEAD, alpha=0.4, label="lead"))
    elif labels:
        for number, name in enumerate(_label_names(labels, windows)):
            keys.append(Patch(color=COLOURS[number % len(COLOURS)], label=name))
    if len(session.stretches()) > 1:
        keys.append(Patch(color=GAP, label="not recorded"))
    return keys


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
