"""Splits: whole units, no shared samples, and clear words where a dataset cannot be split."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import toy_dataset

from stinger.errors import InputError, UsageError
from stinger.windows.dataset import Dataset
from stinger.windows.splits import choose_groups, leakage, recordings, sharing, split

KINDS = ("random", "time", "group", "session", "subject")


def dataset_of(rows, window=50):
    """Rows of (session, start, label, group, subject)."""
    session, start, labels, groups, subject = (np.array(column) for column in zip(*rows, strict=True))
    n = len(rows)
    made = toy_dataset(per_class=1)
    return replace(
        made,
        windows=np.zeros((n, window, 6), dtype=np.int16),
        labels=labels.astype(np.uint8),
        groups=groups.astype(np.int64),
        held_out=np.zeros(n, dtype=bool),
        session=session.astype(np.int64),
        start=start.astype(np.int64),
        subject=subject.astype(np.int64),
    )


ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 400), st.integers(0, 1), st.integers(0, 9), st.integers(0, 3)),
    min_size=2,
    max_size=60,
)


def touching(made: Dataset, these, those):
    same = made.session[:, None] == made.session[None, :]
    near = np.abs(made.start[:, None] - made.start[None, :]) < made.window
    return (same & near & those[None, :]).any(axis=1) & these


@settings(max_examples=150, deadline=None)
@given(ROWS, st.sampled_from(KINDS), st.floats(0.05, 0.9), st.integers(0, 50))
def test_no_test_window_shares_a_raw_sample_with_a_training_window(rows, kind, test_size, seed):
    made = dataset_of(rows)
    try:
        one = split(made, kind, test_size=test_size, seed=seed)
    except InputError:
        return  # too few units, which its own tests look at
    assert not (one.train & one.test).any()
    assert not touching(made, one.test, one.train).any()
    # The embargo takes exactly the windows that share, no more.
    np.testing.assert_array_equal(~one.test & ~one.train, touching(made, ~one.test, one.test))
    assert one.leak.shared == touching(made, one.test, ~one.test).sum()
    units = {"group": made.groups, "session": made.session, "subject": made.subject}.get(kind)
    if units is not None:
        assert not set(units[one.test]) & set(units[~one.test])
    again = split(made, kind, test_size=test_size, seed=seed)
    np.testing.assert_array_equal(one.test, again.test)
    old = split(made, kind, test_size=test_size, seed=seed, embargo=False)
    np.testing.assert_array_equal(old.train, ~one.test)
    assert old.leak.remaining == one.leak.shared


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 300), st.booleans()), min_size=1, max_size=40))
def test_sharing_marks_exactly_the_overlapping(windows):
    which, start, held_out = (np.array(column) for column in zip(*windows, strict=True))
    marked = sharing(which, start, 50, ~held_out, held_out)
    for i in range(len(windows)):
        touches = (which == which[i]) & held_out & (np.abs(start - start[i]) < 50)
        assert marked[i] == (not held_out[i] and touches.any())


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1), st.floats(0.01, 0.99), st.integers(0, 99))
def test_some_groups_are_chosen_but_never_all(groups, fraction, seed):
    known = np.unique(groups)
    chosen = choose_groups(np.array(groups), fraction, np.random.default_rng(seed))
    assert set(chosen) <= set(known)
    assert len(chosen) == (0 if len(known) < 2 else min(max(1, round(fraction * len(known))), len(known) - 1))


def plain(n=80, **columns):
    """One window each 100 samples; columns replace what is the same for all."""
    default = {"session": 0, "label": 0, "group": 0, "subject": 0}
    rows = [{**default, **{name: value(i) for name, value in columns.items()}, "start": 100 * i} for i in range(n)]
    return dataset_of([(r["session"], r["start"], r["label"], r["group"], r["subject"]) for r in rows])


def test_time_holds_out_the_end_of_every_session():
    made = plain(session=lambda i: i % 2)
    one = split(made, "time", test_size=0.25)
    for session in (0, 1):
        mine = made.session == session
        assert one.test[mine].sum() == 10
        assert made.start[mine & one.test].min() > made.start[mine & ~one.test].max()


def test_groups_of_one_label_are_held_out_alike_for_each_label():
    made = plain(group=lambda i: i // 5, label=lambda i: (i // 5) % 2)
    one = split(made, "group", test_size=0.25)
    for label in (0, 1):
        assert len(np.unique(made.groups[one.test & (made.labels == label)])) == 2


def test_people_are_left_out_whole_even_when_one_lacks_a_class():
    made = plain(subject=lambda i: i // 20, label=lambda i: int(i < 60 and i % 2))
    seen = set()
    for seed in range(30):
        one = split(made, "subject", seed=seed)
        assert len(np.unique(made.subject[one.test])) == 1
        seen |= set(made.subject[one.test].tolist())
    assert seen == {0, 1, 2, 3}


def test_given_is_what_the_recordings_say_and_auto_prefers_it():
    made = plain(session=lambda i: i // 20, group=lambda i: i // 20)
    said = [{"split": "test" if i == 2 else "train"} for i in range(4)]
    told = replace(made, meta={"inputs": said})
    for kind in ("given", "auto"):
        one = split(told, kind)
        assert one.kind == "given"
        assert set(told.session[one.test]) == {2}
    assert split(made, "auto").kind == "group"


def test_a_log_given_twice_is_one_recording():
    made = plain(session=lambda i: i // 40)
    made = replace(made, start=made.start % 4000, meta={"inputs": [{"sha256": "x"}, {"sha256": "x"}]})
    assert set(recordings(made)) == {0}
    with pytest.raises(InputError, match="at least two"):
        split(made, "session")
    one = split(made, "random")
    assert one.leak.shared >= 5
    assert not set(made.start[one.train].tolist()) & set(made.start[one.test].tolist())


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("session", "a split by session needs at least two, there is 1"),
        ("subject", "do not all say who was recorded"),
        ("given", "no recording says whether"),
    ],
)
def test_impossible_splits_say_why(kind, message):
    made = replace(plain(), subject=None)
    with pytest.raises(InputError, match=message):
        split(made, kind)
    assert message in leakage(made)[kind]["impossible"]


def test_wrong_options_are_usage_errors():
    with pytest.raises(UsageError, match="unknown split 'shot'; choose auto, given, random"):
        split(plain(), "shot")
    with pytest.raises(UsageError, match="above 0 and below 1"):
        split(plain(), "random", test_size=1.0)


def test_a_split_that_leaves_nothing_is_refused():
    with pytest.raises(InputError, match="leaves nothing to hold out; record more"):
        split(plain(n=3), "time", test_size=0.1)
