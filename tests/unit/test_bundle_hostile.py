"""Bundles of strangers: whatever is changed, one is opened and works, or is refused in one line, within bounds."""

from __future__ import annotations

import io
import json
import random
import shutil
import time
import tracemalloc
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bundle_fuzz import STRANGE, change_file, pack, rehash, use
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy import toy_dataset

from stinger.errors import InputError, StingerError, ToolchainError
from stinger.models.archive import MAX_UNPACKED
from stinger.models.train import train
from stinger.sessions.session import Channel
from stinger_export.bundle import export_bundle, load_bundle
from stinger_export.exercise import exercise_stream, usual_samples

MODELS = (("logreg", "rich"), ("rf", "summary"), ("hgb", "summary"), ("mlp", "float-rich"))
#: A file, and a model whose bundle holds it.
FILES = (
    *(("manifest.json", k) for k in range(4)),
    *(("model/manifest.json", k) for k in range(4)),
    *(("model/estimator.skops", k) for k in range(4)),
    *(("model/calibration.npy", k) for k in (0, 3)),
    *(("integer/model.npz", k) for k in range(3)),
    *(("model.mlmd", k) for k in range(3)),
    *(("replay.npz", k) for k in (0, 3)),
    *(("vectors.npz", k) for k in (0, 3)),
    ("stock.mlmd", 3),
    ("stock_weights.h", 3),
    ("model.onnx", 0),
    ("model_features.onnx", 3),
)
SECONDS = 60.0
MEGABYTES = 200


@pytest.fixture(scope="module", name="made")
def _made(tmp_path_factory):
    place = tmp_path_factory.mktemp("made")
    models = [train(toy_dataset(per_class=24), f, features=s, name="toy", folds=0) for f, s in MODELS]
    return [export_bundle(model, place / str(k)).path for k, model in enumerate(models)]


@pytest.fixture(autouse=True)
def _no_compiler(monkeypatch):
    def none() -> None:
        raise ToolchainError("no compiler")

    monkeypatch.setattr("stinger.workflow.check.host_compiler", none)
    monkeypatch.setattr("stinger.workflow.check.cross_compiler", none)


def outcome(path: Path) -> str:
    """What becomes of a bundle: ``works`` or the name of the one error, which is one short line."""
    tracemalloc.start()
    began, said = time.monotonic(), ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # arithmetic that a user would see complaints of
            result = use(path)
    except StingerError as error:
        result, said = type(error).__name__, str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert "\n" not in said
    assert len(said) < 600
    assert time.monotonic() - began < SECONDS
    assert peak < MEGABYTES << 20
    return result


def copy(bundle: Path, tmp_path: Path) -> Path:
    target = tmp_path / "changed"
    shutil.rmtree(target, ignore_errors=True)
    return Path(shutil.copytree(bundle, target))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(which=st.sampled_from(FILES), seed=st.integers(0, 2**32 - 1))
def test_any_file_changed_anyhow(made, tmp_path, which, seed):
    name, model = which
    bundle = copy(made[model], tmp_path)
    change_file(bundle / name, random.Random(seed))
    rehash(bundle)
    assert outcome(bundle) in ("works", "InputError", "CheckFailedError", "UsageError")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_a_zip_changed_anyhow(made, tmp_path, seed):
    rng, path = random.Random(seed), tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(p for p in made[0].rglob("*") if p.is_file() and not p.name.startswith(".")):
            archive.write(file, file.relative_to(made[0]).as_posix())
    change_file(path, rng)
    said = ""
    try:
        load_bundle(path)
    except InputError as error:
        said = str(error)
    assert "\n" not in said
    assert "stinger-bundle-" not in said


@pytest.mark.parametrize("model", range(len(MODELS)))
def test_unchanged_they_work(made, model, tmp_path):
    """Or else all the other tests show nothing; with hashes that `rehash` made, too."""
    assert outcome(made[model]) == "works"
    bundle = copy(made[model], tmp_path)
    rehash(bundle)
    assert outcome(bundle) == "works"


def replace_array(bundle: Path, file: str, name: str, array: np.ndarray, claims: tuple[int, ...] | None = None) -> None:
    with np.load(bundle / file) as arrays:
        named = {key: arrays[key] for key in arrays.files} | {name: array}
    (bundle / file).write_bytes(pack(named, {} if claims is None else {name: claims}))
    rehash(bundle)


@pytest.mark.parametrize("file", ["integer/model.npz", "replay.npz", "vectors.npz"])
@pytest.mark.parametrize("claim", [(2**40,), (2**31, 2**31), (2**62, 8), (-1,), (0, 2**62), (10,) * 33])
def test_a_claim_of_a_header_allocates_nothing(made, tmp_path, file, claim):
    bundle = copy(made[0], tmp_path)
    with np.load(bundle / file) as arrays:
        name = sorted(arrays.files)[0]
        array = arrays[name]
    replace_array(bundle, file, name, array, claim)
    assert outcome(bundle) == "InputError"


def test_a_claim_of_the_calibration_allocates_nothing(made, tmp_path):
    bundle = copy(made[0], tmp_path)
    head = b"{'descr': '<i2', 'fortran_order': False, 'shape': (1099511627776, 30), }\n"
    data = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head
    (bundle / "model" / "calibration.npy").write_bytes(data)
    rehash(bundle)
    assert outcome(bundle) == "InputError"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("file", "name", "model"), [("vectors.npz", "l0", 0), ("vectors.npz", "features", 3)])
def test_numbers_that_are_none_never_pass(made, tmp_path, value, file, name, model):
    bundle = copy(made[model], tmp_path)
    with np.load(bundle / file) as arrays:
        array = arrays[name]
    array.flat[0] = value
    replace_array(bundle, file, name, array)
    assert outcome(bundle) == "CheckFailedError"


def test_a_replay_without_end_is_refused(made, tmp_path):
    """A quarter of a million samples fit a few kilobytes, the windows of more fit no memory."""
    bundle, many = copy(made[0], tmp_path), 1 << 18
    for name, array in (
        ("samples", np.zeros((many, 6), np.int16)),
        ("t_us", np.arange(many, dtype=np.int64)),
        ("gap_before", np.zeros(many, np.bool_)),
    ):
        replace_array(bundle, "replay.npz", name, array)
    with pytest.raises(InputError, match="longer than any that is exported"):
        load_bundle(bundle)


def test_trees_that_share_a_chain_are_refused(made, tmp_path):
    """A thousand trees, thirty thousand nodes, and thirty million steps for every window."""
    bundle, nodes = copy(made[1], tmp_path), 30_000
    chain = np.arange(1, nodes + 1, dtype=np.int16)
    chain[-1] = -1
    arrays = {
        "feature": np.zeros(nodes, np.uint16),
        "threshold": np.full(nodes, 32767, np.int16),
        "left": chain,
        "right": np.full(nodes, -1, np.int16),
        "roots": np.zeros(1000, np.int16),
    }
    for name, array in arrays.items():
        replace_array(bundle, "integer/model.npz", name, array)
    with pytest.raises(InputError, match="each with one parent"):
        load_bundle(bundle)


def test_an_estimator_that_names_one_array_a_thousand_times_is_refused(made, tmp_path):
    bundle = copy(made[1], tmp_path)
    path = bundle / "model" / "estimator.skops"
    with zipfile.ZipFile(path) as archive:
        inside = {name: archive.read(name) for name in archive.namelist()}
    large = io.BytesIO()
    np.save(large, np.zeros(2**19))
    schema = json.loads(inside["schema.json"])
    files = 0
    todo = [schema]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            if node.get("file", "").endswith(".npy") if isinstance(node.get("file"), str) else False:
                node["file"], files = "0.npy", files + 1
            todo.extend(node.values())
        elif isinstance(node, list):
            todo.extend(node)
    assert files * 2**22 > MAX_UNPACKED
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in (inside | {"0.npy": large.getvalue(), "schema.json": json.dumps(schema)}).items():
            archive.writestr(name, content)
    rehash(bundle)
    assert outcome(bundle) == "InputError"


@pytest.mark.parametrize("name", ["manifest.json", "model/manifest.json"])
@pytest.mark.parametrize("text", ['{"a":' * 200_000, "[" * 200_000, "", "null", "[]", '"' + "x" * 2**21, "\ufeff{}"])
def test_json_that_is_no_manifest(made, tmp_path, name, text):
    bundle = copy(made[0], tmp_path)
    (bundle / name).write_text(text)
    if name != "manifest.json":
        rehash(bundle)
    assert outcome(bundle) == "InputError"


@pytest.mark.parametrize("key", ["format", "kind", "files", "targets", "not_exported", "parity", "integer_hash"])
def test_anything_in_place_of_what_the_manifest_says(made, tmp_path, key):
    bundle = copy(made[0], tmp_path)
    before = json.loads((bundle / "manifest.json").read_text())
    for strange in STRANGE:
        (bundle / "manifest.json").write_text(json.dumps(before | {key: strange}))
        loss, said = 0.0, ""
        try:
            loss = load_bundle(bundle).max_loss
        except InputError as error:
            said = str(error)
        assert "\n" not in said
        assert 0 <= loss <= 1


@pytest.mark.parametrize("name", ["model.onnx", "vectors.npz", "replay.npz", "model.mlmd", "stock_weights.h"])
def test_a_file_larger_than_any_of_its_kind(made, tmp_path, name):
    """Sparse files take no room, and nobody should want to read them."""
    bundle = copy(made[3 if name.startswith("stock") else 0], tmp_path)
    before = json.loads((bundle / "manifest.json").read_text())
    with (bundle / name).open("r+b") as file:
        file.truncate(300 << 20)
    before["files"][name] = "0" * 64
    (bundle / "manifest.json").write_text(json.dumps(before))
    with pytest.raises(InputError, match="is larger than 256 MiB"):
        load_bundle(bundle)


def test_windows_of_the_longest_model_fit_in_memory():
    """A manifest can ask for windows of 1,024 samples and 16 channels; a check makes all that it needs of them."""
    usual = train(toy_dataset(per_class=24), "logreg", name="toy", folds=0)
    assert usual_samples(usual.spec) == 32 * 75
    channels = tuple(Channel(f"c{k}", "g", 1.0) for k in range(16))
    spec = replace(usual.spec, features="summary", window=1024, channels=channels)
    stream = exercise_stream(replace(usual, spec=spec, calibration=np.ones((4, 48), np.int16)))
    ready = int(stream.ready(1024).sum())
    assert ready > 4000
    assert ready * 1024 * 16 * 2 < 512 << 20
