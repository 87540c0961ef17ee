"""Convolutional networks as integers: each convolution is a layer of rows, applied at every second step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger_export.integer.layout import MAX_INPUTS, MAX_LAYERS, MAX_ROWS
from stinger_export.integer.model import Convolutional, Scaler, over_time
from stinger_export.integer.rows import Matrix, Rounded, finish_hidden, finish_last, quantise_rows, quantise_scaler

_MAX_KERNEL = 255
#: Room above the highest calibrated activation. Samples themselves reach no further in a whole session than in its
#: windows, unlike the deviations and means of other features; a finer unit loses less.
_HEADROOM = 4.0
#: Numbers held at a time while ranges are taken from calibration windows.
_BLOCK_VALUES = 1 << 22


@dataclass(frozen=True)
class FloatingConvolutions:
    """A convolutional network before its weights are rounded; the twin of `quantise.Floating`.

    Attributes:
        scaler: The scaling of its channels, in integers already.
        unit: What one unit of the scaler's output is, in standard deviations.
        weights: Of each layer, float64, shape ``(rows, inputs)``, a convolution's step by step.
        biases: Of each layer, float64, shape ``(rows,)``.
        kernel: Steps that a convolution looks at.
        steps: Samples of a window.
    """

    scaler: Scaler
    unit: float
    weights: list[Matrix]
    biases: list[Matrix]
    kernel: int
    steps: int

    @property
    def products(self) -> int:
        """Products of weights that one window takes."""
        return sum(times * weight.size for times, weight in zip(self._times, self.weights, strict=True))

    @property
    def widest(self) -> int:
        """Numbers that a layer takes of one window, at most, those that a convolution sees again among them."""
        return max(times * int(weight.shape[1]) for times, weight in zip(self._times, self.weights, strict=True))

    @property
    def _times(self) -> list[int]:
        """How often each layer is applied."""
        times, steps = [], self.steps
        for _ in self.weights[:-1]:
            steps = (steps + 1) // 2
            times.append(steps)
        return [*times, 1]

    @property
    def stages(self) -> list[str]:
        """Kinds of the layers, from input to output; see `stinger_export.integer.finetune`."""
        return ["convolution"] * (len(self.weights) - 1) + ["mean logits"]

    def inputs(self, features: NDArray[np.int16]) -> NDArray[np.int64]:
        """What the first layer takes, of windows ``(n, window * channels)``: ``(n, window, channels)``."""
        return self.network(()).scaled(features)

    def rounded(self, bits: Sequence[int], features: NDArray[np.int16]) -> list[Rounded]:
        """Round every layer to integers; each one's range is that of its outputs on the windows.

        Args:
            bits: Width of each layer's weights, 8 or 16.
            features: Windows that set the ranges, shape ``(n, window * channels)``.

        Raises:
            InputError: The numbers cannot be represented.
        """
        empty, layers, unit = self.network(()), [], self.unit
        x = self.inputs(features).astype(np.int16)  # what lies between layers fits int16
        for weight, bias, width in zip(self.weights[:-1], self.biases[:-1], bits[:-1], strict=True):
            into = unit
            layer, row_unit = quantise_rows(weight, bias, width, into)
            blocks = _blocks(x, weight)
            highest = np.max([layer.accumulate(empty.patches(x[b])).max(axis=(0, 1)) for b in blocks], axis=0)
            layer, unit = finish_hidden(layer, row_unit, highest, _HEADROOM)
            x = np.concatenate([layer.hidden(empty.patches(x[b])).astype(np.int16) for b in blocks])
            layers.append(Rounded(layer, row_unit, into))
        layer, row_unit = quantise_rows(self.weights[-1], self.biases[-1], bits[-1], unit)
        layer = finish_last(layer, row_unit, layer.accumulate(over_time(x.astype(np.int64))))
        return [*layers, Rounded(layer, row_unit, unit)]

    def network(self, layers: Sequence[Rounded]) -> Convolutional:
        """Put rounded layers together."""
        return Convolutional(self.scaler, tuple(rounded.layer for rounded in layers), self.kernel)


def floating_convolutions(estimator: Any) -> FloatingConvolutions:
    """Return what the integers of a fitted ``TorchCNNClassifier`` are made from.

    Raises:
        InputError: It is larger than the device's layers, or its numbers cannot be represented.
    """
    weights, biases = _rows_of(estimator)
    kernel = int(estimator.coefs_[0].shape[2])
    _require_size(weights, kernel)
    scaler, unit = quantise_scaler(estimator)
    steps = int(estimator.n_features_in_) // len(scaler.scale)
    return FloatingConvolutions(scaler, unit, weights, biases, kernel, steps)


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


def _blocks(x: NDArray[np.int16], weight: Matrix) -> list[slice]:
    """Parts of windows ``(n, steps, inputs)`` of which a convolution's patches and outputs fit the memory meant."""
    made = (x.shape[1] + 1) // 2
    size = max(1, _BLOCK_VALUES // (made * sum(weight.shape)))
    return [slice(at, at + size) for at in range(0, len(x), size)]
