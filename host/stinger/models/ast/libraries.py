"""PyTorch, transformers and datasets: optional, heavy, talkative; brought in here, quietly and bounded."""

from __future__ import annotations

import importlib
import importlib.util
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from stinger.errors import UsageError

#: Optional packages ship types that may not be there to be named.
Library = Any
_TRAINING = ("torch", "transformers", "accelerate", "tensorboard")
_PREDICTING = ("torch", "transformers")
_DATASETS = ("datasets",)
#: More processors than this make nothing here quicker.
MOST_THREADS = 64


def require_training() -> None:
    """Refuse to train where something for it is not installed.

    Raises:
        UsageError: The extra `ast` is missing.
    """
    _require(_TRAINING, "ast", " or choose another family")


def load_transformers() -> Library:
    """Import transformers, and have it say nothing but errors.

    Raises:
        UsageError: The extra `ast` is missing.
    """
    _require(_PREDICTING, "a spectrogram transformer")
    transformers = importlib.import_module("transformers")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def load_datasets() -> Library:
    """Import HuggingFace `datasets` without its progress bars.

    Raises:
        UsageError: The extra `ast` is missing.
    """
    _require(_DATASETS, "a HuggingFace dataset")
    datasets = importlib.import_module("datasets")
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    return datasets


@contextmanager
def alone(threads: int, seed: int) -> Iterator[Library]:
    """PyTorch with its own random numbers on so many threads; what it was set to before is put back.

    Raises:
        UsageError: The extra `ast` is missing.
    """
    _require(_PREDICTING, "a spectrogram transformer")
    torch = importlib.import_module("torch")
    before, numpy_state, python_state = torch.get_num_threads(), np.random.get_state(), random.getstate()  # noqa: NPY002 - the Trainer seeds the global one
    try:
        with torch.random.fork_rng(), warnings.catch_warnings():
            # What the libraries warn each other about is nothing that a user could change.
            warnings.simplefilter("ignore")
            torch.manual_seed(seed)
            torch.set_num_threads(threads)
            yield torch
    finally:
        torch.set_num_threads(before)
        np.random.set_state(numpy_state)  # noqa: NPY002 - as above
        random.setstate(python_state)


def _require(modules: tuple[str, ...], what: str, otherwise: str = "") -> None:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise UsageError(f"{what} needs {module}; install stinger-ml[ast]{otherwise}")
