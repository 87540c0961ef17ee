"""Many policies at once are the same policies: spell by spell what `run_many` does, whatever the stream."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stinger.evaluation import policy_runs
from stinger.evaluation.policy_runs import many_spells
from stinger.evaluation.streaming import spells
from stinger.models.policy import ONE, Policy, run_many

PERIOD = 10_000
STEPS = [PERIOD] * 6 + [9_990, 15_000, 15_001, 25_000, 40_000, 300_000, 0, -20_000, 1024 * PERIOD - 1, 1024 * PERIOD]


@st.composite
def streams(draw):
    n = draw(st.integers(1, 80))
    steps = draw(st.lists(st.sampled_from(STEPS), min_size=n, max_size=n))
    start = draw(st.sampled_from([0, 12_345, 2**32 - 50_000]))
    t_us = start + np.cumsum(np.array(steps, dtype=np.int64))
    ready = np.array(draw(st.lists(st.sampled_from([True, True, True, False]), min_size=n, max_size=n)))
    p = draw(st.lists(st.sampled_from([0, 1000, 9000, 16_384, 20_000, 30_000, ONE]), min_size=n, max_size=n))
    motion = draw(st.lists(st.sampled_from([0, 50 * 60**2 - 1, 50 * 60**2, 10**9]), min_size=n, max_size=n))
    return t_us, ready, np.array(p, dtype=np.uint16), np.array(motion, dtype=np.int64)


@st.composite
def policies(draw):
    on = draw(st.integers(1, ONE))
    return Policy(
        attack=draw(st.sampled_from([1, 300, 737, 2000, 4096])),
        release=draw(st.sampled_from([1, 123, 1000, 4096])),
        on=on,
        off=draw(st.integers(1, on)),
        gate_lsb=draw(st.sampled_from([0, 60, 2000])),
        stale_us=draw(st.sampled_from([0, 15_000, 250_000, 60_000_000])),
        min_on_us=draw(st.sampled_from([0, 1, 20_000, 100_000, 1_000_000])),
    )


@settings(max_examples=80, deadline=None)
@given(streams(), st.lists(policies(), min_size=1, max_size=8))
def test_spells_are_those_of_the_policies(stream, several):
    expected = [spells(on) for on in run_many(several, *stream)]
    found = many_spells(several, *stream)
    for policy, (starts, stops), (a, b) in zip(several, expected, found, strict=True):
        assert (a.tolist(), b.tolist()) == (starts.tolist(), stops.tolist()), policy


def test_a_long_stream_with_pauses(monkeypatch):
    rng = np.random.default_rng(3)
    n = 4000
    step = np.where(rng.random(n) < 0.01, rng.integers(1, 200, n) * PERIOD, PERIOD)
    t_us = np.cumsum(step).astype(np.int64)
    p = np.clip(np.cumsum(rng.normal(0, 2500, n)) % (2 * ONE) - ONE / 2, 0, ONE).astype(np.uint16)
    motion = rng.integers(0, 50 * 120**2, n)
    several = [
        Policy.from_ms(on=on, off=on * off, rise_ms=rise, fall_ms=fall, gate=gate, min_on_ms=hold)
        for on in (0.2, 0.5, 0.9)
        for off in (0.4, 1.0)
        for rise, fall in ((0, 30), (50, 330))
        for gate in (0, 60)
        for hold in (0, 500)
    ]
    stream = (t_us, rng.random(n) < 0.9, p, motion)
    expected = [spells(on) for on in run_many(several, *stream)]
    # Envelopes in several parts, as of a recording of hours.
    monkeypatch.setattr(policy_runs, "_AT_ONCE", 3 * n)
    found = many_spells(several, *stream)
    assert sum(len(starts) for starts, _ in found) > 500
    for (starts, stops), (a, b) in zip(expected, found, strict=True):
        assert (a.tolist(), b.tolist()) == (starts.tolist(), stops.tolist())


def test_nothing_gives_nothing():
    empty = np.empty(0, dtype=np.int64)
    [(starts, stops)] = many_spells([Policy.stock()], empty, empty.astype(np.bool_), empty.astype(np.uint16), empty)
    assert (len(starts), len(stops)) == (0, 0)
    assert many_spells([], empty, empty.astype(np.bool_), empty.astype(np.uint16), empty) == []
