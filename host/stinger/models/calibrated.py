"""A ridge classifier whose probabilities mean what they say.

Ridge regression of 0 and 1 separates classes well, but its output is not a probability, and the sigmoid of it is
none either. Here the scores are calibrated as Platt proposed: on rows that were held out when the scores were made.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import StratifiedKFold
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

Matrix = NDArray[np.float64]

_GRADIENT = 1e-9  # where the calibration's fit ends


class CalibratedRidgeClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Ridge classification with calibrated probabilities.

    The fit makes out-of-fold scores of every training row: one score for two classes, else one per class. On them it
    fits ``logit[k] = slope * score[k] + offset[k]`` by maximum likelihood, with one slope for all classes (it is not
    negative: scores that tell nothing give the classes' shares). The logits go through the logistic function or
    softmax. Targets are Platt's, ``(n_k + 1) / (n_k + 2)`` for two classes and the like for more, so perfectly
    separated rows do not give certainty. The ridge is then fitted again on all rows and the calibration folded into its
    coefficients, so a fitted model is one linear layer, and as easy to run as a logistic regression.

    The folds are runs of neighbouring rows, not random ones: windows that follow each other overlap, and a score is
    only held out if its neighbours were. Nothing is random, so there is no ``random_state``.

    Args:
        alpha: Strength of the ridge penalty.
        folds: How many parts the rows are held out in; fewer where a class has fewer rows.

    Attributes:
        classes_: The class labels, sorted.
        coef_: Coefficients of the calibrated logits, float64, ``(1, features)`` for two classes, else
            ``(classes, features)``.
        intercept_: Their intercepts, ``(1,)`` or ``(classes,)``.
    """

    def __init__(self, alpha: float = 1.0, folds: int = 5) -> None:
        self.alpha = alpha
        self.folds = folds

    def fit(self, X: Any, y: Any) -> CalibratedRidgeClassifier:
        """Fit on rows ``X`` ``(n, features)`` and labels ``y`` ``(n,)``.

        Raises:
            ValueError: Fewer than two classes, or a class with a single row: it could not be held out.
        """
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, codes, count = np.unique(y, return_inverse=True, return_counts=True)
        if len(self.classes_) < 2:
            raise ValueError("a classifier needs two classes; the training labels have one class only")
        folds = int(min(self.folds, count.min()))
        if folds < 2:
            raise ValueError("ridge holds rows back for its probabilities: it needs 2 folds and 2 rows of each class")
        scores = np.empty((len(y), 1 if len(count) == 2 else len(count)))
        for train, test in StratifiedKFold(folds).split(X, codes):
            scores[test] = _scores(self._ridge(X[train], codes[train]), X[test])
        slope, offset = _calibrate(scores, codes, count)
        ridge = self._ridge(X, codes)
        self.coef_: Matrix = slope * np.atleast_2d(ridge.coef_)
        self.intercept_: Matrix = slope * np.atleast_1d(ridge.intercept_) + offset
        return self

    def _ridge(self, X: Matrix, codes: NDArray[np.int_]) -> RidgeClassifier:
        return RidgeClassifier(alpha=self.alpha).fit(X, codes)

    def decision_function(self, X: Any) -> Matrix:
        """Calibrated logits of rows ``(n, features)``: ``(n,)`` for two classes, else ``(n, classes)``."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        logits: Matrix = X @ self.coef_.T + self.intercept_
        return logits[:, 0] if logits.shape[1] == 1 else logits

    def predict_proba(self, X: Any) -> Matrix:
        """Class probabilities of rows ``(n, features)``: ``(n, classes)``."""
        logits = self.decision_function(X)
        if logits.ndim == 1:
            return np.column_stack([expit(-logits), expit(logits)])
        shares: Matrix = softmax(logits, axis=1)
        return shares

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable class of each row; where two tie, the first."""
        logits = self.decision_function(X)
        chosen = (logits > 0).astype(int) if logits.ndim == 1 else logits.argmax(axis=1)
        labels: NDArray[Any] = self.classes_[chosen]
        return labels


def _scores(ridge: RidgeClassifier, X: Matrix) -> Matrix:
    scores: Matrix = np.asarray(ridge.decision_function(X), dtype=np.float64).reshape(len(X), -1)
    return scores


def _calibrate(scores: Matrix, codes: NDArray[np.int_], count: NDArray[np.int_]) -> tuple[float, Matrix]:
    """Fit slope and offsets to out-of-fold scores by maximum likelihood; returns one offset per column of scores."""
    classes = len(count)
    # The scores' size depends on alpha and on the features' units: the search runs on scores of size 1.
    size = max(float(np.abs(scores).max()), np.finfo(np.float64).tiny)
    columns = scores / size if scores.shape[1] > 1 else np.column_stack([np.zeros(len(scores)), scores[:, 0] / size])
    target = np.full((len(codes), classes), 0.0)
    target += (1 / (count[codes] + classes))[:, None]
    target[np.arange(len(codes)), codes] *= count[codes] + 1

    def loss(x: Matrix) -> tuple[float, Matrix]:
        log_share = log_softmax(x[0] * columns + x[1:], axis=1)
        error = (np.exp(log_share) - target) / len(codes)
        return (
            -float((target * log_share).sum()) / len(codes),
            np.concatenate([[(error * columns).sum()], error.sum(axis=0)]),
        )

    start = np.concatenate([[1.0], np.log(count / count.sum())])
    bounds = [(0.0, None)] + [(None, None)] * classes
    options = {"maxiter": 1000, "gtol": _GRADIENT, "ftol": 0.0}
    x = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    offset = x[1:] - x[1] if classes == 2 else x[1:] - x[1:].mean()
    return float(x[0]) / size, offset[1:] if classes == 2 else offset
