"""What a user of the blaster feels: spun up in time, and not otherwise.

A policy turns a recording into an on-trace, one bool per sample. Everything here is a function of that trace, of the
times of samples and shots, and of where a model could answer at all; the definitions are those of
``docs/streaming.md``. State ``on[i]`` holds from sample ``i`` to the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.evaluation.intervals import DRAWS, Figure, interval
from stinger.sessions.session import starts_after_gap

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

#: Recordings from which on confidence intervals come from drawing recordings.
FEWEST_RECORDINGS = 5
_MINUTE_US = 60_000_000
#: Deviations of a normal distribution that 95 % are within.
_Z = 1.959964


@dataclass(frozen=True)
class Rules:
    """What counts; times in microseconds.

    Attributes:
        lead_us: A shot is anticipated when the policy has been on for at least this long at the trigger.
        before_us: Time before a trigger pull that is not neutral.
        after_us: Time after it that is not neutral.
    """

    lead_us: int = 100_000
    before_us: int = 2_000_000
    after_us: int = 1_200_000


RULES = Rules()


@dataclass(frozen=True)
class Ground:
    """What one recording asks of any policy; made once by `ground`, used for thousands of traces.

    Attributes:
        t_us: Times of the samples, int64, shape ``(n,)``.
        neutral: Samples of neutral time, shape ``(n,)``.
        neutral_before: Neutral time before each sample and, last, in all; in microseconds, int64, shape ``(n + 1,)``.
        shots: First sample with the trigger down, of every shot, int64, shape ``(m,)``.
        need: First sample from which on a policy must be on for the shot to be anticipated, shape ``(m,)``.
        possible: Shots for which a model could answer there, shape ``(m,)``.
    """

    t_us: Ints
    neutral: Bools
    neutral_before: Ints
    shots: Ints
    need: Ints
    possible: Bools

    @property
    def neutral_us(self) -> int:
        """Neutral time."""
        return int(self.neutral_before[-1])


@dataclass(frozen=True)
class Trace:
    """How one policy did on one recording.

    Attributes:
        anticipated: Shots that it was on for in time, up to the trigger, shape ``(m,)``.
        lead_us: How long it had been on at the trigger, 0 where it was off, int64, shape ``(m,)``.
        spin_ups: Samples of neutral time at which it switched on, int64.
        on_us: Neutral time on, microseconds.
    """

    anticipated: Bools
    lead_us: Ints
    spin_ups: Ints
    on_us: int


@dataclass(frozen=True)
class Figures:
    """Counts of one or more recordings, and the rates that follow from them.

    Attributes:
        shots: Shots in all.
        impossible: Of those, the ones no policy can anticipate: no complete window so soon after a gap.
        anticipated: Shots anticipated, of the possible ones.
        late: Possible shots for which it was on at the trigger, but not long enough.
        spin_ups: False spin-ups.
        neutral_us: Neutral time.
        on_us: Neutral time on.
        lead_us: Lead times of the anticipated shots, ascending.
    """

    shots: int
    impossible: int
    anticipated: int
    late: int
    spin_ups: int
    neutral_us: int
    on_us: int
    lead_us: tuple[int, ...]

    @property
    def possible(self) -> int:
        """Shots that a policy could anticipate."""
        return self.shots - self.impossible

    @property
    def share(self) -> float:
        """Share of the possible shots that are anticipated; NaN without any."""
        return self.anticipated / self.possible if self.possible else float("nan")

    @property
    def per_minute(self) -> float:
        """False spin-ups per minute of neutral time; NaN without any."""
        return self.spin_ups * _MINUTE_US / self.neutral_us if self.neutral_us else float("nan")

    @property
    def on_share(self) -> float:
        """Share of neutral time on; NaN without any."""
        return self.on_us / self.neutral_us if self.neutral_us else float("nan")

    @property
    def minutes(self) -> float:
        """Neutral time in minutes."""
        return self.neutral_us / _MINUTE_US

    def lead_ms(self, quantile: float) -> float:
        """Quantile of the anticipated shots' lead times in milliseconds; NaN without any."""
        return float(np.quantile(self.lead_us, quantile)) / 1000 if self.lead_us else float("nan")

    def to_json(self) -> dict[str, Any]:
        """Return counts and rates as plain JSON values, None for what is not defined."""
        return {
            "shots": self.shots,
            "impossible": self.impossible,
            "anticipated": self.anticipated,
            "late": self.late,
            "anticipated_share": _defined(self.share),
            "lead_ms": {name: _defined(self.lead_ms(q)) for name, q in (("p10", 0.1), ("p50", 0.5), ("p90", 0.9))},
            "false_spin_ups": self.spin_ups,
            "neutral_s": self.neutral_us / 1e6,
            "false_spin_ups_per_minute": _defined(self.per_minute),
            "neutral_on_share": _defined(self.on_share),
        }


def ground(
    t_us: Ints,
    ready: Bools,
    shots: Ints,
    period_us: int,
    *,
    pulls: Ints | None = None,
    down: Bools | None = None,
    counted: Bools | None = None,
    rules: Rules = RULES,
) -> Ground:
    """Say what a recording asks of a policy.

    Args:
        t_us: Times of the samples, int64, shape ``(n,)``.
        ready: Where a gap-free window ends, so that a model answers, shape ``(n,)``.
        shots: First sample of each shot, ascending, shape ``(m,)``.
        period_us: The sample period.
        pulls: First sample of every trigger pull, also those too soon after another to be a shot of their own: no
            time around them is neutral. By default the shots.
        down: Where the trigger is down, which is not neutral either, shape ``(n,)``.
        counted: Samples that may be looked at, shape ``(n,)``; shots elsewhere are no shots, time there is not
            neutral. By default all.
        rules: What counts.
    """
    n = len(t_us)
    gap = starts_after_gap(t_us, period_us)
    # A state holds up to the next sample; before a gap for one period.
    holds = np.full(n, period_us, dtype=np.int64)
    holds[:-1][~gap[1:]] = np.diff(t_us)[~gap[1:]]
    neutral = ready & ~_around(t_us, shots if pulls is None else pulls, rules)
    if down is not None:
        neutral &= ~down
    if counted is not None:
        neutral &= counted
        shots = shots[counted[shots]]
    # Sorted by the clock and within one stretch: a clock that steps back begins a new one.
    first = np.maximum.accumulate(np.where(gap, np.arange(n), 0))[shots] if n else shots
    need = np.array(
        [
            a + np.searchsorted(t_us[a:s], t_us[s] - rules.lead_us, side="right") - 1
            for a, s in zip(first.tolist(), shots.tolist(), strict=True)
        ],
        dtype=np.int64,
    )
    possible = need >= first
    possible[possible] = ready[need[possible]]
    neutral_before = np.concatenate([[0], np.cumsum(np.where(neutral, holds, 0))])
    return Ground(t_us, neutral, neutral_before, shots, np.maximum(need, 0), possible)


def spells(on: Bools) -> tuple[Ints, Ints]:
    """Return where a trace switches on, and where off again: first sample on and first sample off, both ``(k,)``."""
    change = np.diff(on.astype(np.int8), prepend=0, append=0)
    return np.flatnonzero(change == 1).astype(np.int64), np.flatnonzero(change == -1).astype(np.int64)


def score(asked: Ground, starts: Ints, stops: Ints) -> Trace:
    """Say how a policy did.

    Args:
        asked: The recording.
        starts: First sample of every spell of being on, ascending, shape ``(k,)``; see `spells`.
        stops: First sample after each, shape ``(k,)``.
    """
    shots = asked.shots
    if not len(starts):
        return Trace(np.zeros(len(shots), dtype=np.bool_), np.zeros(len(shots), dtype=np.int64), starts, 0)
    # At the trigger the shot is there: what counts is the state of the sample before.
    spell = np.searchsorted(starts, shots - 1, side="right") - 1
    since = starts[np.maximum(spell, 0)]
    on_at = (spell >= 0) & (stops[np.maximum(spell, 0)] >= shots)
    lead = np.where(on_at, asked.t_us[shots] - asked.t_us[since], 0)
    anticipated = asked.possible & on_at & (since <= asked.need)
    before = asked.neutral_before
    return Trace(anticipated, lead, starts[asked.neutral[starts]], int((before[stops] - before[starts]).sum()))


def figures(asked: Ground, on: Bools) -> Figures:
    """Count what a policy with this on-trace, shape ``(n,)``, did on one recording."""
    return counted(asked, score(asked, *spells(on)))


def counted(asked: Ground, trace: Trace) -> Figures:
    """Count what a policy did on one recording."""
    return Figures(
        shots=len(asked.shots),
        impossible=int((~asked.possible).sum()),
        anticipated=int(trace.anticipated.sum()),
        late=int((asked.possible & ~trace.anticipated & (trace.lead_us > 0)).sum()),
        spin_ups=len(trace.spin_ups),
        neutral_us=asked.neutral_us,
        on_us=trace.on_us,
        lead_us=tuple(sorted(trace.lead_us[trace.anticipated].tolist())),
    )


def total(parts: Sequence[Figures]) -> Figures:
    """Add up recordings."""
    return Figures(
        **{
            name: sum(getattr(part, name) for part in parts)
            for name in ("shots", "impossible", "anticipated", "late", "spin_ups", "neutral_us", "on_us")
        },
        lead_us=tuple(sorted(lead for part in parts for lead in part.lead_us)),
    )


def intervals(parts: Sequence[Figures]) -> dict[str, Figure]:
    """95 % confidence intervals of the pooled rates.

    From `FEWEST_RECORDINGS` on they come from drawing whole recordings again, with replacement: what shots and
    minutes of one recording have in common makes them count for less. With fewer there is nothing to draw from; then
    shots and spin-ups are taken as independent (Wilson's interval, and its like for counts per time), which is narrower
    than the truth, and the time on has none.

    Returns:
        ``anticipated_share``, ``false_spin_ups_per_minute`` and ``neutral_on_share``.
    """
    whole = total(parts)
    if len(parts) < FEWEST_RECORDINGS:
        return {
            "anticipated_share": _wilson(whole.anticipated, whole.possible),
            "false_spin_ups_per_minute": _counted(whole.spin_ups, whole.minutes),
            "neutral_on_share": Figure(whole.on_share),
        }
    columns = ("anticipated", "possible", "spin_ups", "minutes", "on_us", "neutral_us")
    table = np.array([[float(getattr(part, name)) for name in columns] for part in parts])
    rng = np.random.default_rng(1)
    drawn = rng.multinomial(len(parts), np.full(len(parts), 1 / len(parts)), size=DRAWS) @ table
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = drawn[:, ::2] / drawn[:, 1::2]
    values = (whole.share, whole.per_minute, whole.on_share)
    names = ("anticipated_share", "false_spin_ups_per_minute", "neutral_on_share")
    return {name: interval(value, shares[:, i]) for i, (name, value) in enumerate(zip(names, values, strict=True))}


def _wilson(hits: int, of: int) -> Figure:
    if not of:
        return Figure(float("nan"))
    share, room = hits / of, _Z**2 / of
    middle, half = share + room / 2, _Z * np.sqrt(share * (1 - share) / of + room / of / 4)
    return Figure(share, max(0.0, float(middle - half) / (1 + room)), min(1.0, float(middle + half) / (1 + room)))


def _counted(events: int, minutes: float) -> Figure:
    """Events per minute; the interval holds the rates of which so many events are within 1.96 deviations."""
    if not minutes:
        return Figure(float("nan"))
    middle, half = events + _Z**2 / 2, _Z * np.sqrt(events + _Z**2 / 4)
    return Figure(events / minutes, max(0.0, float(middle - half) / minutes), float(middle + half) / minutes)


def _around(t_us: Ints, pulls: Ints, rules: Rules) -> Bools:
    """Mark samples near a trigger pull: from ``before_us`` before it up to ``after_us`` after it."""
    at = np.sort(t_us[pulls])
    reached = np.searchsorted(at, t_us + rules.before_us, side="right")
    passed = np.searchsorted(at, t_us - rules.after_us, side="right")
    near: Bools = reached > passed
    return near


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else value
