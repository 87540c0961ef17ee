"""Spectrograms of recordings: whole and as they come, across gaps and at any rate."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stinger.errors import InputError, UsageError
from stinger.features.spectrogram import SpectrogramSpec, input_values
from stinger.features.spectrogram_stream import SpectrogramStream, session_spectrograms
from stinger.sessions.session import Channel, Session
from stinger.windows.regular import RegularWindows

SMALL = SpectrogramSpec(sample_rate_hz=1000, frames=24, mel_bins=8, frame_ms=32, hop_ms=16)
CHANNELS = (Channel("mx", "earth field", 1 / 8192), Channel("my", "earth field", 1 / 8192))


def recording(samples, period_us=10_000, gaps=(), seed=1):
    steps = np.full(samples, period_us, dtype=np.int64)
    steps[list(gaps)] += 2 * period_us
    counts = np.random.default_rng(seed).integers(-9000, 9000, size=(samples, 2), dtype=np.int16)
    return Session("x", steps.cumsum(), counts, CHANNELS, period_us)


def streamed(session, windows, spec, sizes):
    stream = SpectrogramStream(session.period_us, len(session.channels), windows, spec)
    scale = np.array([channel.scale for channel in session.channels])
    made, at = [], 0
    while at < len(session):
        size = sizes[at % len(sizes)]
        part = slice(at, at + size)
        made += stream.push(session.t_us[part], session.samples[part] * scale)
        at += size
    return made


@settings(max_examples=60, deadline=None)
@given(
    samples=st.integers(2, 400),
    period_us=st.integers(5000, 20_000),
    gaps=st.sets(st.integers(0, 399), max_size=4),
    window_ms=st.integers(200, 900),
    step_ms=st.integers(50, 2000),
    sizes=st.lists(st.integers(1, 90), min_size=1, max_size=5),
)
def test_samples_as_they_come_give_the_same_bits_as_all_of_them(samples, period_us, gaps, window_ms, step_ms, sizes):
    session = recording(samples, period_us, [g for g in gaps if g < samples])
    windows = RegularWindows(window_ms / 1000, step_ms / 1000)
    whole = list(session_spectrograms(session, None, windows, SMALL))
    coming = streamed(session, windows, SMALL, sizes)
    assert [one.end_us for one in coming] == [one.end_us for one in whole]
    assert all(np.array_equal(a.values, b.values) for a, b in zip(coming, whole, strict=True))


def test_windows_are_cut_by_the_recordings_own_rate_and_never_across_a_gap():
    session = recording(140 * 9, 7143, gaps=[500])
    windows = RegularWindows(3.0, 1.0)
    assert windows.samples(session.period_us) == (420, 140)
    starts = windows.starts(session)
    assert starts.tolist() == [0, *range(500, 140 * 9 - 420 + 1, 140)]
    made = list(session_spectrograms(session, [1, 0], windows, SMALL))
    assert [one.end_us for one in made] == session.t_us[starts + 419].tolist()
    window = session.samples[500:920, [1, 0]] / 8192
    np.testing.assert_array_equal(made[1].values, input_values(window[None], 1e6 / 7143, SMALL)[0])


def test_the_default_is_three_seconds_every_ten():
    session = recording(3000)
    assert RegularWindows().starts(session).tolist() == [0, 1000, 2000]
    assert [one.values.shape for one in session_spectrograms(recording(300))] == [(1024, 128)]


def test_a_stream_holds_no_more_than_a_window():
    stream = SpectrogramStream(10_000, 1, RegularWindows(0.5, 60.0), SMALL)
    for second in range(100):
        t_us = (second * 100 + np.arange(100)) * 10_000
        stream.push(t_us, np.zeros((100, 1)))
        assert len(stream._times) <= 100


@pytest.mark.parametrize("window_s", [0.0, -1.0, float("nan"), float("inf"), 1e9])
def test_impossible_windows_are_refused(window_s):
    for fields in ((window_s, 1.0), (1.0, window_s)):
        with pytest.raises(UsageError, match=r"must be more than 0 and at most 3600 s"):
            RegularWindows(*fields)


def test_samples_of_another_shape_are_refused():
    stream = SpectrogramStream(10_000, 2)
    for times, values in ((3, (3, 3)), (2, (3, 2)), (3, (3,))):
        with pytest.raises(InputError, match="expected"):
            stream.push(np.zeros(times, np.int64), np.zeros(values))
    assert stream.push(np.empty(0, np.int64), np.empty((0, 2))) == []
    with pytest.raises(InputError):
        SpectrogramStream(0, 2)
    broken = SpectrogramStream(10_000, 1, RegularWindows(0.1, 0.1), SMALL)
    with pytest.raises(InputError, match="finite"):
        broken.push(np.arange(20) * 10_000, np.full((20, 1), np.nan))
