"""The model card of a bundle: what the model is, how good, how far its forms are from it, and what it is not for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from stinger import __version__
from stinger.markdown import bullets, grid
from stinger.models.spec import ModelSpec

_LIBRARIES = ("numpy", "scikit-learn", "onnx", "onnxruntime", "emlearn")
#: Images, by the level that their parity was measured of.
_IMAGES = {
    "mlmd": "`model.mlmd`: model image of our firmware (MLMD version 2)",
    "stock": "`stock.mlmd`: model image of the stock firmware (MLMD version 1)",
}
_FILES = {
    "integer": "`integer/`: C99 for device/stinger_ml, and the same integers for numpy",
    "onnx": "`model.onnx`: int16 window in, label, probabilities and logits out; `model_features.onnx`: the same from "
    "features",
    "emlearn": "`emlearn/`: C header for emlearn's library",
    "stock-header": "`stock_weights.h`: C header for the stock firmware's build",
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
        bullets(_files(manifest)),
        "## Data",
        bullets(_data(spec)),
        "## Held-out metrics",
        _metrics(spec),
        "## How far each form is from the model",
        _parity(manifest) + _quantisation(manifest),
        "## On the board",
        _cost(manifest),
        "## Policy",
        "None." if spec.policy is None else f"{spec.policy.describe()}.",
        "## Intended use",
        f"Windows of the same sensor, mounted the same way, with the channels above at {1e6 / spec.period_us:g} Hz, "
        "from people and motions like those of the training data. A probability speaks of the moment "
        f"{spec.lead_us / 1000:g} ms after the window's end.",
        "## Limits",
        bullets(
            [
                "Metrics are of one split of one dataset; another hand, mount or sensor needs its own measurement.",
                "A probability is not calibrated unless the training says so.",
                "Samples beyond the range of the training data saturate in integer networks; forests have no such "
                "limit.",
                "Not for anything where a wrong answer can hurt somebody: it is no safety device.",
            ]
        ),
        "## Licences",
        bullets(_licences(targets)) + "\n\n`LICENSES.txt` says the same beside the files.",
        "## Versions",
        bullets([f"{name} {_plain(number)}" for name, number in manifest["versions"].items()]),
    ]
    return "\n\n".join(parts) + "\n"


def versions() -> dict[str, str]:
    """Return the version of everything that a bundle is made with; compilers are named with what they measured."""
    return {"stinger": __version__, **{name: _version(name) for name in _LIBRARIES}}


def licences_text(spec: ModelSpec, targets: Sequence[str]) -> str:
    """Write ``LICENSES.txt``: what in the bundle is under which licence."""
    lines = [f"Licences of what is in the bundle of model {_plain(spec.name)}.", ""]
    lines += [f"- {line}" for line in _licences(targets)]
    return "\n".join(lines).replace("`", "") + "\n"


def _files(manifest: Mapping[str, Any]) -> list[str]:
    levels = [entry["levels"][1] for entry in manifest["parity"] if entry["target"] == "mlmd"]
    lines = [_FILES[name] for name in manifest["targets"] if name in _FILES]
    lines += [_IMAGES[level] for level in levels if level in _IMAGES]
    if manifest["opset"]:
        lines[lines.index(_FILES["onnx"])] += "; operator sets " + ", ".join(
            f"{_plain(domain)} {number}" for domain, number in manifest["opset"].items()
        )
    lines.append(
        "`vectors.npz`: windows and what every level says of them; `replay.npz`: samples to replay into a board"
    )
    if manifest["not_exported"]:
        reasons = sorted(manifest["not_exported"].items())
        lines.append("not here: " + "; ".join(f"{name} ({_plain(why)})" for name, why in reasons))
    return lines


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
    return grid(["metric", "value"], rows) if rows else "Nothing was measured at training."


def _parity(manifest: Mapping[str, Any]) -> str:
    header = ["form", "levels", "windows", "label flips", "AUC loss", "largest |Δp|", "allowed"]
    rows = [
        [
            entry["target"],
            "-".join(entry["levels"]),
            f"{entry['windows']:,}",
            str(entry["flips"]),
            "-" if entry["auc_loss"] is None else f"{entry['auc_loss']:.3g}",
            f"{entry['max_difference']:.3g}",
            f"{entry['bound']:g}" if entry["bound"] else "every bit",
        ]
        for entry in manifest["parity"]
    ]
    table = grid(header, rows)
    table += (
        "\n\nL0 is the trained model itself, L1 ONNX in onnxruntime, L2 the integers of the board; C on a computer "
        "(L3) and on a Cortex-M0+ (L4) give the bits of L2. |Δp| is the change of a probability."
    )
    measured: Mapping[str, Mapping[str, float]] = manifest["held_out"]
    where = manifest["measured_on"]
    if not measured or where is None:
        return table + "\n\nMeasured at export, on samples made from the model and on its training windows only."
    names = list(measured["L0"])
    lines = [[level, *(f"{scores[name]:.4f}" for name in names)] for level, scores in measured.items()]
    source = "that the model keeps" if where["source"] == "model" else "of the dataset that it was trained on"
    text = (
        f"Measured at export, on samples made from the model, on its training windows and on {where['windows']:,} "
        f"held-out windows {source}:"
    )
    return f"{table}\n\n{text}\n\n" + grid(["level", *names], lines)


def _quantisation(manifest: Mapping[str, Any]) -> str:
    made = manifest["quantisation"]
    if not made or not made["bits"]:
        return ""
    text = f"\n\nThe integer network has weights of {', '.join(map(str, made['bits']))} bits, layer by layer."
    if (widening := made["widening"]) is not None:
        began = f" Beginning with {', '.join(map(str, widening['from']))} bits, {widening['tried']} wider "
        began += "choice was tried: " if widening["tried"] == 1 else "choices were tried: "
        began += f"largest |Δp| {widening['loss_before']:g} before, {widening['loss_after']:g} after."
        text += began if widening["kept"] else " Wider ones brought it no nearer to the model."
    if (tuning := made["fine_tuning"]) is None:
        return text
    if not tuning["kept"]:
        return text + " Fine-tuning them brought it no nearer to the model."
    return text + (
        f" They were fine-tuned for the device's rounding, {tuning['epochs']} passes over {tuning['rows']:,} rows with "
        f"the model as teacher: largest |Δp| {tuning['loss_before']:g} before, {tuning['loss_after']:g} after."
    )


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
    return bullets(lines)


def _licences(targets: Sequence[str]) -> list[str]:
    lines = [
        "Code generated by stinger (C sources, headers, ONNX graphs): Apache-2.0, (c) the stinger authors; "
        "https://www.apache.org/licenses/LICENSE-2.0",
    ]
    if "integer" in targets:
        lines.append("The library that `integer/` is compiled with, device/stinger_ml: Apache-2.0; not included.")
    if "emlearn" in targets:
        lines.append(
            "The header in `emlearn/` was generated with emlearn, whose C library it needs: MIT, (c) Jon Nordby and "
            "contributors; https://github.com/emlearn/emlearn; the library is not included."
        )
    lines.append(
        "The weights, `replay.npz`, `vectors.npz` and the features kept with the model come from recordings: they are "
        "under the licence of those, which this bundle does not know. stinger claims nothing in them."
    )
    return lines


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"


def _plain(text: str) -> str:
    """Text from data, which must not become markup."""
    return "".join(c if c.isalnum() or c in " _.,:;/()'+-%=µ²°" else "?" for c in str(text))
