"""Scalers and rows of layers as integers, with the proof that nothing overflows: what all networks share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger_export.integer.model import LOGIT_UNIT, Layer, Scaler

#: Network inputs are limited to this many standard deviations. Recoil and falls reach tens of them though training
#: windows stay within six; a unit of 1/256 of a deviation is still fine enough.
_INPUT_RANGE = 128.0
#: Room above the largest calibrated activation, and logit, before it saturates; for the same reason.
_HEADROOM = 16.0
#: Largest logit of two classes worth representing: exp(-32) is far below one unit of probability.
_LOGIT_LIMIT = 32.0
_INT32_MAX = 2**31 - 1

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Rounded:
    """A layer of integers, and what they stand for.

    Attributes:
        layer: The integers.
        row_unit: What one unit of each row's accumulator is, shape ``(rows,)``.
        unit: What one unit of the layer's input is; so one of a row's weights is ``row_unit / unit``.
    """

    layer: Layer
    row_unit: Matrix
    unit: float


def quantise_scaler(standard: Any) -> tuple[Scaler, float]:
    """Return the input scaler, and how many standard deviations one unit of its output is."""
    mean, deviation = np.asarray(standard.mean_), np.asarray(standard.scale_)
    unit = _INPUT_RANGE / 32767
    ratio = np.minimum(1 / (deviation * unit), 32767.0)  # beyond that, one count already saturates
    # shift <= 16 keeps |feature * scale| + |offset| below 2**31 for every int16 feature.
    shift = np.clip(np.floor(np.log2(32767 / ratio)), 0, 16).astype(np.uint8)
    scale = np.rint(ratio * 2.0**shift).clip(0, 32767).astype(np.int16)
    half = np.where(shift > 0, 2.0 ** (shift.astype(np.float64) - 1), 0.0)
    offset = np.rint(-mean * ratio * 2.0**shift + half)
    if (32768 * np.abs(scale.astype(np.float64)) + np.abs(offset) > _INT32_MAX).any():
        raise InputError("a feature's mean is outside int16: the estimator was not trained on integer features")
    return Scaler(scale, offset.astype(np.int32), shift), unit


def quantise_rows(weight: Matrix, bias: Matrix, bits: int, unit: float) -> tuple[Layer, Matrix]:
    """Quantise weights and biases; returns the layer without its output scaling, and each row's unit."""
    largest = 2 ** (bits - 1) - 1
    peak = np.maximum(np.abs(weight).max(axis=1), 1e-9)
    # The accumulator holds at most 2**29 of bias and 2**30 of products, whatever the inputs are.
    step = np.maximum(peak / largest, np.abs(weight).sum(axis=1) * 32767 / 2**30)
    step = np.maximum(step, np.abs(bias) / (unit * 2**29))
    quantised = np.rint(weight / step[:, None]).astype(np.int16 if bits == 16 else np.int8)
    row_unit = step * unit
    zero = np.zeros(len(bias), dtype=np.uint8)
    layer = Layer(quantised, np.rint(bias / row_unit).astype(np.int32), zero.astype(np.uint16), zero, zero)
    return layer, row_unit


def finish_hidden(
    layer: Layer, row_unit: Matrix, highest: NDArray[np.int64], headroom: float = _HEADROOM
) -> tuple[Layer, float]:
    """Scale the outputs of a hidden layer.

    Args:
        layer: As `quantise_rows` makes it.
        row_unit: What one unit of each row's accumulator is worth.
        highest: Highest accumulator of each row on the calibration windows.
        headroom: Room above that before outputs saturate.

    Returns:
        The layer, and what one unit of its outputs is worth.
    """
    peak = float((np.maximum(highest, 0) * row_unit).max())
    unit = max(peak * headroom, 1e-6) / 32767
    ratio = row_unit / unit
    pre = np.array([max(0, math.ceil(math.log2(32767 / r / 65535))) for r in ratio])
    return _with_output(layer, ratio, pre, most=16), unit


def finish_last(layer: Layer, row_unit: Matrix, acc: NDArray[np.int64]) -> Layer:
    """Scale the outputs of the last layer to logits; ``acc`` are its accumulators ``(n, rows)`` on calibration."""
    # Logits of several classes are compared with each other, so they need their differences at any size.
    largest = np.abs(acc * row_unit).max() if len(row_unit) > 1 else _LOGIT_LIMIT / _HEADROOM
    peak = max(_HEADROOM * float(largest), 1.0) / row_unit
    pre = np.array([max(0, math.ceil(math.log2(p / 32767))) for p in peak])
    return _with_output(layer, row_unit * LOGIT_UNIT, pre, most=30)


def _with_output(layer: Layer, ratio: Matrix, pre: NDArray[np.int_], most: int) -> Layer:
    # Sums fit int32, so 16 bits of shift bring any into range; more are asked for where hardly any weight is left.
    pre = np.minimum(pre, 16)
    factor = ratio * 2.0**pre
    post = np.clip(np.floor(np.log2(65535 / factor)), 1, most)
    scale = np.rint(factor * 2.0**post)
    if (scale > 65535).any():
        raise InputError("a layer's weights are too small or too large for integers; scale the network's inputs")
    rounding = np.where(pre > 0, 2.0 ** (pre - 1), 0.0).astype(np.int64)
    bias = layer.bias.astype(np.int64) + rounding
    _prove_no_overflow(layer.weight, bias)
    return Layer(
        layer.weight,
        bias.astype(np.int32),
        scale.astype(np.uint16),
        pre.astype(np.uint8),
        post.astype(np.uint8),
    )


def _prove_no_overflow(weight: NDArray[np.int8] | NDArray[np.int16], bias: NDArray[np.int64]) -> None:
    bound = np.abs(weight.astype(np.int64)).sum(axis=1) * 32767 + np.abs(bias)
    if (bound > _INT32_MAX).any():
        raise InputError("a layer's accumulator could overflow int32; use fewer or smaller weights")
