"""Transformers as folders and files: the same back, the same bytes, and nothing of a stranger's that could harm."""

import contextlib
import gzip
import io
import json
import math
import os
import shutil
import struct
import tarfile
from dataclasses import replace

import ast_cases
import numpy as np
import pytest
import safetensors.numpy as tensors_of
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from stinger.errors import InputError
from stinger.features.spectrogram import AST
from stinger.models.ast import tarball
from stinger.models.ast.folder import check_folder, load_net, new_net, read_about, read_table, save_folder
from stinger.models.ast.libraries import alone
from stinger.models.ast.model import AstModel
from stinger.models.ast.sizes import SIZES, Shape


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return ast_cases.saved(tmp_path_factory.mktemp("good") / "model", metrics={"accuracy": 0.5})


@pytest.fixture
def copy(good, tmp_path):
    return shutil.copytree(good, tmp_path / "copy")


def windows(count=3):
    return np.random.default_rng(1).normal(size=(count, 300, 3))


def test_what_is_saved_is_what_is_loaded(good):
    model = AstModel.load(good)
    assert model.spec == ast_cases.spec(metrics={"accuracy": 0.5})
    answers = model.predict_proba(windows(), 100.0)
    assert answers.shape == (3, 3)
    assert answers.dtype == np.float64
    np.testing.assert_allclose(answers.sum(axis=1), 1)
    with alone(1, 1):
        net = new_net(ast_cases.SHAPE, ast_cases.CLASSES)
    np.testing.assert_array_equal(AstModel(model.spec, net.eval()).predict_proba(windows(), 100.0), answers)
    # A window's answer is its own, whatever stands beside it; and it depends on the window.
    np.testing.assert_allclose(model.predict_proba(windows(9)[:3], 100.0), answers, atol=1e-6)
    assert len(np.unique(answers[:, 0])) == 3


def test_transformers_own_tools_read_the_folder(good, tmp_path):
    net = transformers.ASTForAudioClassification.from_pretrained(good, local_files_only=True)
    assert net.config.id2label == dict(enumerate(ast_cases.CLASSES))
    assert not (good / "preprocessor_config.json").exists()  # its extractor would make other spectrograms
    small = Shape(4, 1, 1, 4, frequency_stride=64, time_stride=64)
    with alone(1, 1):
        save_folder(new_net(small, ast_cases.CLASSES), ast_cases.spec(spectrogram=AST), tmp_path)
    extractor = transformers.ASTFeatureExtractor.from_pretrained(tmp_path)
    assert (extractor.max_length, extractor.num_mel_bins, extractor.mean) == (AST.frames, AST.mel_bins, AST.mean)
    assert check_folder(tmp_path).spectrogram == AST


def test_random_numbers_and_threads_are_as_they_were(good):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    np.random.seed(3)  # noqa: NPY002 - the one that could be disturbed
    AstModel.load(good).predict_proba(windows(), 100.0)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads
    assert np.random.rand() == np.random.RandomState(3).rand()  # noqa: NPY002 - as above


def test_parameters_are_counted_right():
    for size in (SIZES["tiny"].shape, ast_cases.SHAPE):
        with alone(1, 1), torch.device("meta"):
            net = new_net(size, ast_cases.CLASSES)
        assert sum(part.numel() for part in net.parameters()) == size.parameters(3)
    assert {name: round(size.shape.parameters(3) / 1e6, 2) for name, size in SIZES.items()} == {
        "tiny": 0.16,
        "small": 2.06,
        "base": 86.19,
    }


@pytest.mark.parametrize(
    ("values", "rate", "message"),
    [
        (np.zeros((1, 300, 2)), 100, r"expected \(n, samples, 3\): mx, my, mz"),
        (np.zeros((1, 300, 3)), 50, "windows of 6 s, small was trained on windows of 3 s"),
        (np.full((1, 300, 3), np.nan), 100, "no finite numbers"),
    ],
)
def test_windows_of_another_kind(good, values, rate, message):
    with pytest.raises(InputError, match=message):
        AstModel.load(good).predict_proba(values, rate)


def edit_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def weights(path, table, size):
    text = json.dumps(table).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(size))


TENSOR = {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, 48]}


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (shutil.rmtree, "is not a folder"),
        (lambda f: (f / "config.json").unlink(), "config.json: it does not exist"),
        (lambda f: (f / "config.json").write_text("{"), "is not JSON"),
        (lambda f: (f / "config.json").write_text("[" * 100_000), "is not JSON"),
        (lambda f: (f / "config.json").write_text("[]"), "holds no object"),
        (lambda f: (f / "config.json").write_bytes(bytes(2 << 20)), "larger than 1 MiB"),
        (
            lambda f: edit_json(f / "config.json", lambda c: c.update(model_type="bert")),
            "audio-spectrogram-transformer",
        ),
        (lambda f: edit_json(f / "config.json", lambda c: c.update(hidden_size=10**9)), "hidden_size must be"),
        (lambda f: edit_json(f / "config.json", lambda c: c.update(hidden_size="9")), "hidden_size must be"),
        (
            lambda f: edit_json(f / "config.json", lambda c: c.update(num_hidden_layers=48)),
            "weights, config.json speaks",
        ),
        (lambda f: edit_json(f / "config.json", lambda c: c.update(num_attention_heads=3)), "no multiple of 3 heads"),
        (lambda f: edit_json(f / "config.json", lambda c: c.update(time_stride=9)), r"speaks|spectrograms"),
        (lambda f: edit_json(f / "config.json", lambda c: c.update(patch_size=64)), "patches of 64 do not fit"),
        (
            lambda f: edit_json(f / "config.json", lambda c: c.update(hidden_act="relu")),
            "hidden_act is 'relu', only gelu",
        ),
        (lambda f: edit_json(f / "config.json", lambda c: c.update(qkv_bias=False)), "qkv_bias is False, only True"),
        (lambda f: (f / "model.safetensors").unlink(), "cannot read"),
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "weights in pickle only"),
        (lambda f: os.truncate(f / "model.safetensors", 5000), "damaged"),
        (lambda f: os.truncate(f / "model.safetensors", 3), "damaged"),
        (lambda f: (f / "model.safetensors").write_bytes(struct.pack("<Q", 1 << 60)), "damaged"),
        (lambda f: weights(f / "model.safetensors", {"x": {**TENSOR, "dtype": "I8"}}, 48), "damaged"),
        (lambda f: weights(f / "model.safetensors", {"x": {**TENSOR, "data_offsets": [8, 56]}}, 56), "damaged"),
        (lambda f: weights(f / "model.safetensors", {"x": {**TENSOR, "shape": [-3, -4]}}, 48), "damaged"),
        (lambda f: weights(f / "model.safetensors", {"x": TENSOR}, 48), "has no classifier"),
        (lambda f: weights(f / "model.safetensors", [], 0), "damaged"),
        (lambda f: os.truncate(f / "model.safetensors", (1 << 30) + 1), "larger than 1024 MiB"),
        (lambda f: edit_json(f / "stinger.json", lambda c: c.update(format=99)), "update stinger"),
        (lambda f: edit_json(f / "stinger.json", lambda c: c["spec"].update(classes=["a", "b"])), "2 classes"),
        (lambda f: edit_json(f / "stinger.json", lambda c: c["spec"].update(classes=["a", "b", "a"])), "classes is"),
        (lambda f: edit_json(f / "stinger.json", lambda c: c["spec"].update(window_s=0)), "window_s is"),
        (lambda f: edit_json(f / "stinger.json", lambda c: c["spec"].update(name="../x")), "name is"),
        (lambda f: edit_json(f / "stinger.json", lambda c: c["spec"].pop("seed")), "seed is"),
        (lambda f: edit_json(f / "stinger.json", lambda c: c["spec"]["spectrogram"].update(evil=1)), "spectrogram is"),
        (
            lambda f: edit_json(f / "stinger.json", lambda c: c["spec"]["spectrogram"].update(frames=9)),
            "different spec",
        ),
        (lambda f: (f / "stinger.json").write_text("3"), "holds no object"),
    ],
)
def test_strange_folders(copy, break_it, message):
    break_it(copy)
    with pytest.raises(InputError, match=message) as error:
        AstModel.load(copy)
    assert "\n" not in str(error.value)


NUMBERS = st.integers(-4, 60) | st.floats() | st.text(max_size=3) | st.none()
TABLES = st.dictionaries(
    st.text(max_size=5),
    st.fixed_dictionaries(
        {
            "dtype": st.sampled_from(["F32", "F16", "I64", "", None]),
            "shape": st.lists(NUMBERS, max_size=3) | NUMBERS,
            "data_offsets": st.lists(NUMBERS, max_size=3) | NUMBERS,
        }
    )
    | NUMBERS,
    max_size=3,
)


@settings(max_examples=150, deadline=None)
@given(content=st.binary(max_size=200), table=TABLES, size=st.integers(0, 60), plain=st.booleans())
def test_any_table_of_weights_is_one_or_refused(tmp_path_factory, content, table, size, plain):
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    if plain:
        path.write_bytes(content)
    else:
        weights(path, table, size)
    try:
        shapes = read_table(path)
    except InputError:
        return
    assert sum(4 * math.prod(shape) for shape in shapes.values()) >= size


@settings(max_examples=100, deadline=None)
@given(st.recursive(NUMBERS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner)))
def test_any_description_is_one_or_refused(value):
    about = {"format": 1, "spec": ast_cases.spec().to_json()}
    for key in about["spec"]:
        for broken in ({**about, "spec": {**about["spec"], key: value}}, {**about, "spec": value}, value):
            with contextlib.suppress(InputError):
                read_about(json.loads(json.dumps(broken)), "x")


def test_weights_that_fit_the_size_but_not_the_network(copy, good):
    tensors = tensors_of.load_file(good / "model.safetensors")
    name = next(name for name in tensors if "layernorm.weight" in name)
    tensors_of.save_file(
        {("other" if key == name else key): value for key, value in tensors.items()}, copy / "model.safetensors"
    )
    with pytest.raises(InputError, match=r"is not what config\.json speaks of"):
        AstModel.load(copy)
    tensors_of.save_file({**tensors, name: np.full_like(tensors[name], np.nan)}, copy / "model.safetensors")
    with pytest.raises(InputError, match="is not finite; train again"):
        AstModel.load(copy)


def test_code_and_other_files_of_a_folder_are_not_looked_at(copy, good, tmp_path):
    edit_json(copy / "config.json", lambda c: c.update(auto_map={"AutoConfig": "evil.Config"}, dtype="float16"))
    (copy / "evil.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')")
    (copy / "adapter_config.json").write_text("{")
    (copy / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    expected = AstModel.load(good).predict_proba(windows(), 100.0)
    np.testing.assert_array_equal(AstModel.load(copy).predict_proba(windows(), 100.0), expected)
    assert not (tmp_path / "run").exists()


def test_a_folder_of_somebody_else_is_no_finished_model(copy):
    (copy / "stinger.json").unlink()
    checked = check_folder(copy)
    assert (checked.about, checked.labels) == (None, 3)
    assert checked.spectrogram == replace(AST, frames=64, mel_bins=32)
    with pytest.raises(InputError, match="does not say what it was trained for"):
        AstModel.load(copy)
    net = load_net(checked, ("a", "b"))
    assert net.classifier.dense.out_features == 2
    assert net.config.id2label == {0: "a", 1: "b"}


# ---- as one file


def test_one_file_and_back(good, tmp_path):
    paths = [tmp_path / "a.model.tar.gz", tmp_path / "b.model.tar.gz"]
    tarball.write_tarball(good, paths[0])
    again = shutil.copytree(good, tmp_path / "again", copy_function=shutil.copyfile)
    (again / "notes.txt").write_text("not part of a model")
    tarball.write_tarball(again, paths[1])
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert tarball.content_id(good) == tarball.content_id(again)
    assert len(tarball.content_id(good)) == 12
    expected = AstModel.load(good).predict_proba(windows(), 100.0)
    np.testing.assert_array_equal(AstModel.load(paths[0]).predict_proba(windows(), 100.0), expected)
    # Any tar will do that holds the same, as `tar czf` packs a folder's content.
    with tarfile.open(tmp_path / "own.tar.gz", "w:gz") as archive:
        archive.add(good, ".", filter=lambda entry: entry if not entry.name.startswith("./.") else None)
    np.testing.assert_array_equal(AstModel.load(tmp_path / "own.tar.gz").predict_proba(windows(), 100.0), expected)


def entry(name, content=b"", **changes):
    made = tarfile.TarInfo(name)
    made.size = len(content)
    for key, value in changes.items():
        setattr(made, key, value)
    return made, content


def packed(path, entries, **how):
    with tarfile.open(path, "w:gz", **how) as archive:
        for made, content in entries:
            archive.addfile(made, io.BytesIO(content) if made.isreg() else None)
    return path


def zeros(path, size):
    """A tar that claims, and after unpacking has, a file of zeros."""
    header = tarfile.TarInfo("model.safetensors")
    header.size = size
    with gzip.open(path, "wb") as out:
        out.write(header.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(32):
            out.write(bytes(1 << 20))
    return path


def large_header(path, kind):
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, 1 << 33
    with gzip.open(path, "wb") as out:
        out.write(header.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    return path


LINK, HARD, DEVICE, FIFO = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: packed(p, [entry("../config.json", b"{}")]), "not a model's file, or damaged"),
        (lambda p: packed(p, [entry("/config.json", b"{}")]), "belongs to no model|no config.json and"),
        (lambda p: packed(p, [entry("sub/config.json", b"{}")]), "'sub/config.json' belongs to no model"),
        (lambda p: packed(p, [entry("evil.py", b"x")]), "'evil.py' belongs to no model"),
        (lambda p: packed(p, [entry("config.json", type=LINK, linkname="/etc/passwd")]), "damaged|plain file"),
        (lambda p: packed(p, [entry("config.json", type=LINK, linkname="stinger.json")]), "not a plain file"),
        (lambda p: packed(p, [entry("config.json", type=HARD, linkname="stinger.json")]), "not a plain file"),
        (lambda p: packed(p, [entry("config.json", type=DEVICE)]), "damaged|plain file"),
        (lambda p: packed(p, [entry("config.json", type=FIFO)]), "damaged|plain file"),
        (lambda p: packed(p, [entry("sub", type=tarfile.DIRTYPE)]), "not a plain file"),
        (lambda p: packed(p, [entry("config.json", b"{}")] * 2), "config.json is in it twice"),
        (lambda p: packed(p, [entry("config.json", bytes(2 << 20))]), "config.json is not of 0 to 1 MiB"),
        (lambda p: packed(p, [entry(".", type=tarfile.DIRTYPE)] * 9), "more than 5 entries"),
        (lambda p: packed(p, [entry("config.json", b"{}")]), "no config.json and model.safetensors in it"),
        (lambda p: zeros(p, (1 << 30) + 1), "model.safetensors is not of 0 to 1024 MiB"),
        (lambda p: zeros(p, 1 << 30), "cut off|damaged"),
        (lambda p: large_header(p, tarfile.XHDTYPE), "unpacks to more than a model may"),
        (lambda p: large_header(p, tarfile.GNUTYPE_LONGNAME), "unpacks to more than a model may"),
        (lambda p: p.write_bytes(b"no tar"), "not a model's file, or damaged"),
        (lambda p: p.write_bytes(gzip.compress(b"no tar" * 1000)), "not a model's file, or damaged"),
        (lambda p: p.write_bytes(gzip.compress(bytes(1 << 20))[:-20]), "damaged|no config.json"),
    ],
)
def test_strange_files(tmp_path, make, message):
    path, target = tmp_path / "x.model.tar.gz", tmp_path / "target"
    make(path)
    target.mkdir()
    with pytest.raises(InputError, match=message) as error:
        tarball.unpack(path, target)
    assert "\n" not in str(error.value)
    outside = [p for p in tmp_path.rglob("*") if p not in (path, target) and target not in p.parents]
    assert outside == []
    assert all(not p.is_symlink() for p in target.iterdir())


def test_cut_and_changed_files_never_crash(good, tmp_path):
    path = tmp_path / "x.model.tar.gz"
    tarball.write_tarball(good, path)
    data = path.read_bytes()
    rng = np.random.default_rng(1)
    for case in range(40):
        broken = bytearray(data)
        if case % 2:
            del broken[int(rng.integers(len(data))) :]
        else:
            for at in rng.integers(0, min(len(data), 4096), size=3):
                broken[at] ^= int(rng.integers(1, 256))
        path.write_bytes(broken)
        target = tmp_path / f"t{case}"
        target.mkdir()
        # Anything but an InputError, which a change in the weights need not give, fails the test.
        with contextlib.suppress(InputError):
            tarball.unpack(path, target)
            check_folder(target)


def test_where_there_is_none(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        AstModel.load(tmp_path / "none")
