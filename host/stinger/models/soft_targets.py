"""Learning from probabilities instead of labels: what a teacher makes of each window, mixed with what it is.

The temperature is the teacher's: ``p ** (1 / temperature)``, normalised, so that above 1 it says more about the classes
that it thinks little of. What a student learns from is ``mix`` of that, and ``1 - mix`` of the label.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline

from stinger.errors import UsageError
from stinger.models.torch_net import TorchCNNClassifier, TorchMLPClassifier

#: Families that can learn from probabilities.
STUDENTS = ("mlp", "torch-mlp", "torch-cnn")
MAX_TEMPERATURE = 100.0
_LEAST = 1e-12


def soft_targets(
    probability: NDArray[np.float64], labels: NDArray[np.uint8], *, temperature: float, mix: float
) -> NDArray[np.float64]:
    """Mix a teacher's probabilities with labels.

    Args:
        probability: Of each window and class, shape ``(n, classes)``.
        labels: The class of each window, shape ``(n,)``.
        temperature: Above 1 softens the teacher, below 1 sharpens it.
        mix: Share of the teacher; 0 leaves the labels alone.

    Returns:
        Float64 ``(n, classes)``; rows sum to 1.

    Raises:
        UsageError: Temperature or mix out of range.
    """
    if not 1 / MAX_TEMPERATURE <= temperature <= MAX_TEMPERATURE:
        raise UsageError(f"--temperature must be 0.01 to {MAX_TEMPERATURE:g}, is {temperature:g}")
    if not 0 <= mix <= 1:
        raise UsageError(f"--mix must be 0 to 1, is {mix:g}")
    logs = np.log(np.maximum(probability, _LEAST)) / temperature
    softened = np.exp(logs - logs.max(axis=1, keepdims=True))
    softened /= softened.sum(axis=1, keepdims=True)
    targets: NDArray[np.float64] = mix * softened + (1 - mix) * np.eye(probability.shape[1])[labels]
    return targets


def require_student(family: str) -> None:
    """Refuse a family that cannot learn from probabilities.

    Raises:
        UsageError: It cannot.
    """
    if family not in STUDENTS:
        raise UsageError(f"{family} cannot learn from a teacher's probabilities; choose {', '.join(STUDENTS)}")


def fit_softly(estimator: Any, X: NDArray[np.float64], labels: NDArray[np.int64], soft: NDArray[np.float64]) -> None:
    """Fit an estimator of one of the `STUDENTS` on probabilities ``(n, classes)``, in place.

    scikit-learn's network takes no probabilities: it gets each row once for every class, weighted with them.
    """
    if isinstance(estimator, TorchMLPClassifier | TorchCNNClassifier):
        estimator.fit(X, labels, soft=soft)
        return
    if not (isinstance(estimator, Pipeline) and isinstance(estimator[-1], MLPClassifier)):
        raise TypeError(f"{type(estimator).__name__} takes no probabilities")
    n, classes = soft.shape
    weights = {"classify__sample_weight": soft.ravel()}
    estimator.fit(np.repeat(X, classes, axis=0), np.tile(np.arange(classes), n), **weights)
