"""`stinger deploy`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stinger.cli.output import print_json, print_table
from stinger.workflow.progress import to_stderr


def deploy(
    logs: Annotated[list[Path], typer.Argument(help="Recordings to train on.")],
    port: Annotated[str | None, typer.Option(help="Serial port of the board; default: the only one there is.")] = None,
    model: Annotated[str, typer.Option(help="Family: logreg, mlp or rf.")] = "mlp",
    features: Annotated[
        str,
        typer.Option(help="Integer feature set: summary, rich, coupled, magnetic, invariant, invariant_rich, flatten."),
    ] = "rich",
    out: Annotated[Path, typer.Option(help="Where dataset, bundle, firmware and report go.")] = Path("stinger-deploy"),
    any_model: Annotated[
        bool, typer.Option("--any-model", help="Build firmware that can also run pushed models of other kinds.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of split and training.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print the proof as JSON.")] = False,
) -> None:
    """Train on recordings, flash the board, and prove on the board that it runs what was trained."""
    from stinger.check.report import table
    from stinger.link.ports import find_port
    from stinger.workflow.deploy import DeployOptions
    from stinger.workflow.deploy import deploy as run

    options = DeployOptions(logs, find_port(port), out, family=model, features=features, seed=seed, any_model=any_model)
    proven = run(options, to_stderr())
    if json:
        print_json(proven.proof.to_json())
    else:
        print_table(*table([proven.proof], {proven.proof.name: proven.cost}))
    for line in proven.proof.failures:
        typer.echo(f"stinger: {line}", err=True)
    if proven.proof.failures:
        raise typer.Exit(1)
    if not json:
        typer.echo(f"\nThe board at {options.port} runs what was trained. Bundle: {out / 'bundle'}")
