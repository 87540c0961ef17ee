"""Many recordings: synthetic people, memory, and the same bytes wherever the work is done."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from doomed_worker import DOOMED

from conftest import files_below
from stinger.sessions.stinger_log import write_bin
from stinger.synth.shots import make_session
from stinger.synth.styles import STANDARD, STYLES

#: Runs the command line and says how much memory it took at most, in bytes.
MEASURED = """
import resource, sys
from stinger.cli import app
if __name__ == "__main__":
    app(sys.argv[1:], standalone_mode=False)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    """Twelve recordings of three people."""
    cwd = tmp_path_factory.mktemp("people")
    command = [sys.executable, "-m", "stinger", "synth", "shots", "people", "--sessions", "4", "--minutes", "2"]
    for style in ("steady", "nervous", "hip"):
        command += ["--style", style]
    subprocess.run(command, cwd=cwd, check=True, capture_output=True, timeout=120)
    return cwd / "people"


@pytest.fixture(scope="module")
def serial(people) -> dict[str, bytes]:
    """What comes out of them without any workers."""
    out = people.parent / "serial"
    command = [sys.executable, "-m", "stinger", "explore", people, "--outdir", out, "--backend", "serial"]
    subprocess.run([*command, "--plots", "none"], check=True, capture_output=True, timeout=120)
    return files_below(out)


def test_synthetic_people_are_subjects(stinger, people):
    asked = ("--pattern", "{subject}-*.bin", "--split", "subject", "--plots", "none", "--json")
    done = stinger("explore", people, *asked)
    assert done.code == 0, done.err
    meta = json.loads((stinger.cwd / "ml_out" / "train" / "meta.json").read_text())
    assert meta["meta"]["subjects"] == ["hip", "nervous", "steady"]
    truths = [json.loads(path.read_text()) for path in sorted(people.glob("*.truth.json"))]
    assert len(truths) == 12
    assert {truth["subject"] for truth in truths} == {"hip", "nervous", "steady"}


def test_help_names_everybody(stinger):
    shown = " ".join(stinger("synth", "shots", "--help").out.split())
    assert f"Who plays: {', '.join(STYLES)}, or all" in shown


def test_synth_says_what_it_made_and_makes_it_again(stinger):
    first = stinger("synth", "shots", "a.bin", "--minutes", 1, "--style", "runner", "--seed", 9, "--json")
    assert first.code == 0, first.err
    (row,) = first.json
    assert (row["file"], row["subject"], row["samples"]) == ("a.bin", "runner", 6000)
    bytes_of = files_below(stinger.cwd)
    assert set(bytes_of) == {"a.bin", "a.truth.json"}
    assert stinger("synth", "shots", "a.bin", "--minutes", 1, "--style", "runner", "--seed", 9).code == 0
    assert files_below(stinger.cwd) == bytes_of
    assert stinger("synth", "shots", "a.bin", "--minutes", 1, "--style", "runner", "--tremor", 0.3).code == 0
    assert files_below(stinger.cwd)["a.bin"] != bytes_of["a.bin"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("a.bin", "--style", "nobody"), "unknown style 'nobody'"),
        (("a.bin", "--tremor", "99"), "tremor must be 0.1 to 5, is 99"),
        (("a.bin", "--minutes", "0"), "must be above 0"),
        (("a.bin", "--sessions", "2"), "need a directory"),
        (("a.xyz",), "'.xyz' is no format to write"),
    ],
)
def test_impossible_wishes_are_one_line(stinger, arguments, complaint):
    done = stinger("synth", "shots", *arguments)
    assert done.code == 2
    (line,) = done.complaints
    assert complaint in line
    assert list(stinger.cwd.iterdir()) == []


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_processes_give_the_same_bytes(stinger, people, serial, workers):
    done = stinger("explore", people, "--plots", "none", "--backend", "processes", "--workers", workers)
    assert done.code == 0, done.err
    assert files_below(stinger.cwd / "ml_out") == serial


def test_a_cluster_gives_the_same_bytes_though_a_worker_is_killed(stinger, people, serial):
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
            processes.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        _await_workers(address, 2)
        asked = ("--plots", "none", "--backend", "dask", "--scheduler", address)
        done = stinger("explore", people, *asked, timeout=60)
        assert done.code == 0, done.err
        assert processes[2].wait(5) == -9
        assert processes[1].poll() is None
        assert files_below(stinger.cwd / "ml_out") == serial
    finally:
        for process in processes:
            process.kill()
            process.wait(10)


def _await_workers(address: str, number: int) -> None:
    count = (
        "import sys; from distributed import Client\n"
        "with Client(sys.argv[1], timeout=15) as client: client.wait_for_workers(int(sys.argv[2]), timeout=15)"
    )
    subprocess.run([sys.executable, "-c", count, address, str(number)], check=True, capture_output=True, timeout=40)


def test_memory_does_not_grow_with_the_number_of_recordings(stinger):
    """24 recordings of a quarter of an hour take hardly more than 4; kept, 20 would take 40 MB and more."""
    # Next to nothing is cut from them, for the windows themselves have to be somewhere.
    played, _ = make_session(1, 15, STANDARD.changed({"feint": 0.9, "burst": 0, "snap": 0}))
    peak = {}
    for number in (4, 24):
        for i in range(number):
            other = (played.samples // 2 + i).astype(np.int16)
            write_bin(replace(played, samples=other), stinger.cwd / f"{number}" / f"{i}.bin")
        peak[number] = _peak(stinger.cwd / f"{number}", stinger.cwd / f"out-{number}")
    assert peak[24] - peak[4] < 8e6, peak


def _peak(folder: Path, out: Path) -> int:
    script = folder.parent / "measured.py"
    script.write_text(MEASURED)
    command = [sys.executable, str(script), "explore", str(folder), "--outdir", str(out), "--plots", "none"]
    done = subprocess.run(
        [*command, "--backend", "serial"], capture_output=True, text=True, check=True, timeout=120, env=os.environ
    )
    return int(done.stdout.splitlines()[-1])


def test_a_small_bench_runs_and_reports(stinger):
    before = time.monotonic()
    done = stinger("bench", "host", "--samples", 12_000, "--windows", 500, "--hours", 0.1, "--repeats", 1, "--json")
    assert done.code == 0, done.err
    assert time.monotonic() - before < 60
    rows = {row["name"]: row for row in done.json["rows"]}
    assert set(rows) == {
        "export, recommended, reference", "export, recommended, strict",
        "export, default, reference", "export, default, strict",
        "features, rich, one core", "load 0.1 h .bin", "load 0.1 h .bin, peak",
    }  # fmt: skip
    assert all(row["value"] > 0 for row in rows.values())
    assert rows["load 0.1 h .bin"]["detail"]["samples"] == 36_000
    assert {"processor", "processors", "python", "numpy"} <= set(done.json["machine"])


def test_a_bench_of_nothing_is_refused(stinger):
    done = stinger("bench", "host", "--repeats", 0)
    assert done.code == 2
    assert "a bench needs at least" in done.complaints[-1]
