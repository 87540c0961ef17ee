"""Frames and messages: the shared vectors, round trips, and a reader that survives anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stinger.errors import LinkError
from stinger.link.frames import (
    MAX_BODY,
    MAX_LINE,
    Frame,
    FrameReader,
    TextLine,
    cobs_decode,
    cobs_encode,
    crc16,
    decode_frame,
    encode_frame,
)
from stinger.link.messages import ONE, Decision, End, FrameType, Sample

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "frames.json").read_text())
U16, U32 = st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1)
FRAMES = st.builds(Frame, st.integers(0, 255), U16, U32, U32, U32, st.binary(max_size=MAX_BODY - 18))
LINES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=80).map(TextLine)


def wire(event: Frame | TextLine) -> bytes:
    return encode_frame(event) if isinstance(event, Frame) else event.text.encode() + b"\r\n"


def body(frame: Frame) -> str:
    return cobs_decode(encode_frame(frame)[1:-1]).hex()


def named(kind: str, having: str = "name") -> list[object]:
    return [pytest.param(vector, id=vector["name"]) for vector in VECTORS[kind] if having in vector]


@pytest.mark.parametrize("vector", VECTORS["crc16"])
def test_crc_vectors(vector: dict[str, object]) -> None:
    assert crc16(bytes.fromhex(str(vector["data"]))) == vector["crc"]


@pytest.mark.parametrize("vector", VECTORS["cobs"])
def test_cobs_vectors(vector: dict[str, str]) -> None:
    plain, encoded = bytes.fromhex(vector["plain"]), bytes.fromhex(vector["encoded"])
    assert cobs_encode(plain) == encoded
    assert cobs_decode(encoded) == plain


@pytest.mark.parametrize("vector", named("frames"))
def test_frame_vectors(vector: dict[str, str | int]) -> None:
    names = ("type", "session", "sequence", "device_us", "dropped")
    frame = Frame(*(int(vector[name]) for name in names), payload=bytes.fromhex(str(vector["payload"])))
    assert encode_frame(frame).hex() == vector["wire"]
    assert body(frame) == vector["body"]
    assert decode_frame(bytes.fromhex(str(vector["wire"]))[1:-1]) == frame


@pytest.mark.parametrize("vector", named("frames", having="message"))
def test_message_vectors(vector: dict[str, dict[str, object]]) -> None:
    payload = bytes.fromhex(str(vector["payload"]))
    message = dict(vector["message"])
    kind = message.pop("kind")
    if kind == "sample":
        decoded = Sample.unpack(payload)
        fields = {"t_us": decoded.t_us, "flags": int(decoded.gap), "channels": list(decoded.values)}
        assert vector["type"] == FrameType.SAMPLE
        assert decoded.pack() == payload
    elif kind == "decision":
        answer = Decision.unpack(payload)
        fields = {name: getattr(answer, name) for name in ("of", "t_us", "cycles", "feature_crc", "label")}
        fields |= {"flags": answer.ready | answer.on << 1}
        fields |= {"probability": list(answer.probability), "score": list(answer.score)}
        assert vector["type"] == FrameType.DECISION
        assert answer.pack() == payload
    else:
        end = End.unpack(payload)
        fields = {"samples": end.samples, "decisions": end.decisions, "bad_frames": end.bad_frames}
        assert vector["type"] == FrameType.END
        assert end.pack() == payload
    assert fields == message


@pytest.mark.parametrize("piece", [1, 2, 7, 10_000])
@pytest.mark.parametrize("vector", named("streams") + named("board_streams"))
def test_stream_vectors(vector: dict[str, object], piece: int) -> None:
    reader = FrameReader(int(str(vector.get("max_line", MAX_LINE))))
    data = bytes.fromhex(str(vector["bytes"]))
    events = [event for i in range(0, len(data), piece) for event in reader.push(data[i : i + piece])]
    assert [{"frame": body(e)} if isinstance(e, Frame) else {"text": e.text} for e in events] == vector["events"]
    assert (reader.lost_bytes, reader.lost_pieces) == (vector["lost_bytes"], vector["lost_pieces"])


@given(st.binary(max_size=MAX_BODY))
def test_cobs_round_trip(data: bytes) -> None:
    encoded = cobs_encode(data)
    assert 0 not in encoded
    assert len(encoded) == len(data) + 1
    assert cobs_decode(encoded) == data


@given(st.lists(st.one_of(FRAMES, LINES), max_size=12))
def test_what_is_sent_arrives(events: list[Frame | TextLine]) -> None:
    reader = FrameReader()
    assert reader.push(b"".join(map(wire, events))) == events
    assert (reader.lost_bytes, reader.lost_pieces) == (0, 0)


@given(st.binary(max_size=2000), FRAMES, FRAMES)
def test_a_reader_finds_its_feet_after_any_noise(noise: bytes, first: Frame, second: Frame) -> None:
    reader = FrameReader()
    reader.push(noise)
    # Noise may end inside what looks like a frame and swallow the first one, never the second.
    events = reader.push(encode_frame(first) + encode_frame(second))
    assert events[-1] == second


@given(st.binary(max_size=600), LINES)
def test_a_reply_is_heard_after_any_noise_that_a_line_end_follows(noise: bytes, line: TextLine) -> None:
    reader = FrameReader()
    reader.push(noise + b"\n\0\0")
    reply = TextLine("[ml] " + line.text)
    assert reader.push(wire(reply)) == [reply]


@given(st.lists(st.one_of(st.binary(max_size=300), FRAMES.map(encode_frame), LINES.map(wire)), max_size=8), st.data())
def test_how_bytes_are_cut_into_pieces_does_not_matter(parts: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    whole, pieces = FrameReader(300), FrameReader(300)
    expected = whole.push(stream)
    got = []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += pieces.push(stream[start:stop])
    assert got == expected
    assert (pieces.lost_bytes, pieces.lost_pieces) == (whole.lost_bytes, whole.lost_pieces)


@given(st.binary(max_size=3000))
def test_any_bytes_are_either_events_or_counted(data: bytes) -> None:
    reader = FrameReader(100)
    events = reader.push(data + b"\n\0\0")
    kept = sum(len(e.text) if isinstance(e, TextLine) else len(encode_frame(e)) - 2 for e in events)
    assert all(e.text.isprintable() or "\t" in e.text for e in events if isinstance(e, TextLine))
    delimiters = data.count(0) + data.count(b"\n") + data.count(b"\r")
    assert len(data) - delimiters <= kept + reader.lost_bytes <= len(data) + 3


def test_memory_is_bounded() -> None:
    reader = FrameReader()
    for noise in (b"a" * 100_000, b"\0" + b"\xff" * 100_000, b"\0[ml] " + b"b" * 100_000):
        assert reader.push(noise) == []
        assert len(reader._buffer) <= MAX_LINE
    assert reader.lost_bytes >= 290_000


@pytest.mark.parametrize("position", range(len(encode_frame(Frame(2, 1, 5, 9, 0, b"abcdef"))) - 2))
def test_any_changed_byte_is_noticed_and_costs_one_frame(position: int) -> None:
    good = encode_frame(Frame(2, 1, 5, 9, 0, b"abcdef"))
    for change in (0x01, 0x80, 0xFF):
        bad = bytearray(good)
        bad[position + 1] ^= change
        assert FrameReader().push(bytes(bad) + good)[-1:] == [decode_frame(good[1:-1])]
        assert len(FrameReader().push(bytes(bad) + good)) == 1


def test_limits_of_a_frame() -> None:
    assert len(encode_frame(Frame(1, 0, 0, 0, 0, bytes(235)))) == MAX_BODY + 3
    with pytest.raises(LinkError, match="at most 253 bytes"):
        encode_frame(Frame(1, 0, 0, 0, 0, bytes(236)))
    with pytest.raises(LinkError, match="out of range"):
        encode_frame(Frame(1, 0, 2**32, 0, 0, b""))


@pytest.mark.parametrize("encoded", [b"", b"\x05ab", b"\x00", b"\x02\x00", bytes(300)])
def test_what_is_not_cobs_is_refused(encoded: bytes) -> None:
    with pytest.raises(LinkError):
        cobs_decode(encoded)


@given(st.binary(max_size=80))
def test_payloads_are_refused_or_exact(payload: bytes) -> None:
    for message in (Sample, Decision, End):
        try:
            decoded = message.unpack(payload)
        except LinkError:
            continue
        assert decoded.pack() == payload


GOOD = Decision(3, 4, 5, True, 1, 6, (0, ONE), (-7,)).pack()


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(GOOD[:-1], id="cut"),
        pytest.param(GOOD + b"\0", id="long"),
        pytest.param(GOOD[:14] + b"\x05" + GOOD[15:], id="flags"),
        pytest.param(GOOD[:15] + b"\x02" + GOOD[16:], id="label"),
        pytest.param(GOOD[:18] + b"\x01\x80" + GOOD[20:], id="probability"),
        pytest.param(GOOD[:14] + b"\x00" + GOOD[15:], id="values though not ready"),
    ],
)
def test_impossible_decisions_are_refused(payload: bytes) -> None:
    assert Decision.unpack(GOOD).pack() == GOOD
    with pytest.raises(LinkError, match="impossible"):
        Decision.unpack(payload)


def test_messages_out_of_range_are_refused() -> None:
    with pytest.raises(LinkError, match="does not fit"):
        Sample(0, (40_000,)).pack()
    with pytest.raises(LinkError, match="does not fit"):
        Decision(0, 0, 0, True, 0, 0, (70_000,), ()).pack()
