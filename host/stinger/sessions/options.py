"""What a user can say about a recording that its file does not say itself."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from stinger.errors import UsageError
from stinger.sessions.pattern import compile_pattern

_UNIT_ITEM = re.compile(r"\s*([^=,\s][^=,]{0,63}?)\s*=\s*([^=,\s][^=,]{0,31}?)\s*")


@dataclass(frozen=True)
class ReadOptions:
    """How to read recordings; the default reads every format that describes itself.

    Attributes:
        rate_hz: Samples per second, for tables without a time column.
        units: Physical unit per channel (``ax``) or sensor (``acc``, ``gyro``, ``mag``), for tables whose header
            does not say.
        pattern: How file names spell label and subject, e.g. ``{label}.s{subject}_*.csv``; see `compile_pattern`.
        label_column: Column that holds the label; default: one that is called ``label``.
        subject_column: Column that holds who was recorded; default: one called ``subject`` or ``recorder``.
        scales: Physical value of one count per channel, for units without a resolution of their own; default:
            chosen from the data. A collection sets it, so that all its recordings have the same.
    """

    rate_hz: float | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    pattern: str | None = None
    label_column: str | None = None
    subject_column: str | None = None
    scales: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.rate_hz is not None and not (math.isfinite(self.rate_hz) and 0.001 <= self.rate_hz <= 100_000):
            raise UsageError(f"--rate must be 0.001 to 100000 Hz, is {self.rate_hz:g}")
        if self.pattern is not None:
            compile_pattern(self.pattern)


def parse_units(text: str | None) -> dict[str, str]:
    """Turn ``acc=g,gyro=rad/s`` into a mapping.

    Raises:
        UsageError: It is not a list of ``channel=unit``.
    """
    units: dict[str, str] = {}
    for item in (text or "").split(",") if text else []:
        match = _UNIT_ITEM.fullmatch(item)
        if match is None:
            raise UsageError(f"--units must look like acc=g,gyro=rad/s; {item[:40]!r} is not CHANNEL=UNIT")
        units[match[1]] = match[2]
    return units


def options_from_flags(
    *,
    rate: float | None = None,
    units: str | None = None,
    pattern: str | None = None,
    label_column: str | None = None,
    subject_column: str | None = None,
) -> ReadOptions:
    """Build the options from what a command line gives.

    Raises:
        UsageError: One of them cannot be meant.
    """
    return ReadOptions(
        rate_hz=rate,
        units=parse_units(units),
        pattern=pattern,
        label_column=label_column,
        subject_column=subject_column,
    )
