"""`stinger demo`: the main job from recording to report, on emulated boards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stinger.check.prove import Truth
from stinger.check.report import Cost, markdown, table, to_json
from stinger.files import replace_dir, write_text
from stinger.plots.curves import plot_confusion, plot_parity, plot_precision_recall
from stinger.sessions.session import Session
from stinger.sessions.stinger_log import write_bin
from stinger.synth.shots import make_session
from stinger.windows.cut import cut
from stinger.windows.dataset import Dataset
from stinger.windows.replay import held_out_stream
from stinger.windows.store import write_dataset
from stinger.workflow.dataset import draw_recordings, read_undamaged, summarise
from stinger.workflow.progress import Progress
from stinger.workflow.prove import Built, Proven, build, probability_along, prove_emulated
from stinger_export.integer.model import ONE

FAMILIES = ("logreg", "mlp", "rf")


@dataclass(frozen=True)
class DemoOptions:
    """What `stinger demo` can be told.

    Attributes:
        out: Directory of everything it makes.
        data: A recording, or None for a synthetic one.
        minutes: Length of the synthetic recording.
        windows: Windows to compare, at least.
        seed: Seed of recording, split and training.
        workers: Boards emulated at the same time.
    """

    out: Path
    data: Path | None = None
    minutes: float = 8.0
    windows: int = 1500
    seed: int = 1
    workers: int = 2


@dataclass(frozen=True)
class DemoResult:
    """What came out.

    Attributes:
        report: Contents of ``report.json``.
        header: Columns of the summary table.
        rows: Its rows.
        failures: One line for each thing that does not hold.
    """

    report: dict[str, Any]
    header: list[str]
    rows: list[list[str]]
    failures: list[str]


def run_demo(options: DemoOptions, progress: Progress) -> DemoResult:
    """Run the whole job; ``options.out`` appears, or is replaced, only when it is done.

    Raises:
        InputError: The recording cannot be read or holds nothing to learn.
        ToolchainError: Something does not compile.
        LinkError: An emulated board fails.
    """
    with replace_dir(options.out) as out:
        sessions = _recording(options, out, progress)
        progress.step("cutting labelled windows")
        dataset = cut(sessions, seed=options.seed)
        write_dataset(dataset, out / "train")
        proven = _prove_all(options, dataset, sessions, out, progress)
        progress.step("drawing and writing the report")
        return _report(options, dataset, sessions, proven, out)


def _recording(options: DemoOptions, out: Path, progress: Progress) -> list[Session]:
    if options.data is not None:
        progress.step(f"reading {options.data}")
        return read_undamaged([options.data])
    progress.step(f"making a blaster session of {options.minutes:g} minutes (seed {options.seed})")
    session, _ = make_session(options.seed, options.minutes)
    write_bin(session, out / "recording.bin")
    return [session]


def _prove_all(
    options: DemoOptions, dataset: Dataset, sessions: Sequence[Session], out: Path, progress: Progress
) -> list[Proven]:
    stream, position = held_out_stream(dataset, sessions, options.windows)
    truth = Truth(position, dataset.labels[dataset.held_out])
    built = [
        build(dataset, family, out / family, features="rich", seed=options.seed, progress=progress)
        for family in FAMILIES
    ]

    def prove_one(one: Built) -> Proven:
        return prove_emulated(one, stream, truth, progress)

    with ThreadPoolExecutor(max_workers=options.workers) as pool:
        return list(pool.map(prove_one, built))


def _report(
    options: DemoOptions, dataset: Dataset, sessions: Sequence[Session], proven: Sequence[Proven], out: Path
) -> DemoResult:
    proofs = [p.proof for p in proven]
    costs: dict[str, Cost] = {p.proof.name: p.cost for p in proven}
    pictures = _draw(dataset, sessions, proven, out)
    source = str(options.data) if options.data is not None else f"synthetic blaster session (seed {options.seed})"
    summary = summarise(dataset)
    counts = ", ".join(f"{n} {name}" for name, n in summary["windows"].items())
    facts = [
        f"Recording: {source}: {summary['samples']:,} samples in {summary['recordings']} recording(s), "
        f"{summary['gaps']} gaps.",
        f"Windows: {counts}; {dataset.window} samples each; {summary['held_out_windows']} held out.",
        f"Compared: {proofs[0].comparisons[0].windows:,} windows per model on every level.",
    ]
    report = to_json({"recording": source, "dataset": summary}, proofs, costs)
    write_text(out / "report.md", markdown("Demo report", facts, proofs, costs, pictures))
    write_text(out / "report.json", json.dumps(report, indent=2) + "\n")
    header, rows = table(proofs, costs)
    return DemoResult(report, header, rows, [line for proof in proofs for line in proof.failures])


def _draw(dataset: Dataset, sessions: Sequence[Session], proven: Sequence[Proven], out: Path) -> dict[str, str]:
    pictures = {"session.png": "The recording"}
    best = max(proven, key=lambda p: max(p.proof.metrics["L4"].values()))
    triggered = sessions[0].trigger is not None
    probability = None
    if triggered:
        probability = probability_along(best.bundle, sessions[0])
        pictures["session.png"] = f"The recording, and the probability of a shot that {best.proof.name} sees in it"
    draw_recordings(sessions, out / "session.png", dataset, probability)

    held_out = dataset.held_out
    truth = dataset.labels[held_out]
    decisions = {p.proof.name: p.bundle.integer.decide(dataset.windows[held_out]) for p in proven}
    if len(dataset.classes) == 2:
        curves = {name: (truth, d.probability[:, 1] / ONE) for name, d in decisions.items()}
        plot_precision_recall(curves, float(np.mean(truth == 1)), out / "quality.png")
        pictures["quality.png"] = "Precision and recall on held-out windows, integer models"
    else:
        plot_confusion({name: (truth, d.label) for name, d in decisions.items()}, dataset.classes, out / "quality.png")
        pictures["quality.png"] = "Confusion on held-out windows, integer models"

    plot_parity({p.proof.name: (p.levels.l0, p.levels.l2.probability / ONE) for p in proven}, out / "parity.png")
    pictures["parity.png"] = "What integers change: estimator against integer model, every window"
    return pictures
