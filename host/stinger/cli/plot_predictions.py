"""`stinger plot-predictions`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from stinger.cli.output import print_json
from stinger.workflow.progress import to_stderr


def plot_predictions(
    log: Annotated[Path | None, typer.Argument(help="A recording of any known format.")] = None,
    csv: Annotated[Path | None, typer.Option(help="The same as LOG, by the reference's name.")] = None,
    train_dir: Annotated[
        Path | None,
        typer.Option(help="Dataset to train on, and to know what saved models saw; default ml_out/train to train."),
    ] = None,
    outdir: Annotated[Path, typer.Option(help="Where pictures and table go.")] = Path("ml_out/predictions"),
    model: Annotated[str, typer.Option(help="Family of the model to train.")] = "logreg",
    features: Annotated[str, typer.Option(help="Its feature set.")] = "rich",
    model_dir: Annotated[
        list[Path] | None,
        typer.Option(help="A saved model, instead of training one; several are compared."),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Several models; logreg:summary, et:rich and mlp:rich if none are named.")
    ] = False,
    model_spec: Annotated[
        list[str] | None,
        typer.Option(help="A model to train and compare: FAMILY:FEATURES or FAMILY:FEATURES:NAME; repeat it."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--class", help="Class whose probability is shown; default: shot, else the recording's own."),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Counts as a yes from here on; default: each model's own.")
    ] = None,
    max_shots: Annotated[int, typer.Option(min=0, help="Most shots drawn; those unseen in training come first.")] = 50,
    max_negs: Annotated[int, typer.Option(min=0, help="Most windows without a shot drawn.")] = 10,
    dpi: Annotated[int, typer.Option(min=30, max=400, help="Pixels per inch.")] = 110,
    seed: Annotated[int, typer.Option(min=0, help="Seed of training and of the negatives drawn.")] = 1,
    recording: Annotated[str | None, typer.Option(help="Which recording, if LOG holds several.")] = None,
    rate: Annotated[float | None, typer.Option(help="Samples per second of a table without time.")] = None,
    units: Annotated[str | None, typer.Option(help="Units of a table, e.g. acc=g,gyro=rad/s.")] = None,
    pattern: Annotated[
        str | None, typer.Option(help="File names spell labels, e.g. '{label}.s{subject}_*.csv'.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Pictures drawn at the same time.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print summary.json, with the seconds it took.")] = False,
) -> None:
    """Draw what a model, or several, say along a recording: overview, every shot, idle windows, histogram, table."""
    from stinger.errors import UsageError
    from stinger.sessions.options import options_from_flags
    from stinger.workflow.predictions import PredictionOptions
    from stinger.workflow.predictions import plot_predictions as run

    chosen = log or csv
    if chosen is None or (log and csv):
        raise UsageError("name one recording: stinger plot-predictions LOG, or --csv LOG")
    result = run(
        PredictionOptions(
            log=chosen,
            outdir=outdir,
            recording=recording,
            train_dir=train_dir,
            model_dirs=tuple(model_dir or ()),
            model=model,
            features=features,
            compare=compare,
            specs=tuple(model_spec or ()),
            target=target,
            threshold=threshold,
            max_shots=max_shots,
            max_negs=max_negs,
            dpi=dpi,
            seed=seed,
            read=options_from_flags(rate=rate, units=units, pattern=pattern),
            workers=workers,
        ),
        to_stderr(),
    )
    if json:
        print_json({**result.summary, "seconds": result.seconds})
    else:
        _print(result.summary, result.seconds, outdir)


def _print(summary: dict[str, Any], seconds: dict[str, float], outdir: Path) -> None:
    typer.echo(
        f"{summary['recording']}: {summary['samples']:,} samples, {summary['gaps']} gaps, {summary['shots']} shots; "
        f"{summary['predictions']:,} predictions per model"
    )
    for model in summary["models"]:
        for part, reached in model["reached_threshold"].items():
            said = ", ".join(f"{hits} of {total} {name}" for name, (hits, total) in reached.items() if total)
            typer.echo(f"{model['label']}, {part}: at {model['threshold']:.2f} or more are {said}")
    for note in summary["notes"]:
        typer.echo(f"note: {note}")
    typer.echo(f"trained in {seconds['training']:.1f} s, predicted in {seconds['features_and_predicting']:.1f} s")
    pictures = summary["pictures"]
    typer.echo(f"{pictures['shots']} shots and {pictures['negatives']} other windows drawn: {outdir}")
