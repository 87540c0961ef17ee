"""What the C library takes on the board: part by part, and all that one model needs of it.

Parts: each file is compiled as for the board, with everything switched on and the library's own limits, but for nine
channels of three sensors, and its sections are added up: what a linker keeps of it is at most that. The library has no
variables; RAM is what its structs take.

A model: library and model are linked as for firmware that runs this model and no other (STINGER_ONLY_MODEL), with
nothing beside them but a function that calls the four functions of `stinger_ml.h`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stinger_export.elf import elf_reader, section_bytes, symbols
from stinger_export.firmware import board_flags, board_link
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
_MODEL = "stinger_model_data"
_IN_FLASH = (".text", ".rodata", ".data")
_CALLER = "caller"
_CALLS = f"""\
#include "stinger_ml.h"
extern const stinger_model {_MODEL};
stinger_stream stream;
stinger_decision decision;
bool {_CALLER}(const int16_t *sample, uint32_t t_us);
bool {_CALLER}(const int16_t *sample, uint32_t t_us) {{
    stinger_stream_init(&stream, &{_MODEL});
    if (stinger_stream_push(&stream, sample, t_us, false))
        stinger_stream_decide(&stream, &decision);
    return stinger_stream_on(&stream);
}}
"""


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
            flash = sum(
                _sections(_object(compiler, library / f"stinger_{f}.c", [library], Path(folder), _LIMITS))
                for f in files
            )
            rows.append(
                {
                    "part": part,
                    "flash_bytes": flash,
                    "ram_bytes": sum(ram[name] for name in contexts),
                    "contexts": ", ".join(contexts),
                }
            )
    return rows, compiler.version


@dataclass(frozen=True)
class ModelSize:
    """What firmware takes that runs one model and no other, beside what calls it.

    Attributes:
        flash_bytes: Code and constants, what lies between them included.
        ram_bytes: State of a stream and a decision.
        rows: Functions and constants, the largest first: ``name``, ``kind`` (code, constants) and ``bytes``.
        compiler: Name and version.
    """

    flash_bytes: int
    ram_bytes: int
    rows: list[dict[str, str | int]]
    compiler: str


def model_size(model_dir: Path) -> ModelSize:
    """Compile and link an exported model with what it needs of the library.

    Args:
        model_dir: Holds ``stinger_model_data.c`` and ``stinger_limits.h``.

    Raises:
        ToolchainError: There is no compiler for the board, or it refuses.
    """
    compiler = cross_compiler()
    library = device_sources() / "stinger_ml"
    defines = {"STINGER_LIMITS_H": '"stinger_limits.h"', "STINGER_ONLY_MODEL": _MODEL}
    with tempfile.TemporaryDirectory(prefix="stinger-size-") as name:
        folder = Path(name)
        (folder / "calls.c").write_text(_CALLS)
        sources = [*sorted(library.glob("*.c")), model_dir / f"{_MODEL}.c", folder / "calls.c"]
        objects = [_object(compiler, source, [model_dir, library], folder, defines) for source in sources]
        elf = folder / "model.elf"
        link = board_link(compiler, [f"-Wl,-e,{_CALLER}", *objects])
        compiler.run([*link, "-o", elf], what="the model")
        every = [symbol for symbol in symbols(elf) if symbol.size]
        [caller] = [symbol.size for symbol in every if symbol.name == _CALLER]
        flash = sum(section_bytes(elf, section) for section in _IN_FLASH) - caller
    kept = sorted((s for s in every if s.section in _IN_FLASH and s.name != _CALLER), key=lambda s: (-s.size, s.name))
    rows: list[dict[str, str | int]] = [
        {"name": s.name, "kind": "code" if s.function else "constants", "bytes": s.size} for s in kept
    ]
    return ModelSize(flash, sum(s.size for s in every if s.section == ".bss"), rows, compiler.version)


def model_table(size: ModelSize) -> tuple[list[str], list[list[str]]]:
    """Return what to print of it: titles and lines."""
    lines = [[str(row["name"]), str(row["kind"]), f"{row['bytes']:,}"] for row in size.rows]
    return ["name", "kind", "bytes"], lines


def table(rows: list[dict[str, str | int]]) -> tuple[list[str], list[list[str]]]:
    """Return what to print of them: titles and lines."""
    lines = [[str(row["part"]), f"{row['flash_bytes']:,}", _ram(row), str(row["contexts"])] for row in rows]
    return ["part", "flash", "RAM", "context"], lines


def _ram(row: dict[str, str | int]) -> str:
    return f"{row['ram_bytes']:,}" if row["ram_bytes"] else ""


def _object(
    compiler: Compiler,
    source: Path,
    include: Sequence[Path],
    folder: Path,
    defines: Mapping[str, str | int | None] | None = None,
) -> Path:
    target = folder / f"{source.stem}.o"
    flags = [*board_flags(compiler), *common_arguments([source.parent], include, defines)]
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
    made = _object(compiler, source, [library], folder, _LIMITS)
    return {s.name[3:]: s.size for s in symbols(made) if s.name.startswith("of_")}
