"""The report of a search: what was tried, the Pareto front, what was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stinger.markdown import bullets, grid
from stinger.workflow.search_score import Scored

TITLES = {
    "pr_auc": "PR AUC",
    "roc_auc": "ROC AUC",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
}


def row_of(one: Scored) -> dict[str, Any]:
    """A trial in plain JSON values; without scores where it failed."""
    trial = one.trial
    row: dict[str, Any] = {
        "number": trial.number,
        "name": trial.name,
        "family": trial.family,
        "features": trial.features,
        "options": {name: list(v) if isinstance(v, tuple) else v for name, v in trial.options},
    }
    if one.cost is None:
        return row
    return row | {
        "score": one.score,
        "standard_error": one.deviation,
        "folds": len(one.scores),
        "flash": one.cost.flash,
        "ram": one.cost.ram,
        "cycles": one.cost.cycles,
    }


def front_table(report: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the Pareto front, smallest first."""
    header = ["model", TITLES[report["metric"]], "flash", "cycles", "RAM", ""]
    chosen = report["chosen"]
    rows = []
    for row in report["front"]:
        score = f"{row['score']:.3f} ± {row['standard_error']:.3f}"
        mark = "chosen" if chosen is not None and row["number"] == chosen["number"] else ""
        size = [f"≈ {row[name]:,.0f}" for name in ("flash", "cycles", "ram")]
        rows.append([row["name"], score, *size, mark])
    return header, rows


def markdown(report: Mapping[str, Any], picture: str) -> str:
    """Compose the report; the same search gives the same bytes."""
    header, rows = front_table(report)
    parts = [
        "# Search for a small model",
        bullets(_facts(report)),
        "## Chosen",
        _chosen(report),
        "## Pareto front",
        "Finalists that no other one beats in score, flash and cycles at once; score: mean over the folds ± standard "
        "error. Flash, cycles and RAM are estimates (docs/benchmark.md).",
        grid(header, rows, numbers=True),
        f"![Score against flash and cycles]({picture})",
    ]
    if report["outgrown"]:
        lines = [
            f"{row['name']}: {row['final']['flash']:,} bytes, {row['final']['cycles']:,.0f} cycles"
            for row in report["outgrown"]
        ]
        parts += ["## Over the budget once fitted on the whole training part", bullets(lines)]
    if report["failed"]:
        parts += ["## Failed", bullets([f"{row['name']}: {row['error']}" for row in report["failed"]])]
    return "\n\n".join(parts) + "\n"


def _facts(report: Mapping[str, Any]) -> list[str]:
    data, budget = report["dataset"], report["budget"]
    limits = [
        f"{TITLES[report['metric']]} at least {budget['min_score']:g}" if budget["min_score"] is not None else "",
        f"flash at most {budget['max_flash']:,} bytes" if budget["max_flash"] is not None else "",
        f"cycles at most {budget['max_cycles']:,}" if budget["max_cycles"] is not None else "",
    ]
    tried = " → ".join(str(number) for number in report["rungs"])
    return [
        f"Data: {data['path']}: {data['training_windows']:,} training windows in {report['folds']} folds; "
        f"{data['held_out_windows']:,} held-out windows, for the chosen model only.",
        f"Budget: {'; '.join(text for text in limits if text) or 'none'}.",
        f"Tried: {tried} models (successive halving, seed {report['seed']}); {report['over_budget']} over the budget.",
    ]


def _chosen(report: Mapping[str, Any]) -> str:
    chosen = report["chosen"]
    if chosen is None:
        return "**No model that was tried keeps to the budget.**"
    final = chosen["final"]
    about = "measured on the emulated board" if final["measured"] else "estimated"
    least = report["budget"]["min_score"]
    why = (
        f"the smallest that reaches {least:g}"
        if least is not None
        else "the smallest that is not worse than the best by more than a standard error of their difference, fold by "
        f"fold; the best is {report['best']['name']} with {report['best']['score']:.3f}"
    )
    text = (
        f"**{chosen['name']}**: {TITLES[report['metric']]} {chosen['score']:.3f} ± {chosen['standard_error']:.3f} over "
        f"the folds, {why}. Fitted on the whole training part it takes {final['flash']:,} bytes of flash, "
        f"{final['ram']:,} of RAM and {final['cycles']:,.0f} cycles ({about})."
    )
    value = chosen["held_out"].get(report["metric"])
    return f"{text} On the held-out windows: {TITLES[report['metric']]} {value:.3f}." if value is not None else text
