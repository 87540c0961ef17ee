"""The pictures of `stinger train --report`: real PNGs, repeatable, showing their data, for any number of classes."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from test_evaluation_report import answers

from stinger.errors import UsageError
from stinger.evaluation.report import window_report
from stinger.plots.report import MAX_UNITS, _worst, plot_calibration, plot_ranking, plot_units


def draw(folder, classes: int, *, seed: int = 5, windows: int = 240, units: int = 12) -> dict[str, bytes]:
    labels, probability = answers(seed, windows, classes)
    unit = np.arange(windows) % units
    report = window_report(
        labels,
        probability,
        [f"class {k}" for k in range(classes)],
        threshold=0.4 if classes == 2 else None,
        units=unit,
        draws=20,
    )
    plot_ranking(report, labels, probability, folder / "ranking.png")
    plot_calibration(report, folder / "calibration.png")
    plot_units(
        report, labels, probability, unit, folder / "units.png", names={0: "the first one, which has a long name"}
    )
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("classes", [2, 3, 9])
def test_pictures_are_repeatable_pngs_of_readable_size(tmp_path, classes):
    pictures = draw(tmp_path, classes)
    assert pictures == draw(tmp_path, classes)
    assert sorted(pictures) == ["calibration.png", "ranking.png", "units.png"]
    other = draw(tmp_path, classes, seed=6)
    for name, picture in pictures.items():
        assert picture[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", picture[16:24])
        assert 400 <= width <= 2000, name
        assert 300 <= height <= 1200, name
        assert picture != other[name]


def test_of_many_units_the_worst_are_drawn(tmp_path):
    draw(tmp_path, 2, windows=800, units=200)
    width, _ = struct.unpack(">II", (tmp_path / "units.png").read_bytes()[16:24])
    assert width < 1700
    place = np.repeat(np.arange(100), 3)
    wrong = np.isin(place, [7, 80, 99])
    kept = _worst(place, 100, wrong, np.zeros(300, bool))
    assert len(kept) == MAX_UNITS
    assert {7, 80, 99} <= set(kept.tolist())
    assert (np.diff(kept) > 0).all()


def test_a_curve_needs_two_classes(tmp_path):
    report = window_report(np.zeros(9, int), np.tile([0.7, 0.3], (9, 1)), ("a", "b"), units=np.arange(9))
    with pytest.raises(UsageError, match="two classes"):
        plot_ranking(report, np.zeros(9, int), np.tile([0.7, 0.3], (9, 1)), tmp_path / "x.png")
    assert not list(tmp_path.iterdir())
