"""`stinger monitor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def monitor(
    port: Annotated[str | None, typer.Option(help="Serial port of the board; default: the only one there is.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="One line per decision (the only view so far).")] = True,
    count: Annotated[int | None, typer.Option(min=1, help="Stop after this many decisions.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Stop after this time.")] = None,
    rate: Annotated[int | None, typer.Option(min=1, help="At most so many decisions a second; default: all.")] = None,
    log: Annotated[Path | None, typer.Option(help="Also write a board log, for `stinger check --log`.")] = None,
) -> None:
    """Show a board's decisions live."""
    from stinger.link.board import Board
    from stinger.link.ports import find_port
    from stinger.link.transport import open_port
    from stinger.monitor.plain import run_plain

    del plain  # the only view there is; scripts that ask for it keep working when others come

    with Board(open_port(find_port(port))) as board:
        run_plain(board, count=count, seconds=seconds, log=log, most_hz=rate)
