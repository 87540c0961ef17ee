"""Firmware on unicorn's Cortex-M0: stricter than rp2040py, which lets unaligned access and unknown instructions pass.

Nothing is there but the flash, which cannot be written, and the RAM. Functions of the linked firmware are called one by
one; whatever a real core would fault on raises `CoreFaultError`.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np
from elftools.elf.elffile import ELFFile
from unicorn import UC_ARCH_ARM, UC_MODE_THUMB, UC_PROT_ALL, UC_PROT_EXEC, UC_PROT_READ, Uc, UcError
from unicorn.arm_const import (
    UC_ARM_REG_LR,
    UC_ARM_REG_PC,
    UC_ARM_REG_R0,
    UC_ARM_REG_R1,
    UC_ARM_REG_R2,
    UC_ARM_REG_R3,
    UC_ARM_REG_SP,
    UC_CPU_ARM_CORTEX_M0,
)

FLASH, FLASH_BYTES = 0x10000000, 0x200000
RAM, RAM_BYTES = 0x20000000, 0x42000
#: Where what is called returns to, and what is passed to it lies: the top of RAM, below the stack.
SCRATCH = RAM + RAM_BYTES - 0x3000
STACK = RAM + RAM_BYTES
RETURN = FLASH + FLASH_BYTES - 16
_PAINT = b"\xa5" * 4096
_ARGUMENTS = (UC_ARM_REG_R0, UC_ARM_REG_R1, UC_ARM_REG_R2, UC_ARM_REG_R3)
_MOST_INSTRUCTIONS = 2_000_000


class CoreFaultError(Exception):
    """The core would have faulted; says where."""


class StrictCore:
    """A core with one firmware in its flash, as after its start-up code."""

    def __init__(self, elf: Path) -> None:
        self.uc = uc = Uc(UC_ARCH_ARM, UC_MODE_THUMB)
        uc.ctl_set_cpu_model(UC_CPU_ARM_CORTEX_M0)
        uc.mem_map(FLASH, FLASH_BYTES, UC_PROT_READ | UC_PROT_EXEC)
        uc.mem_map(RAM, RAM_BYTES, UC_PROT_ALL)
        with elf.open("rb") as stream:
            file = ELFFile(stream)
            for segment in file.iter_segments():
                if segment["p_type"] == "PT_LOAD" and segment["p_filesz"]:
                    uc.mem_write(segment["p_paddr"], segment.data())
                    uc.mem_write(segment["p_vaddr"], segment.data())
            symbols = file.get_section_by_name(".symtab")
            self.symbols = {symbol.name: symbol["st_value"] for symbol in symbols.iter_symbols()}
        uc.mem_write(STACK - len(_PAINT), _PAINT)

    def call(self, function: str | int, *arguments: int) -> int:
        """Call a function by name or address and return what it leaves in r0."""
        address = self.symbols[function] if isinstance(function, str) else function
        for register, value in zip(_ARGUMENTS, arguments, strict=False):
            self.uc.reg_write(register, value)
        self.uc.reg_write(UC_ARM_REG_SP, STACK)
        self.uc.reg_write(UC_ARM_REG_LR, RETURN | 1)
        try:
            self.uc.emu_start(address | 1, RETURN, count=_MOST_INSTRUCTIONS)
        except UcError as error:
            raise CoreFaultError(f"{error} at {self.uc.reg_read(UC_ARM_REG_PC):#x}") from error
        if self.uc.reg_read(UC_ARM_REG_PC) != RETURN:
            raise CoreFaultError(f"no end: at {self.uc.reg_read(UC_ARM_REG_PC):#x}")
        return int(self.uc.reg_read(UC_ARM_REG_R0))

    @property
    def stack_used(self) -> int:
        """Bytes of stack that calls have written to so far, at most."""
        left = bytes(self.uc.mem_read(STACK - len(_PAINT), len(_PAINT)))
        return len(left.lstrip(b"\xa5"))


class StrictStream:
    """The firmware's stream, with its own model."""

    def __init__(self, elf: Path, limits: str) -> None:
        self.core = StrictCore(elf)
        self._most = int(re.findall(r"STINGER_MAX_CLASSES (\d+)", limits)[0])
        self._stream = self.core.symbols["stinger_app_stream"]
        assert self.core.call("stinger_stream_init", self._stream, self.core.symbols["stinger_model_data"]) & 1

    def push(self, sample: np.ndarray, t_us: int, gap: bool) -> bool:
        """Whether the window is full."""
        self.core.uc.mem_write(SCRATCH, sample.astype("<i2").tobytes())
        return bool(self.core.call("stinger_stream_push", self._stream, SCRATCH, t_us & 0xFFFFFFFF, int(gap)) & 255)

    @property
    def on(self) -> bool:
        """What the policy says."""
        return bool(self.core.call("stinger_stream_on", self._stream) & 255)

    def decide(self, features: int) -> tuple[int, list[int], list[int], list[int]]:
        """Label, probabilities, scores and features."""
        self.core.call("stinger_stream_decide", self._stream, SCRATCH)
        scores_at = (4 + 2 * self._most + 3) // 4 * 4
        data = bytes(self.core.uc.mem_read(SCRATCH, scores_at + 4 * self._most + 2 * features))
        label, classes, scores = data[:3]
        return (
            label,
            list(struct.unpack_from(f"<{classes}H", data, 4)),
            list(struct.unpack_from(f"<{scores}i", data, scores_at)),
            list(struct.unpack_from(f"<{features}h", data, scores_at + 4 * self._most)),
        )
