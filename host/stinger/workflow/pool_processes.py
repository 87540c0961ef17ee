"""Worker processes of our own, each with a pipe.

`concurrent.futures` gives up the whole pool when one worker dies and cannot say whose item it was. Here each
worker has one item at a time, so a death is charged to that item alone, and only that item is done again.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Generic, TypeVar

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no types

from stinger.errors import StingerError

T = TypeVar("T")
R = TypeVar("R")

#: An item whose worker dies this often is given up.
ATTEMPTS = 3
#: Items begun and not yet yielded, per worker: enough that none waits for the caller, and no more.
_AHEAD = 2
#: How long a worker may take to leave when asked.
_GOODBYE_S = 2.0
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@dataclass
class _Worker:
    """One process and what it is doing: the number of its item, or None."""

    process: SpawnProcess
    pipe: Connection
    item: int | None = None


class WorkerPool(Generic[T, R]):
    """Applies one function to items in worker processes and yields the results in order.

    Args:
        function: What to do; importable by name.
        items: What to do it with; each is sent to a worker when its turn comes.
        workers: Most processes at a time.
        name_of: Names an item, by its number, in the message that gives it up.
    """

    def __init__(
        self, function: Callable[[T], R], items: Sequence[T], workers: int, name_of: Callable[[int], str]
    ) -> None:
        self._function = pickle.dumps(function)
        self._items = items
        self._most = workers
        self._name_of = name_of
        self._workers: list[_Worker] = []
        self._done: dict[int, tuple[bool, Any]] = {}
        self._again: list[int] = []
        self._deaths: dict[int, int] = {}
        self._begun = 0

    def results(self) -> Iterator[tuple[bool, Any]]:
        """Yield ``(True, result)`` or ``(False, exception)`` of each item, in order; ends the workers at the end."""
        finished = False
        try:
            for turn in range(len(self._items)):
                while turn not in self._done:
                    self._hand_out(turn + _AHEAD * self._most)
                    self._collect()
                yield self._done.pop(turn)
            finished = True
        finally:
            self._end(asked=finished)

    def _hand_out(self, limit: int) -> None:
        """Give idle workers items below ``limit``; those whose worker died come first."""
        while True:
            if not self._again and self._begun >= min(limit, len(self._items)):
                return
            idle = next((w for w in self._workers if w.item is None), None)
            if idle is None:
                if len(self._workers) >= self._most:
                    return
                idle = self._start()
            if self._again:
                number = self._again.pop(0)
            else:
                number = self._begun
                self._begun += 1
            idle.item = number
            try:
                idle.pipe.send(self._items[number])
            except (BrokenPipeError, ConnectionResetError):
                self._bury(idle)

    def _collect(self) -> None:
        """Wait until a worker answers or dies."""
        by_handle: dict[object, _Worker] = {w.pipe: w for w in self._workers}
        for handle in wait(list(by_handle)):  # type: ignore[arg-type]  # handles of ours, kept as dictionary keys
            worker = by_handle[handle]
            try:
                # What arrives was pickled by our own worker.
                answer = pickle.loads(worker.pipe.recv_bytes())  # noqa: S301
            except (EOFError, ConnectionResetError):
                self._bury(worker)
                continue
            if worker.item is not None:
                self._done[worker.item] = answer
                worker.item = None

    def _bury(self, worker: _Worker) -> None:
        """Remove a dead worker; its item is due again, or has used up its attempts."""
        self._workers.remove(worker)
        worker.pipe.close()
        worker.process.join(_GOODBYE_S)
        _kill(worker.process)
        number, code = worker.item, worker.process.exitcode
        if number is None:
            return
        self._deaths[number] = self._deaths.get(number, 0) + 1
        if self._deaths[number] < ATTEMPTS:
            self._again.append(number)
            return
        how = f"killed by signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        self._done[number] = (
            False,
            StingerError(
                f"{self._name_of(number)}: its worker process died {ATTEMPTS} times ({how}); "
                "if memory ran out, use fewer workers or smaller recordings"
            ),
        )

    def _start(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, self._function), daemon=True)
        process.start()
        # Only the worker holds its end now, so its death closes the pipe.
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker

    def _end(self, *, asked: bool) -> None:
        """End every worker: by closing its pipe when all is done, at once otherwise."""
        for worker in self._workers:
            worker.pipe.close()
            if not asked:
                worker.process.terminate()
        for worker in self._workers:
            worker.process.join(_GOODBYE_S)
            _kill(worker.process)
        self._workers.clear()


def _kill(process: SpawnProcess) -> None:
    if process.is_alive():
        process.kill()
        process.join()


def _work(pipe: Connection, pickled: bytes) -> None:
    """Run in a worker: answer each item until the pipe closes."""
    # Ctrl-C reaches the whole process group; ending workers is the parent's job.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for variable in _THREAD_VARIABLES:
        os.environ[variable] = "1"
    # Unpickling imports the function's module, and with it numpy: the variables above are set in time.
    function = _load(pickled)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            pipe.send_bytes(_answer(function, pipe.recv()))


def _end_with_parent() -> None:
    """Leave when the parent is gone without a goodbye, however long the item at hand would still take."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _load(pickled: bytes) -> Callable[[Any], Any]:
    """Unpickle the function; what its import already loaded is limited to one thread as well."""
    # Pickled by our own parent process.
    function: Callable[[Any], Any] = pickle.loads(pickled)  # noqa: S301
    single_threaded()
    return function


def single_threaded() -> None:
    """Keep this process's numeric libraries to one thread each."""
    threadpool_limits(1)


def _answer(function: Callable[[Any], Any], item: object) -> bytes:
    try:
        return pickle.dumps((True, function(item)))
    except Exception as error:  # every failure is the caller's to see, in the caller's process
        return _pickle_error(error)


def _pickle_error(error: Exception) -> bytes:
    """Pickle an exception, or what it says where it cannot be unpickled again."""
    try:
        data = pickle.dumps((False, error))
        pickle.loads(data)  # noqa: S301
    except Exception:  # an exception's own pickling may raise anything
        data = pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
    return data
