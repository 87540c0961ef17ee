"""The forms of a model that `stinger bench device` measures: how each is built and run, and what it must answer.

A form whose answers are not those of its reference has no row: a wrong implementation could be as fast as it likes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.check.compare import compare_exactly, compare_probabilities
from stinger.errors import CheckFailedError
from stinger.link.board import Board
from stinger.link.replay import ReplayResult
from stinger.models.spec import TrainedModel
from stinger.models.train import train
from stinger.windows.dataset import Dataset
from stinger.windows.replay import ReplayStream
from stinger.workflow.bench_streams import BenchStreams
from stinger_export.elf import section_bytes, symbols
from stinger_export.emlearn_header import to_emlearn
from stinger_export.firmware import Firmware, StandIn, build_firmware
from stinger_export.image.model import to_image
from stinger_export.integer.c_source import write_c_source
from stinger_export.integer.model import IntegerModel
from stinger_export.parity import EMLEARN_NET_BOUND, EMLEARN_TREE_BOUND, TIE
from stinger_export.stand_ins import float_trees, probability_of, write_emlearn, write_float_trees, write_stock
from stinger_export.stock.arithmetic import run_stock
from stinger_export.stock.convert import FEATURES, to_stock
from stinger_virtual.profile import Profile
from stinger_virtual.transport import EmulatedTransport

#: Largest difference to numpy's float32: features and logits are the same bits, the exponential is another.
_FLOAT_BOUND = 1e-6
_FLOAT_FORESTS = ("rf", "et")
_TREES = ("dt", "rf", "et")
#: Windows that a profile is the mean of: of what takes a million cycles, and of the rest.
_PROFILED = (2, 40)
#: For a decision of which every instruction is looked at.
_PROFILE_TIMEOUT_S = 60.0
_STREAM = "stinger_app_stream"

Row = dict[str, Any]
Measured = tuple[Row, list[Row]]
#: Says what is wrong with answers for a stream: the samples that complete a window, and these windows.
Check = Callable[[ReplayResult, NDArray[np.bool_], NDArray[np.int16]], str | None]


@dataclass(frozen=True)
class Subject:
    """What is measured.

    Attributes:
        dataset: What to train on where a form has features of its own.
        seed: Of the training.
        model: The model.
        integer: The same as integers.
        folder: For what is built, one folder for each form.
    """

    dataset: Dataset
    seed: int
    model: TrainedModel
    integer: IntegerModel
    folder: Path

    @property
    def family(self) -> str:
        """Of the model."""
        return self.model.spec.family

    @cached_property
    def firmware(self) -> Firmware:
        """With the integer model in it."""
        folder = self.folder / "integer"
        write_c_source(self.integer, folder)
        return build_firmware(folder, folder / "firmware")


@dataclass(frozen=True)
class _Form:
    """A form that is built.

    Attributes:
        target: Its name.
        firmware: What runs it.
        flash_bytes: What it takes of the flash.
        ram_bytes: And of the RAM.
        stream: What is replayed.
        check: Compares the answers with its reference.
        image: What to upload first.
    """

    target: str
    firmware: Firmware
    flash_bytes: int
    ram_bytes: int
    stream: ReplayStream
    check: Check
    image: bytes | None = None


def fits(family: str, target: str) -> bool:
    """Whether a family has this form."""
    if target == "emlearn":
        return family in ("logreg", "mlp", *_TREES)
    return target != "float" or family in (*FEATURES, *_FLOAT_FORESTS)


def measure_integer(subject: Subject, streams: BenchStreams, profile: bool) -> Measured:
    """The model in the firmware, as `stinger build` makes it."""
    return _library(subject, streams, profile, "integer", None)


def measure_mlmd(subject: Subject, streams: BenchStreams, profile: bool) -> Measured:
    """The same as an image, uploaded to that firmware and run where it lies in the flash.

    Its flash is the image, the classifier, and the code that takes, keeps and checks images; its RAM what keeps track
    of them, too.
    """
    return _library(subject, streams, profile, "mlmd", to_image(subject.integer))


def measure_emlearn(subject: Subject, streams: BenchStreams, profile: bool) -> Measured:
    """C of emlearn's for the same model, behind the library's integer features."""
    header = to_emlearn(subject.model)
    nets = header.kind == "net"
    stream = streams.few if subject.family == "mlp" else streams.full
    bound = EMLEARN_NET_BOUND if nets else EMLEARN_TREE_BOUND

    def check(result: ReplayResult, ready: NDArray[np.bool_], windows: NDArray[np.int16]) -> str | None:
        answers = probability_of(result.score[ready])
        expected = subject.model.predict_proba(windows)
        return _difference(expected, answers, result.label[ready], bound, 2 * bound if nets else TIE)

    folder = subject.folder / "emlearn"
    firmware = build_firmware(folder, folder / "firmware", stand_in=write_emlearn(header, subject.integer, folder))
    sizes = _stand_in_sizes(firmware, ("emlearn_", _STREAM))
    return _run(subject, streams, _Form("emlearn", firmware, *sizes, stream, check), profile)


def measure_float(subject: Subject, streams: BenchStreams, profile: bool) -> Measured:
    """The stock firmware's arithmetic, straight in float32, with the same family on the stock firmware's features."""
    family = subject.family
    features = FEATURES.get(family, "float-rich")
    model = train(subject.dataset, family, features=features, seed=subject.seed, folds=0)

    def check(result: ReplayResult, ready: NDArray[np.bool_], windows: NDArray[np.int16]) -> str | None:
        if family in FEATURES:
            p = run_stock(to_stock(model), windows).probability.astype(np.float64)
        else:
            p = float_trees(model.estimator, windows)
        answer = probability_of(result.score[ready])[:, 0]
        both = (np.stack([1 - p, p], axis=1), np.stack([1 - answer, answer], axis=1))
        return _difference(*both, result.label[ready], _FLOAT_BOUND, 2 * _FLOAT_BOUND)

    folder = subject.folder / "float"
    firmware = build_firmware(folder, folder / "firmware", stand_in=_float_stand_in(subject, model, folder))
    sizes = _stand_in_sizes(firmware, ("bench_window",))
    return _run(subject, streams, _Form("float", firmware, *sizes, streams.few, check), profile)


#: Target -> what measures it; the first is what the others are compared with.
TARGETS: dict[str, Callable[[Subject, BenchStreams, bool], Measured]] = {
    "integer": measure_integer,
    "mlmd": measure_mlmd,
    "emlearn": measure_emlearn,
    "float": measure_float,
}


def _library(subject: Subject, streams: BenchStreams, profile: bool, target: str, image: bytes | None) -> Measured:
    def check(result: ReplayResult, ready: NDArray[np.bool_], windows: NDArray[np.int16]) -> str | None:
        return compare_exactly(("L2", "L4"), subject.integer.decide(windows), ready, result).failure

    firmware = subject.firmware
    sizes = (firmware.model_flash_bytes, firmware.model_ram_bytes)
    if image is not None:
        code = section_bytes(firmware.elf, ".model_text") + section_bytes(firmware.elf, ".store_text")
        keeping = sum(s.size for s in symbols(firmware.elf) if s.name == "models" and not s.function)
        sizes = (code + len(image), sizes[1] + keeping)
    return _run(subject, streams, _Form(target, firmware, *sizes, streams.full, check, image), profile)


def _float_stand_in(subject: Subject, model: TrainedModel, folder: Path) -> StandIn:
    if model.spec.family in FEATURES:
        return write_stock(to_stock(model), model, subject.integer, folder)
    return write_float_trees(model.estimator, subject.integer, folder)


def _stand_in_sizes(firmware: Firmware, owned: tuple[str, ...]) -> tuple[int, int]:
    """Flash and RAM, the latter of objects whose names begin so; those with initial values are in flash, too."""
    data = [s for s in symbols(firmware.elf) if not s.function and s.name.startswith(owned)]
    ram = {s.address: s for s in data if s.section in (".data", ".bss", ".model_bss")}
    initial = sum(s.size for s in ram.values() if s.section == ".data")
    return firmware.model_flash_bytes + initial, sum(s.size for s in ram.values())


def _difference(
    expected: NDArray[np.float64],
    answers: NDArray[np.float64],
    label: NDArray[np.integer],
    bound: float,
    tie: float,
) -> str | None:
    if answers.shape != expected.shape:
        return "another number of classes"
    return compare_probabilities(("the model", "the board"), expected, answers, label, bound=bound, tie=tie).failure


def _run(subject: Subject, streams: BenchStreams, form: _Form, profile: bool) -> Measured:
    """Replay, compare, and say what it cost."""
    stream = form.stream
    transport = EmulatedTransport(form.firmware.bin.read_bytes())
    with Board(transport) as board:
        if form.image is not None:
            board.put_model(form.image)
        result = board.replay(stream.samples, stream.t_us, stream.gap_before)
        parts: dict[str, float] = {}
        if profile:
            some = streams.first(stream, _PROFILED[0] if stream is streams.few else _PROFILED[1])
            counts = Profile(transport.board, symbols(form.firmware.elf))
            board.replay(some.samples, some.t_us, some.gap_before, timeout=_PROFILE_TIMEOUT_S)
            parts = counts.cycles_per_decision()
    ready = stream.ready(streams.window)
    if (ready != result.ready).any():
        failure: str | None = "its windows are full where they should not be, or the other way round"
    else:
        failure = form.check(result, ready, stream.windows(streams.window))
    if failure is not None:
        raise CheckFailedError(f"{subject.family}, {form.target}, on the emulated board: {failure}")
    row: Row = {"family": subject.family, "target": form.target, **streams.summary(stream, result.cycles)}
    row |= {"flash_bytes": form.flash_bytes, "ram_bytes": form.ram_bytes, "compiler": form.firmware.compiler}
    total = sum(parts.values())
    return row, [
        {"family": subject.family, "target": form.target, "function": name, "cycles": cycles, "share": cycles / total}
        for name, cycles in parts.items()
    ]
