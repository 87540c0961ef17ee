"""Topics of sensors become recordings: those with the same timestamps one, the others one each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.sessions.mcap_format.labels import label_of_whole
from stinger.sessions.mcap_format.quantities import TOPIC_CHANNELS, choose_channels, quantise
from stinger.sessions.options import ReadOptions
from stinger.sessions.session import Channel, Event, Session

MAX_VALUES = 64


@dataclass
class Readings:
    """What one sensor said: times in nanoseconds, shape ``(n,)``, and finite values, shape ``(n, width)``."""

    times: NDArray[np.int64]
    values: NDArray[np.floating]


def sensor_sessions(
    name: str,
    topics: Mapping[str, Readings],
    options: ReadOptions,
    *,
    events: Sequence[Event],
    faults: Sequence[str],
) -> list[Session]:
    """Turn the topics of one file into recordings, in the order magnetometer, accelerometer, gyroscope, others.

    Args:
        name: The file's.
        topics: At least one, by topic. The values are let go as they are turned into counts.
        options: What the user says about units.
        events: Labels on the clock of the readings.
        faults: What else reading the file had to report; the first recording bears it.

    Returns:
        One recording called ``name``, or several called ``name:topic``.

    Raises:
        InputError: No topic has two samples and passage of time, or a unit is unknown.
    """
    order = {topic: rank for rank, topic in enumerate(TOPIC_CHANNELS)}
    groups: list[tuple[NDArray[np.int64], list[str]]] = []
    late: dict[str, int] = {}
    for topic in sorted(topics, key=lambda topic: (order.get(topic, len(order)), topic)):
        readings = topics[topic]
        late[topic] = _sort(readings)
        for times, members in groups:
            if np.array_equal(times, readings.times):
                members.append(topic)
                break
        else:
            groups.append((readings.times, [topic]))
    sessions, all_faults = [], list(faults)
    for times, members in groups:
        if len(times) < 2 or times[0] == times[-1]:
            all_faults.append(f"left out for want of two moments: {', '.join(members)}")
            continue
        mine = [f"{topic}: {late[topic]} samples were out of order" for topic in members if late[topic]]
        sessions.append(_session(name, {topic: topics[topic] for topic in members}, options, events, faults=mine))
    if not sessions:
        raise InputError(f"{name}: {'; '.join(all_faults)}; record something longer")
    sessions[0] = replace(sessions[0], faults=(*sessions[0].faults, *all_faults))
    return sessions if len(sessions) > 1 else [replace(sessions[0], name=name)]


def _session(
    name: str, topics: Mapping[str, Readings], options: ReadOptions, events: Sequence[Event], *, faults: list[str]
) -> Session:
    counts: list[NDArray[np.int16]] = []
    channels: list[Channel] = []
    for topic, readings in topics.items():
        mine = choose_channels(topic, readings.values, options, f"{name}: {topic}")
        taken, clipped = quantise(readings.values, mine)
        readings.values = readings.values[:0]
        counts.append(taken)
        channels += mine
        faults += clipped
    if len({channel.name for channel in channels}) != len(channels):
        raise InputError(f"{name}: two topics make channels of the same name; rename one")
    times = next(iter(topics.values())).times
    steps = np.diff(times)
    t_us = times // 1000
    period_us = max(1, round(float(np.median(steps[steps > 0])) / 1000))
    return Session(
        name=f"{name}:{'+'.join(topics)}",
        t_us=t_us,
        samples=np.hstack(counts),
        channels=tuple(channels),
        period_us=period_us,
        label=label_of_whole(events, int(t_us[0]), int(t_us[-1]), period_us),
        events=tuple(events),
        faults=tuple(faults),
    )


def _sort(readings: Readings) -> int:
    """Put readings in order of time and say how many were not."""
    late = int(np.count_nonzero(np.diff(readings.times) < 0))
    if late:
        order = np.argsort(readings.times, kind="stable")
        readings.times = readings.times[order]
        readings.values = readings.values[order]
    return late


def value_table(rows: list[Any], width: int, where: str) -> NDArray[np.float64]:
    """Check at least one row of values and return them as ``(n, width)``; a width of 0 takes the first row's.

    Raises:
        InputError: A row is no list of so many finite numbers.
    """
    if any(type(row) is not list for row in rows):
        raise InputError(f"{where}: a message has no list 'values'; record it again")
    width = width or len(rows[0])
    if not 1 <= width <= MAX_VALUES or any(len(row) != width for row in rows):
        raise InputError(f"{where}: messages have different numbers of values, or none, or over {MAX_VALUES}")
    if not set(map(type, chain.from_iterable(rows))) <= {int, float}:
        raise InputError(f"{where}: a value is not a number; record it again")
    try:
        table = np.array(rows, dtype=np.float64)
    except OverflowError:
        table = np.array([[np.inf]])
    # What float32 cannot hold is no measurement either.
    if not (np.abs(table) < 1e30).all():
        raise InputError(f"{where}: a value is not a finite number; record it again")
    return table
