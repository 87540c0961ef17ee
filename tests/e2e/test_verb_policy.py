"""The policy from training to the board, as a user meets it: `demo`, `export`, `check`, `virtual`, `monitor`."""

from __future__ import annotations

import json
import re

import pytest
from test_demo import demo_in_process, inject

from stinger.models.policy import Policy
from stinger_export.bundle import load_bundle


def test_a_demo_on_shots_proves_its_policies(shots_demo):
    done, out = shots_demo
    assert done.code == 0
    stock = Policy.stock().describe()
    for model in done.json["models"]:
        assert Policy.from_json(model["policy"]) == Policy.stock()
        exact = {tuple(c["levels"]): c for c in model["comparisons"] if c["levels"][0] == "L2"}
        assert exact.keys() == {("L2", "L3"), ("L2", "L4")}
        # Every sample of the stream, not only those with a full window.
        assert all(c["policy_samples"] > c["windows"] for c in exact.values())
        assert f"- {model['model']}: {stock}." in (out / "report.md").read_text()


def test_other_recordings_get_no_policy(nicla_demo):
    _, out = nicla_demo
    bundle = load_bundle(out / "logreg" / "bundle")
    assert bundle.spec.policy is None
    assert ".policy = NULL," in (bundle.source_dir / "stinger_model_data.c").read_text()
    assert "## Policies" not in (out / "report.md").read_text()


@pytest.mark.parametrize(("name", "wrong"), [("release", 140), ("gate_lsb", 61)])
def test_one_wrong_constant_of_the_policy_is_found_and_its_level_named(monkeypatch, capsys, tmp_path, name, wrong):
    right = getattr(Policy.stock(), name)
    inject(monkeypatch, lambda source: source.replace(f".{name} = {right},", f".{name} = {wrong},"))
    code, said = demo_in_process(monkeypatch, capsys, tmp_path / "demo", "logreg")
    assert code == 1
    for level in ("L3", "L4"):
        # A sample that shows it, or else the board's own account of its constants.
        assert re.search(
            rf"stinger: logreg: {level} is not L2: "
            rf"(sample \d+: policy (on|off), expected (on|off)|policy with {name} {wrong}, expected {right})",
            said.err,
        )
    assert "Everything agrees" not in said.out
    assert "L4 differs" in (tmp_path / "demo" / "report.md").read_text()


def test_a_changed_policy_is_another_model(stinger, shots_demo, tmp_path):
    """A board or a bundle with yesterday's policy is told from one with today's."""
    manifest = stinger.cwd / "model"
    source = shots_demo[1] / "logreg" / "bundle" / "model"
    manifest.mkdir()
    for path in source.iterdir():
        (manifest / path.name).write_bytes(path.read_bytes())
    path = manifest / "manifest.json"
    content = json.loads(path.read_text())
    content["spec"]["policy"]["on"] = 20_000
    path.write_text(json.dumps(content))
    done = stinger("export", manifest, "--out", "bundle")
    assert done.code == 0, done.err
    changed = load_bundle(stinger.cwd / "bundle")
    assert changed.spec.policy is not None
    assert changed.spec.policy.on == 20_000
    assert changed.integer.hash != load_bundle(shots_demo[1] / "logreg" / "bundle").integer.hash
    assert stinger("check", "bundle").code == 0

    content["spec"]["policy"]["window"] = 51
    path.write_text(json.dumps(content))
    refused = stinger("export", manifest, "--out", "other")
    assert refused.code == 3
    assert re.search("the policy is for a model with window 51, this one has 50", refused.complaints[0])
    assert len(refused.complaints) == 1
