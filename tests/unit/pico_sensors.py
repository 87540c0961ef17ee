"""The two sensors of the Pico board as their SPI sees them, with samples from a list."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

#: Of a time in microseconds: the six values at it, in the sensor's own order and units.
Motion = Callable[[float], Sequence[int]]

_READ = 0x80


class Sensor:
    """Registers behind SPI. The first byte after chip select is an address, the rest are data from there on."""

    identity: tuple[int, int]
    reset: tuple[int, int]

    def __init__(self, motion: Motion) -> None:
        self._motion = motion
        self._registers = dict([self.identity])
        self._address: int | None = None
        self._write = False
        self._latched = b""

    def lose_power(self) -> None:
        """And have it again: all settings are gone."""
        self._registers = dict([self.identity])

    def select(self, *, selected: bool) -> None:
        """Chip select changed."""
        del selected
        self._address = None

    def exchange(self, value: int, micros: float) -> int:
        """One byte each way."""
        if self._address is None:
            self._address, self._write = value & 0x7F, not value & _READ
            return 0xFF
        address = self._address
        self._address = address + 1
        if self._write:
            self._store(address, value)
            return 0xFF
        return self._load(address, micros)

    def _store(self, address: int, value: int) -> None:
        if (address, value) == self.reset:
            self.lose_power()
        elif address != self.identity[0]:
            self._registers[address] = value

    def _load(self, address: int, micros: float) -> int:
        raise NotImplementedError


class Icm42688p(Sensor):
    """Big-endian, accelerometer first; runs once PWR_MGMT0 says so."""

    identity = (0x75, 0x47)
    reset = (0x11, 0x01)

    def _load(self, address: int, micros: float) -> int:
        if address == 0x2D:
            running = self._registers.get(0x4E) == 0x0F
            return 0x08 if running else 0x10
        if 0x1F <= address <= 0x2A:
            if address == 0x1F:
                self._latched = struct.pack(">6h", *self._motion(micros))
            return self._latched[address - 0x1F]
        return self._registers.get(address, 0)


class Lsm6dsox(Sensor):
    """Little-endian, gyroscope first; runs once both control registers have a rate."""

    identity = (0x0F, 0x6C)
    reset = (0x12, 0x01)

    def _load(self, address: int, micros: float) -> int:
        if address == 0x1E:
            return 0x03 if self._registers.get(0x10, 0) >> 4 and self._registers.get(0x11, 0) >> 4 else 0
        if 0x22 <= address <= 0x2D:
            if address == 0x22:
                self._latched = struct.pack("<6h", *self._motion(micros))
            return self._latched[address - 0x22]
        return self._registers.get(address, 0)
