"""The one type every recording becomes, whatever file it came from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError


@dataclass(frozen=True)
class Channel:
    """One measured quantity, stored as int16 counts.

    Attributes:
        name: Short name, e.g. ``ax``.
        unit: Physical unit after scaling, e.g. ``g`` or ``deg/s``.
        scale: Physical value of one count; ``physical = count * scale``.
    """

    name: str
    unit: str
    scale: float


#: The Stinger's own channels: BMI270 at +-16 g and +-2000 deg/s.
STINGER_CHANNELS = (
    *(Channel(name, "g", 1 / 2048) for name in ("ax", "ay", "az")),
    *(Channel(name, "deg/s", 1 / 16.4) for name in ("gx", "gy", "gz")),
)


def starts_after_gap(t_us: NDArray[np.int64], period_us: int) -> NDArray[np.bool_]:
    """Mark samples that do not follow their predecessor by one period.

    The rule is the device's own (``stinger_stream_push`` in ``stinger_ml.h``): a step longer than one and a
    half periods, or one that does not go forward, breaks the window. The very first sample starts a stretch.

    Args:
        t_us: Timestamps in microseconds, shape ``(n,)``.
        period_us: Nominal sample period in microseconds.

    Returns:
        Boolean array of shape ``(n,)``.
    """
    gap = np.ones(len(t_us), dtype=np.bool_)
    if len(t_us) > 1:
        step = np.diff(t_us)
        gap[1:] = (step <= 0) | (2 * step > 3 * period_us)
    return gap


@dataclass(frozen=True)
class Event:
    """Something that lasted from one moment to another: a label somebody set, a prediction, a mark.

    Attributes:
        start_us: Device time of its beginning, on the session's clock.
        end_us: Device time of its end; equal to ``start_us`` for a moment.
        label: What it says.
        kind: Where it comes from: ``label``, ``prediction`` or ``mark``.
    """

    start_us: int
    end_us: int
    label: str
    kind: str = "label"


@dataclass(frozen=True)
class Session:
    """One recording.

    Attributes:
        name: Where it came from, for messages and reports.
        t_us: Device time in microseconds, int64, shape ``(n,)``, wrap-around already undone.
        samples: Counts, int16, shape ``(n, channels)``.
        channels: What each column of ``samples`` is.
        period_us: Nominal sample period in microseconds.
        trigger: 0 or 1 per sample (uint8), if the recording has a trigger.
        label: Class of the whole recording, if it has one.
        split: ``"train"`` or ``"test"`` where the recording's own export says so.
        subject: Who was recorded, where known.
        events: Labels, predictions and marks within the recording, by start.
        faults: What reading it had to report (lost bytes, clipping, a cut tail), one line each.
    """

    name: str
    t_us: NDArray[np.int64]
    samples: NDArray[np.int16]
    channels: tuple[Channel, ...]
    period_us: int
    trigger: NDArray[np.uint8] | None = None
    label: str | None = None
    split: str | None = None
    subject: str | None = None
    events: tuple[Event, ...] = ()
    faults: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together."""
        n = len(self.t_us)
        if self.samples.dtype != np.int16 or self.samples.shape != (n, len(self.channels)):
            raise InputError(
                f"{self.name}: samples are {self.samples.dtype}{self.samples.shape}, "
                f"expected int16({n}, {len(self.channels)})"
            )
        if self.trigger is not None and self.trigger.shape != (n,):
            raise InputError(f"{self.name}: trigger has shape {self.trigger.shape}, expected ({n},)")
        if self.period_us <= 0:
            raise InputError(f"{self.name}: the sample period must be positive, is {self.period_us} us")

    def __len__(self) -> int:
        return len(self.t_us)

    @property
    def duration_s(self) -> float:
        """Seconds from the first sample to the last."""
        return float(self.t_us[-1] - self.t_us[0]) / 1e6 if len(self) else 0.0

    @property
    def gap_before(self) -> NDArray[np.bool_]:
        """True for each sample that starts a new stretch; see `starts_after_gap`."""
        return starts_after_gap(self.t_us, self.period_us)

    def stretches(self) -> list[tuple[int, int]]:
        """Return the gap-free stretches as half-open index ranges."""
        starts = np.flatnonzero(self.gap_before)
        stops = np.append(starts[1:], len(self))
        return [(int(a), int(b)) for a, b in zip(starts, stops, strict=True)]
