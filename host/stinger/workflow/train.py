"""A dataset in, a measured model out: the job of `stinger train`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.errors import UsageError
from stinger.evaluation.report import WindowReport, window_report
from stinger.models.families import Family
from stinger.models.families import family as find_family
from stinger.models.spec import TrainedModel
from stinger.models.threshold import FOLDS, Threshold
from stinger.models.train import train_with_threshold
from stinger.windows.dataset import Dataset
from stinger.windows.folds import units_of
from stinger.windows.spec import SPLIT_KINDS
from stinger.windows.splits import recordings, sharing, split
from stinger.windows.store import read_dataset
from stinger.windows.subset import subset
from stinger.workflow.progress import Progress

_TEST_SIZE = 0.25


@dataclass(frozen=True)
class TrainOptions:
    """What `stinger train` can be told.

    Attributes:
        train_dir: The dataset.
        family: Model family.
        features: Feature set.
        options: Hyperparameters that differ from the family's defaults.
        seed: Seed of fit, split, folds and intervals.
        split: How to hold out, one of `SPLIT_KINDS`; None keeps the dataset's own held-out part.
        test_size: Share to hold out in a new split; None is a quarter, or no new split.
        max_rows: Windows to use, at most.
        embargo: Leave out training windows that share raw samples with held-out ones.
        folds: Folds of the training part to choose the threshold on; 0 keeps 0.5.
    """

    train_dir: Path
    family: str = "logreg"
    features: str = "rich"
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 1
    split: str | None = None
    test_size: float | None = None
    max_rows: int | None = None
    embargo: bool = True
    folds: int = FOLDS

    def __post_init__(self) -> None:
        """Refuse what cannot be, before anything is read."""
        if self.split is not None and self.split not in SPLIT_KINDS:
            raise UsageError(f"--split {self.split!r} is unknown; choose {', '.join(SPLIT_KINDS)}")
        if self.test_size is not None and not 0 < self.test_size < 1:
            raise UsageError(f"--test-size must be above 0 and below 1, is {self.test_size:g}")
        if self.folds == 1 or self.folds < 0:
            raise UsageError(f"--threshold-folds must be 0 or at least 2, is {self.folds}")


@dataclass(frozen=True)
class Parts:
    """How a dataset was divided.

    Attributes:
        dataset: With its held-out part; embargoed windows marked.
        kind: What was held out: one of `SPLIT_KINDS` but ``auto``.
        leaked: Held-out windows that share raw samples with training windows.
        embargoed: Windows that are in neither part.
    """

    dataset: Dataset
    kind: str
    leaked: int
    embargoed: int


@dataclass(frozen=True)
class TrainResult:
    """What came out.

    Attributes:
        model: The fitted model.
        report: How good it is on the held-out windows.
        probability: What it says of the held-out windows, shape ``(n, classes)``.
        parts: What it was trained and measured on.
        notes: What a reader must know.
    """

    model: TrainedModel
    report: WindowReport
    probability: NDArray[np.float64]
    parts: Parts
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the model's manifest with report and split as plain JSON values."""
        data = self.parts.dataset
        return {
            **self.model.spec.to_json(),
            "feature_names": list(self.model.spec.feature_set.names),
            "split": {
                "kind": self.parts.kind,
                "train_windows": int(data.training.sum()),
                "held_out_windows": int(data.held_out.sum()),
                "embargoed_training_windows": self.parts.embargoed,
                "held_out_sharing_samples": self.parts.leaked,
            },
            "report": self.report.to_json(),
            "notes": list(self.notes),
        }


def run_training(options: TrainOptions, progress: Progress) -> TrainResult:
    """Train a model on a dataset and measure it.

    Raises:
        UsageError: Unknown names, or options that do not fit together.
        InputError: The dataset cannot be read, split, learnt from or measured on.
    """
    progress.step(f"reading {options.train_dir}")
    parts = divide(read_dataset(options.train_dir, whole=True), options)
    dataset = parts.dataset
    progress.step(f"training {options.family} on {int(dataset.training.sum()):,} windows")
    model, threshold = train_with_threshold(
        dataset,
        options.family,
        features=options.features,
        seed=options.seed,
        options=options.options,
        folds=options.folds,
    )
    progress.step(f"measuring on {int(dataset.held_out.sum()):,} windows")
    held_out = dataset.held_out
    probability = model.predict_proba(dataset.windows[held_out])
    units, unit_name = units_of(dataset, parts.kind)
    report = window_report(
        dataset.labels[held_out],
        probability,
        dataset.classes,
        threshold=model.spec.threshold if len(dataset.classes) == 2 else None,
        units=units[held_out],
        unit_name=unit_name,
        seed=options.seed,
    )
    return TrainResult(model, report, probability, parts, (*_notes(parts, threshold), *report.notes))


def divide(dataset: Dataset, options: TrainOptions) -> Parts:
    """Hold out what the options ask for.

    Args:
        dataset: All of its windows, the embargoed ones marked.
        options: How.

    Raises:
        UsageError: Impossible options.
        InputError: The dataset cannot be split like this.
    """
    own: Any = dataset.meta.get("split")
    own_kind = str(own.get("kind", "group")) if isinstance(own, dict) else "group"
    if options.max_rows is not None:
        dataset = subset(dataset, options.max_rows, seed=options.seed)
    kind = options.split or (own_kind if options.test_size is not None else None)
    if kind is None:
        kind, test = own_kind, dataset.held_out
        train_part = dataset.training if options.embargo else ~test
    else:
        size = _TEST_SIZE if options.test_size is None else options.test_size
        chosen = split(dataset, kind, test_size=size, seed=options.seed, embargo=options.embargo)
        kind, test, train_part = chosen.kind, chosen.test, chosen.train
    raw = recordings(dataset)
    leaked = sharing(raw, dataset.start, dataset.window, test, train_part)
    neither = ~test & ~train_part
    meta = {**dataset.meta, "split": {**(own if isinstance(own, dict) else {}), "kind": kind}}
    divided = replace(dataset, held_out=test, embargoed=neither if neither.any() else None, meta=meta)
    return Parts(divided, kind, int(leaked.sum()), int(neither.sum()))


def family_options(
    family: str,
    *,
    hidden: Sequence[int] | None = None,
    alpha: float | None = None,
    trees: int | None = None,
    given: Sequence[str] = (),
) -> dict[str, Any]:
    """Translate options of the command line into a family's own.

    Args:
        family: Model family.
        hidden: Units of the hidden layers.
        alpha: Strength of a network's penalty.
        trees: Trees of a forest, or rounds of boosting.
        given: Any others, as ``NAME=VALUE``.

    Raises:
        UsageError: The family has no such option, or it cannot have this value.
    """
    kind = find_family(family)
    network = "hidden_layer_sizes" in kind.defaults
    options: dict[str, Any] = {}
    if hidden is not None:
        if not network:
            raise UsageError(f"--mlp-hidden is for networks with hidden layers; {family} has none")
        options["hidden_layer_sizes"] = list(hidden)
    if alpha is not None:
        if not network:
            raise UsageError(f"--mlp-alpha is for networks with hidden layers; {family} has none, see --option")
        options["alpha"] = alpha
    if trees is not None:
        name = _trees_option(kind)
        if name is None:
            raise UsageError(f"--trees is for forests and boosted trees; {family} has no number of trees")
        options[name] = trees
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--option {text!r} is not NAME=VALUE; {family} takes {', '.join(sorted(kind.defaults))}")
        if name not in kind.defaults:
            raise UsageError(f"{family} has no option {name!r}; it takes {', '.join(sorted(kind.defaults))}")
        options[name] = _parsed(name, value, kind.defaults[name])
    return options


def _trees_option(kind: Family) -> str | None:
    if "n_estimators" in kind.defaults:
        return "n_estimators"
    return "max_iter" if "max_leaf_nodes" in kind.defaults else None


def _parsed(name: str, text: str, default: Any) -> Any:
    """Read a value of the default's type: a number, a list of whole numbers, none, or a word."""
    if text.lower() == "none":
        return None
    try:
        if isinstance(default, tuple):
            return [int(part) for part in text.split(",")]
        if isinstance(default, bool):
            return {"true": True, "false": False}[text.lower()]
        if isinstance(default, int):
            return int(text)
        if isinstance(default, float):
            return _finite(text)
    except (ValueError, KeyError) as error:
        raise UsageError(f"--option {name}={text}: expected a value like {_shown(default)}") from error
    return text


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _shown(default: Any) -> str:
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _notes(parts: Parts, threshold: Threshold) -> list[str]:
    dataset = parts.dataset
    notes = []
    if parts.leaked:
        total = int(dataset.held_out.sum())
        share = parts.leaked / total
        notes.append(f"leak: {parts.leaked} of {total} held-out windows ({share:.0%}) share samples with training")
    windows = dataset.windows[dataset.training]
    still = (windows == windows[:1, :1]).all(axis=(0, 1))
    if still.any():
        names = ", ".join(channel.name for channel, same in zip(dataset.channels, still, strict=True) if same)
        notes.append(f"constant in all training windows, so nothing to learn from: {names}")
    if threshold.reason:
        chosen = f"chosen on {threshold.folds} folds only" if threshold.folds else f"not chosen but {threshold.value:g}"
        notes.append(f"the threshold was {chosen}: {threshold.reason}")
    return notes
