"""Transports: what opening, reading, writing and losing a line look like."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import time
import tty
from contextlib import closing

import pytest
import serial

from stinger.errors import LinkError
from stinger.link.transport import ProcessTransport, open_port

ECHO = "import os\nwhile data := os.read(0, 65536):\n while data: data = data[os.write(1, data):]"


def test_serial_reads_what_is_there_and_waits_no_longer_than_told() -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    with closing(open_port(os.ttyname(slave))) as port:
        start = time.monotonic()
        assert port.read(0.1) == b""
        assert 0.09 <= time.monotonic() - start < 1.0
        os.write(master, b"hello")
        assert port.read(1.0) == b"hello"
        assert port.read(0.0) == b""
        port.write(b"\0answer\n")
        assert os.read(master, 100) == b"\0answer\n"
    port.close()
    os.close(master)
    os.close(slave)


def test_serial_port_in_use() -> None:
    _, slave = os.openpty()
    name = os.ttyname(slave)
    with closing(open_port(name)), pytest.raises(LinkError, match="is in use by another program"):
        open_port(name)
    open_port(name).close()


def test_serial_disconnected() -> None:
    master, slave = os.openpty()
    port = open_port(os.ttyname(slave))
    os.close(slave)
    os.close(master)
    with pytest.raises(LinkError, match="was disconnected; plug it in"):
        port.read(0.5)
    with pytest.raises(LinkError, match="was disconnected; plug it in"):
        port.write(b"x")
    port.close()


def test_serial_that_takes_no_data() -> None:
    _master, slave = os.openpty()
    tty.setraw(slave)
    port = open_port(os.ttyname(slave), write_timeout=0.1)
    with closing(port), pytest.raises(LinkError, match="takes no data"):
        port.write(bytes(1_000_000))


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOENT, "no port /dev/x; is the board plugged in"),
        (errno.EACCES, "add yourself to the group dialout"),
        (errno.EBUSY, "in use by another program"),
        (errno.EIO, "cannot open /dev/x: Input/output error"),
    ],
)
def test_failures_to_open(number: int, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise serial.SerialException(number, f"could not open port /dev/x: {os.strerror(number)}")

    monkeypatch.setattr(serial, "serial_for_url", fail)
    with pytest.raises(LinkError, match=message) as caught:
        open_port("/dev/x")
    assert "\n" not in str(caught.value)


def test_real_failures_to_open() -> None:
    with pytest.raises(LinkError, match="no port /dev/ttyNOSUCH"):
        open_port("/dev/ttyNOSUCH")
    with pytest.raises(LinkError, match="cannot open /dev/null"):
        open_port("/dev/null")
    with pytest.raises(LinkError, match="not a port or URL that pyserial knows"):
        open_port("nosuch://board")
    with pytest.raises(LinkError, match="cannot open socket://127"):
        open_port("socket://127.0.0.1:1")


def test_socket_url() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"socket://127.0.0.1:{server.getsockname()[1]}"
        with closing(open_port(url)) as port:
            peer, _ = server.accept()
            peer.sendall(b"hello")
            got = b""
            while len(got) < 5:
                got += port.read(1.0)
            assert got == b"hello"
            port.write(b"answer")
            assert peer.recv(100) == b"answer"
            peer.close()
            with pytest.raises(LinkError, match="was disconnected"):
                port.read(1.0)


def test_process_echoes_more_than_its_pipes_hold() -> None:
    data = os.urandom(300_000)
    with closing(ProcessTransport([sys.executable, "-c", ECHO])) as process:
        process.write(data)
        got = bytearray()
        while len(got) < len(data):
            got += process.read(2.0)
    assert bytes(got) == data


def test_process_that_takes_no_data() -> None:
    with closing(ProcessTransport([sys.executable, "-c", "import time; time.sleep(9)"], write_timeout=0.2)) as process:
        with pytest.raises(LinkError, match=r"takes no data for 0\.2 s"):
            process.write(bytes(1_000_000))
        assert process.read(0.05) == b""


def test_process_that_ends_says_why() -> None:
    program = "import sys; print('last words'); sys.stdout.flush(); sys.exit('boom: no model')"
    with closing(ProcessTransport([sys.executable, "-c", program])) as process:
        said = b""
        while len(said) < 11:
            said += process.read(5.0)
        assert said == b"last words\n"
        with pytest.raises(LinkError, match=r"ended \(exit code 1\): boom: no model"):
            process.read(5.0)
        with pytest.raises(LinkError, match="ended"):
            process.write(b"x")


def test_process_that_floods() -> None:
    program = "import os\nwhile True: os.write(1, bytes(65536))"
    process = ProcessTransport([sys.executable, "-c", program])
    with closing(process), pytest.raises(LinkError, match="sends without end"):
        process.write(bytes(1_000_000))


def test_process_that_does_not_exist() -> None:
    with pytest.raises(LinkError, match="cannot start /nonexistent/board: No such file"):
        ProcessTransport(["/nonexistent/board"])


def test_process_that_ignores_the_end_is_killed() -> None:
    process = ProcessTransport([sys.executable, "-c", "import time; time.sleep(60)"])
    start = time.monotonic()
    process.close()
    process.close()
    assert time.monotonic() - start < 3
    assert process._process.returncode == -signal.SIGKILL
