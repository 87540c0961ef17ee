"""The bench's plain-Python export: the exporter's own bytes, and the same windows as ours."""

from dataclasses import replace
from pathlib import Path

import pytest

from stinger.errors import CheckFailedError
from stinger.sessions.stinger_log import write_bin
from stinger.synth.shots import make_session
from stinger.synth.styles import STYLES
from stinger.windows.explore import cut_session
from stinger.windows.spec import preset
from stinger.workflow import bench
from stinger.workflow.bench_baseline import PlainLog, PlainRules, plain_export, plain_windows
from stinger.workflow.progress import Progress

GOLDEN = Path(__file__).parent.parent / "data" / "golden"
RECOMMENDED = bench._RULES["recommended"]
RULES = {
    "default": PlainRules(),
    "near": PlainRules(strategy="near"),
    "recommended": RECOMMENDED,
}


@pytest.mark.parametrize("name", RULES)
def test_it_writes_what_the_exporter_wrote(name, tmp_path):
    plain_export(GOLDEN / "session_a.bin", tmp_path, RULES[name])
    for file in ("windows_i16le.bin", "labels_u8.bin", "index.csv"):
        assert (tmp_path / file).read_bytes() == (GOLDEN / f"export_a_{name}" / file).read_bytes(), file


@pytest.mark.parametrize("style", ["standard", "runner", "rapid"])
@pytest.mark.parametrize("name", RULES)
def test_both_choose_the_same_windows(name, style, tmp_path):
    session, _ = make_session(11, 3, STYLES[style])
    write_bin(session, tmp_path / "log.bin")
    plain = plain_windows(PlainLog(tmp_path / "log.bin"), replace(RULES[name], seed=5))
    changes = {"neg_strategy": "near"} if name == "near" else {}
    spec = preset("recommended" if name == "recommended" else "default", gap_policy="reference", seed=5, **changes)
    ours = cut_session(session, spec)
    assert ours.start.tolist() == plain.starts
    assert [int(x) for x in ours.labels] == plain.labels
    assert len(plain.starts) > 30


def test_the_bench_measures_what_it_says():
    options = bench.BenchOptions(samples=6000, windows=300, hours=0.05, repeats=1)
    report = bench.bench_host(options, Progress())
    header, rows = bench.table(report)
    assert all(len(row) == len(header) for row in rows)
    features = next(row for row in report["rows"] if row["name"].startswith("features"))
    assert features["value"] == pytest.approx(300 / features["detail"]["seconds"] * 60)
    for row in report["rows"]:
        if row["name"].startswith("export"):
            assert row["value"] == pytest.approx(row["detail"]["plain_s"] / row["detail"]["explore_s"])


def test_a_bench_of_different_windows_fails(monkeypatch):
    monkeypatch.setitem(bench._RULES, "default", replace(PlainRules(), seed=99))
    with pytest.raises(CheckFailedError, match="chose different windows"):
        bench.bench_host(bench.BenchOptions(samples=6000, windows=1, hours=0.05, repeats=1), Progress())
