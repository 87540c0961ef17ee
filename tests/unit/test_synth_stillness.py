"""The logger's stillness rule against the same rule said in another way, and what it does to the styles' sessions."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stinger.synth.logger import paused, record


def plain_rule(samples, trigger):
    """The rule word by word, looking back from every sample; no counters.

    "Pause after 150 consecutive samples with every |gyro| <= 45 and every channel's change since the last sample <= 30;
    resume after 10 consecutive samples with any |gyro| >= 240, any |gyro| > 45, or a change >= 140; never paused while
    the trigger is down."
    """
    rows = [[int(x) for x in row] for row in samples]
    change = [0] + [max(abs(a - b) for a, b in zip(p, q, strict=True)) for p, q in pairwise(rows)]
    turn = [max(abs(x) for x in row[3:]) for row in rows]
    still = [g <= 45 and c <= 30 for g, c in zip(turn, change, strict=True)]
    lively = [g >= 240 or g > 45 or c >= 140 for g, c in zip(turn, change, strict=True)]
    out = []
    # First sample that may count: a pause, a resumption and a trigger begin the counting anew.
    since, asleep = 0, False
    for i, down in enumerate(trigger):
        if down:
            since, asleep = i + 1, False
        elif asleep and i - since >= 10 and all(lively[i - 10 : i]):
            since, asleep = i, False
        elif not asleep and i - since >= 150 and all(still[i - 150 : i]):
            since, asleep = i, True
        out.append(asleep)
    return out


# Kinds of samples: gyro and step of the accelerometer, around every limit.
KINDS = [(0, 0), (45, 30), (45, 31), (46, 0), (-46, 0), (0, 139), (0, 140), (240, 0), (-32768, 0)]
STRETCHES = st.lists(
    st.tuples(st.integers(0, len(KINDS) - 1), st.sampled_from([1, 2, 8, 9, 10, 11, 148, 149, 150, 151, 160])),
    min_size=1,
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(STRETCHES, st.lists(st.tuples(st.integers(0, 900), st.integers(1, 200)), max_size=3))
def test_the_rule_holds_word_by_word(stretches, pulls):
    kinds = [kind for kind, n in stretches for _ in range(n)]
    samples = np.zeros((len(kinds), 6), dtype=np.int16)
    samples[:, 4] = [KINDS[k][0] for k in kinds]
    # The gyroscope's own steps count as changes, too, so its value is held by the sample before.
    samples[:, 0] = np.cumsum([KINDS[k][1] for k in kinds]) % 30_000
    trigger = np.zeros(len(kinds), dtype=bool)
    for at, n in pulls:
        trigger[at : at + n] = True
    assert paused(samples, trigger).tolist() == plain_rule(samples, trigger)


def test_both_sides_of_every_limit():
    def first_pause(gyro, step):
        samples = np.zeros((200, 6), dtype=np.int16)
        samples[:, 5] = gyro
        samples[:, 1] = np.arange(200) * step
        found = np.flatnonzero(paused(samples, np.zeros(200, dtype=bool)))
        return int(found[0]) if len(found) else None

    assert first_pause(45, 30) == 150
    assert first_pause(-45, 0) == 150
    assert first_pause(46, 0) is None
    assert first_pause(0, 31) is None


@pytest.mark.parametrize(("step", "wakes"), [(139, False), (140, True)])
def test_a_change_wakes_it(step, wakes):
    samples = np.zeros((300, 6), dtype=np.int16)
    samples[200:, 2] = np.arange(100) % 2 * step
    # Every sample from 201 on differs from the one before.
    out = paused(samples, np.zeros(300, dtype=bool))
    assert out[150:211].all()
    assert out[211:].any() != wakes


def test_usb_pauses_and_the_trigger_does_not_lift_that():
    rng = np.random.default_rng(1)
    samples = rng.integers(-999, 999, (4000, 6)).astype(np.int16)
    usb = np.zeros(4000, dtype=bool)
    usb[1000:2000] = True
    log = record(rng, samples, np.zeros(4000, dtype=bool), 4000, usb)
    assert not np.isin(np.arange(1000, 2000), log.kept).any()
    assert np.isin(np.arange(2000, 2900), log.kept).mean() > 0.9
