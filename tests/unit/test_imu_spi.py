"""The sensors that the emulated board has on its SPI: registers, FIFO and interrupt, and what a wire needs."""

from __future__ import annotations

from typing import Any

import pytest
from rp2040py.simulator import Simulator

from stinger.errors import InputError
from stinger_virtual.imu import Icm42688p, Imu, Lsm6dsox
from stinger_virtual.spi import CHIP_SELECT, CLOCK, INT1, MISO, MOSI, wire

ICM_SETTINGS = {0x14: 0x07, 0x4C: 0x70, 0x54: 0x21, 0x60: 1, 0x5F: 0x27, 0x64: 0x60, 0x65: 0x04, 0x16: 0x40, 0x4E: 0x0F}
LSM_SETTINGS = {0x12: 0x44, 0x19: 0x20, 0x07: 3, 0x09: 0x44, 0x0D: 0x08, 0x10: 0x44, 0x11: 0x4C, 0x0A: 0x46}
ICM_IDENTITY, LSM_IDENTITY = 0x75, 0x0F


def write(imu: Imu, address: int, *values: int) -> None:
    imu.select(selected=True)
    for byte in (address, *values):
        imu.exchange(byte)
    imu.select(selected=False)


def read(imu: Imu, address: int, count: int = 1) -> bytes:
    imu.select(selected=True)
    imu.exchange(address | 0x80)
    data = bytes(imu.exchange(0) for _ in range(count))
    imu.select(selected=False)
    return data


def running(chip: type[Imu], **changes: int) -> Imu:
    imu = chip()
    settings = ICM_SETTINGS if chip is Icm42688p else LSM_SETTINGS
    for address, value in {**settings, **{int(k, 16): v for k, v in changes.items()}}.items():
        write(imu, address, value)
    return imu


def test_each_is_known_by_its_identity():
    assert read(Icm42688p(), ICM_IDENTITY) == b"\x47"
    assert read(Lsm6dsox(), LSM_IDENTITY) == b"\x6c"
    for imu, address in ((Icm42688p(), ICM_IDENTITY), (Lsm6dsox(), LSM_IDENTITY)):
        before = read(imu, address)
        write(imu, address, 0x12)
        assert read(imu, address) == before


def test_bursts_go_on_to_the_next_register():
    imu = Icm42688p()
    write(imu, 0x5F, 0x07, 0x34, 0x02)
    assert read(imu, 0x5F, 3) == b"\x07\x34\x02"


def test_other_banks_of_the_icm_hold_nothing_of_ours():
    imu = Icm42688p()
    write(imu, 0x76, 1)
    assert read(imu, ICM_IDENTITY) == b"\0"
    write(imu, 0x4E, 0x0F)
    write(imu, 0x76, 0)
    assert read(imu, 0x4E) == b"\0"


@pytest.mark.parametrize("chip", [Icm42688p, Lsm6dsox])
def test_measures_nothing_before_it_is_set_up_and_after_a_reset(chip: type[Imu]):
    assert not chip().push(0, [1])
    imu = running(chip)
    assert imu.push(0, [1])
    assert imu.queued == 1
    write(imu, *((0x11, 1) if chip is Icm42688p else (0x12, 1)))
    assert (imu.queued, imu.sample_us, imu.interrupt) == (0, None, False)


def test_rates():
    assert running(Icm42688p).sample_us == 1000  # as after a reset
    assert running(Icm42688p, **{"4F": 8, "50": 8}).sample_us == 10_000
    assert running(Icm42688p, **{"4F": 8}).sample_us is None  # only one of the two
    assert running(Lsm6dsox).sample_us == 9615
    assert running(Lsm6dsox, **{"09": 0x55}).sample_us is None


def test_a_packet_of_the_icm():
    imu = running(Icm42688p)
    imu.push(1_600_000, [1, -2, 300, -32768, 32767, 0])
    assert read(imu, 0x2D, 3) == bytes([0x14, 0, 1])  # reset done, watermark; one record
    packet = read(imu, 0x30, 16)
    assert packet == bytes.fromhex("68 0001 fffe 012c 8000 7fff 0000 00 e360")
    assert 0xE360 == 1_600_000 * 15 // 16 % 65536
    assert read(imu, 0x2D, 3) == bytes(3)
    assert read(imu, 0x30) == b"\xff"


def test_words_of_the_lsm():
    imu = running(Lsm6dsox)
    imu.push(25_000_000, [1, -2, 300, -32768, 32767, 0])
    assert read(imu, 0x3A, 2) == bytes([3, 0x80])
    words = read(imu, 0x78, 21)  # over the end of a word the next begins
    assert words[1:7] == bytes.fromhex("0080 ff7f 0000")
    assert words[8:14] == bytes.fromhex("0100 feff 2c01")
    assert words[15:21] == (1_000_000).to_bytes(4, "little") + b"\0\0"
    assert [words[i] >> 3 for i in (0, 7, 14)] == [1, 2, 4]
    assert len({words[i] >> 1 & 3 for i in (0, 7, 14)}) == 1
    assert all(words[i].bit_count() % 2 == 0 for i in (0, 7, 14))
    assert read(imu, 0x3A, 2) == bytes(2)


@pytest.mark.parametrize(
    ("chip", "changes", "values"),
    [
        (Icm42688p, {"50": 0x06}, [1000, 1000]),
        (Icm42688p, {"50": 0x26}, [2000, 1000]),  # +-8 g
        (Icm42688p, {"50": 0x66}, [8000, 1000]),
        (Icm42688p, {"4F": 0x26}, [1000, 2000]),  # +-1000 degrees a second
        (Icm42688p, {"4F": 0xE6}, [1000, 32767]),
        (Lsm6dsox, {}, [1000, 1000]),
        (Lsm6dsox, {"10": 0x40}, [8000, 1000]),  # +-2 g
        (Lsm6dsox, {"10": 0x48}, [4000, 1000]),
        (Lsm6dsox, {"10": 0x4C}, [2000, 1000]),
        (Lsm6dsox, {"11": 0x40}, [1000, 8000]),  # +-250 degrees a second
        (Lsm6dsox, {"11": 0x42}, [1000, 16000]),
    ],
)
def test_ranges(chip: type[Imu], changes: dict[str, int], values: list[int]):
    imu = running(chip, **changes)
    imu.push(0, [1000, 0, 0, 1000, 0, 0])
    if chip is Icm42688p:
        data = read(imu, 0x30, 16)
        got = [int.from_bytes(data[i : i + 2], "big", signed=True) for i in (1, 7)]
    else:
        data = read(imu, 0x78, 14)
        got = [int.from_bytes(data[i : i + 2], "little", signed=True) for i in (8, 1)]
    assert got == values


@pytest.mark.parametrize("chip", [Icm42688p, Lsm6dsox])
def test_the_interrupt_tells_of_samples(chip: type[Imu]):
    imu = running(chip)
    levels: list[bool] = []
    imu.on_interrupt = levels.append
    imu.push(0, [1])
    imu.push(10_000, [1])
    assert levels == [True]
    if chip is Icm42688p:
        read(imu, 0x2D)  # latched until then
    else:
        read(imu, 0x78, 42)
    assert levels == [True, False]
    imu.push(20_000, [1])
    assert levels == [True, False, True]


def test_the_icm_has_no_interrupt_before_a_bit_is_cleared():
    imu = running(Icm42688p, **{"64": 0x10})
    imu.push(0, [1])
    assert not imu.interrupt


@pytest.mark.parametrize("chip", [Icm42688p, Lsm6dsox])
def test_a_full_fifo_keeps_the_newest_and_says_so(chip: type[Imu]):
    imu = running(chip)
    for i in range(imu.capacity + 10):
        imu.push(i * 10_000, [i])
    assert imu.lost in (9, 10)  # the LSM6DSOX holds two words more than whole samples
    assert imu.queued == imu.capacity
    if chip is Icm42688p:
        assert read(imu, 0x2D)[0] & 0x02
        assert not read(imu, 0x2D)[0] & 0x02
        assert read(imu, 0x30, 3)[1:] == (10).to_bytes(2, "big")
    else:
        assert read(imu, 0x3B)[0] & 0x08
        assert not read(imu, 0x3B)[0] & 0x08


def test_more_channels_than_it_has_are_refused():
    with pytest.raises(InputError, match="a sample of 7 channels, the ICM-42688-P has 6; give fewer"):
        running(Icm42688p).push(0, [0] * 7)


SPI0, IO_BANK0, SIO = 0x4003C000, 0x40014000, 0xD0000000


def chip_with(imu: Imu | None, *, leave_out: str = "") -> Any:
    """An RP2040 whose SPI is set up by register writes as firmware makes them, all but one."""
    chip = Simulator().rp2040
    wire(chip, imu)
    pins = {MISO: 1, CLOCK: 1, MOSI: 1, CHIP_SELECT: 5}
    for pin, function in pins.items():
        if leave_out != f"pin {pin}":
            chip.write_uint32(IO_BANK0 + 4 + 8 * pin, function)
    chip.write_uint32(SIO + 0x14, 1 << CHIP_SELECT)
    chip.write_uint32(SIO + 0x24, 1 << CHIP_SELECT)
    chip.write_uint32(SPI0 + 0x00, 0x0047 if leave_out == "mode" else 0x0003 if leave_out == "bits" else 0x0707)
    chip.write_uint32(SPI0 + 0x10, 0 if leave_out == "clock" else 2)
    chip.write_uint32(SPI0 + 0x04, 0 if leave_out == "enable" else 2)
    if leave_out != "select":
        chip.write_uint32(SIO + 0x18, 1 << CHIP_SELECT)
    return chip


def ask_identity(chip: Any, address: int) -> int:
    answer = 0
    for byte in (address | 0x80, 0):
        chip.write_uint32(SPI0 + 0x08, byte)
        answer = chip.read_uint32(SPI0 + 0x08)
    return int(answer)


def test_a_sensor_answers_over_the_chips_registers():
    assert ask_identity(chip_with(Icm42688p()), ICM_IDENTITY) == 0x47
    assert ask_identity(chip_with(Lsm6dsox()), LSM_IDENTITY) == 0x6C


@pytest.mark.parametrize("what", ["pin 16", "pin 18", "pin 19", "pin 17", "mode", "bits", "clock", "enable", "select"])
def test_nobody_answers_without(what: str):
    assert ask_identity(chip_with(Icm42688p(), leave_out=what), ICM_IDENTITY) != 0x47


def test_nobody_answers_where_nothing_is():
    assert ask_identity(chip_with(None), ICM_IDENTITY) == 0xFF


def test_nobody_follows_a_clock_that_is_too_fast():
    chip = chip_with(Lsm6dsox())
    chip.write_uint32(SPI0, 0x0007)  # 62.5 MHz
    assert ask_identity(chip, LSM_IDENTITY) == 0xFF


def test_the_interrupt_reaches_its_pin():
    imu = running(Lsm6dsox)
    chip = chip_with(imu)
    chip.write_uint32(0x4001C004 + 4 * INT1, 0x46)
    assert not chip.gpio_values >> INT1 & 1
    imu.push(0, [1])
    assert chip.gpio_values >> INT1 & 1
