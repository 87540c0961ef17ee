"""Six-axis sensors as their SPI sees them: registers, and a FIFO that samples are pushed into.

What a chip measures, and when, is up to whoever pushes; the chip has the registers, the FIFO, the clock and the
interrupt pin of the real one, as far as the firmware uses them. Register numbers and formats are from the datasheets.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import ClassVar

from stinger.errors import InputError

CHANNELS = 6

_READ = 0x80
_U32 = 0xFFFFFFFF


def _no_pin(_high: bool) -> None:
    """INT1 is not connected."""


class Imu(ABC):
    """A sensor behind SPI: the first byte after chip select is an address, the rest are data from there on.

    Attributes:
        name: Of the chip.
        max_hz: The fastest clock that it follows.
        who_am_i: Address and contents of the register by which it is known.
        capacity: Samples that its FIFO holds.
        lost: Samples that were overwritten before anybody read them.
        on_interrupt: Called with the level of its pin INT1 when that changes.
    """

    name: ClassVar[str]
    max_hz: ClassVar[int]
    who_am_i: ClassVar[tuple[int, int]]
    capacity: ClassVar[int]

    def __init__(self) -> None:
        self.lost = 0
        self.on_interrupt: Callable[[bool], None] = _no_pin
        self._registers: dict[int, int] = {}
        self._address: int | None = None
        self._write = False
        self._last_us: int | None = None
        self._elapsed_us = 0
        self._epoch_us = 0
        self._pin = False
        self.lose_power()

    @property
    def interrupt(self) -> bool:
        """The level of INT1."""
        return self._pin

    @property
    @abstractmethod
    def queued(self) -> int:
        """Samples in the FIFO."""

    @property
    @abstractmethod
    def sample_us(self) -> int | None:
        """From one sample to the next with the settings that it has; None when it does not measure."""

    def lose_power(self) -> None:
        """And have it again: settings and samples are gone, and its clock begins anew."""
        address, value = self.who_am_i
        self._registers = self._after_reset() | {address: value}
        self._epoch_us = self._elapsed_us
        self._flush()
        self._update()

    def push(self, t_us: int, values: Sequence[int]) -> bool:
        """Measure: a sample gets into the FIFO, over the oldest if that is full.

        Args:
            t_us: When, in any clock of 32 bits; the sensor's own follows its steps.
            values: int16, accelerometer first, in LSB at ±16 g and ±2000 °/s; what is missing is 0.

        Returns:
            False when its settings are not such that it measures.

        Raises:
            InputError: There are too many values.
        """
        if len(values) > CHANNELS:
            raise InputError(f"a sample of {len(values)} channels, the {self.name} has {CHANNELS}; give fewer")
        self._elapsed_us += t_us if self._last_us is None else (t_us - self._last_us) & _U32
        self._last_us = t_us
        if self.sample_us is None:
            return False
        padded = [*values, *[0] * (CHANNELS - len(values))]
        factors = self._factors()
        scaled = [_int16(int(v) * factors[i // 3]) for i, v in enumerate(padded)]
        self._store_sample(self._elapsed_us - self._epoch_us, scaled)
        self._update()
        return True

    def select(self, *, selected: bool) -> None:
        """Chip select changed."""
        del selected
        self._address = None

    def exchange(self, value: int) -> int:
        """One byte each way."""
        if self._address is None:
            self._address, self._write = value & 0x7F, not value & _READ
            return 0xFF
        address = self._address
        if self._write:
            self._address = address + 1
            if address != self.who_am_i[0]:
                self._store(address, value)
                self._update()
            return 0xFF
        loaded = self._load(address)
        self._address = self._following(address)
        self._update()
        return loaded

    def _after_reset(self) -> dict[int, int]:
        """Registers that are not 0."""
        return {}

    def _store(self, address: int, value: int) -> None:
        self._registers[address] = value

    def _following(self, address: int) -> int:
        return address + 1

    def _get(self, address: int) -> int:
        return self._registers.get(address, 0)

    def _update(self) -> None:
        pin = self._int1()
        if pin != self._pin:
            self._pin = pin
            self.on_interrupt(pin)

    @abstractmethod
    def _load(self, address: int) -> int: ...

    @abstractmethod
    def _factors(self) -> tuple[int, int]:
        """By how much values of accelerometer and gyroscope are larger than at ±16 g and ±2000 °/s."""

    @abstractmethod
    def _store_sample(self, t_us: int, values: list[int]) -> None: ...

    @abstractmethod
    def _flush(self) -> None: ...

    @abstractmethod
    def _int1(self) -> bool: ...


class Icm42688p(Imu):
    """TDK ICM-42688-P (DS-000347): packets of 16 bytes, big-endian, accelerometer first, times in 32/30 µs."""

    name = "ICM-42688-P"
    max_hz = 24_000_000
    who_am_i = (0x75, 0x47)
    capacity = 128

    _bytes: deque[int]
    _status: int
    _RATES: ClassVar = {3: 125, 4: 250, 5: 500, 6: 1000, 15: 2000, 7: 5000, 8: 10_000, 9: 20_000, 10: 40_000}

    @property
    def queued(self) -> int:
        """Samples in the FIFO."""
        return (len(self._bytes) + 15) // 16

    @property
    def sample_us(self) -> int | None:
        """From one sample to the next, when both sensors run in low-noise mode and feed the FIFO at one rate."""
        rate = self._get(0x4F) & 0x0F
        both = self._get(0x4E) & 0x0F == 0x0F and self._get(0x5F) & 0x03 == 0x03
        streams = self._get(0x16) >> 6 == 1
        same = self._get(0x50) & 0x0F == rate
        return self._RATES.get(rate) if both and streams and same else None

    def _after_reset(self) -> dict[int, int]:
        return {0x4C: 0x30, 0x4F: 0x06, 0x50: 0x06, 0x54: 0x23, 0x64: 0x10, 0x65: 0x10}

    def _store(self, address: int, value: int) -> None:
        if address == 0x76:
            self._registers[address] = value & 7
        elif self._get(0x76):
            return  # another bank, which has nothing that we need
        elif (address, value & 1) == (0x11, 1):
            self.lose_power()
        else:
            self._registers[address] = value

    def _load(self, address: int) -> int:
        if self._get(0x76) and address != 0x76:
            return 0
        if address == 0x2D:
            status, self._status = self._status, 0
            return status
        if address in (0x2E, 0x2F):
            count = self.queued if self._get(0x4C) & 0x40 else len(self._bytes)
            return count >> 8 if address == 0x2E else count & 0xFF
        if address == 0x30:
            return self._bytes.popleft() if self._bytes else 0xFF
        return self._get(address)

    def _following(self, address: int) -> int:
        return address if address == 0x30 else address + 1

    def _factors(self) -> tuple[int, int]:
        return 1 << (self._get(0x50) >> 5), 1 << (self._get(0x4F) >> 5)

    def _store_sample(self, t_us: int, values: list[int]) -> None:
        ticks = -(-t_us * 15 // 16) & 0xFFFF
        stamped = self._get(0x54) & 1
        words = b"".join(v.to_bytes(2, "big", signed=True) for v in values)
        while len(self._bytes) > 16 * (self.capacity - 1):
            self.lost += 1
            for _ in range(len(self._bytes) % 16 or 16):
                self._bytes.popleft()
        self._bytes += bytes([0x68 if stamped else 0x60]) + words + b"\0" + (ticks * stamped).to_bytes(2, "big")
        watermark = self._get(0x60) | (self._get(0x61) & 0x0F) << 8
        level = self.queued if self._get(0x4C) & 0x40 else len(self._bytes)
        self._status |= 0x04 if watermark and level >= watermark else 0
        self._status |= 0x02 if self.queued == self.capacity else 0

    def _flush(self) -> None:
        self._bytes = deque()
        self._status = 0x10  # it has been reset

    def _int1(self) -> bool:
        # Latched and active high, which is asked for; and it does not work before a bit has been cleared.
        usable = self._get(0x14) & 0x07 == 0x07 and not self._get(0x64) & 0x10
        return bool(usable and self._status & self._get(0x65))


class Lsm6dsox(Imu):
    """ST LSM6DSOX (DS12814, AN5272): tagged words of 7 bytes, little-endian, times in 25 µs."""

    name = "LSM6DSOX"
    max_hz = 10_000_000
    who_am_i = (0x0F, 0x6C)
    capacity = 170

    _words: deque[bytes]
    _count: int
    _overrun: int
    _RATES: ClassVar = {
        **{1: 76_923, 2: 38_462, 3: 19_231, 4: 9615, 5: 4808},
        **{6: 2404, 7: 1200, 8: 600, 9: 300, 10: 150},
    }
    _WORDS = 512
    _RANGES: ClassVar = ((8, 1, 4, 2), (8, 4, 2, 1))

    @property
    def queued(self) -> int:
        """Samples in the FIFO."""
        return len(self._words) // 3

    @property
    def sample_us(self) -> int | None:
        """From one sample to the next, when both sensors and their times feed the FIFO at one rate."""
        rate = self._get(0x10) >> 4
        same = self._get(0x11) >> 4 == rate and self._get(0x09) == rate << 4 | rate
        streams = self._get(0x0A) & 0xC7 == 0x46 and self._get(0x19) & 0x20
        return self._RATES.get(rate) if same and streams else None

    def _after_reset(self) -> dict[int, int]:
        return {0x12: 0x04}

    def _store(self, address: int, value: int) -> None:
        if address == 0x12 and value & 1:
            self.lose_power()
        else:
            self._registers[address] = value

    def _load(self, address: int) -> int:
        if address == 0x3A:
            return len(self._words) & 0xFF
        if address == 0x3B:
            full = len(self._words) == self._WORDS
            status = (0x80 if self._above_watermark() else 0) | (0x20 if full else 0) | self._overrun
            self._overrun = 0
            return status | len(self._words) >> 8
        if 0x78 <= address <= 0x7E:
            if not self._words:
                return 0
            byte = self._words[0][address - 0x78]
            if address == 0x7E:
                self._words.popleft()
            return byte
        return self._get(address)

    def _following(self, address: int) -> int:
        return 0x78 if address == 0x7E else address + 1

    def _factors(self) -> tuple[int, int]:
        accelerometer = self._RANGES[0][self._get(0x10) >> 2 & 3]
        gyroscope = 16 if self._get(0x11) & 2 else self._RANGES[1][self._get(0x11) >> 2 & 3]
        return accelerometer, gyroscope

    def _store_sample(self, t_us: int, values: list[int]) -> None:
        self._count = (self._count + 1) % 4
        time = (t_us // 25 & _U32).to_bytes(4, "little") + b"\0\0"
        words = [b"".join(v.to_bytes(2, "little", signed=True) for v in part) for part in (values[3:], values[:3])]
        for tag, word in zip((1, 2, 4), (*words, time), strict=True):
            head = tag << 3 | self._count << 1
            if len(self._words) == self._WORDS:
                gone = self._words.popleft()
                self.lost += gone[0] >> 3 == 1  # a sample begins with this word
                self._overrun = 0x48
            self._words.append(bytes([head | head.bit_count() & 1]) + word)

    def _above_watermark(self) -> bool:
        watermark = self._get(0x07) | (self._get(0x08) & 1) << 8
        return 0 < watermark <= len(self._words)

    def _flush(self) -> None:
        self._words = deque()
        self._count = 0
        self._overrun = 0

    def _int1(self) -> bool:
        return bool(self._get(0x0D) & 0x08) and self._above_watermark()


def _int16(value: int) -> int:
    return max(-32768, min(32767, value))
