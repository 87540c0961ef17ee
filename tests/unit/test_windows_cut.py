"""Cutting windows: what may be in one, what may not, and that nothing held out leaks."""

import pickle
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stinger.errors import InputError, UsageError
from stinger.sessions.read import read_sessions
from stinger.sessions.session import STINGER_CHANNELS, Channel, Event, Session
from stinger.synth.shots import make_session
from stinger.windows.arrays import count_in_windows, motion_score, take_windows
from stinger.windows.cut import cut
from stinger.windows.explore import assemble, cut_session
from stinger.windows.shot_rules import find_shots
from stinger.windows.spec import PRESETS, STRATEGIES, ExploreSpec, preset
from stinger.windows.store import data_hash

DATA = Path(__file__).parent.parent / "data"


@pytest.fixture(scope="module")
def golden():
    return read_sessions(DATA / "session_b.bin")[0]


_NUMBERS = count()


def session(n=6000, shots=(), gaps=(), down=10, **fields):
    """A session of noise at 100 Hz with trigger pulls at the given samples and silences before others."""
    # No two alike: a recording that is given twice counts as one.
    rng = np.random.default_rng(next(_NUMBERS))
    steps = np.full(n, 10_000, dtype=np.int64)
    steps[list(gaps)] = 500_000
    trigger = np.zeros(n, dtype=np.uint8)
    for shot in shots:
        trigger[shot : shot + down] = 1
    values = rng.integers(-3000, 3000, (n, 6)).astype(np.int16)
    return Session("made", np.cumsum(steps), values, STINGER_CHANNELS, 10_000, **{"trigger": trigger, **fields})


SHOTS = (500, 1100, 1700, 2300, 2900, 3500, 4100, 4700)


def refused_shots(made, **changes):
    refused = cut_session(made, ExploreSpec(**changes)).refused
    return {reason: count for reason, count in refused.items() if reason.startswith("shot:")}


def whole(sessions, spec=None):
    """All windows, the embargoed too."""
    spec = spec or ExploreSpec()
    return assemble([cut_session(one, spec) for one in sessions], spec)


def test_positives_end_the_lead_before_their_shot():
    dataset = whole([session(shots=SHOTS)])
    assert dataset.classes == ("idle", "shot")
    assert dataset.windows.shape[1:] == (50, 6)
    assert dataset.lead_us == 100_000
    assert dataset.start[dataset.labels == 1].tolist() == [shot - 60 for shot in SHOTS]
    assert (dataset.labels == 0).sum() == len(SHOTS)


def test_window_and_lead_can_be_any():
    dataset = whole([session(shots=SHOTS)], ExploreSpec(window_ms=310, lead_ms=250))
    assert dataset.window == 31
    assert dataset.lead_us == 250_000
    assert dataset.start[dataset.labels == 1].tolist() == [shot - 25 - 31 for shot in SHOTS]


def test_every_window_is_a_piece_of_its_session(golden):
    dataset = cut([golden])
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
    assert refused_shots(session(shots=sorted(shots), gaps=gaps)) == ({reason: 1} if reason else {})


def test_a_pull_inside_the_window_refuses_the_shot():
    made = session(shots=(*SHOTS, 5000), down=60)
    made.trigger[5060:5070] = 0
    made.trigger[5103:5113] = 1
    assert refused_shots(made) == {"shot: trigger down inside the window": 1}
    assert refused_shots(made, gap_policy="reference") == {}
    fates = [shot.fate for shot in cut_session(made, ExploreSpec()).shots]
    assert fates == ["used"] * 9 + ["trigger down inside the window"]


def test_no_golden_window_crosses_a_gap_or_holds_a_trigger_or_a_forbidden_sample(golden):
    assert_strict(golden, cut_session(golden, preset("personal")), preset("personal"))
    assert len(cut([golden])) > 300


def assert_strict(made, one, spec):
    """The three promises of strict mode, checked sample by sample."""
    edges = np.flatnonzero(np.diff(made.trigger.astype(int)) == 1) + 1
    if spec.neg_avoid_edges == "accepted":
        edges = find_shots(made, spec.min_shot_gap_ms).accepted
    gap = np.flatnonzero(made.gap_before)
    accepted = set(find_shots(made, spec.min_shot_gap_ms).accepted.tolist())
    before = (spec.lead_ms + spec.shot_window_ms) * 1000
    for label, a in zip(one.labels.tolist(), one.start.tolist(), strict=True):
        b = a + one.window
        assert 0 <= a < b <= len(made)
        assert not ((gap > a) & (gap < b)).any()
        assert not made.trigger[a:b].any()
        np.testing.assert_array_equal(made.samples[a:b], one.windows[one.start.tolist().index(a)])
        if label == 1:
            assert b + one.lead in accepted
            assert not ((gap > a) & (gap <= b + one.lead)).any()
        else:
            t = made.t_us[a:b, None] - made.t_us[edges]
            assert not ((t >= -before) & (t <= spec.neg_avoid_post_ms * 1000)).any()


@st.composite
def recordings(draw):
    n = draw(st.integers(1, 1500))
    place = st.lists(st.integers(0, n - 1), max_size=8)
    steps = np.full(n, draw(st.sampled_from([5_000, 10_000, 16_950])), dtype=np.int64)
    period = int(steps[0])
    for gap in draw(place):
        steps[gap] = draw(st.integers(1, 3_000_000))
    trigger = np.zeros(n, dtype=np.uint8)
    for pull in draw(place):
        trigger[pull : pull + draw(st.integers(1, 80))] = 1
    samples = np.random.default_rng(n).integers(-32768, 32768, (n, 6)).astype(np.int16)
    return Session("any", np.cumsum(steps), samples, STINGER_CHANNELS, period, trigger=trigger)


SPECS = st.builds(
    ExploreSpec,
    window_ms=st.sampled_from([None, 20, 333]),
    lead_ms=st.sampled_from([0, 35, 100]),
    min_shot_gap_ms=st.sampled_from([0, 400, 1000]),
    neg_strategy=st.sampled_from(STRATEGIES),
    neg_mult=st.integers(1, 9),
    neg_min_motion_quantile=st.sampled_from([0.0, 0.3, 1.0]),
    neg_match_pos_motion=st.booleans(),
    neg_min_sep_ms=st.sampled_from([0, 50, 250]),
    neg_with_replacement=st.booleans(),
    neg_near_min_ms=st.sampled_from([0, 200]),
    neg_avoid_post_ms=st.sampled_from([0, 300, 1000]),
    neg_avoid_edges=st.sampled_from(["all", "accepted"]),
    seed=st.integers(0, 9),
)


@settings(max_examples=200, deadline=None)
@given(recordings(), SPECS)
def test_strict_keeps_its_promises_whatever_the_recording_and_the_flags(made, spec):
    one = cut_session(made, spec)
    assert_strict(made, one, spec)
    used = sum(shot.fate == "used" for shot in one.shots)
    assert (one.labels == 1).sum() == used
    assert (one.labels == 0).sum() <= spec.neg_mult * used
    missing = spec.neg_mult * used - (one.labels == 0).sum()
    assert one.refused["idle: fewer than wanted"] == missing
    assert sum(n for reason, n in one.refused.items() if reason.startswith("shot:")) == len(one.shots) - used
    if spec.neg_strategy != "near":
        ends = np.sort(made.t_us[one.start[one.labels == 0] + one.window])
        assert not len(ends) or np.diff(ends).min(initial=1 << 60) >= spec.neg_min_sep_ms * 1000
    assert len(set(one.start.tolist())) == len(one.start)


@settings(max_examples=60, deadline=None)
@given(recordings(), SPECS)
def test_cutting_is_repeatable_and_what_it_gives_travels(made, spec):
    one, again = cut_session(made, spec), pickle.loads(pickle.dumps(cut_session(made, spec, 5)))  # noqa: S301  # our own
    np.testing.assert_array_equal(one.windows, again.windows)
    np.testing.assert_array_equal(one.start, again.start)
    assert one.refused == again.refused
    assert one.facts == again.facts


@settings(max_examples=60, deadline=None)
@given(recordings(), SPECS)
def test_reference_mode_takes_any_recording(made, spec):
    one = cut_session(made, replace(spec, gap_policy="reference"))
    assert len(one.windows) == len(one.labels) == len(one.start)
    assert not (one.start < 0).any()
    assert (one.start + one.window <= len(made)).all()


def test_negatives_keep_their_distance_and_their_number(golden):
    one = cut_session(golden, preset("personal", neg_mult=3, neg_min_sep_ms=250))
    ends = np.sort(golden.t_us[one.start[one.labels == 0] + 50])
    assert np.diff(ends).min() >= 250_000
    assert (one.labels == 0).sum() == 3 * (one.labels == 1).sum()


def before_a_positive(golden, one):
    """For each negative: does it end in the near band before some positive?"""
    starts = golden.t_us[find_shots(golden).accepted - 60]
    ends = golden.t_us[one.start[one.labels == 0] + 50]
    before = starts[None, :] - ends[:, None]
    return ((before >= 0) & (before <= 2_000_000)).any(axis=1)


@pytest.mark.parametrize("strategy", ["near", "blend"])
def test_near_negatives_end_shortly_before_a_positive_begins(golden, strategy):
    changes = {"neg_mixed_near_frac": 1.0, "neg_moving_frac": 0.0, "neg_mult": 2, "neg_near_min_ms": 0}
    one = cut_session(golden, preset("default", neg_strategy=strategy, **changes))
    assert before_a_positive(golden, one).all()
    assert (one.labels == 0).sum() > 60


def test_far_negatives_come_from_anywhere(golden):
    one = cut_session(golden, preset("default", neg_mult=4))
    assert 0.05 < before_a_positive(golden, one).mean() < 0.6


def test_moving_negatives_are_not_the_stillest(golden):
    still = cut_session(golden, preset("default", neg_mult=100_000, neg_min_sep_ms=0))
    everywhere = motion_score(golden, still.start[still.labels == 0], 50)
    assert len(everywhere) > 1000
    for strategy in ("far", "blend"):
        changes = {"neg_mixed_near_frac": 0.0, "neg_moving_frac": 1.0, "neg_min_motion_quantile": 0.5, "neg_mult": 4}
        one = cut_session(golden, preset("default", neg_strategy=strategy, **changes))
        chosen = motion_score(golden, one.start[one.labels == 0], 50)
        assert chosen.min() >= np.quantile(everywhere, 0.499)


def test_negatives_can_match_the_positives_motion(golden):
    one = cut_session(golden, preset("default", neg_mult=5, neg_match_pos_motion=True, neg_pos_motion_q=0.2))
    positive = np.sort(motion_score(golden, one.start[one.labels == 1], 50))
    chosen = motion_score(golden, one.start[one.labels == 0], 50)
    assert chosen.min() >= np.quantile(positive, 0.15)
    assert chosen.max() <= np.quantile(positive, 0.85)


def test_a_group_is_the_nearest_shot_through_all_sessions(golden):
    made = make_session(5)[0]
    dataset = cut([golden, made])
    first = [0, len(find_shots(golden).accepted)]
    for i in range(0, len(dataset), 29):
        which = dataset.session[i]
        source = (golden, made)[which]
        accepted = source.t_us[find_shots(source).accepted]
        event = source.t_us[dataset.start[i] + (60 if dataset.labels[i] else 50)]
        assert dataset.groups[i] == first[which] + np.abs(accepted - event).argmin()
    assert set(np.unique(dataset.session)) == {0, 1}
    assert (np.diff(dataset.labels.astype(int)) <= 0).all()


def test_a_session_is_cut_the_same_whatever_stands_beside_it(golden):
    made = make_session(5)[0]
    both, alone = whole([made, golden]), whole([golden])
    mine = both.session == 1
    np.testing.assert_array_equal(both.start[mine], alone.start)
    np.testing.assert_array_equal(both.windows[mine], alone.windows)


def overlap(dataset):
    """Pairs (training, held out) of one session that share a sample."""
    same = dataset.session[:, None] == dataset.session[None, :]
    near = np.abs(dataset.start[:, None] - dataset.start[None, :]) < dataset.window
    return (same & near)[np.ix_(~dataset.held_out, dataset.held_out)].sum()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 20), st.sampled_from([10, 100, 400]))
def test_nothing_held_out_shares_a_sample_with_training(seed, mult, apart):
    made = make_session(seed % 7, 1.5)[0]
    dataset = cut([made], preset("personal", seed=seed, neg_mult=mult, neg_min_sep_ms=apart))
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


def test_the_recipe_is_the_inputs_content_and_the_parameters(golden):
    recipe = whole([golden]).meta["recipe_hash"]
    assert whole([replace(golden, name="other.bin")]).meta["recipe_hash"] == recipe
    changed = golden.samples.copy()
    changed[0, 0] ^= 1
    assert whole([replace(golden, samples=changed)]).meta["recipe_hash"] != recipe
    assert whole([golden], ExploreSpec(seed=2)).meta["recipe_hash"] != recipe


def test_a_default_synthetic_session_gives_hundreds_of_windows():
    for seed in (1, 2):
        dataset = cut([make_session(seed)[0]])
        assert len(dataset) > 350
        assert (dataset.labels == 1).sum() >= 30


def test_channels_are_chosen_by_name_in_the_order_asked(golden):
    dataset = whole([golden], ExploreSpec(channels=("gz", "ax")))
    assert [channel.name for channel in dataset.channels] == ["gz", "ax"]
    a = dataset.start[7]
    np.testing.assert_array_equal(dataset.windows[7], golden.samples[a : a + 50, [5, 0]])
    # What counts as motion does not depend on what is kept.
    np.testing.assert_array_equal(dataset.start, whole([golden]).start)


def test_what_cannot_be_learned_from_is_refused():
    with pytest.raises(InputError, match=r"made: no shots in 6000 samples; record"):
        cut([session()])
    with pytest.raises(InputError, match="2 usable of 2 shots, at least 4"):
        cut([session(shots=(500, 1100))])
    with pytest.raises(InputError, match=r"no idle windows were found with --neg-strategy blend"):
        cut([session(n=800, shots=range(70, 800, 140), down=3)])
    with pytest.raises(InputError, match="neither a label nor a trigger"):
        cut([session(trigger=None)])
    with pytest.raises(InputError, match="at least one"):
        cut([])
    with pytest.raises(InputError, match="separately"):
        cut([session(shots=SHOTS), session(trigger=None, label="x")])
    with pytest.raises(InputError, match=r"sample period of 20000 us.*resample"):
        cut([session(shots=SHOTS), replace(session(shots=SHOTS), period_us=20_000)])
    other = session(shots=SHOTS)
    with pytest.raises(InputError, match="other channels"):
        cut([other, replace(other, samples=other.samples[:, :3].copy(), channels=STINGER_CHANNELS[:3])])
    with pytest.raises(InputError, match=r"made \(recording 1\): no samples"):
        cut([session(n=0)])
    with pytest.raises(UsageError, match="no channel 'mx'; it has ax, ay"):
        cut([other], ExploreSpec(channels=("mx",)))
    with pytest.raises(InputError, match=r"a window is 51 samples.*between two samples"):
        cut([other, replace(other, period_us=9_950)], ExploreSpec(window_ms=504))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"window_ms": 0}, "--window-ms must be more than 0"),
        ({"lead_ms": -1}, "--lead-ms must be 0 ms or more, is -1"),
        ({"lead_ms": float("nan")}, "--lead-ms"),
        ({"neg_mult": 0}, "--neg-mult must be 1 or more"),
        ({"neg_mixed_near_frac": 1.5}, "--neg-mixed-near-frac must be 0 to 1"),
        ({"neg_strategy": "blend", "neg_mixed_near_frac": 0.8, "neg_moving_frac": 0.3}, "more than 1 together"),
        ({"neg_strategy": "nearest"}, "unknown; choose far, near, mixed, blend"),
        ({"gap_policy": "lax"}, "choose strict, reference"),
        ({"neg_near_min_ms": 3000}, "--neg-near-min-ms 3000 is more than"),
        ({"stride": 0}, "--stride"),
        ({"test_size": 1.0}, "--test-size"),
        ({"channels": ("ax", "ax")}, "--channels"),
        ({"channels": ()}, "--channels"),
        ({"split": "shots"}, "choose auto, given, random"),
    ],
)
def test_impossible_rules_are_usage_errors(wrong, message):
    with pytest.raises(UsageError, match=message) as caught:
        ExploreSpec(**wrong)
    assert "\n" not in str(caught.value)


def test_presets_are_named():
    assert preset("default") == ExploreSpec()
    assert preset("personal", seed=4).neg_mult == 12
    with pytest.raises(UsageError, match=f"choose {', '.join(PRESETS)}"):
        preset("mine")


def test_windows_of_the_real_export():
    sessions = read_sessions(DATA / "nicla_motion_edge_impulse_export.zip")
    dataset = cut(sessions)
    assert dataset.classes == ("Idle", "Lift", "Maritime", "Terrestrial")
    assert dataset.windows.shape == (864, 59, 6)
    assert np.bincount(dataset.labels).tolist() == [216] * 4
    assert dataset.lead_us == 0
    assert dataset.meta["refused"] == {"recording: no label": 6}
    assert dataset.meta["split"]["kind"] == "given"
    for i in range(0, 864, 71):
        source = sessions[dataset.session[i]]
        assert dataset.held_out[i] == (source.split == "test")
        assert dataset.classes[dataset.labels[i]] == source.label
        np.testing.assert_array_equal(dataset.windows[i], source.samples[dataset.start[i] : dataset.start[i] + 59])
    assert not set(dataset.groups[dataset.held_out]) & set(dataset.groups[~dataset.held_out])


def labelled(label, n=500, split=None, gaps=(), **fields):
    return session(n, gaps=gaps, trigger=None, label=label, split=split, **fields)


def test_labelled_windows_stay_inside_stretches_and_step_by_the_stride():
    a = labelled("a", gaps=(250, 300))
    dataset = cut([a, labelled("a"), labelled("b"), labelled("b")], ExploreSpec(stride=0.25))
    assert dataset.start[dataset.session == 0].tolist() == [0, 25, 50, 75, 100, 125, 150, 300, 325, 350, 375, 400]
    assert dataset.meta["refused"] == {"stretch: shorter than a window": 1}
    assert dataset.meta["split"]["kind"] == "group"
    for label in (0, 1):
        mine = dataset.labels == label
        assert len(np.unique(dataset.groups[mine & dataset.held_out])) == 1
        assert len(np.unique(dataset.groups[mine & ~dataset.held_out])) == 1


def test_labelled_recordings_that_cannot_be_split_are_refused():
    with pytest.raises(InputError, match="1 labels in 2 recordings"):
        cut([labelled("a"), labelled("a")])
    with pytest.raises(InputError, match=r"class 'b' has nothing to hold out \(split by group, 1 shot or recording"):
        cut([labelled("a"), labelled("a"), labelled("b")])
    with pytest.raises(InputError, match=r"class 'b' has nothing to train on \(split by given"):
        cut([labelled("a", split="train"), labelled("a", split="test"), labelled("b", split="test")])
    with pytest.raises(InputError, match=r"a split by group leaves nothing to hold out; record more"):
        cut([labelled("a"), labelled("b")])
    with pytest.raises(InputError, match=r"class 'a' has nothing to hold out"):
        cut([labelled("a", n=50), labelled("b", n=50), labelled("b"), labelled("b")])
    with pytest.raises(UsageError, match="1024"):
        cut([labelled("a")], ExploreSpec(window_ms=60_000))
    with pytest.raises(InputError, match=r"33 labels in 33 recordings \(0, 1, 10, 11, 12, \.\.\.\)"):
        cut([labelled(str(i)) for i in range(33)])


def test_one_recording_of_each_class_can_be_split_by_time():
    dataset = cut([labelled("a", n=3000), labelled("b", n=3000)], ExploreSpec(split="time"))
    for label in (0, 1):
        mine = dataset.labels == label
        assert dataset.start[mine & dataset.held_out].min() >= dataset.start[mine & ~dataset.held_out].max() + 100


def test_who_was_recorded_is_kept():
    people = ["ada", None, "bo", "ada"]
    sessions = [labelled("ab"[i % 2], subject=person) for i, person in enumerate([*people, "bo", "bo"])]
    dataset = whole(sessions, ExploreSpec(split="time"))
    assert dataset.meta["subjects"] == ["ada", "bo"]
    known = [0, -1, 1, 0, 1, 1]
    assert dataset.subject.tolist() == [known[number] for number in dataset.session]


def told(*events, n=4000, **fields):
    """A session in which stretches of time (in samples) are labelled."""
    made = session(n, trigger=None, **fields)
    marks = tuple(Event(int(made.t_us[a]), int(made.t_us[min(b, n - 1)]), label, "label") for a, b, label in events)
    return replace(made, events=(*marks, Event(0, 10**9, "guess", "prediction")))


def test_windows_of_labelled_stretches_lie_in_one_label():
    made = told((0, 1000, "still"), (1000, 2000, "wave"), (2100, 3000, "still"), (3000, 3900, "wave"), gaps=(500,))
    one = cut_session(made, ExploreSpec())
    assert one.kind == "events"
    assert one.names == ("still", "wave")
    stretches = [(0, 500, 0, 0), (500, 1000, 0, 0), (1000, 2000, 1, 1), (2100, 3000, 0, 3), (3000, 3900, 1, 4)]
    for label, a, group in zip(one.labels.tolist(), one.start.tolist(), one.group.tolist(), strict=True):
        assert any(a >= x and a + 100 <= y and (label, group) == (k, g) for x, y, k, g in stretches)
    assert len(one.start) == sum((b - a - 100) // 50 + 1 for a, b, _, _ in stretches)
    dataset = cut([made])
    assert dataset.classes == ("still", "wave")
    assert overlap(dataset) == 0


def test_stretches_with_two_labels_at_once_are_refused():
    one = cut_session(told((0, 1000, "a"), (800, 1500, "b"), (1400, 1900, "b")), ExploreSpec())
    assert one.refused["sample: two labels at once"] == 200
    assert all(a + 100 <= 800 or a >= 1000 for a in one.start.tolist())
    assert one.start.max() > 1700


def test_the_source_of_the_classes_can_be_chosen(golden):
    both = replace(golden, events=(Event(int(golden.t_us[0]), int(golden.t_us[9000]), "a"),))
    assert cut_session(both, ExploreSpec()).kind == "shots"
    assert cut_session(both, ExploreSpec(classes="events")).kind == "events"
    assert cut_session(labelled("x"), ExploreSpec(classes="shots")).kind is None
    with pytest.raises(InputError, match="nothing to learn"):
        cut([labelled("x")], ExploreSpec(classes="shots"))


def test_other_channels_than_motion_can_be_cut():
    channels = tuple(Channel(name, "uT", 0.1) for name in ("mx", "my", "mz"))
    rng = np.random.default_rng(1)
    sessions = [
        Session(
            f"m{i}",
            np.arange(900) * 20_000,
            rng.integers(-500, 500, (900, 3)).astype(np.int16),
            channels,
            20_000,
            label="ab"[i % 2],
        )
        for i in range(8)
    ]
    dataset = cut(sessions, ExploreSpec(window_ms=1500))
    assert dataset.windows.shape[1:] == (75, 3)
    assert dataset.period_us == 20_000


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


def test_motion_is_the_references_score(golden):
    start = np.array([0, 5000])
    for a, score in zip(start, motion_score(golden, start, 50), strict=True):
        squares = golden.samples[a : a + 50].astype(float) ** 2
        expected = squares[:, 3:].sum(axis=1).mean() + 0.05 * squares[:, :3].sum(axis=1).mean()
        assert score == pytest.approx(expected)
