"""`stinger magnetic compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stinger.cli.output import print_json, print_table
from stinger.workflow.progress import to_stderr


def compare(
    train_dir: Annotated[
        Path | None, typer.Option(help="Dataset written by `stinger explore`; without it recordings are generated.")
    ] = None,
    recordings: Annotated[int, typer.Option(help="Recordings of a minute to generate; a quarter is held out.")] = 120,
    window_ms: Annotated[float, typer.Option(help="Length of the windows that are cut from them.")] = 1000.0,
    teacher: Annotated[
        list[Path] | None,
        typer.Option(
            help="A model of any family, or soft labels (.npz), to compare with and learn from; may be repeated."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="How often each model is fitted.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first recording and the first fit.")] = 1,
    board: Annotated[bool, typer.Option("--board/--no-board", help="Run what fits on the emulated board.")] = True,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table in markdown.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Compare what tells how distorted the field is: accuracy on held-out recordings, size, cost."""
    from stinger.workflow import magnetic_compare

    options = magnetic_compare.CompareOptions(
        train_dir=train_dir,
        recordings=recordings,
        window_ms=window_ms,
        seeds=seeds,
        seed=seed,
        teachers=tuple(teacher or ()),
        board=board,
    )
    report = magnetic_compare.magnetic_compare(options, to_stderr())
    if json:
        print_json(report)
        return
    if markdown:
        typer.echo(magnetic_compare.markdown(report))
    else:
        print_table(*magnetic_compare.table(report))
    for line in magnetic_compare.facts(report):
        typer.echo(line)
