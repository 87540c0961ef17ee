"""The main job: recording in, models on an emulated board out, every level compared."""

import re

import numpy as np
import pytest

import stinger.workflow.demo
import stinger_export.bundle
from conftest import files_below
from stinger.cli import main
from stinger.files import write_text
from stinger.windows.store import read_dataset
from stinger_export.bundle import load_bundle
from stinger_export.integer.c_source import c_source

FAMILIES = ("logreg", "mlp", "rf")
DEMOS = ("shots_demo", "nicla_demo")


@pytest.fixture(params=DEMOS)
def demo(request):
    return request.getfixturevalue(request.param)


def test_everything_agrees(demo):
    done, _ = demo
    assert (done.code, done.complaints) == (0, [])
    report = done.json
    assert report["ok"]
    assert [m["model"] for m in report["models"]] == list(FAMILIES)
    for model in report["models"]:
        by_levels = {tuple(c["levels"]): c for c in model["comparisons"]}
        assert set(by_levels) == {("L0", "L1"), ("L0", "L2"), ("L2", "L3"), ("L2", "L4"), ("L0", "emlearn")}
        assert all(c["windows"] >= 1000 for c in by_levels.values())
        assert all(c["failure"] is None for c in by_levels.values())
        for level in ("L3", "L4"):
            exact = by_levels["L2", level]
            assert exact["max_probability_difference"] == exact["label_flips"] == 0
        assert by_levels["L0", "L1"]["max_probability_difference"] <= 1e-5
        assert by_levels["L0", "L1"]["label_flips"] == 0
        assert by_levels["L0", "L2"]["max_probability_difference"] <= 0.03
        assert model["metrics"]["L0"]["accuracy"] - model["metrics"]["L2"]["accuracy"] <= 0.005
        assert model["metrics"]["L2"] == model["metrics"]["L3"] == model["metrics"]["L4"]
        assert by_levels["L0", "emlearn"]["label_flips"] == 0


def test_costs_are_measured_on_the_board(demo):
    for model in demo[0].json["models"]:
        cost = model["cost"]
        # A decision takes thousands of cycles; the reference's float MLP took 1.22 million.
        assert 3_000 < cost["cycles_mean"] < 100_000
        assert cost["cycles_mean"] <= cost["cycles_max"] < 200_000
        assert 2_000 < cost["flash_bytes"] < cost["firmware_flash_bytes"]
        assert 600 < cost["ram_bytes"] <= 2048
        assert cost["microseconds"] == pytest.approx(cost["cycles_mean"] / cost["clock_hz"] * 1e6)


def test_the_board_classifies_the_real_test_files(nicla_demo):
    report = nicla_demo[0].json
    assert report["dataset"]["windows"].keys() == {"Idle", "Lift", "Maritime", "Terrestrial"}
    assert report["dataset"]["held_out_windows"] == 144
    for model in report["models"]:
        assert model["metrics"]["L4"]["accuracy"] >= 0.98


def test_the_board_anticipates_shots(shots_demo):
    for model in shots_demo[0].json["models"]:
        measured = model["metrics"]["L4"]
        assert measured["pr_auc"] > 0.5  # a guess that knows nothing: under 0.1


def test_report_and_pictures(demo):
    done, out = demo
    text = (out / "report.md").read_text()
    assert "**Everything agrees.**" in text
    for name in re.findall(r"\]\((\w+\.png)\)", text):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    assert {"session.png", "quality.png", "parity.png"} <= {p.name for p in out.iterdir()}
    for model in done.json["models"]:
        assert f"| {model['model']} |" in text
        assert f"{model['cost']['cycles_max']:,}" in text


def test_units_and_scales_are_kept(nicla_demo):
    bundle = load_bundle(nicla_demo[1] / "mlp" / "bundle")
    assert [c.unit for c in bundle.spec.channels[:3]] == ["m/s^2"] * 3
    assert bundle.spec.channels[0].scale == pytest.approx(9.80665 / 2048)
    assert bundle.spec.window == 59


def inject(monkeypatch, change):
    """Let the exporter write C that differs from the model by one number."""

    def generate_wrongly(model):
        texts = c_source(model)
        wrong = change(texts["stinger_model_data.c"])
        assert wrong != texts["stinger_model_data.c"]
        return texts | {"stinger_model_data.c": wrong}

    def write_wrongly(model, directory):
        for name, text in generate_wrongly(model).items():
            write_text(directory / name, text)

    # What bundles are written with, and what they are compared with before their C is compiled.
    monkeypatch.setattr(stinger_export.bundle, "write_c_source", write_wrongly)
    monkeypatch.setattr(stinger_export.bundle, "c_source", generate_wrongly)


def demo_in_process(monkeypatch, capsys, out, family):
    monkeypatch.setattr(stinger.workflow.demo, "FAMILIES", (family,))
    arguments = ["stinger", "demo", "--minutes", "4", "--windows", "1000", "--out", str(out)]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code, capsys.readouterr()


def test_one_wrong_weight_is_found_and_its_level_named(monkeypatch, capsys, tmp_path):
    def change(source):
        head, weights = source.split("layer1_weight[] = {\n    ")
        first, rest = weights.split(",", 1)
        return f"{head}layer1_weight[] = {{\n    {(int(first) + 1) % 256},{rest}"

    inject(monkeypatch, change)
    code, said = demo_in_process(monkeypatch, capsys, tmp_path / "demo", "mlp")
    assert code == 1
    assert re.search(r"stinger: mlp: L3 is not L2: sample \d+: score", said.err)
    assert re.search(r"stinger: mlp: L4 is not L2: sample \d+: score", said.err)
    assert "Everything agrees" not in said.out
    report = (tmp_path / "demo" / "report.md").read_text()
    assert "**These do not hold:**" in report
    assert "L4 differs" in report


def test_one_threshold_off_by_one_is_found_and_its_level_named(monkeypatch, capsys, tmp_path, shots_demo):
    # The root of a tree decides about every window: take the root whose threshold most windows lie just above.
    forest = load_bundle(shots_demo[1] / "rf" / "bundle").integer
    dataset = read_dataset(shots_demo[1] / "train")
    features = forest.spec.feature_set.compute(dataset.windows)
    roots = [int(r) for r in forest.body.roots if r >= 0]
    hits = [(features[:, forest.body.feature[r]] == forest.body.threshold[r] + 1).sum() for r in roots]
    node = roots[int(np.argmax(hits))]
    assert max(hits) > 0

    def change(source):
        start = source.index("nodes[] = {") + len("nodes[] = {")
        numbered = re.finditer(r"\{(-?\d+),", source[start:])
        found = next(m for i, m in enumerate(numbered) if i == node)
        a, b = start + found.start(1), start + found.end(1)
        return source[:a] + str(int(source[a:b]) + 1) + source[b:]

    inject(monkeypatch, change)
    code, said = demo_in_process(monkeypatch, capsys, tmp_path / "demo", "rf")
    assert code == 1
    assert re.search(r"stinger: rf: L3 is not L2: sample \d+: score", said.err)
    assert re.search(r"stinger: rf: L4 is not L2: sample \d+: score", said.err)


def test_explore_train_export_give_the_same_bytes_twice(stinger, shots_demo):
    recording = shots_demo[1] / "recording.bin"
    trees = []
    for number in (1, 2):
        for family in FAMILIES:
            base = f"{number}/{family}"
            assert stinger("explore", recording, "--outdir", f"{base}/data").code == 0
            train = ("train", "--train-dir", f"{base}/data/train", "--model", family, "--out", f"{base}/model")
            assert stinger(*train).code == 0
            assert stinger("export", f"{base}/model", "--out", f"{base}/bundle").code == 0
        trees.append(files_below(stinger.cwd / str(number)))
    assert trees[0].keys() == trees[1].keys()
    assert [name for name in trees[0] if trees[0][name] != trees[1][name]] == []
