"""Getting bytes to a board and back: a serial port or URL, or a native board's standard streams."""

from __future__ import annotations

import errno
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Sequence
from typing import Any, Protocol

import serial

from stinger.errors import LinkError

try:
    from termios import error as _termios_error
except ImportError:  # Windows has none
    _termios_error = OSError  # type: ignore[misc,assignment]

#: What pyserial lets through when a device goes away.
_PORT_ERRORS = (OSError, _termios_error)
_MAX_READ = 65536
#: A board that talks while it is written to: nothing legitimate comes near this.
_MAX_PENDING = 1 << 20
_POLL_S = 0.05


class Transport(Protocol):
    """A line to a board."""

    def write(self, data: bytes) -> None:
        """Send all of ``data``.

        Raises:
            LinkError: The board does not take it in time, or is gone.
        """

    def read(self, timeout: float) -> bytes:
        """Return what has arrived, waiting at most ``timeout`` seconds for a first byte; empty when none came.

        Raises:
            LinkError: The board is gone.
        """

    def close(self) -> None:
        """Release the line; more than once is fine."""


class SerialTransport:
    """A serial port, or anything else pyserial has a URL for (``socket://``, ``rfc2217://``).

    Args:
        port: Device name or URL.
        baudrate: Bits per second; USB ports ignore it, but 1200 means "enter the bootloader".
        write_timeout: Seconds a write may take.

    Raises:
        LinkError: The port cannot be opened.
    """

    def __init__(self, port: str, *, baudrate: int = 115200, write_timeout: float = 5.0) -> None:
        self.port = port
        try:
            # Exclusive: two programs reading one port would each get half of the frames.
            options: dict[str, Any] = {} if "://" in port else {"exclusive": True}
            self._serial = serial.serial_for_url(
                port, baudrate=baudrate, timeout=_POLL_S, write_timeout=write_timeout, **options
            )
        except _PORT_ERRORS as error:
            raise LinkError(_open_failure(port, error)) from error
        except ValueError as error:
            raise LinkError(f"{port} is not a port or URL that pyserial knows: {error}") from error

    def write(self, data: bytes) -> None:
        """Send all of ``data``; see `Transport.write`."""
        try:
            self._serial.write(data)
        except serial.SerialTimeoutException as error:
            raise LinkError(f"the board at {self.port} takes no data; reset it and try again") from error
        except _PORT_ERRORS as error:
            raise LinkError(_disconnected(self.port)) from error

    def read(self, timeout: float) -> bytes:
        """Return what has arrived; see `Transport.read`."""
        deadline = time.monotonic() + timeout
        try:
            while True:
                waiting = self._serial.in_waiting
                if not waiting and time.monotonic() >= deadline:
                    return b""
                data = bytearray(self._serial.read(min(max(1, waiting), _MAX_READ)))
                while data and len(data) < _MAX_READ and (waiting := self._serial.in_waiting):
                    data += self._serial.read(min(waiting, _MAX_READ))
                if data:
                    return bytes(data)
        except _PORT_ERRORS as error:
            raise LinkError(_disconnected(self.port)) from error

    def close(self) -> None:
        """Release the port; a device that is gone already is fine."""
        try:
            self._serial.close()
        except _PORT_ERRORS:
            return


class ProcessTransport:
    """A board that is a program here: its commands on standard input, its answers on standard output.

    Args:
        command: Program and arguments; no shell is involved.
        write_timeout: Seconds a write may take.

    Raises:
        LinkError: The program cannot be started.
    """

    def __init__(self, command: Sequence[str | os.PathLike[str]], *, write_timeout: float = 5.0) -> None:
        self._name = os.fspath(command[0])
        self._write_timeout = write_timeout
        self._pending = bytearray()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, bufsize=0
            )
        except OSError as error:
            self._errors.close()
            raise LinkError(f"cannot start {self._name}: {error.strerror or error}") from error
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101, PT018
        self._input = self._process.stdin.fileno()
        self._output = self._process.stdout.fileno()
        os.set_blocking(self._input, False)
        os.set_blocking(self._output, False)

    def write(self, data: bytes) -> None:
        """Send all of ``data``, taking in what the board says meanwhile; see `Transport.write`.

        Reading too is what keeps two full pipes from waiting for each other.
        """
        deadline = time.monotonic() + self._write_timeout
        rest = memoryview(data)
        while rest:
            left = deadline - time.monotonic()
            readable, writable, _ = select.select([self._output], [self._input], [], max(0.0, left))
            if readable:
                self._receive()
            if writable:
                try:
                    rest = rest[os.write(self._input, rest) :]
                except BlockingIOError:
                    continue
                except OSError as error:
                    raise LinkError(self._ended()) from error
            elif left <= 0:
                raise LinkError(f"the board program {self._name} takes no data for {self._write_timeout:g} s")

    def read(self, timeout: float) -> bytes:
        """Return what has arrived; see `Transport.read`."""
        if not self._pending and select.select([self._output], [], [], max(0.0, timeout))[0]:
            self._receive()
        data = bytes(self._pending)
        self._pending.clear()
        return data

    def close(self) -> None:
        """End the program: close its input, give it a second, then kill it."""
        if self._errors.closed:
            return
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _receive(self) -> None:
        try:
            data = os.read(self._output, _MAX_READ)
        except BlockingIOError:
            return
        if not data and not self._pending:
            raise LinkError(self._ended())
        self._pending += data
        if len(self._pending) > _MAX_PENDING:
            raise LinkError(f"the board program {self._name} sends without end and reads nothing")

    def _ended(self) -> str:
        try:
            code = f"exit code {self._process.wait(1.0)}"
        except subprocess.TimeoutExpired:
            code = "still running, output closed"
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - 400))
        lines = self._errors.read().decode("utf-8", "replace").split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"the board program {self._name} ended ({code})" + (f": {said}" if said else "")


def open_port(port: str, *, baudrate: int = 115200, write_timeout: float = 5.0) -> Transport:
    """Open the line to a board.

    Args:
        port: Device name (``/dev/ttyACM0``, ``COM3``) or pyserial URL (``socket://host:port``).
        baudrate: Bits per second; USB ports ignore it.
        write_timeout: Seconds a write may take.

    Raises:
        LinkError: The port cannot be opened; says why and what to do.
    """
    return SerialTransport(port, baudrate=baudrate, write_timeout=write_timeout)


def _disconnected(port: str) -> str:
    return f"the board at {port} was disconnected; plug it in and try again"


def _open_failure(port: str, error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO) or "FileNotFoundError" in str(error):
        return f"no port {port}; is the board plugged in? `stinger devices` lists what there is"
    if number in (errno.EAGAIN, errno.EBUSY, errno.EWOULDBLOCK):
        return f"{port} is in use by another program; close it and try again"
    if number in (errno.EACCES, errno.EPERM) or "PermissionError" in str(error):
        if os.name == "posix":
            return f"no permission to open {port}; add yourself to the group dialout and log in again"
        return f"{port} is in use by another program or not yours to open; close the other program"
    reason = str(error).rpartition(": ")[2].strip() or type(error).__name__
    return f"cannot open {port}: {reason}"
