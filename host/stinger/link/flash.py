"""Flashing an RP2040 the way its users do: into the bootloader by a 1200-baud touch, then a file onto its drive."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from stinger.errors import InputError, LinkError, UsageError
from stinger.files import read_bytes
from stinger.link import registry
from stinger.link.board import Board
from stinger.link.info import BoardInfo
from stinger.link.transport import SerialTransport
from stinger_export.uf2 import from_uf2

_TOUCH_BAUD = 1200
_POLL_S = 0.05
_INFO_FILE = "INFO_UF2.TXT"
_BOARD_ID = b"RPI-RP2"
_MOUNTS = ("media/*/*", "run/media/*/*", "Volumes/*")
_CHUNK_BYTES = 64 * 1024
_MAX_UF2_BYTES = 32 << 20  # far more than any flash; `from_uf2` is exact


def flash(
    port: str, uf2: Path, *, timeout: float = 30.0, on_progress: Callable[[str], None] | None = None
) -> BoardInfo:
    """Put new firmware on the board at a port, and see it answer.

    Args:
        port: Serial device of a board, real or virtual. A board that is in its bootloader already has no port;
            its drive is used all the same.
        uf2: The firmware.
        timeout: Seconds for each stage: drive appears, firmware starts.
        on_progress: Told what is being done, in a few words.

    Returns:
        What the new firmware says about itself.

    Raises:
        InputError: The file is no UF2 firmware for an RP2040; the board has not been touched.
        UsageError: The port is a URL: a bootloader's drive is local.
        LinkError: A stage failed; says which and what to do.
    """
    data = _read_firmware(uf2)
    if "://" in port:
        raise UsageError(f"cannot flash over {port}: the bootloader is a local drive; give a serial device")
    tell = on_progress or (lambda _stage: None)
    entry = registry.find(port)
    before = [] if entry else mounted_drives()
    try:
        tell("restarting the board into its bootloader")
        _touch(port)
    except LinkError:
        # No port but one bootloader drive: somebody held the button. More than one would be a guess.
        if entry or os.path.lexists(port) or len(before) != 1:
            raise
        before = []

    tell("waiting for the bootloader's drive")
    drive = _wait_for_drive(Path(entry.drive) if entry else None, before, timeout)
    tell(f"copying {len(data) // 1024} KiB")
    _copy(data, drive, timeout)
    tell("waiting for the new firmware")
    return _wait_for_hello(port, timeout)


def mounted_drives(root: Path | None = None) -> list[Path]:
    """Return the mounted drives that are RP2040 bootloaders.

    Args:
        root: Where to look instead of the whole computer.
    """
    if root is None and os.name == "nt":
        places = [Path(f"{letter}:/") for letter in "DEFGHIJKLMNOPQRSTUVWXYZ"]
    else:
        places = [place for pattern in _MOUNTS for place in sorted((root or Path("/")).glob(pattern))]
    return [place for place in places if _is_bootloader(place)]


def _is_bootloader(place: Path) -> bool:
    try:
        with (place / _INFO_FILE).open("rb") as stream:
            return _BOARD_ID in stream.read(4096)
    except OSError:
        return False  # nothing there, or gone in this moment


def _read_firmware(path: Path) -> bytes:
    data = read_bytes(path, _MAX_UF2_BYTES, "give the .uf2 file of a firmware")
    try:
        from_uf2(data)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return data


def _touch(port: str) -> None:
    """Open the port at 1200 baud and close it: the board takes that as "enter the bootloader"."""
    transport = SerialTransport(port, baudrate=_TOUCH_BAUD)
    time.sleep(_POLL_S)
    transport.close()


def _wait_for_drive(expected: Path | None, before: list[Path], timeout: float) -> Path:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if expected is None:
            drives = [drive for drive in mounted_drives() if drive not in before]
        else:
            drives = [expected] if _is_bootloader(expected) else []
        if len(drives) > 1:
            names = ", ".join(str(drive) for drive in drives)
            raise LinkError(f"{len(drives)} bootloader drives appeared ({names}); unplug all boards but one")
        if drives:
            return drives[0]
        time.sleep(_POLL_S)
    raise LinkError(
        f"no bootloader drive after {timeout:g} s; hold BOOTSEL while plugging the board in, mount its drive RPI-RP2, "
        "and flash again"
    )


def _copy(data: bytes, drive: Path, timeout: float) -> None:
    """Copy the firmware and wait until the board, having it all, takes the drive away."""
    written = 0
    try:
        with (drive / "firmware.uf2").open("wb") as stream:
            while written < len(data):
                written += stream.write(data[written : written + _CHUNK_BYTES])
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        # A board restarts on the last block, before the file is closed: that is success, and shows below.
        if written < len(data) or _is_bootloader(drive):
            raise LinkError(
                f"copying to {drive} failed: {error.strerror or error}; unplug the board and flash again"
            ) from error
    deadline = time.monotonic() + timeout
    while _is_bootloader(drive):
        if time.monotonic() >= deadline:
            raise LinkError(f"the bootloader at {drive} did not accept the firmware within {timeout:g} s; flash again")
        time.sleep(_POLL_S)


def _wait_for_hello(port: str, timeout: float) -> BoardInfo:
    deadline = time.monotonic() + timeout
    while True:
        try:
            with closing(Board(SerialTransport(port))) as board:
                return board.hello(min(timeout, 3.0))
        except LinkError as error:
            if time.monotonic() >= deadline:
                raise LinkError(f"flashed, but the new firmware does not answer at {port}: {error}") from error
        time.sleep(_POLL_S)
