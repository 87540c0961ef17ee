"""Recordings and datasets as `explore`, `demo` and `deploy` describe and draw them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.plots.session import plot_collection, plot_session, strip_of
from stinger.sessions.describe import require_undamaged
from stinger.sessions.read import read_sessions
from stinger.sessions.session import Session
from stinger.windows.dataset import Dataset
from stinger.windows.exporter import exporter_summary


def read_all(paths: Sequence[Path]) -> list[Session]:
    """Read every recording in several files.

    Raises:
        InputError: One of them is not a recording.
    """
    return [session for path in paths for session in read_sessions(path)]


def read_undamaged(paths: Sequence[Path]) -> list[Session]:
    """Read every recording in several files, for a job that runs unattended to the end.

    Raises:
        InputError: One of them is not a recording, or something of it was lost.
    """
    sessions = read_all(paths)
    require_undamaged(sessions)
    return sessions


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
    for number, session in enumerate(sessions):
        plot_session(
            session,
            path.with_name(picture_name(path.name, number)),
            windows=strip_of(dataset, number),
            probability=None if number else probability,
        )


def picture_name(first: str, number: int) -> str:
    """Name of the picture of recording ``number``, from 0, where the first one's is given."""
    return first if number == 0 else f"{Path(first).stem}-{number + 1}{Path(first).suffix}"


def summarise(dataset: Dataset) -> dict[str, Any]:
    """Describe a dataset and the recordings it was cut from in plain JSON values."""
    meta: Any = dataset.meta
    inputs: list[dict[str, Any]] = meta["inputs"]
    per_class = np.bincount(dataset.labels, minlength=len(dataset.classes))
    summary: dict[str, Any] = {
        **exporter_summary(meta),
        "recordings": len(inputs),
        "period_us": dataset.period_us,
        "gaps": sum(one["gaps"] for one in inputs),
        "longest_step_us": round(max(one["timestamp_dt_ms"]["max"] for one in inputs) * 1000),
        "faults": [*(fault for one in inputs for fault in one["faults"]), *_repeated(inputs)],
        "channels": [{"name": c.name, "unit": c.unit, "scale": c.scale} for c in dataset.channels],
        "window_samples": dataset.window,
        "lead_us": dataset.lead_us,
        "windows": {name: int(n) for name, n in zip(dataset.classes, per_class, strict=True)},
        "held_out_windows": int(dataset.held_out.sum()),
        "training_windows": int(dataset.training.sum()),
        "refused": meta["refused"],
        "tolerated": meta.get("tolerated", {}),
        "split": meta["split"],
        "subjects": meta["subjects"],
        "recipe_hash": meta["recipe_hash"],
    }
    if len(inputs) > 1:
        summary["sessions"] = inputs
    return summary


def _repeated(inputs: Sequence[dict[str, Any]]) -> list[str]:
    """Say which recordings were given more than once; splits treat them as one."""
    first: dict[str, str] = {}
    return [
        f"{one['name']} holds the same samples as {first[one['sha256']]}"
        for one in inputs
        if first.setdefault(one["sha256"], one["name"]) is not one["name"]
    ]
