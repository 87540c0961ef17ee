"""A fitted estimator as bytes and back: skops, made repeatable and checked before anything is built from it.

skops stores an estimator without pickle, as a zip of a JSON schema and NumPy arrays. As it comes, the file names
and the schema hold the memory addresses of one process, so no two files are alike; here they are numbered
instead. Reading trusts nothing: sizes, names, types and array headers are checked first, because skops checks
types only, and scikit-learn indexes trees without looking.
"""

from __future__ import annotations

import io
import json
import math
import re
import struct
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.models.skops_io import UnsupportedTypeException, UntrustedTypesFoundException
from stinger.models.skops_io import io as skops_io

MAX_FILE = 64 * 2**20
MAX_UNPACKED = 256 * 2**20
MAX_SCHEMA = 16 * 2**20
MAX_ENTRIES = 8192
_SCHEMA = "schema.json"
_ENTRY = re.compile(r"[0-9]{1,5}\.npy")

#: Everything a stored estimator may contain: module, class, and the skops loader that builds it.
_ALLOWED = {
    ("builtins", "dict", "DictNode"),
    ("builtins", "list", "ListNode"),
    ("builtins", "tuple", "TupleNode"),
    ("builtins", "str", "JsonNode"),
    ("builtins", "str", "TypeNode"),
    ("numpy", "ndarray", "NdArrayNode"),
    ("sklearn.pipeline", "Pipeline", "ObjectNode"),
    ("sklearn.preprocessing._data", "StandardScaler", "ObjectNode"),
    ("sklearn.preprocessing._label", "LabelBinarizer", "ObjectNode"),
    ("sklearn.linear_model._logistic", "LogisticRegression", "ObjectNode"),
    ("sklearn.neural_network._multilayer_perceptron", "MLPClassifier", "ObjectNode"),
    ("sklearn.ensemble._forest", "RandomForestClassifier", "ObjectNode"),
    ("sklearn.ensemble._forest", "ExtraTreesClassifier", "ObjectNode"),
    ("sklearn.tree._classes", "DecisionTreeClassifier", "ObjectNode"),
    ("sklearn.tree._classes", "ExtraTreeClassifier", "ObjectNode"),
    ("sklearn.tree._tree", "Tree", "TreeNode"),
    ("stinger.models.boosted", "HistGradientTreesClassifier", "ObjectNode"),
    ("stinger.models.boosted", "XGBTreesClassifier", "ObjectNode"),
    ("stinger.models.calibrated", "CalibratedRidgeClassifier", "ObjectNode"),
    ("stinger.models.torch_net", "TorchCNNClassifier", "ObjectNode"),
    ("stinger.models.torch_net", "TorchMLPClassifier", "ObjectNode"),
}
#: What skops does not trust by itself; its content is checked here and in `stinger.models.validate`.
_TRUSTED = [
    "sklearn.tree._tree.Tree",
    *(f"{module}.{kind}" for module, kind, _ in sorted(_ALLOWED) if "stinger" in module),
]


def pack(estimator: Any) -> bytes:
    """Store an estimator made by `stinger.models.validate.rebuilt`; equal ones give equal bytes in every process.

    Raises:
        InputError: The estimator holds something that a stored model may not contain.
    """
    try:
        raw = skops_io.dumps(estimator)
    except UnsupportedTypeException as error:
        raise InputError(f"the estimator cannot be stored: {str(error).splitlines()[0]}") from error
    with zipfile.ZipFile(io.BytesIO(raw)) as source:
        schema = json.loads(source.read(_SCHEMA))
        numbers: dict[bytes, str] = {}
        for node in _nodes(schema):
            node.pop("__id__", None)
            if "file" in node:
                content = _without_padding(source.read(node["file"]))
                node["file"] = numbers.setdefault(content, f"{len(numbers)}.npy")
    text = json.dumps(schema, separators=(",", ":"))
    if len(numbers) >= MAX_ENTRIES or len(text) > MAX_SCHEMA or sum(map(len, numbers)) > MAX_FILE - len(text):
        raise InputError("the estimator is larger than a stored model may be; use fewer or smaller trees or layers")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as target:
        for content, name in numbers.items():
            target.writestr(_entry(name), content)
        target.writestr(_entry(_SCHEMA), text)
    return buffer.getvalue()


def unpack(data: bytes, name: str) -> Any:
    """Build the estimator stored by `pack`.

    Args:
        data: The file's content.
        name: What to call the file in messages.

    Returns:
        The estimator, only good for `stinger.models.validate.rebuilt`: its types are those a model may contain and
        its trees were safe to construct, but nothing says that it can be run.

    Raises:
        InputError: The file is damaged, too large, or contains anything but such an estimator.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_entries(archive, name)
            schema = json.loads(archive.read(_SCHEMA))
            built = 0
            for node in _nodes(schema):
                _check_node(node, archive, name)
                # Parts may share a file, but each makes an array of its own.
                built += archive.getinfo(node["file"]).file_size if "file" in node else 0
            if built > MAX_UNPACKED:
                raise InputError(f"{name} unpacks to more than a model may; do not use this file")
        untrusted = set(skops_io.get_untrusted_types(data=data)) - set(_TRUSTED)
        if untrusted:
            raise InputError(_unwelcome(name, sorted(untrusted)[0]))
        return skops_io.loads(data, trusted=_TRUSTED)
    except UntrustedTypesFoundException as error:
        raise InputError(_unwelcome(name, "an untrusted type")) from error
    except (
        zipfile.BadZipFile,
        struct.error,
        UnsupportedTypeException,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        ArithmeticError,
        EOFError,
        ImportError,
        MemoryError,
        RecursionError,
        NotImplementedError,
    ) as error:
        raise InputError(f"{name} is damaged ({type(error).__name__}); save the model again") from error


def _unwelcome(name: str, what: str) -> str:
    return f"{name} contains {what}, which no stinger model does; do not use this file"


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.create_system = 3
    entry.external_attr = 0o644 << 16
    return entry


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object in the schema, in document order."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting.extend(reversed(value.values()))
        elif isinstance(value, list):
            waiting.extend(reversed(value))


def _without_padding(content: bytes) -> bytes:
    """Zero the unused bytes between the fields of a structured array; they are whatever memory held."""
    array = np.load(io.BytesIO(content), allow_pickle=False)
    if array.dtype.names is None:
        return content
    clean = np.zeros(array.shape, array.dtype)
    for field in array.dtype.names:
        clean[field] = array[field]
    buffer = io.BytesIO()
    np.save(buffer, clean, allow_pickle=False)
    return buffer.getvalue()


def _check_entries(archive: zipfile.ZipFile, name: str) -> None:
    entries = archive.infolist()
    if len(entries) > MAX_ENTRIES or sum(entry.file_size for entry in entries) > MAX_UNPACKED:
        raise InputError(f"{name} unpacks to more than a model may; do not use this file")
    names = [entry.filename for entry in entries]
    if len(set(names)) != len(names) or any(n != _SCHEMA and not _ENTRY.fullmatch(n) for n in names):
        raise InputError(_unwelcome(name, "an unexpected file"))
    # Stored entries cannot grow when read; `pack` writes no others.
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries):
        raise InputError(_unwelcome(name, "a compressed or encrypted part"))
    if archive.getinfo(_SCHEMA).file_size > MAX_SCHEMA:
        raise InputError(f"{name} unpacks to more than a model may; do not use this file")
    for entry in entries:
        if entry.filename != _SCHEMA:
            read_array(archive.read(entry), name)


def read_array(content: bytes, name: str) -> NDArray[Any]:
    """Read a .npy file, checking its header before NumPy allocates what the header claims.

    Args:
        content: The file's content.
        name: What to call the file in messages.

    Returns:
        An array of numbers, or of records of numbers, all finite.

    Raises:
        InputError: It is damaged, or holds anything else.
    """
    try:
        stream = io.BytesIO(content)
        if npy.read_magic(stream) != (1, 0):
            raise InputError(_unwelcome(name, "an array of an unexpected version"))
        shape, _, dtype = npy.read_array_header_1_0(stream)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError, UnicodeError) as error:
        raise InputError(f"{name} is damaged (an array's header); save the model again") from error
    if dtype.hasobject or any(length < 0 for length in shape):
        raise InputError(_unwelcome(name, "an array of objects"))
    if dtype.itemsize * math.prod(shape) != len(content) - stream.tell():
        raise InputError(f"{name} is damaged (an array's size); save the model again")
    array: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    for column in [array] if dtype.names is None else [array[field] for field in dtype.names]:
        if column.dtype.kind not in "iufb":
            raise InputError(_unwelcome(name, f"an array of {column.dtype}"))
        if column.dtype.kind == "f" and not np.isfinite(column).all():
            raise InputError(f"{name} holds weights that are not finite; train the model again")
    return array


def _check_node(node: dict[str, Any], archive: zipfile.ZipFile, name: str) -> None:
    if "__loader__" not in node and "__class__" not in node:
        return
    found = (node["__module__"], node["__class__"], node["__loader__"])
    if found not in _ALLOWED:
        raise InputError(_unwelcome(name, f"{found[0]}.{found[1]}"))
    if found[2] == "NdArrayNode" and (node["type"] != "numpy" or node["file"] == _SCHEMA):
        raise InputError(_unwelcome(name, "an array of objects"))
    if found[2] == "TreeNode":
        # scikit-learn reads n_outputs entries of this array without looking at its length.
        _, classes, outputs = node["__reduce__"]["args"]["content"]
        array = read_array(archive.read(classes["file"]), name)
        if array.shape != (1,) or array.dtype != np.int64 or outputs["content"] != "1":
            raise InputError(_unwelcome(name, "a tree of another shape"))
