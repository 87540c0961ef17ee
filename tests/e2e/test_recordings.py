"""`stinger info` and `stinger convert` as a user types them, and what damage does to each verb."""

import re
import zipfile
from itertools import pairwise

import numpy as np
import pytest

from conftest import DATA, NICLA, SESSION_B, files_below
from stinger.sessions.read import read_sessions
from stinger.sessions.session import STINGER_CHANNELS, Session
from stinger.sessions.write import differences, write_sessions

SHOULDER = DATA / "shoulder_exercises.zip"
SHOULDER_FLAGS = ("--rate", "50", "--units", "acc=g,gyro=rad/s", "--pattern", "{label}.s{subject}_*.csv")
CUT = "damage: the file ends in mid-record: 12 of 17 bytes at byte 407983 dropped"


@pytest.fixture
def cut(stinger):
    (stinger.cwd / "cut.bin").write_bytes(SESSION_B.read_bytes()[:-5])
    return "cut.bin"


def test_info_describes_a_log(stinger):
    done = stinger("info", SESSION_B)
    assert done.code == 0
    assert done.complaints == []
    for text in ("24,000 samples at 100 Hz", "gaps: 17, 88.54 s in all, the longest 12.50 s", "pressed 90 times"):
        assert text in done.out
    assert re.search(r"ax +│ +g +│.*│ +20\b", done.out)


def test_info_describes_a_log_for_machines(stinger):
    described = stinger("info", SESSION_B, "--json").json
    (recording,) = described["recordings"]
    assert recording["trigger"]["rising_edges"] == 90
    assert recording["gaps"]["count"] == 17
    assert [c["name"] for c in recording["channels"]] == ["ax", "ay", "az", "gx", "gy", "gz"]
    assert described["totals"]["samples"] == 24_000


def test_info_of_the_real_tables(stinger):
    done = stinger("info", SHOULDER, *SHOULDER_FLAGS)
    assert done.code == 0
    assert "50 Hz: ax [g], ay [g], az [g], gx [rad/s], gy [rad/s], gz [rad/s]" in done.out
    assert re.search(r"^trap +│ +12 │ +18,629", done.out, re.MULTILINE)
    assert re.search(r"^6 +│ +14 │ +24,927", done.out, re.MULTILINE)
    assert re.search(r"^all +│ +84 │ +139,628", done.out, re.MULTILINE)
    listed = stinger("info", SHOULDER, *SHOULDER_FLAGS, "--each").out
    assert len(re.findall(r"^\w+\.s\d_\w+\.csv", listed, re.MULTILINE)) == 84


def test_info_asks_for_what_a_table_does_not_say(stinger):
    done = stinger("info", SHOULDER)
    assert done.code == 3
    assert len(done.complaints) == 1
    assert re.search(r"shoulder_exercises\.zip: abd\.s1_left_1\.csv: no time column.*--rate HZ", done.complaints[0])
    assert stinger("info", SHOULDER, "--rate", "50", "--units", "acc").code == 2
    assert stinger("info", SHOULDER, "--rate", "50", "--pattern", "{who}").code == 2


def test_info_of_an_export_counts_labels(stinger):
    described = stinger("info", NICLA, "--json").json
    assert {name: group["recordings"] for name, group in described["labels"].items()} == {
        "Idle": 12, "Lift": 12, "Maritime": 12, "Terrestrial": 12, "": 6,
    }  # fmt: skip


def test_info_says_what_lay_beside_recordings(stinger):
    (stinger.cwd / "all").mkdir()
    (stinger.cwd / "all" / "notes.txt").write_text("hello")
    (stinger.cwd / "all" / "a.csv").write_text("t_ms,ax\n0,1\n10,2\n")
    done = stinger("info", "all")
    assert done.code == 0
    assert "not a recording: all: notes.txt" in done.out


def test_a_log_goes_round_through_every_format(stinger):
    steps = [SESSION_B, "a.csv", "b.mcap", "c.tsv", "d.bin"]
    for source, target in pairwise(steps):
        done = stinger("convert", source, target)
        assert (done.code, done.complaints) == (0, [])
        assert done.out == f"1 recording in {target}\n"
    assert (stinger.cwd / "d.bin").read_bytes() == SESSION_B.read_bytes()


def test_a_collection_becomes_a_folder_and_stays_what_it_is(stinger):
    assert stinger("convert", SHOULDER, "tables", *SHOULDER_FLAGS).code == 0
    assert stinger("convert", "tables", "mcaps", "--format", "mcap").code == 0
    before = read_sessions(stinger.cwd / "tables")
    after = read_sessions(stinger.cwd / "mcaps")
    assert differences(before, after) == []
    assert [s.name.removesuffix(".csv") for s in before] == [s.name.removesuffix(".mcap") for s in after]
    assert {(s.label, s.subject) for s in before} >= {("trap", "6"), ("abd", "1")}
    first = files_below(stinger.cwd / "tables")
    assert stinger("convert", SHOULDER, "tables", *SHOULDER_FLAGS).code == 0
    assert files_below(stinger.cwd / "tables") == first


def test_a_folder_zipped_by_the_user_reads_the_same(stinger):
    assert stinger("convert", NICLA, "tables").code == 0
    with zipfile.ZipFile(stinger.cwd / "tables.zip", "w") as archive:
        for path in sorted((stinger.cwd / "tables").rglob("*.csv")):
            archive.write(path, path.relative_to(stinger.cwd / "tables"))
    before = read_sessions(NICLA)
    assert differences(before, read_sessions(stinger.cwd / "tables.zip")) == []


def test_what_a_format_cannot_hold_is_refused_or_listed(stinger):
    t_us = np.arange(100, dtype=np.int64) * 10_000
    three = Session("t", t_us, np.zeros((100, 3), np.int16), STINGER_CHANNELS[:3], 10_000)
    write_sessions([three], stinger.cwd / "three.csv")
    done = stinger("convert", "three.csv", "three.bin")
    assert done.code == 3
    assert re.fullmatch(r"stinger: .*has channels ax, ay, az, gx, gy, gz, not ax, ay, az.*", done.complaints[0])
    assert not (stinger.cwd / "three.bin").exists()

    assert stinger("convert", SESSION_B, "s.csv").code == 0
    (stinger.cwd / "walk.ann.csv").write_bytes((stinger.cwd / "s.csv").read_bytes())
    named = ("walk.ann.csv", "s.bin", "--pattern", "{label}.{subject}.csv")
    done = stinger("convert", *named)
    assert done.code == 3
    assert "s.bin cannot hold everything: the label; the subject;" in done.complaints[0].replace(
        "the subject; the label", "the label; the subject"
    )
    done = stinger("convert", *named, "--lossy", "--json")
    assert sorted(done.json["lost"]) == ["the label", "the subject"]
    assert (stinger.cwd / "s.bin").read_bytes() == SESSION_B.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((SESSION_B, "out.xyz"), 2, r"'\.xyz' is no format to write"),
        ((SESSION_B, "folder", "--format", "xyz"), 2, "--format xyz"),
        ((SESSION_B, "out.csv", "--format", "csv"), 2, "--format is for folders"),
        ((SESSION_B, SESSION_B), 2, "is the recording itself"),
        (("nowhere.bin", "out.csv"), 3, "nowhere.bin: it does not exist"),
        ((NICLA, "out.bin"), 3, "holds one recording, not 54; give a folder"),
        ((SESSION_B, "photos"), 3, "photos is not empty and was not made by stinger"),
    ],
)
def test_mistakes_are_one_line(stinger, arguments, code, message):
    (stinger.cwd / "photos").mkdir()
    (stinger.cwd / "photos" / "cat.jpg").write_bytes(b"meow")
    before = files_below(stinger.cwd)
    done = stinger("convert", *arguments)
    assert done.code == code
    assert len(done.complaints) == 1
    assert re.search(message, done.complaints[0])
    assert files_below(stinger.cwd) == before


def test_a_cut_log_is_described_converted_and_explored_with_its_fault(stinger, cut):
    assert f"fault: {CUT}" in stinger("info", cut).out
    assert stinger("info", cut, "--json").json["recordings"][0]["damaged"] is True
    done = stinger("convert", cut, "clean.bin")
    assert done.code == 0
    assert f"fault: cut.bin: {CUT}" in done.out
    assert (stinger.cwd / "clean.bin").read_bytes() == SESSION_B.read_bytes()[:-17]
    assert stinger("info", "clean.bin", "--json").json["recordings"][0]["damaged"] is False
    done = stinger("explore", cut, "--outdir", "out", "--plots", "none")
    assert done.code == 0
    assert CUT in done.out
