"""The Stinger's own recordings: the 17-byte records of its log, and the same as CSV.

One record is little-endian and packed: ``u32 timestamp_ms, i16 ax, ay, az, gx, gy, gz, u8 trigger``. The
timestamp is ``millis()``, which starts again from zero after 2**32 ms; reading undoes that. A log in which
anything else goes backwards is refused, because every window cut from it would be a lie.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.files import read_bytes, write_bytes
from stinger.sessions.session import STINGER_CHANNELS, Session

#: One record of the log.
RECORD = np.dtype([("timestamp_ms", "<u4"), ("counts", "<i2", (6,)), ("trigger", "u1")])
COLUMNS = ("timestamp_ms", *(channel.name for channel in STINGER_CHANNELS), "trigger")
CSV_HEADER = ",".join(COLUMNS)
#: Larger files are refused before they are read.
MAX_FILE_BYTES = 1 << 30

_WRAP_MS = 1 << 32
#: A longer silence inside one log is taken for a damaged timestamp.
_MAX_PAUSE_MS = 24 * 3600 * 1000
_CSV_CHUNK_BYTES = 1 << 24
_CSV_LINES = re.compile(rb"(?:-?[0-9]{1,10}(?:,-?[0-9]{1,10}){7}\r?\n)*+")
_INTEGER = re.compile(r"-?[0-9]+")
_RANGES = {"timestamp_ms": (0, _WRAP_MS - 1), "trigger": (0, 1)} | {
    channel.name: (-32768, 32767) for channel in STINGER_CHANNELS
}


def read_bin(path: Path) -> Session:
    """Read a Stinger log (``.bin``).

    Raises:
        InputError: The file is missing, empty, cut in mid-record, misaligned or damaged.
    """
    return parse_bin(read_recording(path), path.name)


def read_csv(path: Path) -> Session:
    """Read a Stinger log in its CSV form.

    Raises:
        InputError: The file is missing, empty, cut short, or a cell is not what it must be.
    """
    return parse_csv(read_recording(path), path.name)


def read_recording(path: Path) -> bytes:
    """Read a recording's file, of whatever format, of at most `MAX_FILE_BYTES`.

    Raises:
        InputError: It is missing, not a regular file, unreadable or too large.
    """
    return read_bytes(path, MAX_FILE_BYTES, "give a recording's own file, split if it is too large")


def parse_bin(data: bytes, name: str) -> Session:
    """Turn the bytes of a log into a session.

    Args:
        data: Whole file.
        name: What to call it in messages.

    Raises:
        InputError: See `read_bin`; the line names the byte offset.
    """
    size = RECORD.itemsize
    whole, tail = divmod(len(data), size)
    if not whole:
        what = f"only {tail} bytes long" if tail else "empty"
        raise InputError(f"{name}: the file is {what}; dump the log again")
    records = np.frombuffer(data, dtype=RECORD, count=whole)
    wrong = np.flatnonzero(records["trigger"] > 1)
    if len(wrong):
        at = int(wrong[0])
        raise InputError(
            f"{name}: byte {at * size + size - 1} must be a trigger, 0 or 1, not {records['trigger'][at]}; "
            f"{_explain_misalignment(data)}; dump the log again"
        )
    t_ms = _unwrap(records["timestamp_ms"], name, lambda i: f"byte {i * size}")
    if tail:
        raise InputError(
            f"{name}: the file ends in mid-record: {tail} of {size} bytes at byte {whole * size}; "
            f"dump the log again, or cut the file to {whole * size} bytes"
        )
    return _session(records, t_ms, name)


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
    header, _, body = data.removeprefix(b"\xef\xbb\xbf").partition(b"\n")
    if header.rstrip(b"\r") != CSV_HEADER.encode():
        raise InputError(f"{name}: line 1 must be {CSV_HEADER!r}; this is not a Stinger CSV log")
    if body and not body.endswith(b"\n"):
        # The last column is one digit wide: a last line with all columns is whole without its newline.
        body += b"\n"
    chunks: list[NDArray[np.void]] = []
    position = lines = 0
    while position < len(body):
        stop = body.rfind(b"\n", position, position + _CSV_CHUNK_BYTES) + 1
        if stop == 0:
            raise InputError(f"{name}, line {lines + 2}: longer than {_CSV_CHUNK_BYTES} bytes; not a Stinger CSV log")
        chunks.append(_parse_lines(body[position:stop], name, lines + 2))
        lines += len(chunks[-1])
        position = stop
    if not chunks:
        raise InputError(f"{name}: a header and no samples; record something first")
    records = np.concatenate(chunks)
    return _session(records, _unwrap(records["timestamp_ms"], name, lambda i: f"line {i + 2}"), name)


def write_bin(session: Session, path: Path) -> None:
    """Write a session as a Stinger log.

    Raises:
        InputError: The session is not a Stinger's (channels, trigger, whole milliseconds), or the place
            cannot be written.
    """
    write_bytes(path, _records(session).tobytes())


def write_csv(session: Session, path: Path) -> None:
    """Write a session as a Stinger CSV log; see `write_bin`."""
    records = _records(session)
    table = np.column_stack(
        [records["timestamp_ms"].astype(np.int64), records["counts"], records["trigger"]],
    )
    lines = [CSV_HEADER, *(",".join(map(str, row)) for row in table.tolist())]
    write_bytes(path, ("\n".join(lines) + "\n").encode("ascii"))


def _session(records: NDArray[np.void], t_ms: NDArray[np.int64], name: str) -> Session:
    steps = np.diff(t_ms)
    steps = steps[steps > 0]
    if not len(steps):
        raise InputError(f"{name}: {len(records)} samples and no passage of time; record something longer")
    return Session(
        name=name,
        t_us=t_ms * 1000,
        samples=np.ascontiguousarray(records["counts"]).astype(np.int16),
        channels=STINGER_CHANNELS,
        period_us=round(float(np.median(steps)) * 1000),
        trigger=records["trigger"].astype(np.uint8),
    )


def _unwrap(stamps: NDArray[np.uint32], name: str, where: Callable[[int], str]) -> NDArray[np.int64]:
    """Undo the wrap of ``millis()``; whatever else runs backwards or leaps is refused."""
    t_ms = stamps.astype(np.int64)
    steps = _steps(stamps)
    wrong = np.flatnonzero(steps > _MAX_PAUSE_MS)
    if len(wrong):
        at = int(wrong[0]) + 1
        raise InputError(
            f"{name}, {where(at)}: the timestamp goes from {t_ms[at - 1]} to {t_ms[at]} ms; "
            "the log is damaged or two were joined; dump it again"
        )
    t_ms[1:] = t_ms[0] + np.cumsum(steps)
    return t_ms


def _steps(stamps: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Time between records modulo 2**32: a wrap is a small step forwards, a step backwards a huge one."""
    return np.mod(np.diff(stamps.astype(np.int64)), _WRAP_MS)


def _explain_misalignment(data: bytes) -> str:
    """Say whether another record boundary fits the whole log, which tells lost bytes from damaged ones."""
    for shift in range(1, RECORD.itemsize):
        moved = np.frombuffer(data, dtype=RECORD, offset=shift, count=(len(data) - shift) // RECORD.itemsize)
        steps = _steps(moved["timestamp_ms"])
        if len(moved) > 1 and (moved["trigger"] <= 1).all() and (steps <= _MAX_PAUSE_MS).all():
            return f"the records begin {shift} bytes into the file"
    return "bytes were lost or damaged before it, or this is not a Stinger log"


def _parse_lines(text: bytes, name: str, first_line: int) -> NDArray[np.void]:
    """Parse whole CSV lines; the first wrong one is found by where the pattern stopped."""
    match = _CSV_LINES.match(text)
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


def _records(session: Session) -> NDArray[np.void]:
    names = tuple(channel.name for channel in session.channels)
    if names != COLUMNS[1:7]:
        raise InputError(
            f"{session.name}: a Stinger log has channels {', '.join(COLUMNS[1:7])}, not {', '.join(names)}"
        )
    if session.trigger is None:
        raise InputError(f"{session.name}: a Stinger log has a trigger, this recording has none")
    if (session.t_us % 1000).any() or (session.t_us < 0).any():
        raise InputError(f"{session.name}: a Stinger log holds whole milliseconds from 0 on, this one does not")
    records = np.empty(len(session), dtype=RECORD)
    records["timestamp_ms"] = (session.t_us // 1000) % _WRAP_MS
    records["counts"] = session.samples
    records["trigger"] = session.trigger
    return records
