"""Walking an MCAP file record by record, with every size bounded before it is believed and every checksum checked.

The file is read once, front to back, as a recorder wrote it; nothing needs its index. What comes out are its
metadata records and its messages in batches, so that a day of samples never exists as Python objects at once. The
layout of records is the `mcap` package's; walking, limits and decompression are done here, because the package
believes the lengths that a file states.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeVar

import lz4.frame  # type: ignore[import-untyped]  # ships none
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, Metadata, Schema

from stinger.errors import InputError

MAGIC = b"\x89MCAP0\r\n"
MAX_FILE_BYTES = 1 << 30
MAX_RECORD_BYTES = 32 << 20
#: A chunk, once decompressed. Recorders write 1 to 4 MiB.
MAX_CHUNK_BYTES = 16 << 20
MAX_MESSAGE_BYTES = 1 << 20
MAX_CHANNELS = 4096
MAX_TOPIC = 128
#: A file may unpack to this, and to so many times its own size beyond it, but never to more than a day and a half of
#: samples; sensor messages compress 3 to 20 times.
FREE_BYTES, MAX_RATIO, MAX_UNPACKED_BYTES = 64 << 20, 100, 8 << 30
#: Messages of one topic decoded at once.
BATCH_MESSAGES, _BATCH_BYTES = 1 << 16, 4 << 20

_HEAD = struct.Struct("<BQ")
_MESSAGE = struct.Struct("<HIQQ")
_LENGTH = struct.Struct("<I")
_ZSTD_WINDOW = 1 << 26
_SKIP_BYTES = 1 << 20
#: What parsing a damaged record can raise.
_BROKEN = (McapError, struct.error, UnicodeDecodeError, OverflowError, EOFError)

R = TypeVar("R")


@dataclass(frozen=True)
class Topic:
    """One channel of the file: its topic, the name of its schema, and how its messages are encoded."""

    name: str
    schema: str
    encoding: str


@dataclass
class Batch:
    """Some consecutive messages of one topic: log times in nanoseconds and raw contents."""

    topic: Topic
    times: list[int] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    size: int = 0


def read_items(path: Path, wanted: Callable[[Topic], bool]) -> Iterator[Metadata | Topic | Batch]:
    """Walk a file: metadata records and topics as they come, messages of the wanted topics in batches.

    Raises:
        InputError: The file is missing, cut short, damaged, too large, or unpacks to more than is plausible.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise InputError(f"{path.name}: larger than {MAX_FILE_BYTES >> 20} MiB; split the recording")
        with path.open("rb") as stream:
            yield from _Walk(stream, size, path.name, wanted).items()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}; give a recording's own file") from error


class _Walk:
    """State of one pass over one file."""

    def __init__(self, stream: BinaryIO, size: int, name: str, wanted: Callable[[Topic], bool]) -> None:
        self._stream = stream
        self._left = size
        self._name = name
        self._wanted = wanted
        self._crc = 0
        self._budget = min(FREE_BYTES + MAX_RATIO * size, MAX_UNPACKED_BYTES)
        self._schemas: dict[int, str] = {}
        self._topics: dict[int, Topic] = {}
        self._batches: dict[int, Batch] = {}

    def items(self) -> Iterator[Metadata | Topic | Batch]:
        if self._take(len(MAGIC)) != MAGIC:
            raise InputError(f"{self._name}: not an MCAP file; give a recording's own file")
        while True:
            crc = self._crc
            opcode, length = _HEAD.unpack(self._take(_HEAD.size))
            if opcode == Opcode.DATA_END:
                stated = _LENGTH.unpack(self._body(opcode, length)[:4].ljust(4, b"\0"))[0]
                self._check_crc(stated, crc, "its data")
                break
            yield from self._record(opcode, length)
        yield from self._flush()
        self._summary()

    def _summary(self) -> None:
        """Only checked: what it says has been seen already."""
        self._crc = 0
        while True:
            opcode, length = _HEAD.unpack(self._take(_HEAD.size, checked=False))
            if opcode == Opcode.FOOTER:
                break
            self._crc = zlib.crc32(_HEAD.pack(opcode, length), self._crc)
            self._skip(length)
        body = self._body(opcode, length, checked=False)
        if length != 20:
            raise self._damaged("its footer has a wrong size")
        crc = zlib.crc32(_HEAD.pack(opcode, length) + body[:16], self._crc)
        self._check_crc(_LENGTH.unpack(body[16:])[0], crc, "its summary")
        if self._take(len(MAGIC), checked=False) != MAGIC or self._left:
            raise self._damaged("it does not end where it says")

    def _record(self, opcode: int, length: int) -> Iterator[Metadata | Topic | Batch]:
        if opcode == Opcode.CHUNK:
            yield from self._records_of_chunk(self._decompressed(self._body(opcode, length)))
        elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL, Opcode.MESSAGE):
            body = self._body(opcode, length)
            yield from self._inner(opcode, body, 0, length)
        elif opcode == Opcode.METADATA:
            yield self._parse(Metadata.read, self._body(opcode, length))
        else:
            self._skip(length)

    def _records_of_chunk(self, data: bytes) -> Iterator[Topic | Batch]:
        at, end = 0, len(data)
        while at < end:
            if end - at < _HEAD.size:
                raise self._damaged("a chunk ends in mid-record")
            opcode, length = _HEAD.unpack_from(data, at)
            at += _HEAD.size
            if length > end - at:
                raise self._damaged("a chunk ends in mid-record")
            yield from self._inner(opcode, data, at, length)
            at += length
        yield from self._flush()

    def _inner(self, opcode: int, data: bytes, at: int, length: int) -> Iterator[Topic | Batch]:
        """Take a record that may lie inside a chunk or outside: schema, channel or message."""
        if opcode == Opcode.MESSAGE:
            if self._message(data, at, length):
                yield from self._flush()
        elif opcode == Opcode.SCHEMA:
            schema = self._parse(Schema.read, data[at : at + length])
            self._schemas[schema.id] = schema.name
            if len(self._schemas) > MAX_CHANNELS:
                raise self._too_many("schemas")
        elif opcode == Opcode.CHANNEL:
            yield self._channel(self._parse(Channel.read, data[at : at + length]))

    def _message(self, data: bytes, at: int, length: int) -> bool:
        """Keep a message if its topic is wanted; True when there are enough for a batch."""
        if length < _MESSAGE.size:
            raise self._damaged("a message is too short")
        channel, _, log_time, _ = _MESSAGE.unpack_from(data, at)
        batch = self._batches.get(channel)
        if batch is None:
            if channel not in self._topics:
                raise self._damaged(f"a message belongs to channel {channel}, which it does not have")
            return False
        if length > MAX_MESSAGE_BYTES:
            raise InputError(f"{self._name}: a message of {batch.topic.name} has {length} bytes; this is no reading")
        batch.times.append(log_time)
        batch.contents.append(data[at + _MESSAGE.size : at + length])
        batch.size += length
        return len(batch.times) >= BATCH_MESSAGES or batch.size >= _BATCH_BYTES

    def _channel(self, channel: Channel) -> Topic:
        if channel.schema_id and channel.schema_id not in self._schemas:
            raise self._damaged(f"a channel has schema {channel.schema_id}, which it does not have")
        if not 0 < len(channel.topic) <= MAX_TOPIC or not channel.topic.isprintable():
            raise self._damaged("a topic's name is empty, too long or unprintable")
        topic = Topic(channel.topic, self._schemas.get(channel.schema_id, ""), channel.message_encoding)
        if self._topics.setdefault(channel.id, topic) != topic:
            raise self._damaged(f"two channels have the number {channel.id}")
        if len(self._topics) > MAX_CHANNELS:
            raise self._too_many("channels")
        if channel.id not in self._batches and self._wanted(topic):
            self._batches[channel.id] = Batch(topic)
        return topic

    def _flush(self) -> Iterator[Batch]:
        for channel, batch in self._batches.items():
            if batch.times:
                self._batches[channel] = Batch(batch.topic)
                yield batch

    def _decompressed(self, body: bytes) -> bytes:
        chunk = self._parse(Chunk.read, body)
        size = chunk.uncompressed_size
        self._budget -= size
        if size > MAX_CHUNK_BYTES or self._budget < 0:
            what = "a chunk" if size > MAX_CHUNK_BYTES else "it"
            raise InputError(f"{self._name}: {what} unpacks to more than is plausible; record it again")
        try:
            if chunk.compression == "zstd":
                reader = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).stream_reader(chunk.data)
                data = reader.read(size + 1)
            elif chunk.compression == "lz4":
                data = lz4.frame.LZ4FrameDecompressor().decompress(chunk.data, max_length=size + 1)
            elif chunk.compression == "":
                data = chunk.data
            else:
                raise InputError(
                    f"{self._name}: a chunk is compressed with {chunk.compression[:16]!r}; zstd and lz4 are read"
                )
        except (zstandard.ZstdError, RuntimeError, MemoryError) as error:
            raise self._damaged("a chunk does not unpack") from error
        if len(data) != size:
            raise self._damaged("a chunk does not unpack to the size it states")
        self._check_crc(chunk.uncompressed_crc, zlib.crc32(data), "a chunk")
        return data

    def _take(self, count: int, *, checked: bool = True) -> bytes:
        """Read exactly so many bytes; they count for the checksum unless told otherwise."""
        data = self._stream.read(count) if count <= self._left else b""
        if len(data) != count:
            raise InputError(f"{self._name}: the file is cut short; copy or record it again")
        self._left -= count
        if checked:
            self._crc = zlib.crc32(data, self._crc)
        return data

    def _body(self, opcode: int, length: int, *, checked: bool = True) -> bytes:
        if length > MAX_RECORD_BYTES:
            raise InputError(
                f"{self._name}: a record of kind {opcode} has {length} bytes, at most {MAX_RECORD_BYTES >> 20} MiB are "
                "read; record with smaller chunks"
            )
        return self._take(length, checked=checked)

    def _skip(self, length: int) -> None:
        while length:
            length -= len(self._take(min(length, _SKIP_BYTES)))

    def _parse(self, read: Callable[[ReadDataStream], R], body: bytes) -> R:
        try:
            return read(ReadDataStream(io.BytesIO(body)))
        except _BROKEN as error:
            raise self._damaged("a record makes no sense") from error

    def _check_crc(self, stated: int, actual: int, what: str) -> None:
        # Zero says that the writer did not count.
        if stated not in (0, actual):
            raise self._damaged(f"{what} fails its checksum")

    def _damaged(self, what: str) -> InputError:
        return InputError(f"{self._name}: the file is damaged ({what}); copy or record it again")

    def _too_many(self, what: str) -> InputError:
        return InputError(f"{self._name}: more than {MAX_CHANNELS} {what}; split the recording")
