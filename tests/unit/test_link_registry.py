"""The registry of virtual boards, and finding ports."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from stinger.errors import LinkError
from stinger.link import ports, registry

ME = os.getpid()


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STINGER_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(ports.list_ports, "comports", lambda: [])
    return registry.registry_dir()


def entry(pid: int = ME, port: str = "/dev/pts/999", link: str | None = None) -> registry.Entry:
    return registry.Entry(pid, port, link, str(registry.drive_path(pid)))


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_directory_is_private_and_follows_the_environment(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert directory == tmp_path / "run"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    monkeypatch.delenv("STINGER_RUNTIME_DIR")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "xdg"))
    assert registry.registry_dir() == tmp_path / "xdg" / "stinger"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    assert registry.registry_dir() == tmp_path / f"stinger-{os.getuid()}"


def test_directory_that_others_can_write_is_refused(directory: Path) -> None:
    directory.chmod(0o777)
    with pytest.raises(LinkError, match="only you can write"):
        registry.registry_dir()


def test_link_in_the_temporary_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STINGER_RUNTIME_DIR")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / f"stinger-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LinkError, match="only you can write"):
        registry.registry_dir()


def test_directory_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("STINGER_RUNTIME_DIR", str(tmp_path / "file" / "run"))
    with pytest.raises(LinkError, match="cannot make"):
        registry.registry_dir()


def test_register_find_unregister(directory: Path, tmp_path: Path) -> None:
    device = tmp_path / "pts"
    device.touch()
    link = tmp_path / "board"
    link.symlink_to(device)
    mine = entry(port=str(device), link=str(link))
    assert registry.register(mine) == directory / f"{ME}.json"
    assert registry.entries() == [mine]
    assert registry.find(str(device)) == registry.find(str(link)) == mine
    assert registry.find("/dev/ttyACM0") is None
    assert registry.find(f"socket://{device}") is None
    Path(mine.drive).mkdir(parents=True)
    registry.unregister(ME)
    assert registry.entries() == []
    assert list(directory.iterdir()) == []
    registry.unregister(ME)


def test_notes_of_dead_processes_are_removed_with_their_drives(directory: Path) -> None:
    pid = dead_pid()
    registry.register(entry(pid))
    registry.drive_path(pid).mkdir(parents=True)
    registry.register(entry())
    assert registry.entries() == [entry()]
    assert [path.name for path in directory.iterdir()] == [f"{ME}.json"]


@pytest.mark.parametrize(
    "change",
    [
        {"pid": 1},
        {"port": "relative"},
        {"port": 5},
        {"port": "/dev/\x1b[2J"},
        {"link": 7},
        {"drive": "/etc"},
        {"drive": None},
        {"more": 1},
    ],
)
def test_notes_that_make_no_sense_are_ignored(directory: Path, change: dict[str, object]) -> None:
    note = {"pid": ME, "port": "/dev/pts/9", "link": None, "drive": str(registry.drive_path(ME))}
    (directory / f"{ME}.json").write_text(json.dumps(note))
    assert len(registry.entries()) == 1
    (directory / f"{ME}.json").write_text(json.dumps(note | change))
    assert registry.entries() == []


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[" * 5000, b"[" * 4000, b"null", b" " * 5000])
def test_notes_that_are_no_notes_are_ignored(directory: Path, content: bytes) -> None:
    (directory / f"{ME}.json").write_bytes(content)
    (directory / "readme.json").write_bytes(content)
    (directory / f"{10**30}.json").write_bytes(content)
    assert registry.entries() == []


def test_register_refuses_a_drive_elsewhere() -> None:
    with pytest.raises(LinkError, match="not a valid note"):
        registry.register(registry.Entry(ME, "/dev/pts/9", None, "/home/somebody"))


def usb(device: str, vid: int | None, description: str) -> SimpleNamespace:
    return SimpleNamespace(device=device, vid=vid, description=description, product=None, manufacturer=None)


def test_find_port_takes_the_one_given() -> None:
    assert ports.find_port("COM7") == "COM7"


def test_find_port_without_a_board() -> None:
    with pytest.raises(LinkError, match="no board found; plug one in"):
        ports.find_port(None)


def test_find_port_knows_boards_by_vendor_or_description(monkeypatch: pytest.MonkeyPatch) -> None:
    for board in (usb("/dev/ttyACM1", 0x2E8A, "n/a"), usb("/dev/ttyACM1", None, "TinyUSB CDC")):
        devices = [usb("/dev/ttyS0", None, "n/a"), usb("/dev/ttyUSB0", 0x0403, "FT232"), board]
        monkeypatch.setattr(ports.list_ports, "comports", lambda found=devices: found)
        assert ports.find_port(None) == "/dev/ttyACM1"


def test_find_port_finds_a_virtual_board_and_asks_when_there_are_two(monkeypatch: pytest.MonkeyPatch) -> None:
    registry.register(entry())
    assert ports.find_port(None) == "/dev/pts/999"
    monkeypatch.setattr(ports.list_ports, "comports", lambda: [usb("/dev/ttyACM0", 0x2E8A, "Pico")])
    with pytest.raises(LinkError, match=r"2 boards found: /dev/ttyACM0 \(Pico\), /dev/pts/999 .*choose with --port"):
        ports.find_port(None)
    assert [board.virtual for board in ports.list_boards()] == [False, True]
