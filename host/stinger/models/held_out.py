"""The held-out windows that a model carries, so that whatever is made of it can be measured where nothing was learnt.

``held_out.npz`` in a model's directory: ``windows``, int16 ``(n, window, channels)``, and ``labels``, uint8 ``(n,)``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stinger.arrays import read_arrays
from stinger.errors import InputError
from stinger.models.spec import HeldOut, ModelSpec

#: Most windows a model carries, and most bytes of them.
MAX_WINDOWS = 2000
MAX_BYTES = 8 * 2**20


def keep(windows: NDArray[np.int16], labels: NDArray[np.uint8], rows: NDArray[np.bool_], seed: int) -> HeldOut:
    """Return the rows marked, or as many of them, drawn at random, as a model may carry; in their order.

    Args:
        windows: All windows of a dataset, shape ``(n, window, channels)``.
        labels: Their classes, shape ``(n,)``.
        rows: Which are held out, shape ``(n,)``; at least one.
        seed: Seed of the draw.
    """
    chosen = np.flatnonzero(rows)
    if len(chosen) > (most := _most(*windows.shape[1:])):
        order = np.random.default_rng(seed).permutation(chosen)
        # One of each class first: a rare one could be missed altogether.
        first = np.unique(labels[order], return_index=True)[1]
        chosen = np.sort(np.append(order[first], np.delete(order, first))[:most])
    return HeldOut(np.ascontiguousarray(windows[chosen]), labels[chosen])


def read(path: Path, spec: ModelSpec, advice: str) -> HeldOut:
    """Read a file.

    Raises:
        InputError: It is missing, damaged, too large, or holds no windows that the model takes.
    """
    arrays = read_arrays(path, MAX_BYTES + 2**16, advice)
    if arrays.keys() != {"windows", "labels"}:
        raise InputError(f"{path} does not hold windows and labels; {advice}")
    held_out = HeldOut(arrays["windows"], arrays["labels"])
    check(held_out, spec, str(path))
    return held_out


def check(held_out: HeldOut, spec: ModelSpec, name: str) -> None:
    """Refuse held-out windows that are not the model's.

    Raises:
        InputError: They are of another type or shape, too many, or of classes that there are not.
    """
    windows, labels, shape = held_out.windows, held_out.labels, (spec.window, len(spec.channels))
    if windows.dtype != np.int16 or windows.shape[1:] != shape or not 1 <= len(windows) <= _most(*shape):
        raise InputError(
            f"{name}: held-out windows are {windows.dtype}{windows.shape}, they must be 1 to {_most(*shape)} of "
            f"int16{shape}; train the model again"
        )
    if labels.dtype != np.uint8 or labels.shape != windows.shape[:1] or int(labels.max()) >= len(spec.classes):
        raise InputError(f"{name}: labels of held-out windows are not classes of the model; train the model again")


def _most(window: int, channels: int) -> int:
    return max(1, min(MAX_WINDOWS, MAX_BYTES // (2 * window * channels)))
