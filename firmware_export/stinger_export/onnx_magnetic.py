"""``magnetic`` as ONNX nodes, bit for bit as `stinger.features.magnetic`."""

from __future__ import annotations

from onnx import TensorProto

from stinger.features.arithmetic import INT16_MAX
from stinger.features.magnetic import BITS, LEAST_PULL, LIMIT, UNIT, MagneticFeatures, lag, latest
from stinger_export.onnx_arithmetic import Graph, floor_divide, isqrt, mean, part, ratio, std, total


def magnetic_blocks(graph: Graph, x: str, features: MagneticFeatures) -> list[str]:
    """Compute the features of int64 samples ``[N, window, channels]``, in parts of ``[N, 1]``."""
    n, last = features.window, latest(features.window)
    m, a, g = (graph.add("Gather", x, graph.constant([t, t + 1, t + 2]), axis=2) for t in features.triads)
    strength, turning = isqrt(graph, _dot(graph, m, m)), isqrt(graph, _dot(graph, g, g))
    v = _vertical(graph, m, a, strength)
    mean_m, sum_v = mean(graph, strength, n, 2), total(graph, v)
    size = graph.add("Add", graph.add("Abs", sum_v), graph.constant(n))
    size_v = graph.add("Div", size, graph.constant(2 * n))
    level = graph.add("Sub", graph.add("Mul", mean_m, mean_m), graph.add("Mul", size_v, size_v))
    dip = graph.add("Mul", size_v, graph.constant(UNIT))
    dip = graph.add("Div", dip, graph.add("Max", mean_m, graph.constant(1)))
    late_m, late_v = (part(graph, one, n - last, n, axis=1) for one in (strength, v))
    return [
        mean_m,
        std(graph, strength, graph.add("Mul", strength, strength), n, 1),
        mean(graph, late_m, last, 2),
        mean(graph, v, n, 2),
        size_v,
        std(graph, v, graph.add("Mul", v, v), n, 1),
        mean(graph, late_v, last, 2),
        isqrt(graph, level),
        _signed(graph, dip, sum_v),
        mean(graph, turning, n, 2),
        *_turning(graph, m, g, n),
    ]


def _dot(graph: Graph, x: str, y: str) -> str:
    """Scalar products, ``[N, samples, 1]``."""
    return graph.add("ReduceSum", graph.add("Mul", x, y), graph.constant([2]), keepdims=1)


def _signed(graph: Graph, size: str, like: str) -> str:
    """Give a size the sign of another value. Not by ``Sign``, which onnxruntime gets wrong beyond 32 bits."""
    return graph.add("Where", graph.add("Less", like, graph.constant(0)), graph.add("Neg", size), size)


def _vertical(graph: Graph, m: str, a: str, strength: str) -> str:
    pull, d = isqrt(graph, _dot(graph, a, a)), _dot(graph, m, a)
    size = graph.add("Div", graph.add("Abs", d), graph.add("Max", pull, graph.constant(1)))
    size = graph.add("Min", size, graph.add("Min", strength, graph.constant(INT16_MAX)))
    pulls = graph.add("GreaterOrEqual", pull, graph.constant(LEAST_PULL))
    signed = _signed(graph, size, d)
    return graph.add("Mul", signed, graph.add("Cast", pulls, to=TensorProto.INT64))


def _limit(graph: Graph, x: str) -> str:
    return graph.add("Max", graph.add("Min", x, graph.constant(LIMIT)), graph.constant(-LIMIT))


def _turning(graph: Graph, m: str, g: str, n: int) -> list[str]:
    """Features 10 to 12."""
    k = lag(n)
    u = _limit(graph, graph.add("Sub", part(graph, m, k, n, axis=1), part(graph, m, 0, n - k, axis=1)))
    turned = graph.add("CumSum", g, graph.constant(1))
    turned = graph.add("Sub", part(graph, turned, k, n, axis=1), part(graph, turned, 0, n - k, axis=1))
    t = floor_divide(graph, turned, graph.constant(k))
    middle = part(graph, m, k // 2, n - k // 2, axis=1)
    (m_y, t_y), (m_z, t_z) = (
        tuple(graph.add("Gather", one, graph.constant(axes), axis=2) for one in (middle, t))
        for axes in ([1, 2, 0], [2, 0, 1])
    )
    cross = graph.add("Sub", graph.add("Mul", m_y, t_z), graph.add("Mul", m_z, t_y))
    p = _limit(graph, floor_divide(graph, cross, graph.constant(1 << BITS)))
    changes, turns, both = (total(graph, _dot(graph, *pair)) for pair in ((u, u), (p, p), (u, p)))
    size = graph.add("Abs", both)
    roots = graph.add("Mul", _root(graph, changes), _root(graph, turns))
    r = ratio(graph, graph.add("Mul", size, graph.constant(16)), roots, 0)
    r = graph.add("Min", r, graph.constant(UNIT))
    gain = ratio(graph, graph.add("Mul", size, graph.constant(4)), turns, 0)
    other = isqrt(graph, graph.add("Sub", graph.constant(UNIT * UNIT), graph.add("Mul", r, r)))
    change = isqrt(graph, graph.add("Div", changes, graph.constant(n - k)))
    rest = graph.add("Add", graph.add("Mul", change, other), graph.constant(UNIT // 2))
    residual = graph.add("Div", rest, graph.constant(UNIT))
    return [_signed(graph, r, both), _signed(graph, gain, both), residual]


def _root(graph: Graph, x: str) -> str:
    power = graph.constant(1)  # 2**s
    for s in range(4):
        over = graph.add("GreaterOrEqual", x, graph.constant(1 << (32 + 2 * s)))
        more = graph.add("Mul", graph.add("Cast", over, to=TensorProto.INT64), graph.constant(1 << s))
        power = graph.add("Add", power, more)
    return graph.add("Mul", isqrt(graph, graph.add("Div", x, graph.add("Mul", power, power))), power)
