"""Comparing levels: what counts as equal, what is named when it is not."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy import toy_dataset

from stinger.check.compare import compare_exactly, compare_probabilities, feature_crc
from stinger.errors import CheckFailedError
from stinger.link.board_log import BoardLogWriter
from stinger.link.frames import crc16
from stinger.link.messages import Decision, Sample
from stinger.link.replay import ReplayResult
from stinger.models.train import train
from stinger.windows.replay import ReplayStream
from stinger.workflow.check import check_log
from stinger.workflow.progress import Progress
from stinger_export.bundle import export_bundle, load_bundle
from stinger_export.integer.quantise import quantise

MODEL = quantise(train(toy_dataset(per_class=40), "logreg"))
WINDOW = MODEL.spec.window


def stream(n=130, seed=0) -> ReplayStream:
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, 800, (n, 6)).astype(np.int16)
    t_us = np.arange(n, dtype=np.int64) * MODEL.spec.period_us
    gap = np.zeros(n, dtype=bool)
    gap[0] = True
    return ReplayStream(samples, t_us, gap, MODEL.spec.period_us)


def answers(model, source: ReplayStream) -> ReplayResult:
    """What a faultless board says."""
    ready = source.ready(WINDOW)
    expected = model.decide(source.windows(WINDOW))
    n = len(source)

    def spread(values):
        out = np.zeros((n, *values.shape[1:]), values.dtype)
        out[ready] = values
        return out

    return ReplayResult(
        ready=ready,
        label=spread(expected.label),
        probability=spread(expected.probability),
        score=spread(expected.score),
        feature_crc=spread(feature_crc(expected.feature)),
        cycles=np.full(n, 5000, np.uint32),
        dropped=0,
    )


def compared(result):
    source = stream()
    expected = MODEL.decide(source.windows(WINDOW))
    return compare_exactly(("L2", "L3"), expected, source.ready(WINDOW), result)


def test_a_faultless_board_agrees():
    comparison = compared(answers(MODEL, stream()))
    assert comparison.failure is None
    assert (comparison.windows, comparison.flips, comparison.max_difference) == (81, 0, 0)


@pytest.mark.parametrize(
    ("field", "name"),
    [("score", "score"), ("probability", "probability"), ("label", "label"), ("feature_crc", r"features \(CRC\)")],
)
@pytest.mark.parametrize("at", [49, 100, 129])
def test_one_bit_anywhere_is_found_and_named(field, name, at):
    result = answers(MODEL, stream())
    changed = getattr(result, field).copy()
    changed[at] ^= 1
    comparison = compared(replace(result, **{field: changed}))
    assert comparison.failure is not None
    assert re.match(rf"L3 is not L2: sample {at}: {name}", comparison.failure)
    assert "1 of 81 windows differ" in comparison.failure
    assert comparison.flips == (field == "label")


def test_a_window_full_too_early_or_never_is_found():
    result = answers(MODEL, stream())
    for at, words in ((48, "not full expected"), (77, "full expected")):
        ready = result.ready.copy()
        ready[at] ^= True
        assert f"sample {at}: window {words}" in compared(replace(result, ready=ready)).failure


def test_nothing_to_compare_is_a_failure():
    source = stream(20)
    expected = MODEL.decide(source.windows(WINDOW))
    result = compare_exactly(("L2", "L3"), expected, source.ready(WINDOW), answers(MODEL, source))
    assert "no complete window" in result.failure


def test_differences_over_the_bound_and_flips_fail():
    first = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
    label = first.argmax(axis=1)
    assert compare_probabilities(("a", "b"), first, first, label, bound=0).failure is None
    off = first + np.array([[0, 0], [0.02, -0.02], [0, 0]])
    found = compare_probabilities(("a", "b"), first, off, label, bound=0.01)
    assert found.failure == "b differs from a by 0.02 at window 1, at most 0.01 is allowed"
    assert compare_probabilities(("a", "b"), first, off, label, bound=0.03).failure is None
    flipped = compare_probabilities(("a", "b"), first, first, 1 - label, bound=0)
    assert (flipped.flips, flipped.ties) == (2, 1)
    assert flipped.failure == "b gives 2 of 3 windows another label than a, first at window 0"
    unknown = off.copy()
    unknown[2] = np.nan
    assert "differs" in compare_probabilities(("a", "b"), first, unknown, label, bound=0.5).failure


@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=40))
def test_feature_crc_is_the_protocols(values):
    vector = np.array([values], dtype=np.int16)
    assert feature_crc(vector).tolist() == [crc16(vector.astype("<i2").tobytes())]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "b"
    export_bundle(train(toy_dataset(per_class=40), "logreg"), path)
    return load_bundle(path)


def write_log(path, source, result, rows, model_hash=MODEL.hash, sequence=None):
    with BoardLogWriter(path, model_hash, ("ax", "ay", "az", "gx", "gy", "gz"), 2) as log:
        for i in rows:
            number = i if sequence is None else sequence[i]
            ready = bool(result.ready[i])
            log.write(
                Sample(int(source.t_us[i]) % 2**32, tuple(source.samples[i].tolist()), bool(i == 0)),
                Decision(
                    of=number,
                    t_us=int(source.t_us[i]) % 2**32,
                    cycles=5000,
                    ready=ready,
                    label=int(result.label[i]),
                    feature_crc=int(result.feature_crc[i]),
                    probability=tuple(result.probability[i].tolist()) if ready else (),
                    score=tuple(result.score[i].tolist()) if ready else (),
                ),
            )


def test_a_log_with_lost_samples_is_compared_where_it_can_be(bundle, tmp_path):
    source = stream(300)
    result = answers(MODEL, source)
    rows = [i for i in range(300) if not 120 <= i < 125]
    write_log(tmp_path / "log.csv", source, result, rows)
    comparison = check_log(bundle, tmp_path / "log.csv", Progress())
    assert comparison.failure is None
    # 49 fill the first window; after the loss 50 more must pass before this side knows the board's window.
    assert comparison.windows == (120 - 49) + (300 - 125 - 49)


def test_a_log_that_begins_in_mid_stream(bundle, tmp_path):
    source = stream(200)
    write_log(tmp_path / "log.csv", source, answers(MODEL, source), range(70, 200))
    comparison = check_log(bundle, tmp_path / "log.csv", Progress())
    assert (comparison.failure, comparison.windows) == (None, 130 - 49)


def test_a_wrong_decision_in_a_log_is_named(bundle, tmp_path):
    source = stream(200)
    result = answers(MODEL, source)
    result.score[150] += 1
    write_log(tmp_path / "log.csv", source, result, range(200))
    assert "log is not L2: sample 150: score" in check_log(bundle, tmp_path / "log.csv", Progress()).failure


def test_a_log_of_another_model_is_refused(bundle, tmp_path):
    source = stream(60)
    write_log(tmp_path / "log.csv", source, answers(MODEL, source), range(60), model_hash="0123456789abcdef")
    with pytest.raises(CheckFailedError, match="0123456789abcdef"):
        check_log(bundle, tmp_path / "log.csv", Progress())
