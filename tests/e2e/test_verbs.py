"""Each verb as a user types it, and what it says when the input is bad."""

import json
import re
import shutil
import zipfile

import numpy as np
import pytest

from conftest import NICLA, SESSION_B, run
from stinger.sessions.read import read_sessions
from stinger.sessions.session import STINGER_CHANNELS, Session
from stinger.sessions.stinger_log import write_bin, write_csv


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A logreg bundle made from the golden session by the verbs."""
    cwd = tmp_path_factory.mktemp("bundle")
    assert run("explore", SESSION_B, "--outdir", "out", cwd=cwd).code == 0
    assert run("train", "--train-dir", "out/train", "--out", "model", cwd=cwd).code == 0
    assert run("export", "model", "--out", "bundle", cwd=cwd).code == 0
    return cwd / "bundle"


def test_explore_writes_dataset_summary_and_picture(stinger):
    done = stinger("explore", SESSION_B, "--outdir", "out", "--json")
    assert done.code == 0
    summary = done.json
    assert summary == json.loads((stinger.cwd / "out" / "summary.json").read_text())
    assert summary["samples"] == 24_000
    assert (summary["trigger"]["rising_edges_accepted"], summary["trigger"]["rising_edges_rejected"]) == (60, 30)
    assert summary["windows"]["shot"] > 40
    assert (stinger.cwd / "out" / "dataset.png").read_bytes().startswith(b"\x89PNG")
    names = {p.name for p in (stinger.cwd / "out" / "train").iterdir()}
    assert {"windows_i16le.bin", "labels_u8.bin", "meta.json", "index.csv"} <= names
    windows = (stinger.cwd / "out" / "train" / "windows_i16le.bin").stat().st_size
    assert windows == sum(summary["windows"].values()) * 50 * 6 * 2


def test_explore_reads_several_logs_as_one_dataset(stinger):
    session = read_sessions(SESSION_B)[0]
    write_csv(session, stinger.cwd / "copy.csv")
    done = stinger("explore", SESSION_B, "copy.csv", "--outdir", "out", "--json")
    assert done.json["samples"] == 48_000
    assert (stinger.cwd / "out" / "dataset-2.png").is_file()


def test_train_prints_metrics_and_saves_a_model(stinger):
    assert stinger("explore", NICLA, "--outdir", "out").code == 0
    options = ("--model", "rf", "--features", "summary", "--out", "m")
    done = stinger("train", "--train-dir", "out/train", *options, "--json")
    assert done.code == 0
    assert done.json["metrics"]["accuracy"] > 0.98
    assert done.json["classes"] == ["Idle", "Lift", "Maritime", "Terrestrial"]
    assert json.loads((stinger.cwd / "m" / "manifest.json").read_text())["spec"]["family"] == "rf"


def test_check_proves_a_bundle_on_this_computer(stinger, bundle):
    done = stinger("check", bundle, "--json")
    assert done.code == 0
    levels = {"-".join(c["levels"]) for c in done.json}
    assert levels == {
        *("L0-L1", "L0-L1 features", "L0-L2", "L2-L3", "L2-L4", "L0-emlearn", "L2-mlmd"),
        *("vectors-L0", "vectors-L1", "vectors-L2"),
    }
    assert done.complaints == []


def test_check_refuses_a_changed_bundle(stinger, bundle, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    source = copy / "integer" / "stinger_model_data.c"
    source.write_text(source.read_text() + "\n")
    done = stinger("check", copy)
    assert done.code == 3
    assert done.complaints == [f"stinger: {source} is not the file that was exported; export the model again"]


def empty_zip(path):
    zipfile.ZipFile(path, "w").close()


def cut_in_mid_record(path):
    path.write_bytes(SESSION_B.read_bytes()[:-5])


def text_cell(path):
    write_csv(read_sessions(SESSION_B)[0], path)
    lines = path.read_text().splitlines()
    cells = lines[16].split(",")
    cells[5] = "abc"
    lines[16] = ",".join(cells)
    path.write_text("\n".join(lines) + "\n")


def no_shots(path):
    n = 5000
    samples = np.random.default_rng(0).normal(0, 500, (n, 6)).astype(np.int16)
    t_us = np.arange(n, dtype=np.int64) * 10_000
    write_bin(Session("quiet", t_us, samples, STINGER_CHANNELS, 10_000, trigger=np.zeros(n, np.uint8)), path)


BAD_INPUT = {
    "empty.zip": (empty_zip, "empty.zip"),
    "cut.bin": (cut_in_mid_record, "cut.bin.*byte"),
    "text.csv": (text_cell, r"line 17.*'gy'.*'abc'"),
    "quiet.bin": (no_shots, "no shots"),
    "missing.bin": (lambda path: None, "missing.bin"),
    "nonsense.txt": (lambda path: path.write_text("hello"), "nonsense.txt"),
}


#: `explore` goes on with what is left of a damaged log and says so; see test_recordings.py.
BAD_RUNS = [(verb, name) for verb in ("demo", "explore") for name in sorted(BAD_INPUT)]
BAD_RUNS.remove(("explore", "cut.bin"))


@pytest.mark.parametrize(("verb", "name"), BAD_RUNS)
def test_bad_input_is_one_clear_line_and_leaves_nothing(stinger, verb, name):
    make, message = BAD_INPUT[name]
    make(stinger.cwd / name)
    before = set(stinger.cwd.iterdir())
    arguments = ("demo", "--data", name, "--out", "out") if verb == "demo" else ("explore", name, "--outdir", "out")
    done = stinger(*arguments)
    assert done.code == 3
    assert len(done.complaints) == 1
    assert re.search(message, done.complaints[0])
    assert done.complaints[0].startswith("stinger: ")
    assert done.out == ""
    assert set(stinger.cwd.iterdir()) == before


def test_a_directory_of_the_users_is_never_replaced(stinger):
    (stinger.cwd / "photos").mkdir()
    (stinger.cwd / "photos" / "cat.jpg").write_bytes(b"meow")
    done = stinger("explore", SESSION_B, "--outdir", "photos")
    assert done.code == 3
    assert done.complaints == ["stinger: photos is not empty and was not made by stinger; choose another place"]
    assert (stinger.cwd / "photos" / "cat.jpg").read_bytes() == b"meow"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("no-such-verb",), 2, "No such command"),
        (("train", "--train-dir", "nowhere"), 3, "nowhere"),
        (("export", "nowhere", "--out", "x"), 3, "nowhere"),
        (("check", "nowhere"), 3, "not a bundle"),
        (("monitor",), 4, "virtual"),
        (("monitor", "--port", "/dev/does-not-exist"), 4, "/dev/does-not-exist"),
        (("deploy", SESSION_B, "--port", "/dev/does-not-exist"), 4, "/dev/does-not-exist"),
        (("virtual", "nowhere"), 3, "nowhere"),
    ],
)
def test_mistakes_have_their_exit_codes(stinger, arguments, code, message):
    done = stinger(*arguments)
    assert done.code == code
    assert message in done.err
    assert "Traceback" not in done.err


def test_unknown_family_names_the_known_ones(stinger):
    assert stinger("explore", SESSION_B, "--outdir", "out").code == 0
    done = stinger("train", "--train-dir", "out/train", "--model", "svm")
    assert done.code == 2
    assert re.search(r"svm.*logreg, ridge, mlp, rf", done.complaints[0])


def test_version_and_help(stinger):
    assert re.fullmatch(r"stinger \d+\.\d+\.\d+\n", stinger("--version").out)
    text = stinger("--help").out
    for verb in ("demo", "explore", "train", "export", "virtual", "deploy", "monitor", "check"):
        assert re.search(rf"^\W*{verb}\b", text, re.MULTILINE)
