"""The report of a proof: markdown for people, JSON for machines, a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stinger.check.prove import Proof
from stinger.link.info import BoardInfo
from stinger.link.replay import ReplayResult
from stinger.markdown import bullets, grid
from stinger_export.firmware import Firmware


@dataclass(frozen=True)
class Cost:
    """What one decision, and the model, cost on the board.

    Attributes:
        cycles_mean: Processor cycles per decision (one new sample in, one decision out), mean over the replay.
        cycles_max: The most one decision took.
        clock_hz: The board's clock.
        flash_bytes: Classifier code and model constants.
        ram_bytes: State of one stream.
        firmware_flash_bytes: The whole firmware.
        firmware_ram_bytes: Its static data.
        compiler: What built it.
    """

    cycles_mean: float
    cycles_max: int
    clock_hz: int
    flash_bytes: int
    ram_bytes: int
    firmware_flash_bytes: int
    firmware_ram_bytes: int
    compiler: str

    @property
    def microseconds(self) -> float:
        """Mean time of a decision at the board's clock."""
        return 1e6 * self.cycles_mean / self.clock_hz if self.clock_hz else float("nan")


def measure_cost(firmware: Firmware, info: BoardInfo, result: ReplayResult) -> Cost:
    """Collect the cost of a model from its firmware and a replay."""
    cycles = result.cycles[result.ready]
    return Cost(
        cycles_mean=float(np.mean(cycles)) if cycles.size else 0.0,
        cycles_max=int(cycles.max(initial=0)),
        clock_hz=info.clock_hz,
        flash_bytes=firmware.model_flash_bytes,
        ram_bytes=firmware.model_ram_bytes,
        firmware_flash_bytes=firmware.flash_bytes,
        firmware_ram_bytes=firmware.ram_bytes,
        compiler=firmware.compiler,
    )


def table(proofs: Sequence[Proof], costs: dict[str, Cost]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the summary: one row per model.

    Args:
        proofs: One per model.
        costs: By model name; a model without one gets dashes.
    """
    header = [
        "model",
        "held-out",
        "L0-L1 |Δp|",
        "L0-L2 |Δp|",
        "flips",
        "exact",
        "emlearn |Δp|",
        "cycles",
        "flash",
        "RAM",
    ]
    return header, [_row(proof, costs.get(proof.name)) for proof in proofs]


def _row(proof: Proof, cost: Cost | None) -> list[str]:
    by_name = {c.name: c for c in proof.comparisons}
    exact = [c for c in proof.comparisons if c.levels[0] == "L2"]
    agree = "=".join(["L2", *(c.levels[1] for c in exact if c.failure is None)])
    differ = ", ".join(f"{c.levels[1]} differs" for c in exact if c.failure is not None)
    board = [f"{cost.cycles_mean:,.0f}", f"{cost.flash_bytes:,}", f"{cost.ram_bytes:,}"] if cost else ["-"] * 3
    return [
        proof.name,
        _headline(proof),
        f"{by_name['L0-L1'].max_difference:.1e}" if "L0-L1" in by_name else "-",
        f"{by_name['L0-L2'].max_difference:.4f}",
        str(by_name["L0-L2"].flips),
        differ or agree,
        f"{by_name['L0-emlearn'].max_difference:.1e}" if "L0-emlearn" in by_name else "-",
        *board,
    ]


def _headline(proof: Proof) -> str:
    """The held-out metric on the level nearest to the hardware."""
    if not proof.metrics:
        return "-"
    level = max((name for name in proof.metrics if name != "emlearn"), default="L0")
    measured = proof.metrics[level]
    if "pr_auc" in measured:
        return f"PR AUC {measured['pr_auc']:.3f}"
    return f"accuracy {measured['accuracy']:.1%}"


def markdown(
    title: str, facts: Sequence[str], proofs: Sequence[Proof], costs: dict[str, Cost], pictures: dict[str, str]
) -> str:
    """Compose ``report.md``.

    Args:
        title: Its heading.
        facts: Lines about data and procedure.
        proofs: One per model.
        costs: By model name.
        pictures: Caption of each PNG, by file name.
    """
    header, rows = table(proofs, costs)
    failures = [line for proof in proofs for line in proof.failures]
    verdict = "**Everything agrees.**" if not failures else "**These do not hold:**\n\n" + bullets(failures)
    parts = [
        f"# {title}",
        bullets(facts),
        verdict,
        "## Models",
        grid(header, rows),
        "Held-out: measured by the board itself on windows no training saw. |Δp|: largest difference of a probability. "
        "Flips: windows whose label L2 changes against L0. Exact: levels that agree in every output bit, and after "
        "every sample on the policy's on or off. Cycles: mean per decision, features and policy included, one new "
        "sample in and one decision out. Flash and RAM: classifier code, model and stream state, in bytes.",
        "## Every pair of levels",
        pairs_markdown(proofs),
    ]
    if policies := [f"{proof.name}: {proof.policy.describe()}." for proof in proofs if proof.policy is not None]:
        parts += ["## Policies", bullets(policies)]
    if any(proof.metrics for proof in proofs):
        parts += ["## Held-out windows, level by level", _metric_grid(proofs)]
    if costs:
        parts += ["## On the board", cost_markdown(costs)]
    parts += [f"![{caption}]({name})" for name, caption in pictures.items()]
    parts.append(
        "Levels: L0 fitted estimator, L1 ONNX in onnxruntime, L2 integer reference in numpy, L3 generated C on the "
        "host, L4 the same C on an emulated Cortex-M0+, emlearn: the generated header compiled on the host."
    )
    return "\n\n".join(parts) + "\n"


def pairs_markdown(proofs: Sequence[Proof]) -> str:
    """Return a table in markdown: how far apart every pair of levels is, and whether that is near enough."""
    return grid(
        ["model", "levels", "windows", "label flips", "ties", "largest |Δp|", "bound", "holds"],
        [
            [
                proof.name,
                c.name,
                f"{c.windows:,}",
                str(c.flips),
                str(c.ties),
                f"{c.max_difference:.2e}",
                f"{c.bound:g}" if c.bound else "every bit",
                "yes" if c.failure is None else "**no**",
            ]
            for proof in proofs
            for c in proof.comparisons
        ],
    )


def _metric_grid(proofs: Sequence[Proof]) -> str:
    levels = list(dict.fromkeys(level for proof in proofs for level in proof.metrics))
    rows = []
    for proof in proofs:
        for metric in dict.fromkeys(m for measured in proof.metrics.values() for m in measured):
            values = [f"{proof.metrics[level][metric]:.4f}" for level in levels]
            rows.append([proof.name, metric.replace("pr_auc", "PR AUC"), *values])
    return grid(["model", "metric", *levels], rows)


def cost_markdown(costs: dict[str, Cost]) -> str:
    """Return a table in markdown: what each model costs on the board."""
    header = [
        "model",
        "cycles, mean",
        "cycles, most",
        "time",
        "model flash",
        "model RAM",
        "firmware flash",
        "firmware RAM",
    ]
    rows = [
        [
            name,
            f"{c.cycles_mean:,.0f}",
            f"{c.cycles_max:,}",
            f"{c.microseconds:,.0f} µs at {c.clock_hz / 1e6:g} MHz",
            f"{c.flash_bytes:,} B",
            f"{c.ram_bytes:,} B",
            f"{c.firmware_flash_bytes:,} B",
            f"{c.firmware_ram_bytes:,} B",
        ]
        for name, c in costs.items()
    ]
    compilers = sorted({c.compiler for c in costs.values()})
    return grid(header, rows) + f"\n\nCompiler: {'; '.join(compilers)}."


def to_json(facts: dict[str, Any], proofs: Sequence[Proof], costs: dict[str, Cost]) -> dict[str, Any]:
    """Compose ``report.json``: facts, then one entry per model with its proof and cost."""
    models = []
    for proof in proofs:
        entry = proof.to_json()
        if proof.name in costs:
            cost = costs[proof.name]
            entry["cost"] = {**cost.__dict__, "microseconds": cost.microseconds}
        models.append(entry)
    return {**facts, "models": models, "ok": not any(proof.failures for proof in proofs)}
