"""Finished units of work on disk, so that an interrupted run continues: one line of JSON for each.

A line is written with a single call and forced to the disk before the next unit counts as done. A crash can leave half
a line at the end; reading ignores what is no complete line, and that unit is done again.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from stinger.errors import InputError
from stinger.files import read_bytes

_MAX_BYTES = 1 << 30
_ADVICE = "remove it to start again"


class UnitStore:
    """Results by key, in a file that only grows; use it with ``with`` to add to it.

    Args:
        path: The file; need not exist yet.

    Attributes:
        damaged: Lines that could not be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None
        self._results: dict[str, dict[str, Any]] = {}
        self._whole = True
        self.damaged = 0
        if path.exists():
            self._read()

    def __len__(self) -> int:
        return len(self._results)

    def __contains__(self, key: str) -> bool:
        return key in self._results

    def __getitem__(self, key: str) -> dict[str, Any]:
        """Return the result of a unit that is done."""
        return self._results[key]

    def __enter__(self) -> UnitStore:
        """Open the file for adding, and keep others from doing so.

        Raises:
            InputError: The place cannot be written, or another run is writing there.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            _lock(self._handle, self._path)
            if not self._whole:
                os.write(self._handle, b"\n")
                self._whole = True
        except OSError as error:
            raise InputError(f"cannot write {self._path}: {error.strerror or error}; choose another --out") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def add(self, key: str, name: str, result: dict[str, Any]) -> None:
        """Keep a result.

        Raises:
            InputError: The disk is full, or the place is gone.
        """
        if self._handle is None:
            raise RuntimeError("the store is not open")
        line = json.dumps({"unit": key, "name": name, "result": result}, separators=(",", ":"), allow_nan=False)
        data = line.encode() + b"\n"
        try:
            if os.write(self._handle, data) != len(data):
                raise InputError(f"cannot write {self._path}: the disk is full; make room and run it again")
            os.fsync(self._handle)
        except OSError as error:
            raise InputError(f"cannot write {self._path}: {error.strerror or error}; choose another --out") from error
        self._results[key] = json.loads(line)["result"]

    def _read(self) -> None:
        data = read_bytes(self._path, _MAX_BYTES, _ADVICE)
        self._whole = data.endswith(b"\n") or not data
        for line in data.split(b"\n"):
            if not line:
                continue
            entry = _entry(line)
            if entry is None:
                self.damaged += 1
                continue
            # The first one counts: what a report once said stays so.
            self._results.setdefault(*entry)


def _lock(handle: int, path: Path) -> None:
    """Lock a file until its handle is closed, which a killed process's are."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise InputError(f"another run is writing to {path}; wait for it, or choose another --out") from error


def _entry(line: bytes) -> tuple[str, dict[str, Any]] | None:
    """Key and result of a line, or None where it is damaged."""
    try:
        entry = json.loads(line)
        key, result = entry["unit"], entry["result"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return (key, result) if isinstance(key, str) and isinstance(result, dict) else None
