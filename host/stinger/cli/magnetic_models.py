"""The verbs of `stinger magnetic` that have to do with models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stinger.cli.output import print_json, print_table
from stinger.workflow.progress import to_stderr

if TYPE_CHECKING:
    from stinger.workflow.classify import ClassifyResult

#: More rows than this are no table to read; --table writes all of them.
_MOST_ROWS = 200


def classify(
    model: Annotated[Path, typer.Argument(help="A model: what `stinger train` wrote, or a .model.tar.gz.")],
    recording: Annotated[Path, typer.Argument(metavar="RECORDING", help="Any recording.")],
    out: Annotated[Path | None, typer.Option(help="Write what it says as MCAP (topic `classification`).")] = None,
    table: Annotated[Path | None, typer.Option(help="Write the table as CSV.")] = None,
    timeline: Annotated[Path | None, typer.Option(help="Draw truth, predictions and probabilities (PNG).")] = None,
    step: Annotated[
        float | None, typer.Option(help="Seconds from one window to the next; default: one after the other.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--recording", help="Which recording, where a file holds several.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Processors that a transformer may use.")] = 1,
    rate: Annotated[float | None, typer.Option(help="Samples per second, for tables without a time column.")] = None,
    units: Annotated[str | None, typer.Option(help="Units a table does not state, e.g. mag=uT.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Say of each window of a recording which class it is of: a table, MCAP and a picture."""
    from stinger.sessions.options import options_from_flags
    from stinger.workflow.classify import ClassifyOptions
    from stinger.workflow.classify import classify as job

    options = ClassifyOptions(
        model,
        recording,
        out=out,
        table=table,
        timeline=timeline,
        step_s=step,
        name=name,
        threads=threads,
        read=options_from_flags(rate=rate, units=units),
    )
    result = job(options, to_stderr())
    if json:
        print_json(result.to_json())
        return
    _print(result)
    for what, path in (("classification", out), ("table", table), ("timeline", timeline)):
        if path is not None:
            typer.echo(f"{what}: {path}")


def _print(result: ClassifyResult) -> None:
    rows = [
        [
            str(row["window"]),
            f"{row['start_s']:.1f} to {row['end_s']:.1f}",
            row["predicted"],
            f"{row['probability']:.3f}",
            row["truth"] or "",
            "wrong" if wrong else "",
        ]
        for row, wrong in zip(result.rows(), result.wrong.tolist(), strict=True)
    ]
    print_table(["window", "seconds", "predicted", "probability", "truth", ""], rows[:_MOST_ROWS])
    if len(rows) > _MOST_ROWS:
        typer.echo(f"... and {len(rows) - _MOST_ROWS:,} more; --table writes all of them")
    typer.echo("")
    if result.accuracy is not None:
        typer.echo(f"accuracy: {result.accuracy:.3f} of {result.labelled} labelled windows")
    for note in result.notes:
        typer.echo(f"note: {note}")
