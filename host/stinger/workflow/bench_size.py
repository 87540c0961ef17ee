"""Sizes on the board of the models that `stinger bench device` measures: the job of `stinger bench size --model`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from stinger.models.train import train
from stinger.synth.shots import make_session
from stinger.windows.cut import cut
from stinger.workflow.progress import Progress
from stinger_export.integer.c_source import write_c_source
from stinger_export.integer.quantise import quantise
from stinger_export.size import ModelSize, model_size

_MINUTES = 8.0


def bench_model_size(family: str, features: str, seed: int, progress: Progress) -> ModelSize:
    """Train a model on a synthetic session, export it, and link it with what it needs of the library.

    Raises:
        UsageError: No such family or feature set.
        InputError: It cannot be exported to the board.
        ToolchainError: There is no compiler for the board.
    """
    session, _ = make_session(seed, _MINUTES)
    progress.step(f"training {family}")
    model = train(cut([session], seed=seed), family, features=features, seed=seed, folds=0)
    with tempfile.TemporaryDirectory(prefix="stinger-size-") as folder:
        write_c_source(quantise(model), Path(folder))
        progress.step("compiling")
        return model_size(Path(folder))
