"""How a blaster moves: one small function per activity.

A movement is a pose and a force over time at 100 Hz. The pose is (roll, pitch, yaw) in degrees of the Stinger's
axes (X forward, Y right, Z down; rotations by the right-hand rule, so positive pitch raises the muzzle). The
force is what hands and darts add to gravity, in g. `sense` turns both into what an ideal IMU would read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 100

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Movement:
    """A stretch of motion.

    Attributes:
        pose: Roll, pitch, yaw in degrees, shape ``(n, 3)``.
        force: Acceleration besides gravity in g, body axes, shape ``(n, 3)``.
        trigger: Trigger per sample, shape ``(n,)``.
    """

    pose: Array
    force: Array
    trigger: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.pose)


def samples(seconds: float) -> int:
    """Samples in a duration, at least two."""
    return max(2, round(seconds * RATE_HZ))


def still(pose: Array, seconds: float) -> Movement:
    """Lie where it lies."""
    return _movement(np.tile(pose, (samples(seconds), 1)))


def move(rng: np.random.Generator, start: Array, target: Array, seconds: float) -> Movement:
    """Go from one pose to another smoothly, as a hand does (minimum jerk), with a push and a stop."""
    n = samples(seconds)
    s = np.linspace(0, 1, n)
    path = start + (target - start) * (s**3 * (10 - 15 * s + 6 * s * s))[:, None]
    push = np.sin(2 * np.pi * s)[:, None] * rng.normal(0, 0.25, 3) * min(1.0, 0.5 / seconds)
    return _movement(path, push)


def handle(rng: np.random.Generator, start: Array, seconds: float, vigour: float = 1.0) -> Movement:
    """Reload, look at it, carry it about: slow large turns without a plan."""
    n = samples(seconds)
    swing = _wander(rng, n, 0.9) * (np.array([22.0, 16.0, 40.0]) * vigour)
    return _movement(start + swing * _ease_in(n), 0.18 * vigour * _wander(rng, n, 3.0))


def walk(rng: np.random.Generator, start: Array, seconds: float, vigour: float = 1.0) -> Movement:
    """Walk with it in the hands: steps at about two a second."""
    force, swing = np.array([0.08, 0.06, 0.22]), np.array([3.0, 3.5, 5.0])
    return _stride(rng, start, seconds, rhythm=1.9, force=force * vigour, swing=swing * vigour)


def run(rng: np.random.Generator, start: Array, seconds: float, vigour: float = 1.0) -> Movement:
    """Run: hard steps at nearly three a second, the blaster swinging along."""
    force, swing = np.array([0.55, 0.45, 1.3]), np.array([9.0, 11.0, 13.0])
    return _stride(rng, start, seconds, rhythm=2.8, force=force * vigour, swing=swing * vigour)


def settle(rng: np.random.Generator, start: Array, seconds: float, calm: float, shaking: float = 1.0) -> Movement:
    """Hold on a target: the overshoot of raising it rings off, then only tremor and drift remain.

    Args:
        rng: Source of what differs each time.
        start: Pose to hold.
        seconds: How long.
        calm: 1 is an ordinary hold; smaller trembles less towards the end.
        shaking: Strength of tremor and drift; 1 is an ordinary hand.
    """
    n = samples(seconds)
    t = np.arange(n) / RATE_HZ
    ring = np.exp(-t / rng.uniform(0.08, 0.16)) * np.sin(2 * np.pi * rng.uniform(3.5, 5.5) * t)
    tremor = _wander(rng, n, 9.0) * (np.array([0.16, 0.22, 0.2]) * shaking)
    drift = _wander(rng, n, 0.7) * (np.array([0.5, 1.0, 1.4]) * shaking)
    quieter = np.linspace(1, calm, n)[:, None]
    pose = start + ring[:, None] * rng.normal(0, [0.7, 1.8, 1.8]) + (tremor + drift * _ease_in(n)) * quieter
    return _movement(pose, 0.012 * shaking * _wander(rng, n, 9.0) * quieter)


def squeeze(rng: np.random.Generator, movement: Movement, strength: float) -> Movement:
    """Add what taking up the trigger does in the last half second of a hold: a slow pull down and to the side."""
    n = min(len(movement), samples(rng.uniform(0.45, 0.7)))
    pull = np.zeros((len(movement), 3))
    pull[-n:] = (np.linspace(0, 1, n) ** 2)[:, None] * [0.8, -1.1, 0.6] * strength
    return Movement(movement.pose + pull, movement.force, movement.trigger)


def shoot(rng: np.random.Generator, start: Array, kick: float = 1.0) -> Movement:
    """Pull the trigger: the pusher kicks a moment later and rings, the muzzle rises, the hand brings it back."""
    n = samples(rng.uniform(0.3, 0.4))
    trigger = np.zeros(n, dtype=np.bool_)
    trigger[: rng.integers(7, 16)] = True
    since = np.arange(n) - rng.integers(1, 4)
    t = np.maximum(since, 0) / RATE_HZ
    rings = np.exp(-t / 0.03) * np.cos(2 * np.pi * rng.uniform(17, 24) * t) * (since >= 0)
    force = rings[:, None] * (rng.normal([-11.0, 0.0, -2.5], [3.5, 1.2, 1.5]) * kick)
    rise = (t / 0.05) * np.exp(1 - t / 0.05)
    pose = start + rise[:, None] * (rng.normal([0.0, 3.0, 0.0], [0.8, 0.9, 0.8]) * kick)
    return Movement(pose, force, trigger)


def sense(movement: Movement) -> tuple[Array, Array]:
    """What an ideal IMU reads: specific force in g and body rates in deg/s, each shape ``(n, 3)``.

    At rest and level the accelerometer reads (0, 0, -1): the support pushes up and Z points down.
    """
    pose = np.radians(movement.pose)
    roll, pitch = pose[:, 0], pose[:, 1]
    roll_rate, pitch_rate, yaw_rate = np.gradient(pose, 1 / RATE_HZ, axis=0).T
    down = np.stack([-np.sin(pitch), np.cos(pitch) * np.sin(roll), np.cos(pitch) * np.cos(roll)], axis=1)
    rates = np.stack(
        [
            roll_rate - yaw_rate * np.sin(pitch),
            pitch_rate * np.cos(roll) + yaw_rate * np.cos(pitch) * np.sin(roll),
            yaw_rate * np.cos(pitch) * np.cos(roll) - pitch_rate * np.sin(roll),
        ],
        axis=1,
    )
    return movement.force - down, np.degrees(rates)


def join(parts: list[Movement]) -> Movement:
    """Put movements one after another; small jumps between poses are smoothed over 50 ms."""
    pose = np.concatenate([part.pose for part in parts])
    force = np.concatenate([part.force for part in parts])
    return Movement(_smooth(pose, 5), force, np.concatenate([part.trigger for part in parts]))


def _movement(pose: Array, force: Array | None = None) -> Movement:
    return Movement(pose, np.zeros_like(pose) if force is None else force, np.zeros(len(pose), dtype=np.bool_))


def _stride(
    rng: np.random.Generator,
    start: Array,
    seconds: float,
    *,
    rhythm: float,
    force: Array,
    swing: Array,
) -> Movement:
    """Periodic motion: every step a push, every other step the other side."""
    n = samples(seconds)
    phase = 2 * np.pi * np.cumsum(rhythm * (1 + 0.04 * _wander(rng, n, 0.5)[:, 0])) / RATE_HZ
    phase += rng.uniform(0, 2 * np.pi)
    step = np.stack([np.sin(phase), np.sin(phase / 2), np.cos(phase) + 0.35 * np.cos(2 * phase + 0.6)], axis=1)
    sway = np.stack([np.sin(phase / 2 + 0.4), np.sin(phase + 1.0), np.sin(phase / 2)], axis=1)
    vigour = rng.uniform(0.7, 1.2)
    push = step * force * vigour + 0.25 * force * _wander(rng, n, 6.0)
    turn = (sway * vigour + 0.6 * _wander(rng, n, 1.2)) * swing
    return _movement(start + turn * _ease_in(n), push * np.minimum(_ease_in(n), _ease_in(n)[::-1]))


def _wander(rng: np.random.Generator, n: int, bandwidth_hz: float) -> Array:
    """Smooth noise of unit standard deviation with most of its power below ``bandwidth_hz``; shape ``(n, 3)``."""
    width = max(1, round(RATE_HZ / (2.5 * bandwidth_hz)))
    noise = rng.standard_normal((n + 4 * width, 3))
    for _ in range(2):
        noise = _smooth(noise, width)
    inner = noise[2 * width : 2 * width + n]
    # What two moving averages of this width leave of the deviation.
    left = np.sqrt((2 * width * width + 1) / (3 * width**3))
    wander: Array = inner / left
    return wander


def _smooth(x: Array, width: int) -> Array:
    """Centred moving average along time, edges held."""
    if width < 2:
        return x
    before = width // 2
    padded = np.concatenate([np.repeat(x[:1], before + 1, axis=0), x, np.repeat(x[-1:], width - before, axis=0)])
    total = np.cumsum(padded, axis=0)
    smooth: Array = (total[width : width + len(x)] - total[: len(x)]) / width
    return smooth


def _ease_in(n: int) -> Array:
    """0 to 1 in a quarter of a second, so that an activity begins where the last one ended; shape ``(n, 1)``."""
    return np.minimum(np.arange(n) / (0.25 * RATE_HZ), 1.0)[:, None]
