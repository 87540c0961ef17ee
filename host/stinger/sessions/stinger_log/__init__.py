"""The Stinger's own recordings: the 17-byte records of its log.

One record is little-endian and packed: ``u32 timestamp_ms, i16 ax, ay, az, gx, gy, gz, u8 trigger``. The
timestamp is ``millis()``, which starts again from zero after 2**32 ms; reading undoes that, however often. Damaged
stretches are found, left out and reported (`stinger_log_sync`); a file that is no log is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stinger.errors import InputError
from stinger.files import read_bytes, write_bytes
from stinger.sessions.describe import DAMAGE
from stinger.sessions.options import ReadOptions
from stinger.sessions.session import Session
from stinger.sessions.stinger_log.csv import CSV_HEADER, parse_csv, read_csv, write_csv
from stinger.sessions.stinger_log.records import COLUMNS, RECORD, to_records, to_session
from stinger.sessions.stinger_log.sync import SIZE, Run, find_runs, looks_like_log

__all__ = [
    "COLUMNS",
    "CSV_HEADER",
    "MAX_FILE_BYTES",
    "NAME",
    "RECORD",
    "SUFFIXES",
    "parse_bin",
    "parse_csv",
    "read",
    "read_bin",
    "read_csv",
    "read_recording",
    "recognise",
    "write",
    "write_bin",
    "write_csv",
]

NAME = "a Stinger log (.bin)"
SUFFIXES = (".bin",)
#: Larger files are refused before they are read.
MAX_FILE_BYTES = 1 << 30

#: Damaged stretches reported one by one; the rest is counted.
_LISTED = 20


def recognise(data_head: bytes, path: Path) -> bool:
    """Say whether a file begins like a log: it has no signature, so its records must make sense."""
    del path
    return looks_like_log(data_head)


def read(path: Path, options: ReadOptions) -> list[Session]:
    """Read a log; it needs no options."""
    del options
    return [read_bin(path)]


def write(sessions: Sequence[Session], path: Path) -> None:
    """Write the one session a log can hold.

    Raises:
        InputError: There are several, it is not a Stinger's, or the place cannot be written.
    """
    if len(sessions) != 1:
        raise InputError(f"{path}: a Stinger log holds one recording, not {len(sessions)}; give a folder")
    write_bin(sessions[0], path)


def read_bin(path: Path) -> Session:
    """Read a Stinger log (``.bin``).

    Raises:
        InputError: The file is missing, empty, or is not a log.
    """
    return parse_bin(read_recording(path), path.name)


def read_recording(path: Path) -> bytes:
    """Read a recording's file, of whatever format, of at most `MAX_FILE_BYTES`.

    Raises:
        InputError: It is missing, not a regular file, unreadable or too large.
    """
    return read_bytes(path, MAX_FILE_BYTES, "give a recording's own file, split if it is too large")


def parse_bin(data: bytes, name: str) -> Session:
    """Turn the bytes of a log into a session; its faults say what was damaged and where.

    Args:
        data: Whole file.
        name: What to call it in messages.

    Raises:
        InputError: See `read_bin`; the line names the byte offset.
    """
    runs = find_runs(data, name)
    parts = [np.frombuffer(data, RECORD, run.count, run.start) for run in runs]
    records = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return to_session(records, name, _faults(data, runs))


def write_bin(session: Session, path: Path) -> None:
    """Write a session as a Stinger log.

    Raises:
        InputError: The session is not a Stinger's (channels, trigger, whole milliseconds), or the place
            cannot be written.
    """
    write_bytes(path, to_records(session).tobytes())


def _faults(data: bytes, runs: Sequence[Run]) -> tuple[str, ...]:
    faults: list[str] = []
    starts = [run.start for run in runs] + [len(data)]
    stops = [0] + [run.stop for run in runs]
    lost = [(stop, start - stop) for stop, start in zip(stops, starts, strict=True) if start > stop]
    for at, size in lost:
        if at + size == len(data) and size < SIZE:
            faults.append(f"{DAMAGE}the file ends in mid-record: {size} of {SIZE} bytes at byte {at} dropped")
        elif at == 0:
            faults.append(f"{DAMAGE}{size} bytes lost at byte 0; the records begin {size} bytes into the file")
        elif at + size == len(data):
            faults.append(f"{DAMAGE}{size} bytes lost at byte {at}, the end of the file")
        else:
            faults.append(f"{DAMAGE}{size} bytes lost at byte {at}; the records go on at byte {at + size}")
    if len(faults) > _LISTED:
        rest = sum(size for _, size in lost[_LISTED:])
        faults[_LISTED:] = [f"{DAMAGE}{rest} bytes lost in {len(lost) - _LISTED} more places"]
    return tuple(faults)
