"""Choosing policies: within the budget, better than what ships, repeatable; and a line for what cannot be tuned."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from stinger.errors import InputError, UsageError
from stinger.evaluation.streaming import figures, ground, total
from stinger.evaluation.tuning import Budget, Match, Recording, measure_all, tune
from stinger.models.policy import ONE, Policy, run_policy

PERIOD = 10_000
STOCK = Policy.stock()


def recording(seed, *, seconds=60, shots=True, still=False):
    """A shot every six seconds, before which the probability rises; where there is none, mostly shorter and lower."""
    rng = np.random.default_rng(seed)
    n = 100 * seconds
    t_us = np.arange(n, dtype=np.int64) * PERIOD
    p = rng.uniform(0, 0.2, n)
    edges = np.arange(300, n - 100, 600) + rng.integers(0, 100) if shots else np.empty(0, dtype=np.int64)
    for edge in edges:
        for at, length, low in ((edge - 35, 35, 0.5), (edge + 150, rng.integers(5, 35), 0.3), (edge + 230, 4, 0.4)):
            p[at : at + length] = rng.uniform(low, low + 0.5)
    ready = np.arange(n) >= 49
    motion = np.full(n, 0 if still else 50 * 200**2, dtype=np.int64)
    units = np.where(ready, np.rint(p * ONE), 0).astype(np.uint16)
    return Recording(f"made-{seed}", t_us, ready, units, motion, ground(t_us, ready, edges, PERIOD))


MADE = [recording(1), recording(2)]


def tuned(goal, recordings=MADE, base=STOCK):
    return tune(lambda policies: measure_all(recordings, policies), base, goal)


@pytest.fixture(scope="module")
def found():
    return tuned(Budget(1.0, 0.05))


def test_the_chosen_policy_keeps_the_budget_and_beats_what_ships(found):
    assert found.figures.per_minute <= 1.0
    assert found.figures.on_share <= 0.05
    assert found.figures.share > 0.4
    shipped = found.stock[50]
    assert shipped.per_minute > 1.0
    within = [one for one in found.stock.values() if one.per_minute <= 1.0 and one.on_share <= 0.05]
    assert found.figures.anticipated > max(one.anticipated for one in within)


def test_nothing_tried_within_the_budget_anticipates_more(found):
    able = [one for one in found.tried.values() if one.per_minute <= 1.0 and one.on_share <= 0.05]
    assert max(one.anticipated for one in able) == found.figures.anticipated
    assert len(found.tried) > 2000


def test_its_figures_are_those_of_the_policy_run_alone(found):
    for policy in (found.chosen, STOCK, *(policy for policy, _ in found.front()[:3])):
        traces = [run_policy(policy, r.t_us, r.ready, r.probability, r.motion) for r in MADE]
        parts = [figures(r.asked, trace.on) for r, trace in zip(MADE, traces, strict=True)]
        assert total(parts) == found.tried[policy]
    assert found.stock[50] == found.tried[STOCK]


def test_it_repeats(found):
    again = tuned(Budget(1.0, 0.05))
    assert again.chosen == found.chosen
    assert list(again.tried) == list(found.tried)


def test_the_front_has_no_policy_that_another_beats(found):
    front = [one for _, one in found.front()]
    assert len(front) > 1
    assert all(a.spin_ups < b.spin_ups and a.anticipated < b.anticipated for a, b in pairwise(front))
    for one in found.tried.values():
        if one.on_share <= 0.05:
            assert any(f.spin_ups <= one.spin_ups and f.anticipated >= one.anticipated for f in front)


def test_more_may_be_spent_for_more_shots(found):
    dear = tuned(Budget(6.0, 0.05))
    assert dear.figures.anticipated >= found.figures.anticipated
    cheap = tuned(Budget(0.2, 0.05))
    assert cheap.figures.anticipated <= found.figures.anticipated
    assert cheap.figures.per_minute <= 0.2


def test_always_on_is_no_way_out():
    """It spins up once a recording and anticipates everything; what it costs is time."""
    always = replace(STOCK, on=1, off=1)
    one = measure_all(MADE, [always])[0]
    assert one.share == 1
    assert one.spin_ups == len(MADE)
    assert one.on_share > 0.9
    for on_share in (0.02, 0.05):
        assert tuned(Budget(1.0, on_share)).figures.on_share <= on_share


def test_matching_anticipates_as_many_with_fewer_spin_ups():
    shipped = measure_all(MADE, [STOCK])[0]
    match = tuned(Match(shipped.anticipated, max(0.05, shipped.on_share)))
    assert match.figures.anticipated >= shipped.anticipated
    assert match.figures.spin_ups < shipped.spin_ups


def test_a_model_without_gyroscope_gets_policies_without_a_gate():
    base = replace(STOCK, gate_lsb=0, positive=0)
    still = [recording(1, still=True)]
    found = tuned(Budget(2.0, 0.05), still, base)
    assert {(policy.gate_lsb, policy.positive) for policy in found.tried} == {(0, 0)}
    assert found.figures.share > 0.6
    # With its gate the stock policy takes all of this for rest.
    assert measure_all(still, [STOCK])[0].anticipated == 0


@pytest.mark.parametrize(
    ("recordings", "goal", "message"),
    [
        ([recording(1, shots=False)], Budget(), "none of 0 shots in these recordings can be anticipated; record more"),
        ([recording(1, seconds=5)], Budget(0.001, 0.05), None),
        (
            [replace(MADE[0], probability=np.zeros(6000, np.uint16))],
            Budget(),
            "no policy anticipates any shot within 1 false spin-ups a minute and 10% of the time on; "
            "allow more, or train a better model",
        ),
        ([MADE[0]], Match(10_000, 0.1), "no policy anticipates any shot within 10% of the time on"),
    ],
)
def test_what_cannot_be_tuned_is_a_line(recordings, goal, message):
    if message is None:
        # One shot and no feint: there is a policy for it, however small the budget.
        assert tuned(goal, recordings).figures.anticipated == 1
        return
    with pytest.raises(InputError, match=message):
        tuned(goal, recordings)


@pytest.mark.parametrize(
    ("budget", "on_share", "message"),
    [
        (0, 0.1, "budget must be above 0"),
        (float("nan"), 0.1, "budget"),
        (1, 0, "time on must be above 0"),
        (1, 1.5, "time on"),
    ],
)
def test_impossible_budgets_are_refused(budget, on_share, message):
    with pytest.raises(UsageError, match=message):
        Budget(budget, on_share)
