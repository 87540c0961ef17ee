"""A compact model taught by a larger one: the job of `stinger distil`, and of rows of `stinger magnetic compare`.

A teacher says how probable each class is for every window of a dataset; the student learns from that as well as from
the labels. Beside it the same student learns from the labels alone, with the same seeds, on the same windows, in the
same number of steps, and both are measured on the windows that the dataset holds out, so that what is gained is the
teacher's doing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.errors import UsageError
from stinger.evaluation.intervals import Figure, affordable_draws, interval, unit_weights
from stinger.features.sets import feature_set
from stinger.models.families import family as find_family
from stinger.models.soft_targets import require_student, soft_targets
from stinger.models.spec import TrainedModel
from stinger.models.store import save_model
from stinger.models.train import fit_rows, require_classes
from stinger.windows.dataset import Dataset
from stinger.windows.store import read_dataset
from stinger.workflow.progress import Progress
from stinger.workflow.teachers import EnsembleTeacher, StoredTeacher, Teacher, load_teacher


@dataclass(frozen=True)
class Lesson:
    """How a student is taught.

    Attributes:
        family: One of `stinger.models.soft_targets.STUDENTS`.
        features: Its feature set.
        options: Hyperparameters that differ from the family's defaults.
        temperature: Of the teacher.
        mix: Share of the teacher in what is learnt; the rest is the label.
        seeds: How often, with seeds that count up.
        seed: The first.
    """

    family: str = "mlp"
    features: str = "magnetic"
    options: Mapping[str, Any] = field(default_factory=dict)
    temperature: float = 1.0
    mix: float = 0.5
    seeds: int = 3
    seed: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        require_student(self.family)
        find_family(self.family).check_features(self.features)
        soft_targets(np.ones((1, 2)), np.zeros(1, np.uint8), temperature=self.temperature, mix=self.mix)
        if not 1 <= self.seeds <= 100:
            raise UsageError(f"--seeds must be 1 to 100, is {self.seeds}")


@dataclass(frozen=True)
class Taught:
    """What came of a lesson; one of each for every seed.

    Attributes:
        direct: Students of the labels alone.
        distilled: Students of teacher and labels.
        right_direct: Whether each held-out window was answered right, mean over the seeds, shape ``(held out,)``.
        right_distilled: The same.
    """

    direct: tuple[TrainedModel, ...]
    distilled: tuple[TrainedModel, ...]
    right_direct: NDArray[np.float64]
    right_distilled: NDArray[np.float64]


def teach(dataset: Dataset, said: NDArray[np.float64], lesson: Lesson, progress: Progress | None = None) -> Taught:
    """Fit students with and without a teacher.

    Args:
        dataset: Labelled windows with a held-out part.
        said: What the teacher says of every window, ``(n, classes)``.
        lesson: How.
        progress: Told of each seed.

    Raises:
        InputError: The dataset cannot be learnt from.
    """
    progress = progress or Progress()
    require_classes(dataset, dataset.training, "training")
    require_classes(dataset, dataset.held_out, "held-out")
    names = [channel.name for channel in dataset.channels]
    vectors = feature_set(lesson.features, names, dataset.window).compute(dataset.windows)
    held_out = dataset.held_out
    models: dict[float, list[TrainedModel]] = {0.0: [], lesson.mix: []}
    right = {mix: np.zeros(int(held_out.sum())) for mix in models}
    for seed in range(lesson.seed, lesson.seed + lesson.seeds):
        progress.step(f"teaching {lesson.family} on {lesson.features} features, seed {seed}")
        for mix, fitted in models.items():
            soft = soft_targets(said, dataset.labels, temperature=lesson.temperature, mix=mix)
            model = fit_rows(
                dataset,
                dataset.training,
                lesson.family,
                features=lesson.features,
                seed=seed,
                options=lesson.options,
                vectors=vectors,
                soft=soft,
            )
            fitted.append(model)
            right[mix] += hits(model.predict_proba_features(vectors[held_out]), dataset.labels[held_out])
    direct, distilled = (tuple(models[mix]) for mix in (0.0, lesson.mix))
    return Taught(direct, distilled, right[0.0] / lesson.seeds, right[lesson.mix] / lesson.seeds)


def hits(probability: NDArray[np.float64], labels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """1 where the most probable class is the right one, else 0, shape ``(n,)``."""
    right: NDArray[np.float64] = (probability.argmax(axis=1) == labels).astype(np.float64)
    return right


def mean_with_interval(values: NDArray[np.float64], dataset: Dataset, *, seed: int = 1) -> Figure:
    """Mean of a figure of each held-out window, and how far it would move with other recordings.

    Args:
        values: Shape ``(held out,)``.
        dataset: Whose held-out windows they are; what is drawn again and again are its recordings.
        seed: Of the draws.
    """
    units, labels = dataset.session[dataset.held_out], dataset.labels[dataset.held_out]
    draws = affordable_draws(len(values), len(dataset.classes))
    means = [w @ values / w.sum(axis=1) for w in unit_weights(units, labels, draws=draws, seed=seed)]
    enough = len(np.unique(units)) > 1
    return interval(float(values.mean()), np.concatenate(means)) if enough else Figure(float(values.mean()))


@dataclass(frozen=True)
class DistilOptions:
    """What `stinger distil` can be told.

    Attributes:
        train_dir: A dataset that `stinger explore` wrote.
        teachers: Models or soft labels, their mean teaches; none for an ensemble fitted here.
        lesson: How the student is taught.
        out: Where the distilled student of the first seed goes.
    """

    train_dir: Path
    teachers: tuple[Path, ...] = ()
    lesson: Lesson = field(default_factory=Lesson)
    out: Path | None = None


def distil(options: DistilOptions, progress: Progress) -> dict[str, Any]:
    """Teach a student, measure it beside one that learnt from labels alone, and store it.

    Returns:
        ``teacher``, ``lesson``, ``windows``, ``accuracy`` (of ``teacher``, ``direct``, ``distilled`` and the
        ``difference`` of the last two, each with its interval), ``by_seed`` and ``notes``, in plain JSON values.

    Raises:
        InputError: Dataset or teachers cannot be read, or do not fit together.
    """
    progress.step(f"reading {options.train_dir}")
    dataset = read_dataset(options.train_dir)
    lesson = options.lesson
    teachers: list[Teacher] = [load_teacher(path) for path in options.teachers]
    if not teachers:
        features = lesson.features if lesson.features != "flatten" else "rich"
        teachers = [EnsembleTeacher(features=features, seed=lesson.seed)]
    said = np.zeros((len(dataset), len(dataset.classes)))
    for teacher in teachers:
        progress.step(f"asking {teacher.name}")
        said += teacher.answers(dataset) / len(teachers)
    taught = teach(dataset, said, lesson, progress)
    held_out, labels = dataset.held_out, dataset.labels[dataset.held_out]
    values = {
        "teacher": hits(said[held_out], labels),
        "direct": taught.right_direct,
        "distilled": taught.right_distilled,
        "difference": taught.right_distilled - taught.right_direct,
    }
    if options.out is not None:
        save_model(taught.distilled[0], options.out)
    by_seed = {
        name: [float(hits(model.predict_proba(dataset.windows[held_out]), labels).mean()) for model in models]
        for name, models in (("direct", taught.direct), ("distilled", taught.distilled))
    }
    return {
        "teacher": " + ".join(teacher.name for teacher in teachers),
        "lesson": {**asdict(lesson), "options": dict(lesson.options)},
        "windows": {"training": int(dataset.training.sum()), "held_out": int(held_out.sum())},
        "accuracy": {name: mean_with_interval(x, dataset, seed=lesson.seed).to_json() for name, x in values.items()},
        "by_seed": by_seed,
        "notes": [note for one in teachers if isinstance(one, StoredTeacher) and (note := one.seen(dataset))],
    }


def table(report: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows for people."""
    rows = [
        [name, figure_text(report["accuracy"][name]), ", ".join(f"{x:.3f}" for x in report["by_seed"].get(name, []))]
        for name in ("teacher", "direct", "distilled", "difference")
    ]
    return ["", "accuracy", "of each seed"], rows


def figure_text(figure: Mapping[str, float | None]) -> str:
    """A number and its interval."""
    value, low, high = figure["value"], figure["low"], figure["high"]
    return f"{value:.3f}" if low is None else f"{value:.3f} ({low:.3f} to {high:.3f})"
