"""Make features.json: windows and the integer features every implementation must compute from them.

Written in plain Python integers straight from the definition, sharing no code with the package, so that an error
there cannot hide here. Run it only when the definition of a feature set changes; tests check that the file is what
this script makes.
"""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

LIMIT = 32767
LOW, HIGH = -32768, 32767

Window = list[list[int]]


def plain_features(feature_set: str, channels: list[str], window: Window) -> list[int]:
    """Integer features of one window, given as rows of samples."""
    n = len(window)
    columns = [[row[c] for row in window] for c in range(len(channels))]
    result = [mean(x, 1) for x in columns] + [std(x, 1) for x in columns] + [max(map(abs, x)) for x in columns]
    if feature_set == "rich":
        result += [mean([abs(v) for v in x], 1) for x in columns]
        for first in triads(channels):
            x, y, z = columns[first : first + 3]
            m = [math.isqrt(x[i] * x[i] + y[i] * y[i] + z[i] * z[i]) for i in range(n)]
            result += [mean(m, 2), std(m, 2), (max(m) + 1) // 2]
    return [min(value, LIMIT) for value in result]


def mean(x: list[int], unit: int) -> int:
    """Mean in units of ``unit`` counts, to the nearest, halves up."""
    n, total = len(x), sum(x)
    return (2 * total + n) // (2 * n) if unit == 1 else (total + n) // (2 * n)


def std(x: list[int], unit: int) -> int:
    """Population standard deviation in units of ``unit`` counts, to the nearest."""
    n = len(x)
    spread = n * sum(v * v for v in x) - sum(x) ** 2
    return (math.isqrt((4 if unit == 1 else 1) * spread // (n * n)) + 1) // 2


def triads(channels: list[str]) -> list[int]:
    """First channel of each run named .x .y .z with the same stem."""
    return [
        i
        for i in range(len(channels) - 2)
        if [c[-1] for c in channels[i : i + 3]] == ["x", "y", "z"] and len({c[:-1] for c in channels[i : i + 3]}) == 1
    ]


def windows(n: int, channels: int, rng: random.Random) -> dict[str, Window]:
    """One window of each kind that has ever been worth testing."""

    def fill(value: int) -> Window:
        return [[value] * channels for _ in range(n)]

    spike, low_spike = fill(0), fill(0)
    spike[n // 2] = [HIGH] * channels
    low_spike[-1][0] = LOW
    alternating = [[(LOW, HIGH)[i % 2]] * channels for i in range(n)]
    # A random walk about gravity; integers only, so that every platform draws the same.
    position = [2048 * (c == 2) for c in range(channels)]
    motion = []
    for _ in range(n):
        position = [min(HIGH, max(LOW, p + rng.randint(-400, 400))) for p in position]
        motion.append(position)
    return {
        "zeros": fill(0),
        "all lowest": fill(LOW),
        "all highest": fill(HIGH),
        "all minus one": fill(-1),
        "alternating extremes": alternating,
        "one spike": spike,
        "one lowest at the end": low_spike,
        # Means just beside a half, on both sides of zero.
        "half means": [[(1 if i < n // 2 else 0) * (1 if c % 2 else -1) for c in range(channels)] for i in range(n)],
        "small noise": [[rng.randint(-3, 3) for _ in range(channels)] for _ in range(n)],
        "motion": motion,
        "full noise": [[rng.randint(LOW, HIGH) for _ in range(channels)] for _ in range(n)],
    }


def cases() -> list[dict[str, object]]:
    """Every case of the file."""
    rng = random.Random(2)
    six = ["ax", "ay", "az", "gx", "gy", "gz"]
    found: list[dict[str, object]] = []
    # A triad that does not start at the first channel, and a channel outside any.
    for n, channels in [(n, c) for n in (2, 7, 50, 59) for c in (six, six[:3])] + [(7, ["p", "gx", "gy", "gz"])]:
        for name, window in windows(n, len(channels), rng).items():
            for feature_set in ("summary", "rich"):
                found.append(
                    {
                        "name": f"{name}, {n}x{len(channels)}, {feature_set}",
                        "feature_set": feature_set,
                        "channels": channels,
                        "samples": window,
                        "features": plain_features(feature_set, channels, window),
                    }
                )
    return found


def text() -> str:
    """The file's content: one case per line."""
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases())
    return f'{{"format":1,"cases":[\n{lines}\n]}}\n'


if __name__ == "__main__":
    Path(__file__).with_name("features.json").write_text(text(), encoding="utf-8")
