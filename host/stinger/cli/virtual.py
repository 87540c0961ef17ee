"""`stinger virtual`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stinger.errors import InputError
from stinger.workflow.progress import to_stderr


def virtual(
    bundle: Annotated[
        Path | None,
        typer.Argument(help="A bundle or .uf2 file to start with; default: blank, waiting to be flashed."),
    ] = None,
    link: Annotated[Path | None, typer.Option(help="Also make the port reachable under this name.")] = None,
    sensor: Annotated[
        Path | None, typer.Option(help="Recording that its sensor measures, over and over; default: synthetic.")
    ] = None,
    flash: Annotated[
        Path | None, typer.Option(help="File that keeps its flash, and the models pushed to it, for the next start.")
    ] = None,
    any_model: Annotated[
        bool, typer.Option("--any-model", help="With a bundle: let it also run pushed models of other kinds.")
    ] = False,
) -> None:
    """Run an emulated board behind a serial port until Ctrl-C."""
    import tempfile

    from stinger.sessions.read import read_sessions
    from stinger.synth.shots import make_session
    from stinger_virtual.process import run_virtual

    progress = to_stderr()
    recording = make_session(2, 2.0)[0] if sensor is None else read_sessions(sensor)[0]
    with tempfile.TemporaryDirectory(prefix="stinger-virtual-") as folder:
        image = _image(bundle, Path(folder), any_model)
        run_virtual(
            image,
            link=link,
            sensor=recording,
            on_ready=lambda port: progress.step(f"board at {port}"),
            flash=flash,
        )


def _image(bundle: Path | None, folder: Path, any_model: bool) -> Path | None:
    from stinger_export.bundle import load_bundle
    from stinger_export.firmware import build_firmware

    if bundle is None or bundle.suffix == ".uf2":
        return bundle
    if not bundle.is_dir() and bundle.suffix.lower() != ".zip":
        raise InputError(f"{bundle} is neither a bundle nor a .uf2 file; make one with `stinger export`")
    return build_firmware(load_bundle(bundle).source_dir, folder, any_model=any_model).uf2
