"""A trained model as one ONNX graph: raw int16 windows in, label and probabilities out.

The integer features are computed inside the graph in int64, bit for bit as `stinger.features.integer` and the
device compute them, so whoever runs the graph needs to know nothing about features or scaling. The classifier is
skl2onnx's, in float32; the scaler is not, because a mean of thousands of counts and a deviation of a few lose
digits in float32, so it runs in float64 before the cast.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.capi import onnxruntime_pybind11_state as errors
from skl2onnx import to_onnx as convert
from skl2onnx.common.data_types import FloatTensorType

from stinger import __version__
from stinger.errors import InputError
from stinger.models.boosted import Trees
from stinger.models.spec import ModelSpec, TrainedModel
from stinger_export.forms import is_boosted, is_forest, portable
from stinger_export.onnx_features import integer_features

#: Operator sets of every exported graph: the newest that onnxruntime 1.14 (2023) already runs.
TARGET_OPSET = 18
TARGET_OPSET_ML = 3
IR_VERSION = 8


def to_onnx(model: TrainedModel) -> onnx.ModelProto:
    """Convert a trained model to ONNX.

    Returns:
        A checked model: input ``window`` int16 ``[N, window, channels]``; outputs ``label`` int64 ``[N]`` (the most
        probable class, ties to the lower index) and ``probabilities`` float32 ``[N, classes]``. Its
        ``metadata_props`` say what the model is. The same model gives the same serialised bytes.

    Raises:
        InputError: The family or its features cannot be exported, or the conversion does not pass ONNX's own checks.
    """
    spec, form = model.spec, portable(model)
    graph = _Graph(spec.name)
    features = integer_features(graph, spec.feature_set)
    if is_forest(spec):
        probabilities = _forest(graph, features, form, len(spec.classes))
    elif is_boosted(spec):
        probabilities = _boosted(graph, features, form.trees_)
    else:
        scaler, classifier = (step for _, step in form.steps)
        as_double = graph.add("Cast", features, to=TensorProto.DOUBLE)
        centred = graph.add("Sub", as_double, graph.constant(scaler.mean_))
        scaled = graph.add("Div", centred, graph.constant(scaler.scale_))
        vector = graph.add("Cast", scaled, to=TensorProto.FLOAT)
        probabilities = graph.merge(_converted(classifier, len(spec.feature_set)), vector)
    graph.add("Identity", probabilities, output="probabilities")
    graph.add("ArgMax", "probabilities", output="label", axis=1, keepdims=0)
    return graph.model(
        spec,
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(spec.classes)]),
        ],
    )


def to_onnx_features(model: TrainedModel) -> onnx.ModelProto:
    """Export only the model's features: ``window`` as in `to_onnx` to ``features`` int16 ``[N, features]``."""
    graph = _Graph(f"{model.spec.name}_features")
    vector = integer_features(graph, model.spec.feature_set)
    graph.add("Cast", vector, output="features", to=TensorProto.INT16)
    size = len(model.spec.feature_set)
    return graph.model(model.spec, [helper.make_tensor_value_info("features", TensorProto.INT16, ["N", size])])


def run_onnx(model: onnx.ModelProto, windows: NDArray[np.int16]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Run a graph of `to_onnx` in onnxruntime (parity level L1), on one CPU thread.

    Args:
        model: The graph.
        windows: int16, shape ``(n, window, channels)``.

    Returns:
        Labels int64 ``(n,)`` and probabilities float32 ``(n, classes)``.
    """
    label, probabilities = run_graph(model, windows)
    return label, probabilities


def run_graph(model: onnx.ModelProto, windows: NDArray[np.int16]) -> list[Any]:
    """Run any graph with the input ``window`` and return its outputs in order; one CPU thread.

    Raises:
        InputError: The windows are not what the graph takes, or onnxruntime refuses the graph.
    """
    size = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    if windows.dtype != np.int16 or list(windows.shape[1:]) != size:
        raise InputError(
            f"{model.graph.name} takes int16 windows of shape (n, {size[0]}, {size[1]}), "
            f"got {windows.dtype}{windows.shape}"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        outputs: list[Any] = session.run(None, {"window": windows})
    except (errors.Fail, errors.InvalidArgument, errors.InvalidGraph, errors.NotImplemented) as error:
        raise InputError(f"onnxruntime refuses {model.graph.name}: {str(error).splitlines()[0]}") from error
    return outputs


class _Graph:
    """Collects nodes and constants; every value gets a number, so that the result is the same every time."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def _fresh(self, kind: str) -> str:
        return f"{kind.lower()}_{len(self.nodes) + len(self.constants)}"

    def add(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Append a node and return the name of its output."""
        output = output or self._fresh(kind)
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=output, **attributes))
        return output

    def constant(self, value: Any) -> str:
        """Append a constant and return its name; Python integers become int64."""
        name = self._fresh("constant")
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def merge(self, other: onnx.ModelProto, vector: str) -> str:
        """Append a converted classifier that reads ``vector``; return the name of its probabilities."""
        names = {other.graph.input[0].name: vector}
        for part in (*other.graph.initializer, *(o for n in other.graph.node for o in _named(n.output))):
            name = part if isinstance(part, str) else part.name
            names[name] = f"classifier_{name}"
        for tensor in other.graph.initializer:
            self.constants.append(onnx.TensorProto.FromString(tensor.SerializeToString()))
            self.constants[-1].name = names[tensor.name]
        for number, node in enumerate(other.graph.node):
            copy = onnx.NodeProto.FromString(node.SerializeToString())
            copy.name = f"classifier_{number}_{node.op_type}"
            copy.input[:] = [names.get(i, i) for i in node.input]
            copy.output[:] = [names.get(o, o) for o in node.output]
            self.nodes.append(copy)
        return names["probabilities"]

    def model(self, spec: ModelSpec, outputs: list[onnx.ValueInfoProto]) -> onnx.ModelProto:
        """Assemble and check the model, without the parts that lead to no output."""
        nodes = _needed(self.nodes, [o.name for o in outputs])
        used = {name for node in nodes for name in node.input}
        window = helper.make_tensor_value_info("window", TensorProto.INT16, ["N", spec.window, len(spec.channels)])
        graph = helper.make_graph(nodes, self.name, [window], outputs, [c for c in self.constants if c.name in used])
        opsets = [helper.make_opsetid("", TARGET_OPSET), helper.make_opsetid("ai.onnx.ml", TARGET_OPSET_ML)]
        model = helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=IR_VERSION,
            producer_name="stinger",
            producer_version=__version__,
        )
        helper.set_model_props(model, _metadata(spec))
        try:
            onnx.checker.check_model(model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise InputError(f"{spec.name} has no valid ONNX form: {str(error).splitlines()[0]}") from error
        return model


def _named(names: Iterable[str]) -> list[str]:
    """Names of outputs; an unused optional one is empty."""
    return [name for name in names if name]


def _needed(nodes: list[onnx.NodeProto], outputs: list[str]) -> list[onnx.NodeProto]:
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append(node)
    return kept[::-1]


def _metadata(spec: ModelSpec) -> dict[str, str]:
    channels = [{"name": c.name, "unit": c.unit, "scale": c.scale} for c in spec.channels]
    return {
        "name": spec.name,
        "family": spec.family,
        "feature_set": spec.features,
        "window": str(spec.window),
        "period_us": str(spec.period_us),
        "lead_us": str(spec.lead_us),
        "channels": json.dumps(channels, ensure_ascii=False),
        "classes": json.dumps(list(spec.classes), ensure_ascii=False),
        "data_hash": spec.data_hash,
        "stinger_version": __version__,
    }


def _boosted(graph: _Graph, features: str, trees: Trees) -> str:
    """Add boosted trees' leaves up in float32, and return the name of the probabilities."""
    inner, outputs = trees.left >= 0, len(trees.baseline)
    tree = np.searchsorted(trees.root, np.arange(len(inner)), side="right") - 1
    number = np.arange(len(inner)) - trees.root[tree]
    leaf = np.flatnonzero(~inner)

    def child(of: NDArray[np.int32]) -> Any:
        return np.where(inner, of - trees.root[tree], 0).tolist()

    vector = graph.add("Cast", features, to=TensorProto.FLOAT)
    sums = graph.add(
        "TreeEnsembleRegressor",
        vector,
        domain="ai.onnx.ml",
        n_targets=outputs,
        aggregate_function="SUM",
        post_transform="NONE",
        base_values=trees.baseline.tolist(),
        nodes_treeids=tree.tolist(),
        nodes_nodeids=number.tolist(),
        nodes_featureids=trees.feature.tolist(),
        nodes_modes=np.where(inner, "BRANCH_LEQ", "LEAF").tolist(),
        # For integers the same, and float32 cannot round them up past one.
        nodes_values=np.clip(np.floor(trees.threshold), -32768, 32767).tolist(),
        nodes_truenodeids=child(trees.left),
        nodes_falsenodeids=child(trees.right),
        target_treeids=tree[leaf].tolist(),
        target_nodeids=number[leaf].tolist(),
        target_ids=(tree[leaf] % outputs).tolist(),
        target_weights=trees.value[leaf].tolist(),
    )
    if outputs > 1:
        return graph.add("Softmax", sums, axis=1)
    likely = graph.add("Sigmoid", sums)
    return graph.add("Concat", graph.add("Sub", graph.constant(np.float32(1)), likely), likely, axis=1)


def _converted(estimator: Any, features: int) -> onnx.ModelProto:
    return convert(
        estimator,
        name="classifier",
        initial_types=[("vector", FloatTensorType([None, features]))],
        options={id(estimator): {"zipmap": False}},
        target_opset={"": TARGET_OPSET, "ai.onnx.ml": TARGET_OPSET_ML},
    )


def _forest(graph: _Graph, features: str, forest: Any, classes: int) -> str:
    """Append the forest; its leaves are summed exactly, and the mean is taken after the sum.

    skl2onnx divides each leaf by the number of trees, and fiftieths are not exact in float32: where two classes
    tie, rounding would choose. Leaves in 1/128 divided by a power of two are exact, and so is their sum.
    """
    converted = _converted(forest, forest.n_features_in_)
    trees = len(forest.estimators_)
    power = 2 ** math.ceil(math.log2(trees))
    [ensemble] = (n for n in converted.graph.node if n.op_type == "TreeEnsembleClassifier")
    [weights] = (a for a in ensemble.attribute if a.name == "class_weights")
    # skl2onnx stores only class 1 of two, and the leaves in the order of their trees and nodes.
    leaves = [
        share / power
        for tree in forest.estimators_
        for leaf in np.flatnonzero(tree.tree_.children_left == -1)
        for share in tree.tree_.value[leaf, 0, 1 if classes == 2 else 0 :]
    ]
    if not np.allclose(np.multiply(leaves, power / trees), weights.floats, rtol=0, atol=1e-6):
        raise InputError("skl2onnx converted the forest in an unknown way; install the version in constraints.txt")
    weights.floats[:] = leaves
    vector = graph.add("Cast", features, to=TensorProto.FLOAT)
    total = graph.merge(converted, vector)
    share = graph.constant(np.float32(trees / power))
    if classes > 2:
        return graph.add("Div", total, share)
    column = graph.add("Gather", total, graph.constant([1]), axis=1)
    second = graph.add("Div", column, share)
    return graph.add("Concat", graph.add("Sub", graph.constant(np.float32(1)), second), second, axis=1)
