"""Significance: against textbook formulas, simulations where nothing differs, and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import average_precision_score

from stinger.errors import UsageError
from stinger.evaluation.significance import (
    bootstrap_difference,
    corrected_t_test,
    group_bootstrap,
    holm,
    weighted_average_precision,
)

SCORES = st.lists(st.integers(-1000, 1000), min_size=2, max_size=30).map(lambda v: np.array(v) / 1000)


@given(SCORES, st.floats(0.05, 2.0))
def test_the_t_test_is_the_plain_one_with_a_wider_variance(d, share):
    found = corrected_t_test(d, share)
    if not d.any():
        assert (found.mean, found.p) == (0.0, 1.0)
        return
    if np.ptp(d) == 0:
        assert math.isnan(found.p)
        return
    plain = stats.ttest_1samp(d, 0.0)
    factor = math.sqrt(1 + len(d) * share)  # sqrt((1/J + share) / (1/J))
    expected = 2 * stats.t.sf(abs(plain.statistic) / factor, len(d) - 1)
    assert found.p == pytest.approx(expected, rel=1e-9, abs=1e-15)
    assert found.p >= plain.pvalue - 1e-12
    assert found.low <= found.mean <= found.high
    # The interval and the test say the same.
    if abs(found.p - 0.05) > 1e-6:
        assert (found.p < 0.05) == (not found.low <= 0 <= found.high)


def test_direction_does_not_matter():
    d = np.array([0.02, 0.05, -0.01, 0.04])
    one, other = corrected_t_test(d, 1 / 3), corrected_t_test(-d, 1 / 3)
    assert one.p == other.p
    assert (one.low, one.high) == (-other.high, -other.low)


def test_what_cannot_be_tested():
    assert math.isnan(corrected_t_test(np.array([0.1]), 1 / 3).p)
    # Ten seeds of one and the same test part are one result, not ten.
    assert math.isnan(corrected_t_test(np.full(10, 0.1), 1 / 3).p)
    with pytest.raises(UsageError, match="at least one finite"):
        corrected_t_test(np.array([]), 1 / 3)
    with pytest.raises(UsageError, match="at least one finite"):
        corrected_t_test(np.array([0.1, np.nan]), 1 / 3)
    with pytest.raises(UsageError, match="must be above 0"):
        corrected_t_test(np.array([0.1, 0.2]), 0)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    corrected = holm([0.5, float("nan"), 0.2])
    assert corrected[0] == 0.5
    assert math.isnan(corrected[1])
    assert corrected[2] == 0.4
    assert holm([]) == []
    with pytest.raises(UsageError, match="between 0 and 1"):
        holm([1.5])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_holm_lies_between_nothing_and_bonferroni(p):
    corrected = holm(p)
    for raw, one in zip(p, corrected, strict=True):
        assert raw <= one <= min(1.0, raw * len(p)) or one == raw == 0
    order = np.argsort(p, kind="stable")
    assert (np.diff(np.array(corrected)[order]) >= 0).all()


@settings(max_examples=60)
@given(st.data())
def test_weighted_average_precision_is_scikit_learns_on_repeated_rows(data):
    n = data.draw(st.integers(2, 25))
    labels = np.array(data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    score = np.array(data.draw(st.lists(st.integers(0, 6), min_size=n, max_size=n))) / 6
    times = np.array([data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)) for _ in range(3)])
    found = weighted_average_precision(labels, score, times)
    for one, counts in zip(found, times, strict=True):
        repeated = np.repeat(labels, counts)
        if len(np.unique(repeated)) < 2:
            assert math.isnan(one)
        else:
            assert one == pytest.approx(average_precision_score(repeated, np.repeat(score, counts)), abs=1e-12)


def groups_and_scores(seed: int, better: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two models on 60 groups of 4 windows that err together; the first one is better by so much."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(60), 4)
    labels = (groups % 3 == 0).astype(np.int64)
    common = np.repeat(rng.normal(0, 1, 60), 4)
    own = rng.normal(0, 1, (2, 240))
    return labels, groups, labels + common + own * 0.7 - np.array([[better], [0.0]]) * (1 - 2 * labels)


def test_the_bootstrap_sees_a_real_difference_and_is_repeatable():
    labels, groups, scores = groups_and_scores(1, 1.0)
    drawn = group_bootstrap(labels, scores, groups, resamples=400)
    assert drawn.shape == (2, 400)
    np.testing.assert_array_equal(drawn, group_bootstrap(labels, scores, groups, resamples=400))
    found = bootstrap_difference(0.3, *drawn)
    assert found.p < 0.01
    assert 0 < found.low < found.high
    assert found.mean == 0.3


def test_false_alarms_are_rare_where_nothing_differs():
    alarms = 0
    for seed in range(60):
        labels, groups, scores = groups_and_scores(seed, 0.0)
        drawn = group_bootstrap(labels, scores, groups, resamples=200)
        alarms += bootstrap_difference(0.0, *drawn).p < 0.05
    assert alarms <= 9  # 3 expected


def test_whole_groups_are_drawn():
    """Windows of a group that repeat each other carry no more evidence than one: the spread must show it."""
    rng = np.random.default_rng(3)
    labels, score = rng.integers(0, 2, 40), rng.random(40)
    alone = group_bootstrap(labels, score[None], np.arange(40), resamples=300)
    repeated = group_bootstrap(
        np.repeat(labels, 8), np.repeat(score, 8)[None], np.repeat(np.arange(40), 8), resamples=300
    )
    np.testing.assert_allclose(np.nanstd(alone), np.nanstd(repeated), rtol=1e-9)


def test_resamples_without_a_class_are_left_out():
    labels, score = np.array([1, 0, 0, 0]), np.array([[0.9, 0.2, 0.1, 0.3], [0.1, 0.2, 0.8, 0.3]])
    drawn = group_bootstrap(labels, score, np.arange(4), resamples=100)
    assert np.isnan(drawn).any()
    found = bootstrap_difference(0.5, *drawn)
    assert not math.isnan(found.p)
    nothing = np.full(10, np.nan)
    assert math.isnan(bootstrap_difference(0.5, nothing, nothing).p)
    same = np.array([0.4, 0.5])
    assert bootstrap_difference(0.0, same, same).p == 1.0


def test_shapes_must_fit():
    with pytest.raises(UsageError, match="must be as many"):
        group_bootstrap(np.array([0, 1]), np.zeros((1, 3)), np.array([0, 1]))
