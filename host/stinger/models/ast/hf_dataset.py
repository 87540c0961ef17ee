"""Examples as a HuggingFace dataset on disk, and back: what other tools of that world train on.

A row is a window: ``input_values`` float32 ``(frames, mel_bins)``, ``label`` (a `ClassLabel`), ``recording`` (its
name), ``sequence`` and ``segment`` (numbers of the recording and of the stretch of one label: what a split must not
tear apart), ``start_ns`` and ``end_ns``. How spectrograms were made, and the SHA-256 of each recording, is in the
dataset's description, which stays with it whatever `datasets` does to its rows.

Reading trusts nothing: names, sizes, types and the absence of compression are checked before `datasets` looks at a
folder, the rest before a row is used. Nothing is fetched and nothing is run.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError, UsageError
from stinger.features.spectrogram import SpectrogramSpec
from stinger.files import read_bytes, replace_dir, write_text
from stinger.models.ast.examples import MAX_EXAMPLES, Examples, Source, StoredInputs
from stinger.models.ast.libraries import Library, load_datasets
from stinger.windows.labelled import MAX_CLASSES

FORMAT = 1
STATE, INFO = "state.json", "dataset_info.json"
MAX_BYTES = 16 << 30
_MAX_JSON, _MAX_SHARDS, _MAX_MESSAGES = 32 << 20, 1024, 1_000_000
_ADVICE = "give a folder that `stinger magnetic dataset` wrote"
_NUMBERS = ("sequence", "segment", "start_ns", "end_ns")
_BATCH = 16


def is_hf_dataset(folder: Path) -> bool:
    """Say whether a folder is a dataset that `save_to_disk` wrote."""
    return any((folder / name).is_file() for name in (STATE, "dataset_dict.json"))


def write_hf_dataset(examples: Examples, folder: Path, show: Callable[[int, int], None] | None = None) -> None:
    """Write examples with their spectrograms; the same ones give the same bytes.

    Raises:
        UsageError: The extra `ast` is missing, or they are too large.
        InputError: The place cannot be written.
    """
    datasets = load_datasets()
    writers = importlib.import_module("datasets.arrow_writer")
    spec = examples.inputs.spec
    size = len(examples) * spec.frames * spec.mel_bins * 4
    if size > MAX_BYTES:
        raise UsageError(f"{size >> 30} GiB of spectrograms, at most {MAX_BYTES >> 30} are written; raise --stride")
    features = datasets.Features(
        {
            "input_values": datasets.Array2D(shape=spec.shape, dtype="float32"),
            "label": datasets.ClassLabel(names=list(examples.classes)),
            "recording": datasets.Value("string"),
            **{name: datasets.Value("int64") for name in _NUMBERS},
        }
    )
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory(prefix="stinger-dataset-") as place, replace_dir(folder) as building:
        path = str(Path(place) / "rows.arrow")
        with writers.ArrowWriter(features=features, path=path, writer_batch_size=_BATCH) as writer:
            for first in range(0, len(examples), _BATCH):
                rows = np.arange(first, min(first + _BATCH, len(examples)))
                values = examples.inputs.take(rows)
                digest.update(values.tobytes())
                columns = {name: getattr(examples, name)[rows].tolist() for name in _NUMBERS}
                names = [examples.sources[i].name for i in columns["sequence"]]
                batch = {"input_values": list(values), "label": examples.labels[rows].tolist(), "recording": names}
                writer.write_batch(batch | columns)
                if show is not None:
                    show(int(rows[-1]) + 1, len(examples))
            writer.finalize()
        rows_of_all = datasets.Dataset.from_file(path)
        rows_of_all.info.description = json.dumps(_about(examples))
        rows_of_all.save_to_disk(str(building))
        state = json.loads((building / STATE).read_text("utf-8"))
        # What it was would be another each time: the name of the place it was written in.
        state["_fingerprint"] = digest.hexdigest()[:16]
        write_text(building / STATE, json.dumps(state, indent=2, sort_keys=True))


def read_hf_dataset(folder: Path) -> Examples:
    """Read examples back; spectrograms stay on disk until they are needed.

    Raises:
        UsageError: The extra `ast` is missing.
        InputError: The folder is damaged, too large, or no such dataset.
    """
    datasets = load_datasets()
    _check_files(folder)
    try:
        stored = datasets.load_from_disk(str(folder), keep_in_memory=False)
        # Offsets into the rows are looked at, not the rows: quick, however many there are.
        stored.data.table.validate(full=True)
        about = json.loads(stored.info.description)
        spec = SpectrogramSpec(**about["spectrogram"])
        classes, channels = tuple(map(str, about["classes"])), tuple(map(str, about["channels"]))
        sources = tuple(Source(str(one["name"]), str(one["sha256"])) for one in about["sources"])
        window_s, named = float(about["window_s"]), stored.features["label"].names
        sane = about["format"] == FORMAT and 2 <= len(set(classes)) == len(classes) <= MAX_CLASSES
        sane &= 0 < window_s < 1e6 and 1 <= len(channels) <= 32 and list(classes) == named and bool(sources)
        columns = stored.with_format("numpy")
        numbers = {name: np.asarray(columns[name][:], dtype=np.int64) for name in ("label", *_NUMBERS)}
    except _damage(UsageError) as error:
        why = " ".join(str(error).split())[:100] or type(error).__name__
        raise InputError(f"{folder} is not a dataset of spectrograms, or damaged ({why}); {_ADVICE}") from error
    if not sane or not 1 <= len(stored) <= MAX_EXAMPLES:
        raise InputError(f"{folder}: its description makes no sense, or not 1 to {MAX_EXAMPLES:,} rows; {_ADVICE}")
    bounds = {"label": len(classes), "sequence": len(sources), "segment": 2**40, "start_ns": 2**62, "end_ns": 2**62}
    for name, high in bounds.items():
        low = -(2**62) if name.endswith("_ns") else 0
        if ((numbers[name] < low) | (numbers[name] >= high)).any():
            raise InputError(f"{folder}: {name} is out of range in some rows; {_ADVICE}")
    return Examples(
        inputs=StoredInputs(_Rows(columns, folder), spec, spec),
        labels=numbers["label"],
        classes=classes,
        sequence=numbers["sequence"],
        segment=numbers["segment"],
        start_ns=numbers["start_ns"],
        end_ns=numbers["end_ns"],
        sources=sources,
        channels=channels,
        window_s=window_s,
    )


class _Rows:
    """Spectrograms of a dataset on disk."""

    def __init__(self, columns: Library, folder: Path) -> None:
        self._columns = columns
        self._folder = folder

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        try:
            values = self._columns[rows.tolist()]["input_values"]
            return np.ascontiguousarray(values, dtype=np.float32)
        except _damage() as error:
            raise InputError(f"{self._folder}: a row holds no spectrogram; {_ADVICE}") from error


def _about(examples: Examples) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "made_by": "stinger magnetic dataset",
        "classes": list(examples.classes),
        "channels": list(examples.channels),
        "window_s": examples.window_s,
        "spectrogram": examples.inputs.spec.to_json(),
        "sources": [{"name": source.name, "sha256": source.sha256} for source in examples.sources],
    }


def _damage(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """Whatever `datasets` and Arrow raise on files that are none, and more."""
    known = (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, MemoryError)
    return (importlib.import_module("pyarrow").ArrowException, *known, *more)


def _check_files(folder: Path) -> None:
    """Refuse a folder that leads elsewhere, or that would unpack to more than lies in it."""
    if not (folder / STATE).is_file() and (folder / "dataset_dict.json").is_file():
        raise InputError(f"{folder} holds several datasets; give the folder of one of them")
    state: Any = None
    for name in (STATE, INFO):
        try:
            value = json.loads(read_bytes(folder / name, _MAX_JSON, _ADVICE))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{folder / name} is not JSON; {_ADVICE}") from error
        state = value if name == STATE else state
    listed = state.get("_data_files") if isinstance(state, dict) else None
    names = (
        [one.get("filename") if isinstance(one, dict) else None for one in listed] if isinstance(listed, list) else []
    )
    plain = all(isinstance(name, str) and name == Path(name).name and name.endswith(".arrow") for name in names)
    if not names or not plain or len(names) > _MAX_SHARDS or len(set(names)) != len(names):
        raise InputError(f"{folder / STATE} does not list files of rows beside it; {_ADVICE}")
    total = 0
    for path in (folder / str(name) for name in names):
        if path.is_symlink() or not path.is_file():
            raise InputError(f"{path} is not there, or a link; {_ADVICE}")
        total += path.stat().st_size
        _check_arrow(path)
    if total > MAX_BYTES:
        raise InputError(f"{folder}: more than {MAX_BYTES >> 30} GiB; give a part of it")


def _check_arrow(path: Path) -> None:
    arrow = importlib.import_module("pyarrow")
    try:
        with arrow.memory_map(str(path)) as stream:
            with arrow.ipc.open_stream(stream) as reader:
                known = {field.name: str(field.type) for field in reader.schema}
            stream.seek(0)
            messages = arrow.ipc.MessageReader.open_stream(stream)
            for number, message in enumerate(messages):
                if number > _MAX_MESSAGES or (
                    message.type == "record batch" and _is_packed(message.metadata.to_pybytes())
                ):
                    raise InputError(f"{path}: its rows are compressed, or too many parts; {_ADVICE}")
                if message.type == "dictionary":
                    raise InputError(f"{path}: its rows are encoded in an unusual way; {_ADVICE}")
    except _damage(struct.error) as error:
        raise InputError(f"{path} is damaged ({' '.join(str(error).split())[:80]}); {_ADVICE}") from error
    wanted = {"input_values", "label", "recording", *_NUMBERS}
    missing = sorted(wanted - known.keys())
    if missing:
        raise InputError(f"{path.parent}: no column {missing[0]!r}; {_ADVICE}")
    whole = all(known[name] == "int64" for name in ("label", *_NUMBERS))
    if not whole or known["recording"] not in ("string", "large_string"):
        raise InputError(f"{path.parent}: a column is of another type than it must be; {_ADVICE}")
    extra = [name for name, kind in known.items() if name not in wanted and kind not in _PLAIN]
    if extra:
        raise InputError(f"{path.parent}: column {extra[0]!r:.60} is of a type that is not read; leave it out")


#: Types of columns that others may have added.
_PLAIN = ("int64", "int32", "int16", "int8", "uint8", "float", "double", "bool", "string", "large_string")


def _is_packed(metadata: bytes) -> bool:
    """Whether a record batch says that its buffers are compressed: a flatbuffer, header in slot 2, codec in slot 3."""
    header = _slot(metadata, struct.unpack_from("<I", metadata, 0)[0], 2)
    if header is None:
        return True
    return _slot(metadata, header + struct.unpack_from("<I", metadata, header)[0], 3) is not None


def _slot(data: bytes, table: int, number: int) -> int | None:
    """Where a flatbuffer's table has a field; None if it has not."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    if vtable < 0:
        raise ValueError("a message's header is damaged")
    (size,) = struct.unpack_from("<H", data, vtable)
    if size < 4 + 2 * (number + 1):
        return None
    (offset,) = struct.unpack_from("<H", data, vtable + 4 + 2 * number)
    return table + offset if offset else None
