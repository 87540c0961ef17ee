"""`stinger train` as users of the Stinger's own tools type it, and what it adds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import DATA, NICLA, SESSION_B, files_below, run

GOLDEN = DATA / "golden" / "export_a_recommended"
PICTURES = {"ranking.png", "calibration.png", "confusion.png", "units.png"}


@pytest.fixture(scope="module")
def shots(tmp_path_factory) -> Path:
    cwd = tmp_path_factory.mktemp("shots")
    assert run("explore", SESSION_B, "--preset", "recommended", "--plots", "none", cwd=cwd).code == 0
    return cwd / "ml_out" / "train"


@pytest.fixture(scope="module")
def motions(tmp_path_factory) -> Path:
    cwd = tmp_path_factory.mktemp("motions")
    assert run("explore", NICLA, "--plots", "none", cwd=cwd).code == 0
    return cwd / "ml_out" / "train"


def test_options_of_the_reference(stinger):
    options = ("--model", "mlp", "--features", "rich", "--mlp-hidden", "16,8", "--mlp-alpha", "0.01", "--max-rows", 200)
    split = ("--split", "time", "--test-size", "0.3", "--seed", 7, "--threshold-folds", 3)
    done = stinger("train", "--train-dir", GOLDEN, *options, *split, "--out", "m", "--json")
    assert done.code == 0, done.err
    result = done.json
    assert result["options"] == {"hidden_layer_sizes": [16, 8], "alpha": 0.01}
    assert result["seed"] == 7
    parts = result["split"]
    assert parts["kind"] == "time"
    total = parts["train_windows"] + parts["held_out_windows"] + parts["embargoed_training_windows"]
    assert 190 <= total <= 200
    assert 0.25 < parts["held_out_windows"] / total < 0.35
    spec = json.loads((stinger.cwd / "m" / "manifest.json").read_text())["spec"]
    assert spec["threshold"] == result["threshold"] != 0.5
    forest = stinger("train", "--train-dir", GOLDEN, "--model", "rf", "--trees", 7, "--option", "max_depth=3", "--json")
    assert forest.json["options"] == {"n_estimators": 7, "max_depth": 3}


def test_the_table_and_the_pictures(stinger, shots):
    done = stinger("train", "--train-dir", shots, "--model", "rf", "--report", "report", "--out", "model")
    assert done.code == 0
    assert done.complaints == []
    lines = done.out.splitlines()
    assert lines[0] == "rf on rich, 30 features"
    assert lines[1].startswith("windows: ")
    assert lines[2].startswith("threshold: 0.")
    for name in ("ROC AUC", "base rate", "PR AUC", "F1", "recall", "accuracy", "Brier score", "calibration error"):
        assert any(line.strip().startswith(name) for line in lines), name
    assert any(line.startswith("true class, answered:") and "idle" in line and "shot" in line for line in lines)
    assert lines[-2:] == ["report: report", "model: model"]
    report = files_below(stinger.cwd / "report")
    assert report.keys() >= {*PICTURES, "report.json"}
    content = json.loads(report["report.json"])
    assert content["report"]["intervals"]["draws"] == 1000
    assert content["report"]["classes"][1]["figures"]["roc_auc"]["value"] > 0.8
    assert len(content["trained_on"]) == 1
    again = stinger("train", "--train-dir", shots, "--model", "rf", "--report", "report", "--out", "model-2")
    assert again.out.replace("model-2", "model") == done.out
    assert files_below(stinger.cwd / "report") == report
    assert files_below(stinger.cwd / "model-2") == files_below(stinger.cwd / "model")


def test_many_classes(stinger, motions):
    done = stinger("train", "--train-dir", motions, "--model", "dt", "--report", "report", "--json")
    assert done.code == 0
    report = done.json["report"]
    assert report["threshold"] is None
    assert report["figures"]["macro_roc_auc"]["value"] > 0.95
    assert [one["name"] for one in report["classes"]] == ["Idle", "Lift", "Maritime", "Terrestrial"]
    assert files_below(stinger.cwd / "report").keys() >= PICTURES
    table = stinger("train", "--train-dir", motions, "--model", "dt").out
    assert "macro PR AUC" in table
    assert "class against the others" in table


@pytest.mark.parametrize("split", ["random", "session", "auto"])
def test_any_split_at_training_has_its_embargo(stinger, motions, split):
    done = stinger("train", "--train-dir", motions, "--split", split, "--test-size", "0.2", "--json")
    assert done.code == 0, done.err
    parts = done.json["split"]
    assert parts["kind"] == ("given" if split == "auto" else split)
    assert parts["held_out_sharing_samples"] == 0
    assert (parts["embargoed_training_windows"] > 0) == (split == "random")


def test_a_leak_is_printed(stinger, motions):
    done = stinger("train", "--train-dir", motions, "--split", "random", "--no-embargo")
    assert done.code == 0
    leaks = [line for line in done.out.splitlines() if line.startswith("note: leak: ")]
    assert len(leaks) == 1
    assert "share samples with training" in leaks[0]


def test_a_place_that_is_somebodys_is_left_alone(stinger):
    (stinger.cwd / "photos").mkdir()
    (stinger.cwd / "photos" / "cat.jpg").write_bytes(b"meow")
    for option in ("--out", "--report"):
        done = stinger("train", "--train-dir", GOLDEN, option, "photos", "--threshold-folds", 0)
        assert done.code == 3
        assert done.complaints == ["stinger: photos is not empty and was not made by stinger; choose another place"]
        assert done.out == ""
    assert files_below(stinger.cwd / "photos") == {"cat.jpg": b"meow"}
