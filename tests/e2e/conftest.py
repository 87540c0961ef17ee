"""Running the command line as a user does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parent.parent / "data"
NICLA = DATA / "nicla_motion_edge_impulse_export.zip"
SESSION_B = DATA / "session_b.bin"


@dataclass(frozen=True)
class Run:
    """One finished command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def complaints(self) -> list[str]:
        """What it said beside progress."""
        return [line for line in self.err.splitlines() if line and not line.startswith("[")]


def run(*arguments: object, cwd: Path, timeout: float = 300) -> Run:
    command = [sys.executable, "-m", "stinger", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False)
    return Run(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def stinger(tmp_path, monkeypatch):
    """Run a verb in an empty directory, with a registry of virtual boards of its own."""
    runtime = tmp_path / "runtime"
    monkeypatch.setenv("STINGER_RUNTIME_DIR", str(runtime))
    work = tmp_path / "work"
    work.mkdir()

    def call(*arguments: object, timeout: float = 300) -> Run:
        return run(*arguments, cwd=work, timeout=timeout)

    call.cwd = work
    return call


@pytest.fixture
def call(stinger):
    """The same, of verbs that must end well."""

    def done(*arguments: object) -> Run:
        finished = stinger(*arguments)
        assert finished.code == 0, finished.err
        return finished

    done.cwd = stinger.cwd
    return done


@pytest.fixture(scope="session")
def shots_demo(tmp_path_factory) -> tuple[Run, Path]:
    """The default demo on a shorter session."""
    cwd = tmp_path_factory.mktemp("demo")
    done = run("demo", "--minutes", "4", "--windows", "1000", "--json", "--out", "demo", cwd=cwd)
    return done, cwd / "demo"


@pytest.fixture(scope="session")
def nicla_demo(tmp_path_factory) -> tuple[Run, Path]:
    """The demo on the real recordings."""
    cwd = tmp_path_factory.mktemp("nicla")
    done = run("demo", "--data", NICLA, "--json", "--out", "demo", cwd=cwd)
    return done, cwd / "demo"


def files_below(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", **changes}
