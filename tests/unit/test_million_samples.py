"""A million samples, random and adversarial, through the C library on this computer, and ten thousand on the emulated
board: every bit is numpy's.
"""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
from toy import toy_dataset

from stinger.check.compare import compare_exactly
from stinger.link.board import Board
from stinger.models.train import train
from stinger.windows.replay import ReplayStream
from stinger_export.firmware import build_firmware
from stinger_export.integer.c_source import write_c_source
from stinger_export.integer.quantise import quantise
from stinger_export.toolchain import compile_host, device_sources
from stinger_virtual.transport import EmulatedTransport

WINDOW, CHANNELS = 50, 6
CHUNK = 25_000
# Input: u32 number of samples, then the samples. Output: for each but the first 49 its features, score, probabilities.
DRIVER = r"""
#include "stinger_ml.h"
#include <stdio.h>
#include <string.h>

extern const stinger_model stinger_model_data;

int main(void) {
    static stinger_stream stream;
    static stinger_decision d;
    int16_t sample[STINGER_MAX_CHANNELS];
    uint32_t t = 0;
    if (!stinger_stream_init(&stream, &stinger_model_data))
        return 1;
    while (fread(sample, sizeof sample, 1, stdin) == 1)
        if (stinger_stream_push(&stream, sample, t += stinger_model_data.period_us, false)) {
            stinger_stream_decide(&stream, &d);
            fwrite(d.feature, 2, stinger_model_data.features, stdout);
            fwrite(&d.score[0], 4, 1, stdout);
            fwrite(&d.probability[0], 2, 1, stdout);
        }
    return 0;
}
"""


def adversarial(rng: np.random.Generator, count: int) -> np.ndarray:
    """Stretches of one to three windows, each drawn from a kind that strains something else."""
    parts, made = [], 0
    while made < count:
        n = int(rng.integers(WINDOW, 3 * WINDOW))
        i, shape = np.arange(n)[:, None], (n, CHANNELS)
        spread = 2.0 ** rng.uniform(0, 15)
        kind = int(rng.integers(9))
        if kind == 0:
            x = rng.integers(-32768, 32768, shape)
        elif kind == 1:
            x = rng.normal(rng.uniform(-30000, 30000), spread, shape)
        elif kind == 2:
            x = np.full(shape, rng.choice([-32768, 32767, 0, 1, -1]))
        elif kind == 3:
            x = np.where(i % int(rng.integers(2, 60)) == 0, 32767, -32768) * np.ones(shape)
        elif kind == 4:
            x = 32767 - i * rng.uniform(0, 1300, CHANNELS)
        elif kind == 5:
            x = i * rng.uniform(0, 1300, CHANNELS) - 32768
        elif kind == 6:
            x = np.where(rng.random(shape) < 0.03, rng.choice([-32768, 32767], shape), rng.integers(-2, 3, shape))
        elif kind == 7:
            x = np.where(rng.random(shape) < 0.5, -32768, 32767)
        else:
            x = np.round(spread * np.sin(i * rng.uniform(0.01, 3, CHANNELS)))
        parts.append(np.clip(np.rint(x), -32768, 32767).astype(np.int16))
        made += n
    return np.concatenate(parts)[:count]


@pytest.mark.parametrize(("family", "count"), [("logreg", 1_000_000), ("mlp", 40_000), ("rf", 40_000)])
def test_every_bit_is_numpys(family, count, tmp_path):
    integer = quantise(train(toy_dataset(window=WINDOW, channels=CHANNELS), family, folds=0))
    write_c_source(integer, tmp_path)
    (tmp_path / "driver.c").write_text(DRIVER)
    library = sorted((device_sources() / "stinger_ml").glob("*.c"))
    compile_host(
        [tmp_path / "driver.c", tmp_path / "stinger_model_data.c", *library],
        tmp_path / "driver",
        include=[tmp_path, device_sources() / "stinger_ml"],
        defines={"STINGER_LIMITS_H": '"stinger_limits.h"'},
    )
    samples = adversarial(np.random.default_rng(11), count)
    run = subprocess.run([tmp_path / "driver"], input=samples.tobytes(), capture_output=True, check=True, timeout=120)
    features = len(integer.spec.feature_set)
    answers = np.frombuffer(
        run.stdout, np.dtype([("feature", "<i2", features), ("score", "<i4"), ("probability", "<u2")])
    )
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW, axis=0).transpose(0, 2, 1)
    assert len(answers) == len(windows) == count - WINDOW + 1
    for begin in range(0, len(windows), CHUNK):
        mine, expected = answers[begin : begin + CHUNK], integer.decide(windows[begin : begin + CHUNK])
        assert np.array_equal(mine["feature"], expected.feature)
        assert np.array_equal(mine["score"], expected.score[:, 0])
        assert np.array_equal(mine["probability"], expected.probability[:, 0])


def test_so_it_is_on_the_emulated_board(tmp_path):
    integer = quantise(train(toy_dataset(window=WINDOW, channels=CHANNELS), "logreg", folds=0))
    write_c_source(integer, tmp_path)
    samples = adversarial(np.random.default_rng(12), 10_000 + WINDOW - 1)
    gap = np.zeros(len(samples), dtype=bool)
    stream = ReplayStream(samples, np.arange(len(samples), dtype=np.int64) * 10_000, gap, 10_000)
    with Board(EmulatedTransport(build_firmware(tmp_path, tmp_path).bin.read_bytes())) as board:
        board.hello()
        result = board.replay(stream.samples, stream.t_us, stream.gap_before)
    ready = stream.ready(WINDOW)
    assert ready.sum() == 10_000
    assert compare_exactly(("L2", "L4"), integer.decide(stream.windows(WINDOW)), ready, result).failure is None
