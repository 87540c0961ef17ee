"""`stinger convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stinger.cli.output import print_json
from stinger.workflow.progress import to_stderr


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A recording, or a folder or zip of them.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="A file, whose suffix says the format, or a folder.")],
    rate: Annotated[float | None, typer.Option(help="Samples per second, for tables without a time column.")] = None,
    units: Annotated[str | None, typer.Option(help="Units a table does not state, e.g. acc=g,gyro=rad/s.")] = None,
    pattern: Annotated[
        str | None, typer.Option(help="How file names spell label and subject, e.g. '{label}.s{subject}_*.csv'.")
    ] = None,
    label_column: Annotated[str | None, typer.Option(help="Column of a table that holds the label.")] = None,
    subject_column: Annotated[str | None, typer.Option(help="Column that holds who was recorded.")] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="Format of the files in a folder, e.g. mcap; default: csv.")
    ] = None,
    lossy: Annotated[bool, typer.Option("--lossy", help="Write although the format cannot hold everything.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Convert recordings from one format to another; what the new one cannot hold is an error."""
    from stinger.sessions.options import options_from_flags
    from stinger.workflow.recordings import convert as run

    options = options_from_flags(
        rate=rate, units=units, pattern=pattern, label_column=label_column, subject_column=subject_column
    )
    done = run(source, target, options, to_stderr(), form=form, lossy=lossy)
    if json:
        print_json({**done.__dict__, "files": [str(path) for path in done.files]})
        return
    for fault in done.faults:
        typer.echo(f"fault: {fault}")
    for text in done.lost:
        typer.echo(f"lost: {text}")
    for name in done.skipped:
        typer.echo(f"not a recording: {name}")
    typer.echo(f"{done.recordings} recording{'' if done.recordings == 1 else 's'} in {target}")
