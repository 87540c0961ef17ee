"""What the main models cost on the board, beside others' arithmetic: the job of `stinger bench device`.

Cycles are counted by the emulated Cortex-M0+, from a sample to its decision, features included, and are the same every
time; flash and RAM are what the linker says. The emulator has no caches: on a real chip, code that is not in the cache
of the flash takes longer the first time.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stinger.errors import UsageError
from stinger.models.train import train
from stinger.synth.shots import make_session
from stinger.windows.cut import cut
from stinger.workflow.bench_streams import BenchStreams
from stinger.workflow.bench_targets import TARGETS, Subject, fits
from stinger.workflow.progress import Progress
from stinger_export.integer.quantise import quantise

FAMILIES = ("logreg", "mlp", "rf")


@dataclass(frozen=True)
class DeviceBenchOptions:
    """What `stinger bench device` can be told.

    Attributes:
        families: Model families.
        targets: Forms of them, of `TARGETS`; those that a family has, if none is named.
        features: Their features; the float implementation has those of the stock firmware.
        minutes: Length of the synthetic session to train on.
        samples: Samples of the session, and of each adversarial stream, that are replayed.
        seed: Seed of session and training.
        profile: Also say which function takes how many of the cycles.
    """

    families: tuple[str, ...] = FAMILIES
    targets: tuple[str, ...] = ()
    features: str = "rich"
    minutes: float = 8.0
    samples: int = 400
    seed: int = 1
    profile: bool = False


def bench_device(options: DeviceBenchOptions, progress: Progress) -> dict[str, Any]:
    """Train, export and run each model in each form.

    Returns:
        ``rows``, one for each form: ``family``, ``target``, ``cycles_per_decision`` (mean over ``decisions`` windows of
        the session), ``cycles_worst`` (over adversarial samples too), ``worst_stream``, ``flash_bytes``, ``ram_bytes``,
        ``times_integer`` (cycles, as a multiple of the integer form's; None without it) and ``compiler``.
        If asked for, ``profile``: ``family``, ``target``, ``function``, ``cycles`` (mean per decision) and ``share``.

    Raises:
        UsageError: A family has no such form.
        ToolchainError: There is no compiler for the board.
        CheckFailedError: The board decides otherwise than it must.
        LinkError: The firmware fails.
    """
    chosen = {family: _targets(family, options.targets) for family in options.families}
    session, _ = make_session(options.seed, options.minutes)
    dataset = cut([session], seed=options.seed)
    streams = BenchStreams(session.samples[: options.samples], dataset.window, dataset.period_us)
    rows: list[dict[str, Any]] = []
    profiles: list[dict[str, Any]] = []
    for family, targets in chosen.items():
        model = train(dataset, family, features=options.features, seed=options.seed, folds=0)
        integer: int | None = None
        with tempfile.TemporaryDirectory(prefix="stinger-bench-") as folder:
            subject = Subject(dataset, options.seed, model, quantise(model), Path(folder))
            for target in targets:
                progress.step(f"{family}, {target}: compiling and running on the emulated board")
                row, profile = TARGETS[target](subject, streams, options.profile)
                if target == "integer":
                    integer = row["cycles_per_decision"]
                row["times_integer"] = None if integer is None else round(row["cycles_per_decision"] / integer, 2)
                rows.append(row)
                profiles += profile
    return {"rows": rows, "profile": profiles} if options.profile else {"rows": rows}


def _targets(family: str, wanted: tuple[str, ...]) -> tuple[str, ...]:
    for target in wanted:
        if target not in TARGETS:
            raise UsageError(f"unknown target {target!r}; choose from {', '.join(TARGETS)}")
        if not fits(family, target):
            raise UsageError(f"{family} has no form {target!r} to measure; leave out --target, or the model")
    # The integer form comes first: the others are compared with it.
    return tuple(target for target in TARGETS if (target in wanted if wanted else fits(family, target)))


def table(rows: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows for the terminal."""
    columns = ["family", "target", "cycles", "times integer", "worst", "of stream", "flash", "RAM"]
    keys = ("cycles_per_decision", "times_integer", "cycles_worst", "worst_stream", "flash_bytes", "ram_bytes")
    return columns, [[row["family"], row["target"], *(_text(row[key]) for key in keys)] for row in rows]


def profile_table(profile: list[dict[str, Any]], least: float = 0.005) -> tuple[list[str], list[list[str]]]:
    """The same for a profile; functions with less than a share of ``least`` are left out."""
    rows = [
        [row["family"], row["target"], row["function"], _text(round(row["cycles"])), f"{row['share']:.1%}"]
        for row in profile
        if row["share"] >= least
    ]
    return ["family", "target", "function", "cycles", "share"], rows


def _text(value: Any) -> str:
    if isinstance(value, int | float):
        return f"{value:,}"
    return "-" if value is None else str(value)
