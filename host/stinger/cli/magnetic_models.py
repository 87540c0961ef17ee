"""The verbs of `stinger magnetic` that have to do with models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stinger.cli.output import print_json, print_table
from stinger.workflow.progress import to_stderr

if TYPE_CHECKING:
    from stinger.workflow.classify import ClassifyResult

#: More rows than this are no table to read; --table writes all of them.
_MOST_ROWS = 200


def classify(
    model: Annotated[Path, typer.Argument(help="A model: what `stinger train` wrote, or a .model.tar.gz.")],
    recording: Annotated[Path, typer.Argument(metavar="RECORDING", help="Any recording.")],
    out: Annotated[Path | None, typer.Option(help="Write what it says as MCAP (topic `classification`).")] = None,
    table: Annotated[Path | None, typer.Option(help="Write the table as CSV.")] = None,
    timeline: Annotated[Path | None, typer.Option(help="Draw truth, predictions and probabilities (PNG).")] = None,
    step: Annotated[
        float | None, typer.Option(help="Seconds from one window to the next; default: one after the other.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--recording", help="Which recording, where a file holds several.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Processors that a transformer may use.")] = 1,
    rate: Annotated[float | None, typer.Option(help="Samples per second, for tables without a time column.")] = None,
    units: Annotated[str | None, typer.Option(help="Units a table does not state, e.g. mag=uT.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Say of each window of a recording which class it is of: a table, MCAP and a picture."""
    from stinger.sessions.options import options_from_flags
    from stinger.workflow.classify import ClassifyOptions
    from stinger.workflow.classify import classify as job

    options = ClassifyOptions(
        model,
        recording,
        out=out,
        table=table,
        timeline=timeline,
        step_s=step,
        name=name,
        threads=threads,
        read=options_from_flags(rate=rate, units=units),
    )
    result = job(options, to_stderr())
    if json:
        print_json(result.to_json())
        return
    _print(result)
    for what, path in (("classification", out), ("table", table), ("timeline", timeline)):
        if path is not None:
            typer.echo(f"{what}: {path}")


def dataset(
    recordings: Annotated[
        list[Path], typer.Argument(help="Labelled recordings, or folders or zips of them; or a dataset of windows.")
    ],
    out: Annotated[Path, typer.Option(help="The dataset's folder.")],
    window: Annotated[float | None, typer.Option(help="Length of a window in seconds; default 3.")] = None,
    stride: Annotated[
        float | None, typer.Option(help="Step between windows, as a share of one; default a third.")
    ] = None,
    channels: Annotated[
        str | None, typer.Option(help="Channels, separated by commas; default the magnetometer.")
    ] = None,
    size: Annotated[
        str, typer.Option(help="Spectrograms as this transformer sees them: base (as published), small or tiny.")
    ] = "base",
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Write labelled windows with their spectrograms as a HuggingFace dataset, to train on here or elsewhere."""
    from stinger.workflow.transformer_inputs import DatasetOptions, magnetic_dataset

    options = DatasetOptions(
        recordings,
        out,
        window_s=window,
        stride=stride,
        channels=None if channels is None else tuple(part.strip() for part in channels.split(",")),
        size=size,
    )
    summary = magnetic_dataset(options, to_stderr())
    if json:
        print_json(summary)
        return
    rows = [[name, f"{count:,}"] for name, count in summary["windows"].items()]
    print_table(["label", "windows"], rows)
    typer.echo("")
    typer.echo(
        f"dataset: {out}, {summary['recordings']} recordings, spectrograms of {' × '.join(map(str, summary['shape']))}"
    )


def soft_labels(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="Teachers; of several the mean is taken.")],
    out: Annotated[Path, typer.Option(help="Where to write them: a .npz file.")],
    train_dir: Annotated[
        Path, typer.Option(help="Dataset written by `stinger explore`, its windows as long as the teachers'.")
    ] = Path("ml_out/train"),
    threads: Annotated[int, typer.Option(min=1, max=64, help="Processors that a transformer may use.")] = 1,
) -> None:
    """Write what models say of a dataset's windows, for a smaller model to learn from."""
    from stinger.workflow.soften import SoftenOptions, soften

    result = soften(SoftenOptions(models, train_dir, out, threads), to_stderr())
    typer.echo(f"{len(result.labels):,} windows of {', '.join(result.labels.classes)}: {out}")
    typer.echo(f"right: {result.right:.3f}, of the windows held out {result.held_out_right:.3f}")
    for note in result.notes:
        typer.echo(f"note: {note}")


def _print(result: ClassifyResult) -> None:
    rows = [
        [
            str(row["window"]),
            f"{row['start_s']:.1f} to {row['end_s']:.1f}",
            row["predicted"],
            f"{row['probability']:.3f}",
            row["truth"] or "",
            "wrong" if wrong else "",
        ]
        for row, wrong in zip(result.rows(), result.wrong.tolist(), strict=True)
    ]
    print_table(["window", "seconds", "predicted", "probability", "truth", ""], rows[:_MOST_ROWS])
    if len(rows) > _MOST_ROWS:
        typer.echo(f"... and {len(rows) - _MOST_ROWS:,} more; --table writes all of them")
    typer.echo("")
    if result.accuracy is not None:
        typer.echo(f"accuracy: {result.accuracy:.3f} of {result.labelled} labelled windows")
    for note in result.notes:
        typer.echo(f"note: {note}")
