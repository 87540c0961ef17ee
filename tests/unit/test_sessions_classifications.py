"""Classification MCAP: written, read back, read from others, and refused where it makes no sense."""

import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer

from stinger.errors import InputError
from stinger.sessions.mcap_format.classifications import read_classifications, write_classifications

LEVELS = ("none", "low", "high")


def foreign(messages, topic="classification"):
    """A file as another tool writes it, without checksums."""
    stream = io.BytesIO()
    writer = Writer(stream, compression=CompressionType.NONE, enable_crcs=False)
    writer.start()
    schema = writer.register_schema("classification", "jsonschema", b"{}")
    channel = writer.register_channel(topic, "json", schema)
    for time, message in messages:
        writer.add_message(channel, time, message if isinstance(message, bytes) else json.dumps(message).encode(), time)
    writer.finish()
    return stream.getvalue()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**62), st.integers(0, 2)), min_size=1, max_size=20))
def test_what_is_written_is_read(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("c") / "x.mcap"
    times = np.array(sorted(time for time, _ in rows), dtype=np.int64)
    ids = np.array([number for _, number in rows], dtype=np.int64)
    write_classifications(path, times, ids, [LEVELS[i] for i in ids])
    back = read_classifications(path)
    np.testing.assert_array_equal(back.times_ns, times)
    np.testing.assert_array_equal(back.class_ids, ids)
    assert back.labels == tuple(LEVELS[i] for i in ids)
    first = path.read_bytes()
    write_classifications(path, times, ids, [LEVELS[i] for i in ids])
    assert path.read_bytes() == first


def test_messages_are_as_the_format_says(tmp_path):
    path = tmp_path / "x.mcap"
    write_classifications(path, np.array([3 * 10**9, 13 * 10**9]), np.array([2, 0]), ["high", "none"])
    with path.open("rb") as stream:
        found = [(s.name, c.topic, m.log_time, json.loads(m.data)) for s, c, m in make_reader(stream).iter_messages()]
    assert found == [
        ("classification", "classification", 3 * 10**9, {"predicted_class_id": 2, "label": "high"}),
        ("classification", "classification", 13 * 10**9, {"predicted_class_id": 0, "label": "none"}),
    ]


def test_files_of_others_are_read_in_order_of_time(tmp_path):
    path = tmp_path / "x.mcap"
    rows = [(20, {"predicted_class_id": 1, "label": "LABEL_1"}), (10, {"predicted_class_id": 0, "label": "a", "x": 1})]
    path.write_bytes(foreign(rows))
    back = read_classifications(path)
    assert (back.times_ns.tolist(), back.class_ids.tolist(), back.labels) == ([10, 20], [0, 1], ("a", "LABEL_1"))


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (b"{", "not valid JSON"),
        (b"[" * 5000, "not valid JSON"),
        ([], "not a JSON object"),
        ({}, "not a number"),
        ({"predicted_class_id": -1, "label": "x"}, "not a number"),
        ({"predicted_class_id": True, "label": "x"}, "not a number"),
        ({"predicted_class_id": 1.0, "label": "x"}, "not a number"),
        ({"predicted_class_id": 10**30, "label": "x"}, "not a number"),
        ({"predicted_class_id": 1}, "label"),
        ({"predicted_class_id": 1, "label": "a\nb"}, "label"),
        ({"predicted_class_id": 1, "label": "a" * 65}, "label"),
    ],
)
def test_messages_that_make_no_sense_are_one_line(tmp_path, message, said):
    path = tmp_path / "x.mcap"
    path.write_bytes(foreign([(1, message)]))
    with pytest.raises(InputError, match=said) as caught:
        read_classifications(path)
    assert str(caught.value).startswith("x.mcap: classification: ")
    assert "\n" not in str(caught.value)


def test_another_file_is_refused_by_its_topics(tmp_path):
    path = tmp_path / "x.mcap"
    path.write_bytes(foreign([(1, {})], topic="mag_raw"))
    with pytest.raises(InputError, match=r"x\.mcap: no topic classification; its topics are: mag_raw"):
        read_classifications(path)
    path.write_bytes(foreign([(1 << 63, {})]))
    with pytest.raises(InputError, match="63 bits"):
        read_classifications(path)


@pytest.mark.parametrize(
    ("times", "ids", "labels"),
    [
        ([], [], []),
        ([1, 2], [0], ["a"]),
        ([1], [0], ["a", "b"]),
        ([2, 1], [0, 0], ["a", "a"]),
        ([-1], [0], ["a"]),
        ([1], [-1], ["a"]),
        ([1], [0], [""]),
        ([1, 2], [0, 0], ["a", "b"]),
    ],
)
def test_what_would_not_read_back_is_not_written(tmp_path, times, ids, labels):
    with pytest.raises(InputError):
        write_classifications(tmp_path / "x.mcap", np.array(times), np.array(ids), labels)
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_bytes_are_classifications_or_one_line(tmp_path_factory, data):
    content = bytearray(foreign([(i, {"predicted_class_id": i, "label": str(i)}) for i in range(3)]))
    edits = st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255))
    for at, value in data.draw(st.lists(edits, min_size=1, max_size=6)):
        content[at] = value
    path = tmp_path_factory.getbasetemp() / "fuzz.mcap"
    path.write_bytes(bytes(content)[: data.draw(st.integers(len(content) // 2, len(content)))])
    try:
        back = read_classifications(path)
        assert len(back) == len(back.class_ids) == len(back.labels) <= 3
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
