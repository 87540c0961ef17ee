"""`stinger bench`: how fast things are, on the machine it runs on."""

from __future__ import annotations

from typing import Annotated

import typer

from stinger.cli.output import print_json, print_table
from stinger.workflow.progress import to_stderr

app = typer.Typer(help="Measure how fast things are here.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def options() -> None:
    """Measure how fast things are here."""


@app.command()
def host(
    samples: Annotated[int, typer.Option(help="Length of the log that is exported.")] = 90_000,
    windows: Annotated[int, typer.Option(help="Windows of which features are computed.")] = 100_000,
    hours: Annotated[float, typer.Option(help="Length of the recording that is loaded.")] = 24.0,
    repeats: Annotated[int, typer.Option(help="How often each is done; the best counts.")] = 5,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Measure the host's work: export against plain Python, features, loading a day."""
    from stinger.workflow.bench import BenchOptions, bench_host, table

    report = bench_host(BenchOptions(samples=samples, windows=windows, hours=hours, repeats=repeats), to_stderr())
    if json:
        print_json(report)
        return
    print_table(*table(report))
    facts = report["machine"]
    typer.echo(
        f"\n{facts['processor']}, {facts['processors']} processors; {facts['system']}, "
        f"Python {facts['python']}, numpy {facts['numpy']}"
    )
