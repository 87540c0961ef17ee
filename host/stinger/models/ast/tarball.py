"""A model's folder as one file, ``<id>.model.tar.gz``: written repeatably, and read as a stranger's.

The same folder gives the same bytes anywhere: entries are sorted, belong to nobody, are from no time and are stored
(what deflate makes of them depends on its version; weights hardly shrink). What is read may hold the files of a model
and nothing else: no other names, no folders in folders, no links or devices, nothing twice, nothing larger than its
kind may be; nothing is unpacked before its header has been seen.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from stinger.errors import InputError
from stinger.files import replace_file
from stinger.models.ast.folder import ABOUT, CONFIG, EXTRACTOR, MAX_CONFIG, MAX_WEIGHTS, WEIGHTS
from stinger.zips import one_line

SUFFIX = ".model.tar.gz"
_LIMITS = {CONFIG: MAX_CONFIG, EXTRACTOR: MAX_CONFIG, ABOUT: MAX_CONFIG, WEIGHTS: MAX_WEIGHTS}
#: A folder's own entry may be there, too.
_MOST_ENTRIES = len(_LIMITS) + 1
_MOST_BYTES = sum(_LIMITS.values()) + (1 << 20)
_BLOCK = 1 << 20
_ADVICE = "give one that `stinger train --family ast` wrote"
_DAMAGE = (tarfile.TarError, OSError, EOFError, zlib.error, ValueError, OverflowError)


def content_id(folder: Path) -> str:
    """Twelve hex digits that say which model a folder holds."""
    digest = hashlib.sha256()
    for name in sorted(_LIMITS):
        if (folder / name).is_file():
            digest.update(f"{name}\0{(folder / name).stat().st_size}\0".encode())
            with (folder / name).open("rb") as stream:
                while block := stream.read(_BLOCK):
                    digest.update(block)
    return digest.hexdigest()[:12]


def write_tarball(folder: Path, path: Path) -> None:
    """Write a model's folder as one file, completely or not at all; the same folder gives the same bytes.

    Raises:
        InputError: The place cannot be written.
    """
    with (
        replace_file(path) as stream,
        gzip.GzipFile(filename="", mode="wb", fileobj=stream, compresslevel=0, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name in sorted(_LIMITS):
            if (folder / name).is_file():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = (folder / name).stat().st_size, 0o644
                with (folder / name).open("rb") as content:
                    archive.addfile(entry, content)


@contextmanager
def opened_tarball(path: Path) -> Iterator[Path]:
    """Unpack a model's file into a folder that is there while the block runs.

    Raises:
        InputError: It is missing, damaged, too large, or holds anything a model has no use for.
    """
    with tempfile.TemporaryDirectory(prefix="stinger-model-") as place:
        unpack(path, Path(place))
        yield Path(place)


def unpack(path: Path, target: Path) -> None:
    """Unpack a model's file into an empty folder; see `opened_tarball`."""
    if not path.is_file():
        raise InputError(f"cannot read {path}: it is not a file; {_ADVICE}")
    seen: set[str] = set()
    try:
        with gzip.open(path, "rb") as packed, tarfile.open(fileobj=_Bounded(packed), mode="r:") as archive:
            for number, entry in enumerate(archive):
                if number >= _MOST_ENTRIES:
                    raise InputError(f"{path.name}: more than {_MOST_ENTRIES} entries; {_ADVICE}")
                if entry.isdir() and entry.name in (".", "./"):
                    continue
                _unpack_entry(archive, entry, target, seen, path.name)
    except _DAMAGE as error:
        raise InputError(f"{path.name} is not a model's file, or damaged ({one_line(error)}); {_ADVICE}") from error
    if not {CONFIG, WEIGHTS} <= seen:
        raise InputError(f"{path.name}: no {CONFIG} and {WEIGHTS} in it; {_ADVICE}")


def _unpack_entry(archive: tarfile.TarFile, entry: tarfile.TarInfo, target: Path, seen: set[str], where: str) -> None:
    # Python's own rules first: nothing outside, no devices, no links that lead astray.
    tarfile.data_filter(entry, str(target))
    name = str(PurePosixPath(entry.name))
    if not entry.isreg() or entry.issparse():
        raise InputError(f"{where}: {entry.name[:80]!r} is not a plain file; {_ADVICE}")
    if name not in _LIMITS:
        raise InputError(f"{where}: {entry.name[:80]!r} belongs to no model; {_ADVICE}")
    if name in seen:
        raise InputError(f"{where}: {name} is in it twice; {_ADVICE}")
    if not 0 <= entry.size <= _LIMITS[name]:
        raise InputError(f"{where}: {name} is not of 0 to {_LIMITS[name] >> 20} MiB; {_ADVICE}")
    seen.add(name)
    content = archive.extractfile(entry)
    if content is None:
        raise InputError(f"{where}: {name} is not a plain file; {_ADVICE}")
    left = entry.size
    with (target / name).open("xb") as out:
        while left:
            block = content.read(min(left, _BLOCK))
            if not block:
                raise InputError(f"{where}: {name} is cut off; {_ADVICE}")
            out.write(block)
            left -= len(block)


class _Bounded(io.RawIOBase):
    """A stream that gives no more than a model can have, and little at a time.

    Headers of some kinds make `tarfile` read as much as they claim into memory at once; none that a model's file has.
    """

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where it stands."""
        return self._stream.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go somewhere within the bounds."""
        if whence != 0 or not 0 <= offset <= _MOST_BYTES:
            raise ValueError("it unpacks to more than a model may")
        return self._stream.seek(offset)

    def read(self, size: int = -1) -> bytes:
        """Read at most a block."""
        if not 0 <= size <= _BLOCK or self._stream.tell() + size > _MOST_BYTES:
            raise ValueError("it unpacks to more than a model may")
        return self._stream.read(size)
