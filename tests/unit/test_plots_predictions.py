"""Pictures of predictions: at the time they speak of, broken at gaps, with what training saw behind."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex

from stinger.plots.prediction_moments import Moment, cut_scene, moment_figure, moment_png
from stinger.plots.prediction_spread import Answers, histogram_figure
from stinger.plots.predictions import (
    PALETTE,
    SEEN,
    UNSPOKEN,
    Curve,
    overview_figure,
    overview_png,
    runs,
    short,
)
from stinger.plots.session import strip_of
from stinger.plots.traces import GAP, LEAD, WINDOW
from stinger.sessions.session import starts_after_gap
from stinger.synth.shots import make_session
from stinger.windows.cut import cut
from stinger.windows.shot_rules import find_shots

LEAD_US = 100_000


@pytest.fixture(scope="module")
def made():
    return make_session(1, 1.0)[0]


def curve_of(session, **changes):
    """A curve of full windows of 50 samples, whose value is a ramp."""
    ready = np.concatenate([np.arange(a + 49, b) for a, b in session.stretches()])
    given = {
        "label": "mlp rich",
        "t_us": session.t_us[ready] + LEAD_US,
        "p": np.linspace(0, 1, len(ready)),
        "seen": np.zeros(len(ready), bool),
        "threshold": 0.4,
        "period_us": session.period_us,
        "lead_us": LEAD_US,
    }
    return Curve(**{**given, **changes})


def shaded(axis, colour):
    """Extents of everything of a colour, left to right."""
    found = [(p.get_x(), p.get_x() + p.get_width()) for p in axis.patches if to_hex(p.get_facecolor()) == colour]
    for bars in axis.collections:
        if len(bars.get_facecolor()) and to_hex(bars.get_facecolor()[0]) == colour:
            found += [(path.vertices[:, 0].min(), path.vertices[:, 0].max()) for path in bars.get_paths()]
    return sorted((round(float(a), 6), round(float(b), 6)) for a, b in found)


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def seconds(session, t_us):
    return (np.asarray(t_us) - session.t_us[0]) / 1e6


def the_line(axis, colour):
    return next(line for line in axis.get_lines() if line.get_color() == colour and len(line.get_xdata()) > 2)


def overview(session, curves, **options):
    windows = strip_of(cut([session]), 0)
    return overview_figure(session, find_shots(session), curves, windows, title="A title", **options)


def test_the_overview_draws_each_probability_when_it_speaks(made):
    curve = curve_of(made)
    lane = overview(made, [curve]).axes[1]
    x, y = (np.asarray(v) for v in the_line(lane, PALETTE[0]).get_data())
    assert np.isnan(y).sum() == starts_after_gap(curve.t_us, 10_000).sum() - 1 > 0
    np.testing.assert_allclose(x[~np.isnan(x)], seconds(made, curve.t_us))
    np.testing.assert_allclose(y[~np.isnan(y)], curve.p)
    gaps = np.flatnonzero(made.gap_before)[1:]
    expected = list(zip(seconds(made, made.t_us[gaps - 1]), seconds(made, made.t_us[gaps]), strict=True))
    np.testing.assert_allclose(shaded(lane, GAP), expected, atol=1e-5)


def test_bands_cover_the_recording_once():
    session = make_session(1, 6.0)[0]
    figure = overview(session, [curve_of(session), curve_of(session, label="other")])
    strips = figure.axes[::3]
    limits = [axis.get_xlim() for axis in strips]
    assert len(limits) > 2
    assert limits[0][0] == 0
    assert all(a[1] == pytest.approx(b[0]) for a, b in pairwise(limits))
    assert limits[-1][0] < session.duration_s <= limits[-1][1]
    drawn = np.concatenate([the_line(axis, PALETTE[1]).get_ydata() for axis in figure.axes[2::3]])
    assert set(np.round(drawn[~np.isnan(drawn)], 9)) == set(np.round(curve_of(session).p, 9))
    assert [axis.get_ylabel() for axis in figure.axes[1:3]] == ["mlp\nrich", "other"]


def test_training_policy_and_thresholds_are_shown(made):
    n = len(curve_of(made).t_us)
    seen = np.zeros(n, bool)
    seen[100:150] = True
    on_us = made.t_us[0] + np.array([[2_000_000, 2_500_000], [4_000_000, 4_100_000]])
    curve = curve_of(made, seen=seen, on_us=on_us)
    figure = overview(made, [curve])
    lane = figure.axes[1]
    first, last = seconds(made, curve.t_us[[100, 149]])
    assert shaded(lane, SEEN) == [pytest.approx((first, last + 0.01), abs=1e-5)]
    assert shaded(lane, PALETTE[0]) == [pytest.approx((2.0, 2.5)), pytest.approx((4.0, 4.1))]
    assert lane.get_ylim()[0] < -0.1
    legend = legend_of(figure)
    for text in ("seen in training", "policy on", "not recorded", "threshold 0.40", "window 'shot'"):
        assert text in legend
    unsure = legend_of(overview(made, [replace(curve, sure=False, threshold=0.3), curve_of(made)]))
    assert "maybe seen in training" in unsure
    assert "thresholds" in unsure
    rows = [t.get_text() for t in overview(made, [curve], split=False).axes[0].get_yticklabels()]
    assert rows == ["windows"]


def moment_of(session, place=3, **changes):
    shots = find_shots(session)
    given = {"what": "the trigger", "shot": True, "title": "t", "window_s": 0.5, "before_s": 2.0, "after_s": 1.0}
    return shots, Moment(at_us=int(session.t_us[shots.accepted[place]]), **{**given, **changes})


def test_a_moment_shows_probabilities_above_and_every_axis_below(made):
    shots, moment = moment_of(made)
    curves = [curve_of(made), curve_of(made, label="rf rich", p=curve_of(made).p ** 2, threshold=0.8)]
    scene = cut_scene(made, shots, curves, moment)
    assert len(scene.session) < 320
    figure = moment_figure(scene)
    _, probability, acceleration, rotation = figure.axes
    assert [axis.get_ylabel() for axis in (acceleration, rotation)] == ["acceleration\nin g", "rotation\nin °/s"]
    assert [len(axis.get_lines()) for axis in (acceleration, rotation)] == [4, 4]
    assert rotation.get_xlabel() == "time in s from the trigger"
    said = [text.get_text() for text in probability.get_legend().get_texts()]
    for text, curve in zip(said, curves, strict=True):
        place = np.searchsorted(curve.t_us, moment.at_us, side="right") - 1
        assert text == f"{curve.label}: {curve.p[place]:.2f} at 0 s"
    for axis in figure.axes:
        assert axis.get_xlim() == (-2.0, 1.0)
        assert shaded(axis, WINDOW) == [pytest.approx((-0.6, -0.1))]
        assert shaded(axis, LEAD) == [pytest.approx((-0.1, 0.0))]
    # The same points, whether cut out of the recording or not.
    x = the_line(probability, PALETTE[0]).get_xdata()
    whole = (curves[0].t_us - moment.at_us) / 1e6
    np.testing.assert_allclose(x[~np.isnan(x)], whole[(whole >= -2.0) & (whole <= 1.0)], atol=1e-6)


def test_a_gap_before_a_moment_is_a_gap_and_nothing_is_said(made):
    gap = int(np.flatnonzero(made.gap_before)[1])
    shots, moment = moment_of(made, shot=False, what="it")
    moment = replace(moment, at_us=int(made.t_us[gap]) + 200_000)
    curve = curve_of(made)
    figure = moment_figure(cut_scene(made, shots, [curve], moment))
    probability = figure.axes[1]
    zero = moment.at_us
    start, stop = (made.t_us[[gap - 1, gap]] - zero) / 1e6
    for axis in figure.axes:
        ((a, b),) = shaded(axis, GAP)
        assert a == pytest.approx(max(start, a), abs=1e-6)
        assert b == pytest.approx(stop, abs=1e-6)
    unspoken = shaded(probability, UNSPOKEN)
    times = (curve.t_us - zero) / 1e6
    before, after = times[times < 0].max(), times[times > 0].min()
    assert (pytest.approx(max(before + 0.01, -2.0), abs=1e-5), pytest.approx(min(after, 1.0), abs=1e-5)) in unspoken
    assert probability.get_legend().get_texts()[0].get_text() == "mlp rich: nothing at 0 s"
    assert "no full window" in legend_of(figure)


def test_the_same_picture_is_the_same_bytes_and_dpi_scales_it(made):
    shots, moment = moment_of(made)
    curve = curve_of(made)
    scene = cut_scene(made, shots, [curve], moment)
    png = moment_png(scene, 50)
    assert png == moment_png(scene, 50)
    assert int.from_bytes(png[16:20]) == 500
    assert int.from_bytes(moment_png(scene, 100)[16:20]) == 1000
    windows = strip_of(cut([made]), 0)
    drawn = overview_png(made, shots, [curve], windows, title="costs 5 $ and 6 $", dpi=40)
    assert int.from_bytes(drawn[16:20]) == 560


def test_names_that_look_like_formulas_are_names(made):
    shots, moment = moment_of(made, title=r"$\frac{$ and $x")
    figure = moment_figure(cut_scene(made, shots, [curve_of(made)], moment))
    assert figure.texts[0].get_text() == r"\$\frac{\$ and \$x"
    assert moment_png(cut_scene(made, shots, [curve_of(made)], moment), 40).startswith(b"\x89PNG")
    assert short("abcdef", 4) == "abc…"


def test_the_histogram_has_a_row_per_model_and_a_column_per_part(made):
    curves = [curve_of(made), curve_of(made, label="rf rich", threshold=0.7)]
    positive = np.array([True, True, False, False, False])
    p = np.array([[0.9, 0.2, 0.1, 0.5, np.nan], [0.8, 0.75, 0.0, 0.1, 0.2]])
    parts = [
        Answers("held out", positive, p, ("shot", "'idle'")),
        Answers("training", positive[:1], p[:, :1], ("a", "b")),
    ]
    figure = histogram_figure(curves, parts, title="T")
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles == [
        "held out: at 0.40 or more are 1 of 2 'shot', 1 of 2 'idle'",
        "training: at 0.40 or more are 1 of 1 'a'",
        "held out: at 0.70 or more are 2 of 2 'shot', 0 of 3 'idle'",
        "training: at 0.70 or more are 1 of 1 'a'",
    ]
    heights = [sum(patch.get_height() for patch in box) for box in figure.axes[0].containers if len(box) > 1]
    assert heights == [pytest.approx(100), pytest.approx(100)]


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=40))
def test_runs_are_the_stretches_of_marks(samples):
    mark = np.array([m for m, _ in samples], bool)
    breaks = np.array([b for _, b in samples], bool)
    t_us = np.arange(len(samples), dtype=np.int64) * 10 + np.cumsum(breaks) * 100
    expected = []
    for i, (marked, broken) in enumerate(samples):
        if marked and expected and i and samples[i - 1][0] and not broken:
            expected[-1][1] = t_us[i] + 10
        elif marked:
            expected.append([t_us[i], t_us[i] + 10])
    assert runs(mark, breaks, t_us, 10).tolist() == expected
