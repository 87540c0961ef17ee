"""A file that keeps what a virtual board's flash holds: its models outlive the process, as they outlive power."""

from __future__ import annotations

import time
import zlib
from pathlib import Path

from stinger.files import read_bytes, write_bytes
from stinger_export.uf2 import FLASH_BYTES

#: How often the flash is looked at; what a crash of this process may lose.
_PERIOD_S = 0.5


class FlashFile:
    """The flash of a virtual board between its starts.

    Attributes:
        contents: What it held last; None for a flash that never held anything.

    Args:
        path: The file, which need not exist yet; None keeps nothing on disk.

    Raises:
        InputError: The file cannot be read, or is larger than the flash.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.contents: bytes | None = None
        if path is not None and path.exists():
            self.contents = read_bytes(path, FLASH_BYTES, "give a file that `stinger virtual --flash` made")
        self._saved = zlib.crc32(self.contents or b"")
        self._looked = time.monotonic()

    def keep(self, contents: bytes) -> None:
        """Remember contents, and write them if they are new.

        Raises:
            InputError: The file cannot be written.
        """
        self.contents = contents
        self._looked = time.monotonic()
        if self._path is not None and (crc := zlib.crc32(contents)) != self._saved:
            write_bytes(self._path, contents)
            self._saved = crc

    @property
    def due(self) -> bool:
        """True when it is time to `keep` again."""
        return self._path is not None and time.monotonic() - self._looked >= _PERIOD_S
