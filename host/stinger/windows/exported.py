"""Datasets that the Stinger's own exporter wrote.

Its ``index.csv`` knows windows by their times and has neither sample numbers nor a held-out part. The sample numbers
are found again as far as anybody can ask: windows share samples exactly if the sample numbers say so. The held-out
part is a split by shots with the defaults of `stinger.windows.spec`, embargo and all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.sessions.session import STINGER_CHANNELS, Channel
from stinger.windows.dataset import Dataset
from stinger.windows.exporter import EXPORTER_KEYS
from stinger.windows.spec import ExploreSpec
from stinger.windows.splits import split

CLASSES = ("idle", "shot")
#: Times the constraints may be gone through; the golden exports need a few.
_MOST_PASSES = 2_000


def is_exported(meta: Mapping[str, Any]) -> bool:
    """Whether ``meta.json`` is the exporter's: it says how windows were made, and not whose format it is."""
    return "dataset" not in meta and {"channels", "window_samples", "estimated_dt_ms", "positives"} <= meta.keys()


def sizes(meta: Mapping[str, Any]) -> tuple[int, int, int]:
    """Number of windows, samples of one, channels.

    Raises:
        TypeError: The exporter's ``meta.json`` has other things there.
        ValueError: It has impossible numbers.
    """
    number, window = meta["positives"] + meta["negatives"], meta["window_samples"]
    if not isinstance(number, int) or not isinstance(window, int) or number < 1 or window < 2:
        raise ValueError("positives, negatives, window_samples")
    return number, window, len(channels_of(meta))


def channels_of(meta: Mapping[str, Any]) -> tuple[Channel, ...]:
    """Return the channels: the Stinger's by name, others without unit."""
    names = meta["channels"]
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise ValueError("channels")
    known = {channel.name: channel for channel in STINGER_CHANNELS}
    return tuple(known.get(name, Channel(name, "", 1.0)) for name in names)


def exported_dataset(
    meta: Mapping[str, Any],
    windows: NDArray[np.int16],
    labels: NDArray[np.uint8],
    remarks: dict[str, NDArray[np.int64]],
) -> Dataset:
    """Put together what the exporter wrote.

    Args:
        meta: Its ``meta.json``.
        windows: int16, shape ``(n, window, channels)``.
        labels: 0 or 1, shape ``(n,)``.
        remarks: Columns of its ``index.csv`` by name, each int64 of shape ``(n,)``.

    Raises:
        KeyError: A column or value is missing.
        ValueError: They contradict each other.
        InputError: Its windows cannot be split.
    """
    dt = meta["estimated_dt_ms"]
    if not isinstance(dt, int | float) or not 0 < dt < 1e6 or not math.isfinite(dt):
        raise ValueError("estimated_dt_ms")
    period_us = round(1000 * dt)
    lead = max(1, round(float(meta["lead_ms"]) / dt))
    spec = ExploreSpec()
    dataset = Dataset(
        windows=windows,
        labels=labels,
        classes=CLASSES,
        groups=remarks["shot_num"],
        held_out=np.zeros(len(labels), dtype=np.bool_),
        session=np.zeros(len(labels), dtype=np.int64),
        start=sample_numbers(remarks["window_start_ms"], remarks["window_end_ms"], windows.shape[1], dt),
        channels=channels_of(meta),
        period_us=period_us,
        lead_us=lead * period_us,
        meta={
            "kind": "shots",
            "inputs": [{"name": str(meta.get("input_csv", ""))}],
            "exporter": {key: value for key, value in meta.items() if key in EXPORTER_KEYS},
            "index": remarks,
        },
    )
    chosen = split(dataset, "group", test_size=spec.test_size, seed=spec.seed)
    embargoed = ~chosen.test & ~chosen.train
    dataset.meta["split"] = {"kind": chosen.kind, "test_size": spec.test_size, "embargo": True}
    return replace(dataset, held_out=chosen.test, embargoed=embargoed if embargoed.any() else None)


def sample_numbers(
    first_ms: NDArray[np.int64], last_ms: NDArray[np.int64], window: int, dt_ms: float
) -> NDArray[np.int64]:
    """Find numbers for the first samples of windows of which only times are known.

    Later samples have higher numbers, and a window's last sample is ``window - 1`` after its first, whatever gap lies
    between. The smallest numbers that satisfy this and are no lower than the times say are taken; as any numbers that
    satisfy it, they say correctly which windows share samples.

    Args:
        first_ms: Time of each window's first sample, shape ``(n,)``.
        last_ms: Time of each window's last sample, shape ``(n,)``.
        window: Samples per window.
        dt_ms: Sample period.

    Raises:
        ValueError: No numbers satisfy it: the times are not those of windows of one recording.
    """
    times, place = np.unique(np.concatenate([first_ms, last_ms]), return_inverse=True)
    first, last = place[: len(first_ms)], place[len(first_ms) :]
    number = np.rint((times - times[0]) / dt_ms).astype(np.int64)
    order = np.arange(len(times))
    for _ in range(_MOST_PASSES):
        before = number.copy()
        number = np.maximum.accumulate(number - order) + order
        np.maximum.at(number, last, number[first] + window - 1)
        np.maximum.at(number, first, number[last] - (window - 1))
        if np.array_equal(before, number):
            return number[first]
    raise ValueError("index.csv: times that no windows of this length have")
