"""How far a figure would move with other recordings: bootstrap over whole units.

Windows of one shot, recording or person are alike, so drawing windows again would make every figure look surer than
it is. What is drawn here, with replacement, are the units that were held out as a whole. Where every unit is of one
class and each class has enough of them, they are drawn class by class, so that each draw has every class; otherwise
from all. A handful of units cannot say how others would differ, and gets no interval.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Draws behind an interval, and the fewest where windows are so many that all of them would take minutes.
DRAWS = 1000
FEWEST_DRAWS = 200
_MOST_WORK = 50_000_000
LEVEL = 0.95
#: A figure that more than this share of the draws cannot have (a class is missing from them) gets no interval.
MOST_UNDEFINED = 0.2
#: Fewer units than this, in all or of a class that is drawn by itself, say nothing about others.
LEAST_UNITS = 5
#: Weights in memory at a time.
_AT_ONCE = 1 << 21


@dataclass(frozen=True)
class Figure:
    """A number and its confidence interval.

    Attributes:
        value: The number; NaN where it has no meaning.
        low: Lower end of the interval; NaN where there is none.
        high: Upper end.
    """

    value: float
    low: float = float("nan")
    high: float = float("nan")

    def to_json(self) -> dict[str, float | None]:
        """Return plain JSON values: None for what has no meaning."""
        return {name: None if np.isnan(x) else x for name, x in vars(self).items()}


def unit_weights(
    units: NDArray[np.int64], labels: NDArray[np.integer], *, draws: int = DRAWS, seed: int = 1
) -> Iterator[NDArray[np.float64]]:
    """Draw units again and again, and say how often each window was drawn.

    Args:
        units: Unit of each window, shape ``(n,)``.
        labels: Class of each window, shape ``(n,)``.
        draws: How many draws in all.
        seed: Seed of the draws.

    Yields:
        Parts of all draws, each of shape ``(some draws, n)``.
    """
    rng = np.random.default_rng(seed)
    known, place = np.unique(units, return_inverse=True)
    stratum = _strata(place, labels, len(known))
    block = max(1, _AT_ONCE // max(1, len(units)))
    for first in range(0, draws, block):
        size = min(block, draws - first)
        counts = np.zeros((size, len(known)))
        for number in np.unique(stratum):
            members = np.flatnonzero(stratum == number)
            counts[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=size)
        yield counts[:, place]


def affordable_draws(windows: int, classes: int) -> int:
    """How many draws to make of so many windows: `DRAWS`, and fewer only of tens of thousands."""
    return max(FEWEST_DRAWS, min(DRAWS, _MOST_WORK // max(1, windows * classes)))


def interval(value: float, draws: NDArray[np.float64], level: float = LEVEL) -> Figure:
    """Put the percentile interval of a figure's draws ``(draws,)`` beside its value."""
    defined = draws[np.isfinite(draws)]
    if not len(defined) or len(draws) - len(defined) > MOST_UNDEFINED * len(draws):
        return Figure(value)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Figure(value, float(low), float(high))


def _strata(place: NDArray[np.int64], labels: NDArray[np.integer], number: int) -> NDArray[np.int64]:
    """Class of each unit where every unit is of one class and all have several, else 0 for all; shape ``(units,)``."""
    has = np.zeros((number, int(labels.max()) + 1 if len(labels) else 1), dtype=np.bool_)
    has[place, labels] = True
    pure = bool((has.sum(axis=1) == 1).all() and (has.sum(axis=0) >= LEAST_UNITS).all())
    return has.argmax(axis=1).astype(np.int64) if pure else np.zeros(number, dtype=np.int64)
