"""The command line without a process of its own: for tests that type many commands."""

from __future__ import annotations

import contextlib
import io
import sys
from unittest import mock

from stinger.cli import main


def run(*arguments: object) -> tuple[int, str, list[str]]:
    """Run the command line in this process: exit code, standard output, and what it said beside progress."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        mock.patch.object(sys, "argv", ["stinger", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return code, out.getvalue(), [line for line in err.getvalue().splitlines() if line and not line.startswith("[")]
