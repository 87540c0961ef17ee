"""Windows at regular steps through a recording, whatever its labels say: all of it is seen, as a model in use does.

The first window of each gap-free stretch begins with the stretch, the next one step later; none crosses a gap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stinger.errors import UsageError
from stinger.sessions.session import Session
from stinger.windows.arrays import take_windows

_MAX_SECONDS = 3600.0


@dataclass(frozen=True)
class RegularWindows:
    """How long windows are and how far apart.

    Attributes:
        window_s: Length.
        step_s: From the start of a window to that of the next; below `window_s` they overlap.
    """

    window_s: float = 3.0
    step_s: float = 10.0

    def __post_init__(self) -> None:
        """Refuse what is no length of time."""
        for name, value in (("window", self.window_s), ("step", self.step_s)):
            if not (math.isfinite(value) and 0 < value <= _MAX_SECONDS):
                raise UsageError(f"--{name} must be more than 0 and at most {_MAX_SECONDS:g} s, is {value:g}")

    def samples(self, period_us: int) -> tuple[int, int]:
        """Return length and step in samples of so many microseconds, each at least one."""
        window, step = (max(1, round(seconds * 1e6 / period_us)) for seconds in (self.window_s, self.step_s))
        return window, step

    def starts(self, session: Session) -> NDArray[np.int64]:
        """Return the first sample of each window, int64, shape ``(m,)``."""
        window, step = self.samples(session.period_us)
        found = [np.arange(a, b - window + 1, step, dtype=np.int64) for a, b in session.stretches()]
        return np.concatenate([np.empty(0, dtype=np.int64), *found])


def physical_windows(
    session: Session, columns: list[int], start: NDArray[np.int64], window: int
) -> NDArray[np.float64]:
    """Copy windows out of a recording, in physical units.

    Args:
        session: The recording.
        columns: Which of its channels.
        start: First sample of each window, shape ``(m,)``.
        window: Samples per window.

    Returns:
        float64, shape ``(m, window, len(columns))``.
    """
    scale = np.array([session.channels[column].scale for column in columns])
    values: NDArray[np.float64] = take_windows(session.samples[:, columns], start, window) * scale
    return values
