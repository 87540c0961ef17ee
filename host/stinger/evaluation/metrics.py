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


def roc_curve(labels: Labels, probability: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return false and true positive rate for every distinct threshold, from (0, 0) to (1, 1)."""
    false, true, _ = skm.roc_curve(labels, probability)
    return false, true


def roc_auc(labels: Labels, probability: Floats) -> float:
    """Chance that a window of class 1 gets a higher probability than one of class 0; both must be present."""
    return float(skm.roc_auc_score(labels, probability))


def rank_areas(positive: NDArray[np.bool_], score: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Areas under the ROC curve and the precision-recall curve for many weightings of the same windows at once.

    With weights of 1 they are `roc_auc` and `average_precision`; a bootstrap draw is a weighting by how often each
    window was drawn. Equal scores count as one threshold.

    Args:
        positive: Which windows are of the class in question, shape ``(n,)``.
        score: The higher, the surer that they are, shape ``(n,)``.
        weights: How much each window counts, shape ``(draws, n)``.

    Returns:
        Both areas, shape ``(draws,)``; NaN where a draw has no positive window or, for the ROC curve, no other.
    """
    order = np.argsort(-score, kind="stable")
    first = np.flatnonzero(np.append(True, np.diff(score[order]) != 0))
    sorted_weights = weights[:, order]
    right = np.add.reduceat(sorted_weights * positive[order], first, axis=1)
    wrong = np.add.reduceat(sorted_weights * ~positive[order], first, axis=1)
    all_right, all_wrong = np.cumsum(right, axis=1), np.cumsum(wrong, axis=1)
    positives, negatives = all_right[:, -1], all_wrong[:, -1]
    with np.errstate(divide="ignore", invalid="ignore"):
        below = wrong * (all_right - right / 2)
        roc = below.sum(axis=1) / (positives * negatives)
        # Draws that have none of the highest scores answer nothing there, and gain no recall either.
        precision = np.nan_to_num(all_right / (all_right + all_wrong))
        area = (right * precision).sum(axis=1) / positives
    return roc, area


def answer_shares(table: Floats) -> tuple[Floats, Floats, Floats]:
    """Precision, recall and F1 of each class for many confusion tables.

    Args:
        table: Weight of each pair of true (second axis) and guessed class (last), shape ``(draws, classes, classes)``.

    Returns:
        Three arrays of shape ``(draws, classes)``. Precision is 0 where nothing was answered with the class; recall
        and F1 are NaN where no window is of it.
    """
    hit = np.einsum("dkk->dk", table)
    answered, true = table.sum(axis=1), table.sum(axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(answered > 0, hit / answered, 0.0)
        recall = hit / true
        f1 = np.where(true > 0, 2 * hit / (answered + true), np.nan)
    return precision, recall, f1


def weighted_confusion(labels: Labels, guesses: Labels, classes: int, weights: Floats) -> Floats:
    """Confusion tables of many weightings ``(draws, n)`` of the same windows: ``(draws, classes, classes)``."""
    cell = np.asarray(labels, np.int64) * classes + np.asarray(guesses, np.int64)
    table: Floats = weights @ np.eye(classes * classes)[cell]
    return table.reshape(len(weights), classes, classes)
