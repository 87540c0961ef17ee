"""The model directory: repeatable bytes, exact round trips, and refusal of everything that is not a model."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import subprocess
import sys
import warnings
import zipfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import skops.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.linear_model import LinearRegression
from toy import channels_for, toy_dataset

from stinger.errors import InputError, StingerError
from stinger.features.sets import FEATURE_SETS
from stinger.models import archive
from stinger.models.families import FAMILIES
from stinger.models.policy import Policy
from stinger.models.spec import TrainedModel
from stinger.models.store import CALIBRATION, ESTIMATOR, MANIFEST, load_model, save_model
from stinger.models.train import train
from stinger.models.validate import calibration_rows, rebuilt
from stinger.sessions.session import Channel

SMALL = {
    "mlp": {"hidden_layer_sizes": [6, 4], "max_iter": 20},
    "rf": {"n_estimators": 3, "max_depth": 3},
    "et": {"n_estimators": 3, "max_depth": 3},
    "dt": {"max_depth": 3},
    "hgb": {"max_iter": 3, "min_samples_leaf": 5},
    "xgb": {"n_estimators": 3},
    "torch-mlp": {"hidden_layer_sizes": [6, 4], "epochs": 3},
    "torch-cnn": {"filters": [4, 5], "epochs": 3},
}
OLD_MODELS = Path(__file__).parent.parent / "data" / "models_v1"


@cache
def trained(family: str, classes: int = 2, small: bool = True) -> TrainedModel:
    options = SMALL.get(family) if small else None
    features = (FAMILIES[family].features or ("rich",))[0]
    dataset = toy_dataset(classes=classes, per_class=60)
    return train(dataset, family, features=features, name="toy", options=options, folds=0)


@cache
def packed(family: str) -> bytes:
    model = trained(family)
    return archive.pack(rebuilt(model.estimator, model.spec, family))


def saved(tmp_path: Path, family: str = "rf") -> Path:
    save_model(trained(family), tmp_path / "model")
    return tmp_path / "model"


def refused(directory: Path, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        load_model(directory)
    text = str(caught.value)
    assert "\n" not in text
    assert str(directory) in text
    for word in words:
        assert word in text


def put(directory: Path, name: str, data: bytes) -> None:
    """Replace a file as somebody would who also corrects the hash."""
    (directory / name).write_bytes(data)
    manifest = json.loads((directory / MANIFEST).read_text())
    manifest[f"{Path(name).stem}_sha256"] = hashlib.sha256(data).hexdigest()
    (directory / MANIFEST).write_text(json.dumps(manifest))


def rezip(data: bytes, change, compression: int = zipfile.ZIP_STORED) -> bytes:
    """Let ``change`` edit the archive's entries, a dict of name to content."""
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        entries = {name: source.read(name) for name in source.namelist()}
    change(entries)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as target:
        for name, content in entries.items():
            target.writestr(name, content)
    return buffer.getvalue()


def npy_bytes(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("family", FAMILIES)
def test_round_trip_is_exact_and_repeatable(tmp_path, family, classes):
    model = trained(family, classes, False)
    save_model(model, tmp_path / "a")
    loaded = load_model(tmp_path / "a")
    assert loaded.spec == model.spec
    windows = toy_dataset(classes=classes, per_class=200, seed=3).windows
    np.testing.assert_array_equal(loaded.predict_proba(windows), model.predict_proba(windows))
    np.testing.assert_array_equal(loaded.calibration, model.calibration)
    save_model(loaded, tmp_path / "b")
    for name in (MANIFEST, ESTIMATOR, CALIBRATION):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("family", FAMILIES)
def test_loaded_estimator_is_a_whole_one(tmp_path, family):
    loaded = load_model(saved(tmp_path, family))
    features = loaded.calibration.astype(np.float64)
    labels = loaded.estimator.predict(features)
    np.testing.assert_array_equal(labels, loaded.predict_proba_features(loaded.calibration).argmax(axis=1))
    wanted = trained(family).estimator.get_params(deep=False)
    assert {k: v for k, v in loaded.estimator.get_params(deep=False).items() if k not in ("steps", "estimator")} == {
        k: v for k, v in wanted.items() if k not in ("steps", "estimator")
    }


def test_two_processes_write_the_same_bytes(tmp_path):
    program = (
        "import sys; from pathlib import Path; from toy import toy_dataset\n"
        "from stinger.models.train import train; from stinger.models.store import save_model\n"
        "from stinger.models.families import FAMILIES\n"
        "junk = [object() for _ in range(int(sys.argv[2]))]  # moves later objects in memory\n"
        "for f in FAMILIES:\n"
        "    m = train(toy_dataset(per_class=60), f, features='flatten' if f == 'torch-cnn' else 'rich', folds=0,\n"
        "              options={'epochs': 3} if f.startswith('torch') else None)\n"
        "    save_model(m, Path(sys.argv[1]) / f)\n"
    )
    for run in ("1", "2"):
        subprocess.run(
            [sys.executable, "-c", program, tmp_path / run, str(int(run) * 12345)],
            env={"PYTHONPATH": str(Path(__file__).parent), "PYTHONHASHSEED": run},
            check=True,
        )
    first = sorted(p.relative_to(tmp_path / "1") for p in (tmp_path / "1").rglob("*") if p.is_file())
    assert len(first) >= 3 * len(FAMILIES)
    for name in first:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes(), name


def test_saving_over_a_model_replaces_it_and_nothing_else(tmp_path):
    directory = saved(tmp_path, "rf")
    save_model(trained("logreg"), directory)
    assert load_model(directory).spec.family == "logreg"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(InputError, match="not made by stinger"):
        save_model(trained("logreg"), tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"


def test_no_model_there(tmp_path):
    refused(tmp_path / "nowhere", "cannot read")
    refused(tmp_path, MANIFEST)


@pytest.mark.parametrize("name", [ESTIMATOR, CALIBRATION])
def test_changed_and_missing_files_are_noticed(tmp_path, name):
    directory = saved(tmp_path)
    data = bytearray((directory / name).read_bytes())
    data[len(data) // 2] ^= 1
    (directory / name).write_bytes(bytes(data))
    refused(directory, "SHA-256")
    (directory / name).unlink()
    refused(directory, "cannot read", name)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"format": true}', '{"format": 1}', "\xff"])
def test_manifest_that_is_none(tmp_path, text):
    directory = saved(tmp_path)
    (directory / MANIFEST).write_bytes(text.encode("latin-1"))
    refused(directory, MANIFEST)


def test_newer_format_says_update(tmp_path):
    directory = saved(tmp_path)
    manifest = json.loads((directory / MANIFEST).read_text())
    (directory / MANIFEST).write_text(json.dumps({**manifest, "format": 3}))
    refused(directory, "format 3", "update stinger")
    (directory / MANIFEST).write_text(json.dumps({**manifest, "format": 0}))
    refused(directory, "format 0")


@pytest.mark.parametrize("family", ["logreg", "mlp", "rf"])
def test_models_of_format_1_load_as_they_were(tmp_path, family):
    """Written by the stinger before policies; their estimators have kept their bytes since."""
    old = OLD_MODELS / family
    model = load_model(old)
    np.testing.assert_allclose(
        model.predict_proba_features(model.calibration), np.load(old / "expected_probability.npy"), rtol=0, atol=1e-12
    )
    assert (model.spec.policy, model.spec.threshold, model.spec.trained_on) == (None, 0.5, ())
    save_model(model, tmp_path / "new")
    new = json.loads((tmp_path / "new" / MANIFEST).read_text())
    assert new["format"] == 2
    assert load_model(tmp_path / "new").spec == model.spec
    assert (tmp_path / "new" / ESTIMATOR).read_bytes() == (old / ESTIMATOR).read_bytes()
    assert (tmp_path / "new" / CALIBRATION).read_bytes() == (old / CALIBRATION).read_bytes()


def test_policy_threshold_and_recordings_are_kept(tmp_path):
    model = trained("logreg")
    spec = replace(model.spec, policy=Policy.stock(60), threshold=0.37, trained_on=("a" * 64, "0" * 64))
    save_model(replace(model, spec=spec), tmp_path / "m")
    assert load_model(tmp_path / "m").spec == spec
    with pytest.raises(InputError, match="window 40"):
        save_model(replace(model, spec=replace(spec, policy=Policy.stock(60, window=40))), tmp_path / "other")


@pytest.mark.parametrize("features", FEATURE_SETS)
def test_every_feature_set_can_be_stored(tmp_path, features):
    channels = channels_for(features)
    dataset = toy_dataset(per_class=30, channels=channels)
    model = train(dataset, "logreg", features=features, name="any", folds=0)
    save_model(model, tmp_path / "m")
    loaded = load_model(tmp_path / "m")
    assert loaded.calibration.dtype == (np.int16 if model.spec.feature_set.integer else np.float64)
    np.testing.assert_array_equal(loaded.calibration, model.calibration)
    windows = toy_dataset(per_class=20, channels=channels, seed=5).windows
    np.testing.assert_array_equal(loaded.predict_proba(windows), model.predict_proba(windows))


@pytest.mark.parametrize("family", ["xgb", "torch-mlp", "torch-cnn"])
def test_loading_and_predicting_need_no_extra(tmp_path, family):
    """What fitted it is not imported, and may be missing."""
    directory = saved(tmp_path, family)
    program = (
        "import sys; from pathlib import Path\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('torch', 'xgboost'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "from stinger.models.store import load_model\n"
        "model = load_model(Path(sys.argv[1]))\n"
        "print(repr(model.predict_proba_features(model.calibration).sum()))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, directory], capture_output=True, text=True, check=True)
    expected = trained(family).predict_proba_features(trained(family).calibration).sum()
    assert done.stdout.strip() == repr(expected)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("window", v) for v in (1, 1025, 50.0, "50", True, None)],
        *[("period_us", v) for v in (0, -1, 10**10)],
        *[("lead_us", v) for v in (-1, 10**10)],
        *[("name", v) for v in ("", "a b", "1x", "x" * 49, "a;", 3, "naïve", "x\n")],
        *[("family", v) for v in ("svm", None, ["rf"])],
        *[("features", v) for v in ("colours", 1, "Rich")],
        *[("policy", v) for v in (1, {}, [], {**Policy.stock().to_json(), "on": 0}, {"attack": "x" * 10**5})],
        *[("threshold", v) for v in (-0.1, 1.1, "0.5", None, True, float("nan"))],
        *[("trained_on", v) for v in (None, "a" * 64, ["a" * 63], [1], ["A" * 64], ["a" * 64] * (2**16 + 1))],
        *[("classes", v) for v in (["a"], ["a"] * 33, ["a", "a"], ["a", ""], ["a", "b\n"], ["a", "x" * 65], "ab")],
        *[("channels", v) for v in ([], None, [{}] * 17, [{"name": "x"}], ["ax"])],
        *[("seed", v) for v in (-1, 2**32, "1")],
        *[("data_hash", v) for v in ("", "xyz", "A" * 64)],
        *[("metrics", v) for v in ({"accuracy": "1"}, {"accuracy": float("nan")}, [], {"\n": 1.0})],
        *[("options", v) for v in (None, [], {str(i): 1 for i in range(65)}, {"D": 1}, {"C": "1"}, {"C": -1})],
    ],
)
def test_manifest_fields_out_of_range(tmp_path, field, value):
    directory = saved(tmp_path, "logreg")
    manifest = json.loads((directory / MANIFEST).read_text())
    manifest["spec"][field] = value
    (directory / MANIFEST).write_text(json.dumps(manifest))
    refused(directory, field if field == "options" else MANIFEST)


@pytest.mark.parametrize("scale", [0, -1, "1", None, float("inf"), True])
def test_channel_scales_must_be_positive_numbers(tmp_path, scale):
    directory = saved(tmp_path, "logreg")
    manifest = json.loads((directory / MANIFEST).read_text())
    manifest["spec"]["channels"][1]["scale"] = scale
    (directory / MANIFEST).write_text(json.dumps(manifest))
    refused(directory, "scale must be a positive number")


def test_a_channel_may_lack_a_unit(tmp_path):
    model = trained("logreg")
    channels = tuple(Channel(c.name, "", c.scale) for c in model.spec.channels)
    save_model(replace(model, spec=replace(model.spec, channels=channels)), tmp_path / "m")
    assert load_model(tmp_path / "m").spec.channels == channels


@pytest.mark.parametrize(
    ("change", "family"),
    [
        ({"family": "logreg"}, "rf"),
        ({"family": "mlp"}, "logreg"),
        ({"features": "summary"}, "rf"),
        ({"features": "summary"}, "mlp"),
        ({"options": {"n_estimators": 4}}, "rf"),
        ({"options": {"hidden_layer_sizes": [6, 5]}}, "mlp"),
        ({"family": "ridge"}, "logreg"),
        ({"family": "logreg"}, "ridge"),
        ({"family": "et"}, "rf"),
        ({"family": "rf"}, "et"),
        ({"family": "dt", "options": {}}, "rf"),
        ({"family": "xgb", "options": {}}, "hgb"),
        ({"family": "torch-cnn", "options": {}}, "torch-mlp"),
        ({"features": "summary"}, "hgb"),
        ({"features": "summary"}, "torch-mlp"),
        ({"features": "summary"}, "torch-cnn"),
        *(({"classes": ["a", "b", "c"]}, family) for family in FAMILIES),
        ({"options": {"filters": [4, 6]}}, "torch-cnn"),
        ({"options": {"filters": [4, 5], "kernel_size": 7}}, "torch-cnn"),
        ({"options": {"filters": [4, 5], "kernel_size": 2**31 - 1}}, "torch-cnn"),
        ({"options": {"hidden_layer_sizes": [6, 4, 2]}}, "torch-mlp"),
    ],
)
def test_estimator_must_match_its_manifest(tmp_path, change, family):
    directory = saved(tmp_path, family)
    manifest = json.loads((directory / MANIFEST).read_text())
    manifest["spec"].update(change)
    (directory / MANIFEST).write_text(json.dumps(manifest))
    refused(directory)


def test_unknown_types_are_refused_by_name(tmp_path):
    directory = saved(tmp_path)
    put(directory, ESTIMATOR, skops.io.dumps(LinearRegression()))
    refused(directory, "LinearRegression", "do not use this file")

    def swap(entries):
        schema = entries["schema.json"].decode()
        entries["schema.json"] = schema.replace('"RandomForestClassifier"', '"BaggingClassifier"', 1).encode()

    put(directory, ESTIMATOR, rezip(packed("rf"), swap))
    refused(directory, "BaggingClassifier", "do not use this file")


@pytest.mark.parametrize(
    ("module", "kind", "loader"),
    [
        ("os", "system", "FunctionNode"),
        ("builtins", "eval", "TypeNode"),
        ("subprocess", "Popen", "ObjectNode"),
        ("builtins", "dict", "ObjectNode"),
        ("functools", "partial", "PartialNode"),
    ],
)
def test_code_cannot_hide_in_an_attribute(tmp_path, module, kind, loader):
    def plant(entries):
        schema = json.loads(entries["schema.json"])
        schema["content"]["content"]["verbose"] = {"__module__": module, "__class__": kind, "__loader__": loader}
        entries["schema.json"] = json.dumps(schema).encode()

    directory = saved(tmp_path)
    put(directory, ESTIMATOR, rezip((directory / ESTIMATOR).read_bytes(), plant))
    refused(directory, f"{module}.{kind}")


@pytest.mark.parametrize(
    "array",
    [
        np.array([{}], dtype=object),
        np.array(["text"]),
        np.array([1.0, np.nan]),
        np.array([(1, np.inf)], dtype=[("a", "i4"), ("b", "f8")]),
    ],
)
@pytest.mark.parametrize("name", ["0.npy", "99.npy"])
def test_arrays_must_be_finite_numbers(tmp_path, array, name):
    directory = saved(tmp_path)
    data = rezip((directory / ESTIMATOR).read_bytes(), lambda entries: entries.update({name: npy_bytes(array)}))
    put(directory, ESTIMATOR, data)
    refused(directory, ESTIMATOR)


def test_array_header_cannot_claim_more_than_there_is(tmp_path):
    directory = saved(tmp_path)
    lie = npy_bytes(np.zeros(4)).replace(b"(4,), }", b"(4000000000000,), }")
    put(directory, ESTIMATOR, rezip((directory / ESTIMATOR).read_bytes(), lambda e: e.update({"0.npy": lie})))
    refused(directory, "damaged")


def test_sizes_are_bounded(tmp_path, monkeypatch):
    directory = saved(tmp_path)
    data = (directory / ESTIMATOR).read_bytes()
    put(directory, ESTIMATOR, rezip(data, lambda entries: None, zipfile.ZIP_DEFLATED))
    refused(directory, "compressed")
    with monkeypatch.context() as patch:
        patch.setattr(archive, "MAX_ENTRIES", 3)
        put(directory, ESTIMATOR, data)
        refused(directory, "more than a model may")
    with monkeypatch.context() as patch:
        patch.setattr(archive, "MAX_UNPACKED", 1000)
        refused(directory, "more than a model may")
    with monkeypatch.context() as patch:
        patch.setattr("stinger.models.store.MAX_FILE", 1000)
        refused(directory, "larger than")
    assert (archive.MAX_FILE, archive.MAX_UNPACKED) == (64 * 2**20, 256 * 2**20)
    load_model(directory)


@pytest.mark.parametrize(
    "edit",
    [
        lambda t: t.children_left.__setitem__(0, 0),  # a loop
        lambda t: t.children_left.__setitem__(0, 10**6),  # outside
        lambda t: t.children_right.__setitem__(0, -7),
        lambda t: t.children_right.__setitem__(0, -1),  # half a leaf
        lambda t: t.feature.__setitem__(0, 30),
        lambda t: t.feature.__setitem__(0, -5),
        lambda t: t.value.__setitem__(1, 2.0),  # shares that are none
        lambda t: t.value.__setitem__(1, [[-1.0, 2.0]]),
    ],
)
def test_trees_that_lead_nowhere_are_refused_before_they_run(tmp_path, edit):
    model = train(toy_dataset(per_class=60), "rf", options=SMALL["rf"])
    save_model(model, tmp_path / "model")
    clean = rebuilt(model.estimator, model.spec, "model")
    edit(clean.estimators_[0].tree_)
    bad = replace(model, estimator=clean)
    with pytest.raises(InputError, match="does not hold a rf"):
        save_model(bad, tmp_path / "never")
    assert not (tmp_path / "never").exists()
    put(tmp_path / "model", ESTIMATOR, archive.pack(clean))
    refused(tmp_path / "model", "does not hold a rf")


def _chain(e) -> None:
    """One tree, as deep as it has nodes."""
    depth = 300
    nodes = 2 * depth + 1
    inner = np.arange(nodes) % 2 == 0
    inner[-1] = False
    e.left_ = np.where(inner, np.arange(nodes) + 1, -1).astype(np.int32)
    e.right_ = np.where(inner, np.arange(nodes) + 2, -1).astype(np.int32)
    e.feature_, e.threshold_, e.value_ = np.zeros(nodes, np.int32), np.zeros(nodes), np.zeros(nodes)
    e.root_ = np.zeros(1, np.int32)


@pytest.mark.parametrize(
    "edit",
    [
        lambda e: e.left_.__setitem__(0, 0),  # a loop
        lambda e: e.left_.__setitem__(0, 10**6),  # outside
        lambda e: e.left_.__setitem__(0, int(e.right_[0])),  # two parents
        lambda e: e.left_.__setitem__(0, -1),  # half a leaf
        lambda e: e.left_.__setitem__(0, -2),
        lambda e: e.right_.__setitem__(0, -5),
        lambda e: e.root_.__setitem__(0, 10**6),
        lambda e: e.root_.__setitem__(0, -1),
        lambda e: e.root_.__setitem__(1, 0),
        lambda e: e.feature_.__setitem__(0, 30),
        lambda e: e.feature_.__setitem__(0, -1),
        lambda e: setattr(e, "feature_", e.feature_.astype(np.int64)),
        lambda e: setattr(e, "value_", e.value_[:-1]),
        lambda e: setattr(e, "value_", e.value_.astype(np.float32)),
        lambda e: setattr(e, "root_", e.root_[:0]),
        lambda e: setattr(e, "baseline_", np.zeros(2)),
        lambda e: setattr(e, "baseline_", np.zeros(0)),
        lambda e: setattr(e, "left_", [1, 2, 3]),
        lambda e: delattr(e, "left_"),
        lambda e: setattr(e, "classes_", np.arange(3)),
        _chain,
    ],
)
@pytest.mark.parametrize("family", ["hgb", "xgb"])
def test_boosted_trees_that_lead_nowhere_are_refused_before_they_run(tmp_path, family, edit):
    bad = tampered(family, edit)
    with pytest.raises(InputError, match=f"does not hold a {family}"):
        save_model(replace(trained(family), estimator=bad), tmp_path / "never")
    assert not (tmp_path / "never").exists()
    directory = saved(tmp_path, family)
    put(directory, ESTIMATOR, archive.pack(bad))
    refused(directory, f"does not hold a {family}")


@pytest.mark.parametrize(
    "edit",
    [
        lambda e: setattr(e, "mean_", e.mean_[:-1]),
        lambda e: setattr(e, "mean_", e.mean_.astype(np.float32)),
        lambda e: e.scale_.__setitem__(0, 0.0),
        lambda e: e.scale_.__setitem__(0, -1.0),
        lambda e: e.coefs_.append(np.zeros((2, 2))),
        lambda e: e.coefs_.pop(),
        lambda e: e.coefs_.__setitem__(0, e.coefs_[0][:, :-1].copy()),
        lambda e: e.coefs_.__setitem__(1, e.coefs_[1].astype(np.int64)),
        lambda e: e.intercepts_.__setitem__(0, np.zeros((4, 1))),
        lambda e: setattr(e, "coefs_", tuple(e.coefs_)),
        lambda e: setattr(e, "intercepts_", {}),
        lambda e: setattr(e, "classes_", np.arange(1, 3)),
        lambda e: delattr(e, "classes_"),
    ],
)
@pytest.mark.parametrize("family", ["torch-mlp", "torch-cnn"])
def test_layers_that_do_not_fit_together_are_refused_before_they_run(tmp_path, family, edit):
    bad = tampered(family, edit)
    with pytest.raises(InputError, match=f"does not hold a {family}"):
        save_model(replace(trained(family), estimator=bad), tmp_path / "never")
    directory = saved(tmp_path, family)
    put(directory, ESTIMATOR, archive.pack(bad))
    refused(directory, f"does not hold a {family}")


@pytest.mark.parametrize("family", ["hgb", "torch-mlp", "torch-cnn", "ridge"])
def test_numbers_that_are_not_finite_are_refused(tmp_path, family):
    def spoil(e) -> None:
        part = {"hgb": "threshold_", "ridge": "coef_"}.get(family, "mean_")
        getattr(e[-1] if family == "ridge" else e, part).flat[0] = np.inf

    with pytest.raises(InputError, match="does not hold"):
        save_model(replace(trained(family), estimator=tampered(family, spoil)), tmp_path / "never")


def test_a_model_too_large_to_load_is_not_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_ENTRIES", 3)
    with pytest.raises(InputError, match="larger than a stored model may be"):
        save_model(trained("rf"), tmp_path / "m")
    assert not (tmp_path / "m").exists()


def tampered(family: str, edit):
    bad = copy.deepcopy(trained(family).estimator)
    edit(bad)
    return bad


def test_tree_sizes_that_lie_are_refused(tmp_path):
    directory = saved(tmp_path)
    good = (directory / ESTIMATOR).read_bytes()

    def lie(edit):
        def change(entries):
            schema = json.loads(entries["schema.json"])
            trees = [n for n in archive._nodes(schema) if n.get("__loader__") == "TreeNode"]
            edit(trees[0])
            entries["schema.json"] = json.dumps(schema).encode()

        put(directory, ESTIMATOR, rezip(good, change))

    for count in ("2", "-1", "0", "1e3", "null"):
        lie(lambda tree, count=count: tree["content"]["content"]["node_count"].update(content=count))
        refused(directory, str(directory / ESTIMATOR))
    lie(lambda tree: tree["__reduce__"]["args"]["content"][2].update(content="1000"))
    refused(directory, "a tree of another shape")


@pytest.mark.parametrize(
    "calibration",
    [
        np.zeros((0, 30), np.int16),
        np.zeros((4, 29), np.int16),
        np.zeros((4, 30)),
        np.zeros((4, 30), np.int32),
        np.zeros((4, 30), ">i2"),
        np.zeros((4097, 30), np.int16),
    ],
)
def test_calibration_of_another_shape(tmp_path, calibration):
    directory = saved(tmp_path)
    put(directory, CALIBRATION, npy_bytes(calibration))
    refused(directory, "calibration is")
    with pytest.raises(InputError, match="calibration is"):
        save_model(replace(trained("rf"), calibration=calibration), tmp_path / "other")


def test_calibration_of_long_windows_is_bounded_in_bytes(tmp_path):
    assert (calibration_rows(30, np.int16), calibration_rows(300, np.float64)) == (4096, 4096)
    assert calibration_rows(16 * 1024, np.float64) * 16 * 1024 * 8 == 2**25
    long = toy_dataset(per_class=8, window=1024)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stinger.models.validate.MAX_CALIBRATION_BYTES", 5 * 6144 * 2)
        model = train(long, "logreg", features="flatten", folds=0)
        assert 3 <= len(model.calibration) <= 5
        save_model(model, tmp_path / "m")
        assert len(load_model(tmp_path / "m").calibration) == len(model.calibration)
        with pytest.raises(InputError, match="1 to 5 rows"):
            save_model(replace(model, calibration=np.zeros((6, 6144), np.int16)), tmp_path / "n")


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_archives_load_or_are_refused_but_never_crash(data):
    family = data.draw(st.sampled_from(sorted(FAMILIES)))
    blob = bytearray(packed(family))
    for _ in range(data.draw(st.integers(1, 3))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        blob = blob[: data.draw(st.integers(0, len(blob)))]
    survive(bytes(blob), family)


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_damaged_schemas_load_or_are_refused_but_never_crash(data):
    family = data.draw(st.sampled_from(sorted(FAMILIES)))

    def damage(entries):
        schema = json.loads(entries["schema.json"])
        nodes = list(archive._nodes(schema))
        node = nodes[data.draw(st.integers(0, len(nodes) - 1))]
        if node:
            key = data.draw(st.sampled_from(sorted(node)))
            if data.draw(st.booleans()):
                del node[key]
            else:
                node[key] = data.draw(st.sampled_from([None, 0, "0", "null", "-1", "1e999", [], {}, "0.npy", nodes[0]]))
        try:
            entries["schema.json"] = json.dumps(schema).encode()
        except ValueError:  # the first node inside itself cannot be written
            entries["schema.json"] = b"{}"

    survive(rezip(packed(family), damage), family)


def survive(blob: bytes, family: str) -> None:
    model = trained(family)
    message = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InconsistentVersionWarning)
            estimator = rebuilt(archive.unpack(blob, "a file"), model.spec, "a file")
        assert estimator.predict_proba(model.calibration.astype(np.float64)).shape == (len(model.calibration), 2)
    except StingerError as error:
        message = str(error)
    assert "\n" not in message
