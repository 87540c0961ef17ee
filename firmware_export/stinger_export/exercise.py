"""Samples that exercise a model: as varied as its training data, and made from nothing but the model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stinger.models.spec import ModelSpec, TrainedModel
from stinger.windows.replay import ReplayStream

_SEGMENTS = 32
#: Segments that drive every sum to its limits: all lowest, all highest, alternating, silence.
_EXTREMES = ((-32768, -32768), (32767, 32767), (-32768, 32767), (0, 0))


def usual_samples(spec: ModelSpec) -> int:
    """Number of samples at the beginning of the stream that are like training data; extremes follow."""
    return _SEGMENTS * (spec.window + spec.window // 2)


def exercise_stream(model: TrainedModel, seed: int = 1) -> ReplayStream:
    """Make samples for replaying into a board.

    Segments of one and a half windows take each channel's mean and deviation from a random calibration vector, so
    that decisions of every kind occur; four more hold the extremes of int16. Some segments start after a gap. Where
    the features are the window itself, a segment is one that the model learnt from, and then half of it backwards.

    Args:
        model: A trained model; its feature set starts with the mean and deviation of every channel, or is the window.
        seed: Seed of the choice and the noise.
    """
    spec = model.spec
    rng = np.random.default_rng(seed)
    channels, length = len(spec.channels), spec.window + spec.window // 2
    rows = model.calibration[rng.integers(0, len(model.calibration), _SEGMENTS)].astype(np.float64)
    if spec.features.endswith("flatten"):
        windows = rows.reshape(_SEGMENTS, spec.window, channels)
        usual: NDArray[np.float64] = np.concatenate([windows, windows[:, ::-1][:, : length - spec.window]], axis=1)
    else:
        noise = rng.standard_normal((_SEGMENTS, length, channels))
        usual = rows[:, None, :channels] + noise * rows[:, None, channels : 2 * channels]
    extreme = np.empty((len(_EXTREMES), length, channels))
    for segment, (even, odd) in zip(extreme, _EXTREMES, strict=True):
        segment[0::2], segment[1::2] = even, odd
    samples = np.concatenate([usual, extreme]).reshape(-1, channels)
    step = np.full(len(samples), spec.period_us, dtype=np.int64)
    step[:: 4 * length] *= 10
    gap = step > spec.period_us
    return ReplayStream(
        samples=np.clip(np.rint(samples), -32768, 32767).astype(np.int16),
        t_us=np.cumsum(step),
        gap_before=gap,
        period_us=spec.period_us,
    )
