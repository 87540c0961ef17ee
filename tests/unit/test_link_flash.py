"""Flashing: the whole way on a fake board with a bootloader, and every stage that can fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from link_fake_board import FakeBoard, Faults

from stinger.errors import InputError, LinkError, UsageError
from stinger.link import flash as flash_module
from stinger.link.flash import flash, mounted_drives
from stinger_export.uf2 import to_uf2

IMAGE = bytes(range(256)) * 300


@pytest.fixture
def firmware(tmp_path: Path) -> Path:
    path = tmp_path / "firmware.uf2"
    path.write_bytes(to_uf2(IMAGE))
    return path


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBoard]:
    monkeypatch.setenv("STINGER_RUNTIME_DIR", str(tmp_path / "run"))
    with FakeBoard(Faults()) as board:
        board.register()
        yield board


def test_flash(device: FakeBoard, firmware: Path) -> None:
    stages: list[str] = []
    info = flash(device.port, firmware, timeout=5, on_progress=stages.append)
    assert info.board == "fake"
    assert device.flashed == firmware.read_bytes()
    assert stages == [
        "restarting the board into its bootloader",
        "waiting for the bootloader's drive",
        "copying 150 KiB",
        "waiting for the new firmware",
    ]


def test_flash_by_the_name_of_a_link(device: FakeBoard, firmware: Path, tmp_path: Path) -> None:
    link = tmp_path / "board"
    link.symlink_to(device.port)
    assert flash(str(link), firmware, timeout=5).board == "fake"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-100], "not a UF2 file"),
        (lambda data: data[:-512], "block 0 of 299 says it is 0 of 300"),
        (lambda data: data[:28] + b"\x57" + data[29:], "not for an RP2040"),
        (lambda data: b"\x7fELF" + data[4:], "not a UF2 file"),
        (lambda data: b"", "not a UF2 file"),
    ],
)
def test_a_bad_file_never_touches_the_board(device: FakeBoard, firmware: Path, damage: object, message: str) -> None:
    firmware.write_bytes(damage(firmware.read_bytes()))  # type: ignore[operator]
    with pytest.raises(InputError, match=message) as caught:
        flash(device.port, firmware, timeout=1)
    assert str(firmware) in str(caught.value)
    assert device.commands == []


def test_a_missing_file(device: FakeBoard, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*does not exist"):
        flash(device.port, tmp_path / "none.uf2")


def test_a_board_that_stays_out_of_its_bootloader(device: FakeBoard, firmware: Path) -> None:
    device.faults.no_bootloader = True
    with pytest.raises(LinkError, match=r"no bootloader drive after 0\.3 s; hold BOOTSEL"):
        flash(device.port, firmware, timeout=0.3)


def test_a_bootloader_that_ignores_the_firmware(device: FakeBoard, firmware: Path) -> None:
    device.faults.ignores_firmware = True
    with pytest.raises(LinkError, match="did not accept the firmware"):
        flash(device.port, firmware, timeout=1.0)


def test_firmware_that_does_not_start(device: FakeBoard, firmware: Path) -> None:
    device.faults.dies_after_flash = True
    with pytest.raises(LinkError, match=r"flashed, but the new firmware does not answer at .*no answer to MLHELLO"):
        flash(device.port, firmware, timeout=1.5)
    assert device.flashed is not None


def test_a_port_that_is_not_there_and_a_url(firmware: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flash_module, "mounted_drives", list)
    with pytest.raises(LinkError, match="no port /dev/ttyNOSUCH"):
        flash("/dev/ttyNOSUCH", firmware, timeout=0.2)
    with pytest.raises(UsageError, match="cannot flash over socket://"):
        flash("socket://board:1", firmware, timeout=0.2)


def bootloader(root: Path, name: str, board: str = "RPI-RP2") -> Path:
    drive = root / "media" / "user" / name
    drive.mkdir(parents=True)
    (drive / "INFO_UF2.TXT").write_text(f"UF2 Bootloader v3.0\nBoard-ID: {board}\n")
    return drive


def test_mounted_drives(tmp_path: Path) -> None:
    drive = bootloader(tmp_path, "RPI-RP2")
    bootloader(tmp_path, "OTHER", "SAMD21")
    (tmp_path / "media" / "user" / "stick").mkdir()
    assert mounted_drives(tmp_path) == [drive]


class Mounts:
    """Stands in for the mounted drives of a computer: what is there at first, and what appears later."""

    def __init__(self, first: list[Path], later: list[Path]) -> None:
        self.answers = [first]
        self.later = later

    def __call__(self) -> list[Path]:
        return self.answers.pop() if self.answers else self.later


def test_a_real_board_uses_the_drive_that_appears(
    tmp_path: Path, firmware: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STINGER_RUNTIME_DIR", str(tmp_path / "run"))
    other, drive = bootloader(tmp_path, "A"), bootloader(tmp_path, "B")
    monkeypatch.setattr(flash_module, "mounted_drives", Mounts([other], [other, drive]))
    with FakeBoard() as device, pytest.raises(LinkError, match=f"{drive} did not accept"):
        flash(device.port, firmware, timeout=0.2)
    assert (drive / "firmware.uf2").read_bytes() == firmware.read_bytes()
    assert not (other / "firmware.uf2").exists()


def test_a_board_without_a_port_uses_the_only_drive(
    tmp_path: Path, firmware: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive = bootloader(tmp_path, "A")
    monkeypatch.setattr(flash_module, "mounted_drives", Mounts([drive], [drive]))
    with pytest.raises(LinkError, match=f"{drive} did not accept"):
        flash("/dev/ttyNOSUCH", firmware, timeout=0.2)
    assert (drive / "firmware.uf2").read_bytes() == firmware.read_bytes()


def test_two_new_drives_are_a_guess_not_made(tmp_path: Path, firmware: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STINGER_RUNTIME_DIR", str(tmp_path / "run"))
    drives = [bootloader(tmp_path, "A"), bootloader(tmp_path, "B")]
    monkeypatch.setattr(flash_module, "mounted_drives", Mounts([], drives))
    with FakeBoard() as device, pytest.raises(LinkError, match="2 bootloader drives appeared"):
        flash(device.port, firmware, timeout=0.2)


def test_a_drive_that_is_full(tmp_path: Path, firmware: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STINGER_RUNTIME_DIR", str(tmp_path / "run"))
    drive = bootloader(tmp_path, "A")
    (drive / "firmware.uf2").symlink_to("/dev/full")
    monkeypatch.setattr(flash_module, "mounted_drives", Mounts([], [drive]))
    with FakeBoard() as device, pytest.raises(LinkError, match=r"copying to .* failed: No space left"):
        flash(device.port, firmware, timeout=0.2)
