"""The notebooks as they lie in the repository: clean, alike, and plain Python."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest

from stinger.notebook.colab import EXTRAS, PACKAGE, first_cell
from stinger.notebook.strip import METADATA, strip

ROOT = Path(__file__).parent.parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


def code_of(path: Path) -> list[str]:
    cells = json.loads(path.read_text())["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_they_are_all_known():
    assert [path.stem for path in NOTEBOOKS] == sorted(EXTRAS)
    told = (ROOT / "notebooks" / "README.md").read_text()
    assert [path.name for path in NOTEBOOKS if f"]({path.name})" not in told] == []


@each
def test_it_is_valid_and_stripped(path):
    text = path.read_text()
    assert strip(text, path.name) == text
    notebook = json.loads(text)
    nbformat.validate(notebook)
    assert (notebook["nbformat"], notebook["nbformat_minor"], notebook["metadata"]) == (4, 5, METADATA)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    for cell in notebook["cells"]:
        assert cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)


@each
def test_it_begins_with_a_heading_and_the_cell_of_colab(path):
    cells = json.loads(path.read_text())["cells"]
    assert cells[0]["cell_type"] == "markdown"
    assert cells[0]["source"][0].startswith("# ")
    assert code_of(path)[0] == first_cell(path.stem)


@each
def test_code_is_plain_python_and_thin(path):
    """No magics, no logic: what a cell calls is imported from the library, where it is tested."""
    for source in code_of(path):
        tree = ast.parse(source)
        compile(tree, path.name, "exec")
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.While, ast.Try)
        assert not [node for node in ast.walk(tree) if isinstance(node, kinds)]
    # Data do not hang on what an earlier run left in the environment.
    assert not re.search(r"os\.environ|getenv", "\n".join(code_of(path)[1:]))


@each
def test_ruff_finds_nothing(path):
    ruff = shutil.which("ruff") or str(Path(sys.executable).with_name("ruff"))
    for command in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        done = subprocess.run([ruff, *command, path], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_colab_installs_this_package():
    assert PYPROJECT["project"]["name"] == PACKAGE
    known = set(PYPROJECT["project"]["optional-dependencies"])
    assert {extra for extras in EXTRAS.values() for extra in extras} <= known


def test_lint_and_format_know_the_notebooks():
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(r"^PYTHON_SOURCES :=.* notebooks$", makefile, re.MULTILINE)
    assert "stinger.notebook.strip notebooks/*.ipynb" in makefile
