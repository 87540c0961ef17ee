"""Which models `stinger plot-predictions` shows: trained on a dataset now, or saved earlier."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stinger.errors import InputError, UsageError
from stinger.models.families import family as find_family
from stinger.models.spec import TrainedModel
from stinger.models.store import load_model
from stinger.models.train import train
from stinger.plots.predictions import PALETTE
from stinger.windows.dataset import Dataset
from stinger.workflow.progress import Progress

#: What is compared if nobody says.
COMPARED = ("logreg:summary", "et:rich", "mlp:rich")
#: More lines than this nobody can tell apart.
MOST_MODELS = len(PALETTE)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,47}")


@dataclass(frozen=True)
class Recipe:
    """A model to train: ``FAMILY:FEATURES`` or ``FAMILY:FEATURES:NAME``."""

    family: str
    features: str
    name: str
    label: str


@dataclass(frozen=True)
class Shown:
    """A model whose predictions are shown.

    Attributes:
        name: Its column in the table, unique.
        label: What pictures call it.
        origin: Where it comes from, for reports.
        model: The model.
        fresh: Whether it was trained just now on the dataset at hand.
    """

    name: str
    label: str
    origin: str
    model: TrainedModel
    fresh: bool


def parse_recipes(texts: Sequence[str]) -> list[Recipe]:
    """Turn ``FAMILY:FEATURES`` or ``FAMILY:FEATURES:NAME`` into recipes.

    Raises:
        UsageError: One of them is neither, names an unknown family, or has the name of another.
    """
    recipes = [_parse(text) for text in texts]
    _check_names([recipe.name for recipe in recipes])
    return recipes


def _parse(text: str) -> Recipe:
    parts = [part.strip() for part in text.split(":")]
    if len(parts) not in (2, 3) or not all(parts):
        raise UsageError(f"--model-spec must look like mlp:rich or mlp:rich:NAME, is {text[:60]!r}")
    kind, features = parts[:2]
    find_family(kind)
    if len(parts) == 2:
        return Recipe(kind, features, re.sub(r"\W", "_", f"{kind}_{features}"), f"{kind} {features}")
    if not _NAME.fullmatch(parts[2]):
        raise UsageError(
            f"--model-spec {text[:60]!r}: a name is at most 48 letters, digits and _, not starting with a digit"
        )
    return Recipe(kind, features, parts[2], parts[2])


def _check_names(names: Sequence[str]) -> None:
    if len(names) > MOST_MODELS:
        raise UsageError(f"{len(names)} models are too many for one picture; choose at most {MOST_MODELS}")
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two models are called {name!r}; give one of them another name (FAMILY:FEATURES:NAME)")


def train_all(recipes: Sequence[Recipe], dataset: Dataset, where: Path, seed: int, progress: Progress) -> list[Shown]:
    """Train a model for each recipe on the windows of a dataset that are for training.

    Raises:
        UsageError: Unknown family or feature set.
        InputError: The dataset cannot be learnt from.
    """
    shown = []
    for recipe in recipes:
        progress.step(f"training {recipe.label} on {int(dataset.training.sum()):,} windows")
        model = train(dataset, recipe.family, features=recipe.features, seed=seed, name=recipe.name)
        shown.append(Shown(recipe.name, recipe.label, f"trained on {where}", model, fresh=True))
    return shown


def load_all(directories: Sequence[Path]) -> list[Shown]:
    """Read saved models; those of the same name are told apart by their directories'.

    Raises:
        InputError: One of them is no model.
    """
    models = [load_model(directory) for directory in directories]
    names = [model.spec.name for model in models]
    shown = []
    for directory, model in zip(directories, models, strict=True):
        spec = model.spec
        own = names.count(spec.name) == 1
        folder = directory.resolve().name
        name = spec.name if own else re.sub(r"\W", "_", folder)
        label = spec.name if own else folder
        if own and spec.name == spec.family:
            label = f"{spec.family} {spec.features}"
        shown.append(Shown(name, label, f"read from {directory}", model, fresh=False))
    return shown


def check_comparable(shown: Sequence[Shown], target: str | None, label: str | None = None) -> str:
    """Refuse models that do not answer the same question, and return whose class's probability is shown.

    Args:
        shown: At least one model.
        target: A class, or None: ``shot`` where there is one, else the recording's label, else the last.
        label: The recording's label, if it has one.

    Raises:
        UsageError: Too many models, or two of one name.
        InputError: They have other classes or another lead.
    """
    _check_names([one.name for one in shown])
    first = shown[0].model.spec
    if target is None:
        target = next((name for name in ("shot", label) if name in first.classes), first.classes[-1])
    for one in shown:
        spec = one.model.spec
        if target not in spec.classes:
            raise InputError(f"{one.label} knows no class {target!r}; it knows {', '.join(spec.classes)}")
        if spec.lead_us != first.lead_us:
            raise InputError(
                f"{one.label} speaks of {spec.lead_us / 1000:g} ms after its window, {shown[0].label} of "
                f"{first.lead_us / 1000:g} ms; compare models of one lead"
            )
    return target
