"""What must hold on a real board; `pytest -m hardware --port PORT`. Flashes it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DATA = Path(__file__).parent.parent / "data"

pytestmark = pytest.mark.hardware


@pytest.fixture
def port(request):
    given = request.config.getoption("--port")
    if given is None:
        pytest.fail("hardware tests need --port")
    return given


def stinger(*arguments, cwd):
    command = [sys.executable, "-m", "stinger", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=os.environ, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.parametrize("model", ["logreg", "mlp", "rf"])
def test_a_deployed_model_is_what_was_trained(port, model, tmp_path):
    done = stinger("deploy", DATA / "session_b.bin", "--port", port, "--model", model, "--out", "d", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = stinger("check", "d/bundle", "--port", port, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
