"""What the sessions of one dataset have in common, and what is written down about each."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from stinger.errors import InputError, UsageError
from stinger.sessions.session import Channel, Session

#: Longest window a dataset may have; the feature sets' own limit.
MAX_WINDOW = 1024
#: Clocks of two boards of one kind differ by less.
_PERIOD_TOLERANCE = 0.01


def common_format(sessions: Sequence[Session]) -> tuple[tuple[Channel, ...], int]:
    """Return the channels and sample period shared by all sessions.

    Raises:
        InputError: There are no sessions, or two of them differ.
    """
    if not sessions:
        raise InputError("no recordings to cut; give at least one")
    first = sessions[0]
    period_us = round(float(np.median([session.period_us for session in sessions])))
    for session in sessions:
        if session.channels != first.channels:
            raise InputError(
                f"{session.name} has other channels, units or scales than {first.name}; cut them separately"
            )
        if abs(session.period_us - period_us) > _PERIOD_TOLERANCE * period_us:
            raise InputError(
                f"{session.name} has a sample period of {session.period_us} us, {first.name} of {first.period_us}; "
                "cut them separately"
            )
    return first.channels, period_us


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


def input_facts(sessions: Sequence[Session]) -> list[dict[str, object]]:
    """Name, size, faults and SHA-256 of each session, as JSON values."""
    return [
        {
            "name": session.name,
            "label": session.label,
            "split": session.split,
            "samples": len(session),
            "gaps": len(session.stretches()) - 1,
            "faults": list(session.faults),
            "sha256": session_hash(session),
        }
        for session in sessions
    ]


def session_hash(session: Session) -> str:
    """SHA-256 over a session's timestamps, samples and trigger, little-endian."""
    digest = hashlib.sha256()
    digest.update(session.t_us.astype("<i8").tobytes())
    digest.update(session.samples.astype("<i2").tobytes())
    if session.trigger is not None:
        digest.update(session.trigger.tobytes())
    return digest.hexdigest()
