"""The firmware's application, on this computer and on the emulated board: the same tests for both."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace

import board_model as model
import numpy as np
import pytest

import stinger_virtual.uart
from stinger.errors import LinkError, UsageError
from stinger.features.integer import feature_set
from stinger.link.board import Board
from stinger.link.frames import Frame, FrameReader, TextLine, crc16, encode_frame
from stinger.link.messages import Decision, End, FrameType, Sample
from stinger.link.transport import ProcessTransport
from stinger.models.policy import run_policy
from stinger_virtual.transport import EmulatedTransport

FEATURES = feature_set("summary", ("x", "y", "z"), model.WINDOW)
TIMEOUT_S = 5.0


class Line:
    """A board and the events it has sent."""

    def __init__(self, transport: ProcessTransport | EmulatedTransport) -> None:
        self.transport = transport
        self.reader = FrameReader()
        self.events: list[Frame | TextLine] = []

    def send(self, data: bytes) -> None:
        self.transport.write(data)

    def next(self, timeout: float = TIMEOUT_S) -> Frame | TextLine:
        while not self.events:
            data = self.transport.read(timeout)
            assert data, "the board fell silent"
            self.events = self.reader.push(data)
        return self.events.pop(0)

    def text(self, timeout: float = TIMEOUT_S) -> str:
        event = self.next(timeout)
        assert isinstance(event, TextLine), event
        return event.text

    def ask(self, command: str) -> str:
        self.send(command.encode() + b"\n")
        return self.text()

    def hello(self) -> dict[str, object]:
        answer = self.ask("MLHELLO")
        assert answer.startswith("[ml] {")
        hello = json.loads(answer.removeprefix("[ml] "))
        assert isinstance(hello, dict)
        return hello

    def frame(self) -> Frame:
        event = self.next()
        assert isinstance(event, Frame), event
        return event

    def silence(self, seconds: float) -> None:
        """Let time pass on the board."""
        if isinstance(self.transport, ProcessTransport):
            time.sleep(seconds)
        self.events += self.reader.push(self.transport.read(seconds))

    def replay(self, samples: list[Sample], *, lost: set[int] = frozenset()) -> tuple[list[Frame], End]:
        """Replay samples, damaging those in ``lost``; the frames that answered, and the end."""
        assert self.ask(f"MLREPLAY {len(samples)}") == "[ml] MLREPLAY_READY"
        answers: list[Frame] = []
        for first in range(0, len(samples), 32):
            batch = range(first, min(first + 32, len(samples)))
            for i in batch:
                data = bytearray(sample_frame(i, samples[i]))
                if i in lost:
                    data[-4] ^= 0x80
                self.send(bytes(data))
            answers += [self.frame() for i in batch if i not in lost]
        end = self.frame()
        assert end.type == FrameType.END
        return answers, End.unpack(end.payload)


@pytest.fixture(params=["native", "emulated"])
def line(request: pytest.FixtureRequest) -> Iterator[Line]:
    if request.param == "native":
        transport = ProcessTransport([model.native()])
    else:
        transport = EmulatedTransport(model.firmware().uf2.read_bytes())
    yield Line(transport)
    transport.close()


@pytest.fixture
def emulated() -> Line:
    return Line(EmulatedTransport(model.firmware().bin.read_bytes()))


def sample_frame(sequence: int, sample: Sample) -> bytes:
    return encode_frame(Frame(FrameType.SAMPLE, 0, sequence, 0, 0, sample.pack()))


def make_samples(count: int, seed: int = 0) -> list[Sample]:
    rng = random.Random(seed)
    values = [(rng.randrange(-60, 80), rng.randrange(-32768, 32768), -i) for i in range(count)]
    return [Sample((0xFFFF0000 + i * model.PERIOD_US) & 0xFFFFFFFF, v) for i, v in enumerate(values)]


def expected_decisions(samples: list[Sample], *, lost: set[int] = frozenset()) -> dict[int, Decision]:
    """What the stump must say, worked out here from its definition; cycles are 0."""
    decisions = {}
    window: list[Sample] = []
    motion: dict[int, int] = {}
    previous = None
    for i, sample in enumerate(samples):
        if i in lost:
            previous = None
            continue
        step = None if previous is None else (sample.t_us - previous) & 0xFFFFFFFF
        if sample.gap or step is None or not 0 < step <= 1.5 * model.PERIOD_US:
            window = []
        previous = sample.t_us
        window = [*window, sample][-model.WINDOW :]
        if len(window) < model.WINDOW:
            decisions[i] = Decision(i, sample.t_us, 0)
            continue
        features = FEATURES.compute(np.array([[s.values for s in window]], dtype=np.int16))[0]
        motion[i] = sum(v * v for s in window for v in s.values)
        probability = model.LEAVES[int(features[0] > model.THRESHOLD)]
        label = int(probability[1] > probability[0])
        crc = crc16(features.astype("<i2").tobytes())
        decisions[i] = Decision(i, sample.t_us, 0, True, label, crc, probability, probability)
    return switched(decisions, motion)


def switched(decisions: dict[int, Decision], motion: dict[int, int]) -> dict[int, Decision]:
    """The same, with what the policy makes of them."""
    trace = run_policy(
        model.POLICY,
        np.array([d.t_us for d in decisions.values()], dtype=np.int64),
        np.array([d.ready for d in decisions.values()]),
        np.array([d.probability[1] if d.ready else 0 for d in decisions.values()], dtype=np.uint16),
        np.array([motion.get(i, 0) for i in decisions], dtype=np.int64),
    )
    return {i: replace(d, on=bool(on)) for (i, d), on in zip(decisions.items(), trace.on, strict=True)}


def without_cycles(frame: Frame) -> Decision:
    assert frame.type == FrameType.DECISION
    d = Decision.unpack(frame.payload)
    assert frame.sequence == d.of
    return replace(d, cycles=0)


def test_hello(line: Line) -> None:
    hello = line.hello()
    assert hello["protocol"] == 1
    assert hello["model"] == {
        "name": "stump",
        "family": "rf",
        "hash": model.HASH,
        "feature_set": "summary",
        "window": model.WINDOW,
        "channels": model.CHANNELS,
        "period_us": model.PERIOD_US,
        "classes": list(model.CLASSES),
        "policy": {k: v for k, v in model.POLICY.to_json().items() if k not in {"period_us", "window"}},
    }
    assert hello["limits"] == {"replay_in_flight": 32, "max_body": 253}
    if hello["board"] == "emulated_rp2040":
        assert hello["clock_hz"] == 125_000_000
        assert 2048 < hello["stack_free"] < 4096
    else:
        assert hello["board"] == "native"


def test_replay(line: Line) -> None:
    samples = make_samples(200)
    samples[74] = Sample(samples[74].t_us, samples[74].values, gap=True)
    samples[120:] = [Sample(s.t_us + 20_000_000, s.values) for s in samples[120:]]
    expected = expected_decisions(samples)
    answers, end = line.replay(samples)
    assert [without_cycles(a) for a in answers] == list(expected.values())
    assert {d.label for d in expected.values() if d.ready} == {0, 1}
    assert {(d.ready, d.on) for d in expected.values()} == {(False, False), (False, True), (True, False), (True, True)}
    assert not any(d.ready for i in (0, 74, 120) for d in list(expected.values())[i : i + 3])
    assert end == End(200, 200 - 3 * 3, 0)
    assert {a.session for a in answers} == {1}
    assert {a.dropped for a in answers} == {0}


def test_a_second_replay_starts_afresh(line: Line) -> None:
    samples = make_samples(10)
    first, end = line.replay(samples)
    again, end_again = line.replay(samples)
    assert [without_cycles(a) for a in first] == [without_cycles(a) for a in again]
    assert end == end_again == End(10, 7, 0)
    assert {a.session for a in again} == {2}


def test_damaged_frames_are_counted_and_break_the_window(line: Line) -> None:
    samples, lost = make_samples(60), {10, 11, 40}
    answers, end = line.replay(samples, lost=lost)
    assert [without_cycles(a) for a in answers] == list(expected_decisions(samples, lost=lost).values())
    assert end.samples == 57
    assert end.bad_frames == 3


def test_frames_that_make_no_sense_are_counted(line: Line) -> None:
    good = make_samples(4)
    assert line.ask("MLREPLAY 4") == "[ml] MLREPLAY_READY"
    line.send(sample_frame(0, good[0]) + sample_frame(1, good[1]))
    line.send(sample_frame(1, good[1]))  # again
    line.send(sample_frame(4, good[3]))  # beyond the end
    line.send(sample_frame(2, Sample(0, (1, 2))))  # a channel short
    line.send(encode_frame(Frame(FrameType.SAMPLE, 0, 2, 0, 0, good[2].pack() + b"\0")))
    line.send(encode_frame(Frame(FrameType.END, 0, 2, 0, 0, End(1, 1, 1).pack())))
    line.send(sample_frame(2, good[2]) + sample_frame(3, good[3]))
    assert [without_cycles(line.frame()) for _ in good] == list(expected_decisions(good).values())
    assert End.unpack(line.frame().payload) == End(4, 1, 5)


def test_frames_out_of_turn_are_ignored_and_counted(line: Line) -> None:
    line.send(sample_frame(0, make_samples(1)[0]))
    assert line.hello()["counters"] == {"dropped": 0, "lost_pieces": 0, "stray_frames": 1}


@pytest.mark.parametrize("argument", ["0", "-1", "", "12x", "4294967296", "99999999999999999999", "1 2", " 1", "+1"])
def test_replay_refuses_bad_counts(line: Line, argument: str) -> None:
    assert line.ask(f"MLREPLAY {argument}") == "[ml] MLREPLAY_ERR args"


def test_unknown_commands(line: Line) -> None:
    assert line.ask("MLFOO") == "[ml] ERROR: unknown command"
    assert line.ask("ML") == "[ml] ERROR: unknown command"
    assert line.ask("MLREPLAY") == "[ml] ERROR: unknown command"
    assert line.ask("MLHELLO ") == "[ml] ERROR: unknown command"
    assert line.ask("MLSTREAM NOW") == "[ml] MLSTREAM_ERR args"


def test_lines_for_others_are_ignored(line: Line) -> None:
    line.send(b"hello\nmlhello\n[ml] MLHELLO\n\r\n")
    assert line.ask("MLFOO") == "[ml] ERROR: unknown command"


def test_commands_may_end_in_crlf_and_come_in_pieces(line: Line) -> None:
    for piece in (b"MLH", b"ELL", b"O\r"):
        line.send(piece)
    assert line.ask("").startswith("[ml] {")


def test_an_over_long_command_is_dropped_whole(line: Line) -> None:
    line.send(b"MLHELLO" + b" MLHELLO" * 100 + b"\n")
    line.send(b"ML" + b"x" * 61 + b"\n")
    assert line.text() == "[ml] ERROR: unknown command"
    assert line.hello()["counters"] == {"dropped": 0, "lost_pieces": 1, "stray_frames": 0}


def test_the_board_hears_again_after_noise(line: Line) -> None:
    rng = random.Random(3)
    line.send(bytes(range(256)) + rng.randbytes(5000) + b"\0\n")
    line.silence(0.4)
    assert line.hello()["counters"]["lost_pieces"] > 10
    assert line.replay(make_samples(8))[1] == End(8, 5, 0)


def test_a_frame_that_breaks_off_swallows_no_command_for_long(line: Line) -> None:
    line.send(sample_frame(0, make_samples(1)[0])[:20] + b"MLHELLO\n")
    line.silence(0.1)
    assert not line.events
    line.silence(0.3)
    assert line.hello()["counters"]["lost_pieces"] == 1


def test_a_command_ends_a_replay(line: Line) -> None:
    assert line.ask("MLREPLAY 100") == "[ml] MLREPLAY_READY"
    assert line.ask("MLSTREAM STOP") == "[ml] MLSTREAM_OFF"
    line.send(sample_frame(0, make_samples(1)[0]))
    assert line.hello()["counters"]["stray_frames"] == 1


def test_replay_times_out_after_ten_silent_seconds(emulated: Line) -> None:
    assert emulated.ask("MLREPLAY 2") == "[ml] MLREPLAY_READY"
    assert emulated.transport.read(9.0) == b""
    emulated.send(sample_frame(0, make_samples(1)[0]))
    assert emulated.frame().type == FrameType.DECISION
    began = emulated.transport.board.micros
    assert emulated.text(20.0) == "[ml] MLREPLAY_ERR timeout"
    assert 9.9e6 < emulated.transport.board.micros - began < 10.2e6
    assert emulated.transport.read(15.0) == b""
    assert emulated.replay(make_samples(4))[1] == End(4, 1, 0)


def test_cycles_are_exact_and_plausible(emulated: Line) -> None:
    samples = make_samples(30)
    first = [Decision.unpack(a.payload).cycles for a in emulated.replay(samples)[0]]
    again = [Decision.unpack(a.payload).cycles for a in emulated.replay(samples)[0]]
    assert first == again
    assert all(50 < c < 1500 for c in first[:3])
    assert all(500 < c < 20_000 for c in first[3:])


def test_streaming_the_sensor(emulated: Line) -> None:
    board = emulated.transport.board
    samples = [replace(s, t_us=i * model.PERIOD_US) for i, s in enumerate(make_samples(41))]
    board.feed_sensor(samples[0])
    assert emulated.hello()["imu"] == "ICM-42688-P"
    board.feed_sensor(samples[0])
    emulated.silence(0.01)  # the one came before there was a sensor, the other before the stream: gone
    assert emulated.ask("MLSTREAM START") == "[ml] MLSTREAM_ON"
    missing = 20
    for i, sample in enumerate(samples[1:]):
        if i != missing:
            board.feed_sensor(sample)
    taken = [replace(s, gap=i == missing + 1) for i, s in enumerate(samples[1:]) if i != missing]
    expected = list(expected_decisions(taken).values())
    for number, sample in enumerate(taken):
        frame = emulated.frame()
        assert (frame.type, frame.sequence, frame.session) == (FrameType.SAMPLE, number, 1)
        assert Sample.unpack(frame.payload) == sample
        assert without_cycles(emulated.frame()) == expected[number]
    assert emulated.ask("MLSTREAM STOP") == "[ml] MLSTREAM_OFF"
    board.feed_sensor(samples[0])
    assert emulated.transport.read(0.1) == b""


def test_streaming_some_samples_of_the_sensor(emulated: Line) -> None:
    board = emulated.transport.board
    samples = [replace(s, t_us=i * model.PERIOD_US) for i, s in enumerate(make_samples(42))]
    board.feed_sensor(samples[0])
    emulated.silence(0.01)
    assert emulated.ask(f"MLSTREAM START {1_000_000 // model.PERIOD_US // 4}") == "[ml] MLSTREAM_ON"
    missing = 22
    for i, sample in enumerate(samples[1:]):
        if i != missing:
            board.feed_sensor(sample)
    # All are classified; of the gap before sample 23 the next one that is sent tells.
    taken = [replace(s, gap=i == missing + 1) for i, s in enumerate(samples[1:]) if i != missing]
    expected = list(expected_decisions(taken).values())
    for number, i in enumerate(range(0, len(taken), 4)):
        frame = emulated.frame()
        assert (frame.type, frame.sequence) == (FrameType.SAMPLE, number)
        gap = any(s.gap for s in taken[max(0, i - 3) : i + 1])
        assert Sample.unpack(frame.payload) == replace(taken[i], gap=gap)
        assert without_cycles(emulated.frame()) == replace(expected[i], of=number)
    assert emulated.transport.read(0.1) == b""


@pytest.mark.parametrize("argument", ["START 0", "START -1", "START ", "START 1x", "START 4294967296", "STARTS"])
def test_streaming_refuses_bad_rates(emulated: Line, argument: str) -> None:
    assert emulated.ask(f"MLSTREAM {argument}") == "[ml] MLSTREAM_ERR args"


def test_a_board_without_sensor_says_so(line: Line) -> None:
    if isinstance(line.transport, EmulatedTransport):
        line = Line(EmulatedTransport(model.firmware().bin.read_bytes(), imu=None))
        with pytest.raises(UsageError, match="has no sensor to feed"):
            line.transport.board.feed_sensor(make_samples(1)[0])
    assert line.hello()["imu"] is None
    assert line.ask("MLSTREAM START") == "[ml] MLSTREAM_ERR no sensor"
    assert line.ask("MLSTREAM STOP") == "[ml] MLSTREAM_OFF"
    with pytest.raises(LinkError, match="refuses `MLSTREAM START`: no sensor answers it; check"):
        next(Board(line.transport).stream())


def test_a_host_that_does_not_read_costs_frames_but_never_time(emulated: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stinger_virtual.uart, "OUTPUT_BYTES", 1000)
    board = emulated.transport.board
    assert emulated.ask("MLSTREAM START") == "[ml] MLSTREAM_ON"
    samples = make_samples(101)
    for sample in samples[:100]:
        board.feed_sensor(sample)
        while board.run():
            pass
    before = emulated.reader.push(board.take())
    assert all(isinstance(event, Frame) and event.dropped == 0 for event in before)
    board.feed_sensor(samples[100])
    after = emulated.frame()
    assert after.sequence == 100
    assert after.dropped == 200 - len(before) > 100


def test_the_native_board_survives_noise_under_sanitizers() -> None:
    rng = random.Random(5)
    data = bytearray()
    for i in range(800):
        data += rng.choice((b"MLREPLAY 50\n", b"MLHELLO\n", rng.randbytes(rng.randrange(300)), b"\0", b"\n"))
        data += sample_frame(i % 50, make_samples(1, i)[0])
        if i % 3 == 0:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    data += b"\0MLFOO\n"
    program = model.native(sanitize=True)
    result = subprocess.run([program], check=False, input=bytes(data), capture_output=True, timeout=30)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.endswith(b"[ml] ERROR: unknown command\r\n")
    assert result.stdout.count(b"MLREPLAY_READY") > 50
