"""Bundles changed on purpose, with hashes put right again, so that what lies behind the hashes is reached."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import random
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from stinger.errors import CheckFailedError, InputError
from stinger.models.store import load_model
from stinger.workflow.check import check_bundle
from stinger.workflow.progress import Progress
from stinger_export.bundle import load_bundle
from stinger_export.integer.store import load_integer

#: What nobody expects where a number, a name or a list is.
STRANGE: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2, 7, 255, 2**31, 2**63, 2**70, -(2**63), 0.5, 1e308, -1e308, float("nan"), float("inf")),
    *(
        "",
        "x",
        "x" * 100_000,
        "../../etc/passwd",
        "\0",
        "é\u202e",
        "stock",
        "mlmd",
        "hgb",
        "rf",
        "flatten",
        "float-rich",
    ),
    *([], {}, [[]], {"a": 1}, [1] * 1000, list("abcdefgh")),
)
_EXTREME = (0, 1, -1, 127, -128, 32767, -32768, 2**31 - 1, -(2**31), 2**63 - 1, np.nan, np.inf, -np.inf, 1e300, 1e-320)
_DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "int64", "float32", "float64", "bool", "complex64", "<U3", "S2")


def rehash(bundle: Path) -> None:
    """Make every hash and checksum in a bundle that of the file as it is, as far as it can still be read."""
    for image in (bundle / "model.mlmd", bundle / "stock.mlmd"):
        if image.is_file():
            image.write_bytes(_with_crc(image.read_bytes()))
    model = bundle / "model" / "manifest.json"
    _set(model, lambda value: value | {f"{n}_sha256": _sha256(bundle / "model" / f) for n, f in _MODEL_FILES.items()})
    where = bundle / "manifest.json"
    with contextlib.suppress(InputError):
        integer = load_integer(bundle / "integer" / "model.npz", load_model(bundle / "model").spec)
        _set(where, lambda value: value | {"integer_hash": integer.hash})
    names = [p for p in bundle.rglob("*") if p.is_file() and p != where and not p.name.startswith(".")]
    _set(where, lambda value: value | {"files": {p.relative_to(bundle).as_posix(): _sha256(p) for p in names}})


_MODEL_FILES = {"estimator": "estimator.skops", "calibration": "calibration.npy"}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _with_crc(data: bytes) -> bytes:
    version = int.from_bytes(data[4:6], "little")
    if version == 2 and len(data) >= 16:
        return data[:12] + zlib.crc32(data[:12] + data[16:]).to_bytes(4, "little") + data[16:]
    if version == 1 and len(data) >= 24:
        return data[:20] + zlib.crc32(data[24:]).to_bytes(4, "little") + data[24:]
    return data


def _set(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    try:
        value = json.loads(path.read_bytes())
        path.write_text(json.dumps(change(value)))
    except (ValueError, TypeError, RecursionError):
        return  # no JSON object any more: that is the case


def change_file(path: Path, rng: random.Random) -> str:
    """Change a file somehow; returns how, for messages."""
    kinds = [change_bytes]
    if path.suffix == ".json":
        kinds += [change_json] * 3
    if path.suffix == ".npz":
        kinds += [change_arrays] * 3
    change = rng.choice(kinds)
    before = path.read_bytes()
    path.write_bytes(change(before, rng))
    return f"{path.name}: {change.__name__}"


def change_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flip, cut, repeat, or insert bytes."""
    out, kind = bytearray(data), rng.randrange(5)
    at = rng.randrange(len(out) + 1)
    if kind == 0:
        del out[at:]
    elif kind == 1:
        out += rng.randbytes(rng.randrange(1, 50))
    elif kind == 2:
        out[at : at + 8] = rng.choice([bytes(8), b"\xff" * 8, b"\x7f" * 8])
    elif kind == 3:
        out[at:at] = out[at : at + 200]
    else:
        for _ in range(rng.choice((1, 1, 2, 8, 64))):
            out[rng.randrange(len(out))] = rng.randrange(256)
    return bytes(out)


def change_json(data: bytes, rng: random.Random) -> bytes:
    """Put something strange somewhere, remove something, or nest deeply."""
    value = json.loads(data)
    if rng.random() < 0.03:
        return b'{"a":' * 100_000
    for _ in range(rng.choice((1, 1, 1, 3))):
        parents = list(_containers(value))
        parent = rng.choice(parents)
        keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
        if not keys:
            continue
        key = rng.choice(keys)
        if rng.random() < 0.2:
            del parent[key]
        else:
            parent[key] = copy.deepcopy(rng.choice(STRANGE))
    return json.dumps(value).encode()


def _containers(value: Any) -> Any:
    if isinstance(value, (dict, list)):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _containers(inner)


def change_arrays(data: bytes, rng: random.Random) -> bytes:
    """Give an array other values, another type or shape, remove it, or let its header claim something."""
    with np.load(io.BytesIO(data)) as arrays:
        named = {name: arrays[name].copy() for name in arrays.files}
    name = rng.choice(sorted(named))
    array, kind = named[name], rng.randrange(7)
    claim = None
    if kind == 0:
        del named[name]
    elif kind == 1:
        named[rng.choice(["extra", "layer9_weight", "roots", "l1", "baseline"])] = array
    elif kind == 2:
        with np.errstate(all="ignore"):
            named[name] = np.nan_to_num(array).astype(rng.choice(_DTYPES))
    elif kind == 3:
        flat = array.reshape(-1)
        named[name] = rng.choice(
            [array[..., None], flat, flat[:0], flat[:1], np.concatenate([np.atleast_1d(array)] * 3)]
        )
    elif kind == 4:
        claim = rng.choice([(2**40,), (2**31, 2**31), (-1,), (2**62, 8), (0, 2**62), (), (1,) * 40])
    elif array.size:
        for _ in range(rng.choice((1, 1, 5, 50))):
            with np.errstate(all="ignore"):
                flat = array.reshape(-1)
                flat[rng.randrange(array.size)] = np.asarray(rng.choice(_EXTREME)).astype(array.dtype)
    return pack(named, {} if claim is None else {name: claim})


def pack(named: dict[str, Any], claims: dict[str, tuple[int, ...]]) -> bytes:
    """Write arrays, some with headers that claim another shape."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in named.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.asarray(array), allow_pickle=False)
            data = content.getvalue()
            if name in claims:
                head = f"{{'descr': '{array.dtype.str}', 'fortran_order': False, 'shape': {claims[name]!r}, }}"
                data = np.lib.format.magic(1, 0) + len(head).to_bytes(2, "little") + head.encode() + array.tobytes()
            archive.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def use(path: Path) -> str:
    """Open a bundle and check it as far as that needs no compiler; ``works``, ``differs``, or an error."""
    found = check_bundle(load_bundle(path), Progress())
    if found.failures:
        raise CheckFailedError(found.failures[0])
    return "works"
