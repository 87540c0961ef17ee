"""Cutting windows: what may be in one, what may not, and that nothing held out leaks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stinger.errors import InputError, UsageError
from stinger.sessions.read import read_sessions
from stinger.sessions.session import STINGER_CHANNELS, Session
from stinger.synth.shots import make_session
from stinger.windows.arrays import count_in_windows, motion_score, take_windows
from stinger.windows.cut import LabelledWindows, ShotWindows, cut, cut_labelled, cut_shots, find_shots
from stinger.windows.negatives import negative_candidates
from stinger.windows.split import choose_groups, choose_stratified, embargoed
from stinger.windows.store import data_hash

DATA = Path(__file__).parent.parent / "data"


@pytest.fixture(scope="module")
def golden():
    return read_sessions(DATA / "session_b.bin")[0]


def session(n=6000, shots=(), gaps=(), down=10, **fields):
    """A session of noise at 100 Hz with trigger pulls at the given samples and silences before others."""
    rng = np.random.default_rng(0)
    steps = np.full(n, 10_000, dtype=np.int64)
    steps[list(gaps)] = 500_000
    trigger = np.zeros(n, dtype=np.uint8)
    for shot in shots:
        trigger[shot : shot + down] = 1
    values = rng.integers(-3000, 3000, (n, 6)).astype(np.int16)
    return Session("made", np.cumsum(steps), values, STINGER_CHANNELS, 10_000, **{"trigger": trigger, **fields})


SHOTS = (500, 1100, 1700, 2300, 2900, 3500, 4100, 4700)


def test_positives_end_the_lead_before_their_shot():
    made = session(shots=SHOTS)
    dataset = cut_shots([made])
    assert dataset.classes == ("idle", "shot")
    assert dataset.windows.shape[1:] == (50, 6)
    assert dataset.lead_us == 100_000
    positive = dataset.labels == 1
    kept = set(dataset.start[positive].tolist())
    assert kept <= {shot - 60 for shot in SHOTS}
    assert len(kept) == len(SHOTS) - dataset.meta["refused"].get(
        "training window: shares samples with a held-out one", 0
    )


def test_every_window_is_a_piece_of_its_session(golden):
    dataset = cut_shots([golden])
    for i in range(0, len(dataset), 37):
        a = dataset.start[i]
        np.testing.assert_array_equal(dataset.windows[i], golden.samples[a : a + 50])


def test_shots_too_soon_after_another_are_not_shots():
    shots = find_shots(session(shots=(500, 590, 601, 700), down=5))
    assert shots.accepted.tolist() == [500, 601]
    assert shots.rejected.tolist() == [590, 700]
    assert len(find_shots(session(trigger=None)).accepted) == 0


def test_a_trigger_already_down_is_no_edge():
    assert find_shots(session(shots=(0, 500))).accepted.tolist() == [500]


@pytest.mark.parametrize(
    ("shots", "gaps", "reason"),
    [
        ((50, *SHOTS), (), "shot: window starts before the recording"),
        (SHOTS, (1080,), "shot: a gap before it"),
        (SHOTS, (1095,), "shot: a gap before it"),
        (SHOTS, (1100,), "shot: a gap before it"),
        ((1050, *SHOTS), (), None),
    ],
)
def test_refused_shots_are_counted_with_their_reason(shots, gaps, reason):
    refused = cut_shots([session(shots=sorted(shots), gaps=gaps)]).meta["refused"]
    assert {k: v for k, v in refused.items() if k.startswith("shot:")} == ({reason: 1} if reason else {})


def test_a_pull_inside_the_window_refuses_the_shot():
    made = session(shots=(*SHOTS, 5000), down=60)
    made.trigger[5060:5070] = 0
    made.trigger[5103:5113] = 1
    refused = cut_shots([made]).meta["refused"]
    assert refused["shot: trigger down inside the window"] == 1


def test_no_golden_window_crosses_a_gap_or_holds_a_trigger_or_a_forbidden_sample(golden):
    dataset = cut_shots([golden])
    edges = np.flatnonzero(np.diff(golden.trigger.astype(int)) == 1) + 1
    gap = np.flatnonzero(golden.gap_before)
    assert len(dataset) > 300
    for label, a in zip(dataset.labels.tolist(), dataset.start.tolist(), strict=True):
        b = a + 50
        assert not ((gap > a) & (gap < b)).any()
        assert not golden.trigger[a:b].any()
        if label == 0:
            t = golden.t_us[a:b, None] - golden.t_us[edges]
            assert not ((t >= -600_000) & (t <= 1_000_000)).any()


def test_negatives_keep_their_distance_and_their_number(golden):
    dataset = cut_shots([golden], ShotWindows(negatives_per_positive=3, min_separation_ms=250))
    negative = dataset.labels == 0
    ends = np.sort(golden.t_us[dataset.start[negative] + 49])
    assert np.diff(ends).min() >= 250_000
    positives = 60 - dataset.meta["refused"]["shot: trigger down inside the window"]
    dropped = dataset.meta["refused"].get("training window: shares samples with a held-out one", 0)
    assert len(dataset) + dropped == positives * 4


def test_near_negatives_end_shortly_before_a_positive_begins(golden):
    spec = ShotWindows(near_share=1.0, moving_share=0.0, negatives_per_positive=2, near_ms=(0, 2000))
    dataset = cut_shots([golden], spec)
    starts = golden.t_us[find_shots(golden).accepted - 60]
    ends = golden.t_us[dataset.start[dataset.labels == 0] + 49]
    before = starts[None, :] - ends[:, None]
    near = ((before >= 0) & (before <= 2_000_000)).any(axis=1)
    assert near.mean() == 1.0


def test_moving_negatives_are_not_the_stillest(golden):
    spec = ShotWindows(near_share=0.0, moving_share=1.0, still_quantile=0.5, negatives_per_positive=4)
    dataset = cut_shots([golden], spec)
    everywhere = motion_score(golden, negative_candidates(golden, spec, 50, 10), 50)
    chosen = motion_score(golden, dataset.start[dataset.labels == 0], 50)
    assert chosen.min() >= np.quantile(everywhere, 0.5)


def test_a_group_is_the_nearest_shot_through_all_sessions(golden):
    made = make_session(5)[0]
    dataset = cut_shots([golden, made])
    first = [0, len(find_shots(golden).accepted)]
    for i in range(0, len(dataset), 29):
        which = dataset.session[i]
        source = (golden, made)[which]
        accepted = source.t_us[find_shots(source).accepted]
        event = source.t_us[dataset.start[i] + (60 if dataset.labels[i] else 50)]
        assert dataset.groups[i] == first[which] + np.abs(accepted - event).argmin()
    assert set(np.unique(dataset.session)) == {0, 1}
    assert len(np.unique(dataset.groups)) <= first[1] + len(find_shots(made).accepted)


def overlap(dataset):
    """Pairs (training, held out) of one session that share a sample."""
    same = dataset.session[:, None] == dataset.session[None, :]
    near = np.abs(dataset.start[:, None] - dataset.start[None, :]) < dataset.window
    return (same & near)[np.ix_(~dataset.held_out, dataset.held_out)].sum()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 20), st.sampled_from([10, 100, 400]))
def test_nothing_held_out_shares_a_sample_with_training(seed, mult, apart):
    made = make_session(seed % 7, 1.5)[0]
    spec = ShotWindows(seed=seed, negatives_per_positive=mult, min_separation_ms=apart)
    dataset = cut_shots([made], spec)
    assert overlap(dataset) == 0
    assert not set(dataset.groups[dataset.held_out]) & set(dataset.groups[~dataset.held_out])
    for held_out in (False, True):
        assert set(dataset.labels[dataset.held_out == held_out]) == {0, 1}


def test_about_a_quarter_of_the_shots_is_held_out(golden):
    dataset = cut([golden])
    shots = dataset.labels == 1
    assert 0.2 <= dataset.held_out[shots].mean() <= 0.3


def test_the_same_seed_cuts_the_same_and_another_differently(golden):
    assert data_hash(cut([golden], seed=3)) == data_hash(cut([golden], seed=3))
    assert data_hash(cut([golden], seed=3)) != data_hash(cut([golden], seed=4))


def test_a_default_synthetic_session_gives_hundreds_of_windows():
    for seed in (1, 2):
        dataset = cut([make_session(seed)[0]])
        assert len(dataset) > 350
        assert (dataset.labels == 1).sum() >= 30


def test_what_cannot_be_learned_from_is_refused():
    with pytest.raises(InputError, match=r"made: no shots in 6000 samples; record"):
        cut([session()])
    with pytest.raises(InputError, match="2 usable of 2 shots, at least 4"):
        cut([session(shots=(500, 1100))])
    with pytest.raises(InputError, match="no training windows of class 'idle'"):
        cut([session(n=800, shots=range(70, 800, 140), down=3)])
    with pytest.raises(InputError, match="neither a label nor a trigger"):
        cut([session(trigger=None)])
    with pytest.raises(InputError, match="at least one"):
        cut([])
    with pytest.raises(InputError, match="separately"):
        cut([session(shots=SHOTS), session(trigger=None, label="x")])
    with pytest.raises(InputError, match="sample period"):
        cut([session(shots=SHOTS), replace(session(shots=SHOTS), period_us=20_000)])
    other = session(shots=SHOTS)
    with pytest.raises(InputError, match="other channels"):
        cut([other, replace(other, samples=other.samples[:, :3].copy(), channels=STINGER_CHANNELS[:3])])


@pytest.mark.parametrize(
    "wrong",
    [{"window_ms": 0}, {"lead_ms": -1}, {"negatives_per_positive": 0}, {"near_share": 0.8}, {"held_out": 1.0}],
)
def test_impossible_shot_rules_are_usage_errors(wrong):
    with pytest.raises(UsageError):
        ShotWindows(**wrong)


def test_windows_of_the_real_export():
    sessions = read_sessions(DATA / "nicla_motion_edge_impulse_export.zip")
    dataset = cut(sessions)
    assert dataset.classes == ("Idle", "Lift", "Maritime", "Terrestrial")
    assert dataset.windows.shape == (864, 59, 6)
    assert np.bincount(dataset.labels).tolist() == [216] * 4
    assert dataset.lead_us == 0
    assert dataset.meta["refused"] == {"recording: no label": 6}
    assert dataset.meta["parameters"]["split"] == "export"
    for i in range(0, 864, 71):
        source = sessions[dataset.session[i]]
        assert dataset.held_out[i] == (source.split == "test")
        assert dataset.classes[dataset.labels[i]] == source.label
        np.testing.assert_array_equal(dataset.windows[i], source.samples[dataset.start[i] : dataset.start[i] + 59])
    assert not set(dataset.groups[dataset.held_out]) & set(dataset.groups[~dataset.held_out])


def labelled(label, n=500, split=None, gaps=()):
    return session(n, gaps=gaps, trigger=None, label=label, split=split)


def test_labelled_windows_stay_inside_stretches_and_step_by_the_stride():
    a = labelled("a", gaps=(250, 300))
    dataset = cut_labelled([a, labelled("a"), labelled("b"), labelled("b")], LabelledWindows(stride=0.25))
    assert dataset.start[dataset.session == 0].tolist() == [0, 25, 50, 75, 100, 125, 150, 300, 325, 350, 375, 400]
    assert dataset.meta["refused"] == {"stretch: shorter than a window": 1}
    assert dataset.meta["parameters"]["split"] == "recording"
    for label in (0, 1):
        mine = dataset.labels == label
        assert len(np.unique(dataset.groups[mine & dataset.held_out])) == 1
        assert len(np.unique(dataset.groups[mine & ~dataset.held_out])) == 1


def test_labelled_recordings_that_cannot_be_split_are_refused():
    with pytest.raises(InputError, match="1 labels in 2 recordings"):
        cut([labelled("a"), labelled("a")])
    with pytest.raises(InputError, match=r"class 'b' has no recording to hold out \(1 in all\)"):
        cut([labelled("a"), labelled("a"), labelled("b")])
    with pytest.raises(InputError, match=r"class 'b' has no recording to train on \(all in testing/\)"):
        cut([labelled("a", split="train"), labelled("a", split="test"), labelled("b", split="test")])
    with pytest.raises(InputError, match=r"0 labels in 2 recordings \(none\)"):
        cut([labelled("a", n=50), labelled("b", n=50)])
    with pytest.raises(UsageError, match="1024"):
        cut_labelled([labelled("a")], LabelledWindows(window_ms=60_000))


def test_counting_and_taking_windows_agree_with_loops():
    rng = np.random.default_rng(1)
    mark = rng.random(200) < 0.1
    start = np.array([0, 3, 150, 190])
    assert count_in_windows(mark, start, 10).tolist() == [mark[a : a + 10].sum() for a in start]
    values = rng.integers(-100, 100, (200, 6)).astype(np.int16)
    taken = take_windows(values, start, 10)
    assert taken.flags.c_contiguous
    for i, a in enumerate(start):
        np.testing.assert_array_equal(taken[i], values[a : a + 10])
    assert take_windows(values[:5], np.empty(0, dtype=np.int64), 10).shape == (0, 10, 6)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1), st.floats(0.01, 0.99), st.integers(0, 99))
def test_some_groups_are_chosen_but_never_all(groups, fraction, seed):
    known = np.unique(groups)
    chosen = choose_groups(np.array(groups), fraction, np.random.default_rng(seed))
    assert set(chosen) <= set(known)
    assert len(chosen) == (0 if len(known) < 2 else min(max(1, round(fraction * len(known))), len(known) - 1))


def test_stratified_choice_takes_from_every_label():
    labels = ["a"] * 8 + ["b"] * 4 + ["c"]
    held_out = choose_stratified(labels, 0.25, np.random.default_rng(0))
    assert [int(held_out[np.array(labels) == name].sum()) for name in "abc"] == [2, 1, 0]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 300), st.booleans()), min_size=1, max_size=40))
def test_the_embargo_marks_exactly_the_overlapping(windows):
    which, start, held_out = (np.array(column) for column in zip(*windows, strict=True))
    marked = embargoed(which, start, 50, held_out)
    for i in range(len(windows)):
        touches = (which == which[i]) & held_out & (np.abs(start - start[i]) < 50)
        assert marked[i] == (not held_out[i] and touches.any())
