"""Samples that exercise a model: as varied as its training data, and made from nothing but the model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stinger.models.spec import ModelSpec, TrainedModel
from stinger.windows.replay import ReplayStream
from stinger_export.forms import is_convolution

_SEGMENTS = 32
_FEWEST_SEGMENTS = 4
#: Windows of a thousand samples overlap so much that fewer segments must do: most bytes of all windows together.
_WINDOWS_BYTES = 2**26
#: Of convolutions, of which one decision takes an emulated board longer than a hundred of any other model.
_SEGMENTS_OF_CONVOLUTIONS = 6
#: Segments that drive every sum to its limits: all lowest, all highest, alternating, silence.
_EXTREMES = ((-32768, -32768), (32767, 32767), (-32768, 32767), (0, 0))


def usual_samples(spec: ModelSpec) -> int:
    """Number of samples at the beginning of the stream that are like training data; extremes follow."""
    return _segments(spec) * (spec.window + spec.window // 2)


def _segments(spec: ModelSpec) -> int:
    most = _SEGMENTS_OF_CONVOLUTIONS if is_convolution(spec) else _SEGMENTS
    # Every four segments follow each other without a gap and complete five windows' lengths of windows.
    one = 5 * spec.window * spec.window * len(spec.channels) // 2
    return max(_FEWEST_SEGMENTS, min(most, _WINDOWS_BYTES // one))


def exercise_stream(model: TrainedModel, seed: int = 1) -> ReplayStream:
    """Make samples for replaying into a board.

    Segments of one and a half windows are each as strong as a random calibration vector says, so that decisions of
    every kind occur; four more hold the extremes of int16. Some segments start after a gap. Where the features are the
    window itself, a segment is one that the model learnt from, and then half of it backwards.

    Args:
        model: A trained model; its feature set starts with the mean and deviation of every channel, is an invariant
            one, or is the window.
        seed: Seed of the choice and the noise.
    """
    spec = model.spec
    rng = np.random.default_rng(seed)
    channels, length, segments = len(spec.channels), spec.window + spec.window // 2, _segments(spec)
    rows = model.calibration[rng.integers(0, len(model.calibration), segments)].astype(np.float64)
    noise = rng.standard_normal((segments, length, channels))
    if spec.features.endswith("flatten"):
        windows = rows.reshape(segments, spec.window, channels)
        usual: NDArray[np.float64] = np.concatenate([windows, windows[:, ::-1][:, : length - spec.window]], axis=1)
    elif "invariant" in spec.features:
        usual = _turned(rows, noise, spec, rng)
    else:
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


def _turned(
    rows: NDArray[np.float64], noise: NDArray[np.float64], spec: ModelSpec, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Samples of segments of which only turning, jerk and the deviation of |a| are known: noise upon a steady pull.

    What is steady does not show in the features, so any pull will do. The strength rises or falls from half to half of
    a window as that of the jerk.

    Args:
        rows: A vector of `invariant` features, or what begins like one, for each segment, ``(segments, features)``.
        noise: Standard normal, ``(segments, length, channels)``.
        spec: The model's manifest.
        rng: What the steady pull is drawn from.
    """
    jerk, deviation, spread_w = rows[:, 3], rows[:, 4], rows[:, 8]
    mean_w = (2.0 if spec.feature_set.integer else 1.0) * rows[:, 7]
    # Three normal numbers have a length of about the root of three, differences of two such of the root of six; of two
    # that go together, less.
    size = np.maximum(np.maximum(deviation, jerk / 6**0.5), 1.0)
    together = (1 - jerk**2 / (6 * size**2)).clip(0, 1)[:, None]
    accelerometer, gyroscope = (slice(first, first + 3) for first in spec.feature_set.triads)
    samples = noise.copy()
    for i in range(1, noise.shape[1]):
        step = np.sqrt(1 - together**2) * noise[:, i, accelerometer]
        samples[:, i, accelerometer] = together * samples[:, i - 1, accelerometer] + step
    samples[:, :, accelerometer] *= size[:, None, None]
    samples[:, :, gyroscope] *= np.hypot(mean_w, spread_w)[:, None, None] / 3**0.5
    grows = (rows[:, 12] / (1024.0 if spec.feature_set.integer else 1.0)).clip(0.5, 2)
    halves = np.linspace(-1.5, 1.5, noise.shape[1])  # of a window, from the middle of the segment
    samples *= grows[:, None, None] ** halves[None, :, None]
    samples[:, :, accelerometer] += 2000 * rng.standard_normal(3)
    return samples
