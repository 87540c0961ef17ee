"""Replaying samples into a board: what is sent, and what must hold for the answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stinger.errors import LinkError, UsageError
from stinger.link.frames import Frame, encode_frame
from stinger.link.info import ModelInfo
from stinger.link.messages import Decision, End, FrameType, Sample
from stinger.models.policy import Policy

#: The host's frames name no session of their own; the board's do.
_HOST_SESSION = 0


@dataclass(frozen=True)
class ReplayResult:
    """A board's decisions, one row per sample sent.

    Attributes:
        ready: The window was full, bool, shape ``(n,)``; every other output is zero where it was not.
        label: Index of the class, uint8, shape ``(n,)``.
        probability: In units of 1/32768, uint16, shape ``(n, classes)``.
        score: The model's scores, int32, shape ``(n, scores)``; no columns when no window ever was full.
        feature_crc: CRC-16 of the feature vector, uint16, shape ``(n,)``.
        cycles: Processor cycles per sample, uint32, shape ``(n,)``.
        dropped: Frames the board had to drop meanwhile.
        on: The policy was on after the sample, bool, shape ``(n,)``; None in logs that do not tell.
        policy: What the board says its policy is; None if it has none, or in logs.
    """

    ready: NDArray[np.bool_]
    label: NDArray[np.uint8]
    probability: NDArray[np.uint16]
    score: NDArray[np.int32]
    feature_crc: NDArray[np.uint16]
    cycles: NDArray[np.uint32]
    dropped: int
    on: NDArray[np.bool_] | None = None
    policy: Policy | None = None


def hidden_gaps(t_us: NDArray[np.int64], gap_before: NDArray[np.bool_], period_us: int) -> NDArray[np.bool_]:
    """Mark the gaps that a board cannot see in its 32-bit time and must be told of.

    Args:
        t_us: Time of each sample in microseconds, shape ``(n,)``.
        gap_before: Whether each sample starts a new stretch, shape ``(n,)``.
        period_us: The model's sample period.

    Returns:
        Boolean array of shape ``(n,)``. The first sample's gap is always a hidden one.

    Raises:
        UsageError: The board will see a gap where ``gap_before`` has none.
    """
    hidden = gap_before.copy()
    step = np.diff(t_us) % (1 << 32)
    visible = (step == 0) | (2 * step > 3 * period_us)
    unexpected = np.flatnonzero(visible & ~gap_before[1:])
    if len(unexpected):
        at = int(unexpected[0])
        raise UsageError(
            f"sample {at + 1} comes {int(t_us[at + 1] - t_us[at])} us after the one before, which the model "
            f"(one sample every {period_us} us) takes for a gap; replay a recording of the model's own rate"
        )
    hidden[1:] &= ~visible
    return hidden


class Replay:
    """One replay in progress: the frames to send, and the checks and storage of what comes back.

    Args:
        model: The board's model.
        max_body: Longest frame body the board takes, in bytes.
        samples: int16, shape ``(n, channels)``.
        t_us: int64, shape ``(n,)``; sent modulo 2^32.
        gap_before: bool, shape ``(n,)``.

    Raises:
        UsageError: The samples do not fit the model.
    """

    def __init__(
        self,
        model: ModelInfo,
        max_body: int,
        samples: NDArray[np.int16],
        t_us: NDArray[np.int64],
        gap_before: NDArray[np.bool_],
    ) -> None:
        n = len(samples)
        if samples.dtype != np.int16 or samples.shape != (n, model.channels) or n == 0:
            raise UsageError(
                f"the board's model takes int16 samples of shape (n, {model.channels}), "
                f"not {samples.dtype}{samples.shape}"
            )
        if t_us.shape != (n,) or gap_before.shape != (n,):
            raise UsageError(f"{n} samples need {n} times and gap marks, not {len(t_us)} and {len(gap_before)}")
        if 24 + 2 * model.channels > max_body:
            raise LinkError(f"the board takes no frame with {model.channels} channels; its firmware is inconsistent")
        self.received = 0
        self.total = n
        self.ended = False
        self._t_us = (t_us.astype(np.int64) % (1 << 32)).tolist()
        self._gap = hidden_gaps(t_us.astype(np.int64), gap_before, model.period_us).tolist()
        self._samples = samples
        self._session: int | None = None
        self._first_dropped = 0
        self._dropped = 0
        self._ready = np.zeros(n, np.bool_)
        self._label = np.zeros(n, np.uint8)
        self._probability = np.zeros((n, len(model.classes)), np.uint16)
        self._score: NDArray[np.int32] | None = None
        self._feature_crc = np.zeros(n, np.uint16)
        self._cycles = np.zeros(n, np.uint32)
        self._on = np.zeros(n, np.bool_)
        self._policy = model.policy

    def frames(self, start: int, stop: int) -> bytes:
        """Return the wire bytes of samples ``start`` to ``stop``."""
        return b"".join(
            encode_frame(
                Frame(
                    type=FrameType.SAMPLE,
                    session=_HOST_SESSION,
                    sequence=i,
                    device_us=self._t_us[i],
                    dropped=0,
                    payload=Sample(self._t_us[i], tuple(self._samples[i].tolist()), self._gap[i]).pack(),
                )
            )
            for i in range(start, stop)
        )

    def take(self, frame: Frame) -> None:
        """Check and store one frame from the board.

        Raises:
            LinkError: It is not the answer that is due; names the sample.
        """
        if self._session is None:
            self._session, self._first_dropped = frame.session, frame.dropped
        elif frame.session != self._session:
            raise LinkError(
                f"the board restarted at {self.where()}: its session changed from {self._session} to {frame.session}"
            )
        self._dropped = (frame.dropped - self._first_dropped) % (1 << 32)
        if frame.type == FrameType.DECISION:
            self._take_decision(Decision.unpack(frame.payload))
        elif frame.type == FrameType.END:
            self._take_end(End.unpack(frame.payload))
        else:
            raise LinkError(f"the board sent a frame of type {frame.type} at {self.where()}, an answer was due")

    def result(self) -> ReplayResult:
        """Return all decisions; call it when ``ended`` is true."""
        score = self._score if self._score is not None else np.zeros((self.total, 0), np.int32)
        return ReplayResult(
            ready=self._ready,
            label=self._label,
            probability=self._probability,
            score=score,
            feature_crc=self._feature_crc,
            cycles=self._cycles,
            dropped=self._dropped,
            on=self._on,
            policy=self._policy,
        )

    def where(self) -> str:
        """Say which sample is waiting for its answer."""
        return f"sample {self.received} of {self.total}"

    def _take_decision(self, decision: Decision) -> None:
        i = self.received
        if decision.of != i:
            what = f"answered sample {decision.of} again" if decision.of < i else f"next answered sample {decision.of}"
            lost = "the replay is over" if i == self.total else f"the answer to {self.where()} was lost"
            raise LinkError(f"{lost}: the board {what}; try again, and over another cable or port if it comes back")
        if i == self.total or decision.t_us != self._t_us[i]:
            raise LinkError(
                f"the board answered sample {i} of {self.total} for time {decision.t_us} us, "
                "which was not sent; flash it again"
            )
        self._cycles[i] = decision.cycles
        self._on[i] = decision.on
        if decision.ready:
            self._store(i, decision)
        self.received += 1

    def _store(self, i: int, decision: Decision) -> None:
        if self._score is None:
            self._score = np.zeros((self.total, len(decision.score)), np.int32)
        shape = (len(decision.probability), len(decision.score))
        expected = (self._probability.shape[1], self._score.shape[1])
        if shape != expected:
            raise LinkError(
                f"the board answered sample {i} with {shape[0]} classes and {shape[1]} scores, "
                f"expected {expected[0]} and {expected[1]}; flash it again"
            )
        self._ready[i] = True
        self._label[i] = decision.label
        self._probability[i] = decision.probability
        self._score[i] = decision.score
        self._feature_crc[i] = decision.feature_crc

    def _take_end(self, end: End) -> None:
        decisions = int(self._ready.sum())
        if end != End(self.total, decisions, 0) or self.received != self.total:
            raise LinkError(
                f"the replay went wrong: of {self.total} samples the board took {end.samples} and decided on "
                f"{end.decisions} ({end.bad_frames} damaged frames); {self.received} answers with {decisions} "
                "decisions arrived; try again"
            )
        self.ended = True
