"""``invariant`` and ``invariant_rich`` as ONNX nodes, bit for bit as `stinger.features.invariant`."""

from __future__ import annotations

from stinger.features.arithmetic import INT16_MAX, INT16_MIN, ONE
from stinger.features.invariant import InvariantFeatures
from stinger_export.onnx_arithmetic import (
    Graph,
    changes,
    floor_divide,
    halved,
    isqrt,
    mean,
    part,
    ratio,
    spread,
    std,
    total,
)

_SQUARE_MAX = 2**30 - 1


def invariant_blocks(graph: Graph, x: str, features: InvariantFeatures) -> list[str]:
    """Compute the features of int64 samples ``[N, window, channels]``, in parts of ``[N, any]``."""
    n = features.window
    a, g = (graph.add("Gather", x, graph.constant([t, t + 1, t + 2]), axis=2) for t in features.triads)
    j = graph.add("Sub", part(graph, a, 1, n, axis=1), part(graph, a, 0, n - 1, axis=1))
    j = graph.add("Max", graph.add("Min", j, graph.constant(INT16_MAX)), graph.constant(INT16_MIN))
    e = graph.add("Min", _square(graph, j), graph.constant(_SQUARE_MAX))
    m, w = isqrt(graph, _square(graph, a)), isqrt(graph, _square(graph, g))
    h = isqrt(graph, graph.add("Mul", e, graph.constant(4)))
    blocks = [*_jerk(graph, e, h, n - 1), *_magnitudes(graph, m, w, n), *_changes(graph, e, h, w, n)]
    if features.name == "invariant_rich":
        blocks += [_std(graph, g, n, 1), _std(graph, j, n - 1, 1)]
    return blocks


def _square(graph: Graph, v: str) -> str:
    """Squared length, ``[N, samples, 1]``."""
    return graph.add("ReduceSum", graph.add("Mul", v, v), graph.constant([2]), keepdims=1)


def _std(graph: Graph, x: str, n: int, unit: int) -> str:
    return std(graph, x, graph.add("Mul", x, x), n, unit)


def _extremes(graph: Graph, x: str) -> tuple[str, str]:
    axis = graph.constant([1])
    return graph.add("ReduceMax", x, axis, keepdims=0), graph.add("ReduceMin", x, axis, keepdims=0)


def _jerk(graph: Graph, e: str, h: str, n: int) -> list[str]:
    """Features 0 to 3."""
    highest, _ = _extremes(graph, h)
    four = graph.add("Mul", total(graph, e), graph.constant(4))
    rms = halved(graph, isqrt(graph, graph.add("Div", four, graph.constant(n))))
    return [mean(graph, h, n, 2), _std(graph, h, n, 2), halved(graph, highest), rms]


def _magnitudes(graph: Graph, m: str, w: str, n: int) -> list[str]:
    """Features 4 to 10."""
    (high, low), (high_w, low_w) = _extremes(graph, m), _extremes(graph, w)
    s = total(graph, m)
    up = graph.add("Sub", graph.add("Mul", high, graph.constant(n)), s)
    down = graph.add("Sub", s, graph.add("Mul", low, graph.constant(n)))
    farthest = graph.add("Add", graph.add("Max", up, down), graph.constant(n))
    return [
        _std(graph, m, n, 1),
        graph.add("Div", farthest, graph.constant(2 * n)),
        halved(graph, graph.add("Sub", high, low)),
        mean(graph, w, n, 2),
        _std(graph, w, n, 1),
        halved(graph, high_w),
        halved(graph, graph.add("Sub", high_w, low_w)),
    ]


def _changes(graph: Graph, e: str, h: str, w: str, n: int) -> list[str]:
    """Features 11 to 15."""
    half, middle = n // 2, n // 2 - 1
    w1, w2 = part(graph, w, 0, half, axis=1), part(graph, w, half, n, axis=1)
    h1, h2 = part(graph, h, 0, middle, axis=1), part(graph, h, middle, n - 1, axis=1)
    both = half * (n - half)
    above = graph.add(
        "Sub",
        graph.add("Mul", total(graph, w2), graph.constant(half)),
        graph.add("Mul", total(graph, w1), graph.constant(n - half)),
    )
    rise = floor_divide(graph, graph.add("Add", above, graph.constant(both)), graph.constant(2 * both))
    steps = ratio(
        graph,
        graph.add("Mul", total(graph, h2), graph.constant(middle)),
        graph.add("Mul", total(graph, h1), graph.constant(n - half)),
        ONE,
    )
    deviations = ratio(graph, _std_64(graph, w2, n - half), _std_64(graph, w1, half), ONE)
    last = part(graph, e, n - 1 - n // 4, n - 1, axis=1)
    share = ratio(graph, total(graph, last), total(graph, e), ONE // 4)
    sum_h = graph.add("ReduceSum", h, graph.constant([1]), keepdims=1)
    over = graph.add("GreaterOrEqual", graph.add("Mul", h, graph.constant(n - 1)), sum_h)
    crossings = ratio(graph, changes(graph, over, n - 1), graph.constant([[n - 2]]), 0)
    return [rise, steps, deviations, share, crossings]


def _std_64(graph: Graph, x: str, n: int) -> str:
    """Population standard deviation in units of 1/64 count, rounded down."""
    wide = graph.add("Mul", spread(graph, x, graph.add("Mul", x, x), n), graph.constant(4096))
    return isqrt(graph, graph.add("Div", wide, graph.constant(n * n)))
