"""What a linked program says about itself: its symbols, where they lie and how large they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stinger.errors import ToolchainError


@dataclass(frozen=True)
class Symbol:
    """A function or an object.

    Attributes:
        name: As the linker knows it; names of static ones need not be unique.
        address: Where it begins.
        size: Bytes, 0 where the linker was not told.
        function: It is code.
        section: Where it lies.
    """

    name: str
    address: int
    size: int
    function: bool
    section: str


def symbols(path: Path) -> list[Symbol]:
    """Return functions and objects of a linked program, in order of their addresses.

    Raises:
        ToolchainError: pyelftools is not installed.
    """
    open_elf = elf_reader()
    with path.open("rb") as stream:
        elf = open_elf(stream)
        sections = [section.name for section in elf.iter_sections()]
        table = elf.get_section_by_name(".symtab")
        found = [] if table is None else list(table.iter_symbols())
    kinds = {"STT_FUNC": True, "STT_OBJECT": False}
    chosen = [
        # The lowest bit of a function's address says that it is Thumb code.
        Symbol(s.name, s["st_value"] & ~int(kinds[kind]), s["st_size"], kinds[kind], sections[s["st_shndx"]])
        for s in found
        if (kind := s["st_info"]["type"]) in kinds and isinstance(s["st_shndx"], int)
    ]
    return sorted(chosen, key=lambda s: (s.address, s.name))


def section_bytes(path: Path, name: str) -> int:
    """Return the size of a linked program's section, 0 if it has none of that name.

    Raises:
        ToolchainError: pyelftools is not installed.
    """
    open_elf = elf_reader()
    with path.open("rb") as stream:
        section = open_elf(stream).get_section_by_name(name)
        return 0 if section is None else int(section["sh_size"])


def symbol_address(path: Path, name: str) -> int:
    """Return where a linked program's symbol is, those included that only the linker script defines.

    Raises:
        ToolchainError: It has no such symbol, or pyelftools is not installed.
    """
    open_elf = elf_reader()
    with path.open("rb") as stream:
        table = open_elf(stream).get_section_by_name(".symtab")
        found = None if table is None else table.get_symbol_by_name(name)
        if not found:
            raise ToolchainError(f"{path} has no symbol {name}; build it again")
        return int(found[0]["st_value"])


def elf_reader() -> Callable[[Any], Any]:
    """Return what opens an ELF file.

    Raises:
        ToolchainError: pyelftools is not installed.
    """
    try:
        from elftools.elf.elffile import ELFFile  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ToolchainError('building firmware needs pyelftools; run: pip install "stinger-ml[emulator]"') from error
    reader: Callable[[Any], Any] = ELFFile
    return reader
