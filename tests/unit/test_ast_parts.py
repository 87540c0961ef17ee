"""Examples of a transformer: how windows are cut, and that no part learns another's by heart."""

from dataclasses import replace

import ast_cases
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stinger.errors import InputError, UsageError
from stinger.features.spectrogram import AST, input_values
from stinger.models.ast.examples import StoredInputs, examples_of_dataset, examples_of_sessions
from stinger.models.ast.parts import Parts, check_leaks, divide, few, overlapping
from stinger.synth.imperfections import Imperfections
from stinger.synth.magnetic import generate, streams
from stinger.synth.patterns import pattern_plan
from stinger.windows.explore import assemble, cut_session
from stinger.windows.spec import ExploreSpec


def test_windows_lie_in_a_label_and_follow_each_recordings_own_rate():
    sessions = [
        generate(pattern_plan("simple", "mixed", 15.0, rate, streams(1)[0]), Imperfections(), name=f"{rate}").session
        for rate in (100.0, 50.0)
    ]
    examples = examples_of_sessions(sessions, spec=ast_cases.SPEC)
    assert examples.classes == ("high", "low", "none")
    assert examples.channels == ("mx", "my", "mz")
    # Segments of 5 s hold three windows of 3 s that begin a second apart, whatever the rate.
    assert np.bincount(examples.segment).tolist() == [3] * 6
    assert set((examples.start_ns // 10**9 % 5).tolist()) == {0, 1, 2}
    assert set((examples.end_ns - examples.start_ns).tolist()) == {3 * 10**9}
    taken = examples.inputs.take(np.array([0, 9]))
    for row, session, rate in ((0, sessions[0], 100), (1, sessions[1], 50)):
        values = session.samples[: 3 * rate, :3] * session.channels[0].scale
        np.testing.assert_array_equal(taken[row], input_values(values[None], float(rate), ast_cases.SPEC)[0])


def test_rows_are_the_same_in_any_order_and_from_the_cache():
    examples = ast_cases.examples()
    once = examples.inputs.take(np.array([5, 0, 5]))
    np.testing.assert_array_equal(once[0], once[2])
    np.testing.assert_array_equal(examples.inputs.take(np.array([0]))[0], once[1])
    with pytest.raises(IndexError):
        examples.inputs.take(np.array([len(examples)]))


def test_mean_and_deviation_are_of_what_is_heard():
    examples = ast_cases.examples()
    rows = np.arange(len(examples))
    measured = examples.inputs.measured(rows)
    taken = examples.inputs.as_spec(measured).take(rows)
    heard = taken[~np.isclose(taken, -measured.mean / (2 * measured.std), atol=1e-6).all(axis=2)]
    assert abs(heard.mean()) < 1e-3
    assert heard.std() == pytest.approx(0.5, abs=1e-3)
    # Spectrograms that were made before are brought to the same.
    made = StoredInputs(examples.inputs.take(rows), ast_cases.SPEC, ast_cases.SPEC)
    assert made.measured(rows).mean == pytest.approx(measured.mean, abs=2e-4)
    np.testing.assert_allclose(made.as_spec(measured).take(rows), taken, atol=2e-5)
    with pytest.raises(InputError, match="the model looks at 1024 of 128 every 10 ms"):
        made.as_spec(AST)


def test_a_dataset_keeps_what_it_holds_out():
    spec = ExploreSpec(classes="events", channels=("mx", "my", "mz"), window_ms=3000, stride=1 / 3, split="session")
    dataset = assemble([cut_session(s, spec, i) for i, s in enumerate(ast_cases.sessions())], spec)
    examples = examples_of_dataset(dataset, ast_cases.SPEC)
    direct = ast_cases.examples()
    np.testing.assert_array_equal(examples.inputs.take(np.arange(9)), direct.inputs.take(np.arange(9)))
    np.testing.assert_array_equal(examples.labels, direct.labels)
    assert [source.sha256 for source in examples.sources] == [source.sha256 for source in direct.sources]
    parts = divide(examples)
    assert parts.kind == "given"
    np.testing.assert_array_equal(parts.test, dataset.held_out)
    with pytest.raises(InputError, match="classes are no labels of recordings"):
        examples_of_dataset(replace(dataset, meta={**dataset.meta, "kind": "shots"}))


def test_a_random_split_of_a_dataset_is_refused_unless_its_embargo_makes_it_whole():
    spec = ExploreSpec(classes="events", channels=("mx", "my", "mz"), window_ms=3000, stride=1 / 3, split="random")
    sessions = ast_cases.sessions(8, 30.0)
    torn = replace(spec, embargo=False)
    dataset = assemble([cut_session(s, torn, i) for i, s in enumerate(sessions)], torn)
    with pytest.raises(InputError, match="held-out windows lie in one stretch with training windows"):
        divide(examples_of_dataset(dataset, ast_cases.SPEC))
    # In a stretch of 5 s every window overlaps every other, so the embargo takes all that is left of it.
    dataset = assemble([cut_session(s, spec, i) for i, s in enumerate(sessions)], spec)
    examples = examples_of_dataset(dataset, ast_cases.SPEC)
    assert not np.intersect1d(examples.segment[examples.held_out], examples.segment[~examples.held_out]).size


@pytest.mark.parametrize(("kind", "count", "expected"), [("auto", 8, "session"), ("auto", 3, "group")])
def test_whole_recordings_or_whole_stretches(kind, count, expected):
    examples = ast_cases.examples(count, 60.0)
    parts = divide(examples, kind)
    assert parts.kind == expected
    units = examples.recordings if expected == "session" else examples.segment
    named = list(parts.named().values())
    assert (sum(mine.astype(int) for mine in named) == 1).all()
    for i, mine in enumerate(named):
        assert set(examples.labels[mine].tolist()) == {0, 1, 2}
        for theirs in named[i + 1 :]:
            assert not np.intersect1d(units[mine], units[theirs]).size
    assert parts.test.mean() == pytest.approx(0.25, abs=0.07)
    again = divide(examples, kind)
    assert all((a == b).all() for a, b in zip(named, again.named().values(), strict=True))
    assert any((a != b).any() for a, b in zip(named, divide(examples, kind, seed=2).named().values(), strict=True))


@pytest.mark.parametrize("kind", ["random", "time", "subject", "given"])
def test_splits_that_cannot_be(kind):
    error = InputError if kind == "given" else UsageError
    with pytest.raises(error, match=r"choose|do not say"):
        divide(ast_cases.examples(), kind)


def test_too_few_to_keep_apart():
    with pytest.raises(InputError, match="too few recordings to keep held-out ones apart: 1 in all"):
        divide(ast_cases.examples(1), "session")
    one_each = ast_cases.made_up([0, 1, 2], [0, 1, 2], [0, 1, 2], [0, 0, 0])
    with pytest.raises(InputError, match="too few recordings"):
        divide(one_each, "session")


def test_a_recording_given_twice_stays_on_one_side():
    twice = ast_cases.sessions() + [replace(s, name=f"copy of {s.name}") for s in ast_cases.sessions()]
    for kind in ("session", "group"):
        examples = examples_of_sessions(twice, spec=ast_cases.SPEC)
        parts = divide(examples, kind)
        half = len(examples) // 2
        for mine in parts.named().values():
            np.testing.assert_array_equal(mine[:half], mine[half:])


def test_leaks_are_found():
    examples = ast_cases.made_up([0, 1, 2] * 2, [0] * 6, range(6), [0, 5, 10, 15, 20, 25])
    none, first = np.zeros(6, bool), np.arange(6) == 0
    check_leaks(examples, Parts("given", ~first, none, first))
    # The same stretch, moments that two windows share, and the same moments under another name.
    stretch = replace(examples, segment=np.array([0, 0, 1, 2, 3, 4]))
    moments = replace(examples, start_ns=examples.start_ns + np.array([3 * 10**9] + [0] * 5))
    renamed = ast_cases.made_up([0, 1, 2] * 2, [0] + [1] * 5, range(6), [6, 5, 10, 15, 20, 25], shas={0: "a", 1: "a"})
    for leaking in (stretch, replace(moments, end_ns=moments.start_ns + 3 * 10**9), renamed):
        with pytest.raises(InputError, match="1 of 1 held-out windows lie in one stretch with training windows"):
            check_leaks(leaking, Parts("given", ~first, none, first))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 2), st.booleans()), min_size=1, max_size=30))
def test_overlap_is_what_comparing_all_pairs_finds(rows):
    starts, sequence, mine = (np.array(column) for column in zip(*rows, strict=True))
    examples = ast_cases.made_up([0] * len(rows), sequence.tolist(), range(len(rows)), starts)
    mine = mine.astype(bool)
    expected = [
        mine[i]
        and any(not mine[j] and sequence[i] == sequence[j] and abs(starts[i] - starts[j]) < 3 for j in range(len(rows)))
        for i in range(len(rows))
    ]
    assert overlapping(examples, mine, ~mine).tolist() == expected


def test_few_of_each_class():
    examples = ast_cases.examples(8)
    parts = few(examples, divide(examples), 2, seed=1)
    for mine in parts.named().values():
        assert np.bincount(examples.labels[mine]).tolist() == [2, 2, 2]


def test_what_cannot_be_learnt_from():
    unlabelled = [replace(s, events=()) for s in ast_cases.sessions()]
    with pytest.raises(InputError, match="0 labels in 4 recordings"):
        examples_of_sessions(unlabelled)
    with pytest.raises(InputError, match="0 labelled windows of 6 s"):
        examples_of_sessions(ast_cases.sessions(), window_s=6.0)
    with pytest.raises(UsageError, match="has no channel 'nz'"):
        examples_of_sessions(ast_cases.sessions(), channels=("mx", "nz"))
