"""A recording as what a live sensor measures: its samples at the pace they were taken, over and over."""

from __future__ import annotations

from stinger.errors import InputError
from stinger.link.messages import Sample
from stinger.sessions.session import Session
from stinger_virtual.imu import CHANNELS

#: A logger's pause need not be sat through.
_LONGEST_WAIT_S = 1.0


class SessionSensor:
    """Plays a session to a board's sensor.

    Args:
        session: What to play; starts again at its end, after a gap.

    Raises:
        InputError: The session has no samples, or more channels than the sensor.
    """

    def __init__(self, session: Session) -> None:
        if not len(session):
            raise InputError(f"{session.name} has no samples to play; choose another recording")
        if (count := len(session.channels)) > CHANNELS:
            raise InputError(
                f"{session.name} has {count} channels, the board's sensor {CHANNELS}: accelerometer and gyroscope; "
                "choose another recording"
            )
        self._session = session
        self._gap = session.gap_before
        self._position = 0
        self._clock_us = 0
        self._due: float | None = None

    def due_in(self, now: float) -> float:
        """Seconds until the next sample; zero or less when one is due."""
        return 0.0 if self._due is None else self._due - now

    def next_samples(self, now: float) -> list[Sample]:
        """Return the samples that are due, with times in a clock that begins with the first.

        Args:
            now: A clock in seconds.
        """
        out = []
        if self._due is None:
            self._due = now
        while self._due <= now:
            values = tuple(int(value) for value in self._session.samples[self._position])
            out.append(Sample(self._clock_us & 0xFFFFFFFF, values))
            step_us = self._advance()
            self._clock_us += step_us
            self._due += step_us / 1e6
        return out

    def _advance(self) -> int:
        """Go on to the next sample and return the microseconds until it."""
        t_us = self._session.t_us
        before = self._position
        self._position = (before + 1) % len(t_us)
        step = int(t_us[self._position] - t_us[before])
        if self._gap[self._position]:  # as is the first; where samples are missing the sensor must have been silent
            step = max(step, 2 * self._session.period_us)
        return min(round(_LONGEST_WAIT_S * 1e6), max(0, step))
