"""Whoever knows what to make of a dataset's windows: stored models of any family, soft labels, an ensemble made here.

What they say serves `stinger magnetic soft-labels`, which writes it down, `stinger distil`, which teaches from it, and
`stinger magnetic compare`, which measures it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.features.sets import feature_set
from stinger.models.ast.model import AstModel, found_in
from stinger.models.soft_labels import SoftLabels, read_soft_labels, recording_hashes
from stinger.models.spec import TrainedModel
from stinger.models.store import load_model
from stinger.models.train import fit_rows
from stinger.windows.dataset import Dataset
from stinger.windows.folds import group_folds, units_of
from stinger.workflow.progress import Progress

#: What teaches if nobody else does: families that no board has room for, their mean.
ENSEMBLE = ("rf", "et", "hgb")
_FOLDS = 4
#: Windows in memory at a time.
_BLOCK = 64


class Teacher(Protocol):
    """Whoever knows what to make of windows."""

    @property
    def name(self) -> str:
        """What to call it."""
        ...

    def answers(self, dataset: Dataset) -> NDArray[np.float64]:
        """Class probabilities of every window, ``(n, classes)``, in the order of the dataset's classes.

        Raises:
            InputError: It knows other classes, or other windows.
        """
        ...


@dataclass(frozen=True)
class StoredTeacher:
    """A stored model of any family as a teacher.

    Attributes:
        model: It takes counts as its own dataset had them, or, a transformer, physical windows at their rate.
        progress: Says how many windows were answered.
    """

    model: AstModel | TrainedModel
    progress: Progress = field(default_factory=Progress)

    @property
    def name(self) -> str:
        """The model's."""
        return self.model.spec.name

    def answers(self, dataset: Dataset) -> NDArray[np.float64]:
        """See `Teacher`."""
        model, columns = self.model, self._columns(dataset)
        order = [list(model.spec.classes).index(name) for name in dataset.classes]
        scale = np.array([dataset.channels[i].scale for i in columns])
        answers = np.empty((len(dataset), len(dataset.classes)))
        with self.progress.bar("windows") as show:
            for first in range(0, len(dataset), _BLOCK):
                counts = dataset.windows[first : first + _BLOCK][:, :, columns]
                if isinstance(model, TrainedModel):
                    said = model.predict_proba(np.ascontiguousarray(counts))
                else:
                    said = model.predict_proba(counts * scale, 1e6 / dataset.period_us)
                answers[first : first + _BLOCK] = said[:, order]
                show(min(first + _BLOCK, len(dataset)), len(dataset))
        return answers

    @property
    def weight_bytes(self) -> int | None:
        """Size of a transformer's weights; of other families it says little, and is None."""
        return None if isinstance(self.model, TrainedModel) else self.model.weight_bytes

    def seen(self, dataset: Dataset) -> str | None:
        """Say how many held-out recordings the model learnt from: its figure on those flatters it."""
        try:
            shas = recording_hashes(dataset)
        except InputError:
            return None  # nobody knows
        held_out = {shas[i] for i in np.unique(dataset.session[dataset.held_out]).tolist()}
        seen = len(held_out & set(self.model.spec.trained_on))
        if not seen:
            return None
        return (
            f"{self.name} learnt from {seen} of {len(held_out)} recordings that the dataset holds out windows of: "
            "its figure on those flatters it"
        )

    def _columns(self, dataset: Dataset) -> list[int]:
        """Where the model's channels are in the dataset, which must be one that it can answer."""
        spec = self.model.spec
        if sorted(spec.classes) != sorted(dataset.classes):
            raise InputError(
                f"{self.name} knows {', '.join(spec.classes)}, the dataset has {', '.join(dataset.classes)}; "
                "train it on these classes"
            )
        known = [channel.name for channel in dataset.channels]
        wanted = [one if isinstance(one, str) else one.name for one in spec.channels]
        missing = next((name for name in wanted if name not in known), None)
        if missing is not None:
            raise InputError(f"the dataset has no channel {missing!r}, which {self.name} needs; explore with it")
        columns = [known.index(name) for name in wanted]
        if isinstance(self.model, TrainedModel):
            same = tuple(dataset.channels[i] for i in columns) == self.model.spec.channels
            shape = self.model.spec.window, self.model.spec.period_us
            if not same or (dataset.window, dataset.period_us) != shape:
                raise InputError(
                    f"{self.name} takes windows of {shape[0]} samples every {shape[1]} us in its own channels and "
                    "scales; give the dataset it was trained on, or one cut like it"
                )
        return columns


@dataclass(frozen=True)
class FileTeacher:
    """Soft labels that somebody wrote down."""

    labels: SoftLabels

    @property
    def name(self) -> str:
        """The teachers'."""
        return " + ".join(self.labels.teachers)

    def answers(self, dataset: Dataset) -> NDArray[np.float64]:
        """See `Teacher`."""
        return self.labels.of_dataset(dataset)


@dataclass(frozen=True)
class EnsembleTeacher:
    """The mean of several families, which answers no training window that it learnt from.

    Training windows are answered by folds of whole recordings, as a teacher that has seen a window knows its label by
    heart and has nothing else to say about it; all others by models of all training windows.

    Attributes:
        families: What it consists of.
        features: The feature set of all of them.
        seed: Of folds and fits.
    """

    families: tuple[str, ...] = ENSEMBLE
    features: str = "magnetic"
    seed: int = 1

    @property
    def name(self) -> str:
        """The families'."""
        return " + ".join(self.families)

    def answers(self, dataset: Dataset) -> NDArray[np.float64]:
        """See `Teacher`."""
        names = [channel.name for channel in dataset.channels]
        vectors = feature_set(self.features, names, dataset.window).compute(dataset.windows)
        training = dataset.training
        said = np.zeros((len(dataset), len(dataset.classes)))
        folds = group_folds(dataset, training, _FOLDS, units=units_of(dataset)[0], seed=self.seed)
        parts = [*folds, (training, ~training)]
        for family in self.families:
            for learnt, asked in parts:
                model = fit_rows(dataset, learnt, family, features=self.features, seed=self.seed, vectors=vectors)
                said[asked] += model.predict_proba_features(vectors[asked])
        return said / len(self.families)


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


def load_teacher(path: Path) -> Teacher:
    """Read a teacher: a model of any family, or soft labels (``.npz``).

    Raises:
        InputError: There is none, or it is damaged.
        UsageError: The extra `ast` is missing.
    """
    if path.suffix == ".npz":
        return FileTeacher(read_soft_labels(path))
    return StoredTeacher(load_any(path))
