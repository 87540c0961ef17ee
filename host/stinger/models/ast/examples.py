"""What a spectrogram transformer learns from: labelled windows of recordings, whatever their rates.

An example remembers which recording and which stretch of one label it was cut from, so that parts can be held out
honestly (`stinger.models.ast.parts`). Spectrograms are computed when they are asked for: windows are a thousandth of
their size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.features.spectrogram import (
    AST,
    SpectrogramSpec,
    check_input_values,
    input_values,
    log_mel,
    normalised,
    window_sound,
)
from stinger.sessions.session import Channel, Session
from stinger.windows.dataset import Dataset
from stinger.windows.describe import session_hash
from stinger.windows.labelled import MAX_CLASSES, cut_labelled
from stinger.windows.spec import ExploreSpec

#: Where the field is measured: what a recording is classified by if nobody says.
MAGNETOMETER = ("mx", "my", "mz")
MAX_EXAMPLES = 200_000
#: Bytes of spectrograms that are kept instead of computed again.
_CACHE_BYTES = 256 << 20
#: Windows that mean and deviation are measured on.
_MEASURED = 200


class Inputs(Protocol):
    """Where examples get their spectrograms from."""

    @property
    def spec(self) -> SpectrogramSpec:
        """How they are made."""

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the spectrograms of some rows ``(m,)``: ``(m, frames, mel_bins)``."""

    def measured(self, rows: NDArray[np.int64]) -> SpectrogramSpec:
        """Return the spec with mean and deviation of what some rows ``(m,)`` hold, padding aside."""

    def as_spec(self, spec: SpectrogramSpec) -> Inputs:
        """Return the same made in another way.

        Raises:
            InputError: That cannot be had from what is there.
        """


@dataclass(frozen=True)
class Source:
    """One recording that examples come from.

    Attributes:
        name: What people call it.
        sha256: Of its samples: a recording that was given twice is one.
    """

    name: str
    sha256: str


@dataclass(frozen=True)
class Examples:
    """Labelled windows.

    Attributes:
        inputs: Their spectrograms.
        labels: Index into ``classes``, int64, shape ``(n,)``.
        classes: Names, sorted.
        sequence: Index into ``sources`` of the recording each is from, int64, shape ``(n,)``.
        segment: Number of the stretch of one label it lies in, int64, shape ``(n,)``.
        start_ns: When it begins on its recording's clock, int64, shape ``(n,)``.
        end_ns: When it ends; the first moment after it.
        sources: The recordings.
        channels: What is measured, in the order in which the sound plays them.
        window_s: Length of a window.
        held_out: Which are for measuring only, where the data say so themselves, shape ``(n,)``.
    """

    inputs: Inputs
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    sequence: NDArray[np.int64]
    segment: NDArray[np.int64]
    start_ns: NDArray[np.int64]
    end_ns: NDArray[np.int64]
    sources: tuple[Source, ...]
    channels: tuple[str, ...]
    window_s: float
    held_out: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def recordings(self) -> NDArray[np.int64]:
        """Number of each example's recording, the same for one that was given twice, shape ``(n,)``."""
        first: dict[str, int] = {}
        numbers = [first.setdefault(source.sha256, i) for i, source in enumerate(self.sources)]
        return np.array(numbers, dtype=np.int64)[self.sequence]


@dataclass(frozen=True)
class Windows:
    """Windows of one recording.

    Attributes:
        counts: int16, shape ``(m, samples, channels)``.
        scale: Physical value of one count of each channel, shape ``(channels,)``.
        rate_hz: The recording's own rate.
    """

    counts: NDArray[np.int16]
    scale: NDArray[np.float64]
    rate_hz: float

    def physical(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the physical values of some windows."""
        values: NDArray[np.float64] = self.counts[rows] * self.scale
        return values


@dataclass(frozen=True)
class WindowInputs:
    """Spectrograms of windows, computed when they are asked for; as many as fit are kept.

    Attributes:
        blocks: Windows of each recording, one after another.
        spec: How spectrograms are made.
    """

    blocks: tuple[Windows, ...]
    spec: SpectrogramSpec = AST
    _kept: dict[int, NDArray[np.float32]] = field(default_factory=dict, repr=False, compare=False)

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return spectrograms ``(m, frames, mel_bins)`` of some rows ``(m,)``."""
        made = np.empty((len(rows), *self.spec.shape), dtype=np.float32)
        most = _CACHE_BYTES // (made.itemsize * self.spec.frames * self.spec.mel_bins)
        for place, row in enumerate(rows.tolist()):
            one = self._kept.get(row)
            if one is None:
                block, inside = self._find(row)
                one = input_values(block.physical(inside), block.rate_hz, self.spec)[0]
                if len(self._kept) < most:
                    self._kept[row] = one
            made[place] = one
        return made

    def measured(self, rows: NDArray[np.int64]) -> SpectrogramSpec:
        """Return the spec with mean and deviation of what some rows ``(m,)`` hold, padding aside."""
        parts = []
        for row in _spread(rows).tolist():
            block, inside = self._find(row)
            sound = window_sound(block.physical(inside)[0], block.rate_hz, self.spec)
            frames = 1 + (len(sound) - self.spec.frame_samples) // self.spec.hop_samples
            parts.append(log_mel(sound, self.spec)[:frames])
        return _with_moments(self.spec, parts)

    def as_spec(self, spec: SpectrogramSpec) -> WindowInputs:
        """Return the same windows, their spectrograms made in another way."""
        return WindowInputs(self.blocks, spec)

    def _find(self, row: int) -> tuple[Windows, NDArray[np.int64]]:
        for block in self.blocks:
            if row < len(block.counts):
                return block, np.array([row])
            row -= len(block.counts)
        raise IndexError(row)


class Rows(Protocol):
    """Spectrograms that lie somewhere."""

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return some rows ``(m,)``: ``(m, frames, mel_bins)``."""


@dataclass(frozen=True)
class StoredInputs:
    """Spectrograms that somebody made before.

    Attributes:
        values: The spectrograms.
        made: How they were made.
        spec: How they are given: as they were made, but for mean and deviation.
    """

    values: Rows
    made: SpectrogramSpec
    spec: SpectrogramSpec

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return spectrograms ``(m, frames, mel_bins)`` of some rows ``(m,)``."""
        stored = check_input_values(self.values[rows], self.made)
        if self.spec == self.made:
            return stored
        logarithms = stored * np.float32(2 * self.made.std) + np.float32(self.made.mean)
        return normalised(logarithms, self.spec)

    def measured(self, rows: NDArray[np.int64]) -> SpectrogramSpec:
        """Return the spec with mean and deviation of what some rows ``(m,)`` hold, padding aside."""
        parts = []
        for row in _spread(rows).tolist():
            stored = self.values[np.array([row])][0]
            # Frames beyond the end of the sound are logarithms of 0 throughout.
            heard = stored[~np.isclose(stored, -self.made.mean / (2 * self.made.std), rtol=0, atol=1e-6).all(axis=1)]
            parts.append(heard * (2 * self.made.std) + self.made.mean)
        return _with_moments(self.made, parts)

    def as_spec(self, spec: SpectrogramSpec) -> StoredInputs:
        """Return the same spectrograms with another mean and deviation.

        Raises:
            InputError: They were made in another way altogether.
        """
        if replace(spec, mean=0.0, std=1.0) != replace(self.made, mean=0.0, std=1.0):
            raise InputError(
                f"the spectrograms are {self.made.frames} frames of {self.made.mel_bins} bands every "
                f"{self.made.hop_ms:g} ms, the model looks at {spec.frames} of {spec.mel_bins} every "
                f"{spec.hop_ms:g} ms; make them for this model, or give the recordings"
            )
        return StoredInputs(self.values, self.made, spec)


def _spread(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """As many of some rows as are measured, evenly spread."""
    chosen: NDArray[np.int64] = rows[np.linspace(0, len(rows) - 1, min(len(rows), _MEASURED)).astype(np.int64)]
    return chosen


def _with_moments(spec: SpectrogramSpec, parts: Sequence[NDArray[np.float32]]) -> SpectrogramSpec:
    values = np.concatenate([part.ravel() for part in parts]).astype(np.float64)
    if not values.size:
        return spec
    # Rounded, so that another processor's last bit is not another model.
    return replace(spec, mean=round(float(values.mean()), 4), std=max(round(float(values.std()), 4), 1e-3))


def examples_of_sessions(
    sessions: Sequence[Session],
    *,
    window_s: float = 3.0,
    stride: float = 1 / 3,
    channels: Sequence[str] | None = None,
    spec: SpectrogramSpec = AST,
) -> Examples:
    """Cut labelled windows out of recordings, each by its own rate; a window lies in one label and spans no gap.

    Args:
        sessions: Recordings with labels.
        window_s: Length of a window.
        stride: Step between windows, as a share of a window.
        channels: Which to take; default the magnetometer, or all where there is none.
        spec: How spectrograms are made.

    Raises:
        UsageError: A window is too long, or a channel is not there.
        InputError: There are fewer than two classes, or too many windows.
    """
    names = chosen_channels(sessions, channels)
    how = ExploreSpec(channels=names, window_ms=window_s * 1000, stride=stride)
    cuts = [cut_labelled(s, how, "events" if s.label is None else "recordings") for s in sessions]
    classes = tuple(sorted({name for cut in cuts for name in cut.names}))
    if not 2 <= len(classes) <= MAX_CLASSES:
        shown = ", ".join(classes[:5]) or "none"
        raise InputError(
            f"{len(classes)} labels in {len(sessions)} recordings ({shown}); 2 to {MAX_CLASSES} classes are needed: "
            "label the recordings"
        )
    sizes = [len(cut.labels) for cut in cuts]
    if not 0 < sum(sizes) <= MAX_EXAMPLES:
        raise InputError(
            f"{sum(sizes):,} labelled windows of {window_s:g} s in {len(sessions)} recordings, 1 to {MAX_EXAMPLES:,} "
            "can be learnt from; choose another window or stride"
        )
    first = np.cumsum([0, *(cut.groups for cut in cuts)])
    starts = [session.t_us[cut.start] * 1000 for session, cut in zip(sessions, cuts, strict=True)]
    lengths = [cut.window * cut.period_us * 1000 for cut in cuts]
    start_ns = np.concatenate(starts)
    return Examples(
        inputs=WindowInputs(tuple(Windows(c.windows, _scale(c.channels), 1e6 / c.period_us) for c in cuts), spec),
        labels=np.concatenate([np.array([classes.index(n) for n in c.names], np.int64)[c.labels] for c in cuts]),
        classes=classes,
        sequence=np.repeat(np.arange(len(cuts)), sizes),
        segment=np.concatenate([cut.group + offset for cut, offset in zip(cuts, first, strict=False)]),
        start_ns=start_ns,
        end_ns=start_ns + np.repeat(np.array(lengths, np.int64), sizes),
        sources=tuple(Source(session.name, session_hash(session)) for session in sessions),
        channels=names,
        window_s=window_s,
    )


def examples_of_dataset(dataset: Dataset, spec: SpectrogramSpec = AST) -> Examples:
    """Take the windows of a dataset that `stinger explore` wrote, and what it holds out.

    Raises:
        InputError: Its windows are before shots, not in labels.
    """
    if dataset.meta.get("kind") not in ("events", "recordings"):
        raise InputError("the dataset's classes are no labels of recordings; give one with --classes events")
    dataset = dataset.without_embargoed()
    inputs = dataset.meta.get("inputs")
    facts = inputs if isinstance(inputs, list) else []
    sources = tuple(Source(str(one.get("name")), str(one.get("sha256"))) for one in facts)
    if len(sources) <= int(dataset.session.max(initial=0)):
        raise InputError("the dataset does not say what it was cut from; explore again")
    window_us = dataset.window * dataset.period_us
    start_ns = dataset.start * dataset.period_us * 1000
    return Examples(
        inputs=WindowInputs((Windows(dataset.windows, _scale(dataset.channels), 1e6 / dataset.period_us),), spec),
        labels=dataset.labels.astype(np.int64),
        classes=dataset.classes,
        sequence=dataset.session,
        segment=dataset.groups,
        start_ns=start_ns,
        end_ns=start_ns + window_us * 1000,
        sources=sources,
        channels=tuple(channel.name for channel in dataset.channels),
        window_s=window_us / 1e6,
        held_out=dataset.held_out,
    )


def chosen_channels(sessions: Sequence[Session], channels: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return the names of the channels to take: those given, else the magnetometer, else all that there are."""
    if channels is not None:
        return tuple(channels)
    names = [channel.name for channel in sessions[0].channels]
    return MAGNETOMETER if set(MAGNETOMETER) <= set(names) else tuple(names)


def _scale(channels: Sequence[Channel]) -> NDArray[np.float64]:
    return np.array([channel.scale for channel in channels])
