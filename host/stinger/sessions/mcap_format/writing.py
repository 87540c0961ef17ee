"""Writing recordings as MCAP, one message a sample, never more than a chunk of them in memory.

Two layouts. ``imu`` holds any recordings, for Foxglove and back: topic ``/imu`` has all channels as numbers a plot
can show, in physical units, with the trigger; ``/events`` has labels, predictions and marks as `foxglove.Log`. With
several recordings the topics are ``/000/imu``, ``/000/events`` and so on. ``sensors`` is how magnetic-distortion
recordings look: a topic per sensor, each message a `sensor_event`, and labels in a JSON file beside it.

In both a metadata record `stinger.session` for each recording holds what messages cannot: scales, units, period,
who and what. Values are written with as many digits as their counts need, so reading gives back the same counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from mcap.writer import CompressionType, Writer

from stinger.errors import InputError
from stinger.files import replace_file
from stinger.sessions.mcap_format import schemas as mcap_schemas
from stinger.sessions.mcap_format.about import MAX_RECORDINGS, is_one_line, parse_about
from stinger.sessions.mcap_format.labels import check_labels, labels_of, labels_path, write_labels
from stinger.sessions.mcap_format.quantities import check_channels, topics_of
from stinger.sessions.session import Event, Session

METADATA = "stinger.session"
VERSION = 1
#: Names that a sensor topic must not have.
EVENTS_TOPIC = "/events"
LIBRARY = "stinger"
CHUNK_BYTES = 1 << 20
_BLOCK = 1 << 14
#: Log times are unsigned nanoseconds; ours stay in what a signed reader takes, too.
_MAX_US = ((1 << 63) - 1) // 1000
_DEBUG, _INFO = 1, 2


def write_imu(sessions: Sequence[Session], path: Path) -> None:
    """Write recordings in the layout for Foxglove.

    Raises:
        InputError: Channels or times cannot be written, or the place cannot.
    """
    several = len(sessions) > 1
    shift_us = _shift(sessions)
    for session in sessions:
        check_channels(session.channels, session.name)
        if session.trigger is not None and any(channel.name == "trigger" for channel in session.channels):
            raise InputError(f"{session.name}: a channel is called like the trigger; rename it")
    with open_writer(path) as writer:
        prefixes = [f"/{index:03}" if several else "" for index in range(len(sessions))]
        for prefix, session in zip(prefixes, sessions, strict=True):
            topics = [(f"{prefix}/imu", tuple(range(len(session.channels))))]
            _describe(writer, session, "imu", topics=topics, events_topic=prefix + EVENTS_TOPIC, shift_us=shift_us)
        log = writer.register_schema(mcap_schemas.LOG, "jsonschema", mcap_schemas.log())
        schemas: dict[bytes, int] = {}
        for prefix, session in zip(prefixes, sessions, strict=True):
            schema = mcap_schemas.imu(session.channels, trigger=session.trigger is not None)
            if schema not in schemas:
                schemas[schema] = writer.register_schema(mcap_schemas.IMU, "jsonschema", schema)
            imu = schemas[schema]
            fields = [_escaped(channel.name) + ":%.7g" for channel in session.channels]
            if session.trigger is not None:
                fields.append('"trigger":%d')
            channel = writer.register_channel(f"{prefix}/imu", "json", imu)
            events = writer.register_channel(prefix + EVENTS_TOPIC, "json", log) if session.events else 0
            lines = [(channel, "{" + ",".join(fields) + "}", tuple(range(len(session.channels))))]
            _write_messages(writer, session, lines, events, shift_us, trigger=session.trigger is not None)


def write_sensors(sessions: Sequence[Session], path: Path) -> None:
    """Write recordings as sensor topics, and their labels to ``<stem>.labels.json``.

    Raises:
        InputError: Two recordings have the same topic, one has a trigger, or the place cannot be written.
    """
    topics = [topics_of(session.channels) for session in sessions]
    if not sensors_fit(sessions):
        raise InputError(f"{path.name}: one recording of each sensor fits there; write each to a file of its own")
    shift_us = _shift(sessions)
    labels = labels_of(sessions, shift_us)
    check_labels(labels, path.name)
    with open_writer(path) as writer:
        for session, mine in zip(sessions, topics, strict=True):
            check_channels(session.channels, session.name)
            name = f"{EVENTS_TOPIC}/{mine[0][0]}"
            _describe(writer, session, "sensors", topics=mine, events_topic=name, shift_us=shift_us)
        schema = writer.register_schema(mcap_schemas.SENSOR_EVENT, "jsonschema", mcap_schemas.sensor_event())
        log = writer.register_schema(mcap_schemas.LOG, "jsonschema", mcap_schemas.log())
        for session, mine in zip(sessions, topics, strict=True):
            lines = []
            for topic, columns in mine:
                values = ",".join(["%.7g"] * len(columns))
                text = f'{{"id":{_escaped(topic)},"timestamp":%d,"values":[{values}]}}'
                lines.append((writer.register_channel(topic, "json", schema), text, columns))
            name = f"{EVENTS_TOPIC}/{mine[0][0]}"
            events = writer.register_channel(name, "json", log) if session.events else 0
            _write_messages(writer, session, lines, events, shift_us, stamped=True)
    if labels:
        write_labels(labels, labels_path(path))


def sensors_fit(sessions: Sequence[Session]) -> bool:
    """Whether these recordings can share one file of sensor topics: no trigger, and no topic twice."""
    names = [topic for session in sessions for topic, _ in topics_of(session.channels)]
    plain = all(name and len(name) <= 64 and not name.startswith(EVENTS_TOPIC) for name in names)
    return plain and len(set(names)) == len(names) and all(session.trigger is None for session in sessions)


def _shift(sessions: Sequence[Session]) -> int:
    """What to add to all times of a file so that none is negative, in microseconds."""
    if not 0 < len(sessions) <= MAX_RECORDINGS:
        raise InputError(f"{len(sessions)} recordings, a file holds 1 to {MAX_RECORDINGS}; write fewer into each")
    times = [int(time) for session in sessions if len(session) for time in (session.t_us.min(), session.t_us.max())]
    times += [time for session in sessions for event in session.events for time in (event.start_us, event.end_us)]
    shift_us = max(0, -min(times, default=0))
    if max(times, default=0) + shift_us > _MAX_US:
        raise InputError(f"{sessions[0].name}: times beyond {_MAX_US} us cannot be written; correct them")
    return shift_us


def _describe(
    writer: Writer,
    session: Session,
    layout: str,
    *,
    topics: Sequence[tuple[str, tuple[int, ...]]],
    events_topic: str,
    shift_us: int,
) -> None:
    """Write the metadata record of one recording."""
    text = describe(session, layout, topics=topics, events_topic=events_topic, shift_us=shift_us)
    writer.add_metadata(METADATA, {"session": text})


def describe(
    session: Session,
    layout: str,
    *,
    topics: Sequence[tuple[str, tuple[int, ...]]],
    events_topic: str,
    shift_us: int,
) -> str:
    """Return what the metadata record of one recording says.

    Raises:
        InputError: It would not read back: too long names, control characters.
    """
    about = {
        "version": VERSION,
        "layout": layout,
        "name": session.name,
        "samples": len(session),
        "period_us": session.period_us,
        "shift_us": shift_us,
        "channels": [{"name": c.name, "unit": c.unit, "scale": c.scale} for c in session.channels],
        "topics": [{"topic": topic, "columns": columns} for topic, columns in topics],
        "events": len(session.events),
        "events_topic": events_topic,
        "trigger": session.trigger is not None,
        "label": session.label,
        "split": session.split,
        "subject": session.subject,
        "faults": list(session.faults),
    }
    text = json.dumps(about, separators=(",", ":"))
    parse_about(text, f"{session.name!r:.80}")
    if not all(is_one_line(event.label + event.kind) for event in session.events):
        raise InputError(f"{session.name}: an event's label holds control characters; rename it")
    return text


def _write_messages(
    writer: Writer,
    session: Session,
    lines: Sequence[tuple[int, str, tuple[int, ...]]],
    events_channel: int,
    shift_us: int,
    *,
    trigger: bool = False,
    stamped: bool = False,
) -> None:
    """Write samples and events by time. ``lines`` has channel, format and columns of each topic."""
    scale = np.array([channel.scale for channel in session.channels])
    moments = event_messages(session, shift_us)
    waiting = next(moments, None)
    for start in range(0, len(session), _BLOCK):
        part = slice(start, start + _BLOCK)
        times = ((session.t_us[part] + shift_us) * 1000).tolist()
        values = session.samples[part] * scale
        rows = []
        for channel, text, columns in lines:
            table = values[:, columns].tolist()
            if stamped:
                cells = [text % (time, *row) for time, row in zip(times, table, strict=True)]
            elif trigger and session.trigger is not None:
                cells = [text % (*row, t) for row, t in zip(table, session.trigger[part].tolist(), strict=True)]
            else:
                cells = [text % tuple(row) for row in table]
            rows.append((channel, cells))
        for index, time in enumerate(times):
            while waiting is not None and waiting[0] <= time:
                writer.add_message(events_channel, waiting[0], waiting[1], waiting[0])
                waiting = next(moments, None)
            for channel, cells in rows:
                writer.add_message(channel, time, cells[index].encode(), time, (start + index) & 0xFFFFFFFF)
    while waiting is not None:
        writer.add_message(events_channel, waiting[0], waiting[1], waiting[0])
        waiting = next(moments, None)


def event_messages(session: Session, shift_us: int) -> Iterator[tuple[int, bytes]]:
    """Yield log time and message of each event's beginning, and of its end where it lasts, by time."""
    moments: list[tuple[int, int, int]] = []
    for number, event in enumerate(session.events):
        moments.append((event.start_us, 1, number))
        if event.end_us > event.start_us:
            # At one moment, what ends comes before what begins.
            moments.append((event.end_us, 0, number))
    for time_us, begins, number in sorted(moments):
        event = session.events[number]
        message = {
            "timestamp": _time(time_us + shift_us),
            "level": _INFO if begins else _DEBUG,
            "message": event.label if begins else "",
            "name": event.kind,
            "file": session.name,
            "line": number,
        }
        if begins:
            message["end"] = _time(event.end_us + shift_us)
        yield (time_us + shift_us) * 1000, json.dumps(message, separators=(",", ":")).encode()


def event_from_message(message: object, shift_us: int) -> tuple[int, Event] | None:
    """Turn a message of an events topic back into its event and its number; None for what only ends one."""
    if not isinstance(message, dict) or "end" not in message:
        return None
    times = [message["timestamp"], message["end"]]
    start_us, end_us = (int(t["sec"]) * 1_000_000 + int(t["nsec"]) // 1000 - shift_us for t in times)
    label, kind = str(message["message"]), str(message["name"])
    if not is_one_line(label + kind):
        raise ValueError
    return int(message["line"]), Event(start_us, end_us, label, kind)


def _time(time_us: int) -> dict[str, int]:
    return {"sec": time_us // 1_000_000, "nsec": time_us % 1_000_000 * 1000}


def _escaped(name: str) -> str:
    return json.dumps(name).replace("%", "%%")


@contextmanager
def open_writer(path: Path) -> Iterator[Writer]:
    """Open a started writer whose file appears at ``path`` only when the block ends without an error."""
    with replace_file(path) as stream:
        writer = Writer(stream, chunk_size=CHUNK_BYTES, compression=CompressionType.ZSTD, enable_data_crcs=True)
        writer.start(profile="", library=LIBRARY)
        yield writer
        writer.finish()  # type: ignore[no-untyped-call]  # has no annotations
