"""A small trained model of every kind that model images hold, and images with a right CRC."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace

from toy import channels_for, toy_dataset

from stinger.models.policy import Policy
from stinger.models.train import train
from stinger_export.integer.model import IntegerModel
from stinger_export.integer.quantise import quantise

FAMILIES = ("logreg", "mlp", "rf", "hgb", "dt", "torch-cnn")
#: Families that are tried on another feature set than rich; a window has more features than a byte counts.
_FEATURES = {"dt": "flatten", "torch-cnn": "flatten"}
_SMALL = {
    "rf": {"n_estimators": 5, "max_depth": 4},
    "mlp": {"hidden_layer_sizes": (10, 5)},
    "hgb": {"max_iter": 7, "min_samples_leaf": 5},
    "torch-cnn": {"filters": (5, 6), "kernel_size": 5, "epochs": 3},
}


def made(family: str, classes: int = 2, policy: Policy | None = None, features: str = "rich") -> IntegerModel:
    features = _FEATURES.get(family, features)
    dataset = toy_dataset(classes=classes, per_class=60, channels=channels_for(features))
    model = train(dataset, family, features=features, options=_SMALL.get(family), folds=0)
    return quantise(replace(model, spec=replace(model.spec, policy=policy)))


def with_crc(data: bytes) -> bytes:
    return data[:12] + struct.pack("<I", zlib.crc32(data[:12] + data[16:])) + data[16:]
