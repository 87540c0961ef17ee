"""From a model in C to firmware: an image for the board, and the same application as a program on this computer."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from stinger.errors import InputError, ToolchainError, UsageError
from stinger.files import write_bytes
from stinger_export.elf import elf_reader
from stinger_export.toolchain import (
    STRICT,
    Compiler,
    atomic_output,
    common_arguments,
    compile_host,
    cross_compiler,
    device_sources,
)
from stinger_export.uf2 import FLASH_BASE, FLASH_BYTES, to_uf2

BOARDS = ("emulated_rp2040",)

_MODEL_FILES = ("stinger_model_data.c", "stinger_limits.h")
_M0PLUS = {
    "gcc": ("-mcpu=cortex-m0plus", "-mthumb", "-fno-tree-loop-distribute-patterns"),
    "zig": ("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m0plus", "-fno-sanitize=undefined", "-g0"),
}
_FREESTANDING = (
    "-Os",  # half the code of -O2 and as fast: the loops that matter are unrolled by hand
    "-fomit-frame-pointer",  # one more of the eight low registers for loops
    "-ffreestanding",
    "-ffp-contract=off",
    "-ffunction-sections",
    "-fdata-sections",
    "-fno-common",
    "-fno-unwind-tables",
    "-fno-asynchronous-unwind-tables",
)
_OTHERS = ("-O2",)  # nobody unrolled their loops: up to twice as fast as with -Os
_LIBRARIES = {"gcc": ("-nostdlib", "-lgcc"), "zig": ()}
_SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")


@dataclass(frozen=True)
class StandIn:
    """Other code in the classifier's place, for comparisons; the rest of the firmware is the same.

    Attributes:
        leaves_out: Names of the library's sources that it stands in for.
        sources: What is compiled instead.
        include: Folders of headers by others, whose warnings are not ours to fix.
    """

    leaves_out: frozenset[str]
    sources: tuple[Path, ...]
    include: tuple[Path, ...]


@dataclass(frozen=True)
class Firmware:
    """Firmware for a board, and what it takes there.

    Attributes:
        elf: With symbols, for debuggers.
        bin: Flash contents from 0x10000000 on.
        uf2: The same, as the boot loader takes it.
        flash_bytes: Code, constants and initial values of the whole firmware.
        ram_bytes: Static data of the whole firmware, without the stack.
        model_flash_bytes: Of these, the classifier's code and the model's constants.
        model_ram_bytes: Of these, the state of one stream.
        compiler: Name and version.
    """

    elf: Path
    bin: Path
    uf2: Path
    flash_bytes: int
    ram_bytes: int
    model_flash_bytes: int
    model_ram_bytes: int
    compiler: str


def build_firmware(
    model_dir: Path,
    output_dir: Path,
    board: str = "emulated_rp2040",
    *,
    any_model: bool = False,
    stand_in: StandIn | None = None,
) -> Firmware:
    """Compile and link the firmware with a model in it.

    Args:
        model_dir: Holds ``stinger_model_data.c`` and ``stinger_limits.h``, as exported.
        output_dir: Receives ``firmware.elf``, ``firmware.bin`` and ``firmware.uf2``.
        board: One of `BOARDS`.
        any_model: It can also run uploaded models of other families and sizes, and is larger for it.
        stand_in: Other code in the classifier's place.

    Raises:
        UsageError: No such board.
        InputError: The model is not there.
        ToolchainError: There is no compiler, or it refuses; the output directory keeps what it had.
    """
    if board not in BOARDS:
        raise UsageError(f"unknown board {board!r}; known: {', '.join(BOARDS)}")
    _require_model(model_dir)
    compiler = cross_compiler()
    sources = _application(model_dir, board)
    if stand_in is not None:
        sources = [file for file in sources if file.name not in stand_in.leaves_out] + list(stand_in.sources)
    script = device_sources() / "boards" / board / "link.ld"
    elf = output_dir / "firmware.elf"
    with tempfile.TemporaryDirectory(prefix="stinger-build-") as folder, atomic_output(elf) as temporary:
        objects = _compile(compiler, sources, model_dir, Path(folder), any_model=any_model, stand_in=stand_in)
        link = board_link(compiler, [f"-Wl,-T,{script}", *objects])
        compiler.run([*link, "-o", temporary], what=f"the firmware for {board}")
        image, sizes = _read_elf(temporary)
    firmware = Firmware(
        elf=elf, bin=output_dir / "firmware.bin", uf2=output_dir / "firmware.uf2", **sizes, compiler=compiler.version
    )
    write_bytes(firmware.bin, image)
    write_bytes(firmware.uf2, to_uf2(image, FLASH_BASE))
    return firmware


def build_native(model_dir: Path, output_dir: Path, sanitize: bool = False, *, any_model: bool = False) -> Path:
    """Compile the firmware's application into a program that talks on its standard streams.

    Args:
        model_dir: As for `build_firmware`.
        output_dir: Receives ``firmware-native``.
        sanitize: Stop at the first undefined behaviour or bad memory access.
        any_model: As for `build_firmware`.

    Returns:
        The program.

    Raises:
        InputError: The model is not there.
        ToolchainError: There is no compiler, or it refuses.
    """
    _require_model(model_dir)
    program = output_dir / "firmware-native"
    compile_host(
        _application(model_dir, "native"),
        program,
        include=_include(model_dir),
        defines=_defines(any_model),
        flags=_SANITIZERS if sanitize else (),
    )
    return program


def _require_model(model_dir: Path) -> None:
    for name in _MODEL_FILES:
        if not (model_dir / name).is_file():
            raise InputError(f"{model_dir} holds no {name}; export a model there first (`stinger export`)")


def _application(model_dir: Path, board: str) -> list[Path]:
    device = device_sources()
    folders = (device / "stinger_ml", device / "boards" / "common", device / "boards" / board)
    return [*(file for folder in folders for file in sorted(folder.glob("*.c"))), model_dir / _MODEL_FILES[0]]


def _include(model_dir: Path) -> list[Path]:
    device = device_sources()
    return [model_dir, device / "stinger_ml", device / "boards" / "common"]


def _defines(any_model: bool) -> dict[str, str | int | None]:
    try:
        release = version("stinger-ml")
    except PackageNotFoundError:
        release = "development"
    limits = "app_limits.h" if any_model else _MODEL_FILES[1]
    return {"STINGER_LIMITS_H": f'"{limits}"', "STINGER_FIRMWARE_VERSION": f'"{release}"'}


def board_flags(compiler: Compiler) -> list[str]:
    """Return how C is compiled for the board, include paths and macros aside."""
    return [*_M0PLUS[compiler.kind], *_FREESTANDING, *STRICT]


def board_link(compiler: Compiler, inputs: Sequence[str | Path]) -> list[str | Path]:
    """Return how objects are linked for the board, without what nobody uses; the output aside."""
    flags = [*_M0PLUS[compiler.kind], "-O2", "-ffreestanding", "-Wl,--gc-sections", "-nostartfiles"]
    return [*flags, *inputs, *_LIBRARIES[compiler.kind], "-Wl,--build-id=none"]


def _compile(
    compiler: Compiler,
    sources: list[Path],
    model_dir: Path,
    folder: Path,
    *,
    any_model: bool,
    stand_in: StandIn | None,
) -> list[Path]:
    """Compile each source on its own: the linker script tells objects apart by their names."""
    flags = board_flags(compiler)
    flags += common_arguments([file.parent for file in sources], _include(model_dir), _defines(any_model))
    if stand_in is not None:
        flags += [f"-isystem{headers}" for headers in stand_in.include]

    def compile_one(source: Path) -> Path:
        origin = "model" if source.parent == model_dir else source.parent.name
        target = folder / f"{origin}-{source.stem}.o"
        faster = _OTHERS if stand_in is not None and source in stand_in.sources else ()
        compiler.run([*flags, *faster, "-c", source, "-o", target], what=source.name)
        return target

    with ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(compile_one, sources))


def _read_elf(path: Path) -> tuple[bytes, dict[str, int]]:
    """Return the flash contents of a linked program, and the sizes of its parts."""
    open_elf = elf_reader()
    with path.open("rb") as stream:
        elf = open_elf(stream)
        loaded = [s for s in elf.iter_segments() if s["p_type"] == "PT_LOAD" and s["p_filesz"] > 0]
        end = max(s["p_paddr"] + s["p_filesz"] for s in loaded)
        if min(s["p_paddr"] for s in loaded) < FLASH_BASE or end > FLASH_BASE + FLASH_BYTES:
            raise ToolchainError("the linked firmware is not where the flash is; the linker script was not used")
        image = bytearray(b"\xff" * (end - FLASH_BASE))  # erased flash
        for segment in loaded:
            start = segment["p_paddr"] - FLASH_BASE
            image[start : start + segment["p_filesz"]] = segment.data()
        flash = ram = 0
        size = {}
        for section in elf.iter_sections():
            if section["sh_flags"] & 0x2:  # SHF_ALLOC
                size[section.name] = section["sh_size"]
                in_flash = section["sh_type"] != "SHT_NOBITS"
                flash += section["sh_size"] if in_flash else 0
                ram += section["sh_size"] if section["sh_addr"] >= 0x20000000 else 0
    return bytes(image), {
        "flash_bytes": flash,
        "ram_bytes": ram,
        "model_flash_bytes": size.get(".model_text", 0) + size.get(".model_rodata", 0),
        "model_ram_bytes": size.get(".model_bss", 0),
    }
