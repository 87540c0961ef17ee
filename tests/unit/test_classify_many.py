"""Several models on several recordings: pooled, compared, refused where it would be memory."""

from dataclasses import replace

import numpy as np
import pytest

from stinger.errors import InputError, UsageError
from stinger.models.store import save_model
from stinger.models.train import train
from stinger.sessions.read import read_sessions
from stinger.sessions.write import write_sessions
from stinger.windows.cut import cut
from stinger.windows.spec import ExploreSpec
from stinger.workflow.classify import ClassifyOptions, classify
from stinger.workflow.classify_many import answers_markdown, answers_table, classify_many, plot_answers
from stinger.workflow.magnetic import GenerateOptions, Pattern, magnetic_generate
from stinger.workflow.progress import Progress

QUICK = Pattern(duration_s=30.0, sample_rate_hz=50.0)


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """Recordings to learn from and to be asked about, and two models."""
    folder = tmp_path_factory.mktemp("field")
    for name, count, seed in (("learn", 5, 1), ("ask", 3, 50)):
        magnetic_generate(GenerateOptions(folder / name, QUICK, recordings=count, seed=seed), Progress())
    dataset = cut(read_sessions(folder / "learn"), ExploreSpec(split="session", window_ms=1000))
    for family, features in (("logreg", "magnetic"), ("dt", "rich")):
        save_model(train(dataset, family, features=features), folder / family)
    return folder


def recordings(folder):
    return sorted(folder.glob("*.mcap"))


def test_windows_of_all_recordings_are_pooled(field):
    asked = recordings(field / "ask")
    answers = classify_many(field / "logreg", asked, step_s=0.5)
    singles = [classify(ClassifyOptions(field / "logreg", path, step_s=0.5)) for path in asked]
    right = sum(one.accuracy * one.labelled for one in singles)
    assert len(answers.labels) == sum(one.labelled for one in singles)
    assert answers.accuracy == pytest.approx(right / len(answers.labels))
    assert answers.report.confusion.tolist() == sum(one.confusion for one in singles).tolist()
    assert np.bincount(answers.recording).tolist() == [one.labelled for one in singles]
    assert answers.probability.shape == (len(answers.labels), 3)
    figure = answers.report.figures["accuracy"]
    assert answers.report.unit_name == "recordings"
    assert not figure.low > figure.value


def test_models_are_told_apart_in_table_and_picture(field, tmp_path):
    asked = recordings(field / "ask")
    answers = [classify_many(field / name, asked, name=f"my {name}") for name in ("logreg", "dt")]
    header, rows = answers_table(answers)
    assert header == ["model", "windows", "accuracy", "macro precision", "macro recall", "macro F1"]
    assert [row[0] for row in rows] == ["my logreg", "my dt"]
    assert rows[0][2].startswith(f"{answers[0].accuracy:.3f}")
    assert answers_markdown(answers).count("\n") == 3
    plot_answers(answers, tmp_path / "a.png")
    plot_answers(answers[:1], tmp_path / "b.png")
    assert (tmp_path / "a.png").stat().st_size > (tmp_path / "b.png").stat().st_size > 1000
    with pytest.raises(UsageError, match="no models to draw"):
        plot_answers([], tmp_path / "c.png")


def test_what_a_model_has_seen_is_no_examination(field):
    with pytest.raises(InputError, match="logreg was trained on this recording; give recordings that it has not seen"):
        classify_many(field / "logreg", [*recordings(field / "ask"), recordings(field / "learn")[0]])


def test_recordings_without_labels_measure_nothing(field, tmp_path):
    unlabelled = tmp_path / "x.mcap"
    [session] = read_sessions(recordings(field / "ask")[0])
    write_sessions([replace(session, events=(), label=None)], unlabelled)
    with pytest.raises(InputError, match="none of 1 recordings has windows with labels"):
        classify_many(field / "dt", [unlabelled])
