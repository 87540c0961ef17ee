"""Records of the Stinger's log: their layout, their clock, and how they become a session and back."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.sessions.session import STINGER_CHANNELS, Session

#: One record of the log.
RECORD = np.dtype([("timestamp_ms", "<u4"), ("counts", "<i2", (6,)), ("trigger", "u1")])
COLUMNS = ("timestamp_ms", *(channel.name for channel in STINGER_CHANNELS), "trigger")

WRAP_MS = 1 << 32
#: A longer silence inside one log is taken for a damaged timestamp.
MAX_PAUSE_MS = 24 * 3600 * 1000
#: Steps up to this are counted one by one to find the usual one; it bounds memory, longer ones are pauses.
_COUNTED_MS = 60_000
#: From a unit to a Stinger's, as a factor.
_CONVERSIONS = {
    ("g", "g"): 1.0,
    ("m/s^2", "g"): 1 / 9.80665,
    ("deg/s", "deg/s"): 1.0,
    ("rad/s", "deg/s"): 180 / math.pi,
}


def steps_ms(stamps: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Time between records modulo 2**32: a wrap is a small step forwards, a step backwards a huge one."""
    return stamps[1:] - stamps[:-1]


def to_session(records: NDArray[np.void], name: str, faults: tuple[str, ...] = ()) -> Session:
    """Turn consistent records (no step longer than `MAX_PAUSE_MS`) into a session, undoing wraps of ``millis()``.

    Raises:
        InputError: No time passes in them.
    """
    stamps = np.ascontiguousarray(records["timestamp_ms"])
    steps = steps_ms(stamps)
    period_us = _period_us(steps)
    if period_us is None:
        raise InputError(f"{name}: {len(records)} samples and no passage of time; record something longer")
    t_us = np.empty(len(records), dtype=np.int64)
    t_us[0] = stamps[0]
    t_us[1:] = steps
    np.cumsum(t_us, out=t_us)
    t_us *= 1000
    return Session(
        name=name,
        t_us=t_us,
        samples=np.ascontiguousarray(records["counts"]).astype(np.int16, copy=False),
        channels=STINGER_CHANNELS,
        period_us=period_us,
        trigger=np.ascontiguousarray(records["trigger"]),
        faults=faults,
    )


def _period_us(steps: NDArray[np.uint32]) -> int | None:
    """Median of the steps that go forward, in microseconds; by counting, which is linear in time."""
    counted = np.bincount(steps[steps <= _COUNTED_MS], minlength=1)
    counted[0] = 0
    if counted.sum() < 2 * np.count_nonzero(steps > _COUNTED_MS) + 1:
        forward = steps[steps > 0]
        return round(float(np.median(forward)) * 1000) if len(forward) else None
    total = np.cumsum(counted)
    n = int(np.count_nonzero(steps))
    low, high = np.searchsorted(total, [(n - 1) // 2 + 1, n // 2 + 1]).tolist()
    return int(low + high) * 500


def holds(session: Session) -> str | None:
    """Say why a session does not fit into a Stinger log, or None if it does."""
    names = tuple(channel.name for channel in session.channels)
    if names != COLUMNS[1:7]:
        return f"a Stinger log has channels {', '.join(COLUMNS[1:7])}, not {', '.join(names)}"
    if session.channels != STINGER_CHANNELS:
        return "a Stinger log counts 1/2048 g and 1/16.4 deg/s, this recording has other units or scales"
    if session.trigger is None:
        return "a Stinger log has a trigger, this recording has none"
    if (session.t_us % 1000).any() or (len(session) and not 0 <= session.t_us[0] < WRAP_MS * 1000):
        return "a Stinger log holds whole milliseconds from 0 to 2^32, this one does not"
    steps = np.diff(session.t_us)
    if len(steps) and (steps.min() < 0 or steps.max() > MAX_PAUSE_MS * 1000):
        return "a Stinger log has steps of 0 to 24 hours, this one does not"
    return None


def reduced(session: Session) -> Session:
    """Make a session fit into a Stinger log as well as it can: whole milliseconds, its scales, a trigger.

    Raises:
        InputError: A channel is missing, or its unit is another.
    """
    by_name = {channel.name: i for i, channel in enumerate(session.channels)}
    columns = []
    for wanted in STINGER_CHANNELS:
        i = by_name.get(wanted.name)
        if i is None:
            raise InputError(f"{session.name}: a Stinger log needs a channel {wanted.name}; choose another format")
        factor = _CONVERSIONS.get((session.channels[i].unit, wanted.unit))
        if factor is None:
            raise InputError(
                f"{session.name}: channel {wanted.name} is in {session.channels[i].unit}, a Stinger log needs "
                f"{wanted.unit}; choose another format"
            )
        counts = np.rint(session.samples[:, i] * (session.channels[i].scale * factor / wanted.scale))
        columns.append(np.clip(counts, -32768, 32767).astype(np.int16))
    t_ms = np.rint(session.t_us / 1000).astype(np.int64)
    if len(t_ms) and not 0 <= t_ms[0] < WRAP_MS:
        t_ms -= t_ms[0]
    trigger = np.zeros(len(session), np.uint8) if session.trigger is None else session.trigger
    return Session(session.name, t_ms * 1000, np.column_stack(columns), STINGER_CHANNELS, session.period_us, trigger)


def to_records(session: Session) -> NDArray[np.void]:
    """Turn a session into records.

    Raises:
        InputError: It is not a Stinger's (channels, trigger, whole milliseconds).
    """
    why = holds(session)
    if why is not None:
        raise InputError(f"{session.name}: {why}")
    records = np.empty(len(session), dtype=RECORD)
    records["timestamp_ms"] = (session.t_us // 1000) % WRAP_MS
    records["counts"] = session.samples
    records["trigger"] = session.trigger
    return records
