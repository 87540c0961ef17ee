"""The container of a model image: a header, and tagged sections that begin at multiples of four bytes.

All numbers are little-endian::

    char[4] "MLMD"   u16 version = 2   u16 sections   u32 bytes of the whole image
    u32 CRC-32 of everything but these four bytes
    then each section:  char[4] tag   u32 payload bytes   payload   zeros up to a multiple of four

The magic and the version stand where version 1 has them, so that a reader of either knows what it sees. A tag in
capitals must be understood; one in small letters may be skipped.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from stinger.errors import InputError

#: As large as the stock firmware's upload allows.
MAX_BYTES = 199_999
MAX_SECTIONS = 32
VERSION = 2
_MAGIC = b"MLMD"
_HEADER = struct.Struct("<4sHHII")
_SECTION = struct.Struct("<4sI")
_CRC_AT = 12


@dataclass(frozen=True)
class Section:
    """One section: a tag of four ASCII letters and its bytes."""

    tag: str
    payload: bytes


def pack(sections: Sequence[Section]) -> bytes:
    """Put sections into an image.

    Raises:
        InputError: They are too many or too large.
    """
    body = b"".join(
        _SECTION.pack(section.tag.encode("ascii"), len(section.payload))
        + section.payload
        + bytes(-len(section.payload) % 4)
        for section in sections
    )
    size = _HEADER.size + len(body)
    if len(sections) > MAX_SECTIONS or size > MAX_BYTES:
        raise InputError(
            f"the model image would have {len(sections)} sections and {size:,} bytes; at most {MAX_SECTIONS} and "
            f"{MAX_BYTES:,} fit a board, so train a smaller model"
        )
    head = _HEADER.pack(_MAGIC, VERSION, len(sections), size, 0)[:_CRC_AT]
    return head + struct.pack("<I", zlib.crc32(head + body)) + body


def unpack(data: bytes, name: str = "image") -> list[Section]:
    """Take an image apart.

    Args:
        data: The whole image, nothing after it.
        name: What to call it in messages.

    Raises:
        InputError: It is not an image of this version, or it is damaged.
    """
    if len(data) < _HEADER.size or data[:4] != _MAGIC:
        raise InputError(f"{name} is not a model image (it does not begin with MLMD); export the model again")
    _, version, count, size, crc = _HEADER.unpack_from(data)
    if version != VERSION:
        raise InputError(f"{name} is a model image of version {version}, this reads {VERSION}")
    if size != len(data) or size > MAX_BYTES or count > MAX_SECTIONS:
        raise InputError(f"{name} has {len(data)} bytes, its header says {size}; it was cut or joined, export it again")
    if zlib.crc32(data[:_CRC_AT] + data[_HEADER.size :]) != crc:
        raise InputError(f"{name} is damaged (its CRC-32 is wrong); export the model again")
    sections, at = [], _HEADER.size
    for _ in range(count):
        section, at = _next(data, at, name)
        sections.append(section)
    if at != len(data):
        raise InputError(f"{name} has bytes after its last section; export the model again")
    return sections


def _next(data: bytes, at: int, name: str) -> tuple[Section, int]:
    damaged = InputError(f"{name}: the section at byte {at} is damaged; export the model again")
    if len(data) - at < _SECTION.size:
        raise damaged
    tag, length = _SECTION.unpack_from(data, at)
    begin = at + _SECTION.size
    end = begin + length
    padded = end + -length % 4
    if length > len(data) or padded > len(data) or any(data[end:padded]) or not (tag.isalpha() and tag.isascii()):
        raise damaged
    return Section(tag.decode("ascii"), data[begin:end]), padded
