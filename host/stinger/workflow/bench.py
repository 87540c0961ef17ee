"""How fast this computer does the host's work: the job of `stinger bench host`.

Rates are of one core. Each figure is the best of some repeats, because what disturbs a run only ever makes it slower;
ratios compare the best of both. Reading a long recording runs in a process of its own, whose peak memory is measured.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no types

from stinger.errors import CheckFailedError, UsageError
from stinger.features.integer import feature_set
from stinger.sessions.session import STINGER_CHANNELS, Session
from stinger.sessions.stinger_log import write_bin
from stinger.synth.shots import make_session
from stinger.windows.spec import ExploreSpec, preset
from stinger.windows.store import read_dataset
from stinger.workflow.bench_baseline import PlainExport, PlainRules, plain_export
from stinger.workflow.explore import ExploreOptions, explore
from stinger.workflow.progress import Progress

_RATE_HZ = 100
_SEED = 1
_RUN_LOADING = """
import json, resource, sys, time
from pathlib import Path
from stinger.sessions.read import read_sessions
before = time.perf_counter()
sessions = read_sessions(Path(sys.argv[1]))
took = time.perf_counter() - before
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"seconds": took, "peak_bytes": peak, "samples": sum(map(len, sessions))}))
"""
#: The exporter's own recommendation (far and near negatives with all filters), and its defaults (far, without).
_RULES = {
    "recommended": PlainRules(
        strategy="mixed",
        near_frac=0.6,
        mult=8,
        min_motion_quantile=0.2,
        match_motion=True,
        motion_q=0.05,
        min_sep_ms=200,
        with_replacement=True,
        avoid_post_ms=2000,
    ),
    "default": PlainRules(),
}


@dataclass(frozen=True)
class BenchOptions:
    """How much to measure.

    Attributes:
        samples: Length of the log that is exported.
        windows: Windows of which features are computed.
        hours: Length of the recording that is loaded.
        repeats: How often each is done.
    """

    samples: int = 90_000
    windows: int = 100_000
    hours: float = 24.0
    repeats: int = 5

    def __post_init__(self) -> None:
        """Refuse what measures nothing."""
        if self.samples < 6000 or self.windows < 1 or not 0 < self.hours <= 48 or self.repeats < 1:
            raise UsageError(
                "a bench needs at least 6000 samples, 1 window, 1 repeat, and a recording of more than 0 to 48 hours"
            )


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        name: What was measured.
        value: How much.
        unit: Of what.
        promised: The least it must be, if anything is promised; for times and memory the most.
        detail: What it was computed from; JSON values.
    """

    name: str
    value: float
    unit: str
    promised: float | None
    detail: dict[str, Any]


def bench_host(options: BenchOptions, progress: Progress) -> dict[str, Any]:
    """Measure export, features and loading.

    Returns:
        ``machine``, ``options`` and ``rows``, in plain JSON values.

    Raises:
        CheckFailedError: The export and its plain counterpart chose different windows.
    """
    with tempfile.TemporaryDirectory(prefix="stinger-bench-") as name, threadpool_limits(1):
        place = Path(name)
        rows = [
            *_export_rows(place, options, progress),
            _feature_row(options, progress),
            *_loading_rows(place, options, progress),
        ]
    return {"machine": machine_facts(), "options": asdict(options), "rows": [asdict(row) for row in rows]}


def _export_rows(place: Path, options: BenchOptions, progress: Progress) -> Iterator[Row]:
    session, _ = make_session(_SEED, options.samples / _RATE_HZ / 60)
    log = place / "log.bin"
    write_bin(session, log)
    for name, rules in _RULES.items():
        progress.step(f"exporting {len(session):,} samples in plain Python ({name})")
        plain_out = place / f"{name}-plain"
        plain_out.mkdir()
        plain, chosen = _best(lambda: plain_export(log, plain_out, rules), min(2, options.repeats))  # noqa: B023
        for policy in ("reference", "strict"):
            progress.step(f"exporting with stinger explore --plots none ({name}, {policy})")
            spec, out = preset(name, gap_policy=policy), place / f"{name}-{policy}"
            took, _ = _best(lambda: _explore(log, out, spec), options.repeats)  # noqa: B023
            if policy == "reference":
                _same(out / "train", plain_out, chosen)
            detail = {"plain_s": plain, "explore_s": took, "windows": len(chosen.starts)}
            promised = 20.0 if name == "recommended" else None
            yield Row(f"export, {name}, {policy}", plain / took, "times plain Python", promised, detail)


def _explore(log: Path, out: Path, spec: ExploreSpec) -> None:
    explore(ExploreOptions(paths=[log], outdir=out, plots="none", backend="serial"), spec, Progress())


def _same(train: Path, plain: Path, chosen: PlainExport) -> None:
    """Hold both to the same windows; a bench of something else would mean nothing."""
    dataset = read_dataset(train, whole=True)
    agree = (plain / "windows_i16le.bin").read_bytes() == dataset.windows.astype("<i2").tobytes()
    if not agree or dataset.labels.tolist() != chosen.labels or dataset.start.tolist() != chosen.starts:
        raise CheckFailedError(
            f"explore and its plain counterpart chose different windows of the same log ({len(dataset)} and "
            f"{len(chosen.starts)}); please report it"
        )


def _feature_row(options: BenchOptions, progress: Progress) -> Row:
    progress.step(f"computing features of {options.windows:,} windows")
    rng = np.random.default_rng(_SEED)
    windows = rng.integers(-32768, 32768, (options.windows, 50, 6), dtype=np.int16)
    features = feature_set("rich", [channel.name for channel in STINGER_CHANNELS], 50)
    took, _ = _best(lambda: features.compute(windows), options.repeats)
    detail = {"windows": options.windows, "seconds": took, "features": len(features), "shape": [50, 6]}
    return Row("features, rich, one core", options.windows / took * 60, "windows/min", 1e6, detail)


def _loading_rows(place: Path, options: BenchOptions, progress: Progress) -> Iterator[Row]:
    samples = max(2, round(options.hours * 3600 * _RATE_HZ))
    progress.step(f"loading {samples:,} samples from .bin")
    path = place / "long.bin"
    write_bin(_long_session(samples), path)
    runs = [_load(path) for _ in range(min(3, options.repeats))]
    detail = min(runs, key=lambda run: float(run["seconds"])) | {"file_bytes": path.stat().st_size}
    if detail["samples"] != samples:
        raise CheckFailedError(f"{samples} samples were written and {detail['samples']} read; please report it")
    whole_day = options.hours == 24
    yield Row(f"load {options.hours:g} h .bin", detail["seconds"], "s", 2.0 if whole_day else None, detail)
    peak = max(float(run["peak_bytes"]) for run in runs)
    yield Row(f"load {options.hours:g} h .bin, peak", peak / 1e6, "MB", 1000.0 if whole_day else None, detail)


def _load(path: Path) -> dict[str, Any]:
    """Read a file in a fresh process."""
    command = [sys.executable, "-c", _RUN_LOADING, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CheckFailedError(f"reading {path.name} failed: {done.stderr.strip().splitlines()[-1]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _long_session(samples: int) -> Session:
    """Repeat a synthetic session until it is long enough."""
    session, _ = make_session(_SEED, 10)
    times = -(-samples // len(session))
    length = int(session.t_us[-1] - session.t_us[0]) + session.period_us
    t_us = (session.t_us[None, :] + length * np.arange(times)[:, None]).ravel()[:samples]
    trigger = session.trigger if session.trigger is not None else np.zeros(len(session), dtype=np.uint8)
    return Session(
        name="long",
        t_us=t_us,
        samples=np.tile(session.samples, (times, 1))[:samples],
        channels=session.channels,
        period_us=session.period_us,
        trigger=np.tile(trigger, times)[:samples],
    )


def _best(work: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Seconds of the fastest run, and what it returned."""
    times: list[float] = []
    result = None
    for _ in range(repeats):
        before = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - before)
    return min(times), result


def machine_facts() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "processor": _processor(),
        "processors": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def table(report: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows for people."""
    header = ["what", "measured", "unit", "promised", "from"]
    return header, [_cells(row) for row in report["rows"]]


def _cells(row: dict[str, Any]) -> list[str]:
    promised = "" if row["promised"] is None else f"{row['promised']:,.0f}"
    detail = row["detail"]
    if "plain_s" in detail:
        origin = f"{detail['explore_s'] * 1e3:.0f} ms against {detail['plain_s'] * 1e3:.0f} ms"
    elif "windows" in detail:
        origin = f"{detail['windows']:,} windows in {detail['seconds']:.2f} s"
    else:
        origin = f"{detail['samples']:,} samples"
    value = row["value"]
    return [row["name"], f"{value:,.1f}" if value < 1000 else f"{value:,.0f}", row["unit"], promised, origin]
