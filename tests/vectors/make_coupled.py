"""Make features_coupled.json: windows and the features of ``coupled``.

Like make_features.py, which gives the part that is ``rich``: plain Python integers straight from the definition (the
docstring of stinger.features.coupled), sharing no code with the package. What a C version keeps in 32 bits goes
through `fits`, which stops if that is ever wrong.
"""

from __future__ import annotations

import importlib.util
import json
import math
import random
from pathlib import Path

_SPEC = importlib.util.spec_from_file_location("make_features", Path(__file__).with_name("make_features.py"))
make_features = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(make_features)

SIX = ["ax", "ay", "az", "gx", "gy", "gz"]

Window = list[list[int]]


def fits(value: int, bits: int) -> int:
    """Return a value that fits so many bits, the sign not counted."""
    if abs(value) >= 1 << bits:
        raise OverflowError(f"{value} has more than {bits} bits")
    return value


def plain_features(channels: list[str], window: Window) -> list[int]:
    """Features of one window, given as rows of samples; every triad is the accelerometer or the gyroscope."""
    n = len(window)
    a, g = channels.index("ax"), channels.index("gx")
    six = [[row[first + i] for row in window] for first in (a, g) for i in range(3)]
    steps = [fits(4 * sum(abs(x[i + 1] - x[i]) for i in range(n - 1)), 31) // n for x in six]

    d = (n + 31) // 32
    b = n // d
    x = [column[n - 1 - (b - 1) * d :: d] for column in six]
    assert all(len(column) == b for column in x)
    angles = [[fits(sum(column[: i + 1]), 21) for i in range(b)] for column in x[3:]]
    speed = [math.isqrt(x[3][i] ** 2 + x[4][i] ** 2 + x[5][i] ** 2) for i in range(b)]
    centred = [centre(signal) for signal in (*x, *angles, speed)]
    sizes = [(r << k) >> 9 for _, k, r in centred[6:9]]

    outer_and_inner = [(i, j) for i in (0, 1, 2) for j in (3, 4, 5)]
    outer_and_inner += [(i, j) for i in (6, 7, 8) for j in (3, 4, 5)]
    outer_and_inner += [(9, j) for j in range(9)]
    correlations = [correlation(centred[i], centred[j]) for i, j in outer_and_inner]
    rest = [min(value, 32767) for value in (*steps, *sizes, *correlations)]
    rich = make_features.plain_features("rich", channels, window)
    # The accelerometer's magnitude comes first, wherever its channels are.
    magnitudes = rich[-6:] if a < g else rich[-3:] + rich[-6:-3]
    return rich[:-6] + magnitudes + rest


def centre(x: list[int]) -> tuple[list[int], int, int]:
    """``v``, ``k`` and ``r`` of a signal."""
    e = [fits(len(x) * value, 26) - sum(x) for value in x]
    k = 0
    while max(fits(abs(value), 25) for value in e) >= 2 ** (12 + k):
        k += 1
    v = [value >> k for value in e]
    r = math.isqrt(fits(sum(value * value for value in v), 30))
    fits(r << k, 28)
    return v, k, r


def correlation(x: tuple[list[int], int, int], y: tuple[list[int], int, int]) -> int:
    """Correlation of two signals as `centre` returns them, in units of 1/1024."""
    c = fits(sum(x[0][i] * y[0][i] for i in range(len(x[0]))), 30)
    q_x, q_y = (0 if r < 2048 else fits(2**26 // r, 16) for _, _, r in (x, y))
    size = fits((fits((abs(c) >> 12) * q_x, 32) >> 14) * q_y, 32) >> 16
    return size if c >= 0 else -size


def windows(n: int, channels: int, rng: random.Random) -> dict[str, Window]:
    """What make_features.py has, and movements: two axes of which one follows the other, turning to and fro."""
    found: dict[str, Window] = make_features.windows(n, channels, rng)
    ramp = [[(i - n // 2) * (300, -200, 10, 500, 1, -7)[c % 6] for c in range(channels)] for i in range(n)]
    turning, angle, speed = [], 0, 900
    for i in range(n):
        speed = -speed if i % 13 == 12 else speed
        angle += speed
        row = [angle // 8, 2048 - angle // 16, angle % 100, speed, speed // 3 + rng.randint(-20, 20), -speed]
        turning.append([row[c % 6] for c in range(channels)])
    highest = [[make_features.HIGH if i >= n // 2 else make_features.LOW] * channels for i in range(n)]
    return {**found, "ramps": ramp, "turning to and fro": turning, "lowest, then highest": highest}


def cases() -> list[dict[str, object]]:
    """Every case of the file."""
    rng = random.Random(4)
    found: list[dict[str, object]] = []
    for n, channels in [(n, SIX) for n in (4, 31, 33, 50, 100, 101)] + [(9, [*SIX[3:], "p", *SIX[:3]])]:
        for name, window in windows(n, len(channels), rng).items():
            found.append(
                {
                    "name": f"{name}, {n}x{len(channels)}",
                    "feature_set": "coupled",
                    "channels": channels,
                    "samples": window,
                    "features": plain_features(channels, window),
                }
            )
    return found


def text() -> str:
    """The file's content: one case per line."""
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases())
    return f'{{"format":1,"cases":[\n{lines}\n]}}\n'


if __name__ == "__main__":
    Path(__file__).with_name("features_coupled.json").write_text(text(), encoding="utf-8")
