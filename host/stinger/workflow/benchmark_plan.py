"""What a benchmark does: configurations × splits × seeds, each one a unit of work with a key of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

import stinger
from stinger.errors import InputError, UsageError
from stinger.features.sets import feature_set
from stinger.models.families import family as find_family
from stinger.models.threshold import FOLDS
from stinger.windows.dataset import Dataset
from stinger.windows.spec import SPLIT_KINDS
from stinger.windows.splits import split
from stinger.windows.store import data_hash

#: The configurations of the Stinger's own benchmark.
REFERENCE = (
    "logreg:summary",
    "logreg:rich",
    "ridge:summary",
    "mlp:flatten",
    "mlp:rich",
    "rf:rich",
    "et:rich",
    "hgb:rich",
)
#: What we put beside them by default: models for the board that the reference does not have.
OURS = ("dt:rich",)
#: Splits that are tried when nobody asks for certain ones; what a dataset cannot do is said in the report.
SPLITS = ("random", "time", "group", "session", "subject")
#: Splits that hold out the same windows whatever the seed.
FIXED_SPLITS = ("time", "given")
#: Folds of the training part on which thresholds are chosen, as `stinger train` does.
INNER_FOLDS = FOLDS
#: Families that take longest to fit, the slowest first.
_SLOWEST = ("torch-cnn", "torch-mlp", "mlp", "rf", "hgb", "et", "xgb", "ridge")
#: The sources that decide what comes out of a unit; a change in one of them makes old results void.
_SOURCES = (
    *("features", "models", "windows", "sessions", "evaluation/metrics.py", "evaluation/streaming.py"),
    *(
        "workflow/benchmark_fit.py",
        "workflow/benchmark_streaming.py",
        "workflow/benchmark_cost.py",
        "workflow/crossfit.py",
    ),
)
_LIBRARIES = ("numpy", "scipy", "scikit-learn", "torch", "xgboost")


@dataclass(frozen=True)
class Config:
    """One model to compare: a family on a feature set."""

    family: str
    features: str

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"{self.family}/{self.features}"

    @classmethod
    def parse(cls, text: str) -> Config:
        """Read ``FAMILY:FEATURES``.

        Raises:
            UsageError: It is nothing of the kind.
        """
        parts = text.split(":")
        if len(parts) != 2 or not all(parts):
            raise UsageError(f"--config {text!r} is not FAMILY:FEATURES; one is rf:rich")
        return cls(*parts)


@dataclass(frozen=True)
class BenchmarkOptions:
    """What `stinger benchmark` can be told.

    Attributes:
        train_dir: The dataset.
        out: The report; results are kept in a directory beside it.
        configs: What to compare; None for `REFERENCE` and `OURS`.
        splits: How to hold out; None for all of `SPLITS` that the dataset can do.
        seeds: How many seeds, from 1 on.
        test_size: Share held out.
        embargo: Leave out training windows that share raw samples with held-out ones.
        shuffled: Repeat one split with shuffled training labels, which must give chance.
        logs: Recordings to score the models on, sample by sample.
        measure_cost: Compile and run on the emulated board instead of estimating.
        fit_time: Show fit times, which no second run repeats.
        backend: Where to work, one of `stinger.workflow.pool.BACKENDS`; None chooses.
        workers: How many at a time; None is as many as there are processors.
        scheduler: Address of a Dask scheduler.
    """

    train_dir: Path
    out: Path
    configs: Sequence[str] | None = None
    splits: Sequence[str] | None = None
    seeds: int = 10
    test_size: float = 0.25
    embargo: bool = True
    shuffled: bool = True
    logs: Sequence[Path] = ()
    measure_cost: bool = False
    fit_time: bool = True
    backend: str | None = None
    workers: int | None = None
    scheduler: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if not 1 <= self.seeds <= 1000:
            raise UsageError(f"--seeds must be 1 to 1000, not {self.seeds}")
        if not 0 < self.test_size < 1:
            raise UsageError(f"--test-size must be above 0 and below 1, is {self.test_size:g}")
        for kind in self.splits or ():
            if kind not in SPLIT_KINDS or kind == "auto":
                known = ", ".join(k for k in SPLIT_KINDS if k != "auto")
                raise UsageError(f"--split {kind!r} is unknown; choose some of {known}, separated by commas")


@dataclass(frozen=True)
class Unit:
    """One piece of work: a fit, and the windows it is measured on.

    Attributes:
        kind: ``score``, ``shuffled`` (training labels shuffled), ``cost`` (what the board needs) or ``stream`` (whole
            recordings).
        config: The model.
        split: How windows are held out; empty for ``cost`` and ``stream``.
        seed: Seed of split and fit.
        parameters: Everything else the result depends on, in plain JSON values.
    """

    kind: str
    config: Config
    split: str
    seed: int
    parameters: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """What messages call it."""
        return " ".join(part for part in (self.kind, self.config.name, self.split, f"seed {self.seed}") if part)

    @property
    def key(self) -> str:
        """64 hexadecimal digits that change with anything its result depends on."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Plan:
    """All the work of a benchmark.

    Attributes:
        configs: The models.
        splits: The splits that the dataset can do.
        impossible: Why it cannot do the others.
        shuffled_split: The split whose training labels are shuffled, or None.
        units: What to do, in order.
    """

    configs: tuple[Config, ...]
    splits: tuple[str, ...]
    impossible: dict[str, str]
    shuffled_split: str | None
    units: tuple[Unit, ...]


def make_plan(options: BenchmarkOptions, dataset: Dataset, logs: Sequence[Mapping[str, Any]] = ()) -> Plan:
    """Plan a benchmark.

    Args:
        options: What is wanted.
        dataset: All windows, embargoed ones too.
        logs: What identifies the recordings to run the models over, one mapping for each.

    Raises:
        UsageError: A configuration that there is not, or that this dataset's channels cannot have.
        InputError: The dataset has a single class, or none of the splits is possible.
    """
    configs = tuple(Config.parse(text) for text in options.configs or (*REFERENCE, *OURS))
    if len(set(configs)) < len(configs):
        raise UsageError("--config names the same model twice; give each once")
    if len(np.unique(dataset.labels)) < 2:
        count = len(np.unique(dataset.labels))
        raise InputError(f"{options.train_dir} has windows of {count} class(es), a benchmark needs two; add recordings")
    for config in configs:
        kind = find_family(config.family)
        kind.build(1)
        kind.check_features(config.features)
        feature_set(config.features, [channel.name for channel in dataset.channels], dataset.window)
    splits, impossible = _possible(options, dataset)
    # The most honest of the possible ones: what is whole in it is largest.
    shuffled = next(
        (kind for kind in ("subject", "session", "group", "time", "random", "given") if kind in splits), None
    )
    shuffled = shuffled if options.shuffled else None
    common = _parameters(options, dataset)

    def unit(kind: str, config: Config, split_kind: str = "", seed: int = 1) -> Unit:
        own: dict[str, Any] = {"defaults": _plain(find_family(config.family).defaults)}
        if kind == "cost":
            own["measured"] = options.measure_cost
        if kind in ("cost", "stream"):
            # These are fitted on what the dataset itself has for training.
            own["training"] = data_hash(dataset)
        return Unit(kind, config, split_kind, seed, common | own)

    seeds = range(1, options.seeds + 1)
    units = [
        replace(one, parameters={**one.parameters, "log": log})
        for log in logs
        for one in (unit("stream", config) for config in configs)
    ]
    # The slowest come first, and neighbours take about as long: no worker waits for another, nor all for a last one.
    by_weight = sorted(configs, key=lambda config: _SLOWEST.index(config.family) if config.family in _SLOWEST else 99)
    units += [unit("score", config, kind, seed) for config in by_weight for kind in splits for seed in seeds]
    if shuffled is not None:
        units += [unit("shuffled", config, shuffled, seed) for config in by_weight for seed in seeds]
    units += [unit("cost", config) for config in by_weight]
    return Plan(configs, splits, impossible, shuffled, tuple(units))


def _possible(options: BenchmarkOptions, dataset: Dataset) -> tuple[tuple[str, ...], dict[str, str]]:
    impossible: dict[str, str] = {}
    wanted = tuple(dict.fromkeys(options.splits or SPLITS))
    for kind in wanted:
        try:
            split(dataset, kind, test_size=options.test_size, embargo=options.embargo)
        except InputError as error:
            impossible[kind] = str(error)
    splits = tuple(kind for kind in wanted if kind not in impossible)
    if not splits:
        raise InputError(f"{options.train_dir} cannot be split: {'; '.join(impossible.values())}")
    return splits, impossible


def _parameters(options: BenchmarkOptions, dataset: Dataset) -> dict[str, Any]:
    return {
        "data": data_digest(dataset),
        "test_size": options.test_size,
        "embargo": options.embargo,
        "inner_folds": INNER_FOLDS,
        "versions": versions(),
    }


def data_digest(dataset: Dataset) -> str:
    """SHA-256 of all windows and what they belong to; how they are held out does not matter."""
    plain = replace(dataset, held_out=np.zeros(len(dataset), dtype=np.bool_), embargoed=None)
    digest = hashlib.sha256(data_hash(plain).encode())
    if dataset.subject is not None:
        digest.update(dataset.subject.astype("<i8").tobytes())
    inputs = dataset.meta.get("inputs")
    known = [[one.get("sha256"), one.get("split")] for one in inputs] if isinstance(inputs, list) else []
    digest.update(json.dumps([known, dataset.meta.get("kind")], sort_keys=True).encode())
    return digest.hexdigest()


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    found = {"stinger": stinger.__version__, "sources": _source_digest()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return tuple(found.items())


def versions() -> dict[str, str]:
    """What computes the results: versions of the libraries, and a hash of our own sources."""
    return dict(_versions())


def _source_digest() -> str:
    root = Path(stinger.__file__).parent
    digest = hashlib.sha256()
    for name in _SOURCES:
        place = root / name
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _plain(values: Any) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
