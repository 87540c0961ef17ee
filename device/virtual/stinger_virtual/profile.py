"""Where a firmware's cycles go: every instruction of a decision, added up by function.

The emulator counts; nothing is sampled. What is counted are calls of two functions, the one that takes a sample and the
one that decides, with all that they call, as the firmware itself counts the cycles of a decision.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from typing import Any

from stinger.errors import ToolchainError
from stinger_export.elf import Symbol
from stinger_virtual.chip import EmulatedBoard

_BATCH = 10_000
_NANOS_PER_CYCLE = 8
TAKE, DECIDE = "stinger_stream_push", "stinger_stream_decide"


class Profile:
    """Counts the cycles of decisions from now on.

    Attributes:
        decisions: Samples that led to one.

    Args:
        board: What runs the firmware; it becomes some ten times slower.
        symbols: Of the firmware.

    Raises:
        ToolchainError: The firmware has no classifier.
    """

    def __init__(self, board: EmulatedBoard, symbols: Sequence[Symbol]) -> None:
        self.decisions = 0
        self._functions = [s for s in symbols if s.function]
        self._begins = [s.address for s in self._functions]
        entry = {s.name: s.address for s in self._functions}
        if TAKE not in entry or DECIDE not in entry:
            raise ToolchainError(f"the firmware has no {TAKE} and {DECIDE} to profile; build it again")
        self._take, self._decide = entry[TAKE], entry[DECIDE]
        self._sample: Counter[int] = Counter()
        self._total: Counter[int] = Counter()
        self._caller: int | None = None
        self._deciding = False
        board.execute_by(self._batch)

    def cycles_per_decision(self) -> dict[str, float]:
        """Return the mean cycles of each function, most first; empty before the first decision."""
        sums: Counter[str] = Counter()
        for pc, cycles in self._total.items():
            sums[self._name(pc)] += cycles
        return {name: cycles / self.decisions for name, cycles in sums.most_common()}

    def _name(self, pc: int) -> str:
        at = bisect_right(self._begins, pc) - 1
        # Functions in assembly may have no size: up to the next one it is theirs.
        return self._functions[at].name if at >= 0 else "?"

    def _batch(self, simulator: Any) -> None:
        core, clock = simulator.rp2040.core, simulator.clock
        for _ in range(_BATCH):
            if simulator.stopped:
                return
            if core.waiting:
                clock.tick(clock.nanos_to_next_alarm)
                continue
            pc = core.pc
            if self._caller is None:
                self._enter(pc, core.lr)
            elif pc == self._caller:
                self._leave()
            cycles = core.execute_instruction()
            clock.tick(cycles * _NANOS_PER_CYCLE)
            if self._caller is not None:
                self._sample[pc] += cycles

    def _enter(self, pc: int, link: int) -> None:
        if pc == self._take:
            self._sample.clear()
        elif pc != self._decide:
            return
        self._deciding = pc == self._decide
        self._caller = link & ~1

    def _leave(self) -> None:
        self._caller = None
        if self._deciding:
            self._total.update(self._sample)
            self.decisions += 1
