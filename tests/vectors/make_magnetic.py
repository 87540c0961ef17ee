"""Make features_magnetic.json: windows and the features of ``magnetic``.

Like make_features.py: plain Python integers straight from the definition (the docstring of stinger.features.magnetic),
sharing no code with the package. Values whose width the C version relies on go through `fits`, which stops if that is
ever wrong.
"""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

NINE = ["mx", "my", "mz", "ax", "ay", "az", "gx", "gy", "gz"]
TURNED_ROUND = ["gyro_x", "gyro_y", "gyro_z", "p", "mag_x", "mag_y", "mag_z", "acc_x", "acc_y", "acc_z"]
LOW, HIGH = -32768, 32767

Vector = list[int]
Window = list[Vector]


def fits(value: int, bits: int) -> int:
    """Return a value that fits so many bits, the sign not counted."""
    if abs(value) >= 1 << bits:
        raise OverflowError(f"{value} has more than {bits} bits")
    return value


def dot(x: Vector, y: Vector) -> int:
    """Scalar product."""
    return sum(fits(a * b, 31) for a, b in zip(x, y, strict=True))


def plain_features(channels: list[str], window: Window) -> list[int]:
    """Features of one window, given as rows of samples."""
    n = len(window)
    m, a, g = ([row[first : first + 3] for row in window] for first in find(channels))
    strength = [math.isqrt(fits(dot(x, x), 32)) for x in m]
    turning = [math.isqrt(fits(dot(x, x), 32)) for x in g]
    v = [vertical(m[i], a[i], strength[i]) for i in range(n)]

    last = 1
    while 8 * last <= n:
        last *= 2
    mean_m, size_v = mean_of_halves(strength), (abs(sum(v)) + n) // (2 * n)
    horizontal = math.isqrt(fits(mean_m**2 - size_v**2, 32))
    dip = fits(size_v << 14, 32) // mean_m if mean_m else 0
    if sum(v) < 0:
        dip = -dip
    result = [mean_of_halves(strength), std(strength), mean_of_halves(strength[n - last :])]
    result += [mean_of_halves(v), size_v, std(v), mean_of_halves(v[n - last :])]
    result += [horizontal, dip, mean_of_halves(turning), *consistency(m, g, min(last, 16))]
    return [min(max(value, LOW), HIGH) for value in result]


def find(channels: list[str]) -> tuple[int, int, int]:
    """First channels of the magnetometer, the accelerometer and the gyroscope."""
    by_letter = {name[0]: i for i, name in reversed(list(enumerate(channels)))}
    return by_letter["m"], by_letter["a"], by_letter["g"]


def vertical(m: Vector, a: Vector, strength: int) -> int:
    """The field along what pulls."""
    pull, d = math.isqrt(dot(a, a)), fits(dot(m, a), 32)
    if pull < 64:
        return 0
    size = min(fits(abs(d) // pull, 16), strength, HIGH)
    return size if d >= 0 else -size


def mean_of_halves(x: list[int]) -> int:
    """Mean in units of two, to the nearest, halves up."""
    return (fits(sum(x), 26) + len(x)) // (2 * len(x))


def std(x: list[int]) -> int:
    """Population standard deviation to the nearest."""
    n = len(x)
    spread = fits(fits(n * fits(sum(value * value for value in x), 42), 52) - sum(x) ** 2, 50)
    return (fits(math.isqrt(4 * spread // n**2), 16) + 1) // 2


def limit(x: int) -> int:
    """Limit a change."""
    return max(-16383, min(16383, x))


def consistency(m: Window, g: Window, k: int) -> list[int]:
    """How changes of the field go together with turning: correlation, gain, residual."""
    changes = turns = both = 0
    for i in range(k, len(m)):
        u = [limit(m[i][c] - m[i - k][c]) for c in range(3)]
        t = [fits(sum(g[j][c] for j in range(i - k + 1, i + 1)), 20) // k for c in range(3)]
        x = m[i - k // 2]
        cross = [x[1] * t[2] - x[2] * t[1], x[2] * t[0] - x[0] * t[2], x[0] * t[1] - x[1] * t[0]]
        p = [limit(fits(value, 31) >> 13) for value in cross]
        changes += fits(dot(u, u), 30)
        turns += fits(dot(p, p), 30)
        both += fits(dot(u, p), 30)
    size, sign = fits(abs(both), 40), 1 if both >= 0 else -1
    r = min(ratio(16 * size, root(fits(changes, 40)) * root(fits(turns, 40))), 16384)
    gain = ratio(4 * size, turns)
    rest = math.isqrt(fits(changes // (len(m) - k), 30)) * math.isqrt(2**28 - r * r)
    return [sign * r, sign * gain, (fits(rest, 30) + 2**13) >> 14]


def root(x: int) -> int:
    """Square root of up to 40 bits, of which the lowest may be lost."""
    s = 0
    while x >> 2 * s >= 1 << 32:
        s += 1
    return fits(math.isqrt(x >> 2 * s) << s, 20)


def ratio(p: int, q: int) -> int:
    """The quotient in units of 1/1024 to the nearest, in 15 bits, or 32767 where it has more; 0 of nothing."""
    if q == 0:
        return 0
    return min(fits(2048 * p + q, 57) // fits(2 * q, 42), HIGH)


def turning(n: int, rng: random.Random, *, still: bool = False, hard_iron: int = 0, change: bool = False) -> Window:
    """A device that turns in a field, in the units of generated recordings; half-way the field may change."""
    rate = [0.0] * 3 if still else [rng.uniform(-1, 1) for _ in range(3)]  # rad/s
    field, down = [7000.0, 3000.0, -2000.0], [500.0, -1000.0, 1700.0]
    rows = []
    for i in range(n):
        if change and i == n // 2:
            field = [field[0] / 2, -field[1], field[2] + 4000]
        field, down = (turned(x, rate, 0.01) for x in (field, down))
        row = [field[0] + hard_iron, field[1] - hard_iron, field[2], *down, *(x * 939.7 for x in rate)]
        rows.append([round(x + rng.gauss(0, 20)) for x in row])
    return rows


def turned(x: list[float], rate: list[float], dt: float) -> list[float]:
    """What a device that turns sees of a vector a little later."""
    y = [
        x[0] + dt * (x[1] * rate[2] - x[2] * rate[1]),
        x[1] + dt * (x[2] * rate[0] - x[0] * rate[2]),
        x[2] + dt * (x[0] * rate[1] - x[1] * rate[0]),
    ]
    scale = math.sqrt(sum(a * a for a in x) / sum(a * a for a in y))
    return [scale * a for a in y]


def windows(n: int, rng: random.Random) -> dict[str, Window]:
    """One window of each kind that is worth testing, of nine channels."""

    def fill(*values: int) -> Window:
        return [[values[c % len(values)] for c in range(9)] for _ in range(n)]

    def noise(size: int) -> Window:
        return [[rng.randint(-size, size) for _ in range(9)] for _ in range(n)]

    spike, step = fill(0), fill(LOW)
    spike[n // 2] = [HIGH] * 9
    for i in range(n // 2, n):
        step[i] = [HIGH] * 9
    # |m| * |a| / isqrt(a * a) at its largest, just above the least pull; and just below.
    least = [[LOW, LOW, LOW, 37, 37, 38, LOW, HIGH, LOW] for _ in range(n)]
    below = [[LOW, LOW, LOW, 36, 37, 37, 5, 5, 5] for _ in range(n)]
    return {
        "zeros": fill(0),
        "all lowest": fill(LOW),
        "all highest": fill(HIGH),
        "opposite": fill(LOW, LOW, LOW, HIGH, HIGH, HIGH, 0, 0, 0),
        "largest cross product": fill(LOW, HIGH, LOW, 1, 2000, 3, HIGH, LOW, HIGH),
        "alternating extremes": [[(LOW, HIGH)[(i + c) % 2] for c in range(9)] for i in range(n)],
        "one spike": spike,
        "step in the middle": step,
        "just enough pull": least,
        "not enough pull": below,
        "field and no turning": [[300 * i % 9000, -50 * i, 40, 0, 0, 2048, 0, 0, 0] for i in range(n)],
        "turning and no field": [[0, 0, 0, 0, 0, -2048, 500, -70 * i, 9] for i in range(n)],
        "small": noise(2),
        "full noise": noise(HIGH),
        "still": turning(n, rng, still=True),
        "turning": turning(n, rng),
        "turning fast, magnetised": [[x * 2 for x in row] for row in turning(n, rng, hard_iron=900)],
        "turning into a distortion": turning(n, rng, change=True),
    }


def cases() -> list[dict[str, object]]:
    """Every case of the file."""
    rng = random.Random(6)
    found: list[dict[str, object]] = []
    for n, channels in [(n, NINE) for n in (8, 15, 50, 64, 101)] + [(16, TURNED_ROUND)]:
        for name, window in windows(n, rng).items():
            order = [NINE.index(c[0] + c[-1]) if c != "p" else 0 for c in channels]
            samples = [[row[i] for i in order] for row in window]
            found.append(
                {
                    "name": f"{name}, {n}x{len(channels)}",
                    "feature_set": "magnetic",
                    "channels": channels,
                    "samples": samples,
                    "features": plain_features(channels, samples),
                }
            )
    return found


def text() -> str:
    """The file's content: one case per line."""
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases())
    return f'{{"format":1,"cases":[\n{lines}\n]}}\n'


if __name__ == "__main__":
    Path(__file__).with_name("features_magnetic.json").write_text(text(), encoding="utf-8")
