"""The adapter for two-core firmware: decisions, silence, commands and the user's file, as numpy and stock have them."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from toy import toy_dataset

from stinger.models.policy import Policy
from stinger.models.train import train
from stinger_export.image.model import to_image
from stinger_export.integer.c_source import model_source
from stinger_export.integer.model import IntegerModel
from stinger_export.integer.quantise import quantise
from stinger_export.toolchain import compile_host, device_sources

PERIOD_US = 10_000
WINDOW = 50
STALE_US = 250_000

# Input, line by line: "sample <t> <6 values>", "poll", "on <t>", "probability <label> <t>", "line <t> <text>",
# "start <t>", "bare" (a start without hooks).
DRIVER = r"""
#include "stinger_firmware.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const stinger_model stinger_model_data;
static const char *name;
static bool stubborn;

static uint32_t load(void *context, void *to, uint32_t capacity) {
    FILE *file = fopen(name, "rb");
    uint32_t size;
    (void)context;
    if (file == NULL) {
        return 0;
    }
    fseek(file, 0, SEEK_END);
    size = (uint32_t)ftell(file);
    rewind(file);
    if (size <= capacity && fread(to, 1, size, file) != size) {
        size = 0;
    }
    fclose(file);
    return size;
}

static bool remove_file(void *context) {
    (void)context;
    return !stubborn && remove(name) == 0;
}

static void reply(void *context, const char *line) {
    (void)context;
    printf("> %s\n", line);
}

static const stinger_firmware_hooks hooks = {NULL, load, remove_file, reply};
static const stinger_firmware_hooks bare = {NULL, NULL, NULL, NULL};
static stinger_firmware firmware;

int main(int argc, char **argv) {
    char line[256];
    name = argv[1];
    stubborn = argc > 2;
    while (fgets(line, sizeof line, stdin) != NULL) {
        char *at = line;
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "sample ", 7) == 0) {
            int16_t value[STINGER_MAX_CHANNELS];
            uint32_t t = (uint32_t)strtoul(at + 7, &at, 10);
            for (unsigned i = 0; i < STINGER_MAX_CHANNELS; i++) {
                value[i] = (int16_t)strtol(at, &at, 10);
            }
            printf("%d\n", (int)stinger_firmware_sample(&firmware, t, value));
        } else if (strcmp(line, "poll") == 0) {
            printf("%d", (int)stinger_firmware_poll(&firmware));
            printf(" %u %u\n", (unsigned)firmware.decision.label, (unsigned)firmware.decision.probability[1]);
        } else if (strncmp(line, "on ", 3) == 0) {
            printf("%d\n", (int)stinger_firmware_on(&firmware, (uint32_t)strtoul(at + 3, NULL, 10)));
        } else if (strncmp(line, "probability ", 12) == 0) {
            uint8_t label = (uint8_t)strtoul(at + 12, &at, 10);
            printf("%u\n",
                   (unsigned)stinger_firmware_probability(&firmware, label, (uint32_t)strtoul(at, NULL, 10)));
        } else if (strncmp(line, "line ", 5) == 0) {
            uint32_t t = (uint32_t)strtoul(at + 5, &at, 10);
            printf("%d\n", (int)stinger_firmware_command(&firmware, at + 1, t));
        } else if (strncmp(line, "start ", 6) == 0) {
            uint32_t t = (uint32_t)strtoul(at + 6, NULL, 10);
            printf("%d\n", (int)stinger_firmware_start(&firmware, &stinger_model_data, &hooks, t));
        } else if (strcmp(line, "bare") == 0) {
            printf("%d\n", (int)stinger_firmware_start(&firmware, &stinger_model_data, &bare, 0));
        }
    }
    return 0;
}
"""


@dataclass
class Adapter:
    """The program, the model compiled into it, one that it takes from a file, and one that does not fit it."""

    program: Path
    builtin: IntegerModel
    user: IntegerModel
    wide: IntegerModel


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    folder, data = tmp_path_factory.mktemp("adapter"), toy_dataset(per_class=60)
    sizes = {"logreg": None, "mlp": {"hidden_layer_sizes": (10, 5)}, "wide": {"hidden_layer_sizes": (80, 5)}}
    models = {}
    for name, options in sizes.items():
        trained = train(data, "mlp" if options else name, name=name, options=options)
        models[name] = quantise(replace(trained, spec=replace(trained.spec, policy=Policy.stock())))
    (folder / "driver.c").write_text(DRIVER)
    (folder / "model.c").write_text(model_source(models["logreg"]))
    sources = [folder / "driver.c", folder / "model.c"]
    folders = [device_sources() / name for name in ("stinger_firmware", "stinger_ml")]
    sources += [file for each in folders for file in sorted(each.glob("*.c"))]
    flags = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    compile_host(sources, folder / "driver", include=folders, flags=flags)
    return Adapter(folder / "driver", models["logreg"], models["mlp"], models["wide"])


def talk(adapter: Adapter, lines: list[str], file: Path = Path("/nonexistent/model.mlmd"), *more: str) -> list[str]:
    text = "".join(f"{line}\n" for line in lines)
    command = [adapter.program, file, *more]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def motion(samples: int, seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    strength = np.repeat([200, 9000, 50], (samples + 2) // 3)[:samples, None]
    return rng.normal(0, strength, (samples, 6)).clip(-32768, 32767).astype(np.int16)


def sample(t: int, row: np.ndarray) -> str:
    return f"sample {t} " + " ".join(map(str, row.tolist()))


def by_numpy(model: IntegerModel, rows: np.ndarray) -> list[tuple[int, int]]:
    windows = np.stack([rows[i : i + WINDOW] for i in range(len(rows) - WINDOW + 1)])
    decisions = model.decide(windows)
    return list(zip(decisions.label.tolist(), decisions.probability[:, 1].tolist(), strict=True))


def decisions_of(lines: list[str]) -> list[tuple[int, int]]:
    """The new ones among answers to `poll`."""
    parts = [line.split() for line in lines]
    return [(int(p[1]), int(p[2])) for p in parts if len(p) == 3 and p[0] == "1"]


def each_polled(rows: np.ndarray, t0: int = 0) -> list[str]:
    return [text for i, row in enumerate(rows) for text in (sample(t0 + i * PERIOD_US, row), "poll")]


def test_decides_as_numpy_and_switches_with_its_policy(adapter: Adapter) -> None:
    rows = motion(300)
    lines = ["start 0"]
    for i, row in enumerate(rows):
        lines += [sample(i * PERIOD_US, row), "poll", f"on {i * PERIOD_US}"]
    answers = talk(adapter, lines)
    assert decisions_of(answers) == by_numpy(adapter.builtin, rows)
    t_us, ready = np.arange(300) * PERIOD_US, np.arange(300) >= WINDOW - 1
    windows = np.stack([rows[i : i + WINDOW] for i in range(300 - WINDOW + 1)])
    on = adapter.builtin.switch(t_us, ready, windows, adapter.builtin.decide(windows))
    switched = [line == "1" for line in answers[3::3]]
    assert switched == on.tolist()
    assert 0 < sum(switched) < 300


def test_decides_once_on_the_newest_of_those_that_wait(adapter: Adapter) -> None:
    rows = motion(80)
    late = [sample(i * PERIOD_US, row) for i, row in enumerate(rows[60:], 60)]
    answers = talk(adapter, ["start 0", *each_polled(rows[:60]), *late, "poll", "poll"])
    assert decisions_of(answers[-2:]) == by_numpy(adapter.builtin, rows)[-1:]


def test_samples_before_the_start_are_not_lost(adapter: Adapter) -> None:
    rows = motion(WINDOW)
    early = [sample(i * PERIOD_US, row) for i, row in enumerate(rows[:30])]
    answers = talk(adapter, [*early, "start 300000", *each_polled(rows[30:], 30 * PERIOD_US)])
    assert decisions_of(answers) == by_numpy(adapter.builtin, rows)


def test_no_window_spans_dropped_samples(adapter: Adapter) -> None:
    rows = motion(200)
    burst = [sample(i * PERIOD_US, row) for i, row in enumerate(rows[60:100], 60)]
    answers = talk(
        adapter,
        [
            "start 0",
            *each_polled(rows[:60]),
            *burst,
            "poll",
            *each_polled(rows[100:], 100 * PERIOD_US),
            "line 0 MLMODEL_INFO",
        ],
    )
    assert answers[121:161].count("0") == 8, "32 places in the ring, 40 samples"
    after = decisions_of(answers[162:])
    assert after == by_numpy(adapter.builtin, rows[100:])
    assert "> samples_dropped=8" in answers
    assert "> gaps=1" in answers


def test_silence_is_off_and_stays_so_when_time_wraps(adapter: Adapter) -> None:
    rows = motion(100)[:60]
    rows[:] = motion(180)[60:120]  # strong: the policy is on
    end = 59 * PERIOD_US
    ask = [end, end + STALE_US, end + STALE_US + 1, end]
    lines = ["start 0", *each_polled(rows)]
    lines += [f"probability 1 {end}", *(f"on {t}" for t in ask), f"probability 1 {end}", f"probability 9 {end}"]
    answers = talk(adapter, lines)[-7:]
    assert int(answers[0]) == by_numpy(adapter.builtin, rows)[-1][1] > 16_384
    assert answers[1:5] == ["1", "1", "0", "0"], "the last is the same moment, a wrap later"
    assert answers[5:] == ["0", "0"]


def test_runs_the_users_file_and_falls_back_without_a_good_one(adapter: Adapter, tmp_path: Path) -> None:
    rows, file = motion(WINDOW), tmp_path / "model.mlmd"
    image = to_image(adapter.user)
    for content, model, source in (
        (image, adapter.user, "user"),
        (image[:-4], adapter.builtin, "factory"),
        (to_image(adapter.wide), adapter.builtin, "factory"),
        (b"", adapter.builtin, "factory"),
        (bytes(20_000), adapter.builtin, "factory"),
    ):
        file.write_bytes(content)
        answers = talk(adapter, ["start 0", *each_polled(rows), "line 490000 MLMODEL_INFO"], file)
        assert answers[0] == "1"
        assert decisions_of(answers) == by_numpy(model, rows)
        assert f"> model_source={source}" in answers
        assert f"> model_hash={model.hash}" in answers
        assert "> cached_age_ms=0" in answers
        assert "> decisions=1" in answers


def test_takes_a_new_file_and_gives_it_up_on_command(adapter: Adapter, tmp_path: Path) -> None:
    rows, file = motion(WINDOW), tmp_path / "model.mlmd"
    file.write_bytes(to_image(adapter.user))
    lines = ["start 0", "line 0 MLMODEL_DELETE", *each_polled(rows), "line 0 MLMODEL_LOAD", "line 0 MLMODEL_DELETE"]
    answers = talk(adapter, lines, file)
    assert answers[:3] == ["1", "> MLMODEL_DELETED", "1"]
    assert decisions_of(answers) == by_numpy(adapter.builtin, rows)
    assert answers[-4:] == ["> MLMODEL_ERR load", "1", "> MLMODEL_ERR delete", "1"]
    file.write_bytes(to_image(adapter.user))
    lines = [
        "bare",
        "start 0",
        "line 0 MLMODEL_LOAD",
        *each_polled(rows),
        "line 0 MLMODEL_DELETE",
        "line 0 MLMODEL_INFO",
    ]
    answers = talk(adapter, lines, file, "stubborn")
    assert answers[:4] == ["1", "1", "> MLMODEL_LOADED", "1"]
    assert decisions_of(answers) == by_numpy(adapter.user, rows)
    assert "> MLMODEL_ERR delete" in answers
    assert "> model_source=user" in answers, "what could not be removed still runs, as it will after a restart"


def test_other_lines_are_not_its_business(adapter: Adapter) -> None:
    lines = ["MLHELLO", "MLMODEL_PUT 5 0", "MLMODEL_LOAD_LR", "MLMODEL_INF", "MLMODEL_INFOS", "", "MLDUMP"]
    assert talk(adapter, ["bare", *(f"line 0 {line}" for line in lines)]) == ["1"] + ["0"] * len(lines)
    assert talk(adapter, ["bare", "line 0 MLMODEL_LOAD"]) == ["1", "1"], "without a way to reply it is silent"
