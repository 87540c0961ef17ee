"""How the device keeps weights: the order of bytes in generated C and in model images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: STINGER_STRIDE: inputs of a layer are padded to a multiple of this in images, and of convolutions everywhere.
STRIDE = 8
#: Inputs that the board takes at once: to a multiple of this they are padded at least.
PAIR = 2
#: Most inputs of a layer, and features of a model: with their padding still a number of 16 bits.
MAX_INPUTS = 65528
#: Most rows of a layer, and layers of a model.
MAX_ROWS = 1024
MAX_LAYERS = 8
#: STINGER_TRIADS: triads of channels whose magnitudes a model may use.
MAX_TRIADS = 3
#: Rows whose weights lie side by side.
ROW_GROUP = 4


def padded(rows: int, inputs: int, stride: int = STRIDE) -> tuple[int, int]:
    """Return rows and inputs of a layer with their padding."""
    return rows + -rows % ROW_GROUP, inputs + -inputs % stride


def compiled(rows: int, inputs: int, *, last: bool) -> tuple[int, int]:
    """Return the same for a layer of a network in generated C, where the only row of the last one stands alone."""
    shape = padded(rows, inputs, PAIR)
    return (1, shape[1]) if last and rows == 1 else shape


def activations(window: int, channels: int, rows: Sequence[int], kernel: int) -> int:
    """Return STINGER_MAX_ACTIVATIONS of convolutions: numbers that one of them takes and gives, at most.

    Args:
        window: Samples of a window.
        channels: Channels of a sample.
        rows: Outputs of each convolution.
        kernel: Steps that each looks at.
    """
    steps, taken = window, []
    for width in (channels, *rows[:-1]):
        taken.append((steps + kernel - 1) * width + STRIDE - 1)
        steps = (steps + 1) // 2
    return max(a + b for a, b in zip(taken, [*taken[1:], 0], strict=True))


def stored_weights(weight: NDArray[np.int8] | NDArray[np.int16], shape: tuple[int, int] | None = None) -> NDArray[Any]:
    """Arrange weights ``(rows, inputs)``: unsigned, padded with weights of 0, four rows side by side.

    Args:
        weight: The weights.
        shape: Rows and inputs with their padding; `padded` without it.

    Returns:
        uint8 or uint16, shape ``(groups of four rows, inputs, 4)``, or ``(1, inputs, 1)`` of a row that stands alone.
    """
    zero = -int(np.iinfo(weight.dtype).min)
    rows, inputs = weight.shape
    all_rows, all_inputs = shape or padded(rows, inputs)
    stored = np.full((all_rows, all_inputs), zero, dtype=np.uint8 if zero == 128 else np.uint16)
    stored[:rows, :inputs] = weight.astype(np.int64) + zero
    return np.ascontiguousarray(stored.reshape(-1, min(all_rows, ROW_GROUP), all_inputs).transpose(0, 2, 1))


def read_weights(stored: NDArray[Any], rows: int, inputs: int) -> NDArray[Any]:
    """Undo `stored_weights`.

    Args:
        stored: As `stored_weights` returns them.
        rows: Without padding.
        inputs: Without padding.

    Raises:
        ValueError: The padding holds weights.
    """
    signed, zero = (np.int8, 128) if stored.dtype.itemsize == 1 else (np.int16, 32768)
    every = stored.astype(np.int64).transpose(0, 2, 1).reshape(-1, stored.shape[1]) - zero
    if every[rows:].any() or every[:, inputs:].any():
        raise ValueError("weights in the padding")
    return every[:rows, :inputs].astype(signed)
