"""The ring between sampling and deciding: what it promises one by one, and under two threads with a race detector."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from stinger_export.toolchain import compile_host, cross_compiler, device_sources

FOLDERS = (device_sources() / "stinger_firmware", device_sources() / "stinger_ml")
RING = FOLDERS[0] / "stinger_ring.c"
SLOTS = 8

# Input: 'p' pushes the next sample, 'o' pops one, 'w' turns the counts to just before they wrap (on an empty ring).
# Output: for 'p' 1 or 0; for 'o' the sample's number and whether there is a gap before it, or -.
STEPS = r"""
#include "stinger_ring.h"
#include <stdio.h>

static stinger_ring ring;

int main(void) {
    uint32_t next = 0;
    int step;
    while ((step = getchar()) != EOF) {
        stinger_ring_sample sample;
        if (step == 'p') {
            int16_t value[6] = {(int16_t)next, (int16_t)(next + 1), 0, 0, 0, (int16_t)-next};
            printf("%d ", (int)stinger_ring_push(&ring, next, value, 6));
            next++;
        } else if (step == 'w') {
            ring.pushed = ring.popped = UINT32_MAX - 2;
        } else if (!stinger_ring_pop(&ring, &sample)) {
            printf("- ");
        } else if (sample.value[0] != (int16_t)sample.t_us || sample.value[5] != (int16_t)-sample.t_us) {
            printf("torn ");
        } else {
            printf("%lu%s ", (unsigned long)sample.t_us, sample.gap ? "!" : "");
        }
    }
    printf("dropped %lu\n", (unsigned long)stinger_ring_dropped(&ring));
    return 0;
}
"""

# A million samples from one thread to another, which is slow at times. Every sample arrives whole and in order, or is
# counted as dropped and followed by a gap.
THREADS = r"""
#define _POSIX_C_SOURCE 200809L
#include "stinger_ring.h"
#include <pthread.h>
#include <sched.h>
#include <stdio.h>

#define SAMPLES 1000000u

static stinger_ring ring;
static uint32_t accepted;

static void *produce(void *unused) {
    for (uint32_t i = 1; i <= SAMPLES; i++) {
        int16_t value[STINGER_MAX_CHANNELS];
        for (unsigned k = 0; k < STINGER_MAX_CHANNELS; k++) {
            value[k] = (int16_t)(i * (k + 1));
        }
        accepted += stinger_ring_push(&ring, i, value, STINGER_MAX_CHANNELS) ? 1u : 0u;
        if (i % 61 == 0) {
            sched_yield();
        }
    }
    return unused;
}

static void *consume(void *unused) {
    uint32_t last = 0, taken = 0;
    static uint32_t result[3];
    stinger_ring_sample s;
    (void)unused;
    for (uint32_t idle = 0; idle < 2;) {
        if (!stinger_ring_pop(&ring, &s)) {
            idle += taken + stinger_ring_dropped(&ring) == SAMPLES ? 1u : 0u;
            sched_yield();
            continue;
        }
        for (unsigned k = 0; k < STINGER_MAX_CHANNELS; k++) {
            result[0] += s.value[k] != (int16_t)(s.t_us * (k + 1)) ? 1u : 0u; /* torn */
        }
        result[1] += (s.t_us != last + 1) != s.gap || s.t_us <= last ? 1u : 0u; /* out of order, or a gap untold */
        last = s.t_us;
        taken++;
        if (taken % 4093 == 0) {
            for (int i = 0; i < 20; i++) {
                sched_yield();
            }
        }
    }
    result[2] = taken;
    return result;
}

int main(void) {
    pthread_t producer, consumer;
    void *got;
    pthread_create(&consumer, NULL, consume, NULL);
    pthread_create(&producer, NULL, produce, NULL);
    pthread_join(producer, NULL);
    pthread_join(consumer, &got);
    const uint32_t *result = got;
    printf("torn %lu wrong %lu unaccounted %ld\n", (unsigned long)result[0], (unsigned long)result[1],
           (long)(SAMPLES - result[2] - stinger_ring_dropped(&ring)) + (long)(accepted - result[2]));
    return result[2] > 0 ? 0 : 1;
}
"""


def build(folder: Path, source: str, *flags: str) -> Path:
    (folder / "driver.c").write_text(source)
    program = folder / "driver"
    sources = [folder / "driver.c", RING]
    compile_host(sources, program, include=FOLDERS, defines={"STINGER_RING_SAMPLES": SLOTS}, flags=flags)
    return program


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("ring"), STEPS, "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def outcome(program: Path, steps: str) -> list[str]:
    return subprocess.run([program], input=steps, capture_output=True, text=True, check=True, timeout=60).stdout.split()


def test_what_goes_in_comes_out_in_order(steps: Path) -> None:
    assert outcome(steps, "ppopooo") == ["1", "1", "0", "1", "1", "2", "-", "dropped", "0"]


def test_a_full_ring_drops_the_new_and_says_so_once(steps: Path) -> None:
    got = outcome(steps, "p" * (SLOTS + 3) + "oo" + "pp" + "o" * SLOTS)
    assert got[: SLOTS + 3] == ["1"] * SLOTS + ["0"] * 3
    assert got[SLOTS + 3 : SLOTS + 7] == ["0", "1", "1", "1"]
    assert got[SLOTS + 7 : -2] == ["2", "3", "4", "5", "6", "7", "11!", "12"]
    assert got[-1] == "3"


@pytest.mark.parametrize("waiting", range(SLOTS + 1))
def test_any_filling_at_any_place_even_where_the_counts_wrap(steps: Path, waiting: int) -> None:
    got = outcome(steps, "w" + ("p" * waiting + "o" * waiting) * 3 + "o")
    pushed = 3 * waiting
    assert [g for g in got[:-2] if g != "1" or waiting == 0].count("-") == 1
    popped = outcome(steps, "w" + ("p" * waiting + "o" * waiting) * 3)
    rounds = [popped[i * 2 * waiting + waiting : (i + 1) * 2 * waiting] for i in range(3)]
    assert [int(n) for r in rounds for n in r] == list(range(pushed))


def test_two_threads_under_a_race_detector(tmp_path: Path) -> None:
    program = build(tmp_path, THREADS, "-fsanitize=thread", "-g", "-pthread")
    done = subprocess.run([program], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "torn 0 wrong 0 unaccounted 0\n"


def test_the_race_detector_would_notice(tmp_path: Path) -> None:
    """Without its barriers the ring is a data race; were that not seen, the test above would show nothing."""
    broken = RING.read_text().replace("__atomic_load_n(at, __ATOMIC_ACQUIRE)", "*at")
    broken = broken.replace("__atomic_store_n(at, value, __ATOMIC_RELEASE)", "*at = value")
    assert broken.count("__atomic") == 0
    (tmp_path / "broken.c").write_text(broken)
    (tmp_path / "driver.c").write_text(THREADS.replace("1000000u", "20000u"))
    sources = [tmp_path / "driver.c", tmp_path / "broken.c"]
    flags = ("-fsanitize=thread", "-g", "-pthread")
    compile_host(sources, tmp_path / "driver", include=FOLDERS, defines={"STINGER_RING_SAMPLES": SLOTS}, flags=flags)
    try:
        done = subprocess.run([tmp_path / "driver"], capture_output=True, text=True, check=False, timeout=60)
    except subprocess.TimeoutExpired:
        return  # spins on a value it never reads again: as wrong
    assert "data race" in done.stderr


def test_on_the_board_it_takes_a_barrier_and_no_lock(tmp_path: Path) -> None:
    compiler = cross_compiler()
    target = (
        ("-mcpu=cortex-m0plus", "-mthumb", "-c")
        if compiler.kind == "gcc"
        else ("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m0plus", "-c", "-fno-sanitize=undefined")
    )
    include = [f"-I{folder}" for folder in FOLDERS]
    compiler.run([*target, "-O2", "-ffreestanding", *include, "-S", RING, "-o", tmp_path / "ring.s"], what="the ring")
    code = (tmp_path / "ring.s").read_text()
    assert code.count("dmb") >= 5
    assert "__atomic" not in code
    assert "__sync" not in code
    assert "cpsid" not in code
