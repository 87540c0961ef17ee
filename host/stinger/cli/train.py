"""`stinger train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stinger.cli.output import print_json
from stinger.workflow.progress import to_stderr


def train(
    train_dir: Annotated[Path, typer.Option(help="Dataset written by `stinger explore`.")] = Path("ml_out/train"),
    model: Annotated[str, typer.Option(help="Family: logreg, mlp or rf.")] = "logreg",
    features: Annotated[str, typer.Option(help="Integer feature set: summary or rich.")] = "rich",
    out: Annotated[Path | None, typer.Option(help="Save the model in this directory.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of training.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON.")] = False,
) -> None:
    """Train a model on a dataset and measure it on the windows held out."""
    from stinger.models.store import save_model
    from stinger.models.train import train as run
    from stinger.windows.store import read_dataset

    progress = to_stderr()
    dataset = read_dataset(train_dir)
    progress.step(f"training {model} on {int((~dataset.held_out).sum()):,} windows")
    trained = run(dataset, model, features=features, seed=seed)
    if out is not None:
        save_model(trained, out)
    if json:
        print_json(trained.spec.to_json())
        return
    for name, value in trained.spec.metrics.items():
        typer.echo(f"{name}: {value:g}")
    if out is not None:
        typer.echo(f"model: {out}")
