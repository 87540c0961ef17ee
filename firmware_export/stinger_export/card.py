"""The model card of a bundle: what the model is, how good, how far its forms are from it, and what it is not for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from stinger.models.spec import ModelSpec

_LIBRARIES = ("stinger-ml", "numpy", "scikit-learn", "onnx", "onnxruntime", "emlearn")
_FILES = {
    "integer": "`integer/`: C99 for device/stinger_ml, and the same integers for numpy",
    "onnx": "`model.onnx`: int16 window in, label, probabilities and logits out",
    "emlearn": "`emlearn/`: C header for emlearn's library",
    "mlmd": "`model.mlmd`: model image (MLMD version 2)",
    "stock": "`stock.mlmd`, `stock_weights.h`: image (MLMD version 1) and C header for the stock firmware",
}


def model_card(spec: ModelSpec, manifest: Mapping[str, Any]) -> str:
    """Write the card, in markdown.

    Args:
        spec: What the model is.
        manifest: The bundle's manifest: targets, parity, losses and, if measured, cost.
    """
    targets = list(manifest["targets"])
    parts = [
        f"# {_plain(spec.name)}",
        f"Family {spec.family}; `{spec.features}` features of {spec.window} samples, "
        f"{spec.period_us / 1000:g} ms apart; {len(spec.classes)} classes: "
        f"{', '.join(_plain(name) for name in spec.classes)}. "
        "`stinger check` on this directory proves what is said here.",
        "## Files",
        _bullets([_FILES[name] for name in targets] + [_missing(manifest)] * bool(manifest["not_exported"])),
        "## Data",
        _bullets(_data(spec)),
        "## Held-out metrics",
        _metrics(spec),
        "## How far each form is from the model",
        _parity(manifest),
        "## On the board",
        _cost(manifest),
        "## Policy",
        "None." if spec.policy is None else f"{spec.policy.describe()}.",
        "## Intended use",
        f"Windows of the same sensor, mounted the same way, with the channels above at {1e6 / spec.period_us:g} Hz, "
        "from people and motions like those of the training data. A probability speaks of the moment "
        f"{spec.lead_us / 1000:g} ms after the window's end.",
        "## Limits",
        _bullets(
            [
                "Metrics are of one split of one dataset; another hand, mount or sensor needs its own measurement.",
                "A probability is not calibrated unless the training says so.",
                "Samples beyond the range of the training data saturate in integer networks; forests have no such "
                "limit.",
                "Not for anything where a wrong answer can hurt somebody: it is no safety device.",
            ]
        ),
        "## Licences",
        _bullets(_licences(targets)),
        "## Versions",
        _bullets([f"{name} {_version(name)}" for name in _LIBRARIES]),
    ]
    return "\n\n".join(parts) + "\n"


def _missing(manifest: Mapping[str, Any]) -> str:
    reasons = sorted(manifest["not_exported"].items())
    return "Not here: " + "; ".join(f"{name} ({_plain(why)})" for name, why in reasons)


def _data(spec: ModelSpec) -> list[str]:
    counts = {name: spec.metrics[name] for name in ("train_windows", "held_out_windows") if name in spec.metrics}
    windows = "; ".join(f"{value:,.0f} {name.replace('_', ' ')}" for name, value in counts.items())
    channels = ", ".join(f"{_plain(c.name)} ({_plain(c.unit) or 'no unit'})" for c in spec.channels)
    return [
        f"dataset SHA-256 `{_plain(spec.data_hash)}`",
        f"recordings learnt from: {len(spec.trained_on) or 'not known'}",
        f"split: {windows or 'nothing was held out'}; held-out windows were never learnt from",
        f"channels: {channels}",
        f"seed {spec.seed}; options that differ from the defaults: {_plain(str(spec.options or 'none'))}",
    ]


def _metrics(spec: ModelSpec) -> str:
    rows = [[name.replace("_", " "), f"{value:.4g}"] for name, value in sorted(spec.metrics.items())]
    return _grid(["metric", "value"], rows) if rows else "Nothing was measured at training."


def _parity(manifest: Mapping[str, Any]) -> str:
    header = ["form", "levels", "windows", "label flips", "largest |Δp|", "allowed"]
    rows = [
        [
            entry["target"],
            "-".join(entry["levels"]),
            f"{entry['windows']:,}",
            str(entry["flips"]),
            f"{entry['max_difference']:.3g}",
            f"{entry['bound']:g}" if entry["bound"] else "every bit",
        ]
        for entry in manifest["parity"]
    ]
    table = _grid(header, rows)
    measured: Mapping[str, Mapping[str, float]] = manifest["held_out"]
    if not measured:
        return table + "\n\nMeasured at export, on samples made from the model and on its training windows."
    names = list(measured["L0"])
    lines = [[level, *(f"{scores[name]:.4f}" for name in names)] for level, scores in measured.items()]
    return table + "\n\nHeld-out windows:\n\n" + _grid(["level", *names], lines)


def _cost(manifest: Mapping[str, Any]) -> str:
    cost = manifest["cost"]
    if cost is None:
        return "Not measured."
    lines = [
        f"{cost['cycles']:,} cycles per decision: {cost['milliseconds']:g} ms at {cost['clock_hz'] / 1e6:g} MHz, "
        f"{cost['share_of_period']:.2%} of the sample period",
        f"{cost['flash_bytes']:,} bytes of flash (code and model), {cost['ram_bytes']:,} bytes of RAM (one stream)",
        f"emulated Cortex-M0+, {_plain(cost['compiler'])}",
    ]
    return _bullets(lines)


def _licences(targets: Sequence[str]) -> list[str]:
    lines = ["code generated by stinger, and device/stinger_ml that it belongs to: Apache-2.0"]
    if "emlearn" in targets:
        lines.append("the emlearn header is generated by emlearn and needs its C library: MIT, (c) Jon Nordby")
    return [*lines, "the weights belong to whoever owns the recordings; stinger claims nothing"]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"


def _plain(text: str) -> str:
    """Text from data, which must not become markup."""
    return "".join(c if c.isalnum() or c in " _.,:;/()'+-%=µ²°" else "?" for c in str(text))


def _grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in (header, *rows)]
    lines = ["| " + " | ".join(row) + " |" for row in escaped]
    return "\n".join([lines[0], "|" + "---|" * len(header), *lines[1:]])


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
