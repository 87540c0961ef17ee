"""What must come out of a board that streams, sample by sample: the account that `stinger bench soak` keeps.

Every sample that was given to the sensor's line is in it until the board has answered it, or has counted what it could
not send. Nothing else is allowed to happen to one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stinger.check.compare import feature_crc
from stinger.errors import CheckFailedError
from stinger.link.frames import Frame
from stinger.link.messages import Decision, FrameType, Sample
from stinger_export.integer.model import IntegerModel

#: Decisions that are compared at once.
_BATCH = 2048


@dataclass(slots=True)
class SoakCounts:
    """What has become of the samples.

    Attributes:
        given: Samples the board's sensor has sent.
        left_out: Samples it has not sent; each must show as a gap.
        gaps: Gaps the board has told.
        samples: SAMPLE frames that arrived, each as it was given.
        decisions: DECISION frames that arrived.
        ready: Of them, those with a full window; all compared in every bit.
        dropped: Frames and lines that the board says it had no room for.
        cycles: Of all full decisions together.
        cycles_most: Of the longest.
    """

    given: int = 0
    left_out: int = 0
    gaps: int = 0
    samples: int = 0
    decisions: int = 0
    ready: int = 0
    dropped: int = 0
    cycles: int = 0
    cycles_most: int = 0


class SoakAccount:
    """Compares a stream with what was given.

    Args:
        rows: What the sensor plays, over and over, int16, ``(n, channels)``.
        period_us: From one to the next.
        model: What the board runs at first.
    """

    def __init__(self, rows: NDArray[np.int16], period_us: int, model: IntegerModel) -> None:
        self.counts = SoakCounts()
        self._rows = rows
        self._period_us = period_us
        self._model = model
        self._given: list[int] = []  # which sample of time each is, by sequence number
        self._next = 0  # sequence number that comes next, if nothing gets lost
        self._answered = -1
        self._filled = 0  # samples in the board's window
        self._batch: list[tuple[int, Decision]] = []

    def give(self, i: int) -> Sample:
        """Say that the sensor sends its sample ``i`` now; returns it."""
        self._given.append(i)
        self.counts.given += 1
        return self._sample(i)

    def leave_out(self) -> None:
        """Say that it does not send one."""
        self.counts.left_out += 1

    def runs(self, model: IntegerModel) -> None:
        """Say that the board has answered that it runs this one from now on; its window is empty then.

        Raises:
            CheckFailedError: See `finish`.
        """
        self._compare()
        self._model = model
        self._filled = 0

    def take(self, frame: Frame) -> None:
        """Take what arrives.

        Raises:
            CheckFailedError: A frame is of no sample, of another than it says, or comes twice.
        """
        self.counts.dropped = frame.dropped
        if not frame.sequence < len(self._given):
            raise CheckFailedError(f"the board streams sample {frame.sequence}, which its sensor has not sent")
        if frame.type == FrameType.SAMPLE:
            if frame.sequence < self._next:
                raise CheckFailedError(f"the board streams sample {frame.sequence} twice")
            self._pass(frame.sequence)
            self._take_sample(frame.sequence, Sample.unpack(frame.payload))
        else:
            if frame.sequence <= self._answered:
                raise CheckFailedError(f"the board decides on sample {frame.sequence} twice")
            self._pass(frame.sequence)
            self._answered = frame.sequence
            self._take_decision(frame.sequence, Decision.unpack(frame.payload))

    def finish(self) -> None:
        """Settle the account once the board has nothing more to say.

        Raises:
            CheckFailedError: A frame is missing that the board has not counted, or the reverse; or a decision differs
                from what the integer model says.
        """
        self._compare()
        counts = self.counts
        missing = 2 * counts.given - counts.samples - counts.decisions
        if missing != counts.dropped:
            raise CheckFailedError(f"{missing} frames of the stream are missing; the board counted {counts.dropped}")

    def _sample(self, i: int) -> Sample:
        values = tuple(int(v) for v in self._rows[i % len(self._rows)])
        return Sample((i * self._period_us) & 0xFFFFFFFF, values)

    def _gap(self, sequence: int) -> bool:
        """Whether samples were left out before this one. The first follows no other."""
        return sequence > 0 and self._given[sequence] != self._given[sequence - 1] + 1

    def _pass(self, sequence: int) -> None:
        """Follow the board's window up to a sample, over those of which nothing arrived, too."""
        while self._next <= sequence:
            if self._gap(self._next):
                self._filled = 0
            self._filled += 1
            self._next += 1

    def _take_sample(self, sequence: int, sample: Sample) -> None:
        expected = self._sample(self._given[sequence])
        if (sample.t_us, sample.values) != (expected.t_us, expected.values):
            raise CheckFailedError(f"sample {sequence} of the stream is not the one that the sensor sent")
        if sample.gap != self._gap(sequence):
            raise CheckFailedError(f"sample {sequence} is {'' if sample.gap else 'not '}said to follow a gap")
        self.counts.gaps += sample.gap
        self.counts.samples += 1

    def _take_decision(self, sequence: int, decision: Decision) -> None:
        counts = self.counts
        counts.decisions += 1
        full = self._filled >= self._model.spec.window
        if decision.of != sequence or decision.ready != full:
            said = "" if decision.ready else "not "
            raise CheckFailedError(f"the window is {said}full at sample {sequence}, says the board")
        if decision.ready:
            counts.ready += 1
            counts.cycles += decision.cycles
            counts.cycles_most = max(counts.cycles_most, decision.cycles)
            self._batch.append((self._given[sequence], decision))
            if len(self._batch) == _BATCH:
                self._compare()

    def _compare(self) -> None:
        if not self._batch:
            return
        last = np.array([i for i, _ in self._batch])
        decisions = [decision for _, decision in self._batch]
        self._batch = []
        at = (last[:, None] + np.arange(1 - self._model.spec.window, 1)) % len(self._rows)
        expected = self._model.decide(self._rows[at])
        agrees = expected.label == [d.label for d in decisions]
        agrees &= feature_crc(expected.feature) == [d.feature_crc for d in decisions]
        agrees &= (expected.probability == [d.probability for d in decisions]).all(axis=1)
        agrees &= (expected.score == [d.score for d in decisions]).all(axis=1)
        if not agrees.all():
            wrong = decisions[int(np.flatnonzero(~agrees)[0])]
            raise CheckFailedError(f"the decision on sample {wrong.of} is not what the model says")
