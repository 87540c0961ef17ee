"""`stinger search`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stinger.cli.output import print_table
from stinger.workflow.progress import to_stderr


def search(
    train_dir: Annotated[Path, typer.Option(help="Dataset written by `stinger explore`.")] = Path("ml_out/train"),
    min_score: Annotated[
        float | None, typer.Option(help="Least score; default: a standard error below the best one found.")
    ] = None,
    max_flash: Annotated[str | None, typer.Option(help="Most flash, bytes; 8k is 8192.")] = None,
    max_cycles: Annotated[str | None, typer.Option(help="Most cycles per decision; 40k is 40000.")] = None,
    families: Annotated[
        str | None, typer.Option(help="Families to try, separated by commas; default: all that the board can run.")
    ] = None,
    features: Annotated[
        str | None, typer.Option(help="Feature sets to try, separated by commas; default: all that it computes.")
    ] = None,
    trials: Annotated[int, typer.Option(help="Models to try.")] = 72,
    folds: Annotated[int, typer.Option(help="Folds of the training part.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the models tried, folds and fits.")] = 1,
    metric: Annotated[
        str | None,
        typer.Option(help="pr_auc, roc_auc, accuracy or balanced_accuracy; default pr_auc, of many classes accuracy."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The report; its picture goes beside it.")] = Path("search.md"),
    json: Annotated[Path | None, typer.Option(help="Write the report as JSON too.")] = None,
    out_model: Annotated[Path | None, typer.Option(help="Save the chosen model in this directory.")] = None,
    measure_cost: Annotated[
        bool, typer.Option("--measure-cost", help="Build and run the chosen model on the emulated board.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Models scored at the same time.")] = None,
    backend: Annotated[str | None, typer.Option(help="serial, processes or dask; default: processes.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler, tcp://HOST:PORT.")] = None,
) -> None:
    """Look for the smallest model within an accuracy, flash and cycle budget."""
    from stinger.workflow.search import SearchOptions
    from stinger.workflow.search import search as run
    from stinger.workflow.search_report import front_table
    from stinger.workflow.search_score import Budget

    options = SearchOptions(
        train_dir=train_dir,
        out=out,
        budget=Budget(min_score, _amount("--max-flash", max_flash, 1024), _amount("--max-cycles", max_cycles, 1000)),
        families=_list(families),
        features=_list(features),
        trials=trials,
        folds=folds,
        seed=seed,
        metric=metric,
        out_model=out_model,
        measure_cost=measure_cost,
        backend=backend,
        workers=workers,
        scheduler=scheduler,
    )
    found = run(options, to_stderr(), json)
    print_table(*front_table(found.report))
    chosen = found.report["chosen"]
    cost = found.cost
    typer.echo(
        f"chosen: {chosen['name']}: {cost.flash:,} bytes of flash, {cost.cycles:,.0f} cycles"
        f"{'' if cost.measured else ' (estimated)'}"
    )
    typer.echo(f"report: {out}")
    if out_model is not None:
        typer.echo(f"model: {out_model}")


def _amount(option: str, text: str | None, kilo: int) -> int | None:
    """Read a number that may end in k."""
    from stinger.errors import UsageError

    if text is None:
        return None
    number = text.removesuffix("k")
    try:
        value = float(number) * (kilo if number != text else 1)
    except ValueError:
        value = 0.0
    if not 1 <= value < 2**31:
        raise UsageError(f"{option} {text!r} is no amount; one is {8 if kilo == 1024 else 40}k")
    return round(value)


def _list(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",")]
