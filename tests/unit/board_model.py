"""A hand-written model whose every answer is known: a stump on the mean of the first of three channels."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from stinger.models.policy import Policy
from stinger_export.firmware import Firmware, build_firmware, build_native

WINDOW = 4
CHANNELS = 3
PERIOD_US = 10_000
THRESHOLD = 10
HASH = "00112233445566ff"
#: Not ASCII and with a quote, as a recording's labels may be.
CLASSES = ("steady", 'mo"ving \N{GREEK SMALL LETTER MU}\N{GRINNING FACE}')
#: Probabilities (1/32768) at or below, and above the threshold.
LEAVES = ((30000, 2768), (1000, 31768))

#: Its gate is on the length of the three channels.
POLICY = Policy(
    attack=1500,
    release=900,
    on=18_000,
    off=9_000,
    gate_lsb=17_000,
    stale_us=15_000,
    min_on_us=40_000,
    period_us=PERIOD_US,
    window=WINDOW,
    gyro=0,
)

LIMITS = f"""
#define STINGER_MAX_WINDOW {WINDOW}
#define STINGER_MAX_CHANNELS {CHANNELS}
#define STINGER_MAX_TRIADS 1
#define STINGER_MAX_CLASSES 2
#define STINGER_MAX_UNITS 1
#define STINGER_WITH_FLATTEN 0
#define STINGER_WITH_CONVOLUTIONS 0
"""

SOURCE = f"""
#include "stinger_ml.h"

static const char *const names[] = {{"steady", "mo\\"ving \\xce\\xbc\\xf0\\x9f\\x98\\x80"}};
static const stinger_node nodes[] = {{{{{THRESHOLD}, -1, -2, 0}}}};
static const int16_t roots[] = {{0}};
static const uint16_t leaves[] = {{{LEAVES[0][0]}, {LEAVES[0][1]}, {LEAVES[1][0]}, {LEAVES[1][1]}}};
static const stinger_forest forest = {{nodes, roots, leaves, 1, 0}};
static const stinger_policy policy = {{
    {PERIOD_US}, {POLICY.stale_us}, {POLICY.min_on_us}, {POLICY.attack}, {POLICY.release}, {POLICY.on}, {POLICY.off},
    {POLICY.gate_lsb}, {POLICY.gyro}, {POLICY.positive},
}};
extern const stinger_model stinger_model_data;
const stinger_model stinger_model_data = {{
    "stump", "rf", "{HASH}", names, {PERIOD_US}, {WINDOW}, {CHANNELS}, 2, {3 * CHANNELS}, 0, {{0, 0}},
    STINGER_SUMMARY, 0, &forest, 0, 0, &policy,
}};
"""


def write_model(folder: Path) -> Path:
    """Write the model as an export does."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stinger_model_data.c").write_text(SOURCE)
    (folder / "stinger_limits.h").write_text(LIMITS)
    return folder


@cache
def native(*, sanitize: bool = False, any_model: bool = False) -> Path:
    """The firmware with this model as a program; built once."""
    return build_native(_model(), _folder("native", sanitize, any_model), sanitize=sanitize, any_model=any_model)


@cache
def firmware(*, any_model: bool = False) -> Firmware:
    """The firmware with this model for the emulated board; built once."""
    return build_firmware(_model(), _folder("board", any_model), any_model=any_model)


@cache
def _model() -> Path:
    return write_model(_folder("model"))


@cache
def _folder(*name: object) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="stinger-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder.joinpath(*map(str, name))
