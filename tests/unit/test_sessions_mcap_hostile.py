"""MCAP files that were cut, damaged, or made to do harm."""

import io
import json
import resource
import struct
import time
import zlib
from collections.abc import Sequence

import lz4.frame
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType, Writer

from stinger.errors import InputError
from stinger.sessions import mcap_format
from stinger.sessions.mcap_format import stream as mcap_stream
from stinger.sessions.mcap_format.stream import MAGIC
from stinger.sessions.options import ReadOptions
from stinger.sessions.session import STINGER_CHANNELS, Event, Session

NO_OPTIONS = ReadOptions()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Bytes of a small file of ours, and of one that others wrote."""
    folder = tmp_path_factory.mktemp("small")
    samples = np.arange(120, dtype=np.int16).reshape(20, 6)
    t_us = np.arange(20, dtype=np.int64) * 10_000
    session = Session("s", t_us, samples, STINGER_CHANNELS, 10_000, events=(Event(0, 10, "x"),))
    mcap_format.write([session], folder / "own.mcap")
    stream = io.BytesIO()
    writer = Writer(stream, compression=CompressionType.NONE, enable_crcs=False)
    writer.start()
    schema = writer.register_schema("sensor_event", "jsonschema", b"{}")
    channel = writer.register_channel("mag_raw", "json", schema)
    for i in range(6):
        text = json.dumps({"id": "mag_raw", "timestamp": i * 10**7, "values": [i, 1, 2]})
        writer.add_message(channel, i, text.encode(), i)
    writer.finish()
    return {"own": (folder / "own.mcap").read_bytes(), "foreign": stream.getvalue()}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "fuzz.mcap"


def outcome(place, data) -> Sequence[Session]:
    """Read bytes: sessions, or one clean line."""
    place.write_bytes(data)
    sessions, message = [], ""
    try:
        sessions = mcap_format.read(place, NO_OPTIONS)
    except InputError as error:
        message = str(error)
    assert bool(message) != bool(sessions)
    assert "\n" not in message
    return sessions


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_a_recording_or_refused(place, data, signed):
    assert not outcome(place, MAGIC * signed + data)


def test_cuts_are_noticed(small, place):
    for data in small.values():
        for cut in {*range(0, len(data), 13), *range(len(data) - 40, len(data))}:
            assert not outcome(place, data[:cut])
        assert outcome(place, data)
        assert not outcome(place, data + b"\0")


def test_flipped_bits_of_ours_are_noticed(small, place):
    data = small["own"]
    (expected,) = outcome(place, data)
    survived = 0
    for at in {*range(0, len(data), 7), *range(len(data) - 60, len(data))}:
        damaged = bytearray(data)
        damaged[at] ^= 1 << at % 8
        for session in outcome(place, bytes(damaged)):
            survived += 1
            np.testing.assert_array_equal(session.samples, expected.samples)
            np.testing.assert_array_equal(session.t_us, expected.t_us)
            assert (session.events, session.channels) == (expected.events, expected.channels)
    # Each section has a checksum; none of this file's may be taken for "not counted".
    assert survived == 0


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_file_without_checksums_is_a_recording_or_refused(small, place, data):
    bytes_ = bytearray(small["foreign"])
    edits = st.tuples(st.integers(0, len(bytes_) - 1), st.integers(0, 255))
    for at, value in data.draw(st.lists(edits, min_size=1, max_size=8)):
        bytes_[at] = value
    outcome(place, bytes(bytes_))


# Files put together by hand.


def record(opcode, body):
    return struct.pack("<BQ", opcode, len(body)) + body


def text(value):
    return struct.pack("<I", len(value)) + value


def chunk(content, compression=b"", *, size=None, packed=None, crc=0):
    size = len(content) if size is None else size
    packed = content if packed is None else packed
    return record(
        6, struct.pack("<QQQI", 0, 0, size, crc) + text(compression) + struct.pack("<Q", len(packed)) + packed
    )


HEADER = MAGIC + record(1, text(b"") + text(b""))
SCHEMA = record(3, struct.pack("<H", 1) + text(b"sensor_event") + text(b"jsonschema") + text(b"{}"))
CHANNEL = record(4, struct.pack("<HH", 1, 1) + text(b"mag_raw") + text(b"json") + struct.pack("<I", 0))
END = record(15, bytes(4)) + record(2, bytes(20)) + MAGIC


def message(channel=1, time_ns=0, body=b'{"values":[1]}'):
    return record(5, struct.pack("<HIQQ", channel, 0, time_ns, time_ns) + body)


GOOD = message() + message(time_ns=10**7)


def test_a_file_put_together_by_hand_is_read(place):
    for body in (SCHEMA + CHANNEL + GOOD, chunk(SCHEMA + CHANNEL + GOOD), SCHEMA + chunk(CHANNEL) + GOOD):
        (session,) = outcome(place, HEADER + body + END)
        assert session.t_us.tolist() == [0, 10_000]
    # Kinds of records that do not exist yet, attachments, and images are passed over.
    image = SCHEMA.replace(b"sensor_event", b"some_picture")
    ignored = record(200, b"x" * 99) + record(9, b"x" * 99) + chunk(record(200, b"y")) + record(14, b"z")
    other = record(4, struct.pack("<HH", 2, 0) + text(b"camera") + text(b"raw") + struct.pack("<I", 0))
    assert outcome(place, HEADER + ignored + SCHEMA + CHANNEL + other + message(2, body=b"\xff" * 99) + GOOD + END)
    assert not outcome(place, HEADER + image + CHANNEL + GOOD + END)


BODY = SCHEMA + CHANNEL + GOOD


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (CHANNEL + GOOD, "schema 1, which it does not have"),
        (SCHEMA + GOOD, "channel 1, which it does not have"),
        (BODY + record(5, bytes(21)), "a message is too short"),
        (chunk(BODY + b"\x05"), "ends in mid-record"),
        (chunk(BODY + struct.pack("<BQ", 5, 1 << 63)), "ends in mid-record"),
        (chunk(BODY, crc=1), "a chunk fails its checksum"),
        (chunk(BODY, b"gzip"), "compressed with 'gzip'"),
        (chunk(BODY, b"\xff"), "a record makes no sense"),
        (chunk(BODY, b"zstd"), "does not unpack"),
        (chunk(BODY, b"lz4"), "does not unpack"),
        (chunk(BODY, size=len(BODY) - 1), "the size it states"),
        (chunk(BODY, b"zstd", size=len(BODY) + 1, packed=zstandard.compress(BODY)), "the size it states"),
        (chunk(BODY, b"zstd", size=len(BODY) - 1, packed=zstandard.compress(BODY)), "the size it states"),
        (chunk(BODY, b"lz4", size=len(BODY) - 1, packed=lz4.frame.compress(BODY)), "the size it states"),
        (SCHEMA + CHANNEL.replace(b"mag_raw", b"mag\nraw") + GOOD, "unprintable"),
        (SCHEMA + CHANNEL + CHANNEL.replace(b"mag_raw", b"acc_raw"), "two channels have the number 1"),
        (record(4, bytes(3)), "a record makes no sense"),
        (record(4, struct.pack("<HH", 1, 0) + text(b"x" * 500) + bytes(8)), "too long"),
        (record(3, struct.pack("<H", 1) + struct.pack("<I", 1 << 31) + b"x"), "makes no sense"),
        (record(6, struct.pack("<QQQI", 0, 0, 5, 0) + text(b"") + struct.pack("<Q", 1 << 63)), "makes no sense"),
        (record(12, text(b"n") + struct.pack("<I", 1 << 31) + b"\1"), "makes no sense"),
        (struct.pack("<BQ", 6, 1 << 40), "cut short|at most 32 MiB"),
        (b"".join(record(3, struct.pack("<H", i) + text(b"") * 3) for i in range(4100)), "more than 4096 schemas"),
        (SCHEMA + b"".join(CHANNEL[:9] + struct.pack("<H", i) + CHANNEL[11:] for i in range(1, 4100)), "4096 channels"),
        (SCHEMA + CHANNEL + message(body=b" " * (1 << 20)), "this is no reading"),
        (SCHEMA + CHANNEL + message(body=b"\xff") * 2, "not valid JSON"),
    ],
)
def test_wrong_records_are_refused(place, body, problem):
    place.write_bytes(HEADER + body + END)
    with pytest.raises(InputError, match=problem) as caught:
        mcap_format.read(place, NO_OPTIONS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("end", "problem"),
    [
        (b"", "cut short"),
        (record(15, struct.pack("<I", 1)) + END[13:], "its data fails its checksum"),
        (record(15, bytes(4)) + record(2, bytes(16) + struct.pack("<I", 1)) + MAGIC, "its summary fails its checksum"),
        (record(15, bytes(4)) + record(2, bytes(19)) + MAGIC, "footer has a wrong size"),
        (record(15, bytes(4)) + record(2, bytes(20)) + MAGIC[::-1], "does not end where it says"),
        (END + b"x", "does not end where it says"),
    ],
)
def test_wrong_ends_are_refused(place, end, problem):
    place.write_bytes(HEADER + BODY + end)
    with pytest.raises(InputError, match=problem):
        mcap_format.read(place, NO_OPTIONS)


def test_checksums_that_fit_are_accepted(place):
    data = HEADER + BODY
    end = record(15, struct.pack("<I", zlib.crc32(data))) + END[13:]
    assert outcome(place, data + end)


@pytest.mark.parametrize("method", ["zstd", "lz4"])
def test_bombs_are_refused_before_they_unpack(place, method):
    zeros = bytes(400 << 20) if method == "zstd" else bytes(100 << 20)
    packed = zstandard.compress(zeros) if method == "zstd" else lz4.frame.compress(zeros)
    size = len(zeros)
    del zeros
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    for stated in (size, 1 << 20, 0):
        place.write_bytes(HEADER + chunk(b"", method.encode(), size=stated, packed=packed) + END)
        with pytest.raises(InputError, match=r"plausible|the size it states"):
            mcap_format.read(place, NO_OPTIONS)
    assert time.monotonic() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


def test_many_chunks_that_unpack_well_are_refused_together(place, monkeypatch):
    monkeypatch.setattr(mcap_stream, "FREE_BYTES", 1 << 20)
    content = SCHEMA + CHANNEL + GOOD * 8000
    packed = zstandard.compress(content)
    assert len(content) > 200 * len(packed)
    place.write_bytes(HEADER + chunk(content, b"zstd", packed=packed) * 20 + END)
    with pytest.raises(InputError, match="unpacks to more than is plausible"):
        mcap_format.read(place, NO_OPTIONS)


def test_too_large_and_missing_files(place, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="cannot read"):
        mcap_format.read(tmp_path / "none.mcap", NO_OPTIONS)
    with pytest.raises(InputError, match="cannot read"):
        mcap_format.read(tmp_path, NO_OPTIONS)
    monkeypatch.setattr(mcap_stream, "MAX_FILE_BYTES", 100)
    place.write_bytes(HEADER + BODY + END)
    with pytest.raises(InputError, match="larger than"):
        mcap_format.read(place, NO_OPTIONS)


# Our own description, edited.

ABOUT = {
    "version": 1,
    "layout": "imu",
    "name": "s",
    "samples": 2,
    "period_us": 10,
    "shift_us": 0,
    "channels": [{"name": "ax", "unit": "g", "scale": 0.5}],
    "topics": [{"topic": "/imu", "columns": [0]}],
    "events": 0,
    "events_topic": "/events",
    "trigger": False,
    "label": None,
    "split": None,
    "subject": None,
    "faults": [],
}
IMU = record(4, struct.pack("<HH", 7, 0) + text(b"/imu") + text(b"json") + struct.pack("<I", 0))
LOG = record(4, struct.pack("<HH", 8, 0) + text(b"/events") + text(b"json") + struct.pack("<I", 0))


TWO = message(7, body=b'{"ax":1}') * 2


def described(about, body=TWO):
    pair = text(b"session") + text(about if isinstance(about, bytes) else json.dumps(about).encode())
    return HEADER + record(12, text(b"stinger.session") + struct.pack("<I", len(pair)) + pair) + IMU + LOG + body + END


def test_a_description_by_hand_is_read(place):
    (session,) = outcome(place, described(ABOUT))
    assert session.samples.tolist() == [[2], [2]]


@pytest.mark.parametrize(
    ("about", "body", "problem"),
    [
        (b"{", None, "not valid JSON"),
        (b"[]", None, "at 'version'"),
        (ABOUT | {"layout": "x"}, None, "at 'layout'"),
        (ABOUT | {"channels": []}, None, "at 'columns'"),
        (ABOUT | {"channels": [{"name": "ax", "unit": "g", "scale": 0}]}, None, "at 'scale'"),
        (ABOUT | {"topics": [{"topic": "/imu", "columns": [0, 0]}]}, None, "at 'channels'"),
        (ABOUT | {"topics": [{"topic": "/imu", "columns": [1]}]}, None, "at 'columns'"),
        (ABOUT | {"name": "a\nb"}, None, "at 'name'"),
        (ABOUT | {"faults": ["\x1b[2J"]}, None, "at 'faults'"),
        (ABOUT | {"samples": -1}, None, "at 'samples'"),
        (ABOUT | {"samples": 3}, None, "samples of s are missing"),
        (ABOUT | {"events": 1}, None, "events of s are missing"),
        (ABOUT | {"period_us": 0}, None, "at 'period_us'"),
        (ABOUT | {"label": 3}, None, "at 'label'"),
        (ABOUT | {"trigger": 1}, None, "at 'trigger'"),
        (ABOUT | {"trigger": True}, None, "lacks 'trigger'"),
        (ABOUT, message(7, body=b'{"ay":1}') * 2, "lacks 'ax'"),
        (ABOUT, message(7, body=b'{"ax":1e9}') * 2, "beyond what its channel"),
        (ABOUT | {"trigger": True}, message(7, body=b'{"ax":1,"trigger":2}') * 2, "neither 0 nor 1"),
        (ABOUT | {"events": 1}, message(8, body=b'{"end":3}'), "an event makes no sense"),
        (ABOUT | {"events": 1}, message(8, body=b'{"end":{},"timestamp":{}}'), "an event makes no sense"),
    ],
)
def test_descriptions_that_make_no_sense_are_refused(place, about, body, problem):
    place.write_bytes(described(about) if body is None else described(about, body))
    with pytest.raises(InputError, match=problem) as caught:
        mcap_format.read(place, NO_OPTIONS)
    assert "\n" not in str(caught.value)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "unit", "scale", "ax"]), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(sorted(ABOUT)), VALUES, VALUES)
def test_any_description_and_any_message_is_a_recording_or_refused(place, key, value, content):
    outcome(place, described(ABOUT | {key: value}))
    body = json.dumps(content).encode()
    outcome(place, described(ABOUT, message(7, body=body) * 2))
    outcome(place, described(ABOUT | {"events": 1}, message(7, body=b'{"ax":1}') * 2 + message(8, body=body)))
    outcome(place, HEADER + SCHEMA + CHANNEL + message(body=body) * 2 + END)
