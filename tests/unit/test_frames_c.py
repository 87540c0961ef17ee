"""The C codec: the shared vectors, and agreement with the Python codec on anything at all."""

from __future__ import annotations

import json
import random
import struct
import subprocess
from pathlib import Path

import pytest

from stinger.link.frames import Frame, FrameReader, TextLine, encode_frame
from stinger_export.toolchain import compile_host, device_sources

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "frames.json").read_text())
ANY_LINE = 254

# Input: records of a kind and a size. 'R': u16 max_line and bytes to read; 'E': header fields and payload to encode;
# 'C': bytes to take the CRC of. Output: one line for each event or result.
DRIVER = r"""
#include "stinger_frame.h"
#include <stdio.h>
#include <stdlib.h>

static void hex(const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size; i++) {
        printf("%02x", (unsigned)data[i]);
    }
}

static void read_stream(const uint8_t *data, size_t size) {
    static stinger_reader reader;
    stinger_reader_init(&reader, stinger_get16(data));
    for (size_t i = 2; i < size; i++) {
        const stinger_frame *f = &reader.frame;
        stinger_event event = stinger_reader_push(&reader, data[i]);
        if (event == STINGER_GOT_LINE) {
            printf("line %s\n", reader.line);
        } else if (event == STINGER_GOT_FRAME) {
            printf("frame %u %u %lu %lu %lu ", (unsigned)f->type, (unsigned)f->session, (unsigned long)f->sequence,
                   (unsigned long)f->device_us, (unsigned long)f->dropped);
            hex(f->payload, f->payload_size);
            printf("\n");
        }
    }
    printf("lost %lu %lu\n", (unsigned long)reader.lost_pieces, (unsigned long)reader.lost_bytes);
}

static void encode(const uint8_t *data, size_t size) {
    uint8_t wire[STINGER_WIRE_MAX];
    stinger_frame f = {data[0], stinger_get16(data + 1), stinger_get32(data + 3), stinger_get32(data + 7),
                       stinger_get32(data + 11), data + 15, size - 15};
    hex(wire, stinger_frame_encode(&f, wire));
    printf("\n");
}

int main(void) {
    uint8_t head[5];
    while (fread(head, 1, sizeof head, stdin) == sizeof head) {
        size_t size = stinger_get32(head + 1);
        uint8_t *data = malloc(size + 1);
        if (data == NULL || fread(data, 1, size, stdin) != size) {
            return 1;
        }
        if (head[0] == 'R') {
            read_stream(data, size);
        } else if (head[0] == 'E') {
            encode(data, size);
        } else {
            printf("%u\n", (unsigned)stinger_crc16(STINGER_CRC_START, data, size));
        }
        free(data);
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frames")
    (folder / "driver.c").write_text(DRIVER)
    library = device_sources() / "stinger_ml"
    compile_host([library / "stinger_frame.c", folder / "driver.c"], folder / "driver", include=[library])
    return folder / "driver"


def ask(driver: Path, *records: tuple[str, bytes]) -> list[str]:
    data = b"".join(kind.encode() + struct.pack("<I", len(content)) + content for kind, content in records)
    result = subprocess.run([driver], input=data, capture_output=True, timeout=30, check=True)
    return result.stdout.decode("ascii").splitlines()


def read(driver: Path, *streams: tuple[bytes, int]) -> list[list[str]]:
    """What the C reader says to each stream: its events, and what it lost."""
    lines = ask(driver, *(("R", struct.pack("<H", max_line) + data) for data, max_line in streams))
    answers: list[list[str]] = [[]]
    for line in lines:
        answers[-1].append(line)
        if line.startswith("lost "):
            answers.append([])
    assert answers.pop() == []
    return answers


def fields(vector: dict[str, int | str]) -> bytes:
    names = ("type", "session", "sequence", "device_us", "dropped")
    return struct.pack("<BHIII", *(vector[name] for name in names)) + bytes.fromhex(str(vector["payload"]))


def event_line(event: dict[str, str]) -> str:
    if "text" in event:
        return f"line {event['text']}"
    body = bytes.fromhex(event["frame"])
    _, *head = struct.unpack_from("<BBHIII", body)
    return f"frame {' '.join(map(str, head))} {body[16:-2].hex()}"


def test_crc(driver: Path) -> None:
    answers = ask(driver, *(("C", bytes.fromhex(v["data"])) for v in VECTORS["crc16"]))
    assert answers == [str(v["crc"]) for v in VECTORS["crc16"]]


def test_frames_encode(driver: Path) -> None:
    answers = ask(driver, *(("E", fields(v)) for v in VECTORS["frames"]))
    assert answers == [v["wire"] for v in VECTORS["frames"]]


def test_a_payload_too_long_is_refused(driver: Path) -> None:
    assert ask(driver, ("E", bytes(15 + 236)), ("E", bytes(15 + 235)))[0] == ""
    assert len(ask(driver, ("E", bytes(15 + 235)))[0]) == 2 * 256


def test_frames_decode(driver: Path) -> None:
    answers = read(driver, *((bytes.fromhex(v["wire"]), 63) for v in VECTORS["frames"]))
    assert answers == [[event_line({"frame": v["body"]}), "lost 0 0"] for v in VECTORS["frames"]]


@pytest.mark.parametrize("vector", VECTORS["streams"] + VECTORS["board_streams"], ids=lambda v: v["name"])
def test_streams(driver: Path, vector: dict[str, object]) -> None:
    [answer] = read(driver, (bytes.fromhex(vector["bytes"]), vector.get("max_line", ANY_LINE)))
    assert answer == [
        *map(event_line, vector["events"]),
        f"lost {vector['lost_pieces']} {vector['lost_bytes']}",
    ]


def test_agrees_with_python_on_noise(driver: Path) -> None:
    """Frames and lines, cut, damaged and joined at random: both readers see the same and lose the same."""
    rng = random.Random(1)
    streams = []
    for _ in range(400):
        parts = []
        for _ in range(rng.randrange(1, 8)):
            kind = rng.randrange(6)
            if kind < 3:
                payload = bytes(rng.choice((0, 1, 10, 13, 77, 255)) for _ in range(rng.randrange(0, 60)))
                numbers = (rng.randrange(256), rng.randrange(1 << 16), rng.getrandbits(32))
                parts.append(bytearray(encode_frame(Frame(*numbers, 0x0A0D0A0D, 0, payload))))
            elif kind == 3:
                parts.append(bytearray(b"[ml] " + b"x" * rng.randrange(0, 80) + rng.choice((b"\n", b"\r\n", b""))))
            else:
                size = rng.randrange(0, 300)
                parts.append(bytearray(rng.choices((0, 1, 10, 13, 65, 200), (1, 4, 1, 1, 60, 4), k=size)))
        data = bytearray().join(parts)
        for _ in range(rng.randrange(0, 3)):
            if data:
                data[rng.randrange(len(data))] = rng.choice((0, 1, 10, 255))
        streams.append((bytes(data), 63))

    kinds = set()
    for (data, limit), answer in zip(streams, read(driver, *streams), strict=True):
        reader = FrameReader(limit)
        expected = []
        for event in reader.push(data):
            kinds.add(type(event))
            if isinstance(event, TextLine):
                expected.append(f"line {event.text}")
            else:
                head = (event.type, event.session, event.sequence, event.device_us, event.dropped)
                expected.append(f"frame {' '.join(map(str, head))} {event.payload.hex()}")
        assert answer == [*expected, f"lost {reader.lost_pieces} {reader.lost_bytes}"], data.hex()
    assert kinds == {Frame, TextLine}
