"""What a model says of a recording, window by window: the job of `stinger magnetic classify`, and of a notebook.

::

    result = classify(ClassifyOptions(Path("field_ast"), Path("walk.mcap"), timeline=Path("walk.png")))
    print(result.accuracy, result.confusion)

Any model will do: a spectrogram transformer as its folder, its run's folder or its ``.model.tar.gz``, or the directory
of any other family that `stinger train` wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError, StingerError, UsageError
from stinger.evaluation.metrics import confusion
from stinger.files import write_text
from stinger.models.ast.model import AstModel
from stinger.models.spec import TrainedModel
from stinger.sessions.mcap_format.classifications import write_classifications
from stinger.sessions.options import ReadOptions
from stinger.sessions.read import read_sessions
from stinger.sessions.session import Session
from stinger.windows.arrays import take_windows
from stinger.windows.describe import session_hash
from stinger.windows.labelled import label_events
from stinger.windows.regular import RegularWindows, physical_windows
from stinger.workflow.prediction_scores import for_model
from stinger.workflow.progress import Progress
from stinger.workflow.spectrogram import window_labels
from stinger.workflow.teachers import load_any

SUFFIX = ".mcap"
#: Windows in memory at a time.
_BLOCK = 64


@dataclass(frozen=True)
class ClassifyOptions:
    """What classifying a recording can be told.

    Attributes:
        model: The model.
        recording: The recording's file.
        out: Where to write the classification as MCAP, if anywhere.
        table: Where to write the table as CSV, if anywhere.
        timeline: Where to draw the timeline, if anywhere.
        step_s: Seconds from the start of a window to that of the next; default: one window after the other.
        name: Name of the recording, where a file holds several.
        threads: Processors that a transformer may use.
        read: What the file does not say itself.
    """

    model: Path
    recording: Path
    out: Path | None = None
    table: Path | None = None
    timeline: Path | None = None
    step_s: float | None = None
    name: str | None = None
    threads: int = 1
    read: ReadOptions = field(default_factory=ReadOptions)

    def __post_init__(self) -> None:
        """Refuse places that cannot be meant."""
        for flag, path, suffix in (("--out", self.out, SUFFIX), ("--table", self.table, ".csv")):
            if path is not None and path.suffix.lower() != suffix:
                raise UsageError(f"{flag} {path}: what is written there is a {suffix} file; end the name so")
        places = [path.resolve() for path in (self.out, self.table, self.timeline) if path is not None]
        if len({*places, self.recording.resolve()}) < len(places) + 1:
            raise UsageError("two of the files are the same one, or the recording itself; choose another place")


@dataclass(frozen=True)
class ClassifyResult:
    """What a model says of each window.

    Attributes:
        model: Its name.
        classes: Names of its classes.
        recording: Name of the recording.
        start_us: When each window begins, int64, shape ``(n,)``, on the recording's clock.
        end_us: When its last sample was.
        begin_us: When the recording began.
        probability: Shape ``(n, classes)``.
        truth: Label of each window that lies in one label only, None of the others.
        notes: What whoever reads it has to know, one line each.
    """

    model: str
    classes: tuple[str, ...]
    recording: str
    start_us: NDArray[np.int64]
    end_us: NDArray[np.int64]
    begin_us: int
    probability: NDArray[np.float64]
    truth: tuple[str | None, ...]
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.start_us)

    @property
    def predicted(self) -> tuple[str, ...]:
        """The most probable class of each window."""
        return tuple(self.classes[i] for i in self.probability.argmax(axis=1).tolist())

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Windows whose label is known and another, shape ``(n,)``."""
        pairs = zip(self.truth, self.predicted, strict=True)
        return np.array([truth is not None and truth != said for truth, said in pairs], dtype=np.bool_)

    @property
    def labelled(self) -> int:
        """Windows whose label is known."""
        return sum(truth is not None for truth in self.truth)

    @property
    def accuracy(self) -> float | None:
        """Share of the labelled windows that are right; None without any."""
        return 1 - float(self.wrong.sum()) / self.labelled if self.labelled else None

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Count of each pair of true (row) and predicted class, of windows whose label the model knows."""
        known = [i for i, truth in enumerate(self.truth) if truth in self.classes]
        labels = np.array([self.classes.index(str(self.truth[i])) for i in known], dtype=np.int64)
        return confusion(labels, self.probability.argmax(axis=1)[known], len(self.classes))

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each window in plain JSON values; times are seconds from the recording's start."""
        return [
            {
                "window": number,
                "start_s": (int(start) - self.begin_us) / 1e6,
                "end_s": (int(end) - self.begin_us) / 1e6,
                "predicted": said,
                "probability": round(float(shares.max()), 6),
                "truth": truth,
                "probabilities": {name: round(float(p), 6) for name, p in zip(self.classes, shares, strict=True)},
            }
            for number, (start, end, said, shares, truth) in enumerate(
                zip(self.start_us, self.end_us, self.predicted, self.probability, self.truth, strict=True)
            )
        ]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {
            "model": self.model,
            "classes": list(self.classes),
            "recording": self.recording,
            "accuracy": self.accuracy,
            "labelled_windows": self.labelled,
            "confusion": self.confusion.tolist(),
            "windows": self.rows(),
            "notes": list(self.notes),
        }


class _Classifier(Protocol):
    """A model of any kind, as classifying needs it."""

    name: str
    classes: tuple[str, ...]
    trained_on: tuple[str, ...]

    def window(self, period_us: int) -> int:
        """Samples of a window in a recording of that period."""

    def prepared(self, session: Session) -> Callable[[NDArray[np.int64]], NDArray[np.float64]]:
        """Return what gives the probabilities of the windows that begin at given samples of a recording."""


class _Transformer:
    def __init__(self, model: AstModel) -> None:
        self._model = model
        self.name, self.classes, self.trained_on = model.spec.name, model.spec.classes, model.spec.trained_on

    def window(self, period_us: int) -> int:
        return RegularWindows(self._model.spec.window_s, 1).samples(period_us)[0]

    def prepared(self, session: Session) -> Callable[[NDArray[np.int64]], NDArray[np.float64]]:
        columns, window = self._model.columns(session), self.window(session.period_us)
        return lambda start: self._model.predict_proba(
            physical_windows(session, columns, start, window), 1e6 / session.period_us
        )


class _Compact:
    def __init__(self, model: TrainedModel) -> None:
        self._model = model
        self.name, self.classes, self.trained_on = model.spec.name, model.spec.classes, model.spec.trained_on

    def window(self, period_us: int) -> int:  # noqa: ARG002 - `for_model` refuses any other rate
        return self._model.spec.window

    def prepared(self, session: Session) -> Callable[[NDArray[np.int64]], NDArray[np.float64]]:
        samples, _ = for_model(session, self._model.spec, self.name)
        return lambda start: self._model.predict_proba(take_windows(samples, start, self._model.spec.window))


def classify(options: ClassifyOptions, progress: Progress | None = None) -> ClassifyResult:
    """Say of each window of a recording which class it is of, and write that down where the options say.

    Raises:
        UsageError: Options that do not fit together, or the extra `ast` is missing.
        InputError: The model or the recording cannot be read, or they do not fit together.
    """
    progress = progress or Progress()
    progress.step(f"reading {options.model}")
    model = _load(options)
    progress.step(f"reading {options.recording}")
    session, answers = _chosen(read_sessions(options.recording, options.read), model, options)
    window = model.window(session.period_us)
    length_s = window * session.period_us / 1e6
    step_s = length_s if options.step_s is None else options.step_s
    # A window of the model is so many samples, whatever its seconds round to.
    start = RegularWindows(length_s, step_s).starts(session)
    if not len(start):
        longest = max((b - a for a, b in session.stretches()), default=0)
        raise InputError(
            f"{session.name}: the longest stretch without a gap has {longest} samples, a window of {model.name} "
            f"{window}; give a longer recording"
        )
    progress.step(f"classifying {len(start):,} windows with {model.name}")
    probability = np.empty((len(start), len(model.classes)))
    with progress.bar("windows") as show:
        for first in range(0, len(start), _BLOCK):
            probability[first : first + _BLOCK] = answers(start[first : first + _BLOCK])
            show(min(first + _BLOCK, len(start)), len(start))
    truth = window_labels(session, start, window)
    result = ClassifyResult(
        model=model.name,
        classes=model.classes,
        recording=session.name,
        start_us=session.t_us[start],
        end_us=session.t_us[start + window - 1],
        begin_us=int(session.t_us[0]),
        probability=probability,
        truth=tuple(truth),
        notes=tuple(_notes(session, model, truth)),
    )
    _write(result, session, options, (length_s, step_s))
    return result


def _load(options: ClassifyOptions) -> _Classifier:
    model = load_any(options.model, threads=options.threads)
    return _Transformer(model) if isinstance(model, AstModel) else _Compact(model)


def _chosen(
    sessions: Sequence[Session], model: _Classifier, options: ClassifyOptions
) -> tuple[Session, Callable[[NDArray[np.int64]], NDArray[np.float64]]]:
    """Return the one recording that the model can classify, and how."""
    if options.name is not None:
        sessions = [session for session in sessions if session.name == options.name]
        if not sessions:
            raise UsageError(f"--recording {options.name!r:.80}: there is none of that name; see `stinger info`")
    fitting = []
    for session in sessions:
        try:
            fitting.append((session, model.prepared(session)))
        except StingerError:
            if len(sessions) == 1:
                raise
    if len(fitting) != 1:
        names = ", ".join(session.name for session in ([one for one, _ in fitting] or sessions)[:5])
        raise UsageError(
            f"{len(fitting)} of {len(sessions)} recordings have what {model.name} needs; choose one with "
            f"--recording: {names}"
        )
    return fitting[0]


def _notes(session: Session, model: _Classifier, truth: Sequence[str | None]) -> list[str]:
    notes = [f"{session.name}: {fault}" for fault in session.faults]
    if session_hash(session) in model.trained_on:
        notes.append(f"{model.name} was trained on this recording: that it is right here says little")
    between = sum(one is None for one in truth)
    if 0 < between < len(truth):
        notes.append(f"{between} of {len(truth)} windows lie in no label or in several: they count neither way")
    foreign = sorted({one for one in truth if one is not None} - set(model.classes))
    if foreign:
        notes.append(
            f"{model.name} knows nothing of {', '.join(foreign[:5])}: windows of that are wrong whatever it says"
        )
    return notes


def _write(result: ClassifyResult, session: Session, options: ClassifyOptions, lengths: tuple[float, float]) -> None:
    if options.out is not None:
        # Log times have no sign; a recording that begins below zero is moved, as `stinger convert` does.
        times = (result.end_us + max(0, -int(result.end_us.min()))) * 1000
        write_classifications(options.out, times, result.probability.argmax(axis=1), result.predicted)
    if options.table is not None:
        write_text(options.table, table_csv(result))
    if options.timeline is not None:
        _draw(result, session, options.timeline, lengths)


def table_csv(result: ClassifyResult) -> str:
    """Return a line for each window, times in seconds from the recording's start."""
    lines = [["window", "start_s", "end_s", "predicted", "probability", "truth", *(f"p_{c}" for c in result.classes)]]
    for row in result.rows():
        shares = [f"{p:.6f}" for p in row["probabilities"].values()]
        start, end = f"{row['start_s']:.6f}", f"{row['end_s']:.6f}"
        label = row["truth"] or ""
        lines.append([str(row["window"]), start, end, row["predicted"], f"{row['probability']:.6f}", label, *shares])
    return "".join(",".join(map(_cell, line)) + "\n" for line in lines)


def _cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\n') else text


def _draw(result: ClassifyResult, session: Session, path: Path, lengths: tuple[float, float]) -> None:
    from stinger.plots.classification import Timeline, plot_classification  # noqa: PLC0415 - matplotlib

    seconds = (session.t_us - session.t_us[0]) / 1e6
    period_s = session.period_us / 1e6
    labelled = replace(session, events=tuple(e for e in session.events if e.kind == "label"))
    truth = [(float(seconds[a]), float(seconds[b - 1]) + period_s, name) for a, b, name in label_events(labelled)]
    if session.label is not None:
        truth = [(0.0, float(seconds[-1]) + period_s, session.label)]
    after = np.flatnonzero(session.gap_before)[1:]
    right = "" if result.accuracy is None else f", {result.accuracy:.0%} of {result.labelled} labelled windows right"
    plot_classification(
        Timeline(
            title=f"{result.model} on {result.recording}{right}",
            classes=result.classes,
            start_s=(result.start_us - result.begin_us) / 1e6,
            window_s=lengths[0],
            step_s=lengths[1],
            probability=result.probability,
            truth=truth,
            wrong=result.wrong,
            gaps=[(float(seconds[i - 1]) + period_s, float(seconds[i])) for i in after.tolist()],
            length_s=float(seconds[-1]) + period_s,
        ),
        path,
    )
