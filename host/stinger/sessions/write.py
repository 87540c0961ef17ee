"""Writing recordings in any format that can be written, and noticing what a format cannot hold.

What would be lost is not guessed from the format: everything written is read back and compared before it is put in
place.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import numpy as np

from stinger.errors import InputError, UsageError
from stinger.sessions.formats import WRITERS, WritableFormat
from stinger.sessions.options import ReadOptions
from stinger.sessions.session import Session
from stinger.sessions.stinger_log.records import holds, reduced

_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"\\|?*]')
_LISTED = 6


def writable_suffixes() -> str:
    """Name every suffix that can be written, for messages."""
    return ", ".join(WRITERS)


def write_sessions(sessions: Sequence[Session], path: Path, *, lossy: bool = False) -> list[str]:
    """Write sessions into one file, in the format of its suffix.

    Args:
        sessions: What to write.
        path: Where to; replaced only when everything has been written and compared.
        lossy: Write although something is lost.

    Returns:
        What was lost, one line each; faults are not data and not counted.

    Raises:
        UsageError: The suffix is of no format that can be written.
        InputError: The format cannot hold the sessions, something would be lost and ``lossy`` is not set, or the
            place cannot be written.
    """
    candidates = WRITERS.get(path.suffix.lower())
    if candidates is None:
        raise UsageError(f"{path}: '{path.suffix}' is no format to write; known are {writable_suffixes()}")
    wanted = list(sessions)
    if lossy and path.suffix.lower() == ".bin":
        sessions = [reduced(session) for session in sessions]
    writer = _choose(candidates, sessions)
    with _beside(path) as building:
        draft = building / path.name
        try:
            writer.write(sessions, draft)
        except InputError as error:
            raise InputError(str(error).replace(str(draft), str(path))) from error
        lost = differences(wanted, writer.read(draft, ReadOptions()))
        if lost and not lossy:
            shown = "; ".join(lost[:_LISTED]) + (f"; and {len(lost) - _LISTED} more" if len(lost) > _LISTED else "")
            raise InputError(f"{path.name} cannot hold everything: {shown}; choose another format or add --lossy")
        for made in sorted(building.iterdir(), key=lambda p: p == draft):
            made.replace(path.parent / made.name)
    return lost


def file_name(session: Session, suffix: str, taken: set[str]) -> str:
    """Choose where in a folder a session goes: its own path inside, with another suffix.

    Args:
        session: What to name.
        suffix: The new suffix.
        taken: Names already used; gains the one chosen.
    """
    parts = [_UNSAFE.sub("_", part).strip(" .") for part in PurePosixPath(session.name).parts]
    parts = [part for part in parts if part and part != "/"] or ["recording"]
    path = PurePosixPath(*parts)
    stem = path.stem if re.fullmatch(r"\.(bin|csv|tsv|mcap|json|cbor|zip)", path.suffix.lower()) else path.name
    for number in range(1, len(taken) + 2):
        name = (path.parent / f"{stem}{f'-{number}' if number > 1 else ''}{suffix}").as_posix()
        # Some file systems don't tell cases apart.
        if name.lower() not in taken:
            break
    taken.add(name.lower())
    return name


def differences(before: Sequence[Session], after: Sequence[Session]) -> list[str]:
    """Say in what two lists of recordings differ, one line for each kind of difference; names and faults may."""
    if len(before) != len(after):
        return [f"{len(before)} recordings become {len(after)}"]
    found: Counter[str] = Counter()
    for old, new in _paired(before, after):
        found.update(set(_session_differences(old, new)))
    many = len(before) > 1
    return [f"{text} (in {n} of {len(before)} recordings)" if many else text for text, n in found.items()]


def _choose(candidates: Sequence[WritableFormat], sessions: Sequence[Session]) -> WritableFormat:
    """Prefer the Stinger's own form where it holds all there is."""
    plain = all(holds(s) is None and not (s.label or s.subject or s.split or s.events) for s in sessions)
    return candidates[0] if plain else candidates[-1]


def _paired(before: Sequence[Session], after: Sequence[Session]) -> Iterator[tuple[Session, Session]]:
    """Pair recordings by their samples, for a format may sort them its own way; what is left, in order."""
    by_samples: dict[bytes, list[Session]] = {}
    for session in after:
        by_samples.setdefault(_digest(session), []).append(session)
    unmatched = []
    for old in before:
        same = by_samples.get(_digest(old))
        if same:
            yield old, same.pop(0)
        else:
            unmatched.append(old)
    left = [session for group in by_samples.values() for session in group]
    yield from zip(unmatched, left, strict=True)


def _digest(session: Session) -> bytes:
    digest = hashlib.sha256(session.samples.tobytes())
    digest.update(repr((session.label, session.subject, session.split, len(session))).encode())
    return digest.digest()


def _session_differences(old: Session, new: Session) -> Iterator[str]:
    if len(old) != len(new):
        yield f"{len(old)} samples become {len(new)}"
        return
    names = [c.name for c in old.channels]
    if names != [c.name for c in new.channels]:
        yield f"channels {', '.join(names)} become {', '.join(c.name for c in new.channels)}"
    elif old.channels != new.channels:
        changed = [a.name for a, b in zip(old.channels, new.channels, strict=True) if a != b]
        yield f"unit or scale of {', '.join(changed)}"
    if old.samples.shape == new.samples.shape and old.channels == new.channels and (old.samples != new.samples).any():
        yield "samples"
    shift = np.abs(old.t_us - new.t_us)
    if shift.any():
        yield f"timestamps change by up to {int(shift.max())} us"
    if old.period_us != new.period_us:
        yield f"the period of {old.period_us} us becomes {new.period_us} us"
    if (old.trigger is None) != (new.trigger is None):
        yield "there is no trigger, it becomes 0" if old.trigger is None else "the trigger"
    elif old.trigger is not None and new.trigger is not None and (old.trigger != new.trigger).any():
        yield "the trigger"
    for what in ("label", "subject", "split"):
        if getattr(old, what) != getattr(new, what):
            yield f"the {what}"
    if old.events != new.events:
        yield f"{len(old.events)} events become {len(new.events)}" if len(old.events) != len(new.events) else "events"


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Give a directory on the same file system as a path, gone when the block ends."""
    if path.is_dir():
        raise InputError(f"{path} is a folder, a file is to be written there; choose another place")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name[:40]}.{os.getpid()}."))
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}; choose another place") from error
    try:
        yield building
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}; choose another place") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
