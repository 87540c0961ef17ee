"""Compilers found or missed, errors a user can act on, and output that depends on the sources alone."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import board_model as model
import pytest

import stinger_export.firmware
import stinger_export.toolchain
from stinger.errors import InputError, ToolchainError, UsageError
from stinger_export.firmware import build_firmware, build_native
from stinger_export.toolchain import compile_host, cross_compiler, device_sources, host_compiler
from stinger_export.uf2 import from_uf2


def source(folder: Path, text: str) -> Path:
    path = folder / "source.c"
    path.write_text(text)
    return path


def test_a_program(tmp_path: Path) -> None:
    (tmp_path / "answer.h").write_text("#define ANSWER 40\n")
    text = '#include <math.h>\n#include <stdio.h>\n#include "answer.h"\nint main(void) { printf("%g", '
    text += "sqrt((double)(ANSWER + MORE)) + SET); return 0; }\n"
    program = tmp_path / "deep" / "program"
    compile_host(
        [source(tmp_path, text)], program, include=[tmp_path], defines={"MORE": 9, "SET": None}, libraries=["m"]
    )
    assert subprocess.run([program], check=True, capture_output=True).stdout == b"8"  # -DSET is 1
    assert [p.name for p in program.parent.iterdir()] == ["program"]


def test_a_shared_library(tmp_path: Path) -> None:
    text = "int twice(int x);\nint twice(int x) { return 2 * x; }\n"
    compile_host([source(tmp_path, text)], tmp_path / "twice.so")
    assert ctypes.CDLL(str(tmp_path / "twice.so")).twice(21) == 42


def test_a_refusal_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    output = tmp_path / "out" / "program"
    with pytest.raises(ToolchainError, match=r"refused source\.c: .*undefined_thing") as caught:
        compile_host([source(tmp_path, "int main(void) { return undefined_thing; }\n")], output)
    assert "\n" not in str(caught.value)
    assert list(output.parent.iterdir()) == []


def test_warnings_count_for_our_own_code_only(tmp_path: Path) -> None:
    sloppy = source(tmp_path, "int main(void) { char c = 300; int unused; return c > 400; }\n")
    with pytest.raises(ToolchainError, match="refused"):
        compile_host([sloppy], tmp_path / "program")
    compile_host([sloppy], tmp_path / "program", strict=False)


def test_no_compiler_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("STINGER_CROSS", raising=False)
    assert host_compiler().kind == "zig"
    assert cross_compiler().kind == "zig"
    monkeypatch.setattr(stinger_export.toolchain, "_zig", lambda: None)
    for find in (host_compiler, cross_compiler):
        with pytest.raises(ToolchainError, match=r'pip install "stinger-ml\[emulator\]"'):
            find()


def test_the_environment_chooses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CC", "no-such-compiler -m32")
    with pytest.raises(ToolchainError, match="CC is no-such-compiler -m32, which is not on the path"):
        host_compiler()
    monkeypatch.setenv("STINGER_CROSS", "clang")
    with pytest.raises(ToolchainError, match="STINGER_CROSS is 'clang'; it can be gcc, zig or unset"):
        cross_compiler()
    gcc = tmp_path / "arm-none-eabi-gcc"
    gcc.write_text("#!/bin/sh\necho arm-none-eabi-gcc 99.1\n")
    gcc.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("STINGER_CROSS", "zig")
    assert cross_compiler().kind == "zig"
    for choice in ("gcc", ""):
        monkeypatch.setenv("STINGER_CROSS", choice)
        assert cross_compiler().command == (str(gcc),)
        assert cross_compiler().version == "arm-none-eabi-gcc 99.1"
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("STINGER_CROSS", "gcc")
    with pytest.raises(ToolchainError, match="arm-none-eabi-gcc is not on the path"):
        cross_compiler()


def test_a_compiler_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "slow-cc"
    slow.write_text("#!/bin/sh\nexec sleep 20\n")
    slow.chmod(0o755)
    monkeypatch.setenv("CC", str(slow))
    monkeypatch.setattr(stinger_export.toolchain, "_TIMEOUT_S", 0.2)
    with pytest.raises(ToolchainError, match="slow-cc took more than"):
        compile_host([source(tmp_path, "int main(void) { return 0; }\n")], tmp_path / "program")


def test_firmware_and_its_sizes() -> None:
    built = model.firmware()
    image = built.bin.read_bytes()
    base, unpacked = from_uf2(built.uf2.read_bytes())
    assert base == 0x10000000
    assert unpacked.rstrip(b"\0") == image.rstrip(b"\0")
    # Everything in the image but the boot area counts, and only that, up to padding between sections.
    assert 0 <= len(image) - 256 - built.flash_bytes < 64
    assert 64 < built.model_ram_bytes < built.ram_bytes < 49152  # of which 34816 are the log
    assert 500 < built.model_flash_bytes < built.flash_bytes < 32768
    assert built.compiler
    assert str(model.write_model.__module__) not in image.decode("latin-1")


def test_a_larger_model_is_measured_larger(tmp_path: Path) -> None:
    small = model.firmware()
    folder = model.write_model(tmp_path / "model")
    table = "static const stinger_node nodes[100] = "
    text = model.SOURCE.replace("static const stinger_node nodes[] = ", table)
    assert text != model.SOURCE
    (folder / "stinger_model_data.c").write_text(text)
    (folder / "stinger_limits.h").write_text(model.LIMITS.replace("WINDOW 4", "WINDOW 1004"))
    large = build_firmware(folder, tmp_path / "out")
    # A node is eight bytes; larger offsets, and loops over blocks of the ring, need more instructions.
    assert 99 * 8 <= large.model_flash_bytes - small.model_flash_bytes < 99 * 8 + 400
    # Three channels and the magnitude of one triad: two bytes for each sample, and two for the maximum of every second.
    assert large.model_ram_bytes - small.model_ram_bytes == 1000 * (3 + 1) * 2 * 3 // 2
    assert large.ram_bytes - small.ram_bytes == large.model_ram_bytes - small.model_ram_bytes


def test_the_same_sources_elsewhere_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path / "elsewhere" / "device"
    for part in ("stinger_ml", "boards"):
        shutil.copytree(device_sources() / part, device / part)
    monkeypatch.setattr(stinger_export.firmware, "device_sources", lambda: device)
    again = build_firmware(model.write_model(tmp_path / "another"), tmp_path / "out")
    assert again.bin.read_bytes() == model.firmware().bin.read_bytes()
    assert again.uf2.read_bytes() == model.firmware().uf2.read_bytes()
    assert again.elf.read_bytes() == model.firmware().elf.read_bytes()
    assert str(tmp_path).encode() not in again.elf.read_bytes()


def test_zig_builds_the_native_board_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stinger_export.toolchain, "_HOST_NAMES", ())
    monkeypatch.delenv("CC", raising=False)
    program = build_native(model.write_model(tmp_path / "model"), tmp_path)
    result = subprocess.run([program], check=True, input=b"MLFOO\n", capture_output=True, timeout=10)
    assert result.stdout == b"[ml] ERROR: unknown command\r\n"


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown board 'toaster'; known: emulated_rp2040"):
        build_firmware(tmp_path, tmp_path / "out", board="toaster")
    for build in (build_firmware, build_native):
        with pytest.raises(InputError, match=r"holds no stinger_model_data\.c"):
            build(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_model_that_does_not_compile_keeps_the_old_firmware(tmp_path: Path) -> None:
    folder = model.write_model(tmp_path / "model")
    (folder / "stinger_model_data.c").write_text("#error broken model\n")
    out = tmp_path / "out"
    out.mkdir()
    (out / "firmware.elf").write_text("old")
    with pytest.raises(ToolchainError, match=r"refused stinger_model_data\.c: .*broken model"):
        build_firmware(folder, out)
    assert [(p.name, p.read_text()) for p in out.iterdir()] == [("firmware.elf", "old")]


def test_a_model_too_large_for_ram_is_refused(tmp_path: Path) -> None:
    folder = model.write_model(tmp_path / "model")
    (folder / "stinger_limits.h").write_text(model.LIMITS.replace("WINDOW 4", "WINDOW 65000"))
    with pytest.raises(ToolchainError, match="firmware for emulated_rp2040"):
        build_firmware(folder, tmp_path / "out")
