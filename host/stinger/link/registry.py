"""Where running virtual boards leave a note of their port and their bootloader drive.

One ``<pid>.json`` per process in a directory that only its user can enter. The notes are read as untrusted
files all the same: whoever flashes a board copies a file to the place a note names.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from stinger.errors import LinkError
from stinger.files import write_text

#: Name of the drive, as a real RP2040's bootloader calls its own.
DRIVE_NAME = "RPI-RP2"
_MAX_ENTRY_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Entry:
    """One virtual board.

    Attributes:
        pid: Its process.
        port: The serial port, e.g. ``/dev/pts/3``.
        link: A symbolic link to the port with a stable name, if there is one.
        drive: The directory that appears while the board is in its bootloader; see `drive_path`.
    """

    pid: int
    port: str
    link: str | None
    drive: str


def registry_dir() -> Path:
    """Return the registry's directory, made private if it does not exist yet.

    ``$STINGER_RUNTIME_DIR``, else ``$XDG_RUNTIME_DIR/stinger``, else ``stinger-<uid>`` in the temporary directory.

    Raises:
        LinkError: It cannot be made, or somebody else could write there.
    """
    own = os.environ.get("STINGER_RUNTIME_DIR")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    user = os.getuid() if hasattr(os, "getuid") else 0
    if own:
        path = Path(own)
    elif runtime:
        path = Path(runtime) / "stinger"
    else:
        path = Path(tempfile.gettempdir()) / f"stinger-{user}"
    path = path.absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.lstat() if not own else path.stat()
    except OSError as error:
        raise LinkError(
            f"cannot make {path}: {error.strerror or error}; set STINGER_RUNTIME_DIR to a directory of yours"
        ) from error
    # The temporary directory is everybody's: a name there may have been taken by somebody else.
    private = status.st_uid == user and not status.st_mode & 0o022
    if not stat.S_ISDIR(status.st_mode) or (os.name == "posix" and not private):
        raise LinkError(
            f"{path} is not a directory that only you can write; remove it or set STINGER_RUNTIME_DIR to another"
        )
    return path


def drive_path(pid: int) -> Path:
    """Return the bootloader drive that the process ``pid`` has to use."""
    return registry_dir() / str(pid) / DRIVE_NAME


def register(entry: Entry) -> Path:
    """Write a board's note, replacing an older one of the same process.

    Returns:
        The note's path; remove it with `unregister` at exit.

    Raises:
        LinkError: The entry is not one that `entries` would give back.
    """
    path = registry_dir() / f"{entry.pid}.json"
    text = json.dumps(asdict(entry), indent=1) + "\n"
    if _parse(text, entry.pid) is None:
        raise LinkError(f"not a valid note of a virtual board: {entry}")
    write_text(path, text)
    return path


def unregister(pid: int) -> None:
    """Remove a board's note and drive; none there is fine."""
    directory = registry_dir()
    (directory / f"{pid}.json").unlink(missing_ok=True)
    shutil.rmtree(directory / str(pid), ignore_errors=True)


def entries() -> list[Entry]:
    """Return the running virtual boards, sorted by process; notes that dead processes left are removed.

    A note that makes no sense is ignored.
    """
    found = []
    for path in registry_dir().glob("*.json"):
        if not path.stem.isascii() or not path.stem.isdigit() or len(path.stem) > 10:
            continue
        pid = int(path.stem)
        if not _alive(pid):
            unregister(pid)
            continue
        try:
            with path.open("rb") as stream:
                data = stream.read(_MAX_ENTRY_BYTES + 1)
            entry = _parse(data.decode("utf-8"), pid) if len(data) <= _MAX_ENTRY_BYTES else None
        except (OSError, UnicodeDecodeError):
            continue  # gone since, or never one of ours
        if entry is not None:
            found.append(entry)
    return sorted(found, key=lambda entry: entry.pid)


def find(port: str) -> Entry | None:
    """Return the virtual board behind a port name, whether device or symbolic link; None for any other port."""
    if "://" in port:
        return None
    wanted = os.path.realpath(port)
    for entry in entries():
        if wanted == os.path.realpath(entry.port):
            return entry
    return None


def _parse(text: str, pid: int) -> Entry | None:
    try:
        note = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(note, dict) or note.keys() != {"pid", "port", "link", "drive"}:
        return None
    port, link, drive = note["port"], note["link"], note["drive"]
    valid = (
        note["pid"] == pid
        and _is_path(port)
        and (link is None or _is_path(link))
        # Only this one place: a note must not send firmware to any other directory.
        and _is_path(drive)
        and Path(drive) == drive_path(pid)
    )
    return Entry(pid, port, link, drive) if valid else None


def _is_path(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and Path(value).is_absolute()


def _alive(pid: int) -> bool:
    if os.name != "posix" or pid <= 0:
        return False  # a virtual board needs a pseudo-terminal; and os.kill(pid, 0) is no question on Windows
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return False  # another user's process has taken the number: not our board
    return True
