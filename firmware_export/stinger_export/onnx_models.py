"""Classifiers as ONNX nodes, each from its plain numbers: features in, probabilities and logits out.

Logits are what the probabilities come from: one column for two classes, whose logistic function is the probability of
the second, else one for each class, whose softmax the probabilities are. A forest averages probabilities and has no
logits of its own; what stands for them is the logarithm, of shares of at least `LEAST_SHARE`.

Scaling and layers run in float64, so neither a mean of thousands of counts beside a deviation of a few nor samples far
from any that were learnt from cost digits. A convolution is therefore a product with the samples that each step sees:
onnxruntime has `Conv` in float32 only, whose probabilities are off by more than 1e-5 where large sums nearly cancel.
Trees ask float64 (boosted ones) or float32 questions (forests), as the estimators themselves do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from stinger.features.arithmetic import INT16_MAX, INT16_MIN
from stinger.models.spec import ModelSpec
from stinger_export.forms import is_boosted, is_convolution, is_forest
from stinger_export.onnx_arithmetic import Graph

#: Smallest share of which a forest's logits are the logarithm.
LEAST_SHARE = 2.0**-24


@dataclass(frozen=True)
class Answers:
    """Names of a classifier's outputs, float32 or float64.

    Attributes:
        probabilities: ``[N, classes]``.
        logits: ``[N, 1]`` for two classes, else ``[N, classes]``.
    """

    probabilities: str
    logits: str


def classify(graph: Graph, features: str, spec: ModelSpec, form: Any) -> Answers:
    """Append a classifier.

    Args:
        graph: What to append to.
        features: Name of the features, int64 or float64 ``[N, features]``.
        spec: Of the model.
        form: Of `stinger_export.forms.onnx_form`.
    """
    if is_forest(spec):
        return _forest(graph, features, form, spec)
    if is_boosted(spec):
        return _shares(graph, _boosted(graph, features, form.trees_, spec), len(spec.classes))
    double = graph.add("Cast", features, to=TensorProto.DOUBLE)
    if is_convolution(spec):
        logits = _convolutions(graph, double, form, spec)
    else:
        scaler, classifier = (step for _, step in form.steps)
        logits = _dense(graph, _scaled(graph, double, scaler.mean_, scaler.scale_), classifier)
    return _shares(graph, logits, len(spec.classes))


def _shares(graph: Graph, logits: str, classes: int) -> Answers:
    """Probabilities of logits, in the logits' type."""
    if classes > 2:
        return Answers(graph.add("Softmax", logits, axis=1), logits)
    likely = graph.add("Sigmoid", logits)
    one = graph.add("CastLike", graph.constant(np.float32(1)), likely)
    return Answers(graph.add("Concat", graph.add("Sub", one, likely), likely, axis=1), logits)


def _scaled(graph: Graph, x: str, mean: Any, scale: Any) -> str:
    centred = graph.add("Sub", x, graph.constant(np.asarray(mean, dtype=np.float64)))
    return graph.add("Div", centred, graph.constant(np.asarray(scale, dtype=np.float64)))


def _layer(graph: Graph, x: str, weights: Any, bias: Any) -> str:
    """Append a dense layer of weights ``(inputs, outputs)``, in float64."""
    product = graph.add("MatMul", x, graph.constant(np.ascontiguousarray(weights, dtype=np.float64)))
    return graph.add("Add", product, graph.constant(np.asarray(bias, dtype=np.float64)))


def _dense(graph: Graph, x: str, classifier: Any) -> str:
    if hasattr(classifier, "coefs_"):
        weights, biases = classifier.coefs_, classifier.intercepts_
    else:
        weights, biases = [classifier.coef_.T], [classifier.intercept_]
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        x = graph.add("Relu", _layer(graph, x, weight, bias))
    return _layer(graph, x, weights[-1], biases[-1])


def _convolutions(graph: Graph, features: str, network: Any, spec: ModelSpec) -> str:
    """Append a `TorchCNNClassifier`."""
    steps, shape = spec.window, graph.constant([0, spec.window, len(spec.channels)])
    x = _scaled(graph, graph.add("Reshape", features, shape), network.mean_, network.scale_)
    for weight, bias in zip(network.coefs_[:-1], network.intercepts_[:-1], strict=True):
        outputs, inputs, size = weight.shape
        half, steps = size // 2, (steps + 1) // 2
        padded = graph.add("Pad", x, graph.constant([0, half, 0, 0, half, 0]))
        at = 2 * np.arange(steps)[:, None] + np.arange(size)
        seen = graph.add("Gather", padded, graph.constant(at), axis=1)
        rows = graph.add("Reshape", seen, graph.constant([0, steps, size * inputs]))
        x = graph.add("Relu", _layer(graph, rows, weight.transpose(2, 1, 0).reshape(-1, outputs), bias))
    x = graph.add("ReduceMean", x, graph.constant([1]), keepdims=0)
    weight, bias = network.coefs_[-1], network.intercepts_[-1]
    if len(spec.classes) == 2:
        # A softmax of two logits is the logistic function of their difference.
        weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
    return _layer(graph, x, weight.T, bias)


@dataclass(frozen=True)
class _Nodes:
    """Trees as columns of numbers, a row for each node; children are numbered within their tree."""

    tree: NDArray[np.int64]
    number: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    inner: NDArray[np.bool_]


def _ensemble(graph: Graph, vector: str, nodes: _Nodes, weights: NDArray[Any], **attributes: Any) -> str:
    """Append trees whose leaves are summed, and return the name of the float32 sums.

    Args:
        graph: What to append to.
        vector: Name of the features, of the type of ``weights``.
        nodes: The trees.
        weights: What each leaf adds to each output, ``(leaves, outputs)``, float32 or float64; so are the thresholds.
        **attributes: Of the node, where they differ: leaves that add to one output of several say to which.
    """
    leaf = np.flatnonzero(~nodes.inner)
    outputs = weights.shape[1]
    given: dict[str, Any] = {
        "n_targets": outputs,
        "target_ids": np.tile(np.arange(outputs), len(leaf)).tolist(),
        "target_treeids": np.repeat(nodes.tree[leaf], outputs).tolist(),
        "target_nodeids": np.repeat(nodes.number[leaf], outputs).tolist(),
    }
    numbers = {"nodes_values": nodes.threshold.astype(weights.dtype), "target_weights": weights.ravel()}
    if "base_values" in attributes:
        numbers["base_values"] = np.asarray(attributes.pop("base_values"), dtype=weights.dtype)
    for name, values in numbers.items():
        if weights.dtype == np.float64:
            given[f"{name}_as_tensor"] = numpy_helper.from_array(values, name)
        else:
            given[name] = values.tolist()
    return graph.add(
        "TreeEnsembleRegressor",
        vector,
        domain="ai.onnx.ml",
        aggregate_function="SUM",
        post_transform="NONE",
        nodes_treeids=nodes.tree.tolist(),
        nodes_nodeids=nodes.number.tolist(),
        nodes_featureids=nodes.feature.tolist(),
        nodes_modes=np.where(nodes.inner, "BRANCH_LEQ", "LEAF").tolist(),
        nodes_truenodeids=nodes.left.tolist(),
        nodes_falsenodeids=nodes.right.tolist(),
        **{**given, **attributes},
    )


def _whole(threshold: NDArray[np.float64]) -> NDArray[np.float64]:
    """Thresholds for integers: the same answers, and no rounding can move them past a number."""
    return np.clip(np.floor(threshold), INT16_MIN - 1, INT16_MAX)


def _single(threshold: NDArray[np.float64]) -> NDArray[np.float64]:
    """Thresholds for float32 numbers: the largest of those that are not above."""
    limit = float(np.finfo(np.float32).max)
    nearest = threshold.clip(-limit, limit).astype(np.float32)
    below = np.nextafter(nearest, np.float32(-np.inf))
    return np.where(nearest > threshold, below, nearest).astype(np.float64)


def _boosted(graph: Graph, features: str, trees: Any, spec: ModelSpec) -> str:
    """Append boosted trees' leaves, summed in float64, and return the name of the float32 logits."""
    inner, outputs = trees.left >= 0, len(trees.baseline)
    tree = np.searchsorted(trees.root, np.arange(len(inner)), side="right") - 1
    nodes = _Nodes(
        tree,
        np.arange(len(inner)) - trees.root[tree],
        trees.feature,
        _whole(trees.threshold) if spec.feature_set.integer else trees.threshold,
        np.where(inner, trees.left - trees.root[tree], 0),
        np.where(inner, trees.right - trees.root[tree], 0),
        inner,
    )
    if spec.family == "xgb" and not spec.feature_set.integer:
        features = graph.add("Cast", features, to=TensorProto.FLOAT)
    vector = graph.add("Cast", features, to=TensorProto.DOUBLE)
    # Each leaf is of one output, its tree's.
    leaf = np.flatnonzero(~inner)
    return _ensemble(
        graph,
        vector,
        nodes,
        trees.value[leaf][:, None],
        n_targets=outputs,
        target_ids=(tree[leaf] % outputs).tolist(),
        base_values=trees.baseline,
    )


def _forest(graph: Graph, features: str, forest: Any, spec: ModelSpec) -> Answers:
    """Append a forest; its leaves are summed exactly, and the mean is taken after the sum.

    A leaf divided by the number of trees is not exact in float32: where two classes tie, rounding would choose. Leaves
    in 1/128 divided by a power of two are exact, and so is their sum.
    """
    trees = [tree.tree_ for tree in forest.estimators_]
    power = 2 ** math.ceil(math.log2(len(trees)))
    threshold = np.concatenate([tree.threshold for tree in trees])
    inner = np.concatenate([tree.children_left != -1 for tree in trees])
    threshold = _whole(threshold) if spec.feature_set.integer else _single(threshold)
    nodes = _Nodes(
        np.repeat(np.arange(len(trees)), [tree.node_count for tree in trees]),
        np.concatenate([np.arange(tree.node_count) for tree in trees]),
        np.where(inner, np.concatenate([tree.feature for tree in trees]), 0),
        np.where(inner, threshold, 0),
        np.where(inner, np.concatenate([tree.children_left for tree in trees]), 0),
        np.where(inner, np.concatenate([tree.children_right for tree in trees]), 0),
        inner,
    )
    two = len(spec.classes) == 2
    shares = np.concatenate([tree.value[:, 0, 1 if two else 0 :] for tree in trees])[~inner]
    vector = graph.add("Cast", features, to=TensorProto.FLOAT)
    total = _ensemble(graph, vector, nodes, (shares / power).astype(np.float32))
    mean = graph.add("Div", total, graph.constant(np.float32(len(trees) / power)))
    least = graph.constant(np.float32(LEAST_SHARE))
    if not two:
        return Answers(mean, graph.add("Log", graph.add("Max", mean, least)))
    other = graph.add("Sub", graph.constant(np.float32(1)), mean)
    logs = [graph.add("Log", graph.add("Max", share, least)) for share in (mean, other)]
    return Answers(graph.add("Concat", other, mean, axis=1), graph.add("Sub", *logs))
