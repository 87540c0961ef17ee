"""What `stinger info` and `stinger convert` do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stinger.errors import UsageError
from stinger.files import replace_dir
from stinger.sessions.describe import describe_all
from stinger.sessions.formats import WRITERS
from stinger.sessions.options import ReadOptions
from stinger.sessions.read import Listing, list_recordings, read_listed
from stinger.sessions.session import Session
from stinger.sessions.write import file_name, writable_suffixes, write_sessions
from stinger.workflow.progress import Progress

#: What recordings in a folder become if nobody says.
DEFAULT_FORMAT = "csv"


@dataclass(frozen=True)
class Converted:
    """What a conversion did.

    Attributes:
        files: Recordings' files written.
        recordings: Recordings in them.
        lost: What the format could not hold, one line each.
        faults: What reading reported, each with its recording's name.
        skipped: Files in a folder or zip that are no recordings.
    """

    files: list[Path]
    recordings: int
    lost: list[str]
    faults: list[str]
    skipped: list[str]


def info(paths: Sequence[Path], options: ReadOptions, progress: Progress) -> dict[str, Any]:
    """Describe recordings in plain JSON values; see `describe_all`. Also lists what was ``skipped``.

    Raises:
        InputError: One of them cannot be read.
    """
    skipped: list[str] = []

    def sessions() -> Iterator[Session]:
        for path in paths:
            progress.step(f"reading {path}")
            listing = list_recordings(path, options)
            skipped.extend(f"{path}: {name}" for name in listing.skipped)
            yield from _one_by_one(path, listing, progress)

    return {**describe_all(sessions()), "skipped": skipped}


def convert(
    source: Path,
    target: Path,
    options: ReadOptions,
    progress: Progress,
    *,
    form: str | None = None,
    lossy: bool = False,
) -> Converted:
    """Convert recordings: into one file by its suffix, or into a folder with a file for each.

    Args:
        source: A recording, or a folder or zip of them.
        target: A file with a known suffix, or a folder to make.
        options: What the source does not say itself.
        progress: Says what is being done.
        form: Suffix of the files in a folder.
        lossy: Write although the format cannot hold everything.

    Raises:
        UsageError: The target is of no format that can be written.
        InputError: The source cannot be read, the target cannot hold it or cannot be written.
    """
    if target.exists() and source.exists() and target.samefile(source):
        raise UsageError(f"{target} is the recording itself; choose another place")
    progress.step(f"reading {source}")
    listing = list_recordings(source, options)
    if _is_folder(target):
        return _into_folder(source, target, listing, progress, form=form or DEFAULT_FORMAT, lossy=lossy)
    if form is not None:
        raise UsageError(f"--format is for folders; the suffix of {target.name} says what it becomes")
    sessions = list(_one_by_one(source, listing, progress))
    progress.step(f"writing {target}")
    lost = write_sessions(sessions, target, lossy=lossy)
    return Converted([target], len(sessions), lost, _faults(sessions), list(listing.skipped))


def _into_folder(
    source: Path, target: Path, listing: Listing, progress: Progress, *, form: str, lossy: bool
) -> Converted:
    suffix = f".{form.removeprefix('.').lower()}"
    if suffix not in WRITERS:
        raise UsageError(f"--format {form}: no format to write; known are {writable_suffixes()}")
    files: list[Path] = []
    faults: list[str] = []
    lost: Counter[str] = Counter()
    taken: set[str] = set()
    progress.step(f"writing {target}")
    with replace_dir(target) as building:
        for session in _one_by_one(source, listing, progress):
            name = file_name(session, suffix, taken)
            lost.update(write_sessions([session], building / name, lossy=lossy))
            files.append(target / name)
            faults += _faults([session])
    return Converted(
        files, len(files), [f"{text} (in {n} recordings)" for text, n in lost.items()], faults, list(listing.skipped)
    )


def _is_folder(target: Path) -> bool:
    if target.is_dir():
        return True
    if target.suffix.lower() in WRITERS:
        return False
    if target.suffix and len(target.suffix) <= 6:
        raise UsageError(
            f"{target}: '{target.suffix}' is no format to write; known are {writable_suffixes()}, or a folder's name"
        )
    return True


def _one_by_one(path: Path, listing: Listing, progress: Progress) -> Iterator[Session]:
    total = len(listing.sources)
    with progress.bar("recordings") as show:
        for number, sessions in enumerate(read_listed(path, listing), start=1):
            yield from sessions
            show(number, total)


def _faults(sessions: Sequence[Session]) -> list[str]:
    return [f"{session.name}: {fault}" for session in sessions for fault in session.faults]
