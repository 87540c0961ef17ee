"""The benchmark's parts: what is planned, what a unit gives, what is kept, what the report says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from toy import toy_dataset

from stinger.errors import InputError, UsageError
from stinger.features.sets import feature_set
from stinger.windows.splits import sharing, split
from stinger.windows.store import read_dataset, write_dataset
from stinger.workflow import benchmark_fit
from stinger.workflow.benchmark import benchmark, time_against_plain_loop
from stinger.workflow.benchmark_fit import Task, run
from stinger.workflow.benchmark_markdown import markdown, summary_table
from stinger.workflow.benchmark_plan import OURS, REFERENCE, BenchmarkOptions, Config, data_digest, make_plan
from stinger.workflow.benchmark_report import compose
from stinger.workflow.benchmark_store import UnitStore
from stinger.workflow.progress import Progress

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "export_a_recommended"


def plan_of(folder: Path = GOLDEN, **changes):
    options = BenchmarkOptions(train_dir=folder, out=Path("report.md"), **changes)
    dataset = read_dataset(folder, whole=True)
    return options, dataset, make_plan(options, dataset)


def results_of(plan, folder: Path = GOLDEN):
    return {unit.key: json.loads(json.dumps(run(Task(unit, str(folder), None)))) for unit in plan.units}


def written(tmp_path, dataset):
    """A dataset on disk, as `stinger explore` leaves one."""
    meta = {
        "kind": "recordings", "inputs": [{"name": "toy", "sha256": "0" * 64}],
        "subjects": [] if dataset.subject is None else [f"p{i}" for i in np.unique(dataset.subject)],
    }  # fmt: skip
    write_dataset(replace(dataset, meta=meta), tmp_path / "train")
    return tmp_path / "train"


def test_the_references_table_is_what_is_done_by_default():
    options, _, plan = plan_of(seeds=3)
    assert [f"{config.family}:{config.features}" for config in plan.configs] == [*REFERENCE, *OURS]
    assert plan.splits == ("random", "time", "group")
    assert set(plan.impossible) == {"session", "subject"}
    assert plan.shuffled_split == "group"
    kinds = [unit.kind for unit in plan.units]
    assert (kinds.count("score"), kinds.count("shuffled"), kinds.count("cost")) == (9 * 3 * 3, 9 * 3, 9)
    assert len({unit.key for unit in plan.units}) == len(plan.units)
    assert options.shuffled


def test_a_key_changes_with_whatever_the_result_depends_on(tmp_path):
    asked = {"configs": ["logreg:summary"], "splits": ["group"], "seeds": 1}
    keys = {plan_of(**asked)[2].units[0].key}
    assert plan_of(**asked)[2].units[0].key in keys
    for change in ({"test_size": 0.3}, {"embargo": False}, {"configs": ["logreg:rich"]}, {"splits": ["random"]}):
        keys.add(plan_of(**{**asked, **change})[2].units[0].key)
    assert len(keys) == 5
    toy = toy_dataset()
    other = replace(toy, windows=toy.windows + np.int16(1))
    assert data_digest(toy) != data_digest(other)
    assert data_digest(toy) != data_digest(replace(toy, groups=toy.groups + 1))
    # How a dataset is held out does not matter: every unit splits it anew.
    assert data_digest(toy) == data_digest(replace(toy, held_out=~toy.held_out))


@pytest.mark.parametrize(
    ("change", "error", "complaint"),
    [
        ({"configs": ["logreg"]}, UsageError, "'logreg' is not FAMILY:FEATURES"),
        ({"configs": ["nothing:rich"]}, UsageError, "unknown model family 'nothing'"),
        ({"configs": ["logreg:poor"]}, UsageError, "unknown feature set 'poor'"),
        ({"configs": ["rf:rich", "rf:rich"]}, UsageError, "names the same model twice"),
        ({"configs": ["torch-cnn:rich"]}, UsageError, "torch-cnn takes flatten"),
        ({"splits": ["weekday"]}, UsageError, "--split 'weekday' is unknown"),
        ({"splits": ["subject"]}, InputError, "cannot be split: the recordings do not all say who was recorded"),
        ({"seeds": 0}, UsageError, "--seeds must be 1 to 1000"),
        ({"test_size": 1.0}, UsageError, "--test-size must be above 0 and below 1"),
    ],
)
def test_what_cannot_be_planned_is_said(change, error, complaint):
    with pytest.raises(error, match=complaint):
        plan_of(**change)


def test_one_class_is_refused(tmp_path):
    toy = toy_dataset()
    folder = written(tmp_path, toy.rows(toy.labels == 0))
    with pytest.raises(InputError, match=r"has windows of 1 class\(es\), a benchmark needs two"):
        plan_of(folder)


SCIKIT = {
    "logreg": lambda seed: make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, random_state=seed)),
    "mlp": lambda seed: make_pipeline(
        StandardScaler(), MLPClassifier((64, 32), alpha=1.0, max_iter=200, random_state=seed)
    ),
    "et": lambda seed: ExtraTreesClassifier(50, min_samples_leaf=2, max_depth=14, random_state=seed),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("family", "room"), [("logreg", 1e-12), ("mlp", 1e-12), ("et", 0.05)])
def test_scores_are_those_of_a_direct_scikit_learn_run(family, room):
    """Leaves of trees are rounded to 1/128: a few of the 70 held-out windows then tie."""
    _, dataset, plan = plan_of(configs=[f"{family}:rich"], splits=["group", "time"], seeds=2, shuffled=False)
    x = feature_set("rich", [c.name for c in dataset.channels], dataset.window).compute(dataset.windows).astype(float)
    for unit in plan.units[1:4]:
        found = run(Task(unit, str(GOLDEN), None))
        parts = split(dataset, unit.split, seed=unit.seed)
        y = dataset.labels[parts.test]
        with threadpool_limits(1):
            fitted = SCIKIT[family](unit.seed).fit(x[parts.train], dataset.labels[parts.train])
        probability = fitted.predict_proba(x[parts.test])[:, 1]
        assert found["pr_auc"] == pytest.approx(average_precision_score(y, probability), abs=room)
        assert found["roc_auc"] == pytest.approx(roc_auc_score(y, probability), abs=room)
        assert (found["train_windows"], found["test_windows"]) == (parts.train.sum(), parts.test.sum())
        assert not sharing(dataset.session, dataset.start, dataset.window, parts.test, parts.train).any()
        if room < 1e-6:
            assert found["f1"] == pytest.approx(f1_score(y, probability >= found["threshold"]), abs=1e-12)


def test_the_threshold_does_not_look_at_the_test_part():
    """Swapping the held-out labels changes every score but not the threshold."""
    _, dataset, plan = plan_of(configs=["logreg:summary"], splits=["group"], seeds=1)
    unit = plan.units[0]
    x = feature_set("summary", [c.name for c in dataset.channels], 50).compute(dataset.windows)
    parts = split(dataset, "group", seed=1)
    swapped = replace(dataset, labels=np.where(parts.test, 1 - dataset.labels, dataset.labels).astype(np.uint8))
    honest = benchmark_fit._score(unit, dataset, x, parts)
    other = benchmark_fit._score(unit, swapped, x, parts)
    assert honest["threshold"] == other["threshold"] != 0.5
    assert honest["threshold_folds"] == 5
    assert honest["f1"] != other["f1"]


def test_shuffled_labels_give_chance(tmp_path):
    """On data that a model reads easily: without shuffling it is nearly perfect, with it it knows nothing."""
    toy = toy_dataset(per_class=100)
    folder = written(tmp_path, toy)
    options, dataset, plan = plan_of(folder, configs=["logreg:rich"], splits=["group"], seeds=8)
    report = compose(options, plan, dataset, results_of(plan, folder))
    learnt = report["splits"]["group"]["configs"]["logreg/rich"]["metrics"]["roc_auc"]["mean"]
    shuffled = report["shuffled"]["configs"]["logreg/rich"]
    assert learnt > 0.85
    assert abs(shuffled["metrics"]["roc_auc"]["mean"] - 0.5) < 0.12
    assert shuffled["at_chance"]
    assert "All models are at chance." in markdown(report)


def test_a_leak_raises_the_alarm():
    """Held-out scores of shuffled fits that stay high are what a leak looks like."""
    options, dataset, plan = plan_of(configs=["logreg:summary"], splits=["group"], seeds=4)
    results = results_of(plan)
    for number, unit in enumerate(plan.units):
        if unit.kind == "shuffled":
            results[unit.key]["roc_auc"] = 0.9 + 0.01 * number
    text = markdown(compose(options, plan, dataset, results))
    assert "**Above chance: logreg/summary. Something leaks" in text


def test_failures_are_in_the_report_not_skipped():
    options, dataset, plan = plan_of(configs=["logreg:summary", "logreg:rich"], splits=["group"], seeds=2)
    results = results_of(plan)
    broken = next(u for u in plan.units if u.kind == "score" and u.seed == 2 and u.config.features == "rich")
    results[broken.key] = {"error": "class 'shot' has no training windows; record more of it"}
    report = compose(options, plan, dataset, results)
    text = markdown(report)
    assert "**logreg/rich**, 1 seed(s) without a result: class 'shot' has no training windows" in text
    assert "(1 failed)" in summary_table(report)[1][1][1]
    for unit in plan.units:
        if unit.kind == "score":
            results[unit.key] = {"error": "nothing works"}
    text = markdown(compose(options, plan, dataset, results))
    assert "No model has a result." in text
    assert "2 seed(s) without a result: nothing works" in text


def test_too_few_groups_to_choose_a_threshold_are_named(tmp_path):
    """Class 1 in two groups, one of them held out: no folds, the threshold stays 0.5, and the report says so."""
    toy = toy_dataset(per_class=40)
    toy = replace(toy, groups=np.where(toy.labels == 1, toy.groups % 2, toy.groups + 2))
    folder = written(tmp_path, toy)
    options, dataset, plan = plan_of(folder, configs=["logreg:summary"], splits=["group"], seeds=1, shuffled=False)
    text = markdown(compose(options, plan, dataset, results_of(plan, folder)))
    assert "1 seed(s) with the threshold 0.5, not a chosen one: class 'class 1' has 1 group(s)" in text


def test_many_classes_are_compared_by_balanced_accuracy_and_people(tmp_path):
    toy = toy_dataset(classes=3, per_class=40)
    toy = replace(toy, subject=toy.groups % 4)
    folder = written(tmp_path, toy)
    options, dataset, plan = plan_of(folder, configs=["logreg:rich", "dt:rich"], seeds=3)
    assert plan.shuffled_split == "subject"
    report = compose(options, plan, dataset, results_of(plan, folder))
    assert report["headline"] == "balanced_accuracy"
    text = markdown(report)
    assert "## Split: subject" in text
    assert "macro F1" in text
    assert "chance is balanced accuracy 0.333. All models are at chance." in text
    assert report["splits"]["subject"]["configs"]["logreg/rich"]["metrics"]["accuracy"]["mean"] > 0.45  # of 0.333


def test_significance_is_paired_and_corrected():
    options, dataset, plan = plan_of(
        configs=["logreg:rich", "logreg:summary", "dt:rich"], splits=["group", "time"], seeds=3
    )
    report = compose(options, plan, dataset, results_of(plan))
    by_seed, by_group = report["significance"]["group"], report["significance"]["time"]
    assert by_seed["test"] == "corrected resampled t-test"
    assert by_group["test"] == "paired bootstrap over whole groups"
    for found in (by_seed, by_group):
        assert len(found["pairs"]) == 3
        assert all(pair["p"] is None or pair["p"] <= pair["p_holm"] <= 1 for pair in found["pairs"])
    first = by_seed["pairs"][0]
    configs = report["splits"]["group"]["configs"]
    means = [configs[name]["metrics"]["pr_auc"]["mean"] for name in ("logreg/rich", "logreg/summary")]
    assert first["difference"] == pytest.approx(means[0] - means[1])


def test_a_config_reads_back():
    assert Config.parse("rf:rich").name == "rf/rich"
    for text in ("", ":", "rf:", "rf:rich:more"):
        with pytest.raises(UsageError, match="is not FAMILY:FEATURES"):
            Config.parse(text)


def test_the_store_keeps_what_was_finished(tmp_path):
    path = tmp_path / "units.jsonl"
    with UnitStore(path) as store:
        store.add("a", "one", {"x": 0.1})
        store.add("b", "two", {"x": None})
    again = UnitStore(path)
    assert (len(again), again["a"], again["b"], "c" in again, again.damaged) == (2, {"x": 0.1}, {"x": None}, False, 0)
    # A crash in the middle of a line, then another run.
    path.write_bytes(path.read_bytes() + b'{"unit":"c","resu')
    with UnitStore(path) as store:
        assert store.damaged == 1
        store.add("d", "four", {"x": 4})
        store.add("a", "again", {"x": 9})
    last = UnitStore(path)
    assert [key for key in "abcd" if key in last] == ["a", "b", "d"]
    assert last["a"] == {"x": 0.1}


@settings(max_examples=40)
@given(st.binary(max_size=200))
def test_whatever_is_in_the_store_is_read_or_ignored(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("store") / "units.jsonl"
    good = b'{"unit":"k","name":"n","result":{"x":1}}\n'
    path.write_bytes(good + data)
    store = UnitStore(path)
    assert store["k"] == {"x": 1}
    with store:
        store.add("z", "last", {"y": 2})
    assert UnitStore(path)["z"] == {"y": 2}


def test_two_runs_do_not_write_to_one_store(tmp_path):
    path = tmp_path / "units.jsonl"
    with UnitStore(path), pytest.raises(InputError, match="another run is writing"), UnitStore(path):
        pass
    with UnitStore(path) as store:
        store.add("a", "one", {})
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="choose another --out"), UnitStore(tmp_path / "file" / "units.jsonl"):
        pass


def test_a_dataset_that_changes_in_mid_run_is_noticed(tmp_path):
    folder = written(tmp_path, toy_dataset(per_class=40))
    _, _, plan = plan_of(folder, configs=["logreg:summary"], splits=["group"], seeds=1)
    written(tmp_path, toy_dataset(per_class=40, seed=5))
    benchmark_fit._dataset.cache_clear()
    with pytest.raises(InputError, match="changed while it was benchmarked; run it again"):
        run(Task(plan.units[0], str(folder), None))


def test_an_interrupted_run_continues_and_a_finished_one_is_not_repeated(tmp_path, monkeypatch):
    options = BenchmarkOptions(
        GOLDEN, tmp_path / "a.md", configs=["logreg:summary", "dt:rich"], splits=["group"], seeds=2, backend="serial"
    )
    whole = benchmark(replace(options, out=tmp_path / "whole.md", fit_time=False), Progress())
    assert whole.done_before == 0
    calls = []

    def interrupted(task):
        if len(calls) == 4:
            raise KeyboardInterrupt
        calls.append(task.name)
        return run(task)

    monkeypatch.setattr("stinger.workflow.benchmark.run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        benchmark(replace(options, fit_time=False), Progress())
    assert not options.out.exists()
    assert not (tmp_path / "a.md.units" / "features").exists()
    monkeypatch.setattr("stinger.workflow.benchmark.run", run)
    resumed = benchmark(replace(options, fit_time=False), Progress())
    assert resumed.done_before == 4
    assert options.out.read_bytes() == (tmp_path / "whole.md").read_bytes()
    # Fit times are kept from when the unit was done: a third run repeats even those.
    benchmark(options, Progress())
    timed = options.out.read_bytes()
    assert benchmark(options, Progress()).done_before == len(UnitStore(tmp_path / "a.md.units" / "units.jsonl"))
    assert options.out.read_bytes() == timed


def test_timing_compares_the_same_work(tmp_path):
    options = BenchmarkOptions(
        GOLDEN, tmp_path / "a.md", configs=["logreg:summary"], splits=["group"], seeds=2, backend="serial"
    )
    timing = time_against_plain_loop(options, Progress())
    assert timing.units == 5
    assert timing.ratio == timing.plain_s / timing.parallel_s > 0
    assert list((tmp_path / "a.md.units").iterdir()) == []


def test_a_fit_that_diverges_and_a_constant_channel(tmp_path, monkeypatch):
    toy = toy_dataset(per_class=40)
    windows = toy.windows.copy()
    windows[:, :, 3] = 7
    folder = written(tmp_path, replace(toy, windows=windows))
    _, _, plan = plan_of(folder, configs=["logreg:rich", "ridge:rich", "rf:rich"], splits=["group"], seeds=1)
    for unit in plan.units:
        found = run(Task(unit, str(folder), None))
        assert "error" not in found
        assert "reason" not in found
    monkeypatch.setattr(
        "stinger.models.spec.TrainedModel.predict_proba_features", lambda self, x: np.full((len(x), 2), np.nan)
    )
    found = run(Task(plan.units[0], str(folder), None))
    assert found == {"error": "the fit diverged: its probabilities are not numbers; try another family or feature set"}
