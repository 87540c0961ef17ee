"""The model families: for each name, how an estimator is built and what its choices are.

Every family predicts class probabilities from integer features given as float64. No family weights its
classes: shots are rare among the windows, and a weighted fit would answer as if they were not; unweighted, a
probability means what it says, and a threshold is a decision for whoever uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from stinger.errors import UsageError

#: A forest's leaves hold class probabilities in this many steps; see `_round_leaves`.
LEAF_STEPS = 128


@dataclass(frozen=True)
class Family:
    """One kind of model.

    Attributes:
        name: What users call it.
        description: One line for listings.
        defaults: Every option the family takes, with its default.
        make: Builds the unfitted estimator from a seed and all options.
        finish: Brings the fitted estimator into the form that is measured, stored and exported.
    """

    name: str
    description: str
    defaults: Mapping[str, Any]
    make: Callable[[int, dict[str, Any]], Any]
    finish: Callable[[Any], None]

    def build(self, seed: int, **options: Any) -> Any:
        """Build the unfitted estimator.

        Args:
            seed: Seed of everything random in the fit.
            **options: Hyperparameters to change; the names are those of ``defaults``.

        Raises:
            UsageError: An option the family does not have.
        """
        unknown = sorted(set(options) - set(self.defaults))
        if unknown:
            raise UsageError(f"{self.name} has no option {unknown[0]!r}; it takes {', '.join(sorted(self.defaults))}")
        return self.make(seed, {**self.defaults, **options})


def _scaled(classifier: Any) -> Pipeline:
    return Pipeline([("scale", StandardScaler()), ("classify", classifier)])


def _logreg(seed: int, options: dict[str, Any]) -> Any:
    return _scaled(LogisticRegression(random_state=seed, **options))


def _mlp(seed: int, options: dict[str, Any]) -> Any:
    options["hidden_layer_sizes"] = tuple(options["hidden_layer_sizes"])
    return _scaled(MLPClassifier(random_state=seed, activation="relu", early_stopping=False, **options))


def _forest(seed: int, options: dict[str, Any]) -> Any:
    return RandomForestClassifier(random_state=seed, n_jobs=None, **options)


def _as_fitted(estimator: Any) -> None:
    """Nothing to do: the fit is the model."""


def _round_leaves(forest: Any) -> None:
    """Round every leaf's class probabilities to 1/128, keeping their sum at 1.

    A forest averages its leaves. With leaves in units of 1/128 the sum is exact in float64, in float32 and in
    integers, so the estimator, its ONNX graph and its C code add the same numbers, and where two classes tie
    they tie everywhere and the lower index wins. The rounding costs at most 1/256 in a leaf of a two-class
    forest, and far less in the average of fifty.
    """
    for tree in forest.estimators_:
        value = tree.tree_.value
        value[:, 0, :] = _round_to_steps(value[:, 0, :]) / LEAF_STEPS


def _round_to_steps(share: Any) -> Any:
    """Round rows that sum to 1 to integers that sum to `LEAF_STEPS`: largest remainders first, then leftmost."""
    scaled = share * LEAF_STEPS
    steps = np.floor(scaled)
    missing = LEAF_STEPS - steps.sum(axis=1)
    order = np.argsort(-(scaled - steps), axis=1, kind="stable")
    rank = np.argsort(order, axis=1, kind="stable")
    return steps + (rank < missing[:, None])


#: Every family by name.
FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            "logreg",
            "logistic regression on standardised features: the smallest, and hard to beat",
            # The features are standardised, so lbfgs converges in well under a hundred iterations.
            {"C": 1.0, "max_iter": 2000},
            _logreg,
            _as_fitted,
        ),
        Family(
            "mlp",
            "neural network with two hidden layers (64, 32) of ReLUs on standardised features",
            # Early stopping is off: it would hold back a random tenth of the windows, whose neighbours overlap
            # them, and so measure nothing. The fit ends when the training loss rests, or after max_iter epochs.
            # A few hundred windows are little for 4,000 weights: the strong alpha keeps them small.
            {"hidden_layer_sizes": (64, 32), "alpha": 1.0, "max_iter": 200},
            _mlp,
            _as_fitted,
        ),
        Family(
            "rf",
            "random forest of 50 trees on the plain integer features",
            # Leaves of at least 2 windows and a depth of at most 10 give about two thirds of the nodes of full
            # trees, and probabilities that are as good.
            {"n_estimators": 50, "min_samples_leaf": 2, "max_depth": 10},
            _forest,
            _round_leaves,
        ),
    )
}


def family(name: str) -> Family:
    """Look up a family.

    Raises:
        UsageError: There is no such family.
    """
    if name not in FAMILIES:
        raise UsageError(f"unknown model family {name!r}; known: {', '.join(FAMILIES)}")
    return FAMILIES[name]
