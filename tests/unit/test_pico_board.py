"""The Pico board where there is no Pico SDK: all of it compiles. That it works is shown with the SDK.

The drivers of its sensors run in test_imu_drivers.py, the firmware in tests/hardware/prove_pico_sdk.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import board_model as model

from stinger_export.toolchain import STRICT, cross_compiler, device_sources

BOARD = device_sources() / "boards" / "pico_sdk"
STUBS = Path(__file__).parent.parent / "stubs" / "pico_sdk"


def test_the_board_compiles_without_a_warning(tmp_path: Path) -> None:
    folder = model.write_model(tmp_path / "model")
    common = device_sources() / "boards" / "common"
    include = [STUBS, BOARD, common, device_sources() / "stinger_ml", folder]
    sources = sorted(BOARD.glob("*.c"))
    assert len(sources) >= 3
    compiler = cross_compiler()
    target = (
        ("-mcpu=cortex-m0plus", "-mthumb")
        if compiler.kind == "gcc"
        else ("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m0plus")
    )
    for source in sources:
        strict = [flag for flag in STRICT if flag != "-std=c99"]
        arguments = [*target, "-ffreestanding", "-std=c11", *strict, '-DSTINGER_LIMITS_H="app_limits.h"']
        arguments += [f"-I{path}" for path in include]
        compiler.run([*arguments, "-c", str(source), "-o", str(tmp_path / "out.o")], what=source.name)


def test_the_proof_says_what_it_needs(tmp_path: Path) -> None:
    script = Path(__file__).parent.parent / "hardware" / "prove_pico_sdk.py"
    environment = {**os.environ, "PICO_SDK_PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "set PICO_SDK_PATH to a Pico SDK 2.x with its submodule lib/tinyusb\n"
    assert script.name in (script.parents[2] / "docs" / "pico-sdk.md").read_text()
