"""What models say along a recording: the whole of it, and how their answers to labelled windows are spread.

A probability is drawn at the moment it speaks of, one lead after the end of its window; where the recording has a gap
the line has one too. What a model saw in training is shaded, so that nobody takes it for a test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from stinger.plots.session import WindowStrip
from stinger.plots.traces import ACCEPTED_MARK, GAP, REJECTED_MARK, SHOT, View, draw_gaps, line, png_of, tidy
from stinger.sessions.session import Session, starts_after_gap
from stinger.windows.shot_rules import Shots

#: Of models, none of them that of a channel.
PALETTE = ("#4b2991", "#b87700", "#e7298a", "#000000", "#56b4e9", "#8c510a")
#: Behind what the model saw in training.
SEEN = "#fff0a6"
#: Behind the time that no full window speaks of.
UNSPOKEN = "#f0f0f0"
#: Height of a bar that says a policy is on, and how far apart two are, in units of probability.
_ON_HEIGHT, _ON_STEP = 0.06, 0.09

#: A band shows about this long, unless there were too many.
_BAND_S = 120.0
_MOST_BANDS = 6
#: All in inches.
_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 14.0, 1.25, 0.2, 0.95, 0.55
_KEY_ROW, _KEYS_PER_ROW = 0.22, 8
_STRIP, _LANE, _ONLY_LANE, _SPACE = 0.36, 0.62, 1.05, 0.46


@dataclass(frozen=True)
class Curve:
    """What one model says along a recording, one element per full window.

    Attributes:
        label: What to call the model.
        t_us: The moment each probability speaks of, on the session's clock, int64, shape ``(m,)``.
        p: The probability, shape ``(m,)``.
        seen: Whether the window shares samples with one that the model was trained on, shape ``(m,)``.
        threshold: From here on it counts as a yes.
        period_us: The session's sample period.
        lead_us: From a window's end to the moment it speaks of.
        on_us: From when to when the model's policy is on, int64, shape ``(k, 2)``; None without a policy.
        sure: Whether ``seen`` is known to the sample; otherwise it is what the model may have seen.
    """

    label: str
    t_us: NDArray[np.int64]
    p: NDArray[np.float64]
    seen: NDArray[np.bool_]
    threshold: float
    period_us: int
    lead_us: int
    on_us: NDArray[np.int64] | None = None
    sure: bool = True

    def between(self, low_us: float, high_us: float) -> Curve:
        """Return the part that speaks of a stretch of time."""
        first = int(np.searchsorted(self.t_us, low_us))
        part = slice(first, max(first, int(np.searchsorted(self.t_us, high_us, side="right"))))
        on_us = self.on_us
        if on_us is not None:
            on_us = on_us[(on_us[:, 1] > low_us) & (on_us[:, 0] < high_us)]
        return replace(self, t_us=self.t_us[part], p=self.p[part], seen=self.seen[part], on_us=on_us)

    @property
    def breaks(self) -> NDArray[np.bool_]:
        """Where the line has to be interrupted before an element, shape ``(m,)``."""
        return starts_after_gap(self.t_us, self.period_us)


def overview_png(
    session: Session,
    shots: Shots,
    curves: Sequence[Curve],
    windows: WindowStrip,
    *,
    title: str,
    dpi: int,
    split: bool = True,
) -> bytes:
    """Draw all of a recording as PNG, in bands one below the other; in each a lane per model.

    Args:
        session: The recording.
        shots: Its shots.
        curves: What the models say.
        windows: Labelled windows.
        title: Heading.
        dpi: Pixels per inch; 14 inches are the width.
        split: Whether the windows are divided into training and held out, and shown so.
    """
    return png_of(overview_figure(session, shots, curves, windows, title=title, split=split), dpi)


def overview_figure(
    session: Session,
    shots: Shots,
    curves: Sequence[Curve],
    windows: WindowStrip,
    *,
    title: str,
    split: bool = True,
) -> Figure:
    """Draw all of a recording; see `overview_png`."""
    # The last probabilities speak of a moment after the last sample.
    length_s, bands = _bands(session.duration_s + max(curve.lead_us for curve in curves) / 1e6)
    lane = _ONLY_LANE if len(curves) == 1 else _LANE
    band_height = _STRIP + lane * len(curves) + _SPACE
    keys = _keys(session, shots, curves, windows)
    above = _TOP + _KEY_ROW * ((len(keys) - 1) // _KEYS_PER_ROW)
    height = above + bands * band_height + _BOTTOM - _SPACE
    figure = Figure(figsize=(_WIDTH, height))
    for band in range(bands):
        view = View(session, 0.0, band * length_s, (band + 1) * length_s, whole=False)
        top = height - above - band * band_height
        axis = _axes(figure, top, _STRIP)
        _draw_strip(axis, view, shots, windows, split=split)
        for number, curve in enumerate(curves):
            axis = _axes(figure, top - _STRIP - number * lane, lane)
            _draw_lane(axis, view, shots, curve, PALETTE[number % len(PALETTE)])
            axis.tick_params(labelbottom=number == len(curves) - 1)
    axis.set_xlabel("time in s from the first sample")
    figure.text(_LEFT / _WIDTH, 1 - 0.3 / height, short(title, 110), fontsize=13, ha="left", va="center")
    legend(figure, keys, _LEFT, _KEYS_PER_ROW)
    return figure


def draw_curve(axis: Axes, view: View, curve: Curve, colour: str, *, row: int = 0, width: float = 0.8) -> None:
    """Draw a model's probability, its policy's time below zero, and what it saw behind.

    Args:
        axis: Where.
        view: What is in view.
        curve: All of the curve, or at least its part in view.
        colour: Of the line.
        row: Which row below zero is the policy's.
        width: Of the line.
    """
    zero_us = int(view.session.t_us[0]) + round(view.zero_s * 1e6)
    part = curve.between(zero_us + view.low_s * 1e6, zero_us + view.high_s * 1e6)
    time = view.clock(part.t_us)
    start, stop = view.clock(runs(part.seen, part.breaks, part.t_us, part.period_us)).T
    axis.broken_barh(
        list(zip(start.tolist(), (stop - start).tolist(), strict=True)),
        (0.0, 1.0),
        transform=axis.get_xaxis_transform(),
        facecolor=SEEN,
        linewidth=0,
        zorder=0,
    )
    x, y = line(time, part.p, part.breaks)
    axis.plot(x, y, color=colour, linewidth=width, label=curve.label, zorder=3)
    if part.on_us is not None:
        start, stop = view.clock(part.on_us).T
        bars = list(zip(start.tolist(), (stop - start).tolist(), strict=True))
        axis.broken_barh(bars, (-_ON_STEP * (row + 1), _ON_HEIGHT), facecolor=colour, linewidth=0, zorder=3)


def draw_unspoken(axis: Axes, view: View, curve: Curve) -> None:
    """Shade lightly the time in view that no full window speaks of."""
    spoken = view.clock(curve.t_us)
    after = np.flatnonzero(curve.breaks)
    period_s = curve.period_us / 1e6
    starts = np.append(view.low_s, spoken[after[1:] - 1] + period_s) if len(spoken) else np.array([view.low_s])
    stops = spoken[after]
    if len(spoken):
        starts = np.append(starts, spoken[-1] + period_s)
    stops = np.append(stops, view.high_s)
    bars = [(a, b - a) for a, b in zip(starts.tolist(), stops.tolist(), strict=True) if b - a > period_s]
    axis.broken_barh(bars, (0.0, 1.0), transform=axis.get_xaxis_transform(), facecolor=UNSPOKEN, linewidth=0, zorder=-1)


def probability_axis(axis: Axes, curves: Sequence[Curve]) -> None:
    """Give an axis the range and ticks of probabilities, with room below zero for policies."""
    rows = max((number + 1 for number, curve in enumerate(curves) if curve.on_us is not None), default=0)
    axis.set_ylim(-0.05 - _ON_STEP * rows, 1.05)
    axis.set_yticks([0, 0.5, 1], ["0", "", "1"])
    thresholds = {curve.threshold for curve in curves}
    for number, curve in enumerate(curves if len(thresholds) > 1 else curves[:1]):
        colour = PALETTE[number % len(PALETTE)] if len(thresholds) > 1 else "black"
        axis.axhline(curve.threshold, color=colour, linewidth=0.8, linestyle=":", zorder=1)
    tidy(axis)


def runs(
    mark: NDArray[np.bool_], breaks: NDArray[np.bool_], t_us: NDArray[np.int64], period_us: int
) -> NDArray[np.int64]:
    """Find the stretches of marked samples.

    Args:
        mark: Shape ``(n,)``.
        breaks: Samples that do not follow their predecessor, shape ``(n,)``.
        t_us: Their times, shape ``(n,)``.
        period_us: How long a sample lasts.

    Returns:
        Beginning and end of each stretch, shape ``(k, 2)``.
    """
    before = np.concatenate([[False], mark[:-1]])
    after = np.concatenate([mark[1:], [False]])
    broken_after = np.append(breaks[1:], True)
    start = t_us[mark & (~before | breaks)[: len(mark)]]
    stop = t_us[mark & (~after | broken_after)[: len(mark)]] + period_us
    return np.stack([start, stop], axis=1).astype(np.int64)


def legend(figure: Figure, keys: Sequence[Artist], left: float, columns: int) -> None:
    """Explain marks below the title, ``left`` inches from the left."""
    figure.legend(
        handles=list(keys),
        loc="upper left",
        bbox_to_anchor=(left / figure.get_figwidth(), 1 - 0.5 / figure.get_figheight()),
        ncols=min(len(keys), columns),
        fontsize=8.5,
        frameon=False,
        borderpad=0.0,
        borderaxespad=0.0,
        columnspacing=1.5,
        handlelength=1.6,
    )


def seen_keys(curves: Sequence[Curve]) -> list[Artist]:
    """Explain the shading of what models saw in training, where there is any."""
    shaded = [curve for curve in curves if curve.seen.any()]
    if not shaded:
        return []
    return [Patch(color=SEEN, label="seen in training" if all(c.sure for c in shaded) else "maybe seen in training")]


def short(text: str, most: int) -> str:
    """Cut what is too long for its place, and keep matplotlib from reading formulas into it."""
    return (text if len(text) <= most else f"{text[: most - 1]}…").replace("$", r"\$")


def _bands(duration_s: float) -> tuple[float, int]:
    """How long a band is, rounded up a little, and how many there are."""
    bands = min(_MOST_BANDS, max(1, math.ceil(duration_s / _BAND_S)))
    share = max(duration_s, 0.1) / bands
    step = 10.0 ** math.floor(math.log10(share)) / 20
    return math.ceil(share / step - 1e-9) * step, bands


def _axes(figure: Figure, top: float, height: float) -> Axes:
    whole = figure.get_figheight()
    width = (_WIDTH - _LEFT - _RIGHT) / _WIDTH
    gap = 0.05
    return figure.add_axes((_LEFT / _WIDTH, (top - height + gap) / whole, width, (height - gap) / whole))


def _draw_strip(axis: Axes, view: View, shots: Shots, windows: WindowStrip, *, split: bool) -> None:
    session = view.session
    start = view.clock(session.t_us[windows.start])
    length_s = windows.window * session.period_us / 1e6
    seen = (start + length_s > view.low_s) & (start < view.high_s) & ~windows.embargoed
    for label, colour in enumerate(windows.colours):
        for held_out, low in ((False, 0.38), (True, 0.0)):
            mine = seen & (windows.labels == label) & (windows.held_out == held_out)
            bars = [(at, length_s) for at in start[mine].tolist()]
            axis.broken_barh(bars, (low, 0.3), facecolor=colour, linewidth=0)
    for edges, mark in ((shots.accepted, ACCEPTED_MARK), (shots.rejected, REJECTED_MARK)):
        at = view.clock(session.t_us[edges])
        at = at[(at >= view.low_s) & (at < view.high_s)]
        axis.plot(at, np.full(len(at), 0.92), clip_on=False, **{**mark, "markersize": 5})
    axis.set_xlim(view.low_s, view.high_s)
    axis.set_ylim(0, 1.1)
    rows = {0.53: "training", 0.15: "held out"} if split else {0.15: "windows"}
    axis.set_yticks(list(rows), list(rows.values()), fontsize=7)
    axis.spines[["left", "top", "right", "bottom"]].set_visible(False)
    axis.tick_params(axis="both", length=0, labelbottom=False)


def _draw_lane(axis: Axes, view: View, shots: Shots, curve: Curve, colour: str) -> None:
    probability_axis(axis, [curve])
    draw_gaps(axis, view)
    for at in view.clock(view.session.t_us[shots.accepted]).tolist():
        if view.low_s <= at < view.high_s:
            axis.axvline(at, color=SHOT, linewidth=0.8, alpha=0.55, zorder=1)
    draw_curve(axis, view, curve, colour)
    axis.set_xlim(view.low_s, view.high_s)
    axis.tick_params(labelsize=8)
    axis.set_ylabel(
        short(curve.label, 24).replace(" ", "\n"),
        rotation=0,
        ha="right",
        va="center",
        fontsize=9,
        color=colour,
        labelpad=8,
    )


def _keys(session: Session, shots: Shots, curves: Sequence[Curve], windows: WindowStrip) -> list[Artist]:
    keys: list[Artist] = []
    if session.trigger is not None:
        keys.append(Line2D([], [], label=f"{len(shots.accepted)} shots", **ACCEPTED_MARK))
    if len(shots.rejected):
        keys.append(Line2D([], [], label=f"{len(shots.rejected)} too soon after a shot", **REJECTED_MARK))
    for number, (name, colour) in enumerate(zip(windows.classes, windows.colours, strict=True)):
        if (windows.labels == number).any():
            keys.append(Patch(color=colour, label=f"window '{short(name, 20)}'"))
    keys += seen_keys(curves)
    if any(curve.on_us is not None for curve in curves):
        keys.append(Patch(color=PALETTE[0], label="policy on"))
    if len(session.stretches()) > 1:
        keys.append(Patch(color=GAP, label="not recorded"))
    thresholds = sorted({curve.threshold for curve in curves})
    shown = f"threshold {thresholds[0]:.2f}" if len(thresholds) == 1 else "thresholds"
    keys.append(Line2D([], [], color="black", linewidth=0.8, linestyle=":", label=shown))
    return keys
