"""Trained models as the stock firmware can run them: which fit, and with which weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.errors import UsageError
from stinger.models.spec import ModelSpec, TrainedModel
from stinger.sessions.session import STINGER_CHANNELS
from stinger_export.stock.image import SHAPES, WINDOW, StockModel

#: The stock firmware samples its sensor a hundred times a second.
PERIOD_US = 10_000
#: Family -> feature set that the firmware computes for it.
FEATURES = {"logreg": "float-summary", "mlp": "float-rich"}


def to_stock(model: TrainedModel) -> StockModel:
    """Convert a model to the stock firmware's.

    The firmware computes its features in float32 from raw counts, so only a model that was trained on their float
    definition answers there as it was trained.

    Raises:
        UsageError: The firmware cannot run it; the message says why.
    """
    refuse_other_models(model.spec)
    scaler: Any = model.estimator.steps[0][1]
    classifier: Any = model.estimator.steps[1][1]
    if model.spec.family == "logreg":
        layers = [(classifier.coef_, classifier.intercept_)]
    else:
        layers = [(weight.T, bias) for weight, bias in zip(classifier.coefs_, classifier.intercepts_, strict=True)]
    widths = (len(scaler.mean_), *(len(bias) for _, bias in layers))
    if widths not in SHAPES.values():
        raise UsageError(
            f"model {model.spec.name} has {'-'.join(map(str, widths[1:-1]))} hidden units, the stock firmware's "
            "network has 64-32; train with --mlp-hidden 64,32"
        )
    return StockModel(
        _float32(scaler.mean_),
        _float32(scaler.scale_),
        tuple((_float32(weight), _float32(bias)) for weight, bias in layers),
    )


def stock_fits(spec: ModelSpec) -> bool:
    """Whether the stock firmware computes what a model takes; see `refuse_other_models`."""
    try:
        refuse_other_models(spec)
    except UsageError:
        return False
    return True


def refuse_other_models(spec: ModelSpec) -> None:
    """Refuse a model whose family, features, window, rate, channels or classes the stock firmware does not have.

    Raises:
        UsageError: One of them is another; the message says which.
    """
    wanted = FEATURES.get(spec.family)
    if wanted is None:
        raise UsageError(f"the stock firmware runs {' and '.join(FEATURES)}, not {spec.family}")
    stinger = [(channel.name, channel.scale) for channel in STINGER_CHANNELS]
    rules = (
        (spec.features, wanted, "features"),
        (spec.window, WINDOW, "samples per window"),
        (spec.period_us, PERIOD_US, "us per sample"),
        (len(spec.classes), 2, "classes"),
    )
    for has, needs, what in rules:
        if has != needs:
            raise UsageError(f"model {spec.name} has {has} {what}, the stock firmware's {spec.family} takes {needs}")
    if [(channel.name, channel.scale) for channel in spec.channels] != stinger:
        raise UsageError(
            f"model {spec.name} was not trained on the Stinger's channels (ax, ay, az, gx, gy, gz in counts)"
        )


def _float32(values: NDArray[Any]) -> NDArray[np.float32]:
    return np.ascontiguousarray(values, dtype=np.float32)
