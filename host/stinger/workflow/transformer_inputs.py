"""What a transformer is trained on, from whatever holds it: recordings, or a dataset that was made before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stinger.errors import InputError, UsageError
from stinger.features.spectrogram import AST, SpectrogramSpec
from stinger.models.ast.examples import Examples, examples_of_dataset, examples_of_sessions
from stinger.models.ast.hf_dataset import is_hf_dataset, read_hf_dataset, write_hf_dataset
from stinger.models.ast.libraries import load_datasets
from stinger.models.ast.sizes import size
from stinger.models.ast.spectrogram_files import examples_of_files, holds_spectrograms
from stinger.sessions.read import read_sessions
from stinger.windows.store import read_dataset
from stinger.workflow.progress import Progress


def read_examples(
    paths: Sequence[Path],
    progress: Progress,
    *,
    window_s: float | None = None,
    stride: float | None = None,
    channels: Sequence[str] | None = None,
    spec: SpectrogramSpec = AST,
) -> Examples:
    """Read labelled windows.

    Args:
        paths: Recordings, files that `stinger magnetic spectrogram` wrote, folders of either, zips of recordings; or
            one dataset that `stinger explore` or `stinger magnetic dataset` wrote.
        progress: Says what is being done.
        window_s: Length of a window of recordings; default 3 s.
        stride: Step between windows, as a share of one; default a third.
        channels: Which to take; default the magnetometer, or all.
        spec: How spectrograms are made.

    Raises:
        UsageError: What is asked for has been settled already by who made the dataset.
        InputError: Something cannot be read, or holds no labels.
    """
    if not paths:
        raise UsageError("nothing to learn from; name recordings, or a dataset")
    progress.step(f"reading {', '.join(map(str, paths))}")
    cut = window_s is not None or stride is not None or channels is not None
    if cut and (is_dataset(paths[0]) or is_hf_dataset(paths[0]) or _spectrograms(paths)):
        raise UsageError(f"{paths[0]}: its windows are cut already; leave out the window, --stride and --channels")
    made = next((path for path in paths if is_dataset(path) or is_hf_dataset(path)), None)
    if made is not None and len(paths) > 1:
        raise InputError(f"{made} is a dataset; give it alone, or recordings only")
    if made is not None:
        return (
            read_hf_dataset(made) if is_hf_dataset(made) else examples_of_dataset(read_dataset(made, whole=True), spec)
        )
    if files := _spectrograms(paths):
        return examples_of_files(files)
    sessions = [session for path in paths for session in read_sessions(path)]
    return examples_of_sessions(
        sessions,
        window_s=3.0 if window_s is None else window_s,
        stride=1 / 3 if stride is None else stride,
        channels=channels,
        spec=spec,
    )


def _spectrograms(paths: Sequence[Path]) -> list[Path]:
    """Return all files with spectrograms below some paths, if the first file there is one."""
    files = [
        file
        for path in paths
        for file in (sorted(path.rglob("*.mcap")) if path.is_dir() else [path] if path.is_file() else [])
    ]
    return files if files and holds_spectrograms(files[0]) else []


def is_dataset(path: Path) -> bool:
    """Say whether a path is a dataset that `stinger explore` wrote."""
    return (path / "meta.json").is_file() and (path / "windows_i16le.bin").is_file()


@dataclass(frozen=True)
class DatasetOptions:
    """What `stinger magnetic dataset` can be told.

    Attributes:
        inputs: As `read_examples` takes them.
        out: The dataset's folder.
        window_s: Length of a window of recordings; default 3 s.
        stride: Step between windows, as a share of one; default a third.
        channels: Which to take; default the magnetometer, or all.
        size: Make spectrograms as a transformer of this size sees them, one of `stinger.models.ast.sizes.SIZES`.
    """

    inputs: Sequence[Path]
    out: Path
    window_s: float | None = None
    stride: float | None = None
    channels: Sequence[str] | None = None
    size: str = "base"


def magnetic_dataset(options: DatasetOptions, progress: Progress | None = None) -> dict[str, Any]:
    """Write labelled windows with their spectrograms as a HuggingFace dataset.

    Returns:
        A summary in plain JSON values.

    Raises:
        UsageError: Unknown size, options that do not fit, or the extra `ast` is missing.
        InputError: Something cannot be read or written.
    """
    progress = progress or Progress()
    spec = size(options.size).spectrogram
    load_datasets()
    examples = read_examples(
        options.inputs, progress, window_s=options.window_s, stride=options.stride, channels=options.channels, spec=spec
    )
    progress.step(f"making {len(examples):,} spectrograms")
    with progress.bar("windows") as show:
        write_hf_dataset(examples, options.out, show)
    counts = np.bincount(examples.labels, minlength=len(examples.classes)).tolist()
    return {
        "windows": dict(zip(examples.classes, counts, strict=True)),
        "recordings": len(np.unique(examples.recordings)),
        "channels": list(examples.channels),
        "window_s": examples.window_s,
        "shape": list(examples.inputs.spec.shape),
        "spectrogram": examples.inputs.spec.to_json(),
    }
