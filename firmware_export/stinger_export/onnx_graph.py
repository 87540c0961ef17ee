"""A trained model as one ONNX graph: raw int16 windows in; label, probabilities and logits out.

The features are computed inside the graph, integer ones in int64, bit for bit as `stinger.features` and the device
compute them, so whoever runs the graph needs to know nothing about features or scaling. `stinger_export.onnx_features`
and `stinger_export.onnx_models` say how.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from stinger import __version__
from stinger.errors import InputError, ToolchainError
from stinger.models.spec import ModelSpec, TrainedModel
from stinger_export.forms import onnx_form
from stinger_export.onnx_features import graph_features
from stinger_export.onnx_models import classify

#: Operator sets of every exported graph: the newest that onnxruntime 1.14 (2023) already runs.
TARGET_OPSET = 18
TARGET_OPSET_ML = 3
IR_VERSION = 8
_OPSETS = {"": TARGET_OPSET, "ai.onnx.ml": TARGET_OPSET_ML}

_OUTPUTS = (
    "label, the most probable class (ties to the lower index); probabilities, one for each class; logits, what "
    "probabilities come from (of two classes one, whose logistic function is the probability of the second; of more, "
    "one each, whose softmax they are; forests have none, so theirs are logarithms)"
)


def to_onnx(model: TrainedModel) -> onnx.ModelProto:
    """Convert a trained model to ONNX.

    Returns:
        A checked model: input ``window`` int16 ``[N, window, channels]``; outputs ``label`` int64 ``[N]`` (the most
        probable class, ties to the lower index), ``probabilities`` float32 ``[N, classes]`` and ``logits`` float32
        ``[N, 1]`` for two classes, else ``[N, classes]`` (see `stinger_export.onnx_models`). Its ``metadata_props``
        say what the model is, its ``doc_string`` what it takes and gives. The same model gives the same serialised
        bytes.

    Raises:
        InputError: The family or its features have no ONNX form, or the graph does not pass ONNX's own checks.
    """
    form = onnx_form(model)
    spec = model.spec
    graph = _Graph(spec.name, _window(spec), f"{_described(spec)}. Takes int16 windows in counts; gives {_OUTPUTS}.")
    return _classifier(graph, graph_features(graph, spec.feature_set), spec, form)


def to_onnx_features(model: TrainedModel) -> onnx.ModelProto:
    """Export only the model's features: ``window`` as in `to_onnx` to ``features`` ``[N, features]``.

    They are int16, or float64 for floating-point sets.
    """
    spec = model.spec
    graph = _Graph(
        f"{spec.name}_features",
        _window(spec),
        f"The {spec.features} features of the model {spec.name}. Takes int16 windows in counts; gives features.",
    )
    vector, kind = graph_features(graph, spec.feature_set), _feature_type(spec)
    graph.add("Cast", vector, output="features", to=kind)
    return graph.model(spec, [helper.make_tensor_value_info("features", kind, ["N", len(spec.feature_set)])])


def to_onnx_classifier(model: TrainedModel) -> onnx.ModelProto:
    """Export only what follows the features: ``features`` as `to_onnx_features` gives them to the outputs of `to_onnx`.

    Raises:
        InputError: As `to_onnx`.
    """
    form = onnx_form(model)
    spec, kind = model.spec, _feature_type(model.spec)
    taken = helper.make_tensor_value_info("features", kind, ["N", len(spec.feature_set)])
    graph = _Graph(
        f"{spec.name}_classifier", taken, f"{_described(spec)}. Takes {spec.features} features; gives {_OUTPUTS}."
    )
    wide = TensorProto.INT64 if spec.feature_set.integer else TensorProto.DOUBLE
    return _classifier(graph, graph.add("Cast", "features", to=wide), spec, form)


def same_graph(data: bytes, made: onnx.ModelProto) -> bool:
    """Say whether a file holds the graph ``made``, whatever version of stinger and protobuf wrote it."""
    try:
        read = onnx.load_model_from_string(data)
    except Exception:
        return False
    read.producer_version = made.producer_version
    for entry in read.metadata_props:
        if entry.key == "stinger_version":
            entry.value = __version__
    return bool(read == made)


def run_onnx(model: onnx.ModelProto, windows: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Run a graph of `to_onnx` or `to_onnx_classifier` in onnxruntime (parity level L1), on one CPU thread.

    Args:
        model: The graph.
        windows: What it takes: int16 windows, shape ``(n, window, channels)``, or features, shape ``(n, features)``.

    Returns:
        Labels int64 ``(n,)`` and probabilities float32 ``(n, classes)``.
    """
    label, probabilities = run_graph(model, windows)[:2]
    return label, probabilities


def run_graph(model: onnx.ModelProto, values: NDArray[Any]) -> list[Any]:
    """Run any graph of this module, on its one input, and return its outputs in order; one CPU thread.

    Raises:
        InputError: The values are not what the graph takes, or onnxruntime refuses the graph.
        ToolchainError: onnxruntime is not installed.
    """
    onnxruntime = require_onnxruntime()
    errors = onnxruntime.capi.onnxruntime_pybind11_state
    taken = model.graph.input[0]
    size = [d.dim_value for d in taken.type.tensor_type.shape.dim[1:]]
    dtype = helper.tensor_dtype_to_np_dtype(taken.type.tensor_type.elem_type)
    if values.dtype != dtype or list(values.shape[1:]) != size:
        what = "windows" if taken.name == "window" else taken.name
        raise InputError(
            f"{model.graph.name} takes {dtype} {what} of shape ({', '.join(['n', *map(str, size)])}), "
            f"got {values.dtype}{values.shape}"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        outputs: list[Any] = session.run(None, {taken.name: values})
    except (errors.Fail, errors.InvalidArgument, errors.InvalidGraph, errors.NotImplemented) as error:
        raise InputError(f"onnxruntime refuses {model.graph.name}: {str(error).splitlines()[0]}") from error
    return outputs


def require_onnxruntime() -> Any:
    """Import onnxruntime, which has no wheel for some machines that can do all else.

    Raises:
        ToolchainError: It is not installed.
    """
    try:
        import onnxruntime  # noqa: PLC0415 - see above
        import onnxruntime.capi.onnxruntime_pybind11_state  # noqa: PLC0415
    except ImportError as error:
        raise ToolchainError("onnxruntime is missing; run: pip install onnxruntime") from error
    return onnxruntime


class _Graph:
    """Collects nodes and constants; every value gets a number, so that the result is the same every time."""

    def __init__(self, name: str, taken: onnx.ValueInfoProto, description: str) -> None:
        self.name = name
        self.taken = taken
        self.description = description
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

    def model(self, spec: ModelSpec, outputs: list[onnx.ValueInfoProto]) -> onnx.ModelProto:
        """Assemble and check the model, without the parts that lead to no output."""
        nodes = _needed(self.nodes, [o.name for o in outputs])
        used = {name for node in nodes for name in node.input}
        constants = [c for c in self.constants if c.name in used]
        graph = helper.make_graph(nodes, self.name, [self.taken], outputs, constants, doc_string=self.description)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(domain, version) for domain, version in _OPSETS.items()],
            ir_version=IR_VERSION,
            producer_name="stinger",
            producer_version=__version__,
            doc_string=self.description,
        )
        helper.set_model_props(model, _metadata(spec))
        try:
            onnx.checker.check_model(model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise InputError(f"{spec.name} has no valid ONNX form: {str(error).splitlines()[0]}") from error
        return model


def _classifier(graph: _Graph, features: str, spec: ModelSpec, form: Any) -> onnx.ModelProto:
    answers, classes = classify(graph, features, spec, form), len(spec.classes)
    graph.add("ArgMax", answers.probabilities, output="label", axis=1, keepdims=0)
    graph.add("Cast", answers.probabilities, output="probabilities", to=TensorProto.FLOAT)
    graph.add("Cast", answers.logits, output="logits", to=TensorProto.FLOAT)
    columns = {"probabilities": classes, "logits": 1 if classes == 2 else classes}
    return graph.model(
        spec,
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
            *(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", n]) for name, n in columns.items()),
        ],
    )


def _window(spec: ModelSpec) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info("window", TensorProto.INT16, ["N", spec.window, len(spec.channels)])


def _feature_type(spec: ModelSpec) -> int:
    return int(TensorProto.INT16 if spec.feature_set.integer else TensorProto.DOUBLE)


def _described(spec: ModelSpec) -> str:
    return (
        f"The model {spec.name}: {spec.family} on {spec.features} features of {spec.window} samples of "
        f"{', '.join(c.name for c in spec.channels)}, one every {spec.period_us} us, classes {', '.join(spec.classes)}"
    )


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
        "policy": json.dumps(spec.policy.to_json(), sort_keys=True) if spec.policy is not None else "",
        "threshold": repr(float(spec.threshold)),
        "opset": json.dumps({domain or "ai.onnx": version for domain, version in _OPSETS.items()}),
        "stinger_version": __version__,
    }
