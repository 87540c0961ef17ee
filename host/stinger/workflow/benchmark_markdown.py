"""The report of a benchmark as markdown, and its summary for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from stinger.markdown import bullets, grid
from stinger.workflow.benchmark_report import ALARM, TITLES
from stinger.workflow.benchmark_streaming import streaming_rows

_SIGNIFICANT = 0.05


def summary_table(report: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table that has everything about a model in one row."""
    title = TITLES[report["headline"]]
    with_time = any("fit_s" in one for split in report["splits"].values() for one in split["configs"].values())
    header = ["model", *(f"{title}, {kind}" for kind in report["splits"]), "flash", "RAM", "cycles"]
    header += ["fit"] if with_time else []
    streaming = report["streaming"]
    header += ["anticipated", "false spin-ups/min"] if streaming else []
    rows = []
    for name, cost in report["cost"].items():
        scores = [_score_cell(split["configs"][name], report["headline"]) for split in report["splits"].values()]
        row = [name, *scores, *_cost_cells(cost)]
        if with_time:
            times = [split["configs"][name].get("fit_s") for split in report["splits"].values()]
            known = [t for t in times if t is not None]
            row.append(f"{np.mean(known):.2f} s" if known else "-")
        if streaming:
            row += _streaming_cells(streaming["configs"][name])
        rows.append(row)
    return header, rows


def _score_cell(one: Mapping[str, Any], metric: str) -> str:
    value = one["metrics"].get(metric)
    if value is None:
        return "no result"
    text = f"{value['mean']:.3f}" if value["std"] is None else f"{value['mean']:.3f} ± {value['std']:.3f}"
    failed = sum(one["errors"].values())
    return f"{text} ({failed} failed)" if failed else text


def _cost_cells(cost: Mapping[str, Any]) -> list[str]:
    if "reason" in cost:
        return ["host only", "-", "-"]
    about = "" if cost["measured"] else "≈ "
    return [f"{about}{cost[name]:,.0f}" for name in ("flash", "ram", "cycles")]


def _streaming_cells(one: Mapping[str, Any]) -> list[str]:
    if one["errors"]:
        return ["no result", "-"]
    share, rate = one["anticipated_share"], one["false_spin_ups_per_minute"]
    return ["-" if share is None else f"{share:.1%}", "-" if rate is None else f"{rate:.2f}"]


def markdown(report: Mapping[str, Any]) -> str:
    """Compose ``report.md``; the same report gives the same bytes."""
    header, rows = summary_table(report)
    parts = [
        "# Benchmark",
        bullets(_fact_lines(report)),
        "## Summary",
        grid(header, rows, numbers=True),
        _legend(report),
    ]
    for kind, split in report["splits"].items():
        parts += [f"## Split: {kind}", _split_line(split), _split_grid(report, split)]
        parts += _failures(split)
        parts += _significance_lines(report, kind)
    if report["impossible"]:
        lines = [f"**{kind}**: {reason}" for kind, reason in report["impossible"].items()]
        parts += ["## Splits that this dataset cannot do", bullets(lines)]
    if report["shuffled"] is not None:
        parts += ["## Shuffled labels", *_shuffled_lines(report)]
    reasons = {name: cost["reason"] for name, cost in report["cost"].items() if "reason" in cost}
    if reasons:
        parts += ["## Not on the board", bullets([f"**{name}**: {reason}" for name, reason in reasons.items()])]
    if report["streaming"] is not None:
        parts += ["## Whole recordings", *_streaming_lines(report["streaming"])]
    return "\n\n".join(parts) + "\n"


def _fact_lines(report: Mapping[str, Any]) -> list[str]:
    data, options = report["dataset"], report["options"]
    counts = ", ".join(f"{n:,} {name}" for name, n in data["classes"].items())
    people = f", {data['people']} people" if data["people"] else ""
    embargo = (
        "training windows that share samples with held-out ones are left out"
        if options["embargo"]
        else "**no embargo: held-out windows share samples with training windows**"
    )
    library = ", ".join(f"{n} {v}" for n, v in report["versions"].items() if n not in ("stinger", "sources"))
    return [
        f"Data: {data['path']}: {data['windows']:,} windows of {data['window_samples']} samples ({counts}); "
        f"{data['recordings']} recording(s), {data['groups']} groups{people}.",
        f"Seeds: {options['seeds']}; held out: {options['test_size']:.0%}; {embargo}.",
        f"Versions: stinger {report['versions']['stinger']}, {library}.",
    ]


def _legend(report: Mapping[str, Any]) -> str:
    spread = "Mean ± standard deviation over the seeds." if report["options"]["seeds"] > 1 else "One seed."
    measured = any(cost.get("measured") for cost in report["cost"].values())
    how = "measured on the emulated board" if measured else "≈: estimated, see docs/benchmark.md"
    text = (
        f"{spread} Flash and RAM: bytes of classifier, model and stream; cycles: per decision, with features ({how})."
    )
    if any("fit_s" in one for split in report["splits"].values() for one in split["configs"].values()):
        folds = report["options"]["threshold_folds"]
        what = f" and its {folds} folds for the threshold" if report["headline"] == "pr_auc" else ""
        text += f" Fit: seconds for a fit{what}, on one thread, as first measured."
    return text


def _split_line(split: Mapping[str, Any]) -> str:
    if "test_windows" not in split:
        return "No model has a result."
    base = f", {split['base_rate']:.1%} of them of the second class" if "base_rate" in split else ""
    fixed = " The same windows for every seed: deviations are of the fit alone." if split["fixed"] else ""
    return (
        f"On average {split['train_windows']:,.0f} windows to learn from, {split['test_windows']:,.0f} held out{base}; "
        f"{split['embargoed']:,.0f} embargoed.{fixed}"
    )


def _split_grid(report: Mapping[str, Any], split: Mapping[str, Any]) -> str:
    columns = report["metrics"]
    means = {
        name: one["metrics"][report["headline"]]["mean"] for name, one in split["configs"].items() if one["metrics"]
    }
    best = max(means.values(), default=None)
    rows = []
    for name, one in split["configs"].items():
        shown = f"**{name}**" if best is not None and means.get(name) == best else name
        rows.append([shown, *(_score_cell(one, column) for column in columns)])
    macro = report["headline"] != "pr_auc"
    titles = ["macro F1" if macro and column == "f1" else TITLES[column] for column in columns]
    return grid(["model", *titles], rows, numbers=True)


def _failures(split: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, one in split["configs"].items():
        lines += [f"**{name}**, {n} seed(s) without a result: {error}" for error, n in one["errors"].items()]
        lines += [
            f"{name}, {n} seed(s) with the threshold 0.5, not a chosen one: {reason}"
            for reason, n in one["thresholds_not_chosen"].items()
        ]
    return [bullets(lines)] if lines else []


def _significance_lines(report: Mapping[str, Any], kind: str) -> list[str]:
    found = report["significance"][kind]
    if found["test"] is None:
        return [f"Significance: not tested: {found['why']}."]
    pairs = found["pairs"]
    configs = report["splits"][kind]["configs"]
    means = {name: one["metrics"][report["headline"]]["mean"] for name, one in configs.items() if one["metrics"]}
    best = max(means, key=lambda name: means[name])
    rows = []
    for pair in pairs:
        if best not in (pair["first"], pair["second"]):
            continue
        sign = 1 if pair["first"] == best else -1
        low, high = (
            sorted((pair["low"], pair["high"]), key=lambda v: sign * v) if pair["low"] is not None else (None,) * 2
        )
        interval = "-" if low is None or high is None else f"{sign * low:+.3f} … {sign * high:+.3f}"
        rows.append(
            [
                pair["second"] if sign > 0 else pair["first"],
                f"{sign * pair['difference']:+.3f}",
                interval,
                _p_cell(pair["p"]),
                _p_cell(pair["p_holm"]),
            ]
        )
    significant = sum(pair["p_holm"] is not None and pair["p_holm"] < _SIGNIFICANT for pair in pairs)
    sentence = (
        f"{best} against the others in {TITLES[report['headline']]} ({found['test']}); of all {len(pairs)} pairs, "
        f"{significant} differ at the 5 % level after Holm's correction."
    )
    return [sentence, grid(["against", "difference", "95 % interval", "p", "p, Holm"], rows, numbers=True)]


def _shuffled_lines(report: Mapping[str, Any]) -> list[str]:
    shuffled = report["shuffled"]
    wrong = [name for name, one in shuffled["configs"].items() if not one["at_chance"]]
    failed = [name for name, one in shuffled["configs"].items() if not one["metrics"]]
    chance = f"{TITLES[shuffled['metric']]} {shuffled['chance']:.3f}"
    if wrong:
        verdict = f"**Above chance: {', '.join(wrong)}. Something leaks from the held-out windows into training.**"
    elif failed:
        verdict = f"No result: {', '.join(failed)}; the others are at chance."
    else:
        verdict = "All models are at chance."
    columns = [c for c in report["metrics"] if c in ("pr_auc", "roc_auc", "balanced_accuracy", "accuracy")]
    if report["headline"] == "pr_auc":
        columns = ["roc_auc", "pr_auc"]
    rows = [[name, *(_score_cell(one, c) for c in columns)] for name, one in shuffled["configs"].items()]
    line = (
        f"Labels shuffled within the training part of split {shuffled['split']}; chance is {chance}. {verdict} "
        f"(Alarm: above it at the {ALARM:.0%} level by the corrected resampled t-test, Holm over the models.)"
    )
    errors = [
        f"**{name}**, {n} seed(s) without a result: {error}"
        for name, one in shuffled["configs"].items()
        for error, n in one["errors"].items()
    ]
    return [
        line,
        grid(["model", *(TITLES[c] for c in columns)], rows, numbers=True),
        *([bullets(errors)] if errors else []),
    ]


def _streaming_lines(streaming: Mapping[str, Any]) -> list[str]:
    answered = [f"{name}: {how}" for name, how in streaming["recordings"].items()]
    errors = [f"**{name}**: {error}" for name, one in streaming["configs"].items() for error in one["errors"]]
    line = (
        "With the stock policy, definitions in docs/streaming.md. Each recording is answered by models that never saw "
        "it; models without an integer form answer as fitted."
    )
    return [line, grid(*streaming_rows(streaming), numbers=True), bullets([*answered, *errors])]


def _p_cell(p: float | None) -> str:
    if p is None:
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
