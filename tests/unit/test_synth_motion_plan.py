"""Motion plans: what is read is what was written, and everything else is one line that says where."""

import copy
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stinger.errors import InputError
from stinger.synth.imperfections import PERFECT
from stinger.synth.magnetic import generate
from stinger.synth.motion_plan import MAX_BYTES, Calibration, parse_plan, read_plan

PLAN = {
    "initialization": {
        "pose": {
            "origin": {"lat": 49.28, "lng": -123.1, "height": 12},
            "position": {"x": 0, "y": 1, "z": -2},
            "rotation": {"w": 0.5, "x": -0.5, "y": 0.5, "z": 0.5},
        },
        "start_time_ns": 1_600_000_000_000_000_000,
        "sample_rate": 100,
        "mag": {
            "calibration": {
                "bias": {"x": 0.1, "y": -0.2, "z": 0.3},
                "matrix": [[1, 0.01, 0], [0.01, 1.1, 0], [0, 0, 0.9]],
            }
        },
        "acc": {"calibration": {"bias": {"x": 0, "y": 0, "z": 0}, "matrix": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}},
        "gyro": {"calibration": {"bias": {"x": 0, "y": 0, "z": 0.01}, "matrix": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}},
    },
    "segments": [
        {
            "name": "roll",
            "duration_s": 1.5,
            "rotation_rpy_degrees": {"roll": 180, "pitch": 0, "yaw": 0},
            "mag_distortion": {"level": "none", "world_x": 0, "world_y": 0, "world_z": 0},
        },
        {
            "name": "all",
            "duration_s": 2,
            "rotation_rpy_degrees": {"roll": 90, "pitch": -30, "yaw": 400.5},
            "mag_distortion": {"level": "high", "world_x": 0.6, "world_y": 0, "world_z": -0.8},
        },
    ],
}


def changed(path, value):
    """Return the plan with the value at a path replaced, or removed if it is ``...``."""
    plan = copy.deepcopy(PLAN)
    *way, last = path
    place = plan
    for key in way:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return plan


def parse(plan):
    return parse_plan(json.dumps(plan).encode(), "p.json")


def test_a_plan_is_read():
    plan = parse(PLAN)
    assert (plan.sample_rate_hz, plan.step_ns, plan.start_ns) == (100, 10_000_000, 1_600_000_000_000_000_000)
    assert plan.rotation == (0.5, -0.5, 0.5, 0.5)
    assert (plan.origin, plan.position) == ((49.28, -123.1, 12), (0, 1, -2))
    assert [(s.name, s.duration_s, s.level) for s in plan.segments] == [("roll", 1.5, "none"), ("all", 2, "high")]
    assert plan.segments[1].rpy_degrees == (90, -30, 400.5)
    assert plan.segments[1].world == (0.6, 0, -0.8)
    assert plan.calibration("mag").bias == (0.1, -0.2, 0.3)
    assert plan.calibration("mag").matrix[0] == (1, 0.01, 0)


def test_it_is_written_as_it_is_read(tmp_path):
    plan = parse(PLAN)
    assert plan.to_json() == PLAN
    path = tmp_path / "plan.json"
    path.write_text("\ufeff" + json.dumps(plan.to_json()))
    assert read_plan(path) == plan


@pytest.mark.parametrize(
    "path",
    [
        ("initialization", "start_time_ns"),
        ("initialization", "gyro"),
        ("initialization", "mag"),
        ("initialization", "pose", "origin"),
        ("initialization", "pose", "position"),
        ("segments", 0, "mag_distortion", "world_x"),
    ],
)
def test_what_may_be_left_out(path):
    assert parse(changed(path, ...)).segments


SEGMENT, FIRST = ("segments", 1), ("initialization",)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("segments",), [], "segments must be a list of 1 to 10000 segments"),
        (("segments",), [PLAN["segments"][0]] * 10_001, "segments must be a list of 1 to 10000"),
        (("segments",), ..., "the plan lacks segments"),
        (("extra",), 1, "the plan has 'extra', known are initialization, segments"),
        ((*SEGMENT, "duration_s"), 0, r"segments\[1\]\.duration_s must be a number from 0\.01 to 20000, is 0"),
        ((*SEGMENT, "duration_s"), -3.5, r"segments\[1\]\.duration_s must be a number"),
        ((*SEGMENT, "duration_s"), "2", r"segments\[1\]\.duration_s must be a number from .*, is '2'"),
        ((*SEGMENT, "duration_s"), True, r"duration_s must be a number from .*, is True"),
        ((*SEGMENT, "duration_s"), [[]], r"duration_s must be a number from .*, is list"),
        ((*SEGMENT, "duration_s"), 1e9, "duration_s must be a number from 0.01 to 20000"),
        ((*SEGMENT, "duration_s"), 10**400, "duration_s must be a number from 0.01 to 20000"),
        ((*SEGMENT, "duration_s"), 19_999, "segments take 20,00[0-9] s, at 100 Hz more than 2,000,000 samples"),
        ((*SEGMENT, "rotation_rpy_degrees", "roll"), None, r"segments\[1\]\.rotation_rpy_degrees\.roll must be a"),
        ((*SEGMENT, "rotation_rpy_degrees", "yaw"), ..., r"segments\[1\]\.rotation_rpy_degrees lacks yaw"),
        ((*SEGMENT, "rotation_rpy_degrees"), 5, r"segments\[1\]\.rotation_rpy_degrees must be an object"),
        ((*SEGMENT, "mag_distortion", "level"), "medium", r"level is 'medium', known are none, low, high"),
        ((*SEGMENT, "mag_distortion", "level"), 2, r"level is 2, known are none, low, high"),
        ((*SEGMENT, "mag_distortion", "level"), {"a": 1}, r"level is dict, known are none"),
        ((*SEGMENT, "mag_distortion", "worldx"), 1, r"segments\[1\]\.mag_distortion has 'worldx', known are level"),
        ((*SEGMENT, "mag_distortion", "world_x"), 1e9, r"mag_distortion\.world_x must be a number from -100 to 100"),
        ((*SEGMENT, "mag_distortion", "world_x"), None, r"mag_distortion\.world_x must be a number"),
        ((*SEGMENT, "name"), "two\nlines", r"segments\[1\]\.name must be a text of one line"),
        ((*SEGMENT, "name"), "x" * 65, r"segments\[1\]\.name must be a text of one line and at most 64"),
        ((*SEGMENT, "name"), None, r"segments\[1\]\.name must be a text"),
        (SEGMENT, 3, r"segments\[1\] must be an object"),
        ((*FIRST, "sample_rate"), 0, "initialization.sample_rate must be a number from 1 to 10000, is 0"),
        ((*FIRST, "sample_rate"), 1e6, "initialization.sample_rate must be a number"),
        ((*FIRST, "start_time_ns"), -1, "initialization.start_time_ns must be whole nanoseconds"),
        ((*FIRST, "start_time_ns"), 1.5, "initialization.start_time_ns must be whole nanoseconds"),
        ((*FIRST, "pose", "rotation", "w"), 0.9, r"initialization.pose.rotation has length 1\.2"),
        ((*FIRST, "pose", "rotation", "w"), ..., "initialization.pose.rotation lacks w"),
        ((*FIRST, "pose"), ..., "initialization lacks pose"),
        ((*FIRST, "mag", "calibration", "matrix"), [[1, 0, 0]], "mag.calibration.matrix must be three rows of three"),
        ((*FIRST, "mag", "calibration", "matrix", 1, 2), "x", r"mag\.calibration\.matrix\[1\]\[2\] must be a number"),
        ((*FIRST, "mag", "calibration", "matrix"), [[1, 1, 0], [1, 1, 0], [0, 0, 1]], "matrix has no inverse"),
        ((*FIRST, "mag", "calibration", "matrix"), [[0] * 3] * 3, "matrix has no inverse"),
        ((*FIRST, "acc", "calibration", "bias", "z"), ..., "initialization.acc.calibration.bias lacks z"),
        ((*FIRST, "gyro", "calibration"), ..., "initialization.gyro lacks calibration"),
    ],
)
def test_what_is_wrong_is_named(path, value, message):
    with pytest.raises(InputError, match=message) as caught:
        parse(changed(path, value))
    text = str(caught.value)
    assert text.startswith("p.json: ")
    assert text.endswith("; correct the plan")
    assert "\n" not in text
    assert len(text) < 250


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not valid JSON"),
        (b"\xff\xfe{}", "is not valid JSON"),
        (b"[" * 100_000, "is not valid JSON"),
        (b'{"initialization": NaN}', "NaN is no number"),
        (b"[]", "the plan must be an object"),
        (b"1" * 5000, "is not valid JSON"),
        (b"null", "the plan must be an object"),
    ],
)
def test_what_is_no_plan(data, message):
    with pytest.raises(InputError, match=message):
        parse_plan(data, "p.json")


def test_a_file_too_large_is_not_read(tmp_path):
    path = tmp_path / "p.json"
    path.write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(InputError, match="larger than 4 MiB"):
        read_plan(path)
    with pytest.raises(InputError, match="does not exist; give a motion plan"):
        read_plan(tmp_path / "none.json")


def test_a_rotation_of_four_digits_becomes_a_unit():
    rotation = {"w": 0.7071, "x": 0.7071, "y": 0, "z": 0}
    plan = parse(changed(("initialization", "pose", "rotation"), rotation))
    assert np.linalg.norm(plan.rotation) == pytest.approx(1, abs=1e-15)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from([[], {}, [1], {"x": 1}, "high", 0, 1e-12, 1e300, "low"]),
)


def places(value, path=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


PLACES = list(places(PLAN))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(PLACES), st.one_of(VALUES, st.just(...)))
def test_any_change_makes_another_plan_or_one_line(path, value):
    text = json.dumps(changed(path, value)).replace("Infinity", "1e999")
    plan, message = None, ""
    try:
        plan = parse_plan(text.encode(), "p.json")
    except InputError as error:
        message = str(error)
    assert bool(message) != (plan is not None)
    assert "\n" not in message
    if plan is not None and sum(s.duration_s for s in plan.segments) < 100:
        short = str(generate_or_refuse(plan))
        assert "\n" not in short


def generate_or_refuse(plan):
    """What a plan that was accepted makes: finite values, or one line."""
    try:
        recording = generate(plan, PERFECT, name="p.mcap")
    except InputError as error:
        return error
    assert all(np.isfinite(values).all() for values in recording.topics.values())
    return len(recording.session)


def test_calibration_is_undone():
    calibration = Calibration((0.1, -0.2, 0.3), ((1.0, 0.1, 0.0), (-0.1, 0.9, 0.0), (0.05, 0.0, 1.2)))
    truth = np.random.default_rng(0).normal(size=(50, 3))
    raw = calibration.raw(truth)
    np.testing.assert_allclose(calibration.truth(raw), truth, atol=1e-14)
    np.testing.assert_allclose(raw[0], np.linalg.solve(calibration.matrix, truth[0]) + calibration.bias, atol=1e-14)
