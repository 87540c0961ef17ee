"""`stinger benchmark`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stinger.cli.output import print_table
from stinger.workflow.progress import to_stderr


def benchmark(
    train_dir: Annotated[Path, typer.Option(help="Dataset written by `stinger explore`.")] = Path("ml_out/train"),
    out: Annotated[Path, typer.Option(help="The report; finished work is kept beside it.")] = Path("report.md"),
    json: Annotated[Path | None, typer.Option(help="Write the report as JSON too.")] = None,
    seeds: Annotated[int, typer.Option(help="Splits and fits of each model, with seeds from 1 on.")] = 10,
    split: Annotated[
        str | None,
        typer.Option(
            help="How windows are held out, separated by commas: random, time, group, session, subject, given; "
            "default: the first five, as far as the dataset can."
        ),
    ] = None,
    config: Annotated[
        list[str] | None,
        typer.Option(
            help="A model, FAMILY:FEATURES, e.g. rf:rich; repeat it. Default: the reference's eight and dt:rich."
        ),
    ] = None,
    test_size: Annotated[float, typer.Option(help="Share held out.")] = 0.25,
    embargo: Annotated[
        bool, typer.Option(help="Keep windows out of training that share samples with held-out ones.")
    ] = True,
    shuffled: Annotated[bool, typer.Option(help="Check that shuffled training labels give chance.")] = True,
    log: Annotated[
        list[Path] | None,
        typer.Option(help="A recording of the dataset, to be scored sample by sample; repeat it."),
    ] = None,
    measure_cost: Annotated[
        bool, typer.Option("--measure-cost", help="Build and run each model on the emulated board; do not estimate.")
    ] = False,
    fit_time: Annotated[bool, typer.Option(help="Show fit times, which no other run repeats.")] = True,
    time_serial: Annotated[
        bool, typer.Option("--time-serial", help="Only time the work against a plain loop; writes no report.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Units done at the same time.")] = None,
    backend: Annotated[str | None, typer.Option(help="serial, processes or dask; default: what suits.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler, tcp://HOST:PORT.")] = None,
) -> None:
    """Compare models over splits and seeds; an interrupted run continues."""
    from stinger.workflow.benchmark import benchmark as run
    from stinger.workflow.benchmark import time_against_plain_loop
    from stinger.workflow.benchmark_plan import BenchmarkOptions

    options = BenchmarkOptions(
        train_dir=train_dir,
        out=out,
        configs=config,
        splits=None if split is None else [kind.strip() for kind in split.split(",")],
        seeds=seeds,
        test_size=test_size,
        embargo=embargo,
        shuffled=shuffled,
        logs=log or (),
        measure_cost=measure_cost,
        fit_time=fit_time,
        backend=backend,
        workers=workers,
        scheduler=scheduler,
    )
    if time_serial:
        timing = time_against_plain_loop(options, to_stderr())
        typer.echo(
            f"{timing.units} units: {timing.parallel_s:.1f} s, in a plain loop {timing.plain_s:.1f} s: "
            f"{timing.ratio:.2f} times as fast; processor time: {timing.parallel_cpu_s:.1f} s, "
            f"{timing.plain_cpu_s:.1f} s"
        )
        return
    result = run(options, to_stderr(), json)
    print_table(result.header, result.rows)
    typer.echo(f"report: {out}")
