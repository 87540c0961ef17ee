"""`stinger evaluate` and `stinger tune` as a user types them, and what docs/streaming.md says about them."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from conftest import NICLA, Run, run
from stinger.cli import main
from stinger.errors import UsageError
from stinger.sessions.read import read_sessions
from stinger.sessions.stinger_log import write_bin
from stinger.workflow.bench_streaming import FIVE, StreamingBenchOptions, bench_streaming, markdown
from stinger.workflow.progress import Progress

DOCS = Path(__file__).parent.parent.parent / "docs" / "streaming.md"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What the commands of docs/streaming.md make; and the model as it was before it was tuned."""
    cwd = tmp_path_factory.mktemp("evaluate")
    [block] = re.findall(r"^```console\n(.*?)^```", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    for line in block.splitlines():
        program, *arguments = line.split()
        assert program == "stinger"
        if arguments[0] == "tune":
            shutil.copytree(cwd / "model", cwd / "untuned")
        done = run(*arguments, cwd=cwd)
        assert done.code == 0, done.err
    return cwd


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """Recordings, dataset and an untuned model, to change."""
    for name, copy in (("people", "logs"), ("out", "out"), ("untuned", "model")):
        shutil.copytree(made / name, tmp_path / "copy" / copy)
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def stinger(here, monkeypatch, capsys):
    """The command line, without starting a process for each of many short runs."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["stinger", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as done:
            code = int(done.code or 0)
        said = capsys.readouterr()
        return Run(code, said.out, said.err)

    return call


def held_out(cwd):
    """The recording that the model was not trained on."""
    seen = set(json.loads((cwd / "model" / "manifest.json").read_text())["spec"]["trained_on"])
    inputs = json.loads((cwd / "out" / "train" / "meta.json").read_text())["meta"]["inputs"]
    [name] = [one["name"] for one in inputs if one["sha256"] not in seen]
    return f"logs/{name}"


def test_the_commands_in_the_docs_do_what_it_says(made):
    assert {p.name for p in (made / "tuned").glob("*.*")} >= {"trade-off.png", "policy.json", "tuning.json"}
    report = json.loads((made / "evaluated" / "evaluation.json").read_text())
    stock, stored = report["total"]["stock"], report["total"]["stored"]
    assert stored["false_spin_ups_per_minute"] < stock["false_spin_ups_per_minute"]
    assert [one["answered"] for one in report["recordings"]].count("by the model") == 1


def test_a_policy_is_tuned_stored_and_evaluated(here, stinger):
    tuned = stinger("tune", "model", "logs", "--train-dir", "out/train", "--budget", 2, "--out", "tuned", "--json")
    assert tuned.code == 0, tuned.err
    report = tuned.json
    assert report["figures"]["false_spin_ups_per_minute"] <= 2
    assert report["figures"]["neutral_on_share"] <= 0.1
    assert report["figures"]["anticipated"] > 0
    assert [one["answered"] for one in report["recordings"]] == ["by a refit without it"] * 2
    name = Path(held_out(here)).name
    assert f"{name}: not tuned on, it is held out" in report["notes"]
    assert report["stock"]["50"]["shots"] == report["figures"]["shots"]
    assert (here / "tuned" / "trade-off.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((here / "tuned" / "policy.json").read_text()) == report["policy"]
    assert json.loads((here / "model" / "manifest.json").read_text())["spec"]["policy"] == report["policy"]
    assert json.loads((here / "tuned" / "tuning.json").read_text()) == report

    done = stinger("evaluate", "model", "logs", "--train-dir", "out/train", "--out", "seen", "--json")
    assert done.code == 0, done.err
    evaluation = done.json
    assert set(evaluation["total"]) == {"stock", "stored"}
    assert evaluation["level"] == "L2"
    # Cross-fitted again, the policy does on the training recordings what tuning said.
    answered = {one["name"]: one for one in evaluation["recordings"]}
    parts = [one["policies"]["stored"] for one in answered.values() if one["answered"] == "by a refit without it"]
    assert sum(part["anticipated"] for part in parts) == report["figures"]["anticipated"]
    assert sum(part["false_spin_ups"] for part in parts) == report["figures"]["false_spin_ups"]
    assert answered[name]["answered"] == "by the model"
    assert {p.name for p in (here / "seen").glob("*.png")} == {
        "leads.png",
        *(f"timeline-standard-{i}.png" for i in (1, 2, 3)),
    }
    assert json.loads((here / "seen" / "evaluation.json").read_text()) == evaluation

    file = stinger("evaluate", "model", held_out(here), "--policy", "tuned/policy.json", "--policy", "stock")
    assert file.code == 0, file.err
    assert re.search(r"policy +│ +\d+ │", file.out)
    assert "95 % sure of" in file.out


def test_it_says_the_same_twice_and_whatever_the_workers(here, stinger, monkeypatch):
    # A small search, with processes all the same.
    monkeypatch.setattr("stinger.evaluation.tuning._ON", (0.5, 0.7))
    monkeypatch.setattr("stinger.evaluation.tuning._STEPS", ())
    monkeypatch.setattr("stinger.workflow.tune._SMALL", 0)
    before = (here / "model" / "manifest.json").read_bytes()
    common = ("tune", "model", "logs", "--train-dir", "out/train", "--budget", 3, "--no-store", "--json")
    first, parallel = (stinger(*common, "--workers", workers) for workers in (1, 2))
    assert first.code == 0, first.err
    assert first.out == parallel.out
    assert (here / "model" / "manifest.json").read_bytes() == before


def complaint(stinger, *arguments):
    done = stinger(*arguments)
    assert done.out == ""
    assert len(done.complaints) == 1, done.err
    return done.code, done.complaints[0].removeprefix("stinger: ")


def test_seen_recordings_need_their_dataset(here, stinger):
    code, line = complaint(stinger, "evaluate", "model", "logs")
    assert code == 2
    assert re.match(r"model rf was trained on standard-\d.bin; give --train-dir with its dataset", line)
    done = stinger("evaluate", "model", held_out(here))
    assert done.code == 0
    assert "note: model rf has no policy of its own yet; make one with `stinger tune`" in done.out
    assert "stored" not in done.out


def quiet(path):
    session = read_sessions(path)[0]
    trigger = session.trigger.copy()
    trigger[:] = 0
    return type(session)(**{**vars(session), "trigger": trigger})


def test_mistakes_are_one_line(here, stinger):
    log = held_out(here)
    write_bin(quiet(here / log), here / "quiet.bin")
    (here / "wrong.json").write_text('{"on": 1}')
    (here / "broken.json").write_text("{")
    cases = [
        (("evaluate", "model", "quiet.bin"), 3, r"quiet.bin: no shots in \d+ s; give recordings with shots"),
        (("evaluate", "model", NICLA), 3, "has no trigger, so nobody knows its shots; leave it out"),
        (("evaluate", "model", log, "--policy", "wrong.json"), 3, "wrong.json: a policy must have exactly the fields"),
        (("evaluate", "model", log, "--policy", "broken.json"), 3, "broken.json is not JSON"),
        (("evaluate", "model", log, "--policy", "nowhere"), 3, "cannot read nowhere"),
        (("evaluate", "model", log, log), 3, "holds the same samples as"),
        (("evaluate", "nowhere", log), 3, "nowhere"),
        (("evaluate", "model", log, "--train-dir", "nowhere"), 3, "nowhere"),
        (("tune", "model", "logs", "--train-dir", "out/train", "--budget", "0"), 2, "budget must be above 0"),
        (("tune", "model", "logs", "--train-dir", "out/train", "--max-on", "2"), 2, "at most 1, is 2"),
        (("tune", "model", log, "--train-dir", "out/train"), 3, r"none of these 1 recording\(s\) was trained on"),
    ]
    before = sorted(p.name for p in here.iterdir())
    for arguments, code, message in cases:
        found, line = complaint(stinger, *arguments)
        assert found == code, line
        assert re.search(message, line), line
    assert sorted(p.name for p in here.iterdir()) == before


def test_tuned_beats_stock_at_equal_share_on_held_out_sessions():
    """A small version of the table in docs/streaming.md."""
    options = StreamingBenchOptions(
        styles=("standard", "steady"), family="logreg", train_sessions=3, test_sessions=3, minutes=3.0
    )
    report = bench_streaming(options, Progress())
    whole = report["total"]
    stock = whole["stock_at_equal_share"]["false_spin_ups_per_minute"]
    assert whole["tuned"]["anticipated_share"] > 0.2
    assert whole["tuned"]["false_spin_ups_per_minute"] < 0.9 * stock
    assert [row["style"] for row in report["rows"]] == ["standard", "steady"]
    assert markdown(report).count("\n") == 4


def test_a_bench_of_nothing_is_refused():
    for changes in ({"styles": ()}, {"styles": ("standard",) * 2}, {"styles": ("nobody",)}, {"train_sessions": 1}):
        with pytest.raises(UsageError):
            StreamingBenchOptions(**changes)


def test_the_table_in_the_docs_is_the_commands():
    """The whole bench takes minutes; what can be checked quickly is that the table is of its make and holds."""
    text = DOCS.read_text()
    assert "`stinger bench streaming --markdown`" in text
    table = text[text.index("| style |") :].splitlines()[: 3 + len(FIVE)]
    header, _, *styles = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table]
    assert header[:4] == ["style", "anticipated by both", "false spin-ups/min: tuned", "stock at equal share"]
    assert [row[0] for row in styles] == [*FIVE, "all"]
    for row in styles:
        assert float(row[2]) < float(row[3]), row
