"""Zips: opened, listed and unpacked within bounds, and written repeatably.

Every reader of a zip from elsewhere comes here, so that what is refused is written down once. How much an honest zip of
its kind may hold is the reader's to say.
"""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

from stinger.errors import InputError
from stinger.files import MARKER, read_bytes, write_bytes

SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
#: What reading a hostile zip can raise; `zipfile` has no common root for them.
ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)
_COPY_BYTES = 1 << 20
_LONGEST_NAME = 1000
#: The record at the end of a zip: signature, numbers of disks and entries, size and place of the directory, comment.
_END = struct.Struct("<4s4H2LH")
_ENTRY_BYTES = 46
#: The first moment that a zip can name.
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Limits:
    """More than any honest zip of its kind has.

    Attributes:
        files: Entries.
        entry_bytes: Bytes of an unpacked entry.
        total_bytes: Bytes of all entries, unpacked.
    """

    files: int
    entry_bytes: int
    total_bytes: int


def is_zip(head: bytes) -> bool:
    """Say whether a file begins like a zip."""
    return head.startswith(SIGNATURES)


def is_hidden(name: str) -> bool:
    """Say whether some part of an entry's path is one that nobody made on purpose: hidden, or a system's own."""
    return any(part.startswith(".") or part in (MARKER, "__MACOSX") for part in PurePosixPath(name).parts)


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip while the block runs.

    Raises:
        InputError: It is missing or damaged.
    """
    try:
        archive = zipfile.ZipFile(path)
    except ZIP_ERRORS as error:
        raise InputError(f"{path.name}: not a readable zip ({one_line(error)}); zip it again") from error
    with archive:
        yield archive


@contextmanager
def open_small_zip(path: Path, limits: Limits, advice: str) -> Iterator[zipfile.ZipFile]:
    """Open a zip that is read into memory, after looking at how much its directory claims to list.

    Raises:
        InputError: It is missing, damaged, or larger than ``limits.total_bytes``.
    """
    data = read_bytes(path, limits.total_bytes, advice)
    end = data[-_END.size :]
    if len(end) < _END.size or not end.startswith(SIGNATURES[1]):
        raise InputError(f"{path.name}: not a readable zip (it is cut off, or something follows it); {advice}")
    _, _, _, _, entries, directory_bytes, _, comment = _END.unpack(end)
    # zipfile makes objects of everything listed before anybody can count; 64-bit zips say 0xffffffff here.
    if comment or entries > limits.files or directory_bytes > limits.files * (_ENTRY_BYTES + _LONGEST_NAME):
        raise InputError(f"{path.name}: lists more than the {limits.files} files that are read; {advice}")
    if data[-_END.size - 20 :].startswith(b"PK\x06\x07"):
        raise InputError(f"{path.name}: is a 64-bit zip; {advice}")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except ZIP_ERRORS as error:
        raise InputError(f"{path.name}: not a readable zip ({one_line(error)}); {advice}") from error
    with archive:
        yield archive


def list_entries(archive: zipfile.ZipFile, name: str, limits: Limits) -> list[str]:
    """Return the names of the files in a zip, sorted, when nothing about them could harm.

    Args:
        archive: The zip.
        name: What to call it in messages.
        limits: More than an honest one has.

    Raises:
        InputError: It holds too much, a name that leads out of it, a link, something encrypted, or a name twice.
    """
    # Not ZipInfo.is_dir(), which fails on an empty name.
    entries = [e for e in archive.infolist() if not e.filename.endswith("/")]
    if len(entries) > limits.files:
        raise InputError(f"{name}: {len(entries)} entries, at most {limits.files} are read; split it")
    for entry in entries:
        _check_entry(entry, name, limits)
    if sum(e.file_size for e in entries) > limits.total_bytes:
        raise InputError(f"{name}: unpacks to more than {_size(limits.total_bytes)}; split it")
    names = sorted(e.filename for e in entries)
    twice = next((a for a, b in pairwise(names) if a == b), None)
    if twice is not None:
        raise InputError(f"{name}: two entries are called {twice}; zip it again")
    return names


def unpack_entry(archive: zipfile.ZipFile, entry: str, target: Path, name: str, most: int) -> int:
    """Write one entry to a file, at most ``most`` bytes whatever the zip claims; returns how many there were.

    Raises:
        InputError: It is damaged, larger than that, or cannot be written.
    """
    size = 0
    try:
        with archive.open(entry) as stream, target.open("wb") as out:
            while block := stream.read(_COPY_BYTES):
                size += len(block)
                # The declared size may lie: never take more than the bound.
                if size > most:
                    raise InputError(f"{name}: {entry} unpacks to more than {_size(most)}; split it")
                out.write(block)
    except (KeyError, *ZIP_ERRORS) as error:
        raise InputError(f"{name}: {entry} is damaged ({one_line(error)}); zip it again") from error
    return size


def write_zip(path: Path, contents: Mapping[str, bytes]) -> None:
    """Write a zip, completely or not at all; the same contents in the same order give the same bytes everywhere.

    Entries are stored: what deflate makes of them depends on the version of zlib.

    Raises:
        InputError: The place cannot be written.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(name, date_time=_EPOCH)
            entry.create_system = 3
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, content)
    write_bytes(path, buffer.getvalue())


def one_line(error: BaseException) -> str:
    """Shorten an exception of a library to part of one line."""
    return " ".join(str(error).split())[:100] or type(error).__name__


def _check_entry(entry: zipfile.ZipInfo, name: str, limits: Limits) -> None:
    inside = entry.filename
    parts = PurePosixPath(inside).parts
    if not inside or not inside.isprintable():
        raise InputError(f"{name}: an entry's name holds control characters; zip it again")
    astray = inside.startswith("/") or "\\" in inside or ":" in inside or ".." in parts
    if astray or len(inside) > _LONGEST_NAME:
        raise InputError(f"{name}: the entry {inside[:80]!r} leads out of the zip; zip it again with relative names")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise InputError(f"{name}: {inside} is a link; zip the file itself")
    if entry.flag_bits & 1:
        raise InputError(f"{name}: {inside} is encrypted; zip it again without a password")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(f"{name}: {inside} is compressed in an unusual way; zip it again with deflate")
    if entry.file_size > limits.entry_bytes:
        raise InputError(f"{name}: {inside} unpacks to more than {_size(limits.entry_bytes)}; give it as a file")


def _size(count: int) -> str:
    return f"{count >> 30} GiB" if count >> 30 else f"{count >> 20} MiB"
