"""Build the Pico board's firmware with the Pico SDK, run it on an emulated RP2040, and say what came of it.

    PICO_SDK_PATH=... python tests/hardware/prove_pico_sdk.py [BUNDLE] [--build FOLDER]

Needs the SDK (2.x, with TinyUSB in lib/tinyusb), cmake, arm-none-eabi-gcc with newlib, and `stinger-ml[emulator]`.
Prints a table in Markdown; exits 1 at the first thing that does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "unit"), str(Path(__file__).parent)]

from pico_emulator import EmulatedPico  # noqa: E402
from toy import toy_dataset  # noqa: E402

from stinger.check.compare import compare_exactly  # noqa: E402
from stinger.errors import StingerError  # noqa: E402
from stinger.link.board import Board, StreamStatistics  # noqa: E402
from stinger.link.replay import ReplayResult  # noqa: E402
from stinger.models.policy import Policy  # noqa: E402
from stinger.models.train import TrainedModel, train  # noqa: E402
from stinger.windows.replay import ReplayStream  # noqa: E402
from stinger_export.bundle import Bundle, export_bundle, load_bundle  # noqa: E402
from stinger_export.image.model import to_image  # noqa: E402
from stinger_export.integer.quantise import quantise  # noqa: E402
from stinger_export.uf2 import to_uf2  # noqa: E402
from stinger_virtual.imu import Icm42688p, Imu, Lsm6dsox  # noqa: E402

STREAMED = 300
SETTLE_S = 0.3
PATIENCE_S = 120.0  # of this computer's time
ROM_BYTES = 16384
AGE_US = 2500  # 1.2 ms to the next sample, 1 ms to the board's next look
RECORD = struct.Struct("<I6hB")  # of the stock log


class ProofError(Exception):
    """Something does not hold."""


@dataclass
class Firmware:
    """What was built."""

    image: bytes
    compiler: str
    flash_bytes: int
    ram_bytes: int


def require(condition: bool, what: str) -> None:
    if not condition:
        raise ProofError(what)


def build(sdk: Path, bundle: Bundle, folder: Path) -> Firmware:
    """Configure and compile; warnings of our sources are errors there."""
    definitions = {
        "PICO_SDK_PATH": sdk,
        "PICO_NO_PICOTOOL": 1,
        "STINGER_MODEL_DIR": bundle.source_dir.resolve(),
        "STINGER_FIRMWARE_VERSION": version("stinger-ml"),
    }
    configure = ["cmake", "-S", ROOT / "device" / "boards" / "pico_sdk", "-B", folder]
    run([*configure, *(f"-D{name}={value}" for name, value in definitions.items())])
    run(["cmake", "--build", folder, "--parallel", "2"])
    image = (folder / "stinger_pico.bin").read_bytes()
    (folder / "stinger_pico.uf2").write_bytes(to_uf2(image))
    text, data, bss = map(int, run(["arm-none-eabi-size", folder / "stinger_pico.elf"]).splitlines()[1].split()[:3])
    compiler = run(["arm-none-eabi-gcc", "--version"]).splitlines()[0]
    return Firmware(image, compiler, text + data, data + bss)


def run(command: list[object]) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ProofError(f"{command[0]} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


class Recording:
    """A recording as a sensor would see it: each row is held for a period, and comes round again at the end."""

    def __init__(self, rows: np.ndarray, period_us: int) -> None:
        self._rows = rows
        self._period_us = period_us

    def row(self, micros: float) -> list[int]:
        return [int(v) for v in self._rows[int(micros // self._period_us) % len(self._rows)]]

    def all(self) -> list[list[int]]:
        return self._rows.tolist()


def answers(pico: EmulatedPico, bundle: Bundle) -> Iterator[tuple[str, str]]:
    """MLHELLO and a replay of everything the bundle brings."""
    with Board(pico) as board:
        info = board.hello()
        require(info.board == "pico_sdk", f"the board says it is {info.board}")
        require(info.model.hash == bundle.integer.hash, "the board runs another model")
        yield "`MLHELLO`", f"board {info.board}, {info.clock_hz // 1_000_000} MHz, model {info.model.name} as exported"
        stream = bundle.replay
        result = board.replay(stream.samples, stream.t_us, stream.gap_before)
        require_equal(bundle, stream, result)
        ready = result.cycles[result.ready]
        yield (
            f"`MLREPLAY {len(stream)}`",
            f"{int(result.ready.sum())} decisions, every bit as the integer model in numpy; {int(np.median(ready))} "
            f"cycles each (median; {int(ready.max())} at most, USB interrupts included)",
        )


def ask(pico: EmulatedPico, command: str) -> str:
    """The line that answers a command."""
    pico.write(command.encode() + b"\n")
    line = b""
    while not line.endswith(b"\n"):
        data = pico.read(1.0)
        require(bool(data), f"no answer to {command}")
        line += data
    return line.decode().removeprefix("[ml] ").strip()


def hello(pico: EmulatedPico) -> dict[str, Any]:
    """All that MLHELLO says."""
    return json.loads(ask(pico, "MLHELLO"))


def require_equal(bundle: Bundle, stream: ReplayStream, result: ReplayResult) -> None:
    window, policy = bundle.spec.window, bundle.spec.policy
    windows, ready = stream.windows(window), stream.ready(window)
    expected = bundle.integer.decide(windows)
    on = bundle.integer.switch(stream.t_us, ready, windows, expected)
    failure = compare_exactly(("numpy", "the Pico"), expected, ready, result, on=on, policy=policy).failure
    require(failure is None, str(failure))


def streams(pico: EmulatedPico, bundle: Bundle, expected: Callable[[list[int]], list[int]], rows: Recording) -> str:
    """A live stream: the sensor's values, on time, and what the model says of them."""
    statistics = StreamStatistics()
    with Board(pico) as board:
        pico.read(SETTLE_S)
        with closing(board.stream(statistics)) as pairs:
            got = list(islice(pairs, STREAMED))
    t_us = np.array([sample.t_us for sample, _ in got], dtype=np.int64)
    samples = np.array([sample.values for sample, _ in got], dtype=np.int16)
    should = np.array([expected(rows.row(t)) for t in t_us], dtype=np.int16)
    # The board takes the newest sample, which is up to one period of the sensor old, and a look at its FIFO.
    early = np.array([expected(rows.row(t - AGE_US)) for t in t_us], dtype=np.int16)
    require(bool(np.all((samples == should) | (samples == early))), "samples are not what the sensor gave")
    steps = np.diff(t_us)
    period = bundle.spec.period_us
    require(abs(float(steps.mean()) - period) < period / 1000, f"a sample every {steps.mean():.1f} us, not {period}")
    require(statistics.lost == 0 and statistics.dropped == 0, f"lost {statistics}")
    stream = ReplayStream(samples, t_us, np.array([True] + [False] * (len(got) - 1)), period)
    windows, ready = stream.windows(bundle.spec.window), stream.ready(bundle.spec.window)
    decided = bundle.integer.decide(windows)
    of_board = [decision for (_, decision), full in zip(got, ready, strict=True) if full]
    require(all(d.ready for d in of_board), "a full window without a decision")
    require([d.label for d in of_board] == decided.label.tolist(), "labels differ from numpy")
    require([list(d.probability) for d in of_board] == decided.probability.tolist(), "probabilities differ from numpy")
    return (
        f"{len(got)} samples, {len(of_board)} decisions as numpy's; a sample every {steps.mean():.1f} µs "
        f"({steps.min()}..{steps.max()}), none lost"
    )


def gives_way(pico: EmulatedPico) -> str:
    """A host that goes away in mid-stream does not hold the board up, and finds it well when it comes back."""
    pico.write(b"MLSTREAM START\n")
    pico.read(0.5)
    pico.set_port(opened=False)
    pico.run(1_000_000)
    pico.read(0)
    pico.set_port(opened=True)
    with Board(pico) as board, closing(board.stream()) as pairs:
        first = next(pairs)[0]
        later = next(pairs)[0]
    require(later.t_us > first.t_us, "the stream does not go on")
    dropped = hello(pico)["counters"]["dropped"]
    require(dropped > 100, f"only {dropped} frames counted as dropped in a second")
    return f"it streams on, {dropped} frames dropped and counted in a second"


def recovers(pico: EmulatedPico, sensor: Imu, bundle: Bundle) -> str:
    """A sensor that has lost its settings in mid-stream gets them again, and no window spans the hole."""
    with Board(pico) as board, closing(board.stream(timeout=PATIENCE_S)) as pairs:
        before = next(pair for pair in pairs if pair[1].ready)[0]
        sensor.lose_power()
        decisions = [before.t_us]
        ready = []
        for sample, decision in islice(pairs, bundle.spec.window):
            decisions.append(sample.t_us)
            ready.append(decision.ready)
    silent = int(np.diff(decisions).max())
    hole = int(np.diff(decisions).argmax())
    require(500_000 <= silent < 1_000_000, f"silent for {silent} us")
    require(not any(ready[hole:-1]), "a window spans the hole")
    return f"samples again after {silent / 1e3:.0f} ms, decisions a full window later"


def dumps(pico: EmulatedPico, rows: Recording) -> str:
    """The log of what the sensor gave, as the stock tools fetch it."""
    pico.run(1_000_000)
    pico.write(b"MLDUMP\n")
    data = b""
    while not data.endswith(b"\nMLDUMP_DONE\r\n"):
        more = pico.read(1.0)
        require(bool(more), "the dump ends in the middle")
        data += more
    head, _, rest = data.partition(b"\n")
    size = int(head.removeprefix(b"MLDUMP1 "))
    records = list(RECORD.iter_unpack(rest[:size]))
    require(len(rest) == size + len(b"\nMLDUMP_DONE\r\n"), "the dump has another size than it says")
    known = {tuple(row) for row in rows.all()}
    require(all(record[1:7] in known and record[7] == 0 for record in records), "records that the sensor never gave")
    steps = np.diff([record[0] for record in records])
    require(steps.min() >= 9 and steps.max() <= 11, f"records {steps.min()}..{steps.max()} ms apart")
    return f"{len(records)} records of {RECORD.size} bytes, {steps.mean():.2f} ms apart, all as the sensor gave them"


def uploads(pico: EmulatedPico, firmware: Firmware, bundle: Bundle) -> Iterator[tuple[str, str]]:
    """Another model: sent, run, kept without power, given up again; and what is no model is not run."""
    other = quantise(trained("rf"))
    image = to_image(other)
    stream = bundle.replay
    with Board(pico) as board:
        require(board.hello().store is not None, "the board takes no models")
        pico.write(f"MLMODEL_PUT_SLOT {len(image)} {zlib.crc32(image):08x}\n".encode() + image[: len(image) // 2])
        require(pico.read(1.0) == b"[ml] MLMODEL_READY\r\n", "no upload")
        pico.run(100_000)
        pico.power_cycle()
        require(board.hello().model.hash == bundle.integer.hash, "half an upload has changed the model")
        yield f"half of a model of {len(image):,} bytes sent, power off and on", "runs its own model"
        began = pico.micros
        info = board.put_model(image)
        require((info.model.hash, info.store.running) == (other.hash, "slot0"), f"runs {info.model.name}")
        yield f"`MLMODEL_PUT_SLOT`, {info.model.name}", f"stored and running after {(pico.micros - began) / 1e3:.0f} ms"
        for when in ("", ", after power off and on"):
            result = board.replay(stream.samples, stream.t_us, stream.gap_before)
            windows, ready = stream.windows(other.spec.window), stream.ready(other.spec.window)
            failure = compare_exactly(("numpy", "the Pico"), other.decide(windows), ready, result).failure
            require(failure is None, str(failure))
            yield f"`MLREPLAY {len(stream)}` with it{when}", f"{int(ready.sum())} decisions, every bit as in numpy"
            pico.power_cycle()
            require(board.hello().model.hash == other.hash, "the upload is gone without power")
        require(board.rollback().model.hash == bundle.integer.hash, "the rollback leads elsewhere")
        pico.power_cycle()
        require(board.hello().model.hash == bundle.integer.hash, "the rollback is gone without power")
        yield "`MLMODEL_ROLLBACK`, power off and on", "runs its own model"
        flipped = bytes([*image[:-1], image[-1] ^ 1])
        pico.write(f"MLMODEL_PUT_SLOT {len(image)} {zlib.crc32(image):08x}\n".encode() + flipped)
        pico.read(1.0)
        refusal = pico.read(1.0).decode().removeprefix("[ml] ").strip()
        require(refusal == "MLMODEL_ERR crc", f"of a damaged model it says {refusal}")
        require(board.hello().model.hash == bundle.integer.hash, "a damaged model has been taken")
        yield "`MLMODEL_PUT_SLOT`, one bit wrong", f"`{refusal}`, runs what it ran"
    size = len(firmware.image)
    require(pico.flash[:size] == firmware.image, "the firmware has been written to")


def prove(firmware: Firmware, bundle: Bundle) -> Iterator[tuple[str, str]]:
    """Yield what was tried, and what came of it."""
    period = bundle.spec.period_us
    rows = Recording(bundle.replay.samples, period)

    def as_is(row: list[int]) -> list[int]:
        return row

    def scaled(row: list[int]) -> list[int]:
        return row[:3] + [max(-32768, min(32767, int(np.sign(v)) * ((abs(v) * 1148 + 500) // 1000))) for v in row[3:]]

    sensors: list[tuple[Imu, Callable[[list[int]], list[int]]]] = [(Icm42688p(), as_is), (Lsm6dsox(), scaled)]
    pico = EmulatedPico(firmware.image)
    yield from answers(pico, bundle)
    yield from uploads(pico, firmware, bundle)
    refusal = ask(pico, "MLSTREAM START")
    require(refusal == "MLSTREAM_ERR no sensor", f"without a sensor it says {refusal!r}")
    yield "`MLSTREAM START`, nothing on SPI", f"`{refusal}`"
    for sensor, expected in sensors:
        pico = EmulatedPico(firmware.image, sensor, rows.row)
        said = hello(pico)["imu"]
        require(said == sensor.name, f"with an {sensor.name} on SPI it says {said}")
        yield f"`MLSTREAM START`, {said}", streams(pico, bundle, expected, rows)
    yield "port closed in mid-stream", gives_way(pico)
    sensor = Lsm6dsox()
    lost = recovers(EmulatedPico(firmware.image, sensor, rows.row), sensor, bundle)
    yield "sensor's supply interrupted in mid-stream", lost
    yield "`MLDUMP`", dumps(EmulatedPico(firmware.image, Icm42688p(), rows.row), rows)
    yield "stack never used", f"{hello(pico)['stack_free']} of 4096 bytes"
    pico.touch()
    target = pico.restarts_into()
    require(target is not None and target < ROM_BYTES, f"1200 baud does not lead into the boot loader but to {target}")
    yield "port opened at 1200 baud", f"it restarts into the boot loader (ROM, 0x{target:04x})"


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", nargs="?", type=Path, help="an exported bundle; by default an MLP is exported")
    parser.add_argument("--build", type=Path, help="folder for the build, kept; by default a temporary one")
    arguments = parser.parse_args()
    sdk = Path(os.environ.get("PICO_SDK_PATH", ""))
    if not (sdk / "pico_sdk_init.cmake").is_file():
        print("set PICO_SDK_PATH to a Pico SDK 2.x with its submodule lib/tinyusb", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="stinger-pico-") as temporary:
        try:
            bundle = load_bundle(arguments.bundle or example(Path(temporary)))
            firmware = build(sdk, bundle, arguments.build or Path(temporary, "build"))
            size = f"{firmware.flash_bytes:,} bytes of flash, {firmware.ram_bytes:,} of static RAM"
            print("| | |\n|---|---|")
            print(f"| compiler | {firmware.compiler} |\n| firmware | {size} |", flush=True)
            for tried, outcome in prove(firmware, bundle):
                print(f"| {tried} | {outcome} |", flush=True)
        except (ProofError, StingerError) as error:
            print(f"\nnot proven: {error}", file=sys.stderr)
            return 1
    return 0


def trained(family: str) -> TrainedModel:
    """A model of the size that a blaster runs: 50 samples of six channels, and the policy of the stock firmware."""
    model = train(toy_dataset(), family)
    return replace(model, spec=replace(model.spec, policy=Policy.stock()))


def example(folder: Path) -> Path:
    export_bundle(trained("mlp"), folder / "bundle")
    return folder / "bundle"


if __name__ == "__main__":
    sys.exit(main())
