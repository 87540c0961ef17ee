"""Where notebooks put what they make: never beside themselves, which is somebody's checkout."""

from __future__ import annotations

import re
from pathlib import Path

from stinger.errors import UsageError

#: In the user's home, so that it is there tomorrow and nobody else's.
PLACE = "stinger-notebooks"


def work_folder(notebook: str, *, debug: bool = False) -> Path:
    """Return the folder of a notebook, made if it is not there; trial runs have one of their own.

    Raises:
        UsageError: The name is none of a notebook.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", notebook):
        raise UsageError(f"{notebook!r} is no name of a notebook; use small letters, digits and _")
    folder = Path.home() / PLACE / (f"{notebook}-debug" if debug else notebook)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
