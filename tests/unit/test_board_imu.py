"""The firmware on the emulated board reads a sensor over SPI: every value, every time, and nothing lost in silence."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import board_model as model
import numpy as np
import pytest
from toy import toy_dataset

from stinger.errors import LinkError
from stinger.link.board import Board
from stinger.link.frames import Frame, FrameReader
from stinger.link.messages import Decision, FrameType, Sample
from stinger.models.train import train
from stinger_export.firmware import build_firmware
from stinger_export.image.model import to_image
from stinger_export.integer.model import IntegerModel
from stinger_export.integer.quantise import quantise
from stinger_virtual.imu import Icm42688p, Imu, Lsm6dsox
from stinger_virtual.transport import EmulatedTransport

N = 150
WINDOW = 50
PERIOD_US = 10_000
ROWS = np.random.default_rng(11).integers(-32768, 32768, (N, 6)).astype(np.int16)
ROWS[3], ROWS[4], ROWS[5] = -32768, 32767, 0
CHIPS = pytest.mark.parametrize("chip", [Icm42688p, Lsm6dsox])


@pytest.fixture(scope="module")
def integer() -> IntegerModel:
    return quantise(train(toy_dataset(), "logreg", features="rich"))


class Bench:
    """A board that runs a model of six channels, and streams; its sensor is here."""

    def __init__(self, chip: Callable[[], Imu], integer: IntegerModel) -> None:
        self.transport = EmulatedTransport(model.firmware(any_model=True).bin.read_bytes(), imu=chip)
        self.chip = self.transport.board
        self.board = Board(self.transport)
        self.board.put_model(to_image(integer))
        self.t_us = 0
        self.reader = FrameReader()

    def start(self) -> None:
        self.transport.write(b"MLSTREAM START\n")
        self.run()
        assert self.transport.read(0.01) == b"[ml] MLSTREAM_ON\r\n"

    def measure(self, row: np.ndarray, step_us: int = PERIOD_US) -> None:
        """Let the sensor measure, and its time pass."""
        self.chip.feed_sensor(Sample(self.t_us & 0xFFFFFFFF, tuple(int(v) for v in row)))
        self.t_us += step_us

    def run(self) -> None:
        while self.chip.run():
            pass
        assert self.chip.fault is None

    def frames(self) -> tuple[list[Sample], list[Decision]]:
        """What the board has streamed; every sample has its decision, and none was dropped."""
        self.run()
        frames = [f for f in self.reader.push(self.chip.take()) if isinstance(f, Frame)]
        assert not any(frame.dropped for frame in frames)
        samples = [Sample.unpack(f.payload) for f in frames if f.type == FrameType.SAMPLE]
        decisions = [Decision.unpack(f.payload) for f in frames if f.type == FrameType.DECISION]
        assert [d.t_us for d in decisions] == [s.t_us for s in samples]
        return samples, decisions


def in_units_of_the_log(chip: type[Imu], rows: np.ndarray) -> np.ndarray:
    """What the firmware makes of counts: as they are, or 70 mdps of the LSM6DSOX's gyroscope as 1/16.4 degree."""
    out = rows.astype(np.int64)
    if chip is Lsm6dsox:
        out[:, 3:] = np.sign(out[:, 3:]) * ((np.abs(out[:, 3:]) * 1148 + 500) // 1000)
    return np.clip(out, -32768, 32767).astype(np.int16)


@CHIPS
def test_streams_every_value_as_the_sensor_gave_it(chip: type[Imu], integer: IntegerModel) -> None:
    bench = Bench(chip, integer)
    assert json.loads(ask(bench, "MLHELLO"))["imu"] == chip.name
    bench.start()
    for row in ROWS:
        bench.measure(row)
        bench.run()
        bench.chip.advance(PERIOD_US)
    samples, decisions = bench.frames()
    expected = in_units_of_the_log(chip, ROWS)
    assert [list(s.values) for s in samples] == expected.tolist()
    assert np.diff([s.t_us for s in samples]).tolist() == [PERIOD_US] * (N - 1)
    assert not any(s.gap for s in samples)
    assert [d.ready for d in decisions] == [False] * (WINDOW - 1) + [True] * (N - WINDOW + 1)
    windows = np.stack([expected[i - WINDOW + 1 : i + 1] for i in range(WINDOW - 1, N)])
    said = integer.decide(windows)
    assert [list(d.probability) for d in decisions if d.ready] == said.probability.tolist()


@CHIPS
def test_a_board_that_is_busy_catches_up(chip: type[Imu], integer: IntegerModel) -> None:
    """As while a sector of flash is erased, which takes a real one 45 ms: the samples wait in the sensor."""
    bench = Bench(chip, integer)
    bench.start()
    for i, row in enumerate(ROWS):
        bench.measure(row)
        if i % 5 == 4:
            bench.chip.advance(5 * PERIOD_US)
            bench.run()
    samples, _ = bench.frames()
    assert [list(s.values) for s in samples] == in_units_of_the_log(chip, ROWS).tolist()
    assert np.diff([s.t_us for s in samples]).tolist() == [PERIOD_US] * (N - 1)
    assert not any(s.gap for s in samples)


@CHIPS
def test_what_is_overwritten_before_it_is_read_is_a_gap(chip: type[Imu], integer: IntegerModel) -> None:
    bench = Bench(chip, integer)
    bench.start()
    for row in ROWS[:60]:
        bench.measure(row)
        bench.run()
        bench.chip.advance(PERIOD_US)
    before, _ = bench.frames()
    assert len(before) == 60
    pushed = bench.chip.imu.capacity + 40
    for i in range(pushed):  # the board does not run meanwhile
        bench.measure(np.array([i, 0, 0, 0, 0, 0]))
    bench.chip.advance(pushed * PERIOD_US)
    samples, decisions = bench.frames()
    lost = bench.chip.imu.lost
    assert lost >= 40 - 1
    assert len(samples) + lost == pushed
    assert [s.values[0] for s in samples] == list(range(lost, pushed))
    assert [s.gap for s in samples] == [True] + [False] * (len(samples) - 1)
    assert samples[0].t_us - before[-1].t_us == (lost + 1) * PERIOD_US
    assert [d.ready for d in decisions] == [i >= WINDOW - 1 for i in range(len(samples))]


@CHIPS
def test_samples_that_the_sensor_did_not_take_are_a_gap(chip: type[Imu], integer: IntegerModel) -> None:
    bench = Bench(chip, integer)
    bench.start()
    for i, row in enumerate(ROWS):
        pause = 17 * PERIOD_US if i == 70 else PERIOD_US
        bench.measure(row, pause)
        bench.run()
        bench.chip.advance(pause)
    samples, decisions = bench.frames()
    assert [i for i, s in enumerate(samples) if s.gap] == [71]
    assert samples[71].t_us - samples[70].t_us == 17 * PERIOD_US
    assert [i for i, d in enumerate(decisions) if d.ready] == [*range(49, 71), *range(71 + 49, N)]


@CHIPS
def test_a_sensor_whose_supply_broke_down_is_started_again(chip: type[Imu], integer: IntegerModel) -> None:
    bench = Bench(chip, integer)
    bench.start()
    taken = 0
    for i in range(200):
        if i == 60:
            bench.chip.imu.lose_power()
        taken += bench.chip.imu.sample_us is not None
        bench.measure(ROWS[i % N])
        bench.run()
        bench.chip.advance(PERIOD_US)
        bench.run()
    samples, _ = bench.frames()
    [gap] = [i for i, s in enumerate(samples) if s.gap]
    assert gap == 60
    assert 500_000 <= samples[gap].t_us - samples[gap - 1].t_us <= 700_000
    assert len(samples) < taken  # some were thrown away until its values meant something
    assert list(samples[-1].values) == in_units_of_the_log(chip, ROWS[199 % N : 199 % N + 1])[0].tolist()


class Stranger(Icm42688p):
    """Another chip of the same maker."""

    who_am_i = (0x75, 0x42)


class Swapped(Lsm6dsox):
    """The other sensor's identity at this one's place."""

    who_am_i = (0x0F, 0x47)


@pytest.mark.parametrize("chip", [Stranger, Swapped, None], ids=["stranger", "swapped", "nothing"])
def test_a_sensor_it_does_not_know_is_none(chip: type[Imu] | None) -> None:
    transport = EmulatedTransport(model.firmware().bin.read_bytes(), imu=chip)
    with Board(transport) as board:
        transport.write(b"MLHELLO\n")
        assert b'"imu":null' in transport.read(5.0)
        with pytest.raises(
            LinkError, match="the board refuses `MLSTREAM START`: no sensor answers it; check the wires"
        ):
            next(board.stream())
        board.hello()  # it works on
    if chip is not None:
        assert transport.board.imu.sample_us is None, "it was written to"


def test_a_model_of_more_channels_than_the_sensor_has_is_not_streamed(tmp_path: Path) -> None:
    folder = model.write_model(tmp_path)
    source, limits = folder / "stinger_model_data.c", folder / "stinger_limits.h"
    seven = f"{model.WINDOW}, 7, 2, 21,"
    text = source.read_text()
    assert f"{model.WINDOW}, {model.CHANNELS}, 2, {3 * model.CHANNELS}," in text
    source.write_text(text.replace(f"{model.WINDOW}, {model.CHANNELS}, 2, {3 * model.CHANNELS},", seven))
    limits.write_text(limits.read_text().replace("MAX_CHANNELS 3", "MAX_CHANNELS 7"))
    transport = EmulatedTransport(build_firmware(folder, tmp_path / "out").bin.read_bytes())
    with Board(transport) as board:
        assert board.hello().model.channels == 7
        for i in range(5):  # the sensor is read all the same
            transport.board.feed_sensor(Sample(i * PERIOD_US, (1, 2, 3, 4, 5, 6)))
        with pytest.raises(LinkError, match="its sensor has fewer channels than the model"):
            next(board.stream())
        assert transport.board.imu.queued == 0


def test_a_model_of_another_rate_changes_the_sensors(integer: IntegerModel) -> None:
    bench = Bench(Icm42688p, integer)
    assert bench.chip.imu.sample_us == PERIOD_US
    faster = quantise(train(replace(toy_dataset(), period_us=5000), "logreg", features="rich"))
    bench.board.put_model(to_image(faster))
    assert bench.chip.imu.sample_us == 5000
    bench.chip.advance(100_000)
    bench.run()
    bench.start()
    for row in ROWS:
        bench.measure(row, 5000)
        bench.run()
        bench.chip.advance(5000)
    samples, decisions = bench.frames()
    assert [list(s.values) for s in samples] == ROWS.tolist()
    assert np.diff([s.t_us for s in samples]).tolist() == [5000] * (N - 1)
    assert sum(d.ready for d in decisions) == N - WINDOW + 1


def test_the_same_samples_give_the_same_bytes(integer: IntegerModel) -> None:
    def bytes_of_a_stream() -> bytes:
        bench = Bench(Icm42688p, integer)
        bench.start()
        for row in ROWS:
            bench.measure(row)
            bench.run()
            bench.chip.advance(PERIOD_US)
        return bench.chip.take()

    assert bytes_of_a_stream() == bytes_of_a_stream()


def ask(bench: Bench, command: str) -> str:
    bench.transport.write(command.encode() + b"\n")
    return bench.transport.read(5.0).decode().removeprefix("[ml] ")
