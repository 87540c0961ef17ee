"""`stinger check`: does a board, its log, or this computer's C agree with a bundle's model?"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from stinger.check.compare import Comparison, compare_exactly
from stinger.check.prove import Proof, emlearn_level, host_levels, prove
from stinger.check.replay import replay_native, replay_port
from stinger.errors import CheckFailedError, InputError, ToolchainError, UsageError
from stinger.link.board import Board
from stinger.link.board_log import BoardLog, read_board_log
from stinger.link.replay import ReplayResult
from stinger.models.policy import MAX_MISSED
from stinger.sessions.session import starts_after_gap
from stinger.windows.replay import ReplayStream, stream_of
from stinger.workflow.dataset import read_all
from stinger.workflow.progress import Progress
from stinger_export.bundle import Bundle
from stinger_export.exercise import exercise_stream
from stinger_export.firmware import build_firmware
from stinger_export.integer.model import ONE
from stinger_export.onnx_graph import require_onnxruntime
from stinger_export.parity import (
    Parity,
    Samples,
    emlearn_parity,
    held_out_parity,
    image_parity,
    onnx_parity,
    stock_header_parity,
    stock_parity,
)
from stinger_export.stock.convert import stock_fits, to_stock
from stinger_export.stock.header import read_stock_header
from stinger_export.toolchain import cross_compiler, host_compiler
from stinger_export.vectors import verify_vectors
from stinger_virtual.transport import EmulatedTransport


@dataclass(frozen=True)
class BundleCheck:
    """What a bundle's own check found.

    Attributes:
        comparisons: All pairs of levels compared.
        unchecked: Levels that could not be compared here, and why.
        failures: One line for each thing that does not hold.
    """

    comparisons: list[Comparison] = field(default_factory=list)
    unchecked: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def check_bundle(bundle: Bundle, progress: Progress) -> BundleCheck:
    """Compare every level that there are tools for, over the bundle's own samples, test vectors and held-out windows.

    Raises:
        InputError: The bundle is damaged.
        LinkError: The firmware fails on the emulated board.
    """
    found = BundleCheck()
    samples = Samples(bundle.model, exercise_stream(bundle.model), bundle.model.held_out)
    graphs = [graph for graph in (bundle.onnx(), bundle.onnx_features()) if graph is not None]
    if graphs and not _available(require_onnxruntime, ("L1", "vectors-L1"), found):
        graphs = []
    if samples.held_out is not None:
        forms = [bundle.integer_model, *graphs[:1]]  # the graphs say the same, the first takes windows
        measured = [held_out_parity(samples, form, bundle.max_loss) for form in forms if form is not None]
        found.comparisons.extend(map(_as_comparison, measured))
    if "integer" in bundle.targets:
        found.comparisons.extend(_integer_levels(bundle, progress, found, onnx=bool(graphs)))
        del graphs[:1]  # L1 is among them
    elif (header := bundle.emlearn()) is not None and _available(host_compiler, ("emlearn",), found):
        with _unless_refused("emlearn", found):
            found.comparisons.append(_as_comparison(emlearn_parity(samples, header)))
    found.comparisons.extend(_as_comparison(onnx_parity(samples, graph)) for graph in graphs)
    if bundle.mlmd() is not None:
        image = (bundle.path / "model.mlmd").read_bytes()
        found.comparisons.append(_as_comparison(image_parity(samples, bundle.integer, image)))
    _check_stock(bundle, samples, found)
    found.failures.extend(c.failure for c in found.comparisons if c.failure is not None)
    _check_vectors(bundle, found, onnx="L1" not in found.unchecked)
    return found


def _integer_levels(bundle: Bundle, progress: Progress, found: BundleCheck, *, onnx: bool) -> Sequence[Comparison]:
    """Compare the integers with the estimator, with C here and on the emulated board, as far as there are tools."""
    stream = bundle.replay
    progress.step("comparing estimator, ONNX and integer numpy")
    levels = host_levels(bundle, stream, emlearn=False, onnx=onnx)
    boards = {}
    compiled = ("L3", *(("emlearn",) if "emlearn" in bundle.targets else ()))
    if _available(host_compiler, compiled, found):
        progress.step("compiling for this computer and comparing " + " and ".join(compiled))
        with _unless_refused("L3", found):
            boards["L3"] = replay_native(bundle.source_dir, stream)
        with _unless_refused("emlearn", found):
            levels = replace(levels, emlearn=emlearn_level(bundle, levels.l2))
    if _available(cross_compiler, ("L4",), found):
        progress.step(f"replaying {len(stream):,} samples into an emulated board")
        with _unless_refused("L4", found):
            boards["L4"] = _replay_emulated(bundle, stream)
    return prove(bundle, levels, boards, in_range_only=True).comparisons


def _check_stock(bundle: Bundle, samples: Samples, found: BundleCheck) -> None:
    stock, header = bundle.stock(), bundle.stock_header()
    if stock is None:
        return
    try:
        weights = to_stock(bundle.model).to_bytes()
    except UsageError as error:
        found.failures.append(f"the bundle holds a model of the stock firmware, which this is none: {error}")
        return
    forms = {} if "stock.mlmd" not in bundle.files else {"stock.mlmd": (stock, stock_parity(samples, stock))}
    if header is not None:
        forms["stock_weights.h"] = (read_stock_header(header), stock_header_parity(samples, header))
    for name, (read, parity) in forms.items():
        found.comparisons.append(_as_comparison(parity))
        if read.to_bytes() != weights:
            found.failures.append(f"{name} does not hold the model's weights")


def _available(find: Callable[[], object], levels: tuple[str, ...], found: BundleCheck) -> bool:
    """Whether there is a compiler; if not, note which levels go unchecked."""
    try:
        find()
    except ToolchainError as error:
        found.unchecked.update(dict.fromkeys(levels, str(error)))
        return False
    return True


@contextmanager
def _unless_refused(level: str, found: BundleCheck) -> Iterator[None]:
    """Note a level as unchecked when the tools that are there cannot do it; the sources are known to be ours."""
    try:
        yield
    except ToolchainError as error:
        found.unchecked[level] = str(error)


def _replay_emulated(bundle: Bundle, stream: ReplayStream) -> ReplayResult:
    with tempfile.TemporaryDirectory(prefix="stinger-check-") as folder:
        image = build_firmware(bundle.source_dir, Path(folder)).bin.read_bytes()
    with Board(EmulatedTransport(image)) as board:
        board.hello()
        return board.replay(stream.samples, stream.t_us, stream.gap_before)


def _check_vectors(bundle: Bundle, found: BundleCheck, *, onnx: bool) -> None:
    vectors = bundle.vectors()
    if vectors is None:
        found.unchecked["vectors"] = "a bundle of version 1 has none; export the model again"
        return
    graph = bundle.onnx() if onnx else None
    windows = len(vectors["windows"])
    stock = bundle.stock() if stock_fits(bundle.spec) else None
    results = verify_vectors(vectors, bundle.model, graph=graph, integer=bundle.integer_model, stock=stock)
    for name, (worst, failure) in results.items():
        if name in ("l0", "l1", "l2", "stock"):
            level = name.upper() if name != "stock" else name
            found.comparisons.append(
                Comparison(("vectors", level), windows, 0, 0, _probability(name, worst), 0.0, failure)
            )
        if failure is not None:
            found.failures.append(failure)


def _probability(name: str, difference: float) -> float:
    return difference / ONE if name == "l2" else difference


def _as_comparison(parity: Parity) -> Comparison:
    return Comparison(
        parity.levels, parity.windows, parity.flips, 0, parity.max_difference, parity.bound, parity.failure
    )


def check_host(bundle: Bundle, progress: Progress, *, sanitize: bool = False) -> Proof:
    """Compare the levels that need no board, over the bundle's own samples.

    Raises:
        InputError: The bundle is damaged.
        ToolchainError: The generated C does not compile.
    """
    progress.step("comparing estimator, ONNX, integer numpy, host C and emlearn")
    levels = host_levels(bundle, bundle.replay)
    native = replay_native(bundle.source_dir, bundle.replay, sanitize=sanitize)
    return prove(bundle, levels, {"L3": native}, in_range_only=True)


def check_port(bundle: Bundle, port: str, data: Path | None, progress: Progress) -> Comparison:
    """Replay samples into the board at a port and compare its answers.

    Args:
        bundle: What it should run.
        port: Where it is.
        data: Recordings to replay; the bundle's own samples if not given.
        progress: Told of each step.

    Raises:
        CheckFailedError: The board runs another model.
        LinkError: It cannot be reached, or answers are lost.
    """
    stream = bundle.replay
    if data is not None:
        stream = stream_of([(session, 0, len(session)) for session in read_all([data])])
        _require_channels(bundle, stream.samples.shape[1], str(data))
    progress.step(f"replaying {len(stream):,} samples into the board at {port}")
    with progress.bar("replay") as show:
        info, result = replay_port(port, bundle, stream, show)
    windows, ready = stream.windows(bundle.spec.window), stream.ready(bundle.spec.window)
    expected = bundle.integer.decide(windows)
    on = bundle.integer.switch(stream.t_us, ready, windows, expected)
    return compare_exactly(("L2", info.board), expected, ready, result, on=on, policy=bundle.spec.policy)


def check_log(bundle: Bundle, path: Path, progress: Progress) -> Comparison:
    """Compare a board's log with what the model says of the same samples.

    Samples that were lost on the way leave the board's window unknown until it has been filled anew; decisions in
    between are not compared. They leave its policy unknown until it starts afresh.

    Raises:
        CheckFailedError: The log is of another model.
        InputError: It is damaged.
    """
    progress.step(f"reading {path}")
    log = read_board_log(path)
    if log.model_hash != bundle.integer.hash:
        raise CheckFailedError(
            f"{path} was logged from model {log.model_hash}, "
            f"the bundle holds {bundle.spec.name} ({bundle.integer.hash})"
        )
    _require_channels(bundle, log.samples.shape[1], str(path))
    stream, unknown = _stream_of_log(log, bundle.spec.period_us)
    window = bundle.spec.window
    ready = stream.ready(window)
    # After a loss only the board knows what its window holds, until it has been filled anew.
    answers = replace(log.answers, ready=log.answers.ready & (ready | ~unknown))
    windows = stream.windows(window)
    expected = bundle.integer.decide(windows)
    on = bundle.integer.switch(stream.t_us, ready, windows, expected)
    known = _policy_known(log, bundle.spec.period_us)
    return compare_exactly(("L2", "log"), expected, ready, answers, on=on, on_known=known)


def _policy_known(log: BoardLog, period_us: int) -> np.ndarray:
    """Mark the samples at which nothing was lost since the board's policy last started afresh."""
    lost = np.diff(log.sequence, prepend=log.sequence[:1] - 1) != 1
    lost[:1] = log.sequence[:1] != 0
    silence = np.diff(log.t_us, prepend=log.t_us[:1]) % (1 << 32)
    afresh = ~lost & (silence // MAX_MISSED >= period_us)
    index = np.arange(len(lost))
    last_loss = np.maximum.accumulate(np.where(lost, index, -1))
    return last_loss <= np.maximum.accumulate(np.where(afresh, index, -1))


def _stream_of_log(log: BoardLog, period_us: int) -> tuple[ReplayStream, np.ndarray]:
    """Return the log's samples, and where the board's window reaches back to samples that are not in the log."""
    wrapped = np.diff(log.t_us, prepend=log.t_us[:1]) % (1 << 32)
    t_us = np.cumsum(wrapped)
    lost = np.diff(log.sequence, prepend=log.sequence[:1] - 1) != 1
    lost[:1] = log.sequence[:1] != 0
    visible = starts_after_gap(t_us, period_us) | log.gap
    gap = visible | lost
    index = np.arange(len(t_us))
    last_loss = np.maximum.accumulate(np.where(lost, index, -1))
    last_gap = np.maximum.accumulate(np.where(visible & ~lost, index, -1))
    unknown = last_loss > last_gap
    return ReplayStream(log.samples, t_us, gap, period_us), unknown


def _require_channels(bundle: Bundle, channels: int, where: str) -> None:
    if channels != len(bundle.spec.channels):
        raise InputError(f"{where} has {channels} channels, model {bundle.spec.name} takes {len(bundle.spec.channels)}")
