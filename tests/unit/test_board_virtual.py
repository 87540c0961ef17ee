"""The virtual board as a process: a serial port, a boot loader, and nothing left behind."""

from __future__ import annotations

import itertools
import os
import queue
import signal
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import board_model as model
import numpy as np
import pytest
import serial

from stinger.errors import InputError, LinkError
from stinger.link import registry
from stinger.link.board import Board
from stinger.link.messages import Sample
from stinger.link.transport import open_port
from stinger.sessions.session import STINGER_CHANNELS, Session
from stinger_virtual.bootloader import BootloaderDrive
from stinger_virtual.process import run_virtual, start_virtual
from stinger_virtual.sensor import SessionSensor


@pytest.fixture(autouse=True)
def registry_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A registry of its own, empty again after each test."""
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("STINGER_RUNTIME_DIR", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def wait_for(what: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def processor_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def touch(port: str) -> None:
    serial.Serial(port, 1200).close()


def test_a_port_like_any_other(tmp_path: Path) -> None:
    link = tmp_path / "ttyStinger"
    with start_virtual(model.firmware().uf2, link=link) as virtual:
        assert str(link.readlink()) == virtual.port
        [entry] = registry.entries()
        assert (entry.pid, entry.port, entry.link) == (virtual.pid, virtual.port, str(link))
        assert registry.find(str(link)) == entry
        assert not Path(entry.drive).exists()
        with Board(open_port(str(link))) as board:
            assert board.hello().model.hash == model.HASH
            rng = np.random.default_rng(0)
            samples = rng.integers(-100, 100, (100, model.CHANNELS)).astype(np.int16)
            t_us = np.arange(100, dtype=np.int64) * model.PERIOD_US
            result = board.replay(samples, t_us, np.arange(100) == 0)
            assert result.ready.sum() == 97
        with Board(open_port(virtual.port)) as board:  # another program, later
            assert board.hello().model.hash == model.HASH
    assert not link.is_symlink()


def test_an_idle_board_leaves_the_processor_alone() -> None:
    with start_virtual(model.firmware().bin) as virtual:
        with Board(open_port(virtual.port)) as board:
            board.hello()
        before = processor_ticks(virtual.pid)
        time.sleep(1.0)
        assert processor_ticks(virtual.pid) - before < 0.2 * os.sysconf("SC_CLK_TCK")


def test_flashing(tmp_path: Path) -> None:
    other = tmp_path / "other.uf2"
    uf2 = model.firmware().uf2.read_bytes()
    assert model.HASH.encode() in uf2
    other.write_bytes(uf2.replace(model.HASH.encode(), b"fedcba9876543210"))
    with start_virtual(model.firmware().uf2) as virtual:
        drive = registry.drive_path(virtual.pid)
        touch(virtual.port)
        wait_for(drive.is_dir)
        wait_for((drive / "INFO_UF2.TXT").is_file)
        (drive / "broken.uf2").write_bytes(uf2[:1000])
        wait_for(lambda: not (drive / "broken.uf2").exists())
        wait_for((drive / "INFO_UF2.TXT").is_file)
        (drive / "half.uf2").write_bytes(uf2[:1024])  # a copy under way
        time.sleep(0.2)
        assert drive.is_dir()
        with (drive / "half.uf2").open("ab") as copy:
            copy.write(other.read_bytes()[1024:])
        wait_for(lambda: not drive.exists())
        with Board(open_port(virtual.port)) as board:
            assert board.hello().model.hash == "fedcba9876543210"
        touch(virtual.port)  # and again
        wait_for(drive.is_dir)
        (drive / "firmware.uf2").write_bytes(uf2)
        wait_for(lambda: not drive.exists())
        with Board(open_port(virtual.port)) as board:
            assert board.hello().model.hash == model.HASH


def test_a_blank_board_waits_for_firmware() -> None:
    with start_virtual(None) as virtual:
        drive = registry.drive_path(virtual.pid)
        wait_for((drive / "INFO_UF2.TXT").is_file)
        (drive / "firmware.uf2").write_bytes(model.firmware().uf2.read_bytes())
        wait_for(lambda: not drive.exists())
        with Board(open_port(virtual.port)) as board:
            assert board.hello().model.hash == model.HASH


def test_a_board_whose_firmware_crashed_can_be_flashed(tmp_path: Path) -> None:
    image = bytearray(0x300)  # zeros are instructions that do nothing; what follows is no memory of this image
    image[0x100:0x108] = struct.pack("<2I", 0x20042000, 0x10000201)
    image[0x200:0x204] = bytes.fromhex("ffffffff")
    (tmp_path / "crash.bin").write_bytes(image)
    with start_virtual(tmp_path / "crash.bin") as virtual:
        drive = registry.drive_path(virtual.pid)
        before = processor_ticks(virtual.pid)
        time.sleep(0.5)
        assert processor_ticks(virtual.pid) - before < 0.3 * os.sysconf("SC_CLK_TCK")
        touch(virtual.port)
        wait_for(drive.is_dir)
        (drive / "firmware.uf2").write_bytes(model.firmware().uf2.read_bytes())
        wait_for(lambda: not drive.exists())
        with Board(open_port(virtual.port)) as board:
            assert board.hello().model.hash == model.HASH


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_clean_up(tmp_path: Path, number: signal.Signals) -> None:
    link = tmp_path / "port"
    virtual = start_virtual(model.firmware().uf2, link=link)
    touch(virtual.port)
    wait_for(registry.drive_path(virtual.pid).is_dir)
    os.kill(virtual.pid, number)
    wait_for(lambda: not registry.registry_dir().joinpath(f"{virtual.pid}.json").exists())
    wait_for(lambda: not link.is_symlink())
    virtual.stop()
    virtual.stop()


def test_a_bad_image_is_one_line(tmp_path: Path) -> None:
    image = tmp_path / "image.bin"
    image.write_bytes(bytes(5000))
    with pytest.raises(LinkError, match="did not start: no firmware for the RP2040"):
        start_virtual(image)
    with pytest.raises(LinkError, match=r"did not start: cannot read .*nothing\.uf2: it does not exist"):
        start_virtual(tmp_path / "nothing.uf2")


def test_a_link_replaces_no_file(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("data")
    with pytest.raises(LinkError, match="precious exists and is not a symbolic link"):
        start_virtual(model.firmware().uf2, link=precious)
    assert precious.read_text() == "data"


def test_a_board_nobody_reads_goes_on() -> None:
    """It must neither block nor grow: the terminal's own buffer fills up, then the board's, then frames drop."""
    with start_virtual(model.firmware().uf2) as virtual, closing(open_port(virtual.port)) as port:
        for _ in range(400):
            port.write(b"MLHELLO\n")
        with Board(port) as board:
            time.sleep(0.3)
            assert board.hello().model.hash == model.HASH


def test_the_sensor_streams_in_real_time() -> None:
    t_us = np.arange(30, dtype=np.int64) * model.PERIOD_US
    values = np.arange(30 * model.CHANNELS).reshape(30, model.CHANNELS).astype(np.int16)
    recording = Session("ramp", t_us, values, STINGER_CHANNELS[: model.CHANNELS], model.PERIOD_US)
    ports: queue.Queue[str] = queue.Queue()
    stop_read, stop_write = os.pipe()
    thread = threading.Thread(
        target=run_virtual,
        args=(model.firmware().uf2,),
        kwargs={"sensor": recording, "on_ready": ports.put, "until": stop_read},
    )
    thread.start()
    try:
        with Board(open_port(ports.get(timeout=10.0))) as board, closing(board.stream()) as stream:
            began = time.monotonic()
            pairs = list(itertools.islice(stream, 45))
            took = time.monotonic() - began
    finally:
        os.close(stop_write)
        thread.join(10.0)
        os.close(stop_read)
    assert not thread.is_alive()
    assert 0.35 < took < 2.0
    times = [sample.t_us for sample, _ in pairs]
    gaps = [i for i, (sample, _) in enumerate(pairs) if sample.gap]
    assert all(b - a == model.PERIOD_US for i, (a, b) in enumerate(itertools.pairwise(times), 1) if i not in gaps)
    starts = [i for i in gaps if i > 0]
    assert starts
    assert not any(decision.ready for i in starts for _, decision in pairs[i : i + model.WINDOW - 1])
    assert pairs[starts[0] + model.WINDOW - 1][1].ready


def session(n: int = 50) -> Session:
    samples = np.arange(n * 6).reshape(n, 6).astype(np.int16)
    return Session("test", np.arange(n) * 10_000 + 500, samples, STINGER_CHANNELS, 10_000)


def test_the_sensor_keeps_the_pace() -> None:
    sensor = SessionSensor(session())
    assert sensor.next_samples(100.0) == [Sample(0, (0, 1, 2, 3, 4, 5))]
    assert sensor.next_samples(100.009) == []
    assert sensor.due_in(100.009) == pytest.approx(0.001)
    later = sensor.next_samples(100.1001)
    assert [s.t_us for s in later] == [10_000 * n for n in range(1, 11)]
    assert [s.values[0] for s in later] == [6 * n for n in range(1, 11)]


def test_the_sensor_plays_on_from_the_start_after_a_gap() -> None:
    sensor = SessionSensor(session(3))
    played = sensor.next_samples(0.0) + sensor.next_samples(0.0701)
    assert [s.values[0] for s in played] == [0, 6, 12, 0, 6, 12]
    assert [s.t_us for s in played] == [0, 10_000, 20_000, 40_000, 50_000, 60_000]


def test_the_sensor_does_not_sit_through_pauses() -> None:
    pause = session(4)
    sensor = SessionSensor(
        Session("test", np.array([0, 10_000, 30_000_000, 30_010_000]), pause.samples, STINGER_CHANNELS, 10_000)
    )
    played = sensor.next_samples(0.0) + sensor.next_samples(1.0101)
    assert [s.t_us for s in played] == [0, 10_000, 1_010_000]


def test_the_sensor_refuses_channels_that_it_has_not() -> None:
    channels = tuple(replace(STINGER_CHANNELS[0], name=f"c{i}") for i in range(9))
    many = Session("walk", np.arange(5) * 10_000, np.zeros((5, 9), np.int16), channels, 10_000)
    with pytest.raises(InputError, match="walk has 9 channels, the board's sensor 6: accelerometer and gyroscope"):
        SessionSensor(many)


def test_the_sensor_refuses_an_empty_recording() -> None:
    with pytest.raises(InputError, match="no samples to play"):
        SessionSensor(session(0))


def test_the_drive_gives_up_what_is_no_firmware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drive = BootloaderDrive(tmp_path / "drive")
    drive.open()
    (tmp_path / "drive" / "notes.txt").write_text("no firmware")
    (tmp_path / "drive" / ".half.uf2").write_bytes(b"hidden")
    assert drive.poll() is None
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    (tmp_path / "drive" / "a.UF2").write_bytes(b"still")
    assert drive.poll() is None
    now = 100.9
    (tmp_path / "drive" / "a.UF2").write_bytes(b"growing")
    assert drive.poll() is None
    now = 101.8
    assert drive.poll() is None
    now = 102.0
    with pytest.raises(InputError, match="not a UF2 file"):
        drive.poll()
    drive.close()
    assert not (tmp_path / "drive").exists()
    assert drive.poll() is None
