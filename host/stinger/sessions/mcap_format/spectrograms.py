"""Spectrograms of a recording's windows: MCAP with pictures to look at and arrays for a model.

Topic ``spectrogram`` has a picture of each window (`foxglove.CompressedImage`, PNG), ``input_values`` the array that a
model takes (base64 of a ``.npy``), both at the time of the window's last sample. Arrays are float32 with time first:
``(frames, bands)``. A metadata record says how they were made.

Files of earlier tools have no such record, and their arrays lie on their side, ``(bands, frames)``. Those are known by
their shape and put right. Whatever wrote them, arrays are parsed without pickle, and none is larger than a message.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mcap.records import Metadata
from mcap.writer import Writer
from numpy.typing import NDArray

from stinger.arrays import NPY_DAMAGE, npy_bytes, parse_npy
from stinger.errors import InputError
from stinger.sessions.mcap_format import schemas as mcap_schemas
from stinger.sessions.mcap_format.messages import json_messages
from stinger.sessions.mcap_format.stream import MAX_MESSAGE_BYTES
from stinger.sessions.mcap_format.writing import open_writer

PICTURES, ARRAYS = "spectrogram", "input_values"
METADATA = "stinger.spectrograms"
VERSION = 1
#: Frames and bands of the Audio Spectrogram Transformer, which files without a description have.
AST_SHAPE = (1024, 128)
#: All arrays of a file that are in memory at once.
MAX_VALUES_BYTES = 2 << 30
MAX_FRAMES, MAX_BANDS = 8192, 1024
_MAX_ABOUT = 1 << 16
_ADVICE = "make it again with `stinger magnetic spectrogram`"


@dataclass(frozen=True)
class Spectrograms:
    """The arrays of a file.

    Attributes:
        name: The file's.
        times_ns: When each window ended, int64, shape ``(n,)``, in order.
        values: float32, shape ``(n, frames, bands)``, finite.
        about: How they were made, as the file describes it; empty for files of other tools. JSON values, unchecked.
        turned: How many lay on their side and were put right.
    """

    name: str
    times_ns: NDArray[np.int64]
    values: NDArray[np.float32]
    about: Mapping[str, Any] = field(default_factory=dict)
    turned: int = 0

    def __len__(self) -> int:
        return len(self.times_ns)


class SpectrogramWriter:
    """Writes windows one by one; made by `open_spectrograms`."""

    def __init__(self, writer: Writer, name: str, about: Mapping[str, Any]) -> None:
        text = json.dumps(dict(about) | {"version": VERSION}, separators=(",", ":"), sort_keys=True)
        writer.add_metadata(METADATA, {"about": text})
        image = writer.register_schema(mcap_schemas.COMPRESSED_IMAGE, "jsonschema", mcap_schemas.compressed_image())
        array = writer.register_schema(mcap_schemas.INPUT_VALUES, "jsonschema", mcap_schemas.input_values())
        self._pictures = writer.register_channel(PICTURES, "json", image)
        self._arrays = writer.register_channel(ARRAYS, "json", array)
        self._writer = writer
        self._name = name
        self._shape = _shape(about, name)
        self._last_ns = 0
        self.count = 0

    def add(self, time_ns: int, values: NDArray[np.float32], png: bytes | None) -> None:
        """Write one window.

        Args:
            time_ns: When its last sample was; none before the last window's.
            values: float32, shape ``(frames, bands)`` of the description.
            png: A picture of it, if there is one.

        Raises:
            InputError: It would not read back.
        """
        if values.dtype != np.float32 or values.shape != self._shape or not np.isfinite(values).all():
            raise InputError(
                f"{self._name}: a spectrogram is {values.dtype}{values.shape} or not finite, "
                f"expected float32{self._shape}, frames before bands"
            )
        if not self._last_ns <= time_ns < 1 << 63:
            raise InputError(f"{self._name}: a window ends at {time_ns} ns, which is too early or too late")
        messages = [(self._arrays, {"data": base64.b64encode(npy_bytes(values)).decode("ascii")})]
        if png is not None:
            messages.insert(0, (self._pictures, _picture(time_ns, png)))
        for channel, message in messages:
            text = json.dumps(message, separators=(",", ":")).encode()
            if len(text) > MAX_MESSAGE_BYTES:
                raise InputError(f"{self._name}: a spectrogram of {self._shape} is too large for a message; use fewer")
            self._writer.add_message(channel, time_ns, text, time_ns, self.count & 0xFFFFFFFF)
        self._last_ns = time_ns
        self.count += 1


def _picture(time_ns: int, png: bytes) -> dict[str, Any]:
    return {
        "timestamp": {"sec": time_ns // 10**9, "nsec": time_ns % 10**9},
        "frame_id": PICTURES,
        "data": base64.b64encode(png).decode("ascii"),
        "format": "png",
    }


@contextmanager
def open_spectrograms(path: Path, about: Mapping[str, Any]) -> Iterator[SpectrogramWriter]:
    """Open a file for spectrograms; it appears only when the block ends without an error. The same facts, same bytes.

    Args:
        path: Where to.
        about: How they are made, in plain JSON values; at least ``spec`` with ``frames`` and ``mel_bins``.

    Raises:
        InputError: There was no window to write, or the place cannot be written.
    """
    with open_writer(path) as writer:
        spectrograms = SpectrogramWriter(writer, path.name, about)
        yield spectrograms
        if not spectrograms.count:
            raise InputError(f"{path.name}: no window to write; record something longer, or choose a shorter window")


def read_spectrograms(path: Path, shape: tuple[int, int] | None = None) -> Spectrograms:
    """Read all arrays of a file, in order of time.

    Args:
        path: The file; pictures in it are not looked at.
        shape: Frames and bands that are wanted; default: what the file says, or `AST_SHAPE` if it says nothing.

    Raises:
        InputError: The file is missing, damaged or too large, or an array is no such spectrogram.
    """
    reading = _Reading(path.name, shape)
    times: list[int] = []
    arrays: dict[int, NDArray[np.float32]] = {}
    size = 0
    for _, time_ns, message in json_messages(path, (ARRAYS,), reading.describe):
        array = arrays[len(times)] = reading.array(message)
        times.append(time_ns)
        size += array.nbytes
        if size > MAX_VALUES_BYTES:
            raise InputError(f"{path.name}: more than {MAX_VALUES_BYTES >> 20} MiB of spectrograms; split the file")
    order = np.argsort(np.array(times, dtype=np.int64), kind="stable")
    values = np.empty((len(arrays), *reading.shape), dtype=np.float32)
    for place, index in enumerate(order.tolist()):
        # Let go at once: a large file must not be in memory twice.
        values[place] = arrays.pop(index)
    times_ns = np.array(times, dtype=np.int64)[order]
    return Spectrograms(path.name, times_ns, values, reading.about, reading.turned)


class _Reading:
    """What is known of a file while it is read."""

    def __init__(self, name: str, shape: tuple[int, int] | None) -> None:
        self._name = name
        self._wanted = shape
        self.shape = shape or AST_SHAPE
        self.about: dict[str, Any] = {}
        self.turned = 0

    def describe(self, record: Metadata) -> None:
        if record.name != METADATA:
            return
        text = record.metadata.get("about", "")
        try:
            about = json.loads(text) if len(text) <= _MAX_ABOUT else None
        except (ValueError, RecursionError) as error:
            raise InputError(f"{self._name}: its description is not valid JSON; {_ADVICE}") from error
        if not isinstance(about, dict) or about.get("version") != VERSION or self.about:
            raise InputError(f"{self._name}: its description makes no sense at 'version'; {_ADVICE}")
        self.about = about
        self.shape = _shape(about, self._name)
        if self._wanted not in (None, self.shape):
            raise InputError(
                f"{self._name}: spectrograms of {self.shape} frames and bands, {self._wanted} are needed; {_ADVICE}"
            )

    def array(self, message: dict[str, Any]) -> NDArray[np.float32]:
        """Return the spectrogram of a message, time first."""
        where = f"{self._name}: {ARRAYS}"
        data = message.get("data")
        if not isinstance(data, str):
            raise InputError(f"{where}: a message has no text 'data'; {_ADVICE}")
        try:
            array = parse_npy(base64.b64decode(data, validate=True))
        except binascii.Error as error:
            raise InputError(f"{where}: a message is not base64; {_ADVICE}") from error
        except NPY_DAMAGE as error:
            why = str(error).splitlines()[0][:100] if str(error) else "cut off"
            raise InputError(f"{where}: no array of numbers in a message ({why}); {_ADVICE}") from error
        while array.ndim > 2 and array.shape[0] == 1:
            array = array[0]
        # With a description the orientation is known; without, a transposed array is one of an earlier tool.
        if not self.about and array.shape == self.shape[::-1] != self.shape:
            array = array.T
            self.turned += 1
        if array.dtype.kind != "f" or array.shape != self.shape:
            raise InputError(
                f"{where}: an array is {array.dtype}{array.shape}, expected float32{self.shape}, frames before bands; "
                f"{_ADVICE}"
            )
        with np.errstate(over="ignore"):
            values = np.ascontiguousarray(array, dtype=np.float32)
        if not np.isfinite(values).all():
            raise InputError(f"{where}: an array holds values that are not finite; {_ADVICE}")
        return values


def _shape(about: Mapping[str, Any], name: str) -> tuple[int, int]:
    spec = about.get("spec")
    frames, bands = (spec.get("frames"), spec.get("mel_bins")) if isinstance(spec, Mapping) else (0, 0)
    if type(frames) is not int or type(bands) is not int or not 0 < frames <= MAX_FRAMES or not 0 < bands <= MAX_BANDS:
        raise InputError(f"{name}: its description makes no sense at 'spec'; {_ADVICE}")
    return frames, bands
