"""`stinger tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stinger.cli.output import print_json, print_table
from stinger.workflow.progress import to_stderr


def tune(
    model: Annotated[Path, typer.Argument(help="Model directory; the policy is stored in it.")],
    logs: Annotated[list[Path], typer.Argument(metavar="LOG...", help="The recordings it was trained on.")],
    train_dir: Annotated[Path, typer.Option(help="Dataset the model was trained on.")] = Path("ml_out/train"),
    budget: Annotated[float, typer.Option(help="False spin-ups per minute of neutral time, at most.")] = 1.0,
    max_on: Annotated[float, typer.Option(help="Share of neutral time on, at most.")] = 0.1,
    out: Annotated[Path, typer.Option(help="Directory of the trade-off picture, policy.json and the report.")] = Path(
        "tune_out"
    ),
    store: Annotated[bool, typer.Option("--store/--no-store", help="Store the policy in the model directory.")] = True,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; default: one for each processor.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Choose a model's policy: most shots anticipated within a budget of false spin-ups."""
    from stinger.workflow.tune import TuneOptions, tune_model

    options = TuneOptions(
        model=model,
        logs=logs,
        train_dir=train_dir,
        out=out,
        budget=budget,
        max_on=max_on,
        store=store,
        workers=workers,
    )
    result = tune_model(options, to_stderr())
    if json:
        print_json(result.to_json())
        return
    print_table(*result.table())
    typer.echo(f"policy: {result.described}")
    for note in result.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"trade-off: {out / 'trade-off.png'}")
    typer.echo(f"stored in {model}" if store else f"not stored; {out / 'policy.json'} holds it")
