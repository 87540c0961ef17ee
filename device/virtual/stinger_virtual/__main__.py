"""``python -m stinger_virtual IMAGE``: a virtual board as a process; prints its port and runs until ended."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from stinger.errors import InputError, StingerError
from stinger.sessions.session import Session
from stinger_virtual.process import run_virtual


def main() -> int:
    """Run a virtual board; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m stinger_virtual", description=__doc__)
    parser.add_argument("image", type=Path, nargs="?", help="firmware, .bin or .uf2; default: blank")
    parser.add_argument("--link", type=Path, help="symbolic link to make to the port")
    parser.add_argument("--sensor", type=Path, help="recording to play to the board's sensor")
    parser.add_argument("--flash", type=Path, help="file that keeps the board's flash for the next start")
    parser.add_argument("--until-stdin-ends", action="store_true", help="end when standard input does")
    options = parser.parse_args()
    try:
        run_virtual(
            options.image,
            options.link,
            _session(options.sensor) if options.sensor is not None else None,
            lambda port: print(port, flush=True),
            until=sys.stdin.fileno() if options.until_stdin_ends else None,
            flash=options.flash,
        )
    except StingerError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _session(path: Path) -> Session:
    from stinger.sessions.read import read_sessions  # noqa: PLC0415 - most boards have no sensor to play

    sessions = read_sessions(path)
    if not sessions:
        raise InputError(f"{path} holds no recording to play to the sensor; choose another")
    return max(sessions, key=len)


if __name__ == "__main__":
    sys.exit(main())
