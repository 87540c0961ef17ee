"""The table of formats: a module per format, in the order in which they are asked whether a file is theirs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from stinger.errors import InputError
from stinger.sessions import csv_format, edge_impulse, mcap_format, phone_log, stinger_log
from stinger.sessions.options import ReadOptions
from stinger.sessions.session import Session
from stinger.sessions.stinger_log import csv as stinger_log_csv

#: How much of a file a format sees to recognise it.
HEAD_BYTES = 1 << 16


class Format(Protocol):
    """What a format's module offers."""

    @property
    def NAME(self) -> str:  # noqa: N802 - a module's constant
        """What it is called in messages, with its suffixes."""

    @property
    def SUFFIXES(self) -> tuple[str, ...]:  # noqa: N802 - a module's constant
        """Suffixes that its files usually have."""

    def recognise(self, data_head: bytes, path: Path) -> bool:
        """Say from a file's first `HEAD_BYTES` (and from the file itself, where it must) whether it is this format."""

    def read(self, path: Path, options: ReadOptions) -> list[Session]:
        """Read every session of a file."""


class WritableFormat(Format, Protocol):
    """A format that can be written, too."""

    def write(self, sessions: Sequence[Session], path: Path) -> None:
        """Write sessions into one file."""


#: The table. No two recognise the same file, but the last takes any table, and the Stinger's own come first.
FORMATS: tuple[Format, ...] = (stinger_log, stinger_log_csv, mcap_format, phone_log, edge_impulse, csv_format)
#: Which modules write a suffix; of several the first that can hold the session.
WRITERS: dict[str, tuple[WritableFormat, ...]] = {
    ".bin": (stinger_log,),
    ".csv": (stinger_log_csv, csv_format),
    ".tsv": (csv_format,),
    ".mcap": (mcap_format,),
    ".zip": (edge_impulse,),
    ".json": (edge_impulse,),
    ".cbor": (edge_impulse,),
}


def known_formats() -> str:
    """Name every format, for messages."""
    return ", ".join(f.NAME for f in FORMATS)


def read_head(path: Path) -> bytes:
    """Read a file's first bytes.

    Raises:
        InputError: It is missing, no regular file or unreadable.
    """
    try:
        if not path.exists():
            raise InputError(f"cannot read {path}: it does not exist; give a recording's own file")
        if not path.is_file():
            raise InputError(f"{path} is not a file; give a recording's own file")
        with path.open("rb") as stream:
            return stream.read(HEAD_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read {path}: {reason}; give a recording's own file") from error


def recognised(head: bytes, path: Path) -> Format | None:
    """Find the format whose content a file has, or None."""
    return next((candidate for candidate in FORMATS if candidate.recognise(head, path)), None)


def format_of(head: bytes, path: Path) -> Format | None:
    """Find a file's format: its content decides, its suffix only where the content fits none.

    Args:
        head: Its first `HEAD_BYTES`.
        path: Where it lies.

    Returns:
        The format, or None if neither says anything.
    """
    by_suffix = (f for f in reversed(FORMATS) if path.suffix.lower() in f.SUFFIXES)
    return recognised(head, path) or next(by_suffix, None)
