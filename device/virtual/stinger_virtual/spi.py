"""A sensor wired to the emulated chip's first SPI: it answers when the firmware has set up what a real one needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stinger_virtual.imu import Imu

#: As `device/boards/pico_sdk` and `emulated_rp2040` have it.
MISO, CHIP_SELECT, CLOCK, MOSI, INT1 = 16, 17, 18, 19, 20

_FUNCTION_SPI = 1
_LOW = 0  # of the emulator's GPIOPinState
_NOBODY = 0xFF  # the line is pulled up


def wire(chip: Any, imu: Imu | None, *, interrupt: bool = True, on_select: Callable[[], None] | None = None) -> None:
    """Connect a sensor, or nothing, to the chip's SPI0.

    Args:
        chip: The emulated RP2040.
        imu: The sensor.
        interrupt: Connect its pin INT1, too.
        on_select: Called before the sensor notices that it is selected.
    """
    spi = chip.spi[0]
    spi.on_transmit = lambda value: spi.complete_transmit(_exchange(chip, imu, value))
    if imu is None:
        return
    sensor = imu

    def select(state: int, _before: int) -> None:
        if state == _LOW and on_select is not None:
            on_select()
        sensor.select(selected=state == _LOW)

    chip.gpio[CHIP_SELECT].add_listener(select)
    if interrupt:
        chip.gpio[INT1].set_input_value(False)
        sensor.on_interrupt = chip.gpio[INT1].set_input_value


def _exchange(chip: Any, imu: Imu | None, value: int) -> int:
    """One byte: nobody answers unless pins, mode and clock are right and the sensor is selected."""
    spi = chip.spi[0]
    connected = all(chip.gpio[pin].function_select == _FUNCTION_SPI for pin in (MISO, CLOCK, MOSI))
    if imu is None or not connected or not spi.enabled or spi.data_bits != 8 or spi.spi_mode not in (0, 3):
        return _NOBODY
    if not 0 < spi.clock_frequency <= imu.max_hz or chip.gpio[CHIP_SELECT].value != _LOW:
        return _NOBODY
    return imu.exchange(value)
