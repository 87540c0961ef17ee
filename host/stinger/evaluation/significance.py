"""Whether one model is better than another, or luck would do: paired tests and their correction for many.

Scores from repeated splits of one dataset are not independent: their training parts overlap. The corrected resampled
t-test (Nadeau and Bengio, "Inference for the Generalization Error", Machine Learning 52, 2003, pp. 239-281) widens the
variance for it: ``t = mean(d) / sqrt((1/J + n_test/n_train) * var(d))`` with ``J - 1`` degrees of freedom. Where every
seed has the same test part there is nothing to repeat; there whole groups of its windows are drawn again (paired
cluster bootstrap; Efron and Tibshirani, "An Introduction to the Bootstrap", 1993). Many comparisons are corrected by
Holm's step-down procedure (Scandinavian Journal of Statistics 6, 1979, pp. 65-70).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from stinger.errors import UsageError

#: Resamples drawn at a time: bounds memory at this many times the number of windows.
_AT_ONCE = 64

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """How much better the first of two is.

    Attributes:
        mean: Mean difference of their scores.
        low: Lower end of its 95 % confidence interval.
        high: Upper end.
        p: Chance of a difference as large if there were none, both directions; NaN where the scores cannot say.
    """

    mean: float
    low: float
    high: float
    p: float


def corrected_t_test(difference: Floats, test_share: float) -> Difference:
    """Compare two models whose scores come from the same random splits.

    Args:
        difference: First score minus second for each split, shape ``(J,)``.
        test_share: Windows in the test part per window in the training part, ``n_test / n_train``, above 0.

    Returns:
        The difference; its interval and p are NaN for fewer than two splits, or differences that are all the same
        and not 0 (which independent splits do not give).

    Raises:
        UsageError: No differences, or an impossible share.
    """
    d = np.asarray(difference, dtype=np.float64)
    if d.ndim != 1 or not len(d) or not np.isfinite(d).all():
        raise UsageError("a test needs at least one finite difference")
    if not test_share > 0:
        raise UsageError(f"the test part's share must be above 0, is {test_share:g}")
    mean = float(d.mean())
    if not d.any():
        return Difference(0.0, 0.0, 0.0, 1.0)
    # Scores are sums of few numbers: what differs by less than rounding does not differ.
    if len(d) < 2 or np.ptp(d) <= 1e-12 * max(1.0, float(np.abs(d).max())):
        return Difference(mean, float("nan"), float("nan"), float("nan"))
    freedom = len(d) - 1
    error = float(np.sqrt((1 / len(d) + test_share) * d.var(ddof=1)))
    reach = float(stdtrit(freedom, 0.975)) * error
    p = 2 * float(stdtr(freedom, -abs(mean) / error))
    return Difference(mean, mean - reach, mean + reach, min(1.0, p))


def holm(p: Sequence[float]) -> list[float]:
    """Correct p-values for being many; the chance of even one false alarm stays what a single test's would be.

    Args:
        p: One per comparison; NaN where there is none, which stays NaN and does not count.

    Returns:
        Corrected values in the same order, at most 1.

    Raises:
        UsageError: A value is not between 0 and 1.
    """
    values = np.asarray(p, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(values))
    if ((values[known] < 0) | (values[known] > 1)).any():
        raise UsageError("a p-value is between 0 and 1")
    order = known[np.argsort(values[known], kind="stable")]
    corrected = np.full(len(values), np.nan)
    corrected[order] = np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1)).clip(max=1.0)
    return [float(value) for value in corrected]


def group_bootstrap(
    labels: NDArray[np.integer],
    scores: Floats,
    groups: NDArray[np.int64],
    *,
    resamples: int = 2000,
    seed: int = 1,
) -> Floats:
    """Score models on whole groups of windows drawn with replacement, the same ones for every model.

    Two classes are scored by average precision; a resample without both of them is NaN.

    Args:
        labels: 0 or 1, shape ``(n,)``.
        scores: Probability of class 1 by each model, shape ``(models, n)``.
        groups: What belongs together, shape ``(n,)``.
        resamples: How many draws.
        seed: Seed of the draws.

    Returns:
        Average precision, shape ``(models, resamples)``.

    Raises:
        UsageError: Shapes that do not fit, or nothing to draw.
    """
    if scores.ndim != 2 or scores.shape[1:] != labels.shape or groups.shape != labels.shape or not len(labels):
        raise UsageError("labels, groups and the scores of each model must be as many, and at least one")
    _, place = np.unique(groups, return_inverse=True)
    number = int(place.max()) + 1
    rng = np.random.default_rng(seed)
    result = np.empty((len(scores), resamples))
    for first in range(0, resamples, _AT_ONCE):
        draws = rng.integers(0, number, (min(_AT_ONCE, resamples - first), number))
        times = np.stack([np.bincount(draw, minlength=number) for draw in draws])[:, place]
        for model, score in enumerate(scores):
            result[model, first : first + len(draws)] = weighted_average_precision(labels, score, times)
    return result


def weighted_average_precision(labels: NDArray[np.integer], score: Floats, times: NDArray[np.int64]) -> Floats:
    """Average precision where windows count several times or not at all.

    Args:
        labels: 0 or 1, shape ``(n,)``.
        score: Probability of class 1, shape ``(n,)``.
        times: How often each window counts, shape ``(draws, n)``.

    Returns:
        Shape ``(draws,)``; NaN where a draw has only one class.
    """
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.diff(score[order], append=-np.inf))  # the last of each run of equal scores
    counted = times[:, order]
    positive = np.cumsum(counted * (labels[order] == 1), axis=1)[:, ends]
    taken = np.cumsum(counted, axis=1)[:, ends]
    total = positive[:, -1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(taken > 0, positive / np.maximum(taken, 1), 0.0)
        gained = np.diff(positive, axis=1, prepend=0) / total
    area: Floats = (precision * gained).sum(axis=1)
    both = (total[:, 0] > 0) & (total[:, 0] < taken[:, -1])
    return np.where(both, area, np.nan)


def bootstrap_difference(observed: float, first: Floats, second: Floats) -> Difference:
    """Compare two models by their scores on the same resamples.

    The interval is the middle 95 % of the differences; p is twice the share of resamples on the rarer side of 0
    (half of those at 0 count for each), at least ``1 / (resamples + 1)``.

    Args:
        observed: The difference on the windows themselves.
        first: Scores of the first model, shape ``(resamples,)``; NaN where a resample has none.
        second: Scores of the second.
    """
    d = (first - second)[~np.isnan(first - second)]
    if len(d) < 2:
        return Difference(observed, float("nan"), float("nan"), float("nan"))
    if not d.any():
        return Difference(observed, 0.0, 0.0, 1.0)
    low, high = np.percentile(d, [2.5, 97.5])
    below = float(np.mean(d < 0) + 0.5 * np.mean(d == 0))
    p = min(1.0, max(2 * min(below, 1 - below), 1 / (len(d) + 1)))
    return Difference(observed, float(low), float(high), p)
