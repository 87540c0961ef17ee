"""Networks as the device holds them, dense and convolutional, and their arithmetic in numpy.

Its twins are `stinger_network.c`, `stinger_convolution.c` and `stinger_logits.c`; see `stinger_export.integer.model`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Probability 1 on the device.
ONE = 32768
#: Logits on the device are in units of 1/1024.
LOGIT_UNIT = 1024
_BLOCK_VALUES = 1 << 20
#: round(32768 * 2**(-i / 64)), the table of `stinger_network.c`.
_POWER_OF_HALF = np.array([round(ONE * 2 ** (-i / 64)) for i in range(65)], dtype=np.int64)


@dataclass(frozen=True)
class Scaler:
    """Input scaling, one entry per feature: ``z = limit((feature*scale + offset) >> shift)``."""

    scale: NDArray[np.int16]
    offset: NDArray[np.int32]
    shift: NDArray[np.uint8]

    def apply(self, feature: NDArray[np.int16]) -> NDArray[np.int64]:
        """Scale feature vectors ``(n, features)`` to network inputs."""
        return self._unlimited(feature).clip(-32767, 32767)

    def in_range(self, feature: NDArray[np.int16]) -> NDArray[np.bool_]:
        """Say which feature vectors are scaled without hitting the limit, shape ``(n,)``."""
        inside: NDArray[np.bool_] = np.abs(self._unlimited(feature)).max(axis=1) <= 32767
        return inside

    def _unlimited(self, feature: NDArray[np.int16]) -> NDArray[np.int64]:
        z: NDArray[np.int64] = (feature.astype(np.int64) * self.scale + self.offset) >> self.shift
        return z


@dataclass(frozen=True)
class Layer:
    """One dense layer; see ``stinger_layer`` in ``stinger_ml.h`` for the arithmetic.

    Attributes:
        weight: int8 or int16, shape ``(rows, inputs)``.
        bias: int32, shape ``(rows,)``.
        scale: uint16, shape ``(rows,)``.
        pre: First right shift of each row.
        post: Second right shift of each row.
    """

    weight: NDArray[np.int8] | NDArray[np.int16]
    bias: NDArray[np.int32]
    scale: NDArray[np.uint16]
    pre: NDArray[np.uint8]
    post: NDArray[np.uint8]

    def accumulate(self, x: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the accumulators of inputs ``(n, inputs)``: ``(n, rows)``."""
        # In float64, where every sum on the way is exact and a library multiplies matrices: below 2**53 by far.
        products = x.astype(np.float64) @ self.weight.astype(np.float64).T
        acc: NDArray[np.int64] = products.astype(np.int64) + self.bias
        return acc

    def hidden(self, x: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rectified outputs of a hidden layer, 0..32767."""
        a = np.minimum(np.maximum(self.accumulate(x), 0) >> self.pre, 65535) * self.scale.astype(np.int64)
        post = self.post.astype(np.int64)
        out: NDArray[np.int64] = (a + (1 << (post - 1))) >> post
        return out.clip(max=32767)

    def saturates(self, x: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Say which outputs of a hidden layer are cut off at 32767, ``(n, rows)``."""
        a = (np.maximum(self.accumulate(x), 0) >> self.pre) * self.scale.astype(np.int64)
        post = self.post.astype(np.int64)
        high: NDArray[np.bool_] = ((a + (1 << (post - 1))) >> post) >= 32767
        return high

    def logits(self, x: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the outputs of the last layer, in 1/1024 of a logit."""
        a = np.clip(self.accumulate(x) >> self.pre, -32768, 32767)
        logit: NDArray[np.int64] = (a * self.scale.astype(np.int64)) >> self.post
        return logit


@dataclass(frozen=True)
class Network:
    """A scaler and dense layers; one logit for two classes, else one per class."""

    scaler: Scaler
    layers: tuple[Layer, ...]

    def scores(self, feature: NDArray[np.int16]) -> NDArray[np.int64]:
        """Logits in 1/1024 of feature vectors ``(n, features)``."""
        x = self.scaler.apply(feature)
        for layer in self.layers[:-1]:
            x = layer.hidden(x)
        return self.layers[-1].logits(x)

    def in_range(self, feature: NDArray[np.int16]) -> NDArray[np.bool_]:
        """Say for which feature vectors no input and no hidden unit is cut off, ``(n, features)`` -> ``(n,)``."""
        inside, x = self.scaler.in_range(feature), self.scaler.apply(feature)
        for layer in self.layers[:-1]:
            inside &= ~layer.saturates(x).any(axis=1)
            x = layer.hidden(x)
        return inside

    def decide(self, feature: NDArray[np.int16]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return probabilities and scores of feature vectors."""
        score = self.scores(feature)
        return probabilities(score), score


@dataclass(frozen=True)
class Convolutional:
    """Convolutions along time, the mean over time, and a dense layer; see ``stinger_convolution`` in ``stinger_ml.h``.

    Attributes:
        scaler: One entry per channel.
        layers: Convolutions, whose weights are ``(rows, kernel * inputs)`` step by step, then the dense layer.
        kernel: Steps that a convolution looks at, odd.
    """

    scaler: Scaler
    layers: tuple[Layer, ...]
    kernel: int

    def scaled(self, feature: NDArray[np.int16]) -> NDArray[np.int64]:
        """Scale windows ``(n, window * channels)``: ``(n, window, channels)``."""
        channels = len(self.scaler.scale)
        return self.scaler.apply(feature.reshape(-1, channels)).reshape(len(feature), -1, channels)

    def patches(self, x: NDArray[Any]) -> NDArray[Any]:
        """What a convolution sees at each of its steps: ``(n, steps, inputs)`` -> ``(n, made, kernel * inputs)``."""
        half = self.kernel // 2
        padded = np.pad(x, ((0, 0), (half, half), (0, 0)))
        seen = np.lib.stride_tricks.sliding_window_view(padded, self.kernel, axis=1)[:, ::2]
        return seen.transpose(0, 1, 3, 2).reshape(*seen.shape[:2], self.kernel * x.shape[2])

    def scores(self, feature: NDArray[np.int16]) -> NDArray[np.int64]:
        """Logits in 1/1024 of windows ``(n, window * channels)``."""
        x = self.scaled(feature)
        for layer in self.layers[:-1]:
            x = layer.hidden(self.patches(x))
        return self.layers[-1].logits(over_time(x))

    def decide(self, feature: NDArray[np.int16]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return probabilities and scores of windows."""
        score = np.empty((len(feature), len(self.layers[-1].bias)), dtype=np.int64)
        for part in self._blocks(feature):
            score[part] = self.scores(feature[part])
        return probabilities(score), score

    def in_range(self, feature: NDArray[np.int16]) -> NDArray[np.bool_]:
        """Say for which windows no input and no hidden unit is cut off, ``(n, window * channels)`` -> ``(n,)``."""
        sample = feature.reshape(-1, len(self.scaler.scale))
        inside: NDArray[np.bool_] = np.all(self.scaler.in_range(sample).reshape(len(feature), -1), axis=1)
        for part in self._blocks(feature):
            x = self.scaled(feature[part])
            for layer in self.layers[:-1]:
                seen = self.patches(x)
                inside[part] &= ~layer.saturates(seen).any(axis=(1, 2))
                x = layer.hidden(seen)
        return inside

    def _blocks(self, feature: NDArray[np.int16]) -> list[slice]:
        """Parts of the windows whose numbers fit the memory meant."""
        steps, most = feature.shape[1] // len(self.scaler.scale), feature.shape[1]
        for layer in self.layers[:-1]:
            steps = (steps + 1) // 2
            most = max(most, steps * (layer.weight.shape[1] + len(layer.bias)))
        size = max(1, _BLOCK_VALUES // most)
        return [slice(at, at + size) for at in range(0, len(feature), size)]


def over_time(x: NDArray[np.int64]) -> NDArray[np.int64]:
    """Mean over time of ``(n, steps, rows)``, rounded to the nearest, halves up: ``(n, rows)``."""
    steps = x.shape[1]
    mean: NDArray[np.int64] = (2 * x.sum(axis=1) + steps) // (2 * steps)
    return mean


def exp_negative(d: NDArray[np.int64]) -> NDArray[np.int64]:
    """``32768 * exp(-d / 1024)`` for integers ``d >= 0``, by table and linear interpolation."""
    t = np.minimum(d, 12288) * 94548
    i, part = (t >> 20) & 63, (t >> 4) & 0xFFFF
    above, below = _POWER_OF_HALF[i], _POWER_OF_HALF[i + 1]
    value = (above - (((above - below) * part + 0x8000) >> 16)) >> (t >> 26)
    return np.where(d >= 12288, 0, value)


def probabilities(score: NDArray[np.int64]) -> NDArray[np.int64]:
    """Probabilities in 1/32768 of logits in 1/1024 ``(n, outputs)``; a single one is of the second of two classes."""
    return _two_classes(score) if score.shape[1] == 1 else _many_classes(score)


def _two_classes(score: NDArray[np.int64]) -> NDArray[np.int64]:
    logit = score[:, 0]
    denominator = ONE + exp_negative(np.abs(logit))
    likely = ((1 << 30) + denominator // 2) // denominator
    positive = np.where(logit > 0, likely, ONE - likely)
    return np.stack([ONE - positive, positive], axis=1)


def _many_classes(score: NDArray[np.int64]) -> NDArray[np.int64]:
    power = exp_negative(score.max(axis=1, keepdims=True) - score)
    total = power.sum(axis=1, keepdims=True)
    share: NDArray[np.int64] = (power * ONE + total // 2) // total
    return share
