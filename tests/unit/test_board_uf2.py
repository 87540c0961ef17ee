"""UF2 files and firmware images: round trips, and nothing damaged gets through."""

from __future__ import annotations

import struct

import board_model as model
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stinger.errors import InputError, LinkError
from stinger_export.uf2 import FAMILY_RP2040, FLASH_BASE, FLASH_BYTES, from_uf2, to_uf2
from stinger_virtual.chip import EmulatedBoard
from stinger_virtual.transport import EmulatedTransport

IMAGE = bytes(range(256)) * 3 + b"tail"


@given(st.binary(min_size=1, max_size=3000), st.integers(0, FLASH_BYTES // 256 - 12))
def test_round_trip(image: bytes, page: int) -> None:
    base = FLASH_BASE + 256 * page
    data = to_uf2(image, base)
    assert len(data) % 512 == 0
    start, back = from_uf2(data)
    assert start == base
    assert back == image.ljust(len(back), b"\0")
    assert len(back) - len(image) < 256


def test_the_layout() -> None:
    data = to_uf2(IMAGE)
    assert len(data) == 4 * 512
    assert struct.unpack_from("<8I", data, 3 * 512) == (
        *(0x0A324655, 0x9E5D5157, 0x2000),
        *(FLASH_BASE + 768, 256, 3, 4, FAMILY_RP2040),
    )
    assert data[3 * 512 + 32 : 3 * 512 + 36] == b"tail"
    assert data[-4:] == bytes.fromhex("306fb10a")


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (0, 0, "block 0 lacks its magic"),
        (516, 0, "block 1 lacks its magic"),
        (508, 0, "block 0 lacks its magic"),
        (8, 0x2001, "not for an RP2040's flash"),
        (28, 0xE48BFF59, "not for an RP2040's flash"),
        (16, 476, "holds 476 bytes"),
        (20, 1, "says it is 1 of 4"),
        (24, 5, "says it is 0 of 5"),
        (12, FLASH_BASE + 1, "block 1 goes to"),
        (512 + 12, FLASH_BASE, "block 1 goes to 0x10000000"),
    ],
)
def test_damage_is_found(offset: int, value: int, message: str) -> None:
    data = bytearray(to_uf2(IMAGE))
    struct.pack_into("<I", data, offset, value)
    with pytest.raises(InputError, match=message):
        from_uf2(bytes(data))


def test_incomplete_and_oversized_files() -> None:
    data = to_uf2(IMAGE)
    for cut in (b"", data[:-1], data[:511]):
        with pytest.raises(InputError, match="not a UF2 file"):
            from_uf2(cut)
    with pytest.raises(InputError, match="of 3 says it is 0 of 4"):
        from_uf2(data[:-512])
    with pytest.raises(InputError, match="8193 blocks"):
        from_uf2(bytes(512 * 8193))


def test_what_does_not_fit_the_flash() -> None:
    assert len(to_uf2(bytes(FLASH_BYTES))) == 2 * FLASH_BYTES
    with pytest.raises(InputError, match="more than the flash holds"):
        to_uf2(bytes(FLASH_BYTES + 1))
    with pytest.raises(InputError, match="is empty"):
        to_uf2(b"")
    for base in (0, FLASH_BASE + 1, FLASH_BASE + FLASH_BYTES, 0x20000000):
        with pytest.raises(InputError, match="no page of the flash"):
            to_uf2(b"x", base)
    outside = bytearray(to_uf2(b"x"))
    struct.pack_into("<I", outside, 12, 0x20000000)
    with pytest.raises(InputError, match="no page of the flash"):
        from_uf2(bytes(outside))


@given(st.binary(max_size=1100))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        from_uf2(data)


@pytest.mark.parametrize(
    ("stack", "entry", "size"),
    [
        (0x20042000, 0x10000200, 4096),  # not Thumb
        (0x20042000, 0x10000001, 4096),
        (0x20042000, 0x10002001, 4096),  # behind the image
        (0x20042004, 0x10000201, 4096),
        (0x20041FFE, 0x10000201, 4096),
        (0, 0x10000201, 4096),
        (0x20042000, 0x10000201, 0x107),
        (0x20042000, 0x10000201, FLASH_BYTES + 1),
    ],
)
def test_the_board_takes_only_firmware(stack: int, entry: int, size: int) -> None:
    image = bytearray(size)
    image[0x100:0x108] = struct.pack("<2I", stack, entry)
    with pytest.raises(InputError, match="firmware"):
        EmulatedBoard(bytes(image[:size]))


def crashing(code: list[int]) -> bytes:
    """An image of nothing but these instructions."""
    image = bytearray(0x300)
    image[0x100:0x108] = struct.pack("<2I", 0x20042000, 0x10000201)
    image[0x200 : 0x200 + 2 * len(code)] = struct.pack(f"<{len(code)}H", *code)
    return bytes(image)


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ([0xDE00], "undefined instruction"),  # udf #0
        ([0xBE00], "Break"),  # bkpt #0
        ([0xFFFF, 0xFFFF], "Instruction at 10000200"),
        ([0x2001, 0x6800], "not 32 bit aligned"),  # movs r0, #1; ldr r0, [r0]
        ([0x2030, 0x0600, 0x6800], "invalid memory address: 30000000"),  # movs r0, #0x30; lsls r0, #24; ldr
        ([0x2030, 0x0600, 0x6000], "undefined address: 30000000"),  # ... str
    ],
)
def test_a_crash_is_noticed(code: list[int], fault: str) -> None:
    transport = EmulatedTransport(crashing(code))
    with pytest.raises(LinkError, match=f"firmware crashed: .*{fault}"):
        transport.read(1.0)
    assert transport.board.asleep
    assert not transport.board.run()


def test_firmware_must_start_where_the_flash_does() -> None:
    with pytest.raises(InputError, match="starts at 0x10010000"):
        EmulatedBoard(to_uf2(model.firmware().bin.read_bytes(), FLASH_BASE + 0x10000))


def test_the_board_says_when_its_buffer_is_full() -> None:
    board = EmulatedBoard(model.firmware().bin.read_bytes())
    board.feed(bytes(board.room))
    with pytest.raises(LinkError, match="0 bytes of room, not 1"):
        board.feed(b"x")


def test_the_transport_takes_more_than_the_buffer_holds() -> None:
    transport = EmulatedTransport(model.firmware().bin.read_bytes())
    transport.write(b"x" * 70_000 + b"\nMLFOO\n")
    assert transport.read(1.0) == b"[ml] ERROR: unknown command\r\n"
    assert transport.read(100.0) == b""  # the board's seconds, not ours
    transport.close()
    with pytest.raises(LinkError, match="closed"):
        transport.read(0.0)
