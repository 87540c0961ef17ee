"""Starting a virtual board as a process of its own, for whoever needs a port for a while."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

from stinger.errors import LinkError

_STOP_S = 5.0


class VirtualBoard:
    """A running virtual board; use it with ``with``, or call `stop`.

    Attributes:
        port: Its serial port.
        pid: Its process.
    """

    def __init__(self, process: subprocess.Popen[bytes], port: str, errors: IO[bytes]) -> None:
        self.port = port
        self.pid = process.pid
        self._process = process
        self._errors = errors

    def stop(self) -> None:
        """End the board and its port; more than once is fine."""
        _end(self._process)
        if not self._errors.closed:
            self._errors.close()

    def __enter__(self) -> VirtualBoard:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the board."""
        self.stop()


def start_virtual(
    image: Path | None,
    *,
    link: Path | None = None,
    sensor: Path | None = None,
    flash: Path | None = None,
    timeout: float = 30.0,
) -> VirtualBoard:
    """Start a virtual board and wait until its port can be opened. It ends with this process, whatever happens.

    Args:
        image: Firmware, .bin or .uf2; None for a blank board, which waits in its boot loader.
        link: A symbolic link to make to the port.
        sensor: A recording to play to its sensor, in any format that `stinger` reads.
        flash: A file that keeps its flash for the next start.
        timeout: Seconds the start may take.

    Raises:
        LinkError: It does not start; says what it said.
    """
    command = [sys.executable, "-m", "stinger_virtual", "--until-stdin-ends"]
    command += [str(image)] if image is not None else []
    command += ["--link", str(link)] if link is not None else []
    command += ["--sensor", str(sensor)] if sensor is not None else []
    command += ["--flash", str(flash)] if flash is not None else []
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, bufsize=0)
    port = _first_line(process, timeout)
    if port is None:
        _end(process)
        errors.seek(0)
        lines = errors.read(4096).decode("utf-8", "replace").strip().splitlines()
        errors.close()
        raise LinkError(f"the virtual board did not start: {lines[-1] if lines else 'it said nothing'}")
    return VirtualBoard(process, port, errors)


def _first_line(process: subprocess.Popen[bytes], timeout: float) -> str | None:
    assert process.stdout is not None  # noqa: S101 - asked for as a pipe
    deadline = time.monotonic() + timeout
    line = b""
    while not line.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
            return None
        data = os.read(process.stdout.fileno(), 256)
        if not data or len(line) > 4096:
            return None
        line += data
    return line.decode("utf-8", "replace").strip()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None and not stream.closed:
            stream.close()
