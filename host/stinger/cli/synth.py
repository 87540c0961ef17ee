"""`stinger synth`: recordings of things that never happened, with the truth about them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stinger.cli.output import print_json, print_table
from stinger.workflow.progress import to_stderr

app = typer.Typer(
    help="Make synthetic recordings, with the truth beside them.", no_args_is_help=True, rich_markup_mode=None
)


@app.callback()
def options() -> None:
    """Make synthetic recordings, with the truth beside them."""


@app.command()
def shots(
    out: Annotated[Path, typer.Argument(help="A file (.bin, .csv, ...), or a directory for several sessions.")],
    style: Annotated[
        list[str] | None,
        typer.Option(help="Who plays: standard, steady, nervous, runner, hip, tilted, rapid, or all; repeatable."),
    ] = None,
    sessions: Annotated[int, typer.Option(min=1, help="Sessions of each.")] = 1,
    minutes: Annotated[float, typer.Option(help="How much each session records; pauses come on top.")] = 4.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first session; the next has the next.")] = 1,
    suffix: Annotated[str, typer.Option("--format", help="Format of the files in a directory.")] = "bin",
    roll_deg: Annotated[float | None, typer.Option(help="Holding: tilt to the right.")] = None,
    pitch_deg: Annotated[float | None, typer.Option(help="Holding: how far up an average target is.")] = None,
    ready_deg: Annotated[float | None, typer.Option(help="Holding: pitch between engagements.")] = None,
    aim_speed: Annotated[float | None, typer.Option(help="Aiming: factor of its speed.")] = None,
    hold_time: Annotated[float | None, typer.Option(help="Aiming: factor of how long a target is held.")] = None,
    calm: Annotated[float | None, typer.Option(help="Aiming: share of the tremor left before a shot.")] = None,
    tremor: Annotated[float | None, typer.Option(help="Hand: factor of tremor and drift.")] = None,
    squeeze: Annotated[float | None, typer.Option(help="Hand: factor of what taking up the trigger does.")] = None,
    kick: Annotated[float | None, typer.Option(help="Hand: factor of the recoil.")] = None,
    burst: Annotated[float | None, typer.Option(help="Bursts: chance that a shot follows a shot.")] = None,
    burst_quick: Annotated[float | None, typer.Option(help="Bursts: share within half a second.")] = None,
    feint: Annotated[float | None, typer.Option(help="Hard negatives: share of aiming without a shot.")] = None,
    feint_squeeze: Annotated[
        float | None, typer.Option(help="Hard negatives: share of those with the trigger taken up.")
    ] = None,
    snap: Annotated[float | None, typer.Option(help="Share of shots from the move, without aiming.")] = None,
    vigour: Annotated[float | None, typer.Option(help="Activity: factor of its strength.")] = None,
    travel: Annotated[float | None, typer.Option(help="Activity: share of moments with any.")] = None,
    walk: Annotated[float | None, typer.Option(help="Activity: weight of walking.")] = None,
    run: Annotated[float | None, typer.Option(help="Activity: weight of running.")] = None,
    handle: Annotated[float | None, typer.Option(help="Activity: weight of handling.")] = None,
    rest: Annotated[float | None, typer.Option(help="Activity: share of engagements after a rest.")] = None,
    service: Annotated[float | None, typer.Option(help="Activity: share of engagements after USB was open.")] = None,
    spread: Annotated[float | None, typer.Option(help="How much sessions of one style differ.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Make blaster sessions: seeded, in the style of several people, recorded as the Stinger's logger does."""
    from stinger.synth.styles import PARAMETERS, STYLES, find_style
    from stinger.workflow.synth import SynthOptions, synth_shots

    given = locals()
    changes = {name: given[name] for name in PARAMETERS if given[name] is not None}
    names = list(STYLES) if style == ["all"] else style or ["standard"]
    styles = tuple(find_style(name).changed(changes) for name in names)
    wanted = SynthOptions(out, styles, seed=seed, minutes=minutes, sessions=sessions, suffix=f".{suffix.lstrip('.')}")
    rows = synth_shots(wanted, to_stderr())
    if json:
        print_json(rows)
        return
    header = ["file", "subject", "samples", "duration [s]", "gaps", "shots", "aims fired", "aims only"]
    keys = ["file", "subject", "samples", "duration_s", "gaps", "shots", "aims_fired", "aims_only"]
    print_table(header, [[_shown(row[key]) for key in keys] for row in rows])


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}" if isinstance(value, float) else str(value)
