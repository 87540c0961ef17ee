"""From the units of a benchmark to its figures: means and deviations, significance, chance."""

from __future__ import annotations

import base64
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.evaluation.significance import (
    Difference,
    bootstrap_difference,
    corrected_t_test,
    group_bootstrap,
    holm,
)
from stinger.windows.dataset import Dataset
from stinger.workflow.benchmark_fit import held_out
from stinger.workflow.benchmark_plan import FIXED_SPLITS, INNER_FOLDS, BenchmarkOptions, Plan, Unit, versions
from stinger.workflow.benchmark_streaming import streaming_report

#: A shuffled fit above chance at this level, corrected for the number of models, is an alarm.
ALARM = 0.01
#: With fewer groups than this held out, drawing them again says nothing.
_LEAST_GROUPS = 5
_RESAMPLES = 2000
TITLES = {
    "pr_auc": "PR AUC",
    "roc_auc": "ROC AUC",
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "threshold": "threshold",
}
_TWO = ("pr_auc", "roc_auc", "f1", "precision", "recall", "balanced_accuracy", "threshold")
_MANY = ("balanced_accuracy", "accuracy", "f1")

Results = Mapping[str, Mapping[str, Any]]


def compose(options: BenchmarkOptions, plan: Plan, dataset: Dataset, results: Any) -> dict[str, Any]:
    """Compose the report.

    Args:
        options: What was asked for.
        plan: What was done.
        dataset: On what.
        results: The result of each unit, by its key.

    Returns:
        Plain JSON values: ``dataset``, ``options``, ``versions``, ``headline`` (the metric models are compared by),
        ``splits`` (by kind and configuration), ``impossible``, ``shuffled``, ``cost`` and ``significance``.
    """
    two = len(dataset.classes) == 2
    headline, columns = ("pr_auc", _TWO) if two else ("balanced_accuracy", _MANY)
    units = {(u.kind, u.split, u.config.name, u.seed): u for u in plan.units}
    names = [config.name for config in plan.configs]
    seeds = range(1, options.seeds + 1)

    def of(kind: str, split: str, name: str) -> list[dict[str, Any]]:
        return [results[units[kind, split, name, seed].key] for seed in seeds]

    splits: dict[str, Any] = {}
    significance: dict[str, Any] = {}
    for kind in plan.splits:
        scored = {name: of("score", kind, name) for name in names}
        splits[kind] = {
            "fixed": kind in FIXED_SPLITS,
            **_sizes(scored),
            "configs": {name: _aggregate(found, columns, options) for name, found in scored.items()},
        }
        one = next(u for u in plan.units if u.kind == "score" and u.split == kind)
        significance[kind] = _significance(scored, headline, kind, dataset, one)
    report: dict[str, Any] = {
        "dataset": _facts(options, dataset),
        "options": {
            "seeds": options.seeds,
            "test_size": options.test_size,
            "embargo": options.embargo,
            "threshold_folds": INNER_FOLDS,
        },
        "versions": versions(),
        "headline": headline,
        "metrics": list(columns),
        "splits": splits,
        "impossible": plan.impossible,
        "significance": significance,
        "shuffled": None,
        "cost": {name: dict(results[units["cost", "", name, 1].key]) for name in names},
        "streaming": streaming_report(plan, results),
    }
    if plan.shuffled_split is not None:
        scored = {name: of("shuffled", plan.shuffled_split, name) for name in names}
        report["shuffled"] = _chance(scored, plan.shuffled_split, len(dataset.classes), columns, options)
    return report


def _facts(options: BenchmarkOptions, dataset: Dataset) -> dict[str, Any]:
    count = np.bincount(dataset.labels, minlength=len(dataset.classes))
    people = None if dataset.subject is None else len(np.unique(dataset.subject))
    return {
        "path": str(options.train_dir),
        "windows": len(dataset),
        "classes": {name: int(n) for name, n in zip(dataset.classes, count, strict=True)},
        "window_samples": dataset.window,
        "channels": [channel.name for channel in dataset.channels],
        "recordings": len(np.unique(dataset.session)),
        "groups": len(np.unique(dataset.groups)),
        "people": people,
    }


def _sizes(scored: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    fine = [one for found in scored.values() for one in found if "error" not in one]
    facts = (
        {name: float(np.mean([one[name] for one in fine])) for name in ("train_windows", "test_windows", "embargoed")}
        if fine
        else {}
    )
    if fine and "base_rate" in fine[0]:
        facts["base_rate"] = float(np.mean([one["base_rate"] for one in fine]))
    return facts


def _aggregate(found: Sequence[Mapping[str, Any]], columns: Sequence[str], options: BenchmarkOptions) -> dict[str, Any]:
    """Mean and standard deviation over the seeds, and what went wrong how often."""
    fine = [one for one in found if "error" not in one]
    result: dict[str, Any] = {"seeds": len(fine), "metrics": {}}
    for name in columns:
        values = [one[name] for one in fine if name in one]
        if values:
            std = float(np.std(values, ddof=1)) if len(values) > 1 else None
            result["metrics"][name] = {"mean": float(np.mean(values)), "std": std}
    if fine and options.fit_time:
        result["fit_s"] = float(np.mean([one["fit_s"] for one in fine]))
    result["errors"] = dict(Counter(one["error"] for one in found if "error" in one))
    result["thresholds_not_chosen"] = dict(
        Counter(one["threshold_reason"] for one in fine if one.get("threshold_reason"))
    )
    return result


def _significance(
    scored: Mapping[str, Sequence[Mapping[str, Any]]], headline: str, kind: str, dataset: Dataset, unit: Unit
) -> dict[str, Any]:
    """Compare every pair of models under one split."""
    if kind in FIXED_SPLITS:
        differences, why = _by_resampling(scored, headline, dataset, unit)
        test = "paired bootstrap over whole groups"
    else:
        differences, why = _by_seeds(scored, headline)
        test = "corrected resampled t-test"
    if not differences:
        return {"test": None, "why": why, "pairs": []}
    corrected = holm([d.p for d in differences.values()])
    pairs = [
        {
            "first": first,
            "second": second,
            "difference": d.mean,
            "low": _known(d.low),
            "high": _known(d.high),
            "p": _known(d.p),
            "p_holm": _known(p),
        }
        for ((first, second), d), p in zip(differences.items(), corrected, strict=True)
    ]
    return {"test": test, "why": why, "pairs": pairs}


def _by_seeds(
    scored: Mapping[str, Sequence[Mapping[str, Any]]], headline: str
) -> tuple[dict[tuple[str, str], Difference], str]:
    differences = {}
    for first, second in itertools.combinations(scored, 2):
        both = [
            (a, b) for a, b in zip(scored[first], scored[second], strict=True) if "error" not in a and "error" not in b
        ]
        if len(both) < 2:
            continue
        share = float(np.mean([a["test_windows"] / a["train_windows"] for a, _ in both]))
        differences[first, second] = corrected_t_test(np.array([a[headline] - b[headline] for a, b in both]), share)
    return differences, "" if differences else "fewer than two models, or fewer than two seeds with a result"


def _by_resampling(
    scored: Mapping[str, Sequence[Mapping[str, Any]]], headline: str, dataset: Dataset, unit: Unit
) -> tuple[dict[tuple[str, str], Difference], str]:
    kept = {name: [one["held_out"] for one in found if "held_out" in one] for name, found in scored.items()}
    kept = {name: texts for name, texts in kept.items() if texts}
    if len(kept) < 2:
        return {}, "every seed holds out the same windows, and there are no two-class probabilities to draw again"
    test = held_out(dataset, unit)
    groups = dataset.groups[test]
    number = len(np.unique(groups))
    if number < _LEAST_GROUPS:
        return {}, f"every seed holds out the same {number} group(s), too few to draw again"
    drawn = {name: _drawn(dataset.labels[test], groups, texts) for name, texts in kept.items()}
    means = {name: float(np.mean([one[headline] for one in scored[name] if "error" not in one])) for name in kept}
    return {
        (a, b): bootstrap_difference(means[a] - means[b], drawn[a], drawn[b])
        for a, b in itertools.combinations(kept, 2)
    }, ""


def _drawn(labels: NDArray[np.uint8], groups: NDArray[np.int64], texts: Sequence[str]) -> NDArray[np.float64]:
    """Scores of a model on resamples, mean over its seeds; fits that are alike are scored once."""
    alike = Counter(texts)
    probability = np.stack([np.frombuffer(base64.b64decode(text), dtype="<f4") for text in alike]).astype(np.float64)
    scores = group_bootstrap(labels, probability, groups, resamples=_RESAMPLES)
    return np.average(scores, axis=0, weights=list(alike.values()))


def _chance(
    scored: Mapping[str, Sequence[Mapping[str, Any]]],
    kind: str,
    classes: int,
    columns: Sequence[str],
    options: BenchmarkOptions,
) -> dict[str, Any]:
    """Say whether models that learnt shuffled labels are at chance, as they must be."""
    metric, chance = ("roc_auc", 0.5) if classes == 2 else ("balanced_accuracy", 1 / classes)
    p = []
    for found in scored.values():
        fine = [one for one in found if "error" not in one]
        above = np.array([one[metric] - chance for one in fine])
        share = float(np.mean([one["test_windows"] / one["train_windows"] for one in fine])) if fine else 1.0
        tested = corrected_t_test(above, share) if len(fine) > 1 else None
        p.append(tested.p if tested is not None and tested.mean > 0 else float("nan"))
    configs = {}
    for (name, found), corrected in zip(scored.items(), holm(p), strict=True):
        configs[name] = _aggregate(found, columns, options) | {"p_above": _known(corrected)}
        configs[name]["at_chance"] = not corrected < ALARM
    return {"split": kind, "metric": metric, "chance": chance, "configs": configs}


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
