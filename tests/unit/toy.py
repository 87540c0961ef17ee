"""Small synthetic datasets for unit tests: classes that differ in motion, quick to make and to learn."""

from __future__ import annotations

import numpy as np

from stinger.sessions.session import STINGER_CHANNELS, Channel
from stinger.windows.dataset import Dataset

#: Beyond the blaster's six: a magnetometer, and one triad more than a model may use.
MORE_CHANNELS = tuple(Channel(f"{kind}_{axis}", "", 1.0) for kind in ("mag", "other") for axis in "xyz")


def channels_for(features: str) -> int:
    """How many channels a toy dataset needs for a feature set."""
    return 9 if features == "magnetic" else 6


def toy_dataset(
    *, classes: int = 2, per_class: int = 120, window: int = 50, channels: int = 6, seed: int = 0
) -> Dataset:
    """Windows of sines and noise whose strength grows with the class; every fourth group is held out."""
    rng = np.random.default_rng(seed)
    n = classes * per_class
    labels = np.arange(n) % classes
    t = np.arange(window)[None, :, None]
    phase = rng.uniform(0, 2 * np.pi, (n, 1, channels))
    rate = rng.uniform(0.05, 0.3, (n, 1, channels)) * (1 + labels[:, None, None] % 2)
    strength = 300 * (1 + labels[:, None, None]) * rng.uniform(0.5, 1.7, (n, 1, 1))
    x = strength * np.sin(rate * t + phase) + rng.normal(0, 150, (n, window, channels))
    x += rng.normal(0, 300, (n, 1, channels))
    x[:, :, min(2, channels - 1)] += 2048
    groups = np.arange(n) // (2 * classes)
    return Dataset(
        windows=np.clip(np.rint(x), -32768, 32767).astype(np.int16),
        labels=labels.astype(np.uint8),
        classes=tuple(f"class {i}" for i in range(classes)),
        groups=groups.astype(np.int64),
        held_out=groups % 4 == 0,
        session=np.zeros(n, np.int64),
        start=np.arange(n, dtype=np.int64) * window,
        channels=(*STINGER_CHANNELS, *MORE_CHANNELS)[:channels],
        period_us=10_000,
        lead_us=100_000 if classes == 2 else 0,
    )


def extreme_windows(window: int, channels: int) -> np.ndarray:
    """The corners of int16: constant, alternating, zero, one-sample spikes, all at the limits."""
    shape = (window, channels)
    alternating = np.where(np.arange(window)[:, None] % 2, 32767, -32768) * np.ones(channels)
    rows = [np.full(shape, v) for v in (-32768, 32767, 0, 1, -1)] + [alternating, -1 - alternating]
    for at in (0, window // 2, window - 1):
        for value in (-32768, 32767, 1, -1):
            spike = np.zeros(shape)
            spike[at] = value
            rows.append(spike)
            single = np.zeros(shape)
            single[at, 0] = value
            rows.append(single)
    half = np.full(shape, 32767)
    half[: window // 2] = -32768
    return np.array([*rows, half], dtype=np.int16)
