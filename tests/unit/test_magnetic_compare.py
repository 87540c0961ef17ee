"""The table of everything that tells how distorted a field is: what is asked of compact models, and what it says."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from cli_in_process import run

from stinger.errors import CheckFailedError, UsageError
from stinger.models.soft_labels import SoftLabels, recording_hashes, write_soft_labels
from stinger.windows.store import read_dataset
from stinger.workflow import magnetic_compare
from stinger.workflow.magnetic_compare import CompareOptions, facts, markdown, table
from stinger.workflow.progress import Progress

RECORDINGS = 48
COMPACT = (("mlp", "magnetic", {"hidden_layer_sizes": (16,), "alpha": 0.01}), ("rf", "magnetic", {"n_estimators": 12}))


def of(report, model):
    return next(row for row in report["rows"] if row["model"] == model)


@pytest.fixture(scope="module")
def report():
    options = CompareOptions(recordings=RECORDINGS, seeds=1, compact=COMPACT, board=False)
    return magnetic_compare.magnetic_compare(options, Progress())


def test_compact_models_are_right_nine_times_in_ten_where_strength_alone_is_not(report):
    """0.97 on a hundred held-out minutes, where the forest on field strength has 0.88; here on twelve minutes."""
    baseline = report["rows"][0]
    assert (baseline["model"], baseline["features"]) == ("rf", "mean, std of strength")
    assert 0.8 < baseline["accuracy"]["value"] < 0.93
    for row in report["rows"][1:3]:
        assert row["features"] == "magnetic"
        assert row["accuracy"]["value"] >= 0.9
        assert row["accuracy"]["value"] > baseline["accuracy"]["value"] + 0.04
        assert row["macro_f1"] >= 0.9
        assert row["accuracy"]["low"] < row["accuracy"]["value"] < row["accuracy"]["high"]


def test_all_are_measured_on_the_same_recordings_that_none_saw(report):
    assert report["recordings"] == {"training": 36, "held_out": 12}
    # 59 windows of a second every half second, less those that span two segments.
    assert report["windows"] == {"training": 36 * 108, "held_out": 12 * 108}
    assert report["window"] == 100
    names = [row["model"] for row in report["rows"]]
    assert names == ["rf", "mlp", "rf", "rf + et + hgb", "mlp, not distilled", "mlp, distilled"]
    gain = of(report, "mlp, distilled")["gain"]["value"]
    values = [of(report, f"mlp, {how}distilled")["accuracy"]["value"] for how in ("", "not ")]
    assert gain == pytest.approx(values[0] - values[1])
    assert abs(gain) < 0.06


def test_the_table_fits_the_report(report):
    header, rows = table(report)
    assert {len(row) for row in rows} == {len(header)}
    assert rows[1][2].startswith(f"{report['rows'][1]['accuracy']['value']:.3f} (")
    assert markdown(report).count("\n") == len(rows) + 1
    assert all(line.count("|") == len(header) + 1 for line in markdown(report).splitlines())
    assert [line.split(":")[0] for line in facts(report)][1:] == ["size", "distilled less not distilled"]
    json.dumps(report)


def test_the_board_answers_what_numpy_does(monkeypatch):
    student = ("mlp", "magnetic", {"hidden_layer_sizes": (4,), "max_iter": 20})
    monkeypatch.setattr(magnetic_compare, "STUDENT", student)
    monkeypatch.setattr(magnetic_compare, "_taught", lambda _: [])
    options = CompareOptions(recordings=8, window_ms=500, seeds=1, compact=(student,))
    [_, row] = magnetic_compare.magnetic_compare(options, Progress())["rows"]
    assert row["compared"] == 16 * 26
    assert 4000 < row["cycles"] < 8000
    assert 4000 < row["flash"] < 9000
    assert row["ram"] < 2048
    assert row["integer_accuracy"] == pytest.approx(row["accuracy"]["value"], abs=0.05)
    assert table({"rows": [row]})[1][0][7] == f"{row['cycles']:,}"

    class Wrong:
        failure = "L4 says something else"

    monkeypatch.setattr(magnetic_compare, "prove", lambda *_: (None, Wrong))
    with pytest.raises(CheckFailedError, match="L4 says something else"):
        magnetic_compare.magnetic_compare(options, Progress())


def test_whoever_answered_the_same_windows_has_a_row(tmp_path):
    """Soft labels of an Audio Spectrogram Transformer, say: compared, and taught from."""
    assert run("magnetic", "generate", "--out", tmp_path / "field", "--recordings", 8, "--duration", 30)[0] == 0
    place = tmp_path / "out"
    explored = run("explore", tmp_path / "field", "--split", "session", "--plots", "none", "--outdir", place)
    assert explored[0] == 0, explored
    dataset = read_dataset(place / "train")
    wrong = np.arange(len(dataset)) % 10 == 0
    said = np.eye(3)[(dataset.labels + wrong) % 3] * 0.8 + 0.2 / 3
    shas = tuple(recording_hashes(dataset))
    starts = dataset.start.astype(np.int64)
    soft = SoftLabels(dataset.classes, said, shas, dataset.session.astype(np.int64), starts, dataset.window, ("ast",))
    write_soft_labels(soft, tmp_path / "soft.npz")
    arguments = ("--train-dir", place / "train", "--teacher", tmp_path / "soft.npz", "--seeds", 1, "--no-board")
    code, out, errors = run("magnetic", "compare", *arguments, "--json")
    assert (code, errors) == (0, [])
    report = json.loads(out)
    share = 1 - wrong[dataset.held_out].mean()
    assert of(report, "ast")["accuracy"]["value"] == pytest.approx(share)
    assert of(report, "ast")["host_us"] is None
    assert {row["model"] for row in report["rows"]} >= {"rf", "logreg", "mlp", "hgb", "ast", "mlp, distilled"}
    code, out, _ = run("magnetic", "compare", *arguments, "--markdown")
    assert code == 0
    assert re.search(r"^\| ast \|  \| 0\.\d{3}", out, re.MULTILINE)


def test_what_compares_nothing_is_refused(tmp_path):
    for arguments, what in (
        (("--recordings", 7), "--recordings must be at least 8, is 7"),
        (("--seeds", 0), "--seeds must be 1 to 100, is 0"),
        (("--teacher", tmp_path), "give it with --train-dir"),
    ):
        code, _, said = run("magnetic", "compare", *arguments)
        assert (code, len(said)) == (2, 1)
        assert what in said[0]
    with pytest.raises(UsageError):
        CompareOptions(recordings=0)
