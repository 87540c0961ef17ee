"""What a model takes on the board: estimated from its integers at once, or measured on the emulated board.

The estimate counts what the device has to store and to do (weights, nodes, products, steps through trees) and
multiplies it with figures of the Cortex-M0+ that were fitted to the emulator; `tests/unit/test_benchmark_cost.py` holds
it to `TOLERANCE` of what the emulator says. The measurement compiles the firmware, takes flash and RAM from the linked
program, and counts the cycles of decisions about real windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stinger.check.compare import Comparison, compare_exactly
from stinger.errors import InputError
from stinger.features.coupled import MAX_POINTS
from stinger.models.spec import ModelSpec, TrainedModel
from stinger.windows.dataset import Dataset
from stinger.windows.replay import ReplayStream
from stinger.workflow.emulated import run_emulated
from stinger_export.integer.c_source import layer_shapes
from stinger_export.integer.layout import activations
from stinger_export.integer.model import Boosted, Convolutional, Forest, IntegerModel, Layer, Network
from stinger_export.integer.quantise import quantise

#: How far the estimate of cycles, flash or RAM may be from what the emulator and the linker say.
TOLERANCE = 0.15

#: Feature sets whose cost is known.
ESTIMATED = ("summary", "rich", "coupled", "magnetic", "invariant", "invariant_rich", "flatten")
#: Windows whose decisions are counted when measuring.
_MEASURED_WINDOWS = 16

#: Cycles of each thing the device does; least squares over networks and forests of many sizes on the emulator, near
#: what counting instructions gives. The trees of two-class forests have a shorter walk.
_CYCLES: Mapping[str, float] = {
    "decision": 430.0,
    "summary channel": 320.0,
    "rich channel": 330.0,
    "triad": 560.0,
    "coupled point": 910.0,
    "invariant": 5200.0,
    "invariant sample": 25.0,
    "invariant axis": 360.0,
    "magnetic": 3950.0,
    "flatten value": 16.2,
    "patch value": 18.0,  # of a convolution's input, each time that it is seen
    "feature": 24.0,
    "layer": 83.0,
    "product 8": 3.88,
    "product 16": 4.0,
    "row": 37.0,
    "class": 177.0,
    "tree": 33.6,
    "step": 18.2,
    "leaf value": 18.5,
    "short tree": 17.5,
    "short step": 13.2,
}
#: Bytes of code that every network, every forest and some feature sets bring with them, or save, whatever their size.
_CODE: Mapping[str, int] = {
    "network": 2695,
    "convolution": 3725,
    "forest": 2395,
    "boosted": 2445,
    "coupled": 1250,
    "invariant": 2225,
    "magnetic": 2050,
    "flatten": -1175,
    "several": 400,  # of a network or convolutions for more than two classes
}
#: Bytes of the constants around weights and nodes: the model's own record, names and pointers.
_RECORD = 110
#: Bytes of a stream's state before its running sums, of each of them, and behind samples, magnitudes and maxima.
_STREAM_HEAD, _RUNNING, _STREAM_TAIL, _STEPS, _INVARIANT, _MAGNETIC = 8, 16, 48, 24, 192, 112
_SCALER, _ROW, _LAYER, _NODE = 8, 8, 16, 8


@dataclass(frozen=True)
class OnBoard:
    """What a model takes on the board.

    Attributes:
        flash: Classifier code and model constants, bytes.
        ram: State of one stream, bytes.
        cycles: Processor cycles from a sample to a decision, features included, mean.
        measured: Whether board and linker said so; otherwise it is an estimate.
    """

    flash: int
    ram: int
    cycles: float
    measured: bool = False


def estimate(model: IntegerModel, features: NDArray[np.int16]) -> OnBoard:
    """Estimate what a model takes on the board, from its integers.

    Args:
        model: The integer model.
        features: Feature vectors as they occur, shape ``(n, features)``: how deep trees are walked depends on them.

    Raises:
        InputError: The features' cost is not known.
    """
    if model.spec.features not in ESTIMATED:
        raise InputError(f"there is no estimate for {model.spec.features} features yet; measure it: --measure-cost")
    cycles = sum(_CYCLES[name] * count for name, count in cycle_counts(model, features).items())
    return OnBoard(flash=_flash(model), ram=_ram(model), cycles=round(cycles))


def cycles_of(work: str, count: float) -> float:
    """Cycles of a kind of work, done ``count`` times."""
    return _CYCLES[work] * count


def cycle_counts(model: IntegerModel, features: NDArray[np.int16]) -> dict[str, float]:
    """Count what the device does for a decision; the keys are those of the table of cycles."""
    spec = model.spec
    points = spec.window // ((spec.window + MAX_POINTS - 1) // MAX_POINTS)
    counts: dict[str, float] = {"decision": 1}
    flat = len(spec.feature_set) if spec.features == "flatten" else 0
    if flat:
        counts["flatten value"] = flat
    elif _invariant(spec):
        counts |= {"invariant": 1, "invariant sample": spec.window}
        counts["invariant axis"] = 6 if spec.features == "invariant_rich" else 0
    elif spec.features == "magnetic":
        counts["magnetic"] = 1
    else:
        counts["summary channel" if spec.features == "summary" else "rich channel"] = len(spec.channels)
        counts["triad"] = len(spec.feature_set.triads)
        counts["coupled point"] = points if spec.features == "coupled" else 0
    if isinstance(model.body, Network | Convolutional):
        return counts | _network_counts(model)
    steps = mean_steps(model.body, features)
    trees = len(model.body.roots)
    if isinstance(model.body, Boosted):
        return counts | {"tree": trees, "step": steps, "leaf value": trees, "class": _several(len(spec.classes))}
    classes = len(spec.classes)
    if classes == 2:
        return counts | {"short tree": trees, "short step": steps}
    return counts | {"tree": trees, "step": steps, "leaf value": trees * classes, "class": classes}


def _invariant(spec: ModelSpec) -> bool:
    return spec.features in ("invariant", "invariant_rich")


def _several(classes: int) -> int:
    """Classes whose probabilities take a softmax."""
    return classes if classes > 2 else 0


def _network_counts(model: IntegerModel) -> dict[str, float]:
    counts = {"feature": float(len(model.spec.feature_set)), "class": _several(len(model.spec.classes))}
    for layer, shape, times in layers_and_times(model):
        for work, count in layer_counts(layer, shape, times).items():
            counts[work] = counts.get(work, 0.0) + count
    return counts


def layers_and_times(model: IntegerModel) -> list[tuple[Layer, tuple[int, int], int]]:
    """Return a network's layers, their rows and inputs with padding, and how often each is run for a decision.

    A convolution is run at every second step, other layers once.
    """
    if not isinstance(model.body, Network | Convolutional):
        return []
    layers = model.body.layers
    times = [1] * len(layers)
    if isinstance(model.body, Convolutional):
        times[:-1] = [-(-model.spec.window // 2 ** (i + 1)) for i in range(len(layers) - 1)]
    return list(zip(layers, layer_shapes(model.body), times, strict=True))


def layer_counts(layer: Layer, shape: tuple[int, int], times: int) -> dict[str, float]:
    """Count the work of running a layer so often; where it is run often, its inputs are worth counting, too."""
    rows, inputs = max(2.5, shape[0]), shape[1]  # a row that stands alone takes as long as that
    product = "product 8" if layer.weight.dtype == np.int8 else "product 16"
    patches = inputs * times if times > 1 else 0
    return {"layer": times, product: rows * inputs * times, "row": rows * times, "patch value": patches}


def mean_steps(forest: Forest | Boosted, features: NDArray[np.int16]) -> float:
    """Comparisons per decision, all trees together, mean over feature vectors ``(n, features)``."""
    steps = 0
    rows = np.arange(len(features))
    for root in forest.roots:
        child = np.full(len(features), root, dtype=np.int64)
        while (inner := child >= 0).any():
            steps += int(inner.sum())
            node = child[inner]
            goes_left = features[rows[inner], forest.feature[node]] <= forest.threshold[node]
            child[inner] = np.where(goes_left, forest.left[node], forest.right[node])
    return steps / max(1, len(features))


def _flash(model: IntegerModel) -> int:
    spec, body = model.spec, model.body
    names = sum(len(text.encode()) + 1 for text in (spec.name, spec.family, model.hash, *spec.classes))
    constants = _RECORD + names + 4 * len(spec.classes)
    constants += _CODE["invariant"] if _invariant(spec) else _CODE.get(spec.features, 0)
    if isinstance(body, Network | Convolutional):
        constants += _SCALER * len(body.scaler.scale) + _LAYER * len(body.layers)
        constants += _CODE["several"] if len(spec.classes) > 2 else 0
        for layer, (rows, inputs) in zip(body.layers, layer_shapes(body), strict=True):
            constants += rows * inputs * layer.weight.dtype.itemsize + len(layer.bias) * _ROW
        return _CODE["network" if isinstance(body, Network) else "convolution"] + constants
    constants += _NODE * max(1, len(body.feature)) + 2 * len(body.roots) + body.leaves.nbytes
    if isinstance(body, Boosted):
        return _CODE["boosted"] + constants + body.baseline.nbytes
    return _CODE["forest"] + constants


def _ram(model: IntegerModel) -> int:
    spec, body = model.spec, model.body
    channels, triads = len(spec.channels), max(1, len(spec.feature_set.triads))
    values = channels if spec.features == "flatten" else channels + triads
    total = _STREAM_HEAD + _RUNNING * channels + 2 * spec.window * values
    total += -total % 8
    if spec.features in ("summary", "rich", "coupled"):
        tails = (spec.window + 1) // 2 + 2
        total += _RUNNING * triads + 2 * (2 + tails) * (channels + triads)
    more = {"coupled": _STEPS, "magnetic": _MAGNETIC}.get(spec.features, 0)
    if _invariant(spec):
        more = _INVARIANT + 2 * spec.window
    total += more + _STREAM_TAIL
    total += -total % 8
    if not isinstance(body, Convolutional):
        return total
    total += 4 * activations(spec.window, channels, [len(layer.bias) for layer in body.layers[:-1]], body.kernel)
    return total + -total % 8


def measure(model: IntegerModel, windows: NDArray[np.int16]) -> OnBoard:
    """Compile a model's firmware and count the cycles of its decisions on an emulated board; see `prove`."""
    return prove(model, windows)[0]


def prove(model: IntegerModel, windows: NDArray[np.int16]) -> tuple[OnBoard, Comparison]:
    """Do what `measure` does, and compare the board's answers with numpy's, bit by bit.

    Args:
        model: The integer model.
        windows: Windows as they occur, shape ``(n, window, channels)``, at least one; some of them are replayed, each
            with its first half again behind it, so that the window slides.

    Raises:
        ToolchainError: There is no compiler for the board.
        LinkError: The firmware fails.
    """
    samples, gap = _sliding(windows)
    t_us = np.arange(len(samples), dtype=np.int64) * model.spec.period_us
    cost, result = run_emulated(model, samples, t_us, gap)
    stream = ReplayStream(samples, t_us, gap, model.spec.period_us)
    decided = model.decide(stream.windows(model.spec.window))
    comparison = compare_exactly(("L2", "L4"), decided, stream.ready(model.spec.window), result)
    return OnBoard(cost.flash_bytes, cost.ram_bytes, round(cost.cycles_mean), measured=True), comparison


def _sliding(windows: NDArray[np.int16]) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """Samples to replay, and where a stretch begins."""
    chosen = windows[np.linspace(0, len(windows) - 1, min(_MEASURED_WINDOWS, len(windows))).astype(np.int64)]
    stretches = np.concatenate([chosen, chosen[:, : chosen.shape[1] // 2]], axis=1)
    gap = np.zeros(stretches.shape[:2], dtype=np.bool_)
    gap[:, 0] = True
    return stretches.reshape(-1, stretches.shape[2]), gap.ravel()


def on_board(model: TrainedModel, dataset: Dataset, *, measured: bool = False) -> OnBoard:
    """Say what a trained model takes on the board.

    Args:
        model: Trained on ``dataset``.
        dataset: Its windows stand for those the board will see.
        measured: Compile and run it; otherwise estimate.

    Raises:
        InputError: The model cannot be put on the board.
        ToolchainError: There is no compiler for the board.
    """
    integer = quantise(model)
    return measure(integer, dataset.windows[dataset.training]) if measured else estimate(integer, model.calibration)
