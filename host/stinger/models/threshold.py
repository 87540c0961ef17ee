"""Choosing the threshold of a two-class model, on windows that neither trained the judged model nor measure the final.

The training part is folded by whole groups with an embargo (`stinger.windows.folds`). Each fold's windows get their
probabilities from a model fitted on the other folds; pooled, they are what the final model's probabilities on new
windows look like, as far as the training part can tell. The threshold with the best F1 on them is taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Folds that thresholds are chosen on; fewer where a class has fewer groups.
FOLDS = 5
#: What a two-class model answers at unless a threshold was chosen.
DEFAULT = 0.5
#: Thresholds are whole numbers of these steps, the unit of probabilities on the board.
STEPS = 1 << 15


@dataclass(frozen=True)
class Threshold:
    """A threshold and how it came about.

    Attributes:
        value: Class 1 is answered where its probability is at least this.
        folds: Folds it was chosen on; 0 if it is only `DEFAULT`.
        reason: Why it was not chosen on the folds asked for; empty if it was.
    """

    value: float = DEFAULT
    folds: int = 0
    reason: str = ""


def best_f1(labels: NDArray[np.integer], probability: NDArray[np.floating]) -> float:
    """Find the threshold with the best F1 of class 1.

    F1 changes only at the probabilities that occur; the threshold lies in the middle between the lowest one still
    answered with class 1 and the next one below. Of equal ones the nearest to `DEFAULT` is taken.

    Args:
        labels: 0 or 1, shape ``(n,)``, both present.
        probability: Probability of class 1, shape ``(n,)``.

    Returns:
        A multiple of 1 / `STEPS` above 0 and below 1.
    """
    order = np.argsort(-probability, kind="stable")
    score = probability[order]
    last = np.append(score[1:] != score[:-1], True)
    answered = np.flatnonzero(last) + 1
    right = np.cumsum(labels[order] == 1)[last]
    f1 = 2 * right / (answered + right[-1])
    score = score[last]
    middle = (score + np.append(score[1:], 0.0)) / 2
    best = middle[f1 >= f1.max() - 1e-12]
    value = best[np.argmin(np.abs(best - DEFAULT))]
    return float(np.clip(np.rint(value * STEPS), 1, STEPS - 1) / STEPS)
