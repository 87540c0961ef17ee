"""Quantisation-aware fine-tuning: a network's weights, moved a little so that their rounding costs less.

Rounding each weight to the nearest integer is the best that can be done for one weight, not for all of them together.
So where a rounded network is too far from its estimator, the weights are fitted anew, starting from the estimator's,
through the very arithmetic of the device: weights and activations are rounded as it rounds them, and gradients pass as
if they were not (a straight-through estimator). The teacher is the estimator itself: what is learnt are its
probabilities, no labels. What comes out is weights, which the ordinary path rounds; the device sees no difference.

Rows to learn from: the model's calibration features (up to 4,096 training windows), features of samples made from the
model alone as `stinger_export.exercise` makes them but with other seeds than those that parity is measured on, and
mixtures of two of these rows, which lie within their range.

Ranges and scales are derived anew before every epoch by `stinger_export.integer.quantise`, which is also how each
epoch is judged: the network with the smallest largest loss of all, the unchanged one among them, is kept. PyTorch runs
in float64, in which the integers of the forward pass are exact, on one thread, and draws nothing random; so the same
model gives the same integers.

A kind of layer is a function in `_STAGES`, and a network is a class, `Floating` or `FloatingConvolutions`, that names
its layers' kinds and rounds them.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.models.spec import TrainedModel
from stinger.models.torch_net import torch_alone
from stinger_export.exercise import exercise_stream, usual_samples
from stinger_export.integer.convolution import FloatingConvolutions
from stinger_export.integer.model import LOGIT_UNIT, Convolutional, IntegerModel, Network
from stinger_export.integer.quantise import Floating, floating_network, largest_loss
from stinger_export.integer.rows import Matrix, Rounded

#: What a user without PyTorch is told.
NEEDS_TORCH = "fine-tuning the weights for it needs torch; install stinger-ml[torch]"
#: Passes over the rows, at most; and products of rows and weights in all of them, which bounds the time to seconds.
EPOCHS = 16
_WORK = 2_000_000_000
_FEWEST_EPOCHS = 4
#: Rows of a step; and numbers that a layer takes of all of them, which bounds the memory where windows are long.
_BATCH = 256
_BATCH_VALUES = 1 << 22
#: Seeds of the samples to practise on; 1 is what parity is measured on.
_SEEDS = (2, 3)
#: Rows of each kind to practise on, at most, beside the calibration features; and numbers in them.
_PRACTICE = 2048
_PRACTICE_VALUES = 1 << 22
#: Rows that are learnt from however large the network is.
_FEWEST_ROWS = 64
#: How far a weight goes in a step of the descent at first, in units of its row's 127th part.
_PACE = 0.1
#: Share of a batch whose losses count as the worst.
_WORST = 1 / 16

Tensor = Any  # PyTorch is optional, so its types may not be there to be named
#: PyTorch, inputs ``(n, inputs)``, or ``(n, steps, inputs)`` of convolutions, weights and bias in units of the layer's
#: integers, the layer: outputs ``(n, rows)``, or ``(n, steps, rows)``.
Stage = Callable[[Any, Tensor, Tensor, Tensor, Rounded], Tensor]


@dataclass(frozen=True)
class FineTuned:
    """What came of it.

    Attributes:
        integer: The best integer model found, perhaps the one it began with.
        rows: Rows learnt from and judged by.
        epochs: Passes over them.
        before: Largest change of a probability on these rows without fine-tuning.
        after: With it.
    """

    integer: IntegerModel
    rows: int
    epochs: int
    before: float
    after: float


def available() -> bool:
    """Whether PyTorch is installed."""
    return importlib.util.find_spec("torch") is not None


def fine_tune(model: TrainedModel, integer: IntegerModel, goal: float) -> FineTuned:
    """Fit a network's weights again through the device's arithmetic.

    Args:
        model: The model: teacher, and start.
        integer: What `quantise` made of it; its widths are kept.
        goal: Largest loss at which to stop early.

    Raises:
        InputError: The model is no network.
        ImportError: PyTorch is not installed.
    """
    if not isinstance(integer.body, Network | Convolutional):
        raise InputError(f"model {model.spec.name} has no weights to fine-tune: trees are exact already")
    floating, bits = floating_network(model), [8 * layer.weight.dtype.itemsize for layer in integer.body.layers]
    most = max(_FEWEST_ROWS, _WORK // (_FEWEST_EPOCHS * floating.products))
    rows = _rows(model, integer, most)
    expected = model.predict_proba_features(rows)
    best, before = integer.body, largest_loss(integer.body, rows, expected)
    least = before
    with torch_alone() as torch:
        descent = _Descent(torch, floating, bits, floating.inputs(rows), expected)
        epochs = max(1, min(EPOCHS, _WORK // (len(rows) * floating.products)))
        done, layers = 0, floating.rounded(bits, model.calibration)
        while done < epochs and (least > goal or not done):
            descent.epoch(layers, done, epochs)
            done += 1
            try:
                layers = descent.floating.rounded(bits, model.calibration)
            except InputError:
                break  # the weights went where no integers are; what was best before stands
            network = floating.network(layers)
            if (loss := largest_loss(network, rows, expected)) < least:
                best, least = network, loss
    return FineTuned(IntegerModel(integer.spec, best), len(rows), done, before, least)


class _Descent:
    """The weights on their way.

    Args:
        torch: PyTorch.
        floating: Where they start.
        bits: Width of each layer.
        inputs: Scaled rows, integers, as the network's first layer takes them.
        expected: The teacher's probabilities, shape ``(n, classes)``.
    """

    def __init__(
        self,
        torch: Any,
        floating: Floating | FloatingConvolutions,
        bits: Sequence[int],
        inputs: NDArray[np.int64],
        expected: Matrix,
    ) -> None:
        self.torch, self._start, self._bits = torch, floating, bits
        self._inputs = torch.tensor(inputs, dtype=torch.float64)
        self._expected = torch.tensor(expected, dtype=torch.float64)
        # Weights are counted in parts of their row's largest, so that a step of Adam means the same in every row.
        self._part = [np.maximum(np.abs(w).max(axis=1), 1e-9) / 127 for w in floating.weights]
        self._weights = [torch.tensor(w / p[:, None]) for w, p in zip(floating.weights, self._part, strict=True)]
        self._biases = [torch.tensor(b / p) for b, p in zip(floating.biases, self._part, strict=True)]
        for part in (*self._weights, *self._biases):
            part.requires_grad_(True)
        self._optimiser = torch.optim.Adam([*self._weights, *self._biases], lr=_PACE, foreach=False)
        self._random = np.random.default_rng(1)

    @property
    def floating(self) -> Floating | FloatingConvolutions:
        """The network as it is now."""
        weights = [w.detach().numpy() * p[:, None] for w, p in zip(self._weights, self._part, strict=True)]
        biases = [b.detach().numpy() * p for b, p in zip(self._biases, self._part, strict=True)]
        return replace(self._start, weights=weights, biases=biases)

    def epoch(self, layers: Sequence[Rounded], number: int, of: int) -> None:
        """Learn from every row once, with the scales of the layers given."""
        torch = self.torch
        for group in self._optimiser.param_groups:
            group["lr"] = _PACE * (1 + math.cos(math.pi * number / of)) / 2
        order = torch.tensor(self._random.permutation(len(self._inputs)))
        size = max(1, min(_BATCH, _BATCH_VALUES // self._start.widest))
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            logits = self.logits(self._inputs[chosen], layers)
            loss = _loss(torch, logits, self._expected[chosen])
            self._optimiser.zero_grad()
            loss.backward()
            self._optimiser.step()

    def logits(self, x: Tensor, layers: Sequence[Rounded]) -> Tensor:
        """Logits in 1/1024 as the device would compute them from scaled inputs."""
        for i, (stage, rounded) in enumerate(zip(self._start.stages, layers, strict=True)):
            step, bits = self.torch.tensor(rounded.row_unit / rounded.unit), self._bits[i]
            part, largest = self.torch.tensor(self._part[i]), 2 ** (bits - 1) - 1
            weight = _round(self.torch, self._weights[i] * (part / step)[:, None]).clamp(-largest, largest)
            bias = _round(self.torch, self._biases[i] * (part / self.torch.tensor(rounded.row_unit)))
            x = _STAGES[stage](self.torch, x, weight, bias, rounded)
        return x


def _hidden(torch: Any, x: Tensor, weight: Tensor, bias: Tensor, rounded: Rounded) -> Tensor:
    scale, pre, post, half = _constants(torch, rounded)
    acc = torch.relu(x @ weight.T + bias + half)
    a = _floor(torch, acc / 2**pre).clamp(max=65535) * scale
    return _floor(torch, (a + 2 ** (post - 1)) / 2**post).clamp(max=32767)


def _logits(torch: Any, x: Tensor, weight: Tensor, bias: Tensor, rounded: Rounded) -> Tensor:
    scale, pre, post, half = _constants(torch, rounded)
    a = _floor(torch, (x @ weight.T + bias + half) / 2**pre).clamp(-32768, 32767) * scale
    return _floor(torch, a / 2**post)


def _convolution(torch: Any, x: Tensor, weight: Tensor, bias: Tensor, rounded: Rounded) -> Tensor:
    """A hidden layer of what lies around every second step; see `Convolutional.patches`."""
    kernel = weight.shape[1] // x.shape[2]
    padded = torch.nn.functional.pad(x, (0, 0, kernel // 2, kernel // 2))
    return _hidden(torch, padded.unfold(1, kernel, 2).transpose(2, 3).flatten(2), weight, bias, rounded)


def _mean_logits(torch: Any, x: Tensor, weight: Tensor, bias: Tensor, rounded: Rounded) -> Tensor:
    """Logits of the mean over time; see `over_time`."""
    steps = x.shape[1]
    return _logits(torch, _floor(torch, (2 * x.sum(dim=1) + steps) / (2 * steps)), weight, bias, rounded)


_STAGES: dict[str, Stage] = {
    "hidden": _hidden,
    "logits": _logits,
    "convolution": _convolution,
    "mean logits": _mean_logits,
}


def _constants(torch: Any, rounded: Rounded) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scale, both shifts, and the rounding of the first one, of each row."""
    layer = rounded.layer
    pre, post = (torch.tensor(shift.astype(np.float64)) for shift in (layer.pre, layer.post))
    half = torch.where(pre > 0, 2 ** (pre - 1), 0.0)
    return torch.tensor(layer.scale.astype(np.float64)), pre, post, half


def _round(torch: Any, x: Tensor) -> Tensor:
    return x + (torch.round(x) - x).detach()


def _floor(torch: Any, x: Tensor) -> Tensor:
    return x + (torch.floor(x) - x).detach()


def _loss(torch: Any, logits: Tensor, expected: Tensor) -> Tensor:
    """Squared differences of probabilities, the worst of the batch counting once more."""
    z = logits / LOGIT_UNIT
    likely = torch.cat([-z, z], dim=1) / 2 if z.shape[1] == 1 else z
    square = (torch.softmax(likely, dim=1) - expected).square().sum(dim=1)
    worst = torch.topk(square, max(1, round(len(square) * _WORST))).values
    return square.mean() + worst.mean()


def _rows(model: TrainedModel, integer: IntegerModel, most: int) -> NDArray[np.int16]:
    """Feature vectors to learn from, shape ``(n, features)``, n <= ``most``, none beyond the network's range."""
    spec, random = model.spec, np.random.default_rng(1)
    practice = max(_FEWEST_ROWS, min(_PRACTICE, _PRACTICE_VALUES // len(spec.feature_set)))
    known, usual, extreme = model.calibration, [], []
    for seed in _SEEDS:
        stream = exercise_stream(model, seed)
        features = spec.feature_set.compute(stream.windows(spec.window))
        ordinary = np.flatnonzero(stream.ready(spec.window)) < usual_samples(spec)
        usual.append(features[ordinary])
        extreme.append(features[~ordinary])
    near = np.concatenate([known, _some(np.concatenate(usual), random, practice)])
    # Mixtures of extremes would lie where no motion is; those of ordinary rows fill the space between them.
    pairs, share = random.integers(0, len(near), (practice, 2)), random.uniform(size=(practice, 1))
    mixed = np.rint(near[pairs[:, 0]] * share + near[pairs[:, 1]] * (1 - share)).astype(np.int16)
    rows: NDArray[np.int16] = np.concatenate([near, mixed, _some(np.concatenate(extreme), random, practice)])
    rows = rows[integer.in_range(rows)]
    return rows if len(rows) <= most else _some(rows, random, most)


def _some(rows: NDArray[np.int16], random: np.random.Generator, most: int) -> NDArray[np.int16]:
    return rows[random.permutation(len(rows))[:most]]
