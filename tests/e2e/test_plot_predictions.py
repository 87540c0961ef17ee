"""`stinger plot-predictions` as a user types it: the predecessor's commands, saved models, and what it says."""

import csv
import json

import numpy as np
import pytest

from conftest import NICLA, SESSION_B, files_below, run
from stinger.sessions.read import read_sessions
from stinger.windows.shot_rules import find_shots
from stinger.windows.store import read_dataset

SAMPLES = 9000


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Ninety seconds of a session, cut, and a model saved."""
    cwd = tmp_path_factory.mktemp("predictions")
    (cwd / "log.bin").write_bytes(SESSION_B.read_bytes()[: SAMPLES * 17])
    (cwd / "short.bin").write_bytes(SESSION_B.read_bytes()[: 40 * 17])
    assert run("explore", "log.bin", "--plots", "none", "--preset", "recommended", cwd=cwd).code == 0
    assert run("train", "--model", "logreg", "--features", "summary", "--out", "saved", cwd=cwd).code == 0
    return cwd


def table(directory):
    with (directory / "predictions.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def compared(place):
    """The predecessor's own command, on a shorter log."""
    return run(
        *("plot-predictions", "--csv", "log.bin", "--train-dir", "ml_out/train", "--outdir", "out", "--compare"),
        *("--max-shots", 8, "--max-negs", 3, "--dpi", 60, "--workers", 2),
        *("--model-spec", "logreg:summary", "--model-spec", "et:rich", "--model-spec", "mlp:rich"),
        cwd=place,
    )


def test_the_predecessors_command_gives_all_its_outputs(place, compared):
    assert compared.code == 0, compared.err
    assert compared.complaints == []
    out = place / "out"
    names = {name for name in files_below(out) if not name.startswith(".")}
    shots, negatives = ({n for n in names if n.startswith(kind)} for kind in ("shots/", "negatives/"))
    assert len(shots) == 8
    assert negatives == {f"negatives/neg_{i:03d}.png" for i in range(3)}
    assert names - shots - negatives == {"overview.png", "histogram.png", "predictions.csv", "summary.json"}
    assert all(data.startswith(b"\x89PNG") for name, data in files_below(out).items() if name.endswith(".png"))
    for line in ("mlp rich, held out: at ", "share samples with training", f"{SAMPLES:,} samples"):
        assert line in compared.out


def test_the_table_says_when_each_probability_speaks_and_what_training_saw(place, compared):
    rows = table(place / "out")
    [session] = read_sessions(place / "log.bin")
    assert [int(row["window_end_ms"]) for row in rows] == (session.t_us // 1000).tolist()
    assert all(int(row["time_ms"]) == int(row["window_end_ms"]) + 100 for row in rows)
    ready = np.array([row["ready"] == "1" for row in rows])
    assert ready.sum() == sum(max(0, b - a - 49) for a, b in session.stretches())
    columns = [name for name in rows[0] if name.startswith("p_")]
    assert columns == ["p_logreg_summary", "p_et_rich", "p_mlp_rich"]
    for name in columns:
        filled = [row[name] for row in rows if row["ready"] == "1"]
        assert all(0 <= float(p) <= 1 for p in filled)
        assert all(row[name] == "" for row in rows if row["ready"] == "0")
    dataset = read_dataset(place / "ml_out" / "train", whole=True)
    known = np.array([row["in_training"] == "1" for row in rows])
    assert known[dataset.start[dataset.training] + 49].all()
    assert not known[dataset.start[dataset.held_out] + 49].any()
    # What the models say of shots is more than what they say in between.
    p = np.array([float(row["p_mlp_rich"] or "nan") for row in rows])
    edges = find_shots(session).accepted
    assert np.nanmean(p[edges[edges > 60] - 11]) > 3 * np.nanmean(p)


def test_workers_do_not_change_a_byte(place, compared, tmp_path):
    again = run(
        *("plot-predictions", "log.bin", "--outdir", tmp_path / "out", "--compare", "--workers", 1),
        *("--max-shots", 8, "--max-negs", 3, "--dpi", 60, "--json"),
        cwd=place,
    )
    assert again.code == 0
    assert files_below(tmp_path / "out") == files_below(place / "out")
    summary = again.json
    assert set(summary.pop("seconds")) == {"training", "features_and_predicting"}
    assert summary == json.loads((place / "out" / "summary.json").read_text())
    assert [model["name"] for model in summary["models"]] == ["logreg_summary", "et_rich", "mlp_rich"]


def test_a_saved_model_is_shown_without_training(place, tmp_path):
    common = ("plot-predictions", "log.bin", "--model-dir", "saved", "--max-shots", 1, "--max-negs", 0, "--dpi", 40)
    alone = run(*common, "--outdir", tmp_path / "alone", cwd=place)
    assert alone.code == 0
    assert "logreg summary: trained on parts of this recording without saying which" in alone.out
    rows = table(tmp_path / "alone")
    assert {name for name in rows[0] if name.startswith("p")} == {"p"}
    assert all(row["in_training"] == row["ready"] for row in rows)
    known = run(*common, "--train-dir", "ml_out/train", "--outdir", tmp_path / "known", cwd=place)
    assert "without saying which" not in known.out
    shares = {row["in_training"] for row in table(tmp_path / "known") if row["ready"] == "1"}
    assert shares == {"0", "1"}
    assert [row["p"] for row in table(tmp_path / "known")] == [row["p"] for row in rows]


def test_a_labelled_recording_has_no_shots_and_says_so(place, tmp_path):
    assert run("explore", NICLA, "--plots", "none", "--outdir", tmp_path / "nic", cwd=place).code == 0
    common = ("plot-predictions", NICLA, "--train-dir", tmp_path / "nic" / "train", "--outdir", tmp_path / "out")
    several = run(*common, cwd=place)
    assert several.code == 2
    assert "holds several recordings; choose one with --recording: 'testing/Idle" in several.complaints[0]
    unclear = run(*common, "--recording", "Lift", cwd=place)
    assert "has 12 recordings called 'Lift'; name one of 'testing/Lift" in unclear.complaints[0]
    done = run(*common, "--recording", "Lift.json.5vn1bn0h", "--dpi", 40, cwd=place)
    assert done.code == 0
    assert "it has no trigger, so there are no pictures of shots" in done.out
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["class"] == "Lift"
    assert summary["pictures"] == {"shots": 0, "negatives": 0}
    assert not (tmp_path / "out" / "shots").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "name one recording: stinger plot-predictions LOG"),
        (("log.bin", "--csv", "log.bin"), 2, "name one recording"),
        (("log.bin", "--train-dir", "nowhere"), 3, "nowhere/meta.json: it does not exist"),
        (("log.bin", "--model-dir", "nowhere"), 3, "nowhere/manifest.json: it does not exist"),
        (("short.bin", "--model-dir", "saved"), 3, "has 40 samples, a window of logreg summary 50"),
        (("log.bin", "--model-spec", "mlp"), 2, "must look like mlp:rich"),
        (("log.bin", "--model-spec", "oracle:rich"), 2, "unknown model family 'oracle'"),
        (("log.bin", "--model-dir", "saved", "--class", "Lift"), 3, "knows no class 'Lift'; it knows idle, shot"),
        (("log.bin", "--model-dir", "saved", "--outdir", "."), 3, "was not made by stinger"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(place, arguments, code, message):
    before = {path.name for path in place.iterdir()}
    done = run("plot-predictions", *arguments, *(() if "--outdir" in arguments else ("--outdir", "wrong")), cwd=place)
    assert done.code == code
    assert len(done.complaints) == 1
    assert message in done.complaints[0]
    assert {path.name for path in place.iterdir()} == before
