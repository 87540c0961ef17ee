"""Thousands of policies over one stream, in the time of a few dozen.

Policies that rise, fall and gate alike share an envelope, and the envelope decides everything else: which thresholds
it crosses, and when. So each envelope is computed once, tick by tick, and every policy's spells of being on are read
off its crossings. The results are those of `stinger.models.policy.run_many`, spell by spell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stinger.models.policy import ENVELOPE_SHIFT, MAX_MISSED, RATE_ONE, Policy

Ints = NDArray[np.int64]
#: Values of envelopes in memory at a time.
_AT_ONCE = 1 << 24
_WRAP = 1 << 32


@dataclass(frozen=True)
class _Ticks:
    """A stream as a policy sees it: its samples, and made-up ticks where some are missing.

    Attributes:
        time: Microseconds since the first, never wrapping, shape ``(ticks,)``.
        of_sample: Tick of each sample, shape ``(n,)``.
        resets: Ticks before which the policy starts afresh, ascending; the first is one.
        source: Sample whose probability is held at each tick, -1 for none, shape ``(ticks,)``.
        age: How old that is, shape ``(ticks,)``.
    """

    time: Ints
    of_sample: Ints
    resets: Ints
    source: Ints
    age: Ints


def many_spells(
    policies: Sequence[Policy],
    t_us: NDArray[np.int64],
    ready: NDArray[np.bool_],
    probability: NDArray[np.uint16],
    motion: NDArray[np.int64],
) -> list[tuple[Ints, Ints]]:
    """Say when each policy is on: first sample on and first sample off again, for every spell.

    Args:
        policies: All for the same period.
        t_us: As for `stinger.models.policy.run_policy`.
        ready: As there.
        probability: As there.
        motion: As there.

    Returns:
        For each policy ``starts`` and ``stops``, as `stinger.evaluation.streaming.spells` gives them.
    """
    found: list[tuple[Ints, Ints]] = [(np.empty(0, dtype=np.int64),) * 2] * len(policies)
    if not len(t_us) or not policies:
        return found
    ticks = _ticks(t_us, ready, policies[0].period_us)
    sharing: dict[tuple[int, int, int, int], list[int]] = {}
    for number, p in enumerate(policies):
        sharing.setdefault((p.attack, p.release, p.gate_energy, p.stale_us), []).append(number)
    envelopes = _envelopes(ticks, list(sharing), probability, motion)
    crossings = _Crossings(ticks)
    for envelope, numbers in zip(envelopes, sharing.values(), strict=True):
        for number in numbers:
            found[number] = crossings.spells(envelope, policies[number])
    return found


def _ticks(t_us: Ints, ready: NDArray[np.bool_], period: int) -> _Ticks:
    step = np.diff(t_us, prepend=t_us[0]) % _WRAP
    reset = step // MAX_MISSED >= period
    reset[0] = True
    # Ticks are made up while the sample is more than one and a half periods away.
    missing = np.where(reset, 0, np.maximum(0, -(-(step - period - period // 2) // period)))
    of_sample = np.cumsum(missing + 1) - 1
    count = int(of_sample[-1]) + 1
    now = np.cumsum(step)
    sample = np.searchsorted(of_sample, np.arange(count))
    time = now[sample] - np.where(
        of_sample[sample] == np.arange(count),
        0,
        # The k-th made-up tick is k periods after the sample before.
        (step[sample] - period * (np.arange(count) - of_sample[sample] + missing[sample] + 1)),
    )
    resets = of_sample[reset]
    fresh = np.full(count, -1, dtype=np.int64)
    fresh[of_sample[ready]] = np.flatnonzero(ready)
    source = np.maximum.accumulate(fresh)
    # What was held before a fresh start is forgotten.
    begun = np.flatnonzero(reset)[np.searchsorted(resets, np.arange(count), side="right") - 1]
    source[source < begun] = -1
    age = time - np.where(source >= 0, now[np.maximum(source, 0)], 0)
    return _Ticks(time, of_sample, resets, source, age)


def _envelopes(
    ticks: _Ticks, kinds: Sequence[tuple[int, int, int, int]], probability: NDArray[np.uint16], motion: Ints
) -> Iterator[NDArray[np.int32]]:
    """Envelope after each tick for each (attack, release, gate energy, stale time)."""
    held = np.where(ticks.source >= 0, probability[ticks.source], 0).astype(np.int32) << ENVELOPE_SHIFT
    energy = motion[ticks.source]
    # After a fresh start every envelope is 0.
    fresh = np.zeros(len(held), dtype=np.bool_)
    fresh[ticks.resets] = True
    together = max(1, _AT_ONCE // len(held))
    for first in range(0, len(kinds), together):
        some = np.array(kinds[first : first + together], dtype=np.int64)
        drive = np.where((energy[:, None] < some[:, 2]) | (ticks.age[:, None] > some[:, 3]), 0, held[:, None])
        drive = np.ascontiguousarray(drive, dtype=np.int32)
        rates = some[:, :2].astype(np.int32)
        yield from np.ascontiguousarray(_follow(drive, fresh, rates[:, 0], rates[:, 1]).T)


def _follow(
    drive: NDArray[np.int32], fresh: NDArray[np.bool_], attack: NDArray[np.int32], release: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Let envelopes follow what drives them, shape ``(ticks, envelopes)``; the products fit int32."""
    followed = np.empty_like(drive)
    envelope = np.zeros(drive.shape[1], dtype=np.int32)
    up = np.int32(RATE_ONE - 1)
    shift = np.int32(12)
    for target, after, begins in zip(drive, followed, fresh.tolist(), strict=True):
        if begins:
            envelope = np.zeros_like(envelope)
        d = target - envelope
        rises = d > 0
        d *= np.where(rises, attack, release)
        d += rises * up
        d >>= shift
        np.add(envelope, d, out=after)
        envelope = after
    return followed


class _Crossings:
    """Reads spells off envelopes."""

    def __init__(self, ticks: _Ticks) -> None:
        self._ticks = ticks
        self._end = len(ticks.time)

    def spells(self, envelope: NDArray[np.int32], policy: Policy) -> tuple[Ints, Ints]:
        ticks = self._ticks
        above = envelope >= policy.on << ENVELOPE_SHIFT
        # It goes on where the envelope comes from below, or where it begins afresh above.
        rises = _beginnings(above)
        afresh = ticks.resets[above[ticks.resets]]
        starts = np.union1d(rises, afresh) if len(afresh) else rises
        if not len(starts):
            return starts, starts
        below = envelope < policy.off << ENVELOPE_SHIFT
        may_stop = starts
        if policy.min_on_us:
            may_stop = np.searchsorted(ticks.time, ticks.time[starts] + policy.min_on_us)
        stops = self._next(below, may_stop)
        following = np.searchsorted(ticks.resets, starts, side="right")
        stops = np.minimum(stops, np.append(ticks.resets, self._end)[following])
        return self._on_samples(*_chain(starts, stops))

    def _next(self, below: NDArray[np.bool_], at: Ints) -> Ints:
        """First tick from each of these on at which the envelope is below."""
        falls = np.append(_beginnings(below), self._end)
        inside = np.minimum(at, self._end - 1)
        return np.where((at < self._end) & below[inside], at, falls[np.searchsorted(falls[:-1], at)])

    def _on_samples(self, starts: Ints, stops: Ints) -> tuple[Ints, Ints]:
        """From ticks to samples: what happens on made-up ticks alone shows in no sample."""
        if len(self._ticks.of_sample) < self._end:
            starts, stops = (np.searchsorted(self._ticks.of_sample, x) for x in (starts, stops))
            shown = stops > starts
            starts, stops = starts[shown], stops[shown]
        apart = np.ones(len(starts) + 1, dtype=np.bool_)
        apart[1:-1] = starts[1:] > stops[:-1]
        return starts[apart[:-1]], stops[apart[1:]]


def _beginnings(mask: NDArray[np.bool_]) -> Ints:
    """Ticks at which a mask becomes true, the very first included."""
    begins = mask.copy()
    begins[1:] &= ~mask[:-1]
    return np.flatnonzero(begins).astype(np.int64)


def _chain(starts: Ints, stops: Ints) -> tuple[Ints, Ints]:
    """Of all places where it could go on, each with where it would go off, keep those where it was off before."""
    if (starts[1:] >= stops[:-1]).all():
        return starts, stops
    following = np.searchsorted(starts, stops).tolist()
    kept, at = [], 0
    while at < len(following):
        kept.append(at)
        at = following[at]
    return starts[kept], stops[kept]
