"""The Pico board where there is no Pico SDK: its sensors' drivers run, against registers made here; all of it compiles.

That the firmware works is shown with the SDK, by tests/hardware/prove_pico_sdk.py.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import board_model as model
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pico_sensors import Icm42688p, Lsm6dsox, Sensor

from stinger_export.toolchain import STRICT, compile_host, cross_compiler, device_sources

BOARD = device_sources() / "boards" / "pico_sdk"
STUBS = Path(__file__).parent.parent / "stubs" / "pico_sdk"
STINGER_PERIOD_US = 10_000
CHANNELS = 6

TRANSFER = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint8), ctypes.POINTER(ctypes.c_uint8), ctypes.c_size_t
)
WAIT = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32)


class Bus(ctypes.Structure):
    _fields_ = (("transfer", TRANSFER), ("wait_us", WAIT), ("context", ctypes.c_void_p))


START = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.POINTER(Bus), ctypes.c_uint32)
READ = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.POINTER(Bus), ctypes.POINTER(ctypes.c_int16))


class Driver(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("settle_us", ctypes.c_uint32), ("start", START), ("read", READ))


class Wired:
    """A bus with a sensor on it, or nothing, and a record of what was sent and waited."""

    def __init__(self, sensor: Sensor | None) -> None:
        self.sent: list[bytes] = []
        self.waited_us = 0
        self.sensor = sensor
        self.bus = Bus(TRANSFER(self._transfer), WAIT(self._wait), None)

    def _transfer(self, _context: int, send: Sequence[int], receive: list[int], size: int) -> None:
        self.sent.append(bytes(send[i] for i in range(size)))
        if self.sensor is not None:
            self.sensor.select(selected=True)
        for i in range(size):
            receive[i] = 0xFF if self.sensor is None else self.sensor.exchange(send[i], self.waited_us)
        if self.sensor is not None:
            self.sensor.select(selected=False)

    def _wait(self, _context: int, us: int) -> None:
        self.waited_us += us

    def written(self, address: int) -> int:
        return next(data[1] for data in reversed(self.sent) if data[0] == address)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    path = tmp_path_factory.mktemp("imu") / "imu.so"
    compile_host([BOARD / "imu.c", BOARD / "icm42688p.c", BOARD / "lsm6dsox.c"], path, include=[BOARD])
    built = ctypes.CDLL(str(path))
    built.imu_detect.restype = ctypes.POINTER(Driver)
    built.imu_detect.argtypes = (ctypes.POINTER(Bus), ctypes.c_uint32)
    return built


def detect(library: ctypes.CDLL, wired: Wired, period_us: int = STINGER_PERIOD_US) -> Driver | None:
    found = library.imu_detect(ctypes.byref(wired.bus), period_us)
    return found.contents if found else None


def read(driver: Driver, wired: Wired) -> list[int] | None:
    value = (ctypes.c_int16 * CHANNELS)()
    return list(value) if driver.read(ctypes.byref(wired.bus), value) else None


def still(_micros: float) -> Sequence[int]:
    return (1, -2, 3, -4, 5, -6)


@pytest.mark.parametrize(("sensor", "name"), [(Icm42688p, b"ICM-42688-P"), (Lsm6dsox, b"LSM6DSOX")])
def test_finds_the_sensor_that_is_there(library: ctypes.CDLL, sensor: Callable[[object], Sensor], name: bytes) -> None:
    wired = Wired(sensor(still))
    driver = detect(library, wired)
    assert driver is not None
    assert driver.name == name
    assert 0 < wired.waited_us < 100_000


class Stranger(Icm42688p):
    identity = (0x75, 0x68)


class Ground(Sensor):
    identity = (0x7F, 0)
    reset = (0x7F, 0)

    def _load(self, address: int, micros: float) -> int:
        return 0


@pytest.mark.parametrize("sensor", [None, Stranger(still), Ground(still)], ids=["open", "another", "ground"])
def test_takes_nothing_else_for_a_sensor(library: ctypes.CDLL, sensor: Sensor | None) -> None:
    wired = Wired(sensor)
    assert detect(library, wired) is None
    assert all(data[0] & 0x80 or data[0] == 0x76 for data in wired.sent), "wrote to a chip it does not know"


@pytest.mark.parametrize(
    ("sensor", "rate_at", "period_us", "rate"),
    [
        (Icm42688p, 0x4F, STINGER_PERIOD_US, 0x06),  # 1 kHz: 10 samples in 10 ms
        (Icm42688p, 0x50, STINGER_PERIOD_US, 0x06),
        (Icm42688p, 0x4F, 16_949, 0x0F),  # 500 Hz: 8.5
        (Icm42688p, 0x4F, 625, 0x03),  # 8 kHz is the fastest used
        (Icm42688p, 0x4F, 1_000_000, 0x09),
        (Lsm6dsox, 0x10, STINGER_PERIOD_US, 0x74),  # 833 Hz, +-16 g
        (Lsm6dsox, 0x11, STINGER_PERIOD_US, 0x7C),  # 833 Hz, +-2000 degrees a second
        (Lsm6dsox, 0x11, 625, 0xAC),
        (Lsm6dsox, 0x11, 1_000_000, 0x3C),
    ],
)
def test_sets_ranges_and_a_rate_well_above_the_models(
    library: ctypes.CDLL, sensor: Callable[[object], Sensor], rate_at: int, period_us: int, rate: int
) -> None:
    wired = Wired(sensor(still))
    assert detect(library, wired, period_us) is not None
    assert wired.written(rate_at) == rate


class Deaf(Lsm6dsox):
    """Answers to its name but does not take settings, as over a bad wire to its data pin."""

    def _store(self, address: int, value: int) -> None:
        pass


def test_a_sensor_that_takes_no_settings_is_none(library: ctypes.CDLL) -> None:
    assert detect(library, Wired(Deaf(still))) is None


@given(st.lists(st.integers(-32768, 32767), min_size=CHANNELS, max_size=CHANNELS))
def test_icm42688p_gives_its_values_as_they_are(library: ctypes.CDLL, values: list[int]) -> None:
    wired = Wired(Icm42688p(lambda _micros: values))
    driver = detect(library, wired)
    assert driver is not None
    assert read(driver, wired) == values


@given(st.lists(st.integers(-32768, 32767), min_size=CHANNELS, max_size=CHANNELS))
def test_lsm6dsox_turns_its_gyroscope_into_the_stingers_units(library: ctypes.CDLL, values: list[int]) -> None:
    wired = Wired(Lsm6dsox(lambda _micros: values))
    driver = detect(library, wired)
    assert driver is not None
    got = read(driver, wired)
    assert got is not None
    assert got[:3] == values[3:]
    for raw, scaled in zip(values[:3], got[3:], strict=True):
        degrees = raw * 0.070
        assert abs(scaled - max(-32768.0, min(32767.0, degrees * 16.4))) <= 0.5 + 1e-9


@pytest.mark.parametrize("sensor", [Icm42688p, Lsm6dsox])
def test_no_sample_from_a_sensor_that_restarted_or_went(
    library: ctypes.CDLL, sensor: Callable[[object], Sensor]
) -> None:
    wired = Wired(sensor(still))
    driver = detect(library, wired)
    assert driver is not None
    assert read(driver, wired) is not None
    wired.sensor = sensor(still)  # power came back: no settings
    assert read(driver, wired) is None
    wired.sensor = None
    assert read(driver, wired) is None


def test_the_board_compiles_without_a_warning(tmp_path: Path) -> None:
    folder = model.write_model(tmp_path / "model")
    common = device_sources() / "boards" / "common"
    include = [STUBS, BOARD, common, device_sources() / "stinger_ml", folder]
    sources = sorted(BOARD.glob("*.c"))
    assert len(sources) >= 5
    compiler = cross_compiler()
    target = (
        ("-mcpu=cortex-m0plus", "-mthumb")
        if compiler.kind == "gcc"
        else ("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m0plus")
    )
    for source in sources:
        strict = [flag for flag in STRICT if flag != "-std=c99"]
        arguments = [*target, "-ffreestanding", "-std=c11", *strict, '-DSTINGER_LIMITS_H="app_limits.h"']
        arguments += [f"-I{path}" for path in include]
        compiler.run([*arguments, "-c", str(source), "-o", str(tmp_path / "out.o")], what=source.name)


def test_the_proof_says_what_it_needs(tmp_path: Path) -> None:
    script = Path(__file__).parent.parent / "hardware" / "prove_pico_sdk.py"
    environment = {**os.environ, "PICO_SDK_PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "set PICO_SDK_PATH to a Pico SDK 2.x with its submodule lib/tinyusb\n"
    assert script.name in (script.parents[2] / "docs" / "pico-sdk.md").read_text()
