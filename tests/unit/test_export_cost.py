"""Budgets as people write them, and what a model's parts take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy import toy_dataset

from stinger.errors import UsageError
from stinger.models.train import train
from stinger.workflow.export import parse_budget
from stinger.workflow.export_parts import parts_of
from stinger_export.integer.quantise import quantise


def test_budgets():
    assert parse_budget("flash=8k,ram=2k,cycles=35k") == {"flash": 8192, "ram": 2048, "cycles": 35_000}
    assert parse_budget(" cycles=900 ") == {"cycles": 900}
    for text in ("", "flash", "flash=", "flash=k", "flash=-1", "flash=1.5k", "disk=1", "ram=1,ram=2", "ram=²"):
        with pytest.raises(UsageError, match="flash=8k,ram=2k,cycles=35k"):
            parse_budget(text)


@given(flash=st.integers(0, 10**9), cycles=st.integers(0, 10**9))
def test_any_number_is_a_budget(flash, cycles):
    assert parse_budget(f"flash={flash},cycles={cycles}k") == {"flash": flash, "cycles": 1000 * cycles}


@pytest.mark.parametrize(
    ("family", "features"), [("mlp", "rich"), ("rf", "rich"), ("hgb", "summary"), ("dt", "invariant")]
)
def test_parts_add_up_to_what_was_measured(family, features):
    model = train(toy_dataset(per_class=60), family, features=features, name="toy", folds=0)
    integer = quantise(model)
    parts = parts_of(integer, model.calibration, flash=20_000, ram=1_100, cycles=10**6)
    assert sum(part.flash for part in parts) == 20_000
    assert sum(part.ram for part in parts) == 1_100
    assert sum(part.cycles or 0 for part in parts) == 10**6
    assert all(part.flash >= 0 and part.ram >= 0 for part in parts)
    names = [part.name for part in parts]
    if family == "mlp":
        assert [name.split(" (")[0] for name in names[:4]] == ["scaler", "layer 1", "layer 2", "layer 3"]
        assert parts[2].name == "layer 2 (64x32, 8 bits)"
        assert parts[2].flash == 64 * 32 + 8 * 32 + 16
    else:
        nodes = sum(part.flash for part in parts if "nodes" in part.name)
        assert nodes == 8 * len(integer.body.feature)
