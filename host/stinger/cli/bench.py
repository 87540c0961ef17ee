"""`stinger bench`: how fast things are, on the machine it runs on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stinger.cli.output import print_json, print_table
from stinger.workflow.progress import to_stderr

app = typer.Typer(help="Measure how fast things are here.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def options() -> None:
    """Measure how fast things are here."""


@app.command()
def host(
    samples: Annotated[int, typer.Option(help="Length of the log that is exported.")] = 90_000,
    windows: Annotated[int, typer.Option(help="Windows of which features are computed.")] = 100_000,
    hours: Annotated[float, typer.Option(help="Length of the recording that is loaded.")] = 24.0,
    repeats: Annotated[int, typer.Option(help="How often each is done; the best counts.")] = 5,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Measure the host's work: export against plain Python, features, loading a day."""
    from stinger.workflow.bench import BenchOptions, bench_host, table

    report = bench_host(BenchOptions(samples=samples, windows=windows, hours=hours, repeats=repeats), to_stderr())
    if json:
        print_json(report)
        return
    print_table(*table(report))
    facts = report["machine"]
    typer.echo(
        f"\n{facts['processor']}, {facts['processors']} processors; {facts['system']}, "
        f"Python {facts['python']}, numpy {facts['numpy']}"
    )


@app.command()
def device(
    model: Annotated[list[str] | None, typer.Option(help="Family; repeatable. Default: logreg mlp rf.")] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="integer, mlmd, emlearn or float; repeatable. Default: what a family has.")
    ] = None,
    features: Annotated[str, typer.Option(help="Feature set.")] = "rich",
    minutes: Annotated[float, typer.Option(help="Length of the synthetic session to train on.")] = 8.0,
    samples: Annotated[int, typer.Option(min=60, help="Samples of each stream that are replayed.")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the session and of training.")] = 1,
    profile: Annotated[bool, typer.Option("--profile", help="Add the cycles of each function.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Measure models on the emulated board, beside emlearn and plain float: cycles per decision, flash and RAM."""
    from stinger.workflow import bench_device

    options = bench_device.DeviceBenchOptions(
        families=tuple(model or bench_device.FAMILIES),
        targets=tuple(target or ()),
        features=features,
        minutes=minutes,
        samples=samples,
        seed=seed,
        profile=profile,
    )
    report = bench_device.bench_device(options, to_stderr())
    if json:
        print_json(report)
        return
    print_table(*bench_device.table(report["rows"]))
    typer.echo(f"\n{report['rows'][0]['compiler']}; {options.features} features on an emulated RP2040")
    if profile:
        typer.echo("")
        print_table(*bench_device.profile_table(report["profile"]))


@app.command()
def size(
    model: Annotated[str | None, typer.Option(help="Family: all that firmware for one model takes instead.")] = None,
    features: Annotated[str, typer.Option(help="Its feature set.")] = "rich",
    seed: Annotated[int, typer.Option(min=0, help="Seed of its session and training.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Flash and RAM that each part of the C library takes on the board, or firmware that runs one model only."""
    from dataclasses import asdict

    from stinger_export.size import model_table, part_sizes, table

    if model is not None:
        from stinger.workflow.bench_size import bench_model_size

        taken = bench_model_size(model, features, seed, to_stderr())
        if json:
            print_json(asdict(taken))
            return
        print_table(*model_table(taken))
        typer.echo(f"\n{taken.compiler}; {taken.flash_bytes:,} bytes of flash, {taken.ram_bytes:,} of RAM")
        return
    rows, compiler = part_sizes()
    if json:
        print_json({"rows": rows, "compiler": compiler})
        return
    print_table(*table(rows))
    typer.echo(f"\n{compiler}; windows of up to 64 samples of 9 channels, everything switched on")


@app.command()
def soak(
    minutes: Annotated[float, typer.Option(help="How long, in the chip's time.")] = 30.0,
    features: Annotated[str, typer.Option(help="Feature set.")] = "rich",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the session that is played and of training.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Run the firmware on the emulated board with stream, decisions and uploads at once; account for every sample."""
    from stinger.workflow import bench_soak

    report = bench_soak.bench_soak(bench_soak.SoakOptions(minutes, features, seed), to_stderr())
    if json:
        print_json(report)
        return
    print_table(*bench_soak.table(report))
    typer.echo(f"\n{report['compiler']}; {features} features, {' and '.join(bench_soak.FAMILIES)} in turn")


@app.command()
def streaming(
    style: Annotated[
        list[str] | None, typer.Option(help="Who plays; repeatable. Default: standard steady nervous runner rapid.")
    ] = None,
    model: Annotated[str, typer.Option(help="Model family.")] = "rf",
    features: Annotated[str, typer.Option(help="Feature set.")] = "rich",
    train_sessions: Annotated[int, typer.Option(help="Sessions of each to train and tune on.")] = 6,
    test_sessions: Annotated[int, typer.Option(help="Sessions of each that are held out.")] = 8,
    minutes: Annotated[float, typer.Option(help="Length of a session.")] = 5.0,
    max_on: Annotated[float, typer.Option(help="Share of neutral time a tuned policy may be on.")] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sessions and of training.")] = 1,
    workers: Annotated[int | None, typer.Option(min=1, help="Styles at a time; default: the processors.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table in markdown.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Compare tuned policies with the stock policy at equal anticipated share, on synthetic people."""
    from stinger.workflow import bench_streaming

    options = bench_streaming.StreamingBenchOptions(
        styles=tuple(style or bench_streaming.FIVE),
        family=model,
        features=features,
        train_sessions=train_sessions,
        test_sessions=test_sessions,
        minutes=minutes,
        max_on=max_on,
        seed=seed,
        workers=workers,
    )
    report = bench_streaming.bench_streaming(options, to_stderr())
    if json:
        print_json(report)
    elif markdown:
        typer.echo(bench_streaming.markdown(report))
    else:
        print_table(*bench_streaming.table(report))


@app.command()
def people(
    train_dir: Annotated[Path, typer.Argument(metavar="DATASET", help="Dataset of `stinger explore`, people known.")],
    baseline: Annotated[
        list[str] | None, typer.Option(help="Family to compare with; repeatable. Default: logreg mlp rf et.")
    ] = None,
    baselines: Annotated[bool, typer.Option(help="Compare with families on float features.")] = True,
    rotations: Annotated[int, typer.Option(min=1, help="Turned copies of each training window.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Seed of rotations and of training.")] = 1,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table in markdown.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Leave out each person in turn: what features, mirroring and turning add for people never met."""
    from stinger.windows.store import read_dataset
    from stinger.workflow import unseen

    compared = tuple(baseline or unseen.BASELINES) if baselines else ()
    options = unseen.UnseenOptions(baselines=compared, rotations=rotations, seed=seed)
    report = unseen.bench_people(read_dataset(train_dir), options, to_stderr())
    if json:
        print_json(report)
    elif markdown:
        typer.echo(unseen.markdown(report))
    else:
        print_table(*unseen.table(report))
        for line in unseen.facts(report):
            typer.echo(line)


@app.command()
def magnetic(
    minutes: Annotated[float, typer.Option(help="Length of the recording that is generated.")] = 10.0,
    recordings: Annotated[int, typer.Option(help="Recordings of a minute that a forest learns from.")] = 120,
    repeats: Annotated[int, typer.Option(help="How often generation is timed; the best counts.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first recording and of the forest.")] = 1,
    features: Annotated[
        bool, typer.Option("--features", help="Instead, say what each part of the magnetic features is worth.")
    ] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table in markdown.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Measure generated magnetic distortion: speed, and what field strength alone says of the labels."""
    from stinger.markdown import grid
    from stinger.workflow import bench_field_features, bench_magnetic

    if features:
        rows = bench_field_features.feature_worth(recordings, seed=seed, progress=to_stderr())
        header, lines = bench_field_features.table(rows)
        if json:
            print_json(rows)
        elif markdown:
            typer.echo(grid(header, lines))
        else:
            print_table(header, lines)
        return
    options = bench_magnetic.MagneticBenchOptions(minutes=minutes, recordings=recordings, repeats=repeats, seed=seed)
    report = bench_magnetic.bench_magnetic(options, to_stderr())
    if json:
        print_json(report)
    elif markdown:
        typer.echo(bench_magnetic.markdown(report))
    else:
        print_table(*bench_magnetic.table(report))
        for line in bench_magnetic.facts(report):
            typer.echo(line)
