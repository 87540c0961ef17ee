"""What generated labels are worth: they carry information, nothing leaks, and sensors make it as hard as it is said."""

from dataclasses import replace

import numpy as np
import pytest

from stinger.errors import CheckFailedError, UsageError
from stinger.synth.imperfections import PERFECT, Imperfections
from stinger.synth.magnetic import generate, streams
from stinger.synth.patterns import PATTERNS, pattern_plan
from stinger.windows.cut import cut
from stinger.windows.spec import ExploreSpec
from stinger.workflow import bench_magnetic
from stinger.workflow.bench_magnetic import field_strength, forest_accuracy, make_session
from stinger.workflow.progress import Progress

RECORDINGS = 60


@pytest.fixture(scope="module")
def sessions():
    return [make_session(seed, Imperfections()) for seed in range(1, RECORDINGS + 1)]


def strengths(sessions):
    """Field strength of each window by its label."""
    dataset = cut(sessions, ExploreSpec(split="session"))
    mean = field_strength(dataset)[:, 0]
    return {name: mean[dataset.labels == label] for label, name in enumerate(dataset.classes)}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_levels_differ_in_field_strength(pattern):
    """A level that its world vector does not show would have the strength of none: 1, and no spread."""
    by_level = strengths([make_session(seed, Imperfections(), pattern=pattern) for seed in range(1, 13)])
    assert set(by_level) == {"none", "low", "high"}
    assert by_level["none"].mean() == pytest.approx(1, abs=0.01)
    # Of a sphere of radius 0.2 around the field: at 0.8 to 1.2, and evenly between.
    assert by_level["none"].std() < 0.02
    assert 0.08 < by_level["low"].std() < 0.16
    assert 0.78 < by_level["low"].min() < 0.88
    assert 1.12 < by_level["low"].max() < 1.22
    assert by_level["high"].std() > 0.35
    assert by_level["high"].mean() > 1.15


def test_a_forest_on_field_strength_knows_as_much_as_it_is_said(sessions):
    """Two numbers of a window, of recordings never seen: 0.88 of 720 segments, give or take three standard errors."""
    by_recording = forest_accuracy(sessions, "session")
    by_segment = forest_accuracy(sessions, "group")
    assert by_recording == pytest.approx(0.88, abs=0.036)
    assert by_segment == pytest.approx(by_recording, abs=0.03)


def test_labels_without_world_vectors_are_found_out():
    """The check of the checks: what the predecessor generated is told from none no better than by guessing."""
    sessions = []
    for seed in range(1, 25):
        plan = pattern_plan("complex", "mixed", 60, 100, streams(seed)[0])
        mute = replace(plan, segments=tuple(replace(s, world=(0.0, 0.0, 0.0)) for s in plan.segments))
        sessions.append(generate(mute, Imperfections(), name=str(seed), seed=seed).session)
    assert forest_accuracy(sessions, "session") == pytest.approx(1 / 3, abs=0.08)
    by_level = strengths(sessions)
    assert np.ptp([values.mean() for values in by_level.values()]) < 0.005
    assert all("distort nothing" in session.faults[0] for session in sessions)


def test_perfect_sensors_make_it_easier():
    good, bad = (
        forest_accuracy([make_session(seed, levels) for seed in range(1, 17)], "session")
        for levels in (PERFECT, Imperfections().scaled(6))
    )
    assert good > bad + 0.1


def test_the_bench_measures_what_it_says(monkeypatch):
    monkeypatch.setattr(bench_magnetic, "_TREES", 5)
    options = bench_magnetic.MagneticBenchOptions(minutes=0.5, recordings=8, repeats=1)
    report = bench_magnetic.bench_magnetic(options, Progress())
    speed = report["speed"]
    assert speed["samples"] == 3000
    assert speed["times_plain"] == pytest.approx(speed["plain_processor_seconds"] / speed["processor_seconds"])
    header, rows = bench_magnetic.table(report)
    assert [len(row) for row in rows] == [len(header)] * 2
    assert rows[0][1] == f"{report['labels'][0]['accuracy']['session']:.3f}"
    assert bench_magnetic.markdown(report).count("\n") == 3
    assert [line.split(" ", 2)[1] for line in bench_magnetic.facts(report)] == ["samples", "labelled"]


def test_a_bench_of_something_else_fails(monkeypatch):
    monkeypatch.setattr(bench_magnetic, "label_worth", lambda *_: [])
    monkeypatch.setattr(bench_magnetic, "GRAVITY", (0.0, 0.0, 1.0001))
    with pytest.raises(CheckFailedError, match="the plain generator has other values of acc_truth"):
        bench_magnetic.bench_magnetic(bench_magnetic.MagneticBenchOptions(0.1, 8, 1), Progress())
    with pytest.raises(UsageError, match="a bench needs"):
        bench_magnetic.MagneticBenchOptions(recordings=1)
