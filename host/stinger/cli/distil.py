"""`stinger distil`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stinger.cli.output import print_json, print_table
from stinger.workflow.progress import to_stderr


def distil(
    teacher: Annotated[
        list[Path] | None,
        typer.Option(
            help="A model directory, or soft labels (.npz); may be repeated, their mean teaches. "
            "Default: an ensemble fitted here."
        ),
    ] = None,
    train_dir: Annotated[Path, typer.Option(help="Dataset written by `stinger explore`.")] = Path("ml_out/train"),
    model: Annotated[str, typer.Option(help="The student: mlp, torch-mlp or torch-cnn.")] = "mlp",
    features: Annotated[str, typer.Option(help="Its feature set; torch-cnn takes flatten.")] = "rich",
    option: Annotated[
        list[str] | None, typer.Option(help="An option of its family, e.g. hidden_layer_sizes=16; may be repeated.")
    ] = None,
    temperature: Annotated[float, typer.Option(help="Above 1 softens the teacher.")] = 1.0,
    mix: Annotated[float, typer.Option(help="Share of the teacher in what is learnt; the rest is the label.")] = 0.5,
    seeds: Annotated[int, typer.Option(help="How often it is taught, with seeds that count up.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Save the distilled model of the first seed here.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Teach a compact model what a larger one knows, beside one that learns from labels alone."""
    from stinger.workflow import distil as workflow
    from stinger.workflow.train import family_options

    options = family_options(model, given=option or ())
    lesson = workflow.Lesson(model, features, options, temperature, mix, seeds, seed)
    report = workflow.distil(workflow.DistilOptions(train_dir, tuple(teacher or ()), lesson, out), to_stderr())
    if json:
        print_json(report)
        return
    windows = report["windows"]
    typer.echo(f"teacher: {report['teacher']}")
    typer.echo(f"windows: {windows['training']:,} to learn from, {windows['held_out']:,} held out")
    print_table(*workflow.table(report))
    for note in report["notes"]:
        typer.echo(f"note: {note}")
    if out is not None:
        typer.echo(f"distilled model: {out}")
