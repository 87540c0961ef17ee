"""`stinger bench device`: rows that machines read."""

from __future__ import annotations

import json

from cli_in_process import run

from stinger.workflow.bench_device import adversarial


def test_a_row_for_each_model():
    code, out, said = run("bench", "device", "--model", "logreg", "--minutes", "3", "--samples", "100", "--json")
    assert (code, said) == (0, [])
    (row,) = json.loads(out)["rows"]
    assert (row["family"], row["target"]) == ("logreg", "integer")
    assert 3_000 < row["cycles_per_decision"] <= row["cycles_worst"] < 8_000
    assert row["worst_stream"] in {"session", *adversarial((1, 6))}
    assert 2_000 < row["flash_bytes"] < 8_192
    assert 1_000 < row["ram_bytes"] <= 2_048
    assert row["compiler"]
