"""Recordings to dataset: the job of `stinger explore`, and the first half of `demo` and `deploy`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.files import replace_dir, write_text
from stinger.plots.session import plot_collection, plot_session
from stinger.sessions.read import read_sessions
from stinger.sessions.session import Session
from stinger.windows.cut import cut, find_shots
from stinger.windows.dataset import Dataset
from stinger.windows.store import write_dataset
from stinger.workflow.progress import Progress


def read_all(paths: Sequence[Path]) -> list[Session]:
    """Read every recording in several files.

    Raises:
        InputError: One of them is not a recording.
    """
    return [session for path in paths for session in read_sessions(path)]


def explore(paths: Sequence[Path], outdir: Path, *, seed: int, progress: Progress) -> dict[str, Any]:
    """Cut recordings into a dataset directory.

    Writes ``train/`` (the dataset), ``summary.json`` and ``dataset.png``; an ``outdir`` that an earlier run made is
    replaced, only when everything is done.

    Returns:
        The summary.

    Raises:
        InputError: A recording cannot be read or holds nothing to learn, or the place cannot be written.
    """
    progress.step(f"reading {', '.join(str(p) for p in paths)}")
    sessions = read_all(paths)
    progress.step("cutting windows")
    dataset = cut(sessions, seed=seed)
    summary = summarise(sessions, dataset)
    with replace_dir(outdir) as building:
        write_dataset(dataset, building / "train")
        write_text(building / "summary.json", json.dumps(summary, indent=2) + "\n")
        progress.step("drawing")
        draw_recordings(sessions, building / "dataset.png", dataset)
    return summary


def draw_recordings(
    sessions: Sequence[Session],
    path: Path,
    dataset: Dataset,
    probability: tuple[NDArray[np.int64], NDArray[np.float64]] | None = None,
) -> None:
    """Draw what the dataset was cut from.

    Labelled recordings share one picture; of recordings with shots each gets its own, the second one's name ending
    in ``-2`` and so on.

    Args:
        sessions: The recordings.
        path: Where to write the (first) PNG.
        dataset: Cut from them.
        probability: Time and probability of a shot, for the first recording.
    """
    if any(session.label is not None for session in sessions):
        plot_collection(sessions, path)
        return
    for number, session in enumerate(sessions, start=1):
        own = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        plot_session(session, own, dataset=dataset, probability=probability if number == 1 else None)


def summarise(sessions: Sequence[Session], dataset: Dataset) -> dict[str, Any]:
    """Describe recordings and dataset in plain JSON values."""
    steps = [np.diff(s.t_us) for s in sessions]
    per_class = np.bincount(dataset.labels, minlength=len(dataset.classes))
    summary: dict[str, Any] = {
        "recordings": len(sessions),
        "samples": sum(len(s) for s in sessions),
        "duration_s": round(sum(s.duration_s for s in sessions), 3),
        "period_us": dataset.period_us,
        "gaps": sum(len(s.stretches()) - 1 for s in sessions),
        "longest_step_us": max((int(x.max()) for x in steps if len(x)), default=0),
        "faults": [fault for s in sessions for fault in s.faults],
        "channels": [{"name": c.name, "unit": c.unit, "scale": c.scale} for c in dataset.channels],
        "window_samples": dataset.window,
        "lead_us": dataset.lead_us,
        "windows": {name: int(n) for name, n in zip(dataset.classes, per_class, strict=True)},
        "held_out_windows": int(dataset.held_out.sum()),
        "refused": dataset.meta.get("refused", {}),
    }
    if any(s.trigger is not None for s in sessions):
        shots = [find_shots(s) for s in sessions]
        summary["trigger"] = {
            "rising_edges_accepted": sum(len(s.accepted) for s in shots),
            "rising_edges_rejected": sum(len(s.rejected) for s in shots),
        }
    return summary
