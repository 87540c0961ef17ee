"""Reading the cells of a table, a block of lines at a time; a wrong cell is named by line and column."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.sessions.csv_format.header import Header, split_cells

#: Longest cell of words.
MAX_TEXT = 64
_BLOCK_BYTES = 1 << 22


@dataclass(frozen=True)
class Block:
    """Some lines of a table.

    Attributes:
        first_line: Number of the first one in the file.
        numbers: float64, shape ``(lines, columns)``; 0 where a column holds words.
        words: Cells of the columns that hold words, by position.
    """

    first_line: int
    numbers: NDArray[np.float64]
    words: dict[int, NDArray[np.str_]]


def read_blocks(data: bytes, header: Header, name: str) -> Iterator[Block]:
    """Read everything below the header.

    Raises:
        InputError: A line has more or fewer cells than the header, or a cell is no finite number.
    """
    position = data.find(b"\n") + 1 or len(data)
    end = len(data.rstrip(b"\r\n \t")) if position < len(data) else position
    line = 2
    while position < end:
        stop = data.rfind(b"\n", position, position + _BLOCK_BYTES) + 1
        if position + _BLOCK_BYTES >= end:
            stop = end
        if stop == 0:
            raise InputError(f"{name}, line {line}: longer than {_BLOCK_BYTES >> 20} MiB; this is no table")
        lines = data[position:stop].splitlines() if b"\r" in data[position:stop] else data[position:stop].split(b"\n")
        if lines and not lines[-1]:
            lines.pop()
        yield _read_block(lines, line, header, name)
        line += len(lines)
        position = stop


def _read_block(lines: list[bytes], first_line: int, header: Header, name: str) -> Block:
    types = [(f"c{i}", f"U{MAX_TEXT + 1}" if c.is_text else "f8") for i, c in enumerate(header.columns)]
    try:
        text = [line.decode("utf-8") for line in lines]
    except UnicodeDecodeError:
        _refuse(lines, first_line, header, name)
    try:
        table = np.loadtxt(
            text, dtype=np.dtype(types), delimiter=header.delimiter, comments=None, quotechar='"', ndmin=1
        )
    except (ValueError, OverflowError):
        _refuse(lines, first_line, header, name)
    numeric = [i for i, (_, kind) in enumerate(types) if kind == "f8"]
    numbers = np.zeros((len(table), len(types)))
    for i in numeric:
        numbers[:, i] = table[f"c{i}"]
    words = {i: np.char.strip(table[f"c{i}"]) for i in range(len(types)) if i not in numeric}
    long = any((np.char.str_len(cells) > MAX_TEXT).any() for cells in words.values())
    if len(table) != len(lines) or not np.isfinite(numbers).all() or long:
        _refuse(lines, first_line, header, name)
    return Block(first_line, numbers, words)


def _refuse(lines: list[bytes], first_line: int, header: Header, name: str) -> NoReturn:
    """Find the first wrong cell and name it."""
    for number, raw in enumerate(lines, start=first_line):
        cells = split_cells(raw.decode("utf-8", "replace"), header.delimiter)
        if not raw.strip():
            raise InputError(f"{name}, line {number}: the line is empty; remove it")
        for column, cell in zip(header.columns, cells, strict=False):
            problem = _problem(cell.strip(), text=column.is_text)
            if problem:
                shown = repr(cell if len(cell) <= 20 else cell[:20] + "...")
                raise InputError(f"{name}, line {number}, column '{column.header}': {shown} {problem}")
        if len(cells) != len(header.columns):
            raise InputError(f"{name}, line {number}: {len(cells)} of {len(header.columns)} columns")
    raise InputError(f"{name}, lines {first_line} to {first_line + len(lines) - 1}: not a table of numbers")


def _problem(cell: str, *, text: bool) -> str | None:
    if text:
        if len(cell) > MAX_TEXT:
            return f"is longer than {MAX_TEXT} characters"
        return None if cell.isprintable() else "holds control characters"
    if not cell:
        return "is empty; a number is needed, remove the line or fill it in"
    try:
        number = float(cell) if "_" not in cell and cell.isascii() else None
    except ValueError:
        number = None
    if number is None:
        hint = "; decimals are written with a point" if "," in cell else ""
        return f"is not a number{hint}; correct it, or name a column of words with --label-column"
    return None if math.isfinite(number) else "is not a finite number; remove the line or correct it"
