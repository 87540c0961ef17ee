"""Recordings of a device that is turned in a distorted magnetic field, by a motion plan.

Each segment takes ``n = int(duration · rate)`` samples. A sample turns the pose by the segment's roll, pitch and yaw
divided by ``n``, then the sensors see: gravity ``(0, 0, 1)`` in g; the field ``(0, 1, 0)`` in units of the undistorted
field plus the segment's world vector × 0.2 (low) or × 1 (high); and the turning, ``2 · step.xyz / dt`` in rad/s. What
they read is ``matrix⁻¹ · truth + bias`` of the plan's calibration, of what an imperfect device makes of the truth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.sessions.mcap_format.labels import label_of_whole
from stinger.sessions.mcap_format.quantities import choose_channels, quantise
from stinger.sessions.mcap_format.tables import LARGEST, Table
from stinger.sessions.options import ReadOptions
from stinger.sessions.session import Channel, Event, Session
from stinger.synth.imperfections import Imperfections, draw_device, warmth
from stinger.synth.motion_plan import SENSORS, MotionPlan
from stinger.synth.quaternions import Array, cumulative, from_rpy, into_frame

#: How much of a segment's world vector is felt, by level.
FACTORS: Mapping[str, float] = {"none": 0.0, "low": 0.2, "high": 1.0}
GRAVITY, FIELD = (0.0, 0.0, 1.0), (0.0, 1.0, 0.0)
#: Digits after the point: a double's, where values are exact, and below any noise where they are not.
_EXACT, _NOISY = 16, 8
#: Seeds of a recording's parts: what is drawn for one must not move the others.
_PLAN_STREAM, _DEVICE_STREAM, _NOISE_STREAM = 0, 1, 2


@dataclass(frozen=True)
class MagneticRecording:
    """What was generated.

    Attributes:
        session: The raw readings as counts, with labels: what reading the file gives.
        times_ns: Time of each sample in nanoseconds, int64, shape ``(n,)``.
        topics: By topic ``pose_truth``, ``mag_truth``, ``acc_truth``, ``gyro_truth``, ``pose``, ``mag_raw``,
            ``acc_raw`` and ``gyro_raw``: values of shape ``(n, 4)`` for poses ``w x y z``, else ``(n, 3)``.
        starts: First sample of each segment of the plan.
        decimals: By topic, how many digits after the point its values need.
    """

    session: Session
    times_ns: NDArray[np.int64]
    topics: Mapping[str, Array]
    starts: tuple[int, ...]
    decimals: Mapping[str, int]

    def tables(self) -> list[Table]:
        """Return the topics as they are written."""
        return [Table(topic, values, self.decimals[topic]) for topic, values in self.topics.items()]


def streams(seed: int) -> tuple[np.random.Generator, np.random.Generator, np.random.Generator]:
    """Sources of randomness of a seed: for the plan, the device's errors, and the noise."""
    parts = (_PLAN_STREAM, _DEVICE_STREAM, _NOISE_STREAM)
    plan, device, noise = (np.random.default_rng([seed, part]) for part in parts)
    return plan, device, noise


def segment_samples(plan: MotionPlan, *, reference_timing: bool = False) -> tuple[list[int], list[int]]:
    """Say how many samples each segment has, and over how many its turn is spread.

    Args:
        plan: The motion.
        reference_timing: Let a segment run while a sample's time is before its end, as earlier generators do. The
            step is whole nanoseconds, so at a rate that divides no second a segment overshoots by a sample, and turns
            farther than it says.
    """
    steps = [int(s.duration_s * plan.sample_rate_hz) for s in plan.segments]
    if reference_timing:
        return [max(1, math.ceil(s.duration_s * 1e9 / plan.step_ns)) for s in plan.segments], [max(1, n) for n in steps]
    # A duration such as 0.29 s is a little less than 29 samples of 100 Hz in floating point.
    whole = [max(1, int(s.duration_s * plan.sample_rate_hz + 1e-6)) for s in plan.segments]
    return whole, whole


def generate(
    plan: MotionPlan,
    imperfections: Imperfections,
    *,
    name: str,
    seed: int = 1,
    reference_timing: bool = False,
) -> MagneticRecording:
    """Move a device as planned and record what it reads.

    Args:
        plan: The motion and the distortion.
        imperfections: What is wrong with the device; `PERFECT` gives the plan's arithmetic and nothing else.
        name: Of the recording.
        seed: Of the device's errors and its noise.
        reference_timing: See `segment_samples`.

    Raises:
        InputError: The plan makes values that no recording holds, or a single sample.
    """
    counts, spread = segment_samples(plan, reference_timing=reference_timing)
    total = sum(counts)
    if total < 2:
        raise InputError(f"{name}: the plan makes a single sample; make it longer")
    times_ns = plan.start_ns + np.arange(total, dtype=np.int64) * plan.step_ns
    truth = _truth(plan, counts, spread)
    readings = _readings(plan, truth, imperfections, (times_ns - plan.start_ns) / 1e9, seed)
    topics = {**truth, **readings}
    for topic, values in topics.items():
        largest = float(np.abs(values).max())
        if not largest < LARGEST:
            raise InputError(f"{name}: {topic} reaches {largest:.3g}, at most {LARGEST:g} can be recorded; correct it")
    noisy = () if imperfections.perfect else ("pose", *(f"{sensor}_raw" for sensor in SENSORS))
    starts = tuple(int(start) for start in np.cumsum([0, *counts[:-1]]))
    return MagneticRecording(
        session=_session(plan, topics, times_ns, starts, name),
        times_ns=times_ns,
        topics=topics,
        starts=starts,
        decimals={topic: _NOISY if topic in noisy else _EXACT for topic in topics},
    )


def _truth(plan: MotionPlan, counts: list[int], spread: list[int]) -> dict[str, Array]:
    turns = np.array([s.rpy_degrees for s in plan.segments]) / np.array(spread)[:, None]
    steps = np.repeat(from_rpy(turns), counts, axis=0)
    poses = cumulative(np.array(plan.rotation), steps)
    world = np.array([np.array(s.world) * FACTORS[s.level] for s in plan.segments])
    field = np.repeat(np.array(FIELD) + world, counts, axis=0)
    return {
        "pose_truth": poses,
        "mag_truth": into_frame(poses, field),
        "acc_truth": into_frame(poses, np.array(GRAVITY)),
        "gyro_truth": 2 * steps[:, 1:] / (plan.step_ns / 1e9),
    }


def _readings(
    plan: MotionPlan, truth: Mapping[str, Array], levels: Imperfections, seconds: Array, seed: int
) -> dict[str, Array]:
    """Raw readings, and the pose that the device makes of its gyroscope."""
    measured = {sensor: truth[f"{sensor}_truth"] for sensor in SENSORS}
    pose = truth["pose_truth"]
    if not levels.perfect:
        _, device_rng, rng = streams(seed)
        device = draw_device(levels, device_rng)
        warm = warmth(device, seconds, rng)
        measured = {sensor: device.measure(sensor, measured[sensor], warm, rng) for sensor in SENSORS}
        pose = cumulative(np.array(plan.rotation), _steps(measured["gyro"], plan.step_ns / 1e9))
    raw = {f"{sensor}_raw": plan.calibration(sensor).raw(measured[sensor]) for sensor in SENSORS}
    if not levels.perfect:
        # What is written is what is read: counts are of these digits.
        raw = {topic: np.round(values, _NOISY) for topic, values in raw.items()}
    return {"pose": pose, **raw}


def _steps(rates: Array, dt: float) -> Array:
    """Turn angular rates into one step's rotations, the inverse of ``2 · step.xyz / dt``."""
    imaginary = rates * dt / 2
    length = np.linalg.norm(imaginary, axis=1, keepdims=True)
    imaginary = imaginary / np.maximum(length, 1.0)
    real = np.sqrt(np.maximum(0.0, 1 - (imaginary * imaginary).sum(axis=1, keepdims=True)))
    return np.hstack([real, imaginary])


def _session(
    plan: MotionPlan, topics: Mapping[str, Array], times_ns: NDArray[np.int64], starts: tuple[int, ...], name: str
) -> Session:
    t_us = times_ns // 1000
    period_us = max(1, round(plan.step_ns / 1000))
    ends_ns = [*(int(times_ns[start]) for start in starts[1:]), int(times_ns[-1]) + plan.step_ns]
    events = tuple(
        Event(int(times_ns[start]) // 1000, end // 1000, segment.level)
        for start, end, segment in zip(starts, ends_ns, plan.segments, strict=True)
    )
    channels: list[Channel] = []
    counts = []
    for sensor in SENSORS:
        mine = fitting_channels(f"{sensor}_raw", topics[f"{sensor}_raw"], name)
        counts.append(quantise(topics[f"{sensor}_raw"], mine)[0])
        channels += mine
    mute = [s.name for s in plan.segments if s.level != "none" and not any(s.world)]
    faults = (f"{len(mute)} segments are labelled distorted and have no world vector: they distort nothing",)
    return Session(
        name=name,
        t_us=t_us,
        samples=np.hstack(counts),
        channels=tuple(channels),
        period_us=period_us,
        label=label_of_whole(events, int(t_us[0]), int(t_us[-1]), period_us),
        events=events,
        faults=faults if mute else (),
    )


def fitting_channels(topic: str, values: Array, where: str) -> tuple[Channel, ...]:
    """Choose unit and scale of a topic as its reader does, but coarser where int16 would clip.

    Recordings of ordinary motion all get the same scale; one that swings beyond says so in its own.
    """
    channels = choose_channels(topic, values, ReadOptions(), where)
    largest = float(np.abs(values).max(initial=0))
    factor = 1
    while largest > 32766 * channels[0].scale * factor:
        factor *= 2
    return tuple(Channel(c.name, c.unit, c.scale * factor) for c in channels)
