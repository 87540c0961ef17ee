"""Recordings to a dataset directory: the job of `stinger explore`.

Each file is read, cut and forgotten, wherever its turn comes; windows wait in a temporary file. Pictures are drawn in
a second pass, in the same way. The bytes that come out do not depend on how many workers there are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stinger.errors import InputError, UsageError
from stinger.files import MARKER, replace_dir, write_text
from stinger.plots.session import WindowStrip, collection_png, session_png, strip_of
from stinger.plots.shots import ShotView, shot_png
from stinger.sessions.collection import Source
from stinger.sessions.options import ReadOptions
from stinger.sessions.read import list_recordings, read_source
from stinger.sessions.session import Session
from stinger.windows.cuts import Cut
from stinger.windows.dataset import Dataset
from stinger.windows.explore import assemble, cut_session
from stinger.windows.shot_rules import find_shots
from stinger.windows.spec import ExploreSpec
from stinger.windows.spill import Spill
from stinger.windows.splits import leakage
from stinger.windows.store import write_dataset
from stinger.workflow.dataset import picture_name, summarise
from stinger.workflow.pool import map_ordered
from stinger.workflow.progress import Progress

PLOTS = ("none", "overview", "all")
#: What explore, here or in the Stinger's own tools, leaves in its output directory.
_OUTPUT = frozenset(("summary.json", "train", "shots", "predictions", "predictions_compare"))
#: Less than this is cut sooner than worker processes have started.
_SMALL_BYTES = 24 << 20
#: Shots drawn by one worker before it takes the next ones.
_SHOTS_PER_TASK = 12


@dataclass(frozen=True)
class ExploreOptions:
    """What `stinger explore` can be told beside how to cut.

    Attributes:
        paths: Recordings, folders or zips of them.
        outdir: Where everything goes.
        plots: One of `PLOTS`.
        export: Write the dataset.
        clean: Also replace a directory that the Stinger's own tools made.
        report_leakage: Measure what each kind of split would leak.
        read: What the files do not say themselves.
        backend: Where to work, one of `stinger.workflow.pool.BACKENDS`; None chooses by the amount of work.
        workers: How many at a time; None is as many as there are processors.
        scheduler: Address of a Dask scheduler.
    """

    paths: Sequence[Path]
    outdir: Path
    plots: str = "overview"
    export: bool = True
    clean: bool = False
    report_leakage: bool = False
    read: ReadOptions = field(default_factory=ReadOptions)
    backend: str | None = None
    workers: int | None = None
    scheduler: str | None = None

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        if self.plots not in PLOTS:
            raise UsageError(f"--plots {self.plots!r} is unknown; choose {', '.join(PLOTS)}")
        if not self.paths:
            raise UsageError("no recordings given; name at least one")


@dataclass(frozen=True)
class _File:
    """One file of recordings and how to read it."""

    source: Source
    options: ReadOptions
    single: bool

    @property
    def name(self) -> str:
        return self.source.shown or self.source.name

    def read(self) -> list[Session]:
        return read_source(self.source, self.options, single=self.single)


#: Each file and what was cut from it.
_Done = Sequence[tuple[_File, Sequence[Cut]]]


@dataclass(frozen=True)
class _Overview:
    """The picture of one recording: its place in the file, the picture's name and what to draw above the traces."""

    place: int
    file: str
    windows: WindowStrip


@dataclass(frozen=True)
class _ShotPictures:
    """Pictures of some shots of one recording: its place in the file, and name and view of each picture."""

    place: int
    min_gap_ms: float
    views: tuple[tuple[str, ShotView], ...]


@dataclass(frozen=True)
class _Drawing:
    """What to draw of one file."""

    file: _File
    picture: _Overview | _ShotPictures

    @property
    def name(self) -> str:
        return self.file.name


def explore(options: ExploreOptions, spec: ExploreSpec, progress: Progress) -> dict[str, Any]:
    """Cut recordings into a dataset directory.

    Writes ``summary.json``, ``train/`` (the dataset), ``dataset.png`` (one for each recording, or one for all
    labelled ones), ``shots/index.csv`` and ``shots/shot_*.png``; an output directory that an earlier run made is
    replaced, only when everything is done.

    Returns:
        The summary.

    Raises:
        UsageError: The options do not fit together or the recordings.
        InputError: A recording cannot be read or holds nothing to learn, or the place cannot be written.
    """
    progress.step(f"reading {', '.join(str(path) for path in options.paths)}")
    with Spill() as spill:
        return _explore(options, spec, spill, progress)


def _explore(options: ExploreOptions, spec: ExploreSpec, spill: Spill, progress: Progress) -> dict[str, Any]:
    files, skipped = _list(options)
    cut_files = zip(files, _cut_all(files, spec, options, progress), strict=True)
    done = [(file, [replace(cut, windows=spill.keep(cut.windows)) for cut in of_file]) for file, of_file in cut_files]
    cuts = [cut for _, of_file in done for cut in of_file]
    dataset = assemble(cuts, spec, spill)
    summary = summarise(dataset)
    if skipped:
        summary["skipped_files"] = skipped
    if options.report_leakage:
        progress.step("measuring leakage")
        summary["leakage"] = leakage(dataset, test_size=spec.test_size)
    if options.clean:
        _adopt(options.outdir)
    with replace_dir(options.outdir) as building:
        if options.export:
            write_dataset(dataset, building / "train")
        (building / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", "utf-8")
        if dataset.meta["kind"] == "shots":
            text = _shot_table(cuts, pictures=options.plots == "all")
            (building / "shots").mkdir()
            (building / "shots" / "index.csv").write_bytes(text.encode("ascii"))
        if options.plots != "none":
            progress.step("drawing")
            for name, png in _pictures(done, dataset, spec, options, progress):
                (building / name).write_bytes(png)
    return summary


def _list(options: ExploreOptions) -> tuple[list[_File], list[str]]:
    files: list[_File] = []
    skipped: list[str] = []
    for path in options.paths:
        listing = list_recordings(path, options.read)
        files += [_File(source, listing.options, listing.single) for source in listing.sources]
        skipped += listing.skipped
    return files, skipped


def _cut_all(
    files: Sequence[_File], spec: ExploreSpec, options: ExploreOptions, progress: Progress
) -> Iterator[list[Cut]]:
    size = sum(path.stat().st_size for path in {file.source.path for file in files})
    with progress.bar("cutting windows") as bar:
        yield from map_ordered(
            _cut_file,
            [(file.name, file, spec) for file in files],
            backend=options.backend or _fitting_backend(options, size < _SMALL_BYTES),
            workers=options.workers,
            scheduler=options.scheduler,
            progress=bar,
        )


def _fitting_backend(options: ExploreOptions, small: bool) -> str:
    return "serial" if small and options.workers is None and options.scheduler is None else "processes"


def _cut_file(task: tuple[str, _File, ExploreSpec]) -> list[Cut]:
    _, file, spec = task
    return [cut_session(session, spec, place) for place, session in enumerate(file.read())]


def _adopt(outdir: Path) -> None:
    """Take over a directory in which nothing lies but what an exporter leaves there."""
    if not outdir.is_dir():
        return
    names = {path.name for path in outdir.iterdir()}
    ours = all(name in _OUTPUT or (name.startswith("dataset") and name.endswith(".png")) for name in names - {MARKER})
    if ours and "summary.json" in names:
        write_text(outdir / MARKER, "Made by an exporter; stinger replaces this directory.\n")


def _shot_table(cuts: Sequence[Cut], *, pictures: bool) -> str:
    rows = [("shot_num", "session", "start", "timestamp_ms", "fate", "file")]
    number = 0
    for session, cut in enumerate(cuts):
        for shot in cut.shots:
            file = _shot_file(number) if pictures else ""
            start = shot.edge - cut.lead - cut.window
            rows.append((str(number), str(session), str(start), str(shot.timestamp_ms), shot.fate, file))
            number += 1
    return "\r\n".join(",".join(row) for row in rows) + "\r\n"


def _shot_file(number: int) -> str:
    return f"shot_{number:03d}.png"


def _pictures(
    done: _Done,
    dataset: Dataset,
    spec: ExploreSpec,
    options: ExploreOptions,
    progress: Progress,
) -> Iterator[tuple[str, bytes]]:
    """Draw everything asked for: names below the output directory, and PNG files."""
    if dataset.meta["kind"] == "recordings":
        yield "dataset.png", _draw_collection(done)
        return
    tasks = list(_overviews(done, dataset))
    if options.plots == "all":
        tasks += _shot_pictures(done, spec)
    few = len(tasks) < 3
    with progress.bar("drawing") as bar:
        for pictures in map_ordered(
            _draw_file,
            tasks,
            backend=options.backend or _fitting_backend(options, few),
            workers=options.workers,
            scheduler=options.scheduler,
            progress=bar,
        ):
            yield from pictures


def _overviews(done: _Done, dataset: Dataset) -> Iterator[_Drawing]:
    number = 0
    for file, cuts in done:
        for place, _ in enumerate(cuts):
            picture = _Overview(place, picture_name("dataset.png", number), strip_of(dataset, number))
            yield _Drawing(file, picture)
            number += 1


def _shot_pictures(done: _Done, spec: ExploreSpec) -> Iterator[_Drawing]:
    number = 0
    for file, cuts in done:
        for place, cut in enumerate(cuts):
            views = []
            for shot in cut.shots:
                title = f"shot {number} of {cut.name}, {shot.timestamp_ms / 1000:.2f} s: {shot.fate}"
                view = ShotView(
                    edge=shot.edge,
                    title=title if len(title) <= 90 else title[:89] + "…",
                    window=cut.window,
                    lead=cut.lead,
                    used=shot.fate == "used",
                    pre_ms=spec.shot_pre_ms,
                    post_ms=spec.shot_post_ms,
                )
                views.append((f"shots/{_shot_file(number)}", view))
                number += 1
            for first in range(0, len(views), _SHOTS_PER_TASK):
                part = tuple(views[first : first + _SHOTS_PER_TASK])
                yield _Drawing(file, _ShotPictures(place, spec.min_shot_gap_ms, part))


def _draw_file(drawing: _Drawing) -> list[tuple[str, bytes]]:
    picture = drawing.picture
    session = drawing.file.read()[picture.place]
    if isinstance(picture, _Overview):
        return [(picture.file, session_png(session, windows=picture.windows))]
    shots = find_shots(session, picture.min_gap_ms)
    return [(name, shot_png(session, shots, view)) for name, view in picture.views]


def _draw_collection(done: _Done) -> bytes:
    """Draw the first recording of each class; only those are read again."""
    examples: dict[str, Session] = {}
    counts: dict[str, int] = {}
    for file, cuts in done:
        for place, cut in enumerate(cuts):
            label = cut.facts["label"]
            if label is None:
                continue
            counts[label] = counts.get(label, 0) + 1
            if label not in examples:
                examples[label] = file.read()[place]
    if not examples:
        raise InputError("no labelled recordings to draw; label them first")
    return collection_png(list(examples.values()), counts)
