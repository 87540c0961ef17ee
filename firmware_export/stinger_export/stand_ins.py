"""Others' arithmetic in the classifier's place, for `stinger bench device`: emlearn's models, and plain float32.

The firmware around them is the same, so that their cycles are counted, and their answers compared, as the library's
are. Their C is in ``device/bench``; here their models are written for it. Both report the bits of their float32
probabilities as scores; `probability_of` reads them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.files import write_text
from stinger.models.spec import TrainedModel
from stinger_export.emlearn_header import EmlearnHeader, include_dir
from stinger_export.firmware import StandIn
from stinger_export.integer.c_source import write_c_source
from stinger_export.integer.model import ONE, Forest, IntegerModel
from stinger_export.stock.arithmetic import stock_features
from stinger_export.stock.header import stock_header
from stinger_export.stock.image import StockModel
from stinger_export.toolchain import device_sources

_PER_LINE = 8


def write_emlearn(header: EmlearnHeader, integer: IntegerModel, folder: Path) -> StandIn:
    """Write a model for the library's features and policy with emlearn's arithmetic behind them.

    Args:
        header: The emlearn model.
        integer: The same model as integers; only its manifest is used.
        folder: Receives the model's files, as `build_firmware` takes them, and headers.
    """
    headers = folder / "headers"
    write_text(headers / f"{header.name}.h", header.header_text)
    text = f'#include "{header.name}.h"\n#define BENCH_PREDICT stinger_{header.name}_predict_proba\n'
    write_text(headers / "emlearn_model.h", text)
    write_c_source(_shell(integer), folder)
    bench = device_sources() / "bench"
    return StandIn(
        frozenset({"stinger_forest.c"}),
        (bench / "bench_emlearn.c", bench / "bench_math.c"),
        (bench / "include", headers, include_dir()),
    )


def write_stock(stock: StockModel, model: TrainedModel, shape: IntegerModel, folder: Path) -> StandIn:
    """Write a model for the stock firmware's arithmetic, straight in float32.

    Args:
        stock: The model.
        model: What it was made from, for the header's comment.
        shape: A model of the same windows and classes, for the firmware around it.
        folder: As for `write_emlearn`.
    """
    return _write_float(stock_header(stock, model.spec), shape, folder)


def write_float_trees(forest: Any, shape: IntegerModel, folder: Path) -> StandIn:
    """Write a forest of two classes on the stock firmware's `rich` features, compared in float32.

    Args:
        forest: A fitted estimator of scikit-learn.
        shape: As for `write_stock`.
        folder: As for `write_emlearn`.
    """
    nodes: list[str] = []
    leaves: list[float] = []
    roots: list[int] = []
    for estimator in forest.estimators_:
        tree = estimator.tree_
        inner = tree.children_left != -1
        # What a child is called: the number of a node, or of a leaf, negative.
        name = np.where(inner, len(nodes) + np.cumsum(inner) - 1, -(len(leaves) + np.cumsum(~inner)))
        roots.append(int(name[0]))
        threshold = round_down(tree.threshold)
        for at in np.flatnonzero(inner):
            left, right = name[tree.children_left[at]], name[tree.children_right[at]]
            nodes.append(f"{{{threshold[at]:.8e}f, {left}, {right}, {tree.feature[at]}}}")
        leaves += tree.value[~inner, 0, 1].tolist()
    text = (
        "typedef struct {\n    float threshold;\n    int16_t left, right;\n    uint16_t feature;\n} float_node;\n"
        f"#define FLOAT_TREES {len(roots)}\n"
        f"static const float_node float_nodes[] = {_braces(nodes)};\n"
        f"static const int16_t float_root[] = {_braces([str(root) for root in roots])};\n"
        f"static const float float_leaf[] = {_braces([f'{leaf:.8e}f' for leaf in leaves])};\n"
    )
    return _write_float(text, shape, folder)


def float_trees(forest: Any, windows: NDArray[np.int16]) -> NDArray[np.float64]:
    """Return what such a forest must answer: the probability of class 1 for windows ``(n, 50, 6)``, shape ``(n,)``."""
    probability: NDArray[np.float64] = forest.predict_proba(stock_features(windows, rich=True))[:, 1]
    return probability


def probability_of(score: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the probabilities whose float32 bits the scores are, same shape."""
    return np.ascontiguousarray(score).view(np.float32).astype(np.float64)


def _write_float(header: str, shape: IntegerModel, folder: Path) -> StandIn:
    write_text(folder / "headers" / "float_model.h", header)
    shell = _shell(shape)
    write_c_source(replace(shell, spec=replace(shell.spec, policy=None)), folder)
    device = device_sources()
    library = {file.name for file in (device / "stinger_ml").glob("*.c")}
    kept = {f"stinger_{name}.c" for name in ("crc", "frame", "image", "image_body", "stock", "store")}
    bench = device / "bench"
    return StandIn(
        frozenset(library - kept),
        (bench / "bench_float.c", bench / "bench_math.c"),
        (bench / "include", folder / "headers"),
    )


def _shell(model: IntegerModel) -> IntegerModel:
    """The same model with a forest of one leaf, which nobody asks."""
    one = np.zeros(1, dtype=np.int16)
    leaf = -np.ones(1, dtype=np.int16)
    leaves = np.zeros((1, len(model.spec.classes)), dtype=np.uint16)
    leaves[0, 0] = ONE
    return replace(model, body=Forest(one.astype(np.uint16), one, leaf, leaf, leaf, leaves))


def round_down(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round to float32 so that every float32 compares with the result as with the value."""
    rounded = values.astype(np.float32)
    above = rounded.astype(np.float64) > values
    return np.where(above, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def _braces(items: list[str]) -> str:
    lines = [", ".join(items[at : at + _PER_LINE]) for at in range(0, len(items), _PER_LINE)]
    return "{\n    " + ",\n    ".join(lines) + "}"
