"""A board in a thread behind a pseudo-terminal, which misbehaves as told. Only the protocol is real."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import termios
import threading
import time
import tty
from dataclasses import dataclass, field

from stinger.link import registry
from stinger.link.frames import Frame, FrameReader, TextLine, encode_frame
from stinger.link.messages import Decision, End, FrameType, Sample

WINDOW = 4
IN_FLIGHT = 5
HELLO = {
    "protocol": 1,
    "firmware": "0.1.0",
    "board": "fake",
    "clock_hz": 125_000_000,
    "model": {
        "name": "toy",
        "family": "logreg",
        "hash": "0123456789abcdef",
        "feature_set": "rich",
        "window": WINDOW,
        "channels": 3,
        "period_us": 10_000,
        "classes": ["neutral", "shot"],
    },
    "limits": {"replay_in_flight": IN_FLIGHT, "max_body": 253},
}


@dataclass
class Faults:
    """What goes wrong, and at which sample."""

    mute: bool = False
    stock: bool = False
    deaf_lines: int = 0  # this many commands are taken for noise
    hello: str | None = None
    lose_answer: int | None = None
    repeat_answer: int | None = None
    damage_answer: int | None = None
    other_session_from: int | None = None
    silent_from: int | None = None
    disconnect_at: int | None = None
    give_up_at: int | None = None
    wrong_time_at: int | None = None
    wrong_type_at: int | None = None
    extra_class_at: int | None = None
    end: End | None = None
    drops: int = 0
    lose_stream: frozenset[int] = frozenset()  # sequence numbers whose frames never arrive
    stream_limit: int | None = None  # fall silent after so many
    ignores_firmware: bool = False
    no_bootloader: bool = False
    dies_after_flash: bool = False


def decide(of: int, sample: Sample, filled: int) -> Decision:
    """The fake model: something that depends on everything sent."""
    if filled < WINDOW:
        return Decision(of, sample.t_us, cycles=100)
    p = (of * 257 + sample.values[0]) % 32769
    verdict = (int(p > 16384), (of * 7) & 0xFFFF, (32768 - p, p), (sample.values[1] * 3,))
    return Decision(of, sample.t_us, 5000, True, *verdict, on=p > 20_000)


@dataclass
class FakeBoard:
    faults: Faults = field(default_factory=Faults)
    stream_period_s: float = 0.0005

    def __enter__(self) -> FakeBoard:
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        os.set_blocking(self.master, False)
        self.port = os.ttyname(self.slave)
        self.commands: list[str] = []
        self.samples: list[Sample] = []
        self.flashed: bytes | None = None
        self._drive: str | None = None
        self._reader = FrameReader(63)
        self._session = 0
        self._total = 0
        self._filled = 0
        self._ready = 0
        self._streaming = False
        self._sequence = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)
        self._hang_up()
        if self._drive is not None:
            registry.unregister(os.getpid())

    def register(self) -> None:
        """Appear in the registry, with a bootloader."""
        self._drive = str(registry.drive_path(os.getpid()))
        registry.register(registry.Entry(os.getpid(), self.port, None, self._drive))

    def start_stream(self) -> None:
        """Stream without having been asked, and return when the first sample is out."""
        self._streaming = True
        while self._sequence == 0:
            time.sleep(0.001)

    def _run(self) -> None:
        while not self._stop.is_set() and self.master >= 0:
            if select.select([self.master], [], [], 0.002)[0]:
                try:
                    data = os.read(self.master, 4096)
                except OSError:
                    continue
                for event in self._reader.push(data):
                    if isinstance(event, TextLine):
                        self._command(event.text)
                    elif event.type == FrameType.SAMPLE:
                        self._answer(event.sequence, Sample.unpack(event.payload))
            if self._streaming:
                self._stream_one()
                time.sleep(self.stream_period_s)
            if self._drive is not None:
                self._bootloader()

    def _command(self, line: str) -> None:
        self.commands.append(line)
        if self.faults.mute:
            return
        if self.faults.deaf_lines:
            self.faults.deaf_lines -= 1
            self._say("ERROR: unknown command")
        elif self.faults.stock:
            self._say("ERROR: unknown command")
        elif line == "MLHELLO":
            self._say(self.faults.hello or json.dumps(HELLO))
        elif line.startswith("MLREPLAY "):
            self._begin()
            self._streaming = False
            self._total = int(line.split()[1])
            self._say("MLREPLAY_READY")
        elif line == "MLSTREAM START" or re.fullmatch("MLSTREAM START [1-9][0-9]*", line):
            self._begin()
            self._streaming = True
            self._say("MLSTREAM_ON")
        elif line == "MLSTREAM STOP":
            self._streaming = False
            self._say("MLSTREAM_OFF")

    def _begin(self) -> None:
        self._session += 1
        self._filled = self._ready = self._sequence = 0
        self.samples.clear()

    def _answer(self, i: int, sample: Sample) -> None:
        faults = self.faults
        self.samples.append(sample)
        self._filled = 1 if sample.gap else self._filled + 1
        decision = decide(i, sample, self._filled)
        self._ready += decision.ready
        if i == faults.disconnect_at:
            self._hang_up()
            return
        if i == faults.give_up_at:
            self._say("MLREPLAY_ERR timeout")
            return
        if faults.silent_from is not None and i >= faults.silent_from:
            return
        if i == faults.wrong_time_at:
            decision = Decision(i, sample.t_us ^ 1, 1)
        if i == faults.extra_class_at:
            decision = Decision(i, sample.t_us, 1, True, 0, 0, (1, 2, 3), (1,))
        kind = FrameType.SAMPLE if i == faults.wrong_type_at else FrameType.DECISION
        if faults.other_session_from is not None and i >= faults.other_session_from:
            self._session = 99
        wire = self._frame(kind, i, decision.pack())
        if i == faults.damage_answer:
            wire = wire[:20] + bytes((wire[20] ^ 0x40 or 1,)) + wire[21:]
        if i != faults.lose_answer:
            self._write(wire * (2 if i == faults.repeat_answer else 1))
        if i + 1 == self._total:
            end = faults.end or End(self._total, self._ready, 0)
            self._write(self._frame(FrameType.END, self._total, end.pack()))

    def _stream_one(self) -> None:
        i = self._sequence
        if self.faults.stream_limit is not None and i >= self.faults.stream_limit:
            return
        self._sequence += 1
        if i in self.faults.lose_stream:
            return
        sample = Sample((2**32 - 20_000 + 10_000 * i) % 2**32, (i % 1000, 2, 3), gap=i == 0)
        self._filled += 1
        self._write(self._frame(FrameType.SAMPLE, i, sample.pack()))
        self._write(self._frame(FrameType.DECISION, i, decide(i, sample, self._filled).pack()))

    def _frame(self, kind: int, sequence: int, payload: bytes) -> bytes:
        dropped = self.faults.drops if sequence else 0
        return encode_frame(Frame(kind, self._session, sequence, 0, dropped, payload))

    def _bootloader(self) -> None:
        assert self._drive is not None
        speed = termios.tcgetattr(self.master)[4]
        image = os.path.join(self._drive, "firmware.uf2")  # noqa: PTH118
        if not os.path.isdir(self._drive):  # noqa: PTH112
            if speed == termios.B1200 and not self.faults.no_bootloader and self.flashed is None:
                os.makedirs(self._drive)  # noqa: PTH103
                with open(os.path.join(self._drive, "INFO_UF2.TXT"), "w") as info:  # noqa: PTH118, PTH123
                    info.write("UF2 Bootloader v3.0\nModel: Raspberry Pi RP2\nBoard-ID: RPI-RP2\n")
        elif os.path.exists(image) and not self.faults.ignores_firmware:  # noqa: PTH110
            with open(image, "rb") as stream:  # noqa: PTH123
                data = stream.read()
            if len(data) >= 512 and len(data) // 512 == int.from_bytes(data[24:28], "little"):
                self.flashed = data
                self.faults.mute = self.faults.dies_after_flash
                shutil.rmtree(self._drive)

    def _say(self, text: str) -> None:
        self._write(f"[ml] {text}\r\n".encode())

    def _write(self, data: bytes) -> None:
        while data and self.master >= 0:
            if not select.select([], [self.master], [], 0.5)[1]:
                return
            try:
                data = data[os.write(self.master, data) :]
            except BlockingIOError:
                continue

    def _hang_up(self) -> None:
        for end in (self.slave, self.master):
            if end >= 0:
                os.close(end)
        self.master = self.slave = -1
