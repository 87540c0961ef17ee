"""How results are printed: tables for people, JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table


def print_json(value: Any) -> None:
    """Print one JSON document on standard output."""
    typer.echo(json.dumps(value, indent=2))


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table that fits its content; numbers are on the right."""
    grid = Table(show_edge=False, pad_edge=False)
    for i, name in enumerate(header):
        grid.add_column(name, justify="left" if i == 0 else "right", no_wrap=True)
    for row in rows:
        grid.add_row(*row)
    # A cut cell would hide a figure; a line too long for the terminal only wraps.
    Console(width=Console(width=10_000).measure(grid).maximum).print(grid)
