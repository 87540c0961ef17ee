"""What is wrong with real sensors: noise, hard and soft iron, bias, scale, and drift with temperature.

Levels are standard deviations; each device (each seed) draws its own errors from them, once, and carries them through
the recording. They are what is left after calibration, so a calibration that a plan states comes on top. Zero switches
any of them off.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from stinger.errors import UsageError

Array = NDArray[np.float64]

_LARGEST = 100.0
#: How fast electronics warm up, and how slowly a room changes.
_WARM_UP_S, _WANDER_S = 300.0, 120.0


@dataclass(frozen=True)
class Imperfections:
    """Levels of everything that is wrong with the sensors; the defaults are of a phone after its own calibration.

    Attributes:
        mag_noise: Noise of each magnetometer sample, in units of Earth's field.
        acc_noise: Noise of each accelerometer sample, in g.
        gyro_noise: Noise of each gyroscope sample, in rad/s.
        hard_iron: What magnetised parts of the device itself add to each axis, in units of Earth's field.
        soft_iron: How much the device's iron bends the field: each coefficient of the matrix.
        acc_bias: Offset of each accelerometer axis, in g.
        gyro_bias: Offset of each gyroscope axis, in rad/s.
        scale: Error of each accelerometer and gyroscope axis's scale.
        warming_k: How much the device warms up, in K; what drifts drifts with its temperature.
        mag_drift: Drift of each axis per K, in units of Earth's field.
        acc_drift: Drift of each axis per K, in g.
        gyro_drift: Drift of each axis per K, in rad/s.
    """

    mag_noise: float = 0.01
    acc_noise: float = 0.005
    gyro_noise: float = 0.003
    hard_iron: float = 0.006
    soft_iron: float = 0.004
    acc_bias: float = 0.02
    gyro_bias: float = 0.005
    scale: float = 0.005
    warming_k: float = 8.0
    mag_drift: float = 0.0003
    acc_drift: float = 0.0005
    gyro_drift: float = 0.0003

    def __post_init__(self) -> None:
        """Refuse levels that cannot be."""
        for name, value in asdict(self).items():
            if not 0 <= value <= _LARGEST:
                raise UsageError(f"--{name.replace('_', '-')} must be 0 to {_LARGEST:g}, is {value:g}")

    def scaled(self, factor: float) -> Imperfections:
        """Return all levels times a factor; 0 makes perfect sensors.

        Raises:
            UsageError: The factor is negative or makes a level too large.
        """
        if not 0 <= factor <= _LARGEST:
            raise UsageError(f"--noise must be 0 to {_LARGEST:g}, is {factor:g}")
        return replace(self, **{f.name: getattr(self, f.name) * factor for f in fields(self)})

    @property
    def perfect(self) -> bool:
        """Whether nothing is wrong."""
        return not any(asdict(self).values())


#: Sensors without error.
PERFECT = Imperfections().scaled(0.0)


@dataclass(frozen=True)
class Device:
    """The errors of one device, drawn once.

    Attributes:
        matrix: By sensor, what it makes of the truth, shape ``(3, 3)``.
        offset: By sensor, what it adds, shape ``(3,)``.
        drift: By sensor, what it adds per K, shape ``(3,)``.
        noise: By sensor, standard deviation of each sample.
        warming_k: How much it warms up.
    """

    matrix: dict[str, Array]
    offset: dict[str, Array]
    drift: dict[str, Array]
    noise: dict[str, float]
    warming_k: float

    def measure(self, sensor: str, truth: Array, warmth: Array, rng: np.random.Generator) -> Array:
        """Say what a sensor makes of the truth.

        Args:
            sensor: ``mag``, ``acc`` or ``gyro``.
            truth: Shape ``(n, 3)``.
            warmth: Temperature above the start in K, shape ``(n,)``.
            rng: Source of the noise.
        """
        noise = self.noise[sensor] * rng.standard_normal(truth.shape)
        drift = warmth[:, None] * self.drift[sensor]
        measured: Array = truth @ self.matrix[sensor].T + self.offset[sensor] + drift + noise
        return measured


def draw_device(levels: Imperfections, rng: np.random.Generator) -> Device:
    """Draw the errors of one device."""
    soft = levels.soft_iron * rng.standard_normal((3, 3))
    scales = levels.scale * rng.standard_normal((2, 3))
    return Device(
        # Soft iron is symmetric: what x does to y, y does to x.
        matrix={
            "mag": np.eye(3) + (soft + soft.T) / 2,
            "acc": np.eye(3) + np.diag(scales[0]),
            "gyro": np.eye(3) + np.diag(scales[1]),
        },
        offset={
            "mag": levels.hard_iron * rng.standard_normal(3),
            "acc": levels.acc_bias * rng.standard_normal(3),
            "gyro": levels.gyro_bias * rng.standard_normal(3),
        },
        drift={
            "mag": levels.mag_drift * rng.standard_normal(3),
            "acc": levels.acc_drift * rng.standard_normal(3),
            "gyro": levels.gyro_drift * rng.standard_normal(3),
        },
        noise={"mag": levels.mag_noise, "acc": levels.acc_noise, "gyro": levels.gyro_noise},
        warming_k=levels.warming_k,
    )


def warmth(device: Device, seconds: Array, rng: np.random.Generator) -> Array:
    """Temperature above the start: electronics warm up, and a hand or a draught comes and goes.

    Args:
        device: Whose.
        seconds: Since the start, shape ``(n,)``.
        rng: Source of what differs each time.
    """
    phase = rng.uniform(0, 2 * np.pi)
    wander = np.sin(2 * np.pi * seconds / _WANDER_S + phase) - np.sin(phase)
    above: Array = device.warming_k * (1 - np.exp(-seconds / _WARM_UP_S) + 0.1 * wander)
    return above
