"""Physical numbers to int16 counts: units with a resolution of their own, and one chosen from the data for others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.sessions.csv_format.header import UNSTATED, Column
from stinger.sessions.session import Channel
from stinger.sessions.units import UNITS

HIGHEST = 32767
LOWEST = -32768
_TINY = 1e-250


def own_scale(column: Column) -> float | None:
    """Return the value of one count where header and unit settle it."""
    if column.factor is not None:
        return column.factor
    known = UNITS.get((column.unit or "").lower())
    return known[1] if known else None


def step_for(largest: float, *, whole: bool) -> float:
    """Choose the value of one count so that nothing clips: 1, 2 or 5 times a power of ten.

    Args:
        largest: Largest magnitude there is.
        whole: Whether all numbers are whole; those that fit are counts already.
    """
    if whole and largest <= HIGHEST:
        return 1.0
    if largest < _TINY:
        return 1.0 if largest == 0 else _TINY
    exponent = math.floor(math.log10(largest / HIGHEST))
    for power in range(max(exponent - 1, -300), exponent + 2):
        for digit in (1, 2, 5):
            step = float(f"{digit}e{power}")
            if largest / step <= HIGHEST:
                return step
    return float(f"1e{exponent + 2}")


def make_channels(columns: Sequence[Column], scales: Mapping[str, float], name: str) -> tuple[Channel, ...]:
    """Make the channels of a table.

    Raises:
        InputError: A scale is missing.
    """
    channels = []
    for column in columns:
        scale = own_scale(column) or scales.get(column.name)
        if scale is None:
            raise InputError(f"{name}: no scale for channel '{column.name}'; give its unit with --units")
        channels.append(Channel(column.name, column.unit or UNSTATED, scale))
    return tuple(channels)


def to_counts(
    values: NDArray[np.float64], columns: Sequence[Column], channels: Sequence[Channel]
) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Scale numbers to counts.

    Returns:
        The counts, shape of ``values``, and how many numbers of each channel were clipped.
    """
    # A header with a factor says that the cells are multiples of it.
    divisor = np.array([1.0 if c.factor is not None else ch.scale for c, ch in zip(columns, channels, strict=True)])
    counts = np.rint(values / divisor)
    clipped = ((counts < LOWEST) | (counts > HIGHEST)).sum(axis=0)
    return np.clip(counts, LOWEST, HIGHEST).astype(np.int16), clipped
