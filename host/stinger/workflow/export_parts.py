"""What takes how much of a model's flash, RAM and cycles: layer by layer, or tree by tree.

Bytes of constants are exact; code is what the linker says less these. Cycles are measured as a whole and shared out by
the table of `benchmark_cost`, where it knows the feature set.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stinger.workflow.benchmark_cost import ESTIMATED, cycle_counts, cycles_of, layer_counts, layers_and_times
from stinger_export.integer.model import Boosted, Convolutional, Forest, IntegerModel, Network

_ROW, _LAYER, _SCALER, _NODE = 8, 16, 8, 8
_LARGEST_TREES = 3
_TREE_WORK = ("tree", "step", "leaf value", "short tree", "short step")
_FEATURE_WORK = (
    "summary channel",
    "rich channel",
    "triad",
    "coupled point",
    "invariant",
    "invariant sample",
    "invariant axis",
    "magnetic",
    "flatten value",
)


@dataclass(frozen=True)
class Part:
    """A part of a model.

    Attributes:
        name: What it is.
        flash: Bytes of flash.
        ram: Bytes of RAM.
        cycles: Cycles per decision, estimated; None where nothing is known.
    """

    name: str
    flash: int = 0
    ram: int = 0
    cycles: int | None = None


def parts_of(integer: IntegerModel, features: NDArray[np.int16], *, flash: int, ram: int, cycles: int) -> list[Part]:
    """Share out what was measured.

    Args:
        integer: The model.
        features: Feature vectors as they occur, shape ``(n, features)``: how deep trees are walked depends on them.
        flash: Bytes of code and constants.
        ram: Bytes of a stream's state.
        cycles: Mean per decision.
    """
    spec, body = integer.spec, integer.body
    known = cycle_counts(integer, features) if spec.features in ESTIMATED else None
    estimate = None if known is None else {name: cycles_of(name, count) for name, count in known.items()}
    windowing = None if estimate is None else round(sum(estimate.get(name, 0.0) for name in _FEATURE_WORK))
    if isinstance(body, Network | Convolutional):
        parts = _layers(integer, body, estimated=estimate is not None)
    else:
        parts = _trees(body, estimate)
    constants = sum(part.flash for part in parts)
    spent = sum(part.cycles or 0 for part in parts) + (windowing or 0)
    rest = None if estimate is None else max(0, cycles - spent)
    samples = 2 * spec.window * len(spec.channels)
    return [
        *parts,
        Part(f"{spec.features} features, and the window's samples", 0, min(ram, samples), windowing),
        Part("code, names, and all else", flash - constants, ram - min(ram, samples), rest),
    ]


def _layers(integer: IntegerModel, network: Network | Convolutional, *, estimated: bool) -> list[Part]:
    inputs = len(integer.spec.feature_set)
    scaling = round(cycles_of("feature", inputs)) if estimated else None
    parts = [Part("scaler", _SCALER * len(network.scaler.scale), 0, scaling)]
    for number, (layer, shape, times) in enumerate(layers_and_times(integer), 1):
        rows, width = shape
        bits = 8 * layer.weight.dtype.itemsize
        work = sum(cycles_of(name, count) for name, count in layer_counts(layer, shape, times).items())
        size = "x".join(map(str, layer.weight.shape[::-1])) + (f", {times} times" if times > 1 else "")
        parts.append(
            Part(
                f"layer {number} ({size}, {bits} bits)",
                rows * width * layer.weight.dtype.itemsize + _ROW * len(layer.bias) + _LAYER,
                0,
                round(work) if estimated else None,
            )
        )
    return parts


def _trees(body: Forest | Boosted, estimate: dict[str, float] | None) -> list[Part]:
    sizes = _nodes_of_each(body)
    largest = sorted(range(len(sizes)), key=lambda tree: (-sizes[tree], tree))[:_LARGEST_TREES]
    others = sum(sizes) - sum(sizes[tree] for tree in largest)
    parts = [Part(f"tree {tree} ({sizes[tree]:,} nodes)", _NODE * sizes[tree]) for tree in largest]
    if len(sizes) > len(largest):
        parts.append(Part(f"the other {len(sizes) - len(largest)} trees ({others:,} nodes)", _NODE * others))
    work = None if estimate is None else round(sum(estimate.get(name, 0.0) for name in _TREE_WORK))
    return [*parts, Part(f"leaves and roots of all {len(sizes)} trees", body.leaves.nbytes + 2 * len(sizes), 0, work)]


def _nodes_of_each(body: Forest | Boosted) -> list[int]:
    sizes = []
    for root in body.roots.tolist():
        todo, count = [root], 0
        while todo:
            node = todo.pop()
            if node >= 0:
                count += 1
                todo += [int(body.left[node]), int(body.right[node])]
        sizes.append(count)
    return sizes
