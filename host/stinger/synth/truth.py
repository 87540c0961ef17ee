"""What really happened in a synthetic session, also where the logger paused; as JSON and as events."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from stinger.sessions.session import Event
from stinger.synth.styles import Style

#: Raised when the JSON's meaning changes.
VERSION = 1


@dataclass(frozen=True)
class Stretch:
    """One activity in time; microseconds on the session's clock.

    Attributes:
        activity: ``rest``, ``service``, ``handle``, ``walk``, ``run``, ``raise``, ``hold``, ``shoot`` or ``lower``.
        start_us: First sample's time.
        stop_us: Time at which the next activity begins.
    """

    activity: str
    start_us: int
    stop_us: int


@dataclass(frozen=True)
class Aim:
    """Raising and holding on a target.

    Attributes:
        start_us: When raising begins.
        stop_us: When the hold ends, with the trigger or without.
        fired: Whether a shot ends it.
    """

    start_us: int
    stop_us: int
    fired: bool


@dataclass(frozen=True)
class ShotTruth:
    """What really happened in a synthetic session, also where the logger paused.

    Attributes:
        shots_us: Time of every trigger pull, ascending.
        aims: Every aiming, in order.
        activities: What was done, without holes from the session's beginning to its end.
        style: How it was played, in this session.
    """

    shots_us: tuple[int, ...]
    aims: tuple[Aim, ...]
    activities: tuple[Stretch, ...]
    style: Style

    def events(self) -> tuple[Event, ...]:
        """Return it as marks by start: ``activity NAME``, ``aim fired`` or ``aim only``, ``shot``."""
        marks = [Event(s.start_us, s.stop_us, f"activity {s.activity}", "mark") for s in self.activities]
        marks += [Event(a.start_us, a.stop_us, "aim fired" if a.fired else "aim only", "mark") for a in self.aims]
        marks += [Event(at, at, "shot", "mark") for at in self.shots_us]
        return tuple(sorted(marks, key=lambda mark: (mark.start_us, mark.end_us, mark.label)))

    def to_json(self) -> dict[str, Any]:
        """Return it in plain JSON values; times are microseconds on the recording's clock."""
        return {
            "version": VERSION,
            "subject": self.style.name,
            "style": self.style.numbers(),
            "shots_us": list(self.shots_us),
            "aims": [asdict(aim) for aim in self.aims],
            "activities": [asdict(stretch) for stretch in self.activities],
        }
