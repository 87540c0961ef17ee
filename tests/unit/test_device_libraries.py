"""The C sources as others take them in: C++, Arduino, PlatformIO, CMake; one version everywhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import board_model as model
import pytest

from stinger_export.toolchain import device_sources

ROOT = Path(__file__).parent.parent.parent
DEVICE = device_sources()
LIBRARIES = ("stinger_ml", "stinger_firmware")
PUBLIC = {
    "stinger_ml": ("stinger_ml.h", "stinger_image.h", "stinger_frame.h", "stinger_store.h", "stinger_stock.h"),
    "stinger_firmware": ("stinger_firmware.h", "stinger_ring.h"),
}
STUBS = ROOT / "tests" / "stubs" / "arduino"
SKETCHES = sorted(DEVICE.glob("*/examples/*/*.ino"))
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
STRICT = ("-Wall", "-Wextra", "-Werror", "-Wshadow")


def check_cpp(source: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Compile C++ as Arduino's cores do, without making anything of it."""
    compiler = ["g++"] if shutil.which("g++") else [sys.executable, "-m", "ziglang", "c++"]
    include = [f"-I{folder}" for folder in (STUBS, *(DEVICE / name for name in LIBRARIES))]
    command = [*compiler, "-x", "c++", "-fsyntax-only", *STRICT, *flags, *include, str(source)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def properties(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if line)


@pytest.mark.parametrize("name", LIBRARIES)
def test_versions_are_the_python_packages(name: str) -> None:
    library = json.loads((DEVICE / name / "library.json").read_text())
    arduino = properties(DEVICE / name / "library.properties")
    assert library["version"] == arduino["version"] == VERSION
    assert library["name"] == arduino["name"] == name
    for dependency in library.get("dependencies", []):
        assert dependency["version"] == f"={VERSION}"
        assert arduino["depends"] == f"{dependency['name']} (={VERSION})"
    cmake = (DEVICE / "CMakeLists.txt").read_text()
    assert re.findall(r"VERSION (\d+\.\d+\.\d+)", cmake) == [VERSION]


@pytest.mark.parametrize("name", LIBRARIES)
def test_what_the_package_managers_are_told_is_there(name: str) -> None:
    library = json.loads((DEVICE / name / "library.json").read_text())
    arduino = properties(DEVICE / name / "library.properties")
    assert library["license"] == "Apache-2.0"
    assert tuple(library["headers"]) == PUBLIC[name]
    assert set(arduino) >= {"author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"}
    for header in (*library["headers"], arduino["includes"]):
        assert (DEVICE / name / header).is_file()
    assert (DEVICE / name / "examples").is_dir()


@pytest.mark.parametrize("standard", ["c++11", "c++20"])
@pytest.mark.parametrize("header", [f"{name}/{header}" for name in LIBRARIES for header in PUBLIC[name]])
def test_public_headers_are_cpp_too(header: str, standard: str, tmp_path: Path) -> None:
    source = tmp_path / "only.cpp"
    source.write_text(f'#include "{Path(header).name}"\n#include "{Path(header).name}"\n')
    done = check_cpp(source, f"-std={standard}", "-Wconversion", "-pedantic")
    assert done.returncode == 0, done.stderr
    assert 'extern "C"' in (DEVICE / header).read_text()


def test_there_is_an_example_of_each() -> None:
    assert [sketch.parent.name for sketch in SKETCHES] == ["TwoCores", "Decide"]
    assert all(sketch.stem == sketch.parent.name for sketch in SKETCHES), "Arduino opens no other"


@pytest.mark.parametrize("sketch", SKETCHES, ids=lambda sketch: sketch.stem)
def test_examples_compile(sketch: Path, tmp_path: Path) -> None:
    done = check_cpp(sketch, "-std=c++17")
    assert done.returncode == 0, done.stderr
    broken = tmp_path / sketch.name
    broken.write_text(sketch.read_text().replace("&stinger_model_data", "stinger_model_data"))
    assert check_cpp(broken, "-std=c++17").returncode != 0


MAIN = r"""
#include <stinger_firmware.h>
#include <stdio.h>

extern "C" const stinger_model stinger_model_data;
static stinger_firmware firmware;

static void reply(void *, const char *line) {
    puts(line);
}

int main() {
    const stinger_firmware_hooks hooks = {NULL, NULL, NULL, reply};
    int16_t axes[STINGER_MAX_CHANNELS] = {11, 0, 0};
    if (!stinger_firmware_start(&firmware, &stinger_model_data, &hooks, 0)) {
        return 1;
    }
    for (uint32_t i = 0; i < 4; i++) {
        stinger_firmware_sample(&firmware, 10000u * i, axes);
    }
    stinger_firmware_poll(&firmware);
    printf("%u\n", (unsigned)stinger_firmware_probability(&firmware, 1, 30000));
    stinger_firmware_command(&firmware, "MLMODEL_INFO", 30000);
    return 0;
}
"""

PROJECT = """
cmake_minimum_required(VERSION 3.13)
project(mine C CXX)
add_subdirectory("{device}" stinger)
add_executable(mine main.cpp model/stinger_model_data.c)
target_include_directories(mine PRIVATE model)
target_compile_definitions(mine PRIVATE STINGER_LIMITS_H="stinger_limits.h")
target_link_libraries(mine PRIVATE stinger_firmware)
"""


def test_a_cmake_project_links_the_targets(tmp_path: Path) -> None:
    model.write_model(tmp_path / "model")
    (tmp_path / "main.cpp").write_text(MAIN)
    (tmp_path / "CMakeLists.txt").write_text(PROJECT.format(device=DEVICE))
    beside = str(Path(sys.executable).parent)
    cmake = shutil.which("cmake", path=os.pathsep.join([beside, os.environ["PATH"]]))
    assert cmake is not None, "the extra `test` brings cmake"
    for step in (["-S", tmp_path, "-B", tmp_path / "build"], ["--build", tmp_path / "build"]):
        done = subprocess.run([cmake, *step], capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    said = subprocess.run([tmp_path / "build" / "mine"], capture_output=True, text=True, check=True).stdout.split()
    assert said[0] == str(model.LEAVES[1][1])
    assert f"model_hash={model.HASH}" in said
