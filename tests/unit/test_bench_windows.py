"""The bench of window extraction: both ways cut the same, and a difference would be found. Nothing is timed here."""

from dataclasses import replace

import numpy as np
import pytest

from stinger.errors import CheckFailedError
from stinger.sessions.mcap_format.labels import labels_path
from stinger.sessions.mcap_format.tables import write_tables
from stinger.sessions.read import read_sessions
from stinger.synth.imperfections import Imperfections
from stinger.synth.magnetic import generate, streams
from stinger.synth.patterns import pattern_plan
from stinger.windows.explore import cut_session
from stinger.windows.spec import ExploreSpec
from stinger.workflow.bench_windows import bench_windows, check_same, plain_messages, plain_starts, rescan

SECOND, HALF = 10**9, 5 * 10**8


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    place = tmp_path_factory.mktemp("bench") / "x.mcap"
    plan = pattern_plan("complex", "mixed", 15, 100.0, streams(1)[0])
    made = generate(plan, Imperfections(), name=place.name, seed=1)
    write_tables(made.session, made.times_ns, made.tables(), place)
    return place


def test_every_window_is_the_same(path):
    [session] = read_sessions(path)
    cut = cut_session(session, ExploreSpec())
    wanted = plain_starts(labels_path(path), SECOND, HALF)
    messages = plain_messages(path)
    check_same(cut, wanted, [rescan(messages, start, label, SECOND) for start, label in wanted], 1)
    assert len(wanted) == 27
    assert {label for _, label in wanted} == {"none", "low", "high"}


def test_a_difference_is_found(path):
    [session] = read_sessions(path)
    cut = cut_session(session, ExploreSpec())
    wanted = plain_starts(labels_path(path), SECOND, HALF)
    messages = plain_messages(path)
    some = [rescan(messages, start, label, SECOND) for start, label in wanted]
    changed = cut.windows.copy()
    changed[13, 99, 8] += 1
    with pytest.raises(CheckFailedError, match="other values at 7000000000 ns"):
        check_same(replace(cut, windows=changed), wanted, some, 1)
    with pytest.raises(CheckFailedError, match="other windows or labels"):
        check_same(replace(cut, labels=np.roll(cut.labels, 1)), wanted, some, 1)
    late = [(start + 10**7, label) for start, label in wanted]
    with pytest.raises(CheckFailedError, match="other windows or labels"):
        check_same(cut, late, some, 1)


def test_the_bench_reports_what_it_compared(path):
    report = bench_windows(path, repeats=1)
    assert (report["windows"], report["rescanned"]) == (27, 27)
    assert report["times"] == pytest.approx(report["plain_seconds"] / report["seconds"])
