"""`stinger devices`."""

from __future__ import annotations

from typing import Annotated

import typer

from stinger.cli.output import print_json, print_table
from stinger.errors import LinkError


def devices(
    json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List the boards within reach, and what each runs."""
    from stinger.link.board import Board
    from stinger.link.ports import list_boards
    from stinger.link.transport import open_port

    found = []
    for port in list_boards():
        entry = {"port": port.name, "what": port.description, "board": "", "model": ""}
        try:
            with Board(open_port(port.name)) as board:
                info = board.hello()
                entry |= {"board": info.board, "model": f"{info.model.name} ({info.model.hash})"}
        except LinkError as error:
            # A blank board or one in use is listed all the same, with the reason.
            entry["model"] = str(error)
        found.append(entry)
    if json:
        print_json(found)
    elif found:
        print_table(["port", "what", "board", "model"], [list(entry.values()) for entry in found])
    else:
        typer.echo("no board found; plug one in, or start one with `stinger virtual`")
