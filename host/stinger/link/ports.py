"""Finding the port a board is at."""

from __future__ import annotations

from dataclasses import dataclass

from serial.tools import list_ports

from stinger.errors import LinkError
from stinger.link import registry

#: USB vendor of the RP2040.
_VENDOR = 0x2E8A
_WORDS = ("pico", "rp2040", "tinyusb")


@dataclass(frozen=True, slots=True)
class Port:
    """A port where a board is likely to answer.

    Attributes:
        name: What `stinger.link.transport.open_port` takes.
        description: What to show a person who has to choose.
        virtual: The board is a process on this computer.
    """

    name: str
    description: str
    virtual: bool


def list_boards() -> list[Port]:
    """Return the ports that look like boards: USB ones first, then virtual ones."""
    usb = [
        Port(info.device, info.description or "USB serial port", virtual=False)
        for info in sorted(list_ports.comports(), key=lambda info: info.device)
        if _looks_like_board(info.vid, f"{info.description} {info.product} {info.manufacturer}")
    ]
    virtual = [
        Port(entry.link or entry.port, f"virtual board, process {entry.pid}", virtual=True)
        for entry in registry.entries()
    ]
    return usb + virtual


def find_port(port: str | None) -> str:
    """Return the port to use: the one given, else the only one with a board.

    Raises:
        LinkError: No port was given and there is no board, or more than one.
    """
    if port:
        return port
    boards = list_boards()
    if not boards:
        raise LinkError("no board found; plug one in, start one with `stinger virtual`, or name it with --port")
    if len(boards) > 1:
        names = ", ".join(f"{board.name} ({board.description})" for board in boards)
        raise LinkError(f"{len(boards)} boards found: {names}; choose with --port")
    return boards[0].name


def _looks_like_board(vendor: int | None, description: str) -> bool:
    return vendor == _VENDOR or any(word in description.lower() for word in _WORDS)
