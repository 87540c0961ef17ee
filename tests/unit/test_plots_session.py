"""Pictures of recordings: they are drawn, they are the same each time, and they show what was given."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

from stinger.errors import InputError
from stinger.plots import session as plots
from stinger.plots.session import plot_collection, plot_session, strip_of
from stinger.plots.shots import ShotView, shot_figure, shot_png
from stinger.plots.traces import GAP, LEAD, WINDOW, line
from stinger.sessions.read import read_sessions
from stinger.sessions.session import Event, Session
from stinger.synth.shots import make_session
from stinger.windows.cut import cut
from stinger.windows.explore import assemble, cut_session
from stinger.windows.shot_rules import find_shots
from stinger.windows.spec import preset

DATA = Path(__file__).parent.parent / "data"


@pytest.fixture(scope="module")
def made():
    return make_session(1, 1.0)[0]


@pytest.fixture
def figures(monkeypatch):
    """The figures as drawn, so that a test can look inside."""
    drawn = []
    render = plots.png_of

    def keep(figure):
        drawn.append(figure)
        return render(figure)

    monkeypatch.setattr(plots, "png_of", keep)
    return drawn


def test_the_same_session_is_the_same_png(made, tmp_path):
    for name in ("a.png", "b.png"):
        plot_session(made, tmp_path / name)
    png = (tmp_path / "a.png").read_bytes()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert png == (tmp_path / "b.png").read_bytes()
    assert b"Software" not in png


def test_traces_and_probability_break_at_gaps(made, tmp_path, figures):
    p = np.linspace(0, 1, len(made))
    plot_session(
        made, tmp_path / "a.png", probability=(made.t_us, p), windows=strip_of(cut([made]), 0), title="A title"
    )
    figure = figures[0]
    gaps = len(made.stretches()) - 1
    assert gaps > 0
    overview = [axis for axis in figure.axes[::2] if axis.get_ylabel()]
    assert [axis.get_ylabel().split("\n")[0] for axis in overview] == ["acceleration", "rotation", "probability"]
    assert overview[0].get_ylabel().endswith("in g")
    assert overview[1].get_ylabel().endswith("in °/s")
    for axis, lines in zip(overview, (3, 3, 1), strict=True):
        long = [line for line in axis.get_lines() if len(line.get_ydata()) > 1000]
        assert len(long) == lines
        assert all(np.isnan(np.asarray(line.get_ydata())).sum() == gaps for line in long)
    assert figure.get_suptitle() == "A title"
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "not recorded" in legend
    assert "window 'shot'" in legend
    assert any(text.endswith(" shots") for text in legend)


def test_a_session_without_trigger_has_no_shots_to_show(tmp_path, figures):
    session = read_sessions(DATA / "nicla_motion_edge_impulse_export.zip")[0]
    plot_session(session, tmp_path / "a.png")
    assert len(figures[0].axes) == 2
    assert not figures[0].legends
    assert figures[0].axes[1].get_ylabel() == "rotation\n(unit unstated)"


def test_a_collection_has_a_row_per_class(tmp_path, figures):
    sessions = read_sessions(DATA / "nicla_motion_edge_impulse_export.zip")
    plot_collection(sessions, tmp_path / "a.png")
    rows = [axis.get_ylabel() for axis in figures[0].axes if axis.get_ylabel()]
    assert rows == [f"{name}\n12 recordings" for name in ("Idle", "Lift", "Maritime", "Terrestrial")]


def test_nothing_to_draw_is_an_input_error(made, tmp_path):
    empty = Session("empty", made.t_us[:0], made.samples[:0], made.channels, 10_000)
    with pytest.raises(InputError, match="no samples"):
        plot_session(empty, tmp_path / "a.png")
    with pytest.raises(InputError, match="no labelled recordings"):
        plot_collection([made], tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def spans(axis):
    """Colour and horizontal extent of everything shaded behind the traces, left to right."""
    shaded = [(to_hex(p.get_facecolor()), p.get_x(), p.get_x() + p.get_width()) for p in axis.patches]
    for bars in axis.collections:
        extents = [(path.vertices[:, 0].min(), path.vertices[:, 0].max()) for path in bars.get_paths()]
        shaded += [(to_hex(bars.get_facecolor()[0]), *extent) for extent in extents if len(bars.get_facecolor())]
    return sorted(shaded, key=lambda span: span[1])


def test_gaps_window_and_lead_are_shaded(made, tmp_path, figures):
    plot_session(made, tmp_path / "a.png", windows=strip_of(cut([made]), 0))
    whole, detail = (next(a for a in figures[0].axes[i::2] if a.lines and len(a.lines) >= 3) for i in (0, 1))
    gaps = np.flatnonzero(made.gap_before)[1:]
    grey = [span for span in spans(whole) if span[0] == GAP]
    assert len(grey) == len(gaps)
    for (_, start, stop), at in zip(grey, gaps, strict=True):
        assert start == pytest.approx((made.t_us[at - 1] - made.t_us[0]) / 1e6, abs=1e-6)
        assert stop == pytest.approx((made.t_us[at] - made.t_us[0]) / 1e6, abs=1e-6)
    coloured = {colour: (a, b) for colour, a, b in spans(detail) if colour in (WINDOW, LEAD)}
    assert coloured[WINDOW] == pytest.approx((-0.6, -0.1))
    assert coloured[LEAD] == pytest.approx((-0.1, 0.0))


def test_embargoed_windows_are_shown_apart(made, tmp_path, figures):
    spec = preset("personal", split="random")
    dataset = assemble([cut_session(made, spec)], spec)
    strip = strip_of(dataset, 0)
    assert strip.embargoed.sum() == dataset.embargoed.sum() > 0
    plot_session(made, tmp_path / "a.png", windows=strip)
    assert "embargoed" in [text.get_text() for text in figures[0].legends[0].get_texts()]
    windows = next(a for a in figures[0].axes if "held out" in [t.get_text() for t in a.get_yticklabels()])
    drawn = sum(len(bars.get_paths()) for bars in windows.collections)
    assert drawn == len(dataset)


@pytest.fixture(scope="module")
def views(made):
    shots = find_shots(made)

    def view(i, **changes):
        given = {"title": f"shot {i}", "window": 50, "lead": 10, "used": True, "pre_ms": 1000, "post_ms": 200}
        return ShotView(edge=int(shots.accepted[i]), **{**given, **changes})

    return shots, view


def test_a_shot_shows_its_window_and_lead(made, views):
    shots, view = views
    figure = shot_figure(made, shots, view(1))
    for axis in figure.axes[1:]:
        coloured = {colour: (a, b) for colour, a, b in spans(axis)}
        assert coloured[WINDOW] == pytest.approx((-0.6, -0.1), abs=0.02)
        assert coloured[LEAD] == pytest.approx((-0.1, 0.0), abs=0.02)
        assert axis.get_xlim() == pytest.approx((-1.0, 0.2))
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["shot", "too soon after", "window", "lead", "not recorded"]
    refused = shot_figure(made, shots, view(1, used=False, pre_ms=100))
    assert refused.axes[0].get_xlim()[0] < -0.6
    assert "window refused" in [text.get_text() for text in refused.legends[0].get_texts()]


def test_the_same_shot_is_the_same_png(made, views):
    shots, view = views
    png = shot_png(made, shots, view(0))
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert png == shot_png(made, shots, view(0))
    assert png != shot_png(made, shots, view(1))


def test_labelled_stretches_get_a_strip(tmp_path, figures):
    n = 3000
    events = tuple(Event(i * 5_000_000, (i + 1) * 5_000_000, "ab"[i % 2]) for i in range(6))
    samples = np.random.default_rng(0).integers(-900, 900, (n, 6)).astype(np.int16)
    channels = make_session(1, 0.5)[0].channels
    session = Session("told", np.arange(n) * 10_000, samples, channels, 10_000, events=events)
    plot_session(session, tmp_path / "a.png")
    strip = figures[0].axes[0]
    assert [len(bars.get_paths()) for bars in strip.collections] == [3, 3]
    assert [text.get_text() for text in figures[0].legends[0].get_texts()] == ["a", "b"]


def test_very_long_lines_are_thinned_to_their_extremes():
    n = 400_000
    value = np.random.default_rng(0).normal(size=n)
    gap = np.zeros(n, dtype=bool)
    gap[[0, 100_001, 250_000]] = True
    x, y = line(np.arange(n) / 100, value, gap)
    assert len(x) == len(y) < 30_000
    assert np.isnan(x).sum() == np.isnan(y).sum() == 2
    assert np.nanmax(y) == value.max()
    assert np.nanmin(y) == value.min()
    assert (np.diff(x[~np.isnan(x)]) >= 0).all()
    short, same = line(np.arange(10) / 100, value[:10], gap[:10])
    np.testing.assert_array_equal(same, value[:10])
    assert len(short) == 10
