"""``index.csv``: one row for each window of a dataset.

The first nine columns are the Stinger's own exporter's, empty where they have no meaning; the others are ours.
``session`` and ``subject`` are numbers into ``inputs`` and ``subjects`` of ``meta.json`` (-1: unknown). Of one log
that is cut as the exporter cuts, ``index.csv`` has the exporter's columns only, byte for byte, and ours are in
``rows.csv``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.files import read_bytes
from stinger.windows.dataset import Dataset

MAX_INDEX_BYTES = 256 << 20

_EVENT_COLUMNS = (
    "shot_num",
    "shot_timestamp_ms",
    "distance_to_shot_ms",
    "event_timestamp_ms",
    "window_start_ms",
    "window_end_ms",
)
_THEIRS = ("row", "label", *_EVENT_COLUMNS, "source")
_FIRST_OURS = ("session", "start", "group", "held_out")
_OURS = (*_FIRST_OURS, "embargoed", "subject")
COLUMNS = (*_THEIRS, *_OURS)
#: Lowest value of each of our columns; the flags are 0 or 1.
_LOWEST = {"subject": -1}
_FLAGS = ("held_out", "embargoed")

_ROWS_AT_ONCE = 4096
#: A column of the index: one value per row, or the same text in every row.
_Column = NDArray[Any] | str


@dataclass(frozen=True)
class Rows:
    """What the index says.

    Attributes:
        ours: Our columns by name, each int64, shape ``(n,)``.
        remarks: The exporter's columns that are filled.
    """

    ours: dict[str, NDArray[np.int64]]
    remarks: dict[str, NDArray[np.int64]]


def index_files(dataset: Dataset) -> dict[str, Iterator[str]]:
    """Names of the files of a dataset's index, and their lines; each ends in a single newline, written as CRLF."""
    theirs, ours = _their_columns(dataset), _our_columns(dataset)
    if dataset.meta.get("exporter_index") is True:
        return {"index.csv": _lines(_THEIRS, theirs), "rows.csv": _lines(("row", *_OURS), [theirs[0], *ours])}
    return {"index.csv": _lines(COLUMNS, [*theirs, *ours])}


def read_index(directory: Path, labels: NDArray[np.uint8], advice: str) -> Rows:
    """Read the index of a dataset.

    Raises:
        InputError: A file is missing, or has other columns or another number of rows.
        ValueError: A cell is not what it must be.
    """
    header, rows = _read(directory / "index.csv", len(labels), advice)
    names: tuple[str, ...]
    if header == _THEIRS:
        ours_header, ours_rows = _read(directory / "rows.csv", len(labels), advice)
        if ours_header != ("row", *_OURS):
            raise InputError(f"{directory / 'rows.csv'}: unknown columns; explore again")
        if [row[0] for row in ours_rows] != [row[0] for row in rows]:
            raise ValueError("rows.csv: other rows than index.csv")
        ours, names = [row[1:] for row in ours_rows], ours_header[1:]
    elif header in (COLUMNS, (*_THEIRS, *_FIRST_OURS)):
        names = header[len(_THEIRS) :]
        ours = [row[len(_THEIRS) :] for row in rows]
    else:
        raise InputError(f"{directory / 'index.csv'}: unknown columns; explore again")
    return Rows(_numbers(ours, names), _remarks(rows, labels))


def read_exporter_index(directory: Path, labels: NDArray[np.uint8], advice: str) -> dict[str, NDArray[np.int64]]:
    """Read the index that the Stinger's own exporter wrote: its filled columns by name.

    Raises:
        InputError: The file is missing, or has other columns or another number of rows.
        ValueError: A cell is not what it must be.
    """
    header, rows = _read(directory / "index.csv", len(labels), advice)
    if header != _THEIRS:
        raise InputError(f"{directory / 'index.csv'}: unknown columns; explore again")
    return _remarks(rows, labels)


def _remarks(rows: Sequence[Sequence[str]], labels: NDArray[np.uint8]) -> dict[str, NDArray[np.int64]]:
    if [row[:2] for row in rows] != [[str(i), str(label)] for i, label in enumerate(labels.tolist())]:
        raise ValueError("index.csv: rows or labels differ from labels_u8.bin")
    remarks = {name: [row[2 + i] for row in rows] for i, name in enumerate(_EVENT_COLUMNS)}
    return {name: np.array([int(cell) for cell in cells], np.int64) for name, cells in remarks.items() if all(cells)}


def _their_columns(dataset: Dataset) -> list[_Column]:
    stored = dataset.meta.get("index")
    columns: dict[str, _Column] = dict(stored) if isinstance(stored, dict) else {}
    source: _Column = np.array(("neg", "pos"))[(dataset.labels > 0).astype(int)] if "shot_num" in columns else ""
    return [np.arange(len(dataset)), dataset.labels, *(columns.get(name, "") for name in _EVENT_COLUMNS), source]


def _our_columns(dataset: Dataset) -> list[_Column]:
    embargoed, subject = dataset.embargoed, dataset.subject
    return [
        dataset.session,
        dataset.start,
        dataset.groups,
        dataset.held_out.astype(np.uint8),
        "0" if embargoed is None else embargoed.astype(np.uint8),
        "-1" if subject is None else subject,
    ]


def _lines(header: Sequence[str], columns: Sequence[_Column]) -> Iterator[str]:
    """Write rows a part at a time: as Python objects a large index would take ten times its size."""
    yield ",".join(header) + "\n"
    length = max(len(column) for column in columns if not isinstance(column, str))
    for first in range(0, length, _ROWS_AT_ONCE):
        part = slice(first, min(first + _ROWS_AT_ONCE, length))
        rows = part.stop - part.start
        cells = [[c] * rows if isinstance(c, str) else c[part].tolist() for c in columns]
        for row in zip(*cells, strict=True):
            yield ",".join(map(str, row)) + "\n"


def _read(path: Path, number: int, advice: str) -> tuple[tuple[str, ...], list[list[str]]]:
    lines = read_bytes(path, MAX_INDEX_BYTES, advice).decode("ascii").split("\r\n")
    if lines[-1] != "" or len(lines) != number + 2:
        raise InputError(f"{path}: {len(lines) - 2} rows, expected {number}; explore again")
    header = tuple(lines[0].split(","))
    rows = [line.split(",") for line in lines[1:-1]]
    if any(len(row) != len(header) for row in rows):
        raise ValueError(f"{path.name}: a row has too few or too many columns")
    return header, rows


def _numbers(rows: Sequence[Sequence[str]], names: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    table = np.array([[int(cell) for cell in row] for row in rows], dtype=np.int64).reshape(-1, len(names))
    ours = {name: table[:, i].copy() for i, name in enumerate(names)}
    # Datasets of version 1 say nothing about these.
    ours.setdefault("embargoed", np.zeros(len(table), dtype=np.int64))
    ours.setdefault("subject", np.full(len(table), -1, dtype=np.int64))
    for name, column in ours.items():
        highest = 1 if name in _FLAGS else np.iinfo(np.int64).max
        if len(column) and (column.min() < _LOWEST.get(name, 0) or column.max() > highest):
            raise ValueError(f"index.csv: {name}")
    return ours
