"""The table of a recording's quality complains about what is wrong, and about nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from stinger.errors import UsageError
from stinger.sessions.session import Channel, Session
from stinger.sessions.vectors import vector_columns, vector_strength
from stinger.synth.imperfections import PERFECT, Imperfections
from stinger.synth.magnetic import generate, streams
from stinger.synth.mishaps import Mishaps, spoil
from stinger.synth.patterns import PATTERNS, pattern_plan
from stinger.workflow.data_quality import data_quality, quality_markdown, quality_table


def field(level="mixed", pattern="complex", levels=None, seconds=45.0, seed=3):
    plan = pattern_plan(pattern, level, seconds, 100.0, streams(seed)[0])
    return generate(plan, Imperfections() if levels is None else levels, name="x", seed=seed).session


def complaints(session) -> dict[str, str]:
    return {finding.what: finding.complaint for finding in data_quality(session) if not finding.fine}


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("level", ["none", "low", "high", "mixed"])
def test_generated_recordings_are_fine(level, pattern):
    assert complaints(field(level, pattern)) == {}


@pytest.mark.parametrize(
    ("mishaps", "what", "words"),
    [
        (Mishaps(pauses=2), "gaps", "samples are missing"),
        (Mishaps(jitter=0.08), "rate jitter", "ticks are uneven"),
        (Mishaps(gain=3.5), "saturation", "larger range"),
        (Mishaps(gain=0.5), "field strength", "calibrate"),
        (Mishaps(gain=1.5), "gravity", "should be 1 g"),
        (Mishaps(relabel={"none": "low", "high": "low"}), "labels", ""),
    ],
)
def test_each_mishap_is_noticed(mishaps, what, words):
    spoiled = spoil(field(), mishaps)
    found = complaints(spoiled)
    if words:
        assert words in found[what]
    else:
        assert [f.measured for f in data_quality(spoiled) if f.what == what] == ["low 100.0%"]


def test_labels_without_meaning_are_noticed():
    """The shipped plans of the predecessor had no world vector: every level the same field."""
    plan = pattern_plan("complex", "mixed", 60.0, 100.0, streams(1)[0])
    mute = replace(plan, segments=tuple(replace(s, world=(0.0, 0.0, 0.0)) for s in plan.segments))
    found = complaints(generate(mute, Imperfections(), name="x", seed=1).session)
    assert list(found) == ["|m| by label"]
    assert "labels say nothing" in found["|m| by label"]


def test_labels_that_somebody_mixed_up_are_noticed():
    session = field(seconds=120.0)
    names = np.random.default_rng(1).permutation([event.label for event in session.events]).tolist()
    mixed = replace(session, events=tuple(replace(e, label=n) for e, n in zip(session.events, names, strict=True)))
    assert "labels are wrong" in complaints(mixed)["|m| by label"]


def test_a_sensor_that_repeats_itself():
    assert "repeated samples" in complaints(field("none", "stationary", PERFECT))


def test_rare_and_missing_labels():
    session = field()
    short = [replace(e, end_us=e.start_us + 500_000) if e.label == "high" else e for e in session.events]
    assert "'high' is rare" in complaints(replace(session, events=tuple(short)))["labels"]
    assert complaints(replace(session, events=()))["labels"] == "label it"
    assert complaints(replace(session, events=(), label="low")) == {}


def test_other_sensors_and_units_are_taken_as_they_are():
    rng = np.random.default_rng(1)
    channels = tuple(Channel(f"m{axis}", "uT", 1 / 16) for axis in "xyz")
    samples = rng.integers(300, 400, (500, 3)).astype(np.int16)
    session = Session("phone", np.arange(500) * 20_000, samples, channels, 20_000, label="none")
    table = quality_table(data_quality(session))
    assert [row[0] for row in table[1]] == [
        "length", "gaps", "rate jitter", "saturation", "repeated samples", "field strength", "labels",
    ]  # fmt: skip
    assert "uT" in {row[0]: row[1] for row in table[1]}["field strength"]
    assert vector_strength(session, "g") is None
    assert vector_columns(session, "m") == [0, 1, 2]
    expected = np.sqrt(((samples.astype(float) / 16) ** 2).sum(axis=1))
    np.testing.assert_allclose(vector_strength(session, "m"), expected)
    assert quality_markdown(data_quality(session)).startswith("| what | measured | verdict |")


def test_too_little_to_look_at():
    session = field()
    one = replace(session, t_us=session.t_us[:1], samples=session.samples[:1], events=())
    assert complaints(one) == {"length": "too short to say anything"}
    apart = replace(session, t_us=session.t_us * 10)
    assert complaints(replace(apart, events=()))["rate jitter"] == "nothing but gaps"


def test_mishaps_do_what_they_say():
    session = field()
    spoiled = spoil(session, Mishaps(pauses=3, pause_s=0.3, jitter=0.5, gain=100), seed=5)
    assert len(session) - 90 <= len(spoiled) < len(session)
    assert (np.diff(spoiled.t_us) > 0).all()
    assert (spoiled.samples.min(), spoiled.samples.max()) == (-32768, 32767)
    again = spoil(session, Mishaps(pauses=3, pause_s=0.3, jitter=0.5, gain=100), seed=5)
    np.testing.assert_array_equal(again.t_us, spoiled.t_us)
    same = spoil(session, Mishaps())
    np.testing.assert_array_equal(same.samples, session.samples)
    np.testing.assert_array_equal(same.t_us, session.t_us)
    whole = spoil(replace(session, label="low"), Mishaps(relabel={"low": "high"}))
    assert whole.label == "high"
    assert "low" not in {event.label for event in whole.events}


@pytest.mark.parametrize("bad", [{"pauses": -1}, {"pause_s": 0.0}, {"jitter": 2.0}, {"gain": 0.0}])
def test_impossible_mishaps_are_refused(bad):
    with pytest.raises(UsageError, match="0 to 1"):
        Mishaps(**bad)
