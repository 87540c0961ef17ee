"""Spectrograms of a recording's windows: of a whole recording, and of samples as they come, with the same result.

Windows are those of `stinger.windows.regular`: at regular steps within each gap-free stretch, cut by the recording's
own rate. A window's time is that of its last sample, when all of it is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.features.spectrogram import AST, Spectrogram, SpectrogramSpec, input_values
from stinger.sessions.session import Session, starts_after_gap
from stinger.windows.regular import RegularWindows, physical_windows


class TimedSpectrogram(NamedTuple):
    """A window's spectrogram, float32, shape ``(frames, mel_bins)``, and the time of the window's last sample."""

    end_us: int
    values: Spectrogram


def session_spectrograms(
    session: Session,
    columns: Sequence[int] | None = None,
    windows: RegularWindows | None = None,
    spec: SpectrogramSpec = AST,
) -> Iterator[TimedSpectrogram]:
    """Make the spectrograms of a recording, one window in memory at a time.

    Args:
        session: The recording; its own rate counts.
        columns: Which channels, in which order; default: all.
        windows: Which windows; default: 3 s every 10 s.
        spec: How spectrograms are made.

    Raises:
        InputError: A window is too short or too long for the spec.
    """
    chosen = list(range(len(session.channels))) if columns is None else list(columns)
    windows = windows or RegularWindows()
    length, _ = windows.samples(session.period_us)
    for start in windows.starts(session):
        window = physical_windows(session, chosen, start[None], length)
        end_us = int(session.t_us[start + length - 1])
        yield TimedSpectrogram(end_us, input_values(window, 1e6 / session.period_us, spec)[0])


class SpectrogramStream:
    """Makes the spectrograms of samples as they come; bit for bit what `session_spectrograms` makes of all of them.

    Holds one window and what a call brings, never more.

    Args:
        period_us: Nominal sample period; a longer pause than one and a half of it is a gap.
        channels: How many each sample has.
        windows: Which windows; default: 3 s every 10 s.
        spec: How spectrograms are made.
    """

    def __init__(
        self, period_us: int, channels: int, windows: RegularWindows | None = None, spec: SpectrogramSpec = AST
    ) -> None:
        if period_us <= 0 or channels <= 0:
            raise InputError(f"a stream of {channels} channels every {period_us} us; both must be positive")
        self._period_us = period_us
        self._window, self._step = (windows or RegularWindows()).samples(period_us)
        self._spec = spec
        self._times = np.empty(0, dtype=np.int64)
        self._values = np.empty((0, channels), dtype=np.float64)
        self._last_us: int | None = None
        #: Samples that no window needs before the next one begins.
        self._skip = 0

    def push(self, t_us: NDArray[np.int64], values: NDArray[Any]) -> list[TimedSpectrogram]:
        """Take the next samples.

        Args:
            t_us: When each was, microseconds, shape ``(k,)``.
            values: Physical values, shape ``(k, channels)``.

        Returns:
            What they complete, in order of time.

        Raises:
            InputError: They have another shape, or are not finite where a window ends.
        """
        times = np.asarray(t_us, dtype=np.int64)
        rows = np.asarray(values, dtype=np.float64)
        if times.ndim != 1 or rows.shape != (len(times), self._values.shape[1]):
            raise InputError(
                f"{times.shape} times and values of shape {rows.shape}, expected (k,) and (k, {self._values.shape[1]})"
            )
        if not len(times):
            return []
        before = [times[0] if self._last_us is None else self._last_us]
        gap = starts_after_gap(np.concatenate([before, times]), self._period_us)[1:]
        self._last_us = int(times[-1])
        cuts = [0, *np.flatnonzero(gap).tolist(), len(times)]
        made: list[TimedSpectrogram] = []
        for number, (a, b) in enumerate(pairwise(cuts)):
            if number:
                self._forget()
            made += self._extend(times[a:b], rows[a:b])
        return made

    def _forget(self) -> None:
        self._times, self._values, self._skip = self._times[:0], self._values[:0], 0

    def _extend(self, times: NDArray[np.int64], rows: NDArray[np.float64]) -> Iterator[TimedSpectrogram]:
        """Take samples that follow the last ones without a gap."""
        self._times = np.concatenate([self._times, times])
        self._values = np.concatenate([self._values, rows])
        while True:
            unneeded = min(self._skip, len(self._times))
            self._skip -= unneeded
            self._times, self._values = self._times[unneeded:], self._values[unneeded:]
            if len(self._times) < self._window:
                break
            window = self._values[None, : self._window]
            end_us = int(self._times[self._window - 1])
            yield TimedSpectrogram(end_us, input_values(window, 1e6 / self._period_us, self._spec)[0])
            self._skip = self._step
