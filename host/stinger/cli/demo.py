"""`stinger demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stinger.cli.output import print_json, print_table
from stinger.workflow.progress import to_stderr


def demo(
    data: Annotated[
        Path | None,
        typer.Option(help="A Stinger .bin or .csv log, or an Edge Impulse export zip; default: a synthetic session."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where report, models and pictures go.")] = Path("stinger-demo"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 1,
    minutes: Annotated[float, typer.Option(min=1, max=60, help="Length of the synthetic session.")] = 8.0,
    windows: Annotated[int, typer.Option(min=1, help="Windows to compare on every level, at least.")] = 1500,
    json: Annotated[bool, typer.Option("--json", help="Print report.json instead of the table.")] = False,
) -> None:
    """Run the main job: recording, models, exports, firmware, emulated board, proof, report."""
    from stinger.workflow.demo import DemoOptions, run_demo

    options = DemoOptions(out=out, data=data, minutes=minutes, windows=windows, seed=seed)
    result = run_demo(options, to_stderr())
    if json:
        print_json(result.report)
    else:
        print_table(result.header, result.rows)
        typer.echo(f"\nReport: {out / 'report.md'}")
    for line in result.failures:
        typer.echo(f"stinger: {line}", err=True)
    if result.failures:
        raise typer.Exit(1)
    if not json:
        typer.echo("Everything agrees: what runs on the board is what was trained.")
