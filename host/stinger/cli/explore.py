"""`stinger explore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stinger.cli.output import print_json
from stinger.workflow.progress import to_stderr


def explore(
    logs: Annotated[list[Path], typer.Argument(help="Recordings: Stinger .bin or .csv, Edge Impulse export zip.")],
    outdir: Annotated[Path, typer.Option(help="Where summary, picture and dataset go.")] = Path("ml_out"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice of windows and of the split.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print summary.json.")] = False,
) -> None:
    """Cut recordings into labelled windows: a dataset to train on."""
    from stinger.workflow.dataset import explore as run

    summary = run(logs, outdir, seed=seed, progress=to_stderr())
    if json:
        print_json(summary)
        return
    counts = ", ".join(f"{n} {name}" for name, n in summary["windows"].items())
    typer.echo(f"{summary['samples']:,} samples, {summary['gaps']} gaps, {summary['duration_s']:.0f} s")
    typer.echo(f"windows: {counts}; {summary['held_out_windows']} held out")
    for reason, n in summary["refused"].items():
        typer.echo(f"refused: {n} × {reason}")
    for fault in summary["faults"]:
        typer.echo(f"fault: {fault}")
    typer.echo(f"dataset: {outdir / 'train'}")
