"""Training a spectrogram transformer: the job of `stinger train --family ast`, and of two lines in a notebook.

::

    result = fine_tune(FineTuneOptions([Path("field")], out=Path("field_ast"), from_scratch="tiny"))
    print(result.metrics)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError, UsageError
from stinger.evaluation.metrics import answer_shares, predicted
from stinger.evaluation.report import WindowReport, window_report
from stinger.features.spectrogram import SpectrogramSpec
from stinger.files import MARKER, read_bytes, replace_dir, write_text
from stinger.models.ast.examples import Examples
from stinger.models.ast.folder import AstSpec, Checked, save_folder
from stinger.models.ast.libraries import require_training
from stinger.models.ast.model import MODEL, AstModel
from stinger.models.ast.parts import Parts, divide, few
from stinger.models.ast.pretrained import pretrained
from stinger.models.ast.sizes import PUBLISHED, Shape, size
from stinger.models.ast.tarball import SUFFIX, content_id, write_tarball
from stinger.models.ast.train import Schedule, Trained, clean, newest_checkpoint, train
from stinger.plots.curves import plot_confusion
from stinger.workflow.progress import Progress
from stinger.workflow.transformer_inputs import read_examples

OUT, DEBUG_OUT = Path("ml_out/ast"), Path("ml_out/ast-debug")
METRICS, CONFUSION, RUN = "metrics.json", "confusion.png", "run.json"
_DEBUG_STEPS, _DEBUG_EXAMPLES = 10, 4
#: Fine-tuning takes small steps from a good place; random weights are far from any.
_FINE_TUNING = Schedule()
_FROM_SCRATCH = Schedule(steps=1500, batch=16, learning_rate=1e-3, evaluate_every=75, patience=6)
_MAX_RUN = 1 << 20


@dataclass(frozen=True)
class FineTuneOptions:
    """What training a transformer can be told.

    Attributes:
        inputs: Labelled recordings, folders or zips of them; or one dataset.
        out: The run's folder; default `OUT`, or `DEBUG_OUT`.
        pretrained: What to start from: a name on the HuggingFace hub, a folder or a ``.model.tar.gz``; default
            `PUBLISHED`.
        from_scratch: Start from random weights instead, in one of `stinger.models.ast.sizes.SIZES`.
        debug: A few steps on a few examples, to see whether everything works.
        resume: Go on where an interrupted run with the same options stopped.
        steps: Steps of the optimiser; default 300 to fine-tune, 1500 from scratch.
        batch: Examples a step; default 2, or 16.
        learning_rate: At its highest; default 5e-5, or 1e-3.
        evaluate_every: Steps between looks at the validation part, and between checkpoints.
        patience: Looks without an improvement after which to stop; 0 never stops early.
        window_s: Length of a window of recordings; default 3 s.
        stride: Step between windows, as a share of one; default a third.
        channels: Which to take; default the magnetometer, or all.
        split: What is held out whole: ``session``, ``group``, ``given`` or ``auto``.
        test_size: Share held out.
        seed: Of everything random.
        threads: Processors to use; weights depend on it in their last bits.
        name: What the model is called; default ``ast`` and how it began.
    """

    inputs: Sequence[Path]
    out: Path | None = None
    pretrained: str | None = None
    from_scratch: str | None = None
    debug: bool = False
    resume: bool = False
    steps: int | None = None
    batch: int | None = None
    learning_rate: float | None = None
    evaluate_every: int | None = None
    patience: int | None = None
    window_s: float | None = None
    stride: float | None = None
    channels: Sequence[str] | None = None
    split: str = "auto"
    test_size: float = 0.25
    seed: int = 1
    threads: int = 1
    name: str | None = None

    def __post_init__(self) -> None:
        """Refuse what contradicts itself, before anything is read."""
        if self.pretrained is not None and self.from_scratch is not None:
            raise UsageError("--pretrained and --from-scratch are two places to start from; choose one")
        if self.from_scratch is not None:
            size(self.from_scratch)
        _ = self.schedule

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.out or (DEBUG_OUT if self.debug else OUT)

    @property
    def start(self) -> str:
        """What training starts from."""
        return self.from_scratch or self.pretrained or PUBLISHED

    @property
    def schedule(self) -> Schedule:
        """How long and how fast to learn."""
        usual = _FINE_TUNING if self.from_scratch is None else _FROM_SCRATCH
        if self.debug:
            usual = replace(usual, steps=_DEBUG_STEPS, batch=2, evaluate_every=_DEBUG_STEPS // 2)
        names = ("steps", "batch", "learning_rate", "evaluate_every", "patience")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return replace(usual, **given, seed=self.seed, threads=self.threads)


@dataclass(frozen=True)
class FineTuneResult:
    """What came out.

    Attributes:
        model: The trained transformer.
        folder: The run's folder: ``model/``, the metrics, the confusion matrix, TensorBoard's logs.
        tarball: The model as one file.
        report: How good it is on the windows held out.
        labels: True classes of those, shape ``(n,)``.
        probability: What it says of them, shape ``(n, classes)``.
        content: What `METRICS` holds.
    """

    model: AstModel
    folder: Path
    tarball: Path
    report: WindowReport
    labels: NDArray[np.int64]
    probability: NDArray[np.float64]
    content: dict[str, Any]

    @property
    def metrics(self) -> dict[str, float]:
        """Accuracy, and macro precision, recall and F1, on what was held out."""
        return self.model.spec.metrics


def fine_tune(options: FineTuneOptions, progress: Progress | None = None) -> FineTuneResult:
    """Train a transformer, measure it on whole recordings that it never saw, and save it.

    Writes ``model/``, ``<id>.model.tar.gz``, ``metrics.json``, ``confusion.png`` and ``logs/`` for TensorBoard into the
    run's folder; while it runs, checkpoints are there, too. The same options and data give the same bytes.

    Raises:
        UsageError: Options that do not fit together, or the extra `ast` is missing.
        InputError: The recordings or the weights cannot be had, or the split would leak.
    """
    progress = progress or Progress()
    require_training()
    examples = read_examples(
        options.inputs, progress, window_s=options.window_s, stride=options.stride, channels=options.channels
    )
    parts = divide(examples, options.split, test_size=options.test_size, seed=options.seed)
    if options.debug:
        parts = few(examples, parts, _DEBUG_EXAMPLES, options.seed)
    with _start(options, examples, parts, progress) as (start, spectrogram, origin):
        examples = replace(examples, inputs=examples.inputs.as_spec(spectrogram))
        recipe = _recipe(options, examples, parts, origin)
        before = None if isinstance(start, Shape) else start.about
        if before is not None:
            _refuse_known(before, examples, parts, recipe)
        folder = _prepared(options, recipe)
        counts = {name: int(rows.sum()) for name, rows in parts.named().items()}
        progress.step(f"training on {counts['training']:,} windows, {options.schedule.steps:,} steps, into {folder}")
        with progress.bar("steps") as show:
            trained = train(examples, parts, start, options.schedule, folder, resume=options.resume, show=show)
    return _finish(options, _Run(examples, parts, recipe, before), trained, progress)


def can_resume(options: FineTuneOptions) -> bool:
    """Say whether a run with these options was begun, has a checkpoint, and has not ended."""
    return newest_checkpoint(options.folder) is not None and not (options.folder / METRICS).is_file()


@contextmanager
def _start(
    options: FineTuneOptions, examples: Examples, parts: Parts, progress: Progress
) -> Iterator[tuple[Shape | Checked, SpectrogramSpec, str]]:
    """What to start from, what it looks at, and what tells it from other starts."""
    rows = np.flatnonzero(parts.train)
    if options.from_scratch is not None:
        chosen = size(options.from_scratch)
        try:
            inputs = examples.inputs.as_spec(chosen.spectrogram)
            shape = chosen.shape
        except InputError:
            # Spectrograms that were made before are what they are; a network that knows nothing yet can look at any.
            inputs, spec = examples.inputs, examples.inputs.spec
            shape = replace(chosen.shape, max_length=spec.frames, num_mel_bins=spec.mel_bins)
        yield shape, inputs.measured(rows), options.from_scratch
        return
    progress.step(f"looking for {options.start}")
    with pretrained(options.start) as checked:
        if checked.about is not None:
            # It has learnt what it looks at, mean and deviation included.
            yield checked, checked.spectrogram, content_id(checked.folder)
        else:
            yield checked, examples.inputs.as_spec(checked.spectrogram).measured(rows), content_id(checked.folder)


def _refuse_known(before: AstSpec, examples: Examples, parts: Parts, recipe: dict[str, Any]) -> None:
    """Refuse to measure on recordings that the model to start from has learnt already."""
    if before.options.get("data_hash") == recipe["data_hash"]:
        return  # the same windows in the same parts
    held_out = {examples.sources[i].sha256 for i in examples.sequence[parts.test].tolist()}
    seen = len(held_out & set(before.trained_on))
    if seen:
        raise InputError(
            f"{before.name} has learnt from {seen} of the {len(held_out)} recordings that would be held out: what is "
            "measured would be memory; start from another model, or give other recordings"
        )


def _recipe(options: FineTuneOptions, examples: Examples, parts: Parts, origin: str) -> dict[str, Any]:
    """All that the weights depend on; a run is resumed with the same."""
    digest = hashlib.sha256()
    for source in examples.sources:
        digest.update(source.sha256.encode())
    for column in (examples.labels, examples.sequence, examples.start_ns, examples.end_ns, *parts.named().values()):
        digest.update(np.ascontiguousarray(column).tobytes())
    return {
        **asdict(options.schedule),
        "start": "folder" if options.from_scratch is None and Path(options.start).exists() else options.start,
        "start_id": origin,
        "classes": list(examples.classes),
        "channels": list(examples.channels),
        "window_s": examples.window_s,
        "spectrogram": examples.inputs.spec.to_json(),
        "split": parts.kind,
        "data_hash": digest.hexdigest(),
    }


def _prepared(options: FineTuneOptions, recipe: dict[str, Any]) -> Path:
    """The run's folder: new, or as the run that is resumed left it."""
    folder = options.folder
    if not options.resume:
        with replace_dir(folder) as building:
            write_text(building / RUN, json.dumps(recipe, indent=2) + "\n")
        return folder
    if (folder / METRICS).is_file():
        raise InputError(f"{folder}: the run has ended, there is nothing to resume; begin another without --resume")
    if not (folder / MARKER).is_file() or not (folder / RUN).is_file():
        raise InputError(f"{folder} holds no run to resume; begin without --resume")
    try:
        before = json.loads(read_bytes(folder / RUN, _MAX_RUN, "begin without --resume"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{folder / RUN} is not JSON; begin without --resume") from error
    wanted = json.loads(json.dumps(recipe))
    if before != wanted:
        known = before if isinstance(before, dict) else {}
        other = next((key for key in wanted if known.get(key) != wanted[key]), RUN)
        raise InputError(
            f"{folder} was begun with another {other} ({known.get(other)!s:.60}, now {wanted.get(other)!s:.60}); "
            "resume with the same options and data, or begin without --resume"
        )
    return folder


@dataclass(frozen=True)
class _Run:
    """What was trained on, and how."""

    examples: Examples
    parts: Parts
    recipe: dict[str, Any]
    before: AstSpec | None


def _finish(options: FineTuneOptions, run: _Run, trained: Trained, progress: Progress) -> FineTuneResult:
    examples, parts, recipe, folder = run.examples, run.parts, run.recipe, options.folder
    recordings = np.unique(examples.sequence[parts.train | parts.valid])
    spec = AstSpec(
        name=options.name or _name(options),
        classes=examples.classes,
        channels=examples.channels,
        window_s=examples.window_s,
        spectrogram=examples.inputs.spec,
        start=recipe["start"],
        seed=options.seed,
        options={key: recipe[key] for key in ("split", "data_hash", *asdict(options.schedule))},
        trained_on=tuple(
            dict.fromkeys(
                [
                    *(run.before.trained_on if run.before is not None else ()),
                    *(examples.sources[i].sha256 for i in recordings.tolist()),
                ]
            )
        ),
    )
    rows = np.flatnonzero(parts.test)
    progress.step(f"measuring on {len(rows):,} windows")
    probability = _answers(AstModel(spec, trained.net, options.threads), examples, rows, progress)
    labels = examples.labels[rows]
    units = examples.recordings if parts.kind != "group" else examples.segment
    report = window_report(
        labels,
        probability,
        examples.classes,
        threshold=0.5 if len(examples.classes) == 2 else None,
        units=units[rows],
        unit_name="recordings" if parts.kind != "group" else "groups",
        seed=options.seed,
    )
    spec = replace(spec, metrics=_metrics(report, parts))
    model = AstModel(spec, trained.net, options.threads)
    with replace_dir(folder / MODEL) as building:
        save_folder(trained.net, spec, building)
    tarball = folder / f"{spec.name}-{content_id(folder / MODEL)}{SUFFIX}"
    for old in folder.glob(f"*{SUFFIX}"):
        old.unlink()
    write_tarball(folder / MODEL, tarball)
    title = f"{spec.name}: {len(rows):,} held-out windows"
    plot_confusion({spec.name: (labels, predicted(probability))}, spec.classes, folder / CONFUSION, title=title)
    content = {
        "name": spec.name,
        "file": tarball.name,
        "parameters": sum(int(part.numel()) for part in trained.net.parameters()),
        "recipe": recipe,
        "windows": {name: int(rows.sum()) for name, rows in parts.named().items()},
        "recordings": {
            name: sorted({examples.sources[i].name for i in examples.sequence[rows].tolist()})
            for name, rows in parts.named().items()
        },
        "steps": trained.steps,
        "best_step": trained.best_step,
        "metrics": spec.metrics,
        "report": report.to_json(),
        "history": list(trained.history),
    }
    write_text(folder / METRICS, json.dumps(content, indent=2) + "\n")
    clean(folder)
    return FineTuneResult(model, folder, tarball, report, labels, probability, content)


def _answers(model: AstModel, examples: Examples, rows: NDArray[np.int64], progress: Progress) -> NDArray[np.float64]:
    answers = np.empty((len(rows), len(examples.classes)))
    with progress.bar("windows") as show:
        for first in range(0, len(rows), 64):
            part = slice(first, first + 64)
            answers[part] = model.predict_proba_inputs(examples.inputs.take(rows[part]))
            show(min(first + 64, len(rows)), len(rows))
    return answers


def _metrics(report: WindowReport, parts: Parts) -> dict[str, float]:
    shares = answer_shares(report.confusion[None].astype(np.float64))
    figures = {"accuracy": round(report.figures["accuracy"].value, 6)}
    for name, share in zip(("macro_precision", "macro_recall", "macro_f1"), shares, strict=True):
        figures[name] = round(float(np.nanmean(share)), 6)
    counts = {f"{name.replace('-', '_')}_windows": float(rows.sum()) for name, rows in parts.named().items()}
    return {**figures, **counts}


def _name(options: FineTuneOptions) -> str:
    return f"ast-{options.from_scratch or 'fine-tuned'}{'-debug' if options.debug else ''}"
