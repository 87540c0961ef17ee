"""`stinger bench soak`: a minute of it, and that its account tells every way in which a sample can get lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from cli_in_process import run
from small_models import WINDOW, trained

from stinger.check.compare import feature_crc
from stinger.errors import CheckFailedError, ToolchainError
from stinger.link.frames import Frame
from stinger.link.messages import Decision, FrameType, Sample
from stinger.workflow.bench_soak import FAMILIES, table
from stinger.workflow.soak_account import SoakAccount
from stinger_export.elf import symbol_address
from stinger_export.integer.quantise import quantise

PERIOD_US = 10_000
N = 40
ROWS = np.random.default_rng(0).integers(-3000, 3000, (25, 6)).astype(np.int16)
LEFT_OUT = 20
MODEL = quantise(trained("rf", "rich"))


def test_a_minute_of_everything_at_once():
    code, out, said = run("bench", "soak", "--minutes", "1", "--json")
    assert (code, said) == (0, [])
    report = json.loads(out)
    assert report["given"] + report["left_out"] == 6000
    assert report["left_out"] == 6
    # Nobody read for a while: more than the line holds was dropped, and counted; the account has it to the frame.
    missing = 2 * report["given"] - report["samples"] - report["decisions"]
    assert missing == report["dropped"] > 0
    assert 5 <= report["gaps"] <= 6  # the last one may lie where nobody read
    assert 4_000 < report["ready"] <= report["decisions"]
    assert report["acts"] == {
        "upload": 2, "roll back": 1, "damaged": 1, "break off": 1, "wait": 1, "do not read": 2, "ask": 4,
    }  # fmt: skip
    assert report["stored"] == 2
    assert 512 < report["stack_used"] < report["stack_bytes"] == 4096
    assert 3_000 < report["cycles"] / report["ready"] < report["cycles_most"] < 50_000
    assert 0.001 < report["load"] < 0.2
    columns, rows = table(report)
    assert all(len(row) == len(columns) for row in rows)
    assert ["images stored", "2"] in rows
    assert set(FAMILIES) == {"mlp", "rf"}


@pytest.mark.parametrize("minutes", ["0", "-1", "61"])
def test_no_time_at_all_is_refused(minutes):
    code, _, said = run("bench", "soak", "--minutes", minutes)
    assert code == 2
    assert "--minutes must be above 0 and at most 60" in said[-1]


def test_models_that_take_too_long_to_send_are_refused(monkeypatch):
    monkeypatch.setattr("stinger.workflow.bench_soak._CHUNK", 8)
    code, _, said = run("bench", "soak", "--minutes", "1")
    assert code == 2
    assert "takes too long to send for a soak, which has up to 3,000" in said[-1]


def frames(account: SoakAccount) -> Iterator[Frame]:
    """What a perfect board sends: 40 samples, one of which is left out."""
    filled = sequence = 0
    for i in range(N):
        if i == LEFT_OUT:
            account.leave_out()
            filled = 0
            continue
        given = account.give(i)
        assert given.values == tuple(ROWS[i % len(ROWS)])
        filled += 1
        decision = Decision(sequence, given.t_us, 100)
        if filled >= WINDOW:
            at = np.arange(i - WINDOW + 1, i + 1) % len(ROWS)
            said = MODEL.decide(ROWS[at][None])
            decision = replace(
                decision,
                ready=True,
                label=int(said.label[0]),
                feature_crc=int(feature_crc(said.feature)[0]),
                probability=tuple(int(p) for p in said.probability[0]),
                score=tuple(int(s) for s in said.score[0]),
            )
        sample = replace(given, gap=i == LEFT_OUT + 1)
        yield Frame(FrameType.SAMPLE, 1, sequence, 0, 0, sample.pack())
        yield Frame(FrameType.DECISION, 1, sequence, 0, 0, decision.pack())
        sequence += 1


def new_account() -> SoakAccount:
    return SoakAccount(ROWS, PERIOD_US, MODEL)


def test_a_perfect_stream_balances():
    account = new_account()
    for frame in frames(account):
        account.take(frame)
    account.finish()
    counts = account.counts
    assert (counts.given, counts.left_out, counts.gaps, counts.dropped) == (N - 1, 1, 1, 0)
    assert (counts.samples, counts.decisions, counts.ready) == (N - 1, N - 1, N - 1 - 2 * (WINDOW - 1))
    assert (counts.cycles, counts.cycles_most) == (100 * counts.ready, 100)


def test_what_the_board_counts_may_be_missing():
    account = new_account()
    lost = {3, 30, 31, 32, 33, 50, 77}
    for k, frame in enumerate(frames(account)):
        if k not in lost:
            account.take(replace(frame, dropped=sum(n < k for n in lost)))
    account.counts.dropped = len(lost)
    account.finish()
    assert account.counts.samples + account.counts.decisions == 2 * (N - 1) - len(lost)


@pytest.mark.parametrize("lost", [0, 1, 39, 77])
def test_a_frame_that_is_missing_uncounted_is_noticed(lost):
    account = new_account()
    for k, frame in enumerate(frames(account)):
        if k != lost:
            account.take(frame)
    with pytest.raises(CheckFailedError, match="1 frames of the stream are missing; the board counted 0"):
        account.finish()


def test_a_count_without_a_loss_is_noticed():
    account = new_account()
    for frame in frames(account):
        account.take(replace(frame, dropped=1))
    with pytest.raises(CheckFailedError, match="0 frames of the stream are missing; the board counted 1"):
        account.finish()


def spoil(frame: Frame, **changes: object) -> Frame:
    kind = Sample if frame.type == FrameType.SAMPLE else Decision
    return replace(frame, payload=replace(kind.unpack(frame.payload), **changes).pack())


@pytest.mark.parametrize(
    ("at", "change", "message"),
    [
        (10, lambda f: replace(f, sequence=N), "sample 40, which its sensor has not sent"),
        (10, lambda f: replace(f, sequence=4), "streams sample 4 twice"),
        (11, lambda f: replace(f, sequence=4), "decides on sample 4 twice"),
        (10, lambda f: spoil(f, values=(1, 2, 3, 4, 5, 6)), "sample 5 of the stream is not the one"),
        (10, lambda f: spoil(f, t_us=40_000), "sample 5 of the stream is not the one"),
        (10, lambda f: spoil(f, gap=True), "sample 5 is said to follow a gap"),
        (2 * LEFT_OUT, lambda f: spoil(f, gap=False), "sample 20 is not said to follow a gap"),
        (2 * LEFT_OUT - 1, lambda f: spoil(f, feature_crc=1), "the decision on sample 19 is not what the model says"),
        (2 * LEFT_OUT - 1, lambda f: spoil(f, probability=(1, 2)), "the decision on sample 19 is not what"),
        (2 * LEFT_OUT - 1, lambda f: spoil(f, score=(1, 2)), "the decision on sample 19 is not what"),
        (2 * LEFT_OUT - 1, lambda f: spoil(f, of=3), "full at sample 19"),
        (1, lambda f: spoil(f, ready=True, probability=(1, 2), score=(1, 2)), "the window is full at sample 0"),
    ],
)
def test_a_wrong_frame_is_noticed(at, change, message):
    account = new_account()

    def take_all() -> None:
        for k, frame in enumerate(frames(account)):
            account.take(change(frame) if k == at else frame)
        account.finish()

    with pytest.raises(CheckFailedError, match=message):
        take_all()


def test_a_window_that_outlives_its_model_is_noticed():
    account = new_account()

    def take_all() -> None:
        for k, frame in enumerate(frames(account)):
            if k == 30:
                account.runs(MODEL)
            account.take(frame)

    with pytest.raises(CheckFailedError, match="the window is full at sample 15"):
        take_all()


def test_a_symbol_that_is_not_there_is_one_line(tmp_path):
    from board_model import firmware  # noqa: PLC0415 - built only where it is needed

    elf = firmware().elf
    assert symbol_address(elf, "stack_top") - symbol_address(elf, "stack_bottom") == 4096
    with pytest.raises(ToolchainError, match="has no symbol nothing; build it again"):
        symbol_address(elf, "nothing")
