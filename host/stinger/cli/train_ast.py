"""`stinger train --family ast`: the same verb, for a model that is trained in another way."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stinger.cli.output import print_json, print_table
from stinger.errors import UsageError
from stinger.workflow.progress import to_stderr

if TYPE_CHECKING:
    from stinger.workflow.fine_tune import FineTuneResult

FAMILY = "ast"
#: Options of `stinger train` that speak to every family.
_SHARED = ("model", "train_dir", "out", "split", "test_size", "seed", "json")
_OWN = (
    *("recordings", "pretrained", "from_scratch", "debug", "resume", "steps", "batch", "learning_rate"),
    *("evaluate_every", "patience", "window_ms", "stride", "channels", "threads", "name"),
)


def refuse_foreign(family: str, given: Collection[str]) -> None:
    """Refuse options that the chosen family would not listen to.

    Args:
        family: What is trained.
        given: The parameters that were typed.

    Raises:
        UsageError: There is one.
    """
    own = family == FAMILY
    foreign = next((key for key in given if key not in _SHARED and (key in _OWN) != own), None)
    if foreign is None:
        return
    shown = "RECORDINGS" if foreign == "recordings" else f"--{foreign.replace('_', '-')}"
    if own:
        raise UsageError(f"{shown} is for other families; --family {FAMILY} does not have it, leave it out")
    raise UsageError(f"{shown} is for --family {FAMILY}; {family} does not have it, leave it out")


def train_ast(given: Mapping[str, Any], *, as_json: bool) -> None:
    """Train a transformer and print how good it is.

    Args:
        given: The parameters that were typed, by name.
        as_json: Print JSON instead of tables.
    """
    from stinger.workflow.fine_tune import FineTuneOptions, can_resume, fine_tune

    options = {key: value for key, value in given.items() if key in _OWN or key in _SHARED}
    for key in ("model", "json"):
        options.pop(key, None)
    recordings, train_dir = options.pop("recordings", None), options.pop("train_dir", None)
    if recordings and train_dir is not None:
        raise UsageError("recordings and --train-dir are two places to learn from; give one")
    window_ms, channels = options.pop("window_ms", None), options.pop("channels", None)
    wanted = FineTuneOptions(
        recordings or [train_dir or Path("ml_out/train")],
        window_s=None if window_ms is None else window_ms / 1000,
        channels=None if channels is None else tuple(part.strip() for part in channels.split(",")),
        **options,
    )
    try:
        result = fine_tune(wanted, to_stderr())
    except KeyboardInterrupt:
        if can_resume(wanted):
            typer.echo("stinger: the same command with --resume goes on from here", err=True)
        raise
    if as_json:
        print_json(result.content)
        return
    _print(result)


def _print(result: FineTuneResult) -> None:
    content, spec = result.content, result.model.spec
    windows, recipe = content["windows"], content["recipe"]
    typer.echo(f"{spec.name}: {content['parameters']:,} weights, started from {recipe['start']}")
    typer.echo(
        f"windows: {windows['training']:,} to train on, {windows['validation']:,} to know when to stop, "
        f"{windows['held-out']:,} held out (by {recipe['split']})"
    )
    stopped = "" if content["steps"] == recipe["steps"] else f", stopped early after {content['steps']:,}"
    typer.echo(f"steps: {recipe['steps']:,}{stopped}; the best was {content['best_step']:,}")
    typer.echo("")
    names = {"accuracy": "accuracy", "macro_precision": "macro precision"}
    names |= {"macro_recall": "macro recall", "macro_f1": "macro F1"}
    rows = []
    for key, name in names.items():
        figure = result.report.figures.get(key)
        known = figure is not None and figure.low <= figure.high
        between = f"{figure.low:.3f} to {figure.high:.3f}" if figure is not None and known else ""
        rows.append([name, f"{spec.metrics[key]:.3f}", between])
    report = result.report
    head = f"95 %, {report.units} {report.unit_name}" if report.draws else "no interval"
    print_table(["held-out windows", "value", head], rows)
    typer.echo("")
    table = zip(spec.classes, report.confusion.tolist(), strict=True)
    print_table(["true class, answered:", *spec.classes], [[one, *map(str, row)] for one, row in table])
    for note in report.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"model: {result.folder / 'model'}")
    typer.echo(f"one file: {result.tarball}")
