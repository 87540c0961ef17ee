"""What a transformer trains on besides recordings, and what it gives to others: datasets, files, soft labels."""

import json
import shutil
from dataclasses import replace

import ast_cases
import datasets
import numpy as np
import pyarrow as pa
import pytest
from cli_in_process import run

from stinger.errors import InputError
from stinger.features.spectrogram import AST
from stinger.models.ast.examples import examples_of_sessions
from stinger.models.ast.hf_dataset import INFO, STATE, read_hf_dataset, write_hf_dataset
from stinger.models.ast.model import AstModel
from stinger.models.ast.parts import divide
from stinger.models.ast.sizes import SIZES, Size
from stinger.models.ast.spectrogram_files import examples_of_files, holds_spectrograms
from stinger.models.soft_labels import read_soft_labels, write_soft_labels
from stinger.models.store import save_model
from stinger.models.train import train
from stinger.sessions.mcap_format.labels import labels_path
from stinger.sessions.write import write_sessions
from stinger.windows.explore import assemble, cut_session
from stinger.windows.spec import ExploreSpec
from stinger.windows.store import write_dataset
from stinger.workflow.magnetic_compare import CompareOptions, magnetic_compare, markdown
from stinger.workflow.progress import Progress
from stinger.workflow.soften import SoftenOptions, soften
from stinger.workflow.transformer_inputs import read_examples

ROWS = "data-00000-of-00001.arrow"


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    folder = tmp_path_factory.mktemp("field")
    for session in ast_cases.sessions():
        write_sessions([session], folder / f"{session.name}.mcap")
    return folder


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hf") / "good"
    write_hf_dataset(ast_cases.examples(), folder)
    return folder


@pytest.fixture
def copy(good, tmp_path):
    return shutil.copytree(good, tmp_path / "copy")


@pytest.fixture
def small_tiny(monkeypatch):
    monkeypatch.setitem(SIZES, "tiny", Size(ast_cases.SHAPE, ast_cases.SPEC))


def assert_same(one, other):
    for name in ("labels", "sequence", "segment", "start_ns", "end_ns"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in ("classes", "sources", "channels", "window_s"):
        assert getattr(one, name) == getattr(other, name)
    rows = np.array([len(one) - 1, 0, 3])
    np.testing.assert_array_equal(one.inputs.take(rows), other.inputs.take(rows))


# ---- HuggingFace datasets


def test_out_and_in_again(good, tmp_path):
    write_hf_dataset(ast_cases.examples(), tmp_path / "again")
    assert {p.name: p.read_bytes() for p in good.iterdir()} == {
        p.name: p.read_bytes() for p in (tmp_path / "again").iterdir()
    }
    assert_same(read_hf_dataset(good), ast_cases.examples())


def test_it_is_what_others_read(good):
    rows = datasets.load_from_disk(str(good)).with_format("numpy")
    examples = ast_cases.examples()
    assert rows.features["label"].names == list(examples.classes)
    assert rows.features["input_values"] == datasets.Array2D(shape=ast_cases.SPEC.shape, dtype="float32")
    assert rows[5]["recording"] == examples.sources[examples.sequence[5]].name
    np.testing.assert_array_equal(rows[5]["input_values"], examples.inputs.take(np.array([5]))[0])


def test_rows_that_others_chose_and_columns_they_added(good, tmp_path):
    rows = datasets.load_from_disk(str(good))
    some = rows.filter(lambda row: row["sequence"] != 1).map(lambda row: {"weight": row["segment"] / 2})
    some.save_to_disk(str(tmp_path / "some"))
    examples = read_hf_dataset(tmp_path / "some")
    assert set(examples.sequence.tolist()) == {0, 2, 3}
    np.testing.assert_array_equal(examples.inputs.take(np.array([9])), ast_cases.examples().inputs.take(np.array([18])))
    assert divide(examples, "group").kind == "group"


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def describe(change):
    def edited(folder):
        def change_description(content):
            about = json.loads(content["description"])
            change(about)
            content["description"] = json.dumps(about)

        edit(folder / INFO, change_description)

    return edited


def rewritten(change, **how):
    """The rows, changed."""

    def write(folder):
        with pa.memory_map(str(folder / ROWS)) as stream, pa.ipc.open_stream(stream) as reader:
            table = change(reader.read_all())
        options = pa.ipc.IpcWriteOptions(**how)
        with (
            pa.OSFile(str(folder / "new"), "wb") as out,
            pa.ipc.new_stream(out, table.schema, options=options) as writer,
        ):
            writer.write_table(table)
        (folder / "new").replace(folder / ROWS)

    return write


def column(name, values):
    def change(table):
        number = table.schema.get_field_index(name)
        made = pa.array(values(table), type=table.schema.field(name).type)
        return table.set_column(number, table.schema.field(name), made)

    return rewritten(change)


def linked(folder):
    shutil.move(folder / ROWS, folder / "rows")
    (folder / ROWS).symlink_to(folder / "rows")


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda f: (f / INFO).unlink(), "does not exist"),
        (lambda f: (f / STATE).write_text("["), "is not JSON"),
        (lambda f: (f / STATE).write_text("[]"), "does not list files of rows"),
        (lambda f: edit(f / STATE, lambda s: s.update(_data_files=[{"filename": "../x.arrow"}])), "does not list"),
        (lambda f: edit(f / STATE, lambda s: s.update(_data_files=[{"filename": "/etc/passwd"}])), "does not list"),
        (lambda f: edit(f / STATE, lambda s: s["_data_files"].append(s["_data_files"][0])), "does not list"),
        (lambda f: edit(f / STATE, lambda s: s.update(_data_files=[{"filename": "n.arrow"}])), "is not there, or a"),
        (lambda f: edit(f / STATE, lambda s: s.update(_format_type="evil")), "not a dataset of spectrograms"),
        (linked, "is not there, or a link"),
        (lambda f: (f / ROWS).write_bytes(b"x" * 100), "damaged"),
        (lambda f: (f / ROWS).write_bytes((f / ROWS).read_bytes()[:3000]), "damaged"),
        (lambda f: edit(f / INFO, lambda i: i.update(description="")), "not a dataset of spectrograms"),
        (describe(lambda a: a.update(format=9)), "makes no sense"),
        (describe(lambda a: a.update(window_s=-1)), "makes no sense"),
        (describe(lambda a: a.update(classes=["a", "b", "c"])), "makes no sense"),
        (describe(lambda a: a["spectrogram"].update(frames=10**9)), "not a dataset of spectrograms"),
        (describe(lambda a: a.update(sources=a["sources"][:1])), "sequence is out of range"),
        (rewritten(lambda t: t, compression="zstd"), "compressed"),
        (rewritten(lambda t: t, compression="lz4"), "compressed"),
        (rewritten(lambda t: t.drop_columns(["sequence"])), "no column 'sequence'"),
        (rewritten(lambda t: t.append_column("x", pa.nulls(len(t)))), "column 'x' is of a type that is not read"),
        (rewritten(lambda t: t.append_column("x", t["recording"].dictionary_encode())), "unusual way|not read"),
        (column("label", lambda t: [9] * len(t)), "label is out of range|damaged"),
        (column("start_ns", lambda t: [2**63 - 1] * len(t)), "start_ns is out of range"),
    ],
)
def test_strange_datasets(copy, break_it, message):
    break_it(copy)
    with pytest.raises(InputError, match=message) as error:
        read_hf_dataset(copy)
    assert "\n" not in str(error.value)


def test_rows_that_are_no_spectrograms(copy):
    column("input_values", lambda t: [[[float("nan")] * 32] * 64] * len(t))(copy)
    with pytest.raises(InputError, match="not all finite"):
        read_hf_dataset(copy).inputs.take(np.array([0]))


def test_several_datasets_in_one(good, tmp_path):
    rows = datasets.load_from_disk(str(good))
    datasets.DatasetDict({"train": rows, "test": rows}).save_to_disk(str(tmp_path / "dict"))
    with pytest.raises(InputError, match="holds several datasets; give the folder of one"):
        read_hf_dataset(tmp_path / "dict")


def test_as_typed(field, small_tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, complaints = run("magnetic", "dataset", field, "--out", "rows", "--size", "tiny", "--json")
    assert (code, complaints) == (0, [])
    assert json.loads(out)["windows"] == {"high": 12, "low": 12, "none": 12}
    # `from` a dataset, `from` recordings: the same windows give the same model but for the last bit of its mean.
    for name, place in (("a", "rows"), ("b", field)):
        code, _, complaints = run(
            *("train", place, "--family", "ast", "--debug", "--from-scratch", "tiny", "--out", name),
            *("--split", "session", "--name", "m"),
        )
        assert (code, complaints) == (0, [])
    recipes = [json.loads((tmp_path / name / "metrics.json").read_text())["recipe"] for name in "ab"]
    assert recipes[0].pop("data_hash") == recipes[1].pop("data_hash")
    means = [recipe["spectrogram"].pop("mean") for recipe in recipes]
    deviations = [recipe["spectrogram"].pop("std") for recipe in recipes]
    assert recipes[0] == recipes[1]
    assert means[0] == pytest.approx(means[1], abs=2e-4)
    assert deviations[0] == pytest.approx(deviations[1], abs=2e-4)
    # Another transformer's spectrograms: one that knows nothing yet takes them as they are.
    other = replace(ast_cases.SHAPE, max_length=AST.frames, num_mel_bins=AST.mel_bins)
    monkeypatch.setitem(SIZES, "small", Size(other, AST))
    assert run("train", "rows", "--family", "ast", "--debug", "--from-scratch", "small", "--out", "c")[0] == 0
    assert AstModel.load(tmp_path / "c").spec.spectrogram.frames == 64
    for arguments, message in (
        (["train", "rows", "--family", "ast", "--window-ms", "3000"], "windows are cut already"),
        (["train", "rows", field, "--family", "ast"], "is a dataset; give it alone"),
        (["magnetic", "dataset", field, "--out", "x", "--size", "huge"], "size 'huge' is unknown"),
    ):
        code, _, complaints = run(*arguments)
        assert code in (2, 3)
        assert message in complaints[0]


def test_without_the_extra(field, tmp_path, monkeypatch):
    import importlib.util  # noqa: PLC0415 - the one that is patched

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "datasets" else find(name, *a))
    code, _, complaints = run("magnetic", "dataset", field, "--out", tmp_path / "x")
    assert (code, complaints) == (
        2,
        ["stinger: a HuggingFace dataset needs datasets; install stinger-ml[ast]"],
    )


# ---- files with spectrograms


def spectrograms(field, out, *more):
    small = ("--frames", 64, "--mel-bins", 32, "--frame-ms", 200, "--hop-ms", 140, "--no-pictures", "--step", 1)
    assert run("magnetic", "spectrogram", field, "--out", out, *small, *more)[0] == 0
    return out


def test_files_with_spectrograms_are_the_same_examples(field, tmp_path):
    folder = spectrograms(field, tmp_path / "made")
    assert holds_spectrograms(folder / "1.mcap")
    assert not holds_spectrograms(field / "1.mcap")
    assert not holds_spectrograms(tmp_path / "none")
    read = read_examples([folder], Progress())
    direct = examples_of_sessions(ast_cases.sessions(), spec=ast_cases.SPEC)
    assert len(read) == len(direct)
    np.testing.assert_array_equal(read.start_ns, direct.start_ns)
    np.testing.assert_array_equal(read.end_ns, direct.end_ns)
    assert [read.classes[i] for i in read.labels] == [direct.classes[i] for i in direct.labels]
    np.testing.assert_array_equal(read.sequence, direct.sequence)
    np.testing.assert_array_equal(np.unique(read.segment, return_inverse=True)[1], direct.segment)
    np.testing.assert_array_equal(read.inputs.take(np.arange(9)), direct.inputs.take(np.arange(9)))
    assert read.channels == direct.channels


def test_files_that_do_not_fit(field, tmp_path):
    folder = spectrograms(field, tmp_path / "made")
    other = tmp_path / "other.mcap"
    spectrograms(field / "1.mcap", other, "--window", 2)
    with pytest.raises(InputError, match="have different channels, windows or spectrograms"):
        examples_of_files([folder / "1.mcap", other])
    labels_path(folder / "2.mcap").unlink()
    with pytest.raises(InputError, match=r"2.mcap has no labels beside it \(2.labels.json\)"):
        examples_of_files([folder / "1.mcap", folder / "2.mcap"])


# ---- soft labels


@pytest.fixture(scope="module")
def explored(tmp_path_factory):
    """A dataset of nine channels and windows of three seconds."""
    spec = ExploreSpec(classes="events", window_ms=3000, stride=1 / 3, split="session")
    dataset = assemble([cut_session(s, spec, i) for i, s in enumerate(ast_cases.sessions())], spec)
    folder = tmp_path_factory.mktemp("explored") / "train"
    write_dataset(dataset, folder)
    return dataset, folder


@pytest.fixture(scope="module")
def teachers(tmp_path_factory, explored):
    folder = tmp_path_factory.mktemp("teachers")
    save_model(train(explored[0], "rf", options={"n_estimators": 5}), folder / "rf")
    return ast_cases.saved(folder / "ast"), folder / "rf"


def test_soft_labels_are_the_teachers_answers(explored, teachers, tmp_path):
    dataset, folder = explored
    both = [soften(SoftenOptions([teacher], folder)).labels.probability for teacher in teachers]
    scale = np.array([channel.scale for channel in dataset.channels[:3]])
    said = AstModel.load(teachers[0]).predict_proba(dataset.windows[:, :, :3] * scale, 1e6 / dataset.period_us)
    np.testing.assert_allclose(both[0], said, atol=1e-6)
    result = soften(SoftenOptions(list(teachers), folder, tmp_path / "soft.npz"))
    np.testing.assert_allclose(result.labels.probability, (both[0] + both[1]) / 2)
    assert result.labels.teachers == ("small", "rf")
    hits = result.labels.probability.argmax(axis=1) == dataset.labels
    assert result.held_out_right == hits[dataset.held_out].mean()
    assert result.right == hits[~dataset.held_out].mean()
    read = read_soft_labels(tmp_path / "soft.npz")
    assert replace(read, probability=None, recording=None, start=None) == replace(
        result.labels, probability=None, recording=None, start=None
    )
    np.testing.assert_array_equal(read.probability, result.labels.probability)
    write_soft_labels(read, tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "soft.npz").read_bytes()


def test_a_transformer_is_compared_and_teaches(explored, teachers):
    student = ("mlp", "magnetic", {"hidden_layer_sizes": (4,), "max_iter": 5})
    options = CompareOptions(train_dir=explored[1], teachers=(teachers[0],), compact=(student,), seeds=1, board=False)
    report = magnetic_compare(options, Progress())
    row = next(row for row in report["rows"] if row["model"] == "small")
    said = soften(SoftenOptions([teachers[0]], explored[1]))
    assert row["accuracy"]["value"] == said.held_out_right
    weights = AstModel.load(teachers[0]).net.num_parameters()
    assert row["weight_bytes"] == 4 * weights
    assert row["host_us"] > 0
    assert f"| {4 * weights:,} |" in markdown(report)


def test_windows_are_found_in_any_order_of_windows_and_classes(explored, teachers):
    dataset, folder = explored
    labels = soften(SoftenOptions([teachers[0]], folder)).labels
    rng = np.random.default_rng(1)
    order = rng.permutation(len(labels))
    shuffled = replace(
        labels,
        probability=labels.probability[order][:, [2, 0, 1]],
        classes=tuple(labels.classes[i] for i in (2, 0, 1)),
        recording=labels.recording[order],
        start=labels.start[order],
    )
    np.testing.assert_array_equal(shuffled.of_dataset(dataset), labels.probability)
    some = dataset.rows(np.arange(len(dataset)) % 2 == 0)
    np.testing.assert_array_equal(shuffled.of_dataset(some), labels.probability[::2])
    with pytest.raises(InputError, match="1 of 36 windows have no soft labels"):
        replace(labels, start=labels.start + (np.arange(len(labels)) == 0)).of_dataset(dataset)
    with pytest.raises(InputError, match="make them for this dataset"):
        replace(labels, classes=("a", "b", "c")).of_dataset(dataset)


def test_soft_labels_as_typed(explored, teachers, tmp_path):
    out = tmp_path / "soft.npz"
    code, said, complaints = run("magnetic", "soft-labels", *teachers, "--train-dir", explored[1], "--out", out)
    assert (code, complaints) == (0, [])
    assert "36 windows of high, low, none" in said
    knows = ast_cases.saved(tmp_path / "seen", trained_on=read_soft_labels(out).recordings)
    _, said, _ = run("magnetic", "soft-labels", knows, "--train-dir", explored[1], "--out", out)
    assert "note: small learnt from 1 of 1 recordings that the dataset holds out windows of" in said
    for arguments, message in (
        ([teachers[0], "--out", tmp_path / "x.npy"], "is a .npz file"),
        ([tmp_path / "none", "--out", out], "does not exist"),
        ([ast_cases.saved(tmp_path / "o", channels=("mx", "my", "qz")), "--out", out], "no channel 'qz'"),
        ([ast_cases.saved(tmp_path / "c", classes=("a", "b", "c")), "--out", out], "small knows a, b, c"),
    ):
        code, _, complaints = run("magnetic", "soft-labels", *arguments, "--train-dir", explored[1])
        assert code in (2, 3)
        assert message in complaints[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"about": np.zeros(3, np.uint8)}, "holds no soft labels"),
        ({"probability": np.ones((36, 3))}, "contradict themselves"),
        ({"probability": np.full((36, 2), 0.5)}, "contradict themselves"),
        ({"recording": np.full(36, 9)}, "contradict themselves"),
        ({"start": np.zeros(4, np.int64)}, "contradict themselves"),
    ],
)
def test_strange_soft_labels(explored, teachers, tmp_path, change, message):
    path = tmp_path / "x.npz"
    write_soft_labels(soften(SoftenOptions([teachers[1]], explored[1])).labels, path)
    with np.load(path, allow_pickle=False) as arrays:
        content = dict(arrays)
    np.savez(path, **(content | change))
    with pytest.raises(InputError, match=message):
        read_soft_labels(path)


def test_published_spectrograms_are_the_default():
    assert SIZES["base"].spectrogram == SIZES["small"].spectrogram == AST
