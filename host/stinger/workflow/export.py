"""`stinger export`: a model becomes a bundle, with what it costs on the board, or nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.errors import CheckFailedError, InputError, ToolchainError, UsageError
from stinger.models.spec import HeldOut
from stinger.models.store import load_model
from stinger.windows.replay import ReplayStream
from stinger.windows.store import data_hash, read_dataset
from stinger.workflow.emulated import run_emulated
from stinger.workflow.export_parts import Part, parts_of
from stinger.workflow.progress import Progress
from stinger_export.bundle import Bundle, write_bundle
from stinger_export.exercise import usual_samples
from stinger_export.integer.model import Convolutional, IntegerModel
from stinger_export.parity import INTEGER_BOUND
from stinger_export.targets import make_exports
from stinger_export.toolchain import cross_compiler

#: Units of a budget's numbers: bytes come in multiples of 1,024, cycles of 1,000.
_KILO = {"flash": 1024, "ram": 1024, "cycles": 1000}


@dataclass(frozen=True)
class ExportOptions:
    """What `stinger export` can be told.

    Attributes:
        model: The model's directory.
        out: Where the bundle goes.
        targets: Names of forms; None makes whatever the model allows.
        max_loss: Largest change of a probability from the model to its integers.
        budget: Most ``flash``, ``ram`` (bytes) and ``cycles`` allowed on the board.
        cost: Measure what the model takes on the board.
        data: Dataset that the model was trained on; its held-out windows are measured, too.
        weights: Which widths a network's integer weights may have: ``auto``, ``8`` or ``16``.
    """

    model: Path
    out: Path
    targets: tuple[str, ...] | None = None
    max_loss: float = INTEGER_BOUND
    budget: dict[str, int] | None = None
    cost: bool = True
    data: Path | None = None
    weights: str = "auto"


@dataclass(frozen=True)
class BoardCost:
    """What the model takes on the emulated board.

    Attributes:
        cycles: Mean per decision, features and policy included.
        cycles_max: The most that one took.
        flash_bytes: Classifier code and model constants.
        ram_bytes: State of one stream.
        clock_hz: The board's clock.
        milliseconds: Mean time of a decision.
        share_of_period: Of the time between two samples.
        compiler: What built it.
    """

    cycles: int
    cycles_max: int
    flash_bytes: int
    ram_bytes: int
    clock_hz: int
    milliseconds: float
    share_of_period: float
    compiler: str


class OverBudgetError(CheckFailedError):
    """The model takes more than it may.

    Args:
        text: One line.
        parts: What takes what.
    """

    def __init__(self, text: str, parts: Sequence[Part]) -> None:
        super().__init__(text)
        self.parts = list(parts)


@dataclass(frozen=True)
class Exported:
    """What came of it.

    Attributes:
        bundle: The bundle, written.
        cost: What it takes on the board, if measured.
        no_cost: Why it was not measured.
    """

    bundle: Bundle
    cost: BoardCost | None
    no_cost: str = ""


def parse_budget(text: str) -> dict[str, int]:
    """Read ``flash=8k,ram=2k,cycles=35k``; any of the three, k is 1,024 bytes or 1,000 cycles.

    Raises:
        UsageError: It says something else.
    """
    budget: dict[str, int] = {}
    for item in text.split(","):
        name, equals, value = item.strip().partition("=")
        digits = value.removesuffix("k")
        if name not in _KILO or not equals or name in budget or not (digits.isascii() and digits.isdigit()):
            raise UsageError(f"--budget {item.strip()!r}: say for example flash=8k,ram=2k,cycles=35k")
        budget[name] = int(digits[:12]) * (_KILO[name] if value.endswith("k") else 1)
    return budget


def export(options: ExportOptions, progress: Progress) -> Exported:
    """Export a model; nothing is written unless every form is as near as it must be, and within the budget.

    Raises:
        UsageError: Options that contradict each other or the model.
        InputError: The model or the dataset is unusable.
        ToolchainError: A budget was given and there is no compiler for the board.
        CheckFailedError: Something is too far from the model, or over the budget (`OverBudgetError`).
    """
    if options.budget and not options.cost:
        raise UsageError("--budget needs the cost; leave out --no-cost")
    model = load_model(options.model)
    held_out = None if options.data is None else _held_out(options.data, model.spec.data_hash)
    made = make_exports(
        model,
        options.targets,
        max_loss=options.max_loss,
        held_out=held_out,
        weights=options.weights,
        on_progress=lambda target: progress.step(f"exporting and measuring {target}"),
    )
    cost, no_cost = None, "--no-cost"
    if made.integer is None and options.budget:
        raise UsageError(f"--budget: there is no integer form to measure ({made.not_exported.get('integer')})")
    if made.integer is None:
        no_cost = "no form for our own firmware"
    elif options.cost:
        try:
            cross_compiler()
            progress.step("compiling the firmware and counting cycles on an emulated board")
            cost = board_cost(made.integer, made.replay)
        except ToolchainError as error:
            if options.budget:
                raise
            no_cost = str(error)
        if cost is not None:
            _require_budget(cost, options.budget or {}, made.integer, model.calibration)
    bundle = write_bundle(made, options.out, None if cost is None else asdict(cost))
    return Exported(bundle, cost, "" if cost is not None else no_cost)


def board_cost(integer: IntegerModel, stream: ReplayStream) -> BoardCost:
    """Link the firmware and count the cycles of its decisions on samples like those of the training data.

    Raises:
        ToolchainError: There is no compiler for the board, or it refuses.
        LinkError: The firmware fails.
    """
    usual = slice(0, usual_samples(integer.spec))
    if isinstance(integer.body, Convolutional):
        usual = slice(0, 2 * integer.spec.window)  # they do the same work whatever the samples are
    cost, _ = run_emulated(integer, stream.samples[usual], stream.t_us[usual], stream.gap_before[usual])
    seconds = cost.cycles_mean / cost.clock_hz if cost.clock_hz else float("nan")
    return BoardCost(
        cycles=round(cost.cycles_mean),
        cycles_max=cost.cycles_max,
        flash_bytes=cost.flash_bytes,
        ram_bytes=cost.ram_bytes,
        clock_hz=cost.clock_hz,
        milliseconds=float(f"{1e3 * seconds:.4g}"),
        share_of_period=float(f"{1e6 * seconds / integer.spec.period_us:.4g}"),
        compiler=cost.compiler,
    )


def _require_budget(
    cost: BoardCost, budget: dict[str, int], integer: IntegerModel, features: NDArray[np.int16]
) -> None:
    taken = {"flash": cost.flash_bytes, "ram": cost.ram_bytes, "cycles": cost.cycles}
    over = [f"{name} {taken[name]:,} of {most:,}" for name, most in budget.items() if taken[name] > most]
    if over:
        parts = parts_of(integer, features, flash=cost.flash_bytes, ram=cost.ram_bytes, cycles=cost.cycles)
        raise OverBudgetError(
            f"model {integer.spec.name} is over budget: {', '.join(over)}; nothing was written", parts
        )


def _held_out(directory: Path, wanted: str) -> HeldOut:
    dataset = read_dataset(directory)
    if data_hash(dataset) != wanted:
        raise InputError(f"{directory} is not the dataset that the model was trained on; its held-out part is another")
    rows = np.flatnonzero(dataset.held_out)
    if not len(rows):
        raise InputError(f"{directory} holds out no windows; there is nothing to measure on")
    return HeldOut(dataset.windows[rows], dataset.labels[rows])


def to_json(done: Exported) -> dict[str, Any]:
    """Return what `stinger export --json` prints."""
    manifest = done.bundle.manifest
    keys = (
        "name",
        "integer_hash",
        "targets",
        "not_exported",
        "parity",
        "held_out",
        "measured_on",
        "quantisation",
        "cost",
    )
    return {"bundle": str(done.bundle.origin), **{key: manifest[key] for key in keys}}
