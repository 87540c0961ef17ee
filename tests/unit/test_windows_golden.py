"""In reference mode explore makes what the Stinger's own exporter made, byte for byte."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stinger.sessions.stinger_log import read_bin, read_csv
from stinger.windows.explore import assemble, cut_session
from stinger.windows.exporter import exporter_summary
from stinger.windows.shot_rules import find_shots, rising_edges
from stinger.windows.spec import preset
from stinger.windows.splits import leakage, split
from stinger.windows.store import read_dataset, write_dataset

GOLDEN = Path(__file__).parent.parent / "data" / "golden"
SPECS = {
    "default": preset("default", gap_policy="reference"),
    "near": preset("default", gap_policy="reference", neg_strategy="near", neg_mult=1),
    "far_motion": preset(
        "default",
        gap_policy="reference",
        neg_mult=3,
        neg_min_motion_quantile=0.3,
        neg_avoid_edges="accepted",
        seed=7,
    ),
    "recommended": preset("recommended", gap_policy="reference"),
}
WINDOW, LEAD = 50, 10


@pytest.fixture(scope="module")
def session():
    return read_bin(GOLDEN / "session_a.bin")


@pytest.fixture(scope="module")
def made(session):
    return {name: assemble([cut_session(session, spec)], spec) for name, spec in SPECS.items()}


@pytest.mark.parametrize("name", SPECS)
def test_an_export_is_the_reference_exporters(made, tmp_path, name):
    write_dataset(made[name], tmp_path / "train")
    expected = GOLDEN / f"export_a_{name}"
    for file in ("windows_i16le.bin", "labels_u8.bin", "index.csv"):
        assert (tmp_path / "train" / file).read_bytes() == (expected / file).read_bytes(), file
    meta = json.loads((tmp_path / "train" / "meta.json").read_text())
    summary = exporter_summary(made[name].meta)
    for theirs, ours in (("meta.json", meta), ("summary.json", summary)):
        wanted = json.loads((expected / theirs).read_text())
        assert {key: ours.get(key) for key in wanted} == wanted


def test_an_export_in_their_layout_reads_back_with_our_columns(made, tmp_path):
    write_dataset(made["recommended"], tmp_path / "train")
    again = read_dataset(tmp_path / "train", whole=True)
    for column in ("windows", "labels", "session", "start", "groups", "held_out", "embargoed"):
        np.testing.assert_array_equal(getattr(again, column), getattr(made["recommended"], column))
    assert again.meta.keys() == made["recommended"].meta.keys()
    for key, value in made["recommended"].meta.items():
        np.testing.assert_equal(again.meta[key], value)
    trainable = read_dataset(tmp_path / "train")
    assert trainable.embargoed is None
    assert len(trainable) == len(again) - again.embargoed.sum() < len(again)


def test_the_logs_csv_form_gives_the_same_windows(session):
    csv = read_csv(GOLDEN / "session_a_first2000.csv")
    head = replace(session, t_us=session.t_us[:2000], samples=session.samples[:2000], trigger=session.trigger[:2000])
    cuts = [cut_session(one, SPECS["default"]) for one in (csv, head)]
    assert cuts[0].labels.tolist() == [1] * 8 + [0] * 8
    np.testing.assert_array_equal(cuts[0].windows, cuts[1].windows)
    assert cuts[0].facts["sha256"] == cuts[1].facts["sha256"]


# What the reference does wrong (REFERENCE 1.8), counted in its own exports without our code's help, and in ours.


def lies(session, dataset, avoid_post_ms, edges):
    gap = np.flatnonzero(session.gap_before)
    count = {"gap": 0, "trigger": 0, "zone": 0}
    for label, a in zip(dataset.labels.tolist(), dataset.start.tolist(), strict=True):
        t_us = session.t_us[a : a + WINDOW]
        count["gap"] += bool(((gap > a) & (gap < a + WINDOW)).any())
        count["trigger"] += bool(session.trigger[a : a + WINDOW].any())
        if label == 0:
            since = t_us[:, None] - session.t_us[edges]
            count["zone"] += bool(((since >= -600_000) & (since <= avoid_post_ms * 1000)).any())
    return count


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("default", {"gap": 0, "trigger": 6, "zone": 8}),
        ("near", {"gap": 4, "trigger": 6, "zone": 6}),
        ("far_motion", {"gap": 3, "trigger": 6, "zone": 10}),
        ("recommended", {"gap": 15, "trigger": 6, "zone": 19}),
    ],
)
def test_strict_is_free_of_windows_that_lie(session, made, name, expected):
    spec = SPECS[name]
    if spec.neg_avoid_edges == "all":
        edges = rising_edges(session.trigger.astype(bool))
    else:
        edges = find_shots(session).accepted
    assert lies(session, made[name], spec.neg_avoid_post_ms, edges) == expected
    tolerated = made[name].meta["tolerated"]
    assert tolerated.get("shot: it spans a gap", 0) + tolerated.get("idle: it spans a gap", 0) == expected["gap"]
    assert tolerated["shot: the trigger is down inside"] == expected["trigger"]
    assert tolerated["idle: in a forbidden zone"] == expected["zone"]

    strict = replace(spec, gap_policy="strict")
    dataset = assemble([cut_session(session, strict)], strict)
    assert (dataset.labels == 1).sum() == 35
    assert (dataset.labels == 0).sum() >= 32
    assert lies(session, dataset, spec.neg_avoid_post_ms, edges) == {"gap": 0, "trigger": 0, "zone": 0}
    assert dataset.meta["tolerated"] == {}
    assert dataset.meta["refused"]["shot: trigger down inside the window"] == 6
    assert dataset.meta["refused"]["idle candidate: it spans a gap"] == 1029


def shared(dataset, test, train):
    """Held-out windows that share a sample with training, by comparing all pairs."""
    near = np.abs(dataset.start[:, None] - dataset.start[None, :]) < WINDOW
    return int((near & train[None, :]).any(axis=1)[test].sum())


def test_the_references_splits_leak_and_ours_do_not(made):
    dataset = made["recommended"]
    report = leakage(dataset)
    assert 0.55 <= report["random"]["without_embargo"] <= 0.75
    assert 0.005 <= report["group"]["without_embargo"] <= 0.1
    assert all(one.get("with_embargo", 0.0) == 0.0 for one in report.values())
    assert set(report) - {"session", "subject", "given"} == {"random", "time", "group"}
    assert "at least two" in report["session"]["impossible"]
    for kind in ("random", "time", "group"):
        leaky = split(dataset, kind, embargo=False)
        assert shared(dataset, leaky.test, leaky.train) == leaky.leak.shared == leaky.leak.remaining
        tight = split(dataset, kind)
        np.testing.assert_array_equal(tight.test, leaky.test)
        assert shared(dataset, tight.test, tight.train) == tight.leak.remaining == 0
        assert tight.leak.embargoed == (~tight.test & ~tight.train).sum()
    assert split(dataset, "random", embargo=False).leak.shared > 40
