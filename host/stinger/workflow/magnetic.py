"""Recordings of magnetic distortion: what `stinger magnetic generate` and `stinger magnetic convert` do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from stinger.errors import InputError, UsageError
from stinger.files import replace_dir, write_text
from stinger.markdown import grid
from stinger.sessions import phone_log
from stinger.sessions.align import align
from stinger.sessions.formats import HEAD_BYTES, recognised
from stinger.sessions.mcap_format.experiment import write_experiment
from stinger.sessions.mcap_format.labels import LEVELS, labels_of
from stinger.sessions.mcap_format.quantities import TOPIC_CHANNELS
from stinger.sessions.mcap_format.tables import write_tables
from stinger.sessions.read import Listing, list_recordings, read_listed
from stinger.sessions.session import Event, Session
from stinger.sessions.write import file_name, write_sessions
from stinger.synth.imperfections import Imperfections
from stinger.synth.magnetic import MagneticRecording, generate, streams
from stinger.synth.motion_plan import MotionPlan, read_plan
from stinger.synth.patterns import pattern_plan
from stinger.workflow.progress import Progress

MAX_RECORDINGS = 10_000
SUFFIX = ".mcap"


@dataclass(frozen=True)
class Pattern:
    """A ready motion.

    Attributes:
        name: One of `stinger.synth.patterns.PATTERNS`.
        distortion: One of `stinger.synth.patterns.DISTORTIONS`.
        duration_s: How long it takes.
        sample_rate_hz: Samples per second.
    """

    name: str = "complex"
    distortion: str = "mixed"
    duration_s: float = 60.0
    sample_rate_hz: float = 100.0


@dataclass(frozen=True)
class GenerateOptions:
    """What `stinger magnetic generate` can be told.

    Attributes:
        out: A ``.mcap`` file, or a directory.
        motion: A ready motion, or the file of a plan.
        seed: Seed of the first recording; the next has the next.
        recordings: How many; more than one need a directory.
        imperfections: What is wrong with the devices.
        reference_timing: Let segments overshoot as earlier generators do.
        save_plan: Where to write the plan of the first recording, if anywhere.
    """

    out: Path
    motion: Pattern | Path = field(default_factory=Pattern)
    seed: int = 1
    recordings: int = 1
    imperfections: Imperfections = field(default_factory=Imperfections)
    reference_timing: bool = False
    save_plan: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        if not 1 <= self.recordings <= MAX_RECORDINGS:
            raise UsageError(f"--recordings must be 1 to {MAX_RECORDINGS:,}, is {self.recordings}")
        if not 0 <= self.seed < 1 << 63:
            raise UsageError(f"--seed must be 0 or more and less than 2^63, is {self.seed}")
        _check_target(self.out, many=self.recordings > 1)


def magnetic_generate(options: GenerateOptions, progress: Progress) -> list[dict[str, Any]]:
    """Generate recordings, each with its labels and its experiment beside it.

    A directory that an earlier run made is replaced when everything is done.

    Returns:
        A summary of each recording, in plain JSON values.

    Raises:
        UsageError: The pattern is impossible.
        InputError: The plan cannot be used, or the place cannot be written.
    """
    motion = read_plan(options.motion) if isinstance(options.motion, Path) else options.motion
    if options.save_plan is not None:
        text = json.dumps(_plan(motion, options.seed).to_json(), indent=2)
        write_text(options.save_plan, text + "\n")
    if options.out.suffix:
        progress.step(f"generating {options.out}")
        return [_generate(options, motion, options.seed, options.out)]
    rows: list[dict[str, Any]] = []
    with replace_dir(options.out) as building, progress.bar("recordings") as show:
        for number in range(options.recordings):
            seed = options.seed + number
            rows.append(_generate(options, motion, seed, building / f"{_stem(options)}-{seed}{SUFFIX}"))
            show(len(rows), options.recordings)
    return rows


def _stem(options: GenerateOptions) -> str:
    motion = options.motion
    return motion.stem if isinstance(motion, Path) else f"{motion.name}-{motion.distortion}"


def _plan(motion: Pattern | MotionPlan, seed: int) -> MotionPlan:
    if isinstance(motion, MotionPlan):
        return motion
    return pattern_plan(motion.name, motion.distortion, motion.duration_s, motion.sample_rate_hz, streams(seed)[0])


def _generate(options: GenerateOptions, motion: Pattern | MotionPlan, seed: int, path: Path) -> dict[str, Any]:
    plan = _plan(motion, seed)
    recording = generate(
        plan, options.imperfections, name=path.name, seed=seed, reference_timing=options.reference_timing
    )
    said = options.motion
    facts: dict[str, Any] = {"plan": said.name} if isinstance(said, Path) else {"pattern": asdict(said)}
    metadata = {
        "generator": "stinger magnetic generate",
        **facts,
        "seed": seed,
        "imperfections": asdict(options.imperfections),
        "reference_timing": options.reference_timing,
        "initialization": plan.to_json()["initialization"],
    }
    counts = np.diff([*recording.starts, len(recording.session)]).tolist()
    segments = [
        segment.to_json() | {"start_sample": start, "samples": samples}
        for segment, start, samples in zip(plan.segments, recording.starts, counts, strict=True)
    ]
    description = f"{len(segments)} segments, {recording.session.duration_s:.1f} s at {plan.sample_rate_hz:g} Hz"
    write_experiment(path, description, segments=segments, metadata=metadata)
    write_tables(recording.session, recording.times_ns, recording.tables(), path)
    return {"file": path.name, "seed": seed} | summary(recording, plan)


def summary(recording: MagneticRecording, plan: MotionPlan) -> dict[str, Any]:
    """Describe a recording: its size, and what the magnetometer reads at each level, calibrated."""
    session = recording.session
    strength = np.linalg.norm(plan.calibration("mag").truth(recording.topics["mag_raw"]), axis=1)
    bounds = [*recording.starts, len(session)]
    levels: dict[str, Any] = {}
    for level in LEVELS:
        mine = [i for i, segment in enumerate(plan.segments) if segment.level == level]
        if mine:
            values = np.concatenate([strength[bounds[i] : bounds[i + 1]] for i in mine])
            levels[level] = {
                "segments": len(mine),
                "samples": len(values),
                "mean": round(float(values.mean()), 6),
                "std": round(float(values.std()), 6),
            }
    return {
        "samples": len(session),
        "rate_hz": plan.sample_rate_hz,
        "duration_s": round(session.duration_s, 6),
        "segments": len(plan.segments),
        "field_strength": levels,
        "faults": list(session.faults),
    }


def generated_table(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of what `magnetic_generate` returns, for people: the field's strength at each level."""
    return ["file", "samples", "seconds", "segments", "field none", "low", "high"], [_generated_row(r) for r in rows]


def generated_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return the same table in markdown."""
    return grid(*generated_table(rows))


def _generated_row(row: dict[str, Any]) -> list[str]:
    levels = row["field_strength"]
    shown = [f"{levels[level]['mean']:.3f} ± {levels[level]['std']:.3f}" if level in levels else "" for level in LEVELS]
    return [row["file"], f"{row['samples']:,}", f"{row['duration_s']:,.2f}", f"{row['segments']:,}", *shown]


@dataclass(frozen=True)
class ConvertOptions:
    """What `stinger magnetic convert` can be told.

    Attributes:
        level: Label of the whole of every recording, one of `LEVELS`; None keeps what the logs say.
        rate_hz: Put magnetometer, accelerometer and gyroscope on one clock of this rate; None leaves each its own.
    """

    level: str | None = None
    rate_hz: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is not known."""
        if self.level is not None and self.level not in LEVELS:
            raise UsageError(f"--level {self.level!r} is unknown; choose {', '.join(LEVELS)}")


def magnetic_convert(source: Path, target: Path, options: ConvertOptions, progress: Progress) -> list[dict[str, Any]]:
    """Convert logs with a magnetometer to MCAP, each with its labels and its experiment beside it.

    Args:
        source: A log, or a folder or zip of logs.
        target: A ``.mcap`` file, or a folder to make.
        options: What the logs do not say.
        progress: Says what is being done.

    Returns:
        A summary of each file, in plain JSON values.

    Raises:
        UsageError: Several logs are to go into one file.
        InputError: A log cannot be read or has no magnetometer, or the place cannot be written.
    """
    if target.exists() and source.exists() and target.samefile(source):
        raise UsageError(f"{target} is the log itself; choose another place")
    progress.step(f"reading {source}")
    listing = list_recordings(source)
    for file in listing.sources:
        if recognised(file.head(HEAD_BYTES), Path(file.name)) is not phone_log:
            raise InputError(f"{file.shown} is not {phone_log.NAME}; use `stinger convert` for other recordings")
    _check_target(target, many=len(listing.sources) > 1)
    if target.suffix:
        [sessions] = read_listed(source, listing)
        return [_convert(sessions, target, options)]
    return _convert_all(source, target, listing, options, progress)


def _convert_all(
    source: Path, target: Path, listing: Listing, options: ConvertOptions, progress: Progress
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    taken: set[str] = set()
    with replace_dir(target) as building, progress.bar("logs") as show:
        for of_file, sessions in zip(listing.sources, read_listed(source, listing), strict=True):
            name = file_name(replace(sessions[0], name=of_file.name), SUFFIX, taken)
            (building / name).parent.mkdir(parents=True, exist_ok=True)
            rows.append(_convert(sessions, building / name, options) | {"file": name})
            show(len(rows), len(listing.sources))
    return rows


def _convert(sessions: Sequence[Session], path: Path, options: ConvertOptions) -> dict[str, Any]:
    wanted = set(TOPIC_CHANNELS["mag_raw"])
    if not any(wanted <= {channel.name for channel in session.channels} for session in sessions):
        raise InputError(
            f"{sessions[0].name.split(':')[0]}: no readings of a magnetometer (MAG_AUTOCAL) in it; record them, too"
        )
    if options.level is not None:
        sessions = _labelled(sessions, options.level)
    if options.rate_hz is not None:
        sessions = [align(sessions, options.rate_hz)]
    write_sessions(sessions, path)
    labels = labels_of(sessions)
    metadata = {
        "generator": "stinger magnetic convert",
        "recordings": [{"name": s.name, "samples": len(s), "period_us": s.period_us} for s in sessions],
    }
    segments = [{"name": e.label, "start_us": e.start_us, "end_us": e.end_us} for e in labels]
    description = f"{len(sessions)} recordings of {sessions[0].name.split(':')[0]}"
    write_experiment(path, description, segments=segments, metadata=metadata, labelled=bool(labels))
    return {
        "file": path.name,
        "recordings": [
            {"name": s.name, "channels": [c.name for c in s.channels], "samples": len(s), "label": s.label}
            for s in sessions
        ],
        "labels": [event.label for event in labels],
        "faults": [f"{s.name}: {fault}" for s in sessions for fault in s.faults],
    }


def _labelled(sessions: Sequence[Session], level: str) -> list[Session]:
    """Give recordings that share a clock one label for all of their time."""
    known = [e for s in sessions for e in s.events if e.kind == "label"]
    first = min([*(int(s.t_us[0]) for s in sessions), *(e.start_us for e in known)])
    last = max([*(int(s.t_us[-1]) for s in sessions), *(e.end_us for e in known)])
    label = Event(first, last, level)
    return [replace(s, label=level, events=(label, *(e for e in s.events if e.kind != "label"))) for s in sessions]


def _check_target(path: Path, *, many: bool) -> None:
    if path.suffix and path.suffix.lower() != SUFFIX:
        raise UsageError(f"{path}: recordings become {SUFFIX} files; end the name so, or name a directory")
    if path.suffix and many:
        raise UsageError(f"{path} is one file, several recordings need a directory; name one without a suffix")
