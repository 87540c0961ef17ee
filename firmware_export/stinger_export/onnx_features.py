"""The integer features as ONNX nodes: int64 throughout, bit for bit as `stinger.features` and the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from onnx import TensorProto

from stinger.features.base import FeatureSet
from stinger.features.coupled import BITS, LEAST, PAIRS, CoupledFeatures, points
from stinger.features.sets import require_on_device

_LARGEST_SHIFT = 13  # of a centred signal


class Graph(Protocol):
    """What nodes are appended to; see `stinger_export.onnx_graph`."""

    def add(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Append a node and return the name of its output."""
        ...

    def constant(self, value: Any) -> str:
        """Append a constant and return its name; Python integers become int64."""
        ...


def integer_features(graph: Graph, features: FeatureSet) -> str:
    """Compute a feature set from ``window``; int64 ``[N, features]``, limited to 32,767."""
    require_on_device(features.name)
    x = graph.add("Cast", "window", to=TensorProto.INT64)
    square = graph.add("Mul", x, x)
    size = graph.add("Abs", x)
    blocks = [
        _mean(graph, x, features.window, 1),
        _std(graph, x, square, features.window, 1),
        graph.add("ReduceMax", size, graph.constant([1]), keepdims=0),
    ]
    if features.name != "summary":
        blocks.append(_mean(graph, size, features.window, 1))
    for first in features.triads:
        axes = graph.constant([first, first + 1, first + 2])
        total = graph.add("ReduceSum", graph.add("Gather", square, axes, axis=2), graph.constant([2]), keepdims=1)
        m = _isqrt(graph, total)
        largest = graph.add("ReduceMax", m, graph.constant([1]), keepdims=0)
        # The squares of the truncated magnitude, not the sum of squares it came from.
        spread = _std(graph, m, graph.add("Mul", m, m), features.window, 2)
        blocks += [_mean(graph, m, features.window, 2), spread, _halved(graph, largest)]
    if isinstance(features, CoupledFeatures):
        blocks += _coupled(graph, x, features)
    joined = graph.add("Concat", *blocks, axis=1)
    return graph.add("Min", joined, graph.constant(32767))


def _mean(graph: Graph, x: str, n: int, unit: int) -> str:
    """Return ``(2*S + unit*n) // (2*unit*n)``. ONNX divides towards zero, hence the correction downwards."""
    total = graph.add("ReduceSum", x, graph.constant([1]), keepdims=0)
    above = graph.add("Add", graph.add("Mul", total, graph.constant(2)), graph.constant(unit * n))
    below = graph.constant(2 * unit * n)
    quotient = graph.add("Div", above, below)
    too_high = graph.add("Greater", graph.add("Mul", quotient, below), above)
    return graph.add("Sub", quotient, graph.add("Cast", too_high, to=TensorProto.INT64))


def _std(graph: Graph, x: str, square: str, n: int, unit: int) -> str:
    """Return ``(isqrt(4*(n*Q - S*S) // (unit*n)**2) + 1) // 2``; nothing in it is negative."""
    total = graph.add("ReduceSum", x, graph.constant([1]), keepdims=0)
    squares = graph.add("ReduceSum", square, graph.constant([1]), keepdims=0)
    spread = graph.add("Sub", graph.add("Mul", squares, graph.constant(n)), graph.add("Mul", total, total))
    scaled = graph.add("Mul", spread, graph.constant(4 // (unit * unit)))
    return _halved(graph, _isqrt(graph, graph.add("Div", scaled, graph.constant(n * n))))


def _halved(graph: Graph, x: str) -> str:
    """Return ``(x + 1) // 2`` for ``x >= 0``."""
    return graph.add("Div", graph.add("Add", x, graph.constant(1)), graph.constant(2))


def _isqrt(graph: Graph, x: str) -> str:
    """Integer square root: the double one, corrected by one in either direction."""
    root = graph.add("Cast", graph.add("Sqrt", graph.add("Cast", x, to=TensorProto.DOUBLE)), to=TensorProto.INT64)
    over = graph.add("Greater", graph.add("Mul", root, root), x)
    root = graph.add("Sub", root, graph.add("Cast", over, to=TensorProto.INT64))
    following = graph.add("Add", root, graph.constant(1))
    under = graph.add("LessOrEqual", graph.add("Mul", following, following), x)
    return graph.add("Add", root, graph.add("Cast", under, to=TensorProto.INT64))


def _coupled(graph: Graph, x: str, features: CoupledFeatures) -> list[str]:
    """Append what ``coupled`` has beyond ``rich``: int64 ``[N, 36]``, in parts."""
    chosen = [first + i for first in features.triads for i in range(3)]
    x = graph.add("Gather", x, graph.constant(chosen), axis=2)
    later = _slice(graph, x, 1, features.window, axis=1)
    size = graph.add("Abs", graph.add("Sub", later, _slice(graph, x, 0, features.window - 1, axis=1)))
    total = graph.add("ReduceSum", size, graph.constant([1]), keepdims=0)
    steps = graph.add("Div", graph.add("Mul", total, graph.constant(4)), graph.constant(features.window))

    at = points(features.window)
    taken = graph.add("Gather", x, graph.constant(at), axis=1)
    gyro = _slice(graph, taken, 3, 6, axis=2)
    # A running sum as a product with a triangle of ones, exact in double: no sum has more than 20 bits.
    triangle = graph.constant(np.tril(np.ones((len(at), len(at)))))
    summed = graph.add("MatMul", triangle, graph.add("Cast", gyro, to=TensorProto.DOUBLE))
    angle = graph.add("Cast", summed, to=TensorProto.INT64)
    square = graph.add("ReduceSum", graph.add("Mul", gyro, gyro), graph.constant([2]), keepdims=1)
    signals = graph.add("Concat", taken, angle, _isqrt(graph, square), axis=2)
    v, power, r = _centred(graph, signals, len(at))
    sizes = graph.add("Div", graph.add("Mul", r, power), graph.constant(1 << 9))
    shape = graph.constant([-1, 3])
    angles = graph.add("Reshape", _slice(graph, sizes, 6, 9, axis=2), shape)
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
    v = graph.add("Div", e, power)
    too_high = graph.add("Greater", graph.add("Mul", v, power), e)
    v = graph.add("Sub", v, graph.add("Cast", too_high, to=TensorProto.INT64))
    squares = graph.add("ReduceSum", graph.add("Mul", v, v), graph.constant([1]), keepdims=1)
    return v, power, _isqrt(graph, squares)


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


def _slice(graph: Graph, x: str, start: int, stop: int, axis: int) -> str:
    return graph.add("Slice", x, graph.constant([start]), graph.constant([stop]), graph.constant([axis]))
