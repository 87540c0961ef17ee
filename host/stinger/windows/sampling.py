"""Which candidates become negatives.

`far` takes them from anywhere, `near` from a band before each positive, `mixed` from both; their rules and the order
in which they ask for random numbers are the Stinger's own exporter's, so that the same seed gives the same windows.
`blend` takes near ones, then moving ones from anywhere, then any: what happens just before a shot's preparation, the
running and handling that a model must not take for it, and quiet moments.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from random import Random

import numpy as np
from numpy.typing import NDArray

from stinger.windows.negatives import Candidates
from stinger.windows.shuffle import shuffled
from stinger.windows.spec import ExploreSpec


def sample_negatives(
    candidates: Candidates, positives: NDArray[np.int64], spec: ExploreSpec, window: int
) -> NDArray[np.int64]:
    """Choose negatives.

    Args:
        candidates: Where they may end.
        positives: Starts of the session's positives, ascending.
        spec: Which strategy, how many, how far apart, which seed.
        window: Samples per window.

    Returns:
        Ends of the chosen windows in the order they were chosen; fewer than wanted where there are no more.
    """
    draw = _Draw(candidates, positives, spec, window)
    wanted = spec.neg_mult * len(positives)
    if spec.neg_strategy == "far":
        chosen = draw.far(wanted)
    elif spec.neg_strategy == "near":
        chosen = draw.near(spec.neg_mult)
        if spec.strict:
            # Bands of shots close together overlap; the reference takes a window twice then.
            chosen = list(dict.fromkeys(chosen))
    elif spec.neg_strategy == "mixed":
        near = draw.near(round(spec.neg_mult * spec.neg_mixed_near_frac))
        chosen = draw.pick(np.array([*near, *draw.far(wanted - len(near))], dtype=np.int64), wanted)
    else:
        chosen = draw.blend(wanted)
    return np.array(chosen, dtype=np.int64)


class _Draw:
    """One session's draw; every method takes from the same sequence of random numbers."""

    def __init__(self, candidates: Candidates, positives: NDArray[np.int64], spec: ExploreSpec, window: int) -> None:
        self._spec = spec
        self._rng = Random(spec.seed)
        self._allowed = candidates.allowed
        self._motion = candidates.motion
        self._t_us = candidates.t_us
        self._positives = positives
        self._positive_motion = np.sort(self._motion[positives + window]) if len(positives) else positives

    def far(self, number: int) -> list[int]:
        """Take ``number`` from anywhere."""
        return self._take(self._moving(np.flatnonzero(self._allowed)), number)

    def near(self, number: int) -> list[int]:
        """Take ``number`` for each positive, from the band before it."""
        chosen: list[int] = []
        for band in self._bands():
            ends = self._moving(band)
            if number >= len(ends) and not self._spec.neg_with_replacement:
                chosen += ends.tolist()
            else:
                chosen += self._take(ends, number)
        return chosen

    def blend(self, number: int) -> list[int]:
        """Take near ones, moving ones and any ones, all apart from each other."""
        anywhere = np.flatnonzero(self._allowed)
        near = np.unique(np.concatenate([anywhere[:0], *self._bands()]))
        share = self._spec.neg_mixed_near_frac
        chosen = self.pick(near, round(share * number))
        share += self._spec.neg_moving_frac
        chosen += self.pick(self._moving(anywhere), round(share * number) - len(chosen), chosen)
        return chosen + self.pick(anywhere, number - len(chosen), chosen)

    def pick(self, ends: NDArray[np.int64], number: int, beside: Sequence[int] = ()) -> list[int]:
        """Shuffle and take greedily whatever is far enough in time from all taken, and from those ``beside``."""
        if number <= 0:
            return []
        ends = _without_repeats(ends)
        if len(beside):
            ends = ends[~np.isin(ends, np.asarray(beside, dtype=np.int64))]
        apart_us = self._spec.neg_min_sep_ms * 1000
        times = sorted(self._t_us[list(beside)].tolist())
        chosen: list[int] = []
        for item in shuffled(self._rng, len(ends)):
            end = int(ends[item])
            at = int(self._t_us[end])
            place = bisect_left(times, at)
            if (place < len(times) and times[place] - at < apart_us) or (place and at - times[place - 1] < apart_us):
                continue
            times.insert(place, at)
            chosen.append(end)
            if len(chosen) == number:
                break
        return chosen

    def _take(self, ends: NDArray[np.int64], number: int) -> list[int]:
        if not len(ends) or number <= 0:
            return []
        if self._spec.neg_with_replacement:
            return self.pick(np.array(self._rng.choices(ends, k=3 * number), dtype=np.int64), number)
        return self.pick(ends, min(number, len(ends)))

    def _bands(self) -> Iterable[NDArray[np.int64]]:
        start_us = self._t_us[self._positives]
        first = np.searchsorted(self._t_us, start_us - self._spec.neg_near_max_ms * 1000, side="left")
        last = np.searchsorted(self._t_us, start_us - self._spec.neg_near_min_ms * 1000, side="right")
        for a, b in zip(first.tolist(), last.tolist(), strict=True):
            yield a + np.flatnonzero(self._allowed[a:b])

    def _moving(self, ends: NDArray[np.int64]) -> NDArray[np.int64]:
        """Keep the candidates whose windows move enough, and as positives do."""
        quantile = self._spec.neg_min_motion_quantile
        if quantile > 0 and len(ends):
            motion = self._motion[ends]
            place = math.floor(quantile * (len(ends) - 1))
            ends = ends[motion >= np.partition(motion, place)[place]]
        if self._spec.neg_match_pos_motion and len(self._positive_motion):
            cut, last = self._spec.neg_pos_motion_q, len(self._positive_motion) - 1
            low = self._positive_motion[math.floor(cut * last)]
            high = self._positive_motion[math.ceil((1 - cut) * last)]
            motion = self._motion[ends]
            ends = ends[(motion >= low) & (motion <= high)]
        return ends


def _without_repeats(ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Keep the first of each end, in order."""
    if (ends[1:] > ends[:-1]).all():
        return ends
    _, first = np.unique(ends, return_index=True)
    return ends[np.sort(first)]
