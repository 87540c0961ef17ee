"""A bundle: everything exported from one model, in one directory or one zip of it, with hashes.

Layout; what a model cannot have, or nobody asked for, is not there::

    manifest.json                    what it is, SHA-256 of every other file, parity of every target with the model
    README.md                        the model card
    LICENSES.txt                     what in it is under which licence
    model/                           the trained model (see stinger.models.store)
    model.onnx                       int16 window in, label, probabilities and logits out
    model_features.onnx              the same from features
    emlearn/<name>.h                 header for emlearn's C library, with a wrapper for integer features
    integer/stinger_model_data.c     the model for device/stinger_ml
    integer/stinger_limits.h         its exact sizes
    integer/model.npz                the same integers for the numpy reference
    model.mlmd                       the same as an image to upload (MLMD version 2)
    stock.mlmd                       image for the stock firmware (MLMD version 1)
    stock_weights.h                  C header for the stock firmware's build
    replay.npz                       samples to replay into a board
    vectors.npz                      windows and what every level says of them

Code from a stranger's bundle never runs: C and ONNX are used only where they are what this stinger makes of the model
beside them, which is validated completely.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from onnx import ModelProto

from stinger import __version__
from stinger.arrays import write_arrays
from stinger.errors import InputError
from stinger.files import read_bytes, replace_dir, write_bytes, write_text
from stinger.models.spec import ModelSpec, TrainedModel
from stinger.models.store import load_model, save_model
from stinger.windows.replay import ReplayStream, load_replay, save_replay
from stinger_export.bundle_manifest import ADVICE, FORMAT, MANIFEST, file_hashes, read_manifest
from stinger_export.bundle_zip import (
    is_zip_name,
    replace_bundle_zip,
    unpack_bundle,
)
from stinger_export.card import licences_text, model_card, versions
from stinger_export.emlearn_header import EmlearnHeader, to_emlearn
from stinger_export.image.model import read_model_image, to_image
from stinger_export.image.sections import MAX_BYTES
from stinger_export.integer.c_source import c_source, write_c_source
from stinger_export.integer.model import IntegerModel
from stinger_export.integer.store import load_integer, save_integer
from stinger_export.onnx_graph import same_graph, to_onnx, to_onnx_classifier
from stinger_export.parity import INTEGER_BOUND
from stinger_export.stock.header import read_stock_header
from stinger_export.stock.image import StockModel, read_image
from stinger_export.targets import Exports, make_exports
from stinger_export.vectors import Vectors, read_vectors

_CARD = "README.md"
_LICENCES = "LICENSES.txt"
_VECTORS = "vectors.npz"
_MAX_ONNX = 64 * 2**20
_MAX_TEXT = 32 * 2**20
#: More windows, one after another, than any replay has; every sample of it may end a window of its own.
_MAX_REPLAY = 128


@dataclass(frozen=True)
class Bundle:
    """An opened bundle.

    Attributes:
        path: Its directory; of a zip, where it was unpacked until the process ends.
        origin: The directory or zip that it was opened from.
        model: The trained model (level L0).
        integer_model: The integer model (level L2); None if the bundle holds none.
        replay: Samples to replay into a board.
        targets: What the model was exported to; see `stinger_export.targets.TARGETS`.
        manifest: All of the manifest.
    """

    path: Path
    origin: Path
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
                f"{self.origin} holds no integer model ({self._why_not('integer')}); it has {', '.join(self.targets)}"
            )
        return self.integer_model

    @property
    def source_dir(self) -> Path:
        """Directory of the generated C files, which are those of the integer model.

        Raises:
            InputError: They are not: whoever wrote them must not decide what this computer compiles and runs.
        """
        folder, texts = self.path / "integer", c_source(self.integer)
        found = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
        if found - {"model.npz"} != texts.keys():
            raise InputError(f"{self.origin}: integer holds other files than an export writes; {ADVICE}")
        for name, text in texts.items():
            self._require_same(f"integer/{name}", text)
        return folder

    @property
    def max_loss(self) -> float:
        """Largest change of a probability from the model to its integers that the export allowed."""
        for entry in self.manifest.get("parity", []):
            if entry["target"] == "integer":
                return float(entry["bound"])
        return INTEGER_BOUND

    def _why_not(self, target: str) -> str:
        return str(dict(self.manifest.get("not_exported", {})).get(target, "not exported"))

    def onnx(self) -> ModelProto | None:
        """Return the ONNX graph from windows; None if there is none.

        Raises:
            InputError: It is damaged, or not the graph that this stinger makes of the model.
        """
        return self._from_windows

    def onnx_features(self) -> ModelProto | None:
        """Return the ONNX graph from features; None if there is none. As `onnx`."""
        return self._from_features

    def emlearn(self) -> EmlearnHeader | None:
        """Return the emlearn header; None if there is none.

        Raises:
            InputError: It is not the header that this stinger makes of the model.
        """
        if "emlearn" not in self.targets:
            return None
        header = to_emlearn(self.model)
        self._require_same(f"emlearn/{header.name}.h", header.header_text)
        return header

    def image(self) -> bytes:
        """Return the model image to upload; one is made if the bundle holds none.

        Raises:
            InputError: No board can run the model, or the image is damaged.
        """
        if "model.mlmd" not in self.files:
            return to_image(self.integer)
        return read_bytes(self.path / "model.mlmd", MAX_BYTES, ADVICE)

    def mlmd(self) -> IntegerModel | None:
        """Read the model image back; None if there is none.

        Raises:
            InputError: It is damaged.
        """
        return read_model_image(self.path / "model.mlmd") if "model.mlmd" in self.files else None

    def stock(self) -> StockModel | None:
        """Read the stock firmware's image back, or else its header; None if there is neither.

        Raises:
            InputError: It is damaged.
        """
        if "stock.mlmd" in self.files:
            return read_image(self.path / "stock.mlmd")
        text = self.stock_header()
        return None if text is None else read_stock_header(text)

    def stock_header(self) -> str | None:
        """Read the header for the stock firmware's build; None if there is none.

        Raises:
            InputError: It is damaged.
        """
        if "stock-header" not in self.targets:
            return None
        return read_bytes(self.path / "stock_weights.h", _MAX_TEXT, ADVICE).decode("ascii", "replace")

    def vectors(self) -> Vectors | None:
        """Read the test vectors; None in a bundle of version 1.

        Raises:
            InputError: They are damaged.
        """
        return read_vectors(self.path / _VECTORS, self.spec) if self.manifest["format"] != 1 else None

    @property
    def files(self) -> Mapping[str, str]:
        """SHA-256 of every file but the manifest, by relative path."""
        found: Mapping[str, str] = self.manifest["files"]
        return found

    @cached_property
    def _from_windows(self) -> ModelProto | None:
        return self._graph("model.onnx", to_onnx) if "onnx" in self.targets else None

    @cached_property
    def _from_features(self) -> ModelProto | None:
        known = "onnx" in self.targets and "model_features.onnx" in self.files
        return self._graph("model_features.onnx", to_onnx_classifier) if known else None

    def _graph(self, name: str, convert: Callable[[TrainedModel], ModelProto]) -> ModelProto:
        data, made = read_bytes(self.path / name, _MAX_ONNX, ADVICE), convert(self.model)
        if data != made.SerializeToString(deterministic=True) and not same_graph(data, made):
            raise self._foreign(name)
        return made

    def _require_same(self, name: str, text: str) -> None:
        if read_bytes(self.path / name, _MAX_TEXT, ADVICE) != text.encode():
            raise self._foreign(name)

    def _foreign(self, name: str) -> InputError:
        made_by = dict(self.manifest.get("versions", {})).get("stinger", "another version")
        return InputError(
            f"{self.origin}: {name} is not what stinger {__version__} makes of the model (it was changed, or made by "
            f"{made_by} of stinger); {ADVICE}"
        )


def export_bundle(
    model: TrainedModel,
    directory: Path,
    on_progress: Callable[[str], None] = lambda _: None,
    *,
    targets: Sequence[str] | None = None,
    max_loss: float = INTEGER_BOUND,
    weights: str = "auto",
) -> Bundle:
    """Export a model, every form measured against it; see `make_exports` and `write_bundle`.

    Args:
        model: A trained model.
        directory: Where the bundle goes, a zip if it ends in ``.zip``; one that an earlier export made is replaced.
        on_progress: Called with the name of each target before it is made.
        targets: Names of forms; by default whatever the model allows.
        max_loss: Largest change of a probability from the model to its integers.
        weights: Which widths a network's integer weights may have: ``auto``, ``8`` or ``16``.

    Raises:
        UsageError: A form was asked for that the model cannot have.
        InputError: The model cannot be exported, or the place cannot be written.
        CheckFailedError: A form is further from the model than allowed; nothing is written.
    """
    made = make_exports(model, targets, max_loss=max_loss, weights=weights, on_progress=on_progress)
    return write_bundle(made, directory)


def write_bundle(made: Exports, directory: Path, cost: Mapping[str, Any] | None = None) -> Bundle:
    """Write what a model was exported to.

    Args:
        made: All forms.
        directory: Where the bundle goes, a zip if it ends in ``.zip``; one that an earlier export made is replaced.
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
        "measured_on": made.measured_on,
        "quantisation": made.quantisation,
        "cost": None if cost is None else dict(cost),
        "versions": versions(),
        "opset": None if made.onnx is None else {o.domain or "ai.onnx": o.version for o in made.onnx.opset_import},
    }
    with replace_bundle_zip(directory) if is_zip_name(directory) else replace_dir(directory) as building:
        save_model(made.model, building / "model")
        for graph, name in ((made.onnx, "model.onnx"), (made.onnx_features, "model_features.onnx")):
            if graph is not None:
                write_bytes(building / name, graph.SerializeToString(deterministic=True))
        if made.emlearn is not None:
            write_text(building / "emlearn" / f"{made.emlearn.name}.h", made.emlearn.header_text)
        if made.integer is not None:
            write_c_source(made.integer, building / "integer")
            save_integer(made.integer, building / "integer" / "model.npz")
        if made.mlmd is not None:
            write_bytes(building / "model.mlmd", made.mlmd)
        if made.stock_image is not None:
            write_bytes(building / "stock.mlmd", made.stock_image)
        if made.stock_header is not None:
            write_text(building / "stock_weights.h", made.stock_header)
        save_replay(made.replay, building / "replay.npz")
        write_arrays(building / _VECTORS, made.vectors)
        write_text(building / _CARD, model_card(spec, manifest))
        write_text(building / _LICENCES, licences_text(spec, made.targets))
        manifest["files"] = file_hashes(building)
        text = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        write_text(building / MANIFEST, text + "\n")
    if is_zip_name(directory):
        return load_bundle(directory)
    return Bundle(directory, directory, made.model, made.integer, made.replay, made.targets, manifest)


def load_bundle(path: Path) -> Bundle:
    """Open a bundle, a directory or a zip of one.

    Raises:
        InputError: It is not a bundle, or a file in it is missing, changed or unusable.
    """
    if not path.is_file():
        return _load(path, path)
    folder = unpack_bundle(path)
    try:
        return _load(folder, path)
    except InputError as error:
        # What was unpacked is gone when somebody reads this.
        shutil.rmtree(folder, ignore_errors=True)
        raise InputError(str(error).replace(str(folder), str(path))) from error


def _load(directory: Path, origin: Path) -> Bundle:
    manifest, targets = read_manifest(directory)
    model = load_model(directory / "model")
    integer = None
    if "integer" in targets:
        integer = load_integer(directory / "integer" / "model.npz", model.spec)
        if integer.hash != manifest["integer_hash"]:
            raise InputError(f"{directory / 'integer'} does not belong to this bundle; {ADVICE}")
    replay = load_replay(directory / "replay.npz")
    if replay.samples.shape[1] != len(model.spec.channels) or replay.period_us != model.spec.period_us:
        raise InputError(f"{directory / 'replay.npz'} is of other channels than the model takes; {ADVICE}")
    if len(replay) > _MAX_REPLAY * model.spec.window:
        raise InputError(f"{directory / 'replay.npz'} is longer than any that is exported; {ADVICE}")
    return Bundle(directory, origin, model, integer, replay, targets, manifest)
