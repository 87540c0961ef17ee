"""The drivers of the six-axis sensors, compiled for this computer, against the registers that the emulator has."""

from __future__ import annotations

import ctypes
import random
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stinger_export.toolchain import compile_host, device_sources
from stinger_virtual.imu import CHANNELS, Icm42688p, Imu, Lsm6dsox

COMMON = device_sources() / "boards" / "common"
SOURCES = ("imu", "icm42688p", "lsm6dsox")
PERIOD_US = 10_000
SETTLE_US = 100_000
SILENT_US = 500_000
U32 = 1 << 32

TRANSFER = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint8), ctypes.POINTER(ctypes.c_uint8), ctypes.c_size_t
)
MICROS = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_void_p)


class Bus(ctypes.Structure):
    _fields_ = (("transfer", TRANSFER), ("micros", MICROS), ("context", ctypes.c_void_p))


class DriverStruct(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p),)


class ImuStruct(ctypes.Structure):
    _fields_ = (
        ("bus", ctypes.POINTER(Bus)),
        ("driver", ctypes.POINTER(DriverStruct)),
        ("rest", ctypes.c_uint32 * 16),  # more than there is
    )


class SampleStruct(ctypes.Structure):
    _fields_ = (("t_us", ctypes.c_uint32), ("gap", ctypes.c_bool), ("value", ctypes.c_int16 * CHANNELS))


@dataclass
class Taken:
    t_us: int
    gap: bool
    values: list[int]


class Wired:
    """A board with a sensor on its SPI, or nothing; its clock goes on with each look at it."""

    def __init__(self, library: ctypes.CDLL, imu: Imu | None) -> None:
        self.sent: list[bytes] = []
        self.now_us = 0
        self.imu = imu
        self._library = library
        self._bus = Bus(TRANSFER(self._transfer), MICROS(self._micros), None)
        self._state = ImuStruct()

    def start(self, period_us: int = PERIOD_US, oversampling: int = 1) -> str | None:
        if not self._library.imu_start(ctypes.byref(self._state), ctypes.byref(self._bus), period_us, oversampling):
            return None
        return self._state.driver.contents.name.decode()

    def settle(self) -> None:
        self.now_us += SETTLE_US

    def take(self) -> Taken | None:
        sample = SampleStruct()
        if not self._library.imu_take(ctypes.byref(self._state), ctypes.byref(sample)):
            return None
        return Taken(sample.t_us, sample.gap, list(sample.value))

    def take_all(self) -> list[Taken]:
        return list(iter(self.take, None))

    def written(self, address: int) -> int:
        return next(data[1] for data in reversed(self.sent) if data[0] == address)

    def _transfer(self, _context: int, send: Sequence[int], receive: list[int], size: int) -> None:
        self.sent.append(bytes(send[i] for i in range(size)))
        if self.imu is not None:
            self.imu.select(selected=True)
        for i in range(size):
            receive[i] = 0xFF if self.imu is None else self.imu.exchange(send[i])
        if self.imu is not None:
            self.imu.select(selected=False)

    def _micros(self, _context: int) -> int:
        self.now_us += 5
        return self.now_us % U32


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    path = tmp_path_factory.mktemp("imu") / "imu.so"
    compile_host([COMMON / f"{name}.c" for name in SOURCES], path, include=[COMMON])
    built = ctypes.CDLL(str(path))
    built.imu_start.restype = built.imu_take.restype = ctypes.c_bool
    built.imu_start.argtypes = (ctypes.POINTER(ImuStruct), ctypes.POINTER(Bus), ctypes.c_uint32, ctypes.c_uint32)
    built.imu_take.argtypes = (ctypes.POINTER(ImuStruct), ctypes.POINTER(SampleStruct))
    built.imu_divide.restype = ctypes.c_uint32
    built.imu_divide.argtypes = (ctypes.c_uint32, ctypes.c_uint32)
    return built


@pytest.fixture(params=[Icm42688p, Lsm6dsox])
def wired(request: pytest.FixtureRequest, library: ctypes.CDLL) -> Wired:
    """Started and settled, with nothing in the FIFO."""
    made = Wired(library, request.param())
    assert made.start() == request.param.name
    made.settle()
    return made


def scaled(raw: int) -> int:
    """70 mdps a count of the LSM6DSOX, in counts of 1/16.4 of a degree a second."""
    size = (abs(raw) * 1148 + 500) // 1000
    return max(-32768, min(32767, size if raw >= 0 else -size))


@pytest.mark.parametrize("chip", [Icm42688p, Lsm6dsox])
def test_finds_the_sensor_that_is_there(library: ctypes.CDLL, chip: Callable[[], Imu]) -> None:
    wired = Wired(library, chip())
    assert wired.start() == wired.imu.name
    assert 0 < wired.now_us < 100_000


class Stranger(Icm42688p):
    who_am_i = (0x75, 0x68)


class Ground(Icm42688p):
    def _load(self, address: int) -> int:
        return 0


@pytest.mark.parametrize("chip", [None, Stranger, Ground], ids=["open", "another", "ground"])
def test_takes_nothing_else_for_a_sensor(library: ctypes.CDLL, chip: Callable[[], Imu] | None) -> None:
    wired = Wired(library, None if chip is None else chip())
    assert wired.start() is None
    assert wired.take() is None
    assert all(data[0] & 0x80 or data[0] == 0x76 for data in wired.sent), "wrote to a chip it does not know"


@pytest.mark.parametrize(
    ("chip", "rate_at", "period_us", "oversampling", "rate"),
    [
        (Icm42688p, 0x4F, 10_000, 8, 0x06),  # 1 kHz: 10 samples in 10 ms
        (Icm42688p, 0x50, 10_000, 8, 0x06),
        (Icm42688p, 0x4F, 16_949, 8, 0x0F),  # 500 Hz: 8.5
        (Icm42688p, 0x4F, 625, 8, 0x03),  # 8 kHz is the fastest used
        (Icm42688p, 0x4F, 1_000_000, 8, 0x09),
        (Icm42688p, 0x4F, 10_000, 1, 0x08),  # 100 Hz
        (Icm42688p, 0x4F, 9_999, 1, 0x07),
        (Lsm6dsox, 0x10, 10_000, 8, 0x74),  # 833 Hz, +-16 g
        (Lsm6dsox, 0x11, 10_000, 8, 0x7C),  # 833 Hz, +-2000 degrees a second
        (Lsm6dsox, 0x09, 10_000, 8, 0x77),
        (Lsm6dsox, 0x11, 625, 8, 0xAC),
        (Lsm6dsox, 0x11, 1_000_000, 8, 0x3C),
        (Lsm6dsox, 0x11, 10_000, 1, 0x4C),  # 104 Hz
    ],
)
def test_sets_ranges_and_a_rate_above_the_models(
    library: ctypes.CDLL, chip: Callable[[], Imu], rate_at: int, period_us: int, oversampling: int, rate: int
) -> None:
    wired = Wired(library, chip())
    assert wired.start(period_us, oversampling) is not None
    assert wired.written(rate_at) == rate
    assert wired.imu.sample_us <= max(150, period_us / oversampling)


class Deaf(Lsm6dsox):
    """Answers to its name but does not take settings, as over a bad wire to its data pin."""

    def _store(self, address: int, value: int) -> None:
        pass


def test_a_sensor_that_takes_no_settings_is_none(library: ctypes.CDLL) -> None:
    assert Wired(library, Deaf()).start() is None


int16s = st.lists(st.integers(-32768, 32767), min_size=CHANNELS, max_size=CHANNELS)


@given(int16s)
def test_icm42688p_gives_its_values_as_they_are(library: ctypes.CDLL, values: list[int]) -> None:
    wired = Wired(library, Icm42688p())
    assert wired.start() is not None
    wired.settle()
    wired.imu.push(0, values)
    assert [taken.values for taken in wired.take_all()] == [values]


@given(int16s)
def test_lsm6dsox_turns_its_gyroscope_into_the_stingers_units(library: ctypes.CDLL, values: list[int]) -> None:
    wired = Wired(library, Lsm6dsox())
    assert wired.start() is not None
    wired.settle()
    wired.imu.push(0, values)
    [taken] = wired.take_all()
    assert taken.values == values[:3] + [scaled(v) for v in values[3:]]
    for raw, got in zip(values[3:], taken.values[3:], strict=True):
        assert abs(got - max(-32768.0, min(32767.0, raw * 0.070 * 16.4))) <= 0.5 + 1e-9


@given(st.integers(0, U32 - 1), st.integers(1, U32 - 1))
def test_divides(library: ctypes.CDLL, dividend: int, divisor: int) -> None:
    assert library.imu_divide(dividend, divisor) == dividend // divisor
    assert library.imu_divide(U32 - 1, 1) == U32 - 1


def test_what_waits_in_the_fifo_comes_in_order_with_its_times(wired: Wired) -> None:
    for round_ in range(3):  # the clocks wrap: that of the ICM-42688-P every 70 ms
        for i in range(40):
            n = 40 * round_ + i
            wired.imu.push(n * PERIOD_US, [n, -n, 7, 0, 0, 0])
        wired.now_us += 40 * PERIOD_US
        taken = wired.take_all()
        assert [t.t_us for t in taken] == [(40 * round_ + i) * PERIOD_US for i in range(40)]
        assert [t.values[:3] for t in taken] == [[40 * round_ + i, -40 * round_ - i, 7] for i in range(40)]
        assert not any(t.gap for t in taken)


@given(st.lists(st.integers(1, 14_000), max_size=60))
def test_times_are_the_sensors_whatever_the_steps(library: ctypes.CDLL, steps: list[int]) -> None:
    for chip, tick in ((Icm42688p, 2), (Lsm6dsox, 25)):
        wired = Wired(library, chip())
        assert wired.start() is not None
        wired.settle()
        t_us = 0
        for step in [0, *steps]:
            t_us += step
            wired.now_us += step
            wired.imu.push(t_us, [1])
            [taken] = wired.take_all()
            assert abs(taken.t_us - t_us) <= tick
            assert not taken.gap


@pytest.mark.parametrize("missing", [1, 5, 20, 700])
def test_samples_that_were_not_taken_are_a_gap_of_the_right_length(wired: Wired, missing: int) -> None:
    wired.imu.push(0, [1])
    assert wired.take_all() == [Taken(0, False, [1, 0, 0, 0, 0, 0])]
    for _ in range(missing):
        wired.now_us += PERIOD_US
        assert wired.take() is None  # the board looks for samples all the while
    wired.now_us += PERIOD_US
    wired.imu.push((missing + 1) * PERIOD_US, [2])
    [taken] = wired.take_all()
    assert taken.gap
    assert abs(taken.t_us - (missing + 1) * PERIOD_US) <= 2


def test_an_overrun_is_a_gap(wired: Wired) -> None:
    wired.imu.push(0, [0])
    wired.take_all()
    over = 30
    count = wired.imu.capacity + over
    for i in range(1, count + 1):
        wired.imu.push(i * PERIOD_US, [i])
    wired.now_us += count * PERIOD_US
    taken = wired.take_all()
    assert wired.imu.lost >= over
    assert [t.values[0] for t in taken] == list(range(count - len(taken) + 1, count + 1))
    assert len(taken) == count - wired.imu.lost
    assert [t.gap for t in taken] == [True] + [False] * (len(taken) - 1)
    assert [t.t_us for t in taken] == [t.values[0] * PERIOD_US for t in taken]
    wired.imu.push((count + 1) * PERIOD_US, [1])
    assert [t.gap for t in wired.take_all()] == [False]


@pytest.mark.parametrize("over", range(4))
def test_a_full_fifo_never_loses_in_silence(wired: Wired, over: int) -> None:
    """The LSM6DSOX overwrites words, not samples: what is left of the first is no sample."""
    count = wired.imu.capacity + over
    for i in range(count):
        wired.imu.push(i * PERIOD_US, [i])
    taken = wired.take_all()
    assert taken[0].values[0] == wired.imu.lost == count - len(taken)
    assert taken[0].gap or not wired.imu.lost


def test_nothing_of_the_time_before_it_settled(library: ctypes.CDLL) -> None:
    wired = Wired(library, Icm42688p())
    assert wired.start() is not None
    wired.imu.push(0, [1])
    assert wired.take() is None
    wired.imu.push(10_000, [2])
    wired.settle()
    assert [t.values[0] for t in wired.take_all()] == [2]


def test_a_sensor_that_lost_its_settings_gets_them_again(wired: Wired) -> None:
    wired.imu.push(0, [1])
    wired.take_all()
    wired.now_us += PERIOD_US
    wired.imu.lose_power()
    assert not wired.imu.push(PERIOD_US, [2])
    assert wired.take() is None
    wired.now_us += SILENT_US
    assert wired.take() is None
    wired.settle()
    wired.imu.push(SILENT_US + SETTLE_US, [3])
    [taken] = wired.take_all()
    assert taken.gap
    assert taken.values[0] == 3
    assert taken.t_us == pytest.approx(SILENT_US + SETTLE_US + PERIOD_US, rel=0.05), "time went on by the board's clock"


def test_a_sensor_that_is_unplugged_is_found_again(wired: Wired) -> None:
    imu, wired.imu = wired.imu, None
    wired.now_us += SILENT_US
    assert wired.take() is None
    sent = len(wired.sent)
    assert wired.take() is None
    assert len(wired.sent) <= sent + 1, "does not look for it all the time"
    imu.lose_power()
    wired.imu = imu
    wired.now_us += SILENT_US
    assert wired.take() is None
    wired.settle()
    imu.push(0, [5])
    assert [t.values[0] for t in wired.take_all()] == [5]


def test_a_silent_sensor_with_its_settings_is_left_alone(wired: Wired) -> None:
    wired.now_us += 3 * SILENT_US
    wired.sent.clear()
    assert wired.take() is None
    assert all(data[0] & 0x80 for data in wired.sent)
    wired.imu.push(0, [5])
    assert [t.values[0] for t in wired.take_all()] == [5]


def answers_of(library: ctypes.CDLL, chip: Imu, samples: int, rng: random.Random) -> bytes:
    """What a chip answers to a board that starts and reads it, with some bytes wrong."""
    heard = bytearray()

    class Recorded(Wired):
        def _transfer(self, context: int, send: Sequence[int], receive: list[int], size: int) -> None:
            super()._transfer(context, send, receive, size)
            heard.extend(receive[i] for i in range(size))

    wired = Recorded(library, chip)
    assert wired.start() is not None
    wired.settle()
    for i in range(samples):
        chip.push(i * PERIOD_US, [rng.randrange(-32768, 32768) for _ in range(CHANNELS)])
        wired.take()
    for _ in range(len(heard) // 200):
        heard[rng.randrange(200, len(heard))] = rng.randrange(256)
    return bytes(heard)


def test_the_drivers_survive_any_bytes_under_sanitizers(library: ctypes.CDLL, tmp_path: Path) -> None:
    program = tmp_path / "noise"
    sources = [Path(__file__).with_name("imu_noise.c"), *(COMMON / f"{name}.c" for name in SOURCES)]
    compile_host(
        sources, program, include=[COMMON], flags=("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    )
    rng = random.Random(4)
    inputs = [rng.randbytes(200_000), bytes(5000), b"\xff" * 5000]
    inputs += [answers_of(library, chip(), 300, rng) for chip in (Icm42688p, Lsm6dsox) for _ in range(3)]
    counted = []
    for data in inputs:
        done = subprocess.run([program], input=data, capture_output=True, check=False, timeout=60)
        assert (done.returncode, done.stderr) == (0, b"")
        counted.append([int(n) for n in done.stdout.split()])
    assert all(started and taken for started, taken in counted[3:])
