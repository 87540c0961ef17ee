"""A UART for the emulator that loses nothing: its ends are buffers on this side, with bounds that the firmware sees.

The emulator's own UART drops what exceeds its 32-byte FIFO without a sign. This one has the registers that the
firmware uses (data, flags, interrupt mask) and treats a full output buffer as a full transmit FIFO.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from stinger.errors import LinkError

#: Bytes that may wait for the firmware.
INPUT_BYTES = 65536
#: Bytes that may wait for the host before the firmware sees a full FIFO.
OUTPUT_BYTES = 65536
#: What the firmware may still send then: it looks once for each message.
_OUTPUT_SLACK = 4096

_DATA = 0x00
_FLAGS = 0x18
_INTERRUPT_MASK = 0x38
_TX_EMPTY = 1 << 7
_TX_FULL = 1 << 5
_RX_EMPTY = 1 << 4
_RX_INTERRUPTS = 1 << 4 | 1 << 6


class HostUart:
    """One UART of the chip.

    Args:
        rp2040: The emulated chip; needed to raise interrupts.
        irq: The UART's interrupt number.
    """

    def __init__(self, rp2040: Any, irq: int) -> None:
        self._rp2040 = rp2040
        self._irq = irq
        self._input: deque[int] = deque()
        self._output = bytearray()
        self._mask = 0

    @property
    def room(self) -> int:
        """How many bytes `feed` would take."""
        return INPUT_BYTES - len(self._input)

    @property
    def waiting(self) -> bool:
        """True while the firmware has bytes to read."""
        return bool(self._input)

    @property
    def has_output(self) -> bool:
        """True while `take` would return something."""
        return bool(self._output)

    def feed(self, data: bytes) -> None:
        """Give the firmware bytes to read.

        Raises:
            LinkError: More than `room`; nothing is taken then.
        """
        if len(data) > self.room:
            raise LinkError(f"the emulated board has {self.room} bytes of room, not {len(data)}; let it run first")
        self._input += data
        self._update()

    def take(self) -> bytes:
        """Return and forget what the firmware has sent."""
        data = bytes(self._output)
        self._output.clear()
        return data

    def read_uint32(self, offset: int) -> int:
        """Read a register, as the emulator's bus asks."""
        if offset == _FLAGS:
            full = _TX_FULL if len(self._output) >= OUTPUT_BYTES else _TX_EMPTY
            return full if self._input else full | _RX_EMPTY
        if offset == _DATA:
            if not self._input:
                return 0
            value = self._input.popleft()
            if not self._input:
                self._update()
            return value
        return self._mask if offset == _INTERRUPT_MASK else 0

    def write_uint32(self, offset: int, value: int) -> None:
        """Write a register, as the emulator's bus asks."""
        if offset == _DATA:
            if len(self._output) < OUTPUT_BYTES + _OUTPUT_SLACK:
                self._output.append(value & 0xFF)
        elif offset == _INTERRUPT_MASK:
            self._mask = value & 0x7FF
            self._update()

    def write_uint32_atomic(self, offset: int, value: int, kind: int) -> None:
        """Write through one of the chip's atomic aliases: 0 plain, 1 exclusive or, 2 set, 3 clear."""
        if kind and offset != _DATA:
            old = self.read_uint32(offset)
            value = (value, old ^ value, old | value, old & ~value)[kind]
        self.write_uint32(offset, value)

    def reset(self) -> None:
        """Put the registers into their state after reset; the line keeps its bytes."""
        self._mask = 0
        self._update()

    def _update(self) -> None:
        self._rp2040.set_interrupt(self._irq, bool(self._input) and bool(self._mask & _RX_INTERRUPTS))
