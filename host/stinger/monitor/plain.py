"""The plainest live view: one line of text per decision, for terminals, pipes and files alike."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from stinger.errors import UsageError
from stinger.link.board import Board, StreamStatistics
from stinger.link.board_log import BoardLogWriter
from stinger.link.info import BoardInfo
from stinger.link.messages import ONE, Decision, Sample

_BAR = 20
_U32 = 1 << 32


@dataclass(frozen=True, slots=True)
class MonitorSummary:
    """What a monitor run saw.

    Attributes:
        decisions: Decisions shown.
        seconds: How long it took on this computer's clock.
        lost: Samples that did not arrive with their decision.
        dropped: Frames the board dropped.
    """

    decisions: int
    seconds: float
    lost: int
    dropped: int

    def __str__(self) -> str:
        rate = self.decisions / self.seconds if self.seconds > 0 else 0.0
        return (
            f"{self.decisions} decisions in {self.seconds:.1f} s ({rate:.1f}/s), "
            f"{self.lost} lost, {self.dropped} dropped by the board"
        )


def run_plain(
    board: Board,
    *,
    count: int | None = None,
    seconds: float | None = None,
    out: TextIO | None = None,
    log: Path | None = None,
    most_hz: int | None = None,
    channels: tuple[str, ...] | None = None,
) -> MonitorSummary:
    """Show a board's decisions live until told to stop; Ctrl-C is a normal end.

    Args:
        board: The board; its stream is started here and stopped at the end.
        count: Stop after this many decisions.
        seconds: Stop after this time.
        out: Where the lines go; standard output if not given. Each line is flushed.
        log: Also write a board log to this file.
        most_hz: Let the board send at most so many decisions a second; a log has all of them, so not both.
        channels: Channel names for the log; the board itself does not know them.

    Returns:
        The summary, which is also the last line written.

    Raises:
        LinkError: The board falls silent, restarts or is disconnected.
        InputError: The log cannot be written.
        UsageError: A log of some decisions is asked for.
    """
    if log is not None and most_hz is not None:
        raise UsageError("a log has every sample, or nobody could check it; leave --rate or --log out")
    out = sys.stdout if out is None else out
    info = board.hello()
    statistics = StreamStatistics()
    view = _View(info, statistics)
    start = time.monotonic()
    try:
        with ExitStack() as stack:
            writer = None
            if log is not None:
                names = channels or tuple(f"channel_{i}" for i in range(info.model.channels))
                writer = stack.enter_context(BoardLogWriter(log, info.model.hash, names, len(info.model.classes)))
            stream = stack.enter_context(closing(board.stream(statistics, most_hz=most_hz)))
            print(*view.header(), sep="\n", file=out, flush=True)
            for sample, decision in stream:
                if writer is not None:
                    writer.write(sample, decision)
                print(view.line(sample, decision), file=out, flush=True)
                if count is not None and statistics.pairs >= count:
                    break
                if seconds is not None and time.monotonic() - start >= seconds:
                    break
    except KeyboardInterrupt:
        pass  # how a person ends it
    except BrokenPipeError:
        # Whoever read has seen enough, as `head` does; nobody is left for a summary.
        return _summary(statistics, start)
    summary = _summary(statistics, start)
    print(summary, file=out, flush=True)
    return summary


def _summary(statistics: StreamStatistics, start: float) -> MonitorSummary:
    return MonitorSummary(statistics.pairs, time.monotonic() - start, statistics.lost, statistics.dropped)


class _View:
    """Formats lines, remembering what it needs from one to the next."""

    def __init__(self, info: BoardInfo, statistics: StreamStatistics) -> None:
        self._info = info
        self._statistics = statistics
        self._width = max(len("filling"), *(len(name) for name in info.model.classes))
        self._has_policy = info.model.policy is not None
        self._time_us = 0
        self._last_us: int | None = None
        self._lost = 0
        self._dropped = 0

    def header(self) -> list[str]:
        model = self._info.model
        who = [f"# {self._info.board}, model {model.name} ({model.family}, {model.hash})"]
        if model.policy is not None:
            who.append(f"# policy: {model.policy.describe()}")
        columns = "  ".join(f"{'p(' + name + ')':<{max(_BAR + 6, len(name) + 3)}}" for name in self._shown())
        switch = f"{'pol':<3}  " if self._has_policy else ""
        who.append(f"# {'time_s':>8} {'sample':>8}  {'label':<{self._width}}  {switch}{columns}  {'us':>7}  notes")
        return who

    def line(self, sample: Sample, decision: Decision) -> str:
        model = self._info.model
        if decision.ready:
            label = model.classes[decision.label] if decision.label < len(model.classes) else f"{decision.label}?"
            shares = [p / ONE for p in decision.probability]
        else:
            label, shares = "filling", []
        shown = self._shown()
        chosen = shares[-len(shown) :] if shares else [None] * len(shown)
        columns = "  ".join(
            f"{_bar(p):<{max(_BAR + 6, len(name) + 3)}}" for name, p in zip(shown, chosen, strict=False)
        )
        switch = f"{'ON' if decision.on else 'off':<3}  " if self._has_policy else ""
        gap = self._advance(sample)
        cost = f"{self._info.cycles_to_us(decision.cycles):7.1f}" if self._info.clock_hz else f"{'-':>7}"
        return (
            f"{self._time_us / 1e6:10.3f} {decision.of:8d}  {label:<{self._width}}  {switch}{columns}  {cost}"
            f"  {' '.join(self._notes(gap))}"
        ).rstrip()

    def _shown(self) -> tuple[str, ...]:
        """Of two classes the second says it all: the first one's probability is the rest."""
        classes = self._info.model.classes
        return classes[1:] if len(classes) == 2 else classes

    def _advance(self, sample: Sample) -> bool:
        """Follow the device's time across its wrap-around; return whether a gap lies before the sample."""
        gap = sample.gap
        if self._last_us is None:
            self._time_us = sample.t_us
        else:
            step = (sample.t_us - self._last_us) % _U32
            gap = gap or step == 0 or 2 * step > 3 * self._info.model.period_us
            self._time_us += step
        self._last_us = sample.t_us
        return gap

    def _notes(self, gap: bool) -> list[str]:
        notes = ["gap"] if gap else []
        now = self._statistics
        if now.lost > self._lost:
            notes.append(f"lost {now.lost - self._lost}")
        if now.dropped > self._dropped:
            notes.append(f"dropped {now.dropped - self._dropped}")
        self._lost, self._dropped = now.lost, now.dropped
        return notes


def _bar(probability: float | None) -> str:
    if probability is None:
        return f"{'-':>5}"
    return f"{probability:5.3f} {'#' * round(probability * _BAR)}"
