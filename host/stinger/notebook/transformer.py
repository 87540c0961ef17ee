"""Fine-tuning in a notebook: whether it can be done here, and what it can start from."""

from __future__ import annotations

from typing import Any

from stinger.errors import InputError, UsageError
from stinger.models.ast.libraries import require_training
from stinger.models.ast.pretrained import fetch
from stinger.models.ast.sizes import PUBLISHED

#: What is trained from nothing where nothing can be fetched.
SMALLEST = "tiny"


def ast_is_installed() -> bool:
    """Say whether the extra `ast` is there."""
    try:
        require_training()
    except UsageError:
        return False
    return True


def starting_point(*, debug: bool, name: str = PUBLISHED) -> tuple[dict[str, Any], str]:
    """Choose what to start from: published weights, or nothing in debug mode and where the hub cannot be reached.

    Args:
        debug: Whether this is only to see that everything works.
        name: Of a model on the HuggingFace hub.

    Returns:
        What `FineTuneOptions` has to be told, and a sentence that says why.
    """
    scratch = {"from_scratch": SMALLEST}
    if debug:
        return scratch, f"Debug mode: a {SMALLEST} model, from random weights."
    try:
        fetch(name)
    except InputError as error:
        return scratch, f"{error}\nSo this trains a {SMALLEST} model from random weights instead."
    return {"pretrained": name}, f"Starting from {name}."
