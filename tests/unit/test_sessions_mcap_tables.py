"""Whole tables of sensor messages: what other readers find, what ours gives back, and damaged copies."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mcap.reader import NonSeekingReader, make_reader

from stinger.errors import InputError
from stinger.sessions import mcap_format
from stinger.sessions.mcap_format.labels import labels_path
from stinger.sessions.mcap_format.quantities import UNITS, quantise
from stinger.sessions.mcap_format.tables import LARGEST, Table, _numbers, _stamps, write_tables
from stinger.sessions.options import ReadOptions
from stinger.sessions.session import Channel, Event, Session

NO_OPTIONS = ReadOptions()
MAG = tuple(Channel(name, *UNITS["earth field"]) for name in ("mx", "my", "mz"))
START = 1_700_000_000_123_456_789


def recording(values, *, start=START, step=7_142_857, events=None):
    times = start + np.arange(len(values), dtype=np.int64) * step
    first, last = (int(t) // 1000 for t in (times[0], times[-1]))
    samples, _ = quantise(values, MAG)
    label = events is None
    events = (Event(first, last, "low"),) if events is None else events
    session = Session("x.mcap", times // 1000, samples, MAG, 7143, label="low" if label else None, events=events)
    return session, times


def random_values(n, width=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, width))


def write(path, n=3000, decimals=16, **changes):
    session, times = recording(random_values(n), **changes)
    truth = random_values(n, 4, seed=1)
    tables = [Table("pose_truth", truth, 16), Table("mag_raw", random_values(n), decimals)]
    write_tables(session, times, tables, path)
    return session, times, tables


def assert_same(read, written):
    for name in ("t_us", "samples"):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))
    for name in ("name", "channels", "period_us", "label", "events", "faults"):
        assert getattr(read, name) == getattr(written, name), name


@pytest.mark.parametrize("n", [2, 1023, 1024, 1025, 3000])
def test_other_readers_find_every_message(tmp_path, n):
    """The mcap package reads it with its index and without, checksums on, in order of time."""
    path = tmp_path / "x.mcap"
    _, times, tables = write(path, n)
    with path.open("rb") as stream:
        reader = make_reader(stream, validate_crcs=True)
        summary = reader.get_summary()
        assert {c.topic: summary.schemas[c.schema_id].name for c in summary.channels.values()} == {
            "pose_truth": "sensor_event",
            "mag_raw": "sensor_event",
            "/events/mag_raw": "foxglove.Log",
        }
        assert {c.message_encoding for c in summary.channels.values()} == {"json"}
        assert (summary.statistics.message_count, summary.statistics.chunk_count) == (2 * n + 2, -(-n // 1024))
        assert summary.statistics.message_start_time == times[0] // 1000 * 1000
        assert len(list(reader.iter_metadata())) == 1
        indexed = [(c.topic, m.log_time, m.sequence, m.data) for _, c, m in reader.iter_messages()]
    with path.open("rb") as stream:
        streamed = [
            (c.topic, m.log_time, m.sequence, m.data)
            for _, c, m in NonSeekingReader(stream, validate_crcs=True).iter_messages(log_time_order=False)
        ]
    assert sorted(streamed) == sorted(indexed)
    assert [log_time for _, log_time, _, _ in indexed] == sorted(log_time for _, log_time, _, _ in indexed)
    for table in tables:
        mine = [json.loads(data) for topic, _, _, data in indexed if topic == table.topic]
        assert {m["id"] for m in mine} == {table.topic}
        assert [m["timestamp"] for m in mine] == times.tolist()
        assert [s for topic, _, s, _ in indexed if topic == table.topic] == list(range(n))
        np.testing.assert_allclose([m["values"] for m in mine], table.values, rtol=0, atol=1e-15)


@pytest.mark.parametrize("decimals", [8, 16])
def test_ours_gives_the_recording_back(tmp_path, decimals):
    path = tmp_path / "x.mcap"
    session, _, _ = write(path, decimals=decimals)
    (again,) = mcap_format.read(path, NO_OPTIONS)
    assert_same(again, session)
    (truth,) = [json.loads(line) for line in [labels_path(path).read_text()]]
    assert [e["metadata"] for e in truth["events"]] == [{"mag_distortion": "1", "": ""}]


def test_the_same_gives_the_same_bytes(tmp_path):
    files = [tmp_path / "a" / "x.mcap", tmp_path / "b" / "x.mcap"]
    for path in files:
        write(path)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert labels_path(files[0]).read_bytes() == labels_path(files[1]).read_bytes()


def test_events_lie_where_they_happen(tmp_path):
    path = tmp_path / "x.mcap"
    at = [START // 1000 + i * 2_000_000 for i in range(8)]
    events = tuple(Event(a, b, label) for a, b, label in zip(at, at[1:], ["none", "low", "high"] * 3, strict=False))
    session, _, _ = write(path, events=events)
    (again,) = mcap_format.read(path, NO_OPTIONS)
    assert again.events == session.events
    with path.open("rb") as stream:
        chunks = make_reader(stream).get_summary().chunk_indexes
    assert all(a.message_end_time <= b.message_start_time for a, b in pairwise(chunks))


FINITE = st.floats(-LARGEST, LARGEST, exclude_min=True, exclude_max=True)


@settings(max_examples=200, deadline=None)
@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 5), st.just(3)), elements=FINITE), st.sampled_from([1, 2, 3]))
def test_numbers_are_json_and_near(values, groups):
    text = _numbers(values, groups)
    read = [[json.loads(bytes(cell)) for cell in row] for row in text]
    np.testing.assert_allclose(read, values, rtol=1e-15, atol=0.5000001 * 10.0 ** (-4 * groups))


@settings(max_examples=200, deadline=None)
@given(hnp.arrays(np.float64, 4, elements=st.floats(-899.9, 899.9)))
def test_sixteen_digits_are_a_double(values):
    read = np.array([json.loads(bytes(cell)) for cell in _numbers(values, 4)])
    # Scaling rounds once, reading once.
    assert (np.abs(read - values) <= 1e-16 + 4e-16 * np.abs(values)).all()


@given(st.lists(st.integers(0, (1 << 63) - 1), min_size=1))
def test_times_are_exact(times):
    text = _stamps(np.array(times, dtype=np.int64))
    assert [json.loads(bytes(row)) for row in text] == times


def test_what_cannot_be_written_is_refused(tmp_path):
    path = tmp_path / "x.mcap"
    session, times = recording(random_values(10))
    for bad in (np.nan, np.inf, LARGEST, -1e300):
        values = random_values(10)
        values[3, 1] = bad
        with pytest.raises(InputError, match="values of mag_raw are too few, too large or not finite"):
            write_tables(session, times, [Table("mag_raw", values, 16)], path)
    with pytest.raises(InputError, match="values of mag_raw are too few"):
        write_tables(session, times, [Table("mag_raw", random_values(9), 16)], path)
    with pytest.raises(InputError, match="negative ones"):
        write_tables(session, times - START - 1, [Table("mag_raw", random_values(10), 16)], path)
    with pytest.raises(InputError, match="control characters"):
        write_tables(
            replace(session, events=(Event(0, 1, "a\nb", "mark"),)),
            times,
            [Table("mag_raw", random_values(10), 16)],
            path,
        )
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("tables") / "x.mcap"
    session, _, _ = write(path, 40)
    return path, path.read_bytes(), session


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_copy_is_one_line_or_the_same(small, data):
    path, content, session = small
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] ^= data.draw(st.integers(1, 255))
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(0, len(damaged) - 1)) :]
    path.write_bytes(damaged)
    sessions, message = [session], ""
    try:
        sessions = mcap_format.read(path, NO_OPTIONS)
    except InputError as error:
        message = str(error)
    assert "\n" not in message
    assert_same(sessions[0], session)
