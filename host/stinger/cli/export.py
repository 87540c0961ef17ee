"""`stinger export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stinger.workflow.progress import to_stderr


def export(
    model: Annotated[Path, typer.Argument(help="Model directory written by `stinger train --out`.")],
    out: Annotated[Path, typer.Option(help="Directory of the bundle.")],
) -> None:
    """Export a model to ONNX, an emlearn header and integer C, all in one bundle."""
    from stinger.models.store import load_model
    from stinger_export.bundle import export_bundle

    progress = to_stderr()
    bundle = export_bundle(load_model(model), out, lambda target: progress.step(f"exporting {target}"))
    typer.echo(f"bundle: {out} (integer model {bundle.integer.hash})")
