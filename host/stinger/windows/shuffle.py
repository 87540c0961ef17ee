"""The order in which Python's `random.Random.shuffle` leaves a list, found in numpy and only as far as it is read.

An exporter that shuffles every candidate of a session and then takes a few dozen spends most of its time swapping
what nobody looks at. The swaps are all known beforehand, though: step ``i`` (from the last place down to 1) swaps
places ``i`` and ``j[i] <= i``, and the ``j`` come from a stream of random numbers that numpy produces too. Which item
ends in place ``p`` follows backwards: step ``p`` brought it from ``j[p]``; into that place it came at the next later
step ``i`` with ``j[i] = j[p]``, from place ``i``; there from the first later step with ``j = i``; and so on.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Up to here a plain shuffle is as quick.
_FEW = 1024
#: Places whose items are found first; then twice as many, and so on.
_FIRST = 512


def shuffled(rng: Random, number: int) -> Iterator[int]:
    """Yield what ``items = list(range(number)); rng.shuffle(items)`` leaves in ``items``.

    Args:
        rng: Source of the order; its state advances at once as that of a shuffle would, however much is read.
        number: How many items.
    """
    if number <= _FEW:
        items = list(range(number))
        rng.shuffle(items)
        return iter(items)
    return _read(_partners(rng, number))


def _read(partner: NDArray[np.int64]) -> Iterator[int]:
    """Yield the item that ends in each place, 0 first."""
    number = len(partner)
    step = np.arange(number)
    # The first step that moves what is in a place before it; 0 is none. Of several assignments the last one stays.
    first = np.zeros(number, dtype=np.int64)
    moved = np.flatnonzero(partner != step)[::-1]
    first[partner[moved]] = moved
    done, known = 0, min(_FIRST, number)
    while done < number:
        yield from _origins(partner, first, known)[done:].tolist()
        done, known = known, min(2 * known, number)


def _origins(partner: NDArray[np.int64], first: NDArray[np.int64], known: int) -> NDArray[np.int64]:
    """Return the items in the first ``known`` places; see the module's description."""
    place = partner[:known].copy()
    # Steps with the same partner below `known`, in order, beside each other. Step 0 does not exist: its entry stands
    # for the beginning of place 0's history.
    steps = np.flatnonzero(partner < known)
    steps = steps[np.argsort(partner[steps], kind="stable")]
    same = partner[steps[1:]] == partner[steps[:-1]]
    following = np.zeros(len(partner), dtype=np.int64)
    following[steps[:-1][same]] = steps[1:][same]
    at = following[:known]
    while at.any():
        place = np.where(at > 0, at, place)
        at = np.where(at > 0, first[at], 0)
    return place


def _partners(rng: Random, number: int) -> NDArray[np.int64]:
    """Draw the ``j`` of every step as `Random.shuffle` does; entry 0 is 0.

    For step ``i`` that is ``getrandbits(k)`` with ``k`` the bits of ``i + 1``, again and again until it is at most
    ``i``; below 33 bits a number takes the upper bits of one 32-bit word.
    """
    version, internal, gauss = rng.getstate()
    words, used = _words(internal), 0
    partner = np.zeros(number, dtype=np.int64)
    top, unused = number - 1, np.zeros(0, dtype=np.int64)
    while top > 0:
        bits = (top + 1).bit_length()
        # Steps from `top` down that take as many bits, or as far as the words at hand reach.
        wanted = top - (1 << (bits - 1)) + 2
        expected = wanted * 2**bits // (top + 1) + 64
        if len(unused) < expected:
            unused = np.concatenate([unused, words.random_raw(expected - len(unused)).astype(np.int64)])
        drawn = unused >> (32 - bits)
        taken = np.flatnonzero(_accepted(drawn, top))[:wanted]
        partner[top - np.arange(len(taken))] = drawn[taken]
        seen = int(taken[-1]) + 1 if len(taken) == wanted else len(unused)
        unused, used, top = unused[seen:], used + seen, top - len(taken)
    # More words were drawn than used: begin again, and stop where Python would have.
    words = _words(internal)
    words.random_raw(used, output=False)
    state: Any = words.state["state"]
    rng.setstate((version, (*state["key"].tolist(), int(state["pos"])), gauss))
    return partner


def _words(internal: tuple[int, ...]) -> np.random.MT19937:
    """Return numpy's generator in the state of Python's."""
    words = np.random.MT19937()
    key = np.array(internal[:-1], dtype=np.uint32)
    words.state = {"bit_generator": "MT19937", "state": {"key": key, "pos": internal[-1]}}
    return words


def _accepted(drawn: NDArray[np.int64], top: int) -> NDArray[np.bool_]:
    """Mark the numbers that a step takes, where each one taken lowers the limit of all later ones by 1.

    Starting from the highest limit, the numbers before any one are right after as many rounds; in practice a handful
    of rounds is enough, as few numbers are near their limit.
    """
    accepted = drawn <= top
    while True:
        again = drawn <= top - (np.cumsum(accepted) - accepted)
        if np.array_equal(again, accepted):
            return accepted
        accepted = again
