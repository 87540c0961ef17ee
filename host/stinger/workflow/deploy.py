"""`stinger deploy`: a recording in, a proven model on the board at a port out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stinger.check.prove import Truth
from stinger.check.report import markdown, to_json
from stinger.files import replace_dir, write_text
from stinger.link.flash import flash
from stinger.windows.cut import cut
from stinger.windows.replay import held_out_stream
from stinger.windows.store import write_dataset
from stinger.workflow.dataset import read_undamaged, summarise
from stinger.workflow.progress import Progress
from stinger.workflow.prove import Built, Proven, build, prove_at_port

#: Windows replayed to prove a deployed model.
PROOF_WINDOWS = 1000


@dataclass(frozen=True)
class DeployOptions:
    """What `stinger deploy` can be told.

    Attributes:
        logs: The recordings.
        port: Where the board is.
        out: Directory of everything made.
        family: Model family.
        features: Feature set.
        seed: Seed of split and training.
        any_model: The firmware can also run models of other families and sizes that are pushed later.
    """

    logs: Sequence[Path]
    port: str
    out: Path
    family: str = "mlp"
    features: str = "rich"
    seed: int = 1
    any_model: bool = False


def deploy(options: DeployOptions, progress: Progress) -> Proven:
    """Train a model on recordings, flash it, and prove it on the board.

    ``options.out`` appears, or is replaced, only when all of it is done; the board is flashed only when the model
    has been exported and compiled.

    Raises:
        InputError: A recording cannot be read or holds nothing to learn.
        ToolchainError: Something does not compile.
        LinkError: The board cannot be flashed or reached.
    """
    progress.step(f"reading {', '.join(str(p) for p in options.logs)}")
    sessions = read_undamaged(options.logs)
    dataset = cut(sessions, seed=options.seed)
    stream, position = held_out_stream(dataset, sessions, PROOF_WINDOWS)
    truth = Truth(position, dataset.labels[dataset.held_out])

    def flash_it(built: Built) -> str:
        progress.step(f"flashing the board at {options.port}")
        flash(options.port, built.firmware.uf2, on_progress=lambda stage: progress.step(f"  {stage}"))
        return options.port

    with replace_dir(options.out) as out:
        write_dataset(dataset, out / "train")
        built = build(
            dataset,
            options.family,
            out,
            features=options.features,
            seed=options.seed,
            progress=progress,
            any_model=options.any_model,
        )
        proven = prove_at_port(built, flash_it, stream, truth, progress)
        costs = {proven.proof.name: proven.cost}
        facts = {"recordings": [str(p) for p in options.logs], "dataset": summarise(dataset)}
        report = to_json(facts, [proven.proof], costs)
        write_text(out / "report.json", json.dumps(report, indent=2) + "\n")
        lines = [f"Recordings: {', '.join(facts['recordings'])}.", f"Board: {options.port}."]
        write_text(out / "report.md", markdown(f"Deployed {proven.proof.name}", lines, [proven.proof], costs, {}))
    return proven
