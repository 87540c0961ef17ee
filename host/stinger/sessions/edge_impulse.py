"""Edge Impulse exports: a zip of labelled acquisitions in JSON.

``training/`` and ``testing/`` hold one JSON file per acquisition (``payload.interval_ms``, ``sensors``,
``values``); ``info.labels`` says which label each has. Values are physical numbers and become int16 counts at
the Stinger's own resolution, so that one firmware serves both; the scale is kept in each channel.

Nothing is extracted to disk, and every size is bounded before it is believed.
"""

from __future__ import annotations

import io
import json
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Sequence
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.sessions.session import Channel, Session
from stinger.sessions.stinger_log import read_recording

MAX_ENTRIES = 20_000
MAX_TOTAL_BYTES = 256 << 20
MAX_ENTRY_BYTES = 16 << 20
MAX_SENSORS = 32

_ACCELERATION_COUNTS = 2048  # per g
_ROTATION_COUNTS = 16.4  # per degree per second
_STANDARD_GRAVITY = 9.80665
#: Unit as exports spell it -> (our name, physical value of one count).
_UNITS = {
    "m/s2": ("m/s^2", _STANDARD_GRAVITY / _ACCELERATION_COUNTS),
    "m/s^2": ("m/s^2", _STANDARD_GRAVITY / _ACCELERATION_COUNTS),
    "g": ("g", 1 / _ACCELERATION_COUNTS),
    "deg/s": ("deg/s", 1 / _ROTATION_COUNTS),
    "dps": ("deg/s", 1 / _ROTATION_COUNTS),
    "rad/s": ("rad/s", math.radians(1) / _ROTATION_COUNTS),
}
#: A gyroscope without a unit is stored as if it said deg/s, which keeps real ones (max about 530) in range.
_UNSTATED = ("unstated (N/A)", 1 / _ROTATION_COUNTS)
_SPLITS = {"training": "train", "testing": "test"}
_SHORT_NAME = re.compile(r"(a)cc([xyz])|(g)yr([xyz])|(m)ag([xyz])", re.IGNORECASE)
#: What reading a hostile zip can raise; `zipfile` has no common root for them.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)


def read_export(path: Path) -> list[Session]:
    """Read an Edge Impulse export.

    Returns:
        One session per acquisition, sorted by its path in the zip; ``label`` is None for unlabelled ones and
        ``split`` says whether it lay in ``training/`` or ``testing/``.

    Raises:
        InputError: The zip is missing, empty, damaged, too large, or an acquisition is not what it must be.
    """
    return parse_export(read_recording(path), path.name)


def parse_export(data: bytes, name: str) -> list[Session]:
    """Turn the bytes of an export zip into sessions; see `read_export`."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except _ZIP_ERRORS as error:
        raise InputError(f"{name}: not a readable zip ({_one_line(error)}); export it again") from error
    with archive:
        entries = _bounded_entries(archive, name)
        acquisitions = [e for e in entries if e.filename.endswith(".json") and _split_of(e.filename)]
        if not acquisitions:
            raise InputError(
                f"{name}: no acquisitions (training/*.json or testing/*.json) in {len(entries)} entries; "
                "export the project from Edge Impulse's dashboard as JSON"
            )
        labels = _read_labels(archive, entries, name)
        sessions = []
        for entry in sorted(acquisitions, key=lambda e: e.filename):
            text = _read_entry(archive, entry, name)
            label = labels.get(entry.filename, PurePosixPath(entry.filename).name.split(".")[0])
            sessions.append(_parse_acquisition(text, entry.filename, name, _meaningful(label)))
        return sessions


def _bounded_entries(archive: zipfile.ZipFile, name: str) -> list[zipfile.ZipInfo]:
    # Not ZipInfo.is_dir(), which fails on an empty name.
    entries = [e for e in archive.infolist() if not e.filename.endswith("/")]
    if not entries:
        raise InputError(f"{name}: the zip is empty; export it again")
    if len(entries) > MAX_ENTRIES:
        raise InputError(f"{name}: {len(entries)} entries, at most {MAX_ENTRIES} are read; split the export")
    if not all(e.filename.isprintable() for e in entries):
        raise InputError(f"{name}: an entry's name holds control characters; export it again")
    if sum(e.file_size for e in entries) > MAX_TOTAL_BYTES:
        raise InputError(f"{name}: unpacks to more than {MAX_TOTAL_BYTES >> 20} MiB; split the export")
    return entries


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> str:
    where = f"{name}: {entry.filename}"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(f"{where} is compressed in an unusual way; zip it again with deflate")
    try:
        with archive.open(entry) as stream:
            # The declared size may lie: never take more than the bound.
            raw = stream.read(MAX_ENTRY_BYTES + 1)
        if len(raw) > MAX_ENTRY_BYTES:
            raise InputError(f"{where} unpacks to more than {MAX_ENTRY_BYTES >> 20} MiB; split it")
        return raw.decode("utf-8-sig")
    except _ZIP_ERRORS as error:
        raise InputError(f"{where} is damaged ({_one_line(error)}); export it again") from error


def _load_json(text: str, where: str) -> Any:
    def refuse(constant: str) -> NoReturn:
        raise InputError(f"{where} holds {constant}, which is no number; remove it or export again")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not valid JSON ({_one_line(error)}); export it again") from error


def _read_labels(archive: zipfile.ZipFile, entries: Sequence[zipfile.ZipInfo], name: str) -> dict[str, str | None]:
    """Map each acquisition's path in the zip to its label, from every ``info.labels`` there."""
    labels: dict[str, str | None] = {}
    for entry in entries:
        path = PurePosixPath(entry.filename)
        if path.name != "info.labels":
            continue
        where = f"{name}: {entry.filename}"
        info = _load_json(_read_entry(archive, entry, name), where)
        files = info.get("files") if isinstance(info, dict) else None
        if not isinstance(files, list):
            raise InputError(f"{where} has no list 'files'; export it again")
        for number, file in enumerate(files):
            label = file.get("label") if isinstance(file, dict) else None
            if not isinstance(label, dict) or not isinstance(file.get("path"), str):
                raise InputError(f"{where}, file {number}: no path or label; export it again")
            text = label.get("label") if label.get("type") == "label" else None
            # Paths are relative to the list's own folder.
            labels[str(path.parent / file["path"])] = text if isinstance(text, str) else None
    return labels


def _meaningful(label: str | None) -> str | None:
    """Drop what is no class: an upload that was never labelled is named after its folder."""
    printable = "".join(c for c in label or "" if c.isprintable()).strip()[:64]
    return None if printable.lower() in ("", "unlabeled", "unlabelled", *_SPLITS) else printable


def _split_of(filename: str) -> str | None:
    return _SPLITS.get(PurePosixPath(filename).parent.name)


def _parse_acquisition(text: str, filename: str, name: str, label: str | None) -> Session:
    where = f"{name}: {filename}"
    content = _load_json(text, where)
    payload = content.get("payload") if isinstance(content, dict) else None
    if not isinstance(payload, dict):
        raise InputError(f"{where}: no 'payload'; this is not an Edge Impulse acquisition")
    channels = _channels(payload.get("sensors"), where)
    interval_us = _interval_us(payload.get("interval_ms"), where)
    values = _values(payload.get("values"), len(channels), where)
    counts = np.rint(values / np.array([c.scale for c in channels]))
    clipped = (counts < -32768) | (counts > 32767)
    faults = tuple(
        f"{channel.name}: {number} of {len(values)} values clipped to int16"
        for channel, number in zip(channels, clipped.sum(axis=0).tolist(), strict=True)
        if number
    )
    return Session(
        name=filename,
        t_us=np.rint(np.arange(len(values)) * interval_us).astype(np.int64),
        samples=np.clip(counts, -32768, 32767).astype(np.int16),
        channels=channels,
        period_us=round(interval_us),
        label=label,
        split=_split_of(filename),
        faults=faults,
    )


def _interval_us(interval: object, where: str) -> float:
    if isinstance(interval, int | float) and not isinstance(interval, bool) and 0.01 <= interval <= 60_000:
        return interval * 1000
    raise InputError(f"{where}: interval_ms must be 0.01 to 60000 milliseconds, is {str(interval)[:20]!r}")


def _channels(sensors: object, where: str) -> tuple[Channel, ...]:
    if not isinstance(sensors, list) or not 1 <= len(sensors) <= MAX_SENSORS:
        raise InputError(f"{where}: 'sensors' must list 1 to {MAX_SENSORS} sensors")
    channels = []
    for number, sensor in enumerate(sensors):
        name = sensor.get("name") if isinstance(sensor, dict) else None
        unit = sensor.get("units") if isinstance(sensor, dict) else None
        if not isinstance(name, str) or not isinstance(unit, str):
            raise InputError(f"{where}: sensor {number} has no name or no units")
        short = _short_name(name)
        known = _UNITS.get(unit.strip().lower())
        if known is None and short.startswith("g") and unit.strip().upper() in ("", "N/A"):
            known = _UNSTATED
        if known is None:
            raise InputError(
                f"{where}: sensor {name[:32]!r} has unit {unit[:16]!r}; known units are {', '.join(_UNITS)}"
            )
        channels.append(Channel(short, *known))
    if len({channel.name for channel in channels}) != len(channels):
        raise InputError(f"{where}: two sensors have the same name; rename one")
    return tuple(channels)


def _short_name(name: str) -> str:
    match = _SHORT_NAME.fullmatch(name.strip())
    if match:
        return "".join(part for part in match.groups() if part).lower()
    return re.sub(r"[^a-z0-9]+", "_", name.strip().lower())[:32] or "sensor"


def _values(rows: object, width: int, where: str) -> NDArray[np.float64]:
    """Check the table of values and return it as ``(n, width)``."""
    if not isinstance(rows, list) or len(rows) < 2:
        raise InputError(f"{where}: no samples (fewer than two rows of 'values'); remove that acquisition")
    if any(type(row) is not list or len(row) != width for row in rows):
        bad = next(i for i, row in enumerate(rows) if type(row) is not list or len(row) != width)
        raise InputError(f"{where}, row {bad}: {width} values expected, one per sensor")
    numeric = set(map(type, chain.from_iterable(rows))) <= {int, float}
    try:
        table = np.array(rows, dtype=np.float64) if numeric else None
    except OverflowError:
        table = None
    if table is None or not np.isfinite(table).all():
        bad = next(i for i, row in enumerate(rows) if not all(_is_finite(value) for value in row))
        raise InputError(f"{where}, row {bad}: holds something that is no finite number")
    return table


def _is_finite(value: object) -> bool:
    if type(value) is int:
        return abs(value) < 10**300
    return type(value) is float and math.isfinite(value)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:100] or type(error).__name__
