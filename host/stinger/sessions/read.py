"""One door for recordings of any known format, alone, in a folder or in a zip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

from stinger.errors import InputError
from stinger.sessions import csv_format
from stinger.sessions.collection import Source, list_folder, list_zip, may_be_skipped
from stinger.sessions.formats import HEAD_BYTES, format_of, known_formats, read_head, recognised
from stinger.sessions.options import ReadOptions
from stinger.sessions.pattern import NamePattern, compile_pattern
from stinger.sessions.session import Session
from stinger.zips import is_zip, open_zip

_DEFAULT = ReadOptions()
#: Folders that say what the recordings in them are for.
_SPLITS = {"training": "train", "train": "train", "testing": "test", "test": "test"}


@dataclass(frozen=True)
class Listing:
    """What a path holds, before it is read.

    Attributes:
        sources: The files of recordings, in the order in which they are read.
        skipped: Files in the folder or zip that are no recordings.
        options: The given options, with what is the same for the whole collection settled.
        single: Whether the path is one file, not a collection.
        zipped: Whether they are in a zip.
    """

    sources: tuple[Source, ...]
    skipped: tuple[str, ...]
    options: ReadOptions
    single: bool
    zipped: bool


def read_sessions(path: Path, options: ReadOptions = _DEFAULT) -> list[Session]:
    """Read every session of a file, folder or zip, whatever known formats it has.

    The content decides which format a file has; its suffix only where the content fits none.

    Args:
        path: A recording, or a folder or zip of recordings.
        options: What the files do not say themselves.

    Returns:
        At least one session, each with at least two samples, in the order of their paths. In a collection a
        session's name is its path inside, and unique.

    Raises:
        InputError: The path is missing, unknown, damaged or without samples.
    """
    return list(iter_sessions(path, options))


def iter_sessions(path: Path, options: ReadOptions = _DEFAULT) -> Iterator[Session]:
    """Read sessions one file at a time; see `read_sessions`."""
    for sessions in read_listed(path, list_recordings(path, options)):
        yield from sessions


def read_listed(path: Path, listing: Listing) -> Iterator[list[Session]]:
    """Read what was listed, file by file; see `read_source`."""
    with ExitStack() as stack:
        archive = stack.enter_context(open_zip(path)) if listing.zipped else None
        for source in listing.sources:
            yield read_source(source, listing.options, single=listing.single, archive=archive)


def list_recordings(path: Path, options: ReadOptions = _DEFAULT) -> Listing:
    """List the recordings of a path without keeping any: each can then be read alone, by any process.

    Raises:
        InputError: The path is missing, or holds something that is no recording and does not belong beside one.
    """
    if path.is_dir():
        return _list_collection(list_folder(path), path, options)
    head = read_head(path)
    found = recognised(head, path)
    if found is None and (is_zip(head) or path.suffix.lower() == ".zip"):
        with open_zip(path) as archive:
            return _list_collection(list_zip(archive, path), path, options, archive)
    if found is None and format_of(head, path) is None:
        raise InputError(
            f"{path.name}: unknown kind of recording; known are {known_formats()}, folders and zips of them"
        )
    return Listing((Source(path, path.name, shown=path.name),), (), options, single=True, zipped=False)


def read_source(
    source: Source, options: ReadOptions = _DEFAULT, *, single: bool = False, archive: ZipFile | None = None
) -> list[Session]:
    """Read the sessions of one listed file.

    Args:
        source: What `list_recordings` found.
        options: The listing's options.
        single: Whether it is no part of a collection.
        archive: The zip it is in, opened; default: opens it.

    Raises:
        InputError: The file is not what it was taken for; the line names it with its path inside the collection.
    """
    with source.open(archive) as path:
        try:
            packed = is_zip(read_head(path))
            sessions = _read_file(path, options)
        except InputError as error:
            raise InputError(_located(str(error), path, source, single=single)) from error
    several = len(sessions) > 1
    if not single:
        sessions = [_with_split(session, source.name) for session in _named(sessions, source.name, packed=packed)]
    if options.pattern is None:
        return sessions
    pattern = compile_pattern(options.pattern)
    return [_labelled(session, session.name if several else source.name, pattern) for session in sessions]


def _read_file(path: Path, options: ReadOptions) -> list[Session]:
    head = read_head(path)
    found = recognised(head, path)
    if found is None and is_zip(head):
        # A zip in a folder; one inside a zip never gets here.
        return list(iter_sessions(path, replace(options, pattern=None)))
    found = found or format_of(head, path)
    if found is None:
        raise InputError(f"{path.name}: unknown kind of recording; known are {known_formats()}")
    return found.read(path, options)


def _list_collection(
    found: Sequence[Source], path: Path, options: ReadOptions, archive: ZipFile | None = None
) -> Listing:
    sources: list[Source] = []
    skipped: list[str] = []
    scales: dict[str, float] = {}
    for source in found:
        head = source.head(HEAD_BYTES, archive)
        if is_zip(head) and archive is not None:
            raise InputError(f"{source.shown}: a zip inside a zip is not read; unpack it first")
        kind = recognised(head, source.path if archive is None else Path(source.name))
        if kind is None and not is_zip(head):
            if may_be_skipped(source.name):
                skipped.append(source.name)
                continue
            kind = format_of(head, Path(source.name))
            if kind is None:
                raise InputError(f"{source.shown}: unknown kind of recording; known are {known_formats()}; remove it")
        sources.append(source)
        if kind is not None and kind.NAME == csv_format.NAME:
            with source.open(archive) as unpacked:
                _keep_largest(scales, unpacked, source, options)
    if not sources:
        raise InputError(f"{path.name}: no recordings among {len(found)} files; known are {known_formats()}")
    settled = replace(options, scales={**scales, **options.scales}) if scales else options
    return Listing(tuple(sources), tuple(skipped), settled, single=False, zipped=archive is not None)


def _keep_largest(scales: dict[str, float], path: Path, source: Source, options: ReadOptions) -> None:
    try:
        chosen = csv_format.choose_scales(path, options)
    except InputError as error:
        raise InputError(_located(str(error), path, source, single=False)) from error
    for channel, scale in chosen.items():
        scales[channel] = max(scale, scales.get(channel, 0.0))


def _located(message: str, path: Path, source: Source, *, single: bool) -> str:
    """Put the path inside the collection where a message has only the file's own name."""
    if single:
        return message
    rest = message.removeprefix(path.name)
    return f"{source.shown}{rest}" if rest != message else f"{source.shown}: {message}"


def _named(sessions: Sequence[Session], name: str, *, packed: bool) -> list[Session]:
    """Name sessions by their path inside the collection, and by their own name within a file of several."""
    if len(sessions) == 1 and not packed:
        return [replace(sessions[0], name=name)]
    own = PurePosixPath(name).name
    seen: Counter[str] = Counter()
    named = []
    for session in sessions:
        inside = session.name.removeprefix(own) if session.name.startswith(own) else f"/{session.name}"
        seen[inside] += 1
        again = f"#{seen[inside]}" if seen[inside] > 1 else ""
        named.append(replace(session, name=f"{name}{inside}{again}"))
    return named


def _with_split(session: Session, name: str) -> Session:
    """Take the folder's word for what a recording is meant for, where the recording does not say."""
    split = _SPLITS.get(PurePosixPath(name).parent.name.lower())
    return session if split is None or session.split is not None else replace(session, split=split)


def _labelled(session: Session, name: str, pattern: NamePattern) -> Session:
    fields = pattern.match(name)
    return replace(session, label=fields.get("label", session.label), subject=fields.get("subject", session.subject))
