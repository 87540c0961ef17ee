"""A model on the emulated board, compiled and run in one go, and what it cost there."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stinger.check.report import Cost, measure_cost
from stinger.link.board import Board
from stinger.link.replay import ReplayResult
from stinger_export.firmware import build_firmware
from stinger_export.integer.c_source import write_c_source
from stinger_export.integer.model import IntegerModel
from stinger_virtual.transport import EmulatedTransport


def run_emulated(
    model: IntegerModel, samples: NDArray[np.int16], t_us: NDArray[np.int64], gap_before: NDArray[np.bool_]
) -> tuple[Cost, ReplayResult]:
    """Link a model's firmware, let it decide, and say what it cost and what it decided.

    Args:
        model: The integer model.
        samples: What the sensor says, shape ``(n, channels)``.
        t_us: When, shape ``(n,)``.
        gap_before: Where a stretch begins, shape ``(n,)``.

    Raises:
        ToolchainError: There is no compiler for the board, or it refuses.
        LinkError: The firmware fails.
    """
    with tempfile.TemporaryDirectory(prefix="stinger-cost-") as folder:
        place = Path(folder)
        write_c_source(model, place / "model")
        firmware = build_firmware(place / "model", place / "firmware")
        image = firmware.bin.read_bytes()
    with Board(EmulatedTransport(image)) as board:
        info = board.hello()
        result = board.replay(samples, t_us, gap_before)
    return measure_cost(firmware, info, result), result
