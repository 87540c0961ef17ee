"""The ONNX graph: integer features equal in every bit, probabilities within 1e-5, no label flips, same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from toy import extreme_windows, toy_dataset

import stinger
from stinger.errors import InputError
from stinger.models.policy import Policy
from stinger.models.spec import TrainedModel
from stinger.models.train import train
from stinger_export.forms import FORESTS, NETWORKS
from stinger_export.onnx_graph import (
    TARGET_OPSET,
    TARGET_OPSET_ML,
    run_graph,
    run_onnx,
    to_onnx,
    to_onnx_features,
)

CASES = json.loads((Path(__file__).parents[1] / "vectors" / "features.json").read_text())["cases"]
FAMILIES = (*NETWORKS, *FORESTS)


@cache
def trained(family: str, classes: int = 2) -> TrainedModel:
    return train(toy_dataset(classes=classes), family, name=f"toy_{family.replace('-', '_')}")


@pytest.mark.parametrize(
    ("window", "channels"), [(50, 6), (50, 3), (59, 6), (59, 3), (7, 6), (7, 3), (2, 6), (1024, 6)]
)
@pytest.mark.parametrize("features", ["summary", "rich"])
def test_features_in_the_graph_equal_numpy_in_every_bit(window, channels, features):
    dataset = toy_dataset(window=window, channels=channels, per_class=40)
    model = train(dataset, "logreg", features=features)
    rng = np.random.default_rng(1)
    noise = rng.integers(-32768, 32768, (60, window, channels)).astype(np.int16)
    windows = np.concatenate([dataset.windows, extreme_windows(window, channels), noise])
    [found] = run_graph(to_onnx_features(model), windows)
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found, model.spec.feature_set.compute(windows))


def test_features_in_the_graph_equal_the_vectors():
    base = trained("logreg")
    by_shape: dict[tuple[str, int, tuple[str, ...]], list[dict]] = {}
    for case in CASES:
        key = (case["feature_set"], len(case["samples"]), tuple(case["channels"]))
        by_shape.setdefault(key, []).append(case)
    for (features, window, names), cases in by_shape.items():
        channels = tuple(replace(base.spec.channels[0], name=name) for name in names)
        spec = replace(base.spec, features=features, window=window, channels=channels)
        windows = np.array([case["samples"] for case in cases], dtype=np.int16)
        [found] = run_graph(to_onnx_features(replace(base, spec=spec)), windows)
        assert found.tolist() == [case["features"] for case in cases]


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("family", FAMILIES)
def test_onnxruntime_agrees_with_the_estimator(family, classes):
    model = trained(family, classes)
    windows = toy_dataset(classes=classes, per_class=1600 // classes, seed=5).windows
    windows = np.concatenate([windows, extreme_windows(50, 6)])
    assert len(windows) >= 1000
    expected = model.predict_proba(windows)
    label, probability = run_onnx(to_onnx(model), windows)
    assert (label.dtype, probability.dtype) == (np.int64, np.float32)
    assert np.abs(probability - expected).max() <= 1e-5
    np.testing.assert_array_equal(label, expected.argmax(axis=1))
    assert len(np.unique(label)) == classes


def test_large_means_and_small_deviations_keep_their_digits():
    # Gravity on one axis and hardly any motion: a float32 scaler is off by 1e-4 here.
    dataset = toy_dataset(classes=2)
    still = dataset.windows // 400 + 16000
    model = train(replace(dataset, windows=still.astype(np.int16)), "logreg")
    _, probability = run_onnx(to_onnx(model), still)
    assert np.abs(probability - model.predict_proba(still)).max() <= 2e-6


@pytest.mark.parametrize("trees", [1, 6, 50])
def test_ties_of_a_forest_stay_ties(trees):
    """Few classes, many trees with coarse leaves: exact ties happen, and go to the lower index at both levels."""
    dataset = toy_dataset(classes=2)
    noise = np.random.default_rng(0).integers(0, 2, len(dataset)).astype(np.uint8)
    model = train(
        replace(dataset, labels=noise), "rf", options={"n_estimators": trees, "max_depth": 1, "min_samples_leaf": 40}
    )
    for tree in model.estimator.estimators_:
        leaf = tree.tree_.children_left == -1
        tree.tree_.value[leaf, 0] = np.where(tree.tree_.value[leaf, 0, :1] > 0.5, [[0.75, 0.25]], [[0.25, 0.75]])
    windows = toy_dataset(per_class=600, seed=6).windows
    expected = model.predict_proba(windows)
    label, probability = run_onnx(to_onnx(model), windows)
    tied = expected[:, 0] == expected[:, 1]
    assert tied.any() == (trees > 1)
    np.testing.assert_array_equal(label, expected.argmax(axis=1))
    assert (label[tied] == 0).all()
    assert (probability[tied, 0] == probability[tied, 1]).all()


def test_graph_is_valid_and_describes_itself():
    model = trained("mlp", 4)
    graph = to_onnx(model)
    onnx.checker.check_model(graph, full_check=True)
    assert {o.domain: o.version for o in graph.opset_import} == {"": TARGET_OPSET, "ai.onnx.ml": TARGET_OPSET_ML}
    [window] = graph.graph.input
    shape = [d.dim_param or d.dim_value for d in window.type.tensor_type.shape.dim]
    assert (window.name, window.type.tensor_type.elem_type, shape) == ("window", onnx.TensorProto.INT16, ["N", 50, 6])
    outputs = {o.name: [d.dim_param or d.dim_value for d in o.type.tensor_type.shape.dim] for o in graph.graph.output}
    assert outputs == {"label": ["N"], "probabilities": ["N", 4], "logits": ["N", 4]}
    assert list(outputs) == ["label", "probabilities", "logits"]
    assert graph.doc_string == graph.graph.doc_string
    for said in ("toy_mlp: mlp on rich features of 50 samples of ax, ay", "Takes int16 windows", "gives label"):
        assert said in graph.doc_string
    props = {p.key: p.value for p in graph.metadata_props}
    assert props["name"] == "toy_mlp"
    assert props["family"] == "mlp"
    assert props["feature_set"] == "rich"
    assert (props["window"], props["period_us"], props["lead_us"]) == ("50", "10000", "0")
    assert json.loads(props["classes"]) == list(model.spec.classes)
    assert json.loads(props["channels"])[0] == {"name": "ax", "unit": "g", "scale": 1 / 2048}
    assert props["data_hash"] == model.spec.data_hash
    assert props["stinger_version"] == stinger.__version__
    assert json.loads(props["opset"]) == {"ai.onnx": TARGET_OPSET, "ai.onnx.ml": TARGET_OPSET_ML}
    assert (props["policy"], props["threshold"]) == ("", "0.5")


def test_policy_and_threshold_are_in_the_metadata():
    model = trained("logreg")
    policy = Policy.stock(window=50, period_us=10_000, gyro=3)
    graph = to_onnx(replace(model, spec=replace(model.spec, policy=policy, threshold=0.3)))
    props = {p.key: p.value for p in graph.metadata_props}
    assert Policy.from_json(json.loads(props["policy"])) == policy
    assert float(props["threshold"]) == 0.3


def test_every_node_leads_to_an_output():
    for family in FAMILIES:
        graph = to_onnx(trained(family)).graph
        read = {name for node in graph.node for name in node.input} | {o.name for o in graph.output}
        assert all(set(node.output) & read for node in graph.node)
        assert {c.name for c in graph.initializer} <= read


def test_two_processes_give_the_same_bytes():
    program = (
        "import hashlib; from toy import toy_dataset; from stinger.models.train import train\n"
        "from stinger_export.onnx_graph import to_onnx\n"
        "for f in ('logreg', 'mlp', 'rf'):\n"
        "    m = train(toy_dataset(classes=2), f, name=f'toy_{f}')\n"
        "    print(hashlib.sha256(to_onnx(m).SerializeToString()).hexdigest())\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        # The rest as here: the number of threads shows in a fit's last digits.
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
            "PYTHONHASHSEED": "7",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    here = [hashlib.sha256(to_onnx(trained(f)).SerializeToString()).hexdigest() for f in ("logreg", "mlp", "rf")]
    assert result.stdout.split() == here


@pytest.mark.parametrize("windows", [np.zeros((1, 49, 6), np.int16), np.zeros((1, 50, 6), np.float32)])
def test_windows_of_another_kind_are_refused_in_one_line(windows):
    with pytest.raises(InputError, match=r"toy_logreg takes int16 windows of shape \(n, 50, 6\)") as caught:
        run_onnx(to_onnx(trained("logreg")), windows)
    assert "\n" not in str(caught.value)


def test_a_broken_graph_is_refused_in_one_line():
    graph = to_onnx(trained("logreg"))
    graph.graph.node[0].op_type = "Nonsense"
    with pytest.raises(InputError, match="onnxruntime refuses toy_logreg") as caught:
        run_onnx(graph, np.zeros((1, 50, 6), np.int16))
    assert "\n" not in str(caught.value)


def test_no_windows_give_no_answers():
    label, probability = run_onnx(to_onnx(trained("rf")), np.zeros((0, 50, 6), np.int16))
    assert label.shape == (0,)
    assert probability.shape == (0, 2)
