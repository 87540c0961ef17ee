"""Sensors with three axes: how long their vector is, whichever way they are held."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stinger.sessions.session import Session


def vector_columns(session: Session, letter: str) -> list[int] | None:
    """Return the columns of a sensor's x, y and z; None if one is missing.

    Args:
        session: The recording.
        letter: How their names begin: ``m`` of ``mx``, ``my`` and ``mz``.
    """
    names = [channel.name for channel in session.channels]
    wanted = [letter + axis for axis in "xyz"]
    return [names.index(name) for name in wanted] if set(wanted) <= set(names) else None


def vector_strength(session: Session, letter: str) -> NDArray[np.float64] | None:
    """Return the length of a sensor's vector at each sample, shape ``(n,)``; None if an axis is missing."""
    columns = vector_columns(session, letter)
    if columns is None:
        return None
    scale = np.array([session.channels[column].scale for column in columns])
    strength: NDArray[np.float64] = np.linalg.norm(session.samples[:, columns] * scale, axis=1)
    return strength
