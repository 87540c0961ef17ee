"""Writing recordings: nothing is lost without being said."""

from pathlib import Path

import numpy as np
import pytest

from stinger.errors import InputError, UsageError
from stinger.sessions.formats import FORMATS, WRITERS, known_formats
from stinger.sessions.read import read_sessions
from stinger.sessions.session import STINGER_CHANNELS, Channel, Event, Session
from stinger.sessions.write import differences, file_name, write_sessions

DATA = Path(__file__).parent.parent / "data"


def motion(**fields):
    rng = np.random.default_rng(0)
    n = 200
    fields = {
        "name": "s",
        "t_us": 10_000 * np.arange(1, n + 1, dtype=np.int64),
        "samples": rng.integers(-9000, 9000, (n, 6)).astype(np.int16),
        "channels": STINGER_CHANNELS,
        "period_us": 10_000,
        "trigger": (np.arange(n) % 50 < 5).astype(np.uint8),
        **fields,
    }
    return Session(**fields)


@pytest.mark.parametrize("suffix", [".bin", ".csv", ".tsv", ".mcap"])
def test_a_stinger_session_survives_every_format(tmp_path, suffix):
    session = read_sessions(DATA / "session_b.bin")[0]
    path = tmp_path / f"s{suffix}"
    assert write_sessions([session], path) == []
    assert differences([session], read_sessions(path)) == []
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".csv", ".mcap"])
def test_what_is_known_about_a_recording_survives(tmp_path, suffix):
    events = (Event(20_000, 300_000, "walk"), Event(500_000, 700_000, "run"))
    for session in (motion(label="walk", subject="ann", split="test"), motion(events=events)):
        path = tmp_path / f"s{suffix}"
        assert write_sessions([session], path) == []
        assert differences([session], read_sessions(path)) == []


def test_a_csv_of_a_stinger_is_the_stingers_own_form(tmp_path):
    write_sessions([motion()], tmp_path / "plain.csv")
    write_sessions([motion(label="walk")], tmp_path / "labelled.csv")
    assert (tmp_path / "plain.csv").read_text().startswith("timestamp_ms,ax,ay,az,gx,gy,gz,trigger\n")
    assert (tmp_path / "labelled.csv").read_text().startswith("t_us,ax [g],")


LOSSES = {
    "the label": {"label": "walk"},
    "the subject": {"subject": "ann"},
    "2 events become 0": {"events": (Event(0, 1, "x"), Event(2, 3, "y"))},
    "a Stinger log has a trigger": {"trigger": None},
    "whole milliseconds": {"t_us": 10_000 * np.arange(200) + np.arange(200) % 7},
    "other units or scales": {"channels": tuple(Channel(c.name, c.unit, c.scale / 2) for c in STINGER_CHANNELS)},
}


@pytest.mark.parametrize("message", sorted(LOSSES))
def test_what_a_log_cannot_hold_is_refused_or_listed(tmp_path, message):
    session = motion(**LOSSES[message])
    path = tmp_path / "s.bin"
    with pytest.raises(InputError, match=message):
        write_sessions([session], path)
    assert list(tmp_path.iterdir()) == []
    lost = write_sessions([session], path, lossy=True)
    assert len(lost) == 1
    (again,) = read_sessions(path)
    physical = session.samples * np.array([c.scale for c in session.channels])
    np.testing.assert_allclose(again.samples * np.array([c.scale for c in STINGER_CHANNELS]), physical, atol=0.031)


def test_three_channels_are_no_log_however_lossy(tmp_path):
    session = motion(samples=np.zeros((200, 3), np.int16), channels=STINGER_CHANNELS[:3])
    with pytest.raises(InputError, match="has channels ax, ay, az, gx, gy, gz, not ax, ay, az"):
        write_sessions([session], tmp_path / "s.bin")
    with pytest.raises(InputError, match="needs a channel gx"):
        write_sessions([session], tmp_path / "s.bin", lossy=True)
    assert write_sessions([session], tmp_path / "s.csv") == []


def test_overlapping_events_do_not_fit_into_a_column(tmp_path):
    session = motion(events=(Event(10_000, 500_000, "a"), Event(300_000, 900_000, "b")))
    with pytest.raises(InputError, match=r"s\.csv cannot hold everything: events; .*--lossy"):
        write_sessions([session], tmp_path / "s.csv")
    assert write_sessions([session], tmp_path / "s.csv", lossy=True) == ["events"]


def test_one_recording_a_file(tmp_path):
    for name in ("x.bin", "x.csv"):
        with pytest.raises(InputError, match="holds one recording, not 2; give a folder") as caught:
            write_sessions([motion(), motion()], tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
    with pytest.raises(UsageError, match=r"'\.xyz' is no format to write; known are \.bin, \.csv"):
        write_sessions([motion()], tmp_path / "x.xyz")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        write_sessions([motion()], tmp_path / "folder.csv")


def test_an_old_file_stays_when_writing_fails(tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    with pytest.raises(InputError):
        write_sessions([motion(label="walk")], path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_file_names_are_safe_and_different():
    taken = set()
    names = [
        "a/b.csv",
        "a/b.bin",
        "../../etc/passwd",
        "/abs/x.csv",
        "c:\\x|y.csv",
        "A/B.json",
        "...",
        "x.zip/in/y.json",
    ]
    chosen = [file_name(motion(name=name), ".csv", taken) for name in names]
    assert chosen[:3] == ["a/b.csv", "a/b-2.csv", "etc/passwd.csv"]
    assert chosen[5] == "A/B-3.csv"
    assert all(not name.startswith(("/", ".")) and ".." not in name and ":" not in name for name in chosen)
    assert len({name.lower() for name in chosen}) == len(names)


def test_the_table_of_formats():
    assert all(f.NAME and f.SUFFIXES for f in FORMATS)
    assert {suffix for f in FORMATS for suffix in f.SUFFIXES} >= set(WRITERS)
    assert known_formats().startswith("a Stinger log (.bin), a Stinger CSV log (.csv)")
