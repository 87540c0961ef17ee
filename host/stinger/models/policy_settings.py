"""What a policy is made of: thresholds, rates and times in integers, and how people say them.

`stinger.models.policy` defines what they do.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from stinger.errors import InputError, UsageError

#: Probability 1.
ONE = 32768
#: Rate of an envelope that follows at once.
RATE_ONE = 4096
_LONGEST_US = 60_000_000
#: Largest length of a vector of three int16 values.
_LARGEST_GATE = 56_755
#: Smallest and largest value of each field; `off` must not exceed `on` besides.
LIMITS: dict[str, tuple[int, int]] = {
    "attack": (1, RATE_ONE),
    "release": (1, RATE_ONE),
    "on": (1, ONE),
    "off": (1, ONE),
    "gate_lsb": (0, _LARGEST_GATE),
    "stale_us": (0, _LONGEST_US),
    "min_on_us": (0, _LONGEST_US),
    "period_us": (1, 10**9),
    "window": (2, 1024),
    "gyro": (0, 13),
    "positive": (0, 31),
}


@dataclass(frozen=True)
class Policy:
    """How probabilities become on and off; `stinger.models.policy` has the arithmetic.

    Attributes:
        attack: Share of the way the envelope rises per period, in 1/4096.
        release: Share of the way it falls, in 1/4096.
        on: Envelope from which it goes on, in 1/32768.
        off: Envelope below which it goes off, in 1/32768; at most ``on``.
        gate_lsb: Root mean square length of the gyroscope vector, in counts, below which a probability counts as 0;
            0 for no gate.
        stale_us: Age beyond which a probability counts as 0.
        min_on_us: Shortest time on.
        period_us: Sample period of the model it belongs to.
        window: Samples in that model's window.
        gyro: First of the three gyroscope channels; without meaning when there is no gate.
        positive: Index of the class it acts on.

    Raises:
        InputError: A value is out of range (`LIMITS`).
    """

    attack: int
    release: int
    on: int
    off: int
    gate_lsb: int = 0
    stale_us: int = 250_000
    min_on_us: int = 0
    period_us: int = 10_000
    window: int = 50
    gyro: int = 3
    positive: int = 1

    def __post_init__(self) -> None:
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise InputError(f"a policy's {name} must be a whole number from {low} to {high}, not {value!r}")
        if self.off > self.on:
            raise InputError(f"a policy's off ({self.off}) must not be above its on ({self.on})")

    @classmethod
    def stock(
        cls, threshold_percent: float = 50, *, window: int = 50, period_us: int = 10_000, gyro: int = 3
    ) -> Policy:
        """The idle policy of the blaster's own firmware, in its binary mode.

        Args:
            threshold_percent: The blaster's setting, 5 to 95.
            window: Samples in the model's window.
            period_us: The model's sample period; the firmware's rates are those of 100 updates a second, and are
                converted for another.
            gyro: First of the three gyroscope channels.

        Raises:
            UsageError: The blaster has no such setting.
        """
        if not 5 <= threshold_percent <= 95:
            raise UsageError(f"the blaster's threshold can be 5 to 95 percent, not {threshold_percent:g}")
        threshold = threshold_percent / 100
        updates = period_us / 10_000
        return cls(
            attack=_rate(1 - (1 - 0.18) ** updates),
            release=_rate(1 - (1 - 0.03) ** updates),
            on=round(threshold * ONE),
            off=round(min(threshold / 2, threshold - 0.01) * ONE),
            gate_lsb=60,
            stale_us=250_000,
            period_us=period_us,
            window=window,
            gyro=gyro,
        )

    @classmethod
    def from_ms(
        cls,
        *,
        on: float,
        off: float | None = None,
        rise_ms: float,
        fall_ms: float,
        gate: float = 0.0,
        gate_scale: float = 1.0,
        stale_ms: float = 250.0,
        min_on_ms: float = 0.0,
        period_us: int = 10_000,
        window: int = 50,
        gyro: int = 3,
        positive: int = 1,
    ) -> Policy:
        """Make a policy from quantities that people think in.

        Args:
            on: Envelope from which it goes on, 0 to 1.
            off: Envelope below which it goes off; half of ``on`` if not given.
            rise_ms: Time constant of the rising envelope: after it, 63 % of a step; 0 to follow at once.
            fall_ms: Time constant of the falling envelope.
            gate: Root mean square angular rate below which a probability counts as 0, in the gyroscope's unit.
            gate_scale: That unit per count (``Channel.scale``); 1 when ``gate`` is in counts.
            stale_ms: Age beyond which a probability counts as 0.
            min_on_ms: Shortest time on.
            period_us: Sample period of the model.
            window: Samples in its window.
            gyro: First of the three gyroscope channels.
            positive: Index of the class it acts on.

        Raises:
            InputError: A value is out of range.
        """
        given = (on, on if off is None else off, rise_ms, fall_ms, gate, gate_scale, stale_ms, min_on_ms)
        if not all(math.isfinite(value) for value in given) or min(rise_ms, fall_ms) < 0 or gate_scale <= 0:
            raise InputError("a policy's thresholds, times and gate must be finite, and its times not negative")
        return cls(
            attack=_rate(-math.expm1(-period_us / (1000 * rise_ms)) if rise_ms else 1.0),
            release=_rate(-math.expm1(-period_us / (1000 * fall_ms)) if fall_ms else 1.0),
            on=max(1, round(on * ONE)),
            off=max(1, round((on / 2 if off is None else off) * ONE)),
            gate_lsb=round(gate / gate_scale),
            stale_us=round(1000 * stale_ms),
            min_on_us=round(1000 * min_on_ms),
            period_us=period_us,
            window=window,
            gyro=gyro,
            positive=positive,
        )

    @property
    def gate_energy(self) -> int:
        """Motion energy (`motion_energy`) below which a probability counts as 0."""
        return self.gate_lsb**2 * self.window

    @property
    def rise_ms(self) -> float:
        """Time constant of the rising envelope in milliseconds."""
        return _time_constant(self.attack, self.period_us)

    @property
    def fall_ms(self) -> float:
        """Time constant of the falling envelope in milliseconds."""
        return _time_constant(self.release, self.period_us)

    def describe(self, gate_scale: float | None = None, gate_unit: str = "") -> str:
        """Say in one line what it does.

        Args:
            gate_scale: Angular rate of one count; without it the gate is told in counts.
            gate_unit: Its unit.
        """
        parts = [
            f"on at {self.on / ONE:.2f}",
            f"off at {self.off / ONE:.2f}",
            f"rises in {self.rise_ms:.0f} ms" if self.rise_ms else "rises at once",
            f"falls in {self.fall_ms:.0f} ms" if self.fall_ms else "falls at once",
        ]
        if self.min_on_us:
            parts.append(f"on for at least {self.min_on_us / 1000:.0f} ms")
        if self.gate_lsb:
            scaled = (
                f"{self.gate_lsb} counts" if gate_scale is None else f"{self.gate_lsb * gate_scale:.1f} {gate_unit}"
            )
            parts.append(f"still below {scaled.strip()}")
        parts.append(f"a probability counts for {self.stale_us / 1000:.0f} ms")
        return ", ".join(parts)

    def check_fits(self, *, window: int, period_us: int, channels: int, classes: int) -> None:
        """Make sure that it belongs to a model of this shape.

        Raises:
            InputError: It does not.
        """
        for name, own, of_model in (("window", self.window, window), ("period_us", self.period_us, period_us)):
            if own != of_model:
                raise InputError(f"the policy is for a model with {name} {own}, this one has {of_model}; tune it again")
        if self.gate_lsb and self.gyro + 3 > channels:
            raise InputError(f"the policy's gate needs channels up to {self.gyro + 2}, the model has {channels}")
        if self.positive >= classes:
            raise InputError(f"the policy acts on class {self.positive}, the model has {classes} classes")

    def to_json(self) -> dict[str, int]:
        """Return it as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Policy:
        """Read what `to_json` made.

        Raises:
            InputError: It is not exactly that.
        """
        names = {f.name for f in fields(cls)}
        if not isinstance(value, dict) or value.keys() != names:
            raise InputError(f"a policy must have exactly the fields {', '.join(sorted(names))}")
        return cls(**value)


def _rate(share: float) -> int:
    return min(RATE_ONE, max(1, round(share * RATE_ONE)))


def _time_constant(rate: int, period_us: int) -> float:
    return 0.0 if rate == RATE_ONE else -period_us / 1000 / math.log1p(-rate / RATE_ONE)
