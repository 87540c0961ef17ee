"""The floating-point features as ONNX nodes: float64, bit for bit as `stinger.features.floating` adds them.

A comparison with a tree's threshold or with a mean turns the last bit of a sum into another answer, so sums are made
sample by sample, oldest first, as numpy makes them: `CumSum` adds in that order, `ReduceSum` in whichever is fastest.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from stinger.features.floating import FloatFeatures, FloatFlatten, FloatInvariant
from stinger_export.onnx_arithmetic import Graph, changes, part

_TINY = 1e-6  # divisors up to here count as zero


def float_blocks(graph: Graph, features: FloatFeatures) -> list[str]:
    """Compute the features from ``window``: float64, in parts of ``[N, any]``."""
    x = graph.add("Cast", "window", to=TensorProto.DOUBLE)
    n = features.window
    if isinstance(features, FloatFlatten):
        return [graph.add("Flatten", x, axis=1)]
    if isinstance(features, FloatInvariant):
        return _invariant(graph, x, features)
    size = graph.add("Abs", x)
    blocks = [_mean(graph, x, n), _std(graph, x, n), _extreme(graph, "ReduceMax", size)]
    if features.name == "float-rich":
        blocks.append(_mean(graph, size, n))
    for first in features.triads:
        m = _magnitude(graph, part(graph, x, first, first + 3, axis=2))
        blocks += [_mean(graph, m, n), _std(graph, m, n), _extreme(graph, "ReduceMax", m)]
    return blocks


def _double(graph: Graph, value: float) -> str:
    return graph.constant(np.float64(value))


def _sum(graph: Graph, x: str, n: int, *, keepdims: bool = False) -> str:
    """Sum of ``n`` samples ``[N, n, columns]``, added in their order."""
    running = graph.add("CumSum", x, graph.constant(1))
    last = part(graph, running, n - 1, n, axis=1)
    return last if keepdims else graph.add("Squeeze", last, graph.constant([1]))


def _mean(graph: Graph, x: str, n: int, *, keepdims: bool = False) -> str:
    return graph.add("Div", _sum(graph, x, n, keepdims=keepdims), _double(graph, n))


def _centred(graph: Graph, x: str, n: int) -> str:
    return graph.add("Sub", x, _mean(graph, x, n, keepdims=True))


def _std(graph: Graph, x: str, n: int) -> str:
    deviation = _centred(graph, x, n)
    return graph.add("Sqrt", _mean(graph, graph.add("Mul", deviation, deviation), n))


def _extreme(graph: Graph, kind: str, x: str) -> str:
    return graph.add(kind, x, graph.constant([1]), keepdims=0)


def _range(graph: Graph, x: str) -> str:
    return graph.add("Sub", _extreme(graph, "ReduceMax", x), _extreme(graph, "ReduceMin", x))


def _magnitude(graph: Graph, v: str) -> str:
    """Length of vectors ``[N, samples, 3]``: ``[N, samples, 1]``."""
    square = graph.add("Mul", v, v)
    x, y, z = (part(graph, square, axis, axis + 1, axis=2) for axis in range(3))
    return graph.add("Sqrt", graph.add("Add", graph.add("Add", x, y), z))


def _ratio(graph: Graph, above: str, below: str, otherwise: float) -> str:
    usable = graph.add("Greater", below, _double(graph, _TINY))
    quotient = graph.add("Div", above, graph.add("Where", usable, below, _double(graph, 1)))
    return graph.add("Where", usable, quotient, _double(graph, otherwise))


def _invariant(graph: Graph, x: str, features: FloatInvariant) -> list[str]:
    n = features.window
    a, g = (part(graph, x, first, first + 3, axis=2) for first in features.triads)
    j = graph.add("Sub", part(graph, a, 1, n, axis=1), part(graph, a, 0, n - 1, axis=1))
    jerk, m, w = _magnitude(graph, j), _magnitude(graph, a), _magnitude(graph, g)
    squares = graph.add("Mul", jerk, jerk)
    blocks = [
        _mean(graph, jerk, n - 1),
        _std(graph, jerk, n - 1),
        _extreme(graph, "ReduceMax", jerk),
        graph.add("Sqrt", _mean(graph, squares, n - 1)),
        _std(graph, m, n),
        _extreme(graph, "ReduceMax", graph.add("Abs", _centred(graph, m, n))),
        _range(graph, m),
        _mean(graph, w, n),
        _std(graph, w, n),
        _extreme(graph, "ReduceMax", w),
        _range(graph, w),
        *_parts(graph, jerk, squares, w, n),
    ]
    if features.name == "float-invariant-rich":
        blocks += [_std(graph, g, n), _std(graph, j, n - 1)]
    return blocks


def _parts(graph: Graph, jerk: str, squares: str, w: str, n: int) -> list[str]:
    """How the window's second part differs from its first."""
    half, middle, quarter = n // 2, n // 2 - 1, n // 4
    w1, w2 = part(graph, w, 0, half, axis=1), part(graph, w, half, n, axis=1)
    first, second = part(graph, jerk, 0, middle, axis=1), part(graph, jerk, middle, n - 1, axis=1)
    last = part(graph, squares, n - 1 - quarter, n - 1, axis=1)
    over = graph.add("GreaterOrEqual", jerk, _mean(graph, jerk, n - 1, keepdims=True))
    crossings = graph.add("Cast", changes(graph, over, n - 1), to=TensorProto.DOUBLE)
    return [
        graph.add("Sub", _mean(graph, w2, n - half), _mean(graph, w1, half)),
        _ratio(graph, _mean(graph, second, n - half), _mean(graph, first, middle), 1.0),
        _ratio(graph, _std(graph, w2, n - half), _std(graph, w1, half), 1.0),
        _ratio(graph, _sum(graph, last, quarter), _sum(graph, squares, n - 1), 0.25),
        graph.add("Div", crossings, _double(graph, n - 2)),
    ]
