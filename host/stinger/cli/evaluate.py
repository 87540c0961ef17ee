"""`stinger evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stinger.cli.output import print_json, print_table
from stinger.workflow.progress import to_stderr


def evaluate(
    model: Annotated[Path, typer.Argument(help="Model directory written by `stinger train --out`.")],
    logs: Annotated[list[Path], typer.Argument(metavar="LOG...", help="Recordings, or folders or zips of them.")],
    train_dir: Annotated[
        Path | None,
        typer.Option(help="Dataset the model was trained on: recordings it has seen are answered by refits."),
    ] = None,
    policy: Annotated[
        list[str] | None, typer.Option(help="stock, stored, or a file that `stinger tune` wrote; repeatable.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write pictures and the report to this directory.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Run a model over whole recordings it never saw: shots anticipated, false spin-ups a minute."""
    from stinger.workflow.evaluate import EvaluateOptions
    from stinger.workflow.evaluate import evaluate as run

    options = EvaluateOptions(model=model, logs=logs, train_dir=train_dir, policies=policy or (), out=out)
    evaluation = run(options, to_stderr())
    if json:
        print_json(evaluation.to_json())
        return
    print_table(*evaluation.table())
    for line in evaluation.intervals():
        typer.echo(line)
    for note in evaluation.notes:
        typer.echo(f"note: {note}")
    if out is not None:
        typer.echo(f"pictures and report: {out}")
