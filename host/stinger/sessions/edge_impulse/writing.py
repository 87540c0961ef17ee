"""Writing recordings as Edge Impulse acquisitions: an export zip of any number, or one as JSON or CBOR.

An acquisition has one constant interval, so a recording with gaps becomes one for each stretch between them, and a
long one several. They are not signed (``alg`` ``none``). Values are physical numbers with as many digits as their
counts need; what acquisitions have no field for stands in their metadata, where reading finds it again.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cbor2
import numpy as np

from stinger.errors import InputError
from stinger.files import write_bytes
from stinger.sessions.edge_impulse.about import KEY, describe, parse_about
from stinger.sessions.edge_impulse.acquisition import (
    MAX_CBOR_BYTES,
    MAX_JSON_BYTES,
    MAX_SENSORS,
    TRIGGER,
    UNSTATED,
    load_cbor,
    load_json,
    parse_acquisition,
)
from stinger.sessions.mcap_format.quantities import check_channels
from stinger.sessions.options import ReadOptions
from stinger.sessions.session import Session

MAX_ENTRIES = 20_000
MAX_TOTAL_BYTES = 256 << 20
#: Files made again from the same recordings are the same: zip's earliest moment.
_MOMENT = (1980, 1, 1, 0, 0, 0)
_FOLDERS = {"train": "training", "test": "testing"}
_LONG_NAMES = {"a": "acc", "g": "gyr", "m": "mag"}
_AXIS = re.compile(r"([agm])([xyz])")
_UNITS = {"m/s^2": "m/s2", UNSTATED[0]: "N/A"}
_UNLABELLED = "unlabeled"
#: Longest row of values: 15 characters each, and brackets.
_VALUE_BYTES, _ROW_BYTES = 15, 4
_INTERVALS_MS = (0.01, 60_000)


def write_export(sessions: Sequence[Session], path: Path) -> None:
    """Write an export zip: ``training/`` and ``testing/`` with an acquisition per file, and ``info.labels``.

    Raises:
        InputError: A recording cannot be an acquisition, all are too large together, or the place cannot be written.
    """
    files: list[dict[str, Any]] = []
    stream = io.BytesIO()
    total = 0
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, session in enumerate(sessions):
            _check(session)
            spans = list(_spans(session))
            folder = _FOLDERS.get(session.split or "", "training")
            for part, (start, stop) in enumerate(spans):
                name = _file_name(session, number, part if len(spans) > 1 else None)
                text = _json_text(session, start, stop)
                total += len(text)
                if total > MAX_TOTAL_BYTES or len(files) >= MAX_ENTRIES - 1:
                    raise InputError(f"{path.name}: too much for one export; write fewer recordings into each")
                _add(archive, f"{folder}/{name}", text)
                files.append(
                    {
                        "path": f"{folder}/{name}",
                        "name": name.removesuffix(".json"),
                        "category": folder,
                        "label": _label_entry(session, start, stop),
                        "metadata": ({"subject": session.subject} if session.subject else {})
                        | {KEY: describe(session, number=number, part=part, parts=len(spans))},
                    }
                )
        info = json.dumps({"version": 1, "files": files}, separators=(",", ":")).encode()
        if len(info) > MAX_JSON_BYTES:
            raise InputError(f"{path.name}: timestamps or events too many for an export; write fewer recordings")
        _add(archive, "info.labels", info)
    write_bytes(path, stream.getvalue())


def write_single(session: Session, path: Path) -> None:
    """Write one acquisition, as CBOR if the suffix says so, else as JSON.

    Raises:
        InputError: The recording has gaps or is too large, or the place cannot be written.
    """
    _check(session)
    if len(list(_spans(session))) > 1:
        raise InputError(
            f"{session.name}: an acquisition has no gaps and is not so long; write a .zip, which holds all"
        )
    # The note only where there is something to note: a plain file is exactly what Edge Impulse describes.
    plain = encode(session, path, note=False)
    write_bytes(path, plain if _says_all(plain, session, path) else encode(session, path, note=True))


def encode(session: Session, path: Path, *, note: bool) -> bytes:
    """Encode one acquisition, with or without our note on what it has no field for."""
    extra = {KEY: describe(session, number=0, part=0, parts=1)} if note else {}
    if path.suffix.lower() == ".cbor":
        data = cbor2.dumps(_header(session, 0, len(session)) | extra)
        if len(data) > MAX_CBOR_BYTES:
            raise InputError(f"{session.name}: more than {MAX_CBOR_BYTES >> 20} MiB of CBOR; write a .zip")
        return data
    return _json_text(session, 0, len(session), extra)


def label_of_name(name: str) -> str | None:
    """Return the label that Edge Impulse would take from a file's name: what stands before its first dot.

    A name with nothing but its suffix says no label.
    """
    parts = name.split(".")
    return parts[0] if len(parts) > 2 else None


def _says_all(data: bytes, session: Session, path: Path) -> bool:
    """Whether a plain acquisition, read back under this name, is the whole recording (but for its name)."""
    load = load_cbor if path.suffix.lower() == ".cbor" else load_json
    try:
        read = parse_acquisition(load(data, path.name), path.name, path.name, ReadOptions(), None)
    except InputError:
        # A unit nobody knows, or a single sample.
        return False
    return (
        label_of_name(path.name) == session.label
        and (session.split, session.subject, session.events, session.faults) == (None, None, (), ())
        and read.channels == session.channels
        and read.period_us == session.period_us
        and (read.trigger is None) == (session.trigger is None)
        and np.array_equal(read.t_us, session.t_us)
        and np.array_equal(read.samples, session.samples)
    )


def _check(session: Session) -> None:
    check_channels(session.channels, session.name)
    if not len(session):
        raise InputError(f"{session.name}: no samples to write")
    if len(session.channels) + (session.trigger is not None) > MAX_SENSORS:
        raise InputError(f"{session.name}: {len(session.channels)} channels, an acquisition has at most {MAX_SENSORS}")
    if not _INTERVALS_MS[0] <= session.period_us / 1000 <= _INTERVALS_MS[1]:
        raise InputError(f"{session.name}: a period of {session.period_us} us; an acquisition has 10 us to 60 s")
    # What we write must read back: too long names, times beyond reason.
    parse_about(describe(session, number=0, part=0, parts=1), f"{session.name!r:.80}")


def _spans(session: Session) -> Iterator[tuple[int, int]]:
    """Yield index ranges without gaps that fit an acquisition's size."""
    width = len(session.channels) + 1
    most = (MAX_JSON_BYTES - (1 << 16)) // (width * _VALUE_BYTES + _ROW_BYTES)
    for start, stop in session.stretches():
        for at in range(start, stop, most):
            yield at, min(at + most, stop)


def _interval_ms(session: Session, start: int, stop: int) -> float:
    """Return the interval that puts the last sample where it was."""
    if stop - start < 2:
        return session.period_us / 1000
    exact = float(session.t_us[stop - 1] - session.t_us[start]) / (stop - start - 1) / 1000
    return min(max(exact, _INTERVALS_MS[0]), _INTERVALS_MS[1])


def _header(session: Session, start: int, stop: int) -> dict[str, Any]:
    sensors = [{"name": _long_name(c.name), "units": _UNITS.get(c.unit, c.unit)} for c in session.channels]
    table = session.samples[start:stop] * np.array([c.scale for c in session.channels])
    values = table.tolist()
    if session.trigger is not None:
        sensors.append({"name": TRIGGER, "units": "N/A"})
        for row, trigger in zip(values, session.trigger[start:stop].tolist(), strict=True):
            row.append(trigger)
    return {
        "protected": {"ver": "v1", "alg": "none"},
        "signature": "",
        "payload": {
            "device_type": "STINGER",
            "interval_ms": _interval_ms(session, start, stop),
            "sensors": sensors,
            "values": values,
        },
    }


def _json_text(session: Session, start: int, stop: int, extra: dict[str, str] | None = None) -> bytes:
    content = _header(session, start, stop)
    rows = content["payload"].pop("values")
    row = "[" + ",".join(["%.7g"] * len(rows[0])) + "]"
    text = json.dumps({**(extra or {}), **content}, separators=(",", ":"))
    # The payload comes last and closes the text.
    return (text[:-2] + ',"values":[' + ",".join(row % tuple(values) for values in rows) + "]}}").encode()


def _long_name(name: str) -> str:
    match = _AXIS.fullmatch(name)
    return _LONG_NAMES[match[1]] + match[2].upper() if match else name


def _file_name(session: Session, number: int, part: int | None) -> str:
    """Name an acquisition so that its label stands before the first dot, and no two are the same."""
    label = _plain(session.label or _UNLABELLED) or "label"
    suffix = "" if part is None else f".{part:04}"
    return f"{label}.{_plain(Path(session.name).stem)[:48] or 'recording'}.{number:05}{suffix}.json"


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_")


def _label_entry(session: Session, start: int, stop: int) -> dict[str, Any]:
    if session.label is not None:
        return {"type": "label", "label": session.label}
    first, last = int(session.t_us[start]), int(session.t_us[stop - 1])
    labels: list[dict[str, Any]] = []
    at = 0
    for event in sorted((e for e in session.events if e.kind == "label"), key=lambda e: e.start_us):
        begin = max((event.start_us - first) // 1000, at)
        end = (min(event.end_us, last) - first) // 1000
        if end < begin:
            continue
        if begin > at:
            labels.append({"label": _UNLABELLED, "startIndex": at, "endIndex": begin - 1})
        labels.append({"label": event.label, "startIndex": begin, "endIndex": end})
        at = end + 1
    if not labels:
        return {"type": "unlabeled"}
    if at <= (last - first) // 1000:
        labels.append({"label": _UNLABELLED, "startIndex": at, "endIndex": (last - first) // 1000})
    return {"type": "multi-label", "labels": labels}


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, _MOMENT)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, data)
