"""The dataset as a directory that any language can read.

``windows_i16le.bin`` holds the windows one after another (each ``window`` rows of ``channels`` int16,
little-endian), ``labels_u8.bin`` one byte each, ``index.csv`` one row each (CRLF), ``meta.json`` everything
else. These are the names and columns of the Stinger's own exporter; ``session,start,group,held_out`` are ours.

What is read back is checked against itself down to a hash, so changed data are refused. Times and names are
remarks for the reader and not part of it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.files import read_bytes, replace_dir
from stinger.sessions.session import Channel
from stinger.windows.dataset import Dataset
from stinger.windows.describe import MAX_WINDOW
from stinger.windows.labelled import MAX_CLASSES

FORMAT = "stinger-dataset"
#: Raise when a reader of the old layout would misread the new one; keep reading the old ones.
VERSION = 1
_EVENT_COLUMNS = (
    "shot_num",
    "shot_timestamp_ms",
    "distance_to_shot_ms",
    "event_timestamp_ms",
    "window_start_ms",
    "window_end_ms",
)
COLUMNS = ("row", "label", *_EVENT_COLUMNS, "source", "session", "start", "group", "held_out")

_MAX_META_BYTES = 16 << 20
_MAX_INDEX_BYTES = 256 << 20
_MAX_WINDOWS_BYTES = 2 << 30
_MAX_CHANNELS = 32
_ADVICE = "give a directory that `stinger explore` wrote"


def data_hash(dataset: Dataset) -> str:
    """SHA-256 of all that training can see: windows, labels, groups, split, and what the numbers mean.

    Names of inputs and other remarks in ``meta`` do not count, so the same data from another folder is the same.
    """
    head = {
        "classes": list(dataset.classes),
        "channels": [asdict(channel) for channel in dataset.channels],
        "period_us": dataset.period_us,
        "lead_us": dataset.lead_us,
        "shape": list(dataset.windows.shape),
    }
    digest = hashlib.sha256(json.dumps(head, sort_keys=True, separators=(",", ":")).encode())
    digest.update(dataset.windows.astype("<i2").tobytes())
    digest.update(dataset.labels.tobytes())
    for column in (dataset.groups, dataset.session, dataset.start):
        digest.update(column.astype("<i8").tobytes())
    digest.update(dataset.held_out.astype(np.uint8).tobytes())
    return digest.hexdigest()


def write_dataset(dataset: Dataset, directory: Path) -> None:
    """Write a dataset, completely or not at all; an earlier one in the same place is replaced.

    Raises:
        InputError: The place cannot be written or belongs to something else.
    """
    meta = {key: value for key, value in dataset.meta.items() if key != "index"}
    ms = dataset.period_us / 1000
    content = {
        "format": FORMAT,
        "version": VERSION,
        "windows": len(dataset),
        "window_samples": dataset.window,
        "window_ms": dataset.window * ms,
        "lead_ms": dataset.lead_us / 1000,
        "estimated_dt_ms": ms,
        "period_us": dataset.period_us,
        "lead_us": dataset.lead_us,
        "dtype": "int16",
        "endianness": "little",
        "channels": [asdict(channel) for channel in dataset.channels],
        "classes": list(dataset.classes),
        "data_hash": data_hash(dataset),
        "meta": meta,
    }
    with replace_dir(directory) as building:
        (building / "windows_i16le.bin").write_bytes(dataset.windows.astype("<i2").tobytes())
        (building / "labels_u8.bin").write_bytes(dataset.labels.tobytes())
        (building / "meta.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
        (building / "index.csv").write_bytes(_index_text(dataset).encode("ascii"))


def read_dataset(directory: Path) -> Dataset:
    """Read a dataset back.

    Raises:
        InputError: A file is missing or too large, sizes contradict each other, or the content is not what the
            stored hash says.
    """
    meta = _read_meta(directory)
    try:
        dataset = _read_arrays(directory, meta)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        what = " ".join(str(error).split())[:100]
        raise InputError(f"{directory}: meta.json or index.csv is damaged ({what}); explore again") from error
    if data_hash(dataset) != meta.get("data_hash"):
        raise InputError(f"{directory}: the files were changed after they were written; explore again")
    return dataset


def _index_text(dataset: Dataset) -> str:
    stored = dataset.meta.get("index")
    columns: dict[str, list[Any]] = dict(stored) if isinstance(stored, dict) else {}
    blank = [""] * len(dataset)
    binary = "shot_num" in columns
    rows = zip(
        range(len(dataset)),
        dataset.labels.tolist(),
        *(columns.get(name, blank) for name in _EVENT_COLUMNS),
        ["pos" if label else "neg" for label in dataset.labels.tolist()] if binary else blank,
        dataset.session.tolist(),
        dataset.start.tolist(),
        dataset.groups.tolist(),
        dataset.held_out.astype(int).tolist(),
        strict=True,
    )
    return "\r\n".join([",".join(COLUMNS), *(",".join(map(str, row)) for row in rows)]) + "\r\n"


def _read_meta(directory: Path) -> dict[str, Any]:
    path = directory / "meta.json"
    try:
        meta = json.loads(read_bytes(path, _MAX_META_BYTES, _ADVICE))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON; explore again") from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise InputError(f"{path} does not describe a dataset made by explore; explore the recording again")
    if meta.get("version") != VERSION:
        raise InputError(f"{path} has version {meta.get('version')!r}, this stinger reads {VERSION}; explore again")
    return meta


def _read_arrays(directory: Path, meta: dict[str, Any]) -> Dataset:
    number = _integer(meta["windows"], "windows", 0, 1 << 31)
    window = _integer(meta["window_samples"], "window_samples", 1, MAX_WINDOW)
    classes = tuple(meta["classes"])
    if not 1 <= len(classes) <= MAX_CLASSES or not all(isinstance(name, str) for name in classes):
        raise ValueError("classes")
    channels = tuple(_channel(entry) for entry in meta["channels"])
    if not 1 <= len(channels) <= _MAX_CHANNELS or not isinstance(meta["meta"], dict):
        raise ValueError("channels or meta")
    raw = read_bytes(directory / "windows_i16le.bin", _MAX_WINDOWS_BYTES, _ADVICE)
    labels = np.frombuffer(read_bytes(directory / "labels_u8.bin", _MAX_INDEX_BYTES, _ADVICE), dtype=np.uint8)
    expected = number * window * len(channels) * 2
    if len(raw) != expected or len(labels) != number:
        raise InputError(
            f"{directory}: {number} windows take {expected} bytes and as many labels, "
            f"found {len(raw)} and {len(labels)}; explore again"
        )
    if number and int(labels.max()) >= len(classes):
        raise InputError(f"{directory}: label {labels.max()} of {len(classes)} classes; explore again")
    ours, index = _read_index(directory / "index.csv", labels)
    return Dataset(
        windows=np.frombuffer(raw, dtype="<i2").reshape(number, window, len(channels)).astype(np.int16),
        labels=labels.copy(),
        classes=classes,
        session=ours[:, 0].copy(),
        start=ours[:, 1].copy(),
        groups=ours[:, 2].copy(),
        held_out=ours[:, 3].astype(np.bool_),
        channels=channels,
        period_us=_integer(meta["period_us"], "period_us", 1, 1 << 40),
        lead_us=_integer(meta["lead_us"], "lead_us", 0, 1 << 40),
        meta={**meta["meta"], "index": index},
    )


def _read_index(path: Path, labels: NDArray[np.uint8]) -> tuple[NDArray[np.int64], dict[str, list[int]]]:
    """Return our four columns, shape ``(n, 4)``, and those of the events that are filled."""
    lines = read_bytes(path, _MAX_INDEX_BYTES, _ADVICE).decode("ascii").split("\r\n")
    if lines[0] != ",".join(COLUMNS) or lines[-1] != "" or len(lines) != len(labels) + 2:
        raise InputError(f"{path}: {len(lines) - 2} rows of its columns, expected {len(labels)}; explore again")
    rows = [line.split(",") for line in lines[1:-1]]
    if any(len(row) != len(COLUMNS) for row in rows):
        raise ValueError("index.csv: a row has too few or too many columns")
    if [row[:2] for row in rows] != [[str(i), str(label)] for i, label in enumerate(labels.tolist())]:
        raise ValueError("index.csv: rows or labels differ from labels_u8.bin")
    ours = np.array([[int(cell) for cell in row[-4:]] for row in rows], dtype=np.int64).reshape(-1, 4)
    if (ours[:, :3] < 0).any() or not np.isin(ours[:, 3], (0, 1)).all():
        raise ValueError("index.csv: session, start, group or held_out")
    columns = {name: [row[2 + i] for row in rows] for i, name in enumerate(_EVENT_COLUMNS)}
    return ours, {name: [int(cell) for cell in cells] for name, cells in columns.items() if all(cells)}


def _channel(entry: dict[str, Any]) -> Channel:
    name, unit, scale = entry["name"], entry["unit"], entry["scale"]
    if not isinstance(name, str) or not isinstance(unit, str) or not isinstance(scale, float | int):
        raise TypeError("channels")
    if not 0 < scale < 1e9:
        raise ValueError("a channel's scale is not positive")
    return Channel(name, unit, float(scale))


def _integer(value: object, name: str, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name} is not within {low}..{high}")
    return value
