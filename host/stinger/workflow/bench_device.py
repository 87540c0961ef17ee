"""What the main models cost on the board: the job of `stinger bench device`.

Cycles are counted by the emulated Cortex-M0+, from a sample to its decision, features included, and are the same every
time; flash and RAM are what the linker says. The emulator has no caches: on a real chip, code that is not in the cache
of the flash takes longer the first time.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.check.compare import compare_exactly
from stinger.errors import CheckFailedError
from stinger.link.board import Board
from stinger.models.train import train
from stinger.synth.shots import make_session
from stinger.windows.cut import cut
from stinger.windows.dataset import Dataset
from stinger.windows.replay import ReplayStream
from stinger.workflow.progress import Progress
from stinger_export.firmware import build_firmware
from stinger_export.integer.c_source import write_c_source
from stinger_export.integer.quantise import quantise
from stinger_virtual.transport import EmulatedTransport

FAMILIES = ("logreg", "mlp", "rf")


@dataclass(frozen=True)
class DeviceBenchOptions:
    """What `stinger bench device` can be told.

    Attributes:
        families: Model families.
        features: Their features.
        minutes: Length of the synthetic session to train on.
        samples: Samples of the session, and of each adversarial stream, that are replayed.
        seed: Seed of session and training.
    """

    families: tuple[str, ...] = FAMILIES
    features: str = "rich"
    minutes: float = 8.0
    samples: int = 400
    seed: int = 1


def bench_device(options: DeviceBenchOptions, progress: Progress) -> list[dict[str, Any]]:
    """Train, export and run each model.

    Returns:
        A row for each: ``family``, ``target``, ``cycles_per_decision`` (mean over the session), ``cycles_worst`` (over
        adversarial samples too), ``worst_stream``, ``flash_bytes``, ``ram_bytes`` and ``compiler``.

    Raises:
        ToolchainError: There is no compiler for the board.
        CheckFailedError: The board decides otherwise than numpy.
        LinkError: The firmware fails.
    """
    session, _ = make_session(options.seed, options.minutes)
    dataset = cut([session], seed=options.seed)
    usual = session.samples[: options.samples]
    rows = []
    for family in options.families:
        progress.step(f"{family}: training, compiling and running on the emulated board")
        rows.append(_integer(dataset, family, options, {"session": usual, **adversarial(usual.shape)}))
    return rows


def adversarial(shape: tuple[int, ...]) -> dict[str, NDArray[np.int16]]:
    """Streams that take the device longest, each of its own kind, int16, of one shape ``(samples, channels)``."""
    rng = np.random.default_rng(1)
    i, every = np.arange(shape[0])[:, None], np.ones(shape[1], dtype=np.int64)
    streams = {
        "lowest": np.full(shape, -32768),
        "alternating": np.where(i % 2, 32767, -32768) * every,
        "constant": np.full(shape, 1234),
        "falling": np.maximum(32767 - 81 * i, 0) * every,
        "rising": np.minimum(81 * i, 32767) * every,
        "noise": rng.integers(-32768, 32768, shape),
    }
    return {name: x.astype(np.int16) for name, x in streams.items()}


def _integer(
    dataset: Dataset, family: str, options: DeviceBenchOptions, streams: dict[str, NDArray[np.int16]]
) -> dict[str, Any]:
    model = quantise(train(dataset, family, features=options.features, seed=options.seed, folds=0))
    samples = np.concatenate(list(streams.values()))
    gap = np.zeros(len(samples), dtype=np.bool_)
    gap[:: options.samples] = True
    t_us = np.cumsum(np.where(gap, 10, 1)).astype(np.int64) * dataset.period_us
    stream = ReplayStream(samples, t_us, gap, dataset.period_us)
    with tempfile.TemporaryDirectory(prefix="stinger-bench-") as folder:
        write_c_source(model, Path(folder) / "model")
        firmware = build_firmware(Path(folder) / "model", Path(folder) / "firmware")
        image = firmware.bin.read_bytes()
    with Board(EmulatedTransport(image)) as board:
        board.hello()
        result = board.replay(stream.samples, stream.t_us, stream.gap_before)
    ready = stream.ready(dataset.window)
    compared = compare_exactly(("L2", "L4"), model.decide(stream.windows(dataset.window)), ready, result)
    if compared.failure is not None:
        raise CheckFailedError(f"{family} on the emulated board: {compared.failure}")
    kind = np.repeat(np.arange(len(streams)), options.samples)
    worst = [int(result.cycles[ready & (kind == k)].max()) for k in range(len(streams))]
    return {
        "family": family,
        "target": "integer",
        "cycles_per_decision": round(float(result.cycles[ready & (kind == 0)].mean())),
        "cycles_worst": max(worst),
        "worst_stream": list(streams)[int(np.argmax(worst))],
        "flash_bytes": firmware.model_flash_bytes,
        "ram_bytes": firmware.model_ram_bytes,
        "compiler": firmware.compiler,
    }


def table(rows: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows for the terminal."""
    columns = ["family", "target", "cycles", "worst", "of stream", "flash", "RAM"]
    keys = ("cycles_per_decision", "cycles_worst", "worst_stream", "flash_bytes", "ram_bytes")
    text = [
        [row["family"], row["target"], *(f"{row[k]:,}" if isinstance(row[k], int) else row[k] for k in keys)]
        for row in rows
    ]
    return columns, text
