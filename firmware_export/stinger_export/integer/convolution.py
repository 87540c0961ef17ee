"""Convolutional networks as integers: each convolution is a layer of rows, applied at every second step."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger_export.integer.layout import MAX_INPUTS, MAX_LAYERS, MAX_ROWS
from stinger_export.integer.model import ONE, Convolutional, Layer, over_time
from stinger_export.integer.rows import Matrix, finish_hidden, finish_last, quantise_rows, quantise_scaler

_MAX_KERNEL = 255
#: Room above the highest calibrated activation. Samples themselves reach no further in a whole session than in its
#: windows, unlike the deviations and means of other features; a finer unit loses less.
_HEADROOM = 4.0
#: Numbers held at a time while ranges are taken from calibration windows.
_BLOCK_VALUES = 1 << 22


def quantise_convolutions(
    estimator: Any, features: NDArray[np.int16], target: float, widths: Sequence[int] = (8, 16)
) -> Convolutional:
    """Make the integers of a fitted ``TorchCNNClassifier``.

    Args:
        estimator: It; its rows are windows sample by sample.
        features: Calibration windows ``(n, window * channels)``.
        target: Change of a probability on them from which on layers get wider weights, cheapest first.
        widths: Bits that a layer's weights may have.

    Raises:
        InputError: It is larger than the device's layers, or its numbers cannot be represented.
    """
    weights, biases = _rows_of(estimator)
    kernel = int(estimator.coefs_[0].shape[2])
    _require_size(weights, kernel)
    expected = estimator.predict_proba(features.astype(np.float64))
    scaler, unit = quantise_scaler(estimator)
    candidates = sorted(
        itertools.product(widths, repeat=len(weights)),
        key=lambda bits: sum(w.size * b for w, b in zip(weights, bits, strict=True)),
    )
    network: Convolutional | None = None
    for bits in candidates:
        network = _quantised(
            Convolutional(scaler, (), kernel), list(zip(weights, biases, bits, strict=True)), features, unit
        )
        if np.abs(network.decide(features)[0] / ONE - expected).max() <= target:
            break
    assert network is not None  # noqa: S101 - there is at least one candidate
    return network


def _rows_of(estimator: Any) -> tuple[list[Matrix], list[Matrix]]:
    """Weights of each layer as rows, step by step, and its biases; one logit for two classes."""
    weights = [w.transpose(0, 2, 1).reshape(len(w), -1) for w in estimator.coefs_[:-1]] + [estimator.coefs_[-1]]
    biases = list(estimator.intercepts_)
    if len(estimator.classes_) == 2:
        # A softmax of two logits is the logistic function of their difference.
        weights[-1], biases[-1] = weights[-1][1:] - weights[-1][:1], biases[-1][1:] - biases[-1][:1]
    return weights, biases


def _require_size(weights: Sequence[Matrix], kernel: int) -> None:
    if kernel > _MAX_KERNEL or len(weights) > MAX_LAYERS:
        raise InputError(
            f"convolutions on the device look at {_MAX_KERNEL} steps at most, in {MAX_LAYERS - 1} layers, "
            f"not at {kernel} in {len(weights) - 1}; lower kernel_size or the number of filters"
        )
    rows, inputs = max(len(w) for w in weights), max(w.shape[1] for w in weights)
    if rows > MAX_ROWS or inputs > MAX_INPUTS:
        raise InputError(
            f"a convolution on the device has {MAX_ROWS:,} filters of {MAX_INPUTS:,} weights at most, "
            f"not {rows:,} of {inputs:,}; lower filters or kernel_size"
        )


def _quantised(
    empty: Convolutional,
    layers_of: Sequence[tuple[Matrix, Matrix, int]],
    features: NDArray[np.int16],
    unit: float,
) -> Convolutional:
    """Quantise layer by layer; each one's range is that of its outputs on the calibration windows.

    Args:
        empty: The network without its layers.
        layers_of: Weights as rows, biases and bits of a weight, of each layer.
        features: Calibration windows.
        unit: Standard deviations of one unit of the scaler's output.
    """
    layers: list[Layer] = []
    x = empty.scaled(features).astype(np.int16)  # what lies between layers fits int16
    for weight, bias, width in layers_of[:-1]:
        layer, row_unit = quantise_rows(weight, bias, width, unit)
        blocks = _blocks(x, weight)
        highest = np.max([layer.accumulate(empty.patches(x[b])).max(axis=(0, 1)) for b in blocks], axis=0)
        layer, unit = finish_hidden(layer, row_unit, highest, _HEADROOM)
        x = np.concatenate([layer.hidden(empty.patches(x[b])).astype(np.int16) for b in blocks])
        layers.append(layer)
    layer, row_unit = quantise_rows(*layers_of[-1], unit)
    layers.append(finish_last(layer, row_unit, layer.accumulate(over_time(x.astype(np.int64)))))
    return Convolutional(empty.scaler, tuple(layers), empty.kernel)


def _blocks(x: NDArray[np.int16], weight: Matrix) -> list[slice]:
    """Parts of windows ``(n, steps, inputs)`` of which a convolution's patches and outputs fit the memory meant."""
    made = (x.shape[1] + 1) // 2
    size = max(1, _BLOCK_VALUES // (made * sum(weight.shape)))
    return [slice(at, at + size) for at in range(0, len(x), size)]
