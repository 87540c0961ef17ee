"""The C library against the numpy reference, bit for bit, through the native program with sanitizers on."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy import extreme_windows, toy_dataset

from stinger.check.compare import compare_exactly, feature_crc
from stinger.check.replay import replay_native
from stinger.errors import InputError
from stinger.models.train import train
from stinger.sessions.session import Channel, starts_after_gap
from stinger.windows.replay import ReplayStream
from stinger_export.integer.c_source import write_c_source
from stinger_export.integer.quantise import quantise

VECTORS = Path(__file__).parent.parent / "vectors" / "features.json"


def difficult_stream(dataset, seed=0) -> ReplayStream:
    """Ordinary samples, every corner of int16, and every way a window can break."""
    rng = np.random.default_rng(seed)
    channels = len(dataset.channels)
    ordinary = dataset.windows.reshape(-1, channels)[: 40 * dataset.window]
    extreme = extreme_windows(dataset.window, channels).reshape(-1, channels)
    noise = rng.integers(-32768, 32768, (2000, channels)).astype(np.int16)
    samples = np.concatenate([ordinary, extreme, noise])
    step = rng.integers(-1000, 1001, len(samples)) + dataset.period_us
    step[500], step[900], step[1300] = dataset.period_us * 3 // 2, dataset.period_us * 3 // 2 + 1, 0
    step[1500], step[1600], step[1700] = -5000, 2**31, 2**32 + dataset.period_us
    t_us = np.cumsum(step.astype(np.int64)) + 2**32 - 3_000_000  # crosses the 32-bit wrap
    return ReplayStream(samples, t_us, starts_after_gap(t_us, dataset.period_us), dataset.period_us)


@pytest.mark.parametrize("features", ["rich", "summary"])
@pytest.mark.parametrize("family", ["logreg", "mlp", "rf"])
@pytest.mark.parametrize(("classes", "window", "channels"), [(2, 50, 6), (4, 59, 6), (3, 7, 3), (2, 2, 1), (3, 24, 9)])
def test_c_equals_numpy_in_every_bit(family, features, classes, window, channels, tmp_path):
    dataset = toy_dataset(classes=classes, per_class=60, window=window, channels=channels)
    model = quantise(train(dataset, family, features=features))
    write_c_source(model, tmp_path)
    stream = difficult_stream(dataset)
    result = replay_native(tmp_path, stream, sanitize=True)
    ready = stream.ready(window)
    comparison = compare_exactly(("L2", "L3"), model.decide(stream.windows(window)), ready, result)
    assert comparison.failure is None
    assert comparison.windows > 1000


def replace_limits(folder: Path, **values: int) -> None:
    """Build for other limits than exactly those of the model."""
    limits = folder / "stinger_limits.h"
    text = limits.read_text()
    for name, value in values.items():
        text, found = re.subn(rf"(?m)^#define STINGER_{name} .*$", f"#define STINGER_{name} {value}", text)
        assert found == 1
    limits.write_text(text)


@pytest.mark.parametrize(("window", "channels"), [(3, 6), (50, 3), (61, 6)])
def test_a_build_for_larger_shapes_computes_the_same(window, channels, tmp_path):
    """Such builds take windows and channels from the model; those for one model know them, and refuse others."""
    dataset = toy_dataset(per_class=40, window=window, channels=channels)
    model = quantise(train(dataset, "rf", options={"n_estimators": 4}))
    write_c_source(model, tmp_path)
    stream = difficult_stream(dataset)
    replace_limits(tmp_path, MAX_WINDOW=64, MAX_CHANNELS=7)
    assert not replay_native(tmp_path, stream).ready.any()
    replace_limits(tmp_path, FIXED_SHAPE=0)
    result = replay_native(tmp_path, stream, sanitize=True)
    comparison = compare_exactly(("L2", "L3"), model.decide(stream.windows(window)), stream.ready(window), result)
    assert comparison.failure is None
    assert comparison.windows > 1000


def test_the_vectors_of_all_languages_hold_in_c(tmp_path):
    """tests/vectors/features.json, as numpy and ONNX read it, through the C library's feature CRC."""
    cases = json.loads(VECTORS.read_text())["cases"]
    assert len(cases) >= 8
    checked = 0
    shapes = sorted({(c["feature_set"], len(c["samples"]), tuple(c["channels"])) for c in cases})
    for shape in shapes:
        feature_set, window, names = shape
        dataset = toy_dataset(per_class=20, window=window, channels=len(names))
        dataset = replace(dataset, channels=tuple(Channel(name, "count", 1.0) for name in names))
        write_c_source(quantise(train(dataset, "logreg", features=feature_set)), tmp_path)
        mine = [c for c in cases if (c["feature_set"], len(c["samples"]), tuple(c["channels"])) == shape]
        samples = np.concatenate([np.array(c["samples"], dtype=np.int16) for c in mine])
        gap = np.zeros(len(samples), dtype=bool)
        gap[::window] = True
        t_us = np.cumsum(np.where(gap, 10 * dataset.period_us, dataset.period_us))
        result = replay_native(tmp_path, ReplayStream(samples, t_us, gap, dataset.period_us))
        expected = np.array([c["features"] for c in mine], dtype=np.int16)
        assert result.ready.sum() == len(mine)
        got = result.feature_crc[result.ready]
        assert [c["name"] for c, a, b in zip(mine, got, feature_crc(expected), strict=True) if a != b] == []
        checked += len(mine)
    assert checked == len(cases)


def test_more_triads_than_a_model_may_use_are_refused():
    model = train(toy_dataset(per_class=20, window=8, channels=12), "logreg", features="rich", folds=0)
    with pytest.raises(InputError, match=r"magnitudes of 4 triads of channels, .* at most 3; "):
        quantise(model)
