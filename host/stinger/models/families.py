"""The model families: for each name, how an estimator is built and what its choices are.

Every family predicts class probabilities, of any number of classes, from features given as float64. No family weights
its classes: shots are rare among the windows, and a weighted fit would answer as if they were not; unweighted, a
probability means what it says, and a threshold is a decision for whoever uses it.

No family stops early. Early stopping holds back a random tenth of the windows, and those overlap their neighbours, so
what it measures is leakage; without it a fit ends when its training loss rests or after a fixed number of rounds, and
what keeps it from learning by heart is its penalty or the size of its leaves.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from stinger.errors import UsageError
from stinger.models.boosted import HistGradientTreesClassifier, XGBTreesClassifier
from stinger.models.calibrated import CalibratedRidgeClassifier
from stinger.models.torch_net import TorchCNNClassifier, TorchMLPClassifier

#: The leaves of forests and trees hold class probabilities in this many steps; see `_round_leaves`.
LEAF_STEPS = 128
#: What each extra installs that a family cannot be fitted without.
_MODULES = {"torch": "torch", "xgb": "xgboost"}


@dataclass(frozen=True)
class Family:
    """One kind of model.

    Attributes:
        name: What users call it.
        description: One line for listings.
        defaults: Every option the family takes, with its default.
        make: Builds the unfitted estimator from a seed and all options, among them ``channels``.
        finish: Brings the fitted estimator into the form that is measured, stored and exported.
        extra: The extra of this distribution that fitting needs; None if a plain install will do. A fitted model is
            loaded and used without it.
        features: The feature sets it takes; None for any.
    """

    name: str
    description: str
    defaults: Mapping[str, Any]
    make: Callable[[int, dict[str, Any]], Any]
    finish: Callable[[Any], None]
    extra: str | None = None
    features: tuple[str, ...] | None = None

    def build(self, seed: int, *, channels: int | None = None, **options: Any) -> Any:
        """Build the unfitted estimator, ready to be fitted.

        Args:
            seed: Seed of everything random in the fit.
            channels: Channels of a window. Families whose estimator looks at samples need them to tell a row's samples
                apart; all others ignore them. It is no option: it comes from the data.
            **options: Hyperparameters to change; the names are those of ``defaults``.

        Raises:
            UsageError: An option the family does not have, or what fits it is not installed.
        """
        if self.extra is not None and importlib.util.find_spec(_MODULES[self.extra]) is None:
            raise UsageError(
                f"{self.name} needs {_MODULES[self.extra]}; install stinger-ml[{self.extra}] or choose another family"
            )
        return self.unfitted(seed, channels=channels, **options)

    def unfitted(self, seed: int, *, channels: int | None = None, **options: Any) -> Any:
        """Build the estimator as `build` does, but for holding weights that were fitted elsewhere: needs no extra."""
        unknown = sorted(set(options) - set(self.defaults))
        if unknown:
            raise UsageError(f"{self.name} has no option {unknown[0]!r}; it takes {', '.join(sorted(self.defaults))}")
        return self.make(seed, {**self.defaults, **options, "channels": 6 if channels is None else channels})

    def check_features(self, features: str) -> None:
        """Refuse a feature set that the family does not take.

        Raises:
            UsageError: It does not.
        """
        if self.features is not None and features not in self.features:
            raise UsageError(f"{self.name} takes {' or '.join(self.features)} features, not {features}")


def _scaled(classifier: Any) -> Pipeline:
    return Pipeline([("scale", StandardScaler()), ("classify", classifier)])


def _plain(build: Callable[..., Any], *, sizes: str | None = None, scaled: bool = False, **fixed: Any) -> Any:
    """Describe a family whose estimator does not look at samples: ``build`` takes its options and ``random_state``."""

    def make(seed: int, options: dict[str, Any]) -> Any:
        given = {name: value for name, value in options.items() if name != "channels"}
        if sizes is not None:
            given[sizes] = tuple(given[sizes])
        estimator = build(random_state=seed, **fixed, **given)
        return _scaled(estimator) if scaled else estimator

    return make


def _ridge(seed: int, options: dict[str, Any]) -> Any:  # noqa: ARG001 - nothing in it is random
    return _scaled(CalibratedRidgeClassifier(alpha=options["alpha"], folds=options["folds"]))


def _torch_cnn(seed: int, options: dict[str, Any]) -> Any:
    options["filters"] = tuple(options["filters"])
    return TorchCNNClassifier(random_state=seed, **options)


def _as_fitted(estimator: Any) -> None:
    """Nothing to do: the fit is the model."""


def _round_leaves(estimator: Any) -> None:
    """Round every leaf's class probabilities to 1/128, keeping their sum at 1.

    A forest averages its leaves. With leaves in units of 1/128 the sum is exact in float64, in float32 and in
    integers, so the estimator, its ONNX graph and its C code add the same numbers, and where two classes tie
    they tie everywhere and the lower index wins. The rounding costs at most 1/256 in a leaf of a two-class
    forest, and far less in the average of fifty.
    """
    for tree in getattr(estimator, "estimators_", [estimator]):
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
            _plain(LogisticRegression, scaled=True),
            _as_fitted,
        ),
        Family(
            "ridge",
            "ridge classification on standardised features, its probabilities calibrated on held-back rows",
            # scikit-learn's penalty. Five folds: each score is of a model that saw four fifths of the rows.
            {"alpha": 1.0, "folds": 5},
            _ridge,
            _as_fitted,
        ),
        Family(
            "mlp",
            "neural network with two hidden layers (64, 32) of ReLUs on standardised features",
            # The fit ends when the training loss rests, or after max_iter epochs. A few hundred windows are little
            # for 4,000 weights: the strong alpha keeps them small.
            {"hidden_layer_sizes": (64, 32), "alpha": 1.0, "max_iter": 200},
            _plain(MLPClassifier, scaled=True, sizes="hidden_layer_sizes", activation="relu", early_stopping=False),
            _as_fitted,
        ),
        Family(
            "rf",
            "random forest of 50 trees on the plain features",
            # Leaves of at least 2 windows and a depth of at most 10 give about two thirds of the nodes of full
            # trees, and probabilities that are as good.
            {"n_estimators": 50, "min_samples_leaf": 2, "max_depth": 10},
            _plain(RandomForestClassifier, n_jobs=None),
            _round_leaves,
        ),
        Family(
            "et",
            "extremely randomised trees, 50 of them, on the plain features",
            # As for rf, for the same reasons.
            {"n_estimators": 50, "min_samples_leaf": 2, "max_depth": 10},
            _plain(ExtraTreesClassifier, n_jobs=None),
            _round_leaves,
        ),
        Family(
            "hgb",
            "histogram gradient boosting on the plain features",
            # scikit-learn's defaults.
            {
                "learning_rate": 0.1,
                "max_iter": 100,
                "max_leaf_nodes": 31,
                "min_samples_leaf": 20,
                "l2_regularization": 0.0,
            },
            _plain(HistGradientTreesClassifier),
            _as_fitted,
        ),
        Family(
            "dt",
            "one decision tree on the plain features: a handful of questions that can be read",
            # A single tree has nothing to average over: leaves of at least 5 windows keep its probabilities apart
            # from 0 and 1.
            {"min_samples_leaf": 5, "max_depth": 8},
            _plain(DecisionTreeClassifier),
            _round_leaves,
        ),
        Family(
            "xgb",
            "XGBoost's gradient boosting on the plain features",
            # As many rounds and as small steps as hgb; trees of 4 questions, since the windows are few.
            {"learning_rate": 0.1, "n_estimators": 100, "max_depth": 4, "min_child_weight": 1.0, "reg_lambda": 1.0},
            _plain(XGBTreesClassifier),
            _as_fitted,
            extra="xgb",
        ),
        Family(
            "torch-mlp",
            "neural network like mlp, fitted by PyTorch with AdamW",
            # Strong decay and few epochs, as for mlp: the windows are few.
            {
                "hidden_layer_sizes": (64, 32),
                "epochs": 30,
                "batch_size": 32,
                "learning_rate": 0.003,
                "alpha": 1.0,
            },
            _plain(TorchMLPClassifier, sizes="hidden_layer_sizes"),
            _as_fitted,
            extra="torch",
        ),
        Family(
            "torch-cnn",
            "one-dimensional convolutional network on the window's samples, fitted by PyTorch",
            # Two convolutions of 9 steps, the second at half the rate: an output sees 25 samples, a quarter second.
            {
                "filters": (16, 32),
                "kernel_size": 9,
                "epochs": 40,
                "batch_size": 32,
                "learning_rate": 0.005,
                "alpha": 0.01,
            },
            _torch_cnn,
            _as_fitted,
            extra="torch",
            features=("flatten", "float-flatten"),
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
