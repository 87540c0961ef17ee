"""Edge Impulse exports: labels, units, and zips that mean harm."""

import io
import json
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stinger.errors import InputError
from stinger.sessions import edge_impulse
from stinger.sessions.edge_impulse import parse_export, read_export
from stinger.sessions.read import read_sessions

EXPORT = Path(__file__).parent.parent / "data" / "nicla_motion_edge_impulse_export.zip"
SENSORS = [{"name": f"acc{axis}", "units": "m/s2"} for axis in "XYZ"]


def acquisition(values, sensors=SENSORS, interval_ms=10):
    payload = {"interval_ms": interval_ms, "sensors": sensors, "values": values}
    return json.dumps({"protected": {}, "signature": "", "payload": payload})


def pack(files, compression=zipfile.ZIP_DEFLATED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return stream.getvalue()


def one(text):
    return parse_export(pack({"training/walk.json": text}), "x.zip")


def test_the_real_export():
    sessions = read_sessions(EXPORT)
    assert Counter((s.label, s.split) for s in sessions) == {
        **{(name, "train"): 10 for name in ("Idle", "Lift", "Maritime", "Terrestrial")},
        **{(name, "test"): 2 for name in ("Idle", "Lift", "Maritime", "Terrestrial")},
        (None, "test"): 6,
    }
    first = sessions[0]
    assert [c.name for c in first.channels] == ["ax", "ay", "az", "gx", "gy", "gz"]
    assert {c.unit for c in first.channels} == {"m/s^2", "unstated (N/A)"}
    assert first.period_us == 16_949
    assert not any(s.faults for s in sessions)
    assert sum(s.gap_before.sum() for s in sessions) == len(sessions)
    # Counts times scale give back what the file says.
    with zipfile.ZipFile(EXPORT) as archive:
        values = np.array(json.loads(archive.read(first.name))["payload"]["values"])
    scale = np.array([c.scale for c in first.channels])
    assert np.abs(first.samples * scale - values).max() <= scale.max() / 2
    # Gravity: 9.8 m/s^2 are about 2048 counts.
    assert abs(np.linalg.norm(first.samples[0, :3].astype(float)) - 2048) < 60


def test_units_and_timestamps_keep_their_fractions():
    sensors = [
        {"name": "accX", "units": "g"},
        {"name": "gyrX", "units": "dps"},
        {"name": "gyrY", "units": "rad/s"},
        {"name": "gyrZ", "units": "N/A"},
    ]
    session = one(
        acquisition([[1.0, 10.0, 1.0, 100.0], [-1, -10, -1, -100], [0, 0, 0, 0]], sensors, 16.949152542372882)
    )[0]
    assert session.samples[0].tolist() == [2048, 164, round(16.4 * 180 / np.pi), 1640]
    np.testing.assert_array_equal(session.samples[0], -session.samples[1])
    assert session.t_us.tolist() == [0, 16_949, 33_898]
    assert [c.unit for c in session.channels] == ["g", "deg/s", "rad/s", "unstated (N/A)"]
    np.testing.assert_allclose(session.samples[0, 2] * session.channels[2].scale, 1.0, rtol=1e-3)


def test_clipping_is_reported_with_its_count():
    session = one(acquisition([[1000.0, 0, 0], [-1000, 0, 0], [0, 0, 0]]))[0]
    assert session.samples[:, 0].tolist() == [32767, -32768, 0]
    assert session.faults == ("ax: 2 of 3 values clipped to int16",)


def test_labels_come_from_info_then_from_the_name():
    info = {
        "version": 1,
        "files": [
            {"path": "training/a.json", "label": {"type": "label", "label": "Run"}},
            {"path": "training/b.json", "label": {"type": "unlabeled"}},
        ],
    }
    text = acquisition([[0, 0, 0], [1, 1, 1]])
    files = {f"training/{name}": text for name in ("a.json", "b.json", "jump.json.5x.ingestion.json")}
    sessions = parse_export(pack({"info.labels": json.dumps(info), **files, "testing/testing.1.json": text}), "x.zip")
    assert {s.name: (s.label, s.split) for s in sessions} == {
        "testing/testing.1.json": (None, "test"),
        "training/a.json": ("Run", "train"),
        "training/b.json": (None, "train"),
        "training/jump.json.5x.ingestion.json": ("jump", "train"),
    }


GOOD = [[0, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "walk.json is not valid JSON"),
        ("[" * 100_000, "walk.json is not valid JSON"),
        ("[]", "no 'payload'"),
        (acquisition([[0, 0, 0], [1, float("nan"), 1]]), "walk.json holds NaN"),
        (acquisition([[0, 0, 0], [1, "2", 1]]), "walk.json, row 1: holds something that is no finite number"),
        (acquisition([[0, 0, 0], [1, True, 1]]), "walk.json, row 1: holds"),
        (acquisition([[0, 0, 0], [1, 10**400, 1]]), "walk.json, row 1: holds"),
        (acquisition(GOOD).replace("[1, 1, 1]", "[1, 1e999, 1]"), "walk.json, row 1: holds"),
        (acquisition([[0, 0, 0], [1, 1]]), "walk.json, row 1: 3 values expected"),
        (acquisition([[0, 0, 0], 7]), "walk.json, row 1: 3 values expected"),
        (acquisition([]), "no samples"),
        (acquisition("AAAA"), "no samples"),
        (acquisition(GOOD, interval_ms=0), "interval_ms"),
        (acquisition(GOOD, interval_ms="10"), "interval_ms"),
        (acquisition(GOOD, interval_ms=True), "interval_ms"),
        (acquisition(GOOD, sensors=[]), "'sensors' must list"),
        (acquisition(GOOD, sensors=[{"name": "accX"}] * 3), "sensor 0 has no name or no units"),
        (acquisition(GOOD, sensors=SENSORS[:1] * 3), "same name"),
        (acquisition(GOOD, sensors=[{"name": "t", "units": "C"}] * 3), "known units are"),
        (acquisition(GOOD, sensors=[{"name": "accX", "units": "N/A"}] * 3), "known units are"),
    ],
)
def test_wrong_acquisitions_are_refused_by_name(text, message):
    with pytest.raises(InputError, match=message) as caught:
        one(text)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("x.zip: training/walk.json")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a readable zip"),
        (b"PK\x05\x06" + bytes(18), "the zip is empty"),
        (pack({}), "the zip is empty"),
        (pack({"README.txt": "hello"}), "no acquisitions"),
        (pack({"other/walk.json": acquisition(GOOD)}), "no acquisitions"),
        (pack({"training/walk.json": "{}", "info.labels": "[]"}), "no list 'files'"),
        (pack({"training/walk.json": "{}", "info.labels": '{"files": [3]}'}), "file 0: no path or label"),
        (pack({"training/a\nb.json": acquisition(GOOD)}), "control characters"),
        (pack({"training/walk.json": b"\xff\xfe"}), "walk.json is damaged"),
        (pack({"training/a.json": ""}).replace(b"training/a", b"\0raining/a"), "no acquisitions"),
        (pack({"training/walk.json": acquisition(GOOD)}, zipfile.ZIP_BZIP2), "unusual way"),
    ],
)
def test_wrong_zips_are_refused(data, message):
    with pytest.raises(InputError, match=message) as caught:
        parse_export(data, "x.zip")
    assert "\n" not in str(caught.value)


def test_bombs_are_refused_before_they_are_unpacked(monkeypatch):
    bomb = pack({"training/a.json": " " * (edge_impulse.MAX_ENTRY_BYTES + 1)})
    assert len(bomb) < 50_000
    with pytest.raises(InputError, match=r"a\.json unpacks to more than 16 MiB"):
        parse_export(bomb, "x.zip")
    monkeypatch.setattr(edge_impulse, "MAX_TOTAL_BYTES", 1 << 20)
    many = pack({f"training/{i}.json": " " * 600_000 for i in range(2)})
    with pytest.raises(InputError, match="unpacks to more than 1 MiB"):
        parse_export(many, "x.zip")
    monkeypatch.setattr(edge_impulse, "MAX_ENTRIES", 3)
    with pytest.raises(InputError, match="4 entries, at most 3"):
        parse_export(pack({f"training/{i}.json": "" for i in range(4)}), "x.zip")


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_export(tmp_path / "none.zip")


def outcome(data):
    sessions, message = [], ""
    try:
        sessions = parse_export(data, "fuzz")
    except InputError as error:
        message = str(error)
    assert bool(message) != bool(sessions)
    assert "\n" not in message
    assert all(len(s) >= 2 for s in sessions)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_an_export_or_refused(data):
    outcome(data)


SMALL = pack(
    {
        "info.labels": '{"files": [{"path": "training/a.json", "label": {"type": "label", "label": "A"}}]}',
        "training/a.json": acquisition(GOOD),
    }
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, len(SMALL)),
)
def test_a_damaged_export_is_an_export_or_refused(edits, cut):
    data = bytearray(SMALL)
    for at, value in edits:
        data[at] = value
    outcome(bytes(data))
    outcome(bytes(data[:cut]))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["name", "units", "x"]), inner),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(JSON, JSON, JSON)
def test_any_json_is_an_acquisition_or_refused(values, sensors, interval):
    for text in (
        acquisition(values),
        acquisition(GOOD, sensors=sensors),
        acquisition(GOOD, interval_ms=interval),
    ):
        outcome(pack({"training/a.json": text}, zipfile.ZIP_STORED))
