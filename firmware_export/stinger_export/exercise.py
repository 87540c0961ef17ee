"""Samples that exercise a model: as varied as its training data, and made from nothing but the model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stinger.features.magnetic import BITS, MagneticFeatures, lag
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
            one, is ``magnetic``, or is the window.
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
    elif isinstance(spec.feature_set, MagneticFeatures):
        usual = _in_a_field(rows, noise, spec.feature_set, rng)
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


def _in_a_field(
    rows: NDArray[np.float64], noise: NDArray[np.float64], features: MagneticFeatures, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Samples of segments of a device that turns in a field as strong, as steep and as noisy as `magnetic` says.

    Where it points at first, and about which axis it turns, does not show in the features; nor does how strong the pull
    is. How far one count of the gyroscope turns the field follows from the gain.

    Args:
        rows: A vector of features for each segment, ``(segments, 13)``.
        noise: Standard normal, ``(segments, length, channels)``.
        features: The model's feature set.
        rng: What directions are drawn from.
    """
    magnetometer, accelerometer, gyroscope = (slice(first, first + 3) for first in features.triads)
    samples = 0.1 * noise
    down, axis, aside = (rng.standard_normal((len(rows), 3)) for _ in range(3))
    level = np.cross(down, aside)
    down, level, axis = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (down, level, axis))
    field = 2 * (rows[:, 3, None] * down + rows[:, 7, None] * level)
    rate = 2 * rows[:, 9, None] * axis
    angle = rate * rows[:, 11, None] / (4096 * 2**BITS * lag(features.window))
    for i in range(noise.shape[1]):
        samples[:, i, magnetometer] = field + rows[:, 1, None] * noise[:, i, magnetometer]
        samples[:, i, accelerometer] = 2000 * down + 10 * noise[:, i, accelerometer]
        samples[:, i, gyroscope] = rate + noise[:, i, gyroscope]
        field, down = (_turn(x, angle) for x in (field, down))
    return samples


def _turn(vectors: NDArray[np.float64], angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a device that turns by an angle about an axis sees of vectors, which keep their length."""
    turned = vectors + np.cross(vectors, angle)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    result: NDArray[np.float64] = turned * length / np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-9)
    return result
