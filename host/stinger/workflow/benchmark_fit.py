"""One unit of a benchmark: split, fit, measure. It runs in whatever process the pool gives it.

A process reads the dataset once and keeps it; features were computed once by whoever planned the work, and are mapped
from a file. Models are fitted by `stinger.models.train`, as `stinger train` fits them, on one thread.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics as skm

from stinger.errors import InputError, StingerError, ToolchainError
from stinger.evaluation import metrics
from stinger.features.sets import feature_set
from stinger.files import replace_file
from stinger.models.spec import TrainedModel
from stinger.models.train import fit_rows, require_classes
from stinger.windows.dataset import Dataset
from stinger.windows.folds import group_folds, units_of
from stinger.windows.splits import Split, split
from stinger.windows.store import read_dataset
from stinger.workflow.benchmark_cost import on_board
from stinger.workflow.benchmark_plan import FIXED_SPLITS, INNER_FOLDS, Unit, data_digest
from stinger.workflow.benchmark_streaming import stream

#: Probabilities are kept for resampling for so many seeds, and of no more held-out windows than this.
KEPT_SEEDS, MAX_KEPT = 5, 10_000


@dataclass(frozen=True)
class Task:
    """A unit and where its data are.

    Attributes:
        unit: What to do.
        train_dir: The dataset's directory.
        feature_dir: Holds a file for each feature set; see `write_features`. None computes them for this unit alone.
    """

    unit: Unit
    train_dir: str
    feature_dir: str | None

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.unit.name


def write_features(dataset: Dataset, names: Sequence[str], directory: Path) -> None:
    """Compute feature sets of all windows, once for all units, and write a file for each.

    Raises:
        InputError: The place cannot be written.
    """
    for name in names:
        vectors = feature_set(name, [c.name for c in dataset.channels], dataset.window).compute(dataset.windows)
        with replace_file(directory / f"{name}.npy") as stream:
            np.save(stream, vectors, allow_pickle=False)


def run(task: Task) -> dict[str, Any]:
    """Do one unit.

    Returns:
        Plain JSON values: the metrics, or ``error`` with why there are none.

    Raises:
        InputError: The dataset, or a recording, is not the one that was planned for.
        ToolchainError: A cost is to be measured, and there is no compiler for the board.
        LinkError: A cost is to be measured, and the firmware fails.
    """
    unit = task.unit
    dataset = _dataset(task.train_dir, unit.parameters["data"])
    vectors = _vectors(task, dataset)
    if unit.kind == "cost":
        return _cost(unit, dataset, vectors)
    if unit.kind == "stream":
        return stream(unit, dataset, vectors)
    try:
        return _score(unit, dataset, vectors, _split(task.train_dir, unit.parameters["data"], _split_options(unit)))
    except StingerError as error:
        return {"error": str(error)}


@lru_cache(maxsize=1)
def _dataset(train_dir: str, digest: str) -> Dataset:
    dataset = read_dataset(Path(train_dir), whole=True)
    if data_digest(dataset) != digest:
        raise InputError(f"{train_dir} changed while it was benchmarked; run it again")
    return dataset


def _vectors(task: Task, dataset: Dataset) -> NDArray[Any]:
    name = task.unit.config.features
    if task.feature_dir is None:
        return feature_set(name, [c.name for c in dataset.channels], dataset.window).compute(dataset.windows)
    return load_vectors(task.feature_dir, name, task.unit.parameters["data"])


@lru_cache(maxsize=16)
def load_vectors(directory: str, name: str, digest: str) -> NDArray[Any]:  # noqa: ARG001 - part of the key
    """Map the features that `write_features` wrote, shape ``(n, features)``; the digest tells datasets apart."""
    vectors: NDArray[Any] = np.load(Path(directory) / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    return vectors


@dataclass(frozen=True)
class _SplitOptions:
    kind: str
    test_size: float
    seed: int
    embargo: bool

    def apply(self, dataset: Dataset) -> Split:
        return split(dataset, self.kind, test_size=self.test_size, seed=self.seed, embargo=self.embargo)


def _split_options(unit: Unit) -> _SplitOptions:
    return _SplitOptions(unit.split, unit.parameters["test_size"], unit.seed, unit.parameters["embargo"])


@lru_cache(maxsize=64)
def _split(train_dir: str, digest: str, options: _SplitOptions) -> Split:
    return options.apply(_dataset(train_dir, digest))


def held_out(dataset: Dataset, unit: Unit) -> NDArray[np.bool_]:
    """Return which windows a unit holds out, shape ``(n,)``."""
    return _split_options(unit).apply(dataset).test


def _score(unit: Unit, dataset: Dataset, vectors: NDArray[Any], parts: Split) -> dict[str, Any]:
    two = len(dataset.classes) == 2
    require_classes(dataset, parts.train, "training")
    if two:
        require_classes(dataset, parts.test, "held-out")
    dataset = replace(dataset, meta={**dataset.meta, "split": {"kind": unit.split}})
    shuffled = unit.kind == "shuffled"
    if shuffled:
        dataset = replace(dataset, labels=_shuffled(dataset.labels, parts.train, unit.seed))
    began = time.perf_counter()
    model = fit_rows(
        dataset,
        parts.train,
        unit.config.family,
        features=unit.config.features,
        seed=unit.seed,
        folds=0 if shuffled or not two else INNER_FOLDS,
        vectors=vectors,
    )
    result: dict[str, Any] = {
        "fit_s": round(time.perf_counter() - began, 4),
        "train_windows": int(parts.train.sum()),
        "test_windows": int(parts.test.sum()),
        "embargoed": parts.leak.embargoed,
    }
    # Shuffling leaves the labels of the held-out windows alone.
    labels = dataset.labels[parts.test]
    probability = model.predict_proba_features(vectors[parts.test])
    if not np.isfinite(probability).all():
        raise InputError("the fit diverged: its probabilities are not numbers; try another family or feature set")
    result |= _two_classes(model, labels, probability) if two else _many_classes(labels, probability)
    if two and not shuffled:
        result |= _threshold_facts(dataset, parts, unit)
        if unit.split in FIXED_SPLITS and unit.seed <= KEPT_SEEDS and len(labels) <= MAX_KEPT:
            result["held_out"] = base64.b64encode(probability[:, 1].astype("<f4").tobytes()).decode()
    return result


def _shuffled(labels: NDArray[np.uint8], rows: NDArray[np.bool_], seed: int) -> NDArray[np.uint8]:
    mixed = labels.copy()
    mixed[rows] = np.random.default_rng(seed).permutation(labels[rows])
    return mixed


def _threshold_facts(dataset: Dataset, parts: Split, unit: Unit) -> dict[str, Any]:
    """Say whether the training part could be folded to choose a threshold."""
    try:
        folds = group_folds(dataset, parts.train, INNER_FOLDS, units=units_of(dataset)[0], seed=unit.seed)
    except InputError as error:
        return {"threshold_folds": 0, "threshold_reason": str(error)}
    return {"threshold_folds": len(folds)}


def _two_classes(model: TrainedModel, labels: NDArray[np.uint8], probability: NDArray[np.float64]) -> dict[str, Any]:
    positive = probability[:, 1]
    answered = (positive >= model.spec.threshold).astype(np.int64)
    return {
        "pr_auc": metrics.average_precision(labels, positive),
        "roc_auc": metrics.roc_auc(labels, positive),
        "base_rate": metrics.base_rate(labels),
        "threshold": model.spec.threshold,
        "f1": float(skm.f1_score(labels, answered, zero_division=0.0)),
        "precision": float(skm.precision_score(labels, answered, zero_division=0.0)),
        "recall": float(skm.recall_score(labels, answered, zero_division=0.0)),
        "accuracy": metrics.accuracy(labels, answered),
        "balanced_accuracy": metrics.balanced_accuracy(labels, answered, 2),
    }


def _many_classes(labels: NDArray[np.uint8], probability: NDArray[np.float64]) -> dict[str, Any]:
    guesses = metrics.predicted(probability)
    return {
        "accuracy": metrics.accuracy(labels, guesses),
        "balanced_accuracy": metrics.balanced_accuracy(labels, guesses, probability.shape[1]),
        "f1": float(skm.f1_score(labels, guesses, average="macro", labels=np.unique(labels), zero_division=0.0)),
    }


def _cost(unit: Unit, dataset: Dataset, vectors: NDArray[Any]) -> dict[str, Any]:
    measured = bool(unit.parameters["measured"])
    try:
        model = fit_rows(
            dataset,
            dataset.training,
            unit.config.family,
            features=unit.config.features,
            seed=unit.seed,
            vectors=vectors,
        )
        cost = on_board(model, dataset, measured=measured)
    except ToolchainError:
        raise
    except InputError as error:
        return {"reason": str(error)}
    return {"flash": cost.flash, "ram": cost.ram, "cycles": cost.cycles, "measured": cost.measured}
