"""The linked firmware on a strict Cortex-M0: every kind of model, every feature set, numpy's bits, no fault."""

from __future__ import annotations

import shutil

import pytest
from all_levels import answers, with_policy
from small_models import trained
from strict_core import FLASH, RAM, SCRATCH, CoreFaultError, StrictStream

from stinger_export import firmware
from stinger_export.exercise import exercise_stream
from stinger_export.firmware import build_firmware
from stinger_export.integer.c_source import write_c_source
from stinger_export.integer.quantise import quantise

COMPILERS = ("zig", "gcc") if shutil.which("arm-none-eabi-gcc") else ("zig",)
#: Every kind of body with and without hand-written assembly, and every feature set.
MODELS = [
    ("mlp", "rich", 3),
    ("logreg", "summary", 2),
    ("rf", "coupled", 2),
    ("rf", "invariant", 3),
    ("hgb", "invariant_rich", 3),
    ("logreg", "magnetic", 3),
    ("torch-cnn", "flatten", 2),
]
PLAIN = [("mlp", "rich", 3), ("rf", "coupled", 2)]
#: Bytes of stack that a sample and its decision may take; the board has 4096.
STACK = 2048


def built(family, features, classes, folder):
    model = with_policy(trained(family, features, classes))
    integer = quantise(model)
    write_c_source(integer, folder / "model")
    elf = build_firmware(folder / "model", folder / "firmware").elf
    stream = StrictStream(elf, (folder / "model" / "stinger_limits.h").read_text())
    return integer, exercise_stream(model), stream


def assert_equal(integer, replay, stream):
    ready = replay.ready(integer.spec.window)
    decided, on = answers(integer, replay)
    at = 0
    for i, sample in enumerate(replay.samples):
        full = stream.push(sample, int(replay.t_us[i]), bool(replay.gap_before[i]))
        assert full == ready[i]
        if full:
            expected = (
                int(decided.label[at]),
                decided.probability[at].tolist(),
                decided.score[at].tolist(),
                decided.feature[at].tolist(),
            )
            assert stream.decide(len(expected[3])) == expected
            at += 1
        assert stream.on == on[i]
    assert at > 100
    assert 0 < stream.core.stack_used <= STACK


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize(("family", "features", "classes"), MODELS)
def test_firmware_equals_numpy_and_faults_on_nothing(family, features, classes, compiler, tmp_path, monkeypatch):
    monkeypatch.setenv("STINGER_CROSS", compiler)
    assert_equal(*built(family, features, classes, tmp_path))


@pytest.mark.parametrize("compiler", COMPILERS[-1:])
@pytest.mark.parametrize(("family", "features", "classes"), PLAIN)
def test_so_does_the_plain_c_beside_the_assembly(family, features, classes, compiler, tmp_path, monkeypatch):
    monkeypatch.setenv("STINGER_CROSS", compiler)
    usual = firmware._defines
    monkeypatch.setattr(firmware, "_defines", lambda any_model: {**usual(any_model), "STINGER_PLAIN_C": None})
    assert_equal(*built(family, features, classes, tmp_path))


#: Every kind of body, in firmware that is built for this model and no other.
ONLY = [
    ("mlp", "rich", 3),
    ("logreg", "summary", 2),
    ("rf", "coupled", 2),
    ("hgb", "invariant_rich", 3),
    ("torch-cnn", "flatten", 2),
]


@pytest.mark.parametrize(("family", "features", "classes"), ONLY)
def test_so_does_firmware_for_this_model_only(family, features, classes, tmp_path, monkeypatch):
    usual = firmware._defines
    only = {"STINGER_ONLY_MODEL": "stinger_model_data"}
    monkeypatch.setattr(firmware, "_defines", lambda any_model: usual(any_model) | only)
    assert_equal(*built(family, features, classes, tmp_path))


# Thumb code, and what it may not do.
FAULTS = {
    "an unaligned word": (bytes.fromhex("0868"), (0, SCRATCH + 2)),  # ldr r0, [r1]
    "an unaligned half-word": (bytes.fromhex("0888"), (0, SCRATCH + 1)),  # ldrh r0, [r1]
    "memory that is not there": (bytes.fromhex("0868"), (0, 0x30000000)),
    "address 0": (bytes.fromhex("0868"), (0, 0)),
    "writing to flash": (bytes.fromhex("0860"), (0, FLASH)),  # str r0, [r1]
    "a division": (bytes.fromhex("90fbf1f0"), (8, 2)),  # sdiv r0, r0, r1
    "an undefined instruction": (bytes.fromhex("00de"), (0, 0)),  # udf
}


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    return built(*MODELS[1], tmp_path_factory.mktemp("faults"))[2].core


@pytest.mark.parametrize("name", FAULTS)
def test_the_emulator_is_strict(core, name):
    code, arguments = FAULTS[name]
    place = RAM + 0x8000 + 64 * list(FAULTS).index(name)  # code that has run is kept translated
    core.uc.mem_write(place, code + bytes.fromhex("7047"))  # bx lr
    with pytest.raises(CoreFaultError):
        core.call(place, *arguments)


def test_what_is_allowed_returns(core):
    place = RAM + 0x9000
    core.uc.mem_write(place, bytes.fromhex("0868") + bytes.fromhex("7047"))
    core.uc.mem_write(SCRATCH, (1234).to_bytes(4, "little"))
    assert core.call(place, 0, SCRATCH) == 1234
