"""`stinger check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stinger.cli.output import print_json, print_table
from stinger.errors import UsageError
from stinger.workflow.progress import to_stderr


def check(
    bundle: Annotated[Path, typer.Argument(help="Bundle (directory or .zip) of `stinger export` or `stinger deploy`.")],
    port: Annotated[str | None, typer.Option(help="Check the board at this port.")] = None,
    log: Annotated[Path | None, typer.Option(help="Check a board log written by `stinger monitor --log`.")] = None,
    data: Annotated[Path | None, typer.Option(help="With --port: replay this recording.")] = None,
    complete: Annotated[
        bool, typer.Option("--complete", help="Fail where a level cannot be checked here, for want of a tool.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Check a board, a board's log, or the bundle itself against the model; exit 1 where they differ."""
    from stinger.workflow.check import check_bundle, check_log, check_port
    from stinger_export.bundle import load_bundle

    if port is not None and log is not None:
        raise UsageError("give --port or --log, not both")
    if data is not None and port is None:
        raise UsageError("--data needs --port: it is what the board is asked about")
    opened, progress = load_bundle(bundle), to_stderr()
    unchecked: dict[str, str] = {}
    failures: list[str] | None = None
    if port is not None:
        comparisons = [check_port(opened, port, data, progress)]
    elif log is not None:
        comparisons = [check_log(opened, log, progress)]
    else:
        found = check_bundle(opened, progress)
        comparisons, unchecked, failures = found.comparisons, found.unchecked, found.failures
    if failures is None:
        failures = [c.failure for c in comparisons if c.failure is not None]
    if json:
        print_json([{**c.__dict__, "levels": list(c.levels)} for c in comparisons])
    else:
        rows = [
            [c.name, f"{c.windows:,}", str(c.flips), f"{c.max_difference:.1e}", "no" if c.failure else "yes"]
            for c in comparisons
        ]
        print_table(["levels", "windows", "flips", "largest |Δp|", "agree"], rows)
    for level, why in unchecked.items():
        typer.echo(f"not checked: {level} ({why})", err=True)
    if complete and unchecked:
        failures = [*failures, f"--complete: {', '.join(unchecked)} could not be checked"]
    for line in failures:
        typer.echo(f"stinger: {opened.spec.name}: {line}", err=True)
    if failures:
        raise typer.Exit(1)
