"""Everything that tells how distorted a magnetic field is, in one table: accuracy, size, cost.

All learn from the same windows and are measured on the same others, of whole recordings that none of them saw: a random
forest on two numbers of the field's strength, which is what there is to beat; compact models, as the board computes
them; a compact model taught by an ensemble; and anything else that answers windows, such as an Audio Spectrogram
Transformer, given as soft labels or as a teacher. Each is fitted several times where chance is in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import f1_score

from stinger.errors import CheckFailedError, UsageError
from stinger.features.sets import feature_set
from stinger.markdown import grid
from stinger.models.spec import TrainedModel
from stinger.models.train import fit_rows, require_classes
from stinger.synth.imperfections import Imperfections
from stinger.windows.dataset import Dataset
from stinger.windows.explore import assemble, cut_session
from stinger.windows.spec import ExploreSpec
from stinger.windows.store import read_dataset
from stinger.workflow.bench_magnetic import field_strength, make_session
from stinger.workflow.benchmark_cost import prove
from stinger.workflow.distil import Lesson, figure_text, hits, teach
from stinger.workflow.distil import mean_with_interval as averaged
from stinger.workflow.progress import Progress
from stinger.workflow.teachers import EnsembleTeacher, FileTeacher, StoredTeacher, Teacher, load_teacher
from stinger_export.integer.quantise import quantise

#: What is compared: family, feature set, options. Small enough for a budget of some thousand cycles; ten thousand
#: windows need no strong penalty for 300 weights.
_NETWORK = {"hidden_layer_sizes": (16,), "alpha": 0.01}
_FOREST = {"n_estimators": 20, "max_depth": 8}
COMPACT: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
    ("logreg", "magnetic", {}),
    ("mlp", "magnetic", _NETWORK),
    ("rf", "magnetic", _FOREST),
    ("hgb", "magnetic", {"max_iter": 20}),
    ("mlp", "rich", _NETWORK),
    ("rf", "rich", _FOREST),
    ("mlp", "summary", _NETWORK),
    ("rf", "summary", _FOREST),
)
#: The student that is also taught.
STUDENT = ("mlp", "magnetic", _NETWORK)
_TREES = 50
_LEAST_RECORDINGS = 8


@dataclass(frozen=True)
class CompareOptions:
    """What is compared, and on what.

    Attributes:
        train_dir: A dataset that `stinger explore` wrote; None generates recordings of a minute, with default noise.
        recordings: How many to generate; a quarter is held out.
        window_ms: Length of the windows that are cut from them.
        seeds: How often each model is fitted.
        seed: Of the first recording, and of the first fit.
        teachers: Models or soft labels that answer the same windows; each has a row, and their mean teaches.
        compact: What is compared.
        board: Whether to run the compact models on the emulated board.
        temperature: Of the teacher.
        mix: Share of the teacher.
    """

    train_dir: Path | None = None
    recordings: int = 120
    window_ms: float = 1000.0
    seeds: int = 3
    seed: int = 1
    teachers: tuple[Path, ...] = ()
    compact: Sequence[tuple[str, str, Mapping[str, Any]]] = field(default=COMPACT)
    board: bool = True
    temperature: float = 1.0
    mix: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what compares nothing."""
        if self.recordings < _LEAST_RECORDINGS:
            raise UsageError(f"--recordings must be at least {_LEAST_RECORDINGS}, is {self.recordings}")
        if not 1 <= self.seeds <= 100:
            raise UsageError(f"--seeds must be 1 to 100, is {self.seeds}")
        if self.teachers and self.train_dir is None:
            raise UsageError("teachers answer the windows of a dataset; give it with --train-dir")


@dataclass(frozen=True)
class _Bench:
    dataset: Dataset
    options: CompareOptions
    progress: Progress

    @property
    def labels(self) -> NDArray[np.uint8]:
        """Of the held-out windows."""
        return self.dataset.labels[self.dataset.held_out]

    @property
    def seeds(self) -> range:
        """Of the fits."""
        return range(self.options.seed, self.options.seed + self.options.seeds)

    def row(self, model: str, features: str, answers: Sequence[NDArray[np.float64]], seconds: float) -> dict[str, Any]:
        """Measure probabilities of held-out windows, one array for each fit."""
        rights = [hits(one, self.labels) for one in answers]
        accuracy = averaged(np.mean(rights, axis=0), self.dataset, seed=self.options.seed)
        macro = [f1_score(self.labels, one.argmax(axis=1), average="macro") for one in answers]
        return {
            "model": model,
            "features": features,
            "accuracy": accuracy.to_json(),
            "by_seed": [float(right.mean()) for right in rights],
            "macro_f1": float(np.mean(macro)),
            "host_us": round(1e6 * seconds / max(1, len(self.labels)), 1),
        }


def magnetic_compare(options: CompareOptions, progress: Progress) -> dict[str, Any]:
    """Compare models.

    Returns:
        ``windows``, ``recordings`` (of training, and held out), ``window`` in samples, ``period_us`` and ``rows``, in
        plain JSON values. A row has ``model``, ``features``, ``accuracy`` with its interval, ``by_seed``, ``macro_f1``
        and ``host_us``, the time that this computer takes for a window; what runs on the board has ``flash``, ``ram``,
        ``cycles``, ``integer_accuracy`` and ``compared`` windows, too, a transformer
        ``weight_bytes``; a teacher that saw what is held out has a ``note``.

    Raises:
        InputError: The dataset or a teacher cannot be read or learnt from.
        CheckFailedError: The emulated board answers anything else than numpy does.
        ToolchainError: There is no compiler for the board.
    """
    dataset = _dataset(options, progress)
    require_classes(dataset, dataset.training, "training")
    require_classes(dataset, dataset.held_out, "held-out")
    bench = _Bench(dataset, options, progress)
    rows = [_baseline(bench), *(_compact(bench, *one) for one in options.compact), *_taught(bench)]
    recordings = {
        name: len(np.unique(dataset.session[part]))
        for name, part in (("training", dataset.training), ("held_out", dataset.held_out))
    }
    return {
        "windows": {"training": int(dataset.training.sum()), "held_out": int(dataset.held_out.sum())},
        "recordings": recordings,
        "window": dataset.window,
        "period_us": dataset.period_us,
        "options": {**asdict(options), "train_dir": str(options.train_dir), "teachers": len(options.teachers)},
        "rows": rows,
    }


def _dataset(options: CompareOptions, progress: Progress) -> Dataset:
    if options.train_dir is not None:
        progress.step(f"reading {options.train_dir}")
        return read_dataset(options.train_dir)
    progress.step(f"generating {options.recordings} recordings")
    spec = ExploreSpec(split="session", seed=options.seed, window_ms=options.window_ms)
    numbers = range(options.seed, options.seed + options.recordings)
    return assemble([cut_session(make_session(n, Imperfections()), spec, i) for i, n in enumerate(numbers)], spec)


def _timed(answer: Callable[[Any], NDArray[np.float64]], asked: Any) -> tuple[NDArray[np.float64], float]:
    before = time.process_time()
    said = answer(asked)
    return said, time.process_time() - before


def _baseline(bench: _Bench) -> dict[str, Any]:
    dataset = bench.dataset
    bench.progress.step("fitting a forest on the field's strength")
    features, answers, seconds = field_strength(dataset), [], 0.0
    for seed in bench.seeds:
        forest = RandomForestClassifier(_TREES, random_state=seed, n_jobs=1)
        forest.fit(features[dataset.training], dataset.labels[dataset.training])
        said, seconds = _timed(forest.predict_proba, features[dataset.held_out])
        answers.append(said)
    return bench.row("rf", "mean, std of strength", answers, seconds)


def _compact(bench: _Bench, family: str, features: str, options: Mapping[str, Any]) -> dict[str, Any]:
    dataset = bench.dataset
    bench.progress.step(f"fitting {family} on {features} features")
    vectors = feature_set(features, [c.name for c in dataset.channels], dataset.window).compute(dataset.windows)
    # Nothing in a logistic regression is random.
    seeds = bench.seeds[:1] if family == "logreg" else bench.seeds
    models = [
        fit_rows(dataset, dataset.training, family, features=features, seed=seed, options=options, vectors=vectors)
        for seed in seeds
    ]
    return _model_row(bench, family, models)


def _model_row(bench: _Bench, name: str, models: Sequence[TrainedModel]) -> dict[str, Any]:
    dataset = bench.dataset
    windows = dataset.windows[dataset.held_out]
    answers, seconds = [], 0.0
    for model in models:
        said, seconds = _timed(model.predict_proba, windows)
        answers.append(said)
    row = bench.row(name, models[0].spec.features, answers, seconds)
    return {**row, **_board(bench, models[0], windows)} if bench.options.board else row


def _board(bench: _Bench, model: TrainedModel, windows: NDArray[np.int16]) -> dict[str, Any]:
    integer = quantise(model)
    bench.progress.step(f"running {model.spec.family} on {model.spec.features} features on the emulated board")
    cost, comparison = prove(integer, windows)
    if comparison.failure is not None:
        raise CheckFailedError(comparison.failure)
    answered = integer.decide(windows).label
    return {
        "flash": cost.flash,
        "ram": cost.ram,
        "cycles": cost.cycles,
        "integer_accuracy": float((answered == bench.labels).mean()),
        "compared": comparison.windows,
    }


def _taught(bench: _Bench) -> list[dict[str, Any]]:
    """Rows of the teachers, and of the student with and without them."""
    dataset, options = bench.dataset, bench.options
    teachers: list[Teacher] = [load_teacher(path) for path in options.teachers]
    rows = []
    said = []
    for teacher in teachers or [EnsembleTeacher(seed=options.seed)]:
        bench.progress.step(f"asking {teacher.name}")
        answers, seconds = _timed(teacher.answers, dataset)
        row = bench.row(teacher.name, "", [answers[dataset.held_out]], seconds)
        if not teachers:
            row |= {"features": "magnetic", "host_us": None}  # the time includes the fits
        elif isinstance(teacher, FileTeacher):
            row["host_us"] = None  # that of looking it up
        if isinstance(teacher, StoredTeacher):
            row |= {"weight_bytes": teacher.weight_bytes} if teacher.weight_bytes else {}
            row |= {"note": note} if (note := teacher.seen(dataset)) else {}
        rows.append(row)
        said.append(answers)
    family, features, student = STUDENT
    lesson = Lesson(family, features, student, options.temperature, options.mix, options.seeds, options.seed)
    taught = teach(dataset, np.mean(said, axis=0), lesson, bench.progress)
    rows.append(_model_row(bench, f"{family}, not distilled", taught.direct))
    rows.append(_model_row(bench, f"{family}, distilled", taught.distilled))
    difference = averaged(taught.right_distilled - taught.right_direct, dataset, seed=options.seed)
    rows[-1]["gain"] = difference.to_json()
    return rows


_HEADER = ["model", "features", "accuracy", "macro F1", "on the board", "size", "RAM", "cycles", "µs here"]


def table(report: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows for people."""
    return _HEADER, [_cells(row) for row in report["rows"]]


def _cells(row: dict[str, Any]) -> list[str]:
    board = [""] * 4
    if "cycles" in row:
        board = [f"{row['integer_accuracy']:.3f}", *(f"{row[name]:,}" for name in ("flash", "ram", "cycles"))]
    elif "weight_bytes" in row:
        board[1] = f"{row['weight_bytes']:,}"
    host = "" if row["host_us"] is None else f"{row['host_us']:,.0f}"
    shown = [row["model"], row["features"], figure_text(row["accuracy"]), f"{row['macro_f1']:.3f}"]
    return [*shown, *board, host]


def markdown(report: dict[str, Any]) -> str:
    """Return the same table in markdown."""
    return grid(*table(report))


def facts(report: dict[str, Any]) -> list[str]:
    """Return what the table leaves out."""
    windows, recordings = report["windows"], report["recordings"]
    lines = [
        f"{windows['training']:,} windows of {report['window']} samples, of {recordings['training']} recordings, to "
        f"learn from; measured on {windows['held_out']:,} of {recordings['held_out']} others"
    ]
    lines.append("size: flash on the board, code and constants; of a transformer the bytes of its weights")
    compared = sum(row.get("compared", 0) for row in report["rows"])
    if compared:
        lines.append(f"{compared:,} answers of the emulated board, each the same in every bit as numpy's")
    lines += [row["note"] for row in report["rows"] if "note" in row]
    gains = [figure_text(row["gain"]) for row in report["rows"] if "gain" in row]
    lines += [f"distilled less not distilled: {gain}" for gain in gains]
    return lines
