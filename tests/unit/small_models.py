"""A small model of any family, on any feature set, with any number of classes: quick to fit, and fitted once."""

from __future__ import annotations

from functools import cache

import numpy as np
from toy import channels_for, extreme_windows, toy_dataset

from stinger.models.families import FAMILIES
from stinger.models.spec import TrainedModel
from stinger.models.train import fit_rows

WINDOW = 12
CLASSES = (2, 3, 5)
#: Small and quick; not what a user would train.
QUICK = {
    "mlp": {"hidden_layer_sizes": (8, 6)},
    "rf": {"n_estimators": 6},
    "et": {"n_estimators": 5},
    "hgb": {"max_iter": 6},
    "xgb": {"n_estimators": 6},
    "torch-mlp": {"hidden_layer_sizes": (8, 6), "epochs": 3},
    "torch-cnn": {"filters": (4, 6), "kernel_size": 5, "epochs": 3},
}


def taken(family: str, features: str) -> bool:
    """Whether the family takes these features, as its table says."""
    return FAMILIES[family].features is None or features in FAMILIES[family].features


@cache
def trained(family: str, features: str, classes: int = 2) -> TrainedModel:
    dataset = toy_dataset(classes=classes, per_class=30, window=WINDOW, channels=channels_for(features))
    options = QUICK.get(family, {})
    return fit_rows(dataset, np.ones(len(dataset), dtype=bool), family, features=features, seed=1, options=options)


@cache
def probes(classes: int, channels: int = 6) -> np.ndarray:
    """What the model learnt from, what it did not, and what no blaster will ever measure."""
    rng = np.random.default_rng(3)
    seen = toy_dataset(classes=classes, per_class=30, window=WINDOW, channels=channels).windows
    other = toy_dataset(classes=classes, per_class=60, window=WINDOW, channels=channels, seed=5).windows
    noise = rng.integers(-32768, 32768, (40, WINDOW, channels)).astype(np.int16)
    return np.concatenate([seen, other, noise, extreme_windows(WINDOW, channels)])
