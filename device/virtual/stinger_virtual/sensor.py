"""A recording as a live sensor: its samples, framed, at the pace they were taken, over and over."""

from __future__ import annotations

from stinger.errors import InputError
from stinger.link.frames import Frame, encode_frame
from stinger.link.messages import FrameType, Sample
from stinger.sessions.session import Session

#: A logger's pause need not be sat through: its length is in the samples' times all the same.
_LONGEST_WAIT_S = 1.0


class SessionSensor:
    """Plays a session to a board's sensor line.

    Attributes:
        skipped: Samples that the line had no room for; the board sees a gap there.

    Args:
        session: What to play; starts again at its end, after a gap.

    Raises:
        InputError: The session has no samples.
    """

    def __init__(self, session: Session) -> None:
        if not len(session):
            raise InputError(f"{session.name} has no samples to play; choose another recording")
        self.skipped = 0
        self._session = session
        self._gap = session.gap_before
        self._position = 0
        self._sequence = 0
        self._offset_us = 0
        self._due: float | None = None

    def due_in(self, now: float) -> float:
        """Seconds until the next sample; zero or less when one is due."""
        return 0.0 if self._due is None else self._due - now

    def next_frames(self, now: float, room: int) -> bytes:
        """Return the frames that are due.

        Args:
            now: A clock in seconds.
            room: Bytes the line would take.
        """
        out = bytearray()
        if self._due is None:
            self._due = now
        while self._due <= now:
            frame = self._frame()
            if len(out) + len(frame) <= room:
                out += frame
            else:
                self.skipped += 1
            self._due += self._advance()
        return bytes(out)

    def _frame(self) -> bytes:
        i = self._position
        t_us = (int(self._session.t_us[i]) + self._offset_us) & 0xFFFFFFFF
        values = tuple(int(value) for value in self._session.samples[i])
        payload = Sample(t_us, values, bool(self._gap[i])).pack()
        sequence = self._sequence & 0xFFFFFFFF
        return encode_frame(Frame(FrameType.SAMPLE, 0, sequence, t_us, self.skipped, payload))

    def _advance(self) -> float:
        """Go on to the next sample and return how long to wait for it."""
        t_us = self._session.t_us
        self._sequence += 1
        before = self._position
        self._position += 1
        if self._position < len(t_us):
            step = int(t_us[self._position] - t_us[before])
        else:
            # Long enough for the next round to begin with a gap; its first sample says so, too.
            step = 2 * self._session.period_us
            self._offset_us += int(t_us[before] - t_us[0]) + step
            self._position = 0
        return min(_LONGEST_WAIT_S, max(0, step) / 1e6)
