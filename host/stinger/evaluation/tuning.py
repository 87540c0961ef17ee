"""Choosing a policy: as many shots anticipated as a budget of false spin-ups allows.

A deterministic search: a coarse grid over what a policy consists of, then twice finer steps around the best found so
far. Spin-ups alone could be kept few by never switching off, so the time on is bounded too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError, UsageError
from stinger.evaluation.policy_runs import many_spells
from stinger.evaluation.streaming import Figures, Ground, counted, score, total
from stinger.models.policy import ONE, Policy

#: Settings of the stock policy, in percent.
STOCK_PERCENT = tuple(range(5, 96, 5))
#: Share of neutral time that a tuned policy may be on, unless told otherwise.
MAX_ON = 0.1

_RISE_MS = (0.0, 25.0, 50.0, 100.0, 200.0)
_FALL_MS = (30.0, 100.0, 330.0, 1000.0)
_ON = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
_OFF = (0.3, 0.8)
_MIN_ON_MS = (0.0, 300.0, 1000.0)
_GATE_LSB = (0, 60)
#: How far the neighbours of the first and of the second refinement are, as powers of two (rates), and in log-odds.
_STEPS = (1.0, 0.4)
_MOST_ON_MS = 3000.0
#: Policies around which a refinement looks.
_LEADERS = 6


@dataclass(frozen=True)
class Recording:
    """One recording as a model answers it.

    Attributes:
        name: Its name.
        t_us: Times of the samples, int64, shape ``(n,)``.
        ready: Where a window is complete, shape ``(n,)``.
        probability: Of the event, in 1/32768, uint16, shape ``(n,)``; 0 where not ready.
        motion: Motion energy of the windows, int64, shape ``(n,)``.
        asked: What it asks of a policy.
    """

    name: str
    t_us: NDArray[np.int64]
    ready: NDArray[np.bool_]
    probability: NDArray[np.uint16]
    motion: NDArray[np.int64]
    asked: Ground


@dataclass(frozen=True)
class Budget:
    """Anticipate as many shots as a budget allows.

    Attributes:
        per_minute: False spin-ups per minute of neutral time, at most.
        on_share: Share of neutral time on, at most.
    """

    per_minute: float = 1.0
    on_share: float = MAX_ON

    def __post_init__(self) -> None:
        """Refuse what no policy can keep."""
        if not 0 < self.per_minute <= 1000:
            raise UsageError(f"the budget must be above 0 and at most 1000 spin-ups a minute, is {self.per_minute:g}")
        if not 0 < self.on_share <= 1:
            raise UsageError(f"the share of neutral time on must be above 0 and at most 1, is {self.on_share:g}")

    def rank(self, one: Figures) -> tuple[float, ...]:
        """Sorts the best policy first; those beyond the budget by how far."""
        beyond = max(one.per_minute / self.per_minute, one.on_share / self.on_share)
        if beyond > 1:
            return (beyond, -one.anticipated)
        return (0.0, -one.anticipated, one.spin_ups, one.on_us)

    def near(self) -> tuple[Budget, ...]:
        """Half and twice the budget: the trade-off is wanted there too."""
        return tuple(replace(self, per_minute=factor * self.per_minute) for factor in (0.5, 2.0))


@dataclass(frozen=True)
class Match:
    """Spin up falsely as seldom as possible while a number of shots is anticipated.

    Attributes:
        anticipated: Shots to anticipate, at least.
        on_share: Share of neutral time on, at most.
    """

    anticipated: int
    on_share: float = MAX_ON

    def rank(self, one: Figures) -> tuple[float, ...]:
        """Sorts the best policy first; those that fall short by how far."""
        short = max(0, self.anticipated - one.anticipated) / max(1, self.anticipated)
        beyond = max(0.0, one.on_share / self.on_share - 1)
        if short or beyond:
            return (1 + short + beyond, one.spin_ups)
        return (0.0, one.spin_ups, -one.anticipated, one.on_us)

    def near(self) -> tuple[Match, ...]:
        """A few shots more: they cost little where the trade-off is flat."""
        return (replace(self, anticipated=round(1.1 * self.anticipated)),)


Results = Mapping[Policy, Figures]
#: Runs policies over all recordings; figures in the order of the policies.
Measure = Callable[[Sequence[Policy]], Sequence[Figures]]


@dataclass(frozen=True)
class Tuned:
    """What a search found.

    Attributes:
        chosen: The best policy by the goal.
        stock: Figures of the stock policy at each setting, by percent.
        tried: Figures of every policy tried, the stock ones included.
        goal: What was wanted.
    """

    chosen: Policy
    stock: Mapping[int, Figures]
    tried: Results
    goal: Budget | Match

    @property
    def figures(self) -> Figures:
        """Figures of the chosen policy."""
        return self.tried[self.chosen]

    def front(self) -> list[tuple[Policy, Figures]]:
        """Policies that no other beats in shots anticipated and in spin-ups both, spin-ups ascending.

        Only those count that are on for no longer than the goal allows.
        """
        allowed = [(policy, one) for policy, one in self.tried.items() if one.on_share <= self.goal.on_share]
        best: list[tuple[Policy, Figures]] = []
        for policy, one in sorted(allowed, key=lambda item: (item[1].spin_ups, -item[1].anticipated, item[1].on_us)):
            if not best or one.anticipated > best[-1][1].anticipated:
                best.append((policy, one))
        return best


def measure_on(recording: Recording, policies: Sequence[Policy]) -> list[Figures]:
    """Run policies over one recording."""
    r = recording
    of_each = many_spells(policies, r.t_us, r.ready, r.probability, r.motion)
    return [counted(r.asked, score(r.asked, *spells)) for spells in of_each]


def measure_all(recordings: Sequence[Recording], policies: Sequence[Policy]) -> list[Figures]:
    """Run policies over recordings, and add up."""
    return [total(parts) for parts in zip(*(measure_on(one, policies) for one in recordings), strict=True)]


def stock_policies(base: Policy, percents: Iterable[int] = STOCK_PERCENT) -> dict[int, Policy]:
    """The stock policy at several of its settings, for the model that ``base`` belongs to."""
    made = {
        percent: Policy.stock(percent, window=base.window, period_us=base.period_us, gyro=base.gyro)
        for percent in percents
    }
    return {p: replace(one, positive=base.positive, gate_lsb=base.gate_lsb) for p, one in made.items()}


def tune(measure: Measure, base: Policy, goal: Budget | Match) -> Tuned:
    """Choose a policy.

    Args:
        measure: Runs policies over the training recordings.
        base: The stock policy for the model; without a gate if the model has no gyroscope.
        goal: What is wanted.

    Raises:
        InputError: There is nothing to tune on: no shot that can be anticipated, or no neutral time; or no policy
            anticipates anything as it is wanted.
    """
    stock = stock_policies(base)
    tried: dict[Policy, Figures] = {}

    def run(proposals: Iterable[Policy]) -> None:
        fresh = [policy for policy in dict.fromkeys(proposals) if policy not in tried]
        tried.update(zip(fresh, measure(fresh), strict=True))

    run(stock.values())
    _require_something(tried[next(iter(stock.values()))])
    run(_grid(base))
    for step in _STEPS:
        run(near for leader in _leaders(tried, goal) for near in _neighbours(leader, base, step))
    [chosen] = _best(tried, goal, 1)
    if goal.rank(tried[chosen])[0] > 0 or not tried[chosen].anticipated:
        raise InputError(f"no policy anticipates any shot within {_told(goal)}; allow more, or train a better model")
    return Tuned(chosen, {percent: tried[policy] for percent, policy in stock.items()}, tried, goal)


def _told(goal: Budget | Match) -> str:
    on = f"{goal.on_share:.0%} of the time on"
    return f"{goal.per_minute:g} false spin-ups a minute and {on}" if isinstance(goal, Budget) else on


def _require_something(seen: Figures) -> None:
    if not seen.possible:
        raise InputError(f"none of {seen.shots} shots in these recordings can be anticipated; record more")
    if not seen.neutral_us:
        raise InputError("these recordings have no neutral time: shots or gaps are everywhere; record longer ones")


def _best(tried: Results, goal: Budget | Match, count: int) -> list[Policy]:
    # Sorting is stable: of equals the one tried first.
    return sorted(tried, key=lambda policy: goal.rank(tried[policy]))[:count]


def _leaders(tried: Results, goal: Budget | Match) -> list[Policy]:
    """The best policies, for the goal and near it."""
    leaders = _best(tried, goal, _LEADERS)
    for other in goal.near():
        leaders += _best(tried, other, _LEADERS // 2)
    return list(dict.fromkeys(leaders))


class _Knobs(NamedTuple):
    """A policy as the search turns it: thresholds 0..1, off as a share of on, times in milliseconds, gate in counts."""

    on: float
    ratio: float
    rise: float
    fall: float
    min_on: float
    gate: float

    @classmethod
    def of(cls, policy: Policy) -> _Knobs:
        """Read them off a policy."""
        thresholds = (policy.on / ONE, policy.off / policy.on)
        return cls(*thresholds, policy.rise_ms, policy.fall_ms, policy.min_on_us / 1000, policy.gate_lsb)

    def policy(self, base: Policy) -> Policy:
        """Make the policy, for the model that ``base`` belongs to."""
        return Policy.from_ms(
            on=self.on,
            off=self.on * self.ratio,
            rise_ms=self.rise,
            fall_ms=self.fall,
            gate=self.gate,
            stale_ms=base.stale_us / 1000,
            min_on_ms=10 * round(self.min_on / 10),
            period_us=base.period_us,
            window=base.window,
            gyro=base.gyro,
            positive=base.positive,
        )


def _grid(base: Policy) -> list[Policy]:
    gates = _GATE_LSB if base.gate_lsb else (0,)
    return [_Knobs(*one).policy(base) for one in product(_ON, _OFF, _RISE_MS, _FALL_MS, _MIN_ON_MS, gates)]


def _neighbours(policy: Policy, base: Policy, step: float) -> list[Policy]:
    """Policies that differ from one in one respect, or in the threshold and one of the rates."""
    here = _Knobs.of(policy)
    # A time constant of 0 has no half and no double.
    shortest = policy.period_us / 2000
    near: list[_Knobs] = []
    for sign in (-step, step):
        factor = 2.0**sign
        odds = here.on / max(1e-4, 1 - here.on) * factor
        on = here._replace(on=odds / (1 + odds))
        rise, fall = max(here.rise, shortest) * factor, max(here.fall, shortest) * factor
        near += [
            on,
            here._replace(ratio=min(1.0, max(0.05, here.ratio + sign / 4))),
            here._replace(rise=rise),
            here._replace(fall=fall),
            here._replace(min_on=min(_MOST_ON_MS, max(here.min_on, 100) * factor)),
            on._replace(rise=rise),
            on._replace(fall=fall),
        ]
        if base.gate_lsb:
            near.append(here._replace(gate=max(here.gate, 30) * factor))
    return [knobs.policy(base) for knobs in near]
