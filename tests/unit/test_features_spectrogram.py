"""Spectrograms against the transformer's own feature extractor, and what they must refuse."""

import json
import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers import ASTFeatureExtractor

from stinger.errors import InputError, UsageError
from stinger.features.spectrogram import (
    AST,
    SpectrogramSpec,
    band_at,
    check_input_values,
    frames_of,
    input_values,
    log_mel,
    mel_filters,
    normalised,
    resampled,
    window_sound,
)

#: Normalised units; the extractor rounds Fourier coefficients to complex64, we do not.
TOLERANCE = 2e-6


def extractor(spec=AST):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the lowest band of AST is empty, which it says every time
        return ASTFeatureExtractor(
            sampling_rate=spec.sample_rate_hz,
            num_mel_bins=spec.mel_bins,
            max_length=spec.frames,
            mean=spec.mean,
            std=spec.std,
        )


def motion(n=2, samples=300, channels=3, seed=1):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, samples, channels)).cumsum(axis=1) * 0.05


@pytest.mark.parametrize("rate_hz", [100.0, 140.0, 1e6 / 7143, 59.0, 1600.0])
def test_input_values_are_those_of_the_transformers_feature_extractor(rate_hz):
    windows = motion(samples=round(3 * rate_hz))
    ours = input_values(windows, rate_hz)
    sounds = [window_sound(window, rate_hz) for window in windows]
    theirs = extractor()(sounds, sampling_rate=16000)["input_values"]
    assert ours.shape == (2, 1024, 128)
    assert ours.dtype == np.float32
    assert np.abs(ours - np.stack(theirs)).max() <= TOLERANCE
    assert np.allclose(ours[:, -50:], AST.padding)  # 9 s of sound, 10.24 s of frames


@pytest.mark.parametrize("level", [1e-4, 1.0, 32768.0])
def test_any_loudness_and_length_is_as_the_extractor_has_it(level):
    for samples in (400, 559, 560, 9_999, 200_000):
        sound = (np.random.default_rng(samples).normal(size=samples) * level).astype(np.float32)
        theirs = extractor()([sound], sampling_rate=16000)["input_values"][0]
        assert np.abs(normalised(log_mel(sound)) - theirs).max() <= TOLERANCE


def test_sizes_are_configurable_and_still_the_extractors():
    spec = SpectrogramSpec(frames=200, mel_bins=32, mean=-6.0, std=3.0)
    sound = window_sound(motion()[0], 100.0, spec)
    theirs = extractor(spec)([sound], sampling_rate=16000)["input_values"][0]
    assert theirs.shape == spec.shape == (200, 32)
    assert np.abs(normalised(log_mel(sound, spec), spec) - theirs).max() <= TOLERANCE


def test_time_comes_first_and_frequency_second():
    """A tone is a line along the frames; when it starts halfway, the line does."""
    t = np.arange(144_000) / 16_000
    sound = np.where(t >= 4.5, np.sin(2 * np.pi * 2000 * t), 0.0)
    made = log_mel(sound)
    loud = made[600:890]
    assert (loud.argmax(axis=1) == loud.argmax(axis=1)[0]).all()
    assert (made[:440] == np.float32(np.log(AST.floor))).all()
    assert (normalised(made)[:440] == AST.lowest).all()
    assert loud.argmax(axis=1)[0] == int(band_at(2000))


def test_channels_come_one_after_another():
    window = np.zeros((300, 3))
    window[:, 1] = np.sin(np.arange(300))
    window[:, 2] = 5.0
    sound = window_sound(window, 100.0)
    assert sound.shape == (144_000,)
    assert np.abs(sound[: 48_000 - 1600]).max() < 0.01
    assert np.allclose(sound[48_000:96_000:160][5:-10], window[5:-10, 1], atol=0.01)
    assert np.allclose(sound[-40_000:], 5.0, rtol=1e-3)


@pytest.mark.parametrize("rate_hz", [25.0, 100.0, 140.0, 1e6 / 7143, 59.0, 44_100.0])
def test_resampling_keeps_the_time_and_shape_of_what_the_rate_can_hold(rate_hz):
    n = round(4 * rate_hz)
    tone = rate_hz / 12
    made = resampled(np.sin(2 * np.pi * tone * np.arange(n) / rate_hz), rate_hz, 16_000)
    assert len(made) == np.ceil(n * 16_000 / rate_hz - 1e-6)
    t = np.arange(len(made)) / 16_000
    inside = (t > 15 / rate_hz) & (t < 4 - 15 / rate_hz)
    assert np.abs(made - np.sin(2 * np.pi * min(tone, 1e9) * t))[inside].max() < 0.01


def test_resampling_keeps_a_constant_to_its_very_ends():
    assert np.allclose(resampled(np.full(300, -7.5), 100.0, 16_000), -7.5, rtol=2e-3)


def test_the_same_window_gives_the_same_bits_in_any_batch():
    windows = motion(n=3)
    together = input_values(windows, 100.0)
    assert all(np.array_equal(together[i], input_values(windows[i : i + 1], 100.0)[0]) for i in range(3))
    assert input_values(windows[:0], 100.0).shape == (0, 1024, 128)


def test_bands_are_triangles_that_share_every_frequency_between_two():
    weights = mel_filters()
    assert weights.shape == (257, 128)
    middle = slice(8, 250)
    assert np.allclose(weights[middle].sum(axis=1), 1.0)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 40), st.integers(1, 4), st.floats(20, 400), st.integers(0, 1000))
def test_whatever_the_window_the_values_are_finite_and_oriented(samples, channels, rate_hz, seed):
    spec = SpectrogramSpec(sample_rate_hz=1000, frames=20, mel_bins=8, frame_ms=16, hop_ms=8)
    windows = np.random.default_rng(seed).integers(-32768, 32767, size=(1, samples, channels), dtype=np.int16)
    length = samples * channels * 1000 / rate_hz  # then rounded up
    assume(abs(length - (spec.frame_samples - 1)) > 0.01)  # the ratio of rates is a fraction near this one
    if length < spec.frame_samples - 1:
        with pytest.raises(InputError, match="shorter than a frame"):
            input_values(windows, rate_hz, spec)
    else:
        values = input_values(windows, rate_hz, spec)
        assert values.shape == (1, 20, 8)
        assert np.isfinite(values).all()


def test_a_wrong_orientation_is_an_error():
    good = input_values(motion(n=1), 100.0)
    assert check_input_values(good) is good
    with pytest.raises(InputError, match="transposed"):
        check_input_values(good.transpose(0, 2, 1))
    for wrong in (good[0], good[:, :1000], good.astype(np.float64), np.full_like(good, np.nan)):
        with pytest.raises(InputError):
            check_input_values(wrong)


@pytest.mark.parametrize(
    "windows",
    [
        np.zeros((300, 3)),
        np.zeros((1, 0, 3)),
        np.full((1, 300, 3), np.inf),
        np.full((1, 300, 3), 1e300),
        np.zeros((1, 300_000, 3)),
        np.zeros((1, 1, 1)),
    ],
)
def test_windows_that_are_none_are_refused(windows):
    with pytest.raises(InputError):
        input_values(windows, 16_000.0 if windows.shape[1] == 1 else 100.0)


@pytest.mark.parametrize("rate_hz", [0.0, -1.0, float("nan"), float("inf"), 1e9])
def test_impossible_rates_are_refused(rate_hz):
    with pytest.raises(InputError):
        input_values(motion(), rate_hz)


@pytest.mark.parametrize(
    "fields",
    [
        {"frames": 0},
        {"frames": 1e3},
        {"mel_bins": 10**9},
        {"std": 0.0},
        {"mean": float("nan")},
        {"hop_ms": 1e-3},
        {"frame_ms": 1e6},
        {"frame_ms": 4000.0, "frames": 8192},
        {"low_hz": 8000.0},
        {"sample_rate_hz": True},
    ],
)
def test_an_impossible_spec_is_refused(fields):
    with pytest.raises(UsageError):
        SpectrogramSpec(**fields)


def test_frames_are_counted_as_they_are_made():
    assert (frames_of(9.0), frames_of(0.025), frames_of(0.024)) == (898, 1, 0)
    for samples in (400, 559, 560, 12_345):
        made = log_mel(np.random.default_rng(1).normal(size=samples))
        assert np.flatnonzero(made.any(axis=1))[-1] + 1 == frames_of(samples / 16_000)


def test_a_spec_comes_back_from_json():
    spec = SpectrogramSpec(frames=7, hop_ms=2.5)
    assert SpectrogramSpec.from_json(json.loads(json.dumps(spec.to_json())), "x.mcap") == spec


@pytest.mark.parametrize("raw", [None, [], {}, {"frames": 3}, {**AST.to_json(), "x": 1}, {**AST.to_json(), "std": "4"}])
def test_a_spec_that_is_none_is_one_line(raw):
    with pytest.raises(InputError, match=r"^x\.mcap: ") as caught:
        SpectrogramSpec.from_json(raw, "x.mcap")
    assert "\n" not in str(caught.value)
