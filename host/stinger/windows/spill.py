"""Windows kept in files instead of memory, so that memory does not grow with the number of recordings.

The arrays are ordinary `numpy.memmap` objects. Whoever has gone through one calls `unload`: its pages leave this
process, the file keeps them.
"""

from __future__ import annotations

import mmap
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Spill:
    """A temporary folder of arrays; use it with ``with``, outside which its arrays must not be touched."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="stinger-windows-")
        self._kept = Path(self._folder.name) / "kept"
        self._made = 0

    def __enter__(self) -> Spill:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove the folder; arrays that are still mapped keep their content until they are gone."""
        self._folder.cleanup()

    def keep(self, array: NDArray[np.int16]) -> NDArray[np.int16]:
        """Write an array to a file and return the same values, read from there."""
        if array.size == 0:
            return array
        with self._kept.open("ab") as stream:
            at = stream.tell()
            stream.write(np.ascontiguousarray(array).tobytes())
        return np.memmap(self._kept, dtype=array.dtype, mode="r", offset=at, shape=array.shape)

    def empty(self, shape: tuple[int, ...]) -> NDArray[np.int16]:
        """Make an int16 array to be filled, in a file of its own."""
        if 0 in shape:
            return np.empty(shape, dtype=np.int16)
        self._made += 1
        return np.memmap(Path(self._folder.name) / str(self._made), dtype=np.int16, mode="w+", shape=shape)


def unload(array: NDArray[Any]) -> None:
    """Let go of the memory of an array in a file; does nothing for any other array."""
    mapped = getattr(array, "_mmap", None)
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)
