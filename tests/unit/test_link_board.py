"""Board, its replay and its stream, against a fake board that does what it should and then what it should not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager

import numpy as np
import pytest
from link_fake_board import HELLO, IN_FLIGHT, WINDOW, FakeBoard, Faults, decide

from stinger.errors import LinkError, UsageError
from stinger.link.board import Board, StreamStatistics
from stinger.link.info import parse_hello
from stinger.link.messages import End, Sample
from stinger.link.transport import open_port

N = 60
SAMPLES = np.random.default_rng(1).integers(-32768, 32768, (N, 3)).astype(np.int16)
TIMES = np.arange(N, dtype=np.int64) * 10_000 + (2**32 - 300_000)
GAPS = np.arange(N) == 0


@contextmanager
def fake(**faults: object) -> Iterator[tuple[FakeBoard, Board]]:
    with FakeBoard(Faults(**faults)) as device, Board(open_port(device.port)) as board:  # type: ignore[arg-type]
        yield device, board


def test_hello() -> None:
    with fake() as (_, board):
        info = board.hello()
    assert (info.board, info.firmware, info.replay_in_flight, info.max_body) == ("fake", "0.1.0", IN_FLIGHT, 253)
    assert (info.model.window, info.model.channels, info.model.classes) == (WINDOW, 3, ("neutral", "shot"))
    assert info.cycles_to_us(250) == 2.0


def test_hello_is_asked_again_after_a_line_that_was_taken_for_noise() -> None:
    with fake(deaf_lines=1) as (device, board):
        assert board.hello().board == "fake"
        assert device.commands == ["MLHELLO", "MLHELLO"]


def test_hello_of_stock_firmware() -> None:
    with fake(stock=True) as (_, board), pytest.raises(LinkError, match="does not know MLHELLO: it runs stock"):
        board.hello(1.0)


def test_hello_of_a_silent_device() -> None:
    with fake(mute=True) as (_, board), pytest.raises(LinkError, match=r"no answer to MLHELLO within 0\.2 s"):
        board.hello(0.2)


def test_hello_ends_a_stream_that_an_earlier_program_left_running() -> None:
    with fake() as (device, board):
        device.start_stream()
        assert board.hello().board == "fake"
        assert device.commands == ["MLHELLO", "MLSTREAM STOP"]


def changed(path: str, value: object) -> str:
    hello = json.loads(json.dumps(HELLO))
    at = hello
    *parents, last = path.split(".")
    for key in parents:
        at = at[key]
    at[last] = value
    return json.dumps(hello)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (changed("protocol", 2), "speaks protocol 2"),
        (changed("model.window", 0), "model.window is not an integer from 2 to 1024"),
        (changed("model.window", True), "model.window"),
        (changed("model.channels", "six"), "model.channels"),
        (changed("model.classes", ["one"]), "model.classes"),
        (changed("model.classes", ["a", "\x1b[2J"]), "printable"),
        (changed("model", None), "model. is not an object"),
        (changed("limits.replay_in_flight", 10**9), "limits.replay_in_flight"),
        (changed("board", "x" * 65), "board"),
        ("{nonsense", "not JSON"),
        ("[" * 3000, "not JSON"),
        ("[1]", "it is not an object"),
    ],
)
def test_hello_that_makes_no_sense(text: str, message: str) -> None:
    with pytest.raises(LinkError, match=message):
        parse_hello(text)


def test_hello_may_say_more() -> None:
    assert parse_hello(changed("stack_free", 1234)) == parse_hello(json.dumps(HELLO))


def test_replay_returns_every_decision() -> None:
    progress: list[tuple[int, int]] = []
    with fake() as (device, board):
        result = board.replay(SAMPLES, TIMES, GAPS, lambda done, total: progress.append((done, total)))
        sent = device.samples
    assert [s.values for s in sent] == [tuple(row) for row in SAMPLES.tolist()]
    assert [s.t_us for s in sent] == [int(t) % 2**32 for t in TIMES]
    assert [s.gap for s in sent] == [True] + [False] * (N - 1)
    expected = [decide(i, s, i + 1) for i, s in enumerate(sent)]
    assert result.ready.tolist() == [d.ready for d in expected]
    assert result.label.tolist() == [d.label for d in expected]
    assert result.cycles.tolist() == [d.cycles for d in expected]
    assert result.feature_crc.tolist() == [d.feature_crc for d in expected]
    assert result.probability.tolist() == [list(d.probability) or [0, 0] for d in expected]
    assert result.score.tolist() == [list(d.score) or [0] for d in expected]
    dtypes = [result.label.dtype, result.probability.dtype, result.score.dtype, result.cycles.dtype]
    assert dtypes == [np.uint8, np.uint16, np.int32, np.uint32]
    assert result.dropped == 0
    assert progress[-1] == (N, N)
    assert progress == sorted(progress)


def test_replay_twice_on_one_board() -> None:
    with fake() as (_, board):
        first = board.replay(SAMPLES, TIMES, GAPS)
        second = board.replay(SAMPLES, TIMES, GAPS)
    assert np.array_equal(first.probability, second.probability)


def test_replay_too_short_to_fill_a_window() -> None:
    with fake() as (_, board):
        result = board.replay(SAMPLES[:2], TIMES[:2], GAPS[:2])
    assert not result.ready.any()
    assert result.score.shape == (2, 0)


def test_replay_marks_only_gaps_that_32_bit_time_hides() -> None:
    times = np.array([0, 10_000, 50_000, 60_000, 70_000 + 2**32, 80_000 + 2**32, 80_000 + 2**33], np.int64)
    gaps = np.array([True, False, True, False, True, False, True])
    with fake() as (device, board):
        board.replay(SAMPLES[:7], times, gaps)
        assert [s.gap for s in device.samples] == [True, False, False, False, True, False, False]


def test_replay_refuses_a_recording_whose_gaps_the_board_would_see_elsewhere() -> None:
    times = TIMES.copy()
    times[30:] += 10_000
    with fake() as (device, board):
        with pytest.raises(UsageError, match="sample 30 comes 20000 us after"):
            board.replay(SAMPLES, times, GAPS)
        assert not any(line.startswith("MLREPLAY") for line in device.commands)


@pytest.mark.parametrize("samples", [SAMPLES[:, :2], SAMPLES.astype(np.int32), SAMPLES[:0]])
def test_replay_refuses_samples_of_another_shape(samples: np.ndarray) -> None:
    n = len(samples)
    with fake() as (_, board), pytest.raises(UsageError, match=r"takes int16 samples of shape \(n, 3\)"):
        board.replay(samples, TIMES[:n], GAPS[:n])


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({"lose_answer": 7}, "the answer to sample 7 of 60 was lost: the board next answered sample 8"),
        ({"lose_answer": N - 1}, "of 60 samples the board took 60"),
        ({"damage_answer": 7}, "the answer to sample 7 of 60 was lost"),
        ({"repeat_answer": 7}, "the board answered sample 7 again"),
        ({"other_session_from": 9}, "the board restarted at sample 9 of 60"),
        ({"silent_from": 11}, "no answer to sample 11 of 60: the board fell silent"),
        ({"disconnect_at": 13}, "was disconnected"),
        ({"give_up_at": 15}, "the board gave up at sample 15 of 60: MLREPLAY_ERR timeout"),
        ({"wrong_time_at": 17}, "answered sample 17 of 60 for time"),
        ({"wrong_type_at": 19}, "a frame of type 1 at sample 19 of 60"),
        ({"extra_class_at": 21}, "answered sample 21 with 3 classes and 1 scores, expected 2 and 1"),
        ({"end": End(N - 1, N - WINDOW + 1, 0)}, "the board took 59"),
        ({"end": End(N, N, 0)}, "decided on 60"),
        ({"end": End(N, N - WINDOW + 1, 1)}, "1 damaged frames"),
    ],
)
def test_replay_that_goes_wrong_says_where(faults: dict[str, object], message: str) -> None:
    with fake(**faults) as (_, board), pytest.raises(LinkError, match=message):
        board.replay(SAMPLES, TIMES, GAPS, timeout=0.6 if "silent_from" in faults else 5.0)


def test_replay_reports_what_the_board_dropped() -> None:
    with fake(drops=3) as (_, board):
        assert board.replay(SAMPLES, TIMES, GAPS).dropped == 3


def test_stream_pairs_samples_with_decisions_and_stops() -> None:
    statistics = StreamStatistics()
    with fake() as (device, board):
        with closing(board.stream(statistics)) as stream:
            pairs = [next(stream) for _ in range(20)]
        assert [decision.of for _, decision in pairs] == list(range(20))
        assert all(decision.t_us == sample.t_us for sample, decision in pairs)
        assert pairs[0][0] == Sample(2**32 - 20_000, (0, 2, 3), gap=True)
        assert device.commands[-1] == "MLSTREAM STOP"
        assert board.replay(SAMPLES, TIMES, GAPS).ready.any()
    assert statistics == StreamStatistics(pairs=20, lost=0, dropped=0)


def test_stream_counts_what_is_lost() -> None:
    statistics = StreamStatistics()
    faults = {"lose_stream": frozenset((3, 4, 8)), "drops": 6}
    with fake(**faults) as (_, board), closing(board.stream(statistics)) as stream:
        of = [next(stream)[1].of for _ in range(10)]
    assert of == [0, 1, 2, 5, 6, 7, 9, 10, 11, 12]
    assert statistics == StreamStatistics(pairs=10, lost=3, dropped=6)


def test_stream_that_falls_silent_is_stopped_and_reported() -> None:
    with fake(stream_limit=5) as (device, board):
        stream = board.stream(timeout=0.3)
        with pytest.raises(LinkError, match=r"no decision from the board for 0\.3 s"):
            list(stream)
        assert device.commands[-1] == "MLSTREAM STOP"
