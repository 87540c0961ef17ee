"""The export of training windows in plain Python, sample by sample: what `stinger bench host` is measured against.

Lists, loops and the standard library only, written straight from the rules of the Stinger's own exporter (far, near
and mixed negatives) as one would write them first. It knows nothing of the code it is compared with, so that equal
windows also say that both understood the rules.
"""

from __future__ import annotations

import json
import math
import random
import struct
from dataclasses import dataclass
from pathlib import Path

_RECORD = struct.Struct("<I6hB")
_COLUMNS = (
    "row,label,shot_num,shot_timestamp_ms,distance_to_shot_ms,event_timestamp_ms,window_start_ms,window_end_ms,source"
)


@dataclass(frozen=True)
class PlainRules:
    """The exporter's parameters with its defaults; times in milliseconds."""

    lead_ms: float = 100
    window_ms: float = 500
    min_shot_gap_ms: float = 1000
    mult: int = 1
    strategy: str = "far"
    near_frac: float = 0.5
    near_min_ms: float = 200
    near_max_ms: float = 2000
    min_sep_ms: float = 250
    avoid_post_ms: float = 1000
    min_motion_quantile: float = 0.0
    match_motion: bool = False
    motion_q: float = 0.1
    with_replacement: bool = False
    seed: int = 1


class PlainLog:
    """A Stinger log as lists: ``times`` in ms, ``rows`` of six counts, ``trigger``."""

    def __init__(self, path: Path) -> None:
        self.times: list[int] = []
        self.rows: list[tuple[int, ...]] = []
        self.trigger: list[int] = []
        for time, *counts, trigger in _RECORD.iter_unpack(path.read_bytes()):
            self.times.append(time)
            self.rows.append(tuple(counts))
            self.trigger.append(trigger)


@dataclass(frozen=True)
class PlainExport:
    """What was chosen: the first samples of the windows, and of each the sample it is named by and its label."""

    window: int
    starts: list[int]
    events: list[int]
    labels: list[int]
    shots: list[int]


def plain_export(source: Path, target: Path, rules: PlainRules) -> PlainExport:
    """Read a log, choose windows and write them as the exporter does; ``target`` must be a directory."""
    log = PlainLog(source)
    chosen = plain_windows(log, rules)
    with (target / "windows_i16le.bin").open("wb") as stream:
        for start in chosen.starts:
            for row in log.rows[start : start + chosen.window]:
                stream.write(struct.pack("<6h", *row))
    (target / "labels_u8.bin").write_bytes(bytes(chosen.labels))
    lines = [_COLUMNS]
    for number, (start, event, label) in enumerate(zip(chosen.starts, chosen.events, chosen.labels, strict=True)):
        shot = _nearest(log, chosen.shots, event)
        at = log.times[chosen.shots[shot]]
        cells = [number, label, shot, at, log.times[event] - at, log.times[event], log.times[start]]
        cells.append(log.times[start + chosen.window - 1])
        lines.append(",".join(map(str, cells)) + (",pos" if label else ",neg"))
    (target / "index.csv").write_text("\r\n".join(lines) + "\r\n", newline="")
    (target / "meta.json").write_text(json.dumps({"windows": len(chosen.starts), "window_samples": chosen.window}))
    return chosen


def plain_windows(log: PlainLog, rules: PlainRules) -> PlainExport:
    """Choose positives and negatives."""
    steps = sorted(b - a for a, b in zip(log.times, log.times[1:], strict=False) if b > a)
    middle = len(steps) // 2
    dt = steps[middle] if len(steps) % 2 else (steps[middle - 1] + steps[middle]) / 2
    window = max(1, round(rules.window_ms / dt))
    lead = max(1, round(rules.lead_ms / dt))
    edges = [i for i in range(1, len(log.trigger)) if log.trigger[i] and not log.trigger[i - 1]]
    shots: list[int] = []
    for edge in edges:
        if not shots or log.times[edge] - log.times[shots[-1]] >= rules.min_shot_gap_ms:
            shots.append(edge)
    used = [shot for shot in shots if shot - lead - window >= 0]
    starts = [shot - lead - window for shot in used]
    negatives = _Negatives(log, rules, window, edges).choose(starts)
    return PlainExport(
        window=window,
        starts=starts + [end - window for end in negatives],
        events=used + negatives,
        labels=[1] * len(used) + [0] * len(negatives),
        shots=shots,
    )


class _Negatives:
    """Finds and chooses negatives, each named by its end."""

    def __init__(self, log: PlainLog, rules: PlainRules, window: int, edges: list[int]) -> None:
        self.log, self.rules, self.window = log, rules, window
        self.random = random.Random(rules.seed)
        self.masked = [False] * len(log.times)
        for edge in edges:
            at = log.times[edge]
            i = edge
            while i >= 0 and log.times[i] >= at - (rules.lead_ms + rules.window_ms):
                self.masked[i] = True
                i -= 1
            i = edge
            while i < len(log.times) and log.times[i] <= at + rules.avoid_post_ms:
                self.masked[i] = True
                i += 1
        self.range_of_motion: list[float] = []

    def choose(self, positives: list[int]) -> list[int]:
        """Choose negatives for positives that start there."""
        rules = self.rules
        wanted = rules.mult * len(positives)
        if rules.match_motion:
            self.range_of_motion = sorted(self.motion(start + self.window) for start in positives)
        if rules.strategy == "far":
            return self.far(wanted)
        if rules.strategy == "near":
            return self.near(positives, rules.mult)
        near = self.near(positives, round(rules.mult * rules.near_frac))
        return self.pick(near + self.far(wanted - len(near)), wanted)

    def far(self, number: int) -> list[int]:
        """Take some from anywhere."""
        return self.take(
            self.lively([end for end in range(self.window, len(self.log.times)) if self.fits(end)]), number
        )

    def near(self, positives: list[int], number: int) -> list[int]:
        """Take some from the band before each positive."""
        chosen: list[int] = []
        for start in positives:
            at = self.log.times[start]
            band: list[int] = []
            end = start
            while end >= self.window and self.log.times[end] >= at - self.rules.near_max_ms:
                if self.log.times[end] <= at - self.rules.near_min_ms and self.fits(end):
                    band.append(end)
                end -= 1
            band = self.lively(band[::-1])
            if number >= len(band) and not self.rules.with_replacement:
                chosen += band
            else:
                chosen += self.take(band, number)
        return chosen

    def fits(self, end: int) -> bool:
        """Say whether a window may end there."""
        return not self.masked[end] and not any(self.log.trigger[end - self.window : end])

    def motion(self, end: int) -> float:
        """How much moves in the window that ends there."""
        turning = pushing = 0
        for ax, ay, az, gx, gy, gz in self.log.rows[end - self.window : end]:
            turning += gx * gx + gy * gy + gz * gz
            pushing += ax * ax + ay * ay + az * az
        return turning / self.window + 0.05 * (pushing / self.window)

    def lively(self, ends: list[int]) -> list[int]:
        """Keep those that move enough, and as positives do."""
        rules = self.rules
        if not ends or not (rules.min_motion_quantile > 0 or self.range_of_motion):
            return ends
        motion = {end: self.motion(end) for end in ends}
        if rules.min_motion_quantile > 0:
            least = sorted(motion.values())[math.floor(rules.min_motion_quantile * (len(ends) - 1))]
            ends = [end for end in ends if motion[end] >= least]
        if self.range_of_motion:
            last = len(self.range_of_motion) - 1
            low = self.range_of_motion[math.floor(rules.motion_q * last)]
            high = self.range_of_motion[math.ceil((1 - rules.motion_q) * last)]
            ends = [end for end in ends if low <= motion[end] <= high]
        return ends

    def take(self, ends: list[int], number: int) -> list[int]:
        """Take some, drawn with repeats or not."""
        if not ends or number <= 0:
            return []
        if self.rules.with_replacement:
            return self.pick(self.random.choices(ends, k=3 * number), number)
        return self.pick(ends, min(number, len(ends)))

    def pick(self, ends: list[int], number: int) -> list[int]:
        """Shuffle and take greedily what is far enough in time from all taken."""
        if number <= 0:
            return []
        shuffled = list(dict.fromkeys(ends))
        self.random.shuffle(shuffled)
        taken: list[int] = []
        for end in shuffled:
            at = self.log.times[end]
            if all(abs(at - self.log.times[other]) >= self.rules.min_sep_ms for other in taken):
                taken.append(end)
                if len(taken) == number:
                    break
        return taken


def _nearest(log: PlainLog, shots: list[int], event: int) -> int:
    """Number of the shot nearest in time, the earlier of two."""
    return min(range(len(shots)), key=lambda number: (abs(log.times[shots[number]] - log.times[event]), number))
