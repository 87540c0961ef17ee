"""The benchmark and the search as a user runs them: interrupted, in parallel, on a cluster that loses a worker."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from doomed_worker import DOOMED

from conftest import environment
from stinger.models.store import load_model

GOLDEN = Path(__file__).parent.parent / "data" / "golden"
TRAIN = GOLDEN / "export_a_recommended"
#: Two quick models and one that takes its time; 3 × (2 × 2 + 2) + 3 units.
ASKED = (
    *("--train-dir", TRAIN, "--seeds", 2, "--split", "group,time", "--no-fit-time"),
    *("--config", "logreg:summary", "--config", "dt:rich", "--config", "mlp:summary"),
)
UNITS = 21


@pytest.fixture(scope="module")
def serial(tmp_path_factory) -> dict[str, bytes]:
    """The report of an undisturbed run in one process, as markdown and JSON."""
    cwd = tmp_path_factory.mktemp("serial")
    command = [sys.executable, "-m", "stinger", "benchmark", *map(str, ASKED), "--backend", "serial"]
    done = subprocess.run(
        [*command, "--out", "r.md", "--json", "r.json"],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert "logreg/summary" in done.stdout
    assert len(lines(cwd / "r.md.units")) == UNITS
    return {name: (cwd / name).read_bytes() for name in ("r.md", "r.json")}


def lines(folder: Path) -> list[str]:
    path = folder / "units.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def written(cwd: Path) -> dict[str, bytes]:
    return {name: (cwd / name).read_bytes() for name in ("r.md", "r.json")}


def test_the_report_has_everything(serial):
    text, report = serial["r.md"].decode(), json.loads(serial["r.json"])
    for heading in ("## Summary", "## Split: group", "## Split: time", "## Shuffled labels"):
        assert heading in text
    assert "All models are at chance." in text
    assert "corrected resampled t-test" in text
    assert "paired bootstrap over whole groups" in text
    assert report["dataset"]["classes"] == {"idle": 252, "shot": 41}
    for split in report["splits"].values():
        for one in split["configs"].values():
            assert one["seeds"] == 2
            assert {"pr_auc", "roc_auc", "f1"} <= set(one["metrics"])
            assert "fit_s" not in one
    assert all(cost["flash"] > 1000 and cost["cycles"] > 1000 for cost in report["cost"].values())


def test_workers_do_not_change_a_byte(stinger, serial):
    done = stinger("benchmark", *ASKED, "--out", "r.md", "--json", "r.json", "--workers", 2)
    assert done.code == 0, done.err
    assert written(stinger.cwd) == serial
    assert "report: r.md" in done.out


def test_a_killed_run_continues(stinger, serial):
    command = [sys.executable, "-m", "stinger", "benchmark", *map(str, ASKED), "--out", "r.md", "--json", "r.json"]
    running = subprocess.Popen([*command, "--backend", "serial"], cwd=stinger.cwd, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while len(lines(stinger.cwd / "r.md.units")) < 4:
            assert running.poll() is None, "it was done before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait(10)
    before = len(lines(stinger.cwd / "r.md.units"))
    assert 4 <= before < UNITS
    assert not (stinger.cwd / "r.md").exists()
    # What a crash in the middle of a line leaves.
    with (stinger.cwd / "r.md.units" / "units.jsonl").open("a") as store:
        store.write('{"unit":"0123')
    done = stinger("benchmark", *ASKED, "--out", "r.md", "--json", "r.json", "--workers", 2)
    assert done.code == 0, done.err
    assert f"{before} of {UNITS} units are done already" in done.err
    assert "1 damaged line(s)" in done.err
    assert written(stinger.cwd) == serial
    assert [path.name for path in (stinger.cwd / "r.md.units").iterdir()] == ["units.jsonl"]


def test_ctrl_c_says_how_to_go_on(stinger):
    # A suite that runs in the background ignores SIGINT, and so would its children if they did not say otherwise.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program = heed + "from stinger.cli import main; main()"
    command = [sys.executable, "-c", program, "benchmark", *map(str, ASKED), "--out", "r.md", "--workers", "2"]
    running = subprocess.Popen(command, cwd=stinger.cwd, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while len(lines(stinger.cwd / "r.md.units")) < 2:
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "the same command continues after the" in said
    assert "Traceback" not in said
    assert not (stinger.cwd / "r.md.units" / "features").exists()


def test_a_cluster_gives_the_same_bytes_though_a_worker_is_killed(stinger, serial):
    doomed = stinger.cwd.parent / "doomed.py"
    doomed.write_text(DOOMED)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    here = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]
    worker = ["dask_worker", address, *here, "--nthreads", "1", "--no-nanny"]
    commands = [
        ["dask_scheduler", *here, "--port", address.rpartition(":")[2]],
        worker,
        [*worker, "--preload", str(doomed)],
    ]
    processes = []
    try:
        for name, *arguments in commands:
            command = [sys.executable, "-m", f"distributed.cli.{name}", *arguments]
            processes.append(subprocess.Popen(command, stderr=subprocess.DEVNULL, env=os.environ))
        count = (
            "import sys; from distributed import Client\n"
            "with Client(sys.argv[1], timeout=30) as client: client.wait_for_workers(2, timeout=60)"
        )
        subprocess.run([sys.executable, "-c", count, address], check=True, capture_output=True, timeout=120)
        asked = ("--out", "r.md", "--json", "r.json", "--backend", "dask", "--scheduler", address)
        done = stinger("benchmark", *ASKED, *asked)
        assert done.code == 0, done.err
        assert processes[2].wait(10) == -9
        assert processes[1].poll() is None
        assert written(stinger.cwd) == serial
    finally:
        for process in processes:
            process.kill()
            process.wait(10)


def test_whole_recordings_and_measured_costs(stinger):
    """Two recordings: one that the dataset was cut from, answered by refits, and one it does not know."""
    for seed, name in ((3, "a.bin"), (4, "b.bin")):
        assert stinger("synth", "shots", name, "--minutes", 4, "--seed", seed).code == 0
    done = stinger("explore", "a.bin", "--outdir", "out", "--plots", "none")
    assert done.code == 0, done.err
    asked = ("--train-dir", "out/train", "--seeds", 1, "--split", "group", "--config", "logreg:rich", "--measure-cost")
    done = stinger("benchmark", *asked, "--log", "a.bin", "--log", "b.bin", "--json", "r.json")
    assert done.code == 0, done.err
    report = json.loads((stinger.cwd / "r.json").read_text())
    streaming = report["streaming"]
    assert set(streaming["recordings"]) == {"a.bin", "b.bin"}
    assert streaming["recordings"]["b.bin"] == "by the model"
    assert streaming["recordings"]["a.bin"].startswith("by refits")
    one = streaming["configs"]["logreg/rich"]
    assert one["shots"] > 10
    assert 0 <= one["anticipated_share"] <= 1
    assert one["false_spin_ups_per_minute"] >= 0
    assert report["cost"]["logreg/rich"]["measured"]
    assert 3000 < report["cost"]["logreg/rich"]["cycles"] < 20_000
    text = (stinger.cwd / "report.md").read_text()
    assert "## Whole recordings" in text
    assert "measured on the emulated board" in text
    done = stinger("benchmark", *asked, "--log", "a.bin", "--log", "a.bin")
    assert done.code == 2
    assert "holds the same samples as a.bin; give each recording once" in done.complaints[-1]


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (("--split", "monthly"), 2, "--split 'monthly' is unknown; choose some of given, random, time"),
        (("--split", "subject"), 3, "cannot be split: the recordings do not all say who was recorded"),
        (("--config", "rf"), 2, "--config 'rf' is not FAMILY:FEATURES"),
        (("--config", "rf:rich", "--workers", 2, "--backend", "serial", "--scheduler", "tcp://h:1"), 2, "scheduler"),
        (("--train-dir", "nowhere"), 3, "nowhere"),
        (("--log", "nowhere.bin"), 3, "nowhere.bin"),
    ],
)
def test_mistakes_are_one_line(stinger, arguments, code, complaint):
    done = stinger("benchmark", "--train-dir", TRAIN, "--seeds", 1, *arguments)
    assert done.code == code
    (line,) = done.complaints
    assert complaint in line
    assert not (stinger.cwd / "report.md").exists()


def test_a_search_saves_a_model_within_the_budget(stinger):
    asked = ("--train-dir", TRAIN, "--max-flash", "6k", "--max-cycles", "20k", "--trials", 9, "--folds", 3)
    sets = ("--features", "summary,rich,coupled")
    done = stinger("search", *asked, "--families", "logreg,dt,rf", *sets, "--out-model", "model", "--measure-cost")
    assert done.code == 0, done.err
    assert "chosen: " in done.out
    assert "(estimated)" not in done.out
    model = load_model(stinger.cwd / "model")
    assert model.spec.family in ("logreg", "dt", "rf")
    assert model.spec.metrics["pr_auc"] > 0.3
    assert (stinger.cwd / "search.png").read_bytes().startswith(b"\x89PNG")
    assert "## Pareto front" in (stinger.cwd / "search.md").read_text()
    assert stinger("export", "model", "--out", "bundle").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (("--max-flash", "1k", "--trials", 4), 1, "none of 4 models fits the board's budget; the smallest, "),
        (("--min-score", 1.1, "--trials", 4), 1, "none of 4 models reaches PR AUC 1.1 within the budget; the best"),
        (("--max-flash", "lots"), 2, "--max-flash 'lots' is no amount; one is 8k"),
        (("--families", "hgb"), 2, "a search does not vary hgb"),
        (("--metric", "luck"), 2, "--metric 'luck' is unknown"),
    ],
)
def test_a_search_that_cannot_succeed_is_one_line(stinger, arguments, code, complaint):
    done = stinger("search", "--train-dir", TRAIN, "--backend", "serial", "--families", "logreg", *arguments)
    # A later --families wins, as for any option.
    assert done.code == code, done.err
    (line,) = done.complaints
    assert complaint in line


#: What makes the documents' commands quick.
QUICKER = (
    ("--seeds 10", "--seeds 1 --config logreg:rich --config dt:rich"),
    ("--seeds 3 --time-serial", "--seeds 1 --time-serial --config logreg:summary --backend serial"),
    ("stinger search", "stinger search --trials 5 --families logreg,dt --backend serial"),
)


def blocks(path: Path) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)


def test_the_documents_commands_run(stinger):
    """As they stand in docs/benchmark.md, but on less."""
    (stinger.cwd / "tests").symlink_to(Path(__file__).parent.parent)
    commands = blocks(Path(__file__).parent.parent.parent / "docs" / "benchmark.md")
    assert len(commands) == 4
    for command in commands:
        quick = command
        for text, less in QUICKER:
            quick = quick.replace(text, less)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", quick],
            cwd=stinger.cwd,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout
    for name in ("report.md", "report.json", "one.md", "search.md", "search.png", "small/manifest.json"):
        assert (stinger.cwd / name).is_file(), name
