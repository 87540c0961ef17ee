"""Cross-fitting whole recordings: nobody answers what it has seen, and a line for what cannot be answered."""

from dataclasses import replace

import numpy as np
import pytest

from stinger.errors import InputError, UsageError
from stinger.models.train import fit_rows
from stinger.sessions.session import STINGER_CHANNELS, Channel
from stinger.synth.shots import make_session
from stinger.windows.cut import cut
from stinger.windows.describe import session_hash
from stinger.windows.spec import preset
from stinger.windows.splits import sharing
from stinger.workflow import crossfit
from stinger.workflow.crossfit import BY_BLOCKS, REFITTED, UNSEEN, Answers, cross_fitted, event_class, require_recipe
from stinger.workflow.progress import Progress
from stinger_export.integer.quantise import quantise

SPEC = preset("personal", split="given")


def people(number, minutes=1.5):
    """Sessions of one player, the last one held out."""
    made = [make_session(seed, minutes)[0] for seed in range(1, number + 1)]
    return [replace(one, split="test" if one is made[-1] else "train") for one in made]


@pytest.fixture(scope="module")
def three():
    sessions = people(3)
    dataset = cut(sessions, SPEC)
    return sessions, dataset, fit_rows(dataset, dataset.training, "logreg", features="summary")


@pytest.fixture
def fits(monkeypatch):
    """Which rows each refit learnt from."""
    seen = []

    def spy(dataset, rows, *arguments, **options):
        seen.append(rows)
        return fit_rows(dataset, rows, *arguments, **options)

    monkeypatch.setattr(crossfit, "fit_rows", spy)
    return seen


def test_each_recording_is_answered_by_a_model_that_never_saw_it(three, fits):
    sessions, dataset, model = three
    scored = cross_fitted(model, dataset, sessions, Progress())
    assert [one.how for one in scored] == [REFITTED, REFITTED, UNSEEN]
    assert [set(dataset.session[rows].tolist()) for rows in fits] == [{1}, {0}]
    for one, session in zip(scored, sessions, strict=True):
        answered = one.recording
        windows = np.lib.stride_tricks.sliding_window_view(session.samples, 50, axis=0).transpose(0, 2, 1)
        ends = np.flatnonzero(answered.ready)
        assert answered.probability[~answered.ready].tolist() == [0] * int((~answered.ready).sum())
        gyro = windows[ends - 49, :, 3:].astype(np.int64)
        assert np.array_equal(answered.motion[ends], (gyro**2).sum(axis=(1, 2)))
        if one.how == UNSEEN:
            expected = quantise(model).decide(np.ascontiguousarray(windows[ends - 49])).probability[:, 1]
            assert np.array_equal(answered.probability[ends], expected)
        assert len(answered.asked.shots) > 5


def test_a_dataset_with_one_recording_is_left_out_block_by_block(fits):
    sessions = people(2)
    dataset = cut(sessions, SPEC)
    model = fit_rows(dataset, dataset.training, "logreg", features="summary")
    [one] = cross_fitted(model, dataset, sessions[:1], Progress())
    assert one.how == BY_BLOCKS
    assert len(fits) == crossfit.BLOCKS
    # Every training window is left out at least once, and no block is answered by who saw a sample of its windows.
    left_out = [dataset.training & ~rows for rows in fits]
    assert np.array_equal(np.any(left_out, axis=0), dataset.training)
    shots = np.sort(dataset.start[dataset.training & (dataset.labels == 1)])
    cuts = [(shots[len(shots) * k // 5 - 1] + shots[len(shots) * k // 5]) // 2 for k in range(1, 5)]
    bounds = [0, *cuts, len(sessions[0])]
    for rows, low, high in zip(fits, bounds[:-1], bounds[1:], strict=True):
        answered = np.arange(max(0, low - 49), high - 49)
        session = np.zeros(len(answered) + int(rows.sum()), dtype=np.int64)
        start = np.concatenate([answered, dataset.start[rows]])
        these = np.arange(len(start)) < len(answered)
        assert not sharing(session, start, 50, these, ~these).any()
        assert rows.sum() > 0.5 * dataset.training.sum()
        assert one.recording.probability[low:high].max() > 0


def test_tuning_looks_away_from_held_out_windows():
    session = make_session(4, 2.0)[0]
    dataset = cut([session], preset("personal", split="group"))
    model = fit_rows(dataset, dataset.training, "logreg", features="summary")
    [one] = cross_fitted(model, dataset, [session], Progress(), training_only=True)
    [whole] = cross_fitted(model, dataset, [session], Progress())
    held_out = dataset.held_out & (dataset.labels == 1)
    edges = dataset.start[held_out] + 50 + 10
    assert len(edges) > 2
    assert set(edges.tolist()) <= set(whole.recording.asked.shots.tolist())
    assert not set(edges.tolist()) & set(one.recording.asked.shots.tolist())
    for start in dataset.start[dataset.held_out].tolist():
        assert not one.recording.asked.neutral[start : start + 50].any()
    assert 0 < one.recording.asked.neutral_us < whole.recording.asked.neutral_us


def test_a_family_without_integers_answers_with_the_estimator(three):
    dataset = three[1]
    model = fit_rows(dataset, dataset.training, "logreg", features="float-summary")
    answers = Answers(model)
    assert answers.level == "L0"
    windows = dataset.windows[:20]
    assert np.array_equal(answers(windows), np.rint(model.predict_proba(windows)[:, 1] * 32768).astype(np.uint16))


def slower(session):
    return replace(session, t_us=session.t_us * 2, period_us=2 * session.period_us)


def other_scale(session):
    return replace(session, channels=(Channel("ax", "m/s^2", 0.01), *STINGER_CHANNELS[1:]))


BAD = {
    "no trigger": (lambda s: replace(s, trigger=None), InputError, "has no trigger, so nobody knows its shots"),
    "other rate": (slower, InputError, "has a sample every 20000 us, model logreg expects one every 10000; resample"),
    "other scale": (other_scale, InputError, r"one count of ax is 0.01 m/s\^2, model logreg was trained with"),
    "channels missing": (
        lambda s: replace(s, samples=s.samples[:, :3].copy(), channels=s.channels[:3]),
        UsageError,
        "has no channel 'gx'",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_recordings_that_do_not_fit_are_a_line(three, name):
    change, error, message = BAD[name]
    sessions, dataset, model = three
    with pytest.raises(error, match=message):
        cross_fitted(model, dataset, [change(sessions[2])], Progress())


def test_what_cannot_be_cross_fitted_is_a_line(three):
    sessions, dataset, model = three
    with pytest.raises(UsageError, match=r"was trained on synthetic-1; give --train-dir with its dataset"):
        cross_fitted(model, None, sessions, Progress())
    with pytest.raises(InputError, match="again holds the same samples as synthetic-3; leave one out"):
        cross_fitted(model, dataset, [sessions[2], replace(sessions[2], name="again")], Progress())
    mute = replace(model, spec=replace(model.spec, trained_on=()))
    with pytest.raises(InputError, match="does not say which recordings it was trained on; train it again"):
        cross_fitted(mute, dataset, sessions, Progress())
    with pytest.raises(InputError, match="elsewhere is not the dataset that model logreg was trained on"):
        require_recipe(model, cut(people(2), SPEC), "elsewhere")


def test_too_little_left_to_refit_on_is_a_line():
    sessions = people(2)
    dataset = cut(sessions, SPEC)
    shots = np.flatnonzero(dataset.training & (dataset.labels == 1))
    one_shot = dataset.rows(~np.isin(np.arange(len(dataset)), shots[1:]))
    model = fit_rows(one_shot, one_shot.training, "logreg", features="summary")
    with pytest.raises(InputError, match=r"1 shot\(s\) to train on, leaving out blocks of time takes two"):
        cross_fitted(model, one_shot, sessions[:1], Progress())
    sessions = people(3)
    dataset = cut(sessions, SPEC)
    lonely = dataset.rows(~((dataset.session == 1) & (dataset.labels == 1)))
    model = fit_rows(lonely, lonely.training, "logreg", features="summary")
    with pytest.raises(InputError, match="without synthetic-1 no window of class 'shot' is left to refit on"):
        cross_fitted(model, lonely, sessions[:1], Progress())


def test_models_of_something_else_are_refused(three):
    spec = three[2].spec
    assert event_class(spec) == 1
    assert event_class(replace(spec, classes=("shot", "idle"))) == 0
    assert event_class(replace(spec, classes=("rest", "serve"))) == 1
    for classes in (("lift", "idle", "walk"), ("lift", "idle")):
        with pytest.raises(UsageError, match="not shots from the rest"):
            event_class(replace(spec, classes=classes, lead_us=0))


def test_a_recording_shorter_than_a_window_has_no_answers(three):
    sessions, dataset, model = three
    short = replace(
        sessions[2],
        t_us=sessions[2].t_us[:30],
        samples=sessions[2].samples[:30],
        trigger=sessions[2].trigger[:30],
    )
    assert session_hash(short) not in model.spec.trained_on
    [one] = cross_fitted(model, dataset, [short], Progress())
    assert (one.recording.asked.neutral_us, int(one.recording.probability.max())) == (0, 0)
