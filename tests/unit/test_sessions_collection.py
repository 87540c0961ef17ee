"""Folders and zips of recordings: what is found, in which order, and what is refused."""

import io
import os
import shutil
import stat
import time
import tracemalloc
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stinger.errors import InputError, UsageError
from stinger.sessions import collection
from stinger.sessions.options import ReadOptions, options_from_flags
from stinger.sessions.pattern import compile_pattern
from stinger.sessions.read import iter_sessions, list_recordings, read_sessions, read_source

DATA = Path(__file__).parent.parent / "data"
SHOULDER = DATA / "shoulder_exercises.zip"
EXPORT = DATA / "nicla_motion_edge_impulse_export.zip"
SHOULDER_OPTIONS = options_from_flags(rate=50, units="acc=g,gyro=rad/s", pattern="{label}.s{subject}_*.csv")
TABLE = "t_ms,ax [g]\n0,1\n10,2\n20,3\n"


def pack(path, files, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def fill(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def same(a, b):
    assert [s.name for s in a] == [s.name for s in b]
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x.samples, y.samples)
        np.testing.assert_array_equal(x.t_us, y.t_us)
        assert (x.channels, x.label, x.subject, x.split) == (y.channels, y.label, y.subject, y.split)


def test_the_real_recordings_of_six_people():
    sessions = read_sessions(SHOULDER, SHOULDER_OPTIONS)
    assert len(sessions) == 84
    exercises = ("abd", "er", "fel", "ir", "pen", "row", "trap")
    assert Counter((s.label, s.subject) for s in sessions) == {(e, p): 2 for e in exercises for p in "123456"}
    assert sorted({s.name for s in sessions}) == [s.name for s in sessions]
    first = sessions[0]
    assert first.name == "abd.s1_left_1.csv"
    assert [c.unit for c in first.channels] == ["g"] * 3 + ["rad/s"] * 3
    assert {s.channels for s in sessions} == {first.channels}
    assert first.period_us == 20_000
    assert not any(s.faults for s in sessions)
    with zipfile.ZipFile(SHOULDER) as archive:
        values = np.loadtxt(io.BytesIO(archive.read(first.name)), delimiter=",", skiprows=1)
    scale = np.array([c.scale for c in first.channels])
    assert np.abs(first.samples * scale - values).max() <= scale.max() / 2 * 1.0001


def test_a_zip_and_the_folder_it_was_made_of_are_the_same(tmp_path):
    with zipfile.ZipFile(SHOULDER) as archive:
        archive.extractall(tmp_path / "folder")
    same(read_sessions(SHOULDER, SHOULDER_OPTIONS), read_sessions(tmp_path / "folder", SHOULDER_OPTIONS))


def test_an_unpacked_export_keeps_labels_and_split(tmp_path):
    with zipfile.ZipFile(EXPORT) as archive:
        archive.extractall(tmp_path)
    packed, unpacked = read_sessions(EXPORT), read_sessions(tmp_path)
    same(packed, unpacked)


def test_one_collection_of_every_format_in_order(tmp_path):
    fill(
        tmp_path,
        {
            "b/log.bin": (DATA / "session_b.bin").read_bytes(),
            "a.csv": TABLE,
            "c.csv": "timestamp_ms,ax,ay,az,gx,gy,gz,trigger\n10,1,2,3,4,5,6,0\n20,1,2,3,4,5,6,1\n",
            "README.md": "notes",
            "LICENSE": "words",
            ".hidden": "x",
            "b/picture.png": b"\x89PNG\r\n\x1a\n",
        },
    )
    shutil.copy(EXPORT, tmp_path / "d.zip")
    listing = list_recordings(tmp_path)
    assert [s.name for s in listing.sources] == ["a.csv", "b/log.bin", "c.csv", "d.zip"]
    assert listing.skipped == ("LICENSE", "README.md", "b/picture.png")
    sessions = read_sessions(tmp_path)
    names = [s.name for s in sessions]
    assert names[:3] == ["a.csv", "b/log.bin", "c.csv"]
    assert names[3].startswith("d.zip/testing/")
    assert len(names) == len(set(names)) == 3 + 54
    # One at a time, as other processes read them.
    one_by_one = [s for source in listing.sources for s in read_source(source, listing.options)]
    same(sessions, one_by_one)


def test_content_beats_suffix_in_collections(tmp_path):
    fill(tmp_path, {"x.txt": TABLE, "y.dat": (DATA / "session_b.bin").read_bytes()})
    assert [len(s) for s in read_sessions(tmp_path)] == [3, 24_000]


def test_a_zip_of_tables_in_a_folder_is_read_and_a_zip_in_a_zip_is_not(tmp_path):
    pack(tmp_path / "in.zip", {"one.csv": TABLE})
    assert [s.name for s in read_sessions(tmp_path)] == ["in.zip/one.csv"]
    outer = pack(tmp_path / "outer.zip", {"in.zip": (tmp_path / "in.zip").read_bytes()})
    with pytest.raises(InputError, match=r"outer\.zip: in\.zip: a zip inside a zip is not read"):
        read_sessions(outer)


def test_recordings_of_a_collection_share_the_scales_chosen_from_the_data(tmp_path):
    fill(tmp_path, {"a.csv": "x,y\n0.5,1\n0,1\n", "b.csv": "x,y\n900.5,1\n0,1\n"})
    a, b = read_sessions(tmp_path, ReadOptions(rate_hz=10))
    assert a.channels == b.channels
    assert b.samples[0, 0] * b.channels[0].scale == pytest.approx(900.5)
    same([a, b], list(iter_sessions(tmp_path, ReadOptions(rate_hz=10))))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"the folder is empty"),
        ({"README.md": "x"}, r"no recordings among 1 files"),
        (
            {"a.csv": TABLE, "b.xyz": b"\0\1\2"},
            r"/b\.xyz: unknown kind of recording; known are a Stinger log \(\.bin\)",
        ),
        ({"a.csv": TABLE, "sub/b.csv": "t_ms,ax\n0,1\n10,x\n"}, r"/sub/b\.csv, line 3, column 'ax': 'x' is not a num"),
        ({"a.csv": TABLE, "b.bin": b"\xff" * 1000}, r"/b\.bin: .*trigger"),
        ({"a.csv": "ax\n1\n2\n"}, r"/a\.csv: no time column.*--rate"),
    ],
)
def test_what_is_wrong_in_a_folder_is_named_with_its_path(tmp_path, files, message):
    folder = tmp_path / "all"
    folder.mkdir()
    with pytest.raises(InputError, match=message) as caught:
        read_sessions(fill(folder, files))
    assert "\n" not in str(caught.value)


def test_what_is_wrong_in_a_zip_is_named_with_its_path(tmp_path):
    path = pack(tmp_path / "x.zip", {"a.csv": TABLE, "sub/b.csv": "t_ms,ax\n0,1\n10,x\n"})
    with pytest.raises(InputError, match=r"^x\.zip: sub/b\.csv, line 3, column 'ax': 'x'"):
        read_sessions(path)


@pytest.mark.parametrize("name", ["../a.csv", "/etc/a.csv", "x/../../a.csv", "c:/a.csv", "x\\a.csv"])
def test_names_that_lead_out_of_a_zip_are_refused(tmp_path, name):
    path = pack(tmp_path / "x.zip", {"fine.csv": TABLE, "later": "x"})
    data = path.read_bytes()
    pack(path, {"fine.csv": TABLE, name: TABLE})
    assert data != path.read_bytes()
    with pytest.raises(InputError, match=r"leads out of the zip"):
        read_sessions(path)


def test_links_in_a_zip_are_refused(tmp_path):
    link = zipfile.ZipInfo("a.csv")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = pack(tmp_path / "x.zip", {link: "/etc/passwd"})
    with pytest.raises(InputError, match=r"a\.csv is a link"):
        read_sessions(path)


def test_bombs_and_crowds_are_refused_early(tmp_path, monkeypatch):
    bomb = pack(tmp_path / "bomb.zip", {"a.csv": b"0" * (300 << 20)})
    assert bomb.stat().st_size < 1 << 20
    tracemalloc.start()
    with pytest.raises(InputError, match="unpacks to more than 256 MiB"):
        read_sessions(bomb)
    assert tracemalloc.get_traced_memory()[1] < 50 << 20
    tracemalloc.stop()
    monkeypatch.setattr(collection, "MAX_FILES", 10)
    crowd = pack(tmp_path / "crowd.zip", {f"{i}.csv": TABLE for i in range(11)})
    with pytest.raises(InputError, match="11 entries, at most 10"):
        read_sessions(crowd)
    folder = tmp_path / "crowd"
    folder.mkdir()
    fill(folder, {f"{i}.csv": TABLE for i in range(11)})
    with pytest.raises(InputError, match="more than 10 files"):
        read_sessions(folder)


def test_a_declared_size_that_lies_is_noticed(tmp_path, monkeypatch):
    path = pack(tmp_path / "x.zip", {"a.csv": TABLE + "30,1\n" * 100})
    real = len(TABLE) + 500
    path.write_bytes(path.read_bytes().replace(real.to_bytes(4, "little"), (50).to_bytes(4, "little")))
    with pytest.raises(InputError, match=r"x\.zip: a\.csv"):
        read_sessions(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04 broken", "not a readable zip"),
        (b"", "not a readable zip"),
        (b"PK\x05\x06" + bytes(18), "is empty"),
    ],
)
def test_broken_zips(tmp_path, content, message):
    path = tmp_path / "x.zip"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_sessions(path)


def test_two_entries_of_one_name_are_refused(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", TABLE)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.csv", TABLE)
    with pytest.raises(InputError, match=r"two entries are called a\.csv"):
        read_sessions(path)


def test_special_files_in_a_folder_are_left_alone(tmp_path):
    fill(tmp_path, {"a.csv": TABLE})
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert [s.name for s in read_sessions(tmp_path)] == ["a.csv"]


def test_a_missing_path():
    with pytest.raises(InputError, match="does not exist"):
        read_sessions(Path("nowhere.bin"))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=6), st.integers(0, 500))
def test_a_damaged_zip_is_sessions_or_refused(tmp_path_factory, edits, cut):
    path = pack(tmp_path_factory.mktemp("zip") / "x.zip", {f"{i}/a.csv": TABLE for i in range(5)})
    data = bytearray(path.read_bytes())
    for at, value in edits:
        data[at % len(data)] = value
    path.write_bytes(data[: len(data) - cut])
    sessions, message = [], ""
    try:
        sessions = read_sessions(path)
    except InputError as error:
        message = str(error)
    assert "\n" not in message
    assert sessions or message
    assert all(len(s) >= 2 for s in sessions)


# --- names ---


@pytest.mark.parametrize(
    ("pattern", "name", "fields"),
    [
        ("{label}.s{subject}_*.csv", "trap.s1_right_1.csv", {"label": "trap", "subject": "1"}),
        ("{label}.s{subject}_*.csv", "deep/in/trap.s12_r.csv", {"label": "trap", "subject": "12"}),
        ("{subject}/{label}-??.csv", "ann/walk-07.csv", {"label": "walk", "subject": "ann"}),
        ("{label}.*", "walk.csv", {"label": "walk"}),
        ("*_{label}.csv", "2024_05_walk.csv", {"label": "05_walk"}),
        ("[{label}](x).csv", "[walk](x).csv", {"label": "walk"}),
    ],
)
def test_patterns(pattern, name, fields):
    assert compile_pattern(pattern).match(name) == fields


@pytest.mark.parametrize(
    ("pattern", "name"),
    [("{label}.s{subject}_*.csv", "notes.csv"), ("{subject}/{label}.csv", "walk.csv"), ("{label}.csv", "a.csv.csvx")],
)
def test_a_name_that_does_not_match_is_refused(pattern, name):
    with pytest.raises(InputError, match="does not match the pattern"):
        compile_pattern(pattern).match(name)


@pytest.mark.parametrize(
    "pattern", ["", "*.csv", "{label}{label}", "{person}.csv", "{", "{}.csv", "a}b{label}", "x" * 201]
)
def test_patterns_that_make_no_sense_are_usage_errors(pattern):
    with pytest.raises(UsageError, match="--pattern"):
        options_from_flags(pattern=pattern)


def test_matching_takes_linear_time():
    hostile = compile_pattern("*a*a*a*a*a*a*a*a*a*a*a*a{label}b")
    start = time.monotonic()
    with pytest.raises(InputError):
        hostile.match("a" * 250)
    assert time.monotonic() - start < 0.1


def test_a_pattern_labels_recordings_of_any_format(tmp_path):
    shutil.copy(DATA / "session_b.bin", tmp_path / "fast.ann.bin")
    (session,) = read_sessions(tmp_path / "fast.ann.bin", options_from_flags(pattern="{label}.{subject}.bin"))
    assert (session.label, session.subject) == ("fast", "ann")
    fill(tmp_path, {"odd.csv": TABLE})
    with pytest.raises(InputError, match=r"odd\.csv: the name does not match"):
        read_sessions(tmp_path, options_from_flags(pattern="{label}.{subject}.bin"))
