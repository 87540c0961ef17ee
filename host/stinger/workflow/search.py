"""Looking for the smallest model within a budget: the job of `stinger search`.

Successive halving: all trials are scored on two folds of the training part, the best third of them on two more, and so
on until all folds are used. What is scored is the integer model, as the board runs it, and the folds are of whole
groups (people, recordings, shots: what the dataset was split by) with an embargo. The held-out windows are for the
winner only.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stinger.errors import CheckFailedError, UsageError
from stinger.features.sets import on_device_for
from stinger.files import write_text
from stinger.models.spec import TrainedModel
from stinger.models.store import save_model
from stinger.models.train import fit_rows, require_classes, train
from stinger.plots.pareto import ParetoPoint, plot_pareto
from stinger.windows.dataset import Dataset
from stinger.windows.store import data_hash, read_dataset
from stinger.workflow.benchmark_cost import OnBoard, on_board
from stinger.workflow.benchmark_fit import write_features
from stinger.workflow.pool import map_ordered
from stinger.workflow.progress import Progress
from stinger.workflow.search_report import TITLES, markdown, row_of
from stinger.workflow.search_score import (
    METRICS,
    Budget,
    Scored,
    SearchTask,
    best_of,
    folds_of,
    front_of,
    preference,
    promote,
    score_trial,
)
from stinger.workflow.search_space import SPACES, Trial, make_trials


@dataclass(frozen=True)
class SearchOptions:
    """What `stinger search` can be told.

    Attributes:
        train_dir: The dataset.
        out: The report, markdown; its picture goes beside it, with the suffix ``.png``.
        budget: What the model must keep to.
        families: Families to try; None for all that the board can run.
        features: Feature sets to try; None for all that the board computes.
        trials: How many models to try.
        folds: Folds of the training part.
        seed: Seed of trials, folds and fits.
        metric: One of `METRICS`; None chooses by the number of classes.
        out_model: Where the chosen model is saved, or None.
        measure_cost: Build and run the chosen model on the emulated board.
        backend: Where to work; None chooses.
        workers: How many at a time; None is as many as there are processors.
        scheduler: Address of a Dask scheduler.
    """

    train_dir: Path
    out: Path
    budget: Budget = field(default_factory=Budget)
    families: Sequence[str] | None = None
    features: Sequence[str] | None = None
    trials: int = 72
    folds: int = 5
    seed: int = 1
    metric: str | None = None
    out_model: Path | None = None
    measure_cost: bool = False
    backend: str | None = None
    workers: int | None = None
    scheduler: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.metric is not None and self.metric not in METRICS:
            raise UsageError(f"--metric {self.metric!r} is unknown; choose {', '.join(METRICS)}")
        if self.folds < 2:
            raise UsageError(f"--folds must be at least 2, is {self.folds}")


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        report: Everything, in plain JSON values.
        front: The finalists that no other one beats in score, flash and cycles at once, smallest first.
        model: The chosen model, fitted on the whole training part.
        cost: What it takes on the board.
    """

    report: dict[str, Any]
    front: list[Scored]
    model: TrainedModel
    cost: OnBoard


def search(options: SearchOptions, progress: Progress, json_file: Path | None = None) -> Found:
    """Look for the smallest model within a budget, and write the report.

    Args:
        options: Where, and within what.
        progress: Told of each step.
        json_file: Where the report goes as JSON too.

    Raises:
        UsageError: Options that do not fit together or the dataset.
        InputError: The dataset cannot be folded, or a place not be written.
        CheckFailedError: No model that was tried keeps to the budget; says how near the best one came. The report is
            written all the same.
    """
    progress.step(f"reading {options.train_dir}")
    dataset = read_dataset(options.train_dir)
    require_classes(dataset, dataset.training, "training")
    metric = _metric(options, dataset)
    folds = len(folds_of(dataset, options.folds, options.seed))
    if folds < options.folds:
        progress.step(f"the training part has groups for {folds} folds only, not {options.folds}")
    families = tuple(options.families or SPACES)
    features = options.features or on_device_for([c.name for c in dataset.channels], dataset.window)
    trials = make_trials(families, features, options.trials, options.seed)
    rungs = _halve(options, dataset, trials, folds=folds, metric=metric, progress=progress)
    finalists = rungs[-1]
    report = _report(options, dataset, metric, folds, rungs)
    ordered = preference(finalists, options.budget)
    taken = _choose(options, dataset, ordered, report, progress)
    if taken is not None:
        chosen, cost, model = taken
        final = {"flash": cost.flash, "ram": cost.ram, "cycles": cost.cycles, "measured": cost.measured}
        report["chosen"] = {**row_of(chosen), "final": final, "held_out": dict(model.spec.metrics)}
    _write(options, report, rungs, json_file)
    if taken is None:
        raise CheckFailedError(_nothing(options, rungs, metric))
    if options.out_model is not None:
        save_model(model, options.out_model)
    return Found(report, front_of(finalists), model, cost)


def _metric(options: SearchOptions, dataset: Dataset) -> str:
    if options.metric is None:
        return METRICS[0] if len(dataset.classes) == 2 else METRICS[1]
    if len(dataset.classes) != 2 and options.metric in ("pr_auc", "roc_auc"):
        raise UsageError(f"--metric {options.metric} is for two classes, there are {len(dataset.classes)}")
    return options.metric


def _halve(
    options: SearchOptions, dataset: Dataset, trials: Sequence[Trial], *, folds: int, metric: str, progress: Progress
) -> list[list[Scored]]:
    """Score trials rung by rung; returns each rung's, the finalists last."""
    known = [Scored(trial) for trial in trials]
    rungs: list[list[Scored]] = []
    with tempfile.TemporaryDirectory(prefix="stinger-search-") as name:
        folder = Path(name)
        names = list(dict.fromkeys(trial.features for trial in trials))
        progress.step(f"computing {', '.join(names)} features of {len(dataset):,} windows")
        write_features(dataset, names, folder)
        for first, last in _rungs(folds):
            if rungs:
                known = promote(rungs[-1], options.budget)
            if not known:
                break
            which = f"fold {last}" if last - first == 1 else f"folds {first + 1} to {last}"
            progress.step(f"{len(known)} models on {which} of {folds}")
            known = _score_all(
                options,
                dataset,
                known,
                folds=range(first, last),
                of=folds,
                metric=metric,
                folder=folder,
                progress=progress,
            )
            rungs.append(known)
    if not any(one.scores for one in rungs[0]):
        raise CheckFailedError(f"no model could be scored; the first one failed with: {rungs[0][0].error}")
    return rungs


def _rungs(folds: int) -> list[tuple[int, int]]:
    """First fold, and the one behind the last, of each rung: two folds at first, then twice as many each time."""
    ends = [2]
    while ends[-1] * 2 < folds:
        ends.append(ends[-1] * 2)
    ends = [*ends, folds] if folds > 2 else [1, 2]
    return list(zip([0, *ends], ends, strict=False))


def _score_all(
    options: SearchOptions,
    dataset: Dataset,
    known: Sequence[Scored],
    *,
    folds: range,
    of: int,
    metric: str,
    folder: Path,
    progress: Progress,
) -> list[Scored]:
    place, digest = str(options.train_dir.resolve()), data_hash(dataset)
    tasks = [SearchTask(one.trial, tuple(folds), of, metric, options.seed, place, digest, str(folder)) for one in known]
    with progress.bar("search") as bar:
        results = map_ordered(
            score_trial,
            tasks,
            backend=options.backend or ("dask" if options.scheduler is not None else "processes"),
            workers=options.workers,
            scheduler=options.scheduler,
            progress=bar,
        )
        return [_joined(before, after) for before, after in zip(known, results, strict=True)]


def _joined(before: Scored, after: Scored) -> Scored:
    """What is known of a trial after more folds."""
    if before.cost is None or after.cost is None:
        return after
    a, b = len(before.scores), len(after.scores)
    cost = OnBoard(
        flash=round((a * before.cost.flash + b * after.cost.flash) / (a + b)),
        ram=after.cost.ram,
        cycles=round((a * before.cost.cycles + b * after.cost.cycles) / (a + b)),
    )
    return replace(after, scores=before.scores + after.scores, cost=cost)


def _choose(
    options: SearchOptions, dataset: Dataset, ordered: Sequence[Scored], report: dict[str, Any], progress: Progress
) -> tuple[Scored, OnBoard, TrainedModel] | None:
    """Fit the candidates on the whole training part until one keeps to the budget: trees grow with the windows."""
    for one in ordered:
        progress.step(f"fitting {one.trial.name} on all {int(dataset.training.sum()):,} training windows")
        model = _fit(options, dataset, one.trial)
        cost = on_board(model, dataset, measured=options.measure_cost)
        if options.budget.allows(cost):
            return one, cost, model
        report["outgrown"].append({**row_of(one), "final": {"flash": cost.flash, "cycles": cost.cycles}})
    return None


def _fit(options: SearchOptions, dataset: Dataset, trial: Trial) -> TrainedModel:
    chosen = dict(trial.options)
    if dataset.held_out.any():
        return train(dataset, trial.family, features=trial.features, seed=options.seed, options=chosen)
    return fit_rows(dataset, dataset.training, trial.family, features=trial.features, seed=options.seed, options=chosen)


def _report(
    options: SearchOptions, dataset: Dataset, metric: str, folds: int, rungs: Sequence[Sequence[Scored]]
) -> dict[str, Any]:
    last = {one.trial.number: one for rung in rungs for one in rung}
    finalists = rungs[-1]
    best = best_of([one for one in finalists if one.cost is not None and options.budget.allows(one.cost)])
    return {
        "dataset": {
            "path": str(options.train_dir),
            "training_windows": int(dataset.training.sum()),
            "held_out_windows": int(dataset.held_out.sum()),
            "classes": list(dataset.classes),
        },
        "metric": metric,
        "folds": folds,
        "seed": options.seed,
        "budget": {
            "min_score": options.budget.min_score,
            "max_flash": options.budget.max_flash,
            "max_cycles": options.budget.max_cycles,
        },
        "rungs": [len(rung) for rung in rungs],
        "over_budget": sum(one.cost is not None and not options.budget.allows(one.cost) for one in last.values()),
        "failed": [{"name": one.trial.name, "error": one.error} for one in last.values() if one.error],
        "best": None if best is None else row_of(best),
        "front": [row_of(one) for one in front_of(finalists)],
        "trials": [row_of(one) for one in last.values()],
        "outgrown": [],
        "chosen": None,
    }


def _write(
    options: SearchOptions, report: dict[str, Any], rungs: Sequence[Sequence[Scored]], json_file: Path | None
) -> None:
    picture = options.out.with_suffix(".png")
    finalists = {one.trial.number for one in rungs[-1]}
    front = {row["number"] for row in report["front"]}
    chosen = report["chosen"]
    points = [
        ParetoPoint(
            name=row["name"],
            family=row["family"],
            score=row["score"],
            error=row["standard_error"],
            flash=row["flash"],
            cycles=row["cycles"],
            finalist=row["number"] in finalists,
            front=row["number"] in front,
            chosen=chosen is not None and row["number"] == chosen["number"],
        )
        for row in report["trials"]
        if "score" in row
    ]
    budget = options.budget
    plot_pareto(
        points,
        picture,
        score=TITLES[report["metric"]],
        min_score=budget.min_score,
        max_flash=budget.max_flash,
        max_cycles=budget.max_cycles,
    )
    write_text(options.out, markdown(report, picture.name))
    if json_file is not None:
        write_text(json_file, json.dumps(report, indent=2) + "\n")


def _nothing(options: SearchOptions, rungs: Sequence[Sequence[Scored]], metric: str) -> str:
    """Say that nothing keeps to the budget, and how near the best one came."""
    tried = [one for rung in reversed(rungs) for one in rung if one.cost is not None]
    within = [one for one in tried if one.cost is not None and options.budget.allows(one.cost)]
    if not within:
        small = min(tried, key=lambda one: (one.cost.flash, one.cost.cycles) if one.cost else (0, 0))
        assert small.cost is not None  # noqa: S101 - only those with a cost are looked at
        return (
            f"none of {len(rungs[0])} models fits the board's budget; the smallest, {small.trial.name}, takes about "
            f"{small.cost.flash:,} bytes and {small.cost.cycles:,.0f} cycles; allow more, or other --families"
        )
    best = best_of([one for one in within if len(one.scores) == len(within[0].scores)])
    assert best is not None  # noqa: S101 - there is at least one
    if options.budget.min_score is None:
        return (
            f"{best.trial.name} and whatever else seemed to fit is over the budget once fitted on training windows; "
            "allow a little more, or try more --trials"
        )
    return (
        f"none of {len(rungs[0])} models reaches {TITLES[metric]} {options.budget.min_score:g} within the budget; the "
        f"best there, {best.trial.name}, has {best.score:.3f}; lower --min-score, allow more, or try more --trials"
    )
