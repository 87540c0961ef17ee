"""`stinger train` on datasets nobody would want: a result or one clear line, never a traceback, nothing left out."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from cli_in_process import run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy import toy_dataset

from stinger.sessions.session import STINGER_CHANNELS
from stinger.windows.dataset import Dataset
from stinger.windows.store import write_dataset

#: Options that keep a fit short; what is tested here is everything around it.
QUICK = {
    "mlp": ("--option", "max_iter=5", "--mlp-hidden", "4"),
    "rf": ("--trees", "3"),
    "et": ("--trees", "3"),
    "hgb": ("--trees", "3"),
}
FAMILIES = ("logreg", "ridge", "mlp", "rf", "et", "hgb", "dt")
FEATURES = ("summary", "rich", "invariant", "flatten", "float-rich", "float-invariant-rich")


def train(dataset: Dataset, *options: object) -> tuple[int, str, list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(dataset, Path(folder) / "train")
        return run("train", "--train-dir", Path(folder) / "train", *options)


@st.composite
def datasets(draw) -> Dataset:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, window = draw(st.integers(1, 60)), draw(st.sampled_from([2, 8, 50]))
    classes = draw(st.sampled_from([1, 2, 2, 2, 3, 4]))
    present = draw(st.sampled_from([1, classes, classes, classes, classes]))
    labels = rng.integers(0, present, n)
    shape = (n, window, 6)
    windows = draw(
        st.sampled_from(
            [
                rng.integers(-32768, 32768, shape),
                rng.normal(0, 300, shape) + 2000 * labels[:, None, None],
                np.zeros(shape),
                np.full(shape, -32768),
                np.where(np.arange(6) == 1, 0, rng.normal(0, 300, shape)),
            ]
        )
    )
    groups = rng.integers(0, draw(st.integers(1, 12)), n)
    subject = draw(st.sampled_from([None, np.arange(n) % 3, np.arange(n) % 3 - 1]))
    held_out = groups % 3 == 0 if draw(st.booleans()) else rng.random(n) < draw(st.sampled_from([0, 0.1, 0.5, 1]))
    return Dataset(
        windows=windows.astype(np.int16),
        labels=labels.astype(np.uint8),
        classes=tuple(f"class {k}" for k in range(classes)),
        groups=groups.astype(np.int64),
        held_out=held_out,
        session=rng.integers(0, 3, n),
        start=np.arange(n, dtype=np.int64) * draw(st.sampled_from([0, 1, window // 2, window])),
        channels=STINGER_CHANNELS,
        period_us=10_000,
        lead_us=0,
        meta={"inputs": [{"name": str(k), "sha256": f"{k:064x}"} for k in range(3)], "subjects": ["a", "b", "c"]},
        subject=subject if subject is not None and (subject >= 0).any() else None,
    )


def no_constant(name: str) -> float:
    raise AssertionError(f"{name} in JSON")


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    dataset=datasets(),
    family=st.sampled_from(FAMILIES),
    features=st.sampled_from(FEATURES),
    more=st.sampled_from(
        [
            (),
            ("--split", "group"),
            ("--split", "random", "--test-size", "0.5"),
            ("--split", "time", "--no-embargo"),
            ("--split", "subject"),
            ("--split", "session"),
            ("--max-rows", "7"),
            ("--threshold-folds", "0"),
            ("--threshold-folds", "30"),
        ]
    ),
)
def test_any_dataset_gives_a_result_or_one_clear_line(dataset, family, features, more):
    options = ("--model", family, "--features", features, *QUICK.get(family, ()), *more)
    code, out, complaints = train(dataset, *options, "--json")
    assert code in (0, 2, 3), complaints
    if code:
        assert out == ""
        assert len(complaints) == 1, complaints
        assert complaints[0].startswith("stinger: ")
        return
    assert complaints == []
    result = json.loads(out, parse_constant=no_constant)
    report = result["report"]
    split = result["split"]
    assert split["held_out_windows"] == report["windows"] == np.sum(report["confusion"])
    assert split["train_windows"] == result["metrics"]["train_windows"]
    total = split["train_windows"] + split["held_out_windows"] + split["embargoed_training_windows"]
    assert total == len(dataset) or "--max-rows" in more
    for one in report["classes"]:
        assert one["windows"] > 0
        assert all(0 <= figure["value"] <= 1 for figure in one["figures"].values())
    if len(dataset.classes) == 2 and result["metrics"]["threshold_folds"] < 5 and "--threshold-folds" not in more:
        assert any("the threshold was" in note for note in result["notes"])


TOY = toy_dataset(per_class=40)
LATE = np.arange(len(TOY)) >= 60
ONE_CLASS = {"labels": np.zeros(80, np.uint8)}


@pytest.mark.parametrize(
    ("change", "options", "code", "line"),
    [
        (ONE_CLASS, (), 3, "class 'class 1' has no training windows; record more of it or hold out other recordings"),
        (
            {**ONE_CLASS, "classes": ("only",)},
            (),
            3,
            "the dataset has 1 class(es), a classifier needs two; add recordings",
        ),
        (
            {"labels": (TOY.labels * TOY.held_out).astype(np.uint8)},
            (),
            3,
            "class 'class 1' has no training windows; record more of it or hold out other recordings",
        ),
        (
            {"labels": (TOY.labels * ~TOY.held_out).astype(np.uint8)},
            (),
            3,
            "class 'class 1' has no held-out windows; record more of it or hold out other recordings",
        ),
        (
            {"held_out": np.zeros(80, bool)},
            (),
            3,
            "the dataset has no held-out windows; hold out some recordings, not all of them",
        ),
        (
            {"groups": np.zeros(80, np.int64)},
            ("--split", "group"),
            3,
            "a split by group needs at least two, there is 1; choose another --split",
        ),
        ({}, ("--split", "subject"), 3, "the recordings do not all say who was recorded; choose another --split"),
        (
            {},
            ("--split", "given"),
            3,
            "no recording says whether it is for training or testing; choose another --split",
        ),
        (
            {},
            ("--split", "shot"),
            2,
            "--split 'shot' is unknown; choose auto, given, random, time, group, session, subject",
        ),
        ({}, ("--test-size", "1"), 2, "--test-size must be above 0 and below 1, is 1"),
        ({}, ("--threshold-folds", "1"), 2, "--threshold-folds must be 0 or at least 2, is 1"),
        (
            {},
            ("--max-rows", "3"),
            3,
            "--max-rows 3 leaves no training windows of 'class 0': whole groups are kept, and there are 20 of 4 to 4 "
            "windows; raise it",
        ),
        (
            {"windows": TOY.windows[:, :2]},
            ("--features", "invariant"),
            2,
            "a window of invariant features must have 4 to 1024 samples, not 2",
        ),
        ({}, ("--mlp-hidden", "64,32"), 2, "--mlp-hidden is for networks with hidden layers; logreg has none"),
        (
            {},
            ("--model", "mlp", "--mlp-hidden", "64x"),
            2,
            "--mlp-hidden '64x' is not a list of layer sizes like 64,32",
        ),
        ({}, ("--mlp-alpha", "2"), 2, "--mlp-alpha is for networks with hidden layers; logreg has none, see --option"),
        ({}, ("--trees", "9"), 2, "--trees is for forests and boosted trees; logreg has no number of trees"),
        ({}, ("--option", "C"), 2, "--option 'C' is not NAME=VALUE; logreg takes C, max_iter"),
        ({}, ("--option", "D=1"), 2, "logreg has no option 'D'; it takes C, max_iter"),
        ({}, ("--option", "C=inf"), 2, "--option C=inf: expected a value like 1.0"),
    ],
)
def test_what_cannot_be_trained_is_one_line(change, options, code, line):
    assert train(replace(TOY, **change), *options) == (code, "", [f"stinger: {line}"])


def notes(dataset: Dataset, *options: object) -> list[str]:
    code, out, complaints = train(dataset, *options, "--json")
    assert (code, complaints) == (0, [])
    found: list[str] = json.loads(out)["notes"]
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_a_constant_channel_is_said(family):
    windows = TOY.windows.copy()
    windows[:, :, 4] = 17
    said = notes(replace(TOY, windows=windows), "--model", family, *QUICK.get(family, ()), "--threshold-folds", "2")
    assert "constant in all training windows, so nothing to learn from: gy" in said


def test_fewer_shots_than_folds_is_said():
    # Shots in three groups of the training part.
    groups = np.where(TOY.labels == 1, 100 + np.arange(80) % 3, TOY.groups)
    few = replace(TOY, groups=groups, held_out=LATE)
    line = "the threshold was chosen on 3 folds only: there are too few groups of a class to train on for 5"
    assert line in notes(few)
    one = replace(few, groups=np.where(TOY.labels == 1, 100, TOY.groups))
    line = "the threshold was not chosen but 0.5: class 'class 1' has 1 group(s) to train on, folds need two"
    assert line in notes(one)


def test_a_leak_is_said_and_the_embargo_prevents_it():
    overlapping = replace(TOY, start=np.arange(80, dtype=np.int64) * 20)
    said = notes(overlapping, "--split", "random", "--no-embargo")
    assert said == ["leak: 19 of 20 held-out windows (95%) share samples with training"]
    code, out, complaints = train(replace(overlapping, start=overlapping.start * 2), "--split", "group", "--json")
    assert (code, complaints) == (0, [])
    result = json.loads(out)
    assert result["split"]["embargoed_training_windows"] > 0
    assert result["split"]["held_out_sharing_samples"] == 0
    assert result["notes"] == []


def test_a_feature_that_is_not_a_number_is_one_line():
    def broken(self, windows):
        vectors = np.ones((len(windows), 30))
        vectors[0, 7] = np.nan
        return vectors

    with mock.patch("stinger.features.floating.FloatFeatures.compute", broken):
        code, out, complaints = train(TOY, "--features", "float-rich")
    assert (code, out) == (3, "")
    assert complaints == [
        "stinger: feature 'std_ay' is not a number in 1 of 60 training windows; choose an integer feature set or leave "
        "those recordings out"
    ]
