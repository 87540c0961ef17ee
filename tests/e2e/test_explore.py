"""`stinger explore` as a user types it: the predecessor's commands, pictures, splits, and what it says."""

import csv
import io
import json
import re
import shutil

import pytest

from conftest import DATA, NICLA, SESSION_B, files_below, run
from stinger.windows.store import read_dataset

GOLDEN = DATA / "golden"
SHOULDER = DATA / "shoulder_exercises.zip"
SESSION_A = GOLDEN / "session_a.bin"
#: The commands whose output the golden folders hold, as `seeds/stinger_ml_training.md` gives them.
COMMANDS = {
    "default": "",
    "near": "--neg-strategy near --neg-mult 1",
    "far_motion": "--neg-mult 3 --neg-min-motion-quantile 0.3 --neg-avoid-edges accepted --seed 7",
    "recommended": (
        "--clean --export-dataset --lead-ms 100 --window-ms 500 --min-shot-gap-ms 1000 --neg-strategy mixed "
        "--neg-mixed-near-frac 0.6 --neg-mult 8 --neg-min-motion-quantile 0.2 --neg-match-pos-motion "
        "--neg-pos-motion-q 0.05 --neg-min-sep-ms 200 --neg-with-replacement --neg-avoid-edges all "
        "--neg-avoid-post-ms 2000"
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_predecessors_commands_give_the_predecessors_bytes(stinger, name):
    done = stinger("explore", SESSION_A, "--gap-policy", "reference", "--plots", "none", *COMMANDS[name].split())
    assert done.code == 0
    assert "tolerated, as the reference does: 6 × shot: the trigger is down inside" in done.out
    out, expected = stinger.cwd / "ml_out", GOLDEN / f"export_a_{name}"
    for file in ("windows_i16le.bin", "labels_u8.bin", "index.csv"):
        assert (out / "train" / file).read_bytes() == (expected / file).read_bytes(), file
    for file, ours in (("meta.json", out / "train" / "meta.json"), ("summary.json", out / "summary.json")):
        wanted, made = json.loads((expected / file).read_text()), json.loads(ours.read_text())
        assert {key: made.get(key) for key in wanted} == wanted
    assert stinger("train", "--train-dir", "ml_out/train", "--model", "logreg", "--out", "m").code == 0


@pytest.fixture(scope="module")
def short_logs(tmp_path_factory):
    """The first 50 and 40 seconds of two sessions."""
    folder = tmp_path_factory.mktemp("logs")
    (folder / "a.bin").write_bytes(SESSION_A.read_bytes()[: 5000 * 17])
    (folder / "b.bin").write_bytes(SESSION_B.read_bytes()[: 4000 * 17])
    return folder / "a.bin", folder / "b.bin"


@pytest.fixture(scope="module")
def everything(tmp_path_factory, short_logs):
    """Two sessions, all pictures, by two workers."""
    cwd = tmp_path_factory.mktemp("everything")
    return run(
        *("explore", *short_logs, "--outdir", "out", "--plots", "all", "--workers", 2, "--split", "session"),
        *("--preset", "recommended"),
        cwd=cwd,
    ), cwd / "out"


def test_all_outputs_are_there(everything):
    done, out = everything
    assert done.code == 0
    assert done.complaints == []
    shots = list(csv.DictReader(io.StringIO((out / "shots" / "index.csv").read_text())))
    assert [shot["session"] for shot in shots] == ["0"] * 12 + ["1"] * 11
    assert {shot["fate"] for shot in shots} == {"used", "trigger down inside the window"}
    assert {p.name for p in (out / "shots").glob("*.png")} == {shot["file"] for shot in shots}
    assert len({p.read_bytes() for p in (out / "shots").glob("*.png")}) == 23
    assert {p.name for p in out.glob("dataset*.png")} == {"dataset.png", "dataset-2.png"}
    summary = json.loads((out / "summary.json").read_text())
    assert [one["name"] for one in summary["sessions"]] == ["a.bin", "b.bin"]
    dataset = read_dataset(out / "train")
    used = sum(shot["fate"] == "used" for shot in shots)
    assert (dataset.labels == 1).sum() == used == summary["windows"]["shot"]
    assert len(set(dataset.session[dataset.held_out].tolist())) == 1
    assert set(dataset.session.tolist()) == {0, 1}
    for reason in ("shot: trigger down inside the window", "idle candidate: it spans a gap"):
        assert f"refused: {summary['refused'][reason]:,} × {reason}" in done.out


def test_the_bytes_do_not_depend_on_the_workers_or_the_run(everything, short_logs, stinger):
    _, out = everything
    done = stinger(
        *("explore", *short_logs, "--outdir", "out", "--plots", "all", "--backend", "serial"),
        *("--split", "session", "--preset", "recommended"),
    )
    assert done.code == 0
    assert files_below(stinger.cwd / "out") == files_below(out)


def test_no_plots_and_no_dataset_leave_the_summary(stinger):
    assert stinger("explore", SESSION_A, "--plots", "none", "--no-export-dataset").code == 0
    names = {p.name for p in (stinger.cwd / "ml_out").iterdir() if not p.name.startswith(".")}
    assert names == {"summary.json", "shots"}
    assert [p.name for p in (stinger.cwd / "ml_out" / "shots").iterdir()] == ["index.csv"]


def test_report_leakage_compares_the_splits(stinger):
    done = stinger(
        *("explore", SESSION_A, "--gap-policy", "reference", "--plots", "none", "--report-leakage"),
        *("--preset", "recommended"),
    )
    leaked = dict(re.findall(r"^(\w+) +│ +([\d.]+)% │ +0\.0% │", done.out, re.MULTILINE))
    assert set(leaked) == {"random", "time", "group"}
    assert 55 < float(leaked["random"]) < 75
    assert 0.5 < float(leaked["group"]) < 10
    assert "session: a split by session needs at least two, there is 1" in done.out
    summary = json.loads((stinger.cwd / "ml_out" / "summary.json").read_text())
    assert summary["leakage"]["random"]["with_embargo"] == 0.0


def test_without_embargo_the_leak_is_printed(stinger):
    common = ("explore", SESSION_A, "--plots", "none", "--preset", "recommended", "--split", "random")
    leaky = stinger(*common, "--no-embargo", "--outdir", "leaky")
    shared, held_out = map(int, re.search(r"leak: (\d+) of (\d+) held-out windows", leaky.out).groups())
    assert held_out > shared > 20
    tight = stinger(*common, "--outdir", "tight")
    embargoed = int(re.search(r"held out \(by random\), (\d+) embargoed", tight.out)[1])
    a, b = (read_dataset(stinger.cwd / name / "train") for name in ("leaky", "tight"))
    assert len(a) - len(b) == embargoed > 20
    assert a.held_out.sum() == b.held_out.sum() == held_out


def test_people_are_left_out_of_real_recordings(stinger):
    shutil.copy(NICLA, stinger.cwd / "export.zip")
    done = stinger("explore", "export.zip", "--plots", "none", "--split", "subject")
    assert done.code == 3
    assert done.complaints == ["stinger: the recordings do not all say who was recorded; choose another --split"]
    assert stinger("explore", "export.zip", "--plots", "none", "--split", "group", "--channels", "ax,gz").code == 0
    dataset = read_dataset(stinger.cwd / "ml_out" / "train")
    assert [channel.name for channel in dataset.channels] == ["ax", "gz"]
    assert dataset.windows.shape[1:] == (59, 2)
    assert not set(dataset.groups[dataset.held_out]) & set(dataset.groups[~dataset.held_out])


def test_two_people_are_left_out_of_the_exercises(stinger):
    done = stinger(
        *("explore", SHOULDER, "--rate", 50, "--pattern", "{label}.s{subject}_*.csv", "--window-ms", 2000),
        *("--split", "subject", "--report-leakage"),
    )
    assert done.code == 0
    assert re.search(r"^random +│ +9\d\.\d% │ +0\.0% │", done.out, re.MULTILINE)
    assert re.search(r"^subject +│ +0\.0% │ +0\.0% │ +0\.0%", done.out, re.MULTILINE)
    dataset = read_dataset(stinger.cwd / "ml_out" / "train")
    assert len(dataset.classes) == 7
    assert dataset.meta["subjects"] == ["1", "2", "3", "4", "5", "6"]
    people = [set(dataset.subject[part].tolist()) for part in (dataset.held_out, dataset.training)]
    assert [len(some) for some in people] == [2, 4]
    assert not people[0] & people[1]
    rows = list(csv.DictReader((stinger.cwd / "ml_out" / "train" / "index.csv").open()))
    assert {row["session"] for row in rows} == {str(i) for i in range(84)}
    assert {row["subject"] for row in rows} == {str(i) for i in range(6)}
    assert (stinger.cwd / "ml_out" / "dataset.png").read_bytes().startswith(b"\x89PNG")


def test_a_log_given_twice_is_said(stinger):
    shutil.copy(SESSION_A, stinger.cwd / "copy.bin")
    done = stinger("explore", SESSION_A, "copy.bin", "--plots", "none")
    assert "fault: copy.bin holds the same samples as session_a.bin" in done.out


def test_clean_takes_over_what_the_predecessor_left_and_nothing_else(stinger):
    old = stinger.cwd / "ml_out"
    (old / "train").mkdir(parents=True)
    (old / "summary.json").write_text("{}")
    common = ("explore", SESSION_A, "--plots", "none")
    assert "not made by stinger" in stinger(*common).err
    assert stinger(*common, "--clean").code == 0
    assert (old / "train" / "index.csv").is_file()
    mixed = stinger.cwd / "mixed"
    shutil.copytree(old, mixed)
    next(mixed.glob(".*")).unlink()
    (mixed / "thesis.txt").write_text("years of work")
    done = stinger(*common, "--clean", "--outdir", "mixed")
    assert done.code == 3
    assert (mixed / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--neg-strategy", "nearest"), 2, "choose far, near, mixed, blend"),
        (("--gap-policy", "lax"), 2, "choose strict, reference"),
        (("--plots", "some"), 2, "choose none, overview, all"),
        (("--preset", "mine"), 2, "choose default, recommended, personal"),
        (("--split", "shots"), 2, "choose auto, given, random, time, group, session, subject"),
        (("--channels", "ax,mx"), 2, "no channel 'mx'; it has ax, ay, az, gx, gy, gz"),
        (("--window-ms", "0"), 2, "--window-ms must be more than 0"),
        (("--window-ms", "60000"), 2, "at most 1024 fit"),
        (("--test-size", "1"), 2, "--test-size must be above 0 and below 1"),
        (("--split", "session"), 3, "a split by session needs at least two, there is 1"),
        (("--neg-avoid-post-ms", "1e8"), 3, "class 'idle' has nothing to hold out (split by group"),
        (("--scheduler", "tcp://127.0.0.1:1", "--backend", "serial"), 2, "belongs to the backend dask"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(stinger, arguments, code, message):
    done = stinger("explore", SESSION_A, *arguments)
    assert done.code == code
    assert len(done.complaints) == 1
    assert message in done.complaints[0]
    assert list(stinger.cwd.iterdir()) == []
