"""Whether a probability of 0.8 is right eight times out of ten.

Of two classes the probability of the second is judged, against whether the window is of that class. Of more classes
it is the largest one, against whether that answer is right: the rest of a row is not what a user acts on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Bins of equal width that reliability is judged in.
BINS = 10

Floats = NDArray[np.floating]
Labels = NDArray[np.integer]


@dataclass(frozen=True)
class Bin:
    """Windows with about the same probability.

    Attributes:
        low: Lowest probability of the bin.
        high: Its end; only the last bin includes it.
        windows: How many there are.
        probability: Their mean probability, NaN without windows.
        observed: The share of them for which it came true, NaN without windows.
    """

    low: float
    high: float
    windows: int
    probability: float
    observed: float


def judged(labels: Labels, probability: Floats) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the probability that is judged for each window, and whether it came true.

    Args:
        labels: Class of each window, shape ``(n,)``.
        probability: Shape ``(n, classes)``.
    """
    if probability.shape[1] == 2:
        return probability[:, 1].astype(np.float64), np.asarray(labels == 1)
    return probability.max(axis=1).astype(np.float64), np.asarray(probability.argmax(axis=1) == labels)


def reliability(labels: Labels, probability: Floats, bins: int = BINS) -> list[Bin]:
    """Compare probabilities ``(n, classes)`` with what happened, bin by bin."""
    p, true = judged(labels, probability)
    place = _places(p, bins)
    rows = []
    for k in range(bins):
        inside = place == k
        count = int(inside.sum())
        means = (float(p[inside].mean()), float(true[inside].mean())) if count else (float("nan"), float("nan"))
        rows.append(Bin(k / bins, (k + 1) / bins, count, *means))
    return rows


def brier_terms(labels: Labels, probability: Floats) -> NDArray[np.float64]:
    """Each window's part of the Brier score, shape ``(n,)``; their mean is the score.

    Of two classes it is the squared difference between the second one's probability and 0 or 1; of more, the sum of
    the squared differences over all classes (0 at best, 2 at worst), as Brier defined it.
    """
    target = np.eye(probability.shape[1])[np.asarray(labels, np.int64)]
    terms: NDArray[np.float64] = ((probability - target) ** 2).sum(axis=1)
    return terms / 2 if probability.shape[1] == 2 else terms


def calibration_error(
    labels: Labels, probability: Floats, weights: NDArray[np.float64], bins: int = BINS
) -> NDArray[np.float64]:
    """Expected calibration error for many weightings of the same windows.

    It is the mean over the windows of the difference, within their bin, between the mean probability and the share
    that came true. A perfect model's is above 0 too, the more so the fewer windows there are.

    Args:
        labels: Shape ``(n,)``.
        probability: Shape ``(n, classes)``.
        weights: How much each window counts, shape ``(draws, n)``.
        bins: Bins of equal width.

    Returns:
        Shape ``(draws,)``; NaN where nothing counts.
    """
    p, true = judged(labels, probability)
    in_bin = np.eye(bins)[_places(p, bins)]
    # In a bin of weight w the difference of means times w is the difference of sums.
    difference = weights @ (in_bin * (p - true)[:, None])
    with np.errstate(divide="ignore", invalid="ignore"):
        error: NDArray[np.float64] = np.abs(difference).sum(axis=1) / weights.sum(axis=1)
    return error


def _places(p: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    places: NDArray[np.int64] = np.clip((p * bins).astype(np.int64), 0, bins - 1)
    return places
