"""What is written down about a session, and what the sessions of one dataset must have in common."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from stinger.errors import InputError, UsageError
from stinger.sessions.session import Channel, Session
from stinger.windows.cuts import Cut

#: Longest window a dataset may have; the feature sets' own limit.
MAX_WINDOW = 1024
#: Clocks of two boards of one kind differ by less.
_PERIOD_TOLERANCE = 0.01
_LIMITS = (-32768, 32767)


def common_format(cuts: Sequence[Cut]) -> tuple[tuple[Channel, ...], int]:
    """Return the channels and sample period shared by all sessions.

    Raises:
        InputError: There are no sessions, or two of them differ.
    """
    if not cuts:
        raise InputError("no recordings to cut; give at least one")
    first = cuts[0]
    for cut in cuts:
        if cut.channels != first.channels:
            raise InputError(f"{cut.name} has other channels, units or scales than {first.name}; cut them separately")
        if abs(cut.period_us - first.period_us) > _PERIOD_TOLERANCE * first.period_us:
            raise InputError(
                f"{cut.name} has a sample period of {cut.period_us} us, {first.name} of {first.period_us}; "
                "cut them separately, or resample them first"
            )
        if cut.window != first.window or cut.lead != first.lead:
            raise InputError(
                f"{cut.name}: a window is {cut.window} samples and the lead {cut.lead}, "
                f"in {first.name} {first.window} and {first.lead}; choose a --window-ms between two samples"
            )
    return first.channels, round(float(np.median([cut.period_us for cut in cuts])))


def select_channels(session: Session, names: Sequence[str] | None) -> list[int]:
    """Return the columns of the named channels, in that order; of all without names.

    Raises:
        UsageError: The session has no such channel.
    """
    known = [channel.name for channel in session.channels]
    if names is None:
        return list(range(len(known)))
    for name in names:
        if name not in known:
            raise UsageError(f"{session.name} has no channel {name!r}; it has {', '.join(known)}")
    return [known.index(name) for name in names]


def window_samples(length_ms: float, period_us: int) -> int:
    """Samples in a length of time: at least one, rounded to the nearest.

    Raises:
        UsageError: More than `MAX_WINDOW`.
    """
    samples = max(1, round(length_ms * 1000 / period_us))
    if samples > MAX_WINDOW:
        raise UsageError(
            f"{length_ms:g} ms are {samples} samples of {period_us} us, at most {MAX_WINDOW} fit a window; shorten it"
        )
    return samples


def session_facts(session: Session) -> dict[str, Any]:
    """Name, size, rate, clipping, faults and SHA-256 of a session, as JSON values."""
    steps = np.diff(session.t_us)
    steps = steps[steps > 0] / 1000
    median, p5, p95 = np.percentile(steps, (50, 5, 95)).tolist() if len(steps) else (0.0, 0.0, 0.0)
    clipped = np.zeros(len(session), dtype=np.bool_)
    for limit in _LIMITS:
        # Mostly nothing clips, and looking for that is quicker than looking row by row.
        at_limit = session.samples == limit
        if at_limit.any():
            clipped |= at_limit.any(axis=1)
    duration_us = int(session.t_us[-1] - session.t_us[0]) if len(session) else 0
    return {
        "name": session.name,
        "label": session.label,
        "split": session.split,
        "subject": session.subject,
        "events": events_hash(session),
        "samples": len(session),
        "gaps": max(0, len(session.stretches()) - 1),
        "faults": list(session.faults),
        "sha256": session_hash(session),
        "duration_ms": duration_us // 1000 if duration_us % 1000 == 0 else duration_us / 1000,
        "i16_clipping_samples": int(clipped.sum()),
        "timestamp_dt_ms": {
            "count": len(steps),
            "median": median,
            "p5": p5,
            "p95": p95,
            "min": float(steps.min()) if len(steps) else 0.0,
            "max": float(steps.max()) if len(steps) else 0.0,
            "estimated_hz": 1000 / median if median else 0.0,
        },
    }


def session_hash(session: Session) -> str:
    """SHA-256 over a session's timestamps, samples and trigger, little-endian."""
    digest = hashlib.sha256()
    digest.update(np.ascontiguousarray(session.t_us, dtype="<i8").data)
    digest.update(np.ascontiguousarray(session.samples, dtype="<i2").data)
    if session.trigger is not None:
        digest.update(np.ascontiguousarray(session.trigger).data)
    return digest.hexdigest()


def events_hash(session: Session) -> str | None:
    """SHA-256 over a session's events, None without any."""
    if not session.events:
        return None
    return json_hash([[event.start_us, event.end_us, event.label, event.kind] for event in session.events])


def json_hash(value: object) -> str:
    """SHA-256 of JSON values, whatever the order of their keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
