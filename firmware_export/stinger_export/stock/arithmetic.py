"""The stock firmware's arithmetic in float32, step by step as its C++ does it: what blasters in the field compute.

Sums run over the window sample by sample, variance is ``sum(x^2) / N - mean^2`` clamped at 0 (so that it loses digits
where the mean is large), scales are at least 1e-10, and the logistic function is 0 or 1 beyond +-20. The motion gate
makes the probability 0 while the root mean square of the angular rate's magnitude is below 60 counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stinger.errors import UsageError
from stinger_export.stock.image import WINDOW, Float32, StockModel

CHANNELS = 6
#: Root mean square of the angular rate's magnitude, in counts, below which a blaster lies still.
GATE_RMS = 60
_LEAST_SCALE = np.float32(1e-10)
_LARGEST_LOGIT = 20
#: Windows computed at a time.
_BLOCK = 4096


@dataclass(frozen=True, eq=False)
class StockAnswers:
    """What the firmware says of each window.

    Attributes:
        probability: Before the gate, float32, shape ``(n,)``.
        gyro_rms: Root mean square of the angular rate's magnitude, float32, counts, shape ``(n,)``.
        gated: Where the gate makes the probability 0, shape ``(n,)``; exact, as squared counts are integers.
    """

    probability: Float32
    gyro_rms: Float32
    gated: NDArray[np.bool_]

    @property
    def after_gate(self) -> Float32:
        """Probability that the firmware acts on."""
        return np.where(self.gated, np.float32(0), self.probability)


def run_stock(model: StockModel, windows: NDArray[np.int16]) -> StockAnswers:
    """Compute what the stock firmware answers.

    Args:
        model: Its model.
        windows: int16, shape ``(n, 50, 6)``: accelerometer, then gyroscope, in counts of the Stinger.

    Raises:
        UsageError: The windows have another shape or type.
    """
    if windows.dtype != np.int16 or windows.shape[1:] != (WINDOW, CHANNELS):
        raise UsageError(
            f"the stock firmware takes int16 windows (n, {WINDOW}, {CHANNELS}), not {windows.dtype}{windows.shape}"
        )
    probability = np.empty(len(windows), dtype=np.float32)
    rms = np.empty(len(windows), dtype=np.float32)
    energy = np.empty(len(windows), dtype=np.int64)
    for first in range(0, len(windows), _BLOCK):
        part = slice(first, first + _BLOCK)
        # Weights from a file may overflow, on the board without a word; what they give is compared, not believed.
        with np.errstate(over="ignore", invalid="ignore"):
            probability[part] = _forward(model, stock_features(windows[part], rich=model.type == 1))
        counts = windows[part, :, 3:].astype(np.int64)
        energy[part] = (counts * counts).sum(axis=(1, 2))
    rms = np.sqrt(energy / WINDOW).astype(np.float32)
    return StockAnswers(probability, rms, energy < GATE_RMS**2 * WINDOW)


def stock_features(windows: NDArray[np.int16], *, rich: bool) -> Float32:
    """Compute `summary` (or `rich`) in float32 as the firmware does, shape ``(n, 18)`` or ``(n, 30)``."""
    x = windows.astype(np.float32)
    size = np.abs(x)
    columns = [*_mean_std(x, x * x), size.max(axis=1)]
    if rich:
        columns.append(_total(size) / np.float32(WINDOW))
        for first in (0, 3):
            axes = x[:, :, first : first + 3] * x[:, :, first : first + 3]
            # The square of a magnitude is taken as it is, not as the root squared again.
            square = (axes[:, :, 0] + axes[:, :, 1] + axes[:, :, 2])[:, :, None]
            magnitude = np.sqrt(square)
            columns += [*_mean_std(magnitude, square), magnitude.max(axis=1)]
    features: Float32 = np.concatenate(columns, axis=1)
    return features


def _mean_std(x: Float32, square: Float32) -> tuple[Float32, Float32]:
    n = np.float32(WINDOW)
    mean = _total(x) / n
    variance = _total(square) / n - mean * mean
    return mean, np.sqrt(np.maximum(variance, np.float32(0)))


def _total(x: Float32) -> Float32:
    """Add up the samples one after another; numpy's own sum adds in another order."""
    total: Float32 = np.zeros((x.shape[0], x.shape[2]), dtype=np.float32)
    for k in range(x.shape[1]):
        total += x[:, k]
    return total


def _forward(model: StockModel, features: Float32) -> Float32:
    scale: Float32 = np.maximum(model.scale, _LEAST_SCALE)
    x: Float32 = ((features - model.mean) / scale).astype(np.float32, copy=False)
    for number, (weight, bias) in enumerate(model.layers):
        unit: Float32 = np.tile(bias, (len(x), 1))
        for k in range(weight.shape[1]):
            unit += x[:, k : k + 1] * weight[:, k]
        if number < len(model.layers) - 1:
            np.maximum(unit, np.float32(0), out=unit)
        x = unit
    logit = x[:, 0]
    with np.errstate(over="ignore"):
        p = np.float32(1) / (np.float32(1) + np.exp(-logit))
    limited: Float32 = np.where(np.abs(logit) > _LARGEST_LOGIT, (logit > 0).astype(np.float32), p)
    return limited
