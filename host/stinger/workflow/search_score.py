"""Trials of a search: scoring them as the board would, and choosing which go on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError, StingerError
from stinger.evaluation import metrics
from stinger.models.train import fit_rows
from stinger.windows.dataset import Dataset
from stinger.windows.folds import group_folds, units_of
from stinger.windows.store import data_hash, read_dataset
from stinger.workflow.benchmark_cost import OnBoard, estimate
from stinger.workflow.benchmark_fit import load_vectors
from stinger.workflow.search_space import Trial
from stinger_export.integer.model import ONE
from stinger_export.integer.quantise import quantise

#: What a model can be chosen by; the first is the default of two classes, the second of more.
METRICS = ("pr_auc", "accuracy", "balanced_accuracy", "roc_auc")
#: Of each rung's trials, one in so many goes on.
_ETA = 3
#: At least so many trials are scored on all folds.
_FINALISTS = 10


@dataclass(frozen=True)
class Budget:
    """What a model may take, and what it must reach; None: whatever.

    Attributes:
        min_score: Least score.
        max_flash: Most bytes of flash.
        max_cycles: Most cycles per decision.
    """

    min_score: float | None = None
    max_flash: int | None = None
    max_cycles: int | None = None

    def allows(self, cost: OnBoard) -> bool:
        """Whether a model's cost is within the budget."""
        return (self.max_flash is None or cost.flash <= self.max_flash) and (
            self.max_cycles is None or cost.cycles <= self.max_cycles
        )


@dataclass(frozen=True)
class Scored:
    """A trial and what is known of it.

    Attributes:
        trial: The trial.
        scores: One for each fold it was scored on.
        cost: Mean over those folds; None when it failed.
        error: Why it failed, or empty.
    """

    trial: Trial
    scores: tuple[float, ...] = ()
    cost: OnBoard | None = None
    error: str = ""

    @property
    def score(self) -> float:
        """Mean over the folds."""
        return float(np.mean(self.scores)) if self.scores else float("-inf")

    @property
    def deviation(self) -> float:
        """Standard error of the mean over the folds; 0 of one."""
        return float(np.std(self.scores, ddof=1) / math.sqrt(len(self.scores))) if len(self.scores) > 1 else 0.0


@dataclass(frozen=True)
class SearchTask:
    """Some folds of a trial, and where the data are."""

    trial: Trial
    folds: tuple[int, ...]
    of: int
    metric: str
    seed: int
    train_dir: str
    digest: str
    feature_dir: str

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.trial.name


def score_trial(task: SearchTask) -> Scored:
    """Score a trial on some folds."""
    dataset = _dataset(task.train_dir, task.digest)
    vectors = load_vectors(task.feature_dir, task.trial.features, task.digest)
    parts = _folds(task.train_dir, task.digest, task.of, task.seed)
    scores, costs = [], []
    try:
        for number in task.folds:
            train_part, test_part = parts[number]
            model = fit_rows(
                dataset,
                train_part,
                task.trial.family,
                features=task.trial.features,
                seed=task.seed,
                options=dict(task.trial.options),
                vectors=vectors,
            )
            integer = quantise(model)
            costs.append(estimate(integer, model.calibration))
            probability = integer.body.decide(np.asarray(vectors[test_part]))[0] / ONE
            scores.append(score(dataset.labels[test_part], probability, task.metric))
    except StingerError as error:
        return Scored(task.trial, error=str(error))
    mean = OnBoard(
        flash=round(np.mean([cost.flash for cost in costs])),
        ram=round(np.mean([cost.ram for cost in costs])),
        cycles=round(np.mean([cost.cycles for cost in costs])),
    )
    return Scored(task.trial, tuple(scores), mean)


def score(labels: NDArray[np.uint8], probability: NDArray[np.float64], metric: str) -> float:
    """Score probabilities ``(n, classes)`` by one of `METRICS`."""
    if metric == "pr_auc":
        return metrics.average_precision(labels, probability[:, 1])
    if metric == "roc_auc":
        return metrics.roc_auc(labels, probability[:, 1])
    guesses = metrics.predicted(probability)
    if metric == "accuracy":
        return metrics.accuracy(labels, guesses)
    return metrics.balanced_accuracy(labels, guesses, probability.shape[1])


@lru_cache(maxsize=1)
def _dataset(train_dir: str, digest: str) -> Dataset:
    dataset = read_dataset(Path(train_dir))
    if data_hash(dataset) != digest:
        raise InputError(f"{train_dir} changed during the search; run it again")
    return dataset


@lru_cache(maxsize=1)
def _folds(train_dir: str, digest: str, folds: int, seed: int) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    return folds_of(_dataset(train_dir, digest), folds, seed)


def folds_of(dataset: Dataset, folds: int, seed: int) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Fold the training part by what the dataset was split by: people, recordings or groups; see `group_folds`."""
    return group_folds(dataset, dataset.training, folds, units=units_of(dataset)[0], seed=seed)


def promote(known: Sequence[Scored], budget: Budget) -> list[Scored]:
    """Choose which trials go on: those within the budget, half by score alone and half by trade-off.

    Trade-offs go by Pareto layers of score, flash and cycles, so that small models with fair scores stay in.
    """
    alive = [one for one in known if one.cost is not None and budget.allows(one.cost)]
    number = min(len(alive), max(_FINALISTS, -(-len(known) // _ETA)))
    by_score = sorted(alive, key=lambda one: (-one.score, one.trial.number))
    chosen = by_score[: -(-number // 2)]
    rest = [one for one in alive if one not in chosen]
    while rest and len(chosen) < number:
        layer = front_of(rest)
        # Where not all of a layer fit in, some of every size do.
        places = np.linspace(0, len(layer) - 1, min(len(layer), number - len(chosen))).astype(np.int64)
        chosen += [layer[place] for place in places]
        rest = [one for one in rest if one not in layer]
    return sorted(chosen, key=lambda one: one.trial.number)


def front_of(known: Sequence[Scored]) -> list[Scored]:
    """The trials that no other one beats in score, flash and cycles at once; smallest first.

    Of trials that are alike in all three, the first counts.
    """
    alive = [one for one in known if one.cost is not None]
    front = [one for one in alive if not any(_beats(other, one) for other in alive)]
    return sorted(front, key=_size)


def _beats(other: Scored, one: Scored) -> bool:
    assert other.cost is not None and one.cost is not None  # noqa: S101, PT018 - only those with a cost are compared
    a = (-other.score, other.cost.flash, other.cost.cycles)
    b = (-one.score, one.cost.flash, one.cost.cycles)
    return all(x <= y for x, y in zip(a, b, strict=True)) and (a != b or other.trial.number < one.trial.number)


def _size(one: Scored) -> tuple[float, float, float, int]:
    cost = one.cost
    size = (float("inf"), float("inf")) if cost is None else (cost.flash, cost.cycles)
    return (*size, -one.score, one.trial.number)


def preference(finalists: Sequence[Scored], budget: Budget) -> list[Scored]:
    """Order the finalists that keep to the budget and are good enough, smallest first.

    With a least score, good enough is what reaches it. Without, it is what is not worse than the best within the
    budget by more than a standard error of their difference, fold by fold.
    """
    alive = [one for one in finalists if one.cost is not None and budget.allows(one.cost)]
    if budget.min_score is not None:
        return sorted((one for one in alive if one.score >= budget.min_score), key=_size)
    best = best_of(alive)
    return [] if best is None else sorted((one for one in alive if _as_good(one, best)), key=_size)


def best_of(known: Sequence[Scored]) -> Scored | None:
    """Return the trial with the highest score, of equal ones the first; None of none."""
    return max(known, key=lambda one: (one.score, -one.trial.number), default=None)


def _as_good(one: Scored, best: Scored) -> bool:
    difference = np.subtract(best.scores, one.scores)
    if len(difference) < 2:
        return bool(difference.mean() <= 0)
    return bool(difference.mean() <= np.std(difference, ddof=1) / math.sqrt(len(difference)))
