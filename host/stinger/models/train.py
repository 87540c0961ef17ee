"""Fitting a model on a dataset, and measuring it on what the fit never saw."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no types

from stinger.errors import InputError, UsageError
from stinger.features.integer import feature_set
from stinger.models.families import Family
from stinger.models.families import family as find_family
from stinger.models.spec import ModelSpec, TrainedModel
from stinger.models.validate import MAX_CALIBRATION
from stinger.windows.dataset import Dataset
from stinger.windows.store import data_hash

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,47}")


def train(
    dataset: Dataset,
    family: str,
    *,
    features: str = "rich",
    seed: int = 1,
    name: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> TrainedModel:
    """Fit one model on the windows that are not held out, and measure it on those that are.

    The fit runs on one thread, so the same dataset, options and seed give the same weights whatever the
    number of cores.

    Args:
        dataset: Labelled windows with a held-out part; every class must occur in both parts.
        family: ``logreg``, ``mlp`` or ``rf``; see `stinger.models.families.FAMILIES`.
        features: Integer feature set, ``summary`` or ``rich``.
        seed: Seed of everything random in the fit.
        name: The model's name, a C identifier of at most 48 characters; the family's name if not given.
        options: Hyperparameters that differ from the family's defaults.

    Returns:
        The fitted model. ``spec.metrics`` holds ``accuracy`` and ``balanced_accuracy`` of the held-out windows,
        for two classes also ``roc_auc``, ``pr_auc`` and ``base_rate``, and the counts ``train_windows`` and
        ``held_out_windows``.

    Raises:
        UsageError: Unknown family, feature set or option, or an unusable name.
        InputError: The dataset cannot be learnt from or measured on.
    """
    kind = find_family(family)
    name = family if name is None else name
    if not _IDENTIFIER.fullmatch(name):
        raise UsageError(f"model name {name!r} is not a C identifier of at most 48 characters")
    integer_features = feature_set(features, [c.name for c in dataset.channels], dataset.window)
    _refuse_degenerate(dataset)
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in (options or {}).items()}
    changed = {k: v for k, v in given.items() if k not in kind.defaults or v != kind.defaults[k]}
    vectors = integer_features.compute(dataset.windows)
    held_out = dataset.held_out
    estimator = _fit(kind, seed, changed, vectors[~held_out], dataset.labels[~held_out])

    spec = ModelSpec(
        name=name,
        family=kind.name,
        features=features,
        window=dataset.window,
        period_us=dataset.period_us,
        lead_us=dataset.lead_us,
        channels=dataset.channels,
        classes=dataset.classes,
        seed=seed,
        data_hash=data_hash(dataset),
        options={k: list(v) if isinstance(v, tuple) else v for k, v in changed.items()},
    )
    model = TrainedModel(spec, estimator, _calibration(vectors[~held_out]))
    measured = _measure(model, vectors[held_out], dataset.labels[held_out])
    counts = {"train_windows": float((~held_out).sum()), "held_out_windows": float(held_out.sum())}
    return replace(model, spec=replace(spec, metrics={**measured, **counts}))


def _calibration(vectors: NDArray[np.int16]) -> NDArray[np.int16]:
    """Every training window's features, or an even stride through them: all kinds of windows stay in."""
    return np.ascontiguousarray(vectors[:: -(-len(vectors) // MAX_CALIBRATION)])


def _refuse_degenerate(dataset: Dataset) -> None:
    if len(dataset.classes) < 2:
        raise InputError(f"the dataset has {len(dataset.classes)} class(es), a classifier needs two; add recordings")
    if len(dataset) and int(dataset.labels.max()) >= len(dataset.classes):
        raise InputError(f"the dataset has label {int(dataset.labels.max())} of {len(dataset.classes)} classes")
    for part, chosen in (("training", ~dataset.held_out), ("held-out", dataset.held_out)):
        if not chosen.any():
            raise InputError(f"the dataset has no {part} windows; hold out some recordings, not all of them")
        count = np.bincount(dataset.labels[chosen], minlength=len(dataset.classes))
        if not count.all():
            missing = dataset.classes[int(np.argmin(count))]
            raise InputError(f"class {missing!r} has no {part} windows; record more of it or hold out other recordings")


def _fit(
    kind: Family, seed: int, options: dict[str, Any], vectors: NDArray[np.int16], labels: NDArray[np.uint8]
) -> Any:
    with threadpool_limits(1), warnings.catch_warnings():
        # The number of epochs is the family's choice, not something that went wrong.
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            estimator = kind.build(seed, **options)
            estimator.fit(vectors.astype(np.float64), labels.astype(np.int64))
        except (ValueError, TypeError) as error:
            raise UsageError(f"{kind.name}: the options do not fit: {str(error).splitlines()[0]}") from error
    kind.finish(estimator)
    return estimator


def _measure(model: TrainedModel, vectors: NDArray[np.int16], labels: NDArray[np.uint8]) -> dict[str, float]:
    probability = model.predict_proba_features(vectors)
    guesses = np.argmax(probability, axis=1)
    measured = {
        "accuracy": float(metrics.accuracy_score(labels, guesses)),
        "balanced_accuracy": float(metrics.balanced_accuracy_score(labels, guesses)),
    }
    if len(model.spec.classes) == 2:
        measured["roc_auc"] = float(metrics.roc_auc_score(labels, probability[:, 1]))
        measured["pr_auc"] = float(metrics.average_precision_score(labels, probability[:, 1]))
        measured["base_rate"] = float(np.mean(labels == 1))
    return measured
