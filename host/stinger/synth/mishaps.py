"""What goes wrong while recording: samples get lost, ticks come late, a sensor clips, somebody labels it wrongly.

Imperfections (`stinger.synth.imperfections`) are a sensor's nature; these are accidents, and whoever looks at a
recording should notice them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from stinger.errors import UsageError
from stinger.sessions.session import Session

_LIMITS = (-32768, 32767)


@dataclass(frozen=True)
class Mishaps:
    """What happens to a recording.

    Attributes:
        pauses: How often the recorder loses samples.
        pause_s: How long each time.
        jitter: Standard deviation of a sample's time, as a share of the period; samples stay in order.
        gain: Factor of every channel; beyond 1 a sensor may clip.
        relabel: Labels that somebody mistook for another: wrong by right.
    """

    pauses: int = 0
    pause_s: float = 0.5
    jitter: float = 0.0
    gain: float = 1.0
    relabel: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot happen."""
        if not 0 <= self.pauses <= 1000 or not 0 < self.pause_s <= 60:
            raise UsageError(f"{self.pauses} pauses of {self.pause_s:g} s; 0 to 1000 of more than 0 and at most 60 s")
        if not 0 <= self.jitter <= 1 or not 0 < self.gain <= 1000:
            raise UsageError(f"jitter {self.jitter:g} and gain {self.gain:g}; 0 to 1, and more than 0 to 1000 can be")


def spoil(session: Session, mishaps: Mishaps, *, seed: int = 1) -> Session:
    """Return a recording to which things have happened.

    Args:
        session: The recording as it should be.
        mishaps: What happens.
        seed: Of where and how much.
    """
    rng = np.random.default_rng(seed)
    late = np.clip(mishaps.jitter * rng.standard_normal(len(session)), -0.49, 0.49) * session.period_us
    t_us = session.t_us + np.rint(late).astype(np.int64)
    samples = np.clip(np.rint(session.samples.astype(np.float64) * mishaps.gain), *_LIMITS).astype(np.int16)
    kept = np.ones(len(session), dtype=np.bool_)
    length = max(1, round(mishaps.pause_s * 1e6 / session.period_us))
    for start in rng.integers(1, max(2, len(session) - length), size=mishaps.pauses).tolist():
        kept[start : start + length] = False
    names = mishaps.relabel or {}
    return replace(
        session,
        t_us=t_us[kept],
        samples=samples[kept],
        label=None if session.label is None else names.get(session.label, session.label),
        events=tuple(replace(event, label=names.get(event.label, event.label)) for event in session.events),
    )
