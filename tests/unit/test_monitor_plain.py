"""The plain monitor on a fake board: its lines, its ways to end, its log."""

from __future__ import annotations

import io
import os
import re
import signal
from pathlib import Path

import pytest
from link_fake_board import FakeBoard, Faults

from stinger.errors import LinkError, UsageError
from stinger.link.board import Board
from stinger.link.board_log import read_board_log
from stinger.link.transport import open_port
from stinger.monitor.plain import MonitorSummary, run_plain


def monitor(faults: Faults | None = None, **options: object) -> tuple[list[str], MonitorSummary]:
    out = io.StringIO()
    with FakeBoard(faults or Faults()) as device, Board(open_port(device.port)) as board:
        summary = run_plain(board, out=out, **options)  # type: ignore[arg-type]
        assert device.commands[-1] == "MLSTREAM STOP"
    return out.getvalue().splitlines(), summary


def test_one_line_per_decision() -> None:
    lines, summary = monitor(count=6)
    assert lines[0] == "# fake, model toy (logreg, 0123456789abcdef)"
    assert re.fullmatch(r"# +time_s +sample +label +p\(shot\) +us +notes", lines[1])
    rows = lines[2:-1]
    assert len(rows) == 6
    # The device's clock wraps after the second sample; the time shown goes on.
    assert [row.split()[0] for row in rows[:4]] == ["4294.947", "4294.957", "4294.967", "4294.977"]
    assert rows[0].split()[1:] == ["0", "filling", "-", "0.8", "gap"]
    assert rows[3].split()[1:] == ["3", "neutral", "0.024", "40.0"]
    assert rows[5].split()[1:] == ["5", "neutral", "0.039", "#", "40.0"]
    assert str(summary) == lines[-1]
    assert (summary.decisions, summary.lost, summary.dropped) == (6, 0, 0)


def test_the_bar_and_the_label_follow_the_probability() -> None:
    lines, _ = monitor(count=100)
    row = lines[2 + 90].split()
    assert row[1:] == ["90", "shot", "0.709", "#" * 14, "40.0"]


def test_what_got_lost_is_noted_where_it_happened() -> None:
    lines, summary = monitor(Faults(lose_stream=frozenset((5, 6)), drops=4), count=8)
    notes = {int(line.split()[1]): line[line.rindex(".") + 2 :].strip() for line in lines[2:-1]}
    assert {number: note for number, note in notes.items() if note} == {0: "gap", 1: "dropped 4", 7: "gap lost 2"}
    assert (summary.lost, summary.dropped) == (2, 4)
    assert lines[-1].endswith("2 lost, 4 dropped by the board")


def test_some_decisions_a_second_are_asked_for_and_not_logged(tmp_path: Path) -> None:
    with FakeBoard() as device, Board(open_port(device.port)) as board:
        run_plain(board, out=io.StringIO(), count=3, most_hz=25)
        assert device.commands[-2:] == ["MLSTREAM START 25", "MLSTREAM STOP"]
        with pytest.raises(UsageError, match="a log has every sample"):
            run_plain(board, out=io.StringIO(), count=3, most_hz=25, log=tmp_path / "board.csv")
        assert device.commands[-1] == "MLSTREAM STOP"
    assert not any(tmp_path.iterdir())


def test_ends_after_some_seconds() -> None:
    _, summary = monitor(seconds=0.2)
    assert 0.2 <= summary.seconds < 4
    assert summary.decisions > 5


def test_ctrl_c_is_a_normal_end() -> None:
    # Programs started in the background by a script ignore it; whoever presses Ctrl-C is in the foreground.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    class Impatient(io.StringIO):
        pressed = False

        def write(self, text: str) -> int:
            if self.getvalue().count("\n") == 8 and not self.pressed:
                self.pressed = True
                signal.raise_signal(signal.SIGINT)
            return super().write(text)

    out = Impatient()
    with FakeBoard() as device, Board(open_port(device.port)) as board:
        try:
            summary = run_plain(board, out=out, seconds=20)
        finally:
            signal.signal(signal.SIGINT, before)
        assert device.commands[-1] == "MLSTREAM STOP"
    assert summary.decisions == 7
    assert out.getvalue().splitlines()[-1] == str(summary)


def test_log_can_be_checked_later(tmp_path: Path) -> None:
    path = tmp_path / "board.csv"
    lines, _ = monitor(count=10, log=path, channels=("x", "y", "z"))
    log = read_board_log(path)
    assert (log.model_hash, log.channels) == ("0123456789abcdef", ("x", "y", "z"))
    assert log.sequence.tolist() == list(range(10))
    assert log.samples[4].tolist() == [4, 2, 3]
    assert log.answers.ready.tolist() == [False] * 3 + [True] * 7
    assert len(lines) == 13


def test_log_is_kept_when_the_board_falls_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Board.stream, "__defaults__", (None, 0.3, None))
    path = tmp_path / "board.csv"
    with pytest.raises(LinkError, match="no decision from the board"):
        monitor(Faults(stream_limit=7), log=path)
    assert len(read_board_log(path).sequence) == 7


def test_a_pipe_that_is_closed_is_a_normal_end() -> None:
    class Head(io.StringIO):
        def write(self, text: str) -> int:
            if self.getvalue().count("\n") >= 4:
                raise BrokenPipeError
            return super().write(text)

    with FakeBoard() as device, Board(open_port(device.port)) as board:
        summary = run_plain(board, out=Head())
        assert device.commands[-1] == "MLSTREAM STOP"
    assert summary.decisions > 1


def test_lines_are_flushed_one_by_one() -> None:
    reader, writer = os.pipe()
    with FakeBoard() as device, Board(open_port(device.port)) as board, os.fdopen(writer, "w") as out:
        run_plain(board, out=out, count=1)
        assert os.read(reader, 10_000).count(b"\n") == 4
    os.close(reader)
