"""The metadata record that makes our MCAP files read back exactly: parsing it, trusting none of it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from stinger.errors import InputError
from stinger.sessions.session import Channel

MAX_CHANNELS = 256
#: Recordings in one file.
MAX_RECORDINGS = 2000
_MAX_TEXT = 4096
_MAX_SAMPLES = 1 << 26
_MAX_TIME = 1 << 62


@dataclass(frozen=True)
class About:
    """What the metadata of one recording says; see `mcap_write` for the layouts.

    Attributes:
        layout: ``imu`` or ``sensors``.
        shift_us: What was added to every time so that none was negative.
        topics: Each sensor topic with the columns of ``samples`` it holds.
    """

    layout: str
    name: str
    samples: int
    period_us: int
    shift_us: int
    channels: tuple[Channel, ...]
    topics: tuple[tuple[str, tuple[int, ...]], ...]
    events: int
    events_topic: str
    trigger: bool
    label: str | None
    split: str | None
    subject: str | None
    faults: tuple[str, ...]


#: What would break or forge a line on a terminal.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def is_one_line(text: str) -> bool:
    """Whether a text can be shown as it is: no line breaks or other control characters."""
    return _CONTROL.search(text) is None


class _WrongError(Exception):
    """A field is not what it must be; its name is the message."""


def parse_about(text: str, where: str) -> About:
    """Parse the metadata of one recording.

    Raises:
        InputError: A field is missing or makes no sense.
    """
    advice = "convert the recording again"
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: its description is not valid JSON; {advice}") from error
    try:
        return _about(raw if isinstance(raw, dict) else {})
    except _WrongError as error:
        raise InputError(f"{where}: its description makes no sense at {str(error)!r}; {advice}") from error


def _about(raw: dict[str, Any]) -> About:
    if raw.get("version") != 1:
        raise _WrongError("version")
    layout = _text(raw, "layout")
    if layout not in ("imu", "sensors"):
        raise _WrongError("layout")
    channels = tuple(_channel(entry) for entry in _list(raw, "channels", MAX_CHANNELS))
    topics = tuple(_topic(entry, len(channels)) for entry in _list(raw, "topics", MAX_CHANNELS))
    columns = sorted(column for _, mine in topics for column in mine)
    if not channels or len({c.name for c in channels}) != len(channels) or columns != list(range(len(channels))):
        raise _WrongError("channels")
    trigger = raw.get("trigger")
    if not isinstance(trigger, bool) or (trigger and layout != "imu"):
        raise _WrongError("trigger")
    if layout == "imu" and len(topics) != 1:
        raise _WrongError("topics")
    faults = _list(raw, "faults", _MAX_SAMPLES)
    if not all(isinstance(fault, str) and is_one_line(fault) for fault in faults):
        raise _WrongError("faults")
    return About(
        layout=layout,
        name=_text(raw, "name"),
        samples=_number(raw, "samples", 0, _MAX_SAMPLES),
        period_us=_number(raw, "period_us", 1, _MAX_TIME),
        shift_us=_number(raw, "shift_us", 0, _MAX_TIME),
        channels=channels,
        topics=topics,
        events=_number(raw, "events", 0, _MAX_SAMPLES),
        events_topic=_text(raw, "events_topic"),
        trigger=trigger,
        label=_optional(raw, "label"),
        split=_optional(raw, "split"),
        subject=_optional(raw, "subject"),
        faults=tuple(faults),
    )


def _channel(entry: Any) -> Channel:
    if not isinstance(entry, dict):
        raise _WrongError("channels")
    scale = entry.get("scale")
    if not isinstance(scale, int | float) or isinstance(scale, bool) or not 1e-30 <= scale <= 1e30:
        raise _WrongError("scale")
    return Channel(_text(entry, "name"), _text(entry, "unit"), scale)


def _topic(entry: Any, width: int) -> tuple[str, tuple[int, ...]]:
    if not isinstance(entry, dict):
        raise _WrongError("topics")
    columns = _list(entry, "columns", MAX_CHANNELS)
    if not columns or any(type(column) is not int or not 0 <= column < width for column in columns):
        raise _WrongError("columns")
    return _text(entry, "topic"), tuple(columns)


def _text(raw: dict[str, Any], key: str) -> str:
    value = raw.get(key)
    if not isinstance(value, str) or len(value) > _MAX_TEXT or not is_one_line(value):
        raise _WrongError(key)
    return value


def _optional(raw: dict[str, Any], key: str) -> str | None:
    return None if raw.get(key) is None else _text(raw, key)


def _number(raw: dict[str, Any], key: str, low: int, high: int) -> int:
    value = raw.get(key)
    if type(value) is not int or not low <= value <= high:
        raise _WrongError(key)
    return value


def _list(raw: dict[str, Any], key: str, most: int) -> list[Any]:
    value = raw.get(key)
    if not isinstance(value, list) or len(value) > most:
        raise _WrongError(key)
    return value
