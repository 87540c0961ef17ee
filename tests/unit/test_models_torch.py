"""Networks fitted by PyTorch: the same function in numpy, repeatable, and quiet about it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import toy_dataset

from stinger.models.torch_net import TorchCNNClassifier, TorchMLPClassifier

DATA = toy_dataset(classes=3, per_class=40, window=16)
FLAT = DATA.windows.reshape(len(DATA.windows), -1).astype(np.float64)


def network(kind: str, **options):
    options = {"epochs": 4, "random_state": 1, **options}
    return TorchMLPClassifier((7, 5), **options) if kind == "mlp" else TorchCNNClassifier(6, filters=(5, 4), **options)


def in_torch(model, X: np.ndarray) -> np.ndarray:
    """The fitted network as modules of PyTorch's, built here from its weights, in float32."""
    layers: list[torch.nn.Module] = []
    convolutional = isinstance(model, TorchCNNClassifier)
    for weight, bias in zip(model.coefs_[:-1], model.intercepts_[:-1], strict=True):
        if convolutional:
            layer = torch.nn.Conv1d(weight.shape[1], weight.shape[0], weight.shape[2], 2, weight.shape[2] // 2)
        else:
            layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
        layer.weight.data, layer.bias.data = torch.tensor(weight).float(), torch.tensor(bias).float()
        layers += [layer, torch.nn.ReLU()]
    if convolutional:
        layers += [torch.nn.AdaptiveAvgPool1d(1), torch.nn.Flatten()]
        X = X.reshape(len(X), -1, 6)
    last = torch.nn.Linear(model.coefs_[-1].shape[1], model.coefs_[-1].shape[0])
    last.weight.data, last.bias.data = (
        torch.tensor(model.coefs_[-1]).float(),
        torch.tensor(model.intercepts_[-1]).float(),
    )
    x = torch.tensor((X - model.mean_) / model.scale_).float()
    with torch.no_grad():
        return torch.nn.Sequential(*layers, last, torch.nn.Softmax(1))(
            x.transpose(1, 2) if convolutional else x
        ).numpy()


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_numpy_predicts_what_torch_does(kind):
    model = network(kind).fit(FLAT, DATA.labels)
    np.testing.assert_allclose(model.predict_proba(FLAT), in_torch(model, FLAT), rtol=0, atol=2e-6)


@settings(max_examples=25, deadline=None)
@given(
    window=st.integers(1, 33),
    channels=st.integers(1, 4),
    filters=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    kernel=st.sampled_from([1, 3, 5, 9]),
)
def test_convolutions_of_any_shape_agree_with_torch(window, channels, filters, kernel):
    random = np.random.default_rng(window)
    X, y = random.normal(size=(12, window * channels)), np.arange(12) % 2
    model = TorchCNNClassifier(channels, filters=filters, kernel_size=kernel, epochs=1, random_state=0).fit(X, y)
    x = torch.tensor((X.reshape(12, window, channels) - model.mean_) / model.scale_).transpose(1, 2)
    for weight, bias in zip(model.coefs_[:-1], model.intercepts_[:-1], strict=True):
        x = torch.relu(torch.conv1d(x, torch.tensor(weight), torch.tensor(bias), stride=2, padding=kernel // 2))
    logits = x.mean(dim=2) @ torch.tensor(model.coefs_[-1]).T + torch.tensor(model.intercepts_[-1])
    np.testing.assert_allclose(model.predict_proba(X), logits.softmax(1).numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_learns(kind):
    data = toy_dataset(classes=2, per_class=200)
    X = data.windows.reshape(len(data.windows), -1).astype(np.float64)
    if kind == "mlp":
        X = np.concatenate([data.windows.std(axis=1), np.abs(data.windows.astype(float)).mean(axis=1)], axis=1)
    model = network(kind, epochs=30).fit(X[~data.held_out], data.labels[~data.held_out])
    assert model.score(X[data.held_out], data.labels[data.held_out]) > 0.75


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_a_seed_repeats_the_fit_and_touches_nothing_of_torchs(kind):
    torch.manual_seed(5)
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    runs = [network(kind, random_state=seed).fit(FLAT, DATA.labels).predict_proba(FLAT) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0] != runs[2]).any()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_threads_do_not_change_the_weights():
    program = (
        "import hashlib, numpy as np\n"
        "from toy import toy_dataset\n"
        "from stinger.models.torch_net import TorchCNNClassifier\n"
        "d = toy_dataset(per_class=300)\n"
        "m = TorchCNNClassifier(6, epochs=2, batch_size=256, random_state=0)\n"
        "m.fit(d.windows.reshape(len(d.windows), -1), d.labels)\n"
        "print([hashlib.sha256(w.tobytes()).hexdigest() for w in m.coefs_])"
    )
    here = __file__.rpartition("/")[0]
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"OMP_NUM_THREADS": threads, "PYTHONPATH": here},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2")
    }
    assert len(outputs) == 1


def test_blocks_of_rows_do_not_change_the_answer(monkeypatch):
    model = network("cnn").fit(FLAT, DATA.labels)
    whole = model.predict_proba(FLAT)
    monkeypatch.setattr("stinger.models.torch_net._BLOCK_VALUES", 1)
    np.testing.assert_allclose(model.predict_proba(FLAT), whole, rtol=0, atol=1e-14)


def test_constant_features_and_channels_do_no_harm():
    X = FLAT.copy()
    X[:, 2::6] = 7
    for kind in ("mlp", "cnn"):
        model = network(kind).fit(X, DATA.labels)
        assert (model.scale_ > 0).all()
        assert np.isfinite(model.predict_proba(X)).all()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (TorchCNNClassifier(5), "not windows of 5 channels"),
        (TorchCNNClassifier(0), "not windows of 0 channels"),
        (TorchCNNClassifier(6, kernel_size=4), "kernel_size must be odd"),
        (TorchCNNClassifier(6, kernel_size=100_001), "smaller kernel_size"),
        (TorchCNNClassifier(6, filters=(4, 0)), "filters must be"),
        (TorchMLPClassifier((0,)), "hidden_layer_sizes must be"),
        (TorchMLPClassifier(epochs=0), "at least 1"),
        (TorchMLPClassifier(learning_rate=0), "learning_rate above 0"),
        (TorchMLPClassifier(alpha=-1), "alpha at least 0"),
        (TorchMLPClassifier(learning_rate=1e30, epochs=3), "lower learning_rate"),
    ],
)
def test_options_out_of_range_are_refused(model, message):
    with pytest.raises(ValueError, match=message):
        model.fit(FLAT, DATA.labels)
