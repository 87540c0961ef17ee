"""The time column of a table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.sessions.csv_format.header import TIME_UNITS, Column

#: Where nobody says the unit of time: seconds up to this usual step, then ms, us, ns, so that rates are 5 to 5000 Hz.
_GUESS_UP_TO = (("s", 0.2), ("ms", 200.0), ("us", 200_000.0), ("ns", np.inf))
_MAX_US = 1 << 62
_MAX_PERIOD_US = 3600 * 1_000_000


def times_us(values: NDArray[np.float64], column: Column, name: str, rate_hz: float | None) -> NDArray[np.int64]:
    """Turn a time column into microseconds.

    Raises:
        InputError: Time runs backwards, stands still, or leaves what 64 bits hold.
    """
    steps = np.diff(values)
    backwards = np.flatnonzero(steps < 0)
    if len(backwards):
        at = int(backwards[0]) + 1
        raise InputError(
            f"{name}, line {at + 2}, column '{column.header}': the time goes back from {values[at - 1]:.15g} to "
            f"{values[at]:.15g}; two recordings were joined or lines are out of order"
        )
    if not (steps > 0).any():
        raise InputError(f"{name}, column '{column.header}': no time passes; correct it, or remove it and give --rate")
    unit = column.unit or _guess(float(np.median(steps[steps > 0])), rate_hz)
    micros = values * TIME_UNITS[unit]
    if np.abs(micros).max() >= _MAX_US:
        raise InputError(f"{name}, column '{column.header}': a time in {unit} is beyond what can be stored")
    return np.rint(micros).astype(np.int64)


def _guess(step: float, rate_hz: float | None) -> str:
    if rate_hz is not None:
        return min(TIME_UNITS, key=lambda unit: abs(np.log(step * TIME_UNITS[unit] * rate_hz / 1e6)))
    return next(unit for unit, limit in _GUESS_UP_TO if step <= limit)


def period_from(t_us: NDArray[np.int64], rate_hz: float | None, name: str) -> int:
    """Return the nominal period: of the rate given, or the usual step.

    Raises:
        InputError: It is less than a microsecond or more than an hour.
    """
    steps = np.diff(t_us)
    steps = steps[steps > 0]
    period = round(1e6 / rate_hz) if rate_hz is not None else round(float(np.median(steps))) if len(steps) else 0
    if not 1 <= period <= _MAX_PERIOD_US:
        raise InputError(f"{name}: a period of {period} us is not within 1 us and 1 hour; name the time's unit")
    return period
