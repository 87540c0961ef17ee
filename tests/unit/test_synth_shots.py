"""Synthetic sessions: the same for a seed, physically sensible, and honest about what happened."""

import hashlib

import numpy as np
import pytest

from stinger.errors import UsageError
from stinger.sessions.read import read_sessions
from stinger.sessions.session import STINGER_CHANNELS
from stinger.sessions.stinger_log import write_bin
from stinger.synth import motion
from stinger.synth.logger import paused, record
from stinger.synth.shots import make_session


@pytest.fixture(scope="module")
def made():
    return make_session(1)


def digest(session):
    return hashlib.sha256(session.t_us.tobytes() + session.samples.tobytes() + session.trigger.tobytes()).hexdigest()


def test_a_seed_gives_the_same_bytes_and_another_does_not(made):
    assert digest(make_session(1)[0]) == digest(made[0])
    assert make_session(1)[1] == made[1]
    assert digest(make_session(2)[0]) != digest(made[0])


def test_shape_rate_and_triggers_of_a_default_session(made):
    session, truth = made
    assert len(session) == 24_000
    assert session.channels == STINGER_CHANNELS
    assert session.period_us == 10_000
    steps = np.diff(session.t_us) // 1000
    inside = steps[~session.gap_before[1:]]
    assert set(np.unique(inside)) == {9, 10, 11}
    assert 0.7 < (inside == 10).mean() < 0.8
    edges = (np.diff(session.trigger.astype(int)) == 1).sum()
    assert 40 <= edges <= 65
    assert edges <= len(truth.shots_us) <= edges + 3
    pauses = steps[steps > 1000]
    assert 3 <= len(pauses) <= 20
    assert pauses.max() < 20_000


def test_it_survives_the_loggers_own_format(made, tmp_path):
    write_bin(made[0], tmp_path / "s.bin")
    again = read_sessions(tmp_path / "s.bin")[0]
    assert digest(again) == digest(made[0])


def test_truth_and_trigger_tell_the_same(made):
    session, truth = made
    pulled = session.t_us[1:][np.diff(session.trigger.astype(int)) == 1]
    assert set(pulled.tolist()) <= set(truth.shots_us)
    assert [s.stop_us for s in truth.activities[:-1]] == [s.start_us for s in truth.activities[1:]]
    assert {s.activity for s in truth.activities} == {
        "rest", "handle", "walk", "run", "raise", "hold", "shoot", "lower",
    }  # fmt: skip
    shoots = [s.start_us for s in truth.activities if s.activity == "shoot"]
    assert shoots == list(truth.shots_us)
    fired = [aim for aim in truth.aims if aim.fired]
    assert all(aim.stop_us in truth.shots_us for aim in fired)
    # Most shots are aimed, and some aiming ends without one: neither alone would make the task honest.
    assert len(fired) >= 0.5 * len(truth.shots_us)
    assert len(truth.aims) > len(fired)


def over(session, stretches, column):
    chosen = [
        np.abs(session.samples[(session.t_us >= s.start_us) & (session.t_us < s.stop_us)][:, column].astype(float))
        for s in stretches
    ]
    return np.concatenate(chosen)


def test_activities_move_as_they_should(made):
    session, truth = made
    of = {name: [s for s in truth.activities if s.activity == name] for name in ("rest", "hold", "run", "shoot")}
    rotation = {name: np.median(over(session, of[name], 4)) for name in of}
    assert rotation["rest"] < rotation["hold"] < rotation["run"]
    assert over(session, of["rest"], slice(3, 6)).max() <= 45
    # The recoil saturates now and then, nothing else comes near it.
    assert over(session, of["shoot"], 0).max() >= 30_000
    assert over(session, of["hold"], 0).max() < 6_000


def test_gravity_lies_where_the_axes_say():
    level = motion.still(np.zeros(3), 1.0)
    np.testing.assert_allclose(motion.sense(level)[0], np.tile([0, 0, -1], (100, 1)), atol=1e-12)
    muzzle_up = motion.still(np.array([0.0, 90.0, 0.0]), 1.0)
    np.testing.assert_allclose(motion.sense(muzzle_up)[0][0], [1, 0, 0], atol=1e-12)
    right_side_down = motion.still(np.array([90.0, 0.0, 0.0]), 1.0)
    np.testing.assert_allclose(motion.sense(right_side_down)[0][0], [0, -1, 0], atol=1e-12)


def test_rates_are_the_derivative_of_the_pose():
    rng = np.random.default_rng(1)
    turn = motion.move(rng, np.zeros(3), np.array([0.0, 0.0, 90.0]), 1.0)
    rates = motion.sense(turn)[1]
    np.testing.assert_allclose(rates.sum(axis=0) / 100, [0, 0, 90], atol=1.0)


def test_the_stillness_rule():
    quiet = np.zeros((400, 6), dtype=np.int16)
    nothing = np.zeros(400, dtype=bool)
    assert np.flatnonzero(paused(quiet, nothing))[0] == 150
    moving = quiet.copy()
    moving[300:, 4] = 46
    out = paused(moving, nothing)
    assert out[150:310].all()
    assert not out[310:].any()
    # Nine lively samples are not enough to wake it, a trigger is.
    short = quiet.copy()
    short[300:309, 4] = 46
    assert paused(short, nothing)[150:].all()
    trigger = nothing.copy()
    trigger[200] = True
    woken = paused(quiet, trigger)
    assert woken[199]
    assert not woken[200:351].any()
    assert woken[351:].all()


def test_the_logger_stops_when_enough_is_recorded():
    rng = np.random.default_rng(3)
    log = record(rng, rng.integers(-999, 999, (5000, 6)).astype(np.int16), np.zeros(5000, dtype=bool), 1000)
    assert len(log.kept) == 1000
    assert (np.diff(log.t_us) >= 9000).all()


@pytest.mark.parametrize(("seed", "minutes"), [(1, 0), (1, -1), (1, 121), (1, float("nan")), (-1, 4)])
def test_impossible_wishes_are_usage_errors(seed, minutes):
    with pytest.raises(UsageError):
        make_session(seed, minutes)


def test_short_sessions_have_the_asked_length():
    for seed in range(5):
        assert len(make_session(seed, 0.2)[0]) == 1200
