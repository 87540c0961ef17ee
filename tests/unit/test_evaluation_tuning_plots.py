"""Pictures of policies: drawn whatever the recording is like, the same bytes for the same figures."""

import numpy as np
import pytest

from stinger.errors import UsageError
from stinger.evaluation.streaming import Figures, ground
from stinger.evaluation.tuning import Recording
from stinger.models.policy import ONE, Policy, run_policy
from stinger.plots.streaming import _MOST_ROWS, Behaviour, _rows, plot_leads, plot_timeline, plot_trade_off

PERIOD = 10_000


def made(n, *, shots=(), pauses=()):
    t_us = np.arange(n, dtype=np.int64) * PERIOD
    for at, length_s in pauses:
        t_us[at:] += round(length_s * 1e6)
    ready = np.arange(n) >= 49
    p = np.where(ready, (ONE * (0.5 + 0.5 * np.sin(np.arange(n) / 40))).astype(np.int64), 0).astype(np.uint16)
    motion = np.full(n, 10**8, dtype=np.int64)
    return Recording("made", t_us, ready, p, motion, ground(t_us, ready, np.array(shots, dtype=np.int64), PERIOD))


def behaviours(recording, *policies):
    r = recording
    traces = [run_policy(policy, r.t_us, r.ready, r.probability, r.motion) for policy in policies]
    pairs = zip(policies, traces, strict=True)
    return {f"policy {i}": Behaviour(policy, trace) for i, (policy, trace) in enumerate(pairs)}


@pytest.mark.parametrize(
    "recording",
    [made(3000, shots=[20, 800, 1500], pauses=[(700, 3), (1490, 4)]), made(2), made(600)],
    ids=["shots and gaps", "two samples", "no shots"],
)
def test_timelines_are_drawn_and_repeat(recording, tmp_path):
    shown = behaviours(recording, Policy.stock(), Policy.stock(80))
    for name in ("a.png", "b.png"):
        plot_timeline(recording, shown, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_rows_are_few_and_hold_every_sample():
    for seconds in (np.arange(0, 15, 0.01), np.arange(0, 7200, 0.5), np.array([0.0, 1e5, 2e5]), np.arange(0, 1e6, 9e3)):
        length, rows = _rows(seconds)
        assert len(rows) <= _MOST_ROWS
        held = [((seconds >= low) & (seconds < low + length)).sum() for low in rows]
        assert sum(held) == len(seconds)
        assert min(held) > 0


def test_lead_times_and_trade_offs_are_drawn(tmp_path):
    plot_leads({"stock": [120_000, 300_000, 9_000_000], "stored": []}, 5, tmp_path / "leads.png")
    few, many = (Figures(10, 0, hits, 0, ups, 60_000_000, 10**6, (200_000,) * hits) for hits, ups in ((4, 1), (9, 7)))
    plot_trade_off({5: many, 50: few}, [few, many], few, tmp_path / "trade.png", budget=2.0)
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in ("leads.png", "trade.png"))


def test_nothing_to_draw_is_said(tmp_path):
    one = made(600)
    with pytest.raises(UsageError, match="at least one policy"):
        plot_timeline(one, {}, tmp_path / "x.png")
    with pytest.raises(UsageError, match="at least one policy"):
        plot_leads({}, 0, tmp_path / "x.png")
    with pytest.raises(UsageError, match="a trade-off needs"):
        plot_trade_off({}, [], Figures(0, 0, 0, 0, 0, 0, 0, ()), tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()
