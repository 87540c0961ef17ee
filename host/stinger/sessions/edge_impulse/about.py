"""What an acquisition cannot say about a recording, in the metadata that Edge Impulse keeps with every sample.

Written and read only by us. An acquisition has one interval, one label and no scale; a recording has moments, gaps,
events and counts. With this note a recording comes back exactly, even one that was cut into several acquisitions.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.sessions.mcap_format.about import is_one_line
from stinger.sessions.session import Channel, Event, Session

KEY = "stinger"
VERSION = 1
_MAX_SAMPLES = 1 << 26
_MAX_TIME = 1 << 62
_MAX_LIST = 1 << 22


@dataclass(frozen=True)
class About:
    """A whole recording without its samples.

    Attributes:
        session: Number of the recording in its export.
        part: Number of this acquisition in the recording.
        steps: Microseconds between samples and how often each in a row, from ``start_us`` on; of part 0 only.
    """

    session: int
    part: int
    parts: int
    name: str
    samples: int
    start_us: int
    steps: tuple[tuple[int, int], ...]
    period_us: int
    channels: tuple[Channel, ...]
    trigger: bool
    label: str | None
    split: str | None
    subject: str | None
    events: tuple[Event, ...]
    faults: tuple[str, ...]

    def times(self) -> NDArray[np.int64]:
        """Return the time of each sample in microseconds."""
        if not self.samples:
            return np.empty(0, dtype=np.int64)
        values, counts = np.array(self.steps, dtype=np.int64).reshape(-1, 2).T
        return self.start_us + np.concatenate([[0], np.cumsum(np.repeat(values, counts))])


def describe(session: Session, *, number: int, part: int, parts: int) -> str:
    """Write the note for one acquisition of a recording; the first bears what is long."""
    whole = part == 0
    about = {
        "version": VERSION,
        "session": number,
        "part": part,
        "parts": parts,
        "name": session.name,
        "samples": len(session),
        "start_us": int(session.t_us[0]) if len(session) else 0,
        "steps": _steps(session.t_us) if whole else [],
        "period_us": session.period_us,
        "channels": [[c.name, c.unit, c.scale] for c in session.channels],
        "trigger": session.trigger is not None,
        "label": session.label,
        "split": session.split,
        "subject": session.subject,
        "events": [[e.start_us, e.end_us, e.label, e.kind] for e in session.events] if whole else [],
        "faults": list(session.faults) if whole else [],
    }
    return json.dumps(about, separators=(",", ":"))


def _steps(t_us: NDArray[np.int64]) -> list[list[int]]:
    """Run lengths of the differences."""
    steps = np.diff(t_us)
    if not len(steps):
        return []
    starts = np.flatnonzero(np.diff(steps, prepend=steps[0] - 1))
    lengths = np.diff(np.append(starts, len(steps)))
    return np.column_stack([steps[starts], lengths]).tolist()  # type: ignore[no-any-return]  # rows of two


class _WrongError(Exception):
    """A field is not what it must be; its name is the message."""


def parse_about(text: object, where: str) -> About:
    """Parse the note.

    Raises:
        InputError: It is not one of ours.
    """
    try:
        raw = json.loads(text) if isinstance(text, str) else None
        return _about(raw if isinstance(raw, dict) else {})
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: its description is not valid JSON; convert the recording again") from error
    except _WrongError as error:
        raise InputError(
            f"{where}: its description makes no sense at {str(error)!r}; convert the recording again"
        ) from error


def _about(raw: dict[str, Any]) -> About:
    _need(raw.get("version") == VERSION, "version")
    samples = _number(raw, "samples", 1, _MAX_SAMPLES)
    parts = _number(raw, "parts", 1, _MAX_LIST)
    part = _number(raw, "part", 0, parts - 1)
    steps = _rows(raw, "steps", (int, int))
    _need(all(count > 0 and abs(step) < _MAX_TIME for step, count in steps), "steps")
    start_us = _number(raw, "start_us", -_MAX_TIME, _MAX_TIME)
    if part == 0:
        _need(sum(count for _, count in steps) == samples - 1, "steps")
        _need(abs(start_us) + sum(abs(step) * count for step, count in steps) < _MAX_TIME, "steps")
    channels = [Channel(name, unit, float(scale)) for name, unit, scale in _rows(raw, "channels", (str, str, float))]
    _need(all(1e-30 <= channel.scale <= 1e30 for channel in channels), "channels")
    _need(isinstance(raw.get("trigger"), bool), "trigger")
    events = _rows(raw, "events", (int, int, str, str))
    faults = raw.get("faults")
    _need(isinstance(faults, list) and all(isinstance(f, str) and is_one_line(f) for f in faults), "faults")
    return About(
        session=_number(raw, "session", 0, _MAX_LIST),
        part=part,
        parts=parts,
        name=_text(raw, "name") or "",
        samples=samples,
        start_us=start_us,
        steps=tuple((step, count) for step, count in steps),
        period_us=_number(raw, "period_us", 1, _MAX_TIME),
        channels=tuple(channels),
        trigger=bool(raw["trigger"]),
        label=_text(raw, "label"),
        split=_text(raw, "split"),
        subject=_text(raw, "subject"),
        events=tuple(Event(start, end, label, kind) for start, end, label, kind in events),
        faults=tuple(raw["faults"]),
    )


def _need(condition: bool, key: str) -> None:
    if not condition:
        raise _WrongError(key)


def _number(raw: dict[str, Any], key: str, low: int, high: int) -> int:
    value = raw.get(key)
    if type(value) is not int or not low <= value <= high:
        raise _WrongError(key)
    return value


def _text(raw: dict[str, Any], key: str) -> str | None:
    value = raw.get(key)
    _need(value is None or (isinstance(value, str) and len(value) <= 4096 and is_one_line(value)), key)
    return value


def _rows(raw: dict[str, Any], key: str, kinds: tuple[type, ...]) -> list[Any]:
    rows = raw.get(key)
    if not isinstance(rows, list) or len(rows) > _MAX_LIST:
        raise _WrongError(key)
    for row in rows:
        _need(isinstance(row, list) and len(row) == len(kinds), key)
        for value, kind in zip(row, kinds, strict=True):
            _need(type(value) is kind or (kind is float and type(value) is int), key)
            _need(type(value) is not int or abs(value) <= _MAX_TIME, key)
            _need(type(value) is not str or is_one_line(value), key)
    return rows
