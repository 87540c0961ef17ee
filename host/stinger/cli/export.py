"""`stinger export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stinger.cli.output import print_json, print_table
from stinger.errors import UsageError
from stinger.workflow.progress import to_stderr

if TYPE_CHECKING:
    from stinger.workflow.export import Exported
    from stinger.workflow.export_parts import Part


def export(
    model: Annotated[Path, typer.Argument(help="Model directory written by `stinger train --out`.")],
    out: Annotated[Path, typer.Option(help="Directory of the bundle, or a .zip.")],
    target: Annotated[
        str | None,
        typer.Option(help="Some of integer,onnx,emlearn,mlmd,stock-header; by default all that the model allows."),
    ] = None,
    max_loss: Annotated[
        float,
        typer.Option(
            help="Largest change of a probability from the model to its integers, and largest loss of ROC AUC on "
            "held-out windows. A label may change only where a probability is that near to the middle."
        ),
    ] = 0.03,
    data: Annotated[
        Path | None,
        typer.Option(
            help="The dataset trained on: measure on all of its held-out windows, instead of those that the model "
            "keeps (at most 2,000)."
        ),
    ] = None,
    weights: Annotated[
        str,
        typer.Option(
            help="Bits of a network's weights: auto (8, and 16 where 8 lose too much), 8 (smallest, fastest) or 16. "
            "Where they lose more than --max-loss, they are fine-tuned if torch is installed."
        ),
    ] = "auto",
    budget: Annotated[
        str | None, typer.Option(help="Most it may take on the board, such as flash=8k,ram=2k,cycles=35k.")
    ] = None,
    cost: Annotated[bool, typer.Option("--cost/--no-cost", help="Measure flash, RAM and cycles.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Export a model to ONNX, an emlearn header, integer C and images, all in one bundle and measured against it."""
    from stinger.workflow.export import ExportOptions, OverBudgetError, parse_budget, to_json
    from stinger.workflow.export import export as run
    from stinger_export.targets import parse_targets

    if not 0 < max_loss <= 1:
        raise UsageError(f"--max-loss is {max_loss:g}; it is a change of a probability, above 0 and at most 1")
    options = ExportOptions(
        model=model,
        out=out,
        targets=parse_targets(target),
        max_loss=max_loss,
        budget=None if budget is None else parse_budget(budget),
        cost=cost,
        data=data,
        weights=weights,
    )
    try:
        done = run(options, to_stderr())
    except OverBudgetError as error:
        _print_parts(error.parts)
        raise
    if json:
        print_json(to_json(done))
    else:
        _print(done)


def _print(done: Exported) -> None:
    manifest = done.bundle.manifest
    rows = [
        [
            entry["target"],
            "-".join(entry["levels"]),
            f"{entry['windows']:,}",
            str(entry["flips"]),
            "-" if entry["auc_loss"] is None else f"{entry['auc_loss']:.1e}",
            f"{entry['max_difference']:.1e}",
            f"{entry['bound']:g}" if entry["bound"] else "every bit",
        ]
        for entry in manifest["parity"]
    ]
    print_table(["target", "levels", "windows", "flips", "AUC loss", "largest |Δp|", "allowed"], rows)
    typer.echo(_measured_on(manifest["measured_on"]))
    for level, scores in manifest["held_out"].items():
        typer.echo(f"held-out windows, {level}: " + ", ".join(f"{name} {value:.4f}" for name, value in scores.items()))
    if (made := manifest["quantisation"]) is not None and made["bits"]:
        bits = f"weights: {', '.join(map(str, made['bits']))} bits, layer by layer"
        typer.echo(bits + _widened(made["widening"]) + _tuned(made["fine_tuning"]))
    for name, why in manifest["not_exported"].items():
        typer.echo(f"not exported: {name} ({why})")
    if done.cost is not None:
        cost = done.cost
        typer.echo(
            f"on the board: {cost.flash_bytes:,} bytes of flash, {cost.ram_bytes:,} of RAM, {cost.cycles:,} cycles = "
            f"{cost.milliseconds:g} ms at {cost.clock_hz / 1e6:g} MHz, {cost.share_of_period:.2%} of the sample period"
        )
    else:
        typer.echo(f"cost on the board: not measured ({done.no_cost})")
    integer = manifest["integer_hash"]
    typer.echo(f"bundle: {done.bundle.origin}" + (f" (integer model {integer})" if integer else ""))


def _measured_on(where: dict[str, Any] | None) -> str:
    made = "loss measured on samples made from the model, on its training windows and "
    if where is None:
        return made + "on no held-out ones: the model keeps none; give --data the dataset, or train it again"
    source = "that the model keeps" if where["source"] == "model" else "of --data"
    return made + f"on {where['windows']:,} held-out windows {source}"


def _widened(widening: dict[str, Any] | None) -> str:
    if widening is None:
        return ""
    if not widening["kept"]:
        return "; wider ones brought it no nearer to the model"
    return (
        f"; widened from {', '.join(map(str, widening['from']))}: largest |Δp| {widening['loss_before']:.2g} before, "
        f"{widening['loss_after']:.2g} after"
    )


def _tuned(tuning: dict[str, Any] | None) -> str:
    if tuning is None:
        return ""
    if not tuning["kept"]:
        return "; fine-tuning them brought it no nearer to the model"
    return (
        f"; fine-tuned in {tuning['epochs']} epochs: largest |Δp| {tuning['loss_before']:.2g} before, "
        f"{tuning['loss_after']:.2g} after"
    )


def _print_parts(parts: list[Part]) -> None:
    rows = [
        [part.name, f"{part.flash:,}", f"{part.ram:,}", "-" if part.cycles is None else f"~{part.cycles:,}"]
        for part in parts
    ]
    print_table(["part", "flash", "RAM", "cycles"], rows)
