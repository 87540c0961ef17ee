"""Styles: reproducible people who differ in what a model sees, with truths that fit their recordings."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest

from stinger.errors import InputError, UsageError
from stinger.sessions.read import read_sessions
from stinger.sessions.session import Event
from stinger.synth.shots import make_session
from stinger.synth.styles import PARAMETERS, STANDARD, STYLES, Style, find_style
from stinger.workflow.progress import Progress
from stinger.workflow.synth import SynthOptions, synth_shots

#: What `make_session(1)` has always made.
FIRST_SESSION = "c43302210811140200d227728e1385cec71a69a4830f499efd9ada084fd0f479"


@pytest.fixture(scope="module")
def sessions():
    # On an average day.
    return {name: make_session(3, 6, style.changed({"spread": 0})) for name, style in STYLES.items()}


def digest(session):
    return hashlib.sha256(session.t_us.tobytes() + session.samples.tobytes() + session.trigger.tobytes()).hexdigest()


def test_the_standard_session_is_what_it_was():
    session, truth = make_session(1)
    assert digest(session) == FIRST_SESSION
    assert truth.style == STANDARD


def test_there_are_several_people_and_all_differ(sessions):
    assert len(STYLES) >= 5
    assert len({digest(session) for session, _ in sessions.values()}) == len(STYLES)
    assert [session.subject for session, _ in sessions.values()] == list(STYLES)


@pytest.mark.parametrize("name", STYLES)
def test_each_is_the_same_again_and_another_day_different(name):
    style = STYLES[name]
    first, again, tomorrow = make_session(7, 0.3, style), make_session(7, 0.3, style), make_session(8, 0.3, style)
    assert digest(first[0]) == digest(again[0])
    assert first[0].events == again[0].events
    assert first[1] == again[1]
    assert digest(first[0]) != digest(tomorrow[0])
    if style.spread:
        assert first[1].style != tomorrow[1].style
        assert first[1].style.travel == tomorrow[1].style.travel
    assert len(first[0]) == 1800


def holds(session, truth):
    marked = [(s.start_us, s.stop_us) for s in truth.activities if s.activity == "hold"]
    inside = np.zeros(len(session), dtype=bool)
    for start, stop in marked:
        inside |= (session.t_us >= start) & (session.t_us < stop)
    return session.samples[inside].astype(float)


def seconds(truth, *names):
    return sum(s.stop_us - s.start_us for s in truth.activities if s.activity in names) / 1e6


def test_styles_show_where_they_say(sessions):
    def gravity(name):
        return holds(*sessions[name])[:, :3].mean(axis=0) / 2048

    # Tilted by 70 degrees to the left: gravity is read along +Y, hardly along Z; from the hip the muzzle is low.
    assert gravity("tilted")[1] > 0.75
    assert abs(gravity("standard")[1]) < 0.1
    assert gravity("standard")[2] < -0.95
    assert gravity("rapid")[0] > gravity("standard")[0] + 0.1 > gravity("hip")[0] + 0.2
    shaking = {name: np.abs(holds(*made)[:, 3:]).mean() for name, made in sessions.items()}
    assert shaking["steady"] < 0.7 * shaking["standard"] < 0.5 * shaking["nervous"]
    truths = {name: truth for name, (_, truth) in sessions.items()}
    assert len(truths["rapid"].shots_us) > 2 * len(truths["standard"].shots_us)
    only = {name: np.mean([not aim.fired for aim in truth.aims]) for name, truth in truths.items()}
    assert only["rapid"] < only["standard"] < only["nervous"]
    aiming = {name: np.mean([a.stop_us - a.start_us for a in truth.aims]) for name, truth in truths.items()}
    assert aiming["rapid"] < 0.7 * aiming["standard"] < 0.5 * aiming["steady"]
    assert seconds(truths["runner"], "run") > 2 * seconds(truths["steady"], "run", "walk")


def test_usb_sessions_leave_gaps():
    style = STANDARD.changed({"service": 0.3})
    session, truth = make_session(2, 2, style)
    services = [s for s in truth.activities if s.activity == "service"]
    assert services
    for s in services:
        assert not ((session.t_us >= s.start_us) & (session.t_us < s.stop_us)).any()


def test_fifteen_minutes_have_the_gaps_of_real_logs(sessions):
    """REFERENCE 1.1: about 40 in 15 minutes, up to some 20 s."""
    gaps = []
    for style in STYLES.values():
        session, _ = make_session(5, 15, style)
        steps = np.diff(session.t_us)[session.gap_before[1:]]
        assert steps.max() < 20_000_000
        gaps.append(len(steps))
    assert 25 <= np.median(gaps) <= 60


def test_events_are_the_truth(sessions):
    session, truth = sessions["steady"]
    assert {event.kind for event in session.events} == {"mark"}
    assert [e.start_us for e in session.events if e.label == "shot"] == list(truth.shots_us)
    fired = [(e.start_us, e.end_us) for e in session.events if e.label == "aim fired"]
    assert fired == [(a.start_us, a.stop_us) for a in truth.aims if a.fired]
    assert Event(
        truth.activities[0].start_us, truth.activities[0].stop_us, "activity walk", "mark"
    ) in session.events or (truth.activities[0].activity != "walk")
    starts = [event.start_us for event in session.events]
    assert starts == sorted(starts)
    assert sum(e.label.startswith("activity ") for e in session.events) == len(truth.activities)


@pytest.mark.parametrize(
    "changes",
    [
        {"tremor": 9},
        {"feint": -0.1},
        {"burst": 1.0},
        {"roll_deg": 91},
        {"aim_speed": float("nan")},
        {"walk": 0, "run": 0, "handle": 0},
    ],
)
def test_nobody_plays_like_that(changes):
    with pytest.raises(UsageError):
        STANDARD.changed(changes)


def test_every_parameter_changes_the_session():
    before = digest(make_session(4, 1, STANDARD.changed({"service": 0.1}))[0])
    for name in PARAMETERS:
        value = getattr(STANDARD, name)
        changed = STANDARD.changed({"service": 0.1, name: value * 0.5 if value > 0.5 else value + 0.4})
        assert digest(make_session(4, 1, changed)[0]) != before, name


def test_names():
    assert find_style("hip").name == "hip"
    with pytest.raises(UsageError, match="unknown style 'nobody'; known: standard, steady"):
        find_style("nobody")
    assert {field.name for field in dataclasses.fields(Style)} == {"name", *PARAMETERS}


def test_a_still_hand_gets_its_session_nevertheless():
    calm = Style(name="calm", tremor=0.1, hold_time=5, squeeze=0.1, travel=0.0, rest=0.95, feint=0.9, feint_squeeze=0.0)
    session, _ = make_session(1, 2, calm)
    assert len(session) == 12_000


def test_a_file_has_its_truth_beside_it(tmp_path):
    out = tmp_path / "a.bin"
    rows = synth_shots(SynthOptions(out, (STYLES["hip"],), seed=5, minutes=0.5), Progress())
    truth = json.loads((tmp_path / "a.truth.json").read_text())
    session, exact = make_session(5, 0.5, STYLES["hip"])
    (read,) = read_sessions(out)
    assert digest(read) == digest(session)
    assert truth["shots_us"] == list(exact.shots_us)
    assert truth["subject"] == "hip"
    assert truth["style"] == exact.style.numbers()
    assert len(truth["aims"]) == rows[0]["aims_fired"] + rows[0]["aims_only"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.bin", "a.truth.json"]


def test_mcap_holds_marks_and_subject(tmp_path):
    synth_shots(SynthOptions(tmp_path / "a.mcap", (STYLES["runner"],), minutes=0.5), Progress())
    (read,) = read_sessions(tmp_path / "a.mcap")
    session, _ = make_session(1, 0.5, STYLES["runner"])
    assert (read.subject, read.events) == (session.subject, session.events)
    assert digest(read) == digest(session)


def test_a_directory_holds_every_session(tmp_path):
    styles = (STYLES["hip"], STYLES["steady"])
    out = tmp_path / "users"
    options = SynthOptions(out, styles, minutes=0.3, sessions=2)
    synth_shots(options, Progress())
    first = {p.name: p.read_bytes() for p in out.iterdir()}
    assert sorted(n for n in first if n.endswith(".bin")) == ["hip-1.bin", "hip-2.bin", "steady-1.bin", "steady-2.bin"]
    assert len(read_sessions(out)) == 4
    synth_shots(options, Progress())
    assert {p.name: p.read_bytes() for p in out.iterdir()} == first


def test_wishes_that_contradict_themselves(tmp_path):
    hip = STYLES["hip"]
    for wrong in (
        {"out": tmp_path / "a.bin", "styles": (hip,), "sessions": 2},
        {"out": tmp_path / "a", "styles": (hip, hip)},
        {"out": tmp_path / "a.xyz", "styles": (hip,)},
        {"out": tmp_path / "a", "styles": (hip,), "suffix": ".xyz"},
        {"out": tmp_path / "a", "styles": (hip,), "sessions": 100_000},
    ):
        with pytest.raises(UsageError):
            SynthOptions(**wrong)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(InputError):
        synth_shots(SynthOptions(tmp_path / "mine", (hip,), minutes=0.3), Progress())
