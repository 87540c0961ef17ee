"""Recordings out of MCAP files: our own, exactly as they were, and anybody's sensor topics.

Our own carry a metadata record that says scales, units and everything messages do not. In others every
`sensor_event` topic is a sensor; topics whose timestamps are the same become one recording. Unless asked for, only
what a sensor measured is read: poses and truths beside it would make a model that cheats.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from mcap.records import Metadata
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.sessions.mcap_format.about import MAX_RECORDINGS, About, parse_about
from stinger.sessions.mcap_format.labels import label_of_whole, labels_of, labels_path, read_labels
from stinger.sessions.mcap_format.schemas import SENSOR_EVENT
from stinger.sessions.mcap_format.sensors import Readings, sensor_sessions, value_table
from stinger.sessions.mcap_format.stream import Batch, Topic, read_items
from stinger.sessions.mcap_format.writing import METADATA, event_from_message
from stinger.sessions.options import ReadOptions
from stinger.sessions.session import Event, Session

MAX_EVENTS = 1_000_000
#: Samples of one topic; a day at 500 Hz.
MAX_SAMPLES = 1 << 26
_NS_LIMIT = 1 << 63
_RAW = "_raw"


def read_sessions_of(path: Path, options: ReadOptions, topics: Collection[str] | None = None) -> list[Session]:
    """Read the recordings of an MCAP file.

    Args:
        path: The file.
        options: What the user says about units.
        topics: Sensor topics to read from a file that is not ours; default: those that end in ``_raw``, or all if
            there is none.

    Raises:
        InputError: The file is damaged, or holds nothing that is a recording.
    """
    content = _Content(path.name, topics)
    for item in read_items(path, content.wants):
        if isinstance(item, Metadata):
            content.add_metadata(item)
        elif isinstance(item, Batch):
            content.add_messages(item)
    labels = labels_path(path)
    beside = read_labels(labels) if labels.is_file() else None
    if content.abouts:
        return _own_sessions(content, beside, labels.name)
    return _foreign_sessions(content, options, beside)


@dataclass
class _Column:
    """What one topic has brought so far, in blocks."""

    times: list[NDArray[np.int64]] = field(default_factory=list)
    values: list[NDArray[Any]] = field(default_factory=list)
    triggers: list[NDArray[np.uint8]] = field(default_factory=list)
    samples: int = 0
    width: int = 0


class _Content:
    """Everything a file has brought so far."""

    def __init__(self, name: str, topics: Collection[str] | None) -> None:
        self.name = name
        self.abouts: list[About] = []
        self.columns: dict[str, _Column] = {}
        self.events: dict[str, dict[int, Event]] = {}
        self.seen: dict[str, str] = {}
        self.asked = topics
        self._owner: dict[str, tuple[About, tuple[int, ...]]] = {}
        self._event_owner: dict[str, About] = {}

    def wants(self, topic: Topic) -> bool:
        self.seen[topic.name] = topic.schema
        if topic.encoding != "json":
            return False
        if self.abouts:
            return topic.name in self._owner or topic.name in self._event_owner
        return topic.schema == SENSOR_EVENT and (self.asked is None or topic.name in self.asked)

    def add_metadata(self, record: Metadata) -> None:
        if record.name != METADATA:
            return
        if self.columns:
            self._refuse("its description comes after its samples")
        about = parse_about(record.metadata.get("session", ""), self.name)
        self.abouts.append(about)
        if len(self.abouts) > MAX_RECORDINGS:
            self._refuse(f"more than {MAX_RECORDINGS} recordings")
        for topic, columns in about.topics:
            if topic in self._owner:
                self._refuse("two recordings have the same topic")
            self._owner[topic] = (about, columns)
        if about.events_topic in self._event_owner:
            self._refuse("two recordings have the same topic of events")
        self._event_owner[about.events_topic] = about

    def add_messages(self, batch: Batch) -> None:
        name = batch.topic.name
        messages = self._decode(batch)
        if name in self._event_owner:
            self._add_events(name, messages)
            return
        column = self.columns.setdefault(name, _Column())
        column.samples += len(messages)
        if column.samples > MAX_SAMPLES:
            raise InputError(f"{self.name}: more than {MAX_SAMPLES} samples of {name}; split the recording")
        owner = self._owner.get(name)
        if owner is None:
            self._add_sensor(f"{self.name}: {name}", column, batch.times, messages)
        else:
            self._add_own(f"{self.name}: {name}", column, batch.times, messages, owner)

    def _decode(self, batch: Batch) -> list[Any]:
        """Decode a batch at once, which is several times faster than one by one."""
        name = f"{self.name}: {batch.topic.name}"
        try:
            decoded = json.loads(b"[" + b",".join(batch.contents) + b"]", parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{name}: a message is not valid JSON; record it again") from error
        if len(decoded) != len(batch.contents) or set(map(type, decoded)) != {dict}:
            raise InputError(f"{name}: a message is not one JSON object; record it again")
        return decoded  # type: ignore[no-any-return]  # a list, as the brackets say

    @staticmethod
    def _add_sensor(where: str, column: _Column, times: list[int], messages: list[Any]) -> None:
        stamps = [message.get("timestamp", time) for message, time in zip(messages, times, strict=True)]
        rows = [message.get("values") for message in messages]
        table = value_table(rows, column.width, where)
        column.width = table.shape[1]
        column.times.append(_nanoseconds(stamps, where))
        # Counts have 16 bits, these 24: half the memory and nothing lost.
        column.values.append(table.astype(np.float32))

    @staticmethod
    def _add_own(
        where: str, column: _Column, times: list[int], messages: list[Any], owner: tuple[About, tuple[int, ...]]
    ) -> None:
        about, columns = owner
        if about.layout == "imu":
            fields = itemgetter(*(about.channels[i].name for i in columns), *(("trigger",) if about.trigger else ()))
            try:
                found = [fields(message) for message in messages]
            except KeyError as error:
                raise InputError(f"{where}: a sample lacks {error.args[0]!r:.40}; record it again") from error
            single = len(columns) + about.trigger == 1
            rows: list[Any] = [[value] for value in found] if single else [list(row) for row in found]
        else:
            rows = [message.get("values") for message in messages]
        width = len(columns) + (about.trigger and about.layout == "imu")
        table = value_table(rows, width, where)
        if about.trigger:
            trigger = table[:, -1]
            if not np.isin(trigger, (0, 1)).all():
                raise InputError(f"{where}: a trigger is neither 0 nor 1; record it again")
            column.triggers.append(trigger.astype(np.uint8))
        scale = np.array([about.channels[i].scale for i in columns])
        counts = np.rint(table[:, : len(columns)] / scale)
        if not ((counts >= -32768) & (counts <= 32767)).all():
            raise InputError(f"{where}: a value is beyond what its channel can hold; record it again")
        column.values.append(counts.astype(np.int16))
        column.times.append(_nanoseconds(times, where))

    def _add_events(self, name: str, messages: list[Any]) -> None:
        events = self.events.setdefault(name, {})
        about = self._event_owner[name]
        for message in messages:
            try:
                found = event_from_message(message, about.shift_us)
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise InputError(f"{self.name}: {name}: an event makes no sense; record it again") from error
            if found is not None:
                events[found[0]] = found[1]
        if len(events) > MAX_EVENTS:
            raise InputError(f"{self.name}: more than {MAX_EVENTS} events; split the recording")

    def _refuse(self, what: str) -> NoReturn:
        raise InputError(f"{self.name}: {what}; convert the recording again")


def _own_sessions(content: _Content, beside: list[Event] | None, labels_name: str) -> list[Session]:
    sessions = []
    for about in content.abouts:
        parts = [(content.columns.get(topic, _Column()), columns) for topic, columns in about.topics]
        times = [_joined(part.times, np.int64) for part, _ in parts]
        if any(len(t) != about.samples or not np.array_equal(t, times[0]) for t in times):
            raise InputError(f"{content.name}: samples of {about.name} are missing; convert the recording again")
        samples = np.empty((about.samples, len(about.channels)), dtype=np.int16)
        for part, columns in parts:
            for index, column in enumerate(columns):
                samples[:, column] = np.concatenate([block[:, index] for block in part.values] or [samples[:0, 0]])
        events = content.events.get(about.events_topic, {})
        if len(events) != about.events or any(number not in events for number in range(about.events)):
            raise InputError(f"{content.name}: events of {about.name} are missing; convert the recording again")
        triggers = parts[0][0].triggers
        sessions.append(
            Session(
                name=about.name,
                t_us=times[0] // 1000 - about.shift_us,
                samples=samples,
                channels=about.channels,
                period_us=about.period_us,
                trigger=np.concatenate(triggers or [np.empty(0, np.uint8)]) if about.trigger else None,
                label=about.label,
                split=about.split,
                subject=about.subject,
                events=tuple(events[number] for number in sorted(events)),
                faults=about.faults,
            )
        )
    shift_us = content.abouts[0].shift_us
    if beside is None or beside == labels_of(sessions, shift_us) or content.abouts[0].layout != "sensors":
        return sessions
    # Somebody has edited the labels since.
    moved = [replace(event, start_us=event.start_us - shift_us, end_us=event.end_us - shift_us) for event in beside]
    return [_relabelled(session, moved, labels_name) for session in sessions]


def _relabelled(session: Session, labels: Sequence[Event], labels_name: str) -> Session:
    kept = [event for event in session.events if event.kind != "label"]
    events = tuple(sorted([*labels, *kept], key=lambda event: event.start_us))
    label = label_of_whole(labels, int(session.t_us[0]), int(session.t_us[-1]), session.period_us)
    faults = (*session.faults, f"labels are those of {labels_name}, which differ from the recording's own")
    return replace(session, events=events, label=label, faults=faults)


def _foreign_sessions(content: _Content, options: ReadOptions, beside: list[Event] | None) -> list[Session]:
    names = list(content.columns)
    raw = [name for name in names if name.endswith(_RAW)]
    chosen = raw if raw and content.asked is None else names
    if not chosen:
        seen = ", ".join(sorted(content.seen)[:8]) or "none"
        raise InputError(f"{content.name}: no messages of sensors (schema {SENSOR_EVENT}); its topics are: {seen}")
    left_out = [name for name in content.seen if name not in chosen]
    faults = [f"topics left out: {', '.join(left_out)}"] if left_out else []
    topics = {}
    for name in chosen:
        column = content.columns.pop(name)
        topics[name] = Readings(_joined(column.times, np.int64), _joined(column.values, np.float32))
    return sensor_sessions(content.name, topics, options, events=beside or (), faults=faults)


def _joined(blocks: list[NDArray[Any]], kind: type[np.generic]) -> NDArray[Any]:
    return np.concatenate(blocks) if blocks else np.empty(0, dtype=kind)


def _nanoseconds(stamps: list[Any], where: str) -> NDArray[np.int64]:
    kinds = set(map(type, stamps))
    if not kinds <= {int, float}:
        raise InputError(f"{where}: a timestamp is not a number of nanoseconds; record it again")
    if float in kinds:
        stamps = [int(stamp) if 0 <= stamp < _NS_LIMIT else -1 for stamp in stamps]
    if min(stamps) < 0 or max(stamps) >= _NS_LIMIT:
        raise InputError(f"{where}: a timestamp is not within 63 bits of nanoseconds; record it again")
    return np.array(stamps, dtype=np.int64)


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(constant)
