"""Folders and zips of recordings: what is in them, in order, and nothing that could harm.

A collection is listed before anything is read, so that its recordings can be read one at a time, and by several
processes. Entries of a zip are unpacked one by one into a temporary directory, under their own base name.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from stinger.errors import InputError
from stinger.files import MARKER
from stinger.zips import ZIP_ERRORS, Limits, is_hidden, list_entries, one_line, open_zip, unpack_entry

MAX_FILES = 20_000
MAX_TOTAL_BYTES = 4 << 30
MAX_ENTRY_BYTES = 256 << 20

#: What may lie beside recordings without being one.
_COMPANIONS = frozenset(
    {"", ".md", ".txt", ".rst", ".pdf", ".html", ".license", ".licence", ".png", ".jpg", ".jpeg", ".svg", ".labels"}
    | {".json", ".yaml", ".yml", ".toml", ".ini", ".py", ".ipynb"}
)


@dataclass(frozen=True)
class Source:
    """One file of recordings: alone, in a folder or in a zip.

    Attributes:
        path: The file, or the zip it is in.
        name: What its sessions are called: its path inside the collection, or its own name.
        entry: Its name in the zip, if it is in one.
        companions: Other entries of the zip that belong to it.
        shown: How to call it in messages.
    """

    path: Path
    name: str
    entry: str | None = None
    companions: tuple[str, ...] = ()
    shown: str = ""

    @contextmanager
    def open(self, archive: zipfile.ZipFile | None = None) -> Iterator[Path]:
        """Give a path under which the file can be read while the block runs.

        Args:
            archive: The zip it is in, opened; default: opens it.

        Raises:
            InputError: The zip or the entry is damaged or too large.
        """
        if self.entry is None:
            yield self.path
            return
        with tempfile.TemporaryDirectory(prefix="stinger-") as folder, ExitStack() as stack:
            opened = archive or stack.enter_context(open_zip(self.path))
            for entry in (self.entry, *self.companions):
                target = Path(folder) / PurePosixPath(entry).name
                unpack_entry(opened, entry, target, self.path.name, MAX_ENTRY_BYTES)
            yield Path(folder) / PurePosixPath(self.entry).name

    def head(self, size: int, archive: zipfile.ZipFile | None = None) -> bytes:
        """Return its first bytes; see `open`."""
        try:
            if self.entry is None:
                with self.path.open("rb") as file:
                    return file.read(size)
            with ExitStack() as stack:
                opened = archive or stack.enter_context(open_zip(self.path))
                with opened.open(self.entry) as stream:
                    return stream.read(size)
        except (KeyError, *ZIP_ERRORS) as error:
            raise InputError(f"{self.shown}: cannot be read ({one_line(error)}); replace it") from error


def may_be_skipped(name: str) -> bool:
    """Say whether a file that no format recognises may lie in a collection (a licence, a picture, notes)."""
    return PurePosixPath(name).suffix.lower() in _COMPANIONS


def list_folder(folder: Path) -> list[Source]:
    """List the files below a folder, sorted by their path; hidden ones and our own marker are left out.

    Raises:
        InputError: There are none, too many, too large ones, or the folder cannot be read.
    """
    found: list[Source] = []
    total = 0

    def refuse(error: OSError) -> None:
        raise InputError(f"cannot read {error.filename}: {error.strerror}; make it readable or move it") from error

    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not _hidden(name))
        for file in files:
            path = Path(place) / file
            if _hidden(file) or not path.is_file():
                continue
            name = path.relative_to(folder).as_posix()
            if not name.isprintable():
                raise InputError(f"{folder}: the file name {name!r} holds control characters; rename it")
            total += path.stat().st_size
            found.append(Source(path, name, shown=f"{folder.name}/{name}"))
        if len(found) > MAX_FILES:
            raise InputError(f"{folder}: more than {MAX_FILES} files; give a part of it")
    if not found:
        raise InputError(f"{folder}: the folder is empty; put recordings into it")
    if total > MAX_TOTAL_BYTES:
        raise InputError(f"{folder}: more than {MAX_TOTAL_BYTES >> 30} GiB; give a part of it")
    return sorted(found, key=lambda source: source.name)


def list_zip(archive: zipfile.ZipFile, path: Path) -> list[Source]:
    """List the files in a zip, sorted by their path; hidden ones are left out.

    Raises:
        InputError: It is damaged or empty, holds too much, or a name that leads out of it.
    """
    names = list_entries(archive, path.name, Limits(MAX_FILES, MAX_ENTRY_BYTES, MAX_TOTAL_BYTES))
    if not names:
        raise InputError(f"{path.name}: the zip is empty; put recordings into it")
    shown = [n for n in names if not is_hidden(n)]
    return [Source(path, n, entry=n, companions=_companions(n, shown), shown=f"{path.name}: {n}") for n in shown]


def _companions(name: str, names: Sequence[str]) -> tuple[str, ...]:
    """Entries that a recording may refer to: JSON beside it with the same beginning of the name."""
    path = PurePosixPath(name)
    if path.suffix.lower() != ".mcap":
        return ()
    stem = path.stem.split(".")[0]
    return tuple(
        other
        for other in names
        if PurePosixPath(other).parent == path.parent
        and PurePosixPath(other).suffix.lower() == ".json"
        and PurePosixPath(other).name.startswith(stem)
    )


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == MARKER
