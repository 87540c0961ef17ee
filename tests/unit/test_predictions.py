"""Predictions along a recording: what is scored, what training saw, which moments are chosen, what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stinger.errors import InputError, UsageError
from stinger.models.policy import Policy, motion_energy, run_policy, to_units
from stinger.models.train import train
from stinger.plots.session import WindowStrip
from stinger.synth.shots import make_session
from stinger.windows.arrays import take_windows
from stinger.windows.dataset import Dataset
from stinger.windows.describe import session_hash
from stinger.windows.explore import assemble, cut_session
from stinger.windows.spec import preset
from stinger.workflow.prediction_models import Shown, check_comparable, parse_recipes
from stinger.workflow.prediction_scores import Scores, for_model, score_all, shares_samples
from stinger.workflow.prediction_windows import Labelled, choose_negatives, choose_shots, find_windows, seen_by
from stinger.workflow.progress import Progress


@pytest.fixture(scope="module")
def made():
    return make_session(1, 2.0)[0]


@pytest.fixture(scope="module")
def dataset(made) -> Dataset:
    spec = preset("personal", split="random")
    return assemble([cut_session(made, spec)], spec)


@pytest.fixture(scope="module")
def shown(dataset):
    usable = dataset.without_embargoed()
    models = [train(usable, "logreg", features=name) for name in ("summary", "rich")]
    policies = (None, Policy.stock())
    models = [replace(m, spec=replace(m.spec, policy=p)) for m, p in zip(models, policies, strict=True)]
    return [Shown(m.spec.features, m.spec.features, "here", m, fresh=True) for m in models]


@pytest.fixture(scope="module")
def scores(made, shown):
    return score_all(shown, made, "shot", Progress())


def ends_of(session, window):
    return np.concatenate([np.arange(a + window - 1, b) for a, b in session.stretches()])


def test_every_gap_free_window_is_scored_as_the_model_scores_it(made, shown, scores):
    ends = ends_of(made, 50)
    assert len(made.stretches()) > 2
    for one, score in zip(shown, scores, strict=True):
        np.testing.assert_array_equal(np.flatnonzero(score.ready), ends)
        assert np.isnan(score.p[~score.ready]).all()
        windows = take_windows(made.samples, ends - 49, 50)
        np.testing.assert_allclose(score.p[ends], one.model.predict_proba(windows)[:, 1], rtol=0, atol=1e-12)


def test_a_policy_runs_over_the_whole_stream(made, shown, scores):
    assert scores[0].on is None
    score, policy = scores[1], shown[1].model.spec.policy
    motion = np.zeros(len(made), np.int64)
    ends = ends_of(made, 50)
    motion[ends] = motion_energy(take_windows(made.samples, ends - 49, 50), 3)
    expected = run_policy(policy, made.t_us, score.ready, to_units(np.nan_to_num(score.p)), motion).on
    np.testing.assert_array_equal(score.on, expected)
    assert 0 < expected.sum() < len(made)


def test_the_other_class_is_the_complement_and_has_no_policy(made, shown, scores):
    idle = score_all(shown, made, "idle", Progress())
    ready = idle[0].ready
    np.testing.assert_allclose(idle[0].p[ready] + scores[0].p[ready], 1, atol=1e-12)
    assert idle[1].on is None


def test_channels_are_found_by_name_and_rescaled(made, shown):
    spec = shown[0].model.spec
    turned = replace(made, samples=made.samples[:, ::-1].copy(), channels=made.channels[::-1])
    samples, changes = for_model(turned, spec, "m")
    np.testing.assert_array_equal(samples, made.samples)
    assert changes == []
    coarse = replace(made, channels=tuple(replace(c, scale=c.scale * 2) for c in made.channels))
    samples, changes = for_model(coarse, spec, "m")
    np.testing.assert_array_equal(samples, np.clip(2 * made.samples.astype(int), -32768, 32767))
    assert len(changes) == 6
    assert changes[0].startswith("ax: 0.0009766 g per count became m's 0.0004883")
    assert any("are clipped" in change for change in changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: replace(s, period_us=20_000), "has 50 samples a second, m was trained on 100"),
        (
            lambda s: replace(s, samples=s.samples[:, :5].copy(), channels=s.channels[:5]),
            "has no channel 'gz', which m needs; it has ax, ay, az, gx, gy",
        ),
        (
            lambda s: replace(s, channels=(replace(s.channels[0], unit="m/s^2"), *s.channels[1:])),
            "ax is in m/s^2, m was trained on g",
        ),
    ],
)
def test_recordings_of_another_kind_are_refused(made, shown, change, message):
    with pytest.raises(InputError, match=message.replace("^", r"\^")):
        for_model(change(made), shown[0].model.spec, "m")


def test_a_recording_shorter_than_a_window_is_refused(made, shown):
    short = replace(made, t_us=made.t_us[:49], samples=made.samples[:49], trigger=made.trigger[:49])
    with pytest.raises(InputError, match="the longest stretch without a gap has 49 samples, a window of summary 50"):
        score_all(shown, short, "shot", Progress())


@given(
    st.integers(1, 60), st.integers(1, 9), st.integers(1, 9), st.lists(st.integers(0, 59), max_size=4), st.booleans()
)
def test_shared_samples_are_those_of_sets(n, length, window, starts, everywhere):
    starts = np.array([s for s in starts if s + length <= n], np.int64)
    ready = np.arange(n) >= window - 1 if everywhere else np.zeros(n, bool)
    known = {i for s in starts.tolist() for i in range(s, s + length)}
    expected = [bool(ready[e] and known & set(range(e - window + 1, e + 1))) for e in range(n)]
    assert shares_samples(starts, length, n, ready, window).tolist() == expected


def test_what_training_saw_is_marked_and_embargoed_windows_keep_the_rest_apart(made, dataset, shown, scores):
    labelled = find_windows(made, dataset, shown[0].model.spec)
    assert labelled.known
    np.testing.assert_array_equal(labelled.strip.start, dataset.start)
    seen = seen_by(shown[0], scores[0], made, labelled, dataset)
    assert seen.sure
    assert seen.note is None
    end = dataset.start + 49
    assert seen.mark[end[dataset.training]].all()
    assert not seen.mark[end[dataset.held_out]].any()


def test_a_saved_models_training_is_told_from_its_hashes(made, dataset, shown, scores):
    other = make_session(2, 0.5)[0]
    labelled = find_windows(made, None, shown[0].model.spec)
    assert not labelled.known
    assert labelled.strip.held_out.all()

    def saved(**changes):
        model = shown[0].model
        return replace(shown[0], fresh=False, model=replace(model, spec=replace(model.spec, **changes)))

    known = seen_by(saved(trained_on=(session_hash(made),)), scores[0], made, labelled, None)
    np.testing.assert_array_equal(known.mark, scores[0].ready)
    assert not known.sure
    assert "--train-dir" in known.note
    foreign = seen_by(saved(trained_on=(session_hash(other),)), scores[0], made, labelled, None)
    assert not foreign.mark.any()
    assert foreign.note is None
    silent = seen_by(saved(trained_on=()), scores[0], made, labelled, None)
    assert not silent.mark.any()
    assert "does not say what it was trained on" in silent.note
    # With its dataset beside it, a saved model is as good as a fresh one.
    inside = find_windows(made, dataset, shown[0].model.spec)
    exact = seen_by(saved(), scores[0], made, inside, dataset)
    assert exact.sure
    assert 0 < exact.mark.sum() < scores[0].ready.sum()


def test_a_recording_outside_the_dataset_is_cut_as_the_dataset_was(dataset, shown):
    other = make_session(2, 1.0)[0]
    labelled = find_windows(other, dataset, shown[0].model.spec)
    assert not labelled.known
    # The preset asks for twelve negatives a shot; the default for one.
    assert (labelled.strip.labels == 0).sum() > 3 * (labelled.strip.labels == 1).sum()


def test_an_exporters_dataset_is_recognised_by_its_content(made, dataset, shown):
    bare = replace(dataset, meta={"index": dataset.meta["index"], "inputs": [{"name": "log.csv"}]})
    labelled = find_windows(made, bare, shown[0].model.spec)
    assert labelled.known
    np.testing.assert_array_equal(labelled.strip.start, dataset.start)
    assert not find_windows(make_session(2, 2.0)[0], bare, shown[0].model.spec).known


def test_unseen_shots_come_first_and_are_spread():
    seen = np.array([True, False] * 10)
    assert choose_shots(seen, None) == list(range(20))
    assert choose_shots(seen, 20) == list(range(20))
    assert choose_shots(seen, 2) == [5, 15]
    assert choose_shots(seen, 12) == sorted([*range(1, 20, 2), 4, 14])
    assert choose_shots(seen, 0) == []
    assert choose_shots(seen[:0], 3) == []


def test_half_of_the_negatives_are_the_worst_and_none_is_a_shot_or_embargoed():
    n = 40
    strip = WindowStrip(
        start=np.arange(n, dtype=np.int64) * 10,
        labels=(np.arange(n) % 4 == 0).astype(np.uint8),
        held_out=np.arange(n) < 20,
        embargoed=(np.arange(n) >= 20) & (np.arange(n) < 25),
        classes=("idle", "shot"),
        window=5,
        lead_us=0,
    )
    p = np.linspace(1, 0, 400)
    score = Scores(np.ones(400, bool), p, None)
    labelled = Labelled(strip, known=True)
    chosen = choose_negatives(labelled, "shot", [score], 6, 1)
    assert [row for row, worst in chosen if worst] == [1, 2, 3]
    assert len(chosen) == 6
    assert chosen == sorted(chosen)
    assert all(row % 4 and row < 20 for row, _ in chosen)
    assert chosen == choose_negatives(labelled, "shot", [score], 6, 1)
    assert chosen != choose_negatives(labelled, "shot", [score], 6, 2)
    everything = choose_negatives(labelled, "shot", [score], 100, 1)
    assert [row for row, _ in everything] == [i for i in range(n) if i % 4 and not 20 <= i < 25]


def test_recipes_are_read():
    one, two, three = parse_recipes(["mlp:rich", "torch-mlp:float-rich", "rf:rich:small"])
    assert (one.name, one.label, one.family, one.features) == ("mlp_rich", "mlp rich", "mlp", "rich")
    assert (two.name, two.label) == ("torch_mlp_float_rich", "torch-mlp float-rich")
    assert (three.name, three.label) == ("small", "small")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["mlp"], "must look like mlp:rich"),
        (["mlp:rich:a:b"], "must look like mlp:rich"),
        (["mlp::a"], "must look like mlp:rich"),
        (["mlp:rich:1a"], "a name is at most 48 letters"),
        (["oracle:rich"], "unknown model family 'oracle'"),
        (["mlp:rich", "mlp:rich"], "two models are called 'mlp_rich'"),
        ([f"mlp:rich:m{i}" for i in range(7)], "7 models are too many"),
    ],
)
def test_impossible_recipes_are_refused(texts, message):
    with pytest.raises(UsageError, match=message):
        parse_recipes(texts)


def test_models_must_speak_of_the_same(shown):
    assert check_comparable(shown, None) == "shot"
    assert check_comparable(shown, None, "idle") == "shot"
    assert check_comparable(shown, "idle") == "idle"
    with pytest.raises(InputError, match="summary knows no class 'Lift'; it knows idle, shot"):
        check_comparable(shown, "Lift")
    model = shown[1].model
    labelled = replace(model.spec, classes=("a", "b"), policy=None)
    assert check_comparable([replace(shown[1], model=replace(model, spec=labelled))], None, "a") == "a"
    assert check_comparable([replace(shown[1], model=replace(model, spec=labelled))], None, "z") == "b"
    later = replace(shown[1], model=replace(model, spec=replace(model.spec, lead_us=50_000)))
    with pytest.raises(InputError, match="rich speaks of 50 ms after its window, summary of 100 ms"):
        check_comparable([shown[0], later], None)
