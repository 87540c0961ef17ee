"""Notebooks as they are kept: without outputs, without what an editor remembers, the same bytes on every machine.

``python -m stinger.notebook.strip notebooks/*.ipynb`` cleans them in place; `make format` does it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stinger.errors import InputError, StingerError
from stinger.files import read_bytes, write_text

_LARGEST = 64 << 20
_ADVICE = "give a notebook (.ipynb)"
#: One for all: Jupyter, Colab and VS Code run it with whatever Python they have.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def strip(text: str, name: str) -> str:
    """Return a notebook without outputs, numbers of execution and whatever an editor added.

    Args:
        text: Contents of the file.
        name: Its name, for messages.

    Raises:
        InputError: It is no notebook of format 4.
    """
    try:
        notebook = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} is not JSON; {_ADVICE}") from error
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list) or notebook.get("nbformat") != 4:
        raise InputError(f"{name} is no notebook of format 4; {_ADVICE}")
    kept = [_cell(cell, number, name) for number, cell in enumerate(cells, 1)]
    clean = {"cells": kept, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(clean, indent=1, ensure_ascii=False) + "\n"


def _cell(cell: Any, number: int, name: str) -> dict[str, Any]:
    kind = cell.get("cell_type") if isinstance(cell, dict) else None
    source = cell.get("source") if kind in ("code", "markdown") else None
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(source, str):
        raise InputError(f"{name}: cell {number} is neither code nor text; correct it")
    own = str(cell.get("id", ""))
    lines = source.rstrip().splitlines(keepends=True)
    kept: dict[str, Any] = {"cell_type": kind, "id": own if _ID.fullmatch(own) else f"cell-{number}", "metadata": {}}
    if kind == "code":
        kept = {"cell_type": kind, "execution_count": None, **kept, "outputs": []}
    return {**kept, "source": lines}


def strip_files(paths: Sequence[Path]) -> list[Path]:
    """Strip notebooks in place; return those that were not clean.

    Raises:
        InputError: One is no notebook, or cannot be written.
    """
    changed = []
    for path in paths:
        text = read_bytes(path, _LARGEST, _ADVICE).decode("utf-8", "replace")
        clean = strip(text, path.name)
        if clean != text:
            write_text(path, clean)
            changed.append(path)
    return changed


def main(arguments: Sequence[str]) -> int:
    """Strip the notebooks named on the command line."""
    try:
        for path in strip_files([Path(argument) for argument in arguments]):
            sys.stderr.write(f"stripped {path}\n")
    except StingerError as error:
        sys.stderr.write(f"stinger: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
