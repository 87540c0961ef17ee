"""Neural networks fitted with PyTorch, whose fitted state is plain arrays: predicting needs numpy alone.

Two classifiers with scikit-learn's interface: a multi-layer perceptron on any features, and a one-dimensional
convolutional network that looks at the window's samples themselves. Their numbers are fitted in float32 and kept in
float64, in which they are exact; predicting is float64 throughout.

Choices that both share: the fit runs for a fixed number of epochs, because early stopping would hold back a random
tenth of the windows, whose neighbours overlap them, and so measure nothing; the learning rate rises for a tenth of the
epochs and falls to zero along half a cosine, so the last epoch is a good place to stop. The fit runs on one thread and
draws everything random from ``random_state`` with numpy, so the same rows and seed give the same weights, and PyTorch's
own random numbers and number of threads are as they were afterwards.
"""

from __future__ import annotations

import importlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

Matrix = NDArray[np.float64]
Tensor = Any  # PyTorch is optional, so its types may not be there to be named

_BLOCK_VALUES = 1 << 22  # numbers that predicting holds at a time
_WIDEST = 8192  # kernel_size times inputs of a convolution, so that predicting stays within bounds
_WARM_UP = 0.1
_LEAST_DEVIATION = 1e-9


class _TorchClassifier(ClassifierMixin, BaseEstimator, ABC):  # type: ignore[misc]  # scikit-learn has no types
    """Fitting, and everything else that does not depend on the layers.

    A fitted one has ``classes_``, the scaling ``mean_`` and ``scale_`` and lists of arrays ``coefs_`` and
    ``intercepts_``, one of each per layer; the last layer is dense and gives one logit per class.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    alpha: float
    random_state: Any

    def fit(self, X: Any, y: Any, *, soft: Any = None) -> Any:
        """Fit on rows ``X`` ``(n, features)`` and labels ``y`` ``(n,)``.

        Args:
            X: Rows.
            y: Labels.
            soft: Probabilities to learn from in the labels' place, ``(n, classes)``, classes in ascending order.

        Raises:
            ValueError: Fewer than two classes, probabilities of others, or an option that is out of range.
            ImportError: PyTorch is not installed.
        """
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("a classifier needs two classes; the training labels have one class only")
        if min(self.epochs, self.batch_size) < 1 or self.learning_rate <= 0 or self.alpha < 0:
            raise ValueError("epochs and batch_size must be at least 1, learning_rate above 0, alpha at least 0")
        if soft is not None and np.shape(soft) != (len(codes), len(self.classes_)):
            raise ValueError(f"probabilities must be of {len(codes)} rows and {len(self.classes_)} classes")
        random = check_random_state(self.random_state)
        self.mean_, self.scale_ = self._scaling(X)
        shapes = self.shapes(X.shape[1], len(self.classes_))
        with torch_alone() as torch:
            # He's start, which keeps the size of what flows through rectified layers.
            weights = [
                torch.tensor(random.normal(0, math.sqrt(2 / math.prod(shape[1:])), shape), dtype=torch.float32)
                for shape in shapes
            ]
            biases = [torch.zeros(shape[0]) for shape in shapes]
            goals = codes if soft is None else np.asarray(soft)
            self._descend(torch, self._scaled(X), goals, (weights, biases), random)
            self.coefs_ = [w.detach().numpy().astype(np.float64) for w in weights]
            self.intercepts_ = [b.detach().numpy().astype(np.float64) for b in biases]
        if not all(np.isfinite(part).all() for part in [*self.coefs_, *self.intercepts_]):
            raise ValueError("the fit ran away to infinite weights; lower learning_rate")
        return self

    def _descend(
        self,
        torch: Any,
        X: Matrix,
        codes: NDArray[Any],
        layers: tuple[list[Tensor], list[Tensor]],
        random: np.random.RandomState,
    ) -> None:
        """Run every epoch, changing weights and biases in place; ``codes`` are classes, or probabilities of them."""
        weights, biases = layers
        kind = torch.int64 if codes.ndim == 1 else torch.float32
        rows, labels = torch.tensor(X, dtype=torch.float32), torch.tensor(codes, dtype=kind)
        for part in [*weights, *biases]:
            part.requires_grad_(True)
        groups = [{"params": weights, "weight_decay": self.alpha}, {"params": biases, "weight_decay": 0.0}]
        optimiser = torch.optim.AdamW(groups, lr=self.learning_rate, foreach=False)
        starts = range(0, len(codes), self.batch_size)
        steps, step = self.epochs * len(starts), 0
        for _ in range(self.epochs):
            order = torch.tensor(random.permutation(len(codes)))
            for start in starts:
                for group in optimiser.param_groups:
                    group["lr"] = self.learning_rate * _pace(step / steps)
                chosen = order[start : start + self.batch_size]
                logits = self._forward(torch, rows[chosen], weights, biases)
                loss = torch.nn.functional.cross_entropy(logits, labels[chosen])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                step += 1

    @abstractmethod
    def _scaling(self, X: Matrix) -> tuple[Matrix, Matrix]:
        """Mean and deviation of whatever is scaled alike."""

    @abstractmethod
    def shapes(self, features: int, classes: int) -> list[tuple[int, ...]]:
        """Shape of each layer's weights; the first number is the layer's outputs."""

    @abstractmethod
    def _scaled(self, X: Matrix) -> Matrix:
        """Rows as the first layer takes them, scaled."""

    @abstractmethod
    def _forward(self, torch: Any, x: Tensor, weights: Any, biases: Any) -> Tensor:
        """Logits in PyTorch, for fitting."""

    @abstractmethod
    def _logits(self, x: Matrix) -> Matrix:
        """Logits in numpy, for predicting: the same function."""

    @abstractmethod
    def _row_values(self) -> int:
        """Numbers that predicting one row holds at most."""

    def predict_proba(self, X: Any) -> Matrix:
        """Class probabilities of rows ``(n, features)``: ``(n, classes)``."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        block = max(1, _BLOCK_VALUES // self._row_values())
        shares = np.empty((len(X), len(self.classes_)))
        for start in range(0, len(X), block):
            logits = self._logits(self._scaled(X[start : start + block]))
            shares[start : start + block] = softmax(logits, axis=1)
        return shares

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable class of each row; where two tie, the first."""
        shares = self.predict_proba(X)
        labels: NDArray[Any] = self.classes_[shares.argmax(axis=1)]
        return labels


class TorchMLPClassifier(_TorchClassifier):
    """Dense layers of rectified linear units on standardised features.

    Args:
        hidden_layer_sizes: Units of each hidden layer.
        epochs: Passes over the rows.
        batch_size: Rows per step.
        learning_rate: Of AdamW, at its highest.
        alpha: Decoupled weight decay; biases do not decay.
        random_state: Seed of the first weights and of the order of rows.

    Attributes:
        mean_: Of each feature, float64 ``(features,)``.
        scale_: Deviation of each feature; 1 where it is constant.
        coefs_: Weights of each layer, float64 ``(outputs, inputs)``.
        intercepts_: Biases of each layer, float64 ``(outputs,)``.
    """

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (64, 32),
        *,
        epochs: int = 30,
        batch_size: int = 32,
        learning_rate: float = 0.003,
        alpha: float = 1.0,
        random_state: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.alpha = alpha
        self.random_state = random_state

    def _scaling(self, X: Matrix) -> tuple[Matrix, Matrix]:
        return X.mean(axis=0), _deviation(X.std(axis=0))

    def shapes(self, features: int, classes: int) -> list[tuple[int, ...]]:
        """Shape of each layer's weights ``(outputs, inputs)``."""
        widths = [features, *_sizes("hidden_layer_sizes", self.hidden_layer_sizes), classes]
        return [(out, into) for into, out in pairwise(widths)]

    def _scaled(self, X: Matrix) -> Matrix:
        return (X - self.mean_) / self.scale_

    def _forward(self, torch: Any, x: Tensor, weights: Any, biases: Any) -> Tensor:
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            x = torch.relu(x @ weight.T + bias)
        return x @ weights[-1].T + biases[-1]

    def _logits(self, x: Matrix) -> Matrix:
        for weight, bias in zip(self.coefs_[:-1], self.intercepts_[:-1], strict=True):
            x = np.maximum(x @ weight.T + bias, 0)
        logits: Matrix = x @ self.coefs_[-1].T + self.intercepts_[-1]
        return logits

    def _row_values(self) -> int:
        return 2 * int(max(max(w.shape) for w in self.coefs_))


class TorchCNNClassifier(_TorchClassifier):
    """A one-dimensional convolutional network over windows of several channels.

    A row is a window sample by sample (`flatten` features): ``features = window * channels``. Each convolution runs
    along time with a stride of 2 and zeros (the channel's mean) beyond the window's ends, so it gives half as many
    steps, rounded up; rectified linear units follow. The mean over time of the last one's outputs goes into one dense
    layer.

    Args:
        channels: Channels of a window; the window's length follows from the rows.
        filters: Outputs of each convolution.
        kernel_size: Steps that a convolution looks at, odd.
        epochs: Passes over the rows.
        batch_size: Rows per step.
        learning_rate: Of AdamW, at its highest.
        alpha: Decoupled weight decay; biases do not decay.
        random_state: Seed of the first weights and of the order of rows.

    Attributes:
        mean_: Of each channel, float64 ``(channels,)``.
        scale_: Deviation of each channel; 1 where it is constant.
        coefs_: Weights: of each convolution float64 ``(filters, inputs, kernel_size)``, of the dense layer
            ``(classes, filters)``.
        intercepts_: Biases of each layer, float64.
    """

    def __init__(
        self,
        channels: int = 1,
        *,
        filters: Sequence[int] = (16, 32),
        kernel_size: int = 9,
        epochs: int = 40,
        batch_size: int = 32,
        learning_rate: float = 0.005,
        alpha: float = 0.01,
        random_state: Any = None,
    ) -> None:
        self.channels = channels
        self.filters = filters
        self.kernel_size = kernel_size
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.alpha = alpha
        self.random_state = random_state

    def _windows(self, X: Matrix) -> Matrix:
        if self.channels < 1 or X.shape[1] % self.channels:
            raise ValueError(f"rows of {X.shape[1]} features are not windows of {self.channels} channels")
        return X.reshape(len(X), -1, self.channels)

    def _scaling(self, X: Matrix) -> tuple[Matrix, Matrix]:
        windows = self._windows(X)
        return windows.mean(axis=(0, 1)), _deviation(windows.std(axis=(0, 1)))

    def shapes(self, features: int, classes: int) -> list[tuple[int, ...]]:  # noqa: ARG002 - the window may be any
        """Shape of each layer's weights: convolutions ``(outputs, inputs, kernel_size)``, then the dense layer."""
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise ValueError("kernel_size must be odd, so that a convolution has a middle")
        widths = [self.channels, *_sizes("filters", self.filters)]
        if int(self.kernel_size) * max(widths[:-1]) > _WIDEST:
            raise ValueError(f"a convolution may look at {_WIDEST} numbers; use a smaller kernel_size or fewer filters")
        convolutions = [(out, into, int(self.kernel_size)) for into, out in pairwise(widths)]
        return [*convolutions, (classes, widths[-1])]

    def _scaled(self, X: Matrix) -> Matrix:
        return (self._windows(X) - self.mean_) / self.scale_

    def _forward(self, torch: Any, x: Tensor, weights: Any, biases: Any) -> Tensor:
        x = x.transpose(1, 2)
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            x = torch.relu(torch.nn.functional.conv1d(x, weight, bias, stride=2, padding=self.kernel_size // 2))
        return x.mean(dim=2) @ weights[-1].T + biases[-1]

    def _logits(self, x: Matrix) -> Matrix:
        for weight, bias in zip(self.coefs_[:-1], self.intercepts_[:-1], strict=True):
            half = weight.shape[2] // 2
            padded = np.pad(x, ((0, 0), (half, half), (0, 0)))
            seen = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2], axis=1)[:, ::2]
            n, steps = seen.shape[:2]
            flat = seen.reshape(n * steps, -1) @ weight.reshape(len(weight), -1).T + bias
            x = np.maximum(flat, 0).reshape(n, steps, -1)
        logits: Matrix = x.mean(axis=1) @ self.coefs_[-1].T + self.intercepts_[-1]
        return logits

    def _row_values(self) -> int:
        steps, largest = self.n_features_in_ // self.channels, 1
        for weight in self.coefs_[:-1]:
            padded = (steps + weight.shape[2]) * weight.shape[1]
            steps = (steps + 1) // 2
            largest = max(largest, padded + steps * (weight[0].size + 2 * len(weight)))
        return largest


def _sizes(name: str, sizes: Sequence[int]) -> list[int]:
    if any(size < 1 for size in sizes):
        raise ValueError(f"{name} must be whole numbers of at least 1, not {tuple(sizes)}")
    return [int(size) for size in sizes]


def _deviation(deviation: Matrix) -> Matrix:
    return np.where(deviation < _LEAST_DEVIATION, 1.0, deviation)


def _pace(done: float) -> float:
    """Learning rate at a point of the fit, as a share of the highest."""
    warming = (done + 0.01) / (_WARM_UP + 0.01)
    return warming if done < _WARM_UP else (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP))) / 2


@contextmanager
def torch_alone() -> Iterator[Any]:
    """PyTorch on one thread; its setting is put back afterwards."""
    torch = importlib.import_module("torch")  # optional, heavy, and only needed here
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield torch
    finally:
        torch.set_num_threads(threads)
