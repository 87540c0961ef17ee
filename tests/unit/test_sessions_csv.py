"""Any table: what its header and cells mean, and where messages point."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stinger.errors import InputError, UsageError
from stinger.sessions import csv_format
from stinger.sessions.csv_format import parse_table
from stinger.sessions.options import ReadOptions, options_from_flags, parse_units
from stinger.sessions.session import Channel, Event, Session

RATE = ReadOptions(rate_hz=50)


def table(*lines, end="\n"):
    return ("\n".join(lines) + end).encode()


def read(*lines, end="\n", **options):
    return parse_table(table(*lines, end=end), "t.csv", ReadOptions(**options))


def test_units_scale_to_the_stingers_resolution():
    session = read(
        "t_ms,ax [g],ay (m/s^2),gx [deg/s],gy [rad/s],light [lx]", "0,1,9.80665,10,1,48.2", "10,-1,-9.80665,-10,-1,-0.5"
    )
    assert session.samples.tolist() == [[2048, 2048, 164, 940, 24100], [-2048, -2048, -164, -940, -250]]
    assert [c.unit for c in session.channels] == ["g", "m/s^2", "deg/s", "rad/s", "lx"]
    np.testing.assert_allclose(
        [1 / c.scale for c in session.channels], [2048, 2048 / 9.80665, 16.4, 16.4 * 180 / np.pi, 500], rtol=1e-12
    )
    assert session.t_us.tolist() == [0, 10_000]


@pytest.mark.parametrize(
    ("given", "unit", "scale"),
    [
        ({"acc": "g"}, "g", 1 / 2048),
        ({"accel": "m/s2"}, "m/s^2", 9.80665 / 2048),
        ({"ax": "g"}, "g", 1 / 2048),
        ({"acc": "m/s^2", "ax": "g"}, "g", 1 / 2048),
        ({"accX": "g"}, "g", 1 / 2048),
        ({}, "unstated", 0.0001),
    ],
)
def test_units_given_by_channel_or_sensor(given, unit, scale):
    session = read("accX,accY,accZ", "0.5,0.1,-2.2", "0,0,0", rate_hz=100, units=given)
    assert session.channels[0] == Channel("ax", unit, scale)


def test_units_for_no_channel_are_refused():
    with pytest.raises(InputError, match=r"--units names 'gyro', but the channels are ax"):
        read("ax", "1", "2", rate_hz=10, units={"gyro": "rad/s"})


@pytest.mark.parametrize("values", [[1.5, -32767.0], [1e-9, 2.5e-9], [0.1, 1e300], [3.3, 40_000.0], [5e-324, 1e-323]])
def test_a_chosen_scale_never_clips(values):
    session = read("a_thing,b", *[f"{v!r},0" for v in values], rate_hz=10)
    scale = session.channels[0].scale
    assert session.faults == ()
    np.testing.assert_allclose(session.samples[:, 0] * scale, values, atol=scale / 2 * 1.0001)
    mantissa = f"{scale:e}".split("e")[0]
    assert float(mantissa) in (1, 2, 5)


def test_whole_numbers_that_fit_are_counts():
    session = read("x,y", "100,-32767", "7,32767", rate_hz=10)
    assert session.samples.tolist() == [[100, -32767], [7, 32767]]
    assert {c.scale for c in session.channels} == {1.0}


def test_axes_of_one_sensor_share_a_scale():
    session = read("gyroX,gyroY,gyroZ,other", "0.5,400.5,0,1.5", "0,0,0,0", rate_hz=10)
    assert len({c.scale for c in session.channels[:3]}) == 1
    assert session.channels[3].scale != session.channels[0].scale


def test_clipping_is_a_fault_with_its_count():
    session = read("ax [g],ay [g]", "17,0", "-17,1", "16.5,2", "0,3", rate_hz=10)
    assert session.faults == ("ax: 3 of 4 values clipped to int16",)
    assert session.samples[:, 0].tolist() == [32767, -32768, 32767, 0]


@pytest.mark.parametrize(
    ("header", "cells", "period_us"),
    [
        ("t", ("0", "0.02"), 20_000),
        ("time", ("1700000000.5", "1700000000.51"), 10_000),
        ("timestamp", ("100", "110"), 10_000),
        ("Timestamp", ("1700000000000000", "1700000000010000"), 10_000),
        ("t", ("0", "10000000"), 10_000),
        ("t_s", ("0", "10"), 10_000_000),
        ("time_ms", ("5", "6"), 1000),
        ("timestamp_us", ("0", "625"), 625),
        ("t_ns", ("0", "10000000"), 10_000),
        ("Time (s)", ("0", "0.5"), 500_000),
        ("time [ms]", ("0", "2.5"), 2500),
    ],
)
def test_time_columns(header, cells, period_us):
    session = read(f"{header},ax", f"{cells[0]},1", f"{cells[1]},2")
    assert session.period_us == period_us
    assert session.t_us[1] - session.t_us[0] == period_us


def test_a_rate_settles_the_unit_of_time_and_the_period():
    session = read("t,ax", "0,1", "1,2", "5,3", rate_hz=1)
    assert session.period_us == 1_000_000
    assert session.gap_before.tolist() == [True, False, True]
    with pytest.raises(InputError, match=r"no time column.*--rate"):
        read("ax", "1", "2")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters_quotes_line_ends_and_byte_order_marks(delimiter):
    lines = [delimiter.join(cells) for cells in (["t_ms", '"ax [g]"', "note"], ["0", '"1.0"', "5"], ["10", "2", " 6 "])]
    session = parse_table(("\ufeff" + "\r\n".join(lines)).encode(), "t.csv")
    assert session.samples.tolist() == [[2048, 5], [4096, 6]]
    assert session.channels[0].name == "ax"


def test_label_and_subject_from_columns():
    session = read("t_ms,ax,label,recorder", "0,1,walk,ann", "10,2,walk,ann")
    assert (session.label, session.subject) == ("walk", "ann")
    session = read("t_ms,ax,activity,who", "0,1,run,bo", "10,2,run,bo", label_column="activity", subject_column="who")
    assert (session.label, session.subject) == ("run", "bo")
    with pytest.raises(InputError, match="no column 'activity'; there are t_ms, ax"):
        read("t_ms,ax", "0,1", "10,2", label_column="activity")
    with pytest.raises(InputError, match="line 3, column 'subject': the subject changes"):
        read("t_ms,ax,subject", "0,1,a", "10,2,b")


def test_labels_that_change_are_events():
    session = read("t_ms,ax,label", "0,1,walk", "10,2,walk", "20,3,", "30,4,run")
    assert session.label is None
    assert session.events == (Event(0, 10_000, "walk"), Event(30_000, 30_000, "run"))


def test_a_trigger_column():
    session = read("t_ms,ax,trigger", "0,1,0", "10,2,1")
    assert session.trigger.tolist() == [0, 1]
    with pytest.raises(InputError, match="line 3, column 'trigger': 2 is neither 0 nor 1"):
        read("t_ms,ax,trigger", "0,1,0", "10,2,2")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((), "empty"),
        (("ax,ay",), "fewer than two samples"),
        (("ax,ay", "1,2"), "fewer than two samples"),
        (("ax,ay", "1,2", "1,abc"), r"line 3, column 'ay': 'abc' is not a number"),
        (("ax,ay", "1,2", "1,"), r"line 3, column 'ay': '' is empty"),
        (("ax,ay", "1,2", "nan,1"), r"line 3, column 'ax': 'nan' is not a finite number"),
        (("ax,ay", "1,2", "1,-inf"), r"line 3, column 'ay': '-inf' is not a finite number"),
        (("ax,ay", "1,2", "1,1e999"), r"line 3, column 'ay': '1e999' is not a finite number"),
        (("ax;ay", "1;2", "1;2,5"), r"line 3, column 'ay': '2,5' is not a number; decimals are written with a point"),
        (("ax,ay", "1,2", "1,2,3"), r"line 3: 3 of 2 columns"),
        (("ax,ay", "1,2", "1"), r"line 3: 1 of 2 columns"),
        (("ax,ay", "1,2", "", "3,4"), r"line 3: the line is empty"),
        (("ax,ax", "1,2", "3,4"), r"line 1: two columns are called 'ax'"),
        (("ax,", "1,2", "3,4"), r"line 1, column 2: a header"),
        (("t,time,ax", "1,2,3", "3,4,5"), r"line 1: two columns say the time, 't' and 'time'"),
        (("t_ms,label", "1,a", "2,a"), r"line 1: no channels among"),
        (("t_ms,ax", "1,2", "5,2", "3,4"), r"line 4, column 't_ms': the time goes back from 5 to 3"),
        (("t_ms,ax", "1,2", "1,2"), r"column 't_ms': no time passes"),
        (("t_s,ax", "1,2", "1e300,2"), r"beyond what can be stored"),
        ((",".join(f"c{i}" for i in range(65)), "1"), r"65 columns, at most 64"),
        (("ax,ay", "1,2", "\u0661,3"), r"line 3, column 'ax': '\u0661' is not a number"),
        (("ax,ay", "1,2", "1_0,3"), r"line 3, column 'ax': '1_0' is not a number"),
        (("ax,label", "1,a", "2," + "x" * 65), r"line 3, column 'label': 'x{20}...' is longer than 64"),
    ],
)
def test_what_is_wrong_is_named_by_line_and_column(lines, message):
    with pytest.raises(InputError, match=message) as caught:
        read(*lines, rate_hz=10)
    assert str(caught.value).startswith("t.csv")
    assert "\n" not in str(caught.value)


def test_errors_deep_in_a_long_table_have_their_line():
    lines = ["t_ms,ax", *(f"{i * 10},{i % 7}" for i in range(200_000))]
    lines[150_123] = "0,oops"
    with pytest.raises(InputError, match=r"line 150124, column 'ax': 'oops'"):
        read(*lines)


@pytest.mark.parametrize(
    ("head", "known"),
    [
        (b"ax,ay\n1,2\n", True),
        (b"ax;ay\r\n1;2\r\n", True),
        (b"label,ax\nwalk,2\n", True),
        (b"hello", False),
        (b"hello\nworld\n", False),
        (b"1,2\n3,4\n", False),
        (b"a,b\n1\n", False),
        (b'{"a": 1,\n"b": 2}\n', False),
        (b"\x89PNG\r\n\x1a\n", False),
        (b"", False),
    ],
)
def test_recognition(head, known):
    assert csv_format.recognise(head, Path("x")) is known


@pytest.mark.parametrize("text", ["acc", "acc=", "=g", "acc=g,,", "acc=g=h", ","])
def test_units_that_make_no_sense_are_usage_errors(text):
    with pytest.raises(UsageError, match="acc=g,gyro=rad/s"):
        parse_units(text)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), 1e9])
def test_rates_that_make_no_sense_are_usage_errors(rate):
    with pytest.raises(UsageError, match="--rate"):
        options_from_flags(rate=rate)


COUNTS = st.integers(-32768, 32767)
CHANNELS = st.sampled_from(
    [
        Channel("ax", "g", 1 / 2048),
        Channel("gx", "rad/s", np.radians(1) / 16.4),
        Channel("mx", "uT", 0.05),
        Channel("gx", "unstated (N/A)", 1 / 16.4),
        Channel("ax", "g", 1 / 8192),
        Channel("thing", "unstated", 1.0),
        Channel("odd one", "°C (board)", 1 / 3),
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 10**7), COUNTS, COUNTS, st.integers(0, 1)), min_size=2, max_size=30),
    st.lists(CHANNELS, min_size=2, max_size=2, unique_by=lambda c: c.name),
    st.integers(-(2**40), 2**50),
    st.booleans(),
    st.sampled_from([None, "walk", 'a "quoted", one', "ünï"]),
    st.sampled_from([None, "1", "ann"]),
)
def test_what_is_written_reads_back(tmp_path_factory, rows, channels, start, triggered, label, subject):
    data = np.array(rows, dtype=np.int64)
    t_us = start + np.cumsum(data[:, 0])
    period = max(1, round(float(np.median(np.diff(t_us)))))
    session = Session(
        name="s",
        t_us=t_us,
        samples=data[:, 1:3].astype(np.int16),
        channels=tuple(channels),
        period_us=period,
        trigger=data[:, 3].astype(np.uint8) if triggered else None,
        label=label,
        subject=subject,
    )
    path = tmp_path_factory.mktemp("csv") / "s.csv"
    csv_format.write([session], path)
    (again,) = csv_format.read(path, ReadOptions())
    np.testing.assert_array_equal(again.t_us, session.t_us)
    np.testing.assert_array_equal(again.samples, session.samples)
    assert again.channels == session.channels
    assert (again.label, again.subject, again.period_us) == (label, subject, period)
    assert (again.trigger is None) == (not triggered)
    if triggered:
        np.testing.assert_array_equal(again.trigger, session.trigger)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(alphabet='0123456789,;\n\r.-"e txlabg[]()\t\0', max_size=150)))
def test_any_bytes_are_a_table_or_refused(content):
    data = content if isinstance(content, bytes) else content.encode()
    for options in (RATE, ReadOptions()):
        session, message = None, ""
        try:
            session = parse_table(data, "fuzz", options)
        except InputError as error:
            message = str(error)
        assert "\n" not in message
        if session is not None:
            assert len(session) >= 2
            assert (np.diff(session.t_us) >= 0).all()
