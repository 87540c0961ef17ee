"""`stinger export` and `stinger check BUNDLE` as a user types them."""

import hashlib
import json

import numpy as np
import pytest

from conftest import SESSION_B, environment, files_below, run


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A dataset in ``out/train`` and three models trained on it."""
    cwd = tmp_path_factory.mktemp("models")
    assert run("explore", SESSION_B, "--outdir", "out", cwd=cwd).code == 0
    for name, family, features in (
        ("lr", "logreg", "rich"),
        ("stock", "mlp", "float-rich"),
        ("forest", "rf", "rich"),
    ):
        done = run(
            *("train", "--train-dir", "out/train", "--model", family, "--features", features, "--out", name), cwd=cwd
        )
        assert done.code == 0
    return cwd


def test_export_prints_parity_and_cost(stinger, models):
    done = stinger("export", models / "lr", "--out", "b", "--data", models / "out" / "train", "--json")
    assert (done.code, done.complaints) == (0, [])
    said = done.json
    assert said["targets"] == ["integer", "onnx", "emlearn", "mlmd"]
    held_out = ["integer, held out", "onnx, held out"]
    assert [p["target"] for p in said["parity"]] == [
        *("integer", held_out[0], "onnx", "onnx, from features", held_out[1]),
        *said["targets"][2:],
    ]
    assert all(p["failure"] is None for p in said["parity"])
    assert said["held_out"].keys() == {"L0", "L1", "L2"}
    assert said["held_out"]["L0"].keys() == {"accuracy", "roc_auc", "pr_auc"}
    assert all(abs(p["auc_loss"]) < 0.03 for p in said["parity"] if p["target"] in held_out)
    cost = said["cost"]
    assert 4_000 < cost["cycles"] < 15_000
    assert cost["milliseconds"] == pytest.approx(1e3 * cost["cycles"] / cost["clock_hz"], rel=1e-2)
    assert cost["share_of_period"] == pytest.approx(cost["milliseconds"] / 10, rel=1e-2)
    card = (stinger.cwd / "b" / "README.md").read_text()
    assert f"{cost['cycles']:,} cycles per decision" in card
    names = {
        "model.mlmd",
        "model.onnx",
        "model_features.onnx",
        "LICENSES.txt",
        "vectors.npz",
        "README.md",
        "manifest.json",
        "integer/stinger_model_data.c",
    }
    assert names <= files_below(stinger.cwd / "b").keys()


def test_stock_models_become_an_image_and_a_header(stinger, models):
    done = stinger("export", models / "stock", "--out", "b", "--target", "mlmd,stock-header")
    assert (done.code, done.complaints) == (0, [])
    assert "L0-stock" in done.out
    assert (stinger.cwd / "b" / "stock.mlmd").stat().st_size == 16_652
    assert "stinger_stock_w3[32]" in (stinger.cwd / "b" / "stock_weights.h").read_text()
    checked = stinger("check", "b", "--json")
    assert checked.code == 0
    levels = [["L0", "stock"], ["L0", "stock header"], ["vectors", "L0"], ["vectors", "stock"]]
    assert [c["levels"] for c in checked.json] == levels


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--target", "stock-header"), 2, "has no stock-header form"),
        (("--target", "onnx,exe"), 2, "unknown target 'exe'"),
        (("--max-loss", "0"), 2, "--max-loss is 0"),
        (("--max-loss", "nan"), 2, "--max-loss is nan"),
        (("--max-loss", "1e-6"), 1, "L2 differs from L0"),
        (("--budget", "flash=lots"), 2, "flash=8k,ram=2k,cycles=35k"),
        (("--budget", "flash=8k", "--no-cost"), 2, "leave out --no-cost"),
        (("--data", "nowhere"), 3, "nowhere"),
    ],
)
def test_refusals_are_one_line_and_write_nothing(stinger, models, options, code, says):
    done = stinger("export", models / "lr", "--out", "b", *options)
    assert done.code == code
    assert len(done.complaints) == 1
    assert says in done.complaints[0]
    assert not (stinger.cwd / "b").exists()


def test_over_budget_says_what_takes_what(stinger, models):
    done = stinger("export", models / "forest", "--out", "b", "--budget", "flash=1k,ram=64k,cycles=1000k")
    assert done.code == 1
    assert "over budget: flash" in done.complaints[0]
    assert "ram" not in done.complaints[0]
    assert "the other" in done.out
    assert "code, names" in done.out
    assert not (stinger.cwd / "b").exists()
    within = stinger("export", models / "lr", "--out", "b", "--budget", "flash=8k,ram=2k,cycles=35k")
    assert within.code == 0
    assert "bytes of flash" in within.out


def test_without_a_compiler_the_levels_left_out_are_named(stinger, models, monkeypatch):
    assert stinger("export", models / "lr", "--out", "b", "--no-cost").code == 0
    for name, value in environment(CC="no-such-compiler", STINGER_CROSS="gcc", PATH="/nowhere").items():
        monkeypatch.setenv(name, value)
    done = stinger("check", "b", "--json")
    assert done.code == 0
    levels = {"-".join(c["levels"]) for c in done.json}
    assert levels == {"L0-L1", "L0-L1 features", "L0-L2", "L2-mlmd", "vectors-L0", "vectors-L1", "vectors-L2"}
    assert [line.split(" (")[0] for line in done.complaints] == [f"not checked: {n}" for n in ("L3", "emlearn", "L4")]
    again = stinger("export", models / "lr", "--out", "c")
    assert again.code == 0
    assert "not exported: emlearn" in again.out
    assert "cost on the board: not measured" in again.out
    assert stinger("export", models / "lr", "--out", "d", "--target", "emlearn").code == 3
    assert stinger("export", models / "lr", "--out", "d", "--budget", "ram=2k").code == 3
    assert not (stinger.cwd / "d").exists()


def test_vectors_that_disagree_are_found(stinger, models):
    assert stinger("export", models / "lr", "--out", "b", "--target", "integer", "--no-cost").code == 0
    where = stinger.cwd / "b" / "vectors.npz"
    arrays = dict(np.load(where))
    arrays["l2"][3] = arrays["l2"][3][::-1]
    np.savez(where, **arrays)
    manifest = json.loads((stinger.cwd / "b" / "manifest.json").read_text())
    manifest["files"]["vectors.npz"] = hashlib.sha256(where.read_bytes()).hexdigest()
    (stinger.cwd / "b" / "manifest.json").write_text(json.dumps(manifest))
    done = stinger("check", "b")
    assert done.code == 1
    assert "l2 of vectors.npz differs" in done.complaints[-1]
