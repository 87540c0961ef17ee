"""The model directory: repeatable bytes, exact round trips, and refusal of everything that is not a model."""

from __future__ import annotations

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
from toy import toy_dataset

from stinger.errors import InputError, StingerError
from stinger.models import archive
from stinger.models.spec import TrainedModel
from stinger.models.store import CALIBRATION, ESTIMATOR, MANIFEST, load_model, save_model
from stinger.models.train import train
from stinger.models.validate import rebuilt
from stinger.sessions.session import Channel

FAMILIES = ("logreg", "mlp", "rf")
SMALL = {"mlp": {"hidden_layer_sizes": [6, 4], "max_iter": 20}, "rf": {"n_estimators": 3, "max_depth": 3}}


@cache
def trained(family: str, classes: int = 2, small: bool = True) -> TrainedModel:
    options = SMALL.get(family) if small else None
    return train(toy_dataset(classes=classes, per_class=60), family, name=f"toy_{family}", options=options)


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
        "junk = [object() for _ in range(int(sys.argv[2]))]  # moves later objects in memory\n"
        "for f in ('logreg', 'mlp', 'rf'):\n"
        "    save_model(train(toy_dataset(per_class=60), f), Path(sys.argv[1]) / f)\n"
    )
    for run in ("1", "2"):
        subprocess.run(
            [sys.executable, "-c", program, tmp_path / run, str(int(run) * 12345)],
            env={"PYTHONPATH": str(Path(__file__).parent), "PYTHONHASHSEED": run},
            check=True,
        )
    first = sorted(p.relative_to(tmp_path / "1") for p in (tmp_path / "1").rglob("*") if p.is_file())
    assert len(first) >= 9
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
    (directory / MANIFEST).write_text(json.dumps({**manifest, "format": 2}))
    refused(directory, "format 2", "update stinger")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("window", v) for v in (1, 1025, 50.0, "50", True, None)],
        *[("period_us", v) for v in (0, -1, 10**10)],
        *[("lead_us", v) for v in (-1, 10**10)],
        *[("name", v) for v in ("", "a b", "1x", "x" * 49, "a;", 3, "naïve", "x\n")],
        *[("family", v) for v in ("svm", None, ["rf"])],
        *[("features", v) for v in ("flatten", 1)],
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
        ({"classes": ["a", "b", "c"]}, "logreg"),
        ({"classes": ["a", "b", "c"]}, "mlp"),
        ({"classes": ["a", "b", "c"]}, "rf"),
        ({"options": {"n_estimators": 4}}, "rf"),
        ({"options": {"hidden_layer_sizes": [6, 5]}}, "mlp"),
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
    [np.zeros((0, 30), np.int16), np.zeros((4, 29), np.int16), np.zeros((4, 30)), np.zeros((4097, 30), np.int16)],
)
def test_calibration_of_another_shape(tmp_path, calibration):
    directory = saved(tmp_path)
    put(directory, CALIBRATION, npy_bytes(calibration))
    refused(directory, "calibration is")
    with pytest.raises(InputError, match="calibration is"):
        save_model(replace(trained("rf"), calibration=calibration), tmp_path / "other")


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_archives_load_or_are_refused_but_never_crash(data):
    family = data.draw(st.sampled_from(FAMILIES))
    blob = bytearray(packed(family))
    for _ in range(data.draw(st.integers(1, 3))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        blob = blob[: data.draw(st.integers(0, len(blob)))]
    survive(bytes(blob), family)


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_damaged_schemas_load_or_are_refused_but_never_crash(data):
    family = data.draw(st.sampled_from(FAMILIES))

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
