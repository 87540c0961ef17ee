"""An integer model as the sections of an image, and back; docs/mlmd.md has every byte.

Tables have the layout of the structs in ``stinger_ml.h``, so that a board runs them where they lie. What is read is
validated completely: an image from anywhere is a model that runs without overflow and ends, or it is refused.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError, StingerError
from stinger.files import read_bytes, write_bytes
from stinger.models.policy import Policy
from stinger.models.spec import ModelSpec
from stinger.sessions.session import Channel
from stinger_export.image.sections import MAX_BYTES, Section, pack, unpack
from stinger_export.integer.layout import MAX_INPUTS, MAX_ROWS, MAX_TRIADS, padded, read_weights, stored_weights
from stinger_export.integer.model import Body, Boosted, Convolutional, Forest, IntegerModel, Layer, Network, Scaler
from stinger_export.integer.store import check_body

#: Tags in the order that an image has them; there are several layers or one set of trees.
ORDER = ("FORM", "NAME", "CLAS", "CHAN", "HASH", "CONV", "SCAL", "LAYR", "TREE", "BOOS", "POLI")
#: What a body is called in `FORM`, and the tags it consists of.
_BODIES: dict[type[Body], tuple[int, set[str]]] = {
    Network: (0, {"SCAL", "LAYR"}),
    Forest: (1, {"TREE"}),
    Boosted: (2, {"BOOS"}),
    Convolutional: (3, {"CONV", "SCAL", "LAYR"}),
}
#: Number of each feature set in an image, as in ``stinger_feature_set``.
FEATURE_CODES = {
    "summary": 0, "rich": 1, "coupled": 2, "invariant": 3, "invariant_rich": 4, "flatten": 5, "magnetic": 6,
}  # fmt: skip
_FORM = struct.Struct("<IIHHBBBBBBBB")
_POLICY = struct.Struct("<III5HBB")
_POLICY_FIELDS = (
    "period_us", "stale_us", "min_on_us", "attack", "release", "on", "off", "gate_lsb", "gyro", "positive",
)  # fmt: skip
_CONVOLUTION = struct.Struct("<BBH")
_LAYER = struct.Struct("<HHBBH")
_TREES = struct.Struct("<HHHH")
_BOOSTED = struct.Struct("<HHHBB")
_SCALER = np.dtype([("offset", "<i4"), ("scale", "<i2"), ("shift", "u1"), ("zero", "u1")])
_ROW = np.dtype([("bias", "<i4"), ("scale", "<u2"), ("pre", "u1"), ("post", "u1")])
_NODE = np.dtype([("threshold", "<i2"), ("left", "<i2"), ("right", "<i2"), ("feature", "<u2")])
#: A row of padding computes a 0 that nobody reads; its shift must still be one that C allows.
_EMPTY_ROW = (0, 0, 0, 1)
_ADVICE = "export the model again"
_HASH_BYTES = 32


def to_image(model: IntegerModel) -> bytes:
    """Write an integer model as an image; the same model gives the same bytes.

    Raises:
        InputError: It is too large for a board, or its features are none that a board computes.
    """
    spec = model.spec
    if spec.features not in FEATURE_CODES:
        raise InputError(f"no board computes {spec.features} features; choose {' or '.join(FEATURE_CODES)}")
    form = _FORM.pack(
        spec.period_us,
        spec.lead_us,
        spec.window,
        len(spec.feature_set),
        len(spec.channels),
        len(spec.classes),
        FEATURE_CODES[spec.features],
        _BODIES[type(model.body)][0],
        *_triads(spec),
    )
    sections = [
        Section("FORM", form),
        Section("NAME", _strings([spec.name, spec.family])),
        Section("CLAS", _strings(spec.classes)),
        Section("CHAN", _strings([part for c in spec.channels for part in (c.name, c.unit, repr(float(c.scale)))])),
        Section("HASH", bytes.fromhex(spec.data_hash) + bytes.fromhex(model.hash)),
    ]
    if isinstance(model.body, Convolutional):
        sections.append(Section("CONV", _CONVOLUTION.pack(model.body.kernel, len(model.body.layers), 0)))
    if isinstance(model.body, Network | Convolutional):
        sections.append(Section("SCAL", _scaler_bytes(model.body.scaler)))
        sections += [Section("LAYR", _layer_bytes(layer)) for layer in model.body.layers]
    elif isinstance(model.body, Forest):
        sections.append(Section("TREE", _forest_bytes(model.body)))
    else:
        sections.append(Section("BOOS", _boosted_bytes(model.body)))
    if spec.policy is not None:
        sections.append(Section("POLI", _POLICY.pack(*(getattr(spec.policy, name) for name in _POLICY_FIELDS))))
    return pack(sections)


def from_image(data: bytes, name: str = "image") -> IntegerModel:
    """Read an image.

    Args:
        data: The whole image.
        name: What to call it in messages.

    Returns:
        The model; of its spec, ``seed``, ``options`` and ``metrics`` are empty, as a board has no use for them.

    Raises:
        InputError: It is not an image, or one of a model that could not run.
    """
    sections = [section for section in unpack(data, name) if section.tag.isupper()]
    try:
        model = _model(sections)
    except (ValueError, KeyError, IndexError, struct.error, UnicodeDecodeError, StingerError) as error:
        what = " ".join(str(error).split())[:120]
        raise InputError(f"{name} holds no usable model ({what}); {_ADVICE}") from error
    if model.hash != _section(sections, "HASH")[_HASH_BYTES:].hex():
        raise InputError(f"{name}: its integers are not those that its hash names; {_ADVICE}")
    return model


def write_model_image(model: IntegerModel, path: Path) -> None:
    """Write an image file, completely or not at all.

    Raises:
        InputError: The model does not fit an image, or the place cannot be written.
    """
    write_bytes(path, to_image(model))


def read_model_image(path: Path) -> IntegerModel:
    """Read an image file; see `from_image`."""
    return from_image(read_bytes(path, MAX_BYTES, _ADVICE), path.name)


def _strings(texts: Any) -> bytes:
    return b"".join(text.encode("utf-8") + b"\0" for text in texts)


def _texts(payload: bytes) -> list[str]:
    if payload[-1:] != b"\0":
        raise ValueError("a text has no end")
    texts = payload[:-1].decode("utf-8").split("\0")
    if not all(len(text) <= 64 and (text.isprintable() or not text) for text in texts):
        raise ValueError("a text is too long or not printable")
    return texts


def _triads(spec: ModelSpec) -> tuple[int, ...]:
    """Number of triads, and the first channel of each; 0 where there is none."""
    triads = spec.feature_set.triads
    return len(triads), *(*triads, 0, 0, 0)[:MAX_TRIADS]


def _scaler_bytes(scaler: Scaler) -> bytes:
    table = np.zeros(len(scaler.scale), dtype=_SCALER)
    table["offset"], table["scale"], table["shift"] = scaler.offset, scaler.scale, scaler.shift
    return table.tobytes()


def _layer_bytes(layer: Layer) -> bytes:
    rows, inputs = layer.weight.shape
    table = np.array([_EMPTY_ROW] * padded(rows, inputs)[0], dtype=_ROW)
    for column in ("bias", "scale", "pre", "post"):
        table[column][:rows] = getattr(layer, column)
    stored = stored_weights(layer.weight)
    head = _LAYER.pack(rows, inputs, 8 * stored.dtype.itemsize, 0, 0)
    return head + table.tobytes() + stored.astype(stored.dtype.newbyteorder("<")).tobytes()


def _forest_bytes(forest: Forest) -> bytes:
    head = _TREES.pack(len(forest.roots), len(forest.feature), len(forest.leaves), 0)
    return head + _nodes_bytes(forest) + _even(forest.roots) + forest.leaves.astype("<u2").tobytes()


def _boosted_bytes(boosted: Boosted) -> bytes:
    sizes = (len(boosted.roots), len(boosted.feature), len(boosted.leaves), len(boosted.baseline))
    parts = (
        _nodes_bytes(boosted),
        _even(boosted.roots),
        _even(boosted.leaves),
        boosted.baseline.astype("<i4").tobytes(),
    )
    return _BOOSTED.pack(*sizes, boosted.shift) + b"".join(parts)


def _nodes_bytes(trees: Forest | Boosted) -> bytes:
    table = np.zeros(len(trees.feature), dtype=_NODE)
    for column in ("threshold", "left", "right", "feature"):
        table[column] = getattr(trees, column)
    return table.tobytes()


def _even(values: NDArray[np.int16]) -> bytes:
    """16-bit numbers, with a zero behind an odd number of them."""
    return values.astype("<i2").tobytes() + bytes(2 * (len(values) % 2))


def _section(sections: list[Section], tag: str) -> bytes:
    found = [section.payload for section in sections if section.tag == tag]
    if len(found) != 1:
        raise ValueError(f"{len(found)} sections {tag}")
    return found[0]


def _model(sections: list[Section]) -> IntegerModel:
    if unknown := sorted({section.tag for section in sections} - set(ORDER)):
        raise ValueError(f"unknown section {unknown[0]}")
    places = [ORDER.index(section.tag) for section in sections]
    if places != sorted(places):
        raise ValueError("sections in another order")
    form = _section(sections, "FORM")
    period_us, lead_us, window, length, channels, classes, features, kind, *triads = _FORM.unpack(form)
    codes = {code: name for name, code in FEATURE_CODES.items()}
    name, family = _texts(_section(sections, "NAME"))
    hashes = _section(sections, "HASH")
    spec = ModelSpec(
        name=name,
        family=family,
        features=codes[features],
        window=window,
        period_us=period_us,
        lead_us=lead_us,
        channels=_channels(_texts(_section(sections, "CHAN"))),
        classes=tuple(_texts(_section(sections, "CLAS"))),
        seed=0,
        data_hash=hashes[:_HASH_BYTES].hex(),
    )
    if len(spec.channels) != channels or len(spec.classes) != classes or not 2 <= classes <= 32:
        raise ValueError("number of channels or classes")
    if period_us < 1 or len(hashes) != _HASH_BYTES + 8 or len(spec.feature_set) != length:
        raise ValueError("period, hash or number of features")
    if tuple(triads) != _triads(spec) or triads[0] > MAX_TRIADS:
        raise ValueError("triads")
    if any(section.tag == "POLI" for section in sections):
        values = dict(zip(_POLICY_FIELDS, _POLICY.unpack(_section(sections, "POLI")), strict=True))
        policy = Policy(window=window, **values)
        policy.check_fits(window=window, period_us=period_us, channels=channels, classes=classes)
        spec = replace(spec, policy=policy)
    body = _body(sections, kind, classes)
    check_body(body, spec)
    return IntegerModel(spec, body)


def _body(sections: list[Section], kind: int, classes: int) -> Body:
    wanted = dict(_BODIES.values())[kind]
    if {section.tag for section in sections} & set.union(*(tags for _, tags in _BODIES.values())) - wanted:
        raise ValueError("sections of several bodies")
    if kind == 0:
        return Network(*_layers(sections))
    if kind == 3:
        kernel, layers, zero = _CONVOLUTION.unpack(_section(sections, "CONV"))
        if zero or layers != sum(section.tag == "LAYR" for section in sections):
            raise ValueError("number of layers")
        return Convolutional(*_layers(sections), kernel)
    return _forest(_section(sections, "TREE"), classes) if kind == 1 else _boosted(_section(sections, "BOOS"))


def _channels(texts: list[str]) -> tuple[Channel, ...]:
    if len(texts) % 3 or not texts:
        raise ValueError("number of texts of channels")
    channels = tuple(Channel(texts[i], texts[i + 1], float(texts[i + 2])) for i in range(0, len(texts), 3))
    if not all(np.isfinite(channel.scale) and channel.scale > 0 and channel.name for channel in channels):
        raise ValueError("a channel's name or scale")
    return channels


def _layers(sections: list[Section]) -> tuple[Scaler, tuple[Layer, ...]]:
    table = np.frombuffer(_section(sections, "SCAL"), dtype=_SCALER)
    if table["zero"].any():
        raise ValueError("scaler")
    scaler = Scaler(*(_native(table[name]) for name in ("scale", "offset", "shift")))
    return scaler, tuple(_layer(section.payload) for section in sections if section.tag == "LAYR")


def _layer(payload: bytes) -> Layer:
    rows, inputs, bits, *zero = _LAYER.unpack_from(payload)
    if bits not in (8, 16) or any(zero) or not 1 <= rows <= MAX_ROWS or not 1 <= inputs <= MAX_INPUTS:
        raise ValueError("shape of a layer")
    all_rows, all_inputs = padded(rows, inputs)
    at = _LAYER.size + all_rows * _ROW.itemsize
    if len(payload) != at + all_rows * all_inputs * bits // 8:
        raise ValueError("size of a layer")
    table = np.frombuffer(payload, dtype=_ROW, count=all_rows, offset=_LAYER.size)
    if table[rows:].tolist() != [_EMPTY_ROW] * (all_rows - rows):
        raise ValueError("a row in the padding")
    stored = np.frombuffer(payload, dtype=f"<u{bits // 8}", offset=at).reshape(-1, all_inputs, 4)
    columns = {name: _native(table[name][:rows]) for name in ("bias", "scale", "pre", "post")}
    return Layer(weight=read_weights(stored, rows, inputs), **columns)


def _forest(payload: bytes, classes: int) -> Forest:
    trees, nodes, leaves, zero = _TREES.unpack_from(payload)
    rest = _Rest(payload, _TREES.size)
    forest = Forest(
        **rest.nodes(nodes), roots=rest.even(trees), leaves=rest.take("<u2", leaves * classes).reshape(leaves, classes)
    )
    rest.end(zero)
    return forest


def _boosted(payload: bytes) -> Boosted:
    trees, nodes, leaves, outputs, shift = _BOOSTED.unpack_from(payload)
    rest = _Rest(payload, _BOOSTED.size)
    boosted = Boosted(
        **rest.nodes(nodes),
        roots=rest.even(trees),
        leaves=rest.even(leaves),
        baseline=rest.take("<i4", outputs),
        shift=shift,
    )
    rest.end(0)
    return boosted


class _Rest:
    """What is left of a section, taken table by table."""

    def __init__(self, payload: bytes, at: int) -> None:
        self._payload = payload
        self._at = at

    def take(self, dtype: Any, count: int) -> NDArray[Any]:
        """Return the next ``count`` entries, in this computer's order of bytes."""
        size = np.dtype(dtype).itemsize * count
        if len(self._payload) - self._at < size:
            raise ValueError("size of the trees")
        table = np.frombuffer(self._payload, dtype=dtype, count=count, offset=self._at)
        self._at += size
        return table if table.dtype.names else _native(table)

    def even(self, count: int) -> NDArray[Any]:
        """Return the next 16-bit numbers; behind an odd number of them is a zero."""
        values = self.take("<i2", count + count % 2)
        if values[count:].any():
            raise ValueError("bytes that must be 0")
        return values[:count]

    def nodes(self, count: int) -> dict[str, NDArray[Any]]:
        """Return the columns of the next nodes."""
        table = self.take(_NODE, count)
        return {name: _native(table[name]) for name in ("feature", "threshold", "left", "right")}

    def end(self, zero: int) -> None:
        """Refuse anything behind the last table, or in the header's spare bytes."""
        if zero or self._at != len(self._payload):
            raise ValueError("size of the trees, or bytes that must be 0")


def _native(column: NDArray[Any]) -> NDArray[Any]:
    """Copy a column of a table, in this computer's order of bytes."""
    return np.ascontiguousarray(column, dtype=column.dtype.newbyteorder("="))
