"""The model directory: ``manifest.json`` says what the model is, ``estimator.skops`` holds its weights.

``calibration.npy`` beside them holds the feature vectors that set the ranges of the integer model, ``held_out.npz``
windows to measure exports on (`stinger.models.held_out`).

Saving the same model twice gives the same bytes. Loading believes nothing it has not checked, so a model
directory from a stranger can be wrong but cannot run code or exhaust the machine.
"""

from __future__ import annotations

import hashlib
import io
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from stinger.arrays import write_arrays
from stinger.errors import InputError
from stinger.files import read_bytes, replace_dir, write_bytes, write_text
from stinger.models import held_out as held_out_windows
from stinger.models.archive import MAX_FILE, pack, read_array, unpack
from stinger.models.manifest import read_spec
from stinger.models.spec import TrainedModel
from stinger.models.validate import check_calibration, rebuilt

#: Raise it when a manifest changes so that older readers would misread it, and keep reading the older ones: models of
#: version 1 are in tests/data/models_v1. Version 2 added policy, threshold, trained_on and float calibration; held-out
#: windows may be there or not.
FORMAT = 2
MANIFEST = "manifest.json"
ESTIMATOR = "estimator.skops"
CALIBRATION = "calibration.npy"
HELD_OUT = "held_out.npz"
MAX_MANIFEST = 8 * 2**20  # 65,536 recordings are 5 MiB
_ADVICE = "give a directory that `stinger train` wrote"
_LIBRARIES = ("numpy", "scikit-learn", "skops", "stinger-ml")


def save_model(model: TrainedModel, directory: Path) -> None:
    """Write a model directory, replacing one that was written before.

    Raises:
        InputError: The place cannot be written, or the model is not one that `load_model` would accept.
    """
    check_calibration(model.calibration, model.spec, model.spec.name)
    if model.held_out is not None:
        held_out_windows.check(model.held_out, model.spec, model.spec.name)
    data = pack(rebuilt(model.estimator, model.spec, model.spec.name))
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(model.calibration), allow_pickle=False)
    calibration = stream.getvalue()
    manifest = {
        "format": FORMAT,
        "spec": model.spec.to_json(),
        "estimator_sha256": hashlib.sha256(data).hexdigest(),
        "calibration_sha256": hashlib.sha256(calibration).hexdigest(),
        "held_out_sha256": None,
        "libraries": {name: version(name) for name in _LIBRARIES},
    }
    text = json.dumps(manifest["spec"], ensure_ascii=False, allow_nan=False)
    read_spec(json.loads(text), f"model {model.spec.name}")
    with replace_dir(directory) as building:
        write_bytes(building / ESTIMATOR, data)
        write_bytes(building / CALIBRATION, calibration)
        if model.held_out is not None:
            path = building / HELD_OUT
            write_arrays(path, {"windows": model.held_out.windows, "labels": model.held_out.labels})
            manifest["held_out_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        text = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
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
    if not 1 <= manifest["format"] <= FORMAT:
        raise InputError(f"{where} has format {manifest['format']}, this stinger reads up to {FORMAT}; update stinger")
    spec = read_spec(manifest.get("spec"), str(where))
    data = _read_named(directory / ESTIMATOR, manifest.get("estimator_sha256"), MAX_FILE)
    estimator = rebuilt(unpack(data, str(directory / ESTIMATOR)), spec, str(directory / ESTIMATOR))
    path = directory / CALIBRATION
    calibration = read_array(_read_named(path, manifest.get("calibration_sha256"), MAX_FILE), str(path))
    check_calibration(calibration, spec, str(path))
    held_out = None
    if manifest.get("held_out_sha256") is not None:
        path = directory / HELD_OUT
        _read_named(path, manifest["held_out_sha256"], MAX_FILE)
        held_out = held_out_windows.read(path, spec, "train the model again")
    return TrainedModel(spec, estimator, calibration, held_out)


def _read_named(path: Path, sha256: Any, limit: int) -> bytes:
    data = read_bytes(path, limit, _ADVICE)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise InputError(f"{path} is not the file its manifest names (SHA-256 differs); save the model again")
    return data
