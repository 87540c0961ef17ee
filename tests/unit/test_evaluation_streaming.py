"""Streaming figures: what they are by definition, second by second, and at the edges."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stinger.evaluation.streaming import Figures, Rules, figures, ground, intervals, score, spells, total

PERIOD = 10_000


def recording(seconds=20.0, *, gaps=()):
    """Times at 100 Hz; each gap (second, length in seconds) is a pause before the sample of that second."""
    t_us = np.arange(round(seconds * 100), dtype=np.int64) * PERIOD
    for at, length in gaps:
        t_us[round(at * 100) :] += round(length * 1e6)
    return t_us


def asked(t_us, shots, **changes):
    """What a recording asks of a policy for a model with a window of half a second."""
    index = np.arange(len(t_us))
    gap = np.concatenate([[True], np.diff(t_us) > 1.5 * PERIOD])
    ready = index - np.maximum.accumulate(np.where(gap, index, 0)) >= 49
    return ground(t_us, ready, np.array(shots, dtype=np.int64), PERIOD, **changes)


def on_during(t_us, *spans):
    """An on-trace by sample numbers."""
    on = np.zeros(len(t_us), dtype=np.bool_)
    for a, b in spans:
        on[a:b] = True
    return on


def test_a_shot_is_anticipated_when_on_for_a_tenth_of_a_second_and_kept_on():
    t_us = recording()
    ask = asked(t_us, [1000])
    cases = {
        (900, 1000): (True, 1_000_000),
        (990, 1001): (True, 100_000),
        (991, 1001): (False, 90_000),
        (900, 999): (False, 0),
        (1000, 1100): (False, 0),
        (300, 1500): (True, 7_000_000),
    }
    for span, (anticipated, lead_us) in cases.items():
        trace = score(ask, *spells(on_during(t_us, span)))
        assert (trace.anticipated.tolist(), trace.lead_us.tolist()) == ([anticipated], [lead_us]), span
    interrupted = score(ask, *spells(on_during(t_us, (900, 950), (951, 1000))))
    assert (interrupted.anticipated.tolist(), interrupted.lead_us.tolist()) == ([True], [490_000])


def test_neutral_time_keeps_clear_of_shots_gaps_and_windows_that_are_not_there():
    t_us = recording(20, gaps=[(15, 3)])
    ask = asked(t_us, [1000])
    neutral = np.zeros(2000, dtype=np.bool_)
    neutral[49:800] = True  # the first window is complete; up to 2 s before the shot
    neutral[1120:1500] = True  # from 1.2 s after it to the gap
    neutral[1549:2000] = True  # the first window after the gap
    assert ask.neutral.tolist() == neutral.tolist()
    assert ask.neutral_us == neutral.sum() * PERIOD


def test_an_edge_too_soon_to_be_a_shot_is_not_neutral_and_neither_is_a_trigger_held_down():
    t_us = recording()
    down = on_during(t_us, (1000, 1300))
    ask = asked(t_us, [1000], pulls=np.array([1000, 1090]), down=down)
    assert ask.shots.tolist() == [1000]
    assert not ask.neutral[800:1300].any()
    assert ask.neutral[1300:].all()
    assert asked(t_us, [1000], pulls=np.array([1000, 1090])).neutral[1210:].all()


def test_on_from_before_neutral_time_is_time_but_no_spin_up():
    t_us = recording()
    ask = asked(t_us, [500])
    one = figures(ask, on_during(t_us, (450, 720)))
    assert one.spin_ups == 0
    assert one.on_us == (720 - 620) * PERIOD
    again = figures(ask, on_during(t_us, (450, 720), (721, 730), (1999, 2000)))
    assert again.spin_ups == 2
    assert again.on_us == (720 - 620 + 9 + 1) * PERIOD


def test_a_spin_up_in_neutral_time_is_false_though_it_anticipates_a_shot():
    t_us = recording()
    one = figures(asked(t_us, [1000]), on_during(t_us, (799, 1000)))
    assert (one.anticipated, one.spin_ups, one.on_us) == (1, 1, PERIOD)


def test_a_shot_right_after_a_gap_cannot_be_anticipated():
    t_us = recording(20, gaps=[(10, 5)])
    # The first complete window ends at sample 1049, and the policy needs it 100 ms before the trigger.
    for edge, possible in ((1000, False), (1049, False), (1058, False), (1059, True)):
        ask = asked(t_us, [300, edge])
        assert ask.possible.tolist() == [True, possible], edge
        one = figures(ask, np.ones(len(t_us), dtype=np.bool_))
        assert (one.shots, one.impossible, one.anticipated) == (2, 1 - possible, 1 + possible)
        assert one.share == 1


def test_no_shots_and_no_neutral_time():
    t_us = recording(3)
    one = figures(asked(t_us, []), on_during(t_us, (100, 200)))
    assert math.isnan(one.share)
    assert (one.shots, one.spin_ups, one.on_us) == (0, 1, 1_000_000)
    assert one.to_json()["anticipated_share"] is None
    short = figures(asked(t_us, [200]), on_during(t_us, (150, 200)))
    assert (short.neutral_us, short.anticipated) == (0, 1)
    assert math.isnan(short.per_minute)
    assert short.to_json()["neutral_on_share"] is None
    empty = figures(asked(t_us[:0], []), on_during(t_us[:0]))
    assert (empty.shots, empty.neutral_us) == (0, 0)


def test_what_does_not_count_is_neither_shot_nor_neutral():
    t_us = recording()
    counted = ~on_during(t_us, (900, 1400))
    ask = asked(t_us, [300, 1000], counted=counted)
    assert ask.shots.tolist() == [300]
    assert not ask.neutral[800:1400].any()
    assert ask.neutral[1400:].all()


def test_recordings_add_up():
    t_us = recording()
    parts = [
        figures(asked(t_us, [1000]), on_during(t_us, (900, 1000), (1500, 1600))),
        figures(asked(t_us, [500, 1500]), on_during(t_us, (495, 500))),
    ]
    whole = total(parts)
    assert (whole.shots, whole.anticipated, whole.late, whole.spin_ups) == (3, 1, 1, 1)
    assert whole.neutral_us == sum(part.neutral_us for part in parts)
    assert whole.lead_us == (1_000_000,)
    assert whole.per_minute == pytest.approx(60e6 / whole.neutral_us)


def plain(t_us, ready, shots, on, rules):
    """The definitions of docs/streaming.md, sample by sample and in plain Python."""
    n = len(t_us)
    gap = [i == 0 or not 0 < t_us[i] - t_us[i - 1] <= 1.5 * PERIOD for i in range(n)]
    neutral = [
        bool(ready[i]) and not any(t_us[s] - rules.before_us <= t_us[i] < t_us[s] + rules.after_us for s in shots)
        for i in range(n)
    ]
    holds = [t_us[i + 1] - t_us[i] if i + 1 < n and not gap[i + 1] else PERIOD for i in range(n)]
    anticipated = impossible = 0
    for s in shots:
        first = max(i for i in range(s + 1) if gap[i])
        at = [i for i in range(first, s) if t_us[i] <= t_us[s] - rules.lead_us]
        if not at or not ready[at[-1]]:
            impossible += 1
        elif all(on[i] for i in range(at[-1], s)):
            anticipated += 1
    return {
        "anticipated": anticipated,
        "impossible": impossible,
        "spin_ups": sum(bool(on[i]) and (i == 0 or not on[i - 1]) and neutral[i] for i in range(n)),
        "neutral_us": sum(h for h, x in zip(holds, neutral, strict=True) if x),
        "on_us": sum(h for h, x, o in zip(holds, neutral, on, strict=True) if x and o),
    }


@st.composite
def situations(draw):
    n = draw(st.integers(2, 60))
    steps = draw(st.lists(st.sampled_from([PERIOD, PERIOD, PERIOD, 9_000, 15_000, 40_000]), min_size=n, max_size=n))
    t_us = np.cumsum(np.array(steps, dtype=np.int64))
    on, ready = (np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n))) for _ in range(2))
    shots = sorted(draw(st.sets(st.integers(1, n - 1), max_size=4)))
    rules = Rules(*(1000 * draw(st.integers(0, 200)) for _ in range(3)))
    return t_us, ready, shots, on, rules


@given(situations())
def test_it_is_what_the_definitions_say(situation):
    t_us, ready, shots, on, rules = situation
    one = figures(ground(t_us, ready, np.array(shots, dtype=np.int64), PERIOD, rules=rules), on)
    expected = plain(t_us.tolist(), ready, shots, on, rules)
    assert {name: getattr(one, name) for name in expected} == expected
    assert one.anticipated == len(one.lead_us)
    assert all(lead >= rules.lead_us for lead in one.lead_us)


def made(*, shots, anticipated, spin_ups, minutes):
    return Figures(shots, 0, anticipated, 0, spin_ups, round(minutes * 60e6), 1_000_000, ())


def test_intervals_of_few_recordings_are_wilsons():
    known = intervals([made(shots=10, anticipated=9, spin_ups=4, minutes=2.0)])
    share, rate = known["anticipated_share"], known["false_spin_ups_per_minute"]
    assert (share.low, share.high) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    # Ends of Wilson's interval solve |share - p| = 1.96 sqrt(p (1 - p) / n); counts per time likewise.
    for p in (share.low, share.high):
        assert abs(0.9 - p) == pytest.approx(1.959964 * math.sqrt(p * (1 - p) / 10))
    for events in (2 * rate.low, 2 * rate.high):
        assert abs(4 - events) == pytest.approx(1.959964 * math.sqrt(events))
    nothing = intervals([made(shots=0, anticipated=0, spin_ups=0, minutes=0)])
    assert all(math.isnan(figure.value) for figure in nothing.values())


def test_intervals_of_many_recordings_know_that_these_differ():
    alike = [made(shots=20, anticipated=10, spin_ups=6, minutes=4) for _ in range(8)]
    apart = [made(shots=20, anticipated=20 * (i % 2), spin_ups=12 * (i % 2), minutes=4) for i in range(8)]
    same, wide = (intervals(parts) for parts in (alike, apart))
    assert (same["anticipated_share"].low, same["anticipated_share"].high) == (0.5, 0.5)
    assert wide["anticipated_share"].low < 0.2
    assert wide["anticipated_share"].high > 0.8
    assert wide["false_spin_ups_per_minute"].high > 2.4
    assert intervals(apart) == wide
