"""How a policy behaves over time: timelines of recordings, lead times, and what shots cost in false spin-ups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from stinger.errors import UsageError
from stinger.evaluation.streaming import Figures, score, spells
from stinger.evaluation.tuning import Recording
from stinger.models.policy import ENVELOPE_SHIFT, ONE, Policy, PolicyTrace
from stinger.plots.style import ALARM, COLOURS, MUTED, colour, figure, panels
from stinger.plots.traces import GAP, line
from stinger.sessions.session import starts_after_gap

_ROW_S = 60.0
_MOST_ROWS = 12
_NEUTRAL = "#F1F5E8"
_PROBABILITY = "#9CC3DE"
_ANTICIPATED, _MISSED, _IMPOSSIBLE = COLOURS[2], ALARM, MUTED
#: Colours of the policies, in the order in which they are given.
_POLICIES = (COLOURS[4], COLOURS[0], COLOURS[3], COLOURS[6])
_BIN_MS = 100


@dataclass(frozen=True)
class Behaviour:
    """What one policy made of one recording.

    Attributes:
        policy: The policy.
        trace: Its envelope and state.
    """

    policy: Policy
    trace: PolicyTrace


def plot_timeline(recording: Recording, behaviours: Mapping[str, Behaviour], path: Path) -> None:
    """Draw a recording in rows of a minute or more: probability, envelope, time on, shots and false spin-ups.

    Args:
        recording: The recording.
        behaviours: Policies by name, at most four; the envelope drawn is the last one's.
        path: The PNG file.

    Raises:
        UsageError: There is no policy or no sample to draw.
        InputError: The place cannot be written.
    """
    if not behaviours or not len(recording.t_us):
        raise UsageError("nothing to draw: a timeline needs a recording and at least one policy")
    name = list(behaviours)[-1]
    seconds = (recording.t_us - recording.t_us[0]) / 1e6
    length_s, rows = _rows(seconds)
    with figure(14, 1.1 + 1.35 * len(rows), path) as drawing:
        grid = drawing.subplots(len(rows), 1, squeeze=False)
        for axes, low_s in zip(grid[:, 0], rows, strict=True):
            part = slice(*np.searchsorted(seconds, [low_s, low_s + length_s]).tolist())
            _row(axes, recording, behaviours, seconds, part)
            axes.set_xlim(low_s, low_s + length_s)
        grid[-1, 0].set_xlabel("time in s")
        drawing.suptitle(f"{recording.name}: envelope of the {name} policy", x=0.01, ha="left", fontweight="bold")
        drawing.legend(
            handles=_keys(list(behaviours)), loc="outside upper right", ncols=5 + len(behaviours), fontsize=8
        )


def plot_leads(leads_us: Mapping[str, Sequence[int]], possible: int, path: Path) -> None:
    """Draw for how long policies had been on when the trigger was pulled, one panel each.

    Args:
        leads_us: By policy, lead times of the shots it anticipated, microseconds.
        possible: Shots that could be anticipated.
        path: The PNG file.

    Raises:
        UsageError: There is no policy.
        InputError: The place cannot be written.
    """
    if not leads_us:
        raise UsageError("nothing to draw: lead times need at least one policy")
    edges = np.arange(0, 2001, _BIN_MS)
    with figure(4.6 * len(leads_us) + 0.6, 3.6, path) as drawing:
        for number, (axes, (name, leads)) in enumerate(
            zip(panels(drawing, len(leads_us), share_y=True), leads_us.items(), strict=True)
        ):
            # What is longer than the axis is in the last bar, which says so.
            shown = np.minimum(np.asarray(leads, dtype=np.float64) / 1000, edges[-1] - 1)
            axes.hist(shown, bins=edges.tolist(), color=_shade(number), edgecolor="white", linewidth=0.6)
            if len(leads):
                median = float(np.median(leads)) / 1000
                axes.axvline(median, color="black", linestyle="--", linewidth=1.0)
                axes.text(median, 1.0, f" median {median:.0f} ms", transform=axes.get_xaxis_transform(), va="top")
            axes.set_title(f"{name}: {len(leads)} of {possible} shots anticipated")
            axes.set_xticks([0, 500, 1000, 1500, 2000], ["0", "500", "1000", "1500", "longer"])
            axes.set_xlabel("on before the trigger, in ms")
            axes.grid(True, axis="y")
        drawing.axes[0].set_ylabel("shots")


def plot_trade_off(
    stock: Mapping[int, Figures],
    tuned: Sequence[Figures],
    chosen: Figures,
    path: Path,
    *,
    budget: float | None = None,
    shipped: int = 50,
    title: str = "Training recordings, cross-fitted",
) -> None:
    """Draw the share of shots anticipated against false spin-ups per minute.

    Args:
        stock: The stock policy at each of its settings, by percent.
        tuned: The best policies found, from few spin-ups to many.
        chosen: The one that was chosen.
        path: The PNG file.
        budget: Spin-ups per minute that were allowed.
        shipped: The setting that the stock policy comes with.
        title: Heading.

    Raises:
        UsageError: There is nothing to draw.
        InputError: The place cannot be written.
    """
    if not stock or not tuned:
        raise UsageError("nothing to draw: a trade-off needs the stock policy's figures and tuned ones")
    with figure(7.4, 5.0, path) as drawing:
        [axes] = panels(drawing, 1)
        settings = sorted(stock)
        x, y = [stock[p].per_minute for p in settings], [stock[p].share for p in settings]
        axes.plot(x, y, "-o", color=_POLICIES[0], markersize=3.5, label="stock policy, 5 to 95 %")
        for percent in settings:
            if percent in (settings[0], 20, shipped, 65, 80):
                here = stock[percent]
                axes.annotate(
                    f"{percent} %", (here.per_minute, here.share), textcoords="offset points", xytext=(6, -10),
                    fontsize=8, color=MUTED,
                )  # fmt: skip
        steps = [one.per_minute for one in tuned], [one.share for one in tuned]
        axes.step(*steps, where="post", color=_POLICIES[1], linewidth=1.8, label="best policies found")
        if shipped in stock:
            axes.plot(
                stock[shipped].per_minute, stock[shipped].share, "s", color=_POLICIES[0], markersize=8,
                markeredgecolor="black", label=f"stock as shipped: {_told(stock[shipped])}",
            )  # fmt: skip
        axes.plot(
            chosen.per_minute, chosen.share, "*", color=_POLICIES[1], markersize=15, markeredgecolor="black",
            label=f"chosen: {_told(chosen)}",
        )  # fmt: skip
        if budget is not None:
            axes.axvline(budget, color=ALARM, linestyle="--", linewidth=1.2, label=f"budget: {budget:g} a minute")
        largest = max([*x, chosen.per_minute, budget or 0.0])
        axes.set(ylim=(-0.02, 1.02), xlim=(-0.03 * largest, 1.08 * largest))
        axes.set_xlabel("false spin-ups per minute of neutral time")
        axes.set_ylabel("share of shots anticipated")
        axes.set_title(title, fontweight="bold")
        axes.grid(True)
        axes.legend(loc="lower right", fontsize=8)


def _rows(seconds: NDArray[np.float64]) -> tuple[float, list[float]]:
    """Length of a row, and where each row begins in which anything was recorded."""
    length = _ROW_S
    while True:
        numbers = np.unique(np.floor(seconds / length))
        if len(numbers) <= _MOST_ROWS:
            return length, [float(number) * length for number in numbers]
        length *= 1.5


def _row(
    axes: Axes, recording: Recording, behaviours: Mapping[str, Behaviour], seconds: NDArray[np.float64], part: slice
) -> None:
    """Draw the samples of ``part``; spells and shots are drawn as a whole, and cut off by the axes."""
    shown = list(behaviours.values())[-1]
    period_us = shown.policy.period_us
    gap = starts_after_gap(recording.t_us, period_us)
    envelope = shown.trace.envelope / (ONE << ENVELOPE_SHIFT)
    answered = np.where(recording.ready, recording.probability / ONE, np.nan)
    for value, shade in ((answered, _PROBABILITY), (envelope, "black")):
        x, y = line(seconds[part], value[part], gap[part])
        axes.plot(x, y, color=shade, linewidth=0.8)
    for threshold in (shown.policy.on / ONE, shown.policy.off / ONE):
        axes.axhline(threshold, color=MUTED, linewidth=0.6, linestyle=":")
    neutral = _bars(recording.asked.neutral, seconds, period_us)
    axes.broken_barh(neutral, (0.0, 1.0), facecolor=_NEUTRAL, linewidth=0, zorder=-1)
    after = np.flatnonzero(gap)[1:]
    gaps = list(zip(seconds[after - 1].tolist(), (seconds[after] - seconds[after - 1]).tolist(), strict=True))
    axes.broken_barh(gaps, (0.0, 1.0), facecolor=GAP, linewidth=0, zorder=0)
    for number, behaviour in enumerate(behaviours.values()):
        low = -0.18 - 0.17 * number
        axes.broken_barh(_bars(behaviour.trace.on, seconds, period_us), (low, 0.13), facecolor=_shade(number))
        at = seconds[score(recording.asked, *spells(behaviour.trace.on)).spin_ups]
        axes.plot(at, np.full(len(at), low + 0.065), "|", color=ALARM, markersize=9, markeredgewidth=1.8)
    trace = score(recording.asked, *spells(shown.trace.on))
    shots, possible = seconds[recording.asked.shots], recording.asked.possible
    for mask, shade in (
        (trace.anticipated, _ANTICIPATED),
        (possible & ~trace.anticipated, _MISSED),
        (~possible, _IMPOSSIBLE),
    ):
        axes.plot(shots[mask], np.full(int(mask.sum()), 1.1), "v", color=shade, markersize=6)
    axes.set_ylim(-0.05 - 0.17 * len(behaviours), 1.22)
    axes.set_yticks([0, 0.5, 1], ["0", "", "1"], fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines["left"].set_bounds(0, 1)


def _bars(mask: NDArray[np.bool_], seconds: NDArray[np.float64], period_us: int) -> list[tuple[float, float]]:
    """Begin and length of each spell; before a gap, and at the end, a state holds for about a period."""
    starts, stops = spells(mask)
    until = np.minimum(seconds[np.minimum(stops, len(seconds) - 1)], seconds[stops - 1] + 1.5 * period_us / 1e6)
    return list(zip(seconds[starts].tolist(), (until - seconds[starts]).tolist(), strict=True))


def _keys(names: Sequence[str]) -> list[Line2D | Patch]:
    marks = [("v", _ANTICIPATED, "shot, anticipated"), ("v", _MISSED, "missed"), ("v", _IMPOSSIBLE, "after a gap")]
    return [
        Line2D([], [], color=_PROBABILITY, label="probability"),
        Line2D([], [], color="black", linewidth=0.8, label="envelope"),
        *(Line2D([], [], color=shade, marker=mark, linestyle="", label=label) for mark, shade, label in marks),
        *(Patch(color=_shade(number), label=f"on: {name}") for number, name in enumerate(names)),
        Line2D([], [], color=ALARM, marker="|", linestyle="", markeredgewidth=1.8, label="false spin-up"),
        Patch(color=_NEUTRAL, label="neutral time"),
        Patch(color=GAP, label="gap"),
    ]


def _shade(number: int) -> str:
    return _POLICIES[number] if number < len(_POLICIES) else colour(number)


def _told(one: Figures) -> str:
    return f"{one.share:.0%} at {one.per_minute:.2f} a minute, {one.on_share:.1%} on"
