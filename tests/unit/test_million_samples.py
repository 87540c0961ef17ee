"""A million samples, random and adversarial, through the C library on this computer, for every feature set; ten
thousand on the emulated board: every bit is numpy's. The million is compiled as it is used; the sanitizers see shorter
streams of the same kinds, because with them the library takes many times as long.
"""

from __future__ import annotations

import importlib.util
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from toy import channels_for, toy_dataset

from stinger.check.compare import compare_exactly
from stinger.link.board import Board
from stinger.models.train import train
from stinger.windows.replay import ReplayStream
from stinger_export.firmware import build_firmware
from stinger_export.integer.c_source import write_c_source
from stinger_export.integer.model import IntegerModel
from stinger_export.integer.quantise import quantise
from stinger_export.toolchain import compile_host, device_sources
from stinger_virtual.transport import EmulatedTransport

WINDOW = 50
CHUNK = 25_000
#: A tree that asks three questions costs next to nothing: what is left are the features.
TREE = {"max_depth": 2}
#: With the longest window of which features have the least room, and windows whose halves differ.
SANITIZED = [("rich", 50), ("rich", 7), ("coupled", 33), ("invariant_rich", 50), ("invariant", 25)]
SANITIZED += [("magnetic", 50), ("magnetic", 13), ("flatten", 9)]
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


def adversarial(rng: np.random.Generator, count: int, channels: int) -> np.ndarray:
    """Stretches of one to three windows, each drawn from a kind that strains something else."""
    parts, made = [], 0
    while made < count:
        n = int(rng.integers(WINDOW, 3 * WINDOW))
        i, shape = np.arange(n)[:, None], (n, channels)
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
            x = 32767 - i * rng.uniform(0, 1300, channels)
        elif kind == 5:
            x = i * rng.uniform(0, 1300, channels) - 32768
        elif kind == 6:
            x = np.where(rng.random(shape) < 0.03, rng.choice([-32768, 32767], shape), rng.integers(-2, 3, shape))
        elif kind == 7:
            x = np.where(rng.random(shape) < 0.5, -32768, 32767)
        else:
            x = np.round(spread * np.sin(i * rng.uniform(0.01, 3, channels)))
        parts.append(np.clip(np.rint(x), -32768, 32767).astype(np.int16))
        made += n
    return np.concatenate(parts)[:count]


def quantised(family: str, features: str, window: int = WINDOW) -> IntegerModel:
    options = TREE if family == "dt" else None
    dataset = toy_dataset(window=window, channels=channels_for(features), per_class=60)
    return quantise(train(dataset, family, features=features, options=options, folds=0))


def driver_sources(integer: IntegerModel, folder: Path) -> tuple[list[Path], list[Path]]:
    """Write what is compiled; the files, and where their headers are."""
    write_c_source(integer, folder)
    (folder / "driver.c").write_text(DRIVER)
    library = device_sources() / "stinger_ml"
    return [folder / "driver.c", folder / "stinger_model_data.c", *sorted(library.glob("*.c"))], [folder, library]


def answers(program: Path, samples: np.ndarray, features: int) -> Iterator[np.ndarray]:
    """What the driver says, some windows at a time: all of it would fill the memory."""
    row = np.dtype([("feature", "<i2", features), ("score", "<i4"), ("probability", "<u2")])
    with tempfile.TemporaryFile() as stream:
        samples.tofile(stream)
        stream.seek(0)
        with subprocess.Popen([program], stdin=stream, stdout=subprocess.PIPE) as driver:
            assert driver.stdout is not None
            while said := driver.stdout.read(CHUNK * row.itemsize):
                yield np.frombuffer(said, row)
        assert driver.returncode == 0


def assert_numpys(program: Path, integer: IntegerModel, samples: np.ndarray) -> None:
    window = integer.spec.window
    windows = np.lib.stride_tricks.sliding_window_view(samples, window, axis=0).transpose(0, 2, 1)
    begin = 0
    for mine in answers(program, samples, len(integer.spec.feature_set)):
        expected = integer.decide(windows[begin : begin + len(mine)])
        assert np.array_equal(mine["feature"], expected.feature)
        assert np.array_equal(mine["score"], expected.score[:, 0])
        assert np.array_equal(mine["probability"], expected.probability[:, 0])
        begin += len(mine)
    assert begin == len(windows) == len(samples) - window + 1


@pytest.mark.parametrize(
    ("family", "features", "count"),
    [
        ("logreg", "rich", 1_000_000),
        ("dt", "summary", 1_000_000),
        ("dt", "coupled", 1_000_000),
        ("dt", "invariant", 1_000_000),
        ("dt", "invariant_rich", 1_000_000),
        ("dt", "magnetic", 1_000_000),
        ("dt", "flatten", 1_000_000),
        ("mlp", "rich", 40_000),
        ("rf", "rich", 40_000),
    ],
)
def test_every_bit_is_numpys(family, features, count, tmp_path):
    integer = quantised(family, features)
    sources, include = driver_sources(integer, tmp_path)
    defines = {"STINGER_LIMITS_H": '"stinger_limits.h"'}
    compile_host(sources, tmp_path / "driver", include=include, defines=defines)
    assert_numpys(
        tmp_path / "driver", integer, adversarial(np.random.default_rng(11), count, len(integer.spec.channels))
    )


def fuzz() -> ModuleType:
    """tests/fuzz/fuzz.py, which knows how to compile with every check."""
    path = Path(__file__).parents[1] / "fuzz" / "fuzz.py"
    spec = importlib.util.spec_from_file_location("fuzz", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", ["address", "integer"])
@pytest.mark.parametrize(("features", "window"), SANITIZED)
def test_so_it_is_under_the_sanitizers(features, window, kind, tmp_path):
    integer = quantised("logreg" if features == "rich" else "dt", features, window)
    sources, include = driver_sources(integer, tmp_path)
    options = [*(f"-I{path}" for path in include), '-DSTINGER_LIMITS_H="stinger_limits.h"']
    fuzz().compile_checked(kind, sources, tmp_path / "driver", options)
    samples = adversarial(np.random.default_rng(window), 20_000, len(integer.spec.channels))
    assert_numpys(tmp_path / "driver", integer, samples)


def test_so_it_is_on_the_emulated_board(tmp_path):
    integer = quantised("logreg", "rich")
    write_c_source(integer, tmp_path)
    samples = adversarial(np.random.default_rng(12), 10_000 + WINDOW - 1, 6)
    gap = np.zeros(len(samples), dtype=bool)
    stream = ReplayStream(samples, np.arange(len(samples), dtype=np.int64) * 10_000, gap, 10_000)
    with Board(EmulatedTransport(build_firmware(tmp_path, tmp_path).bin.read_bytes())) as board:
        board.hello()
        result = board.replay(stream.samples, stream.t_us, stream.gap_before)
    ready = stream.ready(WINDOW)
    assert ready.sum() == 10_000
    assert compare_exactly(("L2", "L4"), integer.decide(stream.windows(WINDOW)), ready, result).failure is None
