"""Policies and streams for tests: any policy at all, and streams with every way that time and readiness can go."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from stinger.models.policy import LIMITS, ONE, Policy


@st.composite
def policies(draw: st.DrawFn, period_us: int | None = None) -> Policy:
    """Any policy; the limits of every field are likely."""
    values = {name: draw(st.one_of(st.sampled_from(limits), st.integers(*limits))) for name, limits in LIMITS.items()}
    values["off"] = min(values["off"], values["on"])
    for name in ("stale_us", "min_on_us"):
        values[name] = draw(st.sampled_from((0, 9_999, 10_000, 250_000, 1_000_000, 60_000_000)))
    values["gate_lsb"] = draw(st.sampled_from((0, 1, 60, 56_755)))
    period = draw(st.sampled_from((1, 2, 625, 9_999, 10_000, 10**9))) if period_us is None else period_us
    return Policy(**{**values, "period_us": period})


def stream(policy: Policy, n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A stream for a policy: time, ready, probability, motion.

    Most samples come one period after the last; others after a gap of any length, at the same time, or earlier. Time
    crosses the 32-bit wrap.
    """
    rng = np.random.default_rng(seed)
    period = policy.period_us
    beside_limits = [period + period // 2, period + period // 2 + 1, 1024 * period - 1, 1024 * period]
    others = [0, 1, period - 1, 5 * period, 1023 * period, 1500 * period, -1, -period, -50 * period]
    steps = np.array([*beside_limits, *others], dtype=np.int64)
    jitter = rng.integers(-(period // 8), period // 8 + 1, n)
    usual = rng.random(n) < rng.choice((0.7, 0.95, 1.0))
    step = np.where(usual, period + jitter, rng.choice(steps, n))
    t_us = np.cumsum(step) + 2**32 - int(np.abs(step[: n // 2]).sum() % 2**31)
    ready = rng.random(n) < rng.choice((0.5, 0.97, 1.0))
    kind = rng.choice(("noise", "edges", "still"))
    probability = rng.integers(0, ONE + 1, n)
    if kind == "edges":
        probability = np.where(np.repeat(rng.random(n // 10 + 1) < 0.5, 10)[:n], ONE, 0)
    elif kind == "still":
        probability = np.clip(policy.on + rng.integers(-3, 4, n), 0, ONE)
    gate = policy.gate_energy
    motion = rng.choice(np.array([0, max(0, gate - 1), gate, gate + 1, 2**43], dtype=np.int64), n)
    return t_us, ready, np.where(ready, probability, 0).astype(np.uint16), np.where(ready, motion, 0)
