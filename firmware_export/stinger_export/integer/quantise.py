"""From a fitted estimator to integers, with the proof that nothing overflows.

Weights get one scale per row, activations one per layer. Ranges come from calibration windows (training windows);
values outside saturate. Layers start with int8 weights and get int16 ones, cheapest first, until probabilities on
the calibration windows stay within `TARGET_LOSS` of the estimator's. What rounding alone cannot keep near enough,
`stinger_export.integer.finetune` adjusts beforehand.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError, UsageError
from stinger.models.spec import TrainedModel
from stinger_export.forms import is_boosted, is_convolution, is_forest, portable
from stinger_export.integer.convolution import FloatingConvolutions, floating_convolutions
from stinger_export.integer.forest import quantise_boosted, quantise_forest
from stinger_export.integer.layout import MAX_INPUTS, MAX_TRIADS
from stinger_export.integer.model import ONE, Body, IntegerModel, Network, Scaler
from stinger_export.integer.rows import Matrix, Rounded, finish_hidden, finish_last, quantise_rows, quantise_scaler

#: Largest change of a probability on the calibration windows that int8 weights may cause.
TARGET_LOSS = 0.01
#: Bits that a layer's weights may have, by what a user may ask for.
WIDTHS = {"auto": (8, 16), "8": (8,), "16": (16,)}


@dataclass(frozen=True)
class Floating:
    """A dense network before its weights are rounded; `FloatingConvolutions` has the same methods.

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

    @property
    def products(self) -> int:
        """Products of weights that one row of features takes."""
        return sum(weight.size for weight in self.weights)

    @property
    def widest(self) -> int:
        """Numbers that a layer takes of one row of features, at most."""
        return max(int(weight.shape[1]) for weight in self.weights)

    @property
    def stages(self) -> list[str]:
        """Kinds of the layers, from input to output; see `stinger_export.integer.finetune`."""
        return ["hidden"] * (len(self.weights) - 1) + ["logits"]

    def inputs(self, features: NDArray[np.int16]) -> NDArray[np.int64]:
        """What the first layer takes, of feature vectors ``(n, features)``."""
        return self.scaler.apply(features)

    def rounded(self, bits: Sequence[int], features: NDArray[np.int16]) -> list[Rounded]:
        """Round every layer to integers.

        Args:
            bits: Width of each layer's weights, 8 or 16.
            features: Feature vectors that set the ranges, shape ``(n, features)``.

        Raises:
            InputError: The numbers cannot be represented.
        """
        layers, unit, x = [], self.unit, self.inputs(features)
        for i, (weight, bias, width) in enumerate(zip(self.weights, self.biases, bits, strict=True)):
            into = unit
            layer, row_unit = quantise_rows(weight, bias, width, into)
            acc = layer.accumulate(x)
            if i == len(self.weights) - 1:
                layer = finish_last(layer, row_unit, acc)
            else:
                layer, unit = finish_hidden(layer, row_unit, acc.max(axis=0))
                x = layer.hidden(x)
            layers.append(Rounded(layer, row_unit, into))
        return layers

    def network(self, layers: Sequence[Rounded]) -> Network:
        """Put rounded layers together."""
        return Network(self.scaler, tuple(rounded.layer for rounded in layers))


def quantise(model: TrainedModel, weights: str = "auto", target: float = TARGET_LOSS) -> IntegerModel:
    """Make the integer model of a trained network or forest; ranges come from its calibration features.

    Args:
        model: The model.
        weights: Which widths a network's weights may have, a key of `WIDTHS`; trees have no weights.
        target: Change of a probability on the calibration features from which on layers get wider weights.

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
    if len(spec.feature_set.triads) > MAX_TRIADS:
        raise InputError(
            f"model {spec.name} uses the magnitudes of {len(spec.feature_set.triads)} triads of channels, the device's "
            f"models at most {MAX_TRIADS}; train on fewer channels or with --features summary"
        )
    if is_boosted(spec):
        return IntegerModel(spec, quantise_boosted(portable(model).trees_, len(spec.feature_set)))
    if is_forest(spec):
        return IntegerModel(spec, quantise_forest(portable(model), len(spec.feature_set), len(spec.classes)))
    floating = floating_network(model)
    expected = model.predict_proba_features(features)
    integer: IntegerModel | None = None
    for bits in widths(floating, weights):
        integer = with_widths(model, floating, bits)
        if largest_loss(integer.body, features, expected) <= target:
            break
    assert integer is not None  # noqa: S101 - there is at least one candidate
    return integer


def floating_network(model: TrainedModel) -> Floating | FloatingConvolutions:
    """Return what a network's integers are made from.

    Raises:
        InputError: As `quantise`.
    """
    form = portable(model)
    if is_convolution(model.spec):
        return floating_convolutions(form)
    scaler, unit = quantise_scaler(form[0])
    return Floating(scaler, unit, *_dense_layers(form[1]))


def widths(floating: Floating | FloatingConvolutions, weights: str = "auto") -> list[tuple[int, ...]]:
    """Bits that the weights of each layer may have, those that take the fewest bytes first.

    Args:
        floating: The network.
        weights: A key of `WIDTHS`.
    """
    return sorted(
        itertools.product(WIDTHS[weights], repeat=len(floating.weights)),
        key=lambda bits: sum(w.size * b for w, b in zip(floating.weights, bits, strict=True)),
    )


def with_widths(model: TrainedModel, floating: Floating | FloatingConvolutions, bits: Sequence[int]) -> IntegerModel:
    """Round a network to weights of these widths, by the model's calibration features.

    Raises:
        InputError: The numbers cannot be represented.
    """
    return IntegerModel(model.spec, floating.network(floating.rounded(bits, model.calibration)))


def largest_loss(body: Body, features: NDArray[np.int16], expected: Matrix) -> float:
    """Largest change of a probability, of feature vectors ``(n, features)``, from ``(n, classes)`` expected."""
    return float(np.abs(body.decide(features)[0] / ONE - expected).max())


def _dense_layers(classifier: Any) -> tuple[list[Matrix], list[Matrix]]:
    if hasattr(classifier, "coef_"):
        return [np.asarray(classifier.coef_)], [np.asarray(classifier.intercept_)]
    return [np.asarray(w).T for w in classifier.coefs_], [np.asarray(b) for b in classifier.intercepts_]
