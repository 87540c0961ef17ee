"""`stinger push` on virtual boards: another model runs, can be taken back, and outlives power and new firmware."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import board_model as model
import numpy as np
import pytest
import serial
from cli_in_process import run
from link_fake_board import FakeBoard, Faults
from toy import toy_dataset

from stinger.check.replay import replay_port
from stinger.errors import InputError
from stinger.link import registry
from stinger.models.train import train
from stinger.windows.replay import ReplayStream
from stinger_export.bundle import export_bundle
from stinger_virtual.flash_file import FlashFile
from stinger_virtual.process import start_virtual

N = 200
STREAM = ReplayStream(
    np.random.default_rng(3).integers(-4000, 4000, (N, 6)).astype(np.int16),
    np.arange(N, dtype=np.int64) * 10_000,
    np.arange(N) == 0,
    10_000,
)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    dataset = toy_dataset(per_class=60)
    small = {"rf": {"n_estimators": 5, "max_depth": 4}}
    return {
        family: export_bundle(train(dataset, family, options=small.get(family)), folder / family, targets=("mlmd",))
        for family in ("logreg", "rf")
    }


@pytest.fixture(autouse=True)
def registry_dir(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("STINGER_RUNTIME_DIR", str(folder))


def wait_for(what, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def assert_runs(port, bundle):
    """What the board at the port decides is what the bundle's integers do (L2)."""
    _, result = replay_port(str(port), bundle, STREAM)
    windows = np.stack([STREAM.samples[i - 49 : i + 1] for i in range(49, N)])
    expected = bundle.integer.decide(windows)
    assert np.array_equal(result.label[49:], expected.label)
    assert np.array_equal(result.probability[49:], expected.probability)
    assert np.array_equal(result.score[49:], expected.score)


def test_push_replay_power_cycle_rollback(bundles, tmp_path):
    port, flash = tmp_path / "board", tmp_path / "flash.bin"
    command = [sys.executable, "-m", "stinger", "virtual", bundles["logreg"].path, "--any-model"]
    command += ["--link", port, "--flash", flash]
    virtual = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: port.is_symlink() or virtual.poll() is not None, 120)
        code, _, said = run("push", "--rollback", "--port", port)
        assert code == 4
        assert said == ["stinger: the board refuses `MLMODEL_ROLLBACK`: there is no model before this one"]
        code, out, said = run("push", bundles["rf"].path, "--port", port, "--json")
        assert (code, said) == (0, [])
        answer = json.loads(out)
        assert answer["model"]["hash"] == bundles["rf"].integer.hash
        assert (answer["store"]["running"], answer["store"]["previous"]) == ("slot0", "builtin")
        assert_runs(port, bundles["rf"])
    finally:
        virtual.send_signal(signal.SIGINT)
        virtual.wait(20)
    # The power is off. New firmware comes and finds the flash as it was left.
    with start_virtual(model.firmware(any_model=True).uf2, flash=flash) as board:
        assert_runs(board.port, bundles["rf"])
        code, out, _ = run("push", bundles["logreg"].path, "--port", board.port)
        name = bundles["logreg"].spec.name
        said = f"The board at {board.port} runs {name} (logreg, {bundles['logreg'].integer.hash}).\n"
        assert (code, out) == (0, said)
        assert_runs(board.port, bundles["logreg"])
    with start_virtual(model.firmware(any_model=True).uf2, flash=flash) as board:
        assert_runs(board.port, bundles["logreg"])
        assert run("push", "--rollback", "--port", board.port)[0] == 0
        assert_runs(board.port, bundles["rf"])


def test_flashing_firmware_keeps_the_models(bundles):
    uf2 = model.firmware(any_model=True).uf2
    with start_virtual(uf2) as board:
        assert run("push", bundles["rf"].path, "--port", board.port)[0] == 0
        serial.Serial(board.port, 1200).close()
        drive = registry.drive_path(board.pid)
        wait_for((drive / "INFO_UF2.TXT").is_file)
        (drive / "firmware.uf2").write_bytes(uf2.read_bytes())
        wait_for(lambda: not drive.exists())
        assert_runs(board.port, bundles["rf"])


def test_a_bundle_without_an_image_has_one_made(bundles, tmp_path):
    integers = export_bundle(bundles["logreg"].model, tmp_path / "b", targets=("integer",))
    assert integers.image() == bundles["logreg"].image()
    onnx = export_bundle(bundles["logreg"].model, tmp_path / "o", targets=("onnx",))
    with pytest.raises(InputError, match="holds no integer model"):
        onnx.image()


def test_a_board_that_takes_no_models_says_so(bundles):
    with FakeBoard(Faults()) as board:
        code, _, said = run("push", bundles["rf"].path, "--port", board.port)
    assert code == 2
    assert said == ["stinger: the board's firmware takes no models; flash a newer one with `stinger deploy`"]


@pytest.mark.parametrize("arguments", [(), ("somewhere", "--rollback")])
def test_push_wants_one_thing(arguments):
    assert run("push", *arguments) == (2, "", ["stinger: give a bundle to push, or --rollback"])


def test_a_flash_file_that_is_none(tmp_path):
    (tmp_path / "large").write_bytes(bytes(2 * 1024 * 1024 + 1))
    with pytest.raises(InputError, match="larger than 2 MiB; give a file that `stinger virtual --flash` made"):
        FlashFile(tmp_path / "large")
    kept = FlashFile(tmp_path / "new")
    kept.keep(b"abc")
    assert (tmp_path / "new").read_bytes() == b"abc"
    before = (tmp_path / "new").stat().st_mtime_ns
    FlashFile(tmp_path / "new").keep(b"abc")
    assert (tmp_path / "new").stat().st_mtime_ns == before
