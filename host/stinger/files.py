"""Reading files within bounds, and writing them so that a reader never sees half of one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from stinger.errors import InputError

#: Marks a directory as ours to replace.
MARKER = ".stinger-output"


def read_bytes(path: Path, limit: int, advice: str) -> bytes:
    """Read a regular file of at most ``limit`` bytes.

    Args:
        path: The file.
        limit: More than any honest file of its kind has.
        advice: What to do when it cannot be had; ends the message.

    Raises:
        InputError: It is missing, no regular file, unreadable or too large.
    """
    try:
        if not path.exists():
            raise InputError(f"cannot read {path}: it does not exist; {advice}")
        if not path.is_file():
            raise InputError(f"{path} is not a file; {advice}")
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            # Asking for `limit` bytes would reserve them, however small the file.
            data = stream.read(size + 1) if size <= limit else b""
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}; {advice}") from error
    if max(size, len(data)) > limit:
        raise InputError(f"{path} is larger than {limit / 2**20:g} MiB; {advice}")
    return data


@contextmanager
def replace_file(path: Path) -> Iterator[IO[bytes]]:
    """Write to a file that appears at ``path`` only when the block ends without an error: then fsync and rename.

    Raises:
        InputError: The place cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}; choose another place") from error


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file completely or not at all; see `replace_file`.

    Raises:
        InputError: The place cannot be written.
    """
    with replace_file(path) as stream:
        stream.write(data)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text completely or not at all; see `write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


@contextmanager
def replace_dir(target: Path) -> Iterator[Path]:
    """Build a directory beside ``target`` and put it in place only when the block ends without an error.

    An existing ``target`` that an earlier run made is replaced as a whole; when the block raises, it stays as it
    was. A directory that holds anything else is never touched.

    Raises:
        InputError: The place cannot be written, or ``target`` is a file or somebody's directory.
    """
    if target.exists() and not target.is_dir():
        raise InputError(f"{target} is a file, a directory is needed there; choose another place")
    if target.is_dir() and any(target.iterdir()) and not (target / MARKER).is_file():
        raise InputError(f"{target} is not empty and was not made by stinger; choose another place")
    building = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        building.chmod(0o755)
        (building / MARKER).write_text("Made by stinger; the next run with the same output replaces this directory.\n")
        yield building
        old = target.with_name(f".{target.name}.old-{os.getpid()}")
        if target.exists():
            target.rename(old)
        building.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}; choose another place") from error
    finally:
        if building is not None:
            shutil.rmtree(building, ignore_errors=True)
