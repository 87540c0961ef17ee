"""The ordered pool on Dask: one scheduler and its workers, all on loopback, some of them killed."""

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pool_work
import pytest

from stinger.errors import InputError, LinkError, StingerError
from stinger.workflow import pool_dask
from stinger.workflow.pool import map_ordered


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def cluster(workers):
    """Give the address of a scheduler, and its processes: the scheduler first."""
    address = f"tcp://127.0.0.1:{free_port()}"
    here = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    commands = [["dask_scheduler", *here, "--port", address.rpartition(":")[2]]]
    commands += [["dask_worker", address, *here, "--nthreads", "1", "--no-nanny"]] * workers
    processes = []
    try:
        for name, *arguments in commands:
            command = [sys.executable, "-m", f"distributed.cli.{name}", *arguments]
            processes.append(subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL))
        yield address, processes
    finally:
        for process in processes:
            process.kill()
            process.wait(10)


def listening(pid):
    """Addresses at which a process listens, in the hexadecimal of /proc."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            inodes.add(str(entry.readlink()).removeprefix("socket:[").rstrip("]"))
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    rows += [line.split() for line in Path("/proc/net/tcp6").read_text().splitlines()[1:]]
    return {row[1].rpartition(":")[0] for row in rows if row[3] == "0A" and row[9] in inodes}


def test_a_worker_killed_in_mid_run_changes_nothing():
    items = list(range(60))
    serial = list(map_ordered(pool_work.slowly, items, backend="serial"))
    with cluster(2) as (address, processes):
        seen = []
        for value in map_ordered(pool_work.slowly, items, backend="dask", scheduler=address):
            seen.append(value)
            if len(seen) == 20:
                assert processes[1].poll() is None
                processes[1].kill()
        assert seen == serial
        assert processes[1].wait(5) == -9
        assert processes[2].poll() is None


def test_errors_come_through_from_a_cluster():
    with cluster(1) as (address, processes):
        results = map_ordered(pool_work.refuse_seven, list(range(9)), backend="dask", scheduler=address)
        assert [next(results) for _ in range(7)] == list(range(7))
        with pytest.raises(InputError, match=r"^item 8 of 9: seven is not wanted"):
            next(results)
        with pytest.raises(ZeroDivisionError, match="a bug"):
            list(map_ordered(pool_work.fail_at_three, list(range(9)), backend="dask", scheduler=address))
        results = map_ordered(pool_work.slowly, list(range(100)), backend="dask", scheduler=address)
        next(results)
        processes[0].kill()
        with pytest.raises(LinkError, match="is gone; start it again"):
            list(results)


def test_a_cluster_of_our_own_is_on_loopback_and_ends_with_the_run():
    results = map_ordered(pool_work.uneven, list(range(12)), backend="dask", workers=2)
    first, pid = next(results)
    assert first == 0
    assert pid != os.getpid()
    assert listening(os.getpid()) == {"0100007F"}
    assert listening(pid) == {"0100007F"}
    assert [value for value, _ in results] == [x * x for x in range(1, 12)]
    assert listening(os.getpid()) == set()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path(f"/proc/{pid}").exists()


def test_an_item_that_kills_every_worker_is_given_up():
    results = map_ordered(pool_work.die_at_three, list(range(9)), backend="dask", workers=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(StingerError, match=r"^item 4 of 9: its workers died again and again"):
        next(results)


def test_a_scheduler_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(pool_dask, "_CONNECT_S", 1)
    address = f"tcp://127.0.0.1:{free_port()}"
    with pytest.raises(LinkError, match=f"no Dask scheduler answers at {address}; start one"):
        list(map_ordered(pool_work.square, [1], backend="dask", scheduler=address))


def test_a_cluster_without_workers_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(pool_dask, "_NO_WORKERS_S", 1.0)
    with cluster(0) as (address, _), pytest.raises(LinkError, match="no workers for 1 s"):
        list(map_ordered(pool_work.square, [1], backend="dask", scheduler=address))


def test_no_dask_is_said_with_what_to_install(monkeypatch):
    monkeypatch.setattr(pool_dask.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(StingerError, match=r"pip install 'stinger-ml\[dask\]'"):
        map_ordered(pool_work.square, [1], backend="dask")
