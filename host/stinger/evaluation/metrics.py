"""Window metrics: pure functions of labels and probabilities.

Labels are class indices ``0..K-1``; probabilities are ``(n, K)``, or ``(n,)`` for the positive class of two.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics as skm

Labels = NDArray[np.integer]
Floats = NDArray[np.floating]


def predicted(probability: Floats) -> NDArray[np.int64]:
    """Return the label of each row of ``(n, K)`` probabilities: the largest, ties to the lower index."""
    label: NDArray[np.int64] = np.argmax(probability, axis=1).astype(np.int64)
    return label


def accuracy(labels: Labels, guesses: Labels) -> float:
    """Share of labels guessed right; NaN for no labels."""
    return float(np.mean(labels == guesses)) if len(labels) else float("nan")


def confusion(labels: Labels, guesses: Labels, classes: int) -> NDArray[np.int64]:
    """Count every pair of true and guessed class.

    Returns:
        ``(classes, classes)`` int64; row = true class, column = guessed class.
    """
    table = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(table, (np.asarray(labels, np.int64), np.asarray(guesses, np.int64)), 1)
    return table


def balanced_accuracy(labels: Labels, guesses: Labels, classes: int) -> float:
    """Mean over the classes that occur in ``labels`` of the share guessed right."""
    table = confusion(labels, guesses, classes)
    count = table.sum(axis=1)
    present = count > 0
    return float(np.mean(np.diag(table)[present] / count[present])) if present.any() else float("nan")


def base_rate(labels: Labels) -> float:
    """Share of class 1: the average precision of a guess that knows nothing."""
    return float(np.mean(labels == 1)) if len(labels) else float("nan")


def average_precision(labels: Labels, probability: Floats) -> float:
    """Area under the precision-recall curve, as a step function (no interpolation).

    Args:
        labels: 0 or 1, shape ``(n,)``, both present.
        probability: Probability of class 1, shape ``(n,)``.
    """
    return float(skm.average_precision_score(labels, probability))


def precision_recall(
    labels: Labels, probability: Floats
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return precision, recall and threshold for every distinct threshold, recall falling.

    Precision and recall are one longer than the thresholds: they end at (1, 0).
    """
    precision, recall, threshold = skm.precision_recall_curve(labels, probability)
    return precision, recall, threshold


def roc_auc(labels: Labels, probability: Floats) -> float:
    """Chance that a window of class 1 gets a higher probability than one of class 0; both must be present."""
    return float(skm.roc_auc_score(labels, probability))
