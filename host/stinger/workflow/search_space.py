"""What a search tries: families that the board can run, feature sets it computes, and sizes of each."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stinger.errors import UsageError
from stinger.features.sets import ON_DEVICE
from stinger.models.families import family as find_family

_FOREST: Mapping[str, Sequence[Any]] = {
    "n_estimators": (3, 5, 8, 12, 20, 30, 50),
    "max_depth": (3, 4, 5, 6, 8, 10),
    "min_samples_leaf": (1, 2, 4, 8),
}
#: For each family that a search tries: the options that are varied, from small to large.
SPACES: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "logreg": {"C": (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)},
    "ridge": {"alpha": (0.1, 1.0, 10.0, 100.0, 1000.0)},
    "mlp": {
        "hidden_layer_sizes": ((4,), (8,), (12,), (16,), (24,), (32,), (48,), (16, 8), (32, 16), (64, 32)),
        "alpha": (0.1, 0.3, 1.0, 3.0),
    },
    "rf": _FOREST,
    "et": _FOREST,
    "dt": {"max_depth": (3, 4, 5, 6, 8, 10), "min_samples_leaf": (2, 5, 10, 20)},
}


@dataclass(frozen=True)
class Trial:
    """One model to try.

    Attributes:
        number: Its place in the search, from 1 on.
        family: Model family.
        features: Feature set.
        options: Hyperparameters that differ from the family's defaults, as pairs.
    """

    number: int
    family: str
    features: str
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """What messages and tables call it."""
        parts = [f"{name} {_shown(value)}" for name, value in self.options]
        return f"{self.family}/{self.features}" + (f" ({', '.join(parts)})" if parts else "")


def _shown(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, tuple) else f"{value:g}"


def make_trials(families: Sequence[str], features: Sequence[str], number: int, seed: int) -> list[Trial]:
    """Choose what to try.

    Every family on every feature set gets the same share, its defaults first; which other sizes it gets is drawn.

    Args:
        families: Among `SPACES`.
        features: Among the sets the device computes.
        number: How many trials at most; fewer where there are no more combinations.
        seed: Seed of the choice.

    Raises:
        UsageError: A family or feature set that the board cannot run, or no trials.
    """
    for family in families:
        find_family(family)
        if family not in SPACES:
            raise UsageError(f"a search does not vary {family}; --families takes {', '.join(SPACES)}")
    for name in features:
        if name not in ON_DEVICE:
            raise UsageError(f"the board does not compute {name} features; --features takes {', '.join(ON_DEVICE)}")
    if number < 1 or not families or not features:
        raise UsageError("a search needs at least one trial, one family and one feature set")
    rng = np.random.default_rng(seed)
    cells = [_cell(family, name, rng) for family in dict.fromkeys(families) for name in dict.fromkeys(features)]
    dealt = [trial for row in itertools.zip_longest(*cells) for trial in row if trial is not None]
    return [Trial(i + 1, *chosen) for i, chosen in enumerate(dealt[:number])]


def _cell(family: str, features: str, rng: np.random.Generator) -> list[tuple[str, str, tuple[tuple[str, Any], ...]]]:
    """All choices of one family on one feature set: the defaults, then the others in drawn order."""
    space = SPACES[family]
    defaults = find_family(family).defaults
    combinations = list(itertools.product(*space.values()))
    options = []
    for place in rng.permutation(len(combinations)):
        chosen = zip(space, combinations[place], strict=True)
        options.append(tuple((name, value) for name, value in chosen if defaults[name] != value))
    return [(family, features, own) for own in dict.fromkeys([(), *options])]
