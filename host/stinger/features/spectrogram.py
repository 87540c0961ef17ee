"""Log-mel spectrograms of sensor windows, as the Audio Spectrogram Transformer (AST) takes them.

A window becomes a sound: its channels one after another, brought from the recording's own rate to that of the model.
The sound becomes a spectrogram, as Kaldi's ``fbank`` defines it. It is cut into overlapping frames, each without its
mean, pre-emphasised (``x[i] - 0.97 x[i - 1]``, and ``x[0] - 0.97 x[0]``), under a symmetric Hann window. Of each comes
the power of its Fourier transform, padded to a power of two, under triangles evenly spaced on the mel scale ``1127 ln(1
+ f / 700)``, and of that the natural logarithm. Then it is cut, or padded with zeros, to a fixed number of frames, and
``(x - mean) / (2 std)``.

**Orientation**: time first. One spectrogram is ``(frames, mel_bins)``, (1024, 128) for AST; a batch is ``(n, frames,
mel_bins)``. A transposed one has as many numbers and would go unnoticed by the model, so every door here refuses it:
`check_input_values`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, NewType, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from scipy.signal import firwin, resample_poly

from stinger.errors import InputError, UsageError

#: Lengths of the axes of input values, so that a type says which is which.
Frames = NewType("Frames", int)
MelBins = NewType("MelBins", int)
#: What a model takes: float32, shape ``(n, frames, mel_bins)``.
InputValues: TypeAlias = np.ndarray[tuple[int, Frames, MelBins], np.dtype[np.float32]]
#: One spectrogram: float32, shape ``(frames, mel_bins)``.
Spectrogram: TypeAlias = np.ndarray[tuple[Frames, MelBins], np.dtype[np.float32]]

#: Rates that a recording or a model can have, in Hz.
LOWEST_RATE, HIGHEST_RATE = 1.0, 200_000.0
#: Longest sound a window can become, in samples: a minute at 16 kHz. Beyond it somebody has mistaken a unit.
MAX_SOUND = 960_000
_MAX_FRAMES, _MAX_MEL_BINS, _MAX_FRAME_SAMPLES = 8192, 1024, 1 << 16
#: Values that any intermediate array of one spectrogram may have; AST's have half a million.
_MAX_VALUES = 1 << 24
#: A ratio of rates is a fraction with at most this numerator, and at most this denominator.
_MAX_UP, _MAX_DOWN = 200_000, 1000
#: The resampler's low-pass reaches so many samples of the slower signal to either side, under a Kaiser window.
_REACH, _KAISER_BETA = 10, 5.0


@dataclass(frozen=True)
class SpectrogramSpec:
    """How a spectrogram is made; the defaults are those of AST.

    A model of one's own may take less: note that `frames` cuts off what lies beyond ``frames · hop_ms``, so fewer
    frames usually want a longer `hop_ms`.

    Attributes:
        sample_rate_hz: Rate of the sound.
        frames: Frames of the result, the first axis of a spectrogram.
        mel_bins: Bands of the result, the second axis.
        frame_ms: Length of a frame.
        hop_ms: From the start of a frame to that of the next.
        low_hz: Where the lowest band begins; the highest ends at half the rate.
        preemphasis: Share of the sample before that is taken away.
        floor: Power that silence counts as, so that its logarithm exists.
        mean: Taken off the logarithms.
        std: They are divided by twice this.
    """

    sample_rate_hz: int = 16_000
    frames: int = 1024
    mel_bins: int = 128
    frame_ms: float = 25.0
    hop_ms: float = 10.0
    low_hz: float = 20.0
    preemphasis: float = 0.97
    floor: float = 1.192092955078125e-07
    mean: float = -4.2677393
    std: float = 4.5689974

    def __post_init__(self) -> None:
        """Refuse what makes no spectrogram."""
        values = asdict(self)
        for name in ("sample_rate_hz", "frames", "mel_bins"):
            if type(values[name]) is not int:
                raise UsageError(f"spectrogram: {name} must be a whole number, is {values[name]!r:.40}")
        for name, value in values.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise UsageError(f"spectrogram: {name} must be a number, is {value!r:.40}")
        bounds = {
            "sample_rate_hz": (LOWEST_RATE, HIGHEST_RATE),
            "frames": (1, _MAX_FRAMES),
            "mel_bins": (1, _MAX_MEL_BINS),
            "frame_ms": (1e-3, 1e7),
            "hop_ms": (1e-3, 1e7),
            "low_hz": (0, self.sample_rate_hz / 2 * 0.99),
            "preemphasis": (0, 1),
            "floor": (1e-30, 1e30),
            "mean": (-1e6, 1e6),
            "std": (1e-6, 1e6),
        }
        for name, (low, high) in bounds.items():
            if not low <= values[name] <= high:
                raise UsageError(f"spectrogram: {name} must be {low:g} to {high:g}, is {values[name]:g}")
        if not 2 <= self.frame_samples <= _MAX_FRAME_SAMPLES or self.hop_samples < 1:
            raise UsageError(
                f"spectrogram: frames of {self.frame_samples} samples every {self.hop_samples}; "
                f"2 to {_MAX_FRAME_SAMPLES} and at least 1 are possible"
            )
        if self.fft_samples * max(self.frames, self.mel_bins) > _MAX_VALUES:
            raise UsageError(
                f"spectrogram: {self.frames} frames of {self.frame_samples} samples and {self.mel_bins} bands are more "
                "than fits in memory at once; choose shorter or fewer"
            )

    @property
    def frame_samples(self) -> int:
        """Samples of a frame."""
        return int(self.sample_rate_hz * self.frame_ms * 0.001)

    @property
    def hop_samples(self) -> int:
        """Samples from the start of a frame to that of the next."""
        return int(self.sample_rate_hz * self.hop_ms * 0.001)

    @property
    def fft_samples(self) -> int:
        """Samples of the Fourier transform: the next power of two."""
        return 1 << (self.frame_samples - 1).bit_length()

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of one spectrogram: ``(frames, mel_bins)``."""
        return self.frames, self.mel_bins

    @property
    def padding(self) -> float:
        """What frames beyond the end of the sound have for values: a logarithm of 0, normalised."""
        return -self.mean / (2 * self.std)

    @property
    def lowest(self) -> np.float32:
        """Value of a band that is silent in a frame: the logarithm of the floor, normalised."""
        silent = np.full((1, 1), np.log(self.floor), dtype=np.float32)
        return np.float32(normalised(cast(Spectrogram, silent), self)[0, 0])

    def to_json(self) -> dict[str, int | float]:
        """Return the fields in plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: object, where: str) -> SpectrogramSpec:
        """Read what `to_json` returned, from a file that may say anything.

        Raises:
            InputError: A field is missing, unknown or impossible; ``where`` begins the line.
        """
        if not isinstance(raw, dict) or set(raw) != set(asdict(cls())):
            raise InputError(f"{where}: no spectrogram spec, or fields of another; make the file again")
        try:
            return cls(**raw)
        except UsageError as error:
            raise InputError(f"{where}: {error}") from error


#: What ``MIT/ast-finetuned-audioset-10-10-0.4593`` and its relatives take.
AST = SpectrogramSpec()


def input_values(windows: NDArray[Any], rate_hz: float, spec: SpectrogramSpec = AST) -> InputValues:
    """Turn windows into what a model takes.

    Each window is computed by itself, so the same window gives the same bits in any batch.

    Args:
        windows: Physical values, shape ``(n, samples, channels)``; counts will do if they are meant.
        rate_hz: The recording's own rate.
        spec: How the spectrogram is made.

    Returns:
        Float32, shape ``(n, frames, mel_bins)``: time first.

    Raises:
        InputError: The windows have another shape, are not finite, or are shorter than one frame.
    """
    if windows.ndim != 3 or windows.shape[1] < 1 or windows.shape[2] < 1:
        raise InputError(f"windows have shape {windows.shape}, expected (n, samples, channels)")
    made = np.empty((len(windows), *spec.shape), dtype=np.float32)
    for index, window in enumerate(windows):
        sound = window_sound(window, rate_hz, spec)
        made[index] = normalised(log_mel(sound, spec), spec)
    return check_input_values(made, spec)


def window_sound(window: NDArray[Any], rate_hz: float, spec: SpectrogramSpec = AST) -> NDArray[np.float32]:
    """Turn one window of shape ``(samples, channels)`` into a sound: its channels one after another, resampled.

    Raises:
        InputError: The window is not finite, or too long to be one.
    """
    joined = np.ascontiguousarray(window.T, dtype=np.float64).ravel()
    if not np.isfinite(joined).all() or np.abs(joined).max(initial=0) > 1e30:
        raise InputError("a window holds values that are no finite numbers; leave it out")
    if joined.size * spec.sample_rate_hz > MAX_SOUND * rate_hz:
        raise InputError(
            f"a window of {len(window)} samples of {window.shape[1]} channels at {rate_hz:g} Hz is longer than "
            f"{MAX_SOUND} samples at {spec.sample_rate_hz} Hz; choose shorter windows or fewer channels"
        )
    return resampled(joined, rate_hz, spec.sample_rate_hz).astype(np.float32)


def resampled(signal: NDArray[np.float64], rate_hz: float, to_hz: float) -> NDArray[np.float64]:
    """Bring a signal from one rate to another with a polyphase low-pass filter.

    What lies beyond the ends counts as equal to the end, so that a constant stays one.

    Args:
        signal: Shape ``(n,)``.
        rate_hz: Its rate.
        to_hz: The rate wanted.

    Returns:
        Shape ``(ceil(n · to_hz / rate_hz),)``; the first sample is at the same moment.

    Raises:
        InputError: A rate is impossible.
    """
    up, down = _ratio(rate_hz, to_hz)
    if up == down:
        return signal.copy()
    return cast(NDArray[np.float64], resample_poly(signal, up, down, window=_low_pass(up, down), padtype="edge"))


def log_mel(sound: NDArray[np.floating[Any]], spec: SpectrogramSpec = AST) -> Spectrogram:
    """Return logarithms of mel power, cut to as many frames as the spec has or padded with zeros.

    Args:
        sound: Shape ``(n,)``, at the rate of the spec.
        spec: How the spectrogram is made.

    Returns:
        Float32, shape ``(frames, mel_bins)``, not normalised.

    Raises:
        InputError: It is shorter than one frame.
    """
    length, hop = spec.frame_samples, spec.hop_samples
    if sound.ndim != 1 or len(sound) < length:
        raise InputError(
            f"a sound of shape {sound.shape} is shorter than a frame of {length} samples; choose longer windows"
        )
    frames = np.lib.stride_tricks.sliding_window_view(sound, length)[::hop][: spec.frames].astype(np.float64)
    frames -= frames.mean(axis=1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    frames -= spec.preemphasis * before
    frames *= np.hanning(length)
    spectrum = np.fft.rfft(frames, spec.fft_samples, axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    made = np.zeros(spec.shape, dtype=np.float32)
    made[: len(frames)] = np.log(np.maximum(power @ mel_filters(spec), spec.floor))
    return cast(Spectrogram, made)


def normalised(logarithms: Spectrogram, spec: SpectrogramSpec = AST) -> Spectrogram:
    """Normalise logarithms of mel power as the model expects them."""
    return cast(Spectrogram, ((logarithms - np.float32(spec.mean)) / np.float32(2 * spec.std)).astype(np.float32))


@lru_cache(maxsize=16)
def mel_filters(spec: SpectrogramSpec = AST) -> NDArray[np.float64]:
    """Return the weight of each frequency in each band, shape ``(fft_samples / 2 + 1, mel_bins)``, read-only.

    Bands at the low end can be narrower than the distance of two frequencies; some are then silent, as in AST itself.
    """
    frequencies = np.arange(spec.fft_samples // 2 + 1) * (spec.sample_rate_hz / spec.fft_samples)
    edges = np.linspace(_mel(spec.low_hz), _mel(spec.sample_rate_hz // 2), spec.mel_bins + 2)
    away = np.abs(_mel(frequencies)[:, None] - edges[None, 1:-1]) / (edges[1] - edges[0])
    weights: NDArray[np.float64] = np.maximum(0.0, 1.0 - away)
    weights.flags.writeable = False
    return weights


def band_at(hz: float, spec: SpectrogramSpec = AST) -> float:
    """Say where a frequency lies among the bands: band ``k`` reaches from ``k`` to ``k + 1``, its middle between."""
    low, high = _mel(spec.low_hz), _mel(spec.sample_rate_hz // 2)
    return float((_mel(hz) - low) / (high - low) * (spec.mel_bins + 1) - 0.5)


def frames_of(seconds: float, spec: SpectrogramSpec = AST) -> int:
    """Count the frames of a sound of that length, before any are cut off or padded."""
    return max(0, 1 + (round(seconds * spec.sample_rate_hz) - spec.frame_samples) // spec.hop_samples)


def check_input_values(values: NDArray[Any], spec: SpectrogramSpec = AST) -> InputValues:
    """Refuse what is not input of a model with this spec; above all, what is transposed.

    Args:
        values: Any array.
        spec: What the model takes.

    Returns:
        The same array.

    Raises:
        InputError: It is not finite float32 of shape ``(n, frames, mel_bins)``.
    """
    expected = f"(n, {spec.frames}, {spec.mel_bins}), frames before bands"
    if values.ndim == 3 and values.shape[1:] == spec.shape[::-1] and spec.frames != spec.mel_bins:
        raise InputError(f"input values are transposed: {values.shape}, expected {expected}; swap the last two axes")
    if values.ndim != 3 or values.shape[1:] != spec.shape:
        raise InputError(f"input values have shape {values.shape}, expected {expected}")
    if values.dtype != np.float32:
        raise InputError(f"input values are {values.dtype}, expected float32")
    if not np.isfinite(values).all():
        raise InputError("input values are not all finite; make them again")
    return cast(InputValues, values)


def _mel(hz: Any) -> Any:
    return 1127.0 * np.log1p(np.asarray(hz, dtype=np.float64) / 700.0)


def _ratio(rate_hz: float, to_hz: float) -> tuple[int, int]:
    """Return the ratio of rates as ``(up, down)``.

    It is exact for every rate that is a whole number of microseconds per sample or of samples per second.
    """
    for rate in (rate_hz, to_hz):
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise InputError(f"a rate of {rate:g} Hz; {LOWEST_RATE:g} to {HIGHEST_RATE:g} are possible")
    wanted = to_hz / rate_hz
    ratio = Fraction(wanted).limit_denominator(max(1, min(_MAX_DOWN, int(_MAX_UP / wanted))))
    return ratio.numerator, ratio.denominator


@lru_cache(maxsize=16)
def _low_pass(up: int, down: int) -> NDArray[np.float64]:
    """Return the resampler's filter, at the rate that both rates divide."""
    most = max(up, down)
    taps: NDArray[np.float64] = firwin(2 * _REACH * most + 1, 1 / most, window=("kaiser", _KAISER_BETA))
    taps.flags.writeable = False
    return taps
