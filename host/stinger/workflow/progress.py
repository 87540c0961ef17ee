"""Progress on standard error: a line for each step, a bar only on a terminal."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

_BAR = 30


class Progress:
    """Says what is being done. Several threads may use one.

    Args:
        out: Where to; None says nothing.
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out
        self._start = time.monotonic()
        self._lock = threading.Lock()
        self._bars: dict[str, tuple[int, int]] = {}

    def step(self, text: str) -> None:
        """Start a step; the line stays."""
        with self._lock:
            if self._out is not None:
                self._clear()
                self._out.write(f"[{time.monotonic() - self._start:5.1f} s] {text}\n")
                self._out.flush()

    @contextmanager
    def bar(self, text: str) -> Iterator[Callable[[int, int], None]]:
        """Show a bar while the block runs; call what it yields with the amount done and the total."""

        def show(done: int, total: int) -> None:
            with self._lock:
                self._bars[text] = (done, total)
                self._draw()

        try:
            yield show
        finally:
            with self._lock:
                self._bars.pop(text, None)
                self._draw()

    def _clear(self) -> None:
        if self._out is not None and self._out.isatty():
            self._out.write("\r\x1b[K")

    def _draw(self) -> None:
        if self._out is None or not self._out.isatty():
            return
        parts = []
        for text, (done, total) in self._bars.items():
            share = done / total if total else 1.0
            filled = round(share * _BAR)
            parts.append(f"{text} [{'#' * filled}{'.' * (_BAR - filled)}] {share:4.0%}")
        self._clear()
        self._out.write("  ".join(parts))
        self._out.flush()


def to_stderr(quiet: bool = False) -> Progress:
    """Return progress for a command: on standard error, or none at all."""
    return Progress(None if quiet else sys.stderr)
