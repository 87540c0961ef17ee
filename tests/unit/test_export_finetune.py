"""Weights of a chosen width, fine-tuned where rounding alone loses too much."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest
import torch
from cli_in_process import run
from toy import toy_dataset

from stinger.errors import CheckFailedError, InputError, UsageError
from stinger.models.spec import TrainedModel
from stinger.models.store import save_model
from stinger.models.train import train
from stinger.sessions.session import Channel
from stinger_export import quantisation
from stinger_export.bundle import export_bundle, load_bundle
from stinger_export.exercise import exercise_stream
from stinger_export.integer import finetune
from stinger_export.integer.model import ONE, Convolutional, IntegerModel, Network
from stinger_export.integer.quantise import floating_network, quantise, with_widths
from stinger_export.integer.quantise import widths as bits_of
from stinger_export.parity import Samples, integer_parity
from stinger_export.quantisation import quantise_within
from stinger_export.targets import make_exports

BOUND = 0.03


@cache
def sharp() -> TrainedModel:
    """A network that learnt wrong labels by heart: its probabilities turn sharply, and int8 weights are too coarse."""
    data = toy_dataset(per_class=120)
    wrong = np.random.default_rng(0).uniform(size=len(data.labels)) < 0.25
    data = replace(data, labels=np.where(wrong, 1 - data.labels, data.labels).astype(np.uint8))
    options = {"hidden_layer_sizes": (64, 32), "alpha": 0.0, "epochs": 60}
    return train(data, "torch-mlp", name="sharp", options=options, folds=0)


@cache
def gentle(family: str = "mlp", classes: int = 2) -> TrainedModel:
    return train(toy_dataset(classes=classes, per_class=60), family, name="gentle", folds=0)


@cache
def sharp_cnn() -> TrainedModel:
    """A convolutional one of the kind."""
    data = toy_dataset(per_class=120)
    wrong = np.random.default_rng(0).uniform(size=len(data.labels)) < 0.3
    data = replace(data, labels=np.where(wrong, 1 - data.labels, data.labels).astype(np.uint8))
    options = {"filters": (16, 16), "kernel_size": 5, "alpha": 0.0, "epochs": 120, "learning_rate": 0.01}
    return train(data, "torch-cnn", features="flatten", name="sharp_cnn", options=options, folds=0)


SHARP = {"mlp": sharp, "cnn": sharp_cnn}


@cache
def samples(kind: str = "mlp") -> Samples:
    return Samples(SHARP[kind](), exercise_stream(SHARP[kind]()))


def judge(integer: IntegerModel, kind: str = "mlp", bound: float = BOUND):
    return [integer_parity(samples(kind), integer, bound)]


def judge_cnn(integer: IntegerModel):
    return judge(integer, "cnn")


JUDGES = {"mlp": judge, "cnn": judge_cnn}


@cache
def within(kind: str = "mlp", weights: str = "8"):
    return quantise_within(SHARP[kind](), JUDGES[kind], weights=weights, max_loss=BOUND)


def widths(integer: IntegerModel) -> list[int]:
    assert isinstance(integer.body, Network | Convolutional)
    return [8 * layer.weight.dtype.itemsize for layer in integer.body.layers]


@pytest.mark.parametrize(("weights", "expected"), [("8", [8, 8, 8]), ("16", [16, 16, 16])])
def test_weights_have_the_width_asked_for(weights, expected):
    assert widths(quantise(gentle(), weights)) == expected
    assert widths(quantise(gentle())) == [8, 8, 8]
    assert 16 in widths(quantise(sharp()))


@pytest.mark.parametrize("kind", SHARP)
def test_fine_tuning_brings_int8_weights_below_the_bound(kind):
    (before,) = JUDGES[kind](quantise(SHARP[kind](), "8"))
    assert before.max_difference > BOUND
    assert "at most 0.03 is allowed" in before.failure
    integer, (after,), made = within(kind)
    assert after.failure is None
    assert after.max_difference <= BOUND
    assert widths(integer) == made["bits"] == [8, 8, 8]
    assert made["widening"] is None
    tuning = made["fine_tuning"]
    assert tuning["kept"] is True
    assert tuning["loss_before"] == pytest.approx(before.max_difference, rel=0.01)
    assert tuning["loss_after"] == pytest.approx(after.max_difference, rel=0.01)
    assert 1 <= tuning["epochs"] <= finetune.EPOCHS
    for layer in integer.body.layers:
        bound = np.abs(layer.weight.astype(np.int64)).sum(axis=1) * 32767 + np.abs(layer.bias.astype(np.int64))
        assert (bound < 2**31).all()


@pytest.mark.parametrize("kind", SHARP)
def test_windows_that_fine_tuning_never_saw_are_nearer_too(kind):
    windows = toy_dataset(per_class=400, seed=7).windows
    expected = SHARP[kind]().predict_proba(windows)
    loss = [
        np.abs(integer.decide(windows).probability / ONE - expected).max()
        for integer in (quantise(SHARP[kind](), "8"), within(kind)[0])
    ]
    assert loss[1] < loss[0]
    assert loss[1] <= BOUND


@pytest.mark.parametrize("kind", SHARP)
def test_the_same_model_is_fine_tuned_to_the_same_integers(kind, monkeypatch):
    monkeypatch.setattr(finetune, "EPOCHS", 3)
    torch.manual_seed(5)
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    integer = quantise(SHARP[kind](), "8")
    first, second = (finetune.fine_tune(SHARP[kind](), integer, 0.0) for _ in range(2))
    assert first.after < first.before
    assert first.epochs == 3
    assert first.integer.hash == second.integer.hash
    assert first == replace(second, integer=first.integer)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads


@cache
def small_cnn(classes: int, window: int, channels: int, filters: tuple[int, ...], kernel: int) -> TrainedModel:
    data = toy_dataset(classes=classes, per_class=60, window=window, channels=channels)
    data = replace(data, channels=tuple(Channel(f"c{i}", "count", 1.0) for i in range(channels)))
    options = {"filters": filters, "kernel_size": kernel, "epochs": 6}
    return train(data, "torch-cnn", features="flatten", options=options, folds=0)


@pytest.mark.parametrize(
    ("model", "weights"),
    [
        (partial(gentle, "mlp", 2), "8"),
        (partial(gentle, "mlp", 4), "16"),
        (partial(gentle, "logreg", 3), "8"),
        (partial(small_cnn, 2, 50, 6, (16, 32), 9), "8"),
        (partial(small_cnn, 3, 7, 2, (4, 5, 3), 3), "16"),
        (partial(small_cnn, 5, 59, 9, (7,), 5), "8"),
        (partial(small_cnn, 3, 2, 3, (9, 8), 9), "8"),
        (partial(small_cnn, 2, 13, 4, (5, 6), 1), "16"),
    ],
)
def test_the_pass_that_is_learnt_through_is_the_devices_arithmetic(model, weights):
    """Bit by bit, saturation of far inputs among it, and gradients reach the weights of every layer."""
    model = model()
    integer = quantise(model, weights)
    floating, bits = floating_network(model), widths(integer)
    far = (model.calibration.astype(np.int64) * 40).clip(-32768, 32767).astype(np.int16)
    rows = np.concatenate([model.calibration, far])
    descent = finetune._Descent(torch, floating, bits, floating.inputs(rows), model.predict_proba_features(rows))
    layers = floating.rounded(bits, model.calibration)
    logits = descent.logits(descent._inputs, layers)
    np.testing.assert_array_equal(logits.detach().numpy(), integer.body.scores(rows))
    finetune._loss(torch, logits, descent._expected).backward()
    for part in (*descent._weights, *descent._biases):
        assert part.grad.abs().max() > 0
        assert torch.isfinite(part.grad).all()


def test_large_networks_are_learnt_from_fewer_rows(monkeypatch):
    monkeypatch.setattr(finetune, "_WORK", 80_000 * 300 * finetune._FEWEST_EPOCHS)
    model = small_cnn(2, 50, 6, (16, 32), 9)
    assert 80_000 < floating_network(model).products < 83_000
    done = finetune.fine_tune(model, quantise(model, "8"), 0.0)
    assert 280 <= done.rows <= 300
    assert done.epochs == finetune._FEWEST_EPOCHS


def test_what_is_near_enough_is_left_alone():
    integer, _, made = quantise_within(
        gentle(), lambda i: [integer_parity(Samples(gentle(), exercise_stream(gentle())), i)], max_loss=BOUND
    )
    assert integer.hash == quantise(gentle()).hash
    assert made == {"weights": "auto", "bits": [8, 8, 8], "widening": None, "fine_tuning": None}


@cache
def widened(kind: str):
    """With a bound that what is near enough on the calibration windows does not meet."""
    (before,) = judge(quantise(SHARP[kind]()), kind)
    bound = 0.9 * before.max_difference
    return before, bound, quantise_within(SHARP[kind](), partial(judge, kind=kind, bound=bound), max_loss=bound)


@pytest.mark.parametrize("kind", SHARP)
def test_wider_weights_are_tried_before_fine_tuning(kind):
    before, bound, (integer, (after,), made) = widened(kind)
    assert before.max_difference > bound >= after.max_difference
    assert after.failure is None
    assert made["fine_tuning"] is None
    start = widths(quantise(SHARP[kind]()))
    ordered = bits_of(floating_network(SHARP[kind]()))
    widening = made["widening"]
    assert widening["from"] == start
    assert widening["kept"] is True
    # The cheapest one that is near enough, and nothing dearer.
    place = ordered.index(tuple(start)) + widening["tried"]
    assert ordered[place] == tuple(widths(integer)) == tuple(made["bits"])
    for bits in ordered[ordered.index(tuple(start)) : place]:
        (cheaper,) = judge(with_widths(SHARP[kind](), floating_network(SHARP[kind]()), bits), kind, bound)
        assert cheaper.failure is not None
    assert widening["loss_before"] == pytest.approx(before.max_difference, rel=0.01)
    assert widening["loss_after"] == pytest.approx(after.max_difference, rel=0.01)


def test_only_so_many_wider_ones_are_tried_and_the_nearest_is_tuned():
    asked = []

    def never(integer: IntegerModel):
        asked.append(widths(integer))
        return [replace(p, failure="too far") for p in judge(integer)]

    integer, (parity,), made = quantise_within(sharp(), never, max_loss=BOUND)
    start = asked[0]
    tried = asked[1:-1]
    assert len(tried) == made["widening"]["tried"] >= 1
    assert tried[-1] == [16, 16, 16]
    assert start not in tried
    assert made["fine_tuning"]["loss_before"] == made["widening"]["loss_after"] < made["widening"]["loss_before"]
    assert parity.failure == "too far (even with wider weights and after fine-tuning them)"
    assert parity.max_difference <= made["widening"]["loss_after"] * 1.01
    assert widths(integer) == made["bits"]


def test_deep_networks_have_a_bounded_number_of_wider_choices():
    options = {"hidden_layer_sizes": (3,) * 5, "epochs": 1}
    model = train(toy_dataset(per_class=30), "torch-mlp", name="deep", options=options, folds=0)
    ordered = bits_of(floating_network(model))
    assert len(ordered) == 64
    wider = quantisation._wider(model, with_widths(model, floating_network(model), ordered[3]), "auto")
    assert wider == [*ordered[4:11], ordered[-1]]
    assert quantisation._wider(model, with_widths(model, floating_network(model), ordered[-2]), "auto") == ordered[-1:]
    assert quantisation._wider(model, quantise(model, "8"), "8") == []


def test_what_does_not_get_better_is_not_kept():
    def never(integer: IntegerModel):
        return [replace(p, max_difference=1.0, failure="too far") for p in judge(integer)]

    integer, (parity,), made = quantise_within(sharp(), never, weights="8", max_loss=BOUND)
    assert made["fine_tuning"]["kept"] is False
    assert integer.hash == quantise(sharp(), "8").hash
    assert parity.failure == "too far (even after fine-tuning its weights; --weights auto may give them more bits)"


@pytest.mark.parametrize("kind", SHARP)
def test_the_bundle_says_so_and_its_bytes_repeat(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(finetune, "EPOCHS", 10)
    model = replace(SHARP[kind](), held_out=None)
    bundles = [
        export_bundle(model, tmp_path / name, targets=["integer", "mlmd"], weights="8").path for name in ("a", "b")
    ]
    files = [{p.name: p.read_bytes() for p in path.rglob("*") if p.is_file()} for path in bundles]
    assert files[0] == files[1]
    made = load_bundle(bundles[0]).manifest["quantisation"]
    assert made["bits"] == [8, 8, 8]
    assert made["fine_tuning"]["loss_before"] > BOUND >= made["fine_tuning"]["loss_after"]
    card = (bundles[0] / "README.md").read_text()
    assert "weights of 8, 8, 8 bits" in card
    assert "fine-tuned" in card
    assert f"{made['fine_tuning']['loss_before']:g}" in card


def test_the_bundle_tells_what_wider_weights_did(tmp_path):
    _, bound, (integer, _, made) = widened("mlp")
    model = replace(sharp(), held_out=None)
    bundle = export_bundle(model, tmp_path / "b", targets=["integer"], max_loss=bound)
    assert bundle.manifest["quantisation"] == made
    assert load_bundle(bundle.path).integer.hash == integer.hash
    card = (bundle.path / "README.md").read_text()
    assert f"Beginning with {', '.join(map(str, made['widening']['from']))} bits" in card
    assert f"{made['widening']['loss_before']:g} before, {made['widening']['loss_after']:g} after" in card
    save_model(model, tmp_path / "model")
    common = ("export", tmp_path / "model", "--target", "integer", "--no-cost", "--max-loss", bound, "--out")
    code, out, complaints = run(*common, tmp_path / "cli")
    assert (code, complaints) == (0, [])
    assert "; widened from " in out
    assert "fine-tuned" not in out


def without_torch(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: None if n == "torch" else found(n, *a))


def test_without_torch_the_line_says_what_to_install(monkeypatch, tmp_path):
    without_torch(monkeypatch)
    with pytest.raises(CheckFailedError) as caught:
        make_exports(replace(sharp(), held_out=None), ["integer"], weights="8")
    text = str(caught.value)
    assert "at most 0.03 is allowed (fine-tuning the weights for it needs torch; install stinger-ml[torch])" in text
    assert "\n" not in text
    assert export_bundle(gentle(), tmp_path / "b", targets=["integer"]).manifest["quantisation"]["fine_tuning"] is None


def test_widths_that_make_no_sense_are_refused():
    with pytest.raises(UsageError, match="'4' is unknown; choose auto, 8, 16"):
        make_exports(gentle(), weights="4")
    with pytest.raises(UsageError, match="'4' is unknown"):
        quantise(gentle(), "4")
    with pytest.raises(UsageError, match="rf is made of trees"):
        make_exports(gentle("rf"), weights="8")
    with pytest.raises(InputError, match="no weights to fine-tune"):
        finetune.fine_tune(gentle("rf"), quantise(gentle("rf")), 0.01)


def test_through_the_command_line(monkeypatch, tmp_path):
    save_model(replace(sharp(), held_out=None), tmp_path / "model")
    common = ("export", tmp_path / "model", "--target", "integer", "--no-cost", "--out")
    code, out, complaints = run(*common, tmp_path / "b8", "--weights", "8", "--json")
    assert (code, complaints) == (0, [])
    made = json.loads(out)["quantisation"]
    assert made["weights"] == "8"
    assert made["fine_tuning"]["loss_before"] > BOUND >= made["fine_tuning"]["loss_after"]
    code, out, _ = run(*common, tmp_path / "auto")
    assert code == 0
    assert "fine-tuned" not in out
    code, _, complaints = run(*common, tmp_path / "no", "--weights", "12")
    assert (code, len(complaints)) == (2, 1)
    without_torch(monkeypatch)
    code, _, complaints = run(*common, tmp_path / "no", "--weights", "8")
    assert (code, len(complaints)) == (1, 1)
    assert "install stinger-ml[torch]" in complaints[0]
    assert not (tmp_path / "no").exists()
