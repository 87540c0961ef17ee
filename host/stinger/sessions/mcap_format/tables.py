"""Writing whole tables of sensor messages at once, hundreds of thousands of messages a second.

The layout is ``sensors`` of `writing`: a topic per sensor, each message a `sensor_event`, a metadata record that makes
the raw topics read back as a recording, and labels in a JSON file beside it. Here values are exact decimal numbers,
not counts, and there may be topics beside those of the recording (truths and poses), which its reader leaves alone.

All messages of a topic have the same length, because numbers are padded to a width; so a block of samples is one numpy
array of records, filled column by column, and no message is touched by itself.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import zstandard
from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import Channel as ChannelRecord
from mcap.records import (
    Chunk,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.files import replace_file
from stinger.sessions.mcap_format import schemas as mcap_schemas
from stinger.sessions.mcap_format.labels import check_labels, labels_of, labels_path, write_labels
from stinger.sessions.mcap_format.quantities import topics_of
from stinger.sessions.mcap_format.stream import MAGIC
from stinger.sessions.mcap_format.writing import EVENTS_TOPIC, LIBRARY, METADATA, describe, event_messages
from stinger.sessions.session import Session

#: Values must be below this.
LARGEST = 9999.0
#: Samples in a chunk; of eight topics they make about a megabyte.
_BLOCK = 1024
_ZSTD_LEVEL = 1
_STAMP_WIDTH = 20
#: ``0000`` to ``9999``; and ``    0.`` to `` 9999.``, then ``   -0.`` to ``-9999.``.
_DIGITS = np.frombuffer(b"".join(b"%04d" % i for i in range(10_000)), dtype="<u4")
_WHOLE = np.frombuffer(
    b"".join([b"%5d." % i for i in range(10_000)] + [b"%5s." % (b"-%d" % i) for i in range(10_000)]), dtype=np.uint8
).reshape(-1, 6)
_MESSAGE_HEAD = [("opcode", "u1"), ("length", "<u8"), ("channel", "<u2"), ("sequence", "<u4")]
_MESSAGE_HEAD += [("log_time", "<u8"), ("publish_time", "<u8")]


@dataclass(frozen=True)
class Table:
    """All messages of one topic.

    Attributes:
        topic: Its name.
        values: float64, shape ``(n, width)``, finite and smaller than `LARGEST`.
        decimals: Digits after the point, a multiple of 4 up to 16; large values get fewer.
    """

    topic: str
    values: NDArray[np.float64]
    decimals: int


def write_tables(session: Session, times_ns: NDArray[np.int64], tables: Sequence[Table], path: Path) -> None:
    """Write a recording with exact values, and its labels to ``<stem>.labels.json``.

    Args:
        session: What reading the file gives.
        times_ns: Time of each sample, shape ``(n,)``; none negative.
        tables: Its topics and any others.
        path: Where to.

    Raises:
        InputError: Something cannot be written so that it reads back, or the place cannot be written.
    """
    topics = topics_of(session.channels)
    labels = labels_of([session])
    check_labels(labels, path.name)
    if len(times_ns) != len(session) or int(times_ns.min(initial=0)) < 0:
        raise InputError(f"{path.name}: {len(times_ns)} times for {len(session)} samples, or negative ones")
    for table in tables:
        if len(table.values) != len(session) or not (np.abs(table.values) < LARGEST).all():
            raise InputError(f"{path.name}: values of {table.topic} are too few, too large or not finite")
    events_topic = f"{EVENTS_TOPIC}/{topics[0][0]}"
    about = describe(session, "sensors", topics=topics, events_topic=events_topic, shift_us=0)
    with replace_file(path) as stream:
        writer = _TableWriter(stream)
        writer.put(Header(profile="", library=LIBRARY), magic=True)
        writer.put_metadata(Metadata(name=METADATA, metadata={"session": about}))
        writer.put_schema(1, mcap_schemas.SENSOR_EVENT, mcap_schemas.sensor_event())
        writer.put_schema(2, mcap_schemas.LOG, mcap_schemas.log())
        for number, table in enumerate(tables, start=1):
            writer.put_channel(number, table.topic, schema=1)
        events = len(tables) + 1
        if session.events:
            writer.put_channel(events, events_topic, schema=2)
        moments = list(event_messages(session, 0))
        form = _Form(tables)
        for start in range(0, len(session), _BLOCK):
            part = slice(start, min(start + _BLOCK, len(session)))
            last = part.stop == len(session)
            now = [moment for moment in moments if last or moment[0] <= times_ns[part.stop - 1]]
            moments = moments[len(now) :]
            writer.put_block(form.rows(times_ns, part), form.strides, times_ns[part], (events, now))
        writer.finish()
    if labels:
        write_labels(labels, labels_path(path))


class _Form:
    """The record of one sample: a message of each topic, one after another."""

    def __init__(self, tables: Sequence[Table]) -> None:
        self._tables = tables
        self._groups = [_groups(table) for table in tables]
        self._texts: list[NDArray[np.uint8]] = []
        self._columns: list[tuple[int, list[int]]] = []
        fields: list[Any] = []
        #: Where in the record of a sample each topic's message starts, and at the end the length of all of it.
        self.strides = [0]
        for table, groups in zip(tables, self._groups, strict=True):
            self._layout(table, groups)
            length = len(self._texts[-1])
            fields.append((f"t{len(fields)}", [*_MESSAGE_HEAD, ("text", "u1", (length,))]))
            self.strides.append(self.strides[-1] + np.dtype(fields[-1][1]).itemsize)
        self._dtype = np.dtype(fields)

    def _layout(self, table: Table, groups: int) -> None:
        """Write down the text of a topic's messages with room for the numbers, and where the numbers go."""
        text = f'{{"id":{json.dumps(table.topic)},"timestamp":'.encode()
        stamp = len(text)
        text += b" " * _STAMP_WIDTH + b',"values":['
        columns = []
        for index in range(table.values.shape[1]):
            text += b"," if index else b""
            columns.append(len(text))
            text += b" " * (6 + 4 * groups)
        self._texts.append(np.frombuffer(text + b"]}", dtype=np.uint8))
        self._columns.append((stamp, columns))

    def rows(self, times_ns: NDArray[np.int64], part: slice) -> NDArray[Any]:
        """Return the records of some samples, shape ``(m,)``."""
        times = times_ns[part]
        rows = np.empty(len(times), dtype=self._dtype)
        stamps = _stamps(times)
        for index, (table, groups) in enumerate(zip(self._tables, self._groups, strict=True)):
            record, template = rows[f"t{index}"], self._texts[index]
            record["opcode"] = Opcode.MESSAGE
            record["length"] = 22 + len(template)
            record["channel"] = index + 1
            record["sequence"] = np.arange(part.start, part.stop)
            record["log_time"] = record["publish_time"] = times
            text = record["text"]
            text[:] = template
            stamp, columns = self._columns[index]
            text[:, stamp : stamp + _STAMP_WIDTH] = stamps
            numbers = _numbers(table.values[part], groups)
            for column, at in enumerate(columns):
                text[:, at : at + numbers.shape[2]] = numbers[:, column]
        return rows


def _groups(table: Table) -> int:
    """Groups of four digits after the point that keep the scaled values within 63 bits."""
    largest = float(np.abs(table.values).max(initial=0))
    return min(table.decimals // 4, 4 if largest < 900 else 3)


def _numbers(values: NDArray[np.float64], groups: int) -> NDArray[np.uint8]:
    """Write numbers in decimal, right-aligned, shape ``(..., 6 + 4 · groups)``."""
    left = np.rint(np.abs(values) * 10.0 ** (4 * groups)).astype(np.int64)
    text = np.empty((*values.shape, 6 + 4 * groups), dtype=np.uint8)
    for group in range(groups, 0, -1):
        rest = left // 10_000
        digits = _DIGITS[left - rest * 10_000]
        text[..., 2 + 4 * group : 6 + 4 * group] = digits[..., None].view(np.uint8)
        left = rest
    text[..., :6] = _WHOLE[left + 10_000 * np.signbit(values)]
    return text


def _stamps(times_ns: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Write whole numbers of up to 20 digits, right-aligned, shape ``(n, 20)``."""
    text = np.empty((len(times_ns), _STAMP_WIDTH), dtype=np.uint8)
    left = times_ns
    for at in range(_STAMP_WIDTH - 4, -1, -4):
        rest = left // 10_000
        text[:, at : at + 4] = _DIGITS[left - rest * 10_000][:, None].view(np.uint8)
        left = rest
    leading = np.logical_and.accumulate(text[:, :-1] == ord("0"), axis=1)
    text[:, :-1][leading] = ord(" ")
    return text


class _TableWriter:
    """An MCAP file in the making: records in order, and what its summary will say."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._at = 0
        self._crc = 0
        self._schemas: list[McapRecord] = []
        self._channels: list[McapRecord] = []
        self._chunks: list[McapRecord] = []
        self._metadata: list[McapRecord] = []
        self._counts: dict[int, int] = {}
        self._first: int | None = None
        self._last = 0

    def put(self, record: McapRecord, *, magic: bool = False) -> int:
        """Write a record and return its length."""
        return self._put_bytes((MAGIC if magic else b"") + _bytes(record))

    def put_metadata(self, record: Metadata) -> None:
        start = self._at
        length = self.put(record)
        self._metadata.append(MetadataIndex(offset=start, length=length, name=record.name))

    def put_schema(self, number: int, name: str, data: bytes) -> None:
        self._schemas.append(Schema(id=number, name=name, encoding="jsonschema", data=data))
        self.put(self._schemas[-1])

    def put_channel(self, number: int, topic: str, schema: int) -> None:
        record = ChannelRecord(id=number, topic=topic, message_encoding="json", metadata={}, schema_id=schema)
        self._channels.append(record)
        self.put(record)

    def put_block(
        self,
        rows: NDArray[Any],
        strides: Sequence[int],
        times: NDArray[np.int64],
        moments: tuple[int, Sequence[tuple[int, bytes]]],
    ) -> None:
        """Write a chunk: events of its time, then its samples; and where in it each message is."""
        number, events = moments
        head, places = b"", []
        for time, content in events:
            places.append((time, len(head)))
            record = np.zeros(1, dtype=_MESSAGE_HEAD)
            record[0] = (Opcode.MESSAGE, 22 + len(content), number, 0, time, time)
            head += record.tobytes() + content
        data = head + rows.tobytes()
        indices = [(number, np.array(places, dtype="<u8"))] if places else []
        sample = len(head) + np.arange(len(rows), dtype=np.int64) * strides[-1]
        for channel, offset in enumerate(strides[:-1], start=1):
            indices.append((channel, np.stack([times, sample + offset], axis=1).astype("<u8")))
        first = min([int(times[0]), *(time for time, _ in events)])
        last = max([int(times[-1]), *(time for time, _ in events)])
        chunk = Chunk(
            compression="zstd",
            data=zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(data),
            message_start_time=first,
            message_end_time=last,
            uncompressed_crc=zlib.crc32(data),
            uncompressed_size=len(data),
        )
        start = self._at
        length = self.put(chunk)
        offsets = {}
        index_start = self._at
        for channel, table in indices:
            offsets[channel] = self._at
            self._put_bytes(_index(channel, table))
            self._counts[channel] = self._counts.get(channel, 0) + len(table)
        self._first = first if self._first is None else min(self._first, first)
        self._last = max(self._last, last)
        self._chunks.append(
            ChunkIndex(
                message_start_time=first,
                message_end_time=last,
                chunk_start_offset=start,
                chunk_length=length,
                message_index_offsets=offsets,
                message_index_length=self._at - index_start,
                compression="zstd",
                compressed_size=len(chunk.data),
                uncompressed_size=len(data),
            )
        )

    def finish(self) -> None:
        """Write the end of the data, the summary and the footer."""
        self.put(DataEnd(self._crc))
        statistics = Statistics(
            attachment_count=0,
            channel_count=len(self._channels),
            channel_message_counts=self._counts,
            chunk_count=len(self._chunks),
            message_count=sum(self._counts.values()),
            message_end_time=self._last,
            message_start_time=self._first or 0,
            metadata_count=len(self._metadata),
            schema_count=len(self._schemas),
        )
        start = self._at
        summary, offsets = b"", b""
        for opcode, group in self._summary(statistics):
            content = b"".join(_bytes(record) for record in group)
            offset = SummaryOffset(group_opcode=opcode, group_start=start + len(summary), group_length=len(content))
            offsets += _bytes(offset)
            summary += content
        offset_start = start + len(summary)
        summary += offsets
        footer = _bytes(Footer(summary_start=start, summary_offset_start=offset_start, summary_crc=0))
        # The checksum covers the footer up to itself, and comes last in it.
        crc = zlib.crc32(footer[:-4], zlib.crc32(summary))
        self._stream.write(summary + footer[:-4] + crc.to_bytes(4, "little") + MAGIC)

    def _summary(self, statistics: Statistics) -> Iterator[tuple[int, list[McapRecord]]]:
        yield Opcode.SCHEMA, self._schemas
        yield Opcode.CHANNEL, self._channels
        yield Opcode.STATISTICS, [statistics]
        yield Opcode.CHUNK_INDEX, self._chunks
        yield Opcode.METADATA_INDEX, self._metadata

    def _put_bytes(self, data: bytes) -> int:
        self._stream.write(data)
        self._crc = zlib.crc32(data, self._crc)
        self._at += len(data)
        return len(data)


def _bytes(record: McapRecord) -> bytes:
    builder = RecordBuilder()
    record.write(builder)
    data: bytes = builder.end()  # type: ignore[no-untyped-call]  # has no annotations
    return data


def _index(channel: int, table: NDArray[Any]) -> bytes:
    """Return a message index: time and place of each message of a channel, shape ``(n, 2)``."""
    content = channel.to_bytes(2, "little") + table.nbytes.to_bytes(4, "little") + table.tobytes()
    return bytes([Opcode.MESSAGE_INDEX]) + len(content).to_bytes(8, "little") + content
