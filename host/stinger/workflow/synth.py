"""Synthetic sessions as files: the job of `stinger synth shots`."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stinger.errors import UsageError
from stinger.files import replace_dir, write_text
from stinger.sessions.session import Session
from stinger.sessions.write import writable_suffixes, write_sessions
from stinger.synth.shots import make_session
from stinger.synth.styles import Style
from stinger.synth.truth import ShotTruth
from stinger.workflow.progress import Progress

MAX_SESSIONS = 10_000
#: Formats that hold marks and the subject, too; others hold what the Stinger records, and the truth lies beside.
_WHOLE = (".mcap",)


@dataclass(frozen=True)
class SynthOptions:
    """What `stinger synth shots` can be told.

    Attributes:
        out: A file, whose suffix says its format, or a directory.
        styles: Who plays.
        seed: Seed of each one's first session; the next has the next.
        minutes: How much each session records.
        sessions: Sessions of each.
        suffix: Format of the files in a directory.
    """

    out: Path
    styles: tuple[Style, ...]
    seed: int = 1
    minutes: float = 4.0
    sessions: int = 1
    suffix: str = ".bin"

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        many = len(self.styles) * self.sessions
        if not 1 <= many <= MAX_SESSIONS:
            raise UsageError(f"{many} sessions are asked for; make 1 to {MAX_SESSIONS:,}")
        names = [style.name for style in self.styles]
        if len(set(names)) < len(names):
            raise UsageError(f"a style is named twice ({', '.join(names)}); use --sessions for more of the same")
        if self.out.suffix and many > 1:
            raise UsageError(f"{self.out} is one file, {many} sessions need a directory; name one without a suffix")
        if (self.out.suffix or self.suffix).lower() not in writable_suffixes().split(", "):
            raise UsageError(
                f"{(self.out.suffix or self.suffix)!r} is no format to write; known: {writable_suffixes()}"
            )


def synth_shots(options: SynthOptions, progress: Progress) -> list[dict[str, Any]]:
    """Make sessions and write each with its ground truth beside it.

    A file gets its truth as ``NAME.truth.json``. A directory gets ``STYLE-NUMBER.bin`` and ``STYLE-NUMBER.truth.json``
    for each session (``--pattern '{subject}-*.bin'`` reads the style back as the subject); one that an earlier run
    made is replaced when everything is done. Formats that hold a subject and events get both.

    Returns:
        A summary of each session, in plain JSON values.

    Raises:
        UsageError: The seed or the length is impossible.
        InputError: The place cannot be written, or the format cannot hold the session.
    """
    if options.out.suffix:
        return [_make(options, options.styles[0], 0, options.out)]
    rows: list[dict[str, Any]] = []
    jobs = [(style, number) for style in options.styles for number in range(options.sessions)]
    with replace_dir(options.out) as building, progress.bar("sessions") as show:
        for style, number in jobs:
            path = building / f"{style.name}-{number + 1}{options.suffix}"
            rows.append(_make(options, style, number, path))
            show(len(rows), len(jobs))
    return rows


def _make(options: SynthOptions, style: Style, number: int, path: Path) -> dict[str, Any]:
    seed = options.seed + number
    session, truth = make_session(seed, options.minutes, style)
    whole = path.suffix.lower() in _WHOLE
    write_sessions([session if whole else replace(session, subject=None, events=())], path)
    facts = {"recording": path.name, "seed": seed, "minutes": options.minutes}
    write_text(path.with_suffix(".truth.json"), json.dumps(facts | truth.to_json(), indent=2) + "\n")
    return {"file": path.name, "seed": seed} | _summary(session, truth)


def _summary(session: Session, truth: ShotTruth) -> dict[str, Any]:
    fired = sum(aim.fired for aim in truth.aims)
    return {
        "subject": session.subject,
        "samples": len(session),
        "duration_s": round(session.duration_s, 3),
        "gaps": len(session.stretches()) - 1,
        "shots": len(truth.shots_us),
        "aims_fired": fired,
        "aims_only": len(truth.aims) - fired,
    }
