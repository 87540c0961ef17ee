"""Sensors that tick at their own moments, put on one clock."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError, UsageError
from stinger.sessions.mcap_format.quantities import TOPIC_CHANNELS
from stinger.sessions.session import Channel, Session

#: What a magnetic-distortion recording consists of, in this order.
_SENSORS = ("mag_raw", "acc_raw", "gyro_raw")
_MAX_SAMPLES = 1 << 24


def align(sessions: Sequence[Session], rate_hz: float) -> Session:
    """Put magnetometer, accelerometer and gyroscope on one clock, by straight lines between their readings.

    Where one of them paused there is a gap, not a line across it.

    Args:
        sessions: Recordings of one log on one clock, which have the nine channels among them.
        rate_hz: Samples per second of the result.

    Raises:
        UsageError: The rate is impossible.
        InputError: A sensor is missing, or they never ran together.
    """
    if not 1 <= rate_hz <= 10_000:
        raise UsageError(f"--rate must be 1 to 10000 Hz, is {rate_hz:g}")
    name = sessions[0].name.split(":")[0]
    sources = [_find(sessions, topic, name) for topic in _SENSORS]
    period_us = round(1e6 / rate_hz)
    first = max(int(session.t_us[0]) for session, _ in sources)
    last = min(int(session.t_us[-1]) for session, _ in sources)
    if last - first < period_us:
        raise InputError(f"{name}: its sensors never ran together; nothing can be put on one clock")
    if (last - first) // period_us >= _MAX_SAMPLES:
        raise InputError(f"{name}: more than {_MAX_SAMPLES} samples at {rate_hz:g} Hz; split the log")
    clock = np.arange(first, last + 1, period_us, dtype=np.int64)
    kept = np.ones(len(clock), dtype=np.bool_)
    parts: list[NDArray[np.int16]] = []
    channels: list[Channel] = []
    for session, columns in sources:
        kept &= ~_inside_gap(session, clock)
        parts += [_interpolated(session, column, clock) for column in columns]
        channels += [session.channels[column] for column in columns]
    if int(kept.sum()) < 2:
        raise InputError(f"{name}: its sensors never ran together; nothing can be put on one clock")
    mag = sources[0][0]
    return Session(
        name=name,
        t_us=clock[kept],
        samples=np.stack(parts, axis=1)[kept],
        channels=tuple(channels),
        period_us=period_us,
        label=mag.label,
        split=mag.split,
        subject=mag.subject,
        events=mag.events,
        faults=tuple(dict.fromkeys(fault for session, _ in sources for fault in session.faults)),
    )


def _find(sessions: Sequence[Session], topic: str, name: str) -> tuple[Session, list[int]]:
    wanted = TOPIC_CHANNELS[topic]
    for session in sessions:
        names = [channel.name for channel in session.channels]
        if all(channel in names for channel in wanted):
            return session, [names.index(channel) for channel in wanted]
    raise InputError(
        f"{name}: no {topic} in it, all of {', '.join(_SENSORS)} are needed on one clock; leave out --rate"
    )


def _interpolated(session: Session, column: int, clock: NDArray[np.int64]) -> NDArray[np.int16]:
    values = np.interp(clock, session.t_us, session.samples[:, column].astype(np.float64))
    return np.rint(values).astype(np.int16)


def _inside_gap(session: Session, clock: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark moments that lie between two readings with a gap between them."""
    after = np.searchsorted(session.t_us, clock, side="left")
    on_reading = session.t_us[np.minimum(after, len(session) - 1)] == clock
    gap = session.gap_before
    marked: NDArray[np.bool_] = gap[np.minimum(after, len(session) - 1)] & ~on_reading & (after > 0)
    return marked
