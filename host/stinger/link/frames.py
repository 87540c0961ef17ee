"""Binary frames that share a serial line with text: COBS, zero-delimited, checked by a CRC-16.

On the wire a frame is ``0x00 COBS(body) 0x00``; the body is little-endian and at most `MAX_BODY` bytes long::

    u8 version, u8 type, u16 session, u32 sequence, u32 device_us, u32 dropped, payload, u16 crc16

The CRC is CRC-16/CCITT-FALSE (polynomial 0x1021, start 0xFFFF) over everything before it. `FrameReader` takes
bytes as they come, starting anywhere, and gives back frames and text lines; ``device/stinger_ml`` reads and
writes the same format, and ``tests/vectors/frames.json`` holds both to it.
"""

from __future__ import annotations

import binascii
import struct
from dataclasses import dataclass

from stinger.errors import LinkError

#: Version of the protocol, the first byte of every body. Raise it when a reader of the old one would err.
PROTOCOL = 1
#: Longest body: what fits one COBS block together with its code byte.
MAX_BODY = 253
#: Longest text line that is kept; the answer to MLHELLO is the longest one there is.
MAX_LINE = 4096
#: Every reply of the firmware starts with this.
REPLY_PREFIX = "[ml] "

_HEADER = struct.Struct("<BBHIII")
_CRC = struct.Struct("<H")
_MAX_ENCODED = MAX_BODY + 1
_PRINTABLE = bytes((*range(0x20, 0x7F), 0x09))
_LF = 0x0A


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame.

    Attributes:
        type: What the payload is, see `stinger.link.messages.FrameType`; 0 to 255.
        session: Names one run of replay or streaming; 16 bits.
        sequence: Number of the frame in its session; 32 bits.
        device_us: The sender's clock in microseconds; 32 bits, wraps around.
        dropped: Frames the sender had to drop so far because nobody read them; 32 bits.
        payload: The message, at most 235 bytes.
    """

    type: int
    session: int
    sequence: int
    device_us: int
    dropped: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class TextLine:
    """One line of printable text, without its line end."""

    text: str


def crc16(data: bytes) -> int:
    """CRC-16/CCITT-FALSE: polynomial 0x1021, start 0xFFFF, not reflected; ``b"123456789"`` gives 0x29B1."""
    return binascii.crc_hqx(data, 0xFFFF)


def cobs_encode(data: bytes) -> bytes:
    """Encode at most `MAX_BODY` bytes so that no byte is zero; the result is one byte longer.

    Raises:
        LinkError: Too much data for one block.
    """
    if len(data) > MAX_BODY:
        raise LinkError(f"a frame holds at most {MAX_BODY} bytes, not {len(data)}; send fewer channels or classes")
    return b"".join(bytes((len(part) + 1,)) + part for part in data.split(b"\0"))


def cobs_decode(encoded: bytes) -> bytes:
    """Undo `cobs_encode`.

    Raises:
        LinkError: It is no COBS block of this length.
    """
    if not 0 < len(encoded) <= _MAX_ENCODED:
        raise LinkError(f"a COBS block of {len(encoded)} bytes, expected 1 to {_MAX_ENCODED}")
    parts = []
    position = 0
    while position < len(encoded):
        stop = position + encoded[position]
        part = encoded[position + 1 : stop]
        if stop == position or stop > len(encoded) or 0 in part:
            raise LinkError(f"not a COBS block: byte {position} points outside it")
        parts.append(part)
        position = stop
    return b"\0".join(parts)


def encode_frame(frame: Frame) -> bytes:
    """Turn a frame into the bytes that go over the wire, both delimiters included.

    Raises:
        LinkError: A field is out of range or the payload too long.
    """
    try:
        header = _HEADER.pack(PROTOCOL, frame.type, frame.session, frame.sequence, frame.device_us, frame.dropped)
    except struct.error as error:
        raise LinkError(f"a frame's header field is out of range: {error}") from error
    body = header + frame.payload
    return b"\0" + cobs_encode(body + _CRC.pack(crc16(body))) + b"\0"


def decode_frame(encoded: bytes) -> Frame:
    """Turn the bytes between two delimiters into a frame.

    Raises:
        LinkError: They are damaged, or of another protocol version.
    """
    body = cobs_decode(encoded)
    if not _HEADER.size + _CRC.size <= len(body) <= MAX_BODY:
        raise LinkError(f"a frame of {len(body)} bytes, expected {_HEADER.size + _CRC.size} to {MAX_BODY}")
    content = body[: -_CRC.size]
    if crc16(content) != _CRC.unpack(body[-_CRC.size :])[0]:
        raise LinkError("a frame arrived damaged: its CRC-16 is wrong")
    version, kind, session, sequence, device_us, dropped = _HEADER.unpack_from(content)
    if version != PROTOCOL:
        raise LinkError(f"a frame of protocol version {version}, this program speaks {PROTOCOL}")
    return Frame(kind, session, sequence, device_us, dropped, content[_HEADER.size :])


class FrameReader:
    """Splits a byte stream into frames and text lines; finds its feet again from any byte.

    A zero byte opens a frame, the next one closes it. What does not check out between two zeros is lost, and
    its closing zero is taken as an opening one, because it may have been: so a damaged frame costs no other.
    A line of printable text is a line in any state, since the second byte of a valid frame never is printable.

    Args:
        max_line: Longest text line that is kept, in characters; memory is bounded by it.

    Attributes:
        lost_bytes: Bytes that belonged to no frame and no printable line, without zeros and line feeds.
        lost_pieces: How many broken frames, broken lines or over-long ones those bytes were.
    """

    def __init__(self, max_line: int = MAX_LINE) -> None:
        self.lost_bytes = 0
        self.lost_pieces = 0
        self._max_line = max_line
        self._buffer = bytearray()
        self._in_frame = False
        self._discarding = False  # inside something too long: its rest is no line of its own

    def push(self, data: bytes) -> list[Frame | TextLine]:
        """Take the next bytes and return the frames and lines they complete, in order."""
        events: list[Frame | TextLine] = []
        for byte in data:
            if byte == 0:
                self._zero(events)
            elif self._discarding:
                self._discarding = byte != _LF
                self.lost_bytes += byte != _LF
            elif byte == _LF and (not self._in_frame or (self._buffer and _is_line(self._buffer))):
                self._line(events)
            else:
                self._buffer.append(byte)
                if len(self._buffer) > min(_MAX_ENCODED, self._max_line):
                    self._limit()
        return events

    def _zero(self, events: list[Frame | TextLine]) -> None:
        self._discarding = False
        if not self._in_frame:
            self._lose()  # lines are sent whole: one that a frame interrupts has lost its end
            self._in_frame = True
        elif self._buffer:
            try:
                events.append(decode_frame(bytes(self._buffer)))
            except LinkError:
                self._lose()
            else:
                self._buffer.clear()
                self._in_frame = False

    def _line(self, events: list[Frame | TextLine]) -> None:
        self._in_frame = False
        text = self._buffer.removesuffix(b"\r")
        if len(text) > self._max_line or not _is_line(text):
            self._lose()
            return
        if text:
            events.append(TextLine(text.decode("ascii")))
        self._buffer.clear()

    def _limit(self) -> None:
        if self._in_frame and len(self._buffer) > _MAX_ENCODED and _is_line(self._buffer):
            self._in_frame = False  # too long for a frame, so it is text, and its limit is the other one
        limit = _MAX_ENCODED if self._in_frame else self._max_line + self._buffer.endswith(b"\r")
        if len(self._buffer) > limit:
            self._lose()
            self._in_frame = False
            self._discarding = True

    def _lose(self) -> None:
        self.lost_bytes += len(self._buffer)
        self.lost_pieces += bool(self._buffer)
        self._buffer.clear()


def _is_line(data: bytearray) -> bool:
    return not data.removesuffix(b"\r").translate(None, _PRINTABLE)
