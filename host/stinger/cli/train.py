"""`stinger train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stinger.cli.output import print_json, print_table
from stinger.errors import UsageError
from stinger.workflow.progress import to_stderr

if TYPE_CHECKING:
    from stinger.evaluation.intervals import Figure
    from stinger.evaluation.report import WindowReport
    from stinger.workflow.train import TrainResult

#: What figures are called, in the order they are shown.
_NAMES = {
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "brier": "Brier score",
    "calibration_error": "calibration error",
}


def train(
    ctx: typer.Context,
    recordings: Annotated[
        list[Path] | None,
        typer.Argument(help="For ast: labelled recordings, or folders or zips of them; default: --train-dir."),
    ] = None,
    train_dir: Annotated[
        Path, typer.Option(help="Dataset written by `stinger explore` or by the Stinger's own exporter.")
    ] = Path("ml_out/train"),
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "--family",
            help="Family: logreg, ridge, mlp, rf, et, hgb, dt, xgb, torch-mlp or torch-cnn; or ast, the Audio "
            "Spectrogram Transformer.",
        ),
    ] = "logreg",
    features: Annotated[
        str,
        typer.Option(
            help="Feature set: summary, rich, coupled, magnetic, invariant, invariant_rich or flatten in integers, as "
            "on the board; float-summary and so on as the Stinger's own tools compute them."
        ),
    ] = "rich",
    out: Annotated[Path | None, typer.Option(help="Save the model in this directory.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write report.json and pictures into this directory.")] = None,
    mlp_hidden: Annotated[str | None, typer.Option(help="Hidden layers of a network, e.g. 64,32.")] = None,
    mlp_alpha: Annotated[float | None, typer.Option(help="Strength of a network's penalty.")] = None,
    trees: Annotated[int | None, typer.Option(min=1, help="Trees of a forest, or rounds of boosting.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="Any other option of the family, NAME=VALUE; may be repeated.")
    ] = None,
    max_rows: Annotated[int | None, typer.Option(min=1, help="Use at most this many windows, in whole groups.")] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Hold out anew: random, time, group, session, subject, given or auto; by default as the dataset does."
        ),
    ] = None,
    test_size: Annotated[float | None, typer.Option(help="Share to hold out anew; 0.25 with --split.")] = None,
    embargo: Annotated[
        bool, typer.Option(help="Keep windows out of training that share samples with held-out ones.")
    ] = True,
    threshold_folds: Annotated[
        int, typer.Option(help="Folds of the training part to choose the threshold on; 0 keeps 0.5.")
    ] = 5,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of fit, split, folds and intervals.")] = 1,
    pretrained: Annotated[
        str | None,
        typer.Option(help="ast: start from this name on the HuggingFace hub, folder or .model.tar.gz; default MIT's."),
    ] = None,
    from_scratch: Annotated[
        str | None, typer.Option(help="ast: start from random weights instead: tiny, small or base.")
    ] = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="ast: 10 steps on few windows, into a folder of its own.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="ast: go on where an interrupted run stopped.")] = False,
    steps: Annotated[int | None, typer.Option(help="ast: steps; default 300, from scratch 1500.")] = None,
    batch: Annotated[int | None, typer.Option(help="ast: windows a step; default 2, from scratch 16.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="ast: default 5e-5, from scratch 1e-3.")] = None,
    evaluate_every: Annotated[
        int | None, typer.Option(help="ast: steps between looks at the validation part, and checkpoints.")
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help="ast: stop after so many looks without an improvement; 0 never does.")
    ] = None,
    window_ms: Annotated[
        float | None, typer.Option(help="ast: length of a window of recordings; default 3000.")
    ] = None,
    stride: Annotated[float | None, typer.Option(help="ast: step between windows, as a share of one.")] = None,
    channels: Annotated[
        str | None, typer.Option(help="ast: channels to listen to, separated by commas; default the magnetometer.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="ast: processors to use; default 1.")] = None,
    name: Annotated[str | None, typer.Option(help="ast: what the model is called.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print manifest and report as JSON.")] = False,
) -> None:
    """Train a model on a dataset and measure it on the windows held out."""
    arguments = locals()
    from stinger.cli.train_ast import FAMILY, refuse_foreign, train_ast

    typed = {key: arguments[key] for key in ctx.params if _is_typed(ctx, key)}
    refuse_foreign(model, typed)
    if model == FAMILY:
        train_ast(typed, as_json=json)
        return
    from stinger.workflow.train import TrainOptions, family_options, run_training

    progress = to_stderr()
    options = family_options(model, hidden=_sizes(mlp_hidden), alpha=mlp_alpha, trees=trees, given=option or ())
    result = run_training(
        TrainOptions(
            train_dir=train_dir,
            family=model,
            features=features,
            options=options,
            seed=seed,
            split=split,
            test_size=test_size,
            max_rows=max_rows,
            embargo=embargo,
            folds=threshold_folds,
        ),
        progress,
    )
    if report is not None:
        from stinger.workflow.train_report import write_report

        progress.step("drawing")
        write_report(result, report)
    if out is not None:
        from stinger.models.store import save_model

        save_model(result.model, out)
    if json:
        print_json(result.to_json())
        return
    _print(result)
    if report is not None:
        typer.echo(f"report: {report}")
    if out is not None:
        typer.echo(f"model: {out}")


def _is_typed(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _sizes(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1:
        raise UsageError(f"--mlp-hidden {text!r} is not a list of layer sizes like 64,32")
    return sizes


def _print(result: TrainResult) -> None:
    spec, report, parts = result.model.spec, result.report, result.parts
    trained = int(parts.dataset.training.sum())
    embargoed = f", {parts.embargoed} embargoed" if parts.embargoed else ""
    typer.echo(f"{spec.family} on {spec.features}, {len(spec.feature_set)} features")
    typer.echo(f"windows: {trained:,} to train on, {report.windows:,} held out (by {parts.kind}){embargoed}")
    if report.threshold is not None:
        folds = int(spec.metrics["threshold_folds"])
        how = f"best F1 on {folds} folds of the training part" if folds else "not chosen"
        typer.echo(f"threshold: {report.threshold:.3f} ({how})")
    typer.echo("")
    _print_figures(report)
    typer.echo("")
    _print_confusion(report)
    typer.echo("")
    _print_reliability(report)
    for note in result.notes:
        typer.echo(f"note: {note}")


def _print_figures(report: WindowReport) -> None:
    two = len(report.classes) == 2
    figures = report.classes[1].figures | report.figures if two else report.figures
    rows = []
    for name, shown in _NAMES.items():
        figure = figures.get(name) or figures[f"macro_{name}"]
        label = f"macro {shown}" if name not in figures else shown
        rows.append([label, f"{figure.value:.3f}", _interval(figure)])
        if two and name == "pr_auc":
            rows.append(["  base rate", f"{report.classes[1].base_rate:.3f}", ""])
    head = f"95 %, {report.units} {report.unit_name}" if report.draws else "no interval"
    print_table(["held-out windows", "value", head], rows)
    if not two:
        typer.echo("")
        names = ("roc_auc", "pr_auc", "precision", "recall")
        per_class = [
            [
                one.name,
                str(one.windows),
                f"{one.base_rate:.3f}",
                *(f"{one.figures[name].value:.3f}" for name in names),
                _with_interval(one.figures["f1"]),
            ]
            for one in report.classes
        ]
        header = ["class against the others", "windows", "base rate", *(_NAMES[name] for name in names), "F1"]
        print_table(header, per_class)


def _print_confusion(report: WindowReport) -> None:
    names = [one.name for one in report.classes]
    rows = [[name, *(str(count) for count in row)] for name, row in zip(names, report.confusion.tolist(), strict=True)]
    print_table(["true class, answered:", *names], rows)


def _print_reliability(report: WindowReport) -> None:
    what = repr(report.classes[1].name) if len(report.classes) == 2 else "the answer"
    rows = [
        [f"{row.low:.1f} to {row.high:.1f}", str(row.windows), f"{row.probability:.3f}", f"{row.observed:.3f}"]
        for row in report.reliability
        if row.windows
    ]
    print_table([f"probability of {what}", "windows", "mean", "came true"], rows)


def _interval(figure: Figure) -> str:
    return f"{figure.low:.3f} to {figure.high:.3f}" if figure.low <= figure.high else ""


def _with_interval(figure: Figure) -> str:
    return (
        f"{figure.value:.2f} ({figure.low:.2f} to {figure.high:.2f})"
        if figure.low <= figure.high
        else f"{figure.value:.2f}"
    )
