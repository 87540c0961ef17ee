"""What a transformer is trained on, from whatever holds it: recordings, or a dataset that was made before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stinger.errors import InputError, UsageError
from stinger.features.spectrogram import AST, SpectrogramSpec
from stinger.models.ast.examples import Examples, examples_of_dataset, examples_of_sessions
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
        paths: Recordings, folders or zips of them; or one dataset that `stinger explore` wrote.
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
    if len(paths) == 1 and is_dataset(paths[0]):
        if window_s is not None or stride is not None or channels is not None:
            raise UsageError(f"{paths[0]} is a dataset: its windows are cut; leave out --window, --stride, --channels")
        return examples_of_dataset(read_dataset(paths[0], whole=True), spec)
    made = next((path for path in paths if is_dataset(path)), None)
    if made is not None:
        raise InputError(f"{made} is a dataset; give it alone, or recordings only")
    sessions = [session for path in paths for session in read_sessions(path)]
    return examples_of_sessions(
        sessions,
        window_s=3.0 if window_s is None else window_s,
        stride=1 / 3 if stride is None else stride,
        channels=channels,
        spec=spec,
    )


def is_dataset(path: Path) -> bool:
    """Say whether a path is a dataset that `stinger explore` wrote."""
    return (path / "meta.json").is_file() and (path / "windows_i16le.bin").is_file()
