"""`stinger explore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from stinger.cli.output import print_json, print_table
from stinger.workflow.progress import to_stderr


def explore(
    context: typer.Context,
    logs: Annotated[list[Path], typer.Argument(help="Recordings of any known format, folders or zips of them.")],
    outdir: Annotated[Path, typer.Option(help="Where summary, pictures and dataset go.")] = Path("ml_out"),
    clean: Annotated[
        bool, typer.Option("--clean", help="Also replace a directory that the Stinger's own tools made.")
    ] = False,
    export_dataset: Annotated[bool, typer.Option(help="Write the dataset, train/.")] = True,
    preset: Annotated[
        str, typer.Option(help="Defaults of what follows: default, recommended, or personal (as demo and deploy).")
    ] = "default",
    gap_policy: Annotated[
        str, typer.Option(help="strict refuses windows that would lie; reference cuts as the Stinger's exporter does.")
    ] = "strict",
    classes: Annotated[
        str, typer.Option(help="What gives a window its class: auto, shots, recordings (their labels) or events.")
    ] = "auto",
    channels: Annotated[str | None, typer.Option(help="Channels to keep, e.g. ax,ay,az; all by default.")] = None,
    window_ms: Annotated[
        float | None, typer.Option(help="Length of a window; default 500, in labelled recordings 1000.")
    ] = None,
    lead_ms: Annotated[float, typer.Option(help="From a window's end to its shot.")] = 100,
    stride: Annotated[float, typer.Option(help="Step between windows of labelled recordings, in windows.")] = 0.5,
    min_shot_gap_ms: Annotated[float, typer.Option(help="A trigger pull sooner after a shot is no shot.")] = 1000,
    neg_strategy: Annotated[str, typer.Option(help="far, near, mixed or blend.")] = "far",
    neg_mult: Annotated[int, typer.Option(help="Negatives per positive.")] = 1,
    neg_mixed_near_frac: Annotated[float, typer.Option(help="Share of near ones (mixed, blend).")] = 0.5,
    neg_moving_frac: Annotated[float, typer.Option(help="Share of moving ones (blend).")] = 0.5,
    neg_min_motion_quantile: Annotated[float, typer.Option(help="Leave out this share of the stillest.")] = 0.0,
    neg_match_pos_motion: Annotated[bool, typer.Option("--neg-match-pos-motion", help="Move as positives do.")] = False,
    neg_pos_motion_q: Annotated[float, typer.Option(help="Cut this off both ends of the positives' motion.")] = 0.1,
    neg_min_sep_ms: Annotated[float, typer.Option(help="Least time between negatives.")] = 250,
    neg_with_replacement: Annotated[
        bool, typer.Option("--neg-with-replacement", help="Draw with repeats first.")
    ] = False,
    neg_near_min_ms: Annotated[float, typer.Option(help="Nearest end before a positive.")] = 200,
    neg_near_max_ms: Annotated[float, typer.Option(help="Farthest end before a positive.")] = 2000,
    neg_avoid_post_ms: Annotated[float, typer.Option(help="Forbidden time after a trigger edge.")] = 1000,
    neg_avoid_edges: Annotated[str, typer.Option(help="Edges with forbidden time: all or accepted.")] = "all",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice of windows and of the split.")] = 1,
    split: Annotated[
        str,
        typer.Option(
            help="What is held out: random, time, group, session, subject, given (as the recordings say); "
            "auto is given, else group."
        ),
    ] = "auto",
    test_size: Annotated[float, typer.Option(help="Share held out.")] = 0.25,
    embargo: Annotated[
        bool,
        typer.Option(help="Keep windows out of training that share samples with held-out ones."),
    ] = True,
    report_leakage: Annotated[
        bool, typer.Option("--report-leakage", help="Measure what each split would leak.")
    ] = False,
    plots: Annotated[str, typer.Option(help="none, overview, or all (every shot too).")] = "overview",
    shot_pre_ms: Annotated[float, typer.Option(help="Time before a shot in its picture.")] = 1000,
    shot_post_ms: Annotated[float, typer.Option(help="Time after a shot in its picture.")] = 200,
    rate: Annotated[float | None, typer.Option(help="Samples per second of a table without time.")] = None,
    units: Annotated[str | None, typer.Option(help="Units of a table, e.g. acc=g,gyro=rad/s.")] = None,
    pattern: Annotated[
        str | None,
        typer.Option(help="File names spell labels, e.g. '{label}.s{subject}_*.csv'."),
    ] = None,
    label_column: Annotated[str | None, typer.Option(help="Column of a table that holds the label.")] = None,
    subject_column: Annotated[str | None, typer.Option(help="Column that holds who was recorded.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Recordings cut at the same time.")] = None,
    backend: Annotated[str | None, typer.Option(help="serial, processes or dask; default: what suits.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler, tcp://HOST:PORT.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print summary.json.")] = False,
) -> None:
    """Cut recordings into labelled windows: a dataset to train on. Times are in milliseconds."""
    from stinger.sessions.options import options_from_flags
    from stinger.windows.spec import preset as find_preset
    from stinger.workflow.explore import ExploreOptions
    from stinger.workflow.explore import explore as run

    summary = run(
        ExploreOptions(
            paths=logs,
            outdir=outdir,
            plots=plots,
            export=export_dataset,
            clean=clean,
            report_leakage=report_leakage,
            read=options_from_flags(
                rate=rate, units=units, pattern=pattern, label_column=label_column, subject_column=subject_column
            ),
            backend=backend or ("dask" if scheduler else None),
            workers=workers,
            scheduler=scheduler,
        ),
        find_preset(preset, **_given(context, locals())),
        to_stderr(),
    )
    if json:
        print_json(summary)
    else:
        _print(summary, outdir / "train" if export_dataset else None)


def _given(context: typer.Context, options: dict[str, Any]) -> dict[str, Any]:
    """The options of the spec that the user gave; the others are the preset's."""
    from dataclasses import fields

    from stinger.windows.spec import ExploreSpec

    known = {field.name for field in fields(ExploreSpec)}
    given = {}
    for name in known & options.keys():
        source = context.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            given[name] = options[name]
    if "channels" in given:
        given["channels"] = tuple(name.strip() for name in given["channels"].split(","))
    return given


def _print(summary: dict[str, Any], train: Path | None) -> None:
    counts = ", ".join(f"{n} {name}" for name, n in summary["windows"].items())
    split = summary["split"]
    recordings = f"{summary['recordings']} recordings, " if summary["recordings"] > 1 else ""
    typer.echo(f"{recordings}{summary['samples']:,} samples, {summary['gaps']} gaps, {summary['duration_s']:.0f} s")
    embargoed = f", {split['embargoed_training_windows']} embargoed" if split["embargoed_training_windows"] else ""
    typer.echo(f"windows: {counts}; {summary['held_out_windows']} held out (by {split['kind']}){embargoed}")
    for reason, n in summary["refused"].items():
        typer.echo(f"refused: {n:,} × {reason}")
    for reason, n in summary["tolerated"].items():
        typer.echo(f"tolerated, as the reference does: {n:,} × {reason}")
    for fault in summary["faults"]:
        typer.echo(f"fault: {fault}")
    if not split["embargo"]:
        shared, held_out = split["held_out_sharing_samples"], split["held_out_windows"]
        typer.echo(
            f"leak: {shared} of {held_out} held-out windows ({shared / held_out:.0%}) share samples with training"
        )
    if "leakage" in summary:
        _print_leakage(summary["leakage"])
    if train is not None:
        typer.echo(f"dataset: {train}")


def _print_leakage(report: dict[str, dict[str, Any]]) -> None:
    rows = []
    for kind, one in report.items():
        if "impossible" not in one:
            rows.append([kind, *(f"{one[name]:.1%}" for name in ("without_embargo", "with_embargo", "training_lost"))])
    print_table(["split", "held-out windows leaked", "with embargo", "training windows it costs"], rows)
    for kind, one in report.items():
        if "impossible" in one:
            typer.echo(f"{kind}: {one['impossible']}")
