"""The pictures of models: real PNGs, repeatable, independent of the user's settings, without pyplot."""

from __future__ import annotations

import struct
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest

from stinger.errors import InputError, UsageError
from stinger.plots.curves import plot_confusion, plot_parity, plot_precision_recall

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 2, 200)
P1 = np.clip(LABELS * 0.4 + RNG.uniform(0, 0.6, 200), 0, 1)
P = np.stack([1 - P1, P1], axis=1)


def confusion(path):
    labels = np.arange(100) % 4
    pair = (labels, np.roll(labels, 1))
    plot_confusion({"a": pair, "b": (labels, labels)}, ["Idle", "Lift", "a very long class name", "x"], path)


def curve(path):
    plot_precision_recall({"logreg": (LABELS, P1), "mlp": (LABELS, P1**2)}, 0.5, path)


def parity(path):
    flipped = P.copy()
    flipped[3] = 1 - flipped[3]
    plot_parity({"logreg": (P, P), "mlp": (P, flipped), "rf": (P, np.round(P * 128) / 128)}, path)


def drawn(draw, path) -> bytes:
    draw(path)
    return path.read_bytes()


@pytest.mark.parametrize("draw", [confusion, curve, parity])
def test_pictures_are_repeatable_pngs_of_readable_size(tmp_path, draw):
    first = drawn(draw, tmp_path / "a.png")
    assert first[:8] == b"\x89PNG\r\n\x1a\n"
    assert b"Software" not in first
    width, height = struct.unpack(">II", first[16:24])
    assert 400 <= width <= 2000
    assert 300 <= height <= 1200
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black", "figure.dpi": 30}):
        assert drawn(draw, tmp_path / "b.png") == first
    assert [p.name for p in tmp_path.iterdir() if p.name not in ("a.png", "b.png")] == []


def test_pictures_show_their_data(tmp_path):
    plot_parity({"mlp": (P, P)}, tmp_path / "equal.png")
    plot_parity({"mlp": (P, P[::-1])}, tmp_path / "different.png")
    plot_parity({"mlp": (P, P)}, tmp_path / "bound.png", bound=0.1)
    assert len({(tmp_path / f"{n}.png").read_bytes() for n in ("equal", "different", "bound")}) == 3


@pytest.mark.parametrize(
    "draw",
    [
        lambda path: plot_confusion({}, ["a", "b"], path),
        lambda path: plot_precision_recall({}, 0.5, path),
        lambda path: plot_parity({}, path),
        lambda path: plot_parity({"a": (P, P[:-1])}, path),
        lambda path: plot_parity({"a": (P[:0], P[:0])}, path),
    ],
)
def test_nothing_to_draw_leaves_no_file(tmp_path, draw):
    with pytest.raises(UsageError):
        draw(tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


def test_unwritable_place(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        curve(tmp_path / "file" / "x.png")


def test_pyplot_is_never_imported():
    program = "import stinger.plots.curves, sys; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
