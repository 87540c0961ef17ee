"""Metrics on cases small enough to check by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stinger.evaluation import metrics

LABELS = np.array([0, 0, 0, 1, 1])
PROBABILITY = np.array([0.1, 0.4, 0.8, 0.4, 0.9])


def test_accuracy_and_confusion_count_what_happened():
    guesses = np.array([0, 1, 1, 1, 1])
    assert metrics.accuracy(LABELS, guesses) == 3 / 5
    np.testing.assert_array_equal(metrics.confusion(LABELS, guesses, 3), [[1, 2, 0], [0, 2, 0], [0, 0, 0]])
    assert metrics.balanced_accuracy(LABELS, guesses, 3) == pytest.approx((1 / 3 + 1) / 2)


def test_predicted_gives_ties_to_the_lower_class():
    np.testing.assert_array_equal(metrics.predicted(np.array([[0.5, 0.5], [0.2, 0.8], [0.4, 0.4]])), [0, 1, 0])


def test_ranking_metrics():
    # Pairs of a positive and a negative: 0.4 against 0.1 right, 0.4 tied, 0.8 wrong; 0.9 right three times.
    assert metrics.roc_auc(LABELS, PROBABILITY) == pytest.approx(4.5 / 6)
    # At 0.9: precision 1, recall 1/2; at 0.4: precision 2/4, recall 1.
    assert metrics.average_precision(LABELS, PROBABILITY) == pytest.approx(0.5 * 1 + 0.5 * 0.5)
    assert metrics.base_rate(LABELS) == 0.4


def test_precision_recall_curve():
    precision, recall, threshold = metrics.precision_recall(LABELS, PROBABILITY)
    assert threshold.tolist() == [0.1, 0.4, 0.8, 0.9]
    np.testing.assert_allclose(precision, [2 / 5, 2 / 4, 1 / 2, 1, 1])
    np.testing.assert_allclose(recall, [1, 1, 1 / 2, 1 / 2, 0])


def test_nothing_measured_is_not_a_number():
    none = np.array([], dtype=np.int64)
    assert math.isnan(metrics.accuracy(none, none))
    assert math.isnan(metrics.balanced_accuracy(none, none, 2))
    assert math.isnan(metrics.base_rate(none))
