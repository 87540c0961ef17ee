"""MLMD version 1: the model image that the stock firmware keeps in its file system.

A packed little-endian header of 24 bytes and a payload of float32::

    char[4] "MLMD"   u16 version = 1   u16 window samples = 50   u8 type (0 logistic regression, 1 network)   u8 0
    u16 features (18 | 30)   u16 first hidden layer (0 | 64)   u16 second hidden layer (0 | 32)
    u32 payload bytes   u32 CRC-32 of the payload

    logistic regression (`summary` features):  mean[18] scale[18] coef[18] intercept[1]
    network (`rich` features):  mean[30] scale[30] W1[64][30] b1[64] W2[32][64] b2[32] W3[32] b3[1]

The firmware refuses another size, a wrong CRC and numbers that are not finite, and so does this reader.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.files import read_bytes, write_bytes

WINDOW = 50
#: Units from features to the single output, by type.
SHAPES = {0: (18, 1), 1: (30, 64, 32, 1)}
#: What the firmware calls each type in its commands.
KINDS = {0: "lr", 1: "mlp"}
_HEADER = struct.Struct("<4sHHBBHHHII")
_MAGIC, _VERSION = b"MLMD", 1
_MAX_BYTES = 199_999
_ADVICE = "write the image again"

Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class StockModel:
    """A model as the stock firmware computes it.

    Attributes:
        mean: Subtracted from the features, float32, shape ``(features,)``.
        scale: What they are divided by then, float32, shape ``(features,)``.
        layers: Weight ``(outputs, inputs)`` and bias ``(outputs,)`` of each dense layer, float32; ReLU between
            them, a logistic function after the last.
    """

    mean: Float32
    scale: Float32
    layers: tuple[tuple[Float32, Float32], ...]

    def __post_init__(self) -> None:
        """Refuse what the image cannot hold or the firmware would not load."""
        widths = (len(self.mean), *(len(bias) for _, bias in self.layers))
        if widths not in SHAPES.values():
            raise InputError(
                f"the stock firmware has no model of {'-'.join(map(str, widths))} units; "
                f"it takes {' or '.join('-'.join(map(str, shape)) for shape in SHAPES.values())}"
            )
        shapes = [(self.mean, widths[:1]), (self.scale, widths[:1])]
        for (weight, bias), (inputs, outputs) in zip(self.layers, pairwise(widths), strict=True):
            shapes += [(weight, (outputs, inputs)), (bias, (outputs,))]
        for array, shape in shapes:
            if array.dtype != np.float32 or array.shape != shape:
                raise InputError(f"a stock model holds float32{shape}, not {array.dtype}{array.shape}")
            if not np.isfinite(array).all():
                raise InputError("the model holds numbers that are not finite; train it again")

    @property
    def type(self) -> int:
        """Type in the image's header."""
        return 0 if len(self.layers) == 1 else 1

    @property
    def kind(self) -> str:
        """``lr`` or ``mlp``."""
        return KINDS[self.type]

    @property
    def feature_set(self) -> str:
        """Name of the reference's feature set that it takes."""
        return "summary" if self.type == 0 else "rich"

    def to_bytes(self) -> bytes:
        """The image."""
        parts = [self.mean, self.scale, *(part for layer in self.layers for part in layer)]
        payload = b"".join(part.astype("<f4").tobytes() for part in parts)
        shape = SHAPES[self.type]
        hidden = (*shape[1:-1], 0, 0)[:2]
        head = (_MAGIC, _VERSION, WINDOW, self.type, 0, shape[0], *hidden, len(payload), zlib.crc32(payload))
        return _HEADER.pack(*head) + payload


def parse_image(data: bytes, name: str = "image") -> StockModel:
    """Read an image.

    Args:
        data: The whole file.
        name: What to call it in messages.

    Raises:
        InputError: It is not an image that the stock firmware would load.
    """
    if len(data) < _HEADER.size or data[:4] != _MAGIC:
        raise InputError(f"{name} is not a model image (it does not begin with MLMD); {_ADVICE}")
    _, version, window, kind, zero, features, h1, h2, size, crc = _HEADER.unpack_from(data)
    if version != _VERSION:
        raise InputError(f"{name} is an MLMD image of version {version}, the stock firmware takes 1; {_ADVICE}")
    shape = SHAPES.get(kind)
    if shape is None or (window, zero, features, h1, h2) != (WINDOW, 0, shape[0], *(*shape[1:-1], 0, 0)[:2]):
        raise InputError(f"{name}: its header speaks of a model the stock firmware does not have; {_ADVICE}")
    payload = data[_HEADER.size :]
    floats = 2 * shape[0] + sum((inputs + 1) * outputs for inputs, outputs in pairwise(shape))
    if size != 4 * floats or len(payload) != size:
        raise InputError(f"{name}: {len(payload)} bytes of weights, {4 * floats} are needed; {_ADVICE}")
    if zlib.crc32(payload) != crc:
        raise InputError(f"{name} is damaged (its CRC-32 is wrong); {_ADVICE}")
    values = np.frombuffer(payload, dtype="<f4").astype(np.float32)
    at = 2 * shape[0]
    mean, scale = values[: shape[0]], values[shape[0] : at]
    layers = []
    for inputs, outputs in pairwise(shape):
        weight, at = values[at : at + inputs * outputs].reshape(outputs, inputs), at + inputs * outputs
        bias, at = values[at : at + outputs], at + outputs
        layers.append((weight, bias))
    try:
        return StockModel(mean, scale, tuple(layers))
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def read_image(path: Path) -> StockModel:
    """Read an image file; see `parse_image`."""
    return parse_image(read_bytes(path, _MAX_BYTES, _ADVICE), path.name)


def write_image(model: StockModel, path: Path) -> None:
    """Write an image file, completely or not at all.

    Raises:
        InputError: The place cannot be written.
    """
    write_bytes(path, model.to_bytes())
