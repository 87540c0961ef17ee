"""The numbers that describe a recording, in one place: what `info` prints and summaries count."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from stinger.errors import InputError
from stinger.sessions.session import Session, starts_after_gap

#: How a fault begins that says data were lost or damaged, other than clipped.
DAMAGE = "damage: "
_LOWEST, _HIGHEST = -32768, 32767


@dataclass(frozen=True)
class Gaps:
    """Where a recording pauses or lost samples.

    Attributes:
        count: Places where a sample does not follow its predecessor by one period.
        total_s: Time missing in them, beyond the one period that belongs there.
        longest_s: The longest step from one sample to the next.
    """

    count: int
    total_s: float
    longest_s: float


def gaps_of(session: Session) -> Gaps:
    """Measure the gaps of a recording."""
    steps = np.diff(session.t_us)
    inside = steps[starts_after_gap(session.t_us, session.period_us)[1:]]
    missing = np.maximum(inside - session.period_us, 0)
    return Gaps(len(inside), round(float(missing.sum()) / 1e6, 6), round(float(inside.max(initial=0)) / 1e6, 6))


def clipped_of(session: Session) -> dict[str, int]:
    """Count, per channel, the samples at the limits of int16, where the truth may lie beyond."""
    at_limit = np.count_nonzero((session.samples == _LOWEST) | (session.samples == _HIGHEST), axis=0)
    return {channel.name: int(n) for channel, n in zip(session.channels, np.atleast_1d(at_limit), strict=True)}


def describe(session: Session) -> dict[str, Any]:
    """Describe one recording in plain JSON values."""
    clipped = clipped_of(session)
    lowest = session.samples.min(axis=0) if len(session) else np.zeros(len(session.channels))
    highest = session.samples.max(axis=0) if len(session) else np.zeros(len(session.channels))
    channels = [
        {
            "name": channel.name,
            "unit": channel.unit,
            "scale": channel.scale,
            "min": _rounded(float(low) * channel.scale),
            "max": _rounded(float(high) * channel.scale),
            "clipped": clipped[channel.name],
        }
        for channel, low, high in zip(session.channels, lowest, highest, strict=True)
    ]
    labels: dict[str, int] = {}
    for event in session.events:
        labels[f"{event.kind} {event.label}"] = labels.get(f"{event.kind} {event.label}", 0) + 1
    return {
        "name": session.name,
        "samples": len(session),
        "rate_hz": _rounded(1e6 / session.period_us),
        "period_us": session.period_us,
        "start_s": round(int(session.t_us[0]) / 1e6, 6) if len(session) else 0.0,
        "duration_s": round(session.duration_s, 6),
        "gaps": asdict(gaps_of(session)),
        "channels": channels,
        "trigger": _trigger(session),
        "label": session.label,
        "subject": session.subject,
        "split": session.split,
        "events": labels,
        "damaged": any(fault.startswith(DAMAGE) for fault in session.faults),
        "faults": list(session.faults),
    }


def describe_all(sessions: Iterable[Session]) -> dict[str, Any]:
    """Describe a collection: each recording, totals, and totals per label and subject ('' where there is none).

    Recordings are taken one at a time and not kept.
    """
    described = [describe(session) for session in sessions]
    return {
        "recordings": described,
        "totals": _totals(described),
        "labels": _groups(described, lambda d: d["label"]),
        "subjects": _groups(described, lambda d: d["subject"]),
    }


def damage_of(sessions: Sequence[Session]) -> list[str]:
    """List the faults that say data were lost or damaged, each with its recording's name."""
    return [
        f"{session.name}: {fault.removeprefix(DAMAGE)}"
        for session in sessions
        for fault in session.faults
        if fault.startswith(DAMAGE)
    ]


def require_undamaged(sessions: Sequence[Session]) -> None:
    """Refuse recordings of which something was lost; what runs unattended must not learn from them.

    Raises:
        InputError: One is damaged; the line names the damage.
    """
    damage = damage_of(sessions)
    if damage:
        more = f" (and {len(damage) - 1} more)" if len(damage) > 1 else ""
        raise InputError(f"{damage[0]}{more}; make a clean copy with `stinger convert` and look at it, or record again")


def _trigger(session: Session) -> dict[str, int] | None:
    if session.trigger is None:
        return None
    down = session.trigger.astype(bool)
    return {"rising_edges": int(np.count_nonzero(down[1:] & ~down[:-1])), "samples_down": int(np.count_nonzero(down))}


def _totals(described: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "recordings": len(described),
        "samples": sum(d["samples"] for d in described),
        "duration_s": round(sum(d["duration_s"] for d in described), 6),
        "gaps": sum(d["gaps"]["count"] for d in described),
        "clipped": sum(c["clipped"] for d in described for c in d["channels"]),
        "faults": sum(len(d["faults"]) for d in described),
    }


def _groups(
    described: Sequence[dict[str, Any]], key: Callable[[dict[str, Any]], str | None]
) -> dict[str, dict[str, Any]]:
    members: dict[str | None, list[dict[str, Any]]] = {}
    for one in described:
        members.setdefault(key(one), []).append(one)
    if set(members) == {None}:
        return {}
    # None sorts last, under a name that no label has.
    return {name or "": _totals(members[name]) for name in sorted(members, key=lambda n: (n is None, n or ""))}


def _rounded(value: float) -> float:
    return float(f"{value:.9g}")
