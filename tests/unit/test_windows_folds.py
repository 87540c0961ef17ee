"""Folds, units, subsets: whole groups stay whole, and no fold trains on what it tests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import toy_dataset

from stinger.errors import InputError, UsageError
from stinger.windows.folds import group_folds, units_of
from stinger.windows.splits import sharing
from stinger.windows.subset import subset

TOY = toy_dataset(classes=3, per_class=40)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000), folds=st.integers(2, 8), groups=st.integers(6, 40), step=st.sampled_from([10, 25, 50])
)
def test_every_row_is_tested_once_by_a_model_that_shares_nothing_with_it(seed, folds, groups, step):
    rng = np.random.default_rng(seed)
    # Groups are runs of neighbouring windows, as shots are; where they meet, windows overlap.
    group = np.sort(rng.integers(0, groups, 120))
    data = replace(TOY, groups=group, start=np.arange(120, dtype=np.int64) * step)
    rows = rng.random(120) < 0.8
    try:
        parts = group_folds(data, rows, folds, seed=seed)
    except InputError:
        assert min(len(np.unique(group[rows & (data.labels == k)])) for k in range(3)) < 3
        return
    assert 2 <= len(parts) <= folds
    np.testing.assert_array_equal(np.sum([test for _, test in parts], axis=0), rows)
    for train, test in parts:
        assert not (train & ~rows).any()
        assert not np.intersect1d(group[train], group[test]).size
        assert not sharing(data.session, data.start, data.window, test, train).any()
        assert set(data.labels[train]) == set(data.labels[rows])
        lost = rows & ~test & ~train
        np.testing.assert_array_equal(lost, sharing(data.session, data.start, data.window, rows & ~test, test))


def test_folds_look_like_the_whole():
    labels = np.repeat([0, 1, 2], [80, 30, 10]).astype(np.uint8)
    data = replace(TOY, labels=labels, groups=np.arange(120))
    for train, test in group_folds(data, np.ones(120, bool), 5):
        assert np.bincount(labels[test]).tolist() == [16, 6, 2]
        assert train.sum() == 96


def test_fewer_groups_than_folds():
    data = replace(TOY, groups=np.where(TOY.labels == 2, np.arange(120) // 3 % 3, 3 + np.arange(120) % 20))
    assert len(group_folds(data, np.ones(120, bool), 5)) == 3
    alone = replace(TOY, groups=np.where(TOY.labels == 2, 0, 1 + np.arange(120) % 20))
    with pytest.raises(InputError, match=r"'class 2' has 1 group\(s\) to train on, folds need two"):
        group_folds(alone, np.ones(120, bool), 5)
    with pytest.raises(InputError, match="folds need two"):
        group_folds(TOY, np.zeros(120, bool), 5)


def test_folds_are_repeatable_and_differ_between_seeds():
    rows = np.ones(120, bool)
    first, again, other = (np.array([t for _, t in group_folds(TOY, rows, 4, seed=s)]) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_units_are_what_the_dataset_was_split_by():
    inputs = [{"name": "a", "sha256": "x"}, {"name": "b", "sha256": "x"}, {"name": "c", "sha256": "y"}]
    session, subject = np.arange(120) % 3, np.arange(120) % 4
    data = replace(TOY, session=session, subject=subject, meta={"inputs": inputs, "split": {"kind": "subject"}})
    for kind, numbers, name in (
        (None, subject, "people"),
        ("session", np.array([0, 0, 2])[session], "recordings"),
        ("group", TOY.groups, "groups"),
    ):
        units, word = units_of(data, kind)
        np.testing.assert_array_equal(units, numbers)
        assert word == name
    assert units_of(replace(data, subject=None))[1] == "groups"
    assert units_of(replace(TOY, meta={"kind": "shots"}))[1] == "shots"


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), max_rows=st.integers(30, 130))
def test_a_subset_keeps_whole_groups_of_every_kind(seed, max_rows):
    smaller = subset(TOY, max_rows, seed=seed)
    assert len(smaller) <= max_rows
    assert len(smaller) > max_rows - 6 or len(smaller) == len(TOY)
    for group in np.unique(smaller.groups):
        assert (smaller.groups == group).sum() == (TOY.groups == group).sum()
    cells = {(int(k), bool(h)) for k, h in zip(smaller.labels, smaller.held_out, strict=True)}
    assert cells == {(k, h) for k in range(3) for h in (False, True)}
    np.testing.assert_array_equal(smaller.windows, TOY.windows[np.isin(TOY.groups, smaller.groups)])


def test_a_subset_keeps_the_shares():
    labels = np.repeat([0, 1, 2], [600, 300, 100]).astype(np.uint8)
    big = replace(toy_dataset(classes=2, per_class=500, window=2), labels=labels, classes=("a", "b", "c"))
    big = replace(big, groups=np.arange(1000), held_out=np.arange(1000) % 4 == 0)
    smaller = subset(big, 100)
    assert len(smaller) == 100
    np.testing.assert_allclose(np.bincount(smaller.labels), [60, 30, 10], atol=3)
    assert abs(smaller.held_out.mean() - 0.25) < 0.04


def test_a_subset_that_cannot_be_is_refused():
    assert subset(TOY, 120) is TOY
    with pytest.raises(UsageError, match="1 or more"):
        subset(TOY, 0)
    with pytest.raises(InputError, match="leaves no training windows of 'class 0'"):
        subset(TOY, 5)
