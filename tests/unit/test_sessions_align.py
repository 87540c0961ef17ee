"""Sensors of a phone on one clock: between readings a straight line, across a pause nothing."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stinger.errors import InputError, UsageError
from stinger.sessions.align import align
from stinger.sessions.options import ReadOptions
from stinger.sessions.phone_log import parse_phone_log
from stinger.sessions.session import Event

KINDS = {"MAG_AUTOCAL": 16.0, "ACCEL_AUTOCAL": 2048.0, "GYRO_AUTOCAL": 16.4 * 180 / np.pi}


def sessions(seconds=4.0, pause=None, kinds=tuple(KINDS), seed=0):
    """Each sensor at its own uneven moments; its x is the time in s, y the square of it, z 0.5."""
    rng = np.random.default_rng(seed)
    data = []
    for number, kind in enumerate(kinds):
        steps = rng.integers(9_000, 11_000, round(seconds * 100))
        for ts in (1_000_000 + 3000 * number + np.cumsum(steps)).tolist():
            if pause is None or not pause[0] <= ts / 1e6 < pause[1]:
                t = ts / 1e6
                data.append({"ts": ts, "type": kind, "values": [t, t * t / 4, 0.5]})
    return parse_phone_log(json.dumps({"userLabel": "2", "data": data}).encode(), "log.json", ReadOptions())


def test_nine_channels_on_one_clock():
    parts = sessions()
    session = align(parts, 50)
    assert [c.name for c in session.channels] == ["mx", "my", "mz", "ax", "ay", "az", "gx", "gy", "gz"]
    assert session.channels[:3] == parts[0].channels
    assert (session.name, session.label, session.period_us) == ("log.json", "high", 20_000)
    assert session.events[0].label == "high"
    np.testing.assert_array_equal(np.diff(session.t_us), 20_000)
    assert session.t_us[0] == max(part.t_us[0] for part in parts)
    assert session.t_us[-1] + 20_000 > min(part.t_us[-1] for part in parts)
    t = session.t_us / 1e6
    physical = session.samples * np.array([c.scale for c in session.channels])
    for first, count in zip((0, 3, 6), KINDS.values(), strict=True):
        # A count is half of it rounding, the readings' own rounding the other half.
        np.testing.assert_allclose(physical[:, first], t, atol=1.01 / count)
        np.testing.assert_allclose(physical[:, first + 1], t * t / 4, atol=1.01 / count + 1e-4)
        np.testing.assert_allclose(physical[:, first + 2], 0.5, atol=0.51 / count)


def test_a_pause_stays_a_gap():
    session = align(sessions(pause=(2.0, 3.0)), 100)
    inside = (session.t_us > 2_012_000) & (session.t_us < 2_988_000)
    assert not inside.any()
    assert session.gap_before.sum() == 2
    assert 280 < len(session) < 305


@settings(max_examples=50, deadline=None)
@given(st.floats(1, 10_000), st.integers(0, 9))
def test_any_rate_is_kept(rate, seed):
    session = align(sessions(2.0, seed=seed), rate)
    assert session.period_us == round(1e6 / rate)
    assert not session.gap_before[1:].any()


def test_what_cannot_be_put_on_one_clock():
    with pytest.raises(UsageError, match="--rate must be 1 to 10000 Hz, is 0"):
        align(sessions(), 0)
    with pytest.raises(InputError, match=r"log\.json: no gyro_raw in it, all of mag_raw, acc_raw, gyro_raw"):
        align(sessions(kinds=("MAG_AUTOCAL", "ACCEL_AUTOCAL")), 50)
    apart = sessions()
    apart = [apart[0], *(type(s)(**{**s.__dict__, "t_us": s.t_us + 10**8}) for s in apart[1:])]
    with pytest.raises(InputError, match="never ran together"):
        align(apart, 50)
    with pytest.raises(InputError, match="never ran together"):
        align(sessions(pause=(0.0, 4.9)), 1)


def test_labels_are_those_of_the_log():
    (event,) = align(sessions(), 100).events
    assert event == Event(event.start_us, event.end_us, "high")
