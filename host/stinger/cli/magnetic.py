"""`stinger magnetic`: how distorted is the magnetic field?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stinger.cli import magnetic_models
from stinger.cli.magnetic_compare import compare
from stinger.cli.output import print_json, print_table
from stinger.workflow.progress import to_stderr

app = typer.Typer(
    help="Recordings of a distorted magnetic field: generate, convert, make spectrograms, classify.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

app.command()(magnetic_models.classify)
app.command()(magnetic_models.dataset)
app.command("soft-labels")(magnetic_models.soft_labels)


app.command()(compare)


@app.callback()
def options() -> None:
    """Recordings of a distorted magnetic field: generate, convert, make spectrograms, classify."""


@app.command()
def generate(
    out: Annotated[Path, typer.Option(help="A .mcap file, or a directory for several recordings.")],
    plan: Annotated[Path | None, typer.Argument(help="A motion plan (JSON); without one a ready pattern.")] = None,
    duration: Annotated[float | None, typer.Option(help="Length of a pattern in seconds; default 60.")] = None,
    sample_rate: Annotated[float | None, typer.Option(help="Samples per second of a pattern; default 100.")] = None,
    distortion: Annotated[
        str | None, typer.Option(help="Level of a pattern: none, low, high or mixed; default mixed.")
    ] = None,
    pattern: Annotated[
        str | None, typer.Option(help="How it is turned: simple, complex or stationary; default complex.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first recording; the next has the next.")] = 1,
    recordings: Annotated[int, typer.Option(min=1, help="How many recordings.")] = 1,
    noise: Annotated[float, typer.Option(help="Factor of all that follows; 0 makes perfect sensors.")] = 1.0,
    mag_noise: Annotated[float | None, typer.Option(help="Magnetometer noise, in Earth's field.")] = None,
    acc_noise: Annotated[float | None, typer.Option(help="Accelerometer noise, in g.")] = None,
    gyro_noise: Annotated[float | None, typer.Option(help="Gyroscope noise, in rad/s.")] = None,
    hard_iron: Annotated[float | None, typer.Option(help="Hard iron left after calibration, in Earth's field.")] = None,
    soft_iron: Annotated[float | None, typer.Option(help="Soft iron left after calibration, coefficients.")] = None,
    acc_bias: Annotated[float | None, typer.Option(help="Accelerometer bias, in g.")] = None,
    gyro_bias: Annotated[float | None, typer.Option(help="Gyroscope bias, in rad/s.")] = None,
    scale: Annotated[float | None, typer.Option(help="Error of accelerometer and gyroscope scale, relative.")] = None,
    warming_k: Annotated[float | None, typer.Option(help="How much the device warms up, in K.")] = None,
    mag_drift: Annotated[float | None, typer.Option(help="Magnetometer drift per K, in Earth's field.")] = None,
    acc_drift: Annotated[float | None, typer.Option(help="Accelerometer drift per K, in g.")] = None,
    gyro_drift: Annotated[float | None, typer.Option(help="Gyroscope drift per K, in rad/s.")] = None,
    reference_timing: Annotated[
        bool, typer.Option("--reference-timing", help="Let segments overshoot by a sample, as earlier generators do.")
    ] = False,
    save_plan: Annotated[Path | None, typer.Option(help="Also write the plan of the first recording here.")] = None,
    upload: Annotated[
        bool, typer.Option("--upload", help="Then upload it, as `stinger magnetic upload` does.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Generate recordings of a device that is turned in a distorted field: MCAP, labels and experiment."""
    from dataclasses import fields, replace

    from stinger.errors import UsageError
    from stinger.synth.imperfections import Imperfections
    from stinger.workflow.magnetic import GenerateOptions, Pattern, generated_table, magnetic_generate
    from stinger.workflow.upload import made_files, required_uploader, upload_files

    given = locals()
    chosen = {"duration_s": duration, "sample_rate_hz": sample_rate, "distortion": distortion, "name": pattern}
    chosen = {key: value for key, value in chosen.items() if value is not None}
    if plan is not None and chosen:
        raise UsageError("--duration, --sample-rate, --distortion and --pattern are what a plan says; leave them out")
    levels = {f.name: given[f.name] for f in fields(Imperfections) if given[f.name] is not None}
    wanted = GenerateOptions(
        out,
        plan if plan is not None else replace(Pattern(), **chosen),  # type: ignore[arg-type]  # by name, as above
        seed=seed,
        recordings=recordings,
        imperfections=replace(Imperfections(), **levels).scaled(noise),
        reference_timing=reference_timing,
        save_plan=save_plan,
    )
    uploader = required_uploader() if upload else None
    rows = magnetic_generate(wanted, to_stderr())
    if uploader is not None:
        upload_files(made_files(out, rows), uploader, to_stderr(), overwrite=True)
    if json:
        print_json(rows)
        return
    print_table(*generated_table(rows))
    for row in rows:
        for fault in row["faults"]:
            typer.echo(f"fault: {row['file']}: {fault}")


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="LOG", help="A phone's log, or a folder or zip of them.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="A .mcap file, or a folder.")],
    level: Annotated[
        str | None, typer.Option(help="Distortion all the time: none, low or high; default: what the log says.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Put the sensors on one clock of so many Hz; default: each keeps its own.")
    ] = None,
    upload: Annotated[
        bool, typer.Option("--upload", help="Then upload it, as `stinger magnetic upload` does.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Convert a phone's sensor logs to MCAP with labels and experiment."""
    from stinger.workflow.magnetic import ConvertOptions, magnetic_convert
    from stinger.workflow.upload import made_files, required_uploader, upload_files

    uploader = required_uploader() if upload else None
    rows = magnetic_convert(source, target, ConvertOptions(level=level, rate_hz=rate), to_stderr())
    if uploader is not None:
        upload_files(made_files(target, rows), uploader, to_stderr(), overwrite=True)
    if json:
        print_json(rows)
        return
    for row in rows:
        for fault in row["faults"]:
            typer.echo(f"fault: {fault}")
    table = [
        [row["file"], one["name"], ", ".join(one["channels"]), f"{one['samples']:,}", one["label"] or "no label"]
        for row in rows
        for one in row["recordings"]
    ]
    print_table(["file", "recording", "channels", "samples", "label"], table)


@app.command()
def spectrogram(
    source: Annotated[Path, typer.Argument(metavar="RECORDING", help="Any recording, or a folder or zip of them.")],
    out: Annotated[Path, typer.Option(help="A .mcap file, or a directory for several recordings.")],
    channels: Annotated[
        str | None,
        typer.Option(help="Topics or channels, one after another: mag_raw, or mx,ay. Default: mag_raw or all."),
    ] = None,
    recording: Annotated[str | None, typer.Option(help="Which recording, where a file holds several.")] = None,
    window: Annotated[float, typer.Option(help="Length of a window in seconds.")] = 3.0,
    step: Annotated[float, typer.Option(help="Seconds from the start of a window to that of the next.")] = 10.0,
    frames: Annotated[int, typer.Option(help="Frames of a spectrogram; all that follows is the transformer's.")] = 1024,
    mel_bins: Annotated[int, typer.Option(help="Bands of a spectrogram.")] = 128,
    sound_rate: Annotated[int, typer.Option(help="Rate to which channels are resampled, in Hz.")] = 16_000,
    frame_ms: Annotated[float, typer.Option(help="Length of a frame.")] = 25.0,
    hop_ms: Annotated[float, typer.Option(help="From the start of a frame to that of the next.")] = 10.0,
    low_hz: Annotated[float, typer.Option(help="Where the lowest band begins.")] = 20.0,
    mean: Annotated[float, typer.Option(help="Mean that is taken off.")] = -4.2677393,
    std: Annotated[float, typer.Option(help="Standard deviation; values are divided by twice this.")] = 4.5689974,
    pictures: Annotated[bool, typer.Option(help="Write a picture of each window, too.")] = True,
    plot: Annotated[Path | None, typer.Option(help="Draw a window of each label into this PNG.")] = None,
    streaming: Annotated[
        bool, typer.Option("--streaming", help="Play it as a stream; the result is the same.")
    ] = False,
    rate: Annotated[float | None, typer.Option(help="Samples per second, for tables without a time column.")] = None,
    units: Annotated[str | None, typer.Option(help="Units a table does not state, e.g. mag=uT.")] = None,
    upload: Annotated[
        bool, typer.Option("--upload", help="Then upload it, as `stinger magnetic upload` does.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Turn windows of recordings into spectrograms, as an audio transformer takes them: MCAP, pictures and arrays."""
    from stinger.features.spectrogram import SpectrogramSpec
    from stinger.sessions.options import options_from_flags
    from stinger.windows.regular import RegularWindows
    from stinger.workflow.spectrogram import SpectrogramOptions, magnetic_spectrogram
    from stinger.workflow.upload import made_files, required_uploader, upload_files

    spec = SpectrogramSpec(
        sample_rate_hz=sound_rate,
        frames=frames,
        mel_bins=mel_bins,
        frame_ms=frame_ms,
        hop_ms=hop_ms,
        low_hz=low_hz,
        mean=mean,
        std=std,
    )
    options = SpectrogramOptions(
        channels=None if channels is None else tuple(name.strip() for name in channels.split(",")),
        recording=recording,
        windows=RegularWindows(window, step),
        spec=spec,
        pictures=pictures,
        plot=plot,
        streaming=streaming,
        read=options_from_flags(rate=rate, units=units),
    )
    uploader = required_uploader() if upload else None
    rows = magnetic_spectrogram(source, out, options, to_stderr())
    if uploader is not None:
        upload_files(made_files(out, rows), uploader, to_stderr(), overwrite=True)
    if json:
        print_json(rows)
        return
    table = [
        [
            row["file"],
            ", ".join(row["channels"]),
            f"{row['rate_hz']:g}",
            f"{row['windows']:,}",
            " × ".join(map(str, row["shape"])),
            str(row["sounding_bands"]),
            ", ".join(f"{count} {label}" for label, count in row["labels"].items()),
        ]
        for row in rows
    ]
    print_table(["file", "channels", "Hz", "windows", "frames × bands", "that sound", "labels"], table)
    for row in rows:
        for fault in row["faults"]:
            typer.echo(f"fault: {row['file']}: {fault}")


@app.command()
def upload(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="What to upload: recordings, models, pictures.")
    ],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files of these names.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print where they are as JSON.")] = False,
) -> None:
    """Upload files to the Nstrumenta project whose key is in NSTRUMENTA_API_KEY."""
    from stinger.workflow.upload import required_uploader, upload_files

    places = upload_files(files, required_uploader(), to_stderr(), overwrite=overwrite)
    if json:
        print_json([{"file": str(path), "uploaded": place} for path, place in zip(files, places, strict=True)])
        return
    print_table(["file", "uploaded to"], [[str(path), place] for path, place in zip(files, places, strict=True)])
