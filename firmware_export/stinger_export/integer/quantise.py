"""From a fitted estimator to integers, with the proof that nothing overflows.

Weights get one scale per row, activations one per layer. Ranges come from calibration windows (training windows);
values outside saturate. Layers start with int8 weights and get int16 ones, cheapest first, until probabilities on
the calibration windows stay within `TARGET_LOSS` of the estimator's. What rounding alone cannot keep near enough,
`stinger_export.integer.finetune` adjusts beforehand.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError, UsageError
from stinger.models.spec import TrainedModel
from stinger_export.forms import is_boosted, is_forest, portable
from stinger_export.integer.forest import quantise_boosted, quantise_forest
from stinger_export.integer.layout import MAX_INPUTS
from stinger_export.integer.model import LOGIT_UNIT, ONE, IntegerModel, Layer, Network, Scaler

#: Largest change of a probability on the calibration windows that int8 weights may cause.
TARGET_LOSS = 0.01
#: Bits that a layer's weights may have, by what a user may ask for.
WIDTHS = {"auto": (8, 16), "8": (8,), "16": (16,)}
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
class Floating:
    """A network before its weights are rounded.

    Attributes:
        scaler: The scaling of its inputs, in integers already.
        unit: What one unit of the scaler's output is, in standard deviations.
        weights: Of each layer, float64, shape ``(rows, inputs)``.
        biases: Of each layer, float64, shape ``(rows,)``.
    """

    scaler: Scaler
    unit: float
    weights: list[Matrix]
    biases: list[Matrix]


@dataclass(frozen=True)
class Rounded:
    """A layer of integers, and what they stand for.

    Attributes:
        layer: The integers.
        step: What one unit of each row's weights is, shape ``(rows,)``.
        unit: What one unit of the layer's input is.
    """

    layer: Layer
    step: Matrix
    unit: float


def quantise(model: TrainedModel, weights: str = "auto") -> IntegerModel:
    """Make the integer model of a trained network or forest; ranges come from its calibration features.

    Args:
        model: The model.
        weights: Which widths a network's weights may have, a key of `WIDTHS`; trees have no weights.

    Raises:
        UsageError: There are no such widths.
        InputError: The family or its features have no integer form, or its numbers cannot be represented.
    """
    if weights not in WIDTHS:
        raise UsageError(f"--weights {weights!r} is unknown; choose {', '.join(WIDTHS)}")
    spec, features = model.spec, model.calibration
    if len(features) == 0:
        raise InputError(f"model {spec.name} has no calibration features; train it again")
    if len(spec.feature_set) > MAX_INPUTS:
        raise InputError(
            f"a window of {spec.window:,} samples of {len(spec.channels)} channels is more than the device's "
            f"{MAX_INPUTS:,} features; train on a shorter one"
        )
    form = portable(model)
    if is_boosted(spec):
        return IntegerModel(spec, quantise_boosted(form.trees_, len(spec.feature_set)))
    if is_forest(spec):
        return IntegerModel(spec, quantise_forest(form, len(spec.feature_set), len(spec.classes)))

    expected = model.predict_proba_features(features)
    floating = floating_network(model)
    candidates = sorted(
        itertools.product(WIDTHS[weights], repeat=len(floating.weights)),
        key=lambda bits: sum(w.size * b for w, b in zip(floating.weights, bits, strict=True)),
    )
    network: Network | None = None
    for bits in candidates:
        network = network_of(floating, round_layers(floating, bits, features))
        if largest_loss(network, features, expected) <= TARGET_LOSS:
            break
    assert network is not None  # noqa: S101 - there is at least one candidate
    return IntegerModel(spec, network)


def floating_network(model: TrainedModel) -> Floating:
    """Return what a network's integers are made from.

    Raises:
        InputError: As `quantise`.
    """
    form = portable(model)
    scaler, unit = _quantise_scaler(form[0])
    return Floating(scaler, unit, *_dense_layers(form[1]))


def network_of(floating: Floating, layers: Sequence[Rounded]) -> Network:
    """Put rounded layers together."""
    return Network(floating.scaler, tuple(rounded.layer for rounded in layers))


def largest_loss(network: Network, features: NDArray[np.int16], expected: Matrix) -> float:
    """Largest change of a probability, of feature vectors ``(n, features)``, from ``(n, classes)`` expected."""
    return float(np.abs(network.decide(features)[0] / ONE - expected).max())


def _dense_layers(classifier: Any) -> tuple[list[Matrix], list[Matrix]]:
    if hasattr(classifier, "coef_"):
        return [np.asarray(classifier.coef_)], [np.asarray(classifier.intercept_)]
    return [np.asarray(w).T for w in classifier.coefs_], [np.asarray(b) for b in classifier.intercepts_]


def _quantise_scaler(standard: Any) -> tuple[Scaler, float]:
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


def round_layers(floating: Floating, bits: Sequence[int], features: NDArray[np.int16]) -> list[Rounded]:
    """Round every layer to integers.

    Args:
        floating: The network.
        bits: Width of each layer's weights, 8 or 16.
        features: Feature vectors that set the ranges, shape ``(n, features)``.

    Raises:
        InputError: The numbers cannot be represented.
    """
    layers, unit = [], floating.unit
    x = floating.scaler.apply(features)
    for i, (weight, bias, width) in enumerate(zip(floating.weights, floating.biases, bits, strict=True)):
        into, last = unit, i == len(floating.weights) - 1
        quantised, step = _quantise_rows(weight, bias, width, into)
        acc = quantised.accumulate(x)
        if last:
            layer = _finish_last(quantised, step * into, acc)
        else:
            layer, unit = _finish_hidden(quantised, step * into, acc)
            x = layer.hidden(x)
        layers.append(Rounded(layer, step, into))
    return layers


def _quantise_rows(weight: Matrix, bias: Matrix, bits: int, unit: float) -> tuple[Layer, Matrix]:
    """Quantise weights and biases; returns the layer without its output scaling, and each row's step."""
    largest = 2 ** (bits - 1) - 1
    peak = np.maximum(np.abs(weight).max(axis=1), 1e-9)
    # The accumulator holds at most 2**29 of bias and 2**30 of products, whatever the inputs are.
    step = np.maximum(peak / largest, np.abs(weight).sum(axis=1) * 32767 / 2**30)
    step = np.maximum(step, np.abs(bias) / (unit * 2**29))
    quantised = np.rint(weight / step[:, None]).astype(np.int16 if bits == 16 else np.int8)
    row_unit = step * unit
    zero = np.zeros(len(bias), dtype=np.uint8)
    layer = Layer(quantised, np.rint(bias / row_unit).astype(np.int32), zero.astype(np.uint16), zero, zero)
    return layer, step


def _finish_hidden(layer: Layer, row_unit: Matrix, acc: NDArray[np.int64]) -> tuple[Layer, float]:
    peak = float((np.maximum(acc, 0) * row_unit).max())
    unit = max(peak * _HEADROOM, 1e-6) / 32767
    ratio = row_unit / unit
    pre = np.array([max(0, math.ceil(math.log2(32767 / r / 65535))) for r in ratio])
    return _with_output(layer, ratio, pre, most=16), unit


def _finish_last(layer: Layer, row_unit: Matrix, acc: NDArray[np.int64]) -> Layer:
    # Logits of several classes are compared with each other, so they need their differences at any size.
    largest = np.abs(acc * row_unit).max() if len(row_unit) > 1 else _LOGIT_LIMIT / _HEADROOM
    peak = max(_HEADROOM * float(largest), 1.0) / row_unit
    pre = np.array([max(0, math.ceil(math.log2(p / 32767))) for p in peak])
    return _with_output(layer, row_unit * LOGIT_UNIT, pre, most=30)


def _with_output(layer: Layer, ratio: Matrix, pre: NDArray[np.int_], most: int) -> Layer:
    factor = ratio * 2.0**pre
    post = np.clip(np.floor(np.log2(65535 / factor)), 1, most)
    scale = np.rint(factor * 2.0**post)
    if (scale > 65535).any() or (pre > 31).any():
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
