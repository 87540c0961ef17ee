"""Samples that `stinger bench device` replays: a person's motion, and streams that are as bad as can be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stinger.windows.replay import ReplayStream

#: Of what takes a million cycles, every such window of the session is enough.
_EVERY = 16


class BenchStreams:
    """The streams, one after the other, each after a gap.

    Attributes:
        window: Samples per window.
        names: Of the streams; the first is the session.
        full: All of their samples, whose every window is decided on.
        few: Windows of them, each after a gap: some of the session, the last one of each of the others.

    Args:
        session: int16, shape ``(samples, channels)``.
        window: Samples per window.
        period_us: Sample period.
    """

    def __init__(self, session: NDArray[np.int16], window: int, period_us: int) -> None:
        streams = {"session": session, **adversarial(session.shape)}
        self.window = window
        self.names = tuple(streams)
        self._period_us = period_us
        self.full = self._stream(list(streams.values()))
        self._full_kind = np.repeat(np.arange(len(streams)), len(session))
        pieces = [(0, session[at : at + window]) for at in range(0, len(session) - window + 1, _EVERY)]
        pieces += [(kind, x[-window:]) for kind, x in enumerate(streams.values()) if kind > 0]
        self.few = self._stream([piece for _, piece in pieces])
        self._few_kind = np.repeat([kind for kind, _ in pieces], window)

    def first(self, stream: ReplayStream, windows: int) -> ReplayStream:
        """Cut a stream of `full` or `few` after that many windows."""
        end = int(np.flatnonzero(stream.ready(self.window))[:windows][-1]) + 1
        return ReplayStream(stream.samples[:end], stream.t_us[:end], stream.gap_before[:end], stream.period_us)

    def summary(self, stream: ReplayStream, cycles: NDArray[np.uint32]) -> dict[str, int | str]:
        """Return what a row says of the cycles, given for each sample of `full` or `few`."""
        ready = stream.ready(self.window)
        kind = self._full_kind if stream is self.full else self._few_kind
        usual = cycles[ready & (kind == 0)]
        worst = [int(cycles[ready & (kind == k)].max()) for k in range(len(self.names))]
        return {
            "cycles_per_decision": round(float(usual.mean())),
            "decisions": len(usual),
            "cycles_worst": max(worst),
            "worst_stream": self.names[int(np.argmax(worst))],
        }

    def _stream(self, pieces: list[NDArray[np.int16]]) -> ReplayStream:
        gap = np.concatenate([np.arange(len(piece)) == 0 for piece in pieces])
        t_us = np.cumsum(np.where(gap, 10, 1)).astype(np.int64) * self._period_us
        return ReplayStream(np.concatenate(pieces), t_us, gap, self._period_us)


def adversarial(shape: tuple[int, ...]) -> dict[str, NDArray[np.int16]]:
    """Streams that take the device longest, each of its own kind, int16, of one shape ``(samples, channels)``."""
    rng = np.random.default_rng(1)
    i, every = np.arange(shape[0])[:, None], np.ones(shape[1], dtype=np.int64)
    streams = {
        "lowest": np.full(shape, -32768),
        "alternating": np.where(i % 2, 32767, -32768) * every,
        "constant": np.full(shape, 1234),
        "falling": np.maximum(32767 - 81 * i, 0) * every,
        "rising": np.minimum(81 * i, 32767) * every,
        "noise": rng.integers(-32768, 32768, shape),
    }
    return {name: x.astype(np.int16) for name, x in streams.items()}
