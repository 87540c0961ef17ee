"""UF2, the file format that RP2040 boot loaders take: 512-byte blocks that each say where 256 bytes go."""

from __future__ import annotations

import struct

from stinger.errors import InputError

FAMILY_RP2040 = 0xE48BFF56
FLASH_BASE = 0x10000000
#: Size of the Stinger's flash.
FLASH_BYTES = 2 * 1024 * 1024

_BLOCK = 512
_PAYLOAD = 256
_HEADER = struct.Struct("<8I")
_MAGIC = (0x0A324655, 0x9E5D5157)
_END = struct.pack("<I", 0x0AB16F30)
_FLAG_FAMILY = 0x00002000
_MAX_BLOCKS = FLASH_BYTES // _PAYLOAD


def to_uf2(image: bytes, base: int = FLASH_BASE) -> bytes:
    """Pack a flash image; the last page is filled up with zeros.

    Args:
        image: What the flash is to hold from ``base`` on.
        base: Address, a multiple of 256 inside the flash.

    Raises:
        InputError: The image is empty or does not fit into the flash at this address.
    """
    if not image:
        raise InputError("the firmware image is empty; build it again")
    _check_range(base, len(image), "the firmware image")
    count = -(-len(image) // _PAYLOAD)
    blocks = []
    for number in range(count):
        page = image[number * _PAYLOAD : (number + 1) * _PAYLOAD].ljust(_PAYLOAD, b"\0")
        header = _HEADER.pack(*_MAGIC, _FLAG_FAMILY, base + number * _PAYLOAD, _PAYLOAD, number, count, FAMILY_RP2040)
        blocks.append((header + page).ljust(_BLOCK - len(_END), b"\0") + _END)
    return b"".join(blocks)


def from_uf2(data: bytes) -> tuple[int, bytes]:
    """Unpack a UF2 file after validating all of it.

    Args:
        data: The file.

    Returns:
        Address of the first byte, and the image; its length is a multiple of 256.

    Raises:
        InputError: It is not a complete UF2 file for the RP2040 with one contiguous image inside the flash.
    """
    if not data or len(data) % _BLOCK:
        raise InputError(f"not a UF2 file: {len(data)} bytes is no multiple of {_BLOCK}; is it complete?")
    count = len(data) // _BLOCK
    if count > _MAX_BLOCKS:
        raise InputError(f"the UF2 file has {count} blocks, the board's flash holds {_MAX_BLOCKS}")
    base = 0
    pages = []
    for number in range(count):
        block = data[number * _BLOCK : (number + 1) * _BLOCK]
        address, page = _parse(block, number, count)
        if number == 0:
            base = address
        if address != base + number * _PAYLOAD:
            raise InputError(f"UF2 block {number} goes to 0x{address:08x}, not right after the one before it")
        pages.append(page)
    _check_range(base, count * _PAYLOAD, "the UF2 file's image")
    return base, b"".join(pages)


def _parse(block: bytes, number: int, count: int) -> tuple[int, bytes]:
    magic0, magic1, flags, address, size, block_number, block_count, family = _HEADER.unpack_from(block)
    if (magic0, magic1) != _MAGIC or block[-len(_END) :] != _END:
        raise InputError(f"not a UF2 file: block {number} lacks its magic numbers")
    if flags != _FLAG_FAMILY or family != FAMILY_RP2040:
        raise InputError(f"UF2 block {number} is not for an RP2040's flash (family 0x{family:08x}, flags 0x{flags:x})")
    if size != _PAYLOAD:
        raise InputError(f"UF2 block {number} holds {size} bytes, the RP2040 takes {_PAYLOAD}")
    if block_number != number or block_count != count:
        raise InputError(
            f"UF2 block {number} of {count} says it is {block_number} of {block_count}; copy the file again"
        )
    return address, block[_HEADER.size : _HEADER.size + _PAYLOAD]


def _check_range(base: int, size: int, what: str) -> None:
    if base % _PAYLOAD or not FLASH_BASE <= base < FLASH_BASE + FLASH_BYTES:
        raise InputError(f"{what} starts at 0x{base:08x}, which is no page of the flash")
    if base + size > FLASH_BASE + FLASH_BYTES:
        raise InputError(f"{what} is {size} bytes at 0x{base:08x}, more than the flash holds")
