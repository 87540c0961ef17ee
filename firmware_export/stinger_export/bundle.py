"""A bundle: everything exported from one model, in one directory, with hashes.

Layout::

    manifest.json                    what it is, SHA-256 of every other file
    model/                           the trained model (see stinger.models.store)
    model.onnx                       int16 window in, label and probabilities out
    emlearn/<name>.h                 header for emlearn's C library, with a wrapper for integer features; not of models
                                     that emlearn does not know
    integer/stinger_model_data.c     the model for device/stinger_ml
    integer/stinger_limits.h         its exact sizes
    integer/model.npz                the same integers for the numpy reference
    replay.npz                       samples to replay into a board
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx

from stinger.errors import InputError
from stinger.files import read_bytes, replace_dir, write_bytes, write_text
from stinger.models.spec import ModelSpec, TrainedModel
from stinger.models.store import load_model, save_model
from stinger.windows.replay import ReplayStream, load_replay, save_replay
from stinger_export.emlearn_header import EmlearnHeader, emlearn_takes, to_emlearn
from stinger_export.exercise import exercise_stream
from stinger_export.integer.c_source import write_c_source
from stinger_export.integer.model import IntegerModel
from stinger_export.integer.quantise import quantise
from stinger_export.integer.store import load_integer, save_integer
from stinger_export.onnx_graph import to_onnx

#: Raise when an older reader would misread the layout.
FORMAT = 1
_MANIFEST = "manifest.json"
_MAX_MANIFEST = 2**20
_MAX_ONNX = 64 * 2**20
_MAX_FILE = 2**28
_ADVICE = "export the model again"


@dataclass(frozen=True)
class Bundle:
    """An opened bundle.

    Attributes:
        path: Its directory.
        model: The trained model (level L0).
        integer: The integer model (level L2).
        replay: Samples to replay into a board.
    """

    path: Path
    model: TrainedModel
    integer: IntegerModel
    replay: ReplayStream

    @property
    def spec(self) -> ModelSpec:
        """The model's manifest."""
        return self.model.spec

    @property
    def source_dir(self) -> Path:
        """Directory of the generated C files."""
        return self.path / "integer"

    def onnx(self) -> onnx.ModelProto:
        """Read the ONNX graph.

        Raises:
            InputError: It is damaged.
        """
        path = self.path / "model.onnx"
        try:
            return onnx.load_model_from_string(read_bytes(path, _MAX_ONNX, _ADVICE))
        except InputError:
            raise
        except Exception as error:  # protobuf raises its own kinds, which onnx does not name
            raise InputError(f"{path} is not an ONNX graph; export the model again") from error

    def emlearn(self) -> EmlearnHeader | None:
        """Generate the emlearn header afresh, byte for byte the file in the bundle; None if emlearn knows no such."""
        return to_emlearn(self.model) if emlearn_takes(self.spec) else None


def export_bundle(model: TrainedModel, directory: Path, on_progress: Callable[[str], None] = lambda _: None) -> Bundle:
    """Export a model to every target.

    Args:
        model: A trained model.
        directory: Where the bundle goes; one that an earlier export made is replaced.
        on_progress: Called with the name of each target before it is made.

    Raises:
        InputError: The model cannot be exported, or the place cannot be written.
    """
    on_progress("integer")
    integer = quantise(model)
    on_progress("onnx")
    graph = to_onnx(model).SerializeToString(deterministic=True)
    header = None
    if emlearn_takes(model.spec):
        on_progress("emlearn")
        header = to_emlearn(model)
    replay = exercise_stream(model)
    with replace_dir(directory) as building:
        save_model(model, building / "model")
        write_bytes(building / "model.onnx", graph)
        if header is not None:
            write_text(building / "emlearn" / f"{header.name}.h", header.header_text)
        write_c_source(integer, building / "integer")
        save_integer(integer, building / "integer" / "model.npz")
        save_replay(replay, building / "replay.npz")
        manifest = {
            "format": FORMAT,
            "kind": "stinger-bundle",
            "name": model.spec.name,
            "integer_hash": integer.hash,
            "files": _hashes(building),
        }
        write_text(building / _MANIFEST, json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    return Bundle(directory, model, integer, replay)


def load_bundle(directory: Path) -> Bundle:
    """Open a bundle.

    Raises:
        InputError: It is not a bundle, or a file in it is missing, changed or unusable.
    """
    where = directory / _MANIFEST
    if not where.is_file():
        raise InputError(f"{directory} is not a bundle (no {_MANIFEST}); make one with `stinger export`")
    try:
        manifest = json.loads(read_bytes(where, _MAX_MANIFEST, _ADVICE))
        files, expected_hash = dict(manifest["files"]), str(manifest["integer_hash"])
        if manifest["kind"] != "stinger-bundle" or manifest["format"] != FORMAT:
            raise InputError(f"{where} is of another kind or a newer format; update stinger or export again")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{where} is damaged; export the model again") from error
    actual = _hashes(directory)
    for name in sorted(files.keys() | actual.keys()):
        if files.get(name) != actual.get(name):
            raise InputError(f"{directory / name} is not the file that was exported; export the model again")
    model = load_model(directory / "model")
    integer = load_integer(directory / "integer" / "model.npz", model.spec)
    if integer.hash != expected_hash:
        raise InputError(f"{directory / 'integer'} does not belong to this bundle; export the model again")
    return Bundle(directory, model, integer, load_replay(directory / "replay.npz"))


def _hashes(directory: Path) -> dict[str, str]:
    """SHA-256 of every file but the manifest and hidden ones, by relative path."""
    return {
        path.relative_to(directory).as_posix(): hashlib.sha256(read_bytes(path, _MAX_FILE, _ADVICE)).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path != directory / _MANIFEST and not path.name.startswith(".")
    }
