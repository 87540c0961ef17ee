"""Teachers' answers to a dataset's windows: the job of `stinger magnetic soft-labels`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stinger.errors import UsageError
from stinger.models.soft_labels import SoftLabels, recording_hashes, write_soft_labels
from stinger.windows.store import read_dataset
from stinger.workflow.progress import Progress
from stinger.workflow.teachers import StoredTeacher, load_any


@dataclass(frozen=True)
class SoftenOptions:
    """What making soft labels can be told.

    Attributes:
        models: The teachers, of any family; of several the mean is taken.
        train_dir: A dataset that `stinger explore` wrote, windows of the teachers' length.
        out: Where to write them, if anywhere.
        threads: Processors that a transformer may use.
    """

    models: Sequence[Path]
    train_dir: Path
    out: Path | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if not self.models:
            raise UsageError("no teacher to ask; name at least one model")
        if self.out is not None and self.out.suffix != ".npz":
            raise UsageError(f"--out {self.out}: what is written there is a .npz file; end the name so")


@dataclass(frozen=True)
class Softened:
    """What came out.

    Attributes:
        labels: The soft labels, of every window of the dataset.
        right: Share of the windows not held out whose most probable class is the true one.
        held_out_right: The same of the windows held out.
        notes: What whoever uses them has to know, one line each.
    """

    labels: SoftLabels
    right: float
    held_out_right: float
    notes: tuple[str, ...]


def soften(options: SoftenOptions, progress: Progress | None = None) -> Softened:
    """Ask teachers for the probabilities of every window of a dataset.

    Raises:
        UsageError: Options that do not fit together, or the extra `ast` is missing.
        InputError: A model or the dataset cannot be read, or they do not fit together.
    """
    progress = progress or Progress()
    progress.step(f"reading {options.train_dir}")
    dataset = read_dataset(options.train_dir, whole=True)
    total = np.zeros((len(dataset), len(dataset.classes)))
    names, notes = [], []
    for path in options.models:
        teacher = StoredTeacher(load_any(path, threads=options.threads), progress)
        progress.step(f"asking {teacher.name} about {len(dataset):,} windows")
        total += teacher.answers(dataset)
        names.append(teacher.name)
        notes += [note for note in (teacher.seen(dataset),) if note]
    labels = SoftLabels(
        classes=dataset.classes,
        probability=total / total.sum(axis=1, keepdims=True),
        recordings=tuple(recording_hashes(dataset)),
        recording=dataset.session.astype(np.int64),
        start=dataset.start.astype(np.int64),
        window=dataset.window,
        teachers=tuple(names),
    )
    if options.out is not None:
        write_soft_labels(labels, options.out)
    hits = labels.probability.argmax(axis=1) == dataset.labels
    right, held_out_right = (
        float(hits[rows].mean()) if rows.any() else float("nan") for rows in (~dataset.held_out, dataset.held_out)
    )
    return Softened(labels, right, held_out_right, tuple(notes))
