"""The lazy shuffle is Python's shuffle, in order and in what it leaves of the random numbers."""

from itertools import islice
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stinger.windows.shuffle import shuffled


def by_python(rng: Random, number: int) -> list[int]:
    items = list(range(number))
    rng.shuffle(items)
    return items


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**64), number=st.integers(0, 9000), before=st.integers(0, 700))
def test_order_and_state_are_those_of_random_shuffle(seed, number, before):
    ours, pythons = Random(seed), Random(seed)
    for rng in (ours, pythons):
        for _ in range(before):
            rng.getrandbits(32)
    assert list(shuffled(ours, number)) == by_python(pythons, number)
    assert ours.getstate() == pythons.getstate()


# Around powers of two a step takes one bit more or less.
@pytest.mark.parametrize("number", [1023, 1024, 1025, 2047, 2048, 2049, 65535, 65536, 65537, 90_000])
def test_sizes_at_powers_of_two(number):
    ours, pythons = Random(7), Random(7)
    assert list(shuffled(ours, number)) == by_python(pythons, number)
    assert ours.random() == pythons.random()


def test_the_state_has_advanced_however_little_is_read():
    ours, pythons = Random(3), Random(3)
    few = list(islice(shuffled(ours, 50_000), 3))
    assert few == by_python(pythons, 50_000)[:3]
    assert ours.getstate() == pythons.getstate()


def test_a_gaussian_kept_for_later_stays():
    ours, pythons = Random(3), Random(3)
    assert ours.gauss(0, 1) == pythons.gauss(0, 1)
    shuffled(ours, 5000)
    by_python(pythons, 5000)
    assert ours.gauss(0, 1) == pythons.gauss(0, 1)
