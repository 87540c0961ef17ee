"""`stinger bench size`: every file of the library is in one part, and docs/size.md says what it prints."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cli_in_process import run

from stinger_export.size import PARTS
from stinger_export.toolchain import device_sources

PAGE = Path(__file__).parents[2] / "docs" / "size.md"


def number(cell: str) -> int:
    return int(cell.replace(",", "") or 0)


def test_every_file_belongs_to_one_part():
    files = [f"stinger_{name}" for names, _ in PARTS.values() for name in names]
    assert sorted(files) == sorted(path.stem for path in (device_sources() / "stinger_ml").glob("*.c"))


def test_the_page_says_what_the_command_prints(monkeypatch):
    monkeypatch.setenv("STINGER_CROSS", "zig")
    code, out, said = run("bench", "size", "--json")
    assert (code, said) == (0, [])
    rows = json.loads(out)["rows"]
    lines = re.findall(r"^\| (.*) \| ([\d,]+) \| [\d,]+ \| ([\d,]*) \| `?(\w*)`? \|$", PAGE.read_text(), re.MULTILINE)
    assert [line[0] for line in lines] == [row["part"] for row in rows] == list(PARTS)
    for (part, flash, ram, context), row in zip(lines, rows, strict=True):
        # A few instructions more or less are no news; measure again and write it down when it is more.
        assert row["flash_bytes"] == pytest.approx(number(flash), rel=0.05, abs=32), part
        assert (row["ram_bytes"], row["contexts"]) == (pytest.approx(number(ram), abs=16), context), part


def test_the_table_is_readable(monkeypatch):
    monkeypatch.setenv("STINGER_CROSS", "zig")
    code, out, _ = run("bench", "size")
    assert code == 0
    assert re.search(r"^store +│ +\d,\d{3} │ +\d{3} │ +stinger_store *$", out, re.MULTILINE)
