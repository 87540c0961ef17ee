"""Whole recordings in a benchmark: what each model, with the stock policy, would do in the blaster.

A recording that belongs to the dataset is answered by refits that never saw it (`stinger.workflow.crossfit`); the
figures are those of `stinger evaluate`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError, StingerError, UsageError
from stinger.evaluation.streaming import Figures, figures, intervals, total
from stinger.models.policy import run_policy
from stinger.models.train import fit_rows
from stinger.sessions.read import read_sessions
from stinger.windows.dataset import Dataset
from stinger.windows.describe import session_hash
from stinger.workflow.benchmark_plan import Plan, Unit
from stinger.workflow.crossfit import cross_fitted, stock_policy
from stinger.workflow.progress import Progress

_COUNTS = ("shots", "impossible", "anticipated", "late", "spin_ups", "neutral_us", "on_us")


def log_parameters(logs: Sequence[Path]) -> list[dict[str, Any]]:
    """Identify recordings by what they hold: path, and hashes of the sessions in it.

    Raises:
        UsageError: One is given twice.
        InputError: One cannot be read.
    """
    found: list[dict[str, Any]] = []
    known: dict[str, Path] = {}
    for path in logs:
        hashes = [session_hash(session) for session in read_sessions(path)]
        for digest in hashes:
            if digest in known:
                raise UsageError(f"--log {path} holds the same samples as {known[digest]}; give each recording once")
            known[digest] = path
        found.append({"path": str(path.resolve()), "sessions": hashes})
    return found


def stream(unit: Unit, dataset: Dataset, vectors: NDArray[Any]) -> dict[str, Any]:
    """Do one unit: a model, and the recordings of one file.

    Args:
        unit: Its parameter ``log`` is one of `log_parameters`.
        dataset: The dataset, with its own split: the model is fitted on what is for training.
        vectors: Features of its windows.

    Returns:
        The counts of each recording, and how it was answered; or ``error``.

    Raises:
        InputError: The file is not the one that was planned for.
    """
    log = unit.parameters["log"]
    sessions = read_sessions(Path(log["path"]))
    if [session_hash(session) for session in sessions] != log["sessions"]:
        raise InputError(f"{log['path']} changed while it was benchmarked; run it again")
    config = unit.config
    try:
        model = fit_rows(
            dataset, dataset.training, config.family, features=config.features, seed=unit.seed, vectors=vectors
        )
        policy = stock_policy(model.spec)
        answered = cross_fitted(model, dataset, sessions, Progress())
    except StingerError as error:
        return {"error": str(error)}
    recordings = []
    for one in answered:
        r = one.recording
        trace = run_policy(policy, r.t_us, r.ready, r.probability, r.motion)
        counts = figures(r.asked, trace.on)
        fields = {name: getattr(counts, name) for name in _COUNTS}
        recordings.append({"name": one.session.name, "how": one.how, **fields, "lead_us": list(counts.lead_us)})
    return {"recordings": recordings}


def streaming_report(plan: Plan, results: Any) -> dict[str, Any] | None:
    """Add up the recordings of each model; None where there are none."""
    units = [unit for unit in plan.units if unit.kind == "stream"]
    if not units:
        return None
    configs: dict[str, Any] = {}
    for config in plan.configs:
        found = [results[unit.key] for unit in units if unit.config == config]
        errors = dict(Counter(one["error"] for one in found if "error" in one))
        recordings = [row for one in found for row in one.get("recordings", ())]
        # Figures of some recordings must not stand beside those of all.
        configs[config.name] = {"errors": errors} if errors else _total(recordings)
    return {"policy": "stock", "recordings": _answered(units, results), "configs": configs}


def _total(recordings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    parts = [Figures(lead_us=tuple(row["lead_us"]), **{name: int(row[name]) for name in _COUNTS}) for row in recordings]
    known = {name: figure.to_json() for name, figure in intervals(parts).items()}
    return {"errors": {}, **total(parts).to_json(), "intervals_95": known}


def _answered(units: Sequence[Unit], results: Any) -> dict[str, str]:
    """How each recording was answered, by its name."""
    return {row["name"]: row["how"] for unit in units for row in results[unit.key].get("recordings", ())}


def streaming_rows(streaming: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table of whole recordings."""
    header = ["model", "shots", "anticipated", "95 % interval", "lead p50 (ms)", "false spin-ups/min", "95 % interval"]
    header += ["neutral time on"]
    rows = []
    for name, one in streaming["configs"].items():
        if one["errors"]:
            rows.append([name, "no result", *["-"] * 6])
            continue
        share, rate = one["intervals_95"]["anticipated_share"], one["intervals_95"]["false_spin_ups_per_minute"]
        rows.append(
            [
                name,
                str(one["shots"]),
                _cell(one["anticipated_share"], "{:.1%}"),
                _range(share, "{:.0%}"),
                _cell(one["lead_ms"]["p50"], "{:,.0f}"),
                _cell(one["false_spin_ups_per_minute"], "{:.2f}"),
                _range(rate, "{:.2f}"),
                _cell(one["neutral_on_share"], "{:.1%}"),
            ]
        )
    return header, rows


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None or np.isnan(value) else form.format(value)


def _range(figure: Mapping[str, Any], form: str) -> str:
    low, high = figure.get("low"), figure.get("high")
    return "-" if low is None or high is None else f"{_cell(low, form)} … {_cell(high, form)}"
