"""What frames carry: samples to and from a board, its decisions, and the end of a replay."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from stinger.errors import LinkError

#: Probability 1 on the wire.
ONE = 32768

_SAMPLE = struct.Struct("<IBB")
_DECISION = struct.Struct("<IIIHBBBB")
_END = struct.Struct("<III")
_GAP = 1
_READY = 1
_ON = 2


class FrameType(IntEnum):
    """The type byte of a frame."""

    SAMPLE = 1
    DECISION = 2
    END = 3


@dataclass(frozen=True, slots=True)
class Sample:
    """One IMU sample.

    Attributes:
        t_us: Device time in microseconds; 32 bits, wraps around.
        values: One int16 count per channel.
        gap: A gap lies before this sample that its time alone does not show.
    """

    t_us: int
    values: tuple[int, ...]
    gap: bool = False

    def pack(self) -> bytes:
        """Return the payload of a SAMPLE frame.

        Raises:
            LinkError: A value is out of range.
        """
        channels = len(self.values)
        try:
            head = _SAMPLE.pack(self.t_us, _GAP if self.gap else 0, channels)
            return head + struct.pack(f"<{channels}h", *self.values)
        except struct.error as error:
            raise LinkError(f"the sample at {self.t_us} us does not fit a frame: {error}") from error

    @classmethod
    def unpack(cls, payload: bytes) -> Sample:
        """Read the payload of a SAMPLE frame.

        Raises:
            LinkError: It has the wrong length or unknown flags.
        """
        t_us, flags, channels = _unpack_head(_SAMPLE, payload, "sample")
        _check(len(payload) == _SAMPLE.size + 2 * channels, f"sample of {channels} channels", payload)
        _check(flags <= _GAP, f"sample with unknown flags {flags:#x}", payload)
        return cls(t_us, struct.unpack_from(f"<{channels}h", payload, _SAMPLE.size), bool(flags & _GAP))


@dataclass(frozen=True, slots=True)
class Decision:
    """What the board made of one sample.

    Attributes:
        of: Sequence number of the sample answered.
        t_us: Device time of that sample in microseconds; 32 bits.
        cycles: Processor cycles that taking the sample and deciding cost.
        ready: The window was full; when it was not, the fields below are zero or empty.
        label: Index of the class decided for.
        feature_crc: CRC-16 of the int16 feature vector, little-endian.
        probability: One value per class in units of 1/32768.
        score: The model's scores before they become probabilities, int32.
        on: The policy is on; it can be so while a window fills, too.
    """

    of: int
    t_us: int
    cycles: int
    ready: bool = False
    label: int = 0
    feature_crc: int = 0
    probability: tuple[int, ...] = ()
    score: tuple[int, ...] = ()
    on: bool = False

    def pack(self) -> bytes:
        """Return the payload of a DECISION frame.

        Raises:
            LinkError: A value is out of range.
        """
        classes, scores = len(self.probability), len(self.score)
        flags = (_READY if self.ready else 0) | (_ON if self.on else 0)
        try:
            return _DECISION.pack(
                self.of, self.t_us, self.cycles, self.feature_crc, flags, self.label, classes, scores
            ) + struct.pack(f"<{classes}H{scores}i", *self.probability, *self.score)
        except struct.error as error:
            raise LinkError(f"the decision of sample {self.of} does not fit a frame: {error}") from error

    @classmethod
    def unpack(cls, payload: bytes) -> Decision:
        """Read the payload of a DECISION frame.

        Raises:
            LinkError: It has the wrong length or values that no decision can have.
        """
        of, t_us, cycles, crc, flags, label, classes, scores = _unpack_head(_DECISION, payload, "decision")
        size = _DECISION.size + 2 * classes + 4 * scores
        _check(len(payload) == size, f"decision of {classes} classes and {scores} scores", payload)
        _check(flags <= _READY | _ON, f"decision with unknown flags {flags:#x}", payload)
        values = struct.unpack_from(f"<{classes}H{scores}i", payload, _DECISION.size)
        probability, score = values[:classes], values[classes:]
        if flags & _READY:
            _check(label < classes, f"decision for class {label} of {classes}", payload)
            _check(all(p <= ONE for p in probability), "decision with a probability above 1", payload)
        else:
            _check(not (classes or scores or label or crc), "decision before the window is full", payload)
        return cls(of, t_us, cycles, bool(flags & _READY), label, crc, probability, score, bool(flags & _ON))


@dataclass(frozen=True, slots=True)
class End:
    """The board's own count at the end of a replay.

    Attributes:
        samples: Samples it took.
        decisions: Full windows it decided on; fewer than samples, since every stretch begins with a filling one.
        bad_frames: Damaged frames it saw.
    """

    samples: int
    decisions: int
    bad_frames: int

    def pack(self) -> bytes:
        """Return the payload of an END frame."""
        return _END.pack(self.samples, self.decisions, self.bad_frames)

    @classmethod
    def unpack(cls, payload: bytes) -> End:
        """Read the payload of an END frame.

        Raises:
            LinkError: It has the wrong length.
        """
        _check(len(payload) == _END.size, "end of replay", payload)
        return cls(*_END.unpack(payload))


def _unpack_head(layout: struct.Struct, payload: bytes, what: str) -> tuple[int, ...]:
    _check(len(payload) >= layout.size, what, payload)
    head: tuple[int, ...] = layout.unpack_from(payload)
    return head


def _check(holds: bool, what: str, payload: bytes) -> None:
    if not holds:
        raise LinkError(
            f"the board sent an impossible {what} ({len(payload)} bytes): its firmware does not "
            f"match this program; flash it again"
        )
