"""One door for recordings of any known format."""

from __future__ import annotations

from pathlib import Path

from stinger.errors import InputError
from stinger.sessions.edge_impulse import parse_export
from stinger.sessions.session import Session
from stinger.sessions.stinger_log import CSV_HEADER, parse_bin, parse_csv, read_recording

KNOWN_FORMATS = "a Stinger log (.bin), its CSV form (.csv), an Edge Impulse export (.zip)"


def read_sessions(path: Path) -> list[Session]:
    """Read every session of a file, whatever known format it has.

    The content decides where it can (a CSV header, a zip's signature); a Stinger ``.bin`` has no signature,
    so there the suffix does.

    Args:
        path: A Stinger ``.bin`` or ``.csv`` (one session) or an Edge Impulse ``.zip`` (one per acquisition).

    Returns:
        At least one session, each with at least two samples.

    Raises:
        InputError: The file is missing, unknown, damaged or without samples.
    """
    data = read_recording(path)
    suffix = path.suffix.lower()
    if data.removeprefix(b"\xef\xbb\xbf").startswith(CSV_HEADER.encode()) or suffix == ".csv":
        return [parse_csv(data, path.name)]
    if suffix == ".bin":
        return [parse_bin(data, path.name)]
    if suffix == ".zip" or data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return parse_export(data, path.name)
    raise InputError(f"{path.name}: unknown kind of recording; known are {KNOWN_FORMATS}")
