"""Figures, intervals, calibration: against scikit-learn, against cases small enough to see, against known truth."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as skm

from stinger.evaluation import metrics
from stinger.evaluation.calibration import brier_terms, calibration_error, judged, reliability
from stinger.evaluation.intervals import LEAST_UNITS, Figure, affordable_draws, interval, unit_weights
from stinger.evaluation.report import CLASS_FIGURES, window_report
from stinger.models.threshold import STEPS, best_f1


def answers(seed: int, n: int, classes: int, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.append(np.arange(classes), rng.integers(0, classes, n - classes))
    logits = rng.normal(0, 1, (n, classes)) + 1.5 * np.eye(classes)[labels]
    if ties:
        logits = np.round(logits)
    probability = np.exp(logits)
    return labels, probability / probability.sum(axis=1, keepdims=True)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(5, 60), ties=st.booleans())
def test_areas_of_weighted_windows_are_those_of_repeated_ones(seed, n, ties):
    labels, probability = answers(seed, n, 2, ties)
    rng = np.random.default_rng(seed)
    weights = rng.integers(0, 4, (5, n)).astype(float)
    roc, area = metrics.rank_areas(labels == 1, probability[:, 1], np.vstack([np.ones(n), weights]))
    assert roc[0] == pytest.approx(metrics.roc_auc(labels, probability[:, 1]))
    assert area[0] == pytest.approx(metrics.average_precision(labels, probability[:, 1]))
    for k, weight in enumerate(weights.astype(int), 1):
        repeated = np.repeat(np.arange(n), weight)
        y, p = labels[repeated], probability[repeated, 1]
        if len(np.unique(y)) == 2:
            assert roc[k] == pytest.approx(skm.roc_auc_score(y, p))
            assert area[k] == pytest.approx(skm.average_precision_score(y, p))
        else:
            assert np.isnan(roc[k])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 5), weighted=st.booleans())
def test_shares_are_those_of_scikit_learn(seed, classes, weighted):
    labels, probability = answers(seed, 50, classes)
    guesses = metrics.predicted(probability)
    weight = np.random.default_rng(seed).integers(1, 4, 50) if weighted else np.ones(50)
    table = metrics.weighted_confusion(labels, guesses, classes, weight[None].astype(float))
    np.testing.assert_allclose(table[0], skm.confusion_matrix(labels, guesses, sample_weight=weight))
    expected = skm.precision_recall_fscore_support(labels, guesses, sample_weight=weight, zero_division=0.0)
    for found, wanted in zip(metrics.answer_shares(table), expected[:3], strict=True):
        np.testing.assert_allclose(found[0], wanted)


def test_shares_of_classes_that_are_not_there():
    table = np.array([[[3.0, 0, 0], [1, 0, 0], [0, 0, 0]]])
    precision, recall, f1 = metrics.answer_shares(table)
    np.testing.assert_array_equal(precision, [[0.75, 0, 0]])
    np.testing.assert_array_equal(recall, [[1, 0, np.nan]])
    np.testing.assert_array_equal(f1, [[6 / 7, 0, np.nan]])


def test_reliability_by_hand():
    labels = np.array([0, 1, 1, 0, 1])
    p = np.array([0.05, 0.05, 0.95, 0.92, 1.0])
    rows = reliability(labels, np.stack([1 - p, p], axis=1))
    first, last = rows[0], rows[-1]
    assert (first.low, first.high, first.windows, first.observed) == (0.0, 0.1, 2, 0.5)
    assert first.probability == pytest.approx(0.05)
    assert (last.windows, last.observed) == (3, pytest.approx(2 / 3))
    assert last.probability == pytest.approx((0.95 + 0.92 + 1) / 3)
    assert all(row.windows == 0 and np.isnan(row.observed) for row in rows[1:-1])
    error = calibration_error(labels, np.stack([1 - p, p], axis=1), np.ones((1, 5)))
    assert error[0] == pytest.approx(2 / 5 * 0.45 + 3 / 5 * (2.87 / 3 - 2 / 3))


def test_of_many_classes_the_answer_is_judged():
    labels = np.array([2, 0])
    probability = np.array([[0.1, 0.2, 0.7], [0.3, 0.6, 0.1]])
    p, true = judged(labels, probability)
    np.testing.assert_allclose(p, [0.7, 0.6])
    assert true.tolist() == [True, False]
    np.testing.assert_allclose(brier_terms(labels, probability), [0.01 + 0.04 + 0.09, 0.49 + 0.36 + 0.01])
    two = np.array([[0.3, 0.7]])
    assert brier_terms(np.array([1]), two)[0] == pytest.approx(skm.brier_score_loss([1], [0.7]))


def test_calibrated_probabilities_have_a_small_error_and_others_a_large_one():
    rng = np.random.default_rng(0)
    p = rng.random(20_000)
    labels = (rng.random(20_000) < p).astype(int)
    honest, bold = (np.stack([1 - q, q], axis=1) for q in (p, (p > 0.5) * 0.98 + 0.01))
    weights = np.ones((1, 20_000))
    assert calibration_error(labels, honest, weights)[0] < 0.02
    assert calibration_error(labels, bold, weights)[0] == pytest.approx(0.24, abs=0.02)


def test_whole_units_are_drawn():
    units = np.repeat(np.arange(10), 5)
    labels = np.tile([0, 0, 0, 0, 1], 10)
    weights = np.concatenate(list(unit_weights(units, labels, draws=200, seed=3)))
    assert weights.shape == (200, 50)
    by_unit = weights.reshape(200, 10, 5)
    assert (by_unit == by_unit[:, :, :1]).all()
    assert (weights.sum(axis=1) == 50).all()
    assert by_unit.max() > 2
    again = np.concatenate(list(unit_weights(units, labels, draws=200, seed=3)))
    np.testing.assert_array_equal(weights, again)
    assert (weights != np.concatenate(list(unit_weights(units, labels, draws=200, seed=4)))).any()


def test_units_of_one_class_are_drawn_class_by_class():
    units = np.arange(20)
    labels = np.repeat([0, 1], [15, 5])
    for part in unit_weights(units, labels, draws=100):
        assert (part[:, labels == 1].sum(axis=1) == LEAST_UNITS).all()
    few = np.repeat([0, 1], [18, 2])
    drawn = np.concatenate(list(unit_weights(units, few, draws=100)))[:, few == 1].sum(axis=1)
    assert drawn.min() == 0


def test_intervals_cover_the_truth_as_often_as_they_say():
    """Accuracy over units that differ: the truth is 0.8, and 95 % of the intervals should hold it."""
    rng = np.random.default_rng(0)
    covered = naive = 0
    for seed in range(120):
        share = np.clip(rng.normal(0.8, 0.1, 40), 0, 1)
        right = rng.random((40, 20)) < share[:, None]
        labels = np.zeros(800, int)
        probability = np.stack([right.ravel(), ~right.ravel()], axis=1).astype(float)
        report = window_report(
            labels, probability, ("a", "b"), units=np.repeat(np.arange(40), 20), draws=200, seed=seed
        )
        figure = report.figures["accuracy"]
        assert figure.low < figure.value < figure.high
        covered += figure.low <= 0.8 <= figure.high
        spread = 1.96 * np.sqrt(figure.value * (1 - figure.value) / 800)
        naive += abs(figure.value - 0.8) <= spread
    # The intervals that take windows for independent hold it far less often.
    assert covered >= 105 > naive


def test_only_tens_of_thousands_of_windows_get_fewer_draws():
    assert affordable_draws(25_000, 2) == affordable_draws(10, 2) == 1000
    assert affordable_draws(100_000, 2) == 250
    assert affordable_draws(10**7, 7) == 200


def test_a_figure_that_most_draws_lack_has_no_interval():
    draws = np.where(np.arange(100) < 70, 0.5, np.nan)
    assert interval(0.5, draws).to_json() == {"value": 0.5, "low": None, "high": None}
    assert interval(0.5, np.where(np.arange(100) < 90, 0.5, np.nan)) == Figure(0.5, 0.5, 0.5)


@pytest.mark.parametrize("classes", [2, 4])
def test_a_report_is_complete_and_repeatable(classes):
    labels, probability = answers(5, 300, classes)
    names = tuple("abcd"[:classes])
    arguments = {"threshold": 0.4 if classes == 2 else None, "units": np.arange(300) // 6, "draws": 100}
    report = window_report(labels, probability, names, **arguments)
    content = report.to_json()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert content == window_report(labels, probability, names, **arguments).to_json()
    assert [one["name"] for one in content["classes"]] == list(names)
    guesses = probability[:, 1] >= 0.4 if classes == 2 else probability.argmax(axis=1)
    assert content["confusion"] == skm.confusion_matrix(labels, guesses).tolist()
    assert content["intervals"] == {"level": 0.95, "draws": 100, "units": 50, "unit_name": "groups"}
    assert content["notes"] == []
    for one in content["classes"]:
        assert tuple(one["figures"]) == CLASS_FIGURES
        for figure in one["figures"].values():
            assert figure["low"] <= figure["value"] <= figure["high"]
    figures = content["figures"]
    assert figures["balanced_accuracy"]["value"] == pytest.approx(skm.balanced_accuracy_score(labels, guesses))
    if classes > 2:
        assert figures["macro_f1"]["value"] == pytest.approx(skm.f1_score(labels, guesses, average="macro"))
        area = skm.roc_auc_score(labels, probability, multi_class="ovr")
        assert figures["macro_roc_auc"]["value"] == pytest.approx(area)


def test_what_few_units_cannot_say_is_left_out_and_said():
    labels, probability = answers(5, 120, 2)
    few = window_report(labels, probability, ("a", "b"), units=np.arange(120) % 4)
    assert few.draws == 0
    assert few.notes == ("no intervals: 4 groups held out cannot say how others would differ",)
    assert np.isnan(few.figures["accuracy"].low)
    units = np.where(labels == 1, labels * 1000 + np.arange(120) % 3, np.arange(120))
    some = window_report(labels, probability, ("a", "b"), units=units, unit_name="recordings", draws=50)
    assert some.notes == ("no intervals where b count: fewer than 5 recordings held out have them",)
    assert np.isnan(some.classes[1].figures["f1"].low)
    assert np.isfinite(some.figures["accuracy"].low)
    alone = window_report(np.zeros(20, int), probability[:20], ("a", "b"), units=np.arange(20), draws=50)
    assert "class 'b' is not among the measured windows: it has no figures" in alone.notes
    assert alone.to_json()["classes"][1]["figures"]["roc_auc"]["value"] is None


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 60), ties=st.booleans())
def test_no_threshold_has_a_better_f1(seed, n, ties):
    labels, probability = answers(seed, n, 2, ties)
    p = probability[:, 1]
    threshold = best_f1(labels, p)
    assert 0 < threshold < 1
    assert threshold * STEPS == round(threshold * STEPS)
    best = max(skm.f1_score(labels, p >= t) for t in [0.0, *np.unique(p)])
    # The threshold lies between two probabilities, which may be closer than its steps are.
    if np.diff(np.unique(p)).min(initial=1.0) > 2 / STEPS:
        assert skm.f1_score(labels, p >= threshold) == pytest.approx(best)


def test_equal_thresholds_go_to_the_middle():
    labels = np.array([0, 0, 1, 1])
    assert best_f1(labels, np.array([0.1, 0.2, 0.8, 0.9])) == 0.5
    # The third highest is worth the wrong second one.
    assert best_f1(np.array([1, 0, 1, 0]), np.array([0.9, 0.6, 0.3, 0.1])) == pytest.approx(0.2, abs=1 / STEPS)
    assert best_f1(np.array([0, 1]), np.array([0.5, 0.5])) == 0.25
