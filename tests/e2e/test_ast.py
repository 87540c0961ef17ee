"""docs/spectrogram-transformer.md, command by command: recordings become a transformer, and what it says."""

from __future__ import annotations

import json
import re
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from stinger.models.ast.sizes import SIZES
from stinger.models.soft_labels import read_soft_labels
from stinger.sessions.mcap_format.classifications import read_classifications
from stinger.windows.store import read_dataset

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "spectrogram-transformer.md"
#: Seconds of processor that the first block may take: three minutes on one, half of that on the two of CI.
MOST_SECONDS = 180


def commands(number: int) -> list[list[str]]:
    block = re.findall(r"^```sh\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)[number]
    lines = [shlex.split(line) for line in block.splitlines()]
    assert all(line[0] == "stinger" for line in lines)
    return [line[1:] for line in lines]


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.fixture
def call(stinger, monkeypatch):
    # Nothing of the hub is needed, and nothing may be asked of it.
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(stinger.cwd / "hub"))

    def done(*arguments):
        run = stinger(*arguments)
        assert run.code == 0, run.err
        return run

    done.cwd = stinger.cwd
    done.any = stinger
    return done


def test_the_page_as_typed(call):
    before = processor_seconds()
    generate, train, classify = commands(0)
    call(*generate)
    trained = call(*train).out
    said = call(*classify, "--json").json
    assert processor_seconds() - before < MOST_SECONDS
    folder = call.cwd / "ml_out" / "ast-debug"
    content = json.loads((folder / "metrics.json").read_text())
    assert content["windows"] == {"training": 12, "validation": 12, "held-out": 12}
    assert content["steps"] == 10
    assert not {*content["recordings"]["training"]} & {*content["recordings"]["held-out"]}
    assert {p.name for p in folder.iterdir()} == {
        *(".stinger-output", "run.json", "model", "logs", "metrics.json", "confusion.png", content["file"])
    }
    assert content["file"] in trained
    assert list((folder / "logs").iterdir())
    rows = said["windows"]
    assert len(rows) == 10
    assert {row["truth"] for row in rows} == {"none", "low", "high", None}
    assert list(read_classifications(call.cwd / "said.mcap").labels) == [row["predicted"] for row in rows]
    assert len((call.cwd / "said.csv").read_text().splitlines()) == 11
    assert (call.cwd / "said.png").read_bytes().startswith(b"\x89PNG")
    # The same recording, a file instead of a folder: the same answers.
    again = call("magnetic", "classify", folder / content["file"], "field/complex-mixed-1.mcap", "--json").json
    assert again["windows"] == rows


def test_datasets_and_soft_labels_as_typed(call):
    call(*commands(0)[0])
    for line in commands(1):
        call(*line)
    dataset = read_dataset(call.cwd / "field_3s" / "train")
    soft = read_soft_labels(call.cwd / "soft.npz")
    assert soft.of_dataset(dataset).shape == (len(dataset), 3)
    assert soft.teachers == ("ast-tiny-debug",)
    told = json.loads((call.cwd / "teacher" / "metrics.json").read_text())
    held_out = {dataset.meta["inputs"][i]["name"] for i in set(dataset.session[dataset.held_out].tolist())}
    assert set(told["recordings"]["held-out"]) <= held_out
    assert told["recipe"]["split"] == "given"


def test_the_notebook_as_written(call):
    call(*commands(0)[0])
    [notebook] = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", notebook], cwd=call.cwd, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert (call.cwd / "mine.png").is_file()
    assert "macro_f1" in done.stdout


def test_the_hub_out_of_reach(call):
    call(*commands(0)[0])
    run = call.any("train", "field", "--family", "ast", "--debug", timeout=120)
    assert run.code == 3
    [line] = run.complaints
    assert "--from-scratch" in line
    assert "local folder" in line
    assert not (call.cwd / "ml_out").exists()


def test_the_sizes_in_the_document():
    rows = re.findall(
        r"^\| `(\w+)`[^|]*\| ([\d,]+) \| ([\d,]+) \| (\d+) × (\d+), frames of (\d+) ms", DOCUMENT.read_text(), re.M
    )
    assert {name: tuple(int(cell.replace(",", "")) for cell in cells) for name, *cells in rows} == {
        name: (
            size.shape.parameters(3),
            size.shape.patches,
            *size.spectrogram.shape,
            round(size.spectrogram.frame_ms),
        )
        for name, size in SIZES.items()
    }
