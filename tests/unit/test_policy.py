"""Policies on the host: the vectors, what the stock firmware does, and what a person says and reads."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_cases import policies, stream

from stinger.errors import InputError, UsageError
from stinger.models.policy import (
    LIMITS,
    ONE,
    Policy,
    default_policy,
    gyro_triad,
    motion_energy,
    run_many,
    run_policy,
    to_units,
)
from stinger.sessions.session import STINGER_CHANNELS

TESTS = Path(__file__).parent.parent
_SPEC = importlib.util.spec_from_file_location("make_policy", TESTS / "vectors" / "make_policy.py")
make_policy = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(make_policy)
CASES = json.loads((TESTS / "vectors" / "policy.json").read_text())["cases"]
PERIOD = 10_000


def columns(rows):
    t_us, ready, probability, motion = np.array(rows, dtype=np.int64).T
    return t_us, ready.astype(np.bool_), probability.astype(np.uint16), motion


def regular(probability, policy=None, *, start=0):
    """Every sample ready and moving, one period apart."""
    n = len(probability)
    t_us = start + np.arange(n, dtype=np.int64) * (PERIOD if policy is None else policy.period_us)
    return t_us, np.ones(n, np.bool_), np.asarray(probability, np.uint16), np.full(n, 2**40)


def test_the_vectors_are_what_their_script_makes():
    assert (TESTS / "vectors" / "policy.json").read_text() == make_policy.text()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_vectors(case):
    policy = Policy.from_json(case["policy"])
    trace = run_policy(policy, *columns(case["rows"]))
    assert trace.envelope.tolist() == case["envelope"]
    assert "".join(map(str, trace.on.astype(int))) == case["on"]
    [many] = run_many([policy], *columns(case["rows"]))
    assert many.tolist() == trace.on.tolist()


@settings(max_examples=30, deadline=None)
@given(st.lists(policies(period_us=PERIOD), min_size=1, max_size=9), st.integers(0, 2**32 - 1))
def test_many_policies_at_once_give_the_same_bits(chosen, seed):
    samples = stream(chosen[0], 120, seed)
    expected = [run_policy(policy, *samples).on for policy in chosen]
    assert np.array_equal(run_many(chosen, *samples), expected)


@settings(max_examples=60, deadline=None)
@given(policies(), st.integers(0, 2**32 - 1))
def test_the_envelope_stays_in_its_range_and_on_obeys_the_thresholds(policy, seed):
    trace = run_policy(policy, *stream(policy, 150, seed))
    assert trace.envelope.min() >= 0
    assert trace.envelope.max() <= ONE << 3
    assert trace.on[trace.envelope >= policy.on << 3].all()
    if policy.min_on_us == 0:
        assert not trace.on[trace.envelope < policy.off << 3].any()


@settings(max_examples=40, deadline=None)
@given(policies(), st.integers(0, 2**32 - 1), st.integers(-(2**33), 2**33))
def test_only_differences_of_time_matter(policy, seed, shift):
    t_us, *rest = stream(policy, 80, seed)
    trace, shifted = run_policy(policy, t_us, *rest), run_policy(policy, t_us + shift, *rest)
    assert np.array_equal(trace.envelope, shifted.envelope)
    assert np.array_equal(trace.on, shifted.on)


def stock_firmware(threshold, t_ms, probability):
    """REFERENCE 1.4 in floating point: envelope, hysteresis, staleness; one update every 10 ms."""
    off = min(threshold / 2, threshold - 0.01)
    e, is_on, last, last_ms = 0.0, False, 0.0, -math.inf
    envelopes, ons = [], []
    for t, p in zip(t_ms, probability, strict=True):
        if not math.isnan(p):
            last, last_ms = p, t
        fresh = last if t - last_ms <= 250 else 0.0
        e += (0.18 if fresh > e else 0.03) * (fresh - e)
        is_on = e >= threshold or (is_on and e >= off)
        envelopes.append(e)
        ons.append(is_on)
    return np.array(envelopes), np.array(ons)


@pytest.mark.parametrize("percent", [5, 20, 50, 62, 95])
@pytest.mark.parametrize("kind", ["golden lr", "golden mlp", "noise", "steps"])
def test_stock_is_what_the_firmware_does_in_floating_point(percent, kind):
    n = 9000
    rng = np.random.default_rng(percent)
    if kind.startswith("golden"):
        probability = golden()[f"p_{kind[7:]}_gated"][:n].copy()
    else:
        slow = np.repeat(rng.random(n // 30) ** 3, 30)
        probability = np.clip(slow + (rng.normal(0, 0.2, n) if kind == "noise" else 0), 0, 1)
    ready = np.ones(n, np.bool_)
    for begin in range(400, n, 700):  # windows that fill, for longer than a probability counts
        ready[begin : begin + 200] = False
    t_us = np.arange(n, dtype=np.int64) * PERIOD
    seen = np.where(ready, probability, np.nan)
    envelope, on = stock_firmware(percent / 100, t_us / 1000, seen)
    units = np.where(ready, to_units(probability), 0).astype(np.uint16)
    trace = run_policy(Policy.stock(percent), t_us, ready, units, np.full(n, 2**40))
    error = np.abs(trace.envelope / 2**18 - envelope)
    assert error.max() < 1e-3
    # On and off may differ only for as long as the exact envelope is beside a threshold.
    threshold = percent / 100
    off = min(threshold / 2, threshold - 0.01)
    beside = (np.abs(envelope - threshold) < 1e-3) | (np.abs(envelope - off) < 1e-3)
    differs = on != trace.on
    starts = np.flatnonzero(differs & ~np.concatenate([[False], differs[:-1]]))
    assert beside[starts].all()
    assert differs.mean() < 0.01
    assert 0 < on.sum() < n


@pytest.fixture(scope="module", name="still")
def _still():
    raw = (TESTS / "data" / "session_b.bin").read_bytes()
    layout = np.dtype([("t_ms", "<u4"), ("x", "<i2", 6), ("trigger", "u1")])
    x = np.ascontiguousarray(np.frombuffer(raw, layout)["x"])
    windows = np.lib.stride_tricks.sliding_window_view(x, 50, axis=0).transpose(0, 2, 1)
    return motion_energy(windows, 3) < Policy.stock().gate_energy


def golden():
    with gzip.open(TESTS / "data" / "golden" / "stock_predictions_b.csv.gz", "rt") as table:
        rows = list(csv.DictReader(table))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def test_the_gate_is_the_firmwares_on_every_row_of_a_recording(still):
    rows = golden()
    assert len(still) == len(rows["gyro_rms"]) == 23_951
    assert 100 < still.sum() < 10_000
    for name in ("p_lr", "p_mlp"):
        assert np.array_equal(np.where(still, 0, rows[name]), rows[f"{name}_gated"])


def test_motion_energy_of_the_largest_window_is_exact():
    windows = np.full((2, 1024, 6), -32768, np.int16)
    windows[1, :, 3:] = 32767
    expected = [3 * 1024 * 32768**2, 3 * 1024 * 32767**2]
    assert motion_energy(windows, 3).tolist() == motion_energy(windows, (3, 4, 5)).tolist() == expected


def test_gyro_triad():
    assert gyro_triad(("ax", "ay", "az", "gx", "gy", "gz")) == 3
    assert gyro_triad(("gx", "gy", "gz")) == 0
    assert gyro_triad(("gx", "gy", "mx", "gz")) is None
    assert gyro_triad(()) is None


@pytest.mark.parametrize("rate", [1, 2, 64, 122, 123, 737, 4095, 4096])
@pytest.mark.parametrize("level", [0, 1, 5, 16_384, ONE])
def test_an_envelope_arrives_where_the_probability_is(rate, level):
    policy = Policy(attack=rate, release=rate, on=ONE, off=1)
    ticks = 60 * 4096 // rate + 40
    up_and_back = [level] * ticks + [0] * ticks
    envelope = run_policy(policy, *regular(up_and_back)).envelope
    assert envelope[ticks - 1] == level << 3
    assert envelope[-1] == 0


def test_the_numbers_people_give_are_kept_and_told():
    policy = Policy.from_ms(on=0.62, off=0.31, rise_ms=55, fall_ms=330, gate=3.7, gate_scale=1 / 16.4, min_on_ms=120)
    assert policy.describe(1 / 16.4, "deg/s") == (
        "on at 0.62, off at 0.31, rises in 55 ms, falls in 331 ms, on for at least 120 ms, still below 3.7 deg/s, "
        "a probability counts for 250 ms"
    )
    assert (policy.gate_lsb, policy.min_on_us, policy.stale_us) == (61, 120_000, 250_000)
    assert Policy.stock().describe() == (
        "on at 0.50, off at 0.25, rises in 50 ms, falls in 328 ms, still below 60 counts, "
        "a probability counts for 250 ms"
    )
    at_once = Policy.from_ms(on=1, rise_ms=0, fall_ms=0)
    assert (at_once.attack, at_once.release, at_once.off) == (4096, 4096, ONE // 2)
    assert "rises at once, falls at once" in at_once.describe()
    # After one time constant, 63 % of the way.
    slow = Policy.from_ms(on=1, rise_ms=100, fall_ms=100, period_us=1000)
    reached = run_policy(slow, *regular([ONE] * 100, slow)).envelope[-1] / 2**18
    assert abs(reached - (1 - math.exp(-1))) < 0.01


@pytest.mark.parametrize("percent", [5, 6, 50, 95])
def test_stock_thresholds(percent):
    policy = Policy.stock(percent)
    assert policy.on == round(percent / 100 * ONE)
    assert policy.off == round(min(percent / 200, percent / 100 - 0.01) * ONE)


def test_stock_keeps_its_time_constants_at_another_rate():
    stock, half = Policy.stock(), Policy.stock(period_us=5000, window=100)
    assert abs(stock.rise_ms - half.rise_ms) < 0.1
    assert abs(stock.fall_ms - half.fall_ms) < 1
    assert half.gate_energy == 2 * stock.gate_energy


def test_new_models_of_shots_get_the_stock_policy_and_others_none():
    def default(channels=STINGER_CHANNELS, classes=("idle", "shot"), window=60, period_us=5000):
        return default_policy(channels, classes, window=window, period_us=period_us)

    assert default() == Policy.stock(window=60, period_us=5000)
    assert default(STINGER_CHANNELS[3:]).gyro == 0
    assert default(STINGER_CHANNELS[:3]) is None
    assert default(classes=("a", "b")) is None
    assert default(classes=("idle", "walk", "shot")) is None
    finer = tuple(replace(c, scale=1 / 32.8) if c.name == "gy" else c for c in STINGER_CHANNELS)
    assert default(finer) is None
    assert default(tuple(replace(c, unit="rad/s") for c in STINGER_CHANNELS)) is None


@pytest.mark.parametrize("percent", [4, 96, float("nan"), -50])
def test_the_blaster_has_no_such_threshold(percent):
    with pytest.raises(UsageError, match="5 to 95 percent"):
        Policy.stock(percent)


@given(policies())
def test_json_round_trip(policy):
    text = json.dumps(policy.to_json())
    assert Policy.from_json(json.loads(text)) == policy


@pytest.mark.parametrize("name", sorted(LIMITS))
@pytest.mark.parametrize("value", [-1, 10**10, 1.5, 100.0, "1", None, True, [], float("nan")])
def test_json_with_an_odd_value_is_refused(name, value):
    with pytest.raises(InputError, match=f"{name} must be a whole number from {LIMITS[name][0]} to {LIMITS[name][1]}"):
        Policy.from_json({**Policy.stock().to_json(), name: value})


@pytest.mark.parametrize("value", [None, [], 3, "on", {}, {"on": 1}, {**Policy.stock().to_json(), "more": 1}])
def test_json_that_is_no_policy_is_refused(value):
    with pytest.raises(InputError, match="exactly the fields attack, gate_lsb, "):
        Policy.from_json(value)


def test_off_above_on_is_refused():
    with pytest.raises(InputError, match=r"off \(300\) must not be above its on \(299\)"):
        replace(Policy.stock(), on=299, off=300)
    with pytest.raises(InputError, match="finite"):
        Policy.from_ms(on=0.5, rise_ms=float("nan"), fall_ms=1)
    with pytest.raises(InputError, match="on must be a whole number"):
        Policy.from_ms(on=1.5, rise_ms=1, fall_ms=1)


def test_a_policy_of_another_model_is_refused():
    shape = {"window": 50, "period_us": 10_000, "channels": 6, "classes": 2}
    Policy.stock().check_fits(**shape)
    for change, message in (
        ({"window": 49}, "window 50, this one has 49"),
        ({"period_us": 5000}, "period_us 10000, this one has 5000"),
        ({"channels": 5}, "channels up to 5, the model has 5"),
        ({"classes": 1}, "acts on class 1, the model has 1"),
    ):
        with pytest.raises(InputError, match=message):
            Policy.stock().check_fits(**{**shape, **change})
    replace(Policy.stock(), gate_lsb=0).check_fits(**{**shape, "channels": 1})


def test_streams_that_do_not_fit_together_are_refused():
    t_us, ready, probability, motion = regular([1, 2, 3])
    with pytest.raises(UsageError, match="per sample"):
        run_policy(Policy.stock(), t_us[1:], ready, probability, motion)
    with pytest.raises(UsageError, match="from 0 to 32768"):
        run_policy(Policy.stock(), t_us, ready, np.array([1, 2, ONE + 1], np.uint16), motion)
    with pytest.raises(UsageError, match="one sample period"):
        run_many([Policy.stock(), Policy.stock(period_us=1000)], t_us, ready, probability, motion)
    assert run_many([], t_us, ready, probability, motion).shape == (0, 3)
    assert run_policy(Policy.stock(), *regular([])).on.shape == (0,)


def test_probabilities_in_units():
    units = to_units(np.array([[0.0, 1.0], [0.5, 1e-9], [-0.1, 1.1]]))
    assert units.dtype == np.uint16
    assert units.tolist() == [[0, ONE], [ONE // 2, 0], [0, ONE]]
