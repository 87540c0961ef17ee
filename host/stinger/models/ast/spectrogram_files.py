"""Examples out of files with spectrograms: MCAP that `stinger magnetic spectrogram`, or an earlier tool, wrote.

A window is labelled where it lies in one label of the file beside it. Each file is one recording.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError, UsageError
from stinger.features.spectrogram import AST, SpectrogramSpec
from stinger.models.ast.examples import MAGNETOMETER, Examples, Source, StoredInputs
from stinger.sessions.mcap_format.labels import labels_path, read_labels
from stinger.sessions.mcap_format.messages import json_messages
from stinger.sessions.mcap_format.spectrograms import ARRAYS, MAX_VALUES_BYTES, Spectrograms, read_spectrograms
from stinger.sessions.mcap_format.stream import MAGIC
from stinger.windows.labelled import MAX_CLASSES

_WINDOW_S = 3.0  # of files that do not say
_ADVICE = "make it again with `stinger magnetic spectrogram`"


def holds_spectrograms(path: Path) -> bool:
    """Say whether a file is MCAP with arrays for a model in it, not with a recording."""
    try:
        with path.open("rb") as stream:
            if stream.read(len(MAGIC)) != MAGIC:
                return False
        return next(json_messages(path, (ARRAYS,)), None) is not None
    except (OSError, InputError):
        return False


def examples_of_files(paths: Sequence[Path]) -> Examples:
    """Read labelled spectrograms.

    Args:
        paths: Files with spectrograms that were all made in the same way.

    Raises:
        InputError: A file cannot be read or has no labels beside it, or they were made in different ways.
    """
    files = []
    for path in paths:
        files.append(read_spectrograms(path))
        if sum(one.values.nbytes for one in files) > MAX_VALUES_BYTES:
            raise InputError(f"more than {MAX_VALUES_BYTES >> 20} MiB of spectrograms; give the recordings instead")
    known = [_Facts(one) for one in files]
    for one in known:
        if one.made() != known[0].made():
            raise InputError(f"{one.name} and {known[0].name} have different channels, windows or spectrograms")
    names, owners = zip(*(_labels(path, facts) for path, facts in zip(paths, known, strict=True)), strict=True)
    classes = tuple(sorted({name for of_file in names for name in of_file}))
    if not 2 <= len(classes) <= MAX_CLASSES:
        raise InputError(f"{len(classes)} labels beside {len(paths)} files; 2 to {MAX_CLASSES} classes are needed")
    offsets = np.cumsum([0, *(len(of_file) for of_file in names)])
    index = [np.array([classes.index(name) for name in of_file], dtype=np.int64) for of_file in names]
    kept = [owner >= 0 for owner in owners]
    return Examples(
        inputs=StoredInputs(
            np.concatenate([one.values[keep] for one, keep in zip(files, kept, strict=True)]),
            known[0].spec,
            known[0].spec,
        ),
        labels=np.concatenate([i[o[k]] for i, o, k in zip(index, owners, kept, strict=True)]),
        classes=classes,
        sequence=np.repeat(np.arange(len(files)), [int(keep.sum()) for keep in kept]),
        segment=np.concatenate([o[k] + offset for o, k, offset in zip(owners, kept, offsets, strict=False)]),
        start_ns=np.concatenate([facts.start_ns[k] for facts, k in zip(known, kept, strict=True)]),
        end_ns=np.concatenate([facts.end_ns[k] for facts, k in zip(known, kept, strict=True)]),
        sources=tuple(Source(one.name, hashlib.sha256(one.values.tobytes()).hexdigest()) for one in files),
        channels=known[0].channels,
        window_s=known[0].window_s,
    )


class _Facts:
    """What a file says of how it was made, checked."""

    def __init__(self, file: Spectrograms) -> None:
        about = file.about
        self.name = file.name
        try:
            self.spec = SpectrogramSpec(**about["spec"]) if about else AST
            self.window_s = float(about.get("window_s", _WINDOW_S))
            period_s = 1 / float(about["rate_hz"]) if about else 0.0
            self.channels = tuple(str(one["name"]) for one in about["channels"]) if about else MAGNETOMETER
            sane = 0 < self.window_s <= 3600 and 0 <= period_s <= 1 and 1 <= len(self.channels) <= 32
        except (KeyError, TypeError, ValueError, ZeroDivisionError, UsageError) as error:
            raise InputError(f"{file.name}: its description makes no sense; {_ADVICE}") from error
        if not sane:
            raise InputError(f"{file.name}: its description makes no sense; {_ADVICE}")
        # Log times are those of a window's last sample.
        self.last_ns = file.times_ns
        self.end_ns = file.times_ns + round(period_s * 1e9)
        self.start_ns = self.end_ns - round(self.window_s * 1e9)

    def made(self) -> tuple[Any, ...]:
        """What files that are used together must have in common."""
        return self.spec, self.window_s, self.channels


def _labels(path: Path, facts: _Facts) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Label of each event beside a file, and for each window the number of its event, or -1."""
    if not labels_path(path).is_file():
        raise InputError(f"{path.name} has no labels beside it ({labels_path(path).name}); put them there")
    events = read_labels(labels_path(path))
    owner = np.full(len(facts.end_ns), -1, dtype=np.int64)
    for number, event in enumerate(events):
        # Labels are in microseconds.
        inside = (facts.start_ns >= event.start_us * 1000 - 999) & (facts.last_ns <= event.end_us * 1000 + 999)
        owner[inside] = np.where(owner[inside] == -1, number, -2)
    return tuple(event.label for event in events), owner
