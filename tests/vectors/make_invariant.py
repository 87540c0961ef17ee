"""Make features_invariant.json: windows and the features of ``invariant``, ``invariant_rich`` and ``flatten``.

Like make_features.py: plain Python integers straight from the definition (the docstring of
stinger.features.invariant), sharing no code with the package. Every intermediate value goes through `fits`, which
states how many bits a C version needs for it and stops if that is ever wrong.
"""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

LOW, HIGH = -32768, 32767
MOTION = ["ax", "ay", "az", "gx", "gy", "gz"]

Window = list[list[int]]


def fits(value: int, bits: int) -> int:
    """Return a value that fits so many bits, the sign not counted."""
    if abs(value) >= 1 << bits:
        raise OverflowError(f"{value} has more than {bits} bits")
    return value


def plain_features(feature_set: str, channels: list[str], window: Window) -> list[int]:
    """Integer features of one window, given as rows of samples."""
    if feature_set == "flatten":
        return [value for row in window for value in row]
    n = len(window)
    at_a, at_g = channels.index("ax"), channels.index("gx")
    a, g = ([row[at : at + 3] for row in window] for at in (at_a, at_g))
    m, w = ([math.isqrt(fits(sum(v * v for v in vector), 32)) for vector in of] for of in (a, g))
    j = [[min(max(a[i + 1][k] - a[i][k], LOW), HIGH) for k in range(3)] for i in range(n - 1)]
    e = [min(fits(sum(v * v for v in vector), 32), 2**30 - 1) for vector in j]
    h = [math.isqrt(fits(4 * value, 32)) for value in e]
    half, quarter = n // 2, n // 4

    squares = fits(sum(e), 40)
    result = [mean_of_halves(h), std_of_halves(h), (fits(max(h), 16) + 1) // 2]
    result.append((math.isqrt(fits(fits(4 * squares, 42) // (n - 1), 32)) + 1) // 2)

    total = fits(sum(m), 26)
    deviation = fits(max(fits(n * max(m), 26) - total, total - n * min(m)), 26)
    result += [std(m), (deviation + n) // (2 * n), (max(m) - min(m) + 1) // 2]
    result += [mean_of_halves(w), std(w), (max(w) + 1) // 2, (max(w) - min(w) + 1) // 2]

    w1, w2 = w[:half], w[half:]
    n1, n2 = len(w1), len(w2)
    difference = fits(sum(w2) * n1, 34) - fits(sum(w1) * n2, 34)
    result.append(fits((fits(difference, 34) + n1 * n2) // (2 * n1 * n2), 15))
    h1, h2 = h[: half - 1], h[half - 1 :]
    result.append(ratio(fits(sum(h2) * len(h1), 35), fits(sum(h1) * len(h2), 35), 1024))
    result.append(ratio(fine_std(w2), fine_std(w1), 1024))
    result.append(ratio(sum(e[len(e) - quarter :]), squares, 256))
    above = [fits((n - 1) * value, 26) >= fits(sum(h), 26) for value in h]
    result.append(ratio(sum(above[i] != above[i - 1] for i in range(1, n - 1)), n - 2, 0))

    if feature_set == "invariant_rich":
        result += [std([vector[k] for vector in g]) for k in range(3)]
        result += [std([vector[k] for vector in j]) for k in range(3)]
    return [min(max(value, LOW), HIGH) for value in result]


def mean_of_halves(x: list[int]) -> int:
    """Mean of unsigned 16-bit values in units of two, to the nearest, halves up."""
    return fits(fits(sum(x), 26) + len(x), 27) // (2 * len(x))


def spread(x: list[int]) -> int:
    """Population variance times the square of the number of values."""
    return fits(fits(len(x) * fits(sum(v * v for v in x), 42), 52) - fits(sum(x), 26) ** 2, 50)


def std_of_halves(x: list[int]) -> int:
    """Population standard deviation of unsigned 16-bit values in units of two, to the nearest."""
    return (fits(math.isqrt(spread(x) // len(x) ** 2), 15) + 1) // 2


def std(x: list[int]) -> int:
    """Population standard deviation to the nearest."""
    return (fits(math.isqrt(fits(4 * spread(x), 52) // len(x) ** 2), 16) + 1) // 2


def fine_std(x: list[int]) -> int:
    """Population standard deviation of magnitudes in units of 1/64 count, rounded down."""
    fine = fits(math.isqrt(fits(4096 * spread(x), 60) // len(x) ** 2), 21)
    return fine if fits(fine * len(x), 30) else 0


def ratio(p: int, q: int, otherwise: int) -> int:
    """The quotient in units of 1/1024 to the nearest, halves up, found as a device can: by shifts and subtractions.

    The quotient of ``2048*p + q`` and ``2*q`` in 15 bits, or 32767 where it has more.
    """
    if q == 0:
        return otherwise
    rest, divisor = fits(2048 * p + q, 52), fits(2 * q, 42)
    if rest >= fits(divisor << 15, 57):
        return HIGH
    quotient = 0
    for bit in range(14, -1, -1):
        if rest >= divisor << bit:
            rest -= divisor << bit
            quotient |= 1 << bit
    return quotient


def windows(n: int, rng: random.Random) -> dict[str, Window]:
    """One window of each kind that has ever been worth testing, of an accelerometer and a gyroscope."""

    def fill(value: int) -> Window:
        return [[value] * 6 for _ in range(n)]

    def noise(size: int) -> list[int]:
        return [2048 * (c == 2) + rng.randint(-size, size) for c in range(6)]

    spike, step, late = fill(0), fill(LOW), fill(0)
    spike[n // 2] = [HIGH] * 6
    for i in range(n // 2, n):
        step[i] = [HIGH] * 6
    late[-1] = [0, 0, 3, 0, 0, 1]
    position = [0, 0, 2048, 0, 0, 0]
    motion = []
    for _ in range(n):
        position = [min(HIGH, max(LOW, p + rng.randint(-400, 400))) for p in position]
        motion.append(position)
    return {
        "zeros": fill(0),
        "all lowest": fill(LOW),
        "all highest": fill(HIGH),
        # Every step is limited, |j| at its largest.
        "alternating extremes": [[(LOW, HIGH)[i % 2]] * 6 for i in range(n)],
        "one spike": spike,
        "step in the middle": step,
        # A ratio whose divisor is nothing, and the smallest |j|.
        "last sample only": late,
        # Steps of 32767 and 32768 counts, one axis at a time.
        "steps at the limit": [[(0, HIGH, -1, LOW)[(i + c) % 4] for c in range(6)] for i in range(n)],
        "ramp": [[7 * i, -3 * i, 2048 + i, 50 * i, 5 * i, -i] for i in range(n)],
        # Ratios beyond 32, and shares near 0 and 1.
        "still, then moving": [noise(1 if i < n // 2 else 9000) for i in range(n)],
        "moving, then still": [noise(9000 if i < n // 2 else 1) for i in range(n)],
        "small noise": [noise(3) for i in range(n)],
        "motion": motion,
        "full noise": [[rng.randint(LOW, HIGH) for _ in range(6)] for _ in range(n)],
    }


def cases() -> list[dict[str, object]]:
    """Every case of the file."""
    rng = random.Random(4)
    found: list[dict[str, object]] = []
    for n, sets in (
        (4, ("invariant", "invariant_rich", "flatten")),
        (7, ("invariant", "invariant_rich")),
        (50, ("invariant_rich",)),
        (59, ("invariant_rich",)),
    ):
        for name, window in windows(n, rng).items():
            for feature_set in sets:
                found.append(case(f"{name}, {n}, {feature_set}", feature_set, MOTION, window))
    # Other channels beside the two triads, and the gyroscope first.
    mixed = [[i, *row[3:], -i, *row[:3]] for i, row in enumerate(windows(50, rng)["motion"])]
    channels = ["p", "gx", "gy", "gz", "q", "ax", "ay", "az"]
    found.append(case("motion among others, 50, invariant", "invariant", channels, mixed))
    return found


def case(name: str, feature_set: str, channels: list[str], window: Window) -> dict[str, object]:
    """One case of the file, as in features.json."""
    features = plain_features(feature_set, channels, window)
    return {"name": name, "feature_set": feature_set, "channels": channels, "samples": window, "features": features}


def text() -> str:
    """The file's content: one case per line."""
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases())
    return f'{{"format":1,"cases":[\n{lines}\n]}}\n'


if __name__ == "__main__":
    Path(__file__).with_name("features_invariant.json").write_text(text(), encoding="utf-8")
