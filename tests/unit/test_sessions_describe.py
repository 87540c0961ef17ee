"""The numbers that describe recordings."""

import numpy as np

from stinger.sessions.describe import DAMAGE, clipped_of, damage_of, describe, describe_all, gaps_of
from stinger.sessions.session import Channel, Event, Session

CHANNELS = (Channel("ax", "g", 0.5), Channel("gx", "deg/s", 2.0))


def session(t_ms, samples=None, **fields):
    t_us = np.array(t_ms, dtype=np.int64) * 1000
    counts = np.zeros((len(t_us), 2), np.int16) if samples is None else np.array(samples, np.int16)
    return Session(fields.pop("name", "s"), t_us, counts, CHANNELS, 10_000, **fields)


def test_gaps_count_what_is_missing():
    # 10 ms, then 30 ms (20 missing), 10, then 0 (a break without missing time), 10, 100 (90 missing)
    gaps = gaps_of(session([0, 10, 40, 50, 50, 60, 160]))
    assert (gaps.count, gaps.total_s, gaps.longest_s) == (3, 0.11, 0.1)
    none = gaps_of(session([0, 10, 21, 30]))
    assert (none.count, none.total_s, none.longest_s) == (0, 0.0, 0.0)


def test_clipping_counts_samples_at_the_limits():
    clipped = clipped_of(session([0, 10, 20], [[32767, 0], [-32768, 32766], [5, -32768]]))
    assert clipped == {"ax": 2, "gx": 1}


def test_a_description_is_plain_and_complete():
    described = describe(
        session(
            [100, 110, 120, 150],
            [[2, -3], [0, 0], [-4, 0], [1, 7]],
            trigger=np.array([0, 1, 0, 1], np.uint8),
            label="walk",
            subject="ann",
            events=(Event(0, 1, "a"), Event(2, 3, "a"), Event(4, 5, "b", "prediction")),
            faults=(f"{DAMAGE}17 bytes lost", "ax: 3 of 4 values clipped to int16"),
        )
    )
    assert described["rate_hz"] == 100
    assert described["start_s"] == 0.1
    assert described["duration_s"] == 0.05
    assert described["gaps"] == {"count": 1, "total_s": 0.02, "longest_s": 0.03}
    assert described["channels"][0] == {"name": "ax", "unit": "g", "scale": 0.5, "min": -2, "max": 1, "clipped": 0}
    assert described["channels"][1]["max"] == 14
    assert described["trigger"] == {"rising_edges": 2, "samples_down": 2}
    assert described["events"] == {"label a": 2, "prediction b": 1}
    assert described["damaged"] is True


def test_a_collection_is_summed_by_label_and_subject():
    sessions = [
        session([0, 10], name="a", label="walk", subject="2"),
        session([0, 10, 20], name="b", label="run", subject="1"),
        session([0, 50], name="c", label="walk", subject="1"),
        session([0, 10], name="d"),
    ]
    described = describe_all(iter(sessions))
    assert list(described["labels"]) == ["run", "walk", ""]
    assert described["labels"]["walk"] == {
        "recordings": 2, "samples": 4, "duration_s": 0.06, "gaps": 1, "clipped": 0, "faults": 0,
    }  # fmt: skip
    assert {name: group["recordings"] for name, group in described["subjects"].items()} == {"1": 2, "2": 1, "": 1}
    assert described["totals"]["samples"] == 9
    assert describe_all(sessions[3:])["labels"] == {}


def test_only_damage_is_damage():
    hurt = session([0, 10], name="x.bin", faults=("ax: 1 of 2 values clipped to int16", f"{DAMAGE}5 bytes lost"))
    assert damage_of([hurt, session([0, 10])]) == ["x.bin: 5 bytes lost"]
