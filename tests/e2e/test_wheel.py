"""The package as others get it: a wheel in a clean environment, far from this checkout."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    # Without isolation: hatchling is in the `dev` extra, and what is tested here is our wheel, not pip's network.
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return next(out.glob("*.whl"))


def test_it_carries_everything_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for package in ("stinger", "stinger_export", "stinger_virtual"):
        assert f"{package}/py.typed" in names
    sources = ("stinger_ml/stinger_ml.h", "stinger_ml/stinger_stream.c", "boards/emulated_rp2040/link.ld")
    sources += ("bench/bench_float.c", "bench/include/math.h")
    for source in (*sources, "CMakeLists.txt", "stinger_firmware/stinger_ring.c", "boards/pico_sdk/CMakeLists.txt"):
        assert f"stinger_export/_device/{source}" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.startswith("stinger_ml-")} == {
        "stinger",
        "stinger_export",
        "stinger_virtual",
    }
    assert not [name for name in names if "__pycache__" in name]


def test_installed_in_a_clean_environment_it_runs_the_demo(wheel, tmp_path):
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True, timeout=120)
    install = [venv / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    install += ["--constraint", ROOT / "constraints.txt", f"{wheel}[emulator]"]
    subprocess.run(install, check=True, timeout=900)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "STINGER"))}
    # No compiler but the one from PyPI: only the system's most basic tools are on the path.
    tools = tmp_path / "bin"
    tools.mkdir()
    clean["PATH"] = str(tools)
    clean.pop("CC", None)
    command = [venv / "bin" / "stinger", "demo", "--minutes", "4", "--windows", "1000", "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["ok"]
    assert all("zig" in model["cost"]["compiler"] for model in report["models"])
    assert (tmp_path / "stinger-demo" / "report.md").is_file()
