"""Pictures of spectrograms: time to the right, frequency upward, the channels of a window one after another."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from stinger.features.spectrogram import AST, Spectrogram, SpectrogramSpec, band_at, frames_of
from stinger.plots.style import MUTED, STYLE, colour, figure

_COLOURS = "viridis"
_SECONDS = "seconds; each channel has {:g}"
_TICKS_HZ = (1, 2, 5, 10, 20, 50, 100, 200, 300, 500, 700, 1000, 2000, 4000, 8000, 16_000, 32_000)
#: Share of the height between two ticks at least, so that their numbers do not touch.
_APART = 0.07
#: A band is silent if it never rises above this share of the colours; some more are shown, and no fewer than these.
_AUDIBLE, _MARGIN, _FEWEST = 0.05, 4, 16
#: Shares of all values that the colours leave out at the dark and at the bright end.
_DARK, _BRIGHT = 0.01, 0.999


@dataclass(frozen=True)
class Layout:
    """What all windows of a recording share.

    Attributes:
        channels: Names of the channels, in the order in which they follow one another.
        rate_hz: The recording's own rate.
        window_s: Length of a window.
        spec: How spectrograms are made.
        limits: Values that get the darkest and the brightest colour.
        bands: How many of the lowest bands are shown.
    """

    channels: tuple[str, ...]
    rate_hz: float
    window_s: float
    spec: SpectrogramSpec = AST
    limits: tuple[float, float] = (-1.3, 1.0)
    bands: int = AST.mel_bins

    @property
    def frames(self) -> int:
        """Frames that hold sound; those after them are padding."""
        return min(self.spec.frames, frames_of(self.window_s * len(self.channels), self.spec))


def fitted(layout: Layout, examples: Sequence[NDArray[np.float32]]) -> Layout:
    """Choose colours and bands that suit a recording.

    A few extremes must not hide the rest, and bands that are silent throughout show nothing: of a slow sensor's
    spectrogram they are most.

    Args:
        layout: What is known already.
        examples: At least one spectrogram of the recording.
    """
    values = np.concatenate([one[: layout.frames] for one in examples])
    low, high = np.quantile(values, (_DARK, _BRIGHT)).tolist()
    spread = max(high - low, 1e-3)
    loud = np.flatnonzero(values.max(axis=0) > float(values.min()) + _AUDIBLE * spread)
    bands = int(loud[-1]) + 1 + _MARGIN if len(loud) else 1
    return replace(layout, limits=(low, low + spread), bands=min(layout.spec.mel_bins, max(_FEWEST, bands)))


class WindowPictures:
    """Draws windows of one recording, one after another; the same window gives the same bytes.

    The figure is made once and gets new values for each window, which is several times faster.
    """

    def __init__(self, layout: Layout) -> None:
        with matplotlib.style.context(["default", STYLE]):
            self._figure = Figure(figsize=(8.0, 3.2), dpi=110)
            FigureCanvasAgg(self._figure)
            axes = self._figure.add_axes((0.085, 0.16, 0.9, 0.72))
            self._image = draw_spectrogram(axes, np.zeros(layout.spec.shape, np.float32), layout)
            axes.set_xlabel(_SECONDS.format(round(layout.window_s, 3)))
            axes.set_ylabel("Hz, mel scale")
        self._layout = layout

    def png(self, values: Spectrogram | NDArray[np.float32]) -> bytes:
        """Return the picture of a spectrogram of shape ``(frames, mel_bins)``."""
        self._image.set_data(values[: self._layout.frames, : self._layout.bands].T)
        stream = io.BytesIO()
        self._figure.savefig(stream, format="png", metadata={"Software": None})
        return stream.getvalue()


def draw_spectrogram(axes: Axes, values: NDArray[np.float32], layout: Layout) -> AxesImage:
    """Draw a spectrogram of shape ``(frames, mel_bins)`` into axes; padding is left out."""
    spec, frames = layout.spec, layout.frames
    seconds = frames * spec.hop_samples / spec.sample_rate_hz
    image = axes.imshow(
        values[:frames, : layout.bands].T,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap=_COLOURS,
        vmin=layout.limits[0],
        vmax=layout.limits[1],
        extent=(0.0, seconds, 0.0, float(layout.bands)),
    )
    _ticks(axes, layout)
    limit = band_at(layout.rate_hz / 2, spec)
    if 0 < limit < layout.bands:
        axes.axhline(limit, color="white", linewidth=0.9, linestyle=(0, (4, 3)))
    _channels(axes, layout, seconds)
    # The last frame begins before the end of the sound, unless frames were cut off.
    axes.set_xlim(0, seconds if frames == spec.frames else layout.window_s * len(layout.channels))
    axes.set_ylim(0, layout.bands)
    return image


def plot_windows(
    columns: Sequence[tuple[str, NDArray[np.float64], Spectrogram]], layout: Layout, unit: str, path: Path
) -> None:
    """Draw some windows side by side: above what was measured, below its spectrogram.

    Args:
        columns: Of each window its title, its values in physical units ``(samples, channels)``, and its spectrogram.
        layout: What they share.
        unit: Unit of the values.
        path: The PNG file.

    Raises:
        InputError: The place cannot be written.
    """
    with figure(4.4 * len(columns) + 1.0, 5.0, path) as drawing:
        grid = drawing.subplots(
            2, len(columns), squeeze=False, sharex=True, sharey="row", gridspec_kw={"height_ratios": [2, 3]}
        )
        image = None
        for number, (title, window, values) in enumerate(columns):
            above, below = grid[0, number], grid[1, number]
            for channel in range(window.shape[1]):
                seconds = layout.window_s * channel + np.arange(len(window)) / layout.rate_hz
                above.plot(seconds, window[:, channel], color=colour(channel), linewidth=1.2)
            above.set_title(title, pad=16)
            above.grid(axis="y")
            image = draw_spectrogram(below, values, layout)
            _channels(above, layout, below.get_xlim()[1], line=MUTED)
            for text in list(below.texts):
                text.remove()
            below.set_xlabel(_SECONDS.format(round(layout.window_s, 3)))
        grid[0, 0].set_ylabel(unit)
        grid[1, 0].set_ylabel("Hz, mel scale")
        if image is not None:
            drawing.colorbar(image, ax=grid[1, :].tolist(), label="normalised log power", pad=0.01, aspect=30)


def _ticks(axes: Axes, layout: Layout) -> None:
    ticks: list[tuple[float, str]] = []
    for hz in _TICKS_HZ:
        at = band_at(hz, layout.spec)
        if 0 <= at <= layout.bands and (not ticks or at - ticks[-1][0] >= _APART * layout.bands):
            ticks.append((at, f"{hz}"))
    axes.set_yticks([at for at, _ in ticks], [text for _, text in ticks])


def _channels(axes: Axes, layout: Layout, seconds: float, line: str = "white") -> None:
    """Part the channels by lines and name them above."""
    place = axes.get_xaxis_transform()
    bounds = [layout.window_s * number for number in range(len(layout.channels) + 1)]
    for name, start in zip(layout.channels, bounds, strict=False):
        stop = min(start + layout.window_s, seconds)
        if start < seconds:
            axes.text((start + stop) / 2, 1.015, name, transform=place, ha="center", va="bottom", fontsize=9)
        if 0 < start < seconds:
            axes.axvline(start, color=line, linewidth=0.9)
    axes.set_xticks([bound for bound in bounds if bound <= seconds + 0.2])
