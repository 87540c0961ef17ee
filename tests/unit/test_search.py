"""The search's parts: what is tried, what goes on, what is chosen, and the picture."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import toy_dataset

from stinger.errors import CheckFailedError, InputError, UsageError
from stinger.features.sets import ON_DEVICE
from stinger.models.families import FAMILIES
from stinger.plots.pareto import ParetoPoint, plot_pareto
from stinger.windows.store import write_dataset
from stinger.workflow.benchmark_cost import OnBoard
from stinger.workflow.progress import Progress
from stinger.workflow.search import SearchOptions, search
from stinger.workflow.search_score import Budget, Scored, best_of, front_of, preference, promote, score
from stinger.workflow.search_space import SPACES, Trial, make_trials
from stinger_export.forms import FORESTS, NETWORKS


@pytest.fixture
def train_dir(tmp_path):
    toy = toy_dataset(per_class=60)
    write_dataset(replace(toy, meta={"inputs": [], "subjects": []}), tmp_path / "train")
    return tmp_path / "train"


def scored(number: int, scores: tuple[float, ...], flash: int, cycles: int = 1000) -> Scored:
    return Scored(Trial(number, "logreg", "summary"), scores, OnBoard(flash, 100, cycles))


def test_spaces_hold_what_the_board_can_run():
    assert set(SPACES) <= {*FORESTS, *NETWORKS}
    for name, space in SPACES.items():
        assert set(space) <= set(FAMILIES[name].defaults)
        assert all(len(set(values)) == len(values) for values in space.values())


def test_trials_are_dealt_evenly_and_repeat():
    both = ("summary", "rich")
    trials = make_trials(("logreg", "rf"), both, 24, 1)
    assert trials == make_trials(("logreg", "rf"), both, 24, 1)
    assert trials != make_trials(("logreg", "rf"), both, 24, 2)
    assert [t.number for t in trials] == list(range(1, 25))
    # The defaults of every family on every set come first.
    assert [(t.family, t.features, t.options) for t in trials[:4]] == [
        (family, features, ()) for family in ("logreg", "rf") for features in both
    ]
    assert len({(t.family, t.features, t.options) for t in trials}) == 24
    # A space that is used up leaves its share to the others.
    many = make_trials(("logreg", "rf"), ("summary",), 1000, 1)
    assert sum(t.family == "logreg" for t in many) == len(SPACES["logreg"]["C"])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((("hgb",), ON_DEVICE, 5, 1), "a search does not vary hgb; --families takes logreg, "),
        ((("nothing",), ON_DEVICE, 5, 1), "unknown model family 'nothing'"),
        ((("rf",), ("float-rich",), 5, 1), "the board does not compute float-rich features"),
        ((("rf",), ON_DEVICE, 0, 1), "needs at least one trial"),
    ],
)
def test_what_cannot_be_tried_is_said(arguments, complaint):
    with pytest.raises(UsageError, match=complaint):
        make_trials(*arguments)


TRIPLES = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=25)


@given(TRIPLES)
def test_the_front_is_what_nothing_beats(triples):
    known = [scored(i + 1, (s / 5,), f, c) for i, (s, f, c) in enumerate(triples)]
    front = front_of(known)
    kept = [(one.score, one.cost.flash, one.cost.cycles) for one in front]
    assert len(set(kept)) == len(kept) > 0
    for s, f, c in triples:
        point = (s / 5, f, c)
        beaten = any(a >= point[0] and b <= f and d <= c and (a, b, d) != point for a, b, d in kept)
        assert (point in kept) != beaten
    assert [one.cost.flash for one in front] == sorted(one.cost.flash for one in front)


@settings(max_examples=50)
@given(TRIPLES, st.integers(1, 5))
def test_the_best_within_the_budget_always_goes_on(triples, flash):
    known = [scored(i + 1, (s / 5,), f, c) for i, (s, f, c) in enumerate(triples)]
    budget = Budget(max_flash=flash)
    alive = [one for one in known if one.cost.flash <= flash]
    going = promote(known, budget)
    assert all(one in alive for one in going)
    assert len(going) == len({one.trial.number for one in going}) == min(len(alive), max(10, -(-len(known) // 3)))
    if alive:
        assert best_of(alive) in going


def test_a_small_fair_model_is_not_dropped_for_a_large_good_one():
    known = [scored(i, (0.9 + i / 1000,), 9000 + i, 9000) for i in range(1, 40)] + [scored(40, (0.7,), 100, 100)]
    assert known[-1] in promote(known, Budget())


def test_failed_trials_do_not_go_on():
    failed = Scored(Trial(1, "rf", "rich"), error="the forest has too many nodes")
    assert promote([failed, scored(2, (0.5,), 10)], Budget()) == [scored(2, (0.5,), 10)]
    assert front_of([failed]) == []


def test_the_smallest_good_enough_is_preferred():
    small = scored(1, (0.80, 0.70, 0.81), 1000)
    middle = scored(2, (0.84, 0.74, 0.86), 2000)
    best = scored(3, (0.85, 0.75, 0.85), 3000)
    huge = scored(4, (0.99, 0.99, 0.99), 90_000)
    known, budget = [best, small, huge, middle], Budget(max_flash=8000)
    # The folds differ by far more than the models; fold by fold the small one is clearly worse.
    assert preference(known, budget) == [middle, best]
    assert preference(known, replace(budget, min_score=0.76)) == [small, middle, best]
    assert preference(known, replace(budget, min_score=0.9)) == []
    assert preference(known, Budget(max_flash=10)) == []


def test_scores_by_every_metric():
    labels = np.array([0, 0, 1, 1], dtype=np.uint8)
    probability = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.6, 0.4]])
    assert score(labels, probability, "accuracy") == 0.5
    assert score(labels, probability, "balanced_accuracy") == 0.5
    assert score(labels, probability, "roc_auc") == 0.75
    assert score(labels, probability, "pr_auc") == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def small(train_dir: Path, **changes) -> SearchOptions:
    asked = {"families": ("logreg", "dt"), "trials": 8, "folds": 3, "backend": "serial", **changes}
    return SearchOptions(train_dir=train_dir, out=train_dir.parent / "search.md", **asked)


def test_a_search_ends_with_a_model_that_keeps_to_the_budget(train_dir):
    options = small(train_dir, budget=Budget(min_score=0.7, max_flash=6000, max_cycles=40_000))
    found = search(options, Progress(), train_dir.parent / "search.json")
    assert found.cost.flash <= 6000
    assert found.cost.cycles <= 40_000
    report = json.loads((train_dir.parent / "search.json").read_text())
    assert report["chosen"]["score"] >= 0.7
    assert report["rungs"] == [8, 8]
    front = [row["number"] for row in report["front"]]
    assert report["chosen"]["number"] in front
    assert {row["folds"] for row in report["front"]} == {3}
    text = options.out.read_text()
    assert f"**{report['chosen']['name']}**" in text
    assert "search.png" in text
    again = options.out.read_bytes(), options.out.with_suffix(".png").read_bytes()
    search(replace(options, backend="processes", workers=2), Progress())
    assert (options.out.read_bytes(), options.out.with_suffix(".png").read_bytes()) == again


def test_no_training_on_held_out_windows(train_dir, tmp_path):
    """Other held-out windows, same search."""
    toy = toy_dataset(per_class=60)
    other = np.where(toy.held_out[:, None, None], -toy.windows, toy.windows)
    write_dataset(replace(toy, windows=other, meta={"inputs": [], "subjects": []}), tmp_path / "other")
    reports = []
    for folder in (train_dir, tmp_path / "other"):
        report = search(small(folder), Progress()).report
        reports.append([report["trials"], report["chosen"]["name"]])
    assert reports[0] == reports[1]


@pytest.mark.parametrize(
    ("budget", "complaint"),
    [
        (Budget(max_flash=100), r"none of 8 models fits the board's budget; the smallest, .* takes about"),
        (Budget(min_score=1.01), r"none of 8 models reaches PR AUC 1.01 within the budget; the best there, .* has 0\."),
    ],
)
def test_an_impossible_budget_is_said_and_the_report_written(train_dir, budget, complaint):
    options = small(train_dir, budget=budget)
    with pytest.raises(CheckFailedError, match=complaint):
        search(options, Progress())
    assert "**No model that was tried keeps to the budget.**" in options.out.read_text()


def test_data_that_cannot_be_folded(train_dir, tmp_path):
    toy = toy_dataset(per_class=40)
    write_dataset(replace(toy, groups=toy.groups % 1, meta={"inputs": [], "subjects": []}), tmp_path / "one")
    with pytest.raises(InputError, match=r"has 1 group\(s\) to train on, folds need two"):
        search(small(tmp_path / "one"), Progress())
    only = toy.rows(toy.labels == 1)
    write_dataset(replace(only, meta={"inputs": [], "subjects": []}), tmp_path / "single")
    with pytest.raises(InputError, match="class 'class 0' has no training windows"):
        search(small(tmp_path / "single"), Progress())
    with pytest.raises(UsageError, match="--folds must be at least 2"):
        small(train_dir, folds=1)
    with pytest.raises(UsageError, match="--metric 'luck' is unknown"):
        small(train_dir, metric="luck")


def test_the_picture_marks_budget_front_and_choice(tmp_path):
    points = [
        ParetoPoint(f"m{i}", family, 0.5 + 0.1 * i, 0.02, 1000.0 * 2**i, 3000.0 * 2**i, i > 0, i > 0, i == 2)
        for i, family in enumerate(("logreg", "logreg", "mlp", "rf"))
    ]
    path = tmp_path / "p.png"
    plot_pareto(points, path, score="PR AUC", min_score=0.6, max_flash=8192, max_cycles=40_000)
    first = path.read_bytes()
    image = matplotlib.image.imread(path)
    assert image.shape[0] > 400
    assert image.shape[1] > 1000
    red = (image[:, :, 0] > 0.7) & (image[:, :, 1:3] < 0.45).all(axis=2)
    assert red.any(axis=1).sum() > 100  # the budget's upright lines
    assert red.any(axis=0).sum() > 300  # the score's level one
    plot_pareto(points, path, score="PR AUC", min_score=0.6, max_flash=8192, max_cycles=40_000)
    assert path.read_bytes() == first
    plot_pareto(points, path, score="PR AUC")
    assert path.read_bytes() != first
    with pytest.raises(UsageError, match="no models to draw"):
        plot_pareto([], path, score="PR AUC")
