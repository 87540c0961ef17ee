"""docs/magnetic.md, command by command: generated recordings become a dataset and a model, and the figures hold."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from stinger.sessions.mcap_format.spectrograms import read_spectrograms

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "magnetic.md"
PICTURE = DOCUMENT.parent / "images" / "spectrogram.png"
NINE = ["mx", "my", "mz", "ax", "ay", "az", "gx", "gy", "gz"]


def commands(verb: str = "explore") -> list[list[str]]:
    """The commands of the block in which a verb appears."""
    blocks = re.findall(r"^```sh\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    [block] = [block for block in blocks if re.search(rf"^stinger (magnetic )?{verb} ", block, re.MULTILINE)]
    lines = [shlex.split(line) for line in block.splitlines()]
    assert all(line[0] == "stinger" for line in lines)
    return [line[1:] for line in lines]


def table(text: str) -> dict[str, list[float]]:
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if re.match(r"\| \w+ \| 0\.", line)]
    return {row[0]: [float(cell) for cell in row[1:]] for row in rows}


def test_recordings_become_a_dataset_and_a_model(call):
    generate, info, explore, train, _ = commands()
    made = call(*generate, "--json").json
    assert len(made) == 12
    [described] = call(*info, "--json").json["recordings"]
    assert [channel["name"] for channel in described["channels"]] == NINE
    assert described["events"] == {"label none": 4, "label low": 4, "label high": 4}
    assert (described["faults"], described["gaps"]["count"]) == ([], 0)
    summary = call(*explore, "--json").json
    assert sum(summary["windows"].values()) == summary["held_out_windows"] + summary["training_windows"]
    assert {name: 400 < n < 500 for name, n in summary["windows"].items()} == {"none": True, "low": True, "high": True}
    assert summary["split"]["kind"] == "session"
    assert [channel["scale"] for channel in summary["channels"]][:4] == [1 / 8192] * 3 + [1 / 2048]
    # Windows lie in a segment: none spans two levels.
    rows = (call.cwd / "field_out" / "train" / "index.csv").read_text().splitlines()
    columns = rows[0].split(",")
    starts = [int(row.split(",")[columns.index("window_start_ms")]) for row in rows[1:]]
    assert {start % 5000 for start in starts} == set(range(0, 4001, 500))
    trained = call(*train, "--json").json
    assert trained["classes"] == ["high", "low", "none"]
    assert trained["metrics"]["accuracy"] > 0.7


def test_the_figures_hold(call):
    *_, bench = commands()
    written, measured = table(DOCUMENT.read_text()), table(call(*bench).out)
    assert set(written) == set(measured) == {"default", "off"}
    for name, row in measured.items():
        # Another processor may round a fit differently.
        assert written[name] == pytest.approx(row, abs=0.011), name
    by_recording, by_segment, _ = measured["default"]
    assert by_recording == pytest.approx(0.88, abs=0.036)
    assert by_segment == pytest.approx(by_recording, abs=0.03)


def test_a_recording_becomes_spectrograms(call):
    generate, spectrogram, again = commands("spectrogram")
    call(*generate)
    [row] = call(*spectrogram, "--json").json
    assert (row["windows"], row["labels"]) == (12, {"high": 4, "low": 4, "none": 4})
    assert f"{row['sounding_bands']} bands ever sound" in " ".join(DOCUMENT.read_text().split())
    [streamed] = call(*again).json
    assert streamed | {"file": row["file"]} == row
    written = [(call.cwd / one["file"]).read_bytes() for one in (row, streamed)]
    assert written[0] == written[1]
    read = read_spectrograms(call.cwd / row["file"], (1024, 128))
    assert len(read) == 12
    # The picture in the document is this command's; another matplotlib may draw another letter.
    ours, shown = (matplotlib.image.imread(path) for path in (call.cwd / "walk.png", PICTURE))
    assert ours.shape == shown.shape
    assert np.abs(ours - shown).mean() < 0.02


def test_the_plan_in_the_document(call):
    [plan] = re.findall(r"^```json\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    (call.cwd / "plan.json").write_text(plan)
    [row] = call("magnetic", "generate", "plan.json", "--out", "x.mcap", "--noise", "0", "--json").json
    assert row["samples"] == 800
    assert row["field_strength"]["none"] == {"segments": 1, "samples": 400, "mean": 1.0, "std": 0.0}
    strength = (0.12**2 + 1 + 0.16**2) ** 0.5
    assert row["field_strength"]["low"]["mean"] == pytest.approx(strength, abs=1e-6)
    [described] = call("info", "x.mcap", "--json").json["recordings"]
    assert json.dumps(described["events"]) == '{"label low": 1, "label none": 1}'
