"""Tables and lists in markdown, for every report."""

from __future__ import annotations

from collections.abc import Sequence


def grid(header: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = False) -> str:
    """Compose a table.

    Args:
        header: Titles of the columns.
        rows: As many cells each; a bar within one is escaped.
        numbers: Columns but the first hold numbers and are aligned to the right.
    """
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in (header, *rows)]
    lines = ["| " + " | ".join(row) + " |" for row in escaped]
    rule = "|---|" + ("---:|" if numbers else "---|") * (len(header) - 1)
    return "\n".join([lines[0], rule, *lines[1:]])


def bullets(lines: Sequence[str]) -> str:
    """Compose a list."""
    return "\n".join(f"- {line}" for line in lines)
