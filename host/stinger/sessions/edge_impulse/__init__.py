"""Edge Impulse's data, both ways: single acquisitions in JSON or CBOR, and export zips of many.

In an export ``training/`` and ``testing/`` hold one file per acquisition, and ``info.labels`` says which label each
has; see `edge_impulse_acquisition` for what is in one, and `edge_impulse_write` for what ours have beyond that.

Nothing is extracted to disk, and every size is bounded before it is believed.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeGuard

import numpy as np

from stinger.errors import InputError
from stinger.files import read_bytes
from stinger.sessions.edge_impulse.about import KEY, About, parse_about
from stinger.sessions.edge_impulse.acquisition import (
    MAX_CBOR_BYTES,
    MAX_JSON_BYTES,
    load_cbor,
    load_json,
    one_line,
    parse_acquisition,
)
from stinger.sessions.edge_impulse.writing import label_of_name, write_export, write_single
from stinger.sessions.mcap_format.labels import label_of_whole
from stinger.sessions.options import ReadOptions
from stinger.sessions.session import Event, Session
from stinger.zips import ZIP_ERRORS

NAME = "Edge Impulse data, an export or one acquisition (.zip .json .cbor)"
SUFFIXES: tuple[str, ...] = (".zip", ".json", ".cbor")
MAX_ENTRIES = 20_000
MAX_TOTAL_BYTES = 256 << 20
MAX_ENTRY_BYTES = MAX_JSON_BYTES
MAX_LABELS = 100_000

_DEFAULT = ReadOptions()
_SPLITS = {"training": "train", "testing": "test"}
_ZIP_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")
_JSON_HEAD = re.compile(rb'"(?:protected|payload|interval_ms)"\s*:')
_CBOR_HEAD = re.compile(rb"(?:\xd9\xd9\xf7)?[\xa1-\xb7\xbf].*?(?:protected|payload|interval_ms)", re.DOTALL)


def recognise(data_head: bytes, path: Path) -> bool:
    """Whether a file is an acquisition or an export, by its first bytes and, for a zip, its list of entries."""
    if data_head.startswith(_ZIP_SIGNATURES):
        try:
            with zipfile.ZipFile(path) as archive:
                return any(_is_acquisition(name) for name in archive.namelist()[: MAX_ENTRIES + 1])
        except ZIP_ERRORS:
            return False
    text = data_head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return bool(text.startswith(b"{") and _JSON_HEAD.search(text)) or _CBOR_HEAD.match(data_head) is not None


def read(path: Path, options: ReadOptions) -> list[Session]:
    """Read an acquisition or an export.

    Returns:
        One session per recording; for an export sorted by its path in the zip.

    Raises:
        InputError: The file is missing, empty, damaged, too large, or not what it must be.
    """
    data = read_bytes(path, MAX_TOTAL_BYTES, "give a recording's own file, split if it is too large")
    if data.startswith(_ZIP_SIGNATURES) or path.suffix.lower() == ".zip":
        return parse_export(data, path.name, options)
    return [parse_single(data, path.name, options)]


def write(sessions: Sequence[Session], path: Path) -> None:
    """Write recordings: any number as ``.zip``, one without gaps as ``.json`` or ``.cbor``.

    Raises:
        InputError: They do not fit there, or the place cannot be written.
    """
    if path.suffix.lower() == ".zip":
        write_export(sessions, path)
    elif len(sessions) == 1:
        write_single(sessions[0], path)
    else:
        raise InputError(f"{path.name}: {len(sessions)} recordings, such a file holds one; write a .zip")


def read_export(path: Path) -> list[Session]:
    """Read an Edge Impulse export; see `read`."""
    return parse_export(read_bytes(path, MAX_TOTAL_BYTES, "split the export"), path.name)


def parse_single(data: bytes, name: str, options: ReadOptions = _DEFAULT) -> Session:
    """Turn the bytes of one acquisition, JSON or CBOR, into a session; its label is what its name begins with.

    Raises:
        InputError: See `read`.
    """
    text = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    if len(data) > MAX_ENTRY_BYTES:
        raise InputError(f"{name} is larger than {MAX_ENTRY_BYTES >> 20} MiB; split it")
    content = load_json(data, name) if text.startswith((b"{", b"[")) else load_cbor(data, name)
    note = content.get(KEY) if isinstance(content, dict) else None
    about = parse_about(note, name) if note is not None else None
    session = parse_acquisition(content, name, name, options, about)
    if about is None:
        return replace(session, label=_meaningful(label_of_name(name)))
    whole = _joined([(about, replace(session, label=about.label, split=about.split))])
    if whole is None:
        raise InputError(f"{name}: its samples are not those of its description; export it again")
    return whole


def parse_export(data: bytes, name: str, options: ReadOptions = _DEFAULT) -> list[Session]:
    """Turn the bytes of an export zip into sessions.

    Returns:
        One session per acquisition, sorted by its path in the zip; ``label`` is None for unlabelled ones and
        ``split`` says whether it lay in ``training/`` or ``testing/``. Recordings of ours that were cut into
        several acquisitions are whole again.

    Raises:
        InputError: The zip is empty, damaged, too large, or an acquisition is not what it must be.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except ZIP_ERRORS as error:
        raise InputError(f"{name}: not a readable zip ({one_line(error)}); export it again") from error
    with archive:
        entries = _bounded_entries(archive, name)
        acquisitions = [e for e in entries if _is_acquisition(e.filename)]
        if not acquisitions:
            raise InputError(
                f"{name}: no acquisitions (training/*.json or testing/*.json) in {len(entries)} entries; "
                "export the project from Edge Impulse's dashboard as JSON"
            )
        notes = _read_notes(archive, entries, name)
        sessions: list[Session] = []
        parts: dict[int, list[tuple[About, Session]]] = {}
        places: dict[int, int] = {}
        for entry in sorted(acquisitions, key=lambda e: e.filename):
            session, about = _read_acquisition(archive, entry, name, options, notes.get(entry.filename))
            if about is not None:
                places.setdefault(about.session, len(sessions))
                parts.setdefault(about.session, []).append((about, session))
            sessions.append(session)
    return _with_whole(sessions, parts)


def _with_whole(sessions: list[Session], parts: Mapping[int, list[tuple[About, Session]]]) -> list[Session]:
    """Replace the parts of each complete recording by the recording, where its first part stood."""
    ours: dict[int, Session | None] = {}
    for mine in parts.values():
        whole = _joined(sorted(mine, key=lambda pair: pair[0].part))
        for index, (about, session) in enumerate(mine):
            if whole is not None:
                ours[id(session)] = whole if index == 0 else None
            else:
                fault = f"part {about.part + 1} of {about.parts} of {about.name}, the others are missing or changed"
                ours[id(session)] = replace(session, faults=(*session.faults, fault))
    found = (ours.get(id(session), session) for session in sessions)
    return [session for session in found if session is not None]


def _joined(parts: list[tuple[About, Session]]) -> Session | None:
    """Put the parts of a recording together; None if they are not all there, or not alike."""
    about, first = parts[0]
    alike = all(
        (a.part, a.parts, a.name, a.samples, a.channels, a.trigger) == (i, len(parts), about.name, about.samples,
         about.channels, about.trigger) and (s.label, s.split) == (first.label, first.split)
        for i, (a, s) in enumerate(parts)
    )  # fmt: skip
    if not alike or sum(len(session) for _, session in parts) != about.samples:
        return None
    triggers = [session.trigger for _, session in parts if session.trigger is not None]
    return Session(
        name=about.name,
        t_us=about.times(),
        samples=np.concatenate([session.samples for _, session in parts]),
        channels=about.channels,
        period_us=about.period_us,
        trigger=np.concatenate(triggers) if about.trigger else None,
        label=first.label,
        split=first.split,
        subject=about.subject,
        events=about.events,
        faults=about.faults,
    )


@dataclass(frozen=True)
class _Note:
    """What ``info.labels`` says about one acquisition."""

    label: str | None
    spans: tuple[tuple[int, int, str], ...]
    subject: str | None
    about: str | None


def _is_acquisition(filename: str) -> bool:
    return filename.endswith((".json", ".cbor")) and PurePosixPath(filename).parent.name in _SPLITS


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


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> bytes:
    where = f"{name}: {entry.filename}"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(f"{where} is compressed in an unusual way; zip it again with deflate")
    limit = MAX_CBOR_BYTES if entry.filename.endswith(".cbor") else MAX_ENTRY_BYTES
    try:
        with archive.open(entry) as stream:
            # The declared size may lie: never take more than the bound.
            raw = stream.read(limit + 1)
    except ZIP_ERRORS as error:
        raise InputError(f"{where} is damaged ({one_line(error)}); export it again") from error
    if len(raw) > limit:
        raise InputError(f"{where} unpacks to more than {limit >> 20} MiB; split it")
    return raw


def _read_text(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> str:
    try:
        return _read_entry(archive, entry, name).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: {entry.filename} is damaged ({one_line(error)}); export it again") from error


def _read_acquisition(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str, options: ReadOptions, note: _Note | None
) -> tuple[Session, About | None]:
    where = f"{name}: {entry.filename}"
    if entry.filename.endswith(".cbor"):
        content = load_cbor(_read_entry(archive, entry, name), where)
    else:
        content = load_json(_read_text(archive, entry, name), where)
    about = parse_about(note.about, where) if note is not None and note.about is not None else None
    session = parse_acquisition(content, entry.filename, where, options, about)
    label = note.label if note is not None else PurePosixPath(entry.filename).name.split(".")[0]
    label = label if about is not None and label == about.label else _meaningful(label)
    events = tuple(Event(a * 1000, b * 1000, text) for a, b, text in note.spans) if note is not None else ()
    if events and about is None:
        label = label_of_whole(events, 0, int(session.t_us[-1]), session.period_us)
    split: str | None = _SPLITS[PurePosixPath(entry.filename).parent.name]
    if about is not None and about.split != "test" and split == "train":
        # Recordings without a split lie among those to train with, too.
        split = about.split
    subject = note.subject if note is not None else None
    return replace(session, label=label, split=split, subject=subject, events=events), about


def _read_notes(archive: zipfile.ZipFile, entries: Sequence[zipfile.ZipInfo], name: str) -> dict[str, _Note]:
    """Map each acquisition's path in the zip to what every ``info.labels`` there says about it."""
    notes: dict[str, _Note] = {}
    for entry in entries:
        path = PurePosixPath(entry.filename)
        if path.name != "info.labels":
            continue
        where = f"{name}: {entry.filename}"
        info = load_json(_read_text(archive, entry, name), where)
        files = info.get("files") if isinstance(info, dict) else None
        if not isinstance(files, list):
            raise InputError(f"{where} has no list 'files'; export it again")
        for number, file in enumerate(files):
            label = file.get("label") if isinstance(file, dict) else None
            if not isinstance(label, dict) or not isinstance(file.get("path"), str):
                raise InputError(f"{where}, file {number}: no path or label; export it again")
            # Paths are relative to the list's own folder.
            notes[str(path.parent / file["path"])] = _note(file, label, f"{where}, file {number}")
    return notes


def _note(file: Mapping[str, Any], label: Mapping[str, Any], where: str) -> _Note:
    text = label.get("label") if label.get("type") == "label" else None
    spans: list[tuple[int, int, str]] = []
    if label.get("type") == "multi-label":
        listed = label.get("labels")
        if not isinstance(listed, list) or len(listed) > MAX_LABELS:
            raise InputError(f"{where}: no list of at most {MAX_LABELS} labels; export it again")
        for span in listed:
            said = span.get("label") if isinstance(span, dict) else None
            start, end = (span.get("startIndex"), span.get("endIndex")) if isinstance(span, dict) else (None, None)
            if not isinstance(said, str) or not _is_moment(start) or not _is_moment(end):
                raise InputError(f"{where}: a label has no name, or no start and end; export it again")
            known = _meaningful(said)
            if known is not None:
                spans.append((start, end, known))
    metadata = file.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    subject, about = metadata.get("subject"), metadata.get(KEY)
    return _Note(
        label=text if isinstance(text, str) else None,
        spans=tuple(spans),
        subject=_meaningful(subject) if isinstance(subject, str) else None,
        about=about if isinstance(about, str) else None,
    )


def _is_moment(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < 1 << 40


def _meaningful(label: str | None) -> str | None:
    """Drop what is no class: an upload that was never labelled is named after its folder."""
    printable = "".join(c for c in label or "" if c.isprintable()).strip()[:64]
    return None if printable.lower() in ("", "unlabeled", "unlabelled", *_SPLITS) else printable
