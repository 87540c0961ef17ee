"""People the model has never met: what each ingredient of a model adds, person by person.

Each person in turn is left out, and a model fitted on the others is measured on that person's windows. Every choice a
model needs (which axis a mirror flips, how far to turn, how strong the penalty) is made for each left-out person anew,
by leaving out each of the *others* in turn; the left-out person has no part in it. Choices are made one after the
other, in the order of `Choices`. Of a penalty's candidates the strongest is taken that is within half a point of the
best: somebody new is farther from the people known than they are from each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no types

from stinger.errors import InputError
from stinger.features.sets import feature_set
from stinger.markdown import bullets, grid
from stinger.models.augment import Augmentation, augment_dataset
from stinger.models.families import family
from stinger.models.spec import TrainedModel
from stinger.models.train import fit_rows
from stinger.windows.dataset import Dataset
from stinger.workflow.benchmark_cost import measure
from stinger.workflow.progress import Progress
from stinger_export.integer.quantise import quantise

#: Families fitted with their defaults on the reference's float features, to compare with.
BASELINES = ("logreg", "mlp", "rf", "et")
#: A stronger penalty is taken if it costs no more accuracy than this.
MARGIN = 0.005
_FEWEST = 3  # people, so that leaving out two leaves somebody


@dataclass(frozen=True)
class Choices:
    """What is chosen, in this order, from which candidates.

    Attributes:
        mirror: Axes; None is no mirror.
        degrees: Standard deviations of rotations; 0 is none.
        penalty: Inverse strengths, ``C``, of logistic regression's penalty, strongest first.
    """

    mirror: tuple[str | None, ...] = (None,)
    degrees: tuple[float, ...] = (0.0,)
    penalty: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1)


@dataclass(frozen=True)
class Recipe:
    """A model's features and what was chosen for it."""

    features: str
    mirror: str | None
    degrees: float
    penalty: float

    def describe(self) -> str:
        """Say what was chosen, in a few words."""
        mirror = f"mirror {self.mirror}" if self.mirror else "no mirror"
        turned = f"turned {self.degrees:g}°" if self.degrees else "not turned"
        return f"{mirror}, {turned}, C {self.penalty:g}"


@dataclass(frozen=True)
class UnseenOptions:
    """What `stinger bench people` can be told.

    Attributes:
        baselines: Families to compare with; they take most of the time.
        mirror: Candidates for the mirror, besides none.
        degrees: Candidates for the rotations, besides none.
        rotations: Turned copies of a window, and of its mirror image.
        seed: Seed of rotations and fits.
        cost: Whether to compile the model and run it on an emulated board.
    """

    baselines: tuple[str, ...] = BASELINES
    mirror: tuple[str, ...] = ("x", "y", "z")
    degrees: tuple[float, ...] = (20.0,)
    rotations: int = 3
    seed: int = 1
    cost: bool = True


@dataclass
class _Bench:
    """A dataset, and the vectors and scores that were computed from it."""

    dataset: Dataset
    subject: NDArray[np.int64]
    options: UnseenOptions
    vectors: dict[tuple[str, str | None, float], tuple[Dataset, NDArray[Any]]] = field(default_factory=dict)
    pairs: dict[tuple[Recipe, frozenset[int]], dict[int, float]] = field(default_factory=dict)

    @property
    def people(self) -> list[int]:
        people: list[int] = np.unique(self.subject).tolist()
        return people

    def augmented(self, recipe: Recipe) -> tuple[Dataset, NDArray[Any]]:
        """Return all windows with their copies, the windows themselves first, and their features."""
        key = (recipe.features, recipe.mirror, recipe.degrees)
        if key not in self.vectors:
            rotations = self.options.rotations if recipe.degrees else 0
            augmentation = Augmentation(recipe.mirror, rotations, recipe.degrees, self.options.seed)
            dataset = augment_dataset(self.dataset, augmentation) if augmentation.copies > 1 else self.dataset
            features = feature_set(recipe.features, [c.name for c in dataset.channels], dataset.window)
            self.vectors[key] = dataset, features.compute(dataset.windows)
        return self.vectors[key]

    def fit(self, recipe: Recipe, without: list[int]) -> TrainedModel:
        """Fit on everybody but some people."""
        dataset, vectors = self.augmented(recipe)
        rows = ~np.isin(self._subjects(dataset), without)
        return fit_rows(
            dataset,
            rows,
            "logreg",
            features=recipe.features,
            seed=self.options.seed,
            name="unseen",
            options={"C": recipe.penalty},
            vectors=vectors,
        )

    def score(self, recipe: Recipe, left_out: int | None) -> float:
        """Mean accuracy over the other people, each left out in turn together with ``left_out``."""
        others = [person for person in self.people if person != left_out]
        return float(np.mean([self._without(recipe, person, left_out)[person] for person in others]))

    def _without(self, recipe: Recipe, person: int, other: int | None) -> dict[int, float]:
        """Fit without one or two people, on every second window, and measure on them. Both orders share a fit."""
        out = frozenset(p for p in (person, other) if p is not None)
        if (recipe, out) not in self.pairs:
            dataset, vectors = self.augmented(recipe)
            # Neighbouring windows share half their samples: every second one says nearly as much.
            rows = ~np.isin(self._subjects(dataset), list(out)) & (np.arange(len(dataset)) % len(self.dataset) % 2 == 0)
            estimator = family("logreg").build(self.options.seed, C=recipe.penalty)
            estimator.fit(vectors[rows].astype(np.float64), dataset.labels[rows])
            self.pairs[recipe, out] = {p: self.accuracy(estimator.predict, vectors, p) for p in out}
        return self.pairs[recipe, out]

    def accuracy(self, answer: Callable[[NDArray[Any]], NDArray[Any]], vectors: NDArray[Any], person: int) -> float:
        """Measure what answers with labels on a person's windows; ``vectors`` begin with those of all windows."""
        rows = np.flatnonzero(self.subject == person)
        return float(np.mean(answer(vectors[rows]) == self.dataset.labels[rows]))

    @staticmethod
    def _subjects(dataset: Dataset) -> NDArray[np.int64]:
        assert dataset.subject is not None  # noqa: S101 - `bench_people` has looked
        return dataset.subject


def choose(features: str, choices: Choices, score: Callable[[Recipe], float]) -> Recipe:
    """Choose one candidate of each kind, one kind after the other.

    Args:
        features: Feature set of the recipe.
        choices: The candidates.
        score: What is to be high.
    """
    recipe = Recipe(features, choices.mirror[0], choices.degrees[0], choices.penalty[0])
    for kind in ("mirror", "degrees", "penalty"):
        candidates = [replace(recipe, **{kind: value}) for value in getattr(choices, kind)]
        if len(candidates) > 1:
            scores = [score(candidate) for candidate in candidates]
            enough = max(scores) - (MARGIN if kind == "penalty" else 0)
            recipe = candidates[next(i for i, value in enumerate(scores) if value >= enough)]
    return recipe


def bench_people(dataset: Dataset, options: UnseenOptions, progress: Progress) -> dict[str, Any]:
    """Measure baselines and ingredients with each person left out, and the cost of the model on the board.

    Returns:
        ``people``; ``rows``, each with a ``name``, ``accuracy`` per person and their ``mean``, and where something was
        chosen ``chosen`` per person; ``model``, what was chosen with all people, and its cost.

    Raises:
        InputError: The dataset does not say who was recorded, or knows fewer than three people.
        ToolchainError: The model does not compile.
    """
    if dataset.subject is None or len(np.unique(dataset.subject[dataset.subject >= 0])) < _FEWEST:
        raise InputError(
            f"leaving people out needs recordings of {_FEWEST} people or more; say who was recorded: "
            "stinger explore --pattern '{label}.s{subject}_*.csv'"
        )
    known = dataset.rows(dataset.subject >= 0)
    assert known.subject is not None  # noqa: S101 - its rows were chosen by it
    bench = _Bench(known, known.subject, options)
    # Hundreds of small fits: a second thread would cost more than it does.
    with threadpool_limits(1):
        return _report(bench, options, progress)


def _report(bench: _Bench, options: UnseenOptions, progress: Progress) -> dict[str, Any]:
    known = bench.dataset
    rows = [_baseline(bench, name, progress) for name in options.baselines]
    both: tuple[str | None, ...] = (None, *options.mirror)
    turned = Choices(both, (0.0, *options.degrees))
    for name, features, choices in (
        ("logreg, rich", "rich", Choices()),
        ("logreg, coupled", "coupled", Choices()),
        ("+ mirrored", "coupled", Choices(both)),
        ("+ turned", "coupled", turned),
    ):
        progress.step(f"{name}: leaving out each of {len(bench.people)} people")
        rows.append(_ingredient(bench, name, features, choices, integers=False))
    progress.step("the same as integers")
    rows.append(_ingredient(bench, "+ as integers (L2)", "coupled", turned, integers=True))
    names = known.meta.get("subjects")
    named = [str(names[p]) if isinstance(names, list) else str(p) for p in bench.people]
    report: dict[str, Any] = {"people": named, "rows": rows}
    report["model"] = _final(bench, turned, progress) if options.cost else None
    return report


def _baseline(bench: _Bench, name: str, progress: Progress) -> dict[str, Any]:
    progress.step(f"{name}, float-rich: leaving out each of {len(bench.people)} people")
    channels = [c.name for c in bench.dataset.channels]
    vectors = feature_set("float-rich", channels, bench.dataset.window).compute(bench.dataset.windows)
    accuracy = []
    for person in bench.people:
        rows = bench.subject != person
        kind = family(name)
        estimator = kind.build(bench.options.seed).fit(vectors[rows], bench.dataset.labels[rows])
        kind.finish(estimator)
        accuracy.append(bench.accuracy(estimator.predict, vectors, person))
    return _row(f"{name}, float-rich", accuracy)


def _ingredient(bench: _Bench, name: str, features: str, choices: Choices, *, integers: bool) -> dict[str, Any]:
    accuracy, chosen = [], []
    for person in bench.people:
        recipe = choose(features, choices, partial(bench.score, left_out=person))
        model = bench.fit(recipe, [person])
        answer = _integer_labels(model) if integers else model.estimator.predict
        accuracy.append(bench.accuracy(answer, bench.augmented(recipe)[1], person))
        chosen.append(recipe)
    return {**_row(name, accuracy), "chosen": [asdict(recipe) for recipe in chosen]}


def _integer_labels(model: TrainedModel) -> Callable[[NDArray[Any]], NDArray[Any]]:
    body = quantise(model).body
    two = len(model.spec.classes) == 2

    def labels(vectors: NDArray[Any]) -> NDArray[Any]:
        score = body.decide(vectors)[1]
        answer: NDArray[Any] = (score[:, 0] > 0).astype(np.int64) if two else score.argmax(axis=1)
        return answer

    return labels


def _final(bench: _Bench, choices: Choices, progress: Progress) -> dict[str, Any]:
    progress.step("the model of all people: choosing, compiling, running on an emulated board")
    recipe = choose("coupled", choices, partial(bench.score, left_out=None))
    cost = measure(quantise(bench.fit(recipe, [])), bench.dataset.windows)
    return {
        **asdict(recipe),
        "described": recipe.describe(),
        "flash": cost.flash,
        "ram": cost.ram,
        "cycles": cost.cycles,
    }


def _row(name: str, accuracy: list[float]) -> dict[str, Any]:
    return {"name": name, "accuracy": accuracy, "mean": float(np.mean(accuracy))}


def table(report: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: the accuracy of each model on each person that it has never met."""
    header = ["model", *(f"person {name}" for name in report["people"]), "mean"]
    rows = [
        [row["name"], *(f"{value:.3f}" for value in row["accuracy"]), f"{row['mean']:.3f}"] for row in report["rows"]
    ]
    return header, rows


def facts(report: Mapping[str, Any]) -> list[str]:
    """Lines about the last model: what was chosen for it, what it takes on the board."""
    lines = []
    for name, chosen in zip(report["people"], report["rows"][-1]["chosen"], strict=True):
        lines.append(f"Chosen without person {name}: {Recipe(**chosen).describe()}.")
    model = report["model"]
    if model is not None:
        lines.append(f"Chosen with all people: {model['described']}.")
        lines.append(
            f"On the board: {model['flash']:,} bytes of flash (classifier code and constants), {model['ram']:,} bytes "
            f"of RAM, {model['cycles']:,.0f} cycles per decision, features included."
        )
    return lines


def markdown(report: Mapping[str, Any]) -> str:
    """Write table and facts as markdown."""
    return f"{grid(*table(report))}\n\n{bullets(facts(report))}"
