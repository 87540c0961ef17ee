"""Labels beside a recording of sensor messages: ``walk.labels.json`` belongs to ``walk.mcap``.

``{"events": [{"id", "startTime": {"sec", "nsec"}, "endTime": {...}, "metadata": {"mag_distortion": "0", "": ""},
"collection"}]}``; 0, 1 and 2 are no, low and high distortion. Older files say ``distortion``; labels that are no
level of distortion stand under ``label``.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stinger.errors import InputError
from stinger.files import read_bytes, write_text
from stinger.sessions.session import Event, Session

SUFFIX = ".labels.json"
#: Files beside recordings that hold none themselves.
SIDECARS = (SUFFIX, ".experiment.json")
LEVELS = ("none", "low", "high")
MAX_BYTES = 16 << 20
MAX_EVENTS = 100_000
#: Level of distortion, by the key that newer and older files have for it.
LEVEL_KEYS = ("mag_distortion", "distortion")
_LABEL_KEY = "label"
_MAX_SECONDS = (1 << 63) // 10**9 - 1


def labels_path(path: Path) -> Path:
    """Say where the labels of a recording lie."""
    return path.with_name(path.stem + SUFFIX)


def read_labels(path: Path) -> list[Event]:
    """Read the labels file of a recording.

    Args:
        path: The labels file itself.

    Returns:
        Label events in microseconds on the recording's clock, by start.

    Raises:
        InputError: The file is missing, too large or not what it must be.
    """
    data = read_bytes(path, MAX_BYTES, "give the recording's own labels")
    advice = "correct it, or move it away to read the recording without labels"
    try:
        content = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path.name} is not valid JSON ({' '.join(str(error).split())[:100]}); {advice}") from error
    entries = content.get("events") if isinstance(content, dict) else None
    if not isinstance(entries, list) or len(entries) > MAX_EVENTS:
        raise InputError(f"{path.name} has no list 'events' of at most {MAX_EVENTS} labels; {advice}")
    events = []
    for number, entry in enumerate(entries):
        label = _label(entry)
        start, end = (_microseconds(entry, key) for key in ("startTime", "endTime"))
        if label is None or start is None or end is None or end < start:
            raise InputError(f"{path.name}, event {number}: no level, or times that make no sense; {advice}")
        events.append(Event(start, end, label))
    return sorted(events, key=lambda event: (event.start_us, event.end_us))


def write_labels(events: Sequence[Event], path: Path) -> None:
    """Write the labels file of a recording; the same events give the same bytes.

    Args:
        events: Labels in microseconds on the recording's clock.
        path: The labels file itself.
    """
    entries = []
    for number, event in enumerate(events):
        level = {"mag_distortion": str(LEVELS.index(event.label))} if event.label in LEVELS else None
        key = f"{path.name}/{number}/{event.start_us}/{event.end_us}/{event.label}"
        entries.append(
            {
                "id": str(uuid.uuid5(uuid.NAMESPACE_URL, key)),
                "startTime": _sec_nsec(event.start_us),
                "endTime": _sec_nsec(event.end_us),
                "metadata": (level or {_LABEL_KEY: event.label}) | {"": ""},
                "collection": path.name,
            }
        )
    write_text(path, json.dumps({"events": entries}, indent=2) + "\n")


def check_labels(events: Sequence[Event], where: str) -> None:
    """Refuse labels that a labels file cannot hold.

    Raises:
        InputError: A label is empty, longer than 64 characters or unprintable, or ends before it begins.
    """
    for event in events:
        if not _is_label(event.label) or event.end_us < event.start_us or event.start_us < 0:
            raise InputError(f"{where}: label {event.label!r:.40} at {event.start_us} us cannot be written; correct it")


def labels_of(sessions: Sequence[Session], shift_us: int = 0) -> list[Event]:
    """Collect what a labels file of these recordings says: their label events, or the label of the whole.

    Recordings in one file share a clock, so an event that several have is one.
    """
    events: dict[Event, None] = {}
    for session in sessions:
        mine = [event for event in session.events if event.kind == "label"]
        if not mine and session.label is not None and len(session):
            mine = [Event(int(session.t_us[0]), int(session.t_us[-1]), session.label)]
        for event in mine:
            events[Event(event.start_us + shift_us, event.end_us + shift_us, event.label)] = None
    return sorted(events, key=lambda event: (event.start_us, event.end_us))


def label_of_whole(events: Sequence[Event], first_us: int, last_us: int, period_us: int) -> str | None:
    """Return the label of a recording whose only label event covers all of it, give or take a sample."""
    labels = [event for event in events if event.kind == "label"]
    if len(labels) != 1 or labels[0].start_us > first_us + period_us or labels[0].end_us < last_us - period_us:
        return None
    return labels[0].label


def level_name(text: str) -> str:
    """Spell a level of distortion as a label: ``0`` is ``none``."""
    return LEVELS[int(text)] if text in ("0", "1", "2") else text


def _label(entry: Any) -> str | None:
    metadata = entry.get("metadata") if isinstance(entry, dict) else None
    if not isinstance(metadata, dict):
        return None
    for key in (*LEVEL_KEYS, _LABEL_KEY):
        value = metadata.get(key)
        value = str(value) if type(value) is int and 0 <= value < len(LEVELS) else value
        if isinstance(value, str) and _is_label(value):
            return level_name(value) if key in LEVEL_KEYS else value
    return None


def _is_label(text: str) -> bool:
    return bool(text.strip()) and text.isprintable() and len(text) <= 64


def _microseconds(entry: Any, key: str) -> int | None:
    moment = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(moment, dict):
        return None
    seconds, nanoseconds = moment.get("sec"), moment.get("nsec")
    if type(seconds) is not int or type(nanoseconds) is not int:
        return None
    if not 0 <= seconds <= _MAX_SECONDS or not 0 <= nanoseconds < 10**9:
        return None
    return seconds * 1_000_000 + nanoseconds // 1000


def _sec_nsec(time_us: int) -> dict[str, int]:
    return {"sec": time_us // 1_000_000, "nsec": time_us % 1_000_000 * 1000}
