"""Decision trees as integers: exact thresholds on integer features, leaf values that sum exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.models.boosted import Trees
from stinger_export.integer.layout import MAX_INPUTS
from stinger_export.integer.model import LOGIT_UNIT, ONE, Boosted, Forest

_MAX_NODES = 32767
_MAX_TREES = 1000
#: Sums of this many int16 leaves stay below 2**30.
_MAX_BOOSTED_TREES = 32000
_MAX_SHIFT = 12


def quantise_forest(estimator: Any, features: int, classes: int) -> Forest:
    """Flatten a fitted scikit-learn forest.

    scikit-learn goes left where ``x <= t`` with a real threshold; for integers that is ``x <= floor(t)``, exactly.

    Args:
        estimator: A fitted forest classifier (``estimators_`` of decision trees).
        features: Length of the feature vector it was fitted on.
        classes: Number of classes.

    Raises:
        InputError: Too many trees, nodes or leaves for the device's 16-bit indices.
    """
    trees = [tree.tree_ for tree in estimator.estimators_]
    if not 1 <= len(trees) <= _MAX_TREES:
        raise InputError(f"a forest on the device has 1 to {_MAX_TREES} trees, this one has {len(trees)}")
    feature: list[int] = []
    threshold: list[int] = []
    left: list[int] = []
    right: list[int] = []
    roots: list[int] = []
    leaf_number: dict[tuple[int, ...], int] = {}
    for tree in trees:
        inner = tree.children_left >= 0
        number = len(feature) + np.cumsum(inner) - 1
        values = tree.value[:, 0, :]

        def code(node: int, inner: Any = inner, number: Any = number, values: Any = values) -> int:
            if inner[node]:
                return int(number[node])
            return -1 - leaf_number.setdefault(_leaf(values[node]), len(leaf_number))

        roots.append(code(0))
        for node in np.flatnonzero(inner):
            feature.append(int(tree.feature[node]))
            threshold.append(int(np.clip(np.floor(tree.threshold[node]), -32768, 32767)))
            left.append(code(int(tree.children_left[node])))
            right.append(code(int(tree.children_right[node])))
        if len(feature) > _MAX_NODES or len(leaf_number) > _MAX_NODES:
            raise InputError(f"the forest has more than {_MAX_NODES} nodes; limit max_depth or the number of trees")
    if features > MAX_INPUTS or max(feature, default=0) >= features:
        raise InputError(f"the forest uses features outside its vector of {features}")
    leaves = np.array(list(leaf_number), dtype=np.uint16).reshape(-1, classes)
    return Forest(**_level_by_level(feature, threshold, left, right, roots), leaves=leaves)


def _level_by_level(
    feature: Any, threshold: Any, left: Sequence[int], right: Sequence[int], roots: Sequence[int]
) -> dict[str, NDArray[Any]]:
    """The fields of `Nodes`, with the nodes of every tree in their order; arguments are the same in any order."""
    order: list[int] = []
    links: list[int] = []

    def link(child: int) -> int:
        if child < 0:
            return child
        order.append(child)
        return len(order) - 1

    at, root_links = 0, []
    for root in roots:
        root_links.append(link(root))
        while at < len(order):
            node = order[at]
            links += (link(left[node]), link(right[node]))
            at += 1
    return {
        "feature": np.asarray(feature, dtype=np.uint16)[order],
        "threshold": np.asarray(threshold, dtype=np.int16)[order],
        "left": np.array(links[0::2], dtype=np.int16),
        "right": np.array(links[1::2], dtype=np.int16),
        "roots": np.array(root_links, dtype=np.int16),
    }


def _leaf(value: NDArray[np.float64]) -> tuple[int, ...]:
    """Class shares of a leaf as integers that sum to `ONE`, by largest remainder."""
    exact = value / value.sum() * ONE
    shares = np.floor(exact).astype(int)
    missing = ONE - int(shares.sum())
    for k in np.argsort(shares - exact, kind="stable")[:missing]:
        shares[k] += 1
    return tuple(int(s) for s in shares)


def quantise_boosted(trees: Trees, features: int) -> Boosted:
    """Flatten boosted trees, their leaves rounded to int16 in the finest unit that holds the largest.

    Args:
        trees: Fitted on integer features.
        features: Length of the feature vector.

    Raises:
        InputError: Too many trees, nodes or leaves for the device's 16-bit indices, or leaves too large for it.
    """
    inner = trees.left >= 0
    nodes, outputs = int(inner.sum()), len(trees.baseline)
    if nodes > _MAX_NODES or len(trees.root) > _MAX_BOOSTED_TREES:
        raise InputError(
            f"the boosted trees have {nodes} nodes in {len(trees.root)} trees, a board holds {_MAX_NODES} in "
            f"{_MAX_BOOSTED_TREES}; limit max_iter or max_leaf_nodes"
        )
    if features > MAX_INPUTS:
        raise InputError(f"trees on the device look at {MAX_INPUTS:,} features at most, this model has {features:,}")
    largest = float(np.abs(trees.value).max())
    shift = int(np.clip(np.floor(np.log2(32767 / max(largest * LOGIT_UNIT, 1e-9))), 0, _MAX_SHIFT))
    unit = LOGIT_UNIT * 2**shift
    if round(largest * unit) > 32767 or np.abs(trees.baseline).max() * unit >= 2**29:
        raise InputError("the boosted trees' leaves are too large for a board; scale or retrain them")
    value = np.rint(trees.value * unit).astype(np.int64)
    leaves, leaf_of = np.unique(value[~inner], return_inverse=True)
    code = np.empty(len(inner), dtype=np.int64)
    code[inner], code[~inner] = np.arange(nodes), -1 - leaf_of
    rounding = 1 << (shift - 1) if shift else 0
    return Boosted(
        **_level_by_level(
            trees.feature[inner],
            np.clip(np.floor(trees.threshold[inner]), -32768, 32767),
            code[trees.left[inner]].tolist(),
            code[trees.right[inner]].tolist(),
            code[trees.root].tolist(),
        ),
        leaves=leaves.astype(np.int16),
        baseline=(np.rint(trees.baseline * unit) + rounding).astype(np.int32).reshape(outputs),
        shift=shift,
    )
