"""The experiment beside a magnetic-distortion recording: ``walk.experiment.json`` belongs to ``walk.mcap``.

``{"dirname", "labelFiles": [{"filePath"}], "description", "segments", "metadata"}``: which labels belong to it, how
it came to be, and what its segments are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stinger.files import write_text
from stinger.sessions.mcap_format.labels import SIDECARS, labels_path

SUFFIX = SIDECARS[1]


def experiment_path(path: Path) -> Path:
    """Say where the experiment of a recording lies."""
    return path.with_name(path.stem + SUFFIX)


def write_experiment(
    path: Path,
    description: str,
    *,
    segments: Sequence[Mapping[str, Any]] = (),
    metadata: Mapping[str, Any] | None = None,
    labelled: bool = True,
) -> None:
    """Write the experiment of a recording; the same facts give the same bytes.

    Args:
        path: The recording.
        description: One line for people.
        segments: What happened one after another, in plain JSON values.
        metadata: How it came to be, in plain JSON values.
        labelled: Whether there is a labels file beside it.

    Raises:
        InputError: The place cannot be written.
    """
    experiment = {
        "dirname": path.stem,
        "labelFiles": [{"filePath": labels_path(path).name}] if labelled else [],
        "description": description,
        "segments": [dict(segment) for segment in segments],
        "metadata": dict(metadata or {}),
    }
    write_text(experiment_path(path), json.dumps(experiment, indent=2) + "\n")
