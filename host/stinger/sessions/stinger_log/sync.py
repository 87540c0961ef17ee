"""Finding the records of a Stinger log again after bytes were lost, added or overwritten.

A log has no marks: only its timestamps and triggers can tell where a record begins. The rules:

- A *run* is a sequence of records, one after the other, with triggers of 0 or 1 and timestamps that go forward by at
  most a day (a pause) and do not stand still for long.
- Where a run breaks, every byte offset behind the break is tried. A *foothold* is `FOOTHOLD` records in a row with
  steps of 1 ms to 1 s; chance gives one in 10**49 random places.
- Of several footholds the one that loses the fewest records wins, counting both those skipped and those before the
  break whose time the foothold contradicts: so one damaged timestamp costs one record, whichever way it points.
- A log that runs backwards for longer than that was joined from two, and is refused.

Everything costs time linear in the file's length.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.sessions.stinger_log.records import MAX_PAUSE_MS, RECORD, WRAP_MS, steps_ms

SIZE = RECORD.itemsize
#: Records in a row that must make sense before a stretch is believed.
FOOTHOLD = 8
#: A log in more pieces is refused.
MAX_RUNS = 2000
#: A file is no log if more than this, beyond what was good so far, does not make sense.
_PATIENCE = 1 << 20
_FOOTHOLD_STEP_MS = 1000
_TAIL_PAUSE_MS = 60_000
#: Records before a break that a foothold behind it may contradict.
_TAKE_BACK = 1024
_STANDSTILL = 3
_CHUNK = 1 << 18


@dataclass
class Run:
    """Consecutive records that make sense.

    Attributes:
        start: Byte offset of the first.
        count: How many.
    """

    start: int
    count: int

    @property
    def stop(self) -> int:
        """Byte offset behind the last."""
        return self.start + self.count * SIZE


def find_runs(data: bytes, name: str) -> list[Run]:
    """Find the stretches of a log that make sense, in order.

    Args:
        data: Whole file.
        name: What to call it in messages.

    Returns:
        At least one run; what lies between them, before the first and behind the last is damaged.

    Raises:
        InputError: There are no records, or the file is not one log.
    """
    first = Run(0, _count_from(data, 0))
    if _is_whole(data, first):
        return [first]
    if len(data) < FOOTHOLD * SIZE:
        raise InputError(f"{name}: {_first_problem(data, first)}; dump the log again")
    runs: list[Run] = []
    kept = 0
    while True:
        at = runs[-1].stop if runs else 0
        found = _next_run(data, runs, at + kept + _PATIENCE, name)
        if found is None:
            break
        runs.append(found)
        if len(runs) > MAX_RUNS:
            raise InputError(f"{name}: damaged in more than {MAX_RUNS} places; dump the log again")
        kept = sum(run.count for run in runs) * SIZE
    lost = len(data) - sum(run.count * SIZE for run in runs)
    if not runs or lost > kept + _PATIENCE or (lost > kept and len(data) < _PATIENCE):
        raise InputError(
            f"{name}: this is not a Stinger log: {_first_problem(data, first)}, and its timestamps and triggers make "
            f"sense for {kept} of {len(data)} bytes only"
        )
    return runs


def looks_like_log(head: bytes) -> bool:
    """Say whether the first bytes of a file (whole, if it is short) are those of a log."""
    first = Run(0, _count_from(head, 0))
    if _is_whole(head, first) or (first.count >= FOOTHOLD and not _stands_still(head, first)):
        return True
    return len(head) >= FOOTHOLD * SIZE and bool(_footholds(head, 0, len(head)).any())


def _count_from(data: bytes, start: int) -> int:
    """Count the records of the run that starts at a byte offset; 0 if not even one makes sense there."""
    total = (len(data) - start) // SIZE
    if total <= 0 or data[start + SIZE - 1] > 1:
        return 0
    done, size = 1, 64
    while done < total:
        # Overlaps what is done by as much as a standstill needs to be seen.
        back = min(done, _STANDSTILL + 1)
        block = np.frombuffer(data, RECORD, min(size, total - done) + back, start + (done - back) * SIZE)
        steps = steps_ms(np.ascontiguousarray(block["timestamp_ms"]))
        bad = (block["trigger"][1:] > 1) | (steps > MAX_PAUSE_MS)
        still = steps == 0
        if still.any():
            frozen = still.copy()
            for shift in range(1, _STANDSTILL + 1):
                frozen[shift:] &= still[:-shift]
                frozen[:shift] = False
            bad |= frozen
        wrong = np.flatnonzero(bad[back - 1 :])
        if len(wrong):
            return done + int(wrong[0])
        done += len(block) - back
        size = min(size * 4, _CHUNK)
    return total


def _is_whole(data: bytes, run: Run) -> bool:
    """Say whether a run is a whole file, of which at most the last record is cut."""
    if run.count < 2 or len(data) - run.stop >= SIZE or _stands_still(data, run):
        return False
    # Two or three records can make sense by chance: be stricter with them.
    return run.count >= FOOTHOLD or bool((steps_ms(_stamps(data, run)) <= _TAIL_PAUSE_MS).all())


def _stamps(data: bytes, run: Run) -> NDArray[np.uint32]:
    stamps: NDArray[np.uint32] = np.frombuffer(data, RECORD, run.count, run.start)["timestamp_ms"]
    return stamps


def _stands_still(data: bytes, run: Run) -> bool:
    """Say whether most timestamps of a run repeat, as they do when it is read a byte beside the truth."""
    stamps = _stamps(data, run)
    return bool(np.count_nonzero(stamps[1:] == stamps[:-1]) * 2 > run.count)


def _next_run(data: bytes, runs: list[Run], limit: int, name: str) -> Run | None:
    """Find the run that follows the last one, taking back records of it that the new one contradicts."""
    at = runs[-1].stop if runs else 0
    if len(data) - at < SIZE:
        return None
    recent = _recent_times(data, runs)
    best = _best_foothold(data, at, limit, recent, name)
    if best is None:
        return _short_ending(data, at, limit, recent)
    start = best.place
    if not runs:
        return _from_the_beginning(data, start)
    _take_back(runs, best.back)
    if not runs:
        return Run(start, _count_from(data, start))
    # A single wrong record leaves its neighbours alone, even those that a pause keeps from being a foothold.
    after = runs[-1].stop + SIZE
    if (start - after) % SIZE == 0 and after < start and _contradicted(_stamp(data, after), recent) == 0:
        start = after if _count_from(data, after) * SIZE >= start - after else start
    # Any other wound rarely ends between two records: what precedes it may be half of one, its trigger right by chance.
    if start != after:
        _take_back(runs, 1)
    return Run(start, _count_from(data, start))


class _Foothold(NamedTuple):
    """A place where records make sense again; the smallest is the best.

    Attributes:
        cost: Records lost if it is taken.
        back: How many of them lie before the break.
        time_ms: Time from the last good record to its third: of places just beside each other the truth takes least.
        place: Byte offset.
    """

    cost: int
    back: int
    time_ms: int
    place: int


def _best_foothold(data: bytes, at: int, limit: int, recent: NDArray[np.uint32], name: str) -> _Foothold | None:
    """Choose where to go on behind a break at a byte offset.

    Raises:
        InputError: Time goes back there and stays behind.
    """
    best: _Foothold | None = None
    behind: int | None = None
    for low, high in _windows(max(at - SIZE + 1, 0) if len(recent) else 0, min(len(data), limit)):
        for place in (np.flatnonzero(_footholds(data, low, high)) + low).tolist():
            distance = max(0, -(-(place - at) // SIZE))
            if best is not None and distance > best.cost:
                break
            found = _foothold(data, place, at, recent, distance)
            if found is None:
                behind = place if behind is None else behind
            else:
                best = found if best is None else min(best, found)
        if best is not None and best.cost * SIZE <= high - at:
            break
        if behind is not None and high - behind > _TAKE_BACK * SIZE:
            break
    if behind is not None and (best is None or best.cost > _TAKE_BACK):
        raise InputError(
            f"{name}, byte {behind}: the timestamp goes from {int(recent[-1])} back to {_stamp(data, behind)} ms "
            "and stays there; two logs were joined, cut the file there"
        )
    return best


def _foothold(data: bytes, place: int, at: int, recent: NDArray[np.uint32], distance: int) -> _Foothold | None:
    """Weigh a foothold; None if it contradicts more records than may be taken back."""
    back = _contradicted(_stamp(data, place), recent) if len(recent) else 0
    if back is None:
        return None
    # One that begins inside the last record contradicts at least that.
    back = max(back, 1 if place < at else 0)
    span = (_stamp(data, place + SIZE * 2) - _stamp(data, place)) % WRAP_MS
    ahead = (_stamp(data, place) - int(recent[-1])) % WRAP_MS if len(recent) and not back else 0
    return _Foothold(distance + back, back, span + ahead, place)


def _windows(low: int, stop: int) -> Iterator[tuple[int, int]]:
    size = 1 << 12
    while low < stop:
        high = min(low + size, stop)
        yield low, high
        low, size = high, min(size * 2, 1 << 20)


def _footholds(data: bytes, low: int, high: int) -> NDArray[np.bool_]:
    """Mark the byte offsets in ``[low, high)`` where `FOOTHOLD` records in a row make sense."""
    wanted = high - low
    raw = np.frombuffer(data, np.uint8, min(len(data) - low, wanted + FOOTHOLD * SIZE), low)
    places = len(raw) - FOOTHOLD * SIZE + 1
    out = np.zeros(wanted, dtype=np.bool_)
    if places <= 0:
        return out
    stamps = raw[3:].astype(np.uint32)
    for byte in (2, 1, 0):
        stamps <<= 8
        stamps |= raw[byte : len(raw) - 3 + byte]
    steps = stamps[SIZE:] - stamps[:-SIZE]
    n = len(raw) - SIZE + 1
    fine = raw[SIZE - 1 :] <= 1
    links = fine[: n - SIZE] & (steps[: n - SIZE] - np.uint32(1) < _FOOTHOLD_STEP_MS)
    good = fine[SIZE * (FOOTHOLD - 1) :][:places].copy()
    for record in range(FOOTHOLD - 1):
        good &= links[record * SIZE :][:places]
    out[: min(places, wanted)] = good[:wanted]
    return out


def _stamp(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _recent_times(data: bytes, runs: list[Run]) -> NDArray[np.uint32]:
    """Timestamps of the last records believed so far, oldest first."""
    parts: list[NDArray[np.uint32]] = []
    missing = _TAKE_BACK + 1
    for run in reversed(runs):
        n = min(run.count, missing)
        parts.append(np.frombuffer(data, RECORD, n, run.stop - n * SIZE)["timestamp_ms"])
        missing -= n
        if not missing:
            break
    return np.concatenate(parts[::-1]) if parts else np.empty(0, np.uint32)


def _contradicted(stamp: int, recent: NDArray[np.uint32]) -> int | None:
    """Count the latest records that cannot come before a timestamp; None if that is more than may be taken back."""
    ahead = np.uint32(stamp) - recent
    fits = np.flatnonzero((ahead > 0) & (ahead <= MAX_PAUSE_MS))
    if len(fits):
        return len(recent) - 1 - int(fits[-1])
    return len(recent) if len(recent) <= FOOTHOLD else None


def _take_back(runs: list[Run], count: int) -> None:
    while count and runs:
        taken = min(count, runs[-1].count)
        runs[-1].count -= taken
        count -= taken
        if not runs[-1].count:
            runs.pop()


def _from_the_beginning(data: bytes, start: int) -> Run:
    """Take in what precedes the first foothold if it makes sense down to byte 0: a pause ends a foothold, not a run."""
    reach = _count_from(data, 0) * SIZE
    start = 0 if start % SIZE == 0 and reach >= start and not _stands_still(data, Run(0, start // SIZE)) else start
    return Run(start, _count_from(data, start))


def _short_ending(data: bytes, at: int, limit: int, recent: NDArray[np.uint32]) -> Run | None:
    """Find a run shorter than a foothold that reaches the end of the file."""
    best: Run | None = None
    for start in range(max(at, len(data) - (FOOTHOLD + 1) * SIZE), len(data) - 2 * SIZE + 1):
        if start >= limit or (len(recent) and _contradicted(_stamp(data, start), recent) != 0):
            continue
        count = _count_from(data, start)
        whole = len(data) - start - count * SIZE < SIZE
        stamps = np.frombuffer(data, RECORD, count, start)["timestamp_ms"] if count else recent[:0]
        steps = steps_ms(stamps) if count >= 2 else stamps[:0]
        sound = len(steps) > 0 and bool(((steps > 0) & (steps <= _TAIL_PAUSE_MS)).all())
        if whole and sound and len(recent) and (best is None or count > best.count):
            best = Run(start, count)
    return best


def _first_problem(data: bytes, first: Run) -> str:
    """Say what is wrong at the place where the run from the first byte ends."""
    at = first.stop
    if len(data) < SIZE:
        return f"the file is only {len(data)} bytes long" if data else "the file is empty"
    if len(data) - at < SIZE:
        return f"{first.count} samples and no passage of time"
    if data[at + SIZE - 1] > 1:
        return f"byte {at + SIZE - 1} must be a trigger, 0 or 1, not {data[at + SIZE - 1]}"
    return f"byte {at}: the timestamp goes from {_stamp(data, at - SIZE)} to {_stamp(data, at)} ms"
