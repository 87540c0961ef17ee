"""What models say of a recording: the same in the table, in MCAP and in the picture, for models of any kind."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import ast_cases
import numpy as np
import pytest
from cli_in_process import run

from stinger.errors import InputError, UsageError
from stinger.models.ast.model import AstModel
from stinger.models.ast.tarball import write_tarball
from stinger.models.store import save_model
from stinger.models.train import train
from stinger.plots.classification import Timeline, colours_of, plot_classification
from stinger.sessions.mcap_format.classifications import read_classifications
from stinger.sessions.session import Event
from stinger.sessions.write import write_sessions
from stinger.windows.cut import cut
from stinger.windows.describe import session_hash
from stinger.windows.spec import ExploreSpec
from stinger.workflow.classify import ClassifyOptions, classify


@pytest.fixture(scope="module")
def transformer(tmp_path_factory):
    return ast_cases.saved(tmp_path_factory.mktemp("ast") / "model")


@pytest.fixture(scope="module")
def compact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compact") / "model"
    spec = ExploreSpec(classes="events", window_ms=1000, split="session")
    save_model(train(cut(ast_cases.sessions(), spec), "rf", options={"n_estimators": 5}), folder)
    return folder


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    path = tmp_path_factory.mktemp("walk") / "walk.mcap"
    write_sessions([replace(ast_cases.sessions(6)[5], name="walk.mcap")], path)
    return path


@pytest.mark.parametrize("kind", ["folder", "file", "compact"])
def test_everything_says_the_same(kind, transformer, compact, walk, tmp_path):
    model = {"folder": transformer, "file": tmp_path / "m.model.tar.gz", "compact": compact}[kind]
    if kind == "file":
        write_tarball(transformer, model)
    files = {name: tmp_path / name for name in ("c.mcap", "c.csv", "c.png")}
    code, out, complaints = run(
        *("magnetic", "classify", model, walk, "--out", files["c.mcap"], "--table", files["c.csv"]),
        *("--timeline", files["c.png"]),
    )
    assert (code, complaints) == (0, [])
    code, text, _ = run("magnetic", "classify", model, walk, "--json")
    said = json.loads(text)
    rows = said["windows"]
    length = 1.0 if kind == "compact" else 3.0
    assert len(rows) == 15 / length
    assert [row["start_s"] for row in rows] == [length * i for i in range(len(rows))]
    mcap = read_classifications(files["c.mcap"])
    assert list(mcap.labels) == [row["predicted"] for row in rows]
    assert mcap.class_ids.tolist() == [said["classes"].index(row["predicted"]) for row in rows]
    assert mcap.times_ns.tolist() == [round(row["end_s"] * 1e9) for row in rows]
    with files["c.csv"].open() as stream:
        table = list(csv.DictReader(stream))
    assert [row["predicted"] for row in table] == [row["predicted"] for row in rows]
    assert [row["truth"] or None for row in table] == [row["truth"] for row in rows]
    np.testing.assert_allclose(
        [[float(row[f"p_{name}"]) for name in said["classes"]] for row in table],
        [list(row["probabilities"].values()) for row in rows],
        atol=1e-6,
    )
    assert all(row["probability"] == max(row["probabilities"].values()) for row in rows)
    known = [row for row in rows if row["truth"]]
    right = sum(row["truth"] == row["predicted"] for row in known) / len(known)
    assert said["accuracy"] == pytest.approx(right)
    assert f"accuracy: {right:.3f} of {len(known)} labelled windows" in out
    assert np.trace(said["confusion"]) == right * len(known)
    assert np.sum(said["confusion"]) == len(known)
    # Five seconds of one label hold one whole window of three, and five of one.
    assert len(known) == (15 if kind == "compact" else 3)
    assert files["c.png"].read_bytes().startswith(b"\x89PNG")
    before = {name: path.read_bytes() for name, path in files.items()}
    run(
        *("magnetic", "classify", model, walk, "--out", files["c.mcap"], "--table", files["c.csv"]),
        *("--timeline", files["c.png"]),
    )
    assert before == {name: path.read_bytes() for name, path in files.items()}


def test_the_answers_are_the_models(transformer, walk):
    result = classify(ClassifyOptions(transformer, walk, step_s=1.0))
    session = ast_cases.sessions(6)[5]
    assert len(result) == 13
    values = session.samples[:, :3] * session.channels[0].scale
    windows = np.stack([values[start : start + 300] for start in range(0, 1201, 100)])
    np.testing.assert_allclose(
        AstModel.load(transformer).predict_proba(windows, 100.0), result.probability, rtol=0, atol=1e-6
    )
    assert result.notes == ("4 of 13 windows lie in no label or in several: they count neither way",)
    assert [truth is not None for truth in result.truth] == [second % 5 < 3 for second in range(13)]


def test_recordings_that_training_saw_are_named(transformer, walk, tmp_path):
    seen = session_hash(ast_cases.sessions(6)[5])
    model = ast_cases.saved(tmp_path / "model", trained_on=(seen,))
    assert "small was trained on this recording" in " ".join(classify(ClassifyOptions(model, walk)).notes)
    assert classify(ClassifyOptions(transformer, walk)).notes == (
        "2 of 5 windows lie in no label or in several: they count neither way",
    )


def changed(tmp_path, **changes):
    path = tmp_path / "x.mcap"
    write_sessions([replace(ast_cases.sessions()[0], name="x.mcap", **changes)], path)
    return path


def test_recordings_without_labels_or_with_foreign_ones(transformer, tmp_path):
    bare = classify(ClassifyOptions(transformer, changed(tmp_path, events=()), timeline=tmp_path / "a.png"))
    assert (bare.accuracy, bare.labelled, bare.notes) == (None, 0, ())
    assert set(bare.truth) == {None}
    last = int(ast_cases.sessions()[0].t_us[-1])
    foreign = changed(tmp_path, events=(Event(0, last, "magnet"),), label="magnet")
    result = classify(ClassifyOptions(transformer, foreign, timeline=tmp_path / "b.png"))
    assert result.accuracy == 0
    assert result.confusion.sum() == 0
    assert "small knows nothing of magnet" in result.notes[-1]


def test_windows_never_cross_a_gap(transformer, tmp_path):
    session = ast_cases.sessions()[0]
    t_us = session.t_us.copy()
    t_us[700:] += 20_000_000
    result = classify(ClassifyOptions(transformer, changed(tmp_path, t_us=t_us), timeline=tmp_path / "a.png"))
    assert (result.start_us / 1e6).tolist() == [0, 3, 27, 30]
    assert ((result.end_us - result.start_us) == 2_990_000).all()


def test_a_file_of_several_recordings(transformer, tmp_path):
    for number, session in enumerate(ast_cases.sessions()[:2]):
        write_sessions([session], tmp_path / "two" / f"{number}.mcap")
    code, _, complaints = run("magnetic", "classify", transformer, tmp_path / "two")
    assert code == 2
    assert complaints == [
        "stinger: 2 of 2 recordings have what small needs; choose one with --recording: 0.mcap, 1.mcap"
    ]
    assert run("magnetic", "classify", transformer, tmp_path / "two", "--recording", "1.mcap")[0] == 0
    assert run("magnetic", "classify", transformer, tmp_path / "two", "--recording", "7.mcap")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["none", "WALK"], 3, "none does not exist; give a model"),
        (["MODEL", "none.mcap"], 3, "none.mcap"),
        (["MODEL", "WALK", "--out", "x.csv"], 2, "--out x.csv: what is written there is a .mcap file"),
        (["MODEL", "WALK", "--table", "x.mcap"], 2, "--table x.mcap: what is written there is a .csv file"),
        (["MODEL", "WALK", "--out", "WALK"], 2, "or the recording itself"),
        (["MODEL", "WALK", "--step", "0"], 2, "--step must be more than 0"),
        (["EMPTY", "WALK"], 3, "manifest.json"),
        (["MODEL", "SHORT"], 3, "the longest stretch without a gap has 200 samples, a window of small 300"),
        (["MODEL", "GYRO"], 2, "has no channel 'mx'"),
        (["COMPACT", "SLOW"], 3, "give a recording of that rate"),
    ],
)
def test_what_cannot_be_classified(transformer, compact, walk, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    session = ast_cases.sessions()[0]
    first = {"t_us": session.t_us[:200], "samples": session.samples[:200], "events": ()}
    places = {"WALK": walk, "MODEL": transformer, "COMPACT": compact, "EMPTY": Path("empty")}
    for name, recording in {
        "SHORT": replace(session, **first),
        "GYRO": replace(session, samples=session.samples[:, 6:], channels=session.channels[6:]),
        "SLOW": replace(session, t_us=session.t_us * 2, period_us=20_000, events=()),
    }.items():
        places[name] = tmp_path / f"{name}.mcap"
        write_sessions([recording], places[name])
    done, _, complaints = run("magnetic", "classify", *(places.get(one, one) for one in arguments))
    [line] = complaints
    assert (done, message in line) == (code, True), line


def test_the_table_is_for_people(transformer, walk):
    _, out, _ = run("magnetic", "classify", transformer, walk)
    assert "probability" in out
    assert "0.0 to 3.0" in out


# ---- the picture


def timeline(**changes):
    n = changes.pop("n", 20)
    share = np.random.default_rng(1).dirichlet([1, 1, 1], size=n)
    said = {
        "title": "t",
        "classes": ast_cases.CLASSES,
        "start_s": np.arange(n) * 3.0,
        "window_s": 3.0,
        "step_s": 3.0,
        "probability": share,
        "truth": [(0.0, 30.0, "low"), (30.0, 60.0, "other")],
        "wrong": np.arange(n) % 3 == 0,
        "gaps": [],
        "length_s": n * 3.0,
    }
    return Timeline(**{**said, **changes})


@pytest.mark.parametrize(
    "case",
    [
        timeline(),
        timeline(truth=[], wrong=np.zeros(20, bool)),
        timeline(n=1),
        timeline(step_s=1.0, gaps=[(10.0, 20.0)]),
        timeline(n=2000, title="t" * 200),
    ],
)
def test_pictures_of_all_sizes(case, tmp_path):
    for name in ("a.png", "b.png"):
        plot_classification(case, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").stat().st_size > 5000


def test_levels_have_their_own_colours():
    assert len(set(colours_of(ast_cases.CLASSES).values())) == 3
    assert colours_of(["low", "none"])["low"] == colours_of(ast_cases.CLASSES)["low"]
    assert len(set(colours_of(["walk", "run", "sit"]).values())) == 3


def test_nothing_to_draw(tmp_path):
    with pytest.raises(UsageError, match="at least one window"):
        plot_classification(timeline(n=0), tmp_path / "x.png")
    with pytest.raises(InputError, match="cannot write"):
        plot_classification(timeline(n=1), Path("/dev/null/x.png"))
