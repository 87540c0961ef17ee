"""Training a transformer: it repeats, it can be interrupted, and it starts where it was told to."""

import importlib.util
import json
import re
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import ast_cases
import huggingface_hub
import numpy as np
import pytest
import transformers
from cli_in_process import run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from stinger.errors import InputError, UsageError
from stinger.features.spectrogram import SpectrogramSpec
from stinger.models.ast import train as training
from stinger.models.ast.folder import new_net, read_table, save_folder
from stinger.models.ast.libraries import alone
from stinger.models.ast.model import AstModel
from stinger.models.ast.parts import divide, few
from stinger.models.ast.pretrained import pretrained
from stinger.models.ast.sizes import SIZES, Size
from stinger.models.ast.train import Schedule, newest_checkpoint, train
from stinger.sessions.write import write_sessions
from stinger.workflow import fine_tune as job
from stinger.workflow.fine_tune import FineTuneOptions, fine_tune
from stinger.workflow.progress import Progress

QUICK = Schedule(steps=6, evaluate_every=2, learning_rate=3e-3, patience=0)


@pytest.fixture(scope="module")
def examples():
    cut = ast_cases.examples()
    return replace(cut, inputs=cut.inputs.as_spec(cut.inputs.measured(np.arange(len(cut)))))


@pytest.fixture(scope="module")
def parts(examples):
    return few(examples, divide(examples), 3, seed=1)


@pytest.fixture(scope="module")
def once(examples, parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("once")
    return train(examples, parts, ast_cases.SHAPE, QUICK, folder), folder


@pytest.fixture
def small_tiny(monkeypatch):
    """`--from-scratch tiny` as the small transformer of these tests."""
    monkeypatch.setitem(SIZES, "tiny", Size(ast_cases.SHAPE, ast_cases.SPEC))


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    folder = tmp_path_factory.mktemp("field")
    for session in ast_cases.sessions():
        write_sessions([session], folder / f"{session.name}.mcap")
    return folder


def same(a, b):
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(bool((ours[key] == theirs[key]).all()) for key in ours)


def test_the_same_seed_gives_the_same_weights(examples, parts, once, tmp_path):
    trained, _ = once
    again = train(examples, parts, ast_cases.SHAPE, QUICK, tmp_path / "a")
    assert same(trained.net, again.net)
    assert trained.history == again.history
    assert [row["step"] for row in trained.history] == [2, 4, 6]
    assert set(trained.history[0]) == {"step", "training_loss", "validation_loss", "validation_accuracy"}
    other = train(examples, parts, ast_cases.SHAPE, replace(QUICK, seed=2), tmp_path / "b")
    assert not same(trained.net, other.net)


@pytest.mark.parametrize("interrupted_at", [1, 3, 5])
def test_an_interrupted_run_ends_in_the_same_weights(examples, parts, once, tmp_path, interrupted_at):
    def stop(done, total):
        assert total == QUICK.steps
        if done == interrupted_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(examples, parts, ast_cases.SHAPE, QUICK, tmp_path, show=stop)
    newest = newest_checkpoint(tmp_path)
    assert (None if newest is None else newest.name) == {1: None, 3: "checkpoint-2", 5: "checkpoint-4"}[interrupted_at]
    steps = []
    trained = train(
        examples, parts, ast_cases.SHAPE, QUICK, tmp_path, resume=True, show=lambda done, _: steps.append(done)
    )
    assert steps[0] == (1 if newest is None else interrupted_at)
    assert same(trained.net, once[0].net)
    assert trained.history == once[0].history
    assert trained.best_step == once[0].best_step


def test_a_run_that_was_moved_still_knows_its_best_weights(examples, parts, tmp_path):
    # Every step towards the one class of training is one away from that of validation.
    examples = replace(examples, labels=np.where(parts.train, 0, 1))
    wild = replace(QUICK, steps=5, learning_rate=0.01, evaluate_every=1, warmup=0.0)
    whole = train(examples, parts, ast_cases.SHAPE, wild, tmp_path / "whole")
    assert whole.best_step == 1

    def stop(done, _):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(examples, parts, ast_cases.SHAPE, wild, tmp_path / "here", show=stop)
    (tmp_path / "here").rename(tmp_path / "there")
    # One that was interrupted after its last checkpoint has nothing left to do but to remember.
    (tmp_path / "whole").rename(tmp_path / "ended")
    for place in ("there", "ended"):
        moved = train(examples, parts, ast_cases.SHAPE, wild, tmp_path / place, resume=True)
        assert moved.best_step == whole.best_step
        assert moved.history == whole.history
        assert same(moved.net, whole.net)


def test_a_checkpoint_of_another_network_is_refused(examples, parts, tmp_path):
    def stop(done, _):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(examples, parts, ast_cases.SHAPE, QUICK, tmp_path, show=stop)
    deeper = replace(ast_cases.SHAPE, num_hidden_layers=2)
    with pytest.raises(InputError, match=r"checkpoint-2: .* is not what the network has; begin again"):
        train(examples, parts, deeper, QUICK, tmp_path, resume=True)


def test_it_stops_early_and_keeps_the_best_weights(examples, parts, tmp_path):
    # Steps this large only make it worse after the first look.
    wild = replace(QUICK, steps=40, learning_rate=0.5, patience=2, evaluate_every=1, warmup=0.0)
    trained = train(examples, parts, ast_cases.SHAPE, wild, tmp_path)
    losses = [row["validation_loss"] for row in trained.history]
    assert trained.steps < 40
    assert trained.best_step == 1 + int(np.argmin(losses))
    assert trained.steps == trained.best_step + 2
    spec = ast_cases.spec(spectrogram=examples.inputs.spec)
    answers = AstModel(spec, trained.net).predict_proba_inputs(examples.inputs.take(np.flatnonzero(parts.valid)))
    loss = -np.log(answers[np.arange(len(answers)), examples.labels[parts.valid]]).mean()
    assert loss == pytest.approx(min(losses), abs=1e-4)


def test_tensorboard_has_what_happened(once):
    trained, folder = once
    events = EventAccumulator(str(folder / training.LOGS))
    events.Reload()
    said = {event.step: event.value for event in events.Scalars("eval/loss")}
    assert said == {row["step"]: pytest.approx(row["validation_loss"], abs=1e-5) for row in trained.history}
    assert {"train/loss", "train/learning_rate", "eval/accuracy"} <= set(events.Tags()["scalars"])


def test_training_goes_on_from_a_folder(examples, parts, tmp_path):
    folder = ast_cases.saved(tmp_path / "model", seed=7, classes=ast_cases.CLASSES)
    with pretrained(str(folder)) as checked:
        trained = train(examples, parts, checked, replace(QUICK, steps=1, learning_rate=1e-12), tmp_path / "run")
    assert same(trained.net, AstModel.load(folder).net) or np.allclose(
        trained.net.classifier.dense.weight.detach(), AstModel.load(folder).net.classifier.dense.weight.detach()
    )


def test_a_head_of_other_classes_is_replaced(examples, parts, tmp_path):
    (tmp_path / "audio").mkdir()
    names = tuple(f"sound {i}" for i in range(20))
    with alone(1, 3):
        net = new_net(ast_cases.SHAPE, names)
        save_folder(net, ast_cases.spec(classes=names), tmp_path / "audio")
    # As published ones are: weights named as of old, an extractor, and nothing of ours.
    (tmp_path / "audio" / "stinger.json").unlink()
    assert any(".encoder.layer.0." in name for name in read_table(tmp_path / "audio" / "model.safetensors"))
    extractor = transformers.ASTFeatureExtractor(num_mel_bins=32, max_length=64, mean=-3.0, std=2.0)
    extractor.save_pretrained(tmp_path / "audio")
    with pretrained(str(tmp_path / "audio")) as checked:
        trained = train(examples, parts, checked, replace(QUICK, steps=1, learning_rate=1e-12), tmp_path / "run")
    assert (checked.labels, checked.about) == (20, None)
    assert checked.spectrogram == SpectrogramSpec(frames=64, mel_bins=32, mean=-3.0, std=2.0)
    ours, theirs = trained.net.state_dict(), net.state_dict()
    assert ours["classifier.dense.weight"].shape == (3, 16)
    body = [key for key in ours if not key.startswith("classifier.dense")]
    assert all(np.allclose(ours[key], theirs[key], atol=1e-6) for key in body)


# ---- the whole job


def test_the_job_and_its_files(field, small_tiny, tmp_path):
    results = [
        fine_tune(FineTuneOptions([field], out=tmp_path / name, from_scratch="tiny", debug=True)) for name in "ab"
    ]
    one, two = ({p.name: p.read_bytes() for p in r.folder.rglob("*") if p.is_file()} for r in results)
    logs = [name for name in one if name.startswith("events.")]
    assert {name: data for name, data in one.items() if name not in logs} == {
        name: data for name, data in two.items() if not name.startswith("events.")
    }
    result = results[0]
    assert result.tarball.name == f"ast-tiny-debug-{re.search('[0-9a-f]{12}', result.tarball.name)[0]}.model.tar.gz"
    assert not (result.folder / "checkpoints").exists()
    content = json.loads((result.folder / "metrics.json").read_text())
    assert content == json.loads(json.dumps(result.content))
    assert content["windows"] == {"training": 12, "validation": 9, "held-out": 9}
    said = content["recordings"]
    assert not {*said["training"]} & {*said["held-out"]}
    assert set(content["metrics"]) >= {"accuracy", "macro_precision", "macro_recall", "macro_f1"}
    hits = (result.probability.argmax(axis=1) == result.labels).mean()
    assert result.metrics["accuracy"] == pytest.approx(hits, abs=1e-6)
    assert (result.folder / "confusion.png").read_bytes().startswith(b"\x89PNG")
    # What was saved says of the held-out windows what was measured.
    cut = ast_cases.examples()
    parts = few(cut, divide(cut), 4, 1)
    inputs = cut.inputs.as_spec(result.model.spec.spectrogram).take(np.flatnonzero(parts.test))
    for path in (result.folder, result.folder / "model", result.tarball):
        np.testing.assert_array_equal(AstModel.load(path).predict_proba_inputs(inputs), result.probability)


class Interrupting(Progress):
    """Progress of somebody who presses Ctrl-C."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def bar(self, text):
        @contextmanager
        def bar():
            def show(done, _):
                if text == "steps" and done == self.at:
                    raise KeyboardInterrupt

            yield show

        return bar()


def test_the_job_is_resumed_with_the_same_options_only(field, small_tiny, tmp_path):
    options = FineTuneOptions([field], out=tmp_path / "a", from_scratch="tiny", debug=True)
    whole = fine_tune(replace(options, out=tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        fine_tune(options, Interrupting(7))
    assert (options.folder / "checkpoints" / "checkpoint-5").is_dir()
    assert job.can_resume(options)
    with pytest.raises(InputError, match=r"a was begun with another seed \(1, now 2\)"):
        fine_tune(replace(options, resume=True, seed=2))
    with pytest.raises(InputError, match="begun with another steps"):
        fine_tune(replace(options, resume=True, steps=20))
    with pytest.raises(InputError, match=r"begun with another (spectrogram|data_hash)"):
        fine_tune(replace(options, inputs=[field / f"{i}.mcap" for i in (1, 2, 3)], resume=True))
    resumed = fine_tune(replace(options, resume=True))
    assert same(resumed.model.net, whole.model.net)
    assert resumed.tarball.read_bytes() == whole.tarball.read_bytes()
    assert not job.can_resume(options)
    with pytest.raises(InputError, match="the run has ended, there is nothing to resume"):
        fine_tune(replace(options, resume=True))
    with pytest.raises(InputError, match="holds no run to resume"):
        fine_tune(replace(options, out=tmp_path / "none", resume=True))


def test_fine_tuning_from_a_folder_and_a_file(field, small_tiny, tmp_path):
    first = fine_tune(FineTuneOptions([field], out=tmp_path / "first", from_scratch="tiny", debug=True))
    for start in (first.folder, first.tarball):
        options = FineTuneOptions([field], out=tmp_path / "second", pretrained=str(start), debug=True)
        second = fine_tune(options)
        assert second.model.spec.start == "folder"
        assert second.model.spec.name == "ast-fine-tuned-debug"
        assert second.model.spec.spectrogram == first.model.spec.spectrogram
        assert second.content["recipe"]["learning_rate"] == 5e-5
        assert second.content["recipe"]["start_id"] in first.tarball.name
        assert second.model.spec.trained_on == first.model.spec.trained_on
    # Held out by another seed is what the first run has learnt from.
    with pytest.raises(InputError, match="has learnt from 1 of the 1 recordings that would be held out"):
        fine_tune(replace(options, seed=2))


# ---- as typed


def test_the_hub_out_of_reach_is_one_line(field, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.HfApi, "__init__", _nobody(huggingface_hub.HfApi.__init__))
    code, _, complaints = run("train", field, "--family", "ast", "--debug")
    assert code == 3
    [line] = complaints
    assert line.startswith("stinger: cannot fetch MIT/ast-finetuned-audioset-10-10-0.4593 from the HuggingFace hub (")
    assert line.endswith("; give a local folder with --pretrained, or train from nothing with --from-scratch tiny")
    assert not (tmp_path / "ml_out").exists()


def _nobody(original):
    def init(self, *arguments, **options):
        original(self, *arguments, **{**options, "endpoint": "http://127.0.0.1:9"})

    return init


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--from-scratch", "huge"], 2, "size 'huge' is unknown; choose tiny, small, base"),
        (["--from-scratch", "tiny", "--pretrained", "x"], 2, "choose one"),
        (["--pretrained", "nowhere"], 3, "--pretrained nowhere: no such folder or file"),
        (["--pretrained", "."], 3, "config.json: it does not exist"),
        (["--from-scratch", "tiny", "--features", "rich"], 2, "--features is for other families"),
        (["--from-scratch", "tiny", "--trees", "3"], 2, "--trees is for other families"),
        (["--from-scratch", "tiny", "--split", "random"], 2, "learns those by heart; choose session or group"),
        (["--from-scratch", "tiny", "--steps", "0"], 2, "--steps must be 1 to"),
        (["--from-scratch", "tiny", "--learning-rate", "0"], 2, "--learning-rate must be above 0"),
        (["--from-scratch", "tiny", "--threads", "0"], 2, "--threads must be 1 to 64"),
        (["--from-scratch", "tiny", "--channels", "mx,qx"], 2, "has no channel 'qx'"),
        (["--from-scratch", "tiny", "--window-ms", "9000"], 3, "0 labelled windows of 9 s"),
        (["--from-scratch", "tiny", "--train-dir", "x"], 2, "two places to learn from"),
        (["--from-scratch", "tiny", "--resume"], 3, "holds no run to resume"),
        (["--from-scratch", "tiny", "--out", "mine"], 3, "is not empty and was not made by stinger"),
    ],
)
def test_mistakes_are_one_line(field, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    done, _, complaints = run("train", field, "--family", "ast", *arguments)
    [line] = complaints
    assert (done, message in line) == (code, True), line
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["mine", "thesis.txt"]


@pytest.mark.parametrize("arguments", [["x.mcap"], ["--debug"], ["--from-scratch", "tiny"], ["--resume"]])
def test_other_families_refuse_what_is_not_theirs(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    code, _, complaints = run("train", "--model", "rf", *arguments)
    assert code == 2
    assert re.fullmatch(r"stinger: \S+ is for --family ast; rf does not have it, leave it out", complaints[0])


@pytest.mark.parametrize("missing", ["transformers", "accelerate", "torch", "tensorboard"])
def test_what_is_not_installed_is_named(field, tmp_path, monkeypatch, missing):
    monkeypatch.chdir(tmp_path)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == missing else find(name, *rest))
    code, _, complaints = run("train", field, "--family", "ast", "--from-scratch", "tiny")
    assert (code, complaints) == (
        2,
        [f"stinger: ast needs {missing}; install stinger-ml[ast] or choose another family"],
    )


def test_nothing_heavy_is_imported_before_it_is_needed():
    program = "import sys, stinger.cli, stinger.workflow.fine_tune; print([m for m in sys.modules if m in %r])"
    heavy = ("torch", "transformers", "datasets", "huggingface_hub", "accelerate")
    command = [sys.executable, "-c", program % (heavy,)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent)
    assert done.stdout == "[]\n"


def test_the_job_is_what_the_command_does(field, small_tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, complaints = run("train", field, "--family", "ast", "--debug", "--from-scratch", "tiny")
    assert (code, complaints) == (0, [])
    assert job.DEBUG_OUT.is_dir()
    assert "windows: 12 to train on, 9 to know when to stop, 9 held out (by session)" in out
    assert "macro F1" in out
    assert re.search(r"one file: ml_out/ast-debug/ast-tiny-debug-[0-9a-f]{12}\.model\.tar\.gz", out)
    code, out, _ = run(
        "train", *sorted(field.glob("*.mcap")), "--model", "ast", "--debug", "--from-scratch", "tiny", "--json"
    )
    assert code == 0
    assert json.loads(out)["windows"] == {"training": 12, "validation": 9, "held-out": 9}


def test_options_of_the_schedule():
    with pytest.raises(UsageError):
        FineTuneOptions([], from_scratch="tiny", patience=-1)
    assert FineTuneOptions([]).schedule == Schedule(300, 2, 5e-5)
    assert FineTuneOptions([], debug=True).schedule.steps == 10
    assert FineTuneOptions([], debug=True).folder != FineTuneOptions([]).folder
