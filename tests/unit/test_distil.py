"""Distillation: what a student learns from, whom it learns from, and that what is reported is what was stored."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy as np
import pytest
from cli_in_process import run
from hypothesis import given
from hypothesis import strategies as st
from toy import toy_dataset

from stinger.errors import InputError, UsageError
from stinger.models.families import FAMILIES
from stinger.models.soft_labels import SoftLabels, write_soft_labels
from stinger.models.soft_targets import STUDENTS, fit_softly, soft_targets
from stinger.models.store import load_model, save_model
from stinger.models.train import fit_rows, train
from stinger.windows.store import write_dataset
from stinger.workflow.distil import (
    DistilOptions,
    Lesson,
    distil,
    hits,
    mean_with_interval,
    table,
    teach,
)
from stinger.workflow.progress import Progress
from stinger.workflow.teachers import EnsembleTeacher, StoredTeacher, load_teacher
from stinger_export.integer.quantise import quantise

SMALL = {
    "mlp": {"hidden_layer_sizes": (6,), "max_iter": 30},
    "torch-mlp": {"hidden_layer_sizes": (6,), "epochs": 4},
    "torch-cnn": {"filters": (4, 4), "kernel_size": 3, "epochs": 2},
}
FEATURES = {"torch-cnn": "flatten"}


@pytest.fixture(scope="module")
def dataset():
    """Three classes, eight recordings of which two are held out."""
    toy = toy_dataset(classes=3, per_class=80, window=20)
    session = np.arange(len(toy)) // 30
    inputs = [{"name": str(i), "sha256": f"{i:064x}"} for i in range(8)]
    meta = {**toy.meta, "inputs": inputs}
    return replace(toy, session=session, groups=session, held_out=session >= 6, meta=meta)


@pytest.fixture(scope="module")
def folder(dataset, tmp_path_factory):
    place = tmp_path_factory.mktemp("distil") / "train"
    write_dataset(dataset, place)
    return place


@given(
    st.floats(0.01, 100),
    st.floats(0, 1),
    st.lists(st.tuples(*[st.floats(0, 1)] * 3).filter(lambda p: sum(p) > 0.01), min_size=1, max_size=9),
)
def test_targets_are_probabilities_that_keep_the_teachers_order(temperature, mix, rows):
    probability = np.array(rows) / np.sum(rows, axis=1, keepdims=True)
    labels = np.zeros(len(rows), dtype=np.uint8)
    targets = soft_targets(probability, labels, temperature=temperature, mix=mix)
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-9)
    assert (targets >= 0).all()
    assert (targets[:, 0] >= (1 - mix) - 1e-12).all()
    second, third = probability[:, 1], probability[:, 2]
    assert ((targets[:, 1] >= targets[:, 2] - 1e-12) | (second < third)).all()


def test_temperature_softens_and_mix_says_how_much():
    probability, labels = np.array([[0.9, 0.08, 0.02]]), np.array([1], dtype=np.uint8)
    np.testing.assert_allclose(soft_targets(probability, labels, temperature=1, mix=1), probability)
    np.testing.assert_array_equal(soft_targets(probability, labels, temperature=3, mix=0), [[0, 1, 0]])
    np.testing.assert_allclose(soft_targets(probability, labels, temperature=1, mix=0.5), [[0.45, 0.54, 0.01]])
    root = probability**0.5
    np.testing.assert_allclose(soft_targets(probability, labels, temperature=2, mix=1), root / root.sum())
    certain = soft_targets(np.array([[1.0, 0.0, 0.0]]), labels, temperature=50, mix=1)
    assert np.isfinite(certain).all()
    for wrong, what in (
        ({"temperature": 0, "mix": 1}, "--temperature must be 0.01 to 100, is 0"),
        ({"temperature": 1, "mix": 1.5}, "--mix must be 0 to 1, is 1.5"),
    ):
        with pytest.raises(UsageError, match=what):
            soft_targets(probability, labels, **wrong)


@pytest.mark.parametrize("family", STUDENTS)
def test_a_student_believes_its_teacher(dataset, family):
    """A teacher that swaps two classes in everything it says is believed, as there is nobody else to ask."""
    swapped = np.eye(3)[[1, 0, 2]][dataset.labels]
    options = {**SMALL[family], **({"epochs": 25} if "torch" in family else {"max_iter": 120})}
    everything = np.ones(len(dataset), dtype=bool)
    features = FEATURES.get(family, "rich")
    student = fit_rows(dataset, everything, family, features=features, options=options, soft=swapped)
    answers = student.predict_proba(dataset.windows).argmax(axis=1)
    believed, known = (answers == swapped.argmax(axis=1)).mean(), (answers == dataset.labels).mean()
    assert believed > known + 0.25


@pytest.mark.parametrize("family", ["torch-mlp", "torch-cnn"])
def test_certain_probabilities_teach_what_labels_teach(dataset, family):
    everything, features = np.ones(len(dataset), dtype=bool), FEATURES.get(family, "rich")
    first, second = (
        fit_rows(dataset, everything, family, features=features, options=SMALL[family], soft=soft)
        for soft in (None, np.eye(3)[dataset.labels])
    )
    found = [model.predict_proba(dataset.windows) for model in (first, second)]
    np.testing.assert_allclose(found[0], found[1], atol=1e-3)


def test_the_same_seed_gives_the_same_student_and_another_one_another(dataset):
    said = EnsembleTeacher(("rf",), "rich").answers(dataset)
    lesson = Lesson("mlp", "rich", SMALL["mlp"], seeds=2)
    one, again = teach(dataset, said, lesson), teach(dataset, said, lesson)
    for first, second in zip(one.distilled, again.distilled, strict=True):
        np.testing.assert_array_equal(first.predict_proba(dataset.windows), second.predict_proba(dataset.windows))
    different = [model.predict_proba(dataset.windows) for model in one.distilled]
    assert np.abs(different[0] - different[1]).max() > 1e-3
    assert quantise(one.distilled[0]).hash == quantise(again.distilled[0]).hash


def test_without_a_teachers_share_both_students_are_one(dataset):
    taught = teach(dataset, np.full((len(dataset), 3), 1 / 3), Lesson("mlp", "rich", SMALL["mlp"], mix=0.0, seeds=1))
    np.testing.assert_array_equal(taught.right_direct, taught.right_distilled)


def test_an_ensemble_does_not_know_its_own_windows_by_heart(dataset):
    said = EnsembleTeacher(("rf",), "rich").answers(dataset)
    by_heart = StoredTeacher(fit_rows(dataset, dataset.training, "rf", features="rich")).answers(dataset)
    np.testing.assert_allclose(said.sum(axis=1), 1, atol=1e-9)
    training, labels = dataset.training, dataset.labels
    assert hits(by_heart[training], labels[training]).mean() > hits(said[training], labels[training]).mean() + 0.05
    # Windows that nobody learnt from are answered by a model of all that were.
    np.testing.assert_allclose(said[dataset.held_out], by_heart[dataset.held_out])


@dataclass
class Ear:
    """What an Audio Spectrogram Transformer looks like from outside."""

    classes: tuple[str, ...]
    channels: tuple[str, ...] = ("gx", "ax")
    heard: list = field(default_factory=list)

    @property
    def spec(self):
        return SimpleNamespace(name="ear", classes=self.classes, channels=self.channels)

    def predict_proba(self, windows, rate_hz):
        self.heard.append((windows, rate_hz))
        loud = windows[:, :, 1].std(axis=1)
        return np.stack([loud, np.ones_like(loud), np.zeros_like(loud)], axis=1) / (1 + loud)[:, None]


def test_a_model_that_hears_gets_physical_windows_at_their_rate(dataset):
    channels = tuple(replace(channel, scale=0.5 + i) for i, channel in enumerate(dataset.channels))
    scaled = replace(dataset, channels=channels)
    ear = Ear(("class 2", "class 0", "class 1"))
    said = StoredTeacher(ear).answers(scaled)
    [rate] = {rate for _, rate in ear.heard}
    windows = np.concatenate([windows for windows, _ in ear.heard])
    assert len(windows) == len(dataset)
    assert rate == pytest.approx(100)
    np.testing.assert_allclose(windows[:, :, 0], dataset.windows[:, :, 3] * 3.5)
    np.testing.assert_allclose(windows[:, :, 1], dataset.windows[:, :, 0] * 0.5)
    np.testing.assert_allclose(said[:, [2, 0, 1]], ear.predict_proba(windows, rate))
    for wrong, what in (
        (Ear(("a", "b", "c")), "ear knows a, b, c, the dataset has class 0, class 1, class 2"),
        (Ear(dataset.classes, ("mx",)), "the dataset has no channel 'mx', which ear needs"),
    ):
        with pytest.raises(InputError, match=what):
            StoredTeacher(wrong).answers(dataset)


def test_a_stored_model_answers_its_own_kind_of_windows_only(dataset, tmp_path):
    model = train(dataset, "dt", folds=0)
    save_model(model, tmp_path / "m")
    teacher = load_teacher(tmp_path / "m")
    np.testing.assert_array_equal(teacher.answers(dataset), model.predict_proba(dataset.windows))
    with pytest.raises(InputError, match="takes windows of 20 samples every 10000 us in its own channels"):
        teacher.answers(replace(dataset, windows=dataset.windows[:, :10]))
    with pytest.raises(InputError, match="missing"):
        load_teacher(tmp_path / "missing")


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in STUDENTS])
def test_families_that_learn_from_labels_only_are_refused(dataset, family):
    with pytest.raises(UsageError, match=f"{family} cannot learn from a teacher's probabilities; choose mlp, torch"):
        Lesson(family)
    soft = np.full((len(dataset), 3), 1 / 3)
    with pytest.raises(UsageError, match="cannot learn from"):
        fit_rows(dataset, dataset.training, family, soft=soft)
    with pytest.raises(TypeError, match="takes no probabilities"):
        fit_softly(FAMILIES["rf"].unfitted(1), np.zeros((1, 1)), np.zeros(1, int), soft[:1])


def test_the_verb_reports_both_and_stores_one(dataset, folder, tmp_path):
    student = ("--model", "mlp", "--option", "hidden_layer_sizes=6", "--option", "max_iter=30")
    arguments = ("distil", "--train-dir", folder, *student, "--seeds", 2)
    code, out, said = run(*arguments, "--out", tmp_path / "m", "--json")
    assert (code, said) == (0, [])
    report = json.loads(out)
    assert report["teacher"] == "rf + et + hgb"
    assert report["windows"] == {"training": 180, "held_out": 60}
    assert {name: len(seeds) for name, seeds in report["by_seed"].items()} == {"direct": 2, "distilled": 2}
    stored = load_model(tmp_path / "m")
    windows, labels = dataset.windows[dataset.held_out], dataset.labels[dataset.held_out]
    assert hits(stored.predict_proba(windows), labels).mean() == pytest.approx(report["by_seed"]["distilled"][0])
    for name, seeds in report["by_seed"].items():
        assert report["accuracy"][name]["value"] == pytest.approx(np.mean(seeds))
    difference = report["accuracy"]["distilled"]["value"] - report["accuracy"]["direct"]["value"]
    assert report["accuracy"]["difference"]["value"] == pytest.approx(difference)
    assert [row[0] for row in table(report)[1]] == ["teacher", "direct", "distilled", "difference"]

    code, out, _ = run(*arguments[:-1], 1, "--teacher", tmp_path / "m")
    assert code == 0
    assert "teacher: mlp" in out
    assert "distilled" in out


def test_soft_labels_in_a_file_teach_the_windows_they_name(dataset, folder, tmp_path):
    order = np.random.default_rng(1).permutation(len(dataset))
    said = np.eye(3)[dataset.labels][order]
    labels = SoftLabels(
        dataset.classes,
        said,
        tuple(one["sha256"] for one in dataset.meta["inputs"]),
        dataset.session[order],
        dataset.start[order],
        dataset.window,
        ("oracle",),
    )
    write_soft_labels(labels, tmp_path / "soft.npz")
    np.testing.assert_array_equal(load_teacher(tmp_path / "soft.npz").answers(dataset), np.eye(3)[dataset.labels])
    lesson = Lesson("mlp", "rich", SMALL["mlp"], seeds=1)
    report = distil(DistilOptions(folder, (tmp_path / "soft.npz",), lesson), Progress())
    assert (report["teacher"], report["accuracy"]["teacher"]["value"]) == ("oracle", 1.0)
    (tmp_path / "soft.npz").write_bytes(b"no")
    code, _, said = run("distil", "--train-dir", folder, "--teacher", tmp_path / "soft.npz")
    assert (code, len(said)) == (3, 1)


def test_a_teacher_that_saw_held_out_recordings_is_told_of(dataset, folder, tmp_path):
    knowing = fit_rows(dataset, np.ones(len(dataset), dtype=bool), "dt")
    save_model(knowing, tmp_path / "m")
    lesson = Lesson("mlp", "rich", SMALL["mlp"], seeds=1)
    report = distil(DistilOptions(folder, (tmp_path / "m",), lesson), Progress())
    assert report["notes"] == [
        "dt learnt from 2 of 2 recordings that the dataset holds out windows of: its figure on those flatters it"
    ]


def test_lessons_that_cannot_be(folder):
    for options, what in (
        (("--model", "rf"), "rf cannot learn"),
        (("--model", "torch-cnn", "--features", "rich"), "torch-cnn takes flatten"),
        (("--seeds", "0"), "--seeds must be 1 to 100"),
        (("--mix", "2"), "--mix must be 0 to 1"),
        (("--temperature", "-1"), "--temperature must be"),
    ):
        code, _, said = run("distil", "--train-dir", folder, *options)
        assert (code, len(said)) == (2, 1)
        assert what in said[0]


def test_an_interval_needs_recordings(dataset):
    values = np.arange(int(dataset.held_out.sum())) % 2.0
    many = replace(dataset, session=np.arange(len(dataset)) // 5)
    figure = mean_with_interval(values, many)
    assert figure.low < figure.value < figure.high
    one = replace(dataset, session=np.zeros(len(dataset), int))
    assert np.isnan(mean_with_interval(values, one).low)
