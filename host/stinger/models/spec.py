"""What a trained model is: an estimator and everything needed to use it honestly."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.features.base import FeatureSet
from stinger.features.sets import feature_set
from stinger.models.policy import Policy
from stinger.sessions.session import Channel


@dataclass(frozen=True)
class ModelSpec:
    """Everything about a model but its weights; stored as its manifest.

    Attributes:
        name: Short identifier, a valid C identifier.
        family: Name of the family; see `stinger.models.families.FAMILIES`.
        features: Name of the feature set; see `stinger.features.sets.FEATURE_SETS`.
        window: Samples per window.
        period_us: Sample period the model was trained for, in microseconds.
        lead_us: Time from the window's end to the event it speaks of; 0 for labelled recordings.
        channels: Names, units and scales of the window's channels.
        classes: Class names; a label is an index into them.
        seed: Seed of training.
        data_hash: SHA-256 of the training dataset.
        options: Hyperparameters that differ from the family's defaults.
        metrics: Held-out metrics, as measured at training.
        policy: How its probabilities become on and off, or None.
        threshold: Of two classes, the second is answered where its probability is at least this; chosen on folds of
            the training part. Without meaning for more classes.
        trained_on: SHA-256 of each recording whose windows were learnt from, as far as the dataset knew them, so that
            nobody measures on them.
    """

    name: str
    family: str
    features: str
    window: int
    period_us: int
    lead_us: int
    channels: tuple[Channel, ...]
    classes: tuple[str, ...]
    seed: int
    data_hash: str
    options: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    policy: Policy | None = None
    threshold: float = 0.5
    trained_on: tuple[str, ...] = ()

    @property
    def feature_set(self) -> FeatureSet:
        """The feature set, ready to compute."""
        return feature_set(self.features, [c.name for c in self.channels], self.window)

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class HeldOut:
    """Windows that no training saw.

    Attributes:
        windows: int16, shape ``(n, window, channels)``.
        labels: Their classes, shape ``(n,)``.
    """

    windows: NDArray[np.int16]
    labels: NDArray[np.uint8]


@dataclass(frozen=True)
class TrainedModel:
    """A fitted estimator with its spec.

    Attributes:
        spec: The manifest.
        estimator: ``Pipeline(scaler, classifier)`` for logreg, ridge and mlp, else the bare classifier; fitted on the
            features as float64, with labels 0..K-1.
        calibration: Feature vectors of training windows, shape ``(n, features)``; int16 for integer feature sets,
            float64 for the others. They set the ranges of the integer model, so that exporting needs nothing but the
            model.
        held_out: Held-out windows, or some of them, so that an export can be measured on them; None if there were none.
    """

    spec: ModelSpec
    estimator: Any
    calibration: NDArray[Any]
    held_out: HeldOut | None = None

    def predict_proba(self, windows: NDArray[np.int16]) -> NDArray[np.float64]:
        """Class probabilities (parity level L0) of int16 windows ``(n, window, channels)``: ``(n, classes)``."""
        return self.predict_proba_features(self.spec.feature_set.compute(windows))

    def predict_proba_features(self, features: NDArray[Any]) -> NDArray[np.float64]:
        """Class probabilities of feature vectors ``(n, features)``: ``(n, classes)``."""
        proba: NDArray[np.float64] = self.estimator.predict_proba(features.astype(np.float64))
        return proba
