"""A bundle's manifest: which files it has, what they are, and whether they are still the ones that were exported."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stinger.errors import InputError
from stinger.files import read_bytes
from stinger.zips import Limits
from stinger_export.targets import TARGETS

#: Raise when an older reader would misread the layout. Bundles of version 1 held integer, onnx and, where the model
#: allowed it, emlearn. Version 2 says which targets there are. Version 3 counts the stock firmware's image to `mlmd`
#: and calls its header `stock-header`; both were `stock` before.
FORMAT = 3
MANIFEST = "manifest.json"
MAX_MANIFEST = 2**20
#: More than any honest bundle has.
LIMITS = Limits(files=256, entry_bytes=2**28, total_bytes=2**29)
ADVICE = "export the model again"
#: Files that each target has; of `mlmd` there is at least one.
_FILES = {
    "integer": ("integer/model.npz", "integer/stinger_model_data.c", "integer/stinger_limits.h"),
    "onnx": ("model.onnx",),
    "stock-header": ("stock_weights.h",),
}


def read_manifest(directory: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Read a bundle's manifest and compare every file with it.

    Returns:
        The manifest, and the targets as they are called now.

    Raises:
        InputError: There is none, or it makes no sense, or a file is missing, was added or changed.
    """
    where = directory / MANIFEST
    if not where.is_file():
        raise InputError(f"{directory} is not a bundle (no {MANIFEST}); make one with `stinger export`")
    try:
        manifest = json.loads(read_bytes(where, MAX_MANIFEST, ADVICE))
        files, _ = dict(manifest["files"]), manifest["integer_hash"]
        version = manifest["format"]
        if manifest["kind"] != "stinger-bundle" or type(version) is not int or not 1 <= version <= FORMAT:
            raise InputError(f"{where} is of another kind or a newer format; update stinger or export again")
        targets = _targets(version, manifest, files)
        plain = all(isinstance(manifest.get(name, {}), dict) for name in ("not_exported", "held_out", "versions"))
        if not targets or not set(targets) <= set(TARGETS) or not plain:
            raise InputError(f"{where} names targets that there are not; update stinger or export again")
        if not all(0 <= float(entry["bound"]) <= 1 for entry in manifest.get("parity", []) if entry["target"]):
            raise InputError(f"{where} allows a loss that is none; {ADVICE}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{where} is damaged; {ADVICE}") from error
    _require_files(directory, files, targets)
    return {**manifest, "files": files}, targets


def file_hashes(directory: Path) -> dict[str, str]:
    """SHA-256 of every file but the manifest and hidden ones, by relative path."""
    return {name: _hash(directory / name) for name in _names(directory)}


def _targets(version: int, manifest: Mapping[str, Any], files: Mapping[str, str]) -> tuple[str, ...]:
    if version == 1:
        emlearn = any(name.startswith("emlearn/") for name in files)
        return ("integer", "onnx", *(("emlearn",) if emlearn else ()))
    named = list(manifest["targets"])
    if version == 2 and "stock" in named:
        named.remove("stock")
        named += ["mlmd", "stock-header"]
    return tuple(name for name in TARGETS if name in named) if set(named) <= set(TARGETS) else tuple(named)


def _require_files(directory: Path, files: Mapping[str, str], targets: Sequence[str]) -> None:
    """Refuse a directory whose files are not those that the manifest names, or not those of its targets."""
    names = _names(directory)
    for name in sorted(files.keys() ^ set(names)):
        raise InputError(f"{directory / name} is not what was exported: it is missing or was added; {ADVICE}")
    for name in names:
        if files[name] != _hash(directory / name):
            raise InputError(f"{directory / name} is not the file that was exported; {ADVICE}")
    missing = [name for target in targets for name in _FILES.get(target, ()) if name not in files]
    if "mlmd" in targets and not {"model.mlmd", "stock.mlmd"} & files.keys():
        missing.append("model.mlmd")
    if "model.mlmd" in files and "integer" not in targets:
        missing.append("integer")
    if missing:
        raise InputError(f"{directory} lacks {missing[0]} of what it says was exported; {ADVICE}")


def _names(directory: Path) -> list[str]:
    """Relative paths of all files but the manifest and hidden ones, sorted."""
    found: list[str] = []
    for path in directory.rglob("*"):
        if path.is_file() and path != directory / MANIFEST and not path.name.startswith("."):
            found.append(path.relative_to(directory).as_posix())
        if len(found) > LIMITS.files:
            raise InputError(f"{directory} holds more than the {LIMITS.files} files of a bundle; {ADVICE}")
    return sorted(found)


def _hash(path: Path) -> str:
    return hashlib.sha256(read_bytes(path, LIMITS.entry_bytes, ADVICE)).hexdigest()
