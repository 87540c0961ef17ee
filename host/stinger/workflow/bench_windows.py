"""How fast labelled windows come out of a recording of sensor messages, against rescanning it for each window.

The plain way reads every message of the sensors with the `mcap` package, and then goes through all of them for each
window, taking those whose time lies within, as one would write it first. It knows nothing of the code it is compared
with, so that equal windows also say that both understood the labels. Going through all of them costs the same for each
window, so it is done for some of them and reckoned for the rest.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mcap.reader import make_reader

from stinger.errors import CheckFailedError
from stinger.sessions.mcap_format.labels import labels_path
from stinger.sessions.read import read_sessions
from stinger.synth.motion_plan import SENSORS
from stinger.windows.cuts import Cut
from stinger.windows.explore import cut_session
from stinger.windows.spec import ExploreSpec

#: Windows for which the recording is really gone through.
_RESCANNED = 60
_LEVELS = {"0": "none", "1": "low", "2": "high"}


@dataclass(frozen=True)
class PlainWindow:
    """A window: when it begins, its label, and of each sensor the values in it."""

    start_ns: int
    label: str
    values: list[list[list[float]]]


def bench_windows(path: Path, repeats: int) -> dict[str, Any]:
    """Measure extraction from a recording that `stinger magnetic generate` made, in processor time.

    Returns:
        ``windows``, ``seconds`` of ours, ``plain_seconds`` of rescanning for each window, reading included in both,
        ``rescanned`` windows, and how many ``times`` as fast ours is.

    Raises:
        CheckFailedError: The two do not cut the same windows.
    """
    spec = ExploreSpec()
    ours = math.inf
    for _ in range(repeats):
        before = time.process_time()
        [session] = read_sessions(path)
        cut = cut_session(session, spec)
        ours = min(ours, time.process_time() - before)
    window_ns, stride_ns = cut.window * cut.period_us * 1000, round(cut.window * spec.stride) * cut.period_us * 1000
    before = time.process_time()
    messages = plain_messages(path)
    wanted = plain_starts(labels_path(path), window_ns, stride_ns)
    plain = time.process_time() - before
    every = max(1, len(wanted) // _RESCANNED)
    before = time.process_time()
    some = [rescan(messages, start_ns, label, window_ns) for start_ns, label in wanted[::every]]
    plain += (time.process_time() - before) * len(wanted) / len(some)
    check_same(cut, wanted, some, every)
    return {
        "windows": len(cut.start),
        "seconds": ours,
        "plain_seconds": plain,
        "rescanned": len(some),
        "times": plain / ours,
    }


def plain_messages(path: Path) -> list[list[dict[str, Any]]]:
    """Read all messages of each sensor, one by one."""
    found: dict[str, list[dict[str, Any]]] = {f"{sensor}_raw": [] for sensor in SENSORS}
    with path.open("rb") as stream:
        for _, channel, message in make_reader(stream).iter_messages(topics=list(found)):
            found[channel.topic].append(json.loads(message.data))
    return list(found.values())


def plain_starts(labels: Path, window_ns: int, stride_ns: int) -> list[tuple[int, str]]:
    """Say when windows begin that lie in one label, and which, from the labels file."""
    starts = []
    for event in json.loads(labels.read_text())["events"]:
        start, end = (moment["sec"] * 10**9 + moment["nsec"] for moment in (event["startTime"], event["endTime"]))
        while start + window_ns <= end:
            starts.append((start, _LEVELS[event["metadata"]["mag_distortion"]]))
            start += stride_ns
    return starts


def rescan(messages: list[list[dict[str, Any]]], start_ns: int, label: str, window_ns: int) -> PlainWindow:
    """Go through all messages for those of one window."""
    stop_ns = start_ns + window_ns
    values = [[m["values"] for m in sensor if start_ns <= m["timestamp"] < stop_ns] for sensor in messages]
    return PlainWindow(start_ns, label, values)


def check_same(cut: Cut, wanted: list[tuple[int, str]], some: list[PlainWindow], every: int) -> None:
    """Hold windows against those of the plain way, times and labels of all, values of those it rescanned.

    Raises:
        CheckFailedError: They differ.
    """
    scale = np.array([channel.scale for channel in cut.channels])
    labels = [cut.names[label] for label in cut.labels.tolist()]
    starts = (cut.index["window_start_ms"] * 10**6).tolist()
    if list(zip(starts, labels, strict=True)) != wanted:
        raise CheckFailedError("rescanning finds other windows or labels; please report it")
    for ours, plain in zip(cut.windows[::every], some, strict=True):
        counts = np.rint(np.concatenate([np.array(sensor) for sensor in plain.values], axis=1) / scale)
        if counts.shape != ours.shape or (counts != ours).any():
            raise CheckFailedError(f"rescanning finds other values at {plain.start_ns} ns; please report it")
