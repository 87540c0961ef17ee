"""The Stinger's log as text: ``timestamp_ms,ax,ay,az,gx,gy,gz,trigger``, integers only.

Text can be corrected by hand, so whatever is wrong is refused with its line and column; only a last line that was cut
short is dropped and reported.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.files import read_bytes, write_bytes
from stinger.sessions.describe import DAMAGE
from stinger.sessions.options import ReadOptions
from stinger.sessions.session import STINGER_CHANNELS, Session
from stinger.sessions.stinger_log.records import (
    COLUMNS,
    MAX_PAUSE_MS,
    RECORD,
    WRAP_MS,
    steps_ms,
    to_records,
    to_session,
)

NAME = "a Stinger CSV log (.csv)"
SUFFIXES = (".csv",)
CSV_HEADER = ",".join(COLUMNS)
#: Larger files are refused before they are read.
MAX_FILE_BYTES = 1 << 30

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_CHUNK_BYTES = 1 << 24
_WRITE_ROWS = 1 << 16
_LINES = re.compile(rb"(?:-?[0-9]{1,10}(?:,-?[0-9]{1,10}){7}\r?\n)*+")
_CUT_LINE = re.compile(rb"(?:-?[0-9]{1,10}(?:,-?[0-9]{1,10}){0,6})?,?-?")
_INTEGER = re.compile(r"-?[0-9]+")
_RANGES = {"timestamp_ms": (0, WRAP_MS - 1), "trigger": (0, 1)} | {
    channel.name: (-32768, 32767) for channel in STINGER_CHANNELS
}


def recognise(data_head: bytes, path: Path) -> bool:
    """Say whether a file begins with the log's own header."""
    del path
    return _header_of(data_head) == CSV_HEADER.encode()


def read(path: Path, options: ReadOptions) -> list[Session]:
    """Read a CSV log; it needs no options."""
    del options
    return [read_csv(path)]


def write(sessions: Sequence[Session], path: Path) -> None:
    """Write the one session a CSV log can hold; see `write_csv`."""
    if len(sessions) != 1:
        raise InputError(f"{path}: a Stinger CSV log holds one recording, not {len(sessions)}; give a folder")
    write_csv(sessions[0], path)


def read_csv(path: Path) -> Session:
    """Read a Stinger log in its CSV form.

    Raises:
        InputError: The file is missing or empty, or a cell is not what it must be.
    """
    data = read_bytes(path, MAX_FILE_BYTES, "give a recording's own file, split if it is too large")
    return parse_csv(data, path.name)


def parse_csv(data: bytes, name: str) -> Session:
    """Turn the text of a CSV log into a session.

    Args:
        data: Whole file.
        name: What to call it in messages.

    Raises:
        InputError: See `read_csv`; the line names line and column.
    """
    if not data.strip():
        raise InputError(f"{name}: the file is empty; convert the log again")
    if _header_of(data) != CSV_HEADER.encode():
        raise InputError(f"{name}: line 1 must be {CSV_HEADER!r}; this is not a Stinger CSV log")
    position = data.find(b"\n") + 1 or len(data)
    # The last column is one digit wide: a last line with all columns is whole without its newline.
    end = data.rfind(b"\n") + 1
    last = data[end:].rstrip(b"\r") if end >= position else b""
    faults: tuple[str, ...] = ()
    chunks: list[NDArray[np.void]] = []
    lines = 0
    while position < end:
        stop = data.rfind(b"\n", position, position + _CHUNK_BYTES) + 1
        if stop == 0:
            raise InputError(f"{name}, line {lines + 2}: longer than {_CHUNK_BYTES} bytes; not a Stinger CSV log")
        chunks.append(_parse_lines(data[position:stop], name, lines + 2))
        lines += len(chunks[-1])
        position = stop
    if last and _CUT_LINE.fullmatch(last):
        faults = (f"{DAMAGE}line {lines + 2} is cut short: {len(last)} characters dropped",)
    elif last:
        chunks.append(_parse_lines(last + b"\n", name, lines + 2))
    if not chunks:
        raise InputError(f"{name}: a header and no samples; record something first")
    records = chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
    _refuse_leaps(records, name)
    return to_session(records, name, faults)


def write_csv(session: Session, path: Path) -> None:
    """Write a session as a Stinger CSV log.

    Raises:
        InputError: The session is not a Stinger's (channels, trigger, whole milliseconds), or the place
            cannot be written.
    """
    records = to_records(session)
    parts = [CSV_HEADER + "\n"]
    for start in range(0, len(records), _WRITE_ROWS):
        block = records[start : start + _WRITE_ROWS]
        table = np.column_stack([block["timestamp_ms"].astype(np.int64), block["counts"], block["trigger"]])
        parts.append("".join(",".join(map(str, row)) + "\n" for row in table.tolist()))
    write_bytes(path, "".join(parts).encode("ascii"))


def _header_of(data: bytes) -> bytes:
    return data[:256].removeprefix(_BYTE_ORDER_MARK).partition(b"\n")[0].rstrip(b"\r")


def _refuse_leaps(records: NDArray[np.void], name: str) -> None:
    stamps = np.ascontiguousarray(records["timestamp_ms"])
    wrong = np.flatnonzero(steps_ms(stamps) > MAX_PAUSE_MS)
    if len(wrong):
        at = int(wrong[0]) + 1
        raise InputError(
            f"{name}, line {at + 2}, column 'timestamp_ms': the timestamp goes from {stamps[at - 1]} to {stamps[at]} "
            "ms; the log is damaged or two were joined; correct it or dump the log again"
        )


def _parse_lines(text: bytes, name: str, first_line: int) -> NDArray[np.void]:
    """Parse whole CSV lines; the first wrong one is found by where the pattern stopped."""
    match = _LINES.match(text)
    end = match.end() if match else 0
    cells = text[:end].replace(b"\n", b",").decode("ascii")
    table = np.fromstring(cells, dtype=np.int64, sep=",").reshape(-1, len(COLUMNS))
    low, high = np.array([_RANGES[column] for column in COLUMNS]).T
    wrong = np.argwhere((table < low) | (table > high))
    if len(wrong):
        at, column = wrong[0].tolist()
        raise InputError(_bad_cell(name, first_line + at, COLUMNS[column], str(table[at, column])))
    if end < len(text):
        line = text[end : text.index(b"\n", end)].rstrip(b"\r").decode("utf-8", "replace")
        raise InputError(_bad_line(name, first_line + len(table), line))
    records = np.empty(len(table), dtype=RECORD)
    records["timestamp_ms"] = table[:, 0]
    records["counts"] = table[:, 1:7]
    records["trigger"] = table[:, 7]
    return records


def _bad_line(name: str, number: int, line: str) -> str:
    cells = line.split(",")
    for column, cell in zip(COLUMNS, cells, strict=False):
        if not _INTEGER.fullmatch(cell):
            return _bad_cell(name, number, column, cell)
    if len(cells) != len(COLUMNS):
        return (
            f"{name}, line {number}: {len(cells)} of {len(COLUMNS)} columns, it is cut short or damaged; "
            "convert the log again"
        )
    wide = max(zip(COLUMNS, cells, strict=True), key=lambda pair: len(pair[1]))
    return _bad_cell(name, number, *wide)


def _bad_cell(name: str, number: int, column: str, cell: str) -> str:
    shown = repr(cell if len(cell) <= 20 else cell[:20] + "...")
    low, high = _RANGES[column]
    problem = f"is not within {low}..{high}" if _INTEGER.fullmatch(cell) else "is not an integer"
    return f"{name}, line {number}, column '{column}': {shown} {problem}; correct or convert the log again"
