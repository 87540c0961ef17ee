"""The firmware on the emulated board for half an hour, with everything at once: the job of `stinger bench soak`.

The sensor sends 100 samples a second and now and then leaves one out; the board streams each with its decision. All
the while the host uploads models, good ones, damaged ones and one that breaks off, rolls back, asks who the board is,
and for some seconds of every minute it does not read. Time is the chip's: how fast this computer is changes nothing.
"""

from __future__ import annotations

import json
import tempfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stinger.errors import CheckFailedError, UsageError
from stinger.link.frames import REPLY_PREFIX, Frame, FrameReader
from stinger.models.train import train
from stinger.synth.shots import make_session
from stinger.windows.cut import cut
from stinger.workflow.progress import Progress
from stinger.workflow.soak_account import SoakAccount
from stinger_export.elf import symbol_address
from stinger_export.firmware import build_firmware
from stinger_export.image.model import to_image
from stinger_export.integer.c_source import write_c_source
from stinger_export.integer.model import IntegerModel
from stinger_export.integer.quantise import quantise
from stinger_virtual.chip import CLOCK_HZ, EmulatedBoard

#: Both take turns on the board; the first is the firmware's own.
FAMILIES = ("mlp", "rf")
MAX_MINUTES = 60.0

#: A minute is made of these, in this order, all of one length; what the host does begins with them. An upload that
#: fails takes the place of the model before, too: there is something to roll back to only after one that does not.
_ACTS = ("upload", "roll back", "upload", "damaged", "break off", "wait", "do not read", "do not read")
_ACT_S = 7.5
#: In between it asks who the board is, unless it could be taken for a model, or would not read the answer.
_NOT_ASKED = ("break off", "wait", "do not read")
#: What a line at 115,200 baud carries in the time of a sample.
_CHUNK = 115
#: The sensor leaves one of so many out: a prime, so that it does so at different times of an act.
_LEFT_OUT = 997
#: How often, and after how long, to look for an answer: uploads that break off time out after 10 s.
_PATIENCE, _PATIENCE_US = 1100, 10_000
_TRAINED_MINUTES = 8.0


@dataclass(frozen=True)
class SoakOptions:
    """What `stinger bench soak` can be told.

    Attributes:
        minutes: Of the chip's time.
        features: Of the models.
        seed: Of the session that the sensor plays, and of training.
    """

    minutes: float = 30.0
    features: str = "rich"
    seed: int = 1


def bench_soak(options: SoakOptions, progress: Progress) -> dict[str, Any]:
    """Run the firmware for some time, and settle what has become of every sample.

    Returns:
        The counts of `SoakCounts`; ``minutes``, ``acts`` (how often the host did what), ``stored`` (images, as the
        board counts them), ``stack_bytes`` and ``stack_used`` (the most ever), ``load`` (share of the chip's time in
        which it was busy), ``busy_us_most`` (the longest that it was busy with a sample and what came with it),
        ``late`` (samples that found it busy with the one before) and ``compiler``.

    Raises:
        UsageError: That is no time, or models with such features are too large.
        ToolchainError: There is no compiler for the board, or no emulator.
        CheckFailedError: A sample got lost uncounted, an answer is wrong or missing, or the stack was used up.
    """
    if not 0 < options.minutes <= MAX_MINUTES:
        raise UsageError(f"--minutes must be above 0 and at most {MAX_MINUTES:g}, not {options.minutes:g}")
    session, _ = make_session(options.seed, _TRAINED_MINUTES)
    dataset = cut([session], seed=options.seed)
    progress.step(f"training {' and '.join(FAMILIES)}")
    models = [
        quantise(train(dataset, family, features=options.features, seed=options.seed, folds=0)) for family in FAMILIES
    ]
    images = [to_image(model) for model in models]
    most = _CHUNK * _act_samples(dataset.period_us) // 2
    if (size := max(map(len, images))) > most:
        raise UsageError(f"an image of {size:,} bytes takes too long to send for a soak, which has up to {most:,}")
    with tempfile.TemporaryDirectory(prefix="stinger-soak-") as folder:
        write_c_source(models[0], Path(folder))
        progress.step("compiling")
        firmware = build_firmware(Path(folder), Path(folder) / "firmware", any_model=True)
        image = firmware.bin.read_bytes()
        stack_bytes = symbol_address(firmware.elf, "stack_top") - symbol_address(firmware.elf, "stack_bottom")
    account = SoakAccount(session.samples, dataset.period_us, models[0])
    soak = _Soak(image, models, images, account, dataset.period_us)
    progress.step(f"{options.minutes:g} minutes of the chip's time")
    samples = round(options.minutes * 60e6 / dataset.period_us)
    with progress.bar("samples") as show:
        for i in range(samples):
            soak.step(i)
            if i % 1000 == 0:
                show(i, samples)
    hello = soak.finish()
    account.finish()
    stack_used = stack_bytes - int(hello["stack_free"])
    if stack_used >= stack_bytes:
        raise CheckFailedError(f"the firmware used all {stack_bytes} bytes of its stack, and perhaps more")
    return {
        "minutes": options.minutes,
        **asdict(account.counts),
        "acts": soak.acts,
        "stored": hello["store"]["generation"],
        "stack_bytes": stack_bytes,
        "stack_used": stack_used,
        "load": round(soak.board.cycles / CLOCK_HZ / (options.minutes * 60), 4),
        "busy_us_most": round(soak.busy_us_most),
        "late": soak.late,
        "compiler": firmware.compiler,
    }


def table(report: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows for the terminal."""
    acts = ", ".join(f"{count} x {act}" for act, count in report["acts"].items())
    missing = 2 * report["given"] - report["samples"] - report["decisions"]
    rows = [
        ["simulated minutes", f"{report['minutes']:g}"],
        ["samples the sensor sent", f"{report['given']:,}"],
        ["left out by it; gaps in the frames that arrived", f"{report['left_out']:,}; {report['gaps']:,}"],
        ["frames that arrived: samples, decisions", f"{report['samples']:,}, {report['decisions']:,}"],
        ["decisions with a full window, each bit compared", f"{report['ready']:,}"],
        ["frames that did not arrive; counted by the board", f"{missing:,}; {report['dropped']:,}"],
        ["samples lost and not counted", f"{missing - report['dropped']:,}"],
        ["what the host did meanwhile", acts],
        ["images stored", f"{report['stored']:,}"],
        ["cycles per decision: mean, most", f"{_mean(report):,}, {report['cycles_most']:,}"],
        ["busy", f"{report['load']:.1%}"],
        ["longest between a sample and sleep", f"{report['busy_us_most']:,} us"],
        ["samples that found the board busy", f"{report['late']:,}"],
        ["stack: most used, of", f"{report['stack_used']:,}, {report['stack_bytes']:,} bytes"],
    ]
    return ["what", "figure"], rows


def _act_samples(period_us: int) -> int:
    return round(_ACT_S * 1e6 / period_us)


def _mean(report: dict[str, Any]) -> int:
    return round(int(report["cycles"]) / max(1, int(report["ready"])))


class _Soak:
    """A board, the sensor and the host at its ends.

    Attributes:
        board: The board.
        acts: How often the host did what.
        busy_us_most: The longest that the board worked for a sample and what came with it.
        late: Samples at which the board was still at work for the one before.
    """

    def __init__(
        self,
        image: bytes,
        models: list[IntegerModel],
        images: list[bytes],
        account: SoakAccount,
        period_us: int,
    ) -> None:
        self.board = EmulatedBoard(image)
        self.acts = dict.fromkeys([*_ACTS, "ask"], 0)
        self.busy_us_most = 0.0
        self.late = 0
        self._models = models
        self._images = images
        self._running = 0
        self._account = account
        self._period_us = period_us
        self._act_samples = _act_samples(period_us)
        self._reader = FrameReader()
        self._expected: list[str] = []
        self._sending = b""
        self._ends_with: str | None = None  # what the board says when all is sent
        self._uploaded = 0
        self._hello: dict[str, Any] = {}
        self._command("MLSTREAM START", "MLSTREAM_ON")
        self._settle()
        self._began_us = self.board.micros

    def step(self, i: int) -> None:
        """Let the time of sample ``i`` come, and what happens then."""
        due = self._began_us + i * self._period_us
        if self.board.micros <= due:
            self.board.advance(due - self.board.micros)
            self._run()
        else:
            self.late += 1
        act = _ACTS[i // self._act_samples % len(_ACTS)]
        if act != "do not read":
            self._read()  # before it says more: a line that is full takes no answers
        if i % self._act_samples == 0:
            self._begin(act)
        if i % self._act_samples == self._act_samples * 3 // 4 and act not in _NOT_ASKED:
            self.acts["ask"] += 1
            self._command("MLHELLO", "{")
        if i % _LEFT_OUT == _LEFT_OUT - 1:
            self._account.leave_out()
        else:
            self.board.feed_sensor(self._account.give(i))
        self._send()
        before = self.board.micros
        self._run()
        self.busy_us_most = max(self.busy_us_most, self.board.micros - before)

    def finish(self) -> dict[str, Any]:
        """End the stream; returns what the board says about itself afterwards."""
        self._read()
        while self._sending:
            self._send()
            self._run()
        self._settle()  # what broke off times out
        self._command("MLSTREAM STOP", "MLSTREAM_OFF")
        self._command("MLHELLO", "{")
        self._settle()
        self._account.counts.dropped = int(self._hello["counters"]["dropped"])
        return self._hello

    def _settle(self) -> None:
        """Let time pass until every answer is there."""
        for _ in range(_PATIENCE):
            self._run()
            self._read()
            if not self._expected:
                return
            self.board.advance(_PATIENCE_US)
        raise CheckFailedError(f"the board never answered {self._expected[0]!r}")

    def _begin(self, act: str) -> None:
        self.acts[act] += 1
        if act in ("upload", "damaged", "break off"):
            self._uploaded = (self._running + 1) % len(self._images)
            image = self._images[self._uploaded]
            self._command(f"MLMODEL_PUT_SLOT {len(image)} {zlib.crc32(image):08x}", "MLMODEL_READY")
            sent = {
                "upload": image,
                "damaged": image[:-1] + bytes([image[-1] ^ 1]),
                "break off": image[: len(image) // 2],
            }
            said = {"upload": "MLMODEL_OK", "damaged": "MLMODEL_ERR crc", "break off": "MLMODEL_ERR timeout"}
            self._sending, self._ends_with = sent[act], said[act]
        elif act == "roll back":
            self._uploaded = (self._running + 1) % len(self._images)
            self._command("MLMODEL_ROLLBACK", "MLMODEL_ROLLED_BACK")

    def _command(self, line: str, answer: str) -> None:
        self._expected.append(answer)
        self.board.feed(line.encode("ascii") + b"\n")

    def _send(self) -> None:
        """Send some of the model."""
        self.board.feed(self._sending[:_CHUNK])
        self._sending = self._sending[_CHUNK:]
        if not self._sending and self._ends_with is not None:
            self._expected.append(self._ends_with)
            self._ends_with = None

    def _run(self) -> None:
        while self.board.run():
            pass
        if self.board.fault is not None:
            raise CheckFailedError(f"the firmware crashed: {self.board.fault}")

    def _read(self) -> None:
        for event in self._reader.push(self.board.take()):
            if isinstance(event, Frame):
                self._account.take(event)
            else:
                self._hear(event.text.removeprefix(REPLY_PREFIX))
        if self._reader.lost_bytes:
            raise CheckFailedError(f"the board sent {self._reader.lost_bytes} bytes that make no sense")

    def _hear(self, line: str) -> None:
        expected = self._expected.pop(0) if self._expected else "nothing"
        if not (line == expected or (expected == "{" and line.startswith("{"))):
            raise CheckFailedError(f"the board said {line!r} instead of {expected!r}")
        if expected == "{":
            self._hello = json.loads(line)
        if line in ("MLMODEL_OK", "MLMODEL_ROLLED_BACK"):
            self._running = self._uploaded
            self._account.runs(self._models[self._running])
