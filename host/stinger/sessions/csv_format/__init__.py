"""Any table of numbers: the header names the channels, a column may be the time, others label, subject and trigger.

Cells are physical numbers and become int16 counts: g, m/s^2, deg/s and rad/s at the Stinger's own resolution, so that
one firmware serves all; for other units one step is chosen from the data, so that nothing clips. What is clipped
nevertheless is a fault with its count.

Written tables read back as they were: times are whole microseconds (``t_us``), a channel's header says its unit
(``ax [g]``), and where the counts have another resolution than that unit's, cells are counts and the header says what
one is worth (``ax [0.001 g]``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.files import read_bytes, write_bytes
from stinger.sessions.csv_format.header import Header, parse_header, split_cells
from stinger.sessions.csv_format.table import Block, read_blocks
from stinger.sessions.csv_format.time import period_from, times_us
from stinger.sessions.csv_format.units import make_channels, own_scale, step_for, to_counts
from stinger.sessions.csv_format.writing import render
from stinger.sessions.options import ReadOptions
from stinger.sessions.session import Event, Session

NAME = "a table with a header (.csv, .tsv)"
SUFFIXES = (".csv", ".tsv")
MAX_FILE_BYTES = 1 << 30
MAX_EVENTS = 100_000

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_ADVICE = "give a recording's own file, split if it is too large"
_DEFAULT = ReadOptions()


def recognise(data_head: bytes, path: Path) -> bool:
    """Say whether a file begins like a table: a line of names and one of as many cells, one of them a number."""
    del path
    lines = data_head.removeprefix(_BYTE_ORDER_MARK).split(b"\n", 2)
    if len(lines) < 2 or b"\0" in lines[0] + lines[1]:
        return False
    try:
        first, second = (line.decode("utf-8").rstrip("\r") for line in lines[:2])
        header = parse_header(first, "", _DEFAULT)
    except (UnicodeDecodeError, InputError):
        return False
    cells = split_cells(second, header.delimiter)
    names = [c.header for c in header.columns]
    return len(cells) == len(names) and not any(map(_is_number, names)) and any(map(_is_number, cells))


def read(path: Path, options: ReadOptions) -> list[Session]:
    """Read a table.

    Raises:
        InputError: It is missing, has no time and no rate is given, or a cell is not what it must be.
    """
    return [parse_table(read_bytes(path, MAX_FILE_BYTES, _ADVICE), path.name, options)]


def write(sessions: Sequence[Session], path: Path) -> None:
    """Write the one session a table can hold.

    Raises:
        InputError: There are several, or the place cannot be written.
    """
    if len(sessions) != 1:
        raise InputError(f"{path}: a CSV table holds one recording, not {len(sessions)}; give a folder")
    write_bytes(path, render(sessions[0], "\t" if path.suffix.lower() == ".tsv" else ","))


def choose_scales(path: Path, options: ReadOptions) -> dict[str, float]:
    """Choose the value of one count of every channel that neither header nor unit settles.

    Raises:
        InputError: See `read`.
    """
    data = read_bytes(path, MAX_FILE_BYTES, _ADVICE).removeprefix(_BYTE_ORDER_MARK)
    header = _header(data, path.name, options)
    return _choose(data, header, path.name)


def parse_table(data: bytes, name: str, options: ReadOptions = _DEFAULT) -> Session:
    """Turn the text of a table into a session.

    Args:
        data: Whole file.
        name: What to call it in messages.
        options: What the file does not say.

    Raises:
        InputError: See `read`; the line names line and column.
    """
    data = data.removeprefix(_BYTE_ORDER_MARK)
    header = _header(data, name, options)
    places = header.channels()
    columns = [header.columns[i] for i in places]
    open_scales = {c.name for c in columns if own_scale(c) is None} - set(options.scales)
    scales = {**(_choose(data, header, name) if open_scales else {}), **options.scales}
    channels = make_channels(columns, scales, name)

    time, trigger = header.position("time"), header.position("trigger")
    if time is None and options.rate_hz is None:
        raise InputError(f"{name}: no time column (t, time, timestamp, also with _s, _ms, _us, _ns); give --rate HZ")
    samples: list[NDArray[np.int16]] = []
    times: list[NDArray[np.float64]] = []
    triggers: list[NDArray[np.uint8]] = []
    words: dict[int, list[NDArray[np.str_]]] = {i: [] for i, c in enumerate(header.columns) if c.is_text}
    clipped = np.zeros(len(columns), dtype=np.int64)
    for block in read_blocks(data, header, name):
        counts, over = to_counts(block.numbers[:, places], columns, channels)
        samples.append(counts)
        clipped += over
        if time is not None:
            times.append(block.numbers[:, time].copy())
        if trigger is not None:
            triggers.append(_trigger(block, trigger, header, name))
        for i, cells in words.items():
            cells.append(block.words[i])
    if sum(map(len, samples)) < 2:
        raise InputError(f"{name}: fewer than two samples; record something longer")
    n = sum(map(len, samples))
    if time is not None:
        t_us = times_us(np.concatenate(times), header.columns[time], name, options.rate_hz)
    else:
        t_us = np.rint(np.arange(n) * (1e6 / (options.rate_hz or 1.0))).astype(np.int64)
    named = {header.columns[i].role: np.concatenate(cells) for i, cells in words.items()}
    label, events = _label(named.get("label"), t_us, name)
    return Session(
        name=name,
        t_us=t_us,
        samples=np.concatenate(samples),
        channels=channels,
        period_us=period_from(t_us, options.rate_hz, name),
        trigger=np.concatenate(triggers) if triggers else None,
        label=label,
        split=_constant(named.get("split"), "split", name),
        subject=_constant(named.get("subject"), "subject", name),
        events=events,
        faults=tuple(
            f"{channel.name}: {count} of {n} values clipped to int16"
            for channel, count in zip(channels, clipped.tolist(), strict=True)
            if count
        ),
    )


def _header(data: bytes, name: str, options: ReadOptions) -> Header:
    if not data.strip():
        raise InputError(f"{name}: the file is empty; give a table with a header")
    line = data[: 1 << 16].partition(b"\n")[0].rstrip(b"\r")
    try:
        return parse_header(line.decode("utf-8"), name, options)
    except UnicodeDecodeError as error:
        raise InputError(f"{name}, line 1: byte {error.start} is not UTF-8 text; this is no table") from error


def _choose(data: bytes, header: Header, name: str) -> dict[str, float]:
    places = [i for i in header.channels() if own_scale(header.columns[i]) is None]
    largest = np.zeros(len(places))
    whole = np.ones(len(places), dtype=np.bool_)
    for block in read_blocks(data, header, name) if places else ():
        values = block.numbers[:, places]
        largest = np.maximum(largest, np.abs(values).max(axis=0))
        whole &= (values == np.rint(values)).all(axis=0)
    sensors: dict[tuple[str, str | None], list[int]] = {}
    for k, i in enumerate(places):
        column = header.columns[i]
        sensors.setdefault((column.sensor, column.unit), []).append(k)
    return {
        header.columns[places[k]].name: step_for(float(largest[members].max()), whole=bool(whole[members].all()))
        for members in sensors.values()
        for k in members
    }


def _trigger(block: Block, at: int, header: Header, name: str) -> NDArray[np.uint8]:
    cells = block.numbers[:, at]
    wrong = np.flatnonzero((cells != 0) & (cells != 1))
    if len(wrong):
        line = block.first_line + int(wrong[0])
        raise InputError(
            f"{name}, line {line}, column '{header.columns[at].header}': {cells[wrong[0]]:g} is neither 0 nor 1"
        )
    return cells.astype(np.uint8)


def _label(cells: NDArray[np.str_] | None, t_us: NDArray[np.int64], name: str) -> tuple[str | None, tuple[Event, ...]]:
    """One label everywhere is the recording's; labels that change are events."""
    if cells is None:
        return None, ()
    starts = np.flatnonzero(np.append(True, cells[1:] != cells[:-1]))
    if len(starts) == 1:
        return str(cells[0]) or None, ()
    if len(starts) > MAX_EVENTS:
        raise InputError(f"{name}: the label changes more than {MAX_EVENTS} times; is it the right column?")
    stops = np.append(starts[1:], len(cells)) - 1
    return None, tuple(
        Event(int(t_us[a]), int(t_us[b]), str(cells[a])) for a, b in zip(starts, stops, strict=True) if cells[a]
    )


def _constant(cells: NDArray[np.str_] | None, what: str, name: str) -> str | None:
    if cells is None:
        return None
    other = np.flatnonzero(cells != cells[0])
    if len(other):
        raise InputError(
            f"{name}, line {int(other[0]) + 2}, column '{what}': the {what} changes; a file holds one, split it"
        )
    return str(cells[0]) or None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
