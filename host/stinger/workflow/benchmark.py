"""Comparing models honestly: the job of `stinger benchmark`.

Every configuration is fitted for every split and seed; each such unit of work is kept in a file beside the report as
soon as it is done, so an interrupted run continues where it was, and the report comes from that file alone: it does
not depend on how often the run was interrupted, nor on how many workers there were.
"""

from __future__ import annotations

import json
import resource
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stinger.errors import CheckFailedError
from stinger.files import write_text
from stinger.windows.dataset import Dataset
from stinger.windows.store import read_dataset
from stinger.workflow.benchmark_fit import Task, run, write_features
from stinger.workflow.benchmark_markdown import markdown, summary_table
from stinger.workflow.benchmark_plan import BenchmarkOptions, Plan, Unit, make_plan
from stinger.workflow.benchmark_report import compose
from stinger.workflow.benchmark_store import UnitStore
from stinger.workflow.benchmark_streaming import log_parameters
from stinger.workflow.pool import map_ordered
from stinger.workflow.progress import Progress

#: Fewer units than this are done sooner than worker processes have started.
_FEW_UNITS = 8


@dataclass(frozen=True)
class BenchmarkResult:
    """What came out.

    Attributes:
        report: Everything, in plain JSON values.
        header: Columns of the summary table.
        rows: Its rows.
        done_before: Units that an earlier run had done.
    """

    report: dict[str, Any]
    header: list[str]
    rows: list[list[str]]
    done_before: int


def benchmark(options: BenchmarkOptions, progress: Progress, json_file: Path | None = None) -> BenchmarkResult:
    """Compare models on a dataset and write the report.

    Args:
        options: What to compare and how.
        progress: Told of each step.
        json_file: Where the report goes as JSON too.

    Raises:
        UsageError: Options that do not fit together or the dataset.
        InputError: The dataset cannot be benchmarked, or a place not be written.
        LinkError: A Dask scheduler cannot be reached.
    """
    progress.step(f"reading {options.train_dir}")
    dataset = read_dataset(options.train_dir, whole=True)
    plan = make_plan(options, dataset, log_parameters(options.logs))
    for kind, reason in plan.impossible.items():
        progress.step(f"split {kind} is left out: {reason}")
    store = UnitStore(units_dir(options.out) / "units.jsonl")
    if store.damaged:
        progress.step(
            f"{store.damaged} damaged line(s) in {units_dir(options.out)} are ignored, their units done again"
        )
    with store:
        before = _complete(plan.units, store, dataset, options, progress)
    report = compose(options, plan, dataset, store)
    write_text(options.out, markdown(report))
    if json_file is not None:
        write_text(json_file, json.dumps(report, indent=2) + "\n")
    header, rows = summary_table(report)
    return BenchmarkResult(report, header, rows, before)


def units_dir(out: Path) -> Path:
    """Where the finished units of a report are kept."""
    return out.with_name(f"{out.name}.units")


def _complete(
    units: Sequence[Unit], store: UnitStore, dataset: Dataset, options: BenchmarkOptions, progress: Progress
) -> int:
    """Do the units that are not done yet; returns how many were."""
    todo = [unit for unit in units if unit.key not in store]
    before = len(units) - len(todo)
    if before:
        progress.step(f"{before} of {len(units)} units are done already")
    if not todo:
        return before
    features = units_dir(options.out) / "features"
    # What a killed run left is of no use: whose features they are is not known.
    shutil.rmtree(features, ignore_errors=True)
    try:
        _run_all(todo, store, dataset, features, options=options, progress=progress)
    except KeyboardInterrupt:
        progress.step(f"interrupted; the same command continues after the {len(store)} units that are done")
        raise
    finally:
        shutil.rmtree(features, ignore_errors=True)
    return before


def _run_all(
    todo: Sequence[Unit],
    store: UnitStore,
    dataset: Dataset,
    features: Path,
    *,
    options: BenchmarkOptions,
    progress: Progress,
) -> None:
    names = list(dict.fromkeys(unit.config.features for unit in todo))
    progress.step(f"computing {', '.join(names)} features of {len(dataset):,} windows")
    write_features(dataset, names, features)
    progress.step(f"{len(todo)} units of work: fits, measured on held-out windows")
    train_dir = str(options.train_dir.resolve())
    tasks = [Task(unit, train_dir, str(features.resolve())) for unit in todo]
    with progress.bar("benchmark") as bar:
        results = map_ordered(
            run,
            tasks,
            backend=options.backend or _backend(options, len(todo)),
            workers=options.workers,
            scheduler=options.scheduler,
            progress=bar,
        )
        for unit, result in zip(todo, results, strict=True):
            store.add(unit.key, unit.name, result)


def _backend(options: BenchmarkOptions, units: int) -> str:
    if options.scheduler is not None:
        return "dask"
    return "serial" if options.workers is None and units < _FEW_UNITS else "processes"


@dataclass(frozen=True)
class Timing:
    """How long the same units took.

    Attributes:
        units: How many.
        parallel_s: As `benchmark` does them: features once, several workers; starting the workers included.
        plain_s: One after the other in this process, each computing its own features.
        parallel_cpu_s: Processor time of the first, workers on this computer included.
        plain_cpu_s: Processor time of the second.
    """

    units: int
    parallel_s: float
    plain_s: float
    parallel_cpu_s: float
    plain_cpu_s: float

    @property
    def ratio(self) -> float:
        """How many times faster."""
        return self.plain_s / self.parallel_s


def time_against_plain_loop(options: BenchmarkOptions, progress: Progress) -> Timing:
    """Time the units of a benchmark against a plain loop over them; nothing is kept.

    Raises:
        CheckFailedError: The two give different results.
    """
    dataset = read_dataset(options.train_dir, whole=True)
    plan = make_plan(options, dataset, log_parameters(options.logs))
    folder = units_dir(options.out)
    timed = folder / "timing.jsonl"
    timed.unlink(missing_ok=True)
    store = UnitStore(timed)
    try:
        began, spent = time.perf_counter(), _cpu_s()
        with store:
            _run_all(plan.units, store, dataset, folder / "timing-features", options=options, progress=progress)
        parallel, parallel_cpu = time.perf_counter() - began, _cpu_s() - spent
    finally:
        timed.unlink(missing_ok=True)
        shutil.rmtree(folder / "timing-features", ignore_errors=True)
    progress.step("the same units again, in a plain loop")
    began, spent = time.perf_counter(), _cpu_s()
    plain = []
    train_dir = str(options.train_dir.resolve())
    with progress.bar("plain loop") as bar:
        for number, unit in enumerate(plan.units):
            plain.append(run(Task(unit, train_dir, None)))
            bar(number + 1, len(plan.units))
    plain_s, plain_cpu = time.perf_counter() - began, _cpu_s() - spent
    for unit, result in zip(plan.units, plain, strict=True):
        again = json.loads(json.dumps(result))
        if _timeless(again) != _timeless(store[unit.key]):
            raise CheckFailedError(f"{unit.name}: a worker and a plain loop gave different results; please report it")
    return Timing(len(plan.units), parallel, plain_s, parallel_cpu, plain_cpu)


def _cpu_s() -> float:
    """Processor time of this process and of the workers that have ended."""
    return sum(
        u.ru_utime + u.ru_stime for u in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def _timeless(result: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name != "fit_s"}


__all__ = ["BenchmarkOptions", "BenchmarkResult", "Plan", "Timing", "benchmark", "time_against_plain_loop", "units_dir"]
