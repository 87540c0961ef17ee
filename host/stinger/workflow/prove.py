"""One model from dataset to proof: train, export, build, run on a board, compare. Shared by `demo` and `deploy`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stinger.check.prove import HostLevels, Proof, Truth, host_levels, prove
from stinger.check.replay import replay_native, replay_port
from stinger.check.report import Cost, measure_cost
from stinger.models.train import train
from stinger.sessions.session import Session
from stinger.windows.dataset import Dataset
from stinger.windows.replay import ReplayStream, stream_of
from stinger.workflow.progress import Progress
from stinger_export.bundle import Bundle, export_bundle
from stinger_export.firmware import Firmware, build_firmware
from stinger_export.integer.model import ONE
from stinger_virtual.start import start_virtual


@dataclass(frozen=True)
class Built:
    """A trained, exported and compiled model."""

    bundle: Bundle
    firmware: Firmware


@dataclass(frozen=True)
class Proven:
    """A model's proof, and what was measured on the way."""

    bundle: Bundle
    levels: HostLevels
    proof: Proof
    cost: Cost


def build(
    dataset: Dataset,
    family: str,
    out: Path,
    *,
    features: str,
    seed: int,
    progress: Progress,
    any_model: bool = False,
) -> Built:
    """Train a model, export it to ``out/bundle`` and compile its firmware into ``out/firmware``.

    With ``any_model`` that firmware also runs uploaded models of other families and sizes, and is larger for it.

    Raises:
        InputError: The dataset cannot be learnt from, or the model not exported.
        ToolchainError: The firmware does not compile.
    """
    progress.step(f"{family}: training")
    model = train(dataset, family, features=features, seed=seed)
    bundle = export_bundle(model, out / "bundle", lambda target: progress.step(f"{family}: exporting {target}"))
    progress.step(f"{family}: compiling the firmware of integer model {bundle.integer.hash}")
    return Built(bundle, build_firmware(bundle.source_dir, out / "firmware", any_model=any_model))


def prove_at_port(
    built: Built, connect: Callable[[Built], str], stream: ReplayStream, truth: Truth | None, progress: Progress
) -> Proven:
    """Run a model's firmware at a port and compare every level with it.

    Args:
        built: The model.
        connect: Brings the firmware onto a board and returns its port.
        stream: Samples to replay.
        truth: Held-out windows in the stream.
        progress: Told of each step.

    Raises:
        CheckFailedError: The board runs another model.
        LinkError: The board cannot be reached, or answers are lost.
    """
    bundle, name = built.bundle, built.bundle.spec.name
    progress.step(f"{name}: host levels (estimator, onnxruntime, integer numpy, emlearn)")
    levels = host_levels(bundle, stream)
    progress.step(f"{name}: replaying {len(stream):,} samples into the C code on this computer")
    native = replay_native(bundle.source_dir, stream)
    port = connect(built)
    progress.step(f"{name}: replaying them into the board at {port}")
    with progress.bar(name) as show:
        info, answers = replay_port(port, bundle, stream, show)
    proof = prove(bundle, levels, {"L3": native, "L4": answers}, truth)
    return Proven(bundle, levels, proof, measure_cost(built.firmware, info, answers))


def prove_emulated(built: Built, stream: ReplayStream, truth: Truth | None, progress: Progress) -> Proven:
    """Run a model's firmware on an emulated board of its own and compare every level with it; see `prove_at_port`."""
    with start_virtual(built.firmware.uf2) as board:
        return prove_at_port(built, lambda _: board.port, stream, truth, progress)


def probability_along(bundle: Bundle, session: Session) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return what the integer model says along a whole recording: times, and the probability of the last class.

    Args:
        bundle: The model.
        session: A recording with its channels and rate.

    Returns:
        Times in microseconds on the recording's clock, of which each probability speaks, and the probabilities; both of
        shape ``(windows,)``.
    """
    spec = bundle.spec
    stream = stream_of([(session, 0, len(session))])
    decisions = bundle.integer.decide(stream.windows(spec.window))
    t_us = stream.t_us[stream.ready(spec.window)] + spec.lead_us
    return t_us, decisions.probability[:, -1] / ONE
