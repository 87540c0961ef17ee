"""A transformer as a folder: what transformers itself writes, and beside it what it was trained for.

``config.json`` and ``model.safetensors`` are transformers' own; ``preprocessor_config.json`` is there where its feature
extractor makes the same spectrograms; ``stinger.json`` says the classes, channels, window and spectrogram. Nothing else
in a folder is looked at. A folder may be a stranger's: sizes, numbers and the table of weights are checked before
anything is built, weights in pickle are never read, and no code that a folder brings is run.
"""

from __future__ import annotations

import json
import math
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stinger.errors import InputError, UsageError
from stinger.features.spectrogram import AST, SpectrogramSpec
from stinger.files import read_bytes, write_text
from stinger.models.ast.libraries import Library, load_transformers
from stinger.models.ast.sizes import Shape, shape_of
from stinger.windows.labelled import MAX_CLASSES

CONFIG, WEIGHTS, EXTRACTOR, ABOUT = "config.json", "model.safetensors", "preprocessor_config.json", "stinger.json"
#: Raise it when `ABOUT` changes so that older readers would misread it.
FORMAT = 1
MAX_CONFIG = 1 << 20
MAX_WEIGHTS = 1 << 30
_MAX_TABLE, _MAX_TENSORS = 4 << 20, 4096
_BYTES = {"F32": 4, "F16": 2, "BF16": 2}
_MAX_RECORDINGS = 2**16
_ADVICE = "give a folder that `stinger train --family ast` or transformers' save_pretrained wrote"
_PICKLES = ("pytorch_model.bin", "model.bin", "model.pt", "model.pth", "model.ckpt")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class AstSpec:
    """Everything about a transformer but its weights.

    Attributes:
        name: What it is called; letters, digits, ``.``, ``_`` and ``-``.
        classes: Names of the classes, in the order of its answers.
        channels: What its windows measure, in the order in which the sound plays them.
        window_s: Length of a window.
        spectrogram: What it looks at.
        start: What training began with: a size, a published name or ``folder``.
        seed: Of training.
        options: How it was trained; plain JSON values.
        metrics: As measured on what was held out.
        trained_on: SHA-256 of each recording that training saw, so that nobody measures on them.
    """

    name: str
    classes: tuple[str, ...]
    channels: tuple[str, ...]
    window_s: float
    spectrogram: SpectrogramSpec
    start: str = ""
    seed: int = 1
    options: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    trained_on: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the fields in plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Checked:
    """A folder whose files are what they should be.

    Attributes:
        folder: Where they are.
        shape: What the configuration says.
        labels: How many classes the weights have.
        about: What the model was trained for; None where the folder is not ours.
        spectrogram: What the model looks at, as far as the folder says.
    """

    folder: Path
    shape: Shape
    labels: int
    about: AstSpec | None
    spectrogram: SpectrogramSpec


def is_ast_folder(folder: Path) -> bool:
    """Say whether a folder looks like a transformer's."""
    return (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file()


def check_folder(folder: Path) -> Checked:
    """Check all files of a folder without building anything.

    Raises:
        InputError: Something is missing, damaged, too large, contradicts something else, or is not what a model needs.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; {_ADVICE}")
    config = _read_json(folder / CONFIG)
    shape = shape_of(config, str(folder / CONFIG))
    if not (folder / WEIGHTS).is_file() and any((folder / name).is_file() for name in _PICKLES):
        raise InputError(f"{folder} has weights in pickle only, which can run code; save them as {WEIGHTS}")
    tensors = read_table(folder / WEIGHTS)
    head = [size for name, size in tensors.items() if name.endswith("classifier.dense.weight")]
    labels = head[0][0] if head and len(head[0]) == 2 else 0
    if not 1 <= labels <= 100_000:
        raise InputError(f"{folder / WEIGHTS} has no classifier (classifier.dense.weight); give another model")
    wanted = shape.parameters(labels)
    held = sum(math.prod(size) for size in tensors.values())
    # The table has been compared with the file's size, so this bounds what is built by what is there.
    if not 0.9 * wanted <= held <= 1.1 * wanted:
        raise InputError(f"{folder}: {held:,} weights, {CONFIG} speaks of {wanted:,}; give another model")
    about = None
    if (folder / ABOUT).exists():
        about = read_about(_read_json(folder / ABOUT), str(folder / ABOUT))
        if len(about.classes) != labels:
            raise InputError(f"{folder}: {len(about.classes)} classes in {ABOUT}, {labels} in {WEIGHTS}; train again")
    spectrogram = about.spectrogram if about is not None else _extractor(folder, shape)
    if spectrogram.shape != (shape.max_length, shape.num_mel_bins):
        raise InputError(f"{folder}: {ABOUT} and {CONFIG} speak of different spectrograms; train again")
    return Checked(folder, shape, labels, about, spectrogram)


def read_table(path: Path) -> dict[str, tuple[int, ...]]:
    """Read the names and shapes of the tensors in a safetensors file, and compare them with its size.

    Raises:
        InputError: It is missing, too large or not such a file.
    """
    damaged = InputError(f"{path} is not a file of weights, or damaged; {_ADVICE}")
    try:
        with path.open("rb") as stream:
            total = os.fstat(stream.fileno()).st_size
            length = int.from_bytes(stream.read(8), "little")
            if total > MAX_WEIGHTS:
                raise InputError(f"{path} is larger than {MAX_WEIGHTS >> 20} MiB; {_ADVICE}")
            if not 2 <= length <= min(_MAX_TABLE, total - 8):
                raise damaged
            table = json.loads(stream.read(length))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}; {_ADVICE}") from error
    except (ValueError, RecursionError) as error:
        raise damaged from error
    if not isinstance(table, dict) or not 1 <= len(table) <= _MAX_TENSORS:
        raise damaged
    table.pop("__metadata__", None)
    try:
        places = sorted(tuple(one["data_offsets"]) for one in table.values())
        shapes = {name: tuple(one["shape"]) for name, one in table.items()}
        sizes = {name: _BYTES[one["dtype"]] * math.prod(shapes[name]) for name, one in table.items()}
        exact = all(one["data_offsets"][1] - one["data_offsets"][0] == sizes[name] for name, one in table.items())
        whole = all(type(n) is int and 0 <= n < 2**40 for shape in shapes.values() for n in shape)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise damaged from error
    ends = [0, *(end for _, end in places)]
    if not exact or not whole or [start for start, _ in places] != ends[:-1] or ends[-1] != total - 8 - length:
        raise damaged
    return shapes


def load_net(checked: Checked, classes: tuple[str, ...] | None = None) -> Library:
    """Build the transformer and load its weights, as float32.

    Args:
        checked: The folder.
        classes: Give it a new head for these, where it has been trained for others; default: keep its own.

    Raises:
        InputError: The weights do not fit the configuration, or are not finite.
        UsageError: The extra `ast` is missing.
    """
    transformers = load_transformers()
    names = classes or (checked.about.classes if checked.about else tuple(map(str, range(checked.labels))))
    config = configure(checked.shape, names)
    # Nothing but what has been checked is in the folder that is loaded.
    with tempfile.TemporaryDirectory(prefix="stinger-ast-") as place:
        config.save_pretrained(place)
        (Path(place) / WEIGHTS).symlink_to((checked.folder / WEIGHTS).resolve())
        try:
            net, found = transformers.ASTForAudioClassification.from_pretrained(
                place,
                config=config,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                dtype="float32",
            )
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            raise InputError(
                f"{checked.folder / WEIGHTS} cannot be loaded ({_line(error)}); give another model"
            ) from error
    other = [str(name[0] if isinstance(name, tuple) else name) for name in found["mismatched_keys"]]
    head = ["classifier.dense.bias", "classifier.dense.weight"]
    astray = sorted({*found["missing_keys"], *found["unexpected_keys"], *other} - set(head if classes else ()))
    if astray:
        raise InputError(f"{checked.folder / WEIGHTS}: {astray[0]} is not what {CONFIG} speaks of; give another model")
    for name, part in net.named_parameters():
        if not bool(part.isfinite().all()):
            raise InputError(f"{checked.folder / WEIGHTS}: {name} is not finite; train again")
    return net.eval()


def new_net(shape: Shape, classes: tuple[str, ...]) -> Library:
    """Build a transformer with random weights, from PyTorch's random numbers as they stand."""
    transformers = load_transformers()
    return transformers.ASTForAudioClassification(configure(shape, classes))


def configure(shape: Shape, classes: tuple[str, ...]) -> Library:
    """Return transformers' own configuration of a shape with these classes."""
    return load_transformers().ASTConfig(
        **asdict(shape),
        id2label=dict(enumerate(classes)),
        label2id={name: i for i, name in enumerate(classes)},
        attn_implementation="sdpa",
    )


def save_folder(net: Library, spec: AstSpec, folder: Path) -> None:
    """Write a transformer into a folder that is there."""
    net.save_pretrained(folder)
    if _as_published(spec.spectrogram):
        wanted = {
            "feature_extractor_type": "ASTFeatureExtractor",
            "feature_size": 1,
            "max_length": spec.spectrogram.frames,
            "num_mel_bins": spec.spectrogram.mel_bins,
            "sampling_rate": spec.spectrogram.sample_rate_hz,
            "do_normalize": True,
            "mean": spec.spectrogram.mean,
            "std": spec.spectrogram.std,
            "padding_side": "right",
            "padding_value": 0.0,
            "return_attention_mask": False,
        }
        write_text(folder / EXTRACTOR, json.dumps(wanted, indent=2) + "\n")
    about = {"format": FORMAT, "spec": spec.to_json()}
    read_about(json.loads(json.dumps(about)), f"model {spec.name}")
    write_text(folder / ABOUT, json.dumps(about, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_about(value: Any, where: str) -> AstSpec:
    """Check what `ABOUT` says and return it.

    Raises:
        InputError: A field is missing, out of range or contradicts another.
    """
    if not isinstance(value, dict) or type(value.get("format")) is not int or not isinstance(value.get("spec"), dict):
        raise InputError(f"{where} does not describe a model; train again")
    if not 1 <= value["format"] <= FORMAT:
        raise InputError(f"{where} has format {value['format']}, this stinger reads up to {FORMAT}; update stinger")
    said = value["spec"]
    try:
        spectrogram = SpectrogramSpec(**said["spectrogram"])
    except (KeyError, TypeError, UsageError, InputError) as error:
        raise InputError(f"{where}: spectrogram is not one ({_line(error)}); train again") from error
    name, window, options, metrics = said.get("name"), said.get("window_s"), said.get("options"), said.get("metrics")
    seen = said.get("trained_on")
    rules = {
        "name": isinstance(name, str) and _NAME.fullmatch(name) is not None,
        "classes": _names(said.get("classes"), 2, MAX_CLASSES),
        "channels": _names(said.get("channels"), 1, 32),
        "window_s": type(window) in (int, float) and 0 < window < 1e6,
        "start": isinstance(said.get("start"), str) and len(said["start"]) <= 200,
        "seed": type(said.get("seed")) is int and 0 <= said["seed"] < 2**32,
        "options": isinstance(options, dict) and len(options) <= 64,
        "metrics": isinstance(metrics, dict) and len(metrics) <= 64 and all(map(_finite, metrics.values())),
        "trained_on": isinstance(seen, list)
        and len(seen) <= _MAX_RECORDINGS
        and all(isinstance(one, str) and _SHA256.fullmatch(one) for one in seen),
    }
    wrong = next((rule for rule, holds in rules.items() if not holds), None)
    if wrong is not None:
        raise InputError(f"{where}: {wrong} is missing or impossible; train again")
    known: dict[str, Any] = {key: said[key] for key in ("name", "start", "seed", "options", "metrics")}
    known |= {key: tuple(said[key]) for key in ("classes", "channels", "trained_on")}
    return AstSpec(**known, window_s=float(window), spectrogram=spectrogram)


def _names(value: Any, low: int, high: int) -> bool:
    if not isinstance(value, list) or not low <= len(value) <= high:
        return False
    plain = all(isinstance(one, str) and 0 < len(one) <= 64 and one.isprintable() for one in value)
    return plain and len(set(value)) == len(value)


def _finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _as_published(spec: SpectrogramSpec) -> bool:
    """Whether transformers' own feature extractor makes the same spectrograms."""
    return {**spec.to_json(), **_free(AST)} == {**AST.to_json(), **_free(AST)}


def _free(spec: SpectrogramSpec) -> Mapping[str, int | float]:
    said = spec.to_json()
    return {name: said[name] for name in ("frames", "mel_bins", "sample_rate_hz", "mean", "std")}


def _extractor(folder: Path, shape: Shape) -> SpectrogramSpec:
    """What a folder that is not ours looks at."""
    said = _read_json(folder / EXTRACTOR) if (folder / EXTRACTOR).exists() else {}
    mean, std, rate = said.get("mean", AST.mean), said.get("std", AST.std), said.get("sampling_rate", 16_000)
    try:
        return SpectrogramSpec(rate, frames=shape.max_length, mel_bins=shape.num_mel_bins, mean=mean, std=std)
    except (UsageError, TypeError) as error:
        raise InputError(f"{folder / EXTRACTOR}: {_line(error)}; give another model") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(read_bytes(path, MAX_CONFIG, _ADVICE))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON; {_ADVICE}") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} holds no object; {_ADVICE}")
    return value


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
