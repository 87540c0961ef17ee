"""One model at every level: estimator, ONNX, integer numpy, C on this computer and on the emulated Cortex-M0+, emlearn.

The C library is compiled once for every set of limits, not once for every model: `ObjectCache` stands between the
builds and the compiler. What is built is built by `build_native` and `build_firmware`, as users build it.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
from image_driver import ImageDriver, by_numpy
from small_models import CLASSES, probes, taken, trained
from toy import channels_for, extreme_windows

from stinger.check.compare import Comparison, compare_exactly
from stinger.features.sets import FEATURE_SETS, ON_DEVICE
from stinger.link.board import Board
from stinger.link.transport import ProcessTransport, Transport
from stinger.models.families import FAMILIES
from stinger.models.policy import Policy
from stinger.models.spec import TrainedModel
from stinger.windows.replay import ReplayStream
from stinger_export.exercise import exercise_stream, usual_samples
from stinger_export.firmware import build_firmware, build_native
from stinger_export.forms import BOOSTED, CONVOLUTIONS, FORESTS
from stinger_export.integer.c_source import write_c_source
from stinger_export.integer.model import Decisions, IntegerModel
from stinger_export.targets import Exports, make_exports
from stinger_export.toolchain import Compiler
from stinger_virtual.transport import EmulatedTransport

#: A family, a feature set and a number of classes.
Combination = tuple[str, str, int]


def on_board(family: str, features: str) -> bool:
    """Whether a board can run it: the family takes the features, and the device computes them."""
    return taken(family, features) and features in ON_DEVICE


def combinations(families: Sequence[str]) -> list[Combination]:
    """All that the tables allow of some families."""
    return [(f, x, k) for f in families for x in FEATURE_SETS for k in CLASSES if on_board(f, x)]


def refused() -> list[Combination]:
    """All that they do not allow, of every family."""
    return [(f, x, k) for f in FAMILIES for x in FEATURE_SETS for k in CLASSES if not on_board(f, x)]


class ObjectCache:
    """Compiles every C file once for every content of it, of the headers that it can include, and of the flags."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir()
        self._run = Compiler.run
        self._objects: dict[str, Path] = {}
        self._lock = threading.Lock()
        self._headers: dict[str, bytes] = {}
        self.compiled = 0

    @contextmanager
    def between(self) -> Iterator[None]:
        """Answer for every compiler, until the block ends."""

        def run(compiler: Compiler, arguments: Sequence[str | Path], *, what: str) -> None:
            self.run(compiler, list(map(str, arguments)), what)

        with mock.patch.object(Compiler, "run", run):
            yield

    def run(self, compiler: Compiler, arguments: list[str], what: str) -> None:
        """Do what the compiler would: compile one file to an object, or several to a program; or link objects."""
        at = arguments.index("-o")
        target, rest = arguments[at + 1], arguments[:at] + arguments[at + 2 :]
        flags = [a for a in rest if not a.endswith((".c", ".o")) and not a.startswith(("-l", "-Wl,"))]
        compile_flags = [a for a in flags if a != "-c"]
        if "-c" in flags:
            [source] = [a for a in rest if a.endswith(".c")]
            shutil.copyfile(self._object(compiler, compile_flags, source, what), target)
            return
        objects = [str(self._object(compiler, compile_flags, a, what)) if a.endswith(".c") else a for a in rest]
        self._run(compiler, [*objects, "-o", target], what=what)

    def _object(self, compiler: Compiler, flags: list[str], source: str, what: str) -> Path:
        # Where headers lie does not matter, only what they say.
        folders = [Path(flag[2:]) for flag in flags if flag.startswith("-I")]
        named = [flag for flag in flags if not flag.startswith(("-I", "-ffile-prefix-map"))]
        digest = hashlib.sha256(repr((compiler.command, named, Path(source).name)).encode())
        for text in [self._text(Path(source)), *(self._text(h) for f in folders for h in sorted(f.glob("*.h")))]:
            digest.update(hashlib.sha256(text).digest())
        key = digest.hexdigest()
        with self._lock:
            known = self._objects.get(key)
        if known is None:
            known = self._folder / f"{key}.o"
            self._run(compiler, [*flags, "-c", source, "-o", str(known)], what=what)
            with self._lock:
                self._objects[key] = known
                self.compiled += 1
        return known

    @staticmethod
    def _text(path: Path) -> bytes:
        # Generated headers name their model in a comment.
        return re.sub(rb"/\*.*?\*/", b"", path.read_bytes(), flags=re.DOTALL)


class AllLevels:
    """Whatever the tests of one file share.

    Args:
        folder: A folder of its own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.cache = ObjectCache(folder / "objects")
        self._images: dict[int, ImageDriver] = {}

    def agree(self, family: str, features: str, classes: int) -> None:
        """Export a model and hold every level of it to what was promised."""
        model = with_policy(trained(family, features, classes))
        with self.cache.between():
            made = make_exports(model)
            assert_targets(made)
            assert_parity(made)
            self._assert_exact(made, self._folder / f"{family}-{features}-{classes}")
            images = self._image_driver(channels_for(features))
        assert images(made.mlmd) == [by_numpy(made.mlmd, images.windows)]

    def _image_driver(self, channels: int) -> ImageDriver:
        if channels not in self._images:
            some = probes(5, channels)[:300:30]
            windows = np.concatenate([extreme_windows(some.shape[1], channels), some])
            folder = self._folder / f"images-{channels}"
            folder.mkdir()
            self._images[channels] = ImageDriver.build(folder, windows, sanitize=False)
        return self._images[channels]

    def _assert_exact(self, made: Exports, folder: Path) -> None:
        write_c_source(made.integer, folder)
        everything = made.replay
        native = replayed(made.integer, everything, ProcessTransport([build_native(folder, folder)]), "L3")
        few = short(made.integer, everything)
        image = build_firmware(folder, folder).bin.read_bytes()
        emulated = replayed(made.integer, few, EmulatedTransport(image), "L4")
        for comparison, stream in ((native, everything), (emulated, few)):
            assert comparison.failure is None, comparison.failure
            assert comparison.policy_samples == len(stream)
        assert native.windows > 100
        assert emulated.windows >= 40


def with_policy(model: TrainedModel) -> TrainedModel:
    """Give a model a quick policy that its own probabilities switch on and off."""
    stream, spec = exercise_stream(model), model.spec
    positive = len(spec.classes) - 1
    usual = model.predict_proba(stream.windows(spec.window))[: usual_samples(spec), positive]
    # A little below, for models that answer the same of everything.
    on = int(np.clip(32768 * (usual.min() + usual.max()) / 2 - 64, 2, 32000))
    policy = Policy(
        attack=3000,
        release=2500,
        on=on,
        off=on - on // 8,
        gate_lsb=40,  # silence is below it
        stale_us=3 * spec.period_us,
        min_on_us=3 * spec.period_us,
        period_us=spec.period_us,
        window=spec.window,
        gyro=3,
        positive=positive,
    )
    return replace(model, spec=replace(spec, policy=policy))


def assert_targets(made: Exports) -> None:
    """Whatever the model allows was made, and the reasons against the others name what is wrong with them."""
    spec = made.model.spec
    assert {"integer", "onnx", "mlmd"} <= set(made.targets)
    assert any(name in made.not_exported["stock-header"] for name in (spec.family, spec.features))
    if spec.family in (*BOOSTED, *CONVOLUTIONS):
        assert re.search(rf"\b{spec.family}\b.*; train ", made.not_exported["emlearn"])
    else:
        assert "emlearn" in made.targets


def assert_parity(made: Exports) -> None:
    """L1 within 1e-5, emlearn's trees within 0.005 and its networks within 1e-4, none with another label; L2 near."""
    measured = {parity.target: parity for parity in made.parity}
    assert measured.keys() == {*made.targets, "onnx, from features"}
    bounds = {"onnx": 1e-5, "onnx, from features": 1e-5, "integer": 0.03, "mlmd": 0.0}
    if "emlearn" in measured:
        bounds["emlearn"] = 0.005 if made.model.spec.family in FORESTS else 1e-4
    for name, parity in measured.items():
        assert parity.failure is None, parity.failure
        assert parity.max_difference <= bounds[name], name
        if name != "integer":
            assert parity.flips == 0, name
            assert parity.windows > 100, name


def short(integer: IntegerModel, stream: ReplayStream) -> ReplayStream:
    """What the emulated board is given of a stream, as it is slow: the liveliest stretch, and every extreme.

    Two segments on each side of which the policy switches most, then one and a bit of each extreme segment without a
    gap between them, so that windows also hold the step from one to the next.
    """
    window = integer.spec.window
    segment, usual = window + window // 2, usual_samples(integer.spec)
    switched = np.abs(np.diff(answers(integer, stream)[1].astype(int), prepend=0))
    per_segment = switched[:usual].reshape(-1, segment).sum(axis=1)
    start = segment * int(np.argmax(per_segment[:-1] + per_segment[1:]))
    extremes = [np.arange(at, at + window + 1) for at in range(usual, len(stream), segment)]
    chosen = np.concatenate([np.arange(start, start + 2 * segment), *extremes])
    gap = np.zeros(len(chosen), dtype=bool)
    gap[[0, 2 * segment]] = True
    # The gap before the first extreme shows in the time; the one at the beginning cannot.
    t_us = stream.period_us * (np.arange(len(chosen)) + 50 * np.cumsum(gap))
    return ReplayStream(stream.samples[chosen], t_us, gap, stream.period_us)


def answers(integer: IntegerModel, stream: ReplayStream) -> tuple[Decisions, np.ndarray]:
    """What the integer model decides at the complete windows, and whether the policy is on at each sample."""
    windows = stream.windows(integer.spec.window)
    decided = integer.decide(windows)
    return decided, integer.switch(stream.t_us, stream.ready(integer.spec.window), windows, decided)


def replayed(integer: IntegerModel, stream: ReplayStream, line: Transport, level: str) -> Comparison:
    """Replay a stream into a board and compare every bit of its answers."""
    with Board(line) as board:
        assert board.hello().model.hash == integer.hash
        result = board.replay(stream.samples, stream.t_us, stream.gap_before)
    decided, on = answers(integer, stream)
    assert on.any(), "the policy never went on"
    assert not on.all(), "the policy was never off"
    ready = stream.ready(integer.spec.window)
    return compare_exactly(("L2", level), decided, ready, result, on=on, policy=integer.spec.policy)
