"""The board log: samples and decisions of a live board in a CSV file, for `stinger check --log`.

The first line is ``# stinger-board-log 1 model=<hash>``, the second the header ``sequence,t_us,gap``, the channel
names, ``ready,label,feature_crc,cycles,on``, ``p_0`` to ``p_{K-1}``, ``score_0`` to ``score_{M-1}``. All cells are
integers; label, feature_crc, p and score are empty while the window is not full. ``on`` is what the policy says, with
a full window or without; logs from before there were policies have no such column.
"""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError, UsageError
from stinger.link.messages import ONE, Decision, Sample
from stinger.link.replay import ReplayResult

_MAX_BYTES = 1 << 30
_MAX_LINE = 8192
_FIRST_LINE = re.compile(r"# stinger-board-log 1 model=([0-9A-Za-z_.-]{1,64})")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_INTEGER = re.compile(r"-?[0-9]{1,10}")
_U32 = (0, 0xFFFFFFFF)
_FIXED = {"sequence": _U32, "t_us": _U32, "gap": (0, 1)}
_VERDICT = {"ready": (0, 1), "label": (0, 255), "feature_crc": (0, 0xFFFF), "cycles": _U32}
_POLICY = {"on": (0, 1)}
_INT16 = (-0x8000, 0x7FFF)
_INT32 = (-0x80000000, 0x7FFFFFFF)


@dataclass(frozen=True)
class BoardLog:
    """A board log, one row per sample.

    Attributes:
        model_hash: The model the board ran.
        channels: Channel names.
        sequence: Number of each sample, int64, shape ``(n,)``; a jump means samples that were lost.
        t_us: Device time in microseconds as logged: 32 bits, wraps around; int64, shape ``(n,)``.
        gap: A gap lies before the sample that its time does not show, bool, shape ``(n,)``.
        samples: int16, shape ``(n, channels)``.
        answers: What the board said, one row per sample.
    """

    model_hash: str
    channels: tuple[str, ...]
    sequence: NDArray[np.int64]
    t_us: NDArray[np.int64]
    gap: NDArray[np.bool_]
    samples: NDArray[np.int16]
    answers: ReplayResult


class BoardLogWriter:
    """Writes a board log as it comes, line by line, and gives it its name when it is closed.

    Until then it grows under ``.<name>.partial``, which also is what a crash leaves. How many scores there are
    only the first full window tells; the few rows before it wait in memory.

    Args:
        path: The file to write; an old one is replaced at the end.
        model_hash: The model the board runs.
        channels: Channel names.
        classes: Number of classes.

    Raises:
        UsageError: A name cannot stand in the file.
        InputError: The file cannot be written.
    """

    def __init__(self, path: Path, model_hash: str, channels: Sequence[str], classes: int) -> None:
        if _FIRST_LINE.fullmatch(f"# stinger-board-log 1 model={model_hash}") is None:
            raise UsageError(f"a board log cannot name the model {model_hash!r}")
        taken = {*_FIXED, *_VERDICT, *_POLICY, *(f"p_{k}" for k in range(classes))}
        for name in channels:
            if _NAME.fullmatch(name) is None or name in taken:
                raise UsageError(f"a board log cannot have a channel named {name!r}")
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")
        self._model_hash = model_hash
        self._channels = tuple(channels)
        self._classes = classes
        self._scores: int | None = None
        self._waiting: list[tuple[Sample, Decision]] = []
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[str] | None = self._partial.open("w", encoding="ascii", newline="\n", buffering=1)
        except OSError as error:
            raise self._failure(error) from error

    def __enter__(self) -> BoardLogWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def write(self, sample: Sample, decision: Decision) -> None:
        """Append one row.

        Raises:
            UsageError: The sample or decision has another shape than those before.
            InputError: The disk is full, or the file was closed.
        """
        shape = (len(self._channels), self._classes)
        if len(sample.values) != shape[0] or (decision.ready and len(decision.probability) != shape[1]):
            raise UsageError(
                f"a log of {shape[0]} channels and {shape[1]} classes got a sample of {len(sample.values)} and a "
                f"decision of {len(decision.probability)}"
            )
        if self._scores is None:
            self._waiting.append((sample, decision))
            if decision.ready:
                self._start(len(decision.score))
        elif decision.ready and len(decision.score) != self._scores:
            raise UsageError(f"a log of {self._scores} scores got a decision of {len(decision.score)}")
        else:
            self._put((self._row(sample, decision),))

    def close(self) -> None:
        """Finish the file and put it in place; more than once is fine.

        Raises:
            InputError: The disk is full or the place is gone.
        """
        if self._file is None:
            return
        if self._scores is None:
            self._start(0)
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._partial.replace(self._path)
        except OSError as error:
            raise self._failure(error) from error
        finally:
            self._file = None

    def _start(self, scores: int) -> None:
        self._scores = scores
        p, s = (f"p_{k}" for k in range(self._classes)), (f"score_{k}" for k in range(scores))
        header = (*_FIXED, *self._channels, *_VERDICT, *_POLICY, *p, *s)
        self._put((f"# stinger-board-log 1 model={self._model_hash}", ",".join(header)))
        self._put(self._row(sample, decision) for sample, decision in self._waiting)
        self._waiting.clear()

    def _row(self, sample: Sample, decision: Decision) -> str:
        cells: list[object] = [decision.of, sample.t_us, int(sample.gap), *sample.values, int(decision.ready)]
        if decision.ready:
            cells += [decision.label, decision.feature_crc, decision.cycles, int(decision.on)]
            cells += [*decision.probability, *decision.score]
        else:
            cells += ["", "", decision.cycles, int(decision.on), *[""] * (self._classes + (self._scores or 0))]
        return ",".join(map(str, cells))

    def _put(self, lines: Iterable[str]) -> None:
        if self._file is None:
            raise InputError(f"the board log {self._path} is closed")
        try:
            for line in lines:
                self._file.write(line + "\n")
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> InputError:
        return InputError(f"cannot write {self._path}: {error.strerror or error}; choose another place")


def read_board_log(path: Path) -> BoardLog:
    """Read and check a board log.

    Raises:
        InputError: It is missing, too large, cut short, or a cell is wrong; names line and column.
    """
    try:
        with path.open("rb") as stream:
            if (size := os.fstat(stream.fileno()).st_size) > _MAX_BYTES:
                raise InputError(f"{path} has {size} bytes, a board log at most {_MAX_BYTES}; split it")
            return _Reader(path, stream).read()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


class _Reader:
    def __init__(self, path: Path, stream: IO[bytes]) -> None:
        self._path = path
        self._stream = stream
        self._line = 0

    def read(self) -> BoardLog:
        first = _FIRST_LINE.fullmatch(self._next() or "")
        if first is None:
            raise self._error("not the first line of a board log; record one with `stinger monitor --log`")
        header = (self._next() or "").split(",")
        channels, classes, scores, policy = self._shape(header)
        limits = [*_FIXED.values(), *[_INT16] * channels, *_VERDICT.values(), *policy.values()]
        limits += [*[(0, ONE)] * classes, *[_INT32] * scores]
        columns = [array("q") for _ in header]
        ready_at = 3 + channels
        first_p = ready_at + len(_VERDICT) + len(policy)
        optional = {ready_at + 1, ready_at + 2, *range(first_p, len(header))}
        while (text := self._next()) is not None:
            cells = text.split(",")
            if len(cells) != len(header):
                raise self._error(f"{len(cells)} cells, expected {len(header)}; the line is damaged or cut off")
            ready = cells[ready_at] == "1"
            for i, cell in enumerate(cells):
                empty = not ready and i in optional
                columns[i].append(0 if empty and not cell else self._integer(header[i], cell, limits[i], empty))
            if ready and columns[ready_at + 1][-1] >= classes:
                raise self._error(f"column label: {cells[ready_at + 1]} is not one of {classes} classes")
        n = len(columns[0])
        if n == 0:
            raise self._error("the log has no rows; record for longer")

        data = [np.frombuffer(column, np.int64) for column in columns]
        verdict = data[ready_at:first_p]

        def table(chosen: list[NDArray[np.int64]]) -> NDArray[np.int64]:
            return np.stack(chosen, axis=1) if chosen else np.zeros((n, 0), np.int64)

        return BoardLog(
            model_hash=first.group(1),
            channels=tuple(header[3:ready_at]),
            sequence=data[0].copy(),
            t_us=data[1].copy(),
            gap=data[2].astype(np.bool_),
            samples=table(data[3:ready_at]).astype(np.int16),
            answers=ReplayResult(
                ready=verdict[0].astype(np.bool_),
                label=verdict[1].astype(np.uint8),
                feature_crc=verdict[2].astype(np.uint16),
                cycles=verdict[3].astype(np.uint32),
                probability=table(data[first_p : first_p + classes]).astype(np.uint16),
                score=table(data[first_p + classes :]).astype(np.int32),
                dropped=0,
                on=verdict[4].astype(np.bool_) if policy else None,
            ),
        )

    def _next(self) -> str | None:
        self._line += 1
        raw = self._stream.readline(_MAX_LINE + 1)
        if not raw:
            return None
        if len(raw) > _MAX_LINE or not raw.endswith(b"\n"):
            raise self._error("the line is cut off or too long; the recording did not end properly")
        try:
            return raw.removesuffix(b"\n").removesuffix(b"\r").decode("ascii")
        except UnicodeDecodeError as error:
            raise self._error("not plain text; this is no board log") from error

    def _shape(self, header: list[str]) -> tuple[int, int, int, dict[str, tuple[int, int]]]:
        """Count channels, classes and scores, and make sure that this is exactly the header they give.

        Returns:
            The counts, and the policy's columns, if there are any.
        """
        classes = sum(re.fullmatch(r"p_[0-9]+", name) is not None for name in header)
        scores = sum(re.fullmatch(r"score_[0-9]+", name) is not None for name in header)
        policy = _POLICY if ",cycles,on," in ",".join(header) else {}
        channels = len(header) - len(_FIXED) - len(_VERDICT) - len(policy) - classes - scores
        names = header[3 : 3 + max(0, channels)]
        p, s = (f"p_{k}" for k in range(classes)), (f"score_{k}" for k in range(scores))
        valid = channels > 0 and classes > 0 and len(set(header)) == len(header)
        valid = valid and all(_NAME.fullmatch(name) for name in names)
        if not valid or header != [*_FIXED, *names, *_VERDICT, *policy, *p, *s]:
            raise self._error("not the header of a board log; record it again with `stinger monitor --log`")
        return channels, classes, scores, policy

    def _integer(self, column: str, cell: str, limits: tuple[int, int], empty: bool) -> int:
        if empty:
            raise self._error(f"column {column}: {cell[:20]!r}, must be empty while the window is not full")
        if _INTEGER.fullmatch(cell) is None or not limits[0] <= int(cell) <= limits[1]:
            raise self._error(f"column {column}: {cell[:20]!r} is not an integer from {limits[0]} to {limits[1]}")
        return int(cell)

    def _error(self, what: str) -> InputError:
        return InputError(f"{self._path}, line {self._line}: {what}")
