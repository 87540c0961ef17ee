"""The bounds that exports promise are the ones they are held to, by an export and by every check."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from toy import toy_dataset

from stinger.check import prove
from stinger.check.compare import compare_probabilities
from stinger.errors import CheckFailedError
from stinger.models.train import train
from stinger_export import parity
from stinger_export.bundle import export_bundle
from stinger_export.emlearn_header import to_emlearn
from stinger_export.exercise import exercise_stream
from stinger_export.onnx_graph import to_onnx, to_onnx_classifier
from stinger_export.parity import Samples, emlearn_parity, onnx_parity

#: Largest change of a probability that is promised, by what computes it.
PROMISED = {"onnx": 1e-5, "emlearn net": 1e-4, "emlearn trees": 0.005}


@cache
def asked(family: str) -> Samples:
    model = train(toy_dataset(classes=3, per_class=60), family, name="toy", folds=0)
    return Samples(model, exercise_stream(model))


def test_bounds_are_the_promised_ones():
    assert PROMISED["onnx"] == parity.ONNX_BOUND == prove.ONNX_BOUND
    assert PROMISED["emlearn net"] == parity.EMLEARN_NET_BOUND == prove.EMLEARN_NET_BOUND
    assert PROMISED["emlearn trees"] == parity.EMLEARN_TREE_BOUND == prove.EMLEARN_TREE_BOUND
    assert parity.TIE <= 1e-6


@pytest.mark.parametrize(
    ("family", "form", "promise"),
    [
        ("logreg", "onnx", "onnx"),
        ("rf", "onnx", "onnx"),
        ("hgb", "features", "onnx"),
        ("logreg", "emlearn", "emlearn net"),
        ("mlp", "emlearn", "emlearn net"),
        ("rf", "emlearn", "emlearn trees"),
    ],
)
def test_what_is_further_off_or_names_another_class_is_refused(family, form, promise, monkeypatch):
    """One probability of thousands a little too far off, or one label, and the form is not exported."""
    samples, bound = asked(family), PROMISED[promise]
    made = {"onnx": to_onnx, "features": to_onnx_classifier, "emlearn": to_emlearn}[form](samples.model)
    measure = emlearn_parity if form == "emlearn" else onnx_parity
    margin = np.diff(np.sort(samples.l0, axis=1)[:, -2:], axis=1)[:, 0]
    clear = int(margin.argmax())

    def answers(off: float, flipped: int | None) -> None:
        probability, label = samples.l0.copy(), samples.l0.argmax(axis=1)
        probability[clear, 0] += off
        if flipped is not None:
            label[flipped] = (label[flipped] + 1) % 3
        monkeypatch.setattr(parity, "run_onnx", lambda *_: (label, probability))
        monkeypatch.setattr(parity, "run_emlearn", lambda *_: (label, probability))

    for off in (0.0, 0.99 * bound, -0.99 * bound):
        answers(off, None)
        assert measure(samples, made).failure is None
    for off in (1.01 * bound, -1.01 * bound, np.nan):
        answers(off, None)
        assert "differs from L0" in measure(samples, made).failure
    answers(0.0, clear)
    assert measure(samples, made).flips == 1
    assert "another label than L0" in measure(samples, made).failure
    # Float networks may part where the model itself is undecided by less than they may be off; trees may not.
    close = int(np.where(margin > 3 * parity.TIE, margin, np.inf).argmin())
    answers(0.0, close)
    assert (measure(samples, made).failure is None) == (promise == "emlearn net" and margin[close] <= 2 * bound)


@pytest.mark.parametrize("target", ["onnx", "emlearn"])
def test_an_export_beyond_a_bound_writes_nothing(target, monkeypatch, tmp_path):
    samples = asked("rf")
    wrong = (samples.l0.argmax(axis=1), samples.l0 + 0.01)
    held_out = samples.model.held_out
    right = samples.model.predict_proba(held_out.windows)

    def run(*given):
        return (right.argmax(axis=1), right) if given[-1] is held_out.windows else wrong

    monkeypatch.setattr(parity, f"run_{target}", run)
    with pytest.raises(CheckFailedError, match=f"{target}: .* differs from L0 by 0.01, .* nothing was written"):
        export_bundle(samples.model, tmp_path / "b", targets=[target])
    assert not list(tmp_path.iterdir())


def test_exactness_is_every_bit():
    one = np.array([[0.25, 0.75]])
    label = np.array([1])
    assert compare_probabilities(("a", "b"), one, one, label, bound=0.0).failure is None
    assert compare_probabilities(("a", "b"), one, one + 2**-52, label, bound=0.0).failure is not None
