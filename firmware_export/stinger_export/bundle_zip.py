"""A bundle as one file: a zip of its directory, always the same bytes, unpacked only if nothing in it could harm."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from stinger.errors import InputError
from stinger.files import read_bytes
from stinger.zips import is_hidden, is_zip, list_entries, open_small_zip, unpack_entry, write_zip
from stinger_export.bundle_manifest import ADVICE, LIMITS, MANIFEST, MAX_MANIFEST

#: A zip that we wrote begins with the manifest: its name follows the 30 bytes of the entry's header.
_OURS = (b"PK\x03\x04", 30, MANIFEST.encode("ascii"))


def is_zip_name(path: Path) -> bool:
    """Say whether a place is meant to be a zip."""
    return path.suffix.lower() == ".zip"


@contextmanager
def replace_bundle_zip(target: Path) -> Iterator[Path]:
    """Give an empty directory that becomes the zip ``target`` when the block ends without an error.

    A zip that an earlier run made is replaced; anything else that is there is left alone.

    Raises:
        InputError: The place cannot be written, or holds something else.
    """
    if target.exists() and not _is_ours(target):
        raise InputError(f"{target} exists and is no bundle that stinger made; choose another place")
    with tempfile.TemporaryDirectory(prefix="stinger-bundle-") as folder:
        building = Path(folder)
        yield building
        names = [path.relative_to(building).as_posix() for path in building.rglob("*") if path.is_file()]
        names = sorted((name for name in names if not is_hidden(name)), key=lambda name: (name != MANIFEST, name))
        write_zip(target, {name: read_bytes(building / name, LIMITS.entry_bytes, ADVICE) for name in names})


def unpack_bundle(path: Path) -> Path:
    """Unpack a bundle's zip into a temporary directory that is removed when the process ends.

    Only what its manifest names is unpacked. A zip of the bundle's folder, instead of what is in it, is fine, too.

    Raises:
        InputError: It is no bundle's zip, is damaged, holds too much or what the manifest does not name, or has names
            that lead out of it.
    """
    folder = Path(tempfile.mkdtemp(prefix="stinger-bundle-"))
    try:
        with open_small_zip(path, LIMITS, ADVICE) as archive:
            _unpack(archive, folder, path.name)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _unpack(archive: zipfile.ZipFile, folder: Path, name: str) -> None:
    entries = [entry for entry in list_entries(archive, name, LIMITS) if not is_hidden(entry)]
    manifests = [entry for entry in entries if entry == MANIFEST or PurePosixPath(entry).parts[1:] == (MANIFEST,)]
    if not manifests:
        raise InputError(f"{name} is not a bundle (no {MANIFEST}); make one with `stinger export`")
    first = MANIFEST if MANIFEST in manifests else manifests[0]
    above = first.removesuffix(MANIFEST)
    unpack_entry(archive, first, folder / MANIFEST, name, MAX_MANIFEST)
    wanted = {MANIFEST, *_named(folder / MANIFEST)}
    for entry in entries:
        if entry.removeprefix(above) not in wanted or not entry.startswith(above):
            raise InputError(f"{name} holds {entry}, which its manifest does not name; {ADVICE}")
    left = LIMITS.total_bytes
    for entry in sorted(set(entries) - {first}):
        target = folder / entry.removeprefix(above)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{name}: {entry} lies in what is a file; {ADVICE}") from error
        left -= unpack_entry(archive, entry, target, name, min(LIMITS.entry_bytes, left))


def _named(manifest: Path) -> list[str]:
    try:
        return list(dict(json.loads(manifest.read_bytes())["files"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{manifest} is damaged; {ADVICE}") from error


def _is_ours(target: Path) -> bool:
    signature, at, first = _OURS
    if not target.is_file():
        return False
    head = read_bytes(target, LIMITS.total_bytes, ADVICE)[: at + len(first)]
    return is_zip(head) and head.startswith(signature) and head[at:] == first
