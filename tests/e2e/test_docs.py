"""Every command in README and docs is run, as it stands there."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import environment

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = [ROOT / "README.md", *(ROOT / name for name in ("CONTRIBUTING.md", "notebooks/README.md"))]
DOCUMENTS += sorted((ROOT / "docs").rglob("*.md"))


def blocks(path: Path) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)


README = blocks(ROOT / "README.md")
#: How each block of the README is run, by its first words.
HANDLED = (
    "stinger info",
    "stinger synth",
    "stinger bench",
    "make demo",
    "python3 -m venv",
    "stinger virtual",
    "stinger deploy",
    "stinger demo --data",
    "stinger explore",
    "stinger plot-predictions",
    "stinger benchmark",
    "cc ",
)
#: Documents whose blocks another test runs.
RUN_ELSEWHERE = {
    "benchmark.md": "test_verb_benchmark.py",
    "magnetic.md": "test_magnetic.py",
    "spectrogram-transformer.md": "test_ast.py",
    "magnetic-models.md": "test_magnetic_models.py",
    "unseen-people.md": "test_unseen_people.py",
}


def block(start: str) -> str:
    return next(b for b in README if b.startswith(start))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory, shots_demo):
    """A checkout in which `make demo` has been run, with this environment's `stinger` on the path."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("device", "tests", "constraints.txt", "Makefile", "pyproject.toml"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(shots_demo[1], folder / "stinger-demo")
    if shutil.which("cc") is None:
        tools = folder / ".tools"
        tools.mkdir()
        (tools / "cc").write_text(f'#!/bin/sh\nexec {sys.executable} -m ziglang cc "$@"\n')
        (tools / "cc").chmod(0o755)
    return folder


def bash(script: str, cwd: Path, timeout: float = 400) -> subprocess.CompletedProcess[str]:
    env = environment(STINGER_RUNTIME_DIR=str(cwd / ".runtime"))
    env["PATH"] += f"{os.pathsep}{cwd / '.tools'}"
    command = ["bash", "-euo", "pipefail", "-c", script]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout, check=False)


def test_every_block_is_handled():
    assert [b for b in README if not b.startswith(HANDLED)] == []
    assert len(README) == len(HANDLED)
    for path in DOCUMENTS[1:]:
        assert blocks(path) == [] or path.name in RUN_ELSEWHERE, f"{path.name} has commands that no test runs"


def test_the_two_commands_exist():
    assert block("make demo") == "make demo\nmake test\n"
    text = (ROOT / "README.md").read_text()
    assert text.index("make demo") < text.index("stinger deploy")
    for target, ends in (("demo", "stinger demo"), ("test", "python -m pytest")):
        # This test may itself run under `make test`, whose settings must not leak into the plan.
        env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "PYTEST"))}
        plan = subprocess.run(["make", "-n", target], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
        assert plan.stdout.strip().splitlines()[-1].strip().endswith(ends)


def test_the_pip_lines_install_what_make_installs():
    """The lines themselves need an empty machine: tests/e2e/test_wheel.py runs one, CI's `make test` the other."""
    lines = block("python3 -m venv").splitlines()
    assert len(lines) == 2
    makefile = (ROOT / "Makefile").read_text()
    for line, run in zip(lines, ("stinger demo", "python -m pytest"), strict=True):
        extra = re.search(r"-c constraints\.txt -e '(\.\[\w+\])'", line)
        assert extra is not None
        assert f"--constraint constraints.txt --editable '{extra[1]}'" in makefile
        assert line.endswith(f".venv/bin/{run}")


def test_a_newcomer_deploys_monitors_and_checks(checkout):
    """The walk of the README, on a virtual board."""
    env = environment(STINGER_RUNTIME_DIR=str(checkout / ".runtime"))
    board = subprocess.Popen(["bash", "-c", "exec " + block("stinger virtual")], cwd=checkout, env=env)
    try:
        for _ in range(300):
            if (checkout / "board").exists():
                break
            time.sleep(0.1)
        done = bash(block("stinger deploy"), checkout)
        assert done.returncode == 0, done.stderr
        assert "L2=L3=L4" in done.stdout
        assert "The board at board runs what was trained." in done.stdout
        decisions = [line for line in done.stdout.splitlines() if re.match(r" *[\d.]+ +\d+ +(idle|shot) ", line)]
        assert len(decisions) > 200
        assert (checkout / "board.csv").read_text().startswith("# stinger-board-log 1 model=")
        assert done.stdout.count(" yes") >= 2

        check_a_wrong_log(checkout)
    finally:
        board.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            board.wait(10)
        board.kill()
    assert not (checkout / "board").is_symlink()
    assert list((checkout / ".runtime").glob("*.json")) == []


def check_a_wrong_log(checkout: Path) -> None:
    """One digit changed in the log: exit 1, and the sample is named."""
    lines = (checkout / "board.csv").read_text().splitlines()
    columns = lines[1].split(",")
    at = len(lines) - 7
    cells = lines[at].split(",")
    score = columns.index("score_0")
    cells[score] = str(int(cells[score]) + 1)
    lines[at] = ",".join(cells)
    (checkout / "wrong.csv").write_text("\n".join(lines) + "\n")
    done = bash("stinger check stinger-deploy/bundle --log wrong.csv", checkout)
    assert done.returncode == 1
    expected = rf"stinger: mlp: log is not L2: sample {at - 2}: score {cells[score]}, expected {int(cells[score]) - 1}"
    assert re.search(expected, done.stderr)


def test_the_real_recordings(checkout):
    done = bash(block("stinger demo --data"), checkout)
    assert done.returncode == 0, done.stderr
    assert "Everything agrees" in done.stdout


def test_step_by_step_and_one_header(checkout):
    done = bash(block("stinger explore"), checkout)
    assert done.returncode == 0, done.stderr
    for start in ("stinger plot-predictions", "stinger benchmark"):
        done = bash(block(start), checkout)
        assert done.returncode == 0, done.stderr
    made = ("predictions/overview.png", "tuned/tuning.json", "evaluated/evaluation.json", "report.md", "search.md")
    assert [name for name in made if not (checkout / name).is_file()] == []
    done = bash(block("cc "), checkout)
    assert done.returncode == 0, done.stderr
    assert {p.name for p in checkout.glob("*.o")} >= {"stinger_stream.o", "stinger_model_data.o"}


@pytest.mark.parametrize("start", ["stinger info", "stinger synth", "stinger bench"])
def test_recordings_and_bench(checkout, start):
    done = bash(block(start), checkout)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_pictures_and_links_exist():
    for path in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name} points to {target}"
