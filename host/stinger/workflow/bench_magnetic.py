"""Generated magnetic distortion, measured: how fast it is made and cut, and what its labels are worth.

Speed is compared with a plain generator, sample by sample and message by message, of the same plan; both must say the
same. What labels are worth is what a random forest makes of two numbers of each window, mean and standard deviation of
the field strength, on windows it has not seen: of whole recordings held out, of segments held out, and at random. The
first two agree where nothing leaks; the third shares samples with training, and is there to compare with.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from mcap.writer import Writer
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from stinger.errors import CheckFailedError, UsageError
from stinger.markdown import grid
from stinger.sessions.mcap_format.schemas import SENSOR_EVENT, sensor_event
from stinger.sessions.mcap_format.tables import write_tables
from stinger.sessions.session import Session
from stinger.synth.imperfections import PERFECT, Imperfections
from stinger.synth.magnetic import FACTORS, FIELD, GRAVITY, MagneticRecording, generate, streams
from stinger.synth.motion_plan import SENSORS, MotionPlan
from stinger.synth.patterns import pattern_plan
from stinger.windows.dataset import Dataset
from stinger.windows.explore import assemble, cut_session
from stinger.windows.folds import group_folds, units_of
from stinger.windows.spec import ExploreSpec
from stinger.workflow.bench import machine_facts
from stinger.workflow.bench_windows import bench_windows
from stinger.workflow.progress import Progress

#: Ways of holding out, from honest to not.
SPLITS = ("session", "group", "random")
_FOLDS = 4
_TREES = 50
_PLAIN_SECONDS = 20.0


@dataclass(frozen=True)
class MagneticBenchOptions:
    """How much to measure.

    Attributes:
        minutes: Length of the recording that is generated, written, and cut into windows.
        recordings: Recordings of a minute that the forest learns from and is measured on.
        repeats: How often each generation is done; the best counts.
        seed: Seed of the first recording, and of the forest.
    """

    minutes: float = 10.0
    recordings: int = 120
    repeats: int = 3
    seed: int = 1

    def __post_init__(self) -> None:
        """Refuse what measures nothing."""
        if not 0.1 <= self.minutes <= 300 or self.recordings < 2 * _FOLDS or self.repeats < 1:
            raise UsageError(f"a bench needs 0.1 to 300 minutes, {2 * _FOLDS} recordings and 1 repeat at least")


def bench_magnetic(options: MagneticBenchOptions, progress: Progress) -> dict[str, Any]:
    """Measure speed and labels.

    Returns:
        ``machine``, ``options``, ``speed``, ``windows`` and ``labels``, in plain JSON values.

    Raises:
        CheckFailedError: The plain generator, or plain cutting, says something else.
    """
    speed, windows = _speed(options, progress)
    return {
        "machine": machine_facts(),
        "options": asdict(options),
        "speed": speed,
        "windows": windows,
        "labels": label_worth(options, progress),
    }


def _speed(options: MagneticBenchOptions, progress: Progress) -> tuple[dict[str, Any], dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="stinger-bench-") as name:
        path = Path(name) / "x.mcap"
        progress.step(f"generating {options.minutes:g} min at 100 Hz")
        took = busy = math.inf
        for _ in range(options.repeats):
            before, busy_before = time.perf_counter(), time.process_time()
            plan = pattern_plan("complex", "mixed", options.minutes * 60, 100.0, streams(options.seed)[0])
            made = generate(plan, Imperfections(), name=path.name, seed=options.seed)
            write_tables(made.session, made.times_ns, made.tables(), path)
            took = min(took, time.perf_counter() - before)
            busy = min(busy, time.process_time() - busy_before)
        size = path.stat().st_size
        progress.step("cutting windows, and once more by rescanning")
        windows = bench_windows(path, options.repeats)
        progress.step("generating sample by sample")
        plan = pattern_plan("complex", "mixed", _PLAIN_SECONDS, 100.0, streams(options.seed)[0])
        busy_before = time.process_time()
        plain = plain_generate(plan, path)
        plain_busy = time.process_time() - busy_before
    _same(generate(plan, PERFECT, name="x"), plain)
    samples = round(options.minutes * 6000)
    speed = {
        "samples": samples,
        "seconds": took,
        "bytes": size,
        "processor_seconds": busy,
        # Of processor time, which other work on the machine does not change.
        "plain_processor_seconds": plain_busy * samples / (_PLAIN_SECONDS * 100),
        "times_plain": plain_busy * samples / (_PLAIN_SECONDS * 100) / busy,
    }
    return speed, windows


def _same(ours: MagneticRecording, plain: dict[str, list[list[float]]]) -> None:
    for topic, rows in plain.items():
        if not np.allclose(ours.topics[topic], rows, rtol=0, atol=1e-12):
            raise CheckFailedError(f"the plain generator has other values of {topic}; please report it")


def plain_generate(plan: MotionPlan, path: Path) -> dict[str, list[list[float]]]:
    """Generate a plan without imperfections in plain Python, and write it message by message.

    Returns:
        Values by topic; poses are ``w x y z``.
    """
    dt = plan.step_ns / 1e9
    pose = list(plan.rotation)
    topics: dict[str, list[list[float]]] = {}
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start()
        schema = writer.register_schema(SENSOR_EVENT, "jsonschema", sensor_event())
        channels: dict[str, int] = {}
        now = plan.start_ns
        for segment in plan.segments:
            n = int(segment.duration_s * plan.sample_rate_hz + 1e-6)
            step = _plain_rotation([angle / n for angle in segment.rpy_degrees])
            field = [f + FACTORS[segment.level] * w for f, w in zip(FIELD, segment.world, strict=True)]
            for _ in range(n):
                pose = _plain_product(pose, step)
                truth = {
                    "pose_truth": pose,
                    "mag_truth": _plain_seen(pose, field),
                    "acc_truth": _plain_seen(pose, list(GRAVITY)),
                    "gyro_truth": [2 * part / dt for part in step[1:]],
                    "pose": pose,
                }
                truth |= {f"{sensor}_raw": truth[f"{sensor}_truth"] for sensor in SENSORS}
                for topic, values in truth.items():
                    if topic not in channels:
                        channels[topic] = writer.register_channel(topic, "json", schema)
                    topics.setdefault(topic, []).append(values)
                    message = {"id": topic, "timestamp": now, "values": values}
                    writer.add_message(channels[topic], now, json.dumps(message).encode(), now)
                now += plan.step_ns
        writer.finish()  # type: ignore[no-untyped-call]  # has no annotations
    return topics


def _plain_product(a: list[float], b: list[float]) -> list[float]:
    return [
        a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3],
        a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2],
        a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1],
        a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0],
    ]


def _plain_seen(pose: list[float], vector: list[float]) -> list[float]:
    conjugate = [pose[0], -pose[1], -pose[2], -pose[3]]
    return _plain_product(_plain_product(conjugate, [0.0, *vector]), pose)[1:]


def _plain_rotation(degrees: list[float]) -> list[float]:
    roll, pitch, yaw = ([math.cos(math.radians(a) / 2), math.sin(math.radians(a) / 2)] for a in degrees)
    about_z_y = _plain_product([yaw[0], 0.0, 0.0, yaw[1]], [pitch[0], 0.0, pitch[1], 0.0])
    return _plain_product(about_z_y, [roll[0], roll[1], 0.0, 0.0])


def label_worth(options: MagneticBenchOptions, progress: Progress) -> list[dict[str, Any]]:
    """Say what a forest makes of the field's strength on windows it has not seen, by imperfections and split."""
    rows = []
    for name, levels in (("default", Imperfections()), ("off", PERFECT)):
        progress.step(f"learning from {options.recordings} recordings, imperfections: {name}")
        numbers = range(options.seed, options.seed + options.recordings)
        sessions = [make_session(number, levels) for number in numbers]
        row: dict[str, Any] = {"imperfections": name}
        row["accuracy"] = {split: forest_accuracy(sessions, split, seed=options.seed) for split in SPLITS}
        rows.append(row)
    return rows


def make_session(seed: int, levels: Imperfections, *, pattern: str = "complex", seconds: float = 60.0) -> Session:
    """Make a recording with mixed distortion at 100 Hz, as `stinger magnetic generate` does with that seed."""
    plan = pattern_plan(pattern, "mixed", seconds, 100.0, streams(seed)[0])
    return generate(plan, levels, name=f"{seed}", seed=seed).session


def field_strength(dataset: Dataset) -> NDArray[np.float64]:
    """Mean and standard deviation of the field's strength in each window, in the magnetometer's unit; ``(n, 2)``."""
    names = [channel.name for channel in dataset.channels]
    columns = [names.index(name) for name in ("mx", "my", "mz")]
    scale = dataset.channels[columns[0]].scale
    strength = np.linalg.norm(dataset.windows[:, :, columns].astype(np.float64) * scale, axis=2)
    return np.stack([strength.mean(axis=1), strength.std(axis=1)], axis=1)


def forest_accuracy(sessions: Sequence[Session], split: str, *, seed: int = 1) -> float:
    """Accuracy of a random forest on `field_strength`, each window held out once.

    Args:
        sessions: Recordings with labels.
        split: What is held out together: ``session``, ``group`` (a segment) or ``random`` (a window, which shares
            samples with training).
        seed: Of folds and forest.
    """
    spec = ExploreSpec(split="session", seed=seed, embargo=False)
    dataset = assemble([cut_session(session, spec, i) for i, session in enumerate(sessions)], spec)
    features = field_strength(dataset)
    answers = np.zeros(len(dataset), dtype=np.int64)
    for train, test in _folds(dataset, split, seed):
        forest = RandomForestClassifier(_TREES, random_state=seed, n_jobs=1)
        answers[test] = forest.fit(features[train], dataset.labels[train]).predict(features[test])
    return float((answers == dataset.labels).mean())


def _folds(dataset: Dataset, split: str, seed: int) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    everything = np.ones(len(dataset), dtype=np.bool_)
    if split == "random":
        fold = np.random.default_rng(seed).integers(_FOLDS, size=len(dataset))
        return [(fold != k, fold == k) for k in range(_FOLDS)]
    units, _ = units_of(replace(dataset, subject=None), split)
    return group_folds(dataset, everything, _FOLDS, units=units, seed=seed)


def table(report: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of what the labels are worth, for people."""
    header = ["imperfections", "recordings held out", "segments held out", "windows at random"]
    rows = [[row["imperfections"], *(f"{row['accuracy'][split]:.3f}" for split in SPLITS)] for row in report["labels"]]
    return header, rows


def markdown(report: dict[str, Any]) -> str:
    """Return the same table in markdown."""
    return grid(*table(report))


def facts(report: dict[str, Any]) -> list[str]:
    """Return the lines about speed."""
    speed, windows = report["speed"], report["windows"]
    return [
        f"{speed['samples']:,} samples of eight topics in {speed['seconds']:.2f} s "
        f"({speed['processor_seconds']:.2f} s of one processor, {speed['bytes'] / 1e6:.1f} MB), "
        f"{speed['times_plain']:.0f} times as fast as sample by sample",
        f"{windows['windows']:,} labelled windows out of that file in {windows['seconds']:.2f} s of one processor, "
        f"{windows['times']:.0f} times as fast as rescanning it for each, and the same",
    ]
