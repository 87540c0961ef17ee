"""A phone's sensor log: every sensor at its own moments, and one label."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stinger.errors import InputError
from stinger.sessions import mcap_format, phone_log
from stinger.sessions.mcap_format.labels import labels_path
from stinger.sessions.options import ReadOptions
from stinger.sessions.phone_log import parse_phone_log
from stinger.sessions.session import Event

NO_OPTIONS = ReadOptions()
START = 1_526_934_747
FIELD = (14.43116, 10.73493, -44.07435)
GRAVITY = (-0.1543563, 0.08429588, -0.9823679)
TURN = (0.001911115, 0.00001167506, -0.001957926)


def entry(ts, kind, *values):
    return {"ts": ts, "type": kind, "values": list(values)}


def readings(n=20):
    """Sensors that start at different moments, tick unevenly, and pause once."""
    rng = np.random.default_rng(5)
    data = [entry(START, "START")]
    for i in range(n):
        ts = START + 97_000 + i * 10_000 + int(rng.integers(-400, 400)) + (i > n // 2) * 500_000
        data.append(entry(ts + 92, "MAG_AUTOCAL", *FIELD))
        data.append(entry(ts, "ACCEL_AUTOCAL", *GRAVITY))
        data.append(entry(ts + 2800, "GYRO_AUTOCAL", *TURN))
        data.append(entry(ts + 2800, "Q_9AXIS", 1, 0, 0, 0))
        if i % 10 == 0:
            data.append(entry(ts, "TEMPERATURE", 31.25))
    return [*data, entry(START + 2_000_000, "STOP")]


def log(data=None, **head):
    about = {"firmware": "FORT (848)", "serialNumber": "1", "deviceModel": "phone", "userLabel": "", **head}
    return json.dumps(about | {"data": readings() if data is None else data}).encode()


def test_every_sensor_is_a_recording(tmp_path):
    path = tmp_path / "Sensor_Log.json"
    path.write_bytes(log())
    assert phone_log.recognise(path.read_bytes()[:64], path)
    sessions = phone_log.read(path, NO_OPTIONS)
    assert [(s.name.split(":")[1], len(s)) for s in sessions] == [
        ("mag_raw", 20),
        ("acc_raw", 20),
        ("gyro_raw+q_9axis", 20),
        ("temperature", 2),
    ]
    mag, acc, gyro, _ = sessions
    for session, values in ((mag, FIELD), (acc, GRAVITY)):
        scale = np.array([c.scale for c in session.channels])
        assert np.abs(session.samples * scale - values).max() <= scale.max() / 2
    assert [{c.unit for c in s.channels} for s in sessions] == [{"uT"}, {"g"}, {"rad/s", "unit"}, {"degC"}]
    assert mag.t_us[0] - acc.t_us[0] == 92
    assert abs(mag.period_us - 10_000) < 300
    assert gyro.gap_before.sum() == 2
    assert all((s.label, s.events, s.faults) == (None, (), ()) for s in sessions)


@pytest.mark.parametrize(
    ("head", "label"),
    [
        ({"userLabel": "1"}, "low"),
        ({"userLabel": " high "}, "high"),
        ({"userLabel": "Kitchen"}, "Kitchen"),
        ({"mag_distortion": 0}, "none"),
        ({"level": "2"}, "high"),
        ({"userLabel": ["x"]}, None),
    ],
)
def test_one_label_for_all_of_it(head, label):
    for session in parse_phone_log(log(**head), "x.json", NO_OPTIONS):
        assert session.label == label
        assert session.events == (() if label is None else (Event(START, START + 2_000_000, label),))


def test_it_becomes_mcap_with_labels(tmp_path):
    sessions = parse_phone_log(log(userLabel="2"), "x.json", NO_OPTIONS)
    path = tmp_path / "x.mcap"
    mcap_format.write(sessions, path)
    (label,) = json.loads(labels_path(path).read_text())["events"]
    assert label["metadata"] == {"mag_distortion": "2", "": ""}
    assert label["startTime"] == {"sec": 1526, "nsec": 934_747_000}
    assert label["endTime"] == {"sec": 1528, "nsec": 934_747_000}
    again = mcap_format.read(path, NO_OPTIONS)
    assert [(s.name, s.label, s.channels, s.period_us) for s in again] == [
        (s.name, s.label, s.channels, s.period_us) for s in sessions
    ]
    for a, b in zip(again, sessions, strict=True):
        np.testing.assert_array_equal(a.samples, b.samples)
        np.testing.assert_array_equal(a.t_us, b.t_us)


def test_disorder_units_and_sensors_that_spoke_once():
    data = [entry(t, "MAG_AUTOCAL", 1, 2, 3) for t in (0, 20, 10, 30)] + [entry(5, "TEMPERATURE", 20)]
    (session,) = parse_phone_log(log(data), "x.json", ReadOptions(units={"mag": "gauss"}))
    assert session.t_us.tolist() == [0, 10, 20, 30]
    assert {c.unit for c in session.channels} == {"gauss"}
    assert session.faults == (
        "mag_raw: 1 samples were out of order",
        "left out for want of two moments: temperature",
    )


GOOD = [entry(0, "MAG_AUTOCAL", 1, 2, 3), entry(10, "MAG_AUTOCAL", 1, 2, 3)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 70, "not valid JSON"),
        (b"[" * 10_000 + b" " * 200_000, "not valid JSON"),
        (b'{"data":[' + b"{}," * 1000 + b"{}]}", "these are no readings"),
        (b"[]", "no readings under 'data'"),
        (log([]), "no readings under 'data'"),
        (log("abc"), "no readings under 'data'"),
        (log([3]), "reading 0 has no type"),
        (log([entry(0, "")]), "reading 0 has no type"),
        (log([entry(0, "a\nb")]), "reading 0 has no type"),
        (log([entry(True, "START")]), r"reading 0 \(START\) has no time"),
        (log([entry(-1, "START")]), "has no time in microseconds"),
        (log([entry(2**63, "START")]), "has no time in microseconds"),
        (log([entry(0.5, "START")]), "has no time in microseconds"),
        (log([entry(0, "START")]), "0 types of sensors"),
        (log([entry(0, f"T{i}", 1) for i in range(65)]), "65 types of sensors"),
        (log([entry(0, "a b", 1), entry(0, "a_b", 1)]), "two types of sensors are called a_b"),
        (log([*GOOD, entry(20, "MAG_AUTOCAL", 1, 2)]), "MAG_AUTOCAL: messages have different numbers"),
        (log([*GOOD, entry(20, "MAG_AUTOCAL", 1, 2, "3")]), "a value is not a number"),
        (log([*GOOD, entry(20, "MAG_AUTOCAL", 1, 2, float("nan"))]), "NaN is no number"),
        (log([*GOOD, {"ts": 20, "type": "MAG_AUTOCAL"}]), "no list 'values'"),
        (log(GOOD[:1]), "record something longer"),
    ],
)
def test_what_is_no_log_is_refused(data, message):
    with pytest.raises(InputError, match=message) as caught:
        parse_phone_log(data, "x.json", NO_OPTIONS)
    assert str(caught.value).startswith("x.json")
    assert "\n" not in str(caught.value)


def test_missing_and_too_large(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="does not exist"):
        phone_log.read(tmp_path / "none.json", NO_OPTIONS)
    (tmp_path / "x.json").write_bytes(log())
    monkeypatch.setattr(phone_log, "MAX_BYTES", 100)
    with pytest.raises(InputError, match="larger than"):
        phone_log.read(tmp_path / "x.json", NO_OPTIONS)


@pytest.mark.parametrize("head", [b"", b"[1]", b'{"payload": {}}', b'{"events": []}', b'{"dirname": "x"}', b"\x89MCAP"])
def test_other_files_are_not_taken_for_logs(tmp_path, head):
    assert not phone_log.recognise(head, tmp_path / "x.json")


def outcome(data):
    sessions, message = [], ""
    try:
        sessions = parse_phone_log(data, "fuzz", NO_OPTIONS)
    except InputError as error:
        message = str(error)
    assert bool(message) != bool(sessions)
    assert "\n" not in message
    assert all(len(s) >= 2 for s in sessions)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=100))
def test_any_bytes_are_a_log_or_refused(data):
    outcome(data)


SMALL = log([entry(0, "START"), *GOOD, entry(4, "GYRO_AUTOCAL", 1, 2, 3), entry(5, "GYRO_AUTOCAL", 0, 0, 0)])


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, len(SMALL)),
)
def test_a_damaged_log_is_a_log_or_refused(edits, cut):
    data = bytearray(SMALL)
    for at, value in edits:
        data[at] = value
    outcome(bytes(data))
    outcome(bytes(data[:cut]))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["ts", "type", "values"]), inner),
    max_leaves=12,
)
ENTRIES = st.fixed_dictionaries(
    {"ts": st.integers(0, 50) | VALUES, "type": st.sampled_from(["START", "STOP", "X"]) | VALUES, "values": VALUES}
)


@settings(max_examples=200, deadline=None)
@given(st.lists(ENTRIES | VALUES, max_size=6), VALUES)
def test_any_json_is_a_log_or_refused(data, label):
    outcome(log(data))
    outcome(log([*GOOD, *data], userLabel=label))
