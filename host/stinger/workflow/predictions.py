"""What models say along one recording, as pictures and a table: the job of `stinger plot-predictions`.

Models are trained on a dataset, or read where they were saved; every full window of the recording is scored; then
pictures are drawn, each by whichever process has time. The bytes that come out do not depend on their number.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stinger.errors import UsageError
from stinger.files import replace_dir
from stinger.plots.prediction_moments import Scene, moment_png
from stinger.plots.prediction_spread import histogram_png
from stinger.plots.predictions import Curve, overview_png, runs
from stinger.sessions.options import ReadOptions
from stinger.sessions.read import iter_sessions
from stinger.sessions.session import Session
from stinger.windows.dataset import Dataset
from stinger.windows.shot_rules import find_shots
from stinger.windows.store import read_dataset
from stinger.workflow.pool import map_ordered
from stinger.workflow.prediction_job import Job, answers, brief, negative_scenes, remarks, shot_scenes, summary, table
from stinger.workflow.prediction_models import (
    COMPARED,
    Recipe,
    Shown,
    check_comparable,
    load_all,
    parse_recipes,
    train_all,
)
from stinger.workflow.prediction_scores import Scores, score_all
from stinger.workflow.prediction_windows import Seen, find_windows, min_shot_gap_ms, seen_by
from stinger.workflow.progress import Progress

TRAIN_DIR = Path("ml_out/train")
_PER_TASK = 6
#: Name of a picture below the output directory, and what it shows.
_Named = tuple[str, Scene]
#: So few pictures are drawn sooner than worker processes have started.
_FEW = 6


@dataclass(frozen=True)
class PredictionOptions:
    """What `stinger plot-predictions` can be told.

    Attributes:
        log: A recording, or a folder or zip of them.
        outdir: Where everything goes.
        recording: Name of the recording, or enough of it, where the log holds several.
        train_dir: Dataset to train on; None is `TRAIN_DIR` where something is to be trained.
        model_dirs: Saved models, shown instead of trained ones.
        model: Family of the one model that is trained.
        features: Its feature set.
        compare: Show several models.
        specs: Models to train and compare, ``FAMILY:FEATURES`` or ``FAMILY:FEATURES:NAME``.
        target: Class whose probability is shown; see `check_comparable`.
        threshold: From which probability on it counts as a yes; None is each model's own.
        max_shots: Most shots drawn; None is all.
        max_negs: Most windows of other classes drawn.
        dpi: Pixels per inch.
        seed: Seed of training and of the choice of negatives.
        read: What the log does not say itself.
        workers: Pictures drawn at a time; None is as many as there are processors.
        backend: Where to draw, one of `stinger.workflow.pool.BACKENDS`; None chooses by the amount of work.
    """

    log: Path
    outdir: Path
    recording: str | None = None
    train_dir: Path | None = None
    model_dirs: Sequence[Path] = ()
    model: str = "logreg"
    features: str = "rich"
    compare: bool = False
    specs: Sequence[str] = ()
    target: str | None = None
    threshold: float | None = None
    max_shots: int | None = 50
    max_negs: int = 10
    dpi: int = 110
    seed: int = 1
    read: ReadOptions = field(default_factory=ReadOptions)
    workers: int | None = None
    backend: str | None = None


@dataclass(frozen=True)
class PredictionResult:
    """What came out.

    Attributes:
        summary: Contents of ``summary.json``.
        seconds: How long training, and computing features and predicting, took.
    """

    summary: dict[str, Any]
    seconds: dict[str, float]


@dataclass(frozen=True)
class _Task:
    """Pictures one worker draws before it takes the next ones."""

    name: str
    scenes: tuple[_Named, ...]
    dpi: int


def plot_predictions(options: PredictionOptions, progress: Progress) -> PredictionResult:
    """Draw and write what models say along a recording.

    Writes ``overview.png``, ``histogram.png``, ``shots/shot_*.png``, ``negatives/neg_*.png``, ``predictions.csv`` and
    ``summary.json``; an output directory that an earlier run made is replaced, only when everything is done.

    Raises:
        UsageError: The options contradict each other, or name something unknown.
        InputError: The recording, dataset or a model cannot be read, or they do not fit together.
    """
    recipes = _recipes(options)
    progress.step(f"reading {options.log}")
    session = _read(options)
    dataset = _dataset(options, needed=bool(recipes))
    began = time.perf_counter()
    shown = load_all(options.model_dirs)
    if dataset is not None and recipes:
        where = options.train_dir or TRAIN_DIR
        shown += train_all(recipes, dataset.without_embargoed(), where, options.seed, progress)
    target = check_comparable(shown, options.target, session.label)
    trained = time.perf_counter()
    progress.step(f"predicting {len(session):,} samples with {len(shown)} model{'s' * (len(shown) > 1)}")
    scores = score_all(shown, session, target, progress)
    seconds = {"training": trained - began, "features_and_predicting": time.perf_counter() - trained}

    labelled = find_windows(session, dataset, shown[0].model.spec)
    seen = [seen_by(one, score, session, labelled, dataset) for one, score in zip(shown, scores, strict=True)]
    job = Job(
        session=session,
        shots=find_shots(session, min_shot_gap_ms(dataset)),
        shown=shown,
        scores=scores,
        seen=seen,
        curves=_curves(shown, scores, seen, session, options.threshold),
        labelled=labelled,
        target=target,
    )
    notes = remarks(job, dataset)
    scenes = [*shot_scenes(job, options.max_shots), *negative_scenes(job, options.max_negs, options.seed)]
    result = summary(job, answers(job), [name for name, _ in scenes], notes)
    _write(job, scenes, result, options, progress)
    return PredictionResult(result, seconds)


def _recipes(options: PredictionOptions) -> list[Recipe]:
    """What is to be trained."""
    if options.specs:
        return parse_recipes(options.specs)
    if options.model_dirs:
        return []
    if options.compare:
        return parse_recipes(COMPARED)
    return parse_recipes([f"{options.model}:{options.features}"])


def _read(options: PredictionOptions) -> Session:
    """Read the one recording that is meant; its name may be given in part."""
    wanted = options.recording or ""
    found: list[Session] = []
    names: list[str] = []
    for session in iter_sessions(options.log, options.read):
        if session.name == options.recording:
            return session
        names.append(session.name)
        if wanted in session.name:
            found.append(session)
        if len(found) > 1 and options.recording is None:
            break
    if len(found) == 1:
        return found[0]
    examples = ", ".join(repr(name) for name in ([session.name for session in found] or names)[:2])
    if options.recording is None:
        raise UsageError(f"{options.log} holds several recordings; choose one with --recording: {examples}, ...")
    how_many = f"{len(found)} recordings" if found else "no recording"
    raise UsageError(f"{options.log} has {how_many} called {options.recording!r}; name one of {examples}, ...")


def _dataset(options: PredictionOptions, *, needed: bool) -> Dataset | None:
    """Read the dataset, with its embargoed windows, where it is needed or was named."""
    if options.train_dir is None and not needed:
        return None
    return read_dataset(options.train_dir or TRAIN_DIR, whole=True)


def _curves(
    shown: Sequence[Shown],
    scores: Sequence[Scores],
    seen: Sequence[Seen],
    session: Session,
    threshold: float | None,
) -> tuple[Curve, ...]:
    curves = []
    gap_before = session.gap_before
    for one, score, known in zip(shown, scores, seen, strict=True):
        spec = one.model.spec
        ready = score.ready
        curves.append(
            Curve(
                label=one.label,
                t_us=session.t_us[ready] + spec.lead_us,
                p=score.p[ready],
                seen=known.mark[ready],
                threshold=spec.threshold if threshold is None else threshold,
                period_us=session.period_us,
                lead_us=spec.lead_us,
                on_us=None if score.on is None else runs(score.on, gap_before, session.t_us, session.period_us),
                sure=known.sure,
            )
        )
    return tuple(curves)


def _write(
    job: Job, scenes: Sequence[_Named], content: dict[str, Any], options: PredictionOptions, progress: Progress
) -> None:
    spread = answers(job)
    title = f"Probability of '{job.target}' along {job.session.name}"
    with replace_dir(options.outdir) as building:
        (building / "summary.json").write_text(json.dumps(content, indent=2) + "\n", "utf-8")
        with (building / "predictions.csv").open("w", encoding="ascii", newline="") as stream:
            stream.writelines(table(job))
        progress.step(f"drawing {len(scenes) + 1 + bool(spread)} pictures")
        labelled = job.labelled
        overview = overview_png(
            job.session, job.shots, job.curves, labelled.strip, title=title, dpi=options.dpi, split=labelled.known
        )
        (building / "overview.png").write_bytes(overview)
        if spread:
            title = f"Labelled windows of {brief(job.session.name)}"
            (building / "histogram.png").write_bytes(histogram_png(job.curves, spread, title=title, dpi=options.dpi))
        for name, png in _draw(scenes, options, progress):
            (building / name).parent.mkdir(exist_ok=True)
            (building / name).write_bytes(png)


def _draw(scenes: Sequence[_Named], options: PredictionOptions, progress: Progress) -> Iterator[tuple[str, bytes]]:
    tasks = [
        _Task(scenes[first][0], tuple(scenes[first : first + _PER_TASK]), options.dpi)
        for first in range(0, len(scenes), _PER_TASK)
    ]
    few = len(scenes) <= _FEW and options.workers is None
    with progress.bar("drawing") as bar:
        backend = options.backend or ("serial" if few else "processes")
        for pictures in map_ordered(_draw_task, tasks, backend=backend, workers=options.workers, progress=bar):
            yield from pictures


def _draw_task(task: _Task) -> list[tuple[str, bytes]]:
    return [(name, moment_png(scene, task.dpi)) for name, scene in task.scenes]
