"""Targets of a bundle: what is exported, how near it is to the model, and what is refused."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import re
import struct
import subprocess
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, checker
from toy import toy_dataset

from stinger.errors import CheckFailedError, InputError, UsageError
from stinger.models.spec import TrainedModel
from stinger.models.train import train
from stinger_export.bundle import export_bundle, load_bundle
from stinger_export.exercise import exercise_stream
from stinger_export.image.model import to_image
from stinger_export.integer.quantise import quantise
from stinger_export.parity import (
    Samples,
    _compare,
    held_out_parity,
    image_parity,
    integer_parity,
    stock_parity,
)
from stinger_export.stock.convert import to_stock
from stinger_export.stock.header import read_stock_header, stock_header
from stinger_export.stock.image import StockModel, read_image
from stinger_export.targets import HeldOut, make_exports, parse_targets
from stinger_export.toolchain import compile_host
from stinger_export.vectors import read_vectors, verify_vectors


@cache
def trained(family: str, features: str, classes: int = 2) -> TrainedModel:
    return train(toy_dataset(classes=classes, per_class=60), family, features=features, name="toy", folds=0)


def files_of(directory: Path) -> dict[str, bytes]:
    return {p.relative_to(directory).as_posix(): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def test_by_default_all_that_the_model_allows(tmp_path):
    bundle = load_bundle(export_bundle(trained("logreg", "rich"), tmp_path / "b").path)
    assert bundle.targets == ("integer", "onnx", "emlearn", "mlmd")
    assert bundle.manifest["not_exported"].keys() == {"stock-header"}
    assert "takes float-summary" in bundle.manifest["not_exported"]["stock-header"]
    measured = {entry["target"]: entry for entry in bundle.manifest["parity"]}
    held_out = {"integer, held out", "onnx, held out"}
    assert measured.keys() == {*bundle.targets, "onnx, from features", *held_out}
    assert measured["onnx, from features"]["max_difference"] <= 1e-5
    assert 0 < measured["onnx"]["max_difference"] <= 1e-5
    assert 1e-5 < measured["integer"]["max_difference"] <= 0.03
    assert measured["integer"]["windows"] > 1500
    assert measured["mlmd"]["max_difference"] == 0
    assert bundle.mlmd().hash == bundle.integer.hash
    assert (bundle.path / "model.mlmd").read_bytes() == to_image(bundle.integer)


def test_both_graphs_say_what_they_are_and_so_does_the_manifest(tmp_path):
    model = trained("rf", "rich", classes=3)
    bundle = load_bundle(export_bundle(model, tmp_path / "b", targets=["onnx"]).path)
    windows, features = bundle.onnx(), bundle.onnx_features()
    assert features.metadata_props == windows.metadata_props
    props = {p.key: p.value for p in features.metadata_props}
    assert props["feature_set"] == "rich"
    assert props["data_hash"] == model.spec.data_hash
    assert json.loads(props["classes"]) == list(model.spec.classes)
    assert {channel["unit"] for channel in json.loads(props["channels"])} == {"g", "deg/s"}
    assert "policy" in props
    assert [(i.name, i.type.tensor_type.elem_type) for i in features.graph.input] == [("features", TensorProto.INT16)]
    assert [o.name for o in features.graph.output] == ["label", "probabilities", "logits"]
    for graph in (windows, features):
        checker.check_model(graph, full_check=True)
        opset = {o.domain or "ai.onnx": o.version for o in graph.opset_import}
        assert bundle.manifest["opset"] == json.loads(props["opset"]) == opset
    assert bundle.manifest["versions"].keys() == {
        *("stinger", "numpy", "scikit-learn", "onnx", "onnxruntime", "emlearn"),
    }
    card = (bundle.path / "README.md").read_text()
    assert "operator sets ai.onnx 18, ai.onnx.ml 3" in card
    licences = (bundle.path / "LICENSES.txt").read_text()
    assert "Apache-2.0" in licences
    assert "emlearn" not in licences


def test_same_model_same_bytes(tmp_path):
    for name in ("a", "b"):
        export_bundle(trained("logreg", "rich"), tmp_path / name)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


@pytest.mark.parametrize(("family", "features"), [("logreg", "float-summary"), ("mlp", "float-rich")])
def test_float_models_go_to_the_stock_firmware(family, features, tmp_path):
    model = trained(family, features)
    bundle = load_bundle(export_bundle(model, tmp_path / "b", targets=["mlmd", "stock-header"]).path)
    assert bundle.targets == ("mlmd", "stock-header")
    assert "does not compute float-" in bundle.manifest["not_exported"]["integer"]
    assert not (bundle.path / "integer").exists()
    assert not (bundle.path / "model.mlmd").exists()
    assert bundle.manifest["integer_hash"] is None
    image, header = bundle.manifest["parity"]
    assert [image["levels"], header["levels"]] == [["L0", "stock"], ["L0", "stock header"]]
    assert 0 < image["max_difference"] == header["max_difference"] < 0.001
    assert read_stock_header(bundle.stock_header()).to_bytes() == bundle.stock().to_bytes()
    stock = read_image(bundle.path / "stock.mlmd")
    assert stock.to_bytes() == to_stock(model).to_bytes()
    with pytest.raises(InputError, match="holds no integer model"):
        _ = bundle.integer


@pytest.mark.parametrize(("family", "features"), [("logreg", "float-summary"), ("mlp", "float-rich")])
def test_the_header_holds_every_bit_of_the_weights(family, features):
    model = trained(family, features)
    stock = to_stock(model)
    text = stock_header(stock, model.spec)
    assert text.isascii()
    arrays = {}
    for name, size, body in re.findall(r"stinger_stock_(\w+)\[(\d+)\] = \{(.*?)\}", text, re.DOTALL):
        values = np.array([float(v.strip().removesuffix("f")) for v in body.split(",") if v.strip()], dtype=np.float32)
        assert len(values) == int(size)
        arrays[name] = values
    layers = [(arrays[f"w{k}"].reshape(weight.shape), arrays[f"b{k}"]) for k, (weight, _) in enumerate(stock.layers, 1)]
    assert StockModel(arrays["mean"], arrays["scale"], tuple(layers)).to_bytes() == stock.to_bytes()


def test_a_target_that_the_model_cannot_have_is_refused_by_name(tmp_path):
    for model, target, why in (
        (trained("logreg", "rich"), "stock-header", "no stock-header form"),
        (trained("rf", "float-rich"), "mlmd", "no mlmd form"),
        (trained("logreg", "float-summary"), "integer", "no integer form"),
        (trained("hgb", "rich"), "emlearn", "no emlearn form"),
    ):
        with pytest.raises(UsageError, match=why):
            export_bundle(model, tmp_path / "b", targets=[target])
    assert not (tmp_path / "b").exists()


def test_an_image_brings_the_integers_it_is_compared_with(tmp_path):
    bundle = export_bundle(trained("rf", "rich"), tmp_path / "b", targets=["mlmd"])
    assert bundle.targets == ("integer", "mlmd")
    assert bundle.manifest["not_exported"]["onnx"] == "not asked for"


def test_over_the_loss_nothing_is_written(tmp_path):
    with pytest.raises(CheckFailedError, match=r"integer: L2 differs .* at most 1e-06 .* nothing was written"):
        export_bundle(trained("logreg", "rich"), tmp_path / "b", max_loss=1e-6)
    assert list(tmp_path.iterdir()) == []


def test_what_a_bundle_was_allowed_to_lose_is_kept(tmp_path):
    assert export_bundle(trained("logreg", "rich"), tmp_path / "b", max_loss=0.2).max_loss == 0.2
    assert load_bundle(tmp_path / "b").max_loss == 0.2


def test_parity_sees_what_is_wrong():
    model = trained("logreg", "rich")
    samples = Samples(model, exercise_stream(model))
    integer = quantise(model)
    layer = integer.body.layers[0]
    wrong = replace(integer, body=replace(integer.body, layers=(replace(layer, bias=layer.bias + 20_000),)))
    assert integer_parity(samples, integer).failure is None
    assert "differs from L0" in integer_parity(samples, wrong).failure
    assert image_parity(samples, integer).failure is None
    assert "another model" in image_parity(samples, integer, to_image(wrong)).failure
    floats = trained("logreg", "float-summary")
    stock = to_stock(floats)
    samples = Samples(floats, exercise_stream(floats))
    assert stock_parity(samples, stock).failure is None
    weight, bias = stock.layers[0]
    assert "differs from L0" in stock_parity(samples, replace(stock, layers=((weight, bias + 1),))).failure


def test_held_out_windows_are_measured_and_become_vectors():
    dataset = toy_dataset(per_class=60)
    rows = dataset.held_out
    held_out = HeldOut(dataset.windows[rows], dataset.labels[rows])
    made = make_exports(trained("logreg", "rich"), ["integer", "onnx"], held_out=held_out)
    assert made.held_out.keys() == {"L0", "L1", "L2"}
    assert {tuple(scores) for scores in made.held_out.values()} == {("accuracy", "roc_auc", "pr_auc")}
    measured = {p.target: p for p in made.parity}
    assert list(measured) == ["integer", "integer, held out", "onnx", "onnx, from features", "onnx, held out"]
    for name, level in (("integer", "L2"), ("onnx", "L1")):
        assert measured[name].auc_loss is None
        parity = measured[f"{name}, held out"]
        assert (parity.levels, parity.windows) == (("L0", level), rows.sum())
        lost = made.held_out["L0"]["roc_auc"] - made.held_out[level]["roc_auc"]
        assert parity.auc_loss == pytest.approx(lost, abs=1e-5)
        assert abs(parity.auc_loss) < 0.01
    assert set(made.vectors["label"].tolist()) == {0, 1}


def test_a_loss_of_auc_fails_though_probabilities_are_near():
    """All probabilities are near one half: rounding them away costs the order of the windows, and hardly a Δp."""
    dataset, model = toy_dataset(per_class=60), copy.deepcopy(trained("logreg", "rich"))
    model.estimator[1].coef_ *= 1e-6
    model.estimator[1].intercept_ *= 0
    held_out = HeldOut(dataset.windows[dataset.held_out], dataset.labels[dataset.held_out])
    samples = Samples(model, exercise_stream(model), held_out)
    parity = held_out_parity(samples, quantise(model))
    assert parity.max_difference < 1e-3
    assert parity.auc_loss > 0.03
    assert "of the ROC AUC of L0 on held-out windows, at most 0.03 is allowed" in parity.failure
    with pytest.raises(CheckFailedError, match=r"integer, held out: L2 loses .* nothing was written"):
        make_exports(model, ["integer"], held_out=held_out)


def test_only_an_undecided_window_may_change_its_label():
    near = np.array([[0.49, 0.51], [0.1, 0.9]])
    measure = partial(_compare, "integer", ("L0", "L2"), near, near, bound=0.03, undecided=0.06)
    for label, flips, failure in (
        ([1, 1], 0, None),
        ([0, 1], 1, None),
        ([1, 0], 1, "L2 gives 1 of 2 windows another label than L0"),
        ([0, 0], 2, "L2 gives 1 of 2 windows another label than L0"),
    ):
        parity = measure(np.array(label))
        assert (parity.flips, parity.failure) == (flips, failure)
    assert _compare("onnx", ("L0", "L1"), near, near, np.array([0, 1]), bound=1e-5).failure is not None


@pytest.mark.parametrize(("family", "features"), [("logreg", "rich"), ("mlp", "float-rich")])
def test_vectors_are_verified_level_by_level(family, features, tmp_path):
    model = trained(family, features)
    bundle = export_bundle(model, tmp_path / "b")
    vectors = bundle.vectors()
    assert len(vectors["windows"]) == 48
    forms = {"integer": bundle.integer_model, "stock": bundle.stock()}
    assert all(failure is None for _, failure in verify_vectors(vectors, model, **forms).values())
    for name in sorted(set(vectors) & {"features", "l0", "l2", "l2_score", "l2_label", "stock"}):
        changed = {**vectors, name: vectors[name].copy()}
        changed[name].flat[-1] += 1
        failures = {key for key, (_, why) in verify_vectors(changed, model, **forms).items() if why is not None}
        assert failures == {name}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shape=st.lists(st.integers(0, 60), max_size=4), kind=st.sampled_from(["<i2", "<f8"]), cut=st.integers(0, 900))
def test_vectors_of_a_stranger_are_read_or_refused(tmp_path, shape, kind, cut):
    model = trained("logreg", "rich")
    stream = io.BytesIO()
    array = np.zeros(shape if np.prod(shape, dtype=np.int64) < 1e5 else [1], dtype=kind)
    np.savez(stream, windows=array, features=array, l0=array, label=array)
    path = tmp_path / "vectors.npz"
    for data in (stream.getvalue(), stream.getvalue()[:cut]):
        path.write_bytes(data)
        try:
            vectors = read_vectors(path, model.spec)
        except InputError:
            continue
        verify_vectors(vectors, model)


@pytest.mark.parametrize(
    "change",
    [
        {"targets": []},
        {"targets": ["exe"]},
        {"targets": "onnx"},
        {"targets": [["onnx"]]},
        {"targets": None},
        {"not_exported": [1]},
        {"parity": 3},
        {"parity": [{"target": "integer", "bound": "nan"}]},
        {"parity": [{"target": "integer"}]},
        {"format": 4},
        {"format": True},
        {"format": "1"},
        {"files": 7},
        {"integer_hash": 7},
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(change, tmp_path):
    export_bundle(trained("logreg", "rich"), tmp_path / "b", targets=["integer"])
    where = tmp_path / "b" / "manifest.json"
    where.write_text(json.dumps({**json.loads(where.read_text()), **change}))
    with pytest.raises(InputError) as caught:
        load_bundle(tmp_path / "b")
    assert "\n" not in str(caught.value)


def test_bundles_of_version_1_open(tmp_path):
    """Such held no images, no vectors and no card."""
    bundle = export_bundle(trained("logreg", "rich"), tmp_path / "b")
    where = bundle.path / "manifest.json"
    manifest = json.loads(where.read_text())
    for name in ("README.md", "LICENSES.txt", "vectors.npz", "model.mlmd", "model_features.onnx"):
        (bundle.path / name).unlink()
        del manifest["files"][name]
    kept = {key: manifest[key] for key in ("kind", "name", "integer_hash", "files")}
    where.write_text(json.dumps({"format": 1, **kept}))
    old = load_bundle(bundle.path)
    assert old.targets == ("integer", "onnx", "emlearn")
    assert old.integer.hash == bundle.integer.hash
    assert old.vectors() is None
    assert old.mlmd() is None
    assert old.max_loss == 0.03


def test_the_card_says_what_it_must_and_no_name_becomes_markup(tmp_path):
    model = trained("logreg", "rich")
    model = replace(model, spec=replace(model.spec, classes=("<b>idle", "shot`|` # Safe")))
    card = (export_bundle(model, tmp_path / "b", targets=["integer", "onnx"]).path / "README.md").read_text()
    headings = {line for line in card.splitlines() if line.startswith("## ")}
    assert len(headings) == 10
    assert {"## Data", "## Held-out metrics", "## Intended use", "## Limits", "## Licences"} <= headings
    assert model.spec.data_hash in card
    assert "Apache-2.0" in card
    assert "emlearn header" not in card
    assert "<b>" not in card
    assert "`|`" not in card


def test_names_of_targets():
    assert parse_targets(None) is None
    assert parse_targets("onnx, mlmd,onnx") == ("onnx", "mlmd")
    for text in ("", ",", "onnx,exe"):
        with pytest.raises(UsageError, match="unknown target"):
            parse_targets(text)


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=30))
def test_any_list_of_targets_is_read_or_refused(text):
    with contextlib.suppress(UsageError):
        assert parse_targets(text)


def test_the_header_compiles_as_c(tmp_path):
    model = trained("logreg", "float-summary")
    (tmp_path / "stock_weights.h").write_text(stock_header(to_stock(model), model.spec))
    (tmp_path / "main.c").write_text(
        '#include "stock_weights.h"\n#include "stock_weights.h"\n#include <stdio.h>\n'
        "int main(void) { fwrite(stinger_stock_mean, 4, STINGER_STOCK_FEATURES, stdout);"
        " fwrite(stinger_stock_scale, 4, STINGER_STOCK_FEATURES, stdout);"
        " fwrite(stinger_stock_w1, 4, STINGER_STOCK_FEATURES, stdout);"
        " fwrite(stinger_stock_b1, 4, 1, stdout); return 0; }\n"
    )
    compile_host([tmp_path / "main.c"], tmp_path / "main")
    out = subprocess.run([tmp_path / "main"], check=True, capture_output=True).stdout
    image = to_stock(model).to_bytes()
    assert out == image[24:]
    assert struct.unpack_from("<I", image, 16)[0] == len(out)
