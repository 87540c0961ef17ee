"""The same work on many items: in this process, in worker processes, or on a Dask cluster.

Results come in the order of the items, one at a time, whatever the number of workers; only a few items per worker
are begun ahead, so memory does not grow with their number. A worker that dies is replaced and its item done again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from stinger.errors import StingerError, UsageError
from stinger.workflow.pool_processes import WorkerPool

T = TypeVar("T")
R = TypeVar("R")

Backend = Literal["serial", "processes", "dask"]
#: Where work can be done.
BACKENDS: tuple[str, ...] = get_args(Backend)


def map_ordered(
    function: Callable[[T], R],
    items: Sequence[T],
    *,
    backend: str = "processes",
    workers: int | None = None,
    scheduler: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[R]:
    """Apply a function to every item and yield the results in the order of the items.

    The function must be importable by name and depend on nothing but its item. Closing the iterator, an error or
    Ctrl-C ends the workers.

    Args:
        function: What to do.
        items: What to do it with.
        backend: ``processes`` (on this computer), ``serial`` (in this process) or ``dask``.
        workers: How many at a time; default: one for each processor, or as many as the scheduler has.
        scheduler: Address of a Dask scheduler (``tcp://HOST:PORT``); default: a cluster on this computer, reachable
            from nowhere else.
        progress: Called with the number of results yielded and the number of items.

    Raises:
        UsageError: The options do not fit together, or the backend is not installed.
        StingerError: What the function raised, with the item named, when its turn comes; or an item's worker died
            again and again.
    """
    if backend not in BACKENDS:
        raise UsageError(f"unknown backend {backend!r}; known: {', '.join(BACKENDS)}")
    if workers is not None and workers < 1:
        raise UsageError(f"there must be at least one worker, not {workers}")
    if scheduler is not None and backend != "dask":
        raise UsageError(f"a scheduler belongs to the backend dask, not to {backend}")
    if scheduler is not None and workers is not None:
        raise UsageError("the scheduler's cluster has its own number of workers; leave one of the two options out")

    def name_of(number: int) -> str:
        return _name(items[number], number, len(items))

    if backend == "dask":
        from stinger.workflow.pool_dask import dask_results  # noqa: PLC0415  # an extra that need not be installed

        outcomes = dask_results(function, items, workers or usable_processors(), scheduler, name_of)
    elif backend == "serial" or (workers is None and len(items) < 2):
        outcomes = _serial(function, items)
    else:
        most = min(workers or usable_processors(), max(1, len(items)))
        outcomes = WorkerPool(function, items, most, name_of).results()
    return _in_order(outcomes, len(items), name_of, progress)


def usable_processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_order(
    outcomes: Iterator[tuple[bool, Any]],
    total: int,
    name_of: Callable[[int], str],
    progress: Callable[[int, int], None] | None,
) -> Iterator[Any]:
    try:
        for number, (fine, value) in enumerate(outcomes):
            if not fine:
                raise _named(value, name_of(number))
            if progress is not None:
                progress(number + 1, total)
            yield value
    finally:
        # A generator left in mid-run ends its workers now, not when it is collected.
        close = getattr(outcomes, "close", None)
        if close is not None:
            close()


def _serial(function: Callable[[T], R], items: Sequence[T]) -> Iterator[tuple[bool, Any]]:
    for item in items:
        try:
            outcome: tuple[bool, Any] = (True, function(item))
        except StingerError as error:
            outcome = (False, error)
        yield outcome


def _named(error: BaseException, name: str) -> BaseException:
    """Say in a user's error which item it is about, unless it does so itself."""
    if isinstance(error, StingerError) and name not in str(error):
        error.args = (f"{name}: {error}",)
    return error


def _name(item: object, number: int, total: int) -> str:
    if isinstance(item, Path):
        return item.name
    if isinstance(item, str) and len(item) <= 80:
        return item
    if isinstance(item, tuple) and item:
        return _name(item[0], number, total)
    named = getattr(item, "name", None)
    return named if isinstance(named, str) else f"item {number + 1} of {total}"
