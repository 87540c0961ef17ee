"""Policies between host and board: what a board says of its own, and the comparison of on and off after each sample."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from link_fake_board import HELLO, FakeBoard, Faults, decide
from toy import toy_dataset

from stinger.check.compare import compare_exactly, feature_crc
from stinger.errors import LinkError
from stinger.link.board import Board
from stinger.link.board_log import BoardLogWriter
from stinger.link.info import parse_hello
from stinger.link.messages import Decision, Sample
from stinger.link.transport import open_port
from stinger.models.policy import Policy
from stinger.models.train import train
from stinger.monitor.plain import run_plain
from stinger.windows.replay import ReplayStream
from stinger.workflow.check import check_host, check_log
from stinger.workflow.progress import Progress
from stinger_export.bundle import export_bundle, load_bundle

POLICY = Policy.from_ms(on=0.55, off=0.5, rise_ms=30, fall_ms=40, gate=60, min_on_ms=60)
TOLD = {name: value for name, value in Policy.stock().to_json().items() if name not in {"window", "period_us"}}


@pytest.fixture(scope="module", name="bundle")
def _bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "b"
    model = train(toy_dataset(per_class=60), "logreg")
    export_bundle(replace(model, spec=replace(model.spec, policy=POLICY)), path)
    return load_bundle(path)


@pytest.fixture(scope="module", name="answered")
def _answered(bundle):
    """A stream, and what a faultless board says of it."""
    samples = toy_dataset(per_class=60, seed=5).windows[:30].reshape(-1, 6)
    n = len(samples)
    t_us = np.arange(n, dtype=np.int64) * bundle.spec.period_us
    t_us[700:] += 150_000
    t_us[1200:] += 20_000_000
    gap = np.isin(np.arange(n), (0, 700, 1200))
    source = ReplayStream(samples, t_us, gap, bundle.spec.period_us)
    ready, windows = source.ready(50), source.windows(50)
    expected = bundle.integer.decide(windows)
    on = bundle.integer.switch(t_us, ready, windows, expected)
    assert np.count_nonzero(np.diff(on)) > 6
    row = np.cumsum(ready) - 1
    decisions = [
        Decision(
            i,
            int(t_us[i]) % 2**32,
            5000,
            True,
            int(expected.label[row[i]]),
            0,
            tuple(expected.probability[row[i]].tolist()),
            tuple(expected.score[row[i]].tolist()),
            bool(on[i]),
        )
        if ready[i]
        else Decision(i, int(t_us[i]) % 2**32, 1000, on=bool(on[i]))
        for i in range(n)
    ]
    return source, decisions


def write_log(bundle, path, answered, *, keep=lambda i: True, change=lambda d: d):
    source, decisions = answered
    crc = np.zeros(len(source), np.uint16)
    crc[source.ready(50)] = feature_crc(bundle.spec.feature_set.compute(source.windows(50)))
    with BoardLogWriter(path, bundle.integer.hash, ("ax", "ay", "az", "gx", "gy", "gz"), 2) as log:
        for i, decision in enumerate(decisions):
            if keep(i):
                sample = Sample(decision.t_us, tuple(source.samples[i].tolist()))
                log.write(sample, change(replace(decision, feature_crc=int(crc[i]))))
    return path


def test_a_log_is_compared_in_its_policy_too(bundle, answered, tmp_path):
    found = check_log(bundle, write_log(bundle, tmp_path / "log.csv", answered), Progress())
    assert found.failure is None
    assert found.policy_samples == len(answered[0])


@pytest.mark.parametrize("at", [0, 20, 400, 710, 1499])
def test_a_wrong_bit_in_a_log_is_named(bundle, answered, tmp_path, at):
    def flip(d):
        return replace(d, on=not d.on) if d.of == at else d

    found = check_log(bundle, write_log(bundle, tmp_path / "log.csv", answered, change=flip), Progress())
    assert re.match(
        rf"log is not L2: sample {at}: policy (on, expected off|off, expected on) \(1 of 1500", found.failure
    )


def test_the_first_difference_is_named_whatever_it_is_in(bundle, answered, tmp_path):
    def wrong(d):
        score = tuple(s + 1 for s in d.score) if d.of == 400 else d.score
        return replace(d, score=score, on=not d.on if d.of in {300, 500} else d.on)

    found = check_log(bundle, write_log(bundle, tmp_path / "log.csv", answered, change=wrong), Progress())
    assert "sample 300: policy" in found.failure

    def wrong_score_first(d):
        return wrong(replace(d, on=not d.on if d.of == 300 else d.on))

    found = check_log(bundle, write_log(bundle, tmp_path / "b.csv", answered, change=wrong_score_first), Progress())
    assert "sample 400: score" in found.failure


def test_after_lost_samples_the_policy_is_unknown_until_it_starts_afresh(bundle, answered, tmp_path):
    # What the board's policy was at cannot be known after the loss, so wrong bits there prove nothing.
    def wrong_between(d):
        return replace(d, on=not d.on) if 105 <= d.of < 1200 else d

    log = write_log(bundle, tmp_path / "log.csv", answered, keep=lambda i: not 100 <= i < 105, change=wrong_between)
    found = check_log(bundle, log, Progress())
    assert found.failure is None
    assert found.policy_samples == 100 + 300

    def wrong_after(d):
        return replace(d, on=not d.on) if d.of == 1300 else d

    log = write_log(bundle, tmp_path / "b.csv", answered, keep=lambda i: not 100 <= i < 105, change=wrong_after)
    assert "sample 1295: policy" in check_log(bundle, log, Progress()).failure


def test_a_loss_hides_a_fresh_start(bundle, answered, tmp_path):
    """Samples may have come and got lost during what looks like a long silence."""
    log = write_log(bundle, tmp_path / "log.csv", answered, keep=lambda i: not 1199 <= i < 1202)
    found = check_log(bundle, log, Progress())
    assert (found.failure, found.policy_samples) == (None, 1199)


def test_a_log_that_begins_in_mid_stream_says_nothing_of_the_policy_at_first(bundle, answered, tmp_path):
    found = check_log(bundle, write_log(bundle, tmp_path / "log.csv", answered, keep=lambda i: i >= 70), Progress())
    assert (found.failure, found.policy_samples) == (None, 300)


def test_a_log_without_the_policy_is_compared_in_all_else(bundle, answered, tmp_path):
    path = write_log(bundle, tmp_path / "log.csv", answered)
    lines = path.read_text().splitlines()
    column = lines[1].split(",").index("on")
    rows = [",".join(cells[:column] + cells[column + 1 :]) for cells in (line.split(",") for line in lines[1:])]
    path.write_text("\n".join([lines[0], *rows]) + "\n")
    found = check_log(bundle, path, Progress())
    assert (found.failure, found.policy_samples, found.windows) == (None, 0, 1500 - 3 * 49)


def test_the_bundles_own_check_covers_the_policy(bundle):
    proof = check_host(bundle, Progress())
    assert proof.failures == ()
    assert proof.policy == POLICY
    exact = next(c for c in proof.to_json()["comparisons"] if c["levels"] == ["L2", "L3"])
    assert exact["policy_samples"] == len(bundle.replay)


def test_a_constant_that_no_sample_shows_is_found_all_the_same(bundle, answered):
    source, decisions = answered
    ready, windows = source.ready(50), source.windows(50)
    expected = bundle.integer.decide(windows)
    with FakeBoard() as device, Board(open_port(device.port)) as board:
        result = board.replay(source.samples[:, :3], source.t_us, source.gap_before)
    crc = np.zeros(len(source), np.uint16)
    crc[ready] = feature_crc(expected.feature)
    result = replace(
        result,
        ready=ready,
        label=np.array([d.label for d in decisions], np.uint8),
        feature_crc=crc,
        probability=np.array([d.probability or (0, 0) for d in decisions], np.uint16),
        score=np.array([d.score or (0,) for d in decisions], np.int32),
        on=np.array([d.on for d in decisions]),
    )

    def failure(policy):
        told = replace(result, policy=policy)
        return compare_exactly(("L2", "L4"), expected, ready, told, on=result.on, policy=POLICY).failure

    assert result.policy is None
    assert failure(None) is None
    assert failure(POLICY) is None
    assert failure(replace(POLICY, gate_lsb=61)) == "L4 is not L2: policy with gate_lsb 61, expected 60"


def hello(**policy: object) -> str:
    return json.dumps({**HELLO, "model": {**HELLO["model"], "window": 50, "policy": {**TOLD, **policy}}})


def test_a_board_says_its_policy():
    assert parse_hello(json.dumps(HELLO)).model.policy is None
    assert parse_hello(hello()).model.policy == Policy.stock()
    assert parse_hello(hello(news=1)).model.policy == Policy.stock()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (hello(attack=0), "model.policy.attack is not an integer from 1 to 4096"),
        (hello(on=1.5), "model.policy.on is not an integer from 1 to 32768"),
        (hello(off=20_000), r"off \(20000\) must not be above its on \(16384\)"),
        (hello().replace('"gate_lsb": 60, ', ""), "model.policy.gate_lsb is not an integer"),
        (re.sub(r'"policy": \{.*?\}', '"policy": [1]', hello()), "model.policy. is not an object"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(text, message):
    with pytest.raises(LinkError, match=message) as caught:
        parse_hello(text)
    assert "\n" not in str(caught.value)


def monitored(faults, count):
    out = io.StringIO()
    with FakeBoard(faults) as device, Board(open_port(device.port)) as board:
        run_plain(board, out=out, count=count)
    return out.getvalue().splitlines()


def test_the_monitor_shows_on_and_off():
    text = hello().replace('"window": 50', '"window": 4')
    lines = monitored(Faults(hello=text), 100)
    assert lines[1] == f"# policy: {replace(Policy.stock(), window=4).describe()}"
    assert re.fullmatch(r"# +time_s +sample +label +pol +p\(shot\) +us +notes", lines[2])
    rows = [line.split() for line in lines[3:-1]]
    assert rows[0][1:5] == ["0", "filling", "off", "-"]
    assert {row[3] for row in rows[:70]} == {"off"}
    assert rows[90][1:5] == ["90", "shot", "ON", "0.709"]


def test_the_monitor_says_nothing_of_a_policy_where_there_is_none():
    assert not any("policy" in line or " ON " in line or " off " in line for line in monitored(Faults(), 100))


def test_a_replay_returns_the_policy_after_each_sample():
    samples = np.full((60, 3), 20_000, np.int16)
    t_us = np.arange(60, dtype=np.int64) * 10_000
    with FakeBoard() as device, Board(open_port(device.port)) as board:
        result = board.replay(samples, t_us, np.arange(60) == 0)
        sent = device.samples
    expected = [decide(i, s, i + 1).on for i, s in enumerate(sent)]
    assert result.on is not None
    assert result.on.tolist() == expected
    assert {True, False} == set(expected)
