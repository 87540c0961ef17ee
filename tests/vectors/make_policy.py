"""Make policy.json: streams and what every implementation of a policy must say of them.

Written in plain Python integers straight from the definition, sharing no code with the package, so that an error
there cannot hide here. Time is taken whole, not modulo 2**32, and every tick is listed before it is taken. Run it
only when the definition changes; tests check that the file is what this script makes.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

ONE = 32768
Policy = dict[str, int]
Row = tuple[int, int, int, int]  # time, ready, probability, motion

STOCK = {
    "attack": 737,
    "release": 123,
    "on": 16384,
    "off": 8192,
    "gate_lsb": 60,
    "stale_us": 250_000,
    "min_on_us": 0,
    "period_us": 10_000,
    "window": 50,
    "gyro": 3,
    "positive": 1,
}
MOVING = 60 * 60 * 50


def plain_policy(policy: Policy, rows: list[Row]) -> tuple[list[int], list[int]]:
    """Whether the policy is on, and its envelope, after each row."""
    on, envelopes = [], []
    e, is_on, since = 0, False, 0
    news: list[tuple[int, int]] = []
    for i, (t, ready, p, motion) in enumerate(rows):
        if i == 0 or t < rows[i - 1][0] or t - rows[i - 1][0] >= 1024 * policy["period_us"]:
            e, is_on, news, missed = 0, False, [], []
        else:
            missed = missed_ticks(rows[i - 1][0], t, policy["period_us"])
        for at in [*missed, t]:
            if at == t and ready:
                news.append((t, 0 if motion < policy["gate_lsb"] ** 2 * policy["window"] else p))
            fresh = news and at - news[-1][0] <= policy["stale_us"]
            target = 8 * news[-1][1] if fresh else 0
            if target > e:
                e += -((-policy["attack"] * (target - e)) // 4096)
            else:
                e -= -((-policy["release"] * (e - target)) // 4096)
            if not is_on and e >= 8 * policy["on"]:
                is_on, since = True, at
            elif is_on and e < 8 * policy["off"] and at - since >= policy["min_on_us"]:
                is_on = False
        on.append(int(is_on))
        envelopes.append(e)
    return on, envelopes


def missed_ticks(last: int, t: int, period: int) -> list[int]:
    """Times one period apart after ``last``, as long as more than one and a half periods are left to ``t``."""
    ticks = []
    while 2 * (t - last) > 3 * period:
        last += period
        ticks.append(last)
    return ticks


def regular(values: list[int], *, start: int = 0, period: int = 10_000, motion: int = MOVING) -> list[Row]:
    """Ready rows one period apart."""
    return [(start + i * period, 1, p, motion) for i, p in enumerate(values)]


def step_up_and_down(low: int, high: int, n: int) -> list[int]:
    """A step from one probability to another and back."""
    return [low] * 5 + [high] * n + [low] * (3 * n)


def cases() -> list[dict[str, object]]:
    """Every case of the file."""
    rng = random.Random(4)
    step = regular(step_up_and_down(0, ONE, 30))
    noise = [rng.choice((0, ONE, rng.randint(0, ONE))) for _ in range(200)]
    around = [ONE // 2 + rng.randint(-9000, 9000) for _ in range(200)]
    just_on = regular([20_000] * 20)

    def after(silence: int, *, ready: int = 1) -> list[Row]:
        t = just_on[-1][0] + silence
        return [*just_on, *((t + i * 10_000, ready, 20_000, MOVING) for i in range(30))]

    found = [
        ("one sample", STOCK, regular([ONE])),
        ("stock, a step", STOCK, step),
        ("stock, a shot's probability", STOCK, regular([0] * 10 + [3000 * i for i in range(11)] * 2 + [500] * 60)),
        ("stock, noise about the threshold", STOCK, regular(around)),
        ("stock, across the 32-bit wrap", STOCK, regular(step_up_and_down(0, ONE, 20), start=2**32 - 150_000)),
        (
            "gate, just moving and just not",
            STOCK,
            regular([ONE] * 9) + regular([ONE] * 40, start=90_000, motion=179_999),
        ),
        ("no gate, no motion", {**STOCK, "gate_lsb": 0}, regular([ONE] * 12, motion=0)),
        ("a gap goes stale", STOCK, after(900_000)),
        ("a gap of exactly one and a half periods", STOCK, after(15_000)),
        ("a gap of a little more", STOCK, after(15_001)),
        ("a gap within the stale time", STOCK, after(240_000)),
        ("1024 periods less one microsecond", {**STOCK, "release": 1}, after(10_239_999)),
        ("1024 periods", {**STOCK, "release": 1}, after(10_240_000)),
        ("time goes back", STOCK, after(-100_000)),
        ("time stands still", STOCK, after(0)),
        ("not ready, until stale and beyond", STOCK, after(10_000, ready=0)),
        ("stale at once", {**STOCK, "stale_us": 0}, after(10_000, ready=0)),
        ("shortest time on", {**STOCK, "min_on_us": 400_000}, regular(step_up_and_down(0, ONE, 8))),
        ("shortest time on, through a gap", {**STOCK, "min_on_us": 500_000}, after(600_000)),
        ("follows at once", {**STOCK, "attack": 4096, "release": 4096}, regular(noise)),
        ("slowest rates", {**STOCK, "attack": 1, "release": 1, "on": 40, "off": 30}, regular(noise)),
        ("largest thresholds", {**STOCK, "on": ONE, "off": ONE}, regular([ONE] * 90 + [ONE - 1] * 3 + [ONE] * 60)),
        ("smallest thresholds", {**STOCK, "on": 1, "off": 1}, regular([0, 1, 0, 0] + [1] * 9 + [0] * 12)),
        (
            "largest gate and window",
            {**STOCK, "gate_lsb": 56_755, "window": 1024},
            regular([ONE] * 9, motion=56_755**2 * 1024)
            + regular([ONE] * 30, start=90_000, motion=56_755**2 * 1024 - 1),
        ),
        ("1600 samples a second", {**STOCK, "period_us": 625}, regular(step_up_and_down(100, 30_000, 40), period=625)),
        ("one sample in 17 minutes", {**STOCK, "period_us": 10**9}, regular([ONE] * 9 + [0] * 9, period=10**9)),
        ("an odd period", {**STOCK, "period_us": 3}, regular(noise[:60], period=4)),
    ]
    t, mixed = 2**32 - 4_000_000, []
    for p in noise * 2:
        t += rng.choice((10_000, 10_000, 10_000, 9_990, 10_017, 15_000, 15_001, 40_000, 333_333))
        mixed.append((t, int(rng.random() < 0.8), p, rng.choice((MOVING - 1, MOVING, 10 * MOVING))))
    found.append(("gaps, jitter, gate and filling windows", {**STOCK, "min_on_us": 123_456}, mixed))
    return [entry(*case) for case in found]


def entry(name: str, policy: Policy, rows: list[Row]) -> dict[str, object]:
    """One case with its answers."""
    on, envelope = plain_policy(policy, rows)
    return {"name": name, "policy": policy, "rows": rows, "on": "".join(map(str, on)), "envelope": envelope}


def text() -> str:
    """The file's content: one case per line."""
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases())
    return f'{{"format":1,"cases":[\n{lines}\n]}}\n'


if __name__ == "__main__":
    Path(__file__).with_name("policy.json").write_text(text(), encoding="utf-8")
