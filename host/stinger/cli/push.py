"""`stinger push`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stinger.cli.output import print_json
from stinger.errors import UsageError
from stinger.workflow.progress import to_stderr


def push(
    bundle: Annotated[Path | None, typer.Argument(help="Bundle whose model the board is to run.")] = None,
    port: Annotated[str | None, typer.Option(help="Serial port of the board; default: the only one there is.")] = None,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Instead: run the model from before the last push again.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print what the board runs then as JSON.")] = False,
) -> None:
    """Store a model in a board's flash and run it; the firmware stays, and the model before it can be taken back."""
    from dataclasses import asdict

    from stinger.link.ports import find_port
    from stinger.workflow.push import push as run
    from stinger.workflow.push import rollback as take_back
    from stinger_export.bundle import load_bundle

    if (bundle is not None) == rollback:
        raise UsageError("give a bundle to push, or --rollback")
    progress = to_stderr()
    if bundle is None:
        found = find_port(port)
        info = take_back(found, progress)
    else:
        opened = load_bundle(bundle)
        found = find_port(port)
        info = run(opened, found, progress)
    if json:
        model = {"name": info.model.name, "family": info.model.family, "hash": info.model.hash}
        print_json({"port": found, "model": model, "store": asdict(info.store) if info.store else None})
    else:
        typer.echo(f"The board at {found} runs {info.model.name} ({info.model.family}, {info.model.hash}).")
