"""What each part of the C library takes on the board: flash by its files, RAM by the contexts that a caller owns.

Each file is compiled as for the board, with everything switched on and the library's own limits, but for nine channels
of three sensors, and its sections are added up: what a linker keeps of it is at most that. The library has no
variables; RAM is what its structs take.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from stinger_export.elf import elf_reader, symbols
from stinger_export.firmware import board_flags
from stinger_export.toolchain import Compiler, common_arguments, cross_compiler, device_sources

#: Parts, the files of stinger_ml that belong to each, and the structs that it needs.
PARTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "window": (("stream",), ("stinger_stream",)),
    "arithmetic": (("arithmetic",), ()),
    "features: summary, rich": (("features",), ()),
    "features: coupled": (("coupled",), ()),
    "features: invariant, invariant_rich": (("invariant",), ("stinger_invariant_state",)),
    "features: magnetic": (("magnetic",), ("stinger_magnetic_state",)),
    "features: flatten": (("flatten",), ()),
    "network": (("network",), ()),
    "convolution": (("convolution",), ()),
    "forest, boosted": (("forest",), ()),
    "logits to probabilities": (("logits",), ("stinger_decision",)),
    "policy": (("policy",), ("stinger_policy_state",)),
    "image": (("image", "image_body", "crc"), ("stinger_image",)),
    "store": (("store",), ("stinger_store",)),
    "stock images": (("stock",), ()),
    "frames": (("frame",), ("stinger_reader",)),
}
_HEADERS = ("stinger_frame.h", "stinger_image.h", "stinger_ml.h", "stinger_store.h")
#: Enough for every feature set.
_LIMITS = {"STINGER_MAX_CHANNELS": 9, "STINGER_MAX_TRIADS": 3}
_KEPT_IN_FLASH = 0x2  # SHF_ALLOC


def part_sizes() -> tuple[list[dict[str, str | int]], str]:
    """Compile the library for the board, part by part.

    Returns:
        A row for each part: ``part``, ``flash_bytes`` (code and constants), ``ram_bytes`` (of its struct, which may lie
        within a `stinger_stream`) and ``contexts`` (the struct's name); and the compiler's name.

    Raises:
        ToolchainError: There is no compiler for the board, or it refuses.
    """
    compiler = cross_compiler()
    library = device_sources() / "stinger_ml"
    rows: list[dict[str, str | int]] = []
    with tempfile.TemporaryDirectory(prefix="stinger-size-") as folder:
        ram = _contexts(compiler, library, Path(folder))
        for part, (files, contexts) in PARTS.items():
            flash = sum(_sections(_object(compiler, library / f"stinger_{f}.c", library, Path(folder))) for f in files)
            rows.append(
                {
                    "part": part,
                    "flash_bytes": flash,
                    "ram_bytes": sum(ram[name] for name in contexts),
                    "contexts": ", ".join(contexts),
                }
            )
    return rows, compiler.version


def table(rows: list[dict[str, str | int]]) -> tuple[list[str], list[list[str]]]:
    """Return what to print of them: titles and lines."""
    lines = [[str(row["part"]), f"{row['flash_bytes']:,}", _ram(row), str(row["contexts"])] for row in rows]
    return ["part", "flash", "RAM", "context"], lines


def _ram(row: dict[str, str | int]) -> str:
    return f"{row['ram_bytes']:,}" if row["ram_bytes"] else ""


def _object(compiler: Compiler, source: Path, library: Path, folder: Path) -> Path:
    target = folder / f"{source.stem}.o"
    flags = [*board_flags(compiler), *common_arguments([source.parent], [library], _LIMITS)]
    compiler.run([*flags, "-c", source, "-o", target], what=source.name)
    return target


def _sections(path: Path) -> int:
    """Bytes of code, constants and initial values."""
    open_elf = elf_reader()
    with path.open("rb") as stream:
        sections = [s for s in open_elf(stream).iter_sections() if s["sh_flags"] & _KEPT_IN_FLASH]
        return sum(s["sh_size"] for s in sections if not s.name.startswith(".ARM") and s["sh_type"] != "SHT_NOBITS")


def _contexts(compiler: Compiler, library: Path, folder: Path) -> dict[str, int]:
    """Bytes of each struct on the board, by what an array of that size takes."""
    names = [name for _, contexts in PARTS.values() for name in contexts]
    source = folder / "contexts.c"
    lines = [f'#include "{header}"' for header in _HEADERS]
    source.write_text("\n".join([*lines, *(f"char of_{name}[sizeof({name})];" for name in names), ""]))
    return {s.name[3:]: s.size for s in symbols(_object(compiler, source, library, folder)) if s.name.startswith("of_")}
