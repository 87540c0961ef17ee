"""PyTorch's networks on real recordings: what ONNX and integers cost of their accuracy on windows never met."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from conftest import DATA, NICLA, run
from stinger.features.sets import ON_DEVICE
from stinger.models.train import train
from stinger.windows.dataset import Dataset
from stinger.windows.store import read_dataset
from stinger_export.onnx_graph import run_onnx
from stinger_export.targets import HeldOut, make_exports

#: Largest loss of accuracy, and the windows held out at least: that many make a point out of five windows.
LOSS, WINDOWS = 0.005, 500
#: Of each recording how it is cut, so that people or whole recordings are held out, and what a network must be worth.
RECORDINGS = {
    "shoulder": (
        (
            *(DATA / "shoulder_exercises.zip", "--rate", "50", "--units", "acc=g,gyro=rad/s", "--window-ms", "2000"),
            *("--pattern", "{label}.s{subject}_*.csv", "--split", "subject"),
        ),
        0.7,
    ),
    "nicla": ((NICLA, "--split", "session", "--stride", "0.25", "--test-size", "0.4"), 0.95),
}
NETWORKS = (("torch-mlp", "rich"), ("torch-mlp", "coupled"), ("torch-cnn", "flatten"))


@dataclass(frozen=True)
class Recording:
    """Windows of real recordings, as `stinger explore` cuts them."""

    place: Path
    dataset: Dataset
    least: float


@pytest.fixture(scope="module", params=RECORDINGS)
def recording(request, tmp_path_factory) -> Recording:
    options, least = RECORDINGS[request.param]
    place = tmp_path_factory.mktemp(request.param)
    assert run("explore", *options, "--plots", "none", "--outdir", "out", cwd=place).code == 0
    dataset = read_dataset(place / "out" / "train")
    held_out = dataset.labels[dataset.held_out]
    assert len(held_out) >= WINDOWS
    assert np.bincount(held_out).max() / len(held_out) < 0.3  # chance
    assert not set(dataset.session[dataset.held_out]) & set(dataset.session[dataset.training])
    return Recording(place, dataset, least)


@pytest.mark.parametrize(("family", "features"), NETWORKS)
def test_torch_networks_keep_their_accuracy(recording, family, features):
    dataset = recording.dataset
    windows, labels = dataset.windows[dataset.held_out], dataset.labels[dataset.held_out]
    model = train(dataset, family, features=features, folds=0)
    made = make_exports(model, held_out=HeldOut(windows, labels))
    assert ("integer" in made.targets) == (features in ON_DEVICE)
    accuracy = {level: scores["accuracy"] for level, scores in made.held_out.items()}
    accuracy["L1"] = float((run_onnx(made.onnx, windows)[0] == labels).mean())
    assert accuracy["L0"] == pytest.approx(model.spec.metrics["accuracy"], abs=1e-5)
    assert accuracy["L0"] >= recording.least
    assert accuracy.keys() == ({"L0", "L1", "L2"} if "integer" in made.targets else {"L0", "L1"})
    for level in accuracy.keys() - {"L0"}:
        assert accuracy["L0"] - accuracy[level] <= LOSS, (level, accuracy)


@pytest.mark.parametrize("recording", ["shoulder"], indirect=True)
def test_the_command_line_says_the_same(recording):
    data = ("--train-dir", "out/train")
    trained = run("train", *data, "--model", "torch-mlp", "--features", "coupled", "--out", "m", cwd=recording.place)
    assert trained.code == 0, trained.err
    options = ("--out", "b", "--data", "out/train", "--no-cost", "--json")
    exported = run("export", "m", *options, cwd=recording.place)
    assert exported.code == 0, exported.err
    said = exported.json
    assert {"onnx", "integer", "mlmd", "emlearn"} <= set(said["targets"])
    measured = {entry["target"]: entry for entry in said["parity"]}
    assert measured["integer, held out"]["windows"] == recording.dataset.held_out.sum()
    loss = said["held_out"]["L0"]["accuracy"] - said["held_out"]["L2"]["accuracy"]
    assert said["held_out"]["L0"]["accuracy"] >= recording.least
    assert loss <= LOSS
    written = json.loads((recording.place / "b" / "manifest.json").read_text())
    assert written["held_out"] == said["held_out"]
