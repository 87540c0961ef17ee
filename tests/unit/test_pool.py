"""The ordered pool in processes: same results whatever the workers, and whatever happens to them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pool_work
import pytest

from stinger.errors import InputError, StingerError, UsageError
from stinger.workflow.pool import map_ordered


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


def gone(pid, within=5.0):
    deadline = time.monotonic() + within
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(pid)


@pytest.mark.parametrize(("backend", "workers"), [("serial", None), ("processes", 1), ("processes", 3)])
def test_results_come_in_order_whatever_the_workers(backend, workers):
    results = list(map_ordered(pool_work.uneven, list(range(30)), backend=backend, workers=workers))
    assert [value for value, _ in results] == [x * x for x in range(30)]
    others = {pid for _, pid in results}
    if backend == "serial":
        assert others == {os.getpid()}
    else:
        assert os.getpid() not in others
        assert len(others) == workers
        assert all(gone(pid) for pid in others)


def test_progress_counts_what_was_yielded():
    seen = []
    list(map_ordered(pool_work.square, [1, 2, 3], workers=2, progress=lambda *both: seen.append(both)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("backend", ["serial", "processes"])
def test_no_items_no_results(backend):
    assert list(map_ordered(pool_work.square, [], backend=backend)) == []


def test_large_results_pass_the_pipes():
    assert [len(set(x)) for x in map_ordered(pool_work.big, list(range(5)), workers=2)] == [1] * 5


def test_only_a_few_items_are_begun_ahead(tmp_path):
    items = [(str(tmp_path), x) for x in range(50)]
    results = map_ordered(pool_work.note_start, items, workers=2)
    assert next(results) == 0
    # Item 0 took its time; the other worker could have done all of them.
    assert 2 <= len(list(tmp_path.iterdir())) <= 5
    assert list(results) == list(range(1, 50))


@pytest.mark.parametrize("backend", ["serial", "processes"])
def test_a_users_error_comes_at_its_turn_and_names_the_item(backend):
    workers = 2 if backend == "processes" else None
    results = map_ordered(pool_work.refuse_seven, list(range(20)), backend=backend, workers=workers)
    assert [next(results) for _ in range(7)] == list(range(7))
    with pytest.raises(InputError, match=r"^item 8 of 20: seven is not wanted; give another$"):
        next(results)


@pytest.mark.parametrize("backend", ["serial", "processes"])
def test_an_error_that_names_its_item_stays_as_it_is(backend):
    with pytest.raises(InputError, match=r"^a\.bin: is damaged$"):
        list(map_ordered(pool_work.refuse_file, [Path("x/a.bin"), Path("x/b.bin")], backend=backend))


def test_bugs_are_not_swallowed():
    with pytest.raises(ZeroDivisionError, match="a bug"):
        list(map_ordered(pool_work.fail_at_three, list(range(9)), workers=2))
    with pytest.raises(RuntimeError, match="AwkwardError: awkward"):
        list(map_ordered(pool_work.awkward, [1, 2], workers=2))
    with pytest.raises(Exception, match="pickle"):
        list(map_ordered(pool_work.unsendable, [1, 2], workers=2))


def test_a_killed_worker_is_replaced_and_its_item_done_again(tmp_path):
    items = [(str(tmp_path), x) for x in range(12)]
    assert list(map_ordered(pool_work.die_once, items, workers=2)) == [x * x for x in range(12)]
    assert (tmp_path / "died").exists()


def test_an_item_that_kills_every_worker_is_given_up():
    results = map_ordered(pool_work.die_at_three, list(range(9)), workers=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(StingerError, match=r"^item 4 of 9: its worker process died 3 times \(killed by signal 9\)"):
        next(results)


def test_idle_workers_may_die_too():
    results = map_ordered(pool_work.uneven, list(range(30)), workers=2)
    pids = {next(results)[1] for _ in range(6)}
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert [value for value, _ in results] == [x * x for x in range(6, 30)]


def test_leaving_early_ends_the_workers():
    results = map_ordered(pool_work.uneven, list(range(1000)), workers=2)
    pids = {next(results)[1] for _ in range(10)}
    results.close()
    assert all(gone(pid) for pid in pids)


MAIN = """
import signal, sys
sys.path.insert(0, {unit!r})
import pool_work
from stinger.workflow.pool import map_ordered
if __name__ == "__main__":
    # A test run in the background has it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    list(map_ordered(pool_work.for_ever, {files!r}, workers=2))
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent(tmp_path, how):
    files = [str(tmp_path / "0"), str(tmp_path / "1")]
    script = tmp_path / "main.py"
    script.write_text(MAIN.format(unit=str(Path(__file__).parent), files=files))
    # A session of its own, so that Ctrl-C's signal reaches parent and workers as in a terminal.
    parent = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE, start_new_session=True)
    try:
        deadline = time.monotonic() + 20
        while not all(Path(f).exists() and Path(f).read_text() for f in files) and time.monotonic() < deadline:
            time.sleep(0.02)
        pids = [int(Path(f).read_text()) for f in files]
        assert all(alive(pid) for pid in pids)
        if how == signal.SIGINT:
            os.killpg(parent.pid, how)
        else:
            parent.kill()
        _, err = parent.communicate(timeout=10)
        if how == signal.SIGINT:
            assert err.decode().count("Traceback") == 1
            assert "KeyboardInterrupt" in err.decode()
        assert all(gone(pid) for pid in pids)
    finally:
        parent.kill()
        for f in files:
            if Path(f).exists() and alive(int(Path(f).read_text())):
                os.kill(int(Path(f).read_text()), signal.SIGKILL)


def test_workers_use_one_thread_each():
    threads = [t for each in map_ordered(pool_work.blas_threads, [1, 2], workers=2) for t in each]
    assert threads
    assert set(threads) == {1}


@pytest.mark.parametrize(
    "options",
    [
        {"backend": "threads"},
        {"workers": 0},
        {"backend": "serial", "scheduler": "tcp://127.0.0.1:8786"},
        {"backend": "dask", "scheduler": "tcp://127.0.0.1:8786", "workers": 2},
        {"backend": "dask", "scheduler": "127.0.0.1"},
        {"backend": "dask", "scheduler": "http://127.0.0.1:80"},
    ],
)
def test_options_that_do_not_fit_are_usage_errors(options):
    with pytest.raises(UsageError):
        map_ordered(pool_work.square, [1, 2], **options)
