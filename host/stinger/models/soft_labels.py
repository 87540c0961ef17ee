"""What teachers say of a dataset's windows: probabilities for a student to learn from, in a file without pickle.

A file is ``.npz``: ``probability`` float64 ``(n, classes)``, ``recording`` int64 ``(n,)``, ``start`` int64 ``(n,)``,
and ``about``, JSON in UTF-8 as bytes: the classes in the order of the columns, the SHA-256 of each recording that
``recording`` counts, samples of a window, the teachers. A window is known by the SHA-256 of its recording and its first
sample there, so soft labels fit any dataset that has the same windows, in any order.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.arrays import read_arrays, write_arrays
from stinger.errors import InputError
from stinger.windows.dataset import Dataset
from stinger.windows.labelled import MAX_CLASSES

FORMAT = 1
MAX_BYTES = 512 << 20
_ADVICE = "make it again with `stinger magnetic soft-labels`"


@dataclass(frozen=True)
class SoftLabels:
    """Probabilities of windows.

    Attributes:
        classes: Names, in the order of the columns.
        probability: Float64, shape ``(n, classes)``; rows sum to 1.
        recordings: SHA-256 of each recording.
        recording: Index into ``recordings``, int64, shape ``(n,)``.
        start: First sample of each window in its recording, int64, shape ``(n,)``.
        window: Samples of a window.
        teachers: Names of the models whose mean this is.
    """

    classes: tuple[str, ...]
    probability: NDArray[np.float64]
    recordings: tuple[str, ...]
    recording: NDArray[np.int64]
    start: NDArray[np.int64]
    window: int
    teachers: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.start)

    def of_dataset(self, dataset: Dataset) -> NDArray[np.float64]:
        """Return the probabilities of a dataset's windows, ``(n, classes)``, in its order and that of its classes.

        Raises:
            InputError: It has other classes, or windows that nobody said anything of.
        """
        if sorted(self.classes) != sorted(dataset.classes) or self.window != dataset.window:
            raise InputError(
                f"soft labels are of {', '.join(self.classes)} and windows of {self.window} samples, the dataset has "
                f"{', '.join(dataset.classes)} and {dataset.window}; make them for this dataset"
            )
        keys = zip(self.recording.tolist(), self.start.tolist(), strict=True)
        place = {(self.recordings[recording], start): i for i, (recording, start) in enumerate(keys)}
        shas = recording_hashes(dataset)
        wanted = zip(dataset.session.tolist(), dataset.start.tolist(), strict=True)
        found = [place.get((shas[session], start), -1) for session, start in wanted]
        missing = found.count(-1)
        if missing:
            raise InputError(f"{missing} of {len(dataset)} windows have no soft labels; make them for this dataset")
        order = [self.classes.index(name) for name in dataset.classes]
        return self.probability[np.array(found, dtype=np.int64)][:, order]


def recording_hashes(dataset: Dataset) -> list[str]:
    """Return the SHA-256 of each recording of a dataset.

    Raises:
        InputError: The dataset does not say.
    """
    inputs: Any = dataset.meta.get("inputs")
    shas = [one.get("sha256") for one in inputs] if isinstance(inputs, list) else []
    if len(shas) <= int(dataset.session.max(initial=0)) or not all(isinstance(one, str) for one in shas):
        raise InputError("the dataset does not say what it was cut from; explore again")
    return shas


def write_soft_labels(labels: SoftLabels, path: Path) -> None:
    """Write soft labels; the same ones give the same bytes.

    Raises:
        InputError: The place cannot be written.
    """
    about = {
        "format": FORMAT,
        "classes": list(labels.classes),
        "recordings": list(labels.recordings),
        "window": labels.window,
        "teachers": list(labels.teachers),
    }
    text = np.frombuffer(json.dumps(about, sort_keys=True).encode(), dtype=np.uint8)
    columns = {"probability": labels.probability, "recording": labels.recording, "start": labels.start}
    write_arrays(path, {"about": text, **columns})


def read_soft_labels(path: Path) -> SoftLabels:
    """Read soft labels.

    Raises:
        InputError: The file is missing, damaged, too large or contradicts itself.
    """
    arrays = read_arrays(path, MAX_BYTES, _ADVICE)
    try:
        about = json.loads(arrays["about"].astype(np.uint8).tobytes())
        labels = SoftLabels(
            tuple(map(str, about["classes"])),
            arrays["probability"].astype(np.float64),
            tuple(map(str, about["recordings"])),
            arrays["recording"].astype(np.int64),
            arrays["start"].astype(np.int64),
            int(about["window"]),
            tuple(map(str, about["teachers"])),
        )
        known = about["format"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path} holds no soft labels; {_ADVICE}") from error
    n, classes = len(labels), len(labels.classes)
    sane = (
        known == FORMAT
        and 2 <= len(set(labels.classes)) == classes <= MAX_CLASSES
        and labels.probability.shape == (n, classes)
        and labels.recording.shape == labels.start.shape == (n,)
        and n > 0
        and 0 <= int(labels.recording.min()) <= int(labels.recording.max()) < len(labels.recordings)
    )
    if not sane or not np.allclose(labels.probability.sum(axis=1), 1, atol=1e-6) or (labels.probability < 0).any():
        raise InputError(f"{path}: its soft labels contradict themselves; {_ADVICE}")
    return labels
