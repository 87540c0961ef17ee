"""The emulated board as a process behind a pseudo-terminal: a serial port like a real board's.

The port is known to `stinger.link.registry`, and opening it at 1200 baud puts the board into its boot loader. The
board never waits for the host: what nobody reads is dropped by the firmware, and counted there.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from stinger.errors import InputError, LinkError
from stinger.files import read_bytes
from stinger.link.registry import Entry, drive_path, register, unregister
from stinger.sessions.session import Session
from stinger_export.uf2 import FLASH_BYTES
from stinger_virtual.bootloader import BootloaderDrive
from stinger_virtual.chip import EmulatedBoard
from stinger_virtual.flash_file import FlashFile
from stinger_virtual.sensor import SessionSensor
from stinger_virtual.start import VirtualBoard, start_virtual

__all__ = ["VirtualBoard", "read_image", "run_virtual", "start_virtual"]

_TOUCH = termios.B1200
_NORMAL = termios.B115200
#: Longest sleep: how late a 1200-baud touch may be noticed.
_IDLE_S = 0.02
_BOOTLOADER_POLL_S = 0.05
_CHUNK = 4096


def read_image(path: Path) -> bytes:
    """Read a firmware image (.bin or .uf2), refusing what is too large to be one.

    Raises:
        InputError: The file cannot be read or is too large.
    """
    return read_bytes(path, 2 * FLASH_BYTES, "give firmware, a .bin or .uf2 file")


def run_virtual(
    image: Path | None,
    link: Path | None = None,
    sensor: Session | None = None,
    on_ready: Callable[[str], None] | None = None,
    *,
    until: int | None = None,
    flash: Path | None = None,
) -> None:
    """Run a virtual board until SIGTERM or SIGINT, then clean up.

    Args:
        image: Firmware, .bin or .uf2; None for a blank board, which waits in its boot loader.
        link: A symbolic link to make to the port, for a name that stays the same.
        sensor: A recording to play to the board's sensor.
        on_ready: Called with the port once it can be opened.
        until: A file descriptor; the end of what it gives ends the board too.
        flash: A file that keeps the board's flash, and so the models uploaded to it, for the next start.

    Raises:
        InputError: The image, the recording or the file for the flash is unusable.
        LinkError: The link or the registry cannot be written.
        ToolchainError: The emulator is not installed.
    """
    kept = FlashFile(flash)
    board = EmulatedBoard(read_image(image), kept.contents) if image is not None else None
    player = SessionSensor(sensor) if sensor is not None else None
    with _pty() as (master, slave), _stop_signals() as stopping:
        port = os.ttyname(slave)
        pid = os.getpid()
        drive = drive_path(pid)
        try:
            register(Entry(pid, port, str(link.absolute()) if link else None, str(drive)))
            with _symbolic_link(link, port):
                if on_ready is not None:
                    on_ready(port)
                loop = _Loop(board, master, slave, drive=BootloaderDrive(drive), flash=kept, sensor=player, until=until)
                loop.run(stopping)
        finally:
            unregister(pid)


class _Loop:
    """Moves bytes between the terminal, the board and its sensor."""

    def __init__(
        self,
        board: EmulatedBoard | None,
        master: int,
        slave: int,
        *,
        drive: BootloaderDrive,
        flash: FlashFile,
        sensor: SessionSensor | None,
        until: int | None,
    ) -> None:
        self._board = board
        self._master = master
        self._slave = slave
        self._drive = drive
        self._flash = flash
        self._sensor = sensor
        self._until = until
        self._pending = b""
        self._ended = False

    def run(self, stopping: threading.Event) -> None:
        """Run until told to stop."""
        while not stopping.is_set() and not self._ended:
            if self._board is None or self._touched():
                self._bootloader(stopping)
            else:
                self._step(self._board)
        if self._board is not None:
            self._flash.keep(self._board.flash)

    def _step(self, board: EmulatedBoard) -> None:
        now = time.monotonic()
        if self._sensor is not None:
            for sample in self._sensor.next_samples(now):
                board.feed_sensor(sample)
        worked = board.run()
        if worked and board.fault is not None:
            print(f"the firmware crashed: {board.fault}; flash another", file=sys.stderr, flush=True)
        if not self._pending:
            self._pending = board.take()
        timeout = 0.0 if worked else _IDLE_S
        if self._sensor is not None:
            timeout = min(timeout, max(0.0, self._sensor.due_in(now)))
        self._exchange(board, timeout)
        if not worked:
            if self._flash.due:
                self._flash.keep(board.flash)
            board.advance((time.monotonic() - now) * 1e6)

    def _exchange(self, board: EmulatedBoard, timeout: float) -> None:
        """Move what can be moved between terminal and board, waiting at most this long."""
        readers = [self._master] if board.room >= _CHUNK else []
        if self._until is not None:
            readers.append(self._until)
        readable, writable, _ = select.select(readers, [self._master] if self._pending else [], [], timeout)
        if self._master in readable:
            with suppress(BlockingIOError):
                board.feed(os.read(self._master, _CHUNK))
        if writable:
            with suppress(BlockingIOError):
                self._pending = self._pending[os.write(self._master, self._pending) :]
        if self._until in readable and not os.read(self._until, _CHUNK):
            self._ended = True

    def _touched(self) -> bool:
        return bool(termios.tcgetattr(self._master)[4] == _TOUCH)

    def _bootloader(self, stopping: threading.Event) -> None:
        """Offer the drive until a firmware has been copied there, then boot it."""
        self._drive.open()
        if self._board is not None:
            self._flash.keep(self._board.flash)
        try:
            while not stopping.is_set() and not self._ended:
                # A board in its boot loader has no serial port: what is sent there is lost.
                readers = [self._master] + ([self._until] if self._until is not None else [])
                readable = select.select(readers, [], [], _BOOTLOADER_POLL_S)[0]
                if self._master in readable:
                    os.read(self._master, _CHUNK)
                if self._until in readable and not os.read(self._until, _CHUNK):
                    self._ended = True
                try:
                    image = self._drive.poll()
                    if image is not None:
                        self._board = EmulatedBoard(image, self._flash.contents)
                        return
                except InputError as error:
                    self._drive.open()  # empty again, ready for another try
                    print(f"the boot loader refused a file: {error}", file=sys.stderr, flush=True)
        finally:
            self._pending = b""
            _set_speed(self._slave, _NORMAL)
            self._drive.close()


@contextmanager
def _pty() -> Iterator[tuple[int, int]]:
    """A raw pseudo-terminal. Its slave stays open here, or the host's closing it would end the line."""
    master, slave = os.openpty()
    try:
        tty.setraw(slave)
        _set_speed(slave, _NORMAL)
        os.set_blocking(master, False)
        yield master, slave
    finally:
        os.close(master)
        os.close(slave)


def _set_speed(terminal: int, speed: int) -> None:
    attributes = termios.tcgetattr(terminal)
    attributes[4] = attributes[5] = speed
    termios.tcsetattr(terminal, termios.TCSANOW, attributes)


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set, where signals can be caught."""
    stopping = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    old = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopping
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@contextmanager
def _symbolic_link(link: Path | None, port: str) -> Iterator[None]:
    if link is None:
        yield
        return
    if link.exists() and not link.is_symlink():
        raise LinkError(f"{link} exists and is not a symbolic link; choose another name")
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    try:
        temporary.symlink_to(port)
        temporary.replace(link)
    except OSError as error:
        raise LinkError(f"cannot make the link {link}: {error.strerror}; choose another place") from error
    try:
        yield
    finally:
        with suppress(OSError):
            if link.is_symlink() and str(link.readlink()) == port:
                link.unlink()
