"""Boosted trees as plain tables of numbers, fitted by scikit-learn or XGBoost.

Either library's fitted object is a graph of its own types, which differ between versions and believe every index in
them. What they compute is simple: a sum of leaf values on top of a constant. So the fit is theirs, and what is kept is
five flat arrays (`Trees`) with a definition of their own; predicting, storing and checking them needs neither library.
"""

from __future__ import annotations

import importlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no types

Matrix = NDArray[np.float64]

MAX_NODES = 2**20
MAX_DEPTH = 256
_MAX_TREES = 32_000  # 1000 rounds of 32 classes
_BLOCK = 8192  # rows that are led through the trees together; what they need stays in the cache


@dataclass(frozen=True)
class Trees:
    """Trees one after the other, each node after its parent; tree ``t`` adds to logit ``t % outputs``.

    Attributes:
        feature: Feature that an inner node looks at, int32, shape ``(nodes,)``; 0 in leaves.
        threshold: A row with ``x[feature] <= threshold`` goes left, float64; 0 in leaves.
        left: Index of the left child, int32; -1 marks a leaf.
        right: Index of the right child, int32.
        value: What a leaf adds, float64; 0 in inner nodes.
        root: Index of each tree's root, int32, shape ``(trees,)``.
        baseline: The constant below the sums, float64, shape ``(outputs,)``.
    """

    feature: NDArray[np.int32]
    threshold: Matrix
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    value: Matrix
    root: NDArray[np.int32]
    baseline: Matrix

    def sums(self, X: Matrix) -> Matrix:
        """Logits of rows ``(n, features)``: ``(n, outputs)``, added tree by tree in float64."""
        at = np.arange(len(self.feature), dtype=np.int32)
        leaf = self.left < 0
        # Leaves lead to themselves, so that every row may take as many steps as the deepest one.
        child = np.column_stack([np.where(leaf, at, self.left), np.where(leaf, at, self.right)]).ravel()
        sums = np.empty((len(X), len(self.baseline)))
        for start in range(0, len(X), _BLOCK):
            rows = np.ascontiguousarray(X[start : start + _BLOCK].T)
            flat, step = rows.ravel(), rows.shape[1]
            column = np.arange(step)
            out = np.tile(self.baseline, (step, 1))
            for number, root in enumerate(self.root):
                node = np.full(step, root, dtype=np.int32)
                while True:
                    x = flat.take(self.feature.take(node) * np.int64(step) + column)
                    after = child.take(2 * node + (x > self.threshold.take(node)))
                    if np.array_equal(after, node):
                        break
                    node = after
                out[:, number % len(self.baseline)] += self.value.take(node)
            sums[start : start + _BLOCK] = out
        return sums

    def sound(self, features: int, outputs: int) -> bool:
        """Whether predicting reads no memory but its own, and ends: every type, shape, index and number fits."""
        return self._shaped(outputs) and self._linked(features) and self._depth() <= MAX_DEPTH

    def _shaped(self, outputs: int) -> bool:
        nodes, trees = len(self.feature), len(self.root)
        if not (1 <= nodes <= MAX_NODES and outputs <= trees <= _MAX_TREES and trees % outputs == 0):
            return False
        numbers = ((self.threshold, nodes), (self.value, nodes), (self.baseline, outputs))
        indices = ((self.feature, nodes), (self.left, nodes), (self.right, nodes), (self.root, trees))
        return all(
            _is(array, np.float64, (length,)) and bool(np.isfinite(array).all()) for array, length in numbers
        ) and all(_is(array, np.int32, (length,)) for array, length in indices)

    def _linked(self, features: int) -> bool:
        nodes, inner = len(self.feature), self.left >= 0
        children = np.concatenate([self.left[inner], self.right[inner]])
        links = np.concatenate([children, self.root])
        if ((self.feature < 0) | (self.feature >= features)).any() or ((links < 0) | (links >= nodes)).any():
            return False
        # Every node has one parent or is a root; with children after parents that makes trees, and no path is a loop.
        parents = np.bincount(links, minlength=nodes)
        return bool((parents == 1).all() and (children > np.tile(np.flatnonzero(inner), 2)).all())

    def _depth(self) -> int:
        """Steps to the deepest leaf of sound links, counted no further than `MAX_DEPTH` + 1."""
        level, depth = self.root, 0
        while depth <= MAX_DEPTH:
            level = level[self.left[level] >= 0]
            if not len(level):
                break
            level, depth = np.concatenate([self.left[level], self.right[level]]), depth + 1
        return depth


def _is(array: Any, dtype: Any, shape: tuple[int, ...]) -> bool:
    return type(array) is np.ndarray and array.dtype == dtype and array.shape == shape


class _BoostedTrees(ClassifierMixin, BaseEstimator, ABC):  # type: ignore[misc]  # scikit-learn has no types
    """What both kinds share: the data's checks, and predicting from the tables.

    A fitted one has ``classes_`` and the arrays of `Trees` under the same names with ``_`` behind them.
    """

    random_state: Any

    def fit(self, X: Any, y: Any) -> Any:
        """Fit on rows ``X`` ``(n, features)`` and labels ``y`` ``(n,)``.

        Raises:
            ValueError: Fewer than two classes, or the library refuses an option.
        """
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("a classifier needs two classes; the training labels have one class only")
        self.keep(self._grow(X, codes, int(check_random_state(self.random_state).randint(2**31 - 1))))
        return self

    @abstractmethod
    def _grow(self, X: Matrix, codes: NDArray[np.int_], seed: int) -> Trees:
        """Fit on labels 0..K-1 with the library."""

    def keep(self, trees: Trees) -> None:
        """Become fitted with these trees; ``classes_`` is set elsewhere."""
        self.feature_, self.threshold_ = trees.feature, trees.threshold
        self.left_, self.right_, self.value_ = trees.left, trees.right, trees.value
        self.root_, self.baseline_ = trees.root, trees.baseline

    @property
    def trees_(self) -> Trees:
        """The fitted trees."""
        return Trees(self.feature_, self.threshold_, self.left_, self.right_, self.value_, self.root_, self.baseline_)

    @property
    def n_iter_(self) -> int:
        """Rounds that were fitted."""
        return len(self.root_) // len(self.baseline_)

    def _rounded(self, X: Matrix) -> Matrix:
        return X

    def decision_function(self, X: Any) -> Matrix:
        """Logits of rows ``(n, features)``: ``(n,)`` for two classes, else ``(n, classes)``."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        logits = self.trees_.sums(self._rounded(X))
        return logits[:, 0] if logits.shape[1] == 1 else logits

    def predict_proba(self, X: Any) -> Matrix:
        """Class probabilities of rows ``(n, features)``: ``(n, classes)``."""
        logits = self.decision_function(X)
        if logits.ndim == 1:
            likely = expit(logits)
            return np.column_stack([1 - likely, likely])
        shares: Matrix = softmax(logits, axis=1)
        return shares

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable class of each row; where two tie, the first."""
        shares = self.predict_proba(X)
        labels: NDArray[Any] = self.classes_[shares.argmax(axis=1)]
        return labels


class HistGradientTreesClassifier(_BoostedTrees):
    """scikit-learn's histogram gradient boosting, kept as `Trees`; it predicts the same numbers bit for bit.

    Early stopping is off: it would hold back a random tenth of the windows, whose neighbours overlap them. The fit
    runs on one thread, like every other, so that it repeats.

    Args:
        learning_rate: What each tree's values are multiplied with.
        max_iter: Rounds; each adds a tree, or one per class if there are more than two.
        max_leaf_nodes: Most leaves of a tree.
        min_samples_leaf: Fewest rows in a leaf.
        l2_regularization: Penalty on leaf values.
        random_state: Seed; it chooses the rows that set the bins if there are more than 200,000.
    """

    def __init__(
        self,
        *,
        learning_rate: float = 0.1,
        max_iter: int = 100,
        max_leaf_nodes: int = 31,
        min_samples_leaf: int = 20,
        l2_regularization: float = 0.0,
        random_state: Any = None,
    ) -> None:
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.max_leaf_nodes = max_leaf_nodes
        self.min_samples_leaf = min_samples_leaf
        self.l2_regularization = l2_regularization
        self.random_state = random_state

    def _grow(self, X: Matrix, codes: NDArray[np.int_], seed: int) -> Trees:
        options = {**self.get_params(), "random_state": seed}
        with threadpool_limits(1):
            fitted = HistGradientBoostingClassifier(early_stopping=False, **options).fit(X, codes)
        tables = [tree.nodes for round_ in fitted._predictors for tree in round_]
        return _joined(
            [
                (
                    np.where(nodes["is_leaf"], 0, nodes["feature_idx"]),
                    # A split that parts nothing but missing values has an infinite threshold.
                    np.where(nodes["is_leaf"], 0, nodes["num_threshold"].clip(-_LARGEST, _LARGEST)),
                    np.where(nodes["is_leaf"], -1, nodes["left"].astype(np.int64)),
                    np.where(nodes["is_leaf"], -1, nodes["right"].astype(np.int64)),
                    np.where(nodes["is_leaf"], nodes["value"], 0),
                )
                for nodes in tables
            ],
            np.asarray(fitted._baseline_prediction, dtype=np.float64).ravel(),
        )


class XGBTreesClassifier(_BoostedTrees):
    """XGBoost's gradient boosting, kept as `Trees`: `xgboost` is needed to fit, and only to fit.

    XGBoost works in float32, and so does this: rows are rounded to float32 (integer features are exact), and goes left
    what is *less* than XGBoost's threshold, which is at most the float32 number before it. Leaf values are added in
    float64, where XGBoost loses a digit. There is no early stopping; see `HistGradientTreesClassifier`.

    Args:
        learning_rate: What each tree's values are multiplied with.
        n_estimators: Rounds; each adds a tree, or one per class if there are more than two.
        max_depth: Most questions that a tree asks of a row.
        min_child_weight: Least sum of the loss's second derivative in a leaf.
        reg_lambda: Penalty on leaf values.
        random_state: Seed, for XGBoost's own use.
    """

    def __init__(
        self,
        *,
        learning_rate: float = 0.1,
        n_estimators: int = 100,
        max_depth: int = 6,
        min_child_weight: float = 1.0,
        reg_lambda: float = 1.0,
        random_state: Any = None,
    ) -> None:
        self.learning_rate = learning_rate
        self.n_estimators = n_estimators
        self.max_depth = max_depth
        self.min_child_weight = min_child_weight
        self.reg_lambda = reg_lambda
        self.random_state = random_state

    def _grow(self, X: Matrix, codes: NDArray[np.int_], seed: int) -> Trees:
        xgboost = importlib.import_module("xgboost")  # optional, heavy, and only needed here
        options: dict[str, Any] = self.get_params()
        rounds = options.pop("n_estimators")
        options |= {"random_state": seed, "nthread": 1, "tree_method": "hist", "verbosity": 0}
        classes = len(self.classes_)
        if classes == 2:
            # The usual starting point, so that it does not depend on how a version of XGBoost estimates another.
            options |= {"objective": "binary:logistic", "base_score": 0.5}
        else:
            options |= {"objective": "multi:softprob", "num_class": classes, "base_score": 0.5}
        data = xgboost.DMatrix(X.astype(np.float32), label=codes, nthread=1)
        booster = xgboost.train(options, data, num_boost_round=rounds)
        model = json.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]["model"]
        tables = []
        for tree in model["trees"]:
            left, condition = np.array(tree["left_children"]), np.array(tree["split_conditions"], dtype=np.float32)
            below = np.nextafter(condition, np.float32(-np.inf)).astype(np.float64)
            tables.append(
                (
                    np.where(left < 0, 0, tree["split_indices"]),
                    np.where(left < 0, 0, below),
                    left,
                    np.array(tree["right_children"]),
                    np.where(left < 0, condition.astype(np.float64), 0),
                )
            )
        return _joined(tables, np.zeros(1 if classes == 2 else classes))

    def _rounded(self, X: Matrix) -> Matrix:
        return X.astype(np.float32).astype(np.float64)


_LARGEST = np.finfo(np.float64).max


def _joined(tables: list[tuple[Any, ...]], baseline: Matrix) -> Trees:
    """Put the nodes of single trees (feature, threshold, left, right, value) into one table, parents first."""
    start = np.cumsum([0] + [len(table[0]) for table in tables])
    ordered = [_parents_first(*table) for table in tables]
    columns = [np.concatenate(column) for column in zip(*ordered, strict=True)]
    shift = np.repeat(start[:-1], np.diff(start))
    feature, threshold, left, right, value = columns
    return Trees(
        feature.astype(np.int32),
        threshold.astype(np.float64),
        np.where(left < 0, -1, left + shift).astype(np.int32),
        np.where(left < 0, -1, right + shift).astype(np.int32),
        value.astype(np.float64),
        start[:-1].astype(np.int32),
        baseline,
    )


def _parents_first(feature: Any, threshold: Any, left: Any, right: Any, value: Any) -> tuple[Any, ...]:
    """Number a tree's nodes level by level from the root."""
    order, level = [np.zeros(1, dtype=np.int64)], np.zeros(1, dtype=np.int64)
    while len(level := level[left[level] >= 0]):
        level = np.column_stack([left[level], right[level]]).ravel()
        order.append(level)
    old = np.concatenate(order)
    new = np.full(len(left) + 1, -1)  # the last entry is where -1 points
    new[old] = np.arange(len(old))
    return feature[old], threshold[old], new[left[old]], new[right[old]], value[old]
