"""Named arrays in one file: NumPy's ``.npz`` without pickle, written repeatably and read within bounds."""

from __future__ import annotations

import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.files import read_bytes, write_bytes

_MAX_ARRAYS = 100
#: Whatever zipfile and NumPy raise on bytes that are no archive or no array.
NPY_DAMAGE = (
    *(OSError, ValueError, EOFError, KeyError, TypeError, SyntaxError, RecursionError, RuntimeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError),
)


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays; the same ones give the same bytes.

    Raises:
        InputError: The place cannot be written.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_bytes(path, buffer.getvalue())


def read_arrays(path: Path, limit: int, advice: str) -> dict[str, NDArray[Any]]:
    """Read arrays of numbers.

    Args:
        path: A file written by `write_arrays`.
        limit: Most bytes that the file, or the arrays together, may have.
        advice: What to do when it cannot be used; ends the message.

    Raises:
        InputError: The file is missing, damaged, larger than that, or holds anything but arrays of numbers.
    """
    data = read_bytes(path, limit, advice)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if len(entries) > _MAX_ARRAYS or sum(entry.file_size for entry in entries) > limit:
                raise InputError(f"{path} unpacks to more than {limit / 2**20:g} MiB; {advice}")
            return {entry.filename.removesuffix(".npy"): parse_npy(archive.read(entry)) for entry in entries}
    except NPY_DAMAGE as error:
        why = str(error).splitlines()[0][:100] if str(error) else "cut off"
        raise InputError(f"{path} is damaged ({why}); {advice}") from error


def npy_bytes(array: NDArray[Any]) -> bytes:
    """Return an array of numbers as the content of a ``.npy`` file; the same array gives the same bytes."""
    stream = io.BytesIO()
    npy.write_array(stream, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return stream.getvalue()


def parse_npy(content: bytes) -> NDArray[Any]:
    """Read the content of one ``.npy``, comparing what its header claims with what is there before allocating anything.

    Raises:
        ValueError: It is no array of numbers; `NPY_DAMAGE` has whatever else NumPy may raise.
    """
    stream = io.BytesIO(content)
    if npy.read_magic(stream) != (1, 0):
        raise ValueError("an array of an unexpected version")
    shape, fortran, dtype = npy.read_array_header_1_0(stream)
    if dtype.hasobject:
        raise ValueError("an array of pickled Python objects, which could run code")
    if dtype.kind not in "iufb" or any(length < 0 for length in shape):
        raise ValueError(f"an array of {dtype}")
    if dtype.itemsize * math.prod(shape) != len(content) - stream.tell():
        raise ValueError("an array of another size than it says")
    flat = np.frombuffer(content, dtype, offset=stream.tell())
    return flat.reshape(shape, order="F" if fortran else "C").copy()
