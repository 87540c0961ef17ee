"""The emulated board as a transport inside this process: no pty, no waiting, for replays of many windows."""

from __future__ import annotations

import time
from collections.abc import Callable

from stinger.errors import LinkError
from stinger_virtual.chip import EmulatedBoard
from stinger_virtual.imu import Icm42688p, Imu

#: A sleeping firmware wakes at least this often; time-outs are stepped through at this pace.
_STEP_US = 10_000
#: Real seconds after which a board that never sleeps is no longer waited for.
_STUCK_S = 60.0


class EmulatedTransport:
    """A line to an `EmulatedBoard`, with the methods of `stinger.link.transport.Transport`.

    The board runs while somebody writes or reads. A read that has to wait for a sleeping board lets the board's time
    pass instead of the caller's: a time-out of ten seconds is over at once.

    Args:
        image: Firmware, as for `EmulatedBoard`.
        flash: What its flash held before, likewise.
        imu: The sensor, likewise.
    """

    def __init__(self, image: bytes, flash: bytes | None = None, *, imu: Callable[[], Imu] | None = Icm42688p) -> None:
        self.board = EmulatedBoard(image, flash, imu=imu)
        self._closed = False

    def write(self, data: bytes) -> None:
        """Send all of ``data``, running the board when its buffer is full.

        Raises:
            LinkError: The board does not read, or the transport is closed.
        """
        self._check_open()
        deadline = time.monotonic() + _STUCK_S
        rest = memoryview(data)
        while rest:
            count = min(len(rest), self.board.room)
            self.board.feed(bytes(rest[:count]))
            rest = rest[count:]
            if rest:
                self.board.run()
                if time.monotonic() > deadline:
                    raise LinkError("the emulated board does not read what it is sent; its firmware hangs")

    def read(self, timeout: float) -> bytes:
        """Return what the board has to say, empty if it says nothing for ``timeout`` seconds of its time.

        Raises:
            LinkError: The firmware crashed, or the transport is closed.
        """
        self._check_open()
        deadline = self.board.micros + timeout * 1e6
        give_up = time.monotonic() + _STUCK_S
        while True:
            running = self.board.run()
            if self.board.fault is not None:
                raise LinkError(f"the board's firmware crashed: {self.board.fault}; build it again")
            if self.board.has_output and (self.board.asleep or self.board.micros >= deadline):
                return self.board.take()
            if not running and not self.board.has_output:
                if self.board.micros >= deadline:
                    return b""
                self.board.advance(min(_STEP_US, max(1.0, deadline - self.board.micros)))
            elif self.board.micros >= deadline or time.monotonic() > give_up:
                return self.board.take()

    def close(self) -> None:
        """End the connection; more than once is fine."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise LinkError("the line to the emulated board is closed; open it again")
