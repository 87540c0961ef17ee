"""The dataset as a directory that any language can read.

``windows_i16le.bin`` holds the windows one after another (each ``window`` rows of ``channels`` int16,
little-endian), ``labels_u8.bin`` one byte each, ``index.csv`` one row each (`stinger.windows.index_file`),
``meta.json`` everything else. These are the names, columns and keys of the Stinger's own exporter; what it does not
have is ours.

What is read back is checked against itself down to a hash, so changed data are refused. Times and names are
remarks for the reader and not part of it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
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
from stinger.windows.exported import exported_dataset, is_exported, sizes
from stinger.windows.exporter import EXPORTER_KEYS
from stinger.windows.index_file import MAX_INDEX_BYTES, index_files, read_exporter_index, read_index
from stinger.windows.labelled import MAX_CLASSES
from stinger.windows.spill import unload

FORMAT = "stinger-dataset"
#: Raise when a reader of the old layout would misread the new one; keep reading the old ones.
#: Version 1 had objects in `channels`, its name in `format`, and no embargoed windows.
VERSION = 2

_MAX_META_BYTES = 64 << 20
_MAX_WINDOWS_BYTES = 2 << 30
_MAX_CHANNELS = 32
_ADVICE = "give a directory that `stinger explore` wrote"
_ROWS_AT_ONCE = 4096
_FILES = ("windows_i16le.bin", "labels_u8.bin", "index.csv")


def data_hash(dataset: Dataset) -> str:
    """SHA-256 of all that training can see: windows, labels, groups, split, and what the numbers mean.

    Embargoed windows do not count, nor names of inputs and other remarks in ``meta``, so the same data from another
    folder is the same.
    """
    usable = dataset.held_out | dataset.training
    return str(_hash(dataset, usable).hexdigest())


def write_dataset(dataset: Dataset, directory: Path) -> None:
    """Write a dataset, completely or not at all; an earlier one in the same place is replaced.

    Raises:
        InputError: The place cannot be written or belongs to something else.
    """
    exporter = dataset.meta.get("exporter")
    content = {**_own_keys(dataset), **(exporter if isinstance(exporter, dict) else {})}
    content["meta"] = {key: value for key, value in dataset.meta.items() if key not in ("index", "exporter")}
    with replace_dir(directory) as building:
        with (building / "windows_i16le.bin").open("wb") as stream:
            for part in _parts(dataset):
                stream.write(dataset.windows[part].astype("<i2").tobytes())
        (building / "labels_u8.bin").write_bytes(dataset.labels.tobytes())
        (building / "meta.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
        for name, lines in index_files(dataset).items():
            with (building / name).open("w", encoding="ascii", newline="\r\n") as table:
                table.writelines(lines)


def read_dataset(directory: Path, *, whole: bool = False) -> Dataset:
    """Read a dataset back, or one that the Stinger's own exporter wrote (`stinger.windows.exported`).

    Args:
        directory: Where it is.
        whole: Keep the embargoed windows, marked as such: for splitting anew. Otherwise every window that is not
            held out is for training.

    Raises:
        InputError: A file is missing or too large, sizes contradict each other, or the content is not what the
            stored hash says.
    """
    meta = _read_meta(directory)
    theirs = is_exported(meta)
    try:
        dataset = _read_exported(directory, meta) if theirs else _read_arrays(directory, meta)
        hashes = (data_hash(dataset), _whole_hash(dataset))
    except (KeyError, TypeError, ValueError, OverflowError, IndexError) as error:
        what = " ".join(str(error).split())[:100]
        raise InputError(f"{directory}: meta.json or index.csv is damaged ({what}); explore again") from error
    # The exporter writes no hashes.
    if not theirs and (
        hashes[0] != meta.get("data_hash") or (meta["version"] > 1 and hashes[1] != meta.get("whole_hash"))
    ):
        raise InputError(f"{directory}: the files were changed after they were written; explore again")
    return dataset if whole else dataset.without_embargoed()


def _parts(dataset: Dataset) -> Iterator[slice]:
    """Cut the rows into parts, so that no second copy of all windows is ever made."""
    for first in range(0, len(dataset), _ROWS_AT_ONCE):
        yield slice(first, first + _ROWS_AT_ONCE)
        unload(dataset.windows)


def _hash(dataset: Dataset, rows: NDArray[np.bool_]) -> Any:
    head = {
        "classes": list(dataset.classes),
        "channels": [asdict(channel) for channel in dataset.channels],
        "period_us": dataset.period_us,
        "lead_us": dataset.lead_us,
        "shape": [int(rows.sum()), *dataset.windows.shape[1:]],
    }
    digest = hashlib.sha256(json.dumps(head, sort_keys=True, separators=(",", ":")).encode())
    for part in _parts(dataset):
        digest.update(dataset.windows[part][rows[part]].astype("<i2").tobytes())
    digest.update(dataset.labels[rows].tobytes())
    for column in (dataset.groups, dataset.session, dataset.start):
        digest.update(column[rows].astype("<i8").tobytes())
    digest.update(dataset.held_out[rows].astype(np.uint8).tobytes())
    return digest


def _whole_hash(dataset: Dataset) -> str:
    """SHA-256 of all rows, embargoed ones too, and of who was recorded."""
    digest = _hash(dataset, np.ones(len(dataset), dtype=np.bool_))
    digest.update(dataset.training.astype(np.uint8).tobytes())
    if dataset.subject is not None:
        digest.update(dataset.subject.astype("<i8").tobytes())
    return str(digest.hexdigest())


def _own_keys(dataset: Dataset) -> dict[str, Any]:
    ms = dataset.period_us / 1000
    names = [channel.name for channel in dataset.channels]
    return {
        "dataset": FORMAT,
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
        "channels": names,
        "channel_units": [asdict(channel) for channel in dataset.channels],
        "classes": list(dataset.classes),
        "format": {
            "windows_i16le.bin": "concatenated windows; each window is window_samples rows of "
            f"{len(names)} int16 ({','.join(names)})",
            "labels_u8.bin": "one byte per window (0/1), in the same order as windows"
            if len(dataset.classes) == 2
            else "one byte per window (index into classes), in the same order as windows",
            "index.csv": "row metadata matching the binary order",
        },
        "data_hash": data_hash(dataset),
        "whole_hash": _whole_hash(dataset),
        "meta": {},
    }


def _read_meta(directory: Path) -> dict[str, Any]:
    path = directory / "meta.json"
    try:
        meta = json.loads(read_bytes(path, _MAX_META_BYTES, _ADVICE))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON; explore again") from error
    if isinstance(meta, dict) and is_exported(meta):
        return meta
    if not isinstance(meta, dict) or FORMAT not in (meta.get("dataset"), meta.get("format")):
        raise InputError(f"{path} does not describe a dataset made by explore; explore the recording again")
    version = meta.get("version")
    if version not in (1, VERSION) or isinstance(version, bool):
        raise InputError(f"{path} has version {version!r}, this stinger reads 1 to {VERSION}; explore again")
    return meta


def _read_arrays(directory: Path, meta: dict[str, Any]) -> Dataset:
    number = _integer(meta["windows"], "windows", 0, 1 << 31)
    window = _integer(meta["window_samples"], "window_samples", 1, MAX_WINDOW)
    classes = tuple(meta["classes"])
    if not 1 <= len(classes) <= MAX_CLASSES or not all(isinstance(name, str) for name in classes):
        raise ValueError("classes")
    channels = tuple(_channel(entry) for entry in meta["channel_units" if meta["version"] > 1 else "channels"])
    if not 1 <= len(channels) <= _MAX_CHANNELS or not isinstance(meta["meta"], dict):
        raise ValueError("channels or meta")
    if meta["version"] > 1 and meta["channels"] != [channel.name for channel in channels]:
        raise ValueError("channels")
    windows, labels = _read_windows(directory, (number, window, len(channels)), len(classes))
    rows = read_index(directory, labels, _ADVICE)
    embargoed, subject = rows.ours["embargoed"] > 0, rows.ours["subject"]
    remarks = {**meta["meta"], "index": rows.remarks}
    exporter = {key: value for key, value in meta.items() if key in EXPORTER_KEYS}
    if remarks.get("kind") == "shots" and "positives" in exporter:
        remarks["exporter"] = exporter
    return Dataset(
        windows=windows,
        labels=labels,
        classes=classes,
        session=rows.ours["session"],
        start=rows.ours["start"],
        groups=rows.ours["group"],
        held_out=rows.ours["held_out"] > 0,
        channels=channels,
        period_us=_integer(meta["period_us"], "period_us", 1, 1 << 40),
        lead_us=_integer(meta["lead_us"], "lead_us", 0, 1 << 40),
        meta=remarks,
        embargoed=embargoed if embargoed.any() else None,
        subject=subject if (subject >= 0).any() else None,
    )


def _read_exported(directory: Path, meta: dict[str, Any]) -> Dataset:
    windows, labels = _read_windows(directory, sizes(meta), 2)
    return exported_dataset(meta, windows, labels, read_exporter_index(directory, labels, _ADVICE))


def _read_windows(
    directory: Path, shape: tuple[int, int, int], classes: int
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    raw = read_bytes(directory / _FILES[0], _MAX_WINDOWS_BYTES, _ADVICE)
    labels = np.frombuffer(read_bytes(directory / _FILES[1], MAX_INDEX_BYTES, _ADVICE), dtype=np.uint8)
    expected = math.prod(shape) * 2
    if len(raw) != expected or len(labels) != shape[0]:
        raise InputError(
            f"{directory}: {shape[0]} windows take {expected} bytes and as many labels, "
            f"found {len(raw)} and {len(labels)}; explore again"
        )
    if len(labels) and int(labels.max()) >= classes:
        raise InputError(f"{directory}: label {labels.max()} of {classes} classes; explore again")
    return np.frombuffer(raw, dtype="<i2").reshape(shape).astype(np.int16), labels.copy()


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
