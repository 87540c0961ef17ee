"""``vectors.npz``: a few dozen windows and what every level says of them, for whoever ports the model.

===================  ======================================================================
``windows``          int16 ``(n, window, channels)``
``features``         int16 or float64 ``(n, features)``
``label``            int16 ``(n,)``: true class of held-out windows, -1 where nobody knows it
``l0``               float64 ``(n, classes)``: probabilities of the fitted estimator
``l1``, ``l1_label``             float32 ``(n, classes)`` and int64: the ONNX graph, if exported
``l2``, ``l2_score``, ``l2_label``   uint16 in 1/32768, int32, uint8: the integer model, if exported
``stock``            float32 ``(n,)``: the stock firmware before its motion gate, if exported
===================  ======================================================================
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from stinger.arrays import read_arrays
from stinger.errors import InputError
from stinger.models.spec import ModelSpec, TrainedModel
from stinger_export.integer.model import IntegerModel
from stinger_export.onnx_graph import run_onnx
from stinger_export.stock.arithmetic import run_stock
from stinger_export.stock.image import StockModel

#: Windows in a file; more are not taken.
COUNT = 48
_MAX_BYTES = 2**24
_ADVICE = "export the model again"
#: Largest difference of what is computed in floating point, from one processor to another.
_ROUNDING = {"features": 1e-6, "l0": 1e-9, "l1": 1e-5, "stock": 1e-5}

Vectors = dict[str, NDArray[Any]]


def make_vectors(
    windows: NDArray[np.int16],
    label: NDArray[np.integer] | None,
    model: TrainedModel,
    *,
    graph: onnx.ModelProto | None = None,
    integer: IntegerModel | None = None,
    stock: StockModel | None = None,
) -> Vectors:
    """Ask every level about windows ``(n, window, channels)``, or an even stride through them."""
    chosen = np.linspace(0, len(windows) - 1, min(COUNT, len(windows))).astype(np.int64)
    truth = np.full(len(chosen), -1) if label is None else label[chosen]
    return {"label": truth.astype(np.int16), **_answers(windows[chosen], model, graph, integer, stock)}


def read_vectors(path: Path, spec: ModelSpec) -> Vectors:
    """Read a file.

    Args:
        path: The file.
        spec: Manifest of the model that it is of.

    Raises:
        InputError: It is missing, damaged, too large or of another layout.
    """
    vectors = read_arrays(path, _MAX_BYTES, _ADVICE)
    windows = vectors.get("windows")
    shape = (spec.window, len(spec.channels))
    if windows is None or windows.dtype != np.int16 or windows.shape[1:] != shape or not 0 < len(windows) <= COUNT:
        raise InputError(f"{path} holds no windows that the model takes; {_ADVICE}")
    if not {"features", "l0", "label"} <= vectors.keys() or {a.shape[:1] for a in vectors.values()} != {
        (len(windows),)
    }:
        raise InputError(f"{path} is not a file of test vectors; {_ADVICE}")
    return vectors


def verify_vectors(
    vectors: Vectors,
    model: TrainedModel,
    *,
    graph: onnx.ModelProto | None = None,
    integer: IntegerModel | None = None,
    stock: StockModel | None = None,
) -> dict[str, tuple[float, str | None]]:
    """Compute everything anew.

    Returns:
        For each array the largest difference, and one line about it if that is more than rounding.
    """
    again = _answers(vectors["windows"], model, graph, integer, stock)
    found: dict[str, tuple[float, str | None]] = {}
    for name in sorted(again.keys() - {"windows"}):
        old, new = vectors.get(name), again[name]
        if old is None or old.shape != new.shape or old.dtype != new.dtype:
            found[name] = (1.0, f"vectors.npz holds no {name} of the shape that this model gives")
            continue
        bound = _ROUNDING.get(name, 0.0) if new.dtype.kind == "f" else 0.0
        difference = np.abs(old.astype(np.float64) - new.astype(np.float64))
        if name == "features" and bound:
            difference /= np.maximum(1.0, np.abs(new))
        worst = float(difference.max(initial=0.0))
        failure = None if worst <= bound else f"{name} of vectors.npz differs by {worst:.2g} from what the model gives"
        found[name] = (worst, failure)
    return found


def _answers(
    windows: NDArray[np.int16],
    model: TrainedModel,
    graph: onnx.ModelProto | None,
    integer: IntegerModel | None,
    stock: StockModel | None,
) -> Vectors:
    features = model.spec.feature_set.compute(windows)
    answers: Vectors = {"windows": windows, "features": features, "l0": model.predict_proba_features(features)}
    if graph is not None:
        answers["l1_label"], answers["l1"] = run_onnx(graph, windows)
    if integer is not None:
        decided = integer.decide(windows)
        answers |= {"l2": decided.probability, "l2_score": decided.score, "l2_label": decided.label}
    if stock is not None:
        answers["stock"] = run_stock(stock, windows).probability
    return answers
