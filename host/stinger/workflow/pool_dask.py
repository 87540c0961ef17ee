"""The same pool on a Dask cluster: one somebody runs, or one on this computer that nobody else can reach.

Dask itself moves the work of a lost worker to another. The cluster's workers need this package installed and see
the same files.
"""

from __future__ import annotations

import importlib.util
import logging
import re
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

from stinger.errors import LinkError, StingerError, UsageError
from stinger.workflow.pool_processes import single_threaded

T = TypeVar("T")
R = TypeVar("R")

_LOOPBACK = "127.0.0.1"
_ADDRESS = re.compile(r"((tcp|tls)://)?([\w.-]+|\[[0-9A-Fa-f:]+\]):[0-9]{1,5}", re.ASCII)
_CONNECT_S = 5
#: Without a worker for so long, the cluster is taken for lost.
_NO_WORKERS_S = 30.0
_POLL_S = 1.0
#: Items begun and not yet yielded, per worker.
_AHEAD = 2


class SingleThreaded:
    """A function that keeps numeric libraries to one thread; pickles with the function."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def __call__(self, item: object) -> tuple[bool, Any]:
        """Apply the function; a user's error is a result, so that Dask does not log it as a failure."""
        single_threaded()
        try:
            return True, self._function(item)
        except StingerError as error:
            return False, error


def dask_results(
    function: Callable[[T], R],
    items: Sequence[T],
    workers: int,
    scheduler: str | None,
    name_of: Callable[[int], str],
) -> Iterator[tuple[bool, Any]]:
    """Yield ``(True, result)`` or ``(False, exception)`` of each item, in order.

    Args:
        function: What to do.
        items: What to do it with.
        workers: Processes of a cluster on this computer; a scheduler has its own.
        scheduler: Its address, or None for a cluster on this computer.
        name_of: Names an item, by its number.

    Raises:
        UsageError: Dask is not installed, or the address is none.
        LinkError: The scheduler cannot be reached, or scheduler or workers are lost.
    """
    if importlib.util.find_spec("distributed") is None:
        raise UsageError("the backend dask is not installed; pip install 'stinger-ml[dask]'")
    if scheduler is not None and not _ADDRESS.fullmatch(scheduler):
        raise UsageError(f"{scheduler!r} is no scheduler's address; one looks like tcp://HOST:8786")
    return _results(SingleThreaded(function), items, workers, scheduler, name_of)


def _results(
    function: SingleThreaded,
    items: Sequence[Any],
    workers: int,
    scheduler: str | None,
    name_of: Callable[[int], str],
) -> Iterator[tuple[bool, Any]]:
    from distributed.scheduler import KilledWorker  # noqa: PLC0415  # an extra

    with ExitStack() as stack:
        client = stack.enter_context(_connected(workers, scheduler))
        where = scheduler or "on this computer"
        prefix = f"stinger-{uuid.uuid4().hex}"
        ahead = _AHEAD * max(1, workers if scheduler is None else len(_workers(client)))
        begun: deque[Any] = deque()
        for number in range(len(items)):
            while len(begun) < ahead and number + len(begun) < len(items):
                at = number + len(begun)
                begun.append(client.submit(function, items[at], key=f"{prefix}-{at}", pure=False))
            try:
                outcome = _wait(client, begun.popleft(), where)
            except KilledWorker:
                error = StingerError(
                    f"{name_of(number)}: its workers died again and again; "
                    "if memory ran out, use fewer workers or smaller recordings"
                )
                outcome = (False, error)
            except Exception as error:  # a failure of the function; the caller raises it
                if isinstance(error, LinkError):
                    raise
                outcome = (False, error)
            yield outcome


@contextmanager
def _connected(workers: int, scheduler: str | None) -> Iterator[Any]:
    """Give a client; everything it started ends with the block."""
    from distributed import Client, LocalCluster  # noqa: PLC0415  # an extra

    with ExitStack() as stack:
        stack.enter_context(_quiet())
        address: Any = scheduler
        if scheduler is None:
            address = stack.enter_context(
                LocalCluster(  # type: ignore[no-untyped-call]  # its constructor has no types
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    host=_LOOPBACK,
                    # Its HTTP server cannot be left out; any free port will do.
                    dashboard_address=f"{_LOOPBACK}:0",
                    worker_dashboard_address=None,
                    silence_logs=logging.CRITICAL,
                )
            )
        try:
            client: Any = Client(  # type: ignore[no-untyped-call]  # its constructor has no types
                address, timeout=_CONNECT_S, set_as_default=False
            )
        except OSError as error:
            raise LinkError(
                f"no Dask scheduler answers at {scheduler}; start one with `dask scheduler`, "
                "and workers with `dask worker ADDRESS`"
            ) from error
        yield stack.enter_context(client)


def _wait(client: Any, future: Any, where: str) -> tuple[bool, Any]:
    """Wait for a result; a cluster without workers, or without a scheduler, is not waited for."""
    from distributed import TimeoutError as DaskTimeoutError  # noqa: PLC0415  # an extra

    alone_since = None
    while True:
        try:
            outcome: tuple[bool, Any] = future.result(timeout=_POLL_S)
        except DaskTimeoutError:
            pass
        except Exception:
            if client.status != "running":
                raise LinkError(f"the Dask scheduler ({where}) is gone; start it again") from None
            raise
        else:
            return outcome
        if client.status != "running":
            raise LinkError(f"the Dask scheduler ({where}) is gone; start it again")
        if _workers(client):
            alone_since = None
        elif alone_since is None:
            alone_since = time.monotonic()
        elif time.monotonic() - alone_since > _NO_WORKERS_S:
            raise LinkError(
                f"the Dask scheduler ({where}) has had no workers for {_NO_WORKERS_S:g} s; "
                "start some with `dask worker ADDRESS`"
            )


def _workers(client: Any) -> dict[str, Any]:
    workers: dict[str, Any] = client.scheduler_info(n_workers=-1)["workers"]
    return workers


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's log to itself: what matters of it is raised."""
    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] == "distributed"]
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
