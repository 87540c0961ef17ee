"""Recordings to spectrograms: what `stinger magnetic spectrogram` does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError, UsageError
from stinger.features.spectrogram import SpectrogramSpec, frames_of, input_values
from stinger.features.spectrogram_stream import SpectrogramStream, TimedSpectrogram, session_spectrograms
from stinger.files import replace_dir
from stinger.sessions.mcap_format.labels import LEVELS, check_labels, labels_of, labels_path, write_labels
from stinger.sessions.mcap_format.quantities import TOPIC_CHANNELS
from stinger.sessions.mcap_format.spectrograms import open_spectrograms
from stinger.sessions.options import ReadOptions
from stinger.sessions.read import list_recordings, read_listed
from stinger.sessions.session import Session
from stinger.sessions.write import file_name
from stinger.windows.describe import select_channels
from stinger.windows.labelled import label_events
from stinger.windows.regular import RegularWindows, physical_windows
from stinger.workflow.progress import Progress

SUFFIX = ".mcap"
MAGNETOMETER = "mag_raw"
#: Windows that decide how a recording's pictures are coloured, and how many a plot shows.
_EXAMPLES, _SHOWN = 6, 3
#: Samples that arrive at a time where a recording is played as a stream.
_BLOCK = 97


@dataclass(frozen=True)
class SpectrogramOptions:
    """What `stinger magnetic spectrogram` can be told.

    Attributes:
        channels: Topics (``mag_raw``) or channels (``mx``), in the order in which they follow one another; None takes
            the magnetometer of a recording that has one, and all channels of one that has none.
        recording: Name of the recording, where a file holds several with these channels.
        windows: How long windows are and how far apart.
        spec: How spectrograms are made.
        pictures: Whether to write pictures beside the arrays.
        plot: Where to draw some of the windows with what was measured, if anywhere.
        streaming: Play each recording as a stream, sample by sample; the result is the same.
        read: What the files do not say themselves.
    """

    channels: tuple[str, ...] | None = None
    recording: str | None = None
    windows: RegularWindows = field(default_factory=RegularWindows)
    spec: SpectrogramSpec = field(default_factory=SpectrogramSpec)
    pictures: bool = True
    plot: Path | None = None
    streaming: bool = False
    read: ReadOptions = field(default_factory=ReadOptions)


def magnetic_spectrogram(
    source: Path, target: Path, options: SpectrogramOptions, progress: Progress
) -> list[dict[str, Any]]:
    """Write the spectrograms of recordings as MCAP, each with the recording's labels beside it.

    Args:
        source: A recording, or a folder or zip of recordings.
        target: A ``.mcap`` file, or a folder to make.
        options: What is wanted.
        progress: Says what is being done.

    Returns:
        A summary of each file, in plain JSON values.

    Raises:
        UsageError: The options do not fit, or several recordings are to go into one file.
        InputError: A recording cannot be read or has no window, or the place cannot be written.
    """
    if target.suffix and target.suffix.lower() != SUFFIX:
        raise UsageError(f"{target}: spectrograms become {SUFFIX} files; end the name so, or name a directory")
    if target.exists() and source.exists() and target.samefile(source):
        raise UsageError(f"{target} is the recording itself; choose another place")
    progress.step(f"reading {source}")
    listing = list_recordings(source, options.read)
    if target.suffix:
        if len(listing.sources) > 1:
            raise UsageError(f"{target} is one file, several recordings need a directory; name one without a suffix")
        [sessions] = read_listed(source, listing)
        return [_write(_chosen(sessions, options), target, options, progress)]
    if options.plot is not None and len(listing.sources) > 1:
        raise UsageError("--plot draws one recording; give one")
    rows: list[dict[str, Any]] = []
    taken: set[str] = set()
    with replace_dir(target) as building:
        for of_file, sessions in zip(listing.sources, read_listed(source, listing), strict=True):
            session = _chosen(sessions, options)
            name = file_name(replace(session, name=of_file.name), SUFFIX, taken)
            (building / name).parent.mkdir(parents=True, exist_ok=True)
            rows.append(_write(session, building / name, options, progress) | {"file": name})
    return rows


def draw_windows(session: Session, path: Path, options: SpectrogramOptions | None = None) -> None:
    """Draw a window of each label and its spectrogram, as ``--plot`` does, and write nothing else.

    Raises:
        UsageError: The recording has no such channel.
        InputError: It has no window, or the place cannot be written.
    """
    options = replace(options or SpectrogramOptions(), pictures=False, plot=path)
    _pictures(session, choose_columns(session, options.channels), _starts(session, options), options)


def choose_columns(session: Session, wanted: Sequence[str] | None) -> list[int]:
    """Return the columns of wanted topics and channels, in that order; see `SpectrogramOptions`.

    Raises:
        UsageError: The recording has no such channel.
    """
    known = {channel.name for channel in session.channels}
    if wanted is None:
        magnetometer = TOPIC_CHANNELS[MAGNETOMETER]
        return select_channels(session, magnetometer if known.issuperset(magnetometer) else None)
    names = [name for one in wanted for name in (TOPIC_CHANNELS.get(one, (one,)) if one not in known else (one,))]
    if not names or len(set(names)) != len(names):
        raise UsageError(f"--channels {','.join(wanted)}: none, or one of them twice; name each once")
    return select_channels(session, names)


def window_labels(session: Session, start: NDArray[np.int64], window: int) -> list[str | None]:
    """Return the label of each window that lies in one label only, None of the others; see `label_events`."""
    if session.label is not None:
        return [session.label] * len(start)
    labels: list[str | None] = [None] * len(start)
    for a, b, label in label_events(session):
        # The last sample of a recording is at the end of its last event, not before it.
        b = len(session) if b == len(session) - 1 else b  # noqa: PLW2901 - the same bound, put right
        for index in np.flatnonzero((start >= a) & (start + window <= b)).tolist():
            labels[index] = label if labels[index] in (None, label) else None
    return labels


def _chosen(sessions: Sequence[Session], options: SpectrogramOptions) -> Session:
    """Return the only recording of a file that has the channels."""
    if options.recording is not None:
        sessions = [session for session in sessions if session.name == options.recording]
        if not sessions:
            raise UsageError(f"--recording {options.recording!r:.80}: there is none of that name; see `stinger info`")
    fitting = []
    for session in sessions:
        try:
            columns = choose_columns(session, options.channels)
        except UsageError:
            if len(sessions) == 1:
                raise
            continue
        magnetic = options.channels is None and session.channels[columns[0]].name == TOPIC_CHANNELS[MAGNETOMETER][0]
        fitting.append((not magnetic, session))
    # Where nobody says which channels, a magnetometer goes first.
    best = [session for last, session in fitting if last == min(fitting, key=lambda one: one[0])[0]]
    if len(best) != 1:
        names = ", ".join(session.name for session in (best or sessions)[:5])
        raise UsageError(
            f"{len(best)} of {len(sessions)} recordings have these channels; choose one with --recording: {names}"
        )
    return best[0]


def _write(session: Session, path: Path, options: SpectrogramOptions, progress: Progress) -> dict[str, Any]:
    columns = choose_columns(session, options.channels)
    windows, spec = options.windows, options.spec
    window, step = windows.samples(session.period_us)
    start = _starts(session, options)
    shift_us = max(0, -int(session.t_us[0]))
    labels = labels_of([session], shift_us)
    check_labels(labels, session.name)
    channels = [session.channels[column] for column in columns]
    about = {
        "source": session.name,
        "channels": [{"name": channel.name, "unit": channel.unit} for channel in channels],
        "rate_hz": 1e6 / session.period_us,
        "window_s": windows.window_s,
        "step_s": windows.step_s,
        "shift_us": shift_us,
        "spec": spec.to_json(),
    }
    progress.step(f"{session.name}: {len(start)} windows of {window} samples, {step} apart")
    draw = _pictures(session, columns, start, options)
    with open_spectrograms(path, about) as writer, progress.bar("windows") as show:
        sounding = np.zeros(spec.mel_bins, dtype=np.bool_)
        frames = frames_of(window * session.period_us / 1e6 * len(columns), spec)
        for one in _spectrograms(session, columns, options):
            sounding |= (one.values[:frames] > spec.lowest).any(axis=0)
            writer.add((one.end_us + shift_us) * 1000, one.values, None if draw is None else draw.png(one.values))
            show(writer.count, len(start))
    # Labels of an earlier file of this name would be taken for this one's.
    if labels or labels_path(path).exists():
        write_labels(labels, labels_path(path))
    named = Counter(label or "no label" for label in window_labels(session, start, window))
    return {
        "file": path.name,
        "recording": session.name,
        "channels": [channel.name for channel in channels],
        "rate_hz": round(1e6 / session.period_us, 6),
        "windows": len(start),
        "window_samples": window,
        "step_samples": step,
        "shape": list(spec.shape),
        "sounding_bands": int(sounding.sum()),
        "labels": dict(sorted(named.items())),
        "bytes": path.stat().st_size,
        "faults": [*session.faults, *_faults(session, len(columns), options, shift_us)],
    }


def _starts(session: Session, options: SpectrogramOptions) -> NDArray[np.int64]:
    start = options.windows.starts(session)
    if not len(start):
        raise InputError(
            f"{session.name}: no stretch without a gap as long as a window of {options.windows.window_s:g} s; "
            "choose a shorter --window"
        )
    return start


def _spectrograms(session: Session, columns: list[int], options: SpectrogramOptions) -> Iterator[TimedSpectrogram]:
    if not options.streaming:
        yield from session_spectrograms(session, columns, options.windows, options.spec)
        return
    stream = SpectrogramStream(session.period_us, len(columns), options.windows, options.spec)
    scale = np.array([session.channels[column].scale for column in columns])
    for at in range(0, len(session), _BLOCK):
        part = slice(at, at + _BLOCK)
        yield from stream.push(session.t_us[part], session.samples[part, columns] * scale)


def _pictures(session: Session, columns: list[int], start: NDArray[np.int64], options: SpectrogramOptions) -> Any:
    """Prepare drawing the windows of a recording, and draw the plot; None where no pictures are wanted."""
    if not options.pictures and options.plot is None:
        return None
    from stinger.plots.spectrogram import Layout, WindowPictures, fitted, plot_windows  # noqa: PLC0415 - matplotlib

    names = tuple(session.channels[column].name for column in columns)
    window, _ = options.windows.samples(session.period_us)
    rate_hz = 1e6 / session.period_us
    layout = Layout(names, rate_hz, window / rate_hz, options.spec)

    def made(which: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        measured = physical_windows(session, columns, start[which], window)
        return measured, input_values(measured, rate_hz, options.spec)

    spread = np.unique(np.linspace(0, len(start) - 1, _EXAMPLES).round().astype(np.int64))
    layout = fitted(layout, list(made(spread)[1]))
    if options.plot is not None:
        labels = window_labels(session, start, window)
        first: dict[str, int] = {}
        for index, label in enumerate(labels):
            if label is not None:
                first.setdefault(label, index)
        some = [first[label] for label in sorted(first, key=_rank)] or spread[:: max(1, len(spread) // _SHOWN)].tolist()
        shown = np.array(some[:_SHOWN], dtype=np.int64)
        columns_shown = []
        for index, measured, values in zip(shown.tolist(), *made(shown), strict=True):
            second = (int(session.t_us[start[index]]) - int(session.t_us[0])) / 1e6
            columns_shown.append((f"{labels[index] or 'window'}, from {second:g} s", measured, values))
        units = dict.fromkeys(session.channels[column].unit.replace("deg/s", "°/s") for column in columns)
        plot_windows(columns_shown, layout, ", ".join(units), options.plot)
    return WindowPictures(layout) if options.pictures else None


def _rank(label: str) -> tuple[int, str]:
    """Levels of distortion in their order, other labels by name."""
    return (LEVELS.index(label) if label in LEVELS else len(LEVELS), label)


def _faults(session: Session, channels: int, options: SpectrogramOptions, shift_us: int) -> Iterator[str]:
    """Say what the spectrograms do not show."""
    windows, spec = options.windows, options.spec
    window, _ = windows.samples(session.period_us)
    frames = frames_of(window * session.period_us / 1e6 * channels, spec)
    if frames > spec.frames:
        yield (
            f"{1 - spec.frames / frames:.0%} of each window lie beyond {spec.frames} frames and are cut off; "
            "choose fewer --channels, a shorter --window or a longer --hop-ms"
        )
    short = [b - a for a, b in session.stretches() if b - a < window]
    if short:
        yield f"{len(short)} stretches without a gap ({sum(short)} samples) are shorter than a window"
    if shift_us:
        yield f"times are {shift_us} us later than in the recording, where they begin below zero"
