"""Exact integer arithmetic as ONNX nodes: int64, bit for bit as `stinger.features.arithmetic`.

Signals have the shape ``[N, samples, columns]``, what comes of them ``[N, columns]``.
"""

from __future__ import annotations

from typing import Any, Protocol

from onnx import TensorProto


class Graph(Protocol):
    """What nodes are appended to; see `stinger_export.onnx_graph`."""

    def add(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Append a node and return the name of its output."""
        ...

    def constant(self, value: Any) -> str:
        """Append a constant and return its name; Python integers become int64."""
        ...


def total(graph: Graph, x: str) -> str:
    """Sum over the samples."""
    return graph.add("ReduceSum", x, graph.constant([1]), keepdims=0)


def floor_divide(graph: Graph, above: str, below: str) -> str:
    """Return ``above // below`` for ``below > 0``. ONNX divides towards zero, hence the correction downwards."""
    quotient = graph.add("Div", above, below)
    too_high = graph.add("Greater", graph.add("Mul", quotient, below), above)
    return graph.add("Sub", quotient, graph.add("Cast", too_high, to=TensorProto.INT64))


def mean(graph: Graph, x: str, n: int, unit: int) -> str:
    """Return ``(2*S + unit*n) // (2*unit*n)``."""
    above = graph.add("Add", graph.add("Mul", total(graph, x), graph.constant(2)), graph.constant(unit * n))
    return floor_divide(graph, above, graph.constant(2 * unit * n))


def spread(graph: Graph, x: str, square: str, n: int) -> str:
    """Return ``n*Q - S*S``."""
    s, squares = total(graph, x), total(graph, square)
    return graph.add("Sub", graph.add("Mul", squares, graph.constant(n)), graph.add("Mul", s, s))


def std(graph: Graph, x: str, square: str, n: int, unit: int) -> str:
    """Return ``(isqrt(4*(n*Q - S*S) // (unit*n)**2) + 1) // 2``; nothing in it is negative."""
    scaled = graph.add("Mul", spread(graph, x, square, n), graph.constant(4 // (unit * unit)))
    return halved(graph, isqrt(graph, graph.add("Div", scaled, graph.constant(n * n))))


def halved(graph: Graph, x: str) -> str:
    """Return ``(x + 1) // 2`` for ``x >= 0``."""
    return graph.add("Div", graph.add("Add", x, graph.constant(1)), graph.constant(2))


def isqrt(graph: Graph, x: str) -> str:
    """Integer square root: the double one, corrected by one in either direction."""
    root = graph.add("Cast", graph.add("Sqrt", graph.add("Cast", x, to=TensorProto.DOUBLE)), to=TensorProto.INT64)
    over = graph.add("Greater", graph.add("Mul", root, root), x)
    root = graph.add("Sub", root, graph.add("Cast", over, to=TensorProto.INT64))
    following = graph.add("Add", root, graph.constant(1))
    under = graph.add("LessOrEqual", graph.add("Mul", following, following), x)
    return graph.add("Add", root, graph.add("Cast", under, to=TensorProto.INT64))


def ratio(graph: Graph, p: str, q: str, otherwise: int) -> str:
    """Return ``min((2048*p + q) // (2*q), 32767)``, or ``otherwise`` where ``q == 0``; neither is negative."""
    above = graph.add("Add", graph.add("Mul", p, graph.constant(2048)), q)
    below = graph.add("Mul", graph.add("Max", q, graph.constant(1)), graph.constant(2))
    quotient = graph.add("Min", graph.add("Div", above, below), graph.constant(32767))
    return graph.add("Where", graph.add("Equal", q, graph.constant(0)), graph.constant(otherwise), quotient)


def part(graph: Graph, x: str, start: int, stop: int, axis: int) -> str:
    """Return ``x[start:stop]`` along an axis."""
    return graph.add("Slice", x, graph.constant([start]), graph.constant([stop]), graph.constant([axis]))


def changes(graph: Graph, x: str, n: int) -> str:
    """Count how often a signal of ``n`` truth values changes, in int64."""
    number = graph.add("Cast", x, to=TensorProto.INT64)
    step = graph.add("Sub", part(graph, number, 1, n, axis=1), part(graph, number, 0, n - 1, axis=1))
    return total(graph, graph.add("Abs", step))
