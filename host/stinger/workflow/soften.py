"""Teachers' answers to a dataset's windows: the job of `stinger magnetic soft-labels`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError, UsageError
from stinger.models.ast.model import AstModel, found_in
from stinger.models.soft_labels import SoftLabels, recording_hashes, write_soft_labels
from stinger.models.spec import TrainedModel
from stinger.models.store import load_model
from stinger.windows.dataset import Dataset
from stinger.windows.store import read_dataset
from stinger.workflow.progress import Progress

#: Windows in memory at a time.
_BLOCK = 64


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
    shas = recording_hashes(dataset)
    held_out = {shas[i] for i in np.unique(dataset.session[dataset.held_out]).tolist()}
    total = np.zeros((len(dataset), len(dataset.classes)))
    names, notes = [], []
    for path in options.models:
        model = load_any(path, threads=options.threads)
        name = model.spec.name
        progress.step(f"asking {name} about {len(dataset):,} windows")
        total += _answers(model, dataset, progress)
        names.append(name)
        seen = len(held_out & set(model.spec.trained_on))
        if seen:
            notes.append(
                f"{name} learnt from {seen} of {len(held_out)} recordings that the dataset holds out windows of: "
                "its figure on those flatters it"
            )
    labels = SoftLabels(
        classes=dataset.classes,
        probability=total / total.sum(axis=1, keepdims=True),
        recordings=tuple(shas),
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


def load_any(path: Path, *, threads: int = 1) -> AstModel | TrainedModel:
    """Read a model of any family: a transformer's folder or file, or a model directory.

    Raises:
        InputError: There is none, or it is damaged.
        UsageError: The extra `ast` is missing.
    """
    if path.is_file() or (path.is_dir() and found_in(path) is not None):
        return AstModel.load(path, threads=threads)
    if not path.is_dir():
        raise InputError(f"{path} does not exist; give a model that `stinger train` wrote")
    return load_model(path)


def _answers(model: AstModel | TrainedModel, dataset: Dataset, progress: Progress) -> NDArray[np.float64]:
    """Probabilities of a dataset's windows, ``(n, classes)``, in the order of its classes."""
    spec = model.spec
    if sorted(spec.classes) != sorted(dataset.classes):
        raise InputError(
            f"{spec.name} knows {', '.join(spec.classes)}, the dataset has {', '.join(dataset.classes)}; "
            "train it on these classes"
        )
    known = [channel.name for channel in dataset.channels]
    wanted = [one if isinstance(one, str) else one.name for one in spec.channels]
    missing = next((name for name in wanted if name not in known), None)
    if missing is not None:
        raise InputError(f"the dataset has no channel {missing!r}, which {spec.name} needs; explore with it")
    columns = [known.index(name) for name in wanted]
    if isinstance(model, TrainedModel):
        same = tuple(dataset.channels[i] for i in columns) == model.spec.channels
        if not same or (dataset.window, dataset.period_us) != (model.spec.window, model.spec.period_us):
            raise InputError(
                f"{spec.name} takes windows of {model.spec.window} samples every {model.spec.period_us} us in its own "
                "channels and scales; give the dataset it was trained on, or one cut like it"
            )
    scale = np.array([dataset.channels[i].scale for i in columns])
    answers = np.empty((len(dataset), len(dataset.classes)))
    order = [spec.classes.index(name) for name in dataset.classes]
    with progress.bar("windows") as show:
        for first in range(0, len(dataset), _BLOCK):
            counts = dataset.windows[first : first + _BLOCK][:, :, columns]
            if isinstance(model, TrainedModel):
                said = model.predict_proba(np.ascontiguousarray(counts))
            else:
                said = model.predict_proba(counts * scale, 1e6 / dataset.period_us)
            answers[first : first + _BLOCK] = said[:, order]
            show(min(first + _BLOCK, len(dataset)), len(dataset))
    return answers
