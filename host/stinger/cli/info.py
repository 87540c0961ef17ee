"""`stinger info`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from stinger.cli.output import print_json, print_table
from stinger.workflow.progress import to_stderr

#: Up to this many recordings are described in full, more only in tables.
_IN_FULL = 3
_FAULTS_SHOWN = 20


def info(
    files: Annotated[list[Path], typer.Argument(help="Recordings, or folders or zips of them.")],
    rate: Annotated[float | None, typer.Option(help="Samples per second, for tables without a time column.")] = None,
    units: Annotated[str | None, typer.Option(help="Units a table does not state, e.g. acc=g,gyro=rad/s.")] = None,
    pattern: Annotated[
        str | None, typer.Option(help="How file names spell label and subject, e.g. '{label}.s{subject}_*.csv'.")
    ] = None,
    label_column: Annotated[str | None, typer.Option(help="Column of a table that holds the label.")] = None,
    subject_column: Annotated[str | None, typer.Option(help="Column that holds who was recorded.")] = None,
    each: Annotated[bool, typer.Option("--each", help="List every recording of a collection.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Describe recordings: rate, duration, gaps, clipping, faults, channels, labels."""
    from stinger.sessions.options import options_from_flags
    from stinger.workflow.recordings import info as run

    options = options_from_flags(
        rate=rate, units=units, pattern=pattern, label_column=label_column, subject_column=subject_column
    )
    described = run(files, options, to_stderr())
    if json:
        print_json(described)
        return
    recordings = described["recordings"]
    if len(recordings) <= _IN_FULL:
        for number, recording in enumerate(recordings):
            if number:
                typer.echo("")
            _print_recording(recording)
    else:
        _print_collection(described, each=each)
    for name in described["skipped"]:
        typer.echo(f"not a recording: {name}")


def _print_recording(recording: dict[str, Any]) -> None:
    typer.echo(recording["name"])
    gaps = recording["gaps"]
    typer.echo(f"  {recording['samples']:,} samples at {recording['rate_hz']:g} Hz, {recording['duration_s']:.2f} s")
    if gaps["count"]:
        typer.echo(f"  gaps: {gaps['count']}, {gaps['total_s']:.2f} s in all, the longest {gaps['longest_s']:.2f} s")
    else:
        typer.echo("  gaps: none")
    if recording["trigger"] is not None:
        typer.echo(f"  trigger: pressed {recording['trigger']['rising_edges']} times")
    for what in ("label", "subject", "split"):
        if recording[what] is not None:
            typer.echo(f"  {what}: {recording[what]}")
    for event, count in recording["events"].items():
        typer.echo(f"  event: {count} × {event}")
    for fault in recording["faults"]:
        typer.echo(f"  fault: {fault}")
    rows = [
        [c["name"], c["unit"], f"{c['scale']:.6g}", f"{c['min']:.6g}", f"{c['max']:.6g}", f"{c['clipped']:,}"]
        for c in recording["channels"]
    ]
    print_table(["channel", "unit", "one count", "min", "max", "clipped"], rows)


def _print_collection(described: dict[str, Any], *, each: bool) -> None:
    recordings = described["recordings"]
    kinds = {(r["rate_hz"], tuple((c["name"], c["unit"], c["scale"]) for c in r["channels"])) for r in recordings}
    for rate, channels in sorted(kinds)[:_IN_FULL]:
        typer.echo(f"{rate:g} Hz: {', '.join(f'{name} [{unit}]' for name, unit, _ in channels)}")
    if len(kinds) > 1:
        typer.echo(f"recordings of {len(kinds)} kinds: rate, channels, units or scales differ")
    if each:
        header = ["recording", "label", "subject", "samples", "rate (Hz)", "seconds", "gaps", "clipped", "faults"]
        print_table(header, [_row_of(r) for r in recordings])
    for what, groups in (("label", described["labels"]), ("subject", described["subjects"])):
        if groups:
            _print_groups(what, groups)
    _print_groups("", {"all": described["totals"]})
    faults = [f"{r['name']}: {fault}" for r in recordings for fault in r["faults"]]
    for fault in faults[:_FAULTS_SHOWN]:
        typer.echo(f"fault: {fault}")
    if len(faults) > _FAULTS_SHOWN:
        typer.echo(f"fault: and {len(faults) - _FAULTS_SHOWN} more; --json lists them all")


def _row_of(r: dict[str, Any]) -> list[str]:
    clipped = sum(c["clipped"] for c in r["channels"])
    numbers = [f"{r['samples']:,}", f"{r['rate_hz']:g}", f"{r['duration_s']:.1f}", str(r["gaps"]["count"])]
    return [r["name"], r["label"] or "", r["subject"] or "", *numbers, f"{clipped:,}", str(len(r["faults"]))]


def _print_groups(what: str, groups: dict[str, dict[str, Any]]) -> None:
    rows = [
        [
            name or "(none)", str(t["recordings"]), f"{t['samples']:,}", f"{t['duration_s']:.1f}",
            str(t["gaps"]), f"{t['clipped']:,}", str(t["faults"]),
        ]
        for name, t in groups.items()
    ]  # fmt: skip
    print_table([what, "recordings", "samples", "seconds", "gaps", "clipped", "faults"], rows)
    typer.echo("")
