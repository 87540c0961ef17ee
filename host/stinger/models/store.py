"""The model directory: ``manifest.json`` says what the model is, ``estimator.skops`` holds its weights.

``calibration.npy`` beside them holds the feature vectors that set the ranges of the integer model.

Saving the same model twice gives the same bytes. Loading believes nothing it has not checked, so a model
directory from a stranger can be wrong but cannot run code or exhaust the machine.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from stinger.errors import InputError, UsageError
from stinger.files import read_bytes, replace_dir, write_bytes, write_text
from stinger.models.archive import MAX_FILE, pack, read_array, unpack
from stinger.models.families import FAMILIES
from stinger.models.spec import ModelSpec, TrainedModel
from stinger.models.validate import check_calibration, rebuilt
from stinger.sessions.session import Channel

#: Raise it when a manifest changes so that older readers would misread it, and keep reading the older ones.
FORMAT = 1
MANIFEST = "manifest.json"
ESTIMATOR = "estimator.skops"
CALIBRATION = "calibration.npy"
MAX_MANIFEST = 2**20
_ADVICE = "give a directory that `stinger train` wrote"
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,47}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LIBRARIES = ("numpy", "scikit-learn", "skops", "stinger-ml")
_LONGEST_US = 10**9


def save_model(model: TrainedModel, directory: Path) -> None:
    """Write a model directory, replacing one that was written before.

    Raises:
        InputError: The place cannot be written, or the model is not one that `load_model` would accept.
    """
    check_calibration(model.calibration, model.spec, model.spec.name)
    data = pack(rebuilt(model.estimator, model.spec, model.spec.name))
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(model.calibration), allow_pickle=False)
    calibration = stream.getvalue()
    manifest = {
        "format": FORMAT,
        "spec": model.spec.to_json(),
        "estimator_sha256": hashlib.sha256(data).hexdigest(),
        "calibration_sha256": hashlib.sha256(calibration).hexdigest(),
        "libraries": {name: version(name) for name in _LIBRARIES},
    }
    text = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    _spec(json.loads(text)["spec"], f"model {model.spec.name}")
    with replace_dir(directory) as building:
        write_bytes(building / ESTIMATOR, data)
        write_bytes(building / CALIBRATION, calibration)
        write_text(building / MANIFEST, text)


def load_model(directory: Path) -> TrainedModel:
    """Read a model directory.

    Raises:
        InputError: There is no model, or it is damaged, too large, of a newer format, or contains anything a model
            has no use for.
    """
    where = directory / MANIFEST
    try:
        manifest = json.loads(read_bytes(where, MAX_MANIFEST, _ADVICE))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON; save the model again") from error
    if not isinstance(manifest, dict) or type(manifest.get("format")) is not int:
        raise InputError(f"{where} is not a model's manifest; give the directory that `stinger train` wrote")
    if manifest["format"] != FORMAT:
        raise InputError(f"{where} has format {manifest['format']}, this stinger reads {FORMAT}; update stinger")
    spec = _spec(manifest.get("spec"), str(where))
    data = _read_named(directory / ESTIMATOR, manifest.get("estimator_sha256"), MAX_FILE)
    estimator = rebuilt(unpack(data, str(directory / ESTIMATOR)), spec, str(directory / ESTIMATOR))
    path = directory / CALIBRATION
    calibration = read_array(_read_named(path, manifest.get("calibration_sha256"), MAX_FILE), str(path))
    check_calibration(calibration, spec, str(path))
    return TrainedModel(spec, estimator, calibration)


def _read_named(path: Path, sha256: Any, limit: int) -> bytes:
    data = read_bytes(path, limit, _ADVICE)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise InputError(f"{path} is not the file its manifest names (SHA-256 differs); save the model again")
    return data


class _Fields:
    """Takes checked values out of a JSON object; the first that is wrong raises `InputError` naming it."""

    def __init__(self, value: Any, where: str) -> None:
        self.value = value
        self.where = where
        if not isinstance(value, dict):
            raise InputError(f"{where}: no spec; save the model again")

    def _refuse(self, key: str, rule: str) -> InputError:
        return InputError(f"{self.where}: {key} must be {rule}; save the model again")

    def integer(self, key: str, low: int, high: int) -> int:
        value = self.value.get(key)
        if type(value) is not int or not low <= value <= high:
            raise self._refuse(key, f"a whole number from {low} to {high}")
        return value

    def text(self, key: str, rule: str, pattern: re.Pattern[str] | None = None) -> str:
        value = self.value.get(key)
        if not _is_name(value) or (pattern and not pattern.fullmatch(value)):
            raise self._refuse(key, rule)
        return str(value)

    def unit(self, key: str) -> str:
        # Not every recording states its units.
        return "" if self.value.get(key) == "" else self.text(key, "a short printable name")

    def choice(self, key: str, known: tuple[str, ...]) -> str:
        value = self.value.get(key)
        if value not in known:
            raise self._refuse(key, f"one of {', '.join(known)}")
        return str(value)

    def names(self, key: str, low: int, high: int) -> tuple[str, ...]:
        value = self.value.get(key)
        if not isinstance(value, list) or not low <= len(value) <= high or not all(map(_is_name, value)):
            raise self._refuse(key, f"{low} to {high} short printable names")
        if len(set(value)) != len(value):
            raise self._refuse(key, "different names")
        return tuple(value)

    def scale(self, key: str) -> float:
        value = self.value.get(key)
        if type(value) not in (int, float) or not math.isfinite(value) or value <= 0:
            raise self._refuse(key, "a positive number")
        return float(value)

    def mapping(self, key: str) -> dict[str, Any]:
        value = self.value.get(key)
        if not isinstance(value, dict) or len(value) > 64 or not all(map(_is_name, value)):
            raise self._refuse(key, "at most 64 named values")
        return value


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 64 and value.isprintable()


def _spec(value: Any, where: str) -> ModelSpec:
    fields = _Fields(value, where)
    channels = value.get("channels")
    if not isinstance(channels, list) or not 1 <= len(channels) <= 16:
        raise InputError(f"{where}: channels must be 1 to 16 channels; save the model again")
    metrics = fields.mapping("metrics")
    if any(type(m) not in (int, float) or not math.isfinite(m) for m in metrics.values()):
        raise InputError(f"{where}: metrics must be finite numbers; save the model again")
    spec = ModelSpec(
        name=fields.text("name", "a C identifier of at most 48 characters", _IDENTIFIER),
        family=fields.choice("family", tuple(FAMILIES)),
        features=fields.choice("features", ("summary", "rich")),
        window=fields.integer("window", 2, 1024),
        period_us=fields.integer("period_us", 1, _LONGEST_US),
        lead_us=fields.integer("lead_us", 0, _LONGEST_US),
        channels=tuple(_channel(channel, where) for channel in channels),
        classes=fields.names("classes", 2, 32),
        seed=fields.integer("seed", 0, 2**32 - 1),
        data_hash=fields.text("data_hash", "a SHA-256 in hex", _SHA256),
        options=fields.mapping("options"),
        metrics=metrics,
    )
    names = [channel.name for channel in spec.channels]
    if len(set(names)) != len(names):
        raise InputError(f"{where}: channels must have different names; save the model again")
    try:
        _ = spec.feature_set
    except UsageError as error:
        raise InputError(f"{where}: {error}") from error
    return spec


def _channel(value: Any, where: str) -> Channel:
    fields = _Fields(value, f"{where}: a channel")
    return Channel(
        fields.text("name", "a short printable name"),
        fields.unit("unit"),
        fields.scale("scale"),
    )
