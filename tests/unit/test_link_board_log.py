"""The board log: what is written is read back, and what is damaged is refused with its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stinger.errors import InputError, UsageError
from stinger.link import board_log
from stinger.link.board_log import BoardLogWriter, read_board_log
from stinger.link.messages import ONE, Decision, Sample

CHANNELS = ("ax", "ay", "gz")
U16, U32 = st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1)
INT16, INT32 = st.integers(-(2**15), 2**15 - 1), st.integers(-(2**31), 2**31 - 1)
P = st.integers(0, ONE)
SAMPLES = st.builds(Sample, U32, st.tuples(INT16, INT16, INT16), st.booleans())
READY = st.builds(
    Decision, U32, U32, U32, st.just(True), st.integers(0, 1), U16, st.tuples(P, P), st.tuples(INT32), st.booleans()
)
FILLING = st.builds(Decision, U32, U32, U32, on=st.booleans())
ROWS = st.lists(st.tuples(SAMPLES, st.one_of(READY, FILLING)), min_size=1, max_size=12)
TEXT = """\
# stinger-board-log 1 model=0123456789abcdef
sequence,t_us,gap,ax,ay,gz,ready,label,feature_crc,cycles,on,p_0,p_1,score_0
0,4294967295,1,-32768,0,32767,0,,,812,0,,,
1,9999,0,1,2,3,1,1,48879,4711,1,1234,31534,-3317
"""


def write(path: Path, rows: Iterable[tuple[Sample, Decision]]) -> None:
    with BoardLogWriter(path, "0123456789abcdef", CHANNELS, 2) as log:
        for row in rows:
            log.write(*row)


TWO_ROWS = [
    (Sample(2**32 - 1, (-32768, 0, 32767), True), Decision(0, 2**32 - 1, 812)),
    (Sample(9999, (1, 2, 3)), Decision(1, 9999, 4711, True, 1, 48879, (1234, 31534), (-3317,), on=True)),
]


def test_the_file_is_the_documented_one(tmp_path: Path) -> None:
    path = tmp_path / "new" / "log.csv"
    write(path, TWO_ROWS)
    assert path.read_bytes() == TEXT.encode()
    assert list(path.parent.iterdir()) == [path]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(rows=ROWS)
def test_round_trip(tmp_path: Path, rows: list[tuple[Sample, Decision]]) -> None:
    path = tmp_path / "log.csv"
    write(path, rows)
    log = read_board_log(path)
    assert (log.model_hash, log.channels) == ("0123456789abcdef", CHANNELS)
    assert log.sequence.tolist() == [d.of for _, d in rows]
    assert log.t_us.tolist() == [s.t_us for s, _ in rows]
    assert log.gap.tolist() == [s.gap for s, _ in rows]
    assert log.samples.tolist() == [list(s.values) for s, _ in rows]
    answers = log.answers
    assert answers.ready.tolist() == [d.ready for _, d in rows]
    assert answers.label.tolist() == [d.label for _, d in rows]
    assert answers.feature_crc.tolist() == [d.feature_crc for _, d in rows]
    assert answers.cycles.tolist() == [d.cycles for _, d in rows]
    assert answers.on is not None
    assert answers.on.tolist() == [d.on for _, d in rows]
    assert answers.probability.tolist() == [list(d.probability) or [0, 0] for _, d in rows]
    scores = int(any(d.ready for _, d in rows))
    assert answers.score.tolist() == [list(d.score) or [0] * scores for _, d in rows]
    types = [
        log.samples.dtype,
        answers.label.dtype,
        answers.probability.dtype,
        answers.score.dtype,
        answers.cycles.dtype,
    ]
    assert types == [np.int16, np.uint8, np.uint16, np.int32, np.uint32]


def test_a_crash_leaves_what_was_written_and_not_the_final_name(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("an older log")
    log = BoardLogWriter(path, "0123456789abcdef", CHANNELS, 2)
    for row in TWO_ROWS:
        log.write(*row)
    assert path.read_text() == "an older log"
    assert (tmp_path / ".log.csv.partial").read_text() == TEXT
    log.close()
    log.close()
    assert path.read_text() == TEXT
    with pytest.raises(InputError, match="is closed"):
        log.write(*TWO_ROWS[0])


def test_an_error_while_recording_keeps_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"

    def interrupted() -> Iterator[tuple[Sample, Decision]]:
        yield from TWO_ROWS
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(path, interrupted())
    assert path.read_text() == TEXT


@pytest.mark.parametrize(
    ("line", "old", "new", "message"),
    [
        (1, "log 1", "log 2", "line 1: not the first line of a board log"),
        (1, "#", "timestamp_ms,ax", "line 1: not the first line of a board log"),
        (2, ",gap", "", "line 2: not the header"),
        (2, "gz", "ax", "line 2: not the header"),
        (2, "p_1", "p_2", "line 2: not the header"),
        (2, "score_0", "p_2", "line 4: column p_2: '-3317' is not an integer from 0 to 32768"),
        (2, "ready,label", "label,ready", "line 2: not the header"),
        (3, ",1,-32768", ",2,-32768", "line 3: column gap: '2' is not an integer from 0 to 1"),
        (3, "32767", "32768", "line 3: column gz: '32768' is not an integer from -32768 to 32767"),
        (3, "812,0,,,", "812,0,5,,", "line 3: column p_0: '5', must be empty"),
        (3, "812,0,", "812,,", "line 3: column on: '' is not an integer from 0 to 1"),
        (4, "4711,1,", "4711,2,", "line 4: column on: '2' is not an integer from 0 to 1"),
        (3, "0,,,812", "0,,,", "line 3: column cycles: '' is not an integer"),
        (4, "48879", "x", "line 4: column feature_crc: 'x' is not an integer"),
        (4, "48879", "", "line 4: column feature_crc: '' is not an integer"),
        (4, "48879", " 7", "line 4: column feature_crc: ' 7' is not"),
        (4, "1,1,48879", "1,2,48879", "line 4: column label: 2 is not one of 2 classes"),
        (4, "31534", "32769", "line 4: column p_1: '32769' is not an integer from 0 to 32768"),
        (4, "-3317", "-3317,0", "line 4: 15 cells, expected 14"),
        (4, "-3317", "9" * 400, "line 4: column score_0: '99999999999999999999' is not"),
        (4, ",4711,1,1234,31534,-3317\n", "", "line 4: the line is cut off"),
        (4, "-3317", "\u00b5", "line 4: not plain text"),
        (4, "-3317", "1" * 9000, "line 4: the line is cut off or too long"),
    ],
)
def test_damage_is_refused_with_its_place(tmp_path: Path, line: int, old: str, new: str, message: str) -> None:
    lines = TEXT.splitlines(keepends=True)
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new, 1)
    path = tmp_path / "log.csv"
    path.write_text("".join(lines), encoding="utf-8")
    with pytest.raises(InputError, match=message) as caught:
        read_board_log(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
@given(at=st.integers(0, len(TEXT) - 1), put=st.binary(max_size=3))
def test_any_damage_is_read_or_refused(tmp_path: Path, at: int, put: bytes) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(TEXT[:at].encode() + put + TEXT[at + 1 :].encode())
    try:
        log = read_board_log(path)
    except InputError:
        return
    assert 0 < len(log.sequence) <= 4


def test_files_that_are_no_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.csv"
    with pytest.raises(InputError, match=r"cannot read .*No such file"):
        read_board_log(path)
    path.write_text("")
    with pytest.raises(InputError, match="line 1: not the first line"):
        read_board_log(path)
    path.write_text("".join(TEXT.splitlines(keepends=True)[:2]))
    with pytest.raises(InputError, match="no rows"):
        read_board_log(path)
    path.write_text(TEXT)
    assert len(read_board_log(path).sequence) == 2
    monkeypatch.setattr(board_log, "_MAX_BYTES", 100)
    with pytest.raises(InputError, match="a board log at most 100"):
        read_board_log(path)


def test_a_log_from_before_there_were_policies_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    # Then a channel could even have that name.
    old = TEXT.replace("cycles,on,", "cycles,").replace("812,0,", "812,").replace("4711,1,", "4711,")
    path.write_text(old.replace("gz,ready", "on,ready"))
    log = read_board_log(path)
    assert log.answers.on is None
    assert log.channels == ("ax", "ay", "on")
    assert log.answers.probability.tolist() == [[0, 0], [1234, 31534]]
    assert log.answers.score.tolist() == [[0], [-3317]]


def test_windows_line_ends_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(TEXT.replace("\n", "\r\n").encode())
    assert read_board_log(path).answers.label.tolist() == [0, 1]


def test_the_writer_refuses_what_would_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    for channels in (("ax", "a,y"), ("p_0",), ("ready",), ("on",), ("",)):
        with pytest.raises(UsageError, match="channel named"):
            BoardLogWriter(path, "0123", channels, 2)
    with pytest.raises(UsageError, match="model"):
        BoardLogWriter(path, "two words", CHANNELS, 2)
    with pytest.raises(InputError, match="cannot write"):
        BoardLogWriter(Path("/dev/null/log.csv"), "0123", CHANNELS, 2)
    with BoardLogWriter(path, "0123", CHANNELS, 2) as log:
        with pytest.raises(UsageError, match="3 channels and 2 classes got a sample of 1"):
            log.write(Sample(0, (1,)), Decision(0, 0, 0))
        log.write(*TWO_ROWS[1])
        with pytest.raises(UsageError, match="1 scores got a decision of 2"):
            log.write(Sample(0, (1, 2, 3)), Decision(2, 0, 0, True, 0, 0, (1, 2), (3, 4)))
