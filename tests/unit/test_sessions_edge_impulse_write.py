"""Recordings as Edge Impulse acquisitions and back, in JSON, CBOR and export zips."""

import io
import json
import zipfile
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import cbor2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stinger.errors import InputError
from stinger.sessions import edge_impulse
from stinger.sessions.edge_impulse import parse_export, parse_single
from stinger.sessions.edge_impulse import writing as edge_impulse_write
from stinger.sessions.edge_impulse.about import parse_about
from stinger.sessions.options import ReadOptions
from stinger.sessions.session import STINGER_CHANNELS, Channel, Event, Session
from stinger.sessions.units import UNITS

NO_OPTIONS = ReadOptions()
EXPORT = Path(__file__).parent.parent / "data" / "nicla_motion_edge_impulse_export.zip"


def assert_same(read, written):
    assert len(read) == len(written)
    for a, b in zip(read, written, strict=True):
        for field in fields(Session):
            mine, theirs = getattr(a, field.name), getattr(b, field.name)
            if isinstance(theirs, np.ndarray):
                assert mine.dtype == theirs.dtype
                np.testing.assert_array_equal(mine, theirs, err_msg=field.name)
            else:
                assert mine == theirs, field.name


def blaster(n=300, **changes):
    """A session with gaps (one sample stands alone), uneven moments, trigger and events."""
    rng = np.random.default_rng(4)
    steps = rng.choice([9_000, 10_000, 11_000], n)
    steps[[100, 101, 200]] = 2_000_000
    session = Session(
        name="evening.bin",
        t_us=np.cumsum(steps).astype(np.int64) - 5_000_000,
        samples=rng.integers(-32768, 32768, (n, 6)).astype(np.int16),
        channels=STINGER_CHANNELS,
        period_us=10_000,
        trigger=(rng.random(n) < 0.1).astype(np.uint8),
        subject="Ada",
        events=(Event(-4_500_000, -4_400_000, "shot"), Event(0, 0, "bump", "mark")),
        faults=("3 bytes lost",),
    )
    return replace(session, **changes)


def even(n=40, **changes):
    """What a plain acquisition holds completely."""
    samples = np.random.default_rng(6).integers(-32768, 32768, (n, 6)).astype(np.int16)
    t_us = np.arange(n, dtype=np.int64) * 10_000
    return replace(Session("jump.1.json", t_us, samples, STINGER_CHANNELS, 10_000, label="jump"), **changes)


def test_an_export_comes_back_exactly(tmp_path):
    path = tmp_path / "out.zip"
    sessions = [
        blaster(),
        even(split="test"),
        even(label="training", split="train", name="b"),
        blaster(label="indoors", split="validation", trigger=None),
    ]
    edge_impulse.write(sessions, path)
    assert edge_impulse.recognise(path.read_bytes()[:64], path)
    read = edge_impulse.read(path, NO_OPTIONS)
    assert_same(
        sorted(read, key=lambda s: (s.name, s.label or "")), sorted(sessions, key=lambda s: (s.name, s.label or ""))
    )


def test_what_edge_impulse_finds(tmp_path):
    path = tmp_path / "out.zip"
    edge_impulse.write([even(split="test", subject="Bo"), blaster()], path)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        info = json.loads(archive.read("info.labels"))
        first = json.loads(archive.read(names[0]))
    assert names[0] == "testing/jump.jump_1.00000.json"
    # Four stretches between three gaps.
    assert [name for name in names if name.startswith("training/")] == [
        f"training/unlabeled.evening.00001.{part:04}.json" for part in range(4)
    ]
    assert info["version"] == 1
    assert [file["path"] for file in info["files"]] == names[:-1]
    assert (info["files"][0]["category"], info["files"][0]["label"]) == ("testing", {"type": "label", "label": "jump"})
    assert info["files"][0]["metadata"]["subject"] == "Bo"
    assert info["files"][1]["label"]["type"] == "multi-label"
    spans = info["files"][1]["label"]["labels"]
    assert [span["label"] for span in spans] == ["unlabeled", "shot", "unlabeled"]
    assert spans[0]["startIndex"] == 0
    assert all(b["startIndex"] == a["endIndex"] + 1 for a, b in pairwise(spans))
    assert first["protected"] == {"ver": "v1", "alg": "none"}
    assert first["signature"] == ""
    assert first["payload"]["interval_ms"] == 10
    assert first["payload"]["sensors"][0] == {"name": "accX", "units": "g"}
    assert first["payload"]["sensors"][3] == {"name": "gyrX", "units": "deg/s"}
    np.testing.assert_allclose(np.array(first["payload"]["values"])[:, 0], even().samples[:, 0] / 2048, rtol=1e-6)


def test_the_same_recordings_give_the_same_bytes(tmp_path):
    for name in ("a.zip", "b.zip"):
        edge_impulse.write([blaster(), even()], tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_real_export_survives_being_written_again(tmp_path):
    sessions = edge_impulse.read(EXPORT, NO_OPTIONS)
    edge_impulse.write(sessions, tmp_path / "again.zip")
    again = edge_impulse.read(tmp_path / "again.zip", NO_OPTIONS)
    assert_same(sorted(again, key=lambda s: s.name), sorted(sessions, key=lambda s: s.name))


def rewritten(path, change):
    """Change the ``info.labels`` of an export, or leave entries out."""
    stream = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(stream, "w") as out:
        for name in archive.namelist():
            data = archive.read(name)
            changed = change(name, json.loads(data) if name == "info.labels" else data)
            if changed is not None:
                out.writestr(name, json.dumps(changed) if isinstance(changed, dict) else changed)
    return stream.getvalue()


def test_labels_given_in_edge_impulse_are_read(tmp_path):
    path = tmp_path / "out.zip"
    edge_impulse.write([even()], path)

    def relabel(name, content):
        if name == "info.labels":
            content["files"][0]["label"]["label"] = "hop"
        return content

    (session,) = parse_export(rewritten(path, relabel), "out.zip")
    assert session.label == "hop"


def test_a_missing_part_leaves_the_others_as_they_are(tmp_path):
    path = tmp_path / "out.zip"
    edge_impulse.write([blaster()], path)
    data = rewritten(path, lambda name, content: None if name.endswith(".0003.json") else content)
    sessions = parse_export(data, "out.zip")
    assert [len(s) for s in sessions] == [100, 1, 99]
    assert [s.channels for s in sessions] == [STINGER_CHANNELS] * 3
    assert sessions[0].faults == ("part 1 of 4 of evening.bin, the others are missing or changed",)


@pytest.mark.parametrize("suffix", [".json", ".cbor"])
def test_one_acquisition_comes_back_exactly(tmp_path, suffix):
    path = tmp_path / f"jump.1{suffix}"
    plain = even(name=path.name)
    odd = even(name="x", subject="Ada", channels=tuple(replace(c, scale=0.1) for c in STINGER_CHANNELS))
    for session in (plain, odd, even(trigger=np.arange(40).astype(np.uint8) % 2, name=path.name, label=None)):
        edge_impulse.write([session], path)
        assert edge_impulse.recognise(path.read_bytes()[:4096], path)
        assert_same(edge_impulse.read(path, NO_OPTIONS), [session])
    edge_impulse.write([plain], path)
    content = json.loads(path.read_bytes()) if suffix == ".json" else cbor2.loads(path.read_bytes())
    # Nothing but what Edge Impulse describes.
    assert set(content) == {"protected", "signature", "payload"}


def test_what_one_acquisition_cannot_hold(tmp_path):
    with pytest.raises(InputError, match=r"write a \.zip"):
        edge_impulse.write([blaster()], tmp_path / "x.json")
    with pytest.raises(InputError, match="2 recordings, such a file holds one"):
        edge_impulse.write([even(), even()], tmp_path / "x.cbor")
    for session, message in [
        (even(channels=(*STINGER_CHANNELS[:5], Channel("ax", "g", 1.0))), "same name"),
        (even(period_us=10**9), "60 s"),
        (even(0), "no samples"),
        (even(name="x" * 5000), "'name'"),
    ]:
        for name in ("x.zip", "x.json"):
            with pytest.raises(InputError, match=message):
                edge_impulse.write([session], tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_long_recordings_are_cut_to_what_reading_takes(tmp_path, monkeypatch):
    monkeypatch.setattr(edge_impulse_write, "MAX_JSON_BYTES", (1 << 16) + 1000)
    session = even(100)
    edge_impulse.write([session], tmp_path / "out.zip")
    monkeypatch.undo()
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert len(archive.namelist()) == 13
        assert max(entry.file_size for entry in archive.infolist()) < (1 << 16) + 1000
    assert_same(edge_impulse.read(tmp_path / "out.zip", NO_OPTIONS), [session])
    monkeypatch.setattr(edge_impulse_write, "MAX_TOTAL_BYTES", 1000)
    with pytest.raises(InputError, match="too much for one export"):
        edge_impulse.write([session], tmp_path / "more.zip")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(list(UNITS.values())), min_size=1, max_size=4),
    st.integers(1, 30),
    st.integers(0, 2**32),
    st.floats(1e-9, 1e6),
    st.sampled_from(["x.zip", "x.json", "x.cbor"]),
)
def test_counts_come_back_exactly_at_any_scale(tmp_path_factory, units, n, seed, odd, name):
    rng = np.random.default_rng(seed)
    channels = [Channel(f"c{i}", *unit) for i, unit in enumerate(units)] + [Channel("odd", "furlong", odd)]
    samples = rng.integers(-32768, 32768, (n, len(channels))).astype(np.int16)
    steps = rng.integers(1, 3, n) if name == "x.zip" else rng.integers(100, 140, n)
    session = Session("s", np.cumsum(steps), samples, tuple(channels), 120)
    path = tmp_path_factory.getbasetemp() / name
    edge_impulse.write([session], path)
    assert_same(edge_impulse.read(path, NO_OPTIONS), [session])


def test_cbor_in_an_export_and_a_unit_the_user_states():
    content = {
        "protected": {"ver": "v1", "alg": "HS256", "iat": 1564128599},
        "signature": "b0ee",
        "payload": {
            "interval_ms": 10,
            "sensors": [{"name": "accX", "units": "m/s2"}, {"name": "gyrX", "units": "N/A"}],
            "values": [[-9.81, 1], [0, 2.5]],
        },
    }
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("training/idle.1.cbor", b"\xd9\xd9\xf7" + cbor2.dumps(content))
    for units, unit in (({}, "unstated (N/A)"), ({"gyro": "rad/s"}, "rad/s"), ({"gx": "dps"}, "deg/s")):
        (session,) = parse_export(stream.getvalue(), "x.zip", ReadOptions(units=units))
        assert (session.label, session.channels[1].unit) == ("idle", unit)
    single = parse_single(cbor2.dumps(content), "idle.1.cbor")
    assert (single.name, single.label, single.split) == ("idle.1.cbor", "idle", None)
    assert parse_single(cbor2.dumps(content), "idle.cbor").label is None


def test_segments_of_an_acquisition_become_events():
    label = {"type": "multi-label", "labels": [{"label": "walk", "startIndex": 0, "endIndex": 9}]}
    label["labels"].append({"label": "unlabeled", "startIndex": 10, "endIndex": 20})
    payload = {"interval_ms": 10, "sensors": [{"name": "accX", "units": "g"}], "values": [[0], [1], [2]]}

    def pack(label):
        stream = io.BytesIO()
        file = {"path": "training/a.json", "label": label, "metadata": {"subject": "Ada", "site": "kitchen"}}
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("info.labels", json.dumps({"version": 1, "files": [file]}))
            archive.writestr("training/a.json", json.dumps({"payload": payload}))
        return stream.getvalue()

    (session,) = parse_export(pack(label), "x.zip")
    assert (session.label, session.subject, session.events) == (None, "Ada", (Event(0, 9000, "walk"),))
    label["labels"][0]["endIndex"] = 20
    assert parse_export(pack(label), "x.zip")[0].label == "walk"
    for wrong in (None, [3], [{"label": "x"}], [{"label": "x", "startIndex": -1, "endIndex": 2}]):
        with pytest.raises(InputError, match=r"info\.labels, file 0: "):
            parse_export(pack({"type": "multi-label", "labels": wrong}), "x.zip")


PLAIN = cbor2.dumps({"payload": {"interval_ms": 1, "sensors": [{"name": "a", "units": "g"}], "values": [[0], [1.5]]}})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xa0", "no 'payload'"),
        (b"\x80", "no 'payload'"),
        (PLAIN + b"\0", "something follows"),
        (PLAIN[:-1], "not valid CBOR"),
        (b"\x9b" + bytes([0xFF] * 8), "not valid CBOR"),
        (b"\xa1\x5b\x00" + bytes([0xFF] * 7), "not valid CBOR"),
        (b"\x81" * 100_000 + b"\0", "nesting depth"),
        (b"\x9f" * 100_000, "nesting depth"),
        (b"\xa1\xa0\x01", "not valid CBOR"),
        (cbor2.dumps({"payload": 10**40}), "not valid CBOR"),
        (b"\xc1\x1a\x51\x4b\x67\xb0", "not valid CBOR"),
        (b"\xd8\x23\x65(a+)+", "not valid CBOR"),
        (b"\xd8\x1c\x81\xd8\x1d\x00", "not valid CBOR"),
        (b"\xa1\x67payload\xf7", "no 'payload'"),
        (PLAIN.replace(b"\xfb\x3f\xf8", b"\xfb\x7f\xf8"), "no finite number"),
        (PLAIN[:-9] + b"\xf6", "no finite number"),
    ],
)
def test_wrong_cbor_is_refused(data, message):
    assert len(parse_single(PLAIN, "x.cbor")) == 2
    with pytest.raises(InputError, match=message) as caught:
        parse_single(data, "x.cbor")
    assert str(caught.value).startswith("x.cbor")
    assert "\n" not in str(caught.value)


def test_every_tag_is_refused():
    for tag in range(1100):
        with pytest.raises(InputError, match="not valid CBOR"):
            parse_single(b"\xd9" + tag.to_bytes(2, "big") + b"\x80", "x.cbor")


def outcome(data, name="fuzz"):
    sessions, message = [], ""
    try:
        sessions = [parse_single(data, name)] if name != "fuzz.zip" else parse_export(data, name)
    except InputError as error:
        message = str(error)
    assert bool(message) != bool(sessions)
    assert "\n" not in message


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=100))
def test_any_bytes_are_an_acquisition_or_refused(data):
    outcome(data)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(PLAIN) - 1), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, len(PLAIN)),
)
def test_damaged_cbor_is_an_acquisition_or_refused(edits, cut):
    data = bytearray(PLAIN)
    for at, value in edits:
        data[at] = value
    outcome(bytes(data))
    outcome(bytes(data[:cut]))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=8,
)
NOTED = even(4, trigger=np.zeros(4, np.uint8), events=(Event(0, 1, "x"),), faults=("y",))
NOTE = json.loads(edge_impulse_write.describe(NOTED, number=0, part=0, parts=1))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(NOTE)), VALUES)
def test_any_description_is_one_or_refused(key, value):
    text = json.dumps(NOTE | {key: value})
    payload = {
        "interval_ms": 10,
        "sensors": [{"name": c, "units": "g"} for c in ("ax", "ay", "az", "gx", "gy", "gz", "trigger")],
        "values": [[0] * 7] * 4,
    }
    outcome(json.dumps({"payload": payload, "stinger": text}).encode())
    outcome(json.dumps({"payload": payload, "stinger": value}).encode())


def test_a_description_cannot_ask_for_memory_without_samples():
    about = NOTE | {"samples": 1 << 25, "steps": [[1, (1 << 25) - 1]]}
    assert parse_about(json.dumps(about), "x").samples == 1 << 25
    payload = {"interval_ms": 10, "sensors": [{"name": "a", "units": "g"}] * 1, "values": [[0], [1]]}
    with pytest.raises(InputError, match="its sensors are not those"):
        parse_single(json.dumps({"payload": payload, "stinger": json.dumps(about)}).encode(), "x.json")


@pytest.mark.parametrize("head", [b"", b"PK\x03\x04", b"[1]", b'{"data": []}', b'{"events": []}', b"\xa1\x61a\x01"])
def test_other_files_are_not_taken_for_acquisitions(tmp_path, head):
    (tmp_path / "x").write_bytes(head)
    assert not edge_impulse.recognise(head, tmp_path / "x")
