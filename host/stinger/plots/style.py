"""What all pictures share: colours, a clean figure whatever the user's matplotlibrc says, repeatable PNG files.

Figures are made through matplotlib's object interface; pyplot, with its global state and windows, is never imported.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from stinger.files import write_bytes

#: Okabe and Ito's palette: told apart with any colour vision, and in print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
#: For what must not be missed: bounds, flips.
ALARM = "#C00000"
MUTED = "#777777"
_DPI = 110
STYLE = {
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "font.size": 10.0,
    "axes.titlesize": 11.0,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "legend.frameon": False,
}


def colour(index: int) -> str:
    """Return the colour of the ``index``-th thing in a picture."""
    return COLOURS[index % len(COLOURS)]


@contextmanager
def figure(width: float, height: float, path: Path) -> Iterator[Figure]:
    """Make an empty figure; write it as PNG to ``path`` when the block ends without an error.

    The same drawing gives the same bytes.

    Args:
        width: Inches.
        height: Inches.
        path: The PNG file.

    Raises:
        InputError: The place cannot be written.
    """
    with matplotlib.style.context(["default", STYLE]):
        drawing = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
        FigureCanvasAgg(drawing)
        yield drawing
        stream = io.BytesIO()
        # The name and version of the software would change the bytes with every matplotlib.
        drawing.savefig(stream, format="png", metadata={"Software": None})
    write_bytes(path, stream.getvalue())


def panels(drawing: Figure, count: int, *, share_y: bool = False) -> list[Axes]:
    """Put ``count`` axes side by side."""
    grid = drawing.subplots(1, count, squeeze=False, sharey=share_y)
    return [grid[0, i] for i in range(count)]
