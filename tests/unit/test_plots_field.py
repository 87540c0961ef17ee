"""Pictures of the magnetic field: what is in them, not how they look."""

import io
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from stinger.errors import InputError
from stinger.plots.classification import colours_of
from stinger.plots.field import field_png
from stinger.synth.imperfections import Imperfections
from stinger.synth.magnetic import generate, streams
from stinger.synth.mishaps import Mishaps, spoil
from stinger.synth.patterns import pattern_plan
from stinger.windows.regular import RegularWindows
from stinger.workflow.spectrogram import SpectrogramOptions, draw_windows


@pytest.fixture(scope="module")
def session():
    plan = pattern_plan("complex", "mixed", 15.0, 100.0, streams(1)[0])
    return generate(plan, Imperfections(), name="x", seed=1).session


def pixels(png: bytes) -> np.ndarray:
    return imread(io.BytesIO(png))[:, :, :3]


def share(png: bytes, colour: str) -> float:
    return float((np.abs(pixels(png) - to_rgb(colour)).max(axis=2) < 0.02).mean())


def test_levels_keep_their_colours_in_every_picture(session):
    colours = colours_of(["low", "high", "none"])
    png = field_png(session)
    assert all(share(png, colour) > 0.002 for colour in colours.values())
    only_low = spoil(session, Mishaps(relabel={"none": "low", "high": "low"}))
    assert share(field_png(only_low), colours["high"]) < 0.0005  # a trace has that colour, too
    assert field_png(session) == png


def test_a_field_without_labels_or_in_another_unit_is_drawn(session):
    channels = tuple(replace(c, unit="uT") for c in session.channels)
    plain = pixels(field_png(replace(session, channels=channels, events=())))
    assert plain.shape[1] > 1000
    gaps = spoil(session, Mishaps(pauses=2))
    assert share(field_png(gaps), "#d9d9d9") > share(field_png(session), "#d9d9d9") + 0.001


def test_without_a_magnetometer_there_is_nothing_to_draw(session):
    blind = replace(session, channels=session.channels[3:], samples=session.samples[:, 3:])
    empty = replace(session, t_us=session.t_us[:0], samples=session.samples[:0])
    for one in (blind, empty):
        with pytest.raises(InputError, match="x: no samples of a magnetometer"):
            field_png(one)


def test_windows_are_drawn_without_writing_anything_else(session, tmp_path):
    often = SpectrogramOptions(windows=RegularWindows(3.0, 0.5))
    draw_windows(session, tmp_path / "a.png", often)
    draw_windows(session, tmp_path / "b.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]
    # Of three levels a picture each, of two windows far apart no more than two.
    wide, narrow = (pixels((tmp_path / name).read_bytes()).shape[1] for name in ("a.png", "b.png"))
    assert wide > 1.3 * narrow
    with pytest.raises(InputError, match="no stretch without a gap as long as a window of 20 s"):
        draw_windows(session, tmp_path / "c.png", SpectrogramOptions(windows=RegularWindows(20.0)))
