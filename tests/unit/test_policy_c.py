"""The policy in C against the one in Python, bit for bit, with sanitizers on."""

from __future__ import annotations

import json
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from policy_cases import policies, stream
from test_integer_parity import difficult_stream
from toy import toy_dataset

from stinger.check.compare import compare_exactly
from stinger.check.replay import replay_native
from stinger.models.policy import ONE, Policy, motion_energy, run_policy
from stinger.models.train import train
from stinger_export.firmware import _SANITIZERS
from stinger_export.integer.c_source import write_c_source
from stinger_export.integer.quantise import quantise
from stinger_export.toolchain import compile_host, device_sources

CASES = json.loads((Path(__file__).parent.parent / "vectors" / "policy.json").read_text())["cases"]
# Input: policies with their streams. Output: on and envelope after each sample.
DRIVER = r"""
#include "stinger_frame.h"
#include "stinger_ml.h"
#include <stdio.h>

#define SAMPLE 15

int main(void) {
    uint8_t head[30], row[SAMPLE];
    while (fread(head, 1, sizeof head, stdin) == sizeof head) {
        stinger_policy_state state;
        stinger_policy p = {0};
        p.period_us = stinger_get32(head);
        p.stale_us = stinger_get32(head + 4);
        p.min_on_us = stinger_get32(head + 8);
        p.attack = stinger_get16(head + 12);
        p.release = stinger_get16(head + 14);
        p.on = stinger_get16(head + 16);
        p.off = stinger_get16(head + 18);
        p.gate_lsb = stinger_get16(head + 20);
        p.gyro = head[22];
        p.positive = head[23];
        stinger_policy_init(&p, stinger_get16(head + 24), &state);
        for (uint32_t left = stinger_get32(head + 26); left > 0; left--) {
            if (fread(row, 1, SAMPLE, stdin) != SAMPLE) {
                return 1;
            }
            uint64_t motion = stinger_get32(row + 7) | ((uint64_t)stinger_get32(row + 11) << 32);
            uint16_t probability = stinger_get16(row + 5);
            bool on = stinger_policy_update(&p, &state, stinger_get32(row), row[4] != 0, probability, motion);
            printf("%d %ld\n", on, (long)state.envelope);
        }
    }
    return 0;
}
"""
ROW = np.dtype([("t", "<u4"), ("ready", "u1"), ("p", "<u2"), ("motion", "<u8")])


@pytest.fixture(scope="module", name="driver")
def _driver(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("policy")
    (folder / "driver.c").write_text(DRIVER)
    library = device_sources() / "stinger_ml"
    sources = [library / "stinger_policy.c", library / "stinger_frame.c", folder / "driver.c"]
    compile_host(sources, folder / "driver", include=[library], flags=_SANITIZERS)
    return folder / "driver"


def record(policy: Policy, t_us, ready, probability, motion) -> bytes:
    rows = np.zeros(len(t_us), ROW)
    rows["t"], rows["ready"], rows["p"], rows["motion"] = t_us % 2**32, ready, probability, motion
    p = policy
    head = struct.pack("<IIIHHHHHBBHI", p.period_us, p.stale_us, p.min_on_us, p.attack, p.release, p.on, p.off,
                       p.gate_lsb, p.gyro, p.positive, p.window, len(rows))  # fmt: skip
    return head + rows.tobytes()


def ask(driver: Path, *records: bytes) -> np.ndarray:
    result = subprocess.run([driver], input=b"".join(records), capture_output=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr.decode()
    return np.array(result.stdout.split(), dtype=np.int64).reshape(-1, 2)


def test_the_vectors_of_all_languages_hold_in_c(driver):
    records = []
    for case in CASES:
        t_us, ready, probability, motion = np.array(case["rows"], dtype=np.int64).T
        records.append(record(Policy.from_json(case["policy"]), t_us, ready, probability, motion))
    answers = ask(driver, *records)
    at = 0
    for case in CASES:
        mine = answers[at : at + len(case["rows"])]
        at += len(mine)
        assert "".join(map(str, mine[:, 0])) == case["on"], case["name"]
        assert mine[:, 1].tolist() == case["envelope"], case["name"]
    assert at == len(answers)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(policies(), st.integers(0, 2**32 - 1)), min_size=1, max_size=8))
@example([(Policy(4096, 4096, ONE, ONE, 56_755, 60_000_000, 60_000_000, 10**9, 1024), 1)])
@example([(Policy(1, 1, 1, 1, 0, 0, 0, 1, 2), 2)])
def test_c_equals_python_on_any_policy_and_stream(driver, chosen):
    streams = [stream(policy, 100, seed) for policy, seed in chosen]
    answers = ask(driver, *(record(policy, *s) for (policy, _), s in zip(chosen, streams, strict=True)))
    traces = [run_policy(policy, *s) for (policy, _), s in zip(chosen, streams, strict=True)]
    assert np.array_equal(answers[:, 0], np.concatenate([trace.on for trace in traces]))
    assert np.array_equal(answers[:, 1], np.concatenate([trace.envelope for trace in traces]))


TOUCHY = Policy(attack=600, release=700, on=15_000, off=12_000, gate_lsb=500, stale_us=25_000, min_on_us=400_000)


def with_policy(policy: Policy, family: str = "logreg", **shape):
    dataset = toy_dataset(per_class=60, **shape)
    model = train(dataset, family)
    fitted = replace(policy, window=dataset.window, period_us=dataset.period_us)
    return dataset, quantise(replace(model, spec=replace(model.spec, policy=fitted)))


@pytest.mark.parametrize(
    ("family", "policy", "shape"),
    [
        ("logreg", TOUCHY, {}),
        ("rf", replace(TOUCHY, gyro=0, positive=2, on=9000, off=7000), {"classes": 4, "window": 7, "channels": 3}),
        ("mlp", replace(TOUCHY, gate_lsb=0, positive=0), {"window": 2, "channels": 1}),
        ("logreg", Policy.stock(), {}),
    ],
)
def test_the_stream_in_c_says_on_after_every_sample_as_the_integer_model_does(family, policy, shape, tmp_path):
    dataset, model = with_policy(policy, family, **shape)
    write_c_source(model, tmp_path)
    source = difficult_stream(dataset)
    ready, windows = source.ready(dataset.window), source.windows(dataset.window)
    expected = model.decide(windows)
    on = model.switch(source.t_us, ready, windows, expected)
    result = replay_native(tmp_path, source, sanitize=True)
    comparison = compare_exactly(("L2", "L3"), expected, ready, result, on=on)
    assert comparison.failure is None
    assert comparison.policy_samples == len(source)
    assert np.count_nonzero(np.diff(on)) >= 4
    if policy.gate_lsb:
        ungated = replace(model, spec=replace(model.spec, policy=replace(model.spec.policy, gate_lsb=0)))
        assert (ungated.switch(source.t_us, ready, windows, expected) != on).any()
    if family == "logreg":
        assert (on & ~ready).any()


@pytest.mark.parametrize("field", ["attack", "release", "on", "off", "gate_lsb", "stale_us", "min_on_us"])
def test_one_wrong_constant_is_found_and_named(field, tmp_path):
    dataset, model = with_policy(TOUCHY)
    write_c_source(model, tmp_path)
    data = tmp_path / "stinger_model_data.c"
    text, value = data.read_text(), getattr(TOUCHY, field)
    assert text.count(f".{field} = {value},") == 1
    data.write_text(text.replace(f".{field} = {value},", f".{field} = {value + value // 4},"))
    source = difficult_stream(dataset)
    ready, windows = source.ready(dataset.window), source.windows(dataset.window)
    expected = model.decide(windows)
    on = model.switch(source.t_us, ready, windows, expected)
    result = replay_native(tmp_path, source)
    comparison = compare_exactly(("L2", "L3"), expected, ready, result, on=on)
    assert comparison.failure is not None
    at = int(np.flatnonzero(result.on != on)[0])
    said, due = ("on", "off") if result.on[at] else ("off", "on")
    assert comparison.failure.startswith(f"L3 is not L2: sample {at}: policy {said}, expected {due} (")


def test_a_model_without_a_policy_never_says_on(tmp_path):
    dataset = toy_dataset(per_class=60)
    model = quantise(train(dataset, "logreg"))
    write_c_source(model, tmp_path)
    assert "#define STINGER_WITH_POLICIES 0" in (tmp_path / "stinger_limits.h").read_text()
    source = difficult_stream(dataset)
    result = replay_native(tmp_path, source, sanitize=True)
    assert result.on is not None
    assert not result.on.any()
    assert (result.label == 1).any()


def test_the_hash_covers_the_policy():
    _, model = with_policy(TOUCHY)
    hashes = {replace(model, spec=replace(model.spec, policy=p)).hash for p in (None, Policy.stock(), TOUCHY)}
    assert len(hashes) == 3


SPARSE = r"""
#include "stinger_ml.h"
#include <stdio.h>
extern const stinger_model stinger_model_data;
static stinger_stream s;

int main(void) {
    static stinger_decision d;
    struct { uint32_t t_us; int16_t value[STINGER_MAX_CHANNELS]; } row;
    stinger_stream_init(&s, &stinger_model_data);
    for (unsigned i = 0; fread(&row, sizeof row, 1, stdin) == 1; i++) {
        bool ready = stinger_stream_push(&s, row.value, row.t_us, false);
        if (ready && i % EVERY == 0) {
            stinger_stream_decide(&s, &d);
            if (d.on != stinger_stream_on(&s)) {
                return 1;
            }
        }
        printf("%d\n", stinger_stream_on(&s));
    }
    return 0;
}
"""


@pytest.mark.parametrize("every", [1, 3, 16])
def test_who_decides_less_often_is_made_up_for(every, tmp_path):
    dataset, model = with_policy(replace(TOUCHY, stale_us=250_000))
    write_c_source(model, tmp_path)
    (tmp_path / "main.c").write_text(SPARSE)
    library = device_sources() / "stinger_ml"
    sources = [*sorted(library.glob("*.c")), tmp_path / "stinger_model_data.c", tmp_path / "main.c"]
    defines = {"STINGER_LIMITS_H": '"stinger_limits.h"', "EVERY": f"{every}u"}
    compile_host(sources, tmp_path / "p", include=[tmp_path, library], defines=defines, flags=_SANITIZERS)

    source = difficult_stream(dataset)
    rows = np.zeros(len(source), np.dtype([("t", "<u4"), ("x", "<i2", 6)]))
    rows["t"], rows["x"] = source.t_us % 2**32, source.samples
    done = subprocess.run([tmp_path / "p"], input=rows.tobytes(), capture_output=True, timeout=30, check=True)
    said = np.array(done.stdout.split(), dtype=np.int64)

    # The policy saw the samples that were decided on, and those that left the window unfilled.
    step = np.diff(source.t_us) % 2**32
    gap = np.concatenate([[True], (step == 0) | (2 * step > 3 * source.period_us)])
    seen_by_c = replace(source, gap_before=gap)
    ready, windows = seen_by_c.ready(dataset.window), seen_by_c.windows(dataset.window)
    expected = model.decide(windows)
    policy = model.spec.policy
    probability, motion = np.zeros(len(source), np.uint16), np.zeros(len(source), np.int64)
    probability[ready], motion[ready] = expected.probability[:, 1], motion_energy(windows, policy.gyro)
    seen = ~ready | (np.arange(len(source)) % every == 0)
    trace = run_policy(policy, source.t_us[seen], ready[seen], probability[seen], motion[seen])
    assert np.array_equal(said[seen], trace.on)
    assert np.count_nonzero(np.diff(trace.on)) > 4


REFUSAL = r"""
#include "stinger_ml.h"
#include <stdio.h>
extern const stinger_model stinger_model_data;
static stinger_stream s;

#define TRY(field, value) \
    { \
        stinger_policy p = *stinger_model_data.policy; \
        stinger_model m = stinger_model_data; \
        m.policy = &p; \
        p.field = (value); \
        printf("%s %d %d\n", #field, stinger_stream_init(&s, &m), stinger_stream_on(&s)); \
    }

int main(void) {
    TRY(attack, 4096)
    TRY(attack, 4097)
    TRY(release, 65535)
    TRY(on, 32768)
    TRY(on, 32769)
    TRY(off, 0)
    TRY(off, 15000)
    TRY(off, 15001)
    TRY(gyro, 3)
    TRY(gyro, 4)
    TRY(gyro, 255)
    TRY(positive, 2)
    TRY(period_us, 9999)
    return 0;
}
"""


def test_a_stream_refuses_a_policy_it_could_not_run(tmp_path):
    _, model = with_policy(TOUCHY)
    write_c_source(model, tmp_path)
    (tmp_path / "main.c").write_text(REFUSAL)
    library = device_sources() / "stinger_ml"
    sources = [*sorted(library.glob("*.c")), tmp_path / "stinger_model_data.c", tmp_path / "main.c"]
    limits = {"STINGER_LIMITS_H": '"stinger_limits.h"'}
    compile_host(sources, tmp_path / "p", include=[tmp_path, library], defines=limits, flags=_SANITIZERS)
    lines = subprocess.run([tmp_path / "p"], capture_output=True, timeout=10, check=True).stdout.decode().splitlines()
    assert lines == [
        "attack 1 0", "attack 0 0", "release 0 0", "on 1 0", "on 0 0", "off 0 0", "off 1 0", "off 0 0", "gyro 1 0",
        "gyro 0 0", "gyro 0 0", "positive 0 0", "period_us 0 0",
    ]  # fmt: skip
