"""Every feature set as ONNX nodes: integer ones in int64, the others in float64, bit for bit as `stinger.features`."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import TensorProto

from stinger.errors import InputError
from stinger.features.base import FeatureSet
from stinger.features.coupled import BITS, LEAST, PAIRS, CoupledFeatures, points
from stinger.features.flatten import FlattenFeatures
from stinger.features.floating import FloatFeatures
from stinger.features.integer import SummaryFeatures
from stinger.features.invariant import InvariantFeatures
from stinger.features.magnetic import MagneticFeatures
from stinger_export.onnx_arithmetic import Graph, floor_divide, halved, isqrt, mean, part, std
from stinger_export.onnx_floating import float_blocks
from stinger_export.onnx_invariant import invariant_blocks
from stinger_export.onnx_magnetic import magnetic_blocks

_LARGEST_SHIFT = 13  # of a centred signal


def graph_features(graph: Graph, features: FeatureSet) -> str:
    """Compute a feature set from ``window``: int64 or, if it is not an integer set, float64 ``[N, features]``.

    Raises:
        InputError: There is no graph of this feature set.
    """
    if isinstance(features, FloatFeatures):
        return _joined(graph, float_blocks(graph, features))
    x = graph.add("Cast", "window", to=TensorProto.INT64)
    if isinstance(features, FlattenFeatures):
        return graph.add("Flatten", x, axis=1)
    if isinstance(features, InvariantFeatures):
        blocks = invariant_blocks(graph, x, features)
    elif isinstance(features, MagneticFeatures):
        blocks = magnetic_blocks(graph, x, features)
    elif isinstance(features, CoupledFeatures):
        blocks = [*_summary(graph, x, features, rich=True), *_coupled(graph, x, features)]
    elif isinstance(features, SummaryFeatures):
        blocks = _summary(graph, x, features, rich=features.name == "rich")
    else:
        raise InputError(f"{features.name} features have no ONNX form; train with --features rich to export")
    return graph.add("Min", _joined(graph, blocks), graph.constant(32767))


def _joined(graph: Graph, blocks: Sequence[str]) -> str:
    return blocks[0] if len(blocks) == 1 else graph.add("Concat", *blocks, axis=1)


def _summary(graph: Graph, x: str, features: FeatureSet, *, rich: bool) -> list[str]:
    square = graph.add("Mul", x, x)
    size = graph.add("Abs", x)
    blocks = [
        mean(graph, x, features.window, 1),
        std(graph, x, square, features.window, 1),
        graph.add("ReduceMax", size, graph.constant([1]), keepdims=0),
    ]
    if rich:
        blocks.append(mean(graph, size, features.window, 1))
    for first in features.triads:
        axes = graph.constant([first, first + 1, first + 2])
        total = graph.add("ReduceSum", graph.add("Gather", square, axes, axis=2), graph.constant([2]), keepdims=1)
        m = isqrt(graph, total)
        largest = graph.add("ReduceMax", m, graph.constant([1]), keepdims=0)
        # The squares of the truncated magnitude, not the sum of squares it came from.
        spread = std(graph, m, graph.add("Mul", m, m), features.window, 2)
        blocks += [mean(graph, m, features.window, 2), spread, halved(graph, largest)]
    return blocks


def _coupled(graph: Graph, x: str, features: CoupledFeatures) -> list[str]:
    """Append what ``coupled`` has beyond ``rich``: int64 ``[N, 36]``, in parts."""
    chosen = [first + i for first in features.triads for i in range(3)]
    x = graph.add("Gather", x, graph.constant(chosen), axis=2)
    later = part(graph, x, 1, features.window, axis=1)
    size = graph.add("Abs", graph.add("Sub", later, part(graph, x, 0, features.window - 1, axis=1)))
    total = graph.add("ReduceSum", size, graph.constant([1]), keepdims=0)
    steps = graph.add("Div", graph.add("Mul", total, graph.constant(4)), graph.constant(features.window))

    at = points(features.window)
    taken = graph.add("Gather", x, graph.constant(at), axis=1)
    gyro = part(graph, taken, 3, 6, axis=2)
    angle = graph.add("CumSum", gyro, graph.constant(1))
    square = graph.add("ReduceSum", graph.add("Mul", gyro, gyro), graph.constant([2]), keepdims=1)
    signals = graph.add("Concat", taken, angle, isqrt(graph, square), axis=2)
    v, power, r = _centred(graph, signals, len(at))
    sizes = graph.add("Div", graph.add("Mul", r, power), graph.constant(1 << 9))
    shape = graph.constant([-1, 3])
    angles = graph.add("Reshape", part(graph, sizes, 6, 9, axis=2), shape)
    return [steps, angles, *(_correlations(graph, v, r, outer, inner) for outer, inner in PAIRS)]


def _centred(graph: Graph, signals: str, count: int) -> tuple[str, str, str]:
    """Return ``v`` ``[N, count, 10]``, ``2**k`` and ``r``, both ``[N, 1, 10]``."""
    total = graph.add("ReduceSum", signals, graph.constant([1]), keepdims=1)
    e = graph.add("Sub", graph.add("Mul", signals, graph.constant(count)), total)
    largest = graph.add("ReduceMax", graph.add("Abs", e), graph.constant([1]), keepdims=1)
    power = graph.constant(1)
    for k in range(_LARGEST_SHIFT):
        # 2**(k+1) is 2**k more than 2**k.
        reached = graph.add("GreaterOrEqual", largest, graph.constant(1 << (BITS + k)))
        more = graph.add("Mul", graph.add("Cast", reached, to=TensorProto.INT64), graph.constant(1 << k))
        power = graph.add("Add", power, more)
    v = floor_divide(graph, e, power)
    squares = graph.add("ReduceSum", graph.add("Mul", v, v), graph.constant([1]), keepdims=1)
    return v, power, isqrt(graph, squares)


def _correlations(graph: Graph, v: str, r: str, outer: Sequence[int], inner: Sequence[int]) -> str:
    """Return the correlations of some signals with others, ``[N, pairs]``."""
    first = [i for i in outer for _ in inner]
    second = [j for _ in outer for j in inner]
    moving = graph.add("Cast", graph.add("GreaterOrEqual", r, graph.constant(LEAST)), to=TensorProto.INT64)
    largest = graph.add("Max", r, graph.constant(1))
    q = graph.add("Mul", graph.add("Div", graph.constant(2**26), largest), moving)
    columns = [
        graph.add("Gather", value, graph.constant(index), axis=2) for value in (v, q) for index in (first, second)
    ]
    product = graph.add("Mul", columns[0], columns[1])
    c = graph.add("ReduceSum", product, graph.constant([1]), keepdims=1)
    size = graph.add("Div", graph.add("Abs", c), graph.constant(1 << 12))
    size = graph.add("Div", graph.add("Mul", size, columns[2]), graph.constant(1 << 14))
    size = graph.add("Div", graph.add("Mul", size, columns[3]), graph.constant(1 << 16))
    signed = graph.add("Mul", size, graph.add("Sign", c))
    return graph.add("Reshape", signed, graph.constant([-1, len(first)]))
