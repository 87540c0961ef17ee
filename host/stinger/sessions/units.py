"""Units of motion and magnetic field, and the value of one count in each; for motion the Stinger's own resolution."""

from __future__ import annotations

import math
from collections.abc import Mapping

ACCELERATION_COUNTS = 2048  # per g
ROTATION_COUNTS = 16.4  # per degree per second
_STANDARD_GRAVITY = 9.80665

#: Unit as files spell it (lower case) -> (our name, physical value of one count).
UNITS: Mapping[str, tuple[str, float]] = {
    "m/s2": ("m/s^2", _STANDARD_GRAVITY / ACCELERATION_COUNTS),
    "m/s^2": ("m/s^2", _STANDARD_GRAVITY / ACCELERATION_COUNTS),
    "g": ("g", 1 / ACCELERATION_COUNTS),
    "deg/s": ("deg/s", 1 / ROTATION_COUNTS),
    "dps": ("deg/s", 1 / ROTATION_COUNTS),
    "rad/s": ("rad/s", math.radians(1) / ROTATION_COUNTS),
    "ut": ("uT", 1 / 16),
}
