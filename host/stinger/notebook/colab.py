"""Google Colab: installing the package there, and the keys that it keeps for its user.

The first cell of every notebook is `first_cell`; elsewhere than in Colab it does nothing.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

#: Name of the package, as in pyproject.toml.
PACKAGE = "stinger-ml"
#: What a notebook may want, and goes without: HuggingFace's hub, and the Nstrumenta platform.
SECRETS = ("HF_TOKEN", "NSTRUMENTA_API_KEY")
#: What Colab raises where there is no such secret, or its user does not grant it; not every version has all of them.
_REFUSALS = ("SecretNotFoundError", "NotebookAccessError", "TimeoutException")
#: Extras of the package that each notebook needs; Colab has Jupyter and widgets.
EXTRAS = {"blaster": ("emulator",), "classify": ("ast",), "dataset": (), "fine_tune": ("ast",)}


def requirement(extras: Sequence[str]) -> str:
    """What pip is to install: the package with some extras."""
    return f"{PACKAGE}[{','.join(extras)}]" if extras else PACKAGE


def first_cell(notebook: str) -> str:
    """Source of a notebook's first cell: it must run where nothing is installed yet."""
    return f"""\
# In Google Colab: install the package, and take {" and ".join(SECRETS)} from Colab's secrets where they
# are kept. Anywhere else this does nothing.
import subprocess
import sys

if "google.colab" in sys.modules:
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "{requirement(EXTRAS[notebook])}"], check=True)
    from stinger.notebook.colab import take_secrets

    take_secrets()"""


def in_colab() -> bool:
    """Say whether this is a kernel of Colab."""
    return "google.colab" in sys.modules


def take_secrets() -> list[str]:
    """Put what Colab keeps for its user into the environment, where the libraries look for it.

    Values are shown nowhere. A secret that is not there, or that the notebook may not have, is done without; what the
    environment holds already stays.

    Returns:
        Names of those that are there now.
    """
    if in_colab():
        userdata = importlib.import_module("google.colab.userdata")
        refusals = tuple(getattr(userdata, name) for name in _REFUSALS if hasattr(userdata, name))
        for name in SECRETS:
            if os.environ.get(name):
                continue
            try:
                value = userdata.get(name)
            except refusals:
                continue
            if value:
                os.environ[name] = value
    return [name for name in SECRETS if os.environ.get(name)]
