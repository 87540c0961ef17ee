"""Pictures of recordings: they are drawn, they are the same each time, and they show what was given."""

from pathlib import Path

import numpy as np
import pytest

from stinger.errors import InputError
from stinger.plots import session as plots
from stinger.plots.session import plot_collection, plot_session
from stinger.sessions.read import read_sessions
from stinger.sessions.session import Session
from stinger.synth.shots import make_session
from stinger.windows.cut import cut

DATA = Path(__file__).parent.parent / "data"


@pytest.fixture(scope="module")
def made():
    return make_session(1, 1.0)[0]


@pytest.fixture
def figures(monkeypatch):
    """The figures as drawn, so that a test can look inside."""
    drawn = []
    save = plots._save

    def keep(figure, path):
        drawn.append(figure)
        save(figure, path)

    monkeypatch.setattr(plots, "_save", keep)
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
    plot_session(made, tmp_path / "a.png", probability=(made.t_us, p), dataset=cut([made]), title="A title")
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
