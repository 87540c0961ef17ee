"""Work for the pool's tests: importable by worker processes, which know nothing of pytest."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

from stinger.errors import InputError


def square(x: int) -> int:
    return x * x


def uneven(x: int) -> tuple[int, int]:
    """Take longest for the first items, so that later ones are done before."""
    time.sleep(0.1 if x < 2 else 0.002)
    return x * x, os.getpid()


def refuse_seven(x: int) -> int:
    if x == 7:
        raise InputError("seven is not wanted; give another")
    return x


def refuse_file(path: Path) -> int:
    raise InputError(f"{path.name}: is damaged")


def fail_at_three(x: int) -> int:
    if x == 3:
        raise ZeroDivisionError("a bug")
    return x


class AwkwardError(Exception):
    """Cannot be unpickled."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__("awkward")


def awkward(x: int) -> int:
    raise AwkwardError(1, 2)


def unsendable(x: int) -> object:
    return lambda: x


def die_at_three(x: int) -> int:
    if x == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def die_once(item: tuple[str, int]) -> int:
    """Die at 5 the first time; the marker file remembers."""
    directory, x = item
    marker = Path(directory) / "died"
    if x == 5 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return x * x


def note_start(item: tuple[str, int]) -> int:
    """Leave a file named by the item; the first one takes its time."""
    directory, x = item
    (Path(directory) / str(x)).touch()
    if x == 0:
        time.sleep(0.5)
    return x


def slowly(x: int) -> int:
    time.sleep(0.04)
    return x * x


def for_ever(path: str) -> int:
    Path(path).write_text(str(os.getpid()))
    while True:
        time.sleep(1)


def blas_threads(x: int) -> list[int]:
    np.ones((10, 10)) @ np.ones((10, 10))
    return [pool["num_threads"] for pool in threadpool_info()]


def big(x: int) -> bytes:
    return bytes([x % 256]) * 3_000_000
