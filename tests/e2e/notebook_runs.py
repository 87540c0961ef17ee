"""Running a notebook from top to bottom in a kernel of this interpreter, in a home of its own."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parent.parent.parent / "notebooks"


@dataclass(frozen=True)
class Executed:
    """A notebook that ran to its end.

    Attributes:
        notebook: With outputs.
        results: What the test asked of its variables.
        home: The home folder it had.
        work: The folder it ran in.
    """

    notebook: Any
    results: dict[str, Any]
    home: Path
    work: Path

    def outputs(self, cell: str, kind: str) -> list[str]:
        """Return what a cell showed in a format such as ``image/png``."""
        [found] = [c for c in self.notebook.cells if c["id"] == cell]
        return [output["data"][kind] for output in found["outputs"] if kind in output.get("data", {})]

    def printed(self, cell: str) -> str:
        [found] = [c for c in self.notebook.cells if c["id"] == cell]
        return "".join(output["text"] for output in found["outputs"] if output["output_type"] == "stream")

    def pictures(self) -> dict[str, bytes]:
        """Return every PNG by the name of its cell and its number."""
        return {
            f"{cell['id']}-{number}": base64.b64decode(text)
            for cell in self.notebook.cells
            if cell["cell_type"] == "code"
            for number, text in enumerate(self.outputs(cell["id"], "image/png"))
        }

    def files(self) -> list[str]:
        """Return all files in its home that the notebook made, but not what IPython and compilers keep there."""
        place = self.home / "stinger-notebooks"
        return sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())


def execute(name: str, ask: str, folder: Path, *, first: str = "", timeout: int = 400) -> Executed:
    """Run a notebook.

    Args:
        name: Which.
        ask: A dictionary of JSON values, as an expression of the notebook's variables: evaluated after the last cell.
        folder: An empty folder for everything.
        first: Statements before the question.
        timeout: Seconds that one cell may take.
    """
    home, work = folder / "home", folder / "work"
    home.mkdir()
    work.mkdir()
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    question = f"{first}\nimport json\nprint(json.dumps({ask}))"
    notebook.cells.append(nbformat.v4.new_code_cell(question, id="asked"))
    with tempfile.TemporaryDirectory(prefix="stinger-kernel-") as sockets:
        # No kernel that is installed on this machine: the spec of the running interpreter, and no ports.
        manager = AsyncKernelManager(
            kernel_name="python3",
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
            connection_file=f"{sockets}/kernel.json",
            transport="ipc",
            ip=f"{sockets}/socket",
        )
        client = NotebookClient(notebook, km=manager, timeout=timeout, resources={"metadata": {"path": str(work)}})
        client.execute(env=_environment(home), cleanup_kc=True)
    answer = notebook.cells.pop()
    return Executed(notebook, json.loads(answer["outputs"][0]["text"]), home, work)


def _environment(home: Path) -> dict[str, str]:
    cache = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    own = {"HOME": str(home), "IPYTHONDIR": str(home / ".ipython"), "JUPYTER_CONFIG_DIR": str(home / ".jupyter")}
    # A compiler's cache is no business of a notebook's; the hub is never asked in a test.
    return {
        **os.environ,
        "XDG_CACHE_HOME": cache,
        **own,
        "HF_HUB_OFFLINE": "1",
        "HF_TOKEN": "",
        "NSTRUMENTA_API_KEY": "",
    }
