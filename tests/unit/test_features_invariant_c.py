"""The invariant sets in C against numpy, bit for bit: on this computer with sanitizers, and on the emulated board."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_integer_parity import difficult_stream
from toy import extreme_windows, toy_dataset

from stinger.check.compare import compare_exactly
from stinger.check.replay import replay_native
from stinger.features.sets import feature_set
from stinger.link.board import Board
from stinger.models.policy import Policy, motion_energy, run_policy
from stinger.models.train import train
from stinger.windows.replay import ReplayStream
from stinger_export.exercise import exercise_stream, usual_samples
from stinger_export.firmware import build_firmware
from stinger_export.image.model import from_image, to_image
from stinger_export.integer.c_source import limits_header, write_c_source
from stinger_export.integer.quantise import quantise
from stinger_export.toolchain import compile_host, device_sources
from stinger_virtual.transport import EmulatedTransport

SIX = ("ax", "ay", "az", "gx", "gy", "gz")
CODES = {"invariant": 3, "invariant_rich": 4}
CASES = [
    case
    for case in json.loads((Path(__file__).parents[1] / "vectors" / "features_invariant.json").read_text())["cases"]
    if case["feature_set"] in CODES
]
# Arguments: feature set, its length, window, channels, first channel of accelerometer and gyroscope. Input: samples,
# each a 16-bit number that is not 0 behind a gap, then its channels. Output: features of each full window.
DRIVER = r"""
#include "stinger_ml.h"
#include <stdio.h>
#include <stdlib.h>

int main(int count, char **word) {
    static const stinger_node nodes[] = {{0, -1, -1, 0}};
    static const int16_t roots[] = {-1};
    static const uint16_t leaves[] = {STINGER_ONE, 0};
    static const stinger_forest forest = {nodes, roots, leaves, 1, 0};
    static stinger_stream stream;
    static stinger_decision d;
    stinger_model model = {.period_us = 1000, .classes = 2, .triad_count = 2, .forest = &forest};
    if (count != 7)
        return 1;
    model.feature_set = (stinger_feature_set)atoi(word[1]);
    model.features = (uint8_t)atoi(word[2]);
    model.window = (uint16_t)atoi(word[3]);
    model.channels = (uint8_t)atoi(word[4]);
    model.triads[0] = (uint8_t)atoi(word[5]);
    model.triads[1] = (uint8_t)atoi(word[6]);
    if (!stinger_stream_init(&stream, &model))
        return 2;
    int16_t sample[1 + STINGER_MAX_CHANNELS];
    size_t size = sizeof(int16_t) * (1u + model.channels);
    for (uint32_t t = 0; fread(sample, size, 1, stdin) == 1; t += 1000)
        if (stinger_stream_push(&stream, sample + 1, t, sample[0] != 0)) {
            stinger_stream_decide(&stream, &d);
            if (fwrite(d.feature, sizeof(int16_t), model.features, stdout) != model.features)
                return 3;
        }
    return 0;
}
"""


@pytest.fixture(scope="module", name="driver")
def _driver(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("invariant")
    (folder / "driver.c").write_text(DRIVER)
    library = device_sources() / "stinger_ml"
    compile_host(
        [*sorted(library.glob("*.c")), folder / "driver.c"],
        folder / "driver",
        include=[library],
        defines={"STINGER_MAX_WINDOW": 1024, "STINGER_MAX_CHANNELS": 8},
        flags=["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"],
    )
    return folder / "driver"


def in_c(driver: Path, name: str, window: int, samples, gap, channels=SIX) -> np.ndarray:
    """Features of every full window of a stream, as C computes them."""
    features = feature_set(name, channels, window)
    numbers = (CODES[name], len(features), window, len(channels), *features.triads)
    data = np.concatenate([gap[:, None], samples], axis=1).astype("<i2").tobytes()
    done = subprocess.run([driver, *map(str, numbers)], input=data, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return np.frombuffer(done.stdout, "<i2").reshape(-1, len(features))


def assert_same(driver: Path, name: str, window: int, samples, gap) -> int:
    """Compare C and numpy on every full window; returns how many there were."""
    stream = ReplayStream(samples, np.arange(len(samples)) * 1000, gap, 1000)
    expected = feature_set(name, SIX, window).compute(stream.windows(window))
    np.testing.assert_array_equal(in_c(driver, name, window, samples, gap), expected)
    return len(expected)


@pytest.mark.parametrize("channels", sorted({tuple(c["channels"]) for c in CASES}), ids=len)
@pytest.mark.parametrize("name", CODES)
def test_c_equals_vectors(driver, name, channels):
    mine = [c for c in CASES if c["feature_set"] == name and tuple(c["channels"]) == channels]
    for window in sorted({len(c["samples"]) for c in mine}):
        of_window = [c for c in mine if len(c["samples"]) == window]
        samples = np.concatenate([np.array(c["samples"], np.int16) for c in of_window])
        found = in_c(driver, name, window, samples, np.arange(len(samples)) % window == 0, channels)
        wrong = [c["name"] for c, row in zip(of_window, found.tolist(), strict=True) if row != c["features"]]
        assert wrong == []


def hard_samples(rng: np.random.Generator, count: int, window: int) -> np.ndarray:
    """Stretches of every kind of signal: what makes sums large, peaks leave, values equal and divisors nothing."""
    kinds = []
    t = np.arange(count // 16)[:, None]
    shape = (len(t), 6)
    kinds += [rng.integers(-32768, 32768, shape), rng.choice([-32768, 32767], shape), rng.integers(-1, 2, shape)]
    kinds += [rng.integers(-40, 41, shape) + rng.integers(-30000, 30000, 6), np.zeros(shape)]
    # Up and down, so that the largest or smallest value leaves with every sample.
    kinds += [t * 7 % 30000 * np.array([1, -1, 1, 1, -1, 1]), 30000 - t * 11 % 30000 * np.ones(6)]
    kinds += [2000 * np.sin(t * rng.uniform(0.01, 0.6, 6)) + rng.normal(0, 20, shape)]
    # Still, with a spike as often as a window is long, or nearly.
    for period in (window - 1, window, window + 1, 2 * window):
        kinds.append(np.where(t % max(2, period) == 0, rng.integers(-32768, 32768, shape), 3))
    # One sensor at its limits and the other still; from limit to limit once in half a window; bursts.
    kinds += [
        rng.choice([-32768, 32767], shape) * np.repeat([1, 0], 3),
        rng.choice([-9, 9], shape) * [0, 0, 0, 1, 1, 1],
    ]
    kinds += [np.where(t // max(1, window // 2) % 2, 32767, -32768) * np.ones(6)]
    kinds += [np.where(t // window % 2, rng.normal(0, 9000, shape), rng.integers(0, 2, shape))]
    assert len(kinds) == 16
    return np.concatenate([np.clip(np.rint(k), -32768, 32767) for k in kinds]).astype(np.int16)


@pytest.mark.parametrize(("window", "count"), [(50, 80_000), (4, 24_000), (5, 16_000), (33, 16_000), (1024, 8_000)])
def test_c_equals_numpy_on_very_many_windows(driver, window, count):
    """140,000 samples, nearly each bringing a new window."""
    rng = np.random.default_rng(window)
    samples = hard_samples(rng, count, window)
    gap = rng.random(len(samples)) < 1 / (16 * window)
    gap[0] = True
    compared = assert_same(driver, "invariant_rich", window, samples, gap)
    assert compared > 0.6 * count


def test_the_smaller_set_is_the_beginning_of_the_larger(driver):
    samples = hard_samples(np.random.default_rng(1), 8000, 50)
    assert assert_same(driver, "invariant", 50, samples, np.arange(len(samples)) % 3000 == 0) > 7000


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_c_equals_numpy_on_any_stream(driver, data):
    """Few different values, so that they are equal, leave and return in every order."""
    window = data.draw(st.integers(4, 12))
    count = data.draw(st.integers(window, 60))
    value = st.one_of(st.sampled_from([-32768, 32767, 0, 1]), st.integers(-3, 3))
    samples = np.array(data.draw(st.lists(st.tuples(*[value] * 6), min_size=count, max_size=count)), np.int16)
    gap = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    gap &= np.arange(count) % 7 == 0
    gap[0] = True
    assert_same(driver, "invariant_rich", window, samples, gap)


def test_windows_of_three_samples_and_one_triad_are_refused(driver):
    def status(*numbers: int) -> int:
        return subprocess.run([driver, *map(str, numbers)], input=b"", check=False, timeout=60).returncode

    assert status(3, 16, 4, 6, 0, 3) == status(4, 22, 4, 6, 0, 3) == 0
    assert status(3, 16, 3, 6, 0, 3) == status(3, 22, 4, 6, 0, 3) == status(4, 16, 4, 6, 0, 3) == 2
    assert status(3, 16, 4, 6, 0, 4) == status(0, 16, 4, 6, 0, 3) == status(250, 16, 4, 6, 0, 3) == 2


@pytest.mark.parametrize(("family", "features", "gyro"), [("mlp", "invariant_rich", 2), ("rf", "invariant", 3)])
def test_an_exported_model_and_its_gate_equal_numpy_on_a_difficult_stream(family, features, gyro, tmp_path):
    """The gate needs sums that are no features: of other channels, too, or only in part of those that are."""
    policy = replace(Policy.stock(), gyro=gyro, gate_lsb=400)
    model = train(toy_dataset(), family, features=features, folds=0)
    integer = quantise(replace(model, spec=replace(model.spec, policy=policy)))
    write_c_source(integer, tmp_path)
    stream = difficult_stream(toy_dataset(seed=3))
    windows, ready = stream.windows(50), stream.ready(50)
    decided = integer.decide(windows)
    probability, motion = np.zeros(len(stream), np.uint16), np.zeros(len(stream), np.int64)
    probability[ready], motion[ready] = decided.probability[:, 1], motion_energy(windows, gyro)
    expected = run_policy(policy, stream.t_us, ready, probability, motion).on
    ungated = run_policy(replace(policy, gate_lsb=0), stream.t_us, ready, probability, motion).on
    assert 50 < expected.sum() < ungated.sum() - 50
    comparison = compare_exactly(
        ("L2", "L3"), decided, ready, replay_native(tmp_path, stream, sanitize=True), on=expected
    )
    assert comparison.failure is None
    assert comparison.windows > 1000
    assert comparison.policy_samples == len(stream)


@pytest.mark.parametrize("features", ["coupled", *CODES])
def test_the_emulated_board_gives_the_same_bits(features, tmp_path):
    """L4, with what costs most: every sample a decision. Cycles are those of the emulator, the same everywhere."""
    dataset = toy_dataset(per_class=60)
    model = quantise(train(dataset, "logreg", features=features, folds=0))
    write_c_source(model, tmp_path)
    firmware = build_firmware(tmp_path, tmp_path / "firmware")
    extreme = extreme_windows(50, 6)[[0, 5, 7, -1]].reshape(-1, 6)
    noise = np.random.default_rng(2).integers(-32768, 32768, (120, 6))
    samples = np.concatenate([dataset.windows[:4].reshape(-1, 6), extreme, noise]).astype(np.int16)
    gap = np.isin(np.arange(len(samples)), (0, 130))
    stream = ReplayStream(samples, np.arange(len(samples)) * dataset.period_us, gap, dataset.period_us)
    with Board(EmulatedTransport(firmware.bin.read_bytes())) as board:
        assert board.hello().model.feature_set == features
        result = board.replay(stream.samples, stream.t_us, stream.gap_before)
    ready = stream.ready(50)
    comparison = compare_exactly(("L2", "L4"), model.decide(stream.windows(50)), ready, result)
    assert comparison.failure is None
    assert comparison.windows == len(samples) - 2 * 49
    if features in CODES:
        assert result.cycles[ready].mean() < 15_000
        assert firmware.model_ram_bytes < 2048


@pytest.mark.parametrize("features", CODES)
def test_only_what_a_model_needs_is_compiled_for_it(features):
    def switches(name: str) -> dict[str, str]:
        header = limits_header(quantise(train(toy_dataset(per_class=20), "logreg", features=name, folds=0)))
        words = [line.split() for line in header.splitlines() if line.startswith("#define STINGER_WITH_")]
        return {word[1].removeprefix("STINGER_WITH_"): word[2] for word in words}

    of_this, of_rich = switches(features), switches("rich")
    assert (of_this["INVARIANT"], of_this["SUMMARY"], of_this["COUPLED"]) == ("1", "0", "0")
    assert (of_rich["INVARIANT"], of_rich["SUMMARY"], of_rich["COUPLED"]) == ("0", "1", "0")


@pytest.mark.parametrize("features", CODES)
def test_an_image_says_which_set_it_takes(features):
    model = quantise(train(toy_dataset(per_class=20), "dt", features=features, folds=0))
    assert from_image(to_image(model)).spec.features == features


@pytest.mark.parametrize("features", [*CODES, "float-invariant"])
def test_samples_made_from_a_model_are_like_what_it_was_trained_on(features):
    """Their strength is that of training windows, and every class is answered: parity on them means something."""
    model = train(toy_dataset(classes=3), "logreg", features=features, folds=0)
    windows = exercise_stream(model).windows(50)[: usual_samples(model.spec) - 8 * 49]
    made, trained = model.spec.feature_set.compute(windows), model.calibration
    assert 0.7 < np.median(made[:, 3]) / np.median(trained[:, 3]) < 1.4
    assert 0.7 < np.median(made[:, 7]) / np.median(trained[:, 7]) < 1.4
    answers = np.bincount(model.predict_proba_features(made).argmax(axis=1), minlength=3)
    assert answers.min() > 0.02 * len(made)
