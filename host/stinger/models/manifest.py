"""A manifest's text back to a `ModelSpec`: every field checked, since the file may be a stranger's.

Version 1 is what was written before there were policies, thresholds and floating-point features. What it lacks has
`ModelSpec`'s defaults, so version 1 is read as version 2 is.
"""

from __future__ import annotations

import math
import re
from typing import Any

from stinger.errors import InputError, UsageError
from stinger.features.sets import FEATURE_SETS
from stinger.models.families import FAMILIES
from stinger.models.policy import Policy
from stinger.models.spec import ModelSpec
from stinger.sessions.session import Channel

#: Most recordings that a model can say it was trained on.
MAX_RECORDINGS = 2**16
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,47}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LONGEST_US = 10**9


class _Fields:
    """Takes checked values out of a JSON object; the first that is wrong raises `InputError` naming it."""

    def __init__(self, value: Any, where: str) -> None:
        self.value = value
        self.where = where
        if not isinstance(value, dict):
            raise InputError(f"{where}: no spec; save the model again")

    def _refuse(self, key: str, rule: str) -> InputError:
        return InputError(f"{self.where}: {key} must be {rule}; save the model again")

    def integer(self, key: str, low: int, high: int) -> int:
        value = self.value.get(key)
        if type(value) is not int or not low <= value <= high:
            raise self._refuse(key, f"a whole number from {low} to {high}")
        return value

    def text(self, key: str, rule: str, pattern: re.Pattern[str] | None = None) -> str:
        value = self.value.get(key)
        if not _is_name(value) or (pattern and not pattern.fullmatch(value)):
            raise self._refuse(key, rule)
        return str(value)

    def unit(self, key: str) -> str:
        # Not every recording states its units.
        return "" if self.value.get(key) == "" else self.text(key, "a short printable name")

    def choice(self, key: str, known: tuple[str, ...]) -> str:
        value = self.value.get(key)
        if value not in known:
            raise self._refuse(key, f"one of {', '.join(known)}")
        return str(value)

    def names(self, key: str, low: int, high: int) -> tuple[str, ...]:
        value = self.value.get(key)
        if not isinstance(value, list) or not low <= len(value) <= high or not all(map(_is_name, value)):
            raise self._refuse(key, f"{low} to {high} short printable names")
        if len(set(value)) != len(value):
            raise self._refuse(key, "different names")
        return tuple(value)

    def scale(self, key: str) -> float:
        value = self.value.get(key)
        if type(value) not in (int, float) or not math.isfinite(value) or value <= 0:
            raise self._refuse(key, "a positive number")
        return float(value)

    def share(self, key: str, absent: float) -> float:
        value = self.value.get(key, absent)
        if type(value) not in (int, float) or not 0 <= value <= 1:
            raise self._refuse(key, "a number from 0 to 1")
        return float(value)

    def hashes(self, key: str, high: int) -> tuple[str, ...]:
        value = self.value.get(key, [])
        if not isinstance(value, list) or len(value) > high or not all(map(_is_sha256, value)):
            raise self._refuse(key, f"at most {high} SHA-256 in hex")
        return tuple(value)

    def mapping(self, key: str) -> dict[str, Any]:
        value = self.value.get(key)
        if not isinstance(value, dict) or len(value) > 64 or not all(map(_is_name, value)):
            raise self._refuse(key, "at most 64 named values")
        return value


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 64 and value.isprintable()


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def read_spec(value: Any, where: str) -> ModelSpec:
    """Check a manifest's spec and return it.

    Args:
        value: The JSON value.
        where: What to call the manifest in messages.

    Raises:
        InputError: A field is missing, out of range or contradicts another.
    """
    fields = _Fields(value, where)
    channels = value.get("channels")
    if not isinstance(channels, list) or not 1 <= len(channels) <= 16:
        raise InputError(f"{where}: channels must be 1 to 16 channels; save the model again")
    metrics = fields.mapping("metrics")
    if any(type(m) not in (int, float) or not math.isfinite(m) for m in metrics.values()):
        raise InputError(f"{where}: metrics must be finite numbers; save the model again")
    spec = ModelSpec(
        name=fields.text("name", "a C identifier of at most 48 characters", _IDENTIFIER),
        family=fields.choice("family", tuple(FAMILIES)),
        features=fields.choice("features", FEATURE_SETS),
        window=fields.integer("window", 2, 1024),
        period_us=fields.integer("period_us", 1, _LONGEST_US),
        lead_us=fields.integer("lead_us", 0, _LONGEST_US),
        channels=tuple(_channel(channel, where) for channel in channels),
        classes=fields.names("classes", 2, 32),
        seed=fields.integer("seed", 0, 2**32 - 1),
        data_hash=fields.text("data_hash", "a SHA-256 in hex", _SHA256),
        options=fields.mapping("options"),
        metrics=metrics,
        policy=_policy(value.get("policy"), where),
        threshold=fields.share("threshold", 0.5),
        trained_on=fields.hashes("trained_on", MAX_RECORDINGS),
    )
    names = [channel.name for channel in spec.channels]
    if len(set(names)) != len(names):
        raise InputError(f"{where}: channels must have different names; save the model again")
    try:
        FAMILIES[spec.family].check_features(spec.features)
        _ = spec.feature_set
        if spec.policy is not None:
            spec.policy.check_fits(
                window=spec.window,
                period_us=spec.period_us,
                channels=len(spec.channels),
                classes=len(spec.classes),
            )
    except (UsageError, InputError) as error:
        raise InputError(f"{where}: {error}") from error
    return spec


def _policy(value: Any, where: str) -> Policy | None:
    if value is None:
        return None
    try:
        return Policy.from_json(value)
    except InputError as error:
        raise InputError(f"{where}: {error}; save the model again") from error


def _channel(value: Any, where: str) -> Channel:
    fields = _Fields(value, f"{where}: a channel")
    return Channel(
        fields.text("name", "a short printable name"),
        fields.unit("unit"),
        fields.scale("scale"),
    )
