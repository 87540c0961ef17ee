"""What the header of a table says: which column is the time, which are channels, and in which units."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stinger.errors import InputError
from stinger.sessions.options import ReadOptions
from stinger.sessions.units import UNITS

MAX_COLUMNS = 64
DELIMITERS = (",", ";", "\t")
#: What a channel's unit is called when nobody says.
UNSTATED = "unstated"
#: Microseconds in one unit of time.
TIME_UNITS: Mapping[str, float] = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}

_BRACKETS = re.compile(r"\s*(.*?)\s*[\[(]\s*(.*?)\s*[\])]\s*")
_TIME = re.compile(r"(t|time|timestamp)(?:[_ ]?(s|ms|us|µs|ns|sec|seconds|millis|micros|nanos))?", re.IGNORECASE)
_TIME_SPELLINGS = {
    "µs": "us", "sec": "s", "seconds": "s", "millis": "ms", "milliseconds": "ms", "micros": "us",
    "microseconds": "us", "nanos": "ns", "nanoseconds": "ns",
}  # fmt: skip
_UNIT_SPELLINGS = {"m/s²": "m/s^2", "m/s/s": "m/s^2", "ms^-2": "m/s^2", "°/s": "deg/s", "degrees/s": "deg/s"}
_FACTOR = re.compile(r"([0-9.]+(?:e[+-]?[0-9]+)?)\s+(\S.*)", re.IGNORECASE)
_SENSORS = {"acc": "a", "accel": "a", "acceleration": "a", "accelerometer": "a", "gyr": "g", "gyro": "g"} | {
    "gyroscope": "g", "rotation": "g", "mag": "m", "magnetometer": "m", "magnetic": "m",
}  # fmt: skip
_AXIS = re.compile(r"([a-z]+?)[ _.-]?([xyz])", re.IGNORECASE)
_LABELS = {"label": "label"}
_SUBJECTS = {"subject": "subject", "recorder": "subject"}


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        header: As the file spells it.
        role: ``channel``, ``time``, ``trigger``, ``label``, ``subject``, ``split`` or ``ignored``.
        name: A channel's name.
        unit: A channel's unit, a time's (``s``, ``ms``, ``us``, ``ns``), or None where nobody says.
        factor: What its numbers are multiples of, in that unit: a header of ``ax [0.0005 g]`` says counts.
    """

    header: str
    role: str
    name: str = ""
    unit: str | None = None
    factor: float | None = None

    @property
    def is_text(self) -> bool:
        """Whether its cells are words."""
        return self.role in ("label", "subject", "split", "ignored")

    @property
    def sensor(self) -> str:
        """Which channels share a scale with it: the axes of one sensor."""
        return self.name[0] if re.fullmatch("[agm][xyz]", self.name) else self.name


@dataclass(frozen=True)
class Header:
    """A table's first line, understood.

    Attributes:
        delimiter: What separates cells.
        columns: All columns in order.
    """

    delimiter: str
    columns: tuple[Column, ...]

    def channels(self) -> list[int]:
        """Return the positions of the channels."""
        return [i for i, column in enumerate(self.columns) if column.role == "channel"]

    def position(self, role: str) -> int | None:
        """Return the position of the one column with a role, if there is one."""
        return next((i for i, column in enumerate(self.columns) if column.role == role), None)


def split_cells(line: str, delimiter: str) -> list[str]:
    """Split one line into its cells, quoted ones included."""
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return line.split(delimiter)


def find_delimiter(line: str) -> str:
    """Guess what separates the cells of a header: what occurs most often outside quotes and brackets."""
    bare = re.sub(r'"[^"]*"|\([^)]*\)|\[[^\]]*\]', "", line)
    return max(DELIMITERS, key=bare.count)


def parse_header(line: str, name: str, options: ReadOptions) -> Header:
    """Understand a table's first line.

    Args:
        line: Without its line end.
        name: What to call the file in messages.
        options: Units and names of columns that the user gave.

    Raises:
        InputError: A column has no name, a name comes twice, one that was asked for is missing, or none is a channel.
    """
    delimiter = find_delimiter(line)
    cells = [cell.strip() for cell in split_cells(line, delimiter)]
    if len(cells) > MAX_COLUMNS:
        raise InputError(f"{name}, line 1: {len(cells)} columns, at most {MAX_COLUMNS} are read")
    for number, cell in enumerate(cells, start=1):
        if not cell or not cell.isprintable() or len(cell) > 80:
            raise InputError(f"{name}, line 1, column {number}: a header of 1 to 80 printable characters is needed")
    given = {options.label_column: "label", options.subject_column: "subject"}
    for wanted in (options.label_column, options.subject_column):
        if wanted is not None and wanted not in cells:
            raise InputError(f"{name}, line 1: no column '{wanted}'; there are {', '.join(cells)[:200]}")
    columns = [_column(cell, given) for cell in cells]
    columns = _named_by_user(columns, given)
    short = [_short_name(c.name) if c.role == "channel" else "" for c in columns]
    wanted_names = [n for n in short if n]
    if len(set(wanted_names)) == len(wanted_names):
        columns = [_renamed(c, n) if n else c for c, n in zip(columns, short, strict=True)]
    times = [c.header for c in columns if c.role == "time"]
    if len(times) > 1:
        raise InputError(f"{name}, line 1: two columns say the time, '{times[0]}' and '{times[1]}'; remove one")
    twice = _first_repeated([c.name if c.role == "channel" else c.header for c in columns])
    if twice is not None:
        raise InputError(f"{name}, line 1: two columns are called '{twice}'; rename one")
    if not any(c.role == "channel" for c in columns):
        raise InputError(f"{name}, line 1: no channels among {', '.join(cells)[:200]}; a header must name them")
    _check_units(columns, name, options)
    return Header(delimiter, tuple(_with_unit(column, options) for column in columns))


def _column(cell: str, given: Mapping[str | None, str]) -> Column:
    if cell in given:
        return Column(cell, given[cell])
    match = _BRACKETS.fullmatch(cell)
    bare, unit = (match[1], match[2]) if match and match[1] else (cell, None)
    lower = bare.lower()
    time = _TIME.fullmatch(bare)
    if time and (unit is None or _time_unit(unit)):
        return Column(cell, "time", unit=_time_unit(unit or time[2] or ""))
    if unit is None and (lower in _LABELS or lower in _SUBJECTS):
        return Column(cell, _LABELS.get(lower) or _SUBJECTS[lower])
    if unit is None and lower in ("trigger", "split"):
        return Column(cell, lower)
    factor = _FACTOR.fullmatch(unit or "")
    if factor and 0 < float(factor[1]) < 1e30:
        return Column(cell, "channel", bare, _unit_name(factor[2]), float(factor[1]))
    return Column(cell, "channel", bare, _unit_name(unit) if unit else None)


def _named_by_user(columns: Sequence[Column], given: Mapping[str | None, str]) -> list[Column]:
    """What the user named beats what is only called so."""
    chosen = {role: header for header, role in given.items() if header is not None}
    return [
        Column(c.header, "ignored") if c.is_text and chosen.get(c.role, c.header) != c.header else c for c in columns
    ]


def _short_name(name: str) -> str:
    match = _AXIS.fullmatch(name)
    sensor = _SENSORS.get(match[1].lower()) if match else None
    return f"{sensor}{match[2].lower()}" if match and sensor else name


def _renamed(column: Column, name: str) -> Column:
    return Column(column.header, column.role, name, column.unit, column.factor)


def _first_repeated(names: Sequence[str]) -> str | None:
    return next((name for i, name in enumerate(names) if name in names[:i]), None)


def _time_unit(text: str) -> str | None:
    unit = _TIME_SPELLINGS.get(text.lower(), text.lower())
    return unit if unit in TIME_UNITS else None


def _unit_name(text: str) -> str:
    """Spell a known unit as we do; leave any other as it is."""
    spelled = _UNIT_SPELLINGS.get(text.strip().lower(), text.strip())
    known = UNITS.get(spelled.lower())
    return known[0] if known else spelled


def _unit_key(key: str) -> str:
    """Spell what units are given for: a channel (``ax``) or a sensor's letter (``a``)."""
    return _SENSORS.get(key.lower(), _short_name(key))


def _check_units(columns: Sequence[Column], name: str, options: ReadOptions) -> None:
    channels = [c for c in columns if c.role == "channel"]
    known = {c.name for c in channels} | {c.header for c in channels} | {c.sensor for c in channels}
    for key in options.units:
        if key not in known and _unit_key(key) not in known:
            raise InputError(
                f"{name}: --units names '{key}', but the channels are {', '.join(c.name for c in channels)[:200]}"
            )


def _with_unit(column: Column, options: ReadOptions) -> Column:
    """Give a channel the unit that the user named, the most specific one; the header's stands where there is none."""
    if column.role != "channel":
        return column
    units = {key: unit for key, unit in options.units.items() if key in (column.header, column.name)}
    by_name = {_unit_key(key): unit for key, unit in options.units.items()}
    for unit in (*units.values(), by_name.get(column.name), by_name.get(column.sensor)):
        if unit is not None:
            return Column(column.header, column.role, column.name, _unit_name(unit), column.factor)
    return column
