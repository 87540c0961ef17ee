"""Motion plans: how a device with magnetometer, accelerometer and gyroscope is turned, and what distorts the field.

A plan is JSON::

    {"initialization": {
        "pose": {"origin": {"lat", "lng", "height"}, "position": {"x", "y", "z"}, "rotation": {"w", "x", "y", "z"}},
        "start_time_ns", "sample_rate",
        "mag": {"calibration": {"bias": {"x", "y", "z"}, "matrix": [[...], [...], [...]]}}, "acc": ..., "gyro": ...},
     "segments": [{"name", "duration_s", "rotation_rpy_degrees": {"roll", "pitch", "yaw"},
        "mag_distortion": {"level": "none" | "low" | "high", "world_x", "world_y", "world_z"}}]}

``origin``, ``position``, ``start_time_ns``, the calibrations and the world vector may be left out. Anything else that
is missing, unknown or out of bounds is refused by its place in the file, e.g. ``segments[3].duration_s``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.files import read_bytes
from stinger.sessions.mcap_format.about import is_one_line
from stinger.sessions.mcap_format.labels import LEVELS

MAX_BYTES = 4 << 20
MAX_SEGMENTS = 10_000
#: Five and a half hours at 100 Hz.
MAX_SAMPLES = 2_000_000
MIN_RATE_HZ, MAX_RATE_HZ = 1.0, 10_000.0
_MAX_START_NS = 1 << 62
_MAX_DEGREES = 1e6
_MAX_BIAS = 1000.0
_MAX_WORLD = 100.0
_MAX_NAME = 64
SENSORS = ("mag", "acc", "gyro")
_ADVICE = "correct the plan"


@dataclass(frozen=True)
class Calibration:
    """What takes a raw reading to the truth: ``truth = matrix · (raw - bias)``."""

    bias: tuple[float, float, float] = (0.0, 0.0, 0.0)
    matrix: tuple[tuple[float, float, float], ...] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))

    def raw(self, truth: NDArray[np.float64]) -> NDArray[np.float64]:
        """Say what a sensor of this calibration reads of the truth, shape ``(n, 3)``: ``matrix⁻¹ · truth + bias``."""
        read: NDArray[np.float64] = truth @ np.linalg.inv(np.array(self.matrix)).T + np.array(self.bias)
        return read

    def truth(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrate readings, the inverse of `raw`."""
        calibrated: NDArray[np.float64] = (raw - np.array(self.bias)) @ np.array(self.matrix).T
        return calibrated

    def to_json(self) -> dict[str, Any]:
        """Return it as a plan spells it."""
        return {"calibration": {"bias": _named("xyz", self.bias), "matrix": [list(row) for row in self.matrix]}}


@dataclass(frozen=True)
class Segment:
    """One turn at constant speed, in one magnetic field.

    Attributes:
        name: What it is called.
        duration_s: How long it takes.
        rpy_degrees: Roll, pitch and yaw of the whole turn.
        level: Distortion, one of `LEVELS`.
        world: What distorts the field, in world axes and units of the undistorted field, before the level's factor.
    """

    name: str
    duration_s: float
    rpy_degrees: tuple[float, float, float]
    level: str = "none"
    world: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def to_json(self) -> dict[str, Any]:
        """Return it as a plan spells it."""
        return {
            "name": self.name,
            "duration_s": self.duration_s,
            "rotation_rpy_degrees": _named(("roll", "pitch", "yaw"), self.rpy_degrees),
            "mag_distortion": {"level": self.level} | _named(("world_x", "world_y", "world_z"), self.world),
        }


@dataclass(frozen=True)
class MotionPlan:
    """A whole motion.

    Attributes:
        sample_rate_hz: Samples per second.
        segments: One after another, at least one.
        rotation: Pose before the first step, a unit quaternion ``(w, x, y, z)``.
        start_ns: Time of the first sample.
        calibrations: By sensor, one of `SENSORS`; those left out need none.
        origin: Latitude, longitude and height; only carried along.
        position: In metres from the origin; only carried along.
    """

    sample_rate_hz: float
    segments: tuple[Segment, ...]
    rotation: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    start_ns: int = 0
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def step_ns(self) -> int:
        """Nanoseconds from sample to sample."""
        return int(1e9 / self.sample_rate_hz)

    def calibration(self, sensor: str) -> Calibration:
        """Return the calibration of one of `SENSORS`."""
        return self.calibrations.get(sensor, Calibration())

    def to_json(self) -> dict[str, Any]:
        """Return it in plain JSON values, as `read_plan` reads it."""
        pose = {
            "origin": _named(("lat", "lng", "height"), self.origin),
            "position": _named("xyz", self.position),
            "rotation": _named("wxyz", self.rotation),
        }
        initialization = {"pose": pose, "start_time_ns": self.start_ns, "sample_rate": self.sample_rate_hz}
        initialization |= {sensor: self.calibration(sensor).to_json() for sensor in SENSORS}
        return {"initialization": initialization, "segments": [segment.to_json() for segment in self.segments]}


def read_plan(path: Path) -> MotionPlan:
    """Read a motion plan.

    Raises:
        InputError: The file is missing, too large, not JSON, or something in it is not what it must be.
    """
    return parse_plan(read_bytes(path, MAX_BYTES, "give a motion plan in JSON"), path.name)


def parse_plan(data: bytes, name: str) -> MotionPlan:
    """Turn the text of a plan into a plan; see `read_plan`."""
    try:
        content = json.loads(data.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} is not valid JSON ({' '.join(str(error).split())[:100]}); {_ADVICE}") from error
    try:
        return _plan(content)
    except _WrongError as error:
        raise InputError(f"{name}: {error}; {_ADVICE}") from error


class _WrongError(Exception):
    """Something in the plan is wrong; the message says what and where."""


def _plan(content: Any) -> MotionPlan:
    top = _object(content, "the plan", ("initialization", "segments"))
    first = _object(
        top["initialization"], "initialization", ("pose", "sample_rate"), optional=("start_time_ns", *SENSORS)
    )
    pose = _object(first["pose"], "initialization.pose", ("rotation",), optional=("origin", "position"))
    rotation = np.array(_vector(pose["rotation"], "initialization.pose.rotation", "wxyz", 2.0))
    length = float(np.linalg.norm(rotation))
    if abs(length - 1) > 1e-3:
        raise _WrongError(f"initialization.pose.rotation has length {length:.6g}, a rotation has 1")
    start = first.get("start_time_ns", 0)
    if type(start) is not int or not 0 <= start <= _MAX_START_NS:
        raise _WrongError(f"initialization.start_time_ns must be whole nanoseconds from 0 to {_MAX_START_NS}")
    entries = top["segments"]
    if type(entries) is not list or not 1 <= len(entries) <= MAX_SEGMENTS:
        raise _WrongError(f"segments must be a list of 1 to {MAX_SEGMENTS} segments")
    rate = _number(first["sample_rate"], "initialization.sample_rate", MIN_RATE_HZ, MAX_RATE_HZ)
    plan = MotionPlan(
        sample_rate_hz=rate,
        segments=tuple(_segment(entry, f"segments[{index}]", rate) for index, entry in enumerate(entries)),
        rotation=tuple((rotation / length).tolist()) if length != 1 else tuple(rotation.tolist()),
        start_ns=start,
        calibrations={
            sensor: _calibration(first[sensor], f"initialization.{sensor}") for sensor in SENSORS if sensor in first
        },
        origin=_vector(pose.get("origin"), "initialization.pose.origin", ("lat", "lng", "height"), 1e5, missing=0.0),
        position=_vector(pose.get("position"), "initialization.pose.position", "xyz", 1e6, missing=0.0),
    )
    seconds = sum(segment.duration_s for segment in plan.segments)
    if seconds * rate > MAX_SAMPLES:
        raise _WrongError(f"segments take {seconds:,.0f} s, at {rate:g} Hz more than {MAX_SAMPLES:,} samples")
    return plan


def _segment(entry: Any, where: str, rate: float) -> Segment:
    values = _object(entry, where, ("name", "duration_s", "rotation_rpy_degrees", "mag_distortion"))
    name = values["name"]
    if type(name) is not str or len(name) > _MAX_NAME or not is_one_line(name):
        raise _WrongError(f"{where}.name must be a text of one line and at most {_MAX_NAME} characters")
    distortion = _object(
        values["mag_distortion"],
        f"{where}.mag_distortion",
        ("level",),
        optional=("world_x", "world_y", "world_z"),
    )
    level = distortion.pop("level")
    if level not in LEVELS:
        raise _WrongError(f"{where}.mag_distortion.level is {_shown(level)}, known are {', '.join(LEVELS)}")
    return Segment(
        name=name,
        duration_s=_number(values["duration_s"], f"{where}.duration_s", 1 / rate, MAX_SAMPLES / rate),
        rpy_degrees=_vector(
            values["rotation_rpy_degrees"], f"{where}.rotation_rpy_degrees", ("roll", "pitch", "yaw"), _MAX_DEGREES
        ),
        level=level,
        world=_vector(
            distortion, f"{where}.mag_distortion", ("world_x", "world_y", "world_z"), _MAX_WORLD, missing=0.0
        ),
    )


def _calibration(entry: Any, where: str) -> Calibration:
    values = _object(entry, where, ("calibration",))
    where = f"{where}.calibration"
    parts = _object(values["calibration"], where, ("bias", "matrix"))
    rows = parts["matrix"]
    if type(rows) is not list or len(rows) != 3 or any(type(row) is not list or len(row) != 3 for row in rows):
        raise _WrongError(f"{where}.matrix must be three rows of three numbers")
    matrix = tuple(
        tuple(_number(cell, f"{where}.matrix[{i}][{j}]", -1e3, 1e3) for j, cell in enumerate(row))
        for i, row in enumerate(rows)
    )
    # A matrix that nearly loses a direction makes readings out of nothing but rounding.
    if not np.linalg.cond(np.array(matrix)) < 1e6:
        raise _WrongError(f"{where}.matrix has no inverse, or hardly one")
    return Calibration(_vector(parts["bias"], f"{where}.bias", "xyz", _MAX_BIAS), matrix)  # type: ignore[arg-type]


def _object(value: Any, where: str, required: tuple[str, ...], *, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _WrongError(f"{where} must be an object")
    missing = [key for key in required if key not in value]
    if missing:
        raise _WrongError(f"{where} lacks {', '.join(missing)}")
    unknown = [key for key in value if key not in required and key not in optional]
    if unknown:
        raise _WrongError(f"{where} has {unknown[0]!r:.40}, known are {', '.join((*required, *optional))}")
    return dict(value)


def _vector(
    value: Any, where: str, names: str | tuple[str, ...], largest: float, *, missing: float | None = None
) -> tuple[Any, ...]:
    keys = tuple(names)
    if value is None and missing is not None:
        return (missing,) * len(keys)
    parts = _object(value, where, () if missing is not None else keys, optional=keys)
    return tuple(_number(parts.get(key, missing), f"{where}.{key}", -largest, largest) for key in keys)


def _number(value: Any, where: str, lowest: float, highest: float) -> float:
    if type(value) not in (int, float) or not lowest <= value <= highest:
        raise _WrongError(f"{where} must be a number from {lowest:g} to {highest:g}, is {_shown(value)}")
    return float(value)


def _shown(value: Any) -> str:
    """Show a value in a message; of a list or object, which may be deep, only what it is."""
    return f"{value!r:.40}" if isinstance(value, str | int | float) else type(value).__name__


def _named(names: str | tuple[str, ...], values: tuple[float, ...]) -> dict[str, Any]:
    return dict(zip(names, values, strict=True))


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")
