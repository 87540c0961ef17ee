"""The `stinger` command: one thin module per verb, each doing nothing but options and output.

Exit codes: 0 success, 1 a check failed, 2 usage, 3 bad input, 4 device or link.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from stinger import __version__
from stinger.cli import (
    bench,
    benchmark,
    check,
    convert,
    demo,
    deploy,
    devices,
    distil,
    evaluate,
    explore,
    export,
    info,
    magnetic,
    monitor,
    plot_predictions,
    push,
    search,
    synth,
    train,
    tune,
    virtual,
)
from stinger.errors import StingerError

#: Every verb, in the order a newcomer meets them.
VERBS: dict[str, Callable[..., None]] = {
    "demo": demo.demo,
    "info": info.info,
    "convert": convert.convert,
    "explore": explore.explore,
    "train": train.train,
    "distil": distil.distil,
    "evaluate": evaluate.evaluate,
    "tune": tune.tune,
    "plot-predictions": plot_predictions.plot_predictions,
    "benchmark": benchmark.benchmark,
    "search": search.search,
    "export": export.export,
    "virtual": virtual.virtual,
    "devices": devices.devices,
    "deploy": deploy.deploy,
    "push": push.push,
    "monitor": monitor.monitor,
    "check": check.check,
}
#: Verbs with verbs of their own.
GROUPS: dict[str, typer.Typer] = {
    "synth": synth.app,
    "magnetic": magnetic.app,
    "bench": bench.app,
}

app = typer.Typer(
    name="stinger",
    help="IMU recordings in, a classifier on a microcontroller out, and proof that both agree.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _name, _verb in VERBS.items():
    app.command(_name)(_verb)
for _name, _group in GROUPS.items():
    app.add_typer(_group, name=_name)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"stinger {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Show the version."),
) -> None:
    """Options before the verb."""


def main() -> None:
    """Run the command line; a user's mistake becomes one line and an exit code."""
    try:
        app()
    except StingerError as error:
        typer.echo(f"stinger: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("stinger: interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has gone; there is nobody to tell.
        sys.stderr.close()
        sys.exit(0)
