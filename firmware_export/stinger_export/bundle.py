"""A bundle: everything exported from one model, in one directory, with hashes.

Layout; what a model cannot have, or nobody asked for, is not there::

    manifest.json                    what it is, SHA-256 of every other file, parity of every target with the model
    README.md                        the model card
    model/                           the trained model (see stinger.models.store)
    model.onnx                       int16 window in, label and probabilities out
    emlearn/<name>.h                 header for emlearn's C library, with a wrapper for integer features
    integer/stinger_model_data.c     the model for device/stinger_ml
    integer/stinger_limits.h         its exact sizes
    integer/model.npz                the same integers for the numpy reference
    model.mlmd                       the same as an image to upload (MLMD version 2)
    stock.mlmd  stock_weights.h      image and C header for the stock firmware
    replay.npz                       samples to replay into a board
    vectors.npz                      windows and what every level says of them
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from stinger.arrays import write_arrays
from stinger.errors import InputError
from stinger.files import read_bytes, replace_dir, write_bytes, write_text
from stinger.models.spec import ModelSpec, TrainedModel
from stinger.models.store import load_model, save_model
from stinger.windows.replay import ReplayStream, load_replay, save_replay
from stinger_export.card import model_card
from stinger_export.emlearn_header import EmlearnHeader, emlearn_takes, to_emlearn
from stinger_export.image.model import read_model_image
from stinger_export.integer.c_source import write_c_source
from stinger_export.integer.model import IntegerModel
from stinger_export.integer.store import load_integer, save_integer
from stinger_export.parity import INTEGER_BOUND
from stinger_export.stock.header import stock_header
from stinger_export.stock.image import StockModel, read_image
from stinger_export.targets import TARGETS, Exports, make_exports
from stinger_export.vectors import Vectors, read_vectors

#: Raise when an older reader would misread the layout. Version 2 says which targets there are; those of version 1 held
#: integer, onnx and, if the model allowed it, emlearn.
FORMAT = 2
_MANIFEST = "manifest.json"
_CARD = "README.md"
_VECTORS = "vectors.npz"
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
        integer_model: The integer model (level L2); None if the bundle holds none.
        replay: Samples to replay into a board.
        targets: What the model was exported to; see `stinger_export.targets.TARGETS`.
        manifest: All of the manifest.
    """

    path: Path
    model: TrainedModel
    integer_model: IntegerModel | None
    replay: ReplayStream
    targets: tuple[str, ...]
    manifest: Mapping[str, Any]

    @property
    def spec(self) -> ModelSpec:
        """The model's manifest."""
        return self.model.spec

    @property
    def integer(self) -> IntegerModel:
        """The integer model.

        Raises:
            InputError: The bundle holds none, so that no board can run it.
        """
        if self.integer_model is None:
            raise InputError(
                f"{self.path} holds no integer model ({self._why_not('integer')}); it has {', '.join(self.targets)}"
            )
        return self.integer_model

    @property
    def source_dir(self) -> Path:
        """Directory of the generated C files."""
        return self.path / "integer"

    @property
    def max_loss(self) -> float:
        """Largest change of a probability from the model to its integers that the export allowed."""
        for entry in self.manifest.get("parity", []):
            if entry["target"] == "integer":
                return float(entry["bound"])
        return INTEGER_BOUND

    def _why_not(self, target: str) -> str:
        return str(dict(self.manifest.get("not_exported", {})).get(target, "not exported"))

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
        """Generate the emlearn header afresh, byte for byte the file in the bundle; None if there is none."""
        return to_emlearn(self.model) if "emlearn" in self.targets and emlearn_takes(self.spec) else None

    def mlmd(self) -> IntegerModel | None:
        """Read the model image back; None if there is none.

        Raises:
            InputError: It is damaged.
        """
        return read_model_image(self.path / "model.mlmd") if "mlmd" in self.targets else None

    def stock(self) -> StockModel | None:
        """Read the stock firmware's image back; None if there is none.

        Raises:
            InputError: It is damaged.
        """
        return read_image(self.path / "stock.mlmd") if "stock" in self.targets else None

    def vectors(self) -> Vectors | None:
        """Read the test vectors; None in a bundle of version 1.

        Raises:
            InputError: They are damaged.
        """
        return read_vectors(self.path / _VECTORS, self.spec) if self.manifest.get("format") != 1 else None


def export_bundle(
    model: TrainedModel,
    directory: Path,
    on_progress: Callable[[str], None] = lambda _: None,
    *,
    targets: Sequence[str] | None = None,
    max_loss: float = INTEGER_BOUND,
) -> Bundle:
    """Export a model, every form measured against it; see `make_exports` and `write_bundle`.

    Args:
        model: A trained model.
        directory: Where the bundle goes; one that an earlier export made is replaced.
        on_progress: Called with the name of each target before it is made.
        targets: Names of forms; by default whatever the model allows.
        max_loss: Largest change of a probability from the model to its integers.

    Raises:
        UsageError: A form was asked for that the model cannot have.
        InputError: The model cannot be exported, or the place cannot be written.
        CheckFailedError: A form is further from the model than allowed; nothing is written.
    """
    made = make_exports(model, targets, max_loss=max_loss, on_progress=on_progress)
    return write_bundle(made, directory)


def write_bundle(made: Exports, directory: Path, cost: Mapping[str, Any] | None = None) -> Bundle:
    """Write what a model was exported to.

    Args:
        made: All forms.
        directory: Where the bundle goes; one that an earlier export made is replaced.
        cost: What the model takes on the board, if that was measured; plain JSON values.

    Raises:
        InputError: The place cannot be written.
    """
    spec = made.model.spec
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "kind": "stinger-bundle",
        "name": spec.name,
        "integer_hash": made.integer.hash if made.integer is not None else None,
        "targets": list(made.targets),
        "not_exported": made.not_exported,
        "parity": [parity.to_json() for parity in made.parity],
        "held_out": made.held_out,
        "cost": None if cost is None else dict(cost),
    }
    with replace_dir(directory) as building:
        save_model(made.model, building / "model")
        if made.onnx is not None:
            write_bytes(building / "model.onnx", made.onnx.SerializeToString(deterministic=True))
        if made.emlearn is not None:
            write_text(building / "emlearn" / f"{made.emlearn.name}.h", made.emlearn.header_text)
        if made.integer is not None:
            write_c_source(made.integer, building / "integer")
            save_integer(made.integer, building / "integer" / "model.npz")
        if made.mlmd is not None:
            write_bytes(building / "model.mlmd", made.mlmd)
        if made.stock is not None:
            write_bytes(building / "stock.mlmd", made.stock.to_bytes())
            write_text(building / "stock_weights.h", stock_header(made.stock, spec))
        save_replay(made.replay, building / "replay.npz")
        write_arrays(building / _VECTORS, made.vectors)
        write_text(building / _CARD, model_card(spec, manifest))
        manifest["files"] = _hashes(building)
        text = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        write_text(building / _MANIFEST, text + "\n")
    return Bundle(directory, made.model, made.integer, made.replay, made.targets, manifest)


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
        files, expected_hash = dict(manifest["files"]), manifest["integer_hash"]
        version = manifest["format"]
        if manifest["kind"] != "stinger-bundle" or type(version) is not int or not 1 <= version <= FORMAT:
            raise InputError(f"{where} is of another kind or a newer format; update stinger or export again")
        targets = _targets_of_version_1(files) if version == 1 else tuple(manifest["targets"])
        if not targets or not set(targets) <= set(TARGETS) or not isinstance(manifest.get("not_exported", {}), dict):
            raise InputError(f"{where} names targets that there are not; update stinger or export again")
        if not all(0 <= float(entry["bound"]) <= 1 for entry in manifest.get("parity", []) if entry["target"]):
            raise InputError(f"{where} allows a loss that is none; export the model again")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{where} is damaged; export the model again") from error
    actual = _hashes(directory)
    for name in sorted(files.keys() | actual.keys()):
        if files.get(name) != actual.get(name):
            raise InputError(f"{directory / name} is not the file that was exported; export the model again")
    model = load_model(directory / "model")
    integer = None
    if "integer" in targets:
        integer = load_integer(directory / "integer" / "model.npz", model.spec)
        if integer.hash != expected_hash:
            raise InputError(f"{directory / 'integer'} does not belong to this bundle; export the model again")
    return Bundle(directory, model, integer, load_replay(directory / "replay.npz"), targets, manifest)


def _targets_of_version_1(files: Mapping[str, str]) -> tuple[str, ...]:
    emlearn = any(name.startswith("emlearn/") for name in files)
    return ("integer", "onnx", *(("emlearn",) if emlearn else ()))


def _hashes(directory: Path) -> dict[str, str]:
    """SHA-256 of every file but the manifest and hidden ones, by relative path."""
    return {
        path.relative_to(directory).as_posix(): hashlib.sha256(read_bytes(path, _MAX_FILE, _ADVICE)).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path != directory / _MANIFEST and not path.name.startswith(".")
    }
