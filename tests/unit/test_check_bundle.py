"""`stinger check BUNDLE`: which tools it misses, what a zip changes, and that a bundle's own code never runs."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path

import pytest
from cli_in_process import run
from toy import toy_dataset

from stinger.errors import ToolchainError
from stinger.models.store import save_model
from stinger.models.train import train
from stinger_export.bundle import export_bundle, load_bundle

NO_BOARD = "no compiler for the board found; run: pip install"


@pytest.fixture(scope="module", name="made")
def _made(tmp_path_factory):
    """A bundle of everything that a logistic regression allows."""
    model = train(toy_dataset(per_class=40), "logreg", name="toy", folds=0)
    return export_bundle(model, tmp_path_factory.mktemp("made") / "b").path


@pytest.fixture(name="bundle")
def _bundle(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "b"))


@pytest.fixture(autouse=True)
def _no_board(monkeypatch):
    """Compiling and emulating the firmware takes seconds; `tests/e2e/test_export.py` does."""

    def none() -> None:
        raise ToolchainError(NO_BOARD)

    monkeypatch.setattr("stinger.workflow.check.cross_compiler", none)


def rehash(bundle: Path, **changes: object) -> None:
    """Give the manifest the hashes of the files as they are, and other changes."""
    where = bundle / "manifest.json"
    manifest = json.loads(where.read_text()) | changes
    names = (p for p in bundle.rglob("*") if p.is_file() and p != where and not p.name.startswith("."))
    manifest["files"] = {p.relative_to(bundle).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in names}
    where.write_text(json.dumps(manifest))


def levels(out: str) -> set[str]:
    return {"-".join(c["levels"]) for c in json.loads(out)}


ALL = {"L0-L1", "L0-L1 features", "L0-L2", "L2-L3", "L0-emlearn", "L2-mlmd", "vectors-L0", "vectors-L1", "vectors-L2"}


def test_every_level_that_there_are_tools_for(bundle):
    code, out, said = run("check", bundle, "--json")
    assert (code, levels(out)) == (0, ALL)
    assert said == [f"not checked: L4 ({NO_BOARD})"]
    code, _, said = run("check", bundle, "--complete", "--json")
    assert code == 1
    assert said[-1] == "stinger: toy: --complete: L4 could not be checked"


def test_a_zip_is_exported_and_checked_like_a_directory(tmp_path):
    save_model(train(toy_dataset(per_class=40), "logreg", name="toy", folds=0), tmp_path / "model")
    said = []
    for name in ("b", "b.zip", "again.zip"):
        code, out, complaints = run("export", tmp_path / "model", "--out", tmp_path / name, "--no-cost", "--json")
        assert (code, complaints) == (0, [])
        assert json.loads(out)["bundle"] == str(tmp_path / name)
        said.append(run("check", tmp_path / name, "--json"))
    assert (tmp_path / "b.zip").read_bytes() == (tmp_path / "again.zip").read_bytes()
    assert said[0] == said[1] == said[2]
    assert (said[0][0], levels(said[0][1])) == (0, ALL)


def test_without_onnxruntime(bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    code, out, said = run("check", bundle, "--json")
    assert (code, levels(out)) == (0, {level for level in ALL if "L1" not in level})
    how = "(onnxruntime is missing; run: pip install onnxruntime)"
    assert said[:2] == [f"not checked: L1 {how}", f"not checked: vectors-L1 {how}"]


def test_without_onnxruntime_nothing_unmeasured_is_exported(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    model = train(toy_dataset(per_class=20), "logreg", name="toy", folds=0)
    bundle = export_bundle(model, tmp_path / "b")
    assert "onnx" not in bundle.targets
    assert "pip install onnxruntime" in bundle.manifest["not_exported"]["onnx"]
    assert not (bundle.path / "model.onnx").exists()
    assert "l1" not in bundle.vectors()


def test_with_a_compiler_that_refuses(bundle, monkeypatch):
    monkeypatch.setenv("CC", "false")
    code, out, said = run("check", bundle, "--json")
    assert (code, levels(out)) == (0, ALL - {"L2-L3", "L0-emlearn"})
    assert [line.split(" (")[0] for line in said] == [f"not checked: {name}" for name in ("L3", "emlearn", "L4")]
    assert "the compiler refused" in said[0]


def test_an_emlearn_header_alone_is_checked(tmp_path, monkeypatch):
    model = train(toy_dataset(per_class=20), "rf", name="toy", folds=0)
    export_bundle(model, tmp_path / "b", targets=["emlearn"])
    code, out, _ = run("check", tmp_path / "b", "--json")
    assert (code, levels(out)) == (0, {"L0-emlearn", "vectors-L0"})
    monkeypatch.setenv("CC", "no-such-compiler")
    code, out, said = run("check", tmp_path / "b", "--json")
    assert (code, levels(out)) == (0, {"vectors-L0"})
    assert said == ["not checked: emlearn (CC is no-such-compiler, which is not on the path; unset it or correct it)"]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("integer/stinger_model_data.c", lambda text: text + b"__attribute__((constructor)) void x(void) {}\n"),
        ("integer/stinger_limits.h", lambda text: text.replace(b"#endif", b"#include <stdlib.h>\n#endif")),
        ("emlearn/toy.h", lambda text: text.replace(b"#include", b"/* changed */\n#include", 1)),
        ("model.onnx", lambda text: text.replace(b"Sub", b"Add", 1)),
        ("model_features.onnx", lambda text: text[:-1]),
    ],
)
def test_code_that_is_not_ours_is_not_run(bundle, name, change):
    """Hashes prove nothing about who wrote a bundle."""
    before = (bundle / name).read_bytes()
    (bundle / name).write_bytes(change(before))
    assert (bundle / name).read_bytes() != before
    rehash(bundle)
    code, _, said = run("check", bundle)
    assert code == 3
    assert len(said) == 1
    assert f"{name} is not what stinger" in said[0]


def test_a_header_beside_the_sources_would_be_found_first(bundle):
    (bundle / "integer" / "stinger_ml.h").write_text("#error not ours\n")
    rehash(bundle)
    code, _, said = run("check", bundle)
    assert (code, len(said)) == (3, 1)
    assert "integer holds other files" in said[0]


def test_a_graph_of_another_release_is_the_same_graph(bundle):
    for name in ("model.onnx", "model_features.onnx"):
        data = (bundle / name).read_bytes()
        (bundle / name).write_bytes(data.replace(b"0.1.0", b"0.0.9"))
        assert (bundle / name).read_bytes() != data
    rehash(bundle)
    assert load_bundle(bundle).onnx() is not None
    assert load_bundle(bundle).onnx_features() is not None


def test_images_of_another_model_are_found(bundle, tmp_path):
    other = export_bundle(train(toy_dataset(per_class=40, seed=3), "logreg", name="toy", folds=0), tmp_path / "o")
    shutil.copy(other.path / "model.mlmd", bundle / "model.mlmd")
    rehash(bundle)
    code, _, said = run("check", bundle)
    assert code == 1
    assert any("the image holds another model" in line for line in said)


def test_stock_images_and_headers_with_other_weights_are_found(tmp_path):
    for seed, name in enumerate(("b", "other")):
        model = train(toy_dataset(per_class=40, seed=seed), "logreg", features="float-summary", name="toy", folds=0)
        export_bundle(model, tmp_path / name, targets=["mlmd", "stock-header"])
    assert run("check", tmp_path / "b")[0] == 0
    for name in ("stock.mlmd", "stock_weights.h"):
        bundle = Path(shutil.copytree(tmp_path / "b", tmp_path / name))
        shutil.copy(tmp_path / "other" / name, bundle / name)
        rehash(bundle)
        code, _, said = run("check", bundle)
        assert code == 1
        assert f"stinger: toy: {name} does not hold the model's weights" in said


def test_bundles_of_version_2_called_the_stock_forms_by_one_name(tmp_path):
    model = train(toy_dataset(per_class=40), "logreg", features="float-summary", name="toy", folds=0)
    bundle = export_bundle(model, tmp_path / "b", targets=["onnx", "mlmd", "stock-header"]).path
    for name in ("model_features.onnx", "LICENSES.txt"):
        (bundle / name).unlink()
    manifest = json.loads((bundle / "manifest.json").read_text())
    for name in ("versions", "opset", "files"):
        del manifest[name]
    manifest["parity"] = [{**entry, "target": entry["target"].replace("mlmd", "stock")} for entry in manifest["parity"]]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    rehash(bundle, format=2, targets=["onnx", "stock"])
    opened = load_bundle(bundle)
    assert opened.targets == ("onnx", "mlmd", "stock-header")
    code, out, said = run("check", bundle, "--json")
    assert (code, said) == (0, [])
    assert levels(out) == {"L0-L1", "L0-stock", "L0-stock header", "vectors-L0", "vectors-L1", "vectors-stock"}
