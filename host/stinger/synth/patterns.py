"""Ready motion plans: how a device is moved, and how strongly the field around it is distorted.

A distorted segment gets a world vector of length 1 in a random direction, as if it lay beside a magnet or a piece of
iron; the level says how much of it is felt. Without one, a level would be a label that says nothing.
"""

from __future__ import annotations

import numpy as np

from stinger.errors import UsageError
from stinger.sessions.mcap_format.labels import LEVELS
from stinger.synth.motion_plan import MAX_RATE_HZ, MAX_SAMPLES, MIN_RATE_HZ, MotionPlan, Segment

PATTERNS = ("simple", "complex", "stationary")
DISTORTIONS = (*LEVELS, "mixed")
#: Length of a segment, about.
SEGMENT_S = 5.0
_AXES = ("roll", "pitch", "yaw")


def pattern_plan(
    pattern: str, distortion: str, duration_s: float, sample_rate_hz: float, rng: np.random.Generator
) -> MotionPlan:
    """Make a plan.

    Args:
        pattern: ``simple`` turns about one axis at a time, ``complex`` about all, ``stationary`` not at all.
        distortion: A level, or ``mixed``: all three, equally often, in random order.
        duration_s: How long it takes.
        sample_rate_hz: Samples per second.
        rng: Source of turns, levels and directions.

    Raises:
        UsageError: An unknown pattern or distortion, an impossible rate, or a length that makes too few samples or
            too many.
    """
    if pattern not in PATTERNS:
        raise UsageError(f"--pattern {pattern!r} is unknown; choose {', '.join(PATTERNS)}")
    if distortion not in DISTORTIONS:
        raise UsageError(f"--distortion {distortion!r} is unknown; choose {', '.join(DISTORTIONS)}")
    if not MIN_RATE_HZ <= sample_rate_hz <= MAX_RATE_HZ:
        raise UsageError(f"--sample-rate must be {MIN_RATE_HZ:g} to {MAX_RATE_HZ:,.0f} Hz, is {sample_rate_hz:g}")
    samples = duration_s * sample_rate_hz
    if not 8 * len(LEVELS) <= samples <= MAX_SAMPLES:
        raise UsageError(
            f"--duration {duration_s:g} s at {sample_rate_hz:g} Hz is {samples:,.0f} samples; "
            f"make {8 * len(LEVELS)} to {MAX_SAMPLES:,}"
        )
    # Multiples of three, so that every level comes equally often.
    number = len(LEVELS) * max(1, round(duration_s / (len(LEVELS) * SEGMENT_S)))
    levels = [distortion] * number if distortion != "mixed" else _shuffled(number, rng)
    samples_each = np.diff(np.rint(np.linspace(0, round(samples), number + 1)))
    segments = []
    for index, (level, n) in enumerate(zip(levels, samples_each.tolist(), strict=True)):
        name, turn = _turn(pattern, n / sample_rate_hz, rng)
        direction = rng.standard_normal(3)
        world = (direction / np.linalg.norm(direction)).tolist() if level != "none" else [0.0, 0.0, 0.0]
        segments.append(Segment(f"{index + 1} {name}", n / sample_rate_hz, turn, level, (world[0], world[1], world[2])))
    start = rng.standard_normal(4)
    w, x, y, z = (start / np.linalg.norm(start)).tolist()
    return MotionPlan(sample_rate_hz=sample_rate_hz, segments=tuple(segments), rotation=(w, x, y, z))


def _shuffled(number: int, rng: np.random.Generator) -> list[str]:
    """Levels in blocks of one each, never one twice running, so that a change of the field is a change of label."""
    levels: list[int] = []
    for _ in range(number // len(LEVELS)):
        block = rng.permutation(len(LEVELS)).tolist()
        levels += block[1:] + block[:1] if levels and levels[-1] == block[0] else block
    return [LEVELS[level] for level in levels]


def _turn(pattern: str, seconds: float, rng: np.random.Generator) -> tuple[str, tuple[float, float, float]]:
    """Name of a segment, and its roll, pitch and yaw: hands turn things at some tens of degrees a second."""
    if pattern == "stationary":
        return "still", (0.0, 0.0, 0.0)
    if pattern == "simple":
        axis = int(rng.integers(3))
        angle = float(rng.choice([-1.0, 1.0]) * rng.uniform(15, 60) * seconds)
        roll, pitch, yaw = (angle if axis == i else 0.0 for i in range(3))
        return _AXES[axis], (roll, pitch, yaw)
    roll, pitch, yaw = (rng.uniform(-60, 60, 3) * seconds).tolist()
    return "turn", (roll, pitch, yaw)
