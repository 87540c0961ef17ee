"""Fitting a model on a dataset, and measuring it on what the fit never saw."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no types

from stinger.errors import InputError, StingerError, UsageError
from stinger.features.base import FeatureSet
from stinger.features.sets import feature_set
from stinger.models import held_out as held_out_windows
from stinger.models.families import Family
from stinger.models.families import family as find_family
from stinger.models.policy import default_policy
from stinger.models.soft_targets import fit_softly, require_student
from stinger.models.spec import ModelSpec, TrainedModel
from stinger.models.threshold import FOLDS, Threshold, best_f1
from stinger.models.validate import calibration_rows
from stinger.windows.dataset import Dataset
from stinger.windows.folds import group_folds, units_of
from stinger.windows.store import data_hash

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,47}")


@dataclass(frozen=True)
class _Recipe:
    """How to fit: everything but the windows."""

    kind: Family
    name: str
    features: FeatureSet
    seed: int
    options: dict[str, Any]

    def fit(self, vectors: NDArray[Any], labels: NDArray[np.uint8], soft: NDArray[np.float64] | None = None) -> Any:
        """Fit on feature vectors ``(n, features)`` and labels, or probabilities in their place, on one thread."""
        _require_finite(self.features, vectors, "training")
        with threadpool_limits(1), warnings.catch_warnings():
            # The number of epochs is the family's choice, not something that went wrong.
            warnings.simplefilter("ignore", ConvergenceWarning)
            try:
                estimator = self.kind.build(self.seed, channels=len(self.features.channel_names), **self.options)
                if soft is None:
                    estimator.fit(vectors.astype(np.float64), labels.astype(np.int64))
                else:
                    fit_softly(estimator, vectors.astype(np.float64), labels.astype(np.int64), soft)
            except (ValueError, TypeError) as error:
                line = (str(error).splitlines() or [type(error).__name__])[0]
                raise UsageError(f"{self.kind.name} cannot be fitted like this: {line}") from error
        self.kind.finish(estimator)
        return estimator


def train(
    dataset: Dataset,
    family: str,
    *,
    features: str = "rich",
    seed: int = 1,
    name: str | None = None,
    options: Mapping[str, Any] | None = None,
    folds: int = FOLDS,
) -> TrainedModel:
    """Fit one model on a dataset's training windows, and measure it on those that are held out.

    The fit runs on one thread, so the same dataset, options and seed give the same weights whatever the
    number of cores.

    Args:
        dataset: Labelled windows with a held-out part; every class must occur in both parts. Embargoed windows are
            in neither.
        family: One of `stinger.models.families.FAMILIES`.
        features: One of `stinger.features.sets.FEATURE_SETS`.
        seed: Seed of everything random in the fit.
        name: The model's name, a C identifier of at most 48 characters; the family's name, with underscores, if not
            given.
        options: Hyperparameters that differ from the family's defaults.
        folds: Folds of the training part that the threshold of two classes is chosen on; 0 keeps 0.5.

    Returns:
        The fitted model. ``spec.metrics`` holds ``accuracy`` and ``balanced_accuracy`` of the held-out windows (the
        most probable class is the answer), for two classes also ``roc_auc``, ``pr_auc`` and ``base_rate``, and at
        the chosen threshold ``f1``, ``precision`` and ``recall``, with ``threshold_folds``; for more classes
        ``macro_f1``; and the counts ``train_windows`` and ``held_out_windows``.

    Raises:
        UsageError: Unknown family, feature set or option, or an unusable name.
        InputError: The dataset cannot be learnt from or measured on.
    """
    return train_with_threshold(dataset, family, features=features, seed=seed, name=name, options=options, folds=folds)[
        0
    ]


def train_with_threshold(
    dataset: Dataset,
    family: str,
    *,
    features: str = "rich",
    seed: int = 1,
    name: str | None = None,
    options: Mapping[str, Any] | None = None,
    folds: int = FOLDS,
) -> tuple[TrainedModel, Threshold]:
    """Do what `train` does, and also say how the threshold came about."""
    require_classes(dataset, dataset.training, "training")
    require_classes(dataset, dataset.held_out, "held-out")
    recipe = _recipe(dataset, family, features, seed=seed, name=name, options=options)
    model, threshold = _fit(dataset, dataset.training, recipe, folds)
    held_out = recipe.features.compute(dataset.windows[dataset.held_out])
    _require_finite(recipe.features, held_out, "held-out")
    probability = model.predict_proba_features(held_out)
    measured = _measure(model, probability, dataset.labels[dataset.held_out])
    if len(dataset.classes) == 2:
        measured["threshold_folds"] = float(threshold.folds)
    counts = {"train_windows": float(dataset.training.sum()), "held_out_windows": float(dataset.held_out.sum())}
    kept = held_out_windows.keep(dataset.windows, dataset.labels, dataset.held_out, seed)
    return replace(model, spec=replace(model.spec, metrics={**measured, **counts}), held_out=kept), threshold


def fit_rows(
    dataset: Dataset,
    rows: NDArray[np.bool_],
    family: str,
    *,
    features: str = "rich",
    seed: int = 1,
    name: str | None = None,
    options: Mapping[str, Any] | None = None,
    folds: int = 0,
    vectors: NDArray[Any] | None = None,
    soft: NDArray[np.float64] | None = None,
) -> TrainedModel:
    """Fit one model on exactly the given windows, and measure nothing.

    Args:
        dataset: Labelled windows; its own split does not matter.
        rows: Which of them to learn from, shape ``(n,)``; every class must occur.
        family: As in `train`, and so all that follows.
        features: Feature set.
        seed: Seed of everything random in the fit.
        name: The model's name.
        options: Hyperparameters.
        folds: Folds of ``rows`` to choose the threshold on; by default it stays 0.5, which saves as many fits.
        vectors: The features of every window of the dataset, where somebody has computed them already.
        soft: Probabilities of every window of the dataset, ``(n, classes)``, to learn from in the labels' place; see
            `stinger.models.soft_targets`.

    Raises:
        UsageError: Unknown family, feature set or option, or an unusable name; or a family that learns from labels
            only.
        InputError: The windows cannot be learnt from.
    """
    require_classes(dataset, rows, "training")
    if soft is not None:
        require_student(family)
    recipe = _recipe(dataset, family, features, seed=seed, name=name, options=options)
    return _fit(dataset, rows, recipe, folds, vectors, soft=None if soft is None else soft[rows])[0]


def require_classes(dataset: Dataset, rows: NDArray[np.bool_], part: str) -> None:
    """Refuse windows that cannot be learnt from or measured on.

    Args:
        dataset: Labelled windows.
        rows: Which of them, shape ``(n,)``.
        part: What they are for, for the message: ``training`` or ``held-out``.

    Raises:
        InputError: There are fewer than two classes, or one is not among them.
    """
    if len(dataset.classes) < 2:
        raise InputError(f"the dataset has {len(dataset.classes)} class(es), a classifier needs two; add recordings")
    if len(dataset) and int(dataset.labels.max()) >= len(dataset.classes):
        raise InputError(f"the dataset has label {int(dataset.labels.max())} of {len(dataset.classes)} classes")
    if not rows.any():
        raise InputError(f"the dataset has no {part} windows; hold out some recordings, not all of them")
    count = np.bincount(dataset.labels[rows], minlength=len(dataset.classes))
    if not count.all():
        missing = dataset.classes[int(np.argmin(count))]
        raise InputError(f"class {missing!r} has no {part} windows; record more of it or hold out other recordings")


def _require_finite(features: FeatureSet, vectors: NDArray[Any], part: str) -> None:
    """Refuse feature vectors that no estimator can take; integer ones never are such."""
    finite = np.isfinite(vectors).all(axis=0)
    if not finite.all():
        column = int(np.argmin(finite))
        wrong = int((~np.isfinite(vectors[:, column])).sum())
        raise InputError(
            f"feature {features.names[column]!r} is not a number in {wrong} of {len(vectors)} {part} windows; "
            "choose an integer feature set or leave those recordings out"
        )


def _recipe(
    dataset: Dataset, family: str, features: str, *, seed: int, name: str | None, options: Mapping[str, Any] | None
) -> _Recipe:
    kind = find_family(family)
    name = kind.name.replace("-", "_") if name is None else name
    if not _IDENTIFIER.fullmatch(name):
        raise UsageError(f"model name {name!r} is not a C identifier of at most 48 characters")
    kind.check_features(features)
    chosen = feature_set(features, [c.name for c in dataset.channels], dataset.window)
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in (options or {}).items()}
    changed = {k: v for k, v in given.items() if k not in kind.defaults or v != kind.defaults[k]}
    return _Recipe(kind, name, chosen, seed, changed)


def _fit(
    dataset: Dataset,
    rows: NDArray[np.bool_],
    recipe: _Recipe,
    folds: int,
    of_all: NDArray[Any] | None = None,
    *,
    soft: NDArray[np.float64] | None = None,
) -> tuple[TrainedModel, Threshold]:
    vectors = recipe.features.compute(dataset.windows[rows]) if of_all is None else of_all[rows]
    estimator = recipe.fit(vectors, dataset.labels[rows], soft)
    threshold = _choose_threshold(dataset, rows, vectors, recipe, folds)
    spec = ModelSpec(
        name=recipe.name,
        family=recipe.kind.name,
        features=recipe.features.name,
        window=dataset.window,
        period_us=dataset.period_us,
        lead_us=dataset.lead_us,
        channels=dataset.channels,
        classes=dataset.classes,
        seed=recipe.seed,
        data_hash=data_hash(dataset),
        options={k: list(v) if isinstance(v, tuple) else v for k, v in recipe.options.items()},
        policy=default_policy(dataset.channels, dataset.classes, window=dataset.window, period_us=dataset.period_us),
        threshold=threshold.value,
        trained_on=_recordings(dataset, rows),
    )
    return TrainedModel(spec, estimator, _calibration(vectors)), threshold


def _calibration(vectors: NDArray[Any]) -> NDArray[Any]:
    """Every training window's features, or an even stride through them: all kinds of windows stay in."""
    return np.ascontiguousarray(vectors[:: -(-len(vectors) // calibration_rows(vectors.shape[1], vectors.dtype))])


def _recordings(dataset: Dataset, rows: NDArray[np.bool_]) -> tuple[str, ...]:
    """SHA-256 of every recording that these windows come from, as far as the dataset knows it."""
    inputs = dataset.meta.get("inputs")
    if not isinstance(inputs, list):
        return ()
    numbers = np.unique(dataset.session[rows]).tolist()
    known = [inputs[i].get("sha256") for i in numbers if i < len(inputs)]
    return tuple(dict.fromkeys(str(sha) for sha in known if sha))


def _choose_threshold(
    dataset: Dataset, rows: NDArray[np.bool_], vectors: NDArray[Any], recipe: _Recipe, folds: int
) -> Threshold:
    """Choose the threshold of two classes on folds of the training windows; see `stinger.models.threshold`."""
    if len(dataset.classes) != 2 or folds == 0:
        return Threshold()
    labels = dataset.labels[rows]
    probability = np.empty(len(labels))
    try:
        parts = group_folds(dataset, rows, folds, units=units_of(dataset)[0], seed=recipe.seed)
        for train_part, test_part in parts:
            estimator = recipe.fit(vectors[train_part[rows]], labels[train_part[rows]])
            probability[test_part[rows]] = estimator.predict_proba(vectors[test_part[rows]].astype(np.float64))[:, 1]
    except StingerError as error:
        return Threshold(reason=str(error))
    reason = "" if len(parts) == folds else f"there are too few groups of a class to train on for {folds}"
    return Threshold(best_f1(labels, probability), len(parts), reason)


def _measure(model: TrainedModel, probability: NDArray[np.float64], labels: NDArray[np.uint8]) -> dict[str, float]:
    guesses = np.argmax(probability, axis=1)
    measured = {
        "accuracy": float(metrics.accuracy_score(labels, guesses)),
        "balanced_accuracy": float(metrics.balanced_accuracy_score(labels, guesses)),
    }
    if len(model.spec.classes) > 2:
        return {**measured, "macro_f1": float(metrics.f1_score(labels, guesses, average="macro"))}
    measured["roc_auc"] = float(metrics.roc_auc_score(labels, probability[:, 1]))
    measured["pr_auc"] = float(metrics.average_precision_score(labels, probability[:, 1]))
    measured["base_rate"] = float(np.mean(labels == 1))
    answered = probability[:, 1] >= model.spec.threshold
    for name, score in (
        ("f1", metrics.f1_score),
        ("precision", metrics.precision_score),
        ("recall", metrics.recall_score),
    ):
        measured[name] = float(score(labels == 1, answered, zero_division=0.0))
    return measured
