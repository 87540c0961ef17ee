"""`stinger bench device`: rows that machines read, and that only right answers get."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from cli_in_process import run

from stinger.workflow import bench_targets
from stinger.workflow.bench_device import profile_table
from stinger.workflow.bench_streams import BenchStreams, adversarial
from stinger.workflow.bench_targets import TARGETS

SMALL = ("--minutes", "3", "--samples", "70")
KEYS = {"family", "target", "cycles_per_decision", "decisions", "cycles_worst", "worst_stream"}
KEYS |= {"flash_bytes", "ram_bytes", "times_integer", "compiler"}


@pytest.fixture(scope="module")
def rows():
    code, out, said = run("bench", "device", *SMALL, "--json")
    assert (code, said) == (0, [])
    return {(row["family"], row["target"]): row for row in json.loads(out)["rows"]}


def test_there_is_a_row_for_each_form_of_the_main_models(rows):
    assert list(rows) == [(family, target) for family in ("logreg", "mlp", "rf") for target in TARGETS]
    assert len({row["compiler"] for row in rows.values()}) == 1
    for row in rows.values():
        assert row.keys() == KEYS
        assert 0 < row["cycles_per_decision"] <= row["cycles_worst"]
        assert row["worst_stream"] in {"session", *adversarial((1, 6))}
        assert row["decisions"] in (21, 2)


def test_the_librarys_rows_keep_the_targets(rows):
    for family, cycles, flash in (("logreg", 6_000, 6_000), ("mlp", 27_000, 10_500), ("rf", 8_500, 10_000)):
        integer, image = rows[family, "integer"], rows[family, "mlmd"]
        assert 3_000 < integer["cycles_per_decision"] < cycles
        assert integer["flash_bytes"] < flash
        assert 1_000 < integer["ram_bytes"] <= 2_048
        assert integer["times_integer"] == 1
        # Nodes of an image have the feature's number and not its place, a cycle each; what checks images comes on top.
        assert image["cycles_per_decision"] == pytest.approx(integer["cycles_per_decision"], rel=0.05)
        assert integer["flash_bytes"] + 2_000 < image["flash_bytes"] < integer["flash_bytes"] + 12_000
        assert integer["ram_bytes"] < image["ram_bytes"] < integer["ram_bytes"] + 4_096


def test_float_costs_what_was_measured_before_and_many_times_the_integers(rows):
    # An emulated Cortex-M0+ with GCC -O2 took 148,000 cycles for the stock firmware's logistic regression, 1.22 million
    # for its network, and 946,000 for emlearn's.
    expected = {
        ("logreg", "float"): 148_000,
        ("mlp", "float"): 1_220_000,
        ("mlp", "emlearn"): 946_000,
        ("rf", "float"): 300_000,
    }
    for form, cycles in expected.items():
        assert 0.8 * cycles < rows[form]["cycles_per_decision"] < 1.6 * cycles
    for family in ("logreg", "mlp", "rf"):
        assert rows[family, "float"]["times_integer"] > 20
        assert rows[family, "emlearn"]["times_integer"] > 1.2
    for target in ("emlearn", "float"):
        assert rows["mlp", target]["times_integer"] > 30
        assert rows["mlp", target]["flash_bytes"] > 16_640
    # The window alone, as 16-bit integers, is 600 bytes; emlearn has the library's features and its own activations.
    assert 600 <= rows["mlp", "float"]["ram_bytes"] < 700
    assert rows["mlp", "emlearn"]["ram_bytes"] >= rows["mlp", "integer"]["ram_bytes"] + 2 * 4 * 64


def test_a_profile_says_where_the_cycles_go():
    code, out, said = run("bench", "device", "--model", "mlp", "--target", "integer", *SMALL, "--profile", "--json")
    assert (code, said) == (0, [])
    report = json.loads(out)
    (row,) = report["rows"]
    cycles = {part["function"]: part["cycles"] for part in report["profile"]}
    assert len(cycles) == len(report["profile"])
    assert sum(part["share"] for part in report["profile"]) == pytest.approx(1)
    assert sum(cycles.values()) == pytest.approx(row["cycles_per_decision"], rel=0.02)
    # Compilers inline more or less of the hidden layers, but the products are in one function.
    assert max(cycles.values()) == next(iter(cycles.values())) > 0.6 * row["cycles_per_decision"]
    # The vector, and the quotients in it: compilers may name what they made of that function after it.
    quotients = sum(number for name, number in cycles.items() if name.partition(".")[0] == "divided")
    assert 500 < cycles["stinger_features"] + quotients < 2_000
    columns, text = profile_table(report["profile"])
    assert columns == ["family", "target", "function", "cycles", "share"]
    assert text[0][:3] == ["mlp", "integer", next(iter(cycles))]
    assert len(text) == sum(part["share"] >= 0.005 for part in report["profile"]) < len(cycles)


def test_wrong_floats_get_no_row(monkeypatch):
    right = bench_targets.write_stock

    def wrong(stock, *rest):
        ((weight, bias),) = stock.layers
        return right(replace(stock, layers=((weight, bias + np.float32(0.01)),)), *rest)

    monkeypatch.setattr(bench_targets, "write_stock", wrong)
    code, out, said = run("bench", "device", "--model", "logreg", "--target", "float", *SMALL, "--json")
    assert (code, out) == (1, "")
    assert "logreg, float, on the emulated board: the board differs from the model by" in said[0]


def test_wrong_trees_get_no_row(monkeypatch):
    right = bench_targets.to_emlearn

    def wrong(model):
        header = right(model)
        return replace(header, header_text=header.header_text.replace("/128.0f", "/129.0f"))

    monkeypatch.setattr(bench_targets, "to_emlearn", wrong)
    code, out, said = run("bench", "device", "--model", "rf", "--target", "emlearn", *SMALL, "--json")
    assert (code, out) == (1, "")
    assert "rf, emlearn, on the emulated board: the board differs from the model by" in said[0]


@pytest.mark.parametrize(
    ("model", "target", "message"),
    [
        ("logreg", "onnx", "unknown target 'onnx'; choose from integer, mlmd, emlearn, float"),
        ("hgb", "emlearn", "hgb has no form 'emlearn' to measure; leave out --target, or the model"),
        ("ridge", "float", "ridge has no form 'float' to measure; leave out --target, or the model"),
    ],
)
def test_forms_that_are_not_there_are_refused(model, target, message):
    code, out, said = run("bench", "device", "--model", model, "--target", target, *SMALL)
    assert (code, out) == (2, "")
    assert message in said[0]


def test_few_windows_are_windows_of_the_full_streams():
    session = np.random.default_rng(5).integers(-2000, 2000, (130, 6)).astype(np.int16)
    streams = BenchStreams(session, 50, 10_000)
    full, few = streams.full, streams.few
    windows = few.windows(50)
    assert few.ready(50).sum() == len(few) // 50 == len(windows)
    everything = {w.tobytes() for w in full.windows(50)}
    assert all(w.tobytes() in everything for w in windows)
    assert (windows[1] == session[16:66]).all()
    assert (windows[-1] == full.samples[-50:]).all()
    assert len(streams.first(few, 3)) == 150
