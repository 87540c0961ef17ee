"""Integer models on disk: one ``.npz`` without pickle, validated completely before use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.arrays import read_arrays, write_arrays
from stinger.errors import InputError
from stinger.models.spec import ModelSpec
from stinger_export.integer.layout import MAX_INPUTS, MAX_LAYERS, MAX_ROWS
from stinger_export.integer.model import ONE, Body, Boosted, Convolutional, Forest, IntegerModel, Layer, Network, Scaler

#: Larger than any model a microcontroller holds.
_MAX_BYTES = 16 * 2**20
_ADVICE = "export the model again"
_LAYER = ("weight", "bias", "scale", "pre", "post")
_TREES = ("feature", "threshold", "left", "right", "roots", "leaves")
_DTYPES = {
    "scaler_scale": "int16",
    "scaler_offset": "int32",
    "scaler_shift": "uint8",
    "bias": "int32",
    "scale": "uint16",
    "pre": "uint8",
    "post": "uint8",
    "feature": "uint16",
    "threshold": "int16",
    "left": "int16",
    "right": "int16",
    "roots": "int16",
    "baseline": "int32",
}


def save_integer(model: IntegerModel, path: Path) -> None:
    """Write the integers of a model; the same model gives the same bytes."""
    write_arrays(path, _named(model))


def load_integer(path: Path, spec: ModelSpec) -> IntegerModel:
    """Read the integers of a model.

    Args:
        path: A file written by `save_integer`.
        spec: The manifest they must fit.

    Raises:
        InputError: The file is missing, damaged, oversized, or describes a model that could not run.
    """
    arrays = read_arrays(path, _MAX_BYTES, _ADVICE)
    try:
        body = _body(arrays)
        for name, array in arrays.items():
            expected = _DTYPES.get(name, _DTYPES.get(name.partition("_")[2]))
            _require(expected is None or array.dtype == expected, f"{name} is {array.dtype}")
        check_body(body, spec)
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(f"{path} is not a usable integer model ({error}); {_ADVICE}") from error
    return IntegerModel(spec, body)


def _named(model: IntegerModel) -> dict[str, NDArray[Any]]:
    body = model.body
    if not isinstance(body, Network | Convolutional):
        trees = {name: getattr(body, name) for name in _TREES}
        if isinstance(body, Boosted):
            trees |= {"baseline": body.baseline, "shift": np.array([body.shift], np.uint8)}
        return trees
    named: dict[str, NDArray[Any]] = {
        f"scaler_{name}": getattr(body.scaler, name) for name in ("scale", "offset", "shift")
    }
    for i, layer in enumerate(body.layers):
        named |= {f"layer{i}_{name}": getattr(layer, name) for name in _LAYER}
    if isinstance(body, Convolutional):
        named["kernel"] = np.array([body.kernel], np.uint8)
    return named


def _body(arrays: dict[str, NDArray[Any]]) -> Body:
    if "roots" not in arrays:
        return _network(arrays)
    trees: dict[str, Any] = {name: arrays[name] for name in _TREES}
    if "baseline" not in arrays:
        return Forest(**trees)
    _require(arrays["shift"].shape == (1,) and arrays["shift"].dtype == np.uint8, "shift")
    return Boosted(**trees, baseline=arrays["baseline"], shift=int(arrays["shift"][0]))


def _network(arrays: dict[str, NDArray[Any]]) -> Network | Convolutional:
    scaler = Scaler(*(arrays[f"scaler_{name}"] for name in ("scale", "offset", "shift")))
    count = sum(name.endswith("_weight") for name in arrays)
    layers = tuple(Layer(*(arrays[f"layer{i}_{name}"] for name in _LAYER)) for i in range(count))
    if "kernel" not in arrays:
        return Network(scaler, layers)
    _require(arrays["kernel"].shape == (1,) and arrays["kernel"].dtype == np.uint8, "kernel")
    return Convolutional(scaler, layers, int(arrays["kernel"][0]))


def check_body(body: Body, spec: ModelSpec) -> None:
    """Refuse integers that could not run: wrong shapes, indices that lead nowhere, sums that could overflow.

    Args:
        body: The integers.
        spec: What they are to be applied to.

    Raises:
        ValueError: Something of the kind; it says what.
    """
    features, classes = len(spec.feature_set), len(spec.classes)
    if isinstance(body, Network):
        _check_scaler(body.scaler, features)
        _check_layers(body.layers, [features, *(len(layer.bias) for layer in body.layers[:-1])], classes)
        return
    if isinstance(body, Convolutional):
        _check_convolutional(body, spec)
        return
    _check_trees(body, features)
    if isinstance(body, Forest):
        _require(1 <= len(body.roots) <= 1000, "number of trees")
        _require(body.leaves.dtype == np.uint16 and body.leaves.shape[1:] == (classes,), "shape of leaves")
        _require(bool((body.leaves.astype(np.int64).sum(axis=1) == ONE).all()), "a leaf does not sum to one")
    else:
        _check_boosted(body, classes)
    _require(_level_by_level(body), "a child's number; nodes come level by level, each with one parent")


def _check_boosted(b: Boosted, classes: int) -> None:
    outputs = 1 if classes == 2 else classes
    _require(b.leaves.dtype == np.int16 and b.leaves.ndim == 1, "shape of leaves")
    _require(b.baseline.shape == (outputs,) and 0 <= b.shift <= 12, "shape of the baseline, or shift")
    _require(outputs <= len(b.roots) <= 32000 and len(b.roots) % outputs == 0, "number of trees")
    _require(bool((np.abs(b.baseline.astype(np.int64)) < 2**30).all()), "overflow in a sum of leaves")


def _check_trees(f: Forest | Boosted, features: int) -> None:
    nodes = len(f.feature)
    _require(
        all(x.shape == (nodes,) for x in (f.feature, f.threshold, f.left, f.right)), "node arrays differ in length"
    )
    _require(f.roots.ndim == 1 and len(f.leaves) > 0, "number of trees or leaves")
    _require(bool((f.feature < features).all()), "a node uses a feature that does not exist")
    for leaves in (f.left, f.right, f.roots):
        _require(bool((-(leaves.astype(np.int64) + 1) < len(f.leaves)).all()), "a leaf's number")


def _level_by_level(f: Forest | Boosted) -> bool:
    """Whether links to nodes count up without a gap: see `Nodes`, and ``trees_fit`` in ``stinger_image_body.c``.

    Trees that shared a long chain, thousands of them, would take hours to walk.
    """
    left, right, at, found = f.left.tolist(), f.right.tolist(), 0, 0
    for root in f.roots.tolist():
        if root >= 0:
            if root != found:
                return False
            found += 1
        while at < found:
            if at == len(left):
                return False
            for child in (left[at], right[at]):
                if child >= 0:
                    if child != found:
                        return False
                    found += 1
            at += 1
    return at == len(left)


def _check_convolutional(c: Convolutional, spec: ModelSpec) -> None:
    _require(spec.features == "flatten", "convolutions of features that are not the window")
    _require(1 <= c.kernel <= 255 and c.kernel % 2 == 1, "kernel")
    _require(len(c.layers) >= 2, "number of layers")
    _check_scaler(c.scaler, len(spec.channels))
    widths = [len(spec.channels), *(len(layer.bias) for layer in c.layers[:-1])]
    _check_layers(c.layers, [*(c.kernel * width for width in widths[:-1]), widths[-1]], len(spec.classes))


def _check_scaler(s: Scaler, inputs: int) -> None:
    _require(all(x.shape == (inputs,) for x in (s.scale, s.offset, s.shift)), "length of the scaler")
    _require(bool((s.scale >= 0).all() and (s.shift <= 16).all()), "range of the scaler")
    reach = 32768 * s.scale.astype(np.int64) + np.abs(s.offset.astype(np.int64))
    _require(bool((reach < 2**31).all()), "overflow in the scaler")


def _check_layers(layers: tuple[Layer, ...], inputs: list[int], classes: int) -> None:
    _require(1 <= len(layers) <= MAX_LAYERS, "number of layers")
    for i, layer in enumerate(layers):
        rows = len(layer.bias)
        _require(layer.weight.dtype in (np.int8, np.int16), "type of weights")
        _require(layer.weight.shape == (rows, inputs[i]) and 1 <= rows <= MAX_ROWS, "shape of weights")
        _require(inputs[i] <= MAX_INPUTS, "shape of weights")
        _require(all(x.shape == (rows,) for x in (layer.scale, layer.pre, layer.post)), "length of a layer's scales")
        last = i == len(layers) - 1
        _require(bool((layer.pre <= 31).all() and (layer.post >= 1).all()), "range of shifts")
        _require(bool((layer.post <= (30 if last else 16)).all()), "range of shifts")
        bound = np.abs(layer.weight.astype(np.int64)).sum(axis=1) * 32767 + np.abs(layer.bias.astype(np.int64))
        _require(bool((bound < 2**31).all()), "overflow in an accumulator")
    _require(len(layers[-1].bias) == (1 if classes == 2 else classes), "number of outputs")


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)
