"""The virtual board's boot loader: a drive that takes a UF2 file, as a real RP2040's does."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from stinger.errors import InputError
from stinger_export.uf2 import FLASH_BYTES, from_uf2

_INFO = "UF2 Bootloader v3.0\nModel: Raspberry Pi RP2\nBoard-ID: RPI-RP2\n"
_MAX_FILE = 2 * FLASH_BYTES
#: A file that is no UF2 is given up once nobody has written to it for this long.
_SETTLED_S = 1.0


class BootloaderDrive:
    """The drive, which exists from `open` to `close`.

    Args:
        path: The directory that is the drive.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: dict[Path, tuple[int, float]] = {}

    def open(self) -> None:
        """Make the drive appear, empty but for ``INFO_UF2.TXT``."""
        self.close()
        self._path.mkdir(mode=0o700, parents=True)
        (self._path / "INFO_UF2.TXT").write_text(_INFO)
        self._seen.clear()

    def close(self) -> None:
        """Make the drive vanish, with whatever is on it."""
        shutil.rmtree(self._path, ignore_errors=True)

    def poll(self) -> bytes | None:
        """Look for a complete UF2 file.

        Returns:
            The image in it, or None while there is none.

        Raises:
            InputError: A file that nobody writes to any more is no firmware; `open` clears the drive.
        """
        try:
            files = sorted(f for f in self._path.iterdir() if f.suffix.lower() == ".uf2" and not f.name.startswith("."))
        except OSError:
            return None  # somebody removed the drive; the next `open` makes it again
        for file in files:
            data = _read(file)
            if data is None:
                continue
            try:
                return from_uf2(data)[1]
            except InputError:
                if self._settled(file, len(data)):
                    raise
        return None

    def _settled(self, file: Path, size: int) -> bool:
        now = time.monotonic()
        last_size, since = self._seen.get(file, (-1, now))
        if size != last_size:
            since = now
        self._seen[file] = (size, since)
        return now - since >= _SETTLED_S


def _read(file: Path) -> bytes | None:
    try:
        with file.open("rb") as stream:
            return stream.read(_MAX_FILE + 1)
    except OSError:
        return None  # gone again, or not readable yet
