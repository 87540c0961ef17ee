"""MCAP: our recordings to Foxglove and back, and magnetic-distortion recordings with their labels."""

import json
import tracemalloc
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer

from stinger.errors import InputError
from stinger.sessions import mcap_format
from stinger.sessions.mcap_format.labels import labels_path, read_labels
from stinger.sessions.mcap_format.quantities import UNITS, topics_of
from stinger.sessions.options import ReadOptions
from stinger.sessions.session import STINGER_CHANNELS, Channel, Event, Session

NO_OPTIONS = ReadOptions()


def assert_same(read, written):
    """Every field of every session is what it was, arrays with their types."""
    assert len(read) == len(written)
    for a, b in zip(read, written, strict=True):
        for field in fields(Session):
            mine, theirs = getattr(a, field.name), getattr(b, field.name)
            if isinstance(theirs, np.ndarray):
                assert mine.dtype == theirs.dtype
                np.testing.assert_array_equal(mine, theirs, err_msg=field.name)
            else:
                assert mine == theirs, field.name


def make(n=500, *, seed=0, **changes):
    rng = np.random.default_rng(seed)
    steps = np.full(n, 10_000)
    steps[n // 2] = 3_000_000
    session = Session(
        name="walk.bin",
        t_us=np.cumsum(steps).astype(np.int64),
        samples=rng.integers(-32768, 32768, (n, 6)).astype(np.int16),
        channels=STINGER_CHANNELS,
        period_us=10_000,
        trigger=(rng.random(n) < 0.1).astype(np.uint8),
        label="indoors",
        split="test",
        subject="Ada",
        events=(
            Event(0, 0, "bump", "mark"),
            Event(20_000, 900_000, "shot"),
            Event(20_000, 30_000, "walk"),
            Event(1_000_000, 10**9, "imminent", "prediction"),
        ),
        faults=("3 bytes lost",),
    )
    return replace(session, **changes)


def magnetometer(n=50, **changes):
    channels = tuple(
        Channel(name, *UNITS[unit])
        for names, unit in (("mx my mz", "earth field"), ("ax ay az", "g"), ("gx gy gz", "rad/s"))
        for name in names.split()
    )
    rng = np.random.default_rng(1)
    samples = rng.integers(-32768, 32768, (n, 9)).astype(np.int16)
    t_us = np.arange(n, dtype=np.int64) * 7142 + 5
    return replace(Session("turn.mcap", t_us, samples, channels, 7142, subject="Bo"), **changes)


def test_a_recording_comes_back_exactly(tmp_path):
    path = tmp_path / "out.mcap"
    session = make()
    mcap_format.write([session], path)
    assert mcap_format.recognise(path.read_bytes()[:64], path)
    assert_same(mcap_format.read(path, NO_OPTIONS), [session])
    assert not labels_path(path).exists()


def test_the_same_recordings_give_the_same_bytes(tmp_path):
    for sessions in ([make()], [make(), make(seed=1, name="b")], [magnetometer(label="low")]):
        files = [tmp_path / "a" / "x.mcap", tmp_path / "b" / "x.mcap"]
        for path in files:
            mcap_format.write(sessions, path)
        assert files[0].read_bytes() == files[1].read_bytes()
    assert labels_path(files[0]).read_bytes() == labels_path(files[1]).read_bytes()


def test_several_recordings_in_one_file(tmp_path):
    sessions = [make(), make(300, seed=2, name="b", trigger=None, events=(), label=None), magnetometer()]
    mcap_format.write(sessions, tmp_path / "all.mcap")
    assert_same(mcap_format.read(tmp_path / "all.mcap", NO_OPTIONS), sessions)


def test_what_foxglove_finds(tmp_path):
    path = tmp_path / "out.mcap"
    session = make()
    mcap_format.write([session], path)
    with path.open("rb") as stream:
        reader = make_reader(stream, validate_crcs=True)
        summary = reader.get_summary()
        assert {c.topic: summary.schemas[c.schema_id].name for c in summary.channels.values()} == {
            "/imu": "stinger.Imu",
            "/events": "foxglove.Log",
        }
        assert {c.message_encoding for c in summary.channels.values()} == {"json"}
        for schema in summary.schemas.values():
            assert schema.encoding == "jsonschema"
            assert json.loads(schema.data)["type"] == "object"
        messages = [(c.topic, m.log_time, json.loads(m.data)) for _, c, m in reader.iter_messages(log_time_order=False)]
    assert [time for _, time, _ in messages] == sorted(time for _, time, _ in messages)
    samples = [message for topic, _, message in messages if topic == "/imu"]
    assert list(samples[0]) == ["ax", "ay", "az", "gx", "gy", "gz", "trigger"]
    np.testing.assert_allclose([s["ax"] for s in samples], session.samples[:, 0] / 2048, atol=1 / 2048 / 100)
    events = [message for topic, _, message in messages if topic == "/events"]
    # Four begin, three of them last and end.
    assert [e["message"] for e in events] == ["bump", "shot", "walk", "", "", "imminent", ""]
    required = {"timestamp", "level", "message", "name", "file", "line"}
    assert all(required <= set(e) for e in events)
    assert events[1]["timestamp"] == {"sec": 0, "nsec": 20_000_000}
    assert events[1]["end"] == {"sec": 0, "nsec": 900_000_000}


TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=8)
NAMES = st.lists(
    st.sampled_from(["ax", "mx", "my", "mz", "temperature", "q_0", "q_1", 'a"%d', "é", "pose_0"]),
    unique=True,
    min_size=1,
)


@st.composite
def any_session(draw):
    names = draw(NAMES)
    n = draw(st.integers(0, 12))
    scale = st.floats(1e-9, 1e9)
    times = draw(st.lists(st.integers(-(2**45), 2**45), min_size=n, max_size=n))
    counts = st.lists(st.integers(-32768, 32767), min_size=len(names), max_size=len(names))
    rows = draw(st.lists(counts, min_size=n, max_size=n))
    bits = st.lists(st.integers(0, 1), min_size=n, max_size=n)
    trigger = draw(st.none() | bits)
    moments = st.integers(-(2**45), 2**45)
    kinds = st.sampled_from(["label", "prediction", "mark"])
    return Session(
        name=draw(TEXT),
        t_us=np.array(times, dtype=np.int64),
        samples=np.array(rows, dtype=np.int16).reshape(n, len(names)),
        channels=tuple(Channel(name, draw(TEXT), draw(scale)) for name in names),
        period_us=draw(st.integers(1, 10**9)),
        trigger=None if trigger is None else np.array(trigger, dtype=np.uint8),
        label=draw(st.none() | TEXT),
        split=draw(st.none() | TEXT),
        subject=draw(st.none() | TEXT),
        events=tuple(draw(st.lists(st.builds(Event, moments, moments, TEXT, kinds), max_size=4))),
        faults=tuple(draw(st.lists(TEXT, max_size=2))),
    )


@settings(max_examples=80, deadline=None)
@given(st.lists(any_session(), min_size=1, max_size=3))
def test_any_recordings_come_back_exactly(tmp_path_factory, sessions):
    path = tmp_path_factory.getbasetemp() / "any.mcap"
    labels_path(path).unlink(missing_ok=True)
    refused = ""
    try:
        mcap_format.write(sessions, path)
    except InputError as error:
        refused = str(error)
    if refused:
        # Only a label that a labels file cannot hold.
        assert "label" in refused
    else:
        assert_same(mcap_format.read(path, NO_OPTIONS), sessions)


@settings(max_examples=200, deadline=None)
@given(NAMES)
def test_topics_hold_every_channel_once(names):
    topics = topics_of([Channel(name, "", 1.0) for name in names])
    assert sorted(column for _, columns in topics for column in columns) == list(range(len(names)))


@pytest.mark.parametrize(
    ("session", "message"),
    [
        (make(channels=(*STINGER_CHANNELS[:5], Channel("ax", "g", 1.0))), "same name"),
        (make(channels=(*STINGER_CHANNELS[:5], Channel("", "g", 1.0))), "rename it"),
        (make(channels=(*STINGER_CHANNELS[:5], Channel("x", "g", float("nan")))), "no resolution"),
        (make(channels=(*STINGER_CHANNELS[:5], Channel("x", "g", 0.0))), "no resolution"),
        (make(channels=(*STINGER_CHANNELS[:5], Channel("trigger", "g", 1.0))), "called like the trigger"),
        (make(t_us=np.arange(500, dtype=np.int64) + (1 << 62)), "beyond"),
        (magnetometer(label=" "), "cannot be written"),
        (make(name="a\nb"), "at 'name'"),
        (make(subject="\x1b[2J"), "at 'subject'"),
        (make(events=(Event(0, 0, "a\nb"),)), "control characters"),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path, session, message):
    with pytest.raises(InputError, match=message):
        mcap_format.write([session], tmp_path / "out.mcap")
    assert not list(tmp_path.iterdir())


def test_sensor_topics_come_back_exactly_with_labels_beside(tmp_path):
    path = tmp_path / "turn.mcap"
    session = magnetometer(
        events=(Event(5, 100_000, "none"), Event(100_000, 200_000, "high"), Event(7, 8, "x", "mark"))
    )
    mcap_format.write([session], path)
    assert_same(mcap_format.read(path, NO_OPTIONS), [session])
    labels = json.loads(labels_path(path).read_text())["events"]
    assert [(e["metadata"]["mag_distortion"], e["startTime"], e["collection"]) for e in labels] == [
        ("0", {"sec": 0, "nsec": 5000}, "turn.labels.json"),
        ("2", {"sec": 0, "nsec": 100_000_000}, "turn.labels.json"),
    ]
    with path.open("rb") as stream:
        found = [(s.name, c.topic, json.loads(m.data)) for s, c, m in make_reader(stream).iter_messages(["mag_raw"])]
    name, topic, message = found[0]
    assert (name, topic, message["id"], message["timestamp"]) == ("sensor_event", "mag_raw", "mag_raw", 5000)
    np.testing.assert_allclose(message["values"], session.samples[0, :3] / 8192, atol=1e-6)


def test_edited_labels_replace_the_recordings_own(tmp_path):
    path = tmp_path / "turn.mcap"
    session = magnetometer(label="low", events=(Event(9, 9, "bump", "mark"),))
    mcap_format.write([session], path)
    assert_same(mcap_format.read(path, NO_OPTIONS), [session])
    labels_path(path).write_text(labels_path(path).read_text().replace('"1"', '"2"'))
    (edited,) = mcap_format.read(path, NO_OPTIONS)
    assert edited.label == "high"
    assert [event.label for event in edited.events] == ["high", "bump"]
    assert edited.faults == ("labels are those of turn.labels.json, which differ from the recording's own",)


# Files that others wrote.


def sensor_file(path, topics, *, schema="sensor_event", compression=CompressionType.LZ4, chunked=True, wrap=json.dumps):
    """Write a file as magnetic-distortion tools do: topic -> list of (nanoseconds, values)."""
    with path.open("wb") as stream:
        writer = Writer(stream, compression=compression, use_chunking=chunked)
        writer.start()
        number = writer.register_schema(schema, "jsonschema", b"{}")
        channels = {topic: writer.register_channel(topic, "json", number) for topic in topics}
        for topic, readings in topics.items():
            for time, values in readings:
                data = wrap({"id": topic, "timestamp": time, "values": values}).encode()
                writer.add_message(channels[topic], time, data, time)
        writer.finish()
    return path


def readings(values, step=7_142_857, start=1_000_000_000):
    return [(start + i * step, list(map(float, row))) for i, row in enumerate(values)]


RNG = np.random.default_rng(3)
MAG, ACC, GYRO = RNG.normal(0, 1, (40, 3)), RNG.normal(0, 4, (40, 3)), RNG.normal(0, 9, (40, 3))


def labels_file(path, events, key="mag_distortion"):
    entries = [
        {
            "id": str(i),
            "startTime": {"sec": int(start), "nsec": int(start % 1 * 1e9)},
            "endTime": {"sec": int(end), "nsec": int(end % 1 * 1e9)},
            "metadata": {key: level, "": ""},
            "collection": "c",
        }
        for i, (start, end, level) in enumerate(events)
    ]
    labels_path(path).write_text(json.dumps({"events": entries}))


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("compression", list(CompressionType))
def test_topics_that_tick_together_are_one_recording(tmp_path, compression, chunked):
    topics = {
        "pose_truth": readings(RNG.normal(0, 1, (40, 4))),
        "gyro_raw": readings(GYRO),
        "acc_raw": readings(ACC),
        "mag_truth": readings(MAG),
        "mag_raw": readings(MAG),
    }
    path = sensor_file(tmp_path / "sim.mcap", topics, compression=compression, chunked=chunked)
    labels_file(path, [(0.5, 2, "1")])
    (session,) = mcap_format.read(path, NO_OPTIONS)
    assert session.name == "sim.mcap"
    assert [c.name for c in session.channels] == ["mx", "my", "mz", "ax", "ay", "az", "gx", "gy", "gz"]
    assert [c.unit for c in session.channels] == ["earth field"] * 3 + ["g"] * 3 + ["rad/s"] * 3
    scale = np.array([c.scale for c in session.channels])
    np.testing.assert_allclose(session.samples * scale, np.hstack([MAG, ACC, GYRO]), atol=scale.max() * 0.51)
    assert session.t_us[:3].tolist() == [1_000_000, 1_007_142, 1_014_285]
    assert session.period_us == 7143
    assert session.label == "low"
    assert session.events == (Event(500_000, 2_000_000, "low"),)
    assert session.faults == ("topics left out: pose_truth, mag_truth",)
    (truth,) = mcap_format.read_topics(path, ["pose_truth", "mag_truth"], NO_OPTIONS)
    names = [c.name for c in truth.channels]
    assert names == ["mx_truth", "my_truth", "mz_truth", *(f"pose_truth_{i}" for i in range(4))]


def test_topics_with_moments_of_their_own_are_recordings_of_their_own(tmp_path):
    topics = {"mag_raw": readings(MAG), "acc_raw": readings(ACC, start=1_000_000_500), "gyro_raw": readings(GYRO[:39])}
    path = sensor_file(tmp_path / "p.mcap", topics)
    sessions = mcap_format.read(path, NO_OPTIONS)
    assert [s.name for s in sessions] == ["p.mcap:mag_raw", "p.mcap:acc_raw", "p.mcap:gyro_raw"]
    assert [len(s) for s in sessions] == [40, 40, 39]
    # They come back together, from a file of ours.
    mcap_format.write(sessions, tmp_path / "again.mcap")
    assert_same(mcap_format.read(tmp_path / "again.mcap", NO_OPTIONS), sessions)


def test_older_labels_levels_in_between_and_no_labels(tmp_path):
    path = sensor_file(tmp_path / "sim.mcap", {"mag_raw": readings(MAG)})
    (session,) = mcap_format.read(path, NO_OPTIONS)
    assert (session.label, session.events, session.faults) == (None, (), ())
    labels_file(path, [(1.1, 1.2, "2"), (1.0, 1.1, "0")], key="distortion")
    (session,) = mcap_format.read(path, NO_OPTIONS)
    assert session.label is None
    assert [(e.start_us, e.label) for e in session.events] == [(1_000_000, "none"), (1_100_000, "high")]


def test_a_field_in_microtesla_and_a_unit_the_user_states(tmp_path):
    path = sensor_file(tmp_path / "p.mcap", {"mag_raw": readings(MAG * 40), "acc_raw": readings(ACC)})
    (session,) = mcap_format.read(path, ReadOptions(units={"acc": "m/s^2", "mx": "gauss"}))
    assert [c.unit for c in session.channels] == ["gauss", "uT", "uT", "m/s^2", "m/s^2", "m/s^2"]
    assert session.channels[1].scale == 1 / 16
    (session,) = mcap_format.read(path, ReadOptions(scales={"my": 0.5}))
    assert [c.scale for c in session.channels[:3]] == [1 / 16, 0.5, 1 / 16]
    with pytest.raises(InputError, match="unit 'furlong' of ax is not known"):
        mcap_format.read(path, ReadOptions(units={"acc_raw": "furlong"}))


def test_times_may_be_written_as_fractions(tmp_path):
    path = sensor_file(tmp_path / "a.mcap", {"mag_raw": [(0, [1, 2, 3]), (int(1e7), [1, 2, 3])]}, wrap=fractional)
    (session,) = mcap_format.read(path, NO_OPTIONS)
    assert session.t_us.tolist() == [0, 10_000]


def fractional(message):
    return json.dumps(message | {"timestamp": message["timestamp"] and float(message["timestamp"])})


def test_clipping_disorder_and_unknown_topics(tmp_path):
    rows = readings([[99, 0, 0]] + [[0, 0, -99.0]] * 3)
    path = sensor_file(tmp_path / "a.mcap", {"acc_raw": [rows[0], rows[2], rows[1], rows[3]]})
    (session,) = mcap_format.read(path, NO_OPTIONS)
    assert (np.diff(session.t_us) > 0).all()
    assert session.samples[:, 0].tolist() == [32767, 0, 0, 0]
    assert session.samples[:, 2].tolist() == [0, -32768, -32768, -32768]
    assert session.faults == (
        "acc_raw: 1 samples were out of order",
        "ax: 1 of 4 values clipped to int16",
        "az: 3 of 4 values clipped to int16",
    )
    path = sensor_file(tmp_path / "b.mcap", {"barometer": readings([[101_325.0], [-99_000.0]])})
    (session,) = mcap_format.read(path, NO_OPTIONS)
    assert session.channels == (Channel("barometer", "unstated (N/A)", 4.0),)
    assert session.samples[:, 0].tolist() == [25331, -24750]


def test_a_moment_is_no_recording(tmp_path):
    topics = {"mag_raw": readings(MAG), "gyro_raw": readings(GYRO[:1])}
    (session,) = mcap_format.read(sensor_file(tmp_path / "a.mcap", topics), NO_OPTIONS)
    assert session.faults == ("left out for want of two moments: gyro_raw",)
    with pytest.raises(InputError, match="record something longer"):
        mcap_format.read(sensor_file(tmp_path / "b.mcap", {"mag_raw": readings(MAG[:1])}), NO_OPTIONS)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, "2", 3.0], "not a number"),
        ([1.0, True, 3.0], "not a number"),
        ([1.0, [2.0], 3.0], "not a number"),
        ([1.0, 1e300, 3.0], "not a finite number"),
        ([1.0, 10**400, 3.0], "not a finite number"),
        ([1.0, float("nan"), 3.0], "not valid JSON"),
        ([1.0, 2.0], "different numbers of values"),
        ("abc", "no list 'values'"),
        (None, "no list 'values'"),
    ],
)
def test_readings_that_are_none_are_refused(tmp_path, values, message):
    rows = [*readings(MAG), (2_000_000_000, values)]
    with pytest.raises(InputError, match=f"a.mcap: mag_raw: .*{message}") as caught:
        mcap_format.read(sensor_file(tmp_path / "a.mcap", {"mag_raw": rows}), NO_OPTIONS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "not one JSON object"),
        ("3", "not one JSON object"),
        ("{},{}", "not one JSON object"),
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("{}", "no list 'values'"),
        ('{"values": [1], "timestamp": "now"}', "timestamp is not a number"),
        ('{"values": [1], "timestamp": -1}', "63 bits"),
        ('{"values": [1], "timestamp": 1e30}', "63 bits"),
        ('{"values": []}', "or none"),
    ],
)
def test_messages_that_are_no_readings_are_refused(tmp_path, text, message):
    path = sensor_file(tmp_path / "a.mcap", {"mag_raw": [(0, [1])] * 2}, wrap=lambda _: text)
    with pytest.raises(InputError, match=message):
        mcap_format.read(path, NO_OPTIONS)


def test_a_file_of_something_else_says_what_it_has(tmp_path):
    path = sensor_file(tmp_path / "a.mcap", {"spectrogram": readings(MAG)}, schema="foxglove.CompressedImage")
    with pytest.raises(
        InputError, match=r"no messages of sensors \(schema sensor_event\); its topics are: spectrogram"
    ):
        mcap_format.read(path, NO_OPTIONS)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"events": 3}', '{"events": [3]}', '{"events": [{"metadata": {}}]}', "\xff", "[" * 100_000]
    + [
        json.dumps({"events": [{"metadata": metadata, "startTime": start, "endTime": {"sec": 2, "nsec": 0}}]})
        for metadata, start in [
            ({"mag_distortion": 7}, {"sec": 1, "nsec": 0}),
            ({"mag_distortion": ""}, {"sec": 1, "nsec": 0}),
            ({"mag_distortion": "1"}, {"sec": 3, "nsec": 0}),
            ({"mag_distortion": "1"}, {"sec": 1, "nsec": 10**9}),
            ({"mag_distortion": "1"}, {"sec": True, "nsec": 0}),
            ({"mag_distortion": "1"}, None),
        ]
    ],
)
def test_labels_that_make_no_sense_are_refused(tmp_path, text):
    path = sensor_file(tmp_path / "a.mcap", {"mag_raw": readings(MAG)})
    labels_path(path).write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"a\.labels\.json") as caught:
        mcap_format.read(path, NO_OPTIONS)
    assert "\n" not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["events", "startTime", "endTime", "sec", "nsec", "metadata", "label"]), inner
        )
    ),
    max_leaves=15,
)


@settings(max_examples=150, deadline=None)
@given(JSON)
def test_any_json_is_labels_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzz.labels.json"
    path.write_text(json.dumps(content))
    events, message = [], ""
    try:
        events = read_labels(path)
    except InputError as error:
        message = str(error)
    assert all(event.end_us >= event.start_us >= 0 for event in events)
    assert "\n" not in message


def test_writing_needs_a_place(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        mcap_format.write([make()], tmp_path / "file" / "x.mcap")
    with pytest.raises(InputError, match="0 recordings"):
        mcap_format.write([], tmp_path / "x.mcap")


def test_memory_does_not_follow_the_messages(tmp_path):
    """Messages take 600 bytes each as Python objects; a sample takes 21 in its arrays."""
    n = 60_000
    session = make(n, events=())
    path = tmp_path / "long.mcap"
    tracemalloc.start()
    try:
        mcap_format.write([session], path)
        written = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        (read,) = mcap_format.read(path, NO_OPTIONS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(read) == n
    assert written < 25e6
    assert peak < 25e6
