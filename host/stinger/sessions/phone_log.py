"""Sensor logs of a phone: one JSON file with readings of all its sensors, each at its own moments.

``{"firmware", ..., "userLabel", "data": [{"ts": microseconds, "type", "values"}]}``. Each type is a sensor topic, as
in the MCAP files such logs are converted to. Sensors that tick together become one recording, others one each.
``START`` and ``STOP`` say when recording began and ended; ``userLabel``, or a level of distortion, is the label of
all of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from stinger.errors import InputError
from stinger.files import read_bytes
from stinger.sessions.mcap_format.labels import LEVEL_KEYS, level_name
from stinger.sessions.mcap_format.sensors import Readings, sensor_sessions, value_table
from stinger.sessions.options import ReadOptions
from stinger.sessions.session import Event, Session

NAME = "a phone's sensor log (.json)"
SUFFIXES: tuple[str, ...] = (".json",)
#: About 40 minutes of all sensors at 50 Hz.
MAX_BYTES = 48 << 20
#: A reading is two containers and takes more than twice so many characters; a file of less could take up gigabytes.
_CONTAINER_BYTES = 14
MAX_TYPES = 64

_TOPICS: Mapping[str, str] = {"MAG_AUTOCAL": "mag_raw", "ACCEL_AUTOCAL": "acc_raw", "GYRO_AUTOCAL": "gyro_raw"}
_MARKS = ("START", "STOP")
_MAX_US = (1 << 63) // 1000 - 1
_HEAD = re.compile(rb'"(?:userLabel|serialNumber|appVersion|deviceModel|osVersion)"\s*:|"type"\s*:\s*"START"')
_ADVICE = "export the log from the phone again"


def recognise(data_head: bytes, path: Path) -> bool:
    """Whether a file looks like a phone's log, by what its first bytes speak of."""
    del path
    text = data_head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return text.startswith(b"{") and _HEAD.search(text) is not None


def read(path: Path, options: ReadOptions) -> list[Session]:
    """Read a phone's log.

    Returns:
        A recording per group of sensors that tick together, magnetometer first.

    Raises:
        InputError: The file is missing, too large, not JSON, or its readings are not what they must be.
    """
    return parse_phone_log(read_bytes(path, MAX_BYTES, "split the log"), path.name, options)


def parse_phone_log(data: bytes, name: str, options: ReadOptions) -> list[Session]:
    """Turn the text of a phone's log into recordings; see `read`."""
    containers = data.count(b"[") + data.count(b"{")
    if containers * _CONTAINER_BYTES > len(data) + 1000:
        raise InputError(
            f"{name}: {containers} lists and objects in {len(data)} bytes, these are no readings; {_ADVICE}"
        )
    try:
        log = json.loads(data.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} is not valid JSON ({' '.join(str(error).split())[:100]}); {_ADVICE}") from error
    entries = log.get("data") if isinstance(log, dict) else None
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{name}: no readings under 'data'; {_ADVICE}")
    times: dict[str, list[int]] = {}
    rows: dict[str, list[Any]] = {}
    marks: dict[str, int] = {}
    for number, entry in enumerate(entries):
        kind, ts = (entry.get("type"), entry.get("ts")) if isinstance(entry, dict) else (None, None)
        if not isinstance(kind, str) or not kind or len(kind) > 64 or not kind.isascii() or not kind.isprintable():
            raise InputError(f"{name}: reading {number} has no type; {_ADVICE}")
        if type(ts) is not int or not 0 <= ts <= _MAX_US:
            raise InputError(f"{name}: reading {number} ({kind}) has no time in microseconds; {_ADVICE}")
        if kind in _MARKS:
            marks[kind] = ts
            continue
        times.setdefault(kind, []).append(ts)
        rows.setdefault(kind, []).append(entry.get("values"))
    if not times or len(times) > MAX_TYPES:
        raise InputError(f"{name}: {len(times)} types of sensors, must be 1 to {MAX_TYPES}; {_ADVICE}")
    topics: dict[str, Readings] = {}
    for kind in sorted(times):
        topic = _TOPICS.get(kind) or re.sub(r"[^a-z0-9]+", "_", kind.lower()).strip("_") or "sensor"
        if topic in topics:
            raise InputError(f"{name}: two types of sensors are called {topic}; rename one")
        values = value_table(rows.pop(kind), 0, f"{name}: {kind}")
        topics[topic] = Readings(np.array(times[kind], dtype=np.int64) * 1000, values)
    label = _label(log)
    first = min(min(stamps) for stamps in times.values())
    last = max(max(stamps) for stamps in times.values())
    events: tuple[Event, ...] = ()
    if label is not None:
        # A mark that lies inside its readings marks nothing.
        events = (Event(min(first, marks.get("START", first)), max(last, marks.get("STOP", last)), label),)
    return sensor_sessions(name, topics, options, events=events, faults=())


def _label(log: Mapping[str, Any]) -> str | None:
    for key in ("userLabel", *LEVEL_KEYS, "level"):
        value = log.get(key)
        text = str(value) if type(value) in (int, str) else ""
        text = "".join(character for character in text[:256] if character.isprintable()).strip()[:64]
        if text:
            return level_name(text)
    return None


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")
