"""Models in a board's flash: upload, activation, rollback, power cuts; the stock commands. Native and emulated."""

from __future__ import annotations

import json
import random
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import board_model as model
import numpy as np
import pytest
from toy import toy_dataset

from stinger.errors import LinkError, UsageError
from stinger.link.board import Board
from stinger.link.frames import Frame
from stinger.link.messages import FrameType, Sample
from stinger.link.transport import ProcessTransport
from stinger.models.train import train
from stinger_export.image.model import to_image
from stinger_export.integer.quantise import quantise
from stinger_virtual.transport import EmulatedTransport

STOCK = Path(__file__).parent.parent / "data" / "golden"
N = 120
VALUES = np.random.default_rng(7).integers(-3000, 3000, (N, 6)).astype(np.int16)
TIMES = np.arange(N, dtype=np.int64) * 10_000


@pytest.fixture(scope="module")
def models():
    small = {"rf": {"n_estimators": 5, "max_depth": 4}, "hgb": {"max_iter": 4, "min_samples_leaf": 5}}
    dataset = toy_dataset(classes=3, per_class=60)
    trained = {f: quantise(train(dataset, f, features="rich", options=small.get(f))) for f in ("logreg", "rf", "hgb")}
    return {name: (one, to_image(one)) for name, one in trained.items()}


@dataclass
class Device:
    """A board that can lose its power: its flash is what is left."""

    kind: str
    folder: Path
    any_model: bool = True
    flash: bytes | None = None
    opened: list[Board] = field(default_factory=list)

    def start(self) -> Board:
        self.stop()
        if self.kind == "native":
            program = model.native(sanitize=True, any_model=True) if self.any_model else model.native()
            self.transport = ProcessTransport([program, "--flash", self.folder / "flash"])
        else:
            image = model.firmware(any_model=True).bin.read_bytes()
            self.transport = EmulatedTransport(image, self.flash)
        self.opened.append(Board(self.transport))
        return self.opened[-1]

    def stop(self) -> None:
        while self.opened:
            if self.kind == "emulated":
                self.flash = self.transport.board.flash
            self.opened.pop().close()


@pytest.fixture(params=["native", "emulated"])
def device(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Device]:
    made = Device(request.param, tmp_path)
    yield made
    made.stop()


def ask(device: Device, command: str, lines: int = 1) -> list[str]:
    """Send a command and return so many lines of the answer, without their prefix."""
    device.transport.write(command.encode() + b"\n")
    return listen(device, lines)


def listen(device: Device, lines: int = 1) -> list[str]:
    data = b""
    while data.count(b"\r\n") < lines:
        got = device.transport.read(12.0)
        assert got, (data, "the board fell silent")
        data += got
    assert re.fullmatch(rb"(\[ml\] [ -~]*\r\n)*", data), data
    return [line.removeprefix("[ml] ") for line in data.decode().splitlines()]


def put(device: Device, command: str, data: bytes, crc: int | None = None) -> str:
    assert ask(device, f"{command} {len(data)} {zlib.crc32(data) if crc is None else crc:08x}") == ["MLMODEL_READY"]
    device.transport.write(data)
    return listen(device)[0]


def assert_runs(board: Board, integer) -> None:
    """The board decides as the integers say (L2), on every window."""
    board.hello()
    result = board.replay(VALUES, TIMES, np.arange(N) == 0)
    windows = np.stack([VALUES[i - 49 : i + 1] for i in range(49, N)])
    expected = integer.decide(windows)
    assert result.ready.tolist() == [False] * 49 + [True] * (N - 49)
    assert np.array_equal(result.label[49:], expected.label)
    assert np.array_equal(result.probability[49:], expected.probability)
    assert np.array_equal(result.score[49:], expected.score)


def test_push_replay_rollback_and_power_cycles(device, models):
    board = device.start()
    assert board.hello().store.active == "builtin"
    for number, name in enumerate(("logreg", "rf", "hgb"), 1):
        integer, image = models[name]
        info = board.put_model(image)
        assert info.model.hash == integer.hash
        assert info.model.classes == ("class 0", "class 1", "class 2")
        assert (info.store.running, info.store.active) == (f"slot{(number - 1) % 2}",) * 2
        assert info.store.generation == number
        assert_runs(board, integer)
        board = device.start()
        assert board.hello().model.hash == integer.hash
        assert_runs(board, integer)
    assert board.rollback().model.hash == models["rf"][0].hash
    assert_runs(board, models["rf"][0])
    board = device.start()
    info = board.hello()
    assert (info.model.hash, info.store.previous, info.store.generation) == (models["rf"][0].hash, "slot0", 2)
    assert board.rollback().model.hash == models["hgb"][0].hash


def test_the_first_model_can_be_rolled_back_to_the_firmwares_own(device, models):
    board = device.start()
    with pytest.raises(LinkError, match="refuses `MLMODEL_ROLLBACK`: there is no model before"):
        board.rollback()
    board.put_model(models["rf"][1])
    assert board.rollback().model.hash == model.HASH
    assert device.start().hello().model.hash == model.HASH


def test_what_does_not_run_is_refused_and_changes_nothing(device, models):
    board = device.start()
    integer, image = models["logreg"]
    board.put_model(image)
    broken = image[:200] + bytes([image[200] ^ 1]) + image[201:]
    with pytest.raises(LinkError, match="refuses the model: it is damaged"):
        board.put_model(broken)
    with pytest.raises(LinkError, match="no model image of version 2"):
        board.put_model((STOCK / "stock_lr.mlmd").read_bytes())
    nine = to_image(quantise(train(toy_dataset(classes=9, per_class=40), "logreg", features="rich")))
    with pytest.raises(LinkError, match="built for smaller models"):
        board.put_model(nine)
    with pytest.raises(UsageError, match="200,000 bytes, the board takes up to 199,999"):
        board.put_model(bytes(200_000))
    assert put(device, "MLMODEL_PUT_SLOT", image, crc=12345) == "MLMODEL_ERR crc"
    assert board.hello().model.hash == integer.hash
    assert_runs(board, integer)
    assert device.start().hello().model.hash == integer.hash


def test_an_upload_that_fails_costs_the_image_to_go_back_to(device, models):
    board = device.start()
    board.put_model(models["rf"][1])
    assert board.put_model(models["hgb"][1]).store.previous == "slot0"
    assert put(device, "MLMODEL_PUT_SLOT", models["logreg"][1], crc=12345) == "MLMODEL_ERR crc"
    info = device.start().hello()
    assert (info.model.hash, info.store.active, info.store.previous) == (models["hgb"][0].hash, "slot1", None)
    assert ask(device, "MLMODEL_ROLLBACK") == ["MLMODEL_ERR rollback"]


def test_a_firmware_for_its_own_model_refuses_others(tmp_path, models):
    device = Device("native", tmp_path, any_model=False)
    board = device.start()
    with pytest.raises(LinkError, match="built for smaller models or other families; flash it with `stinger deploy`"):
        board.put_model(models["logreg"][1])
    assert board.hello().model.hash == model.HASH
    device.stop()


@pytest.mark.parametrize(
    "argument",
    ["", "5", "5 ", "0 0", "200000 0", "5 123456789", "5 12g", "x 1", " 5 1", "5  1", "99999999999 1", "5 -1"],
)
def test_bad_arguments(device, argument):
    device.start()
    command = f"MLMODEL_PUT_SLOT {argument}"
    assert ask(device, command) == ["MLMODEL_ERR args"]
    assert ask(device, f"MLMODEL_PUT_LR {argument}") == ["MLMODEL_ERR args"]


def test_the_power_fails_anywhere_in_an_update(models, tmp_path):
    rng = random.Random(4)
    device = Device("emulated", tmp_path)
    board = device.start()
    board.put_model(models["rf"][1])
    integer, image = models["logreg"]
    hashes = []
    for cut in [*rng.sample(range(len(image)), 6), len(image)]:
        assert ask(device, f"MLMODEL_PUT_SLOT {len(image)} {zlib.crc32(image):08x}") == ["MLMODEL_READY"]
        device.transport.board.feed(image[:cut])
        for _ in range(rng.randrange(200) if cut == len(image) else 2):
            device.transport.board.run(100)
        board = device.start()
        hashes.append(board.hello().model.hash)
        assert hashes[-1] in (models["rf"][0].hash, integer.hash)
        if hashes[-1] == integer.hash:
            assert_runs(board, integer)
    assert hashes[0] == models["rf"][0].hash
    assert board.put_model(image).model.hash == integer.hash
    device.stop()


def test_a_changed_image_is_not_run(tmp_path, models):
    device = Device("native", tmp_path)
    device.start().put_model(models["rf"][1])
    device.opened[0].put_model(models["logreg"][1])
    device.stop()
    file = tmp_path / "flash"
    flash = bytearray(file.read_bytes())
    at = flash.index(models["logreg"][1])
    flash[at + 700] ^= 0x20
    file.write_bytes(flash)
    info = device.start().hello()
    assert (info.model.hash, info.store.damaged, info.store.previous) == (models["rf"][0].hash, True, None)
    device.opened[0].put_model(models["hgb"][1])
    info = device.start().hello()
    assert (info.model.hash, info.store.damaged) == (models["hgb"][0].hash, False)
    device.stop()


def test_the_stock_commands_store_load_and_delete(device, models):
    board = device.start()
    integer, image = models["rf"]
    assert ask(device, "MLMODEL_LOAD") == ["MLMODEL_ERR load"]
    assert put(device, "MLMODEL_PUT", image) == "MLMODEL_OK"
    info = board.hello()
    assert (info.model.hash, info.store.running, info.store.active) == (model.HASH, "builtin", "slot0")
    assert ask(device, "MLMODEL_LOAD") == ["MLMODEL_LOADED"]
    assert_runs(board, integer)
    assert put(device, "MLMODEL_PUT", models["hgb"][1]) == "MLMODEL_OK"
    # Not loaded; the next one goes where the running one lies, so the active one must run first.
    assert put(device, "MLMODEL_PUT", b"no model") == "MLMODEL_OK"
    assert_runs(board, models["hgb"][0])
    assert ask(device, "MLMODEL_LOAD") == ["MLMODEL_ERR load"]
    assert device.start().hello().model.hash == model.HASH
    assert ask(device, "MLMODEL_ROLLBACK") == ["MLMODEL_ROLLED_BACK"]
    assert_runs(device.opened[0], models["hgb"][0])
    assert ask(device, "MLMODEL_DELETE") == ["MLMODEL_DELETED"]
    info = device.start().hello()
    assert (info.model.hash, info.store.active, info.store.previous) == (model.HASH, "builtin", None)


def info_lines(device: Device) -> dict[str, str]:
    lines = ask(device, "MLMODEL_INFO", 9)
    assert [line.partition("=")[0] for line in lines] == [
        *("model_source", "user_model_present", "user_has_lr", "user_has_mlp", "cached_age_ms"),
        *("lr_intercept", "lr_coef[0]", "mlp_b3", "mlp_w1[0]"),
    ]
    return dict(line.split("=") for line in lines)


def test_stock_models_are_kept_and_described(device):
    device.start()
    said = info_lines(device)
    assert (said["model_source"], said["user_model_present"], said["user_has_lr"]) == ("factory", "0", "0")
    images = {name: (STOCK / f"stock_{name}.mlmd").read_bytes() for name in ("lr", "mlp")}
    for name, data in images.items():
        assert put(device, f"MLMODEL_PUT_{name.upper()}", data) == "MLMODEL_OK"
        assert ask(device, f"MLMODEL_LOAD_{name.upper()}") == ["MLMODEL_ERR load"]
    device.start()
    said = info_lines(device)
    assert (said["user_model_present"], said["user_has_lr"], said["user_has_mlp"]) == ("1", "1", "1")
    lr, mlp = (np.frombuffer(images[name][24:], "<f4") for name in ("lr", "mlp"))
    assert said["lr_intercept"] == f"{float(lr[-1]):.6f}"
    assert said["lr_coef[0]"] == f"{float(lr[36]):.6f}"
    assert said["mlp_b3"] == f"{float(mlp[-1]):.6f}"
    assert said["mlp_w1[0]"] == f"{float(mlp[60]):.6f}"
    assert put(device, "MLMODEL_PUT_LR", b"not a model") == "MLMODEL_OK"
    assert info_lines(device)["user_has_lr"] == "0"
    assert ask(device, f"MLMODEL_PUT_LR {4097} 0") == ["MLMODEL_ERR open"]
    assert ask(device, "MLMODEL_DELETE") == ["MLMODEL_DELETED"]
    assert info_lines(device)["user_has_mlp"] == "0"


def test_floats_are_printed_as_by_printf(tmp_path):
    device = Device("native", tmp_path)
    device.start()
    payload = bytearray((STOCK / "stock_lr.mlmd").read_bytes())
    rng = random.Random(2)
    numbers = [0.0, -0.0, 1e-45, -4.9e-7, 5e-7, 0.0000015, 0.5, 123456.7, 3.4028234e38, -3.4028234e38, 2.0**-21, 1.5e-6]
    numbers += [rng.uniform(-1, 1) * 10.0 ** rng.randrange(-9, 12) for _ in range(60)]
    for number in numbers:
        payload[-4:] = struct.pack("<f", number)
        payload[20:24] = struct.pack("<I", zlib.crc32(payload[24:]))
        assert put(device, "MLMODEL_PUT_LR", bytes(payload)) == "MLMODEL_OK"
        exact = struct.unpack("<f", payload[-4:])[0]
        assert info_lines(device)["lr_intercept"] == f"{exact:.6f}"
    device.stop()


def test_an_upload_that_breaks_off_times_out(models, tmp_path):
    device = Device("emulated", tmp_path)
    board = device.start()
    image = models["rf"][1]
    assert ask(device, f"MLMODEL_PUT_SLOT {len(image)} {zlib.crc32(image):08x}") == ["MLMODEL_READY"]
    device.transport.write(image[:500])
    began = device.transport.board.micros
    assert listen(device) == ["MLMODEL_ERR timeout"]
    assert 9.9e6 < device.transport.board.micros - began < 10.3e6
    assert board.put_model(image).store.generation == 1
    device.stop()


def test_a_stream_goes_on_through_an_upload(models, tmp_path):
    device = Device("emulated", tmp_path)
    board = device.start()
    board.put_model(models["rf"][1])
    integer, image = models["logreg"]
    assert ask(device, "MLSTREAM START") == ["MLSTREAM_ON"]
    chip = device.transport.board
    chip.feed(f"MLMODEL_PUT_SLOT {len(image)} {zlib.crc32(image):08x}\n".encode())
    for i in range(N):
        chip.feed_sensor(sensor_sample(i))
        chip.feed(image[i * 50 : i * 50 + 50])
        while chip.run():
            pass
    assert len(image) < N * 50
    events = board._reader.push(chip.take())
    frames = [e for e in events if isinstance(e, Frame)]
    assert [f.sequence for f in frames if f.type == FrameType.SAMPLE] == list(range(N))
    assert [f.sequence for f in frames if f.type == FrameType.DECISION] == list(range(N))
    assert {f.dropped for f in frames} == {0}
    assert [e.text for e in events if not isinstance(e, Frame)] == ["[ml] MLMODEL_READY", "[ml] MLMODEL_OK"]
    assert board.hello().model.hash == integer.hash
    device.stop()


def sensor_sample(i: int) -> Sample:
    return Sample(int(TIMES[i]), tuple(int(v) for v in VALUES[i]))


def test_the_log_is_dumped_as_the_stock_firmware_does(models, tmp_path):
    device = Device("emulated", tmp_path)
    device.start().put_model(models["rf"][1])
    assert ask(device, "MLDUMP") == ["ERROR: no log data"]
    assert ask(device, "MLINFO") == ["samples_written=0 (~0s)"]
    chip = device.transport.board
    for i in range(N):
        chip.feed_sensor(sensor_sample(i))
        while chip.run():
            pass
    assert ask(device, "MLINFO") == [f"samples_written={N} (~1s)"]
    device.transport.write(b"MLDUMP\nMLINFO\n")
    data = b""
    while not data.endswith(b"s)\r\n"):
        data += device.transport.read(1.0)
    head, _, rest = data.partition(b"\n")
    assert head == b"MLDUMP1 %d" % (17 * N)
    assert rest[17 * N :] == b"\nMLDUMP_DONE\r\n[ml] samples_written=%d (~1s)\r\n" % N
    records = [struct.unpack_from("<I6hB", rest, 17 * i) for i in range(N)]
    assert [r[0] for r in records] == [10 * i for i in range(N)]
    assert [list(r[1:7]) for r in records] == VALUES.tolist()
    assert {r[7] for r in records} == {0}
    device.stop()


def test_a_board_without_a_log_says_so(tmp_path):
    device = Device("native", tmp_path)
    device.start()
    assert ask(device, "MLDUMP") == ["ERROR: no log file"]
    device.stop()


def test_a_board_measures_itself(device, models):
    device.start().put_model(models["rf"][1])
    (answer,) = ask(device, "MLBENCH 200")
    measured = json.loads(answer.removeprefix("MLBENCH "))
    assert measured["decisions"] == 200
    for cost in (measured["sample"], measured["decide"]):
        assert 0 < cost["least"] <= cost["total"] / 200 <= cost["most"]
    for wrong in ("0", "1001", "x", ""):
        assert ask(device, f"MLBENCH {wrong}") == ["MLBENCH_ERR args"]
    assert_runs(device.opened[0], models["rf"][0])
    if device.kind == "emulated":
        assert ask(device, "MLSTREAM START") == ["MLSTREAM_ON"]
        assert ask(device, "MLBENCH 1") == ["MLBENCH_ERR busy"]


def test_uploads_and_noise_in_any_order(models, tmp_path):
    rng = random.Random(11)
    images = [image for _, image in models.values()] + [(STOCK / "stock_lr.mlmd").read_bytes(), b"MLMD\2\0", bytes(70)]
    verbs = ["PUT", "PUT_SLOT", "PUT_LR", "PUT_MLP"]
    plain = [
        b"MLMODEL_LOAD",
        b"MLMODEL_ROLLBACK",
        b"MLMODEL_DELETE",
        b"MLMODEL_INFO",
        b"MLHELLO",
        b"MLBENCH 3",
        b"MLINFO",
    ]
    data = bytearray()
    for _ in range(150):
        image = bytearray(rng.choice(images))
        if rng.random() < 0.3:
            image[rng.randrange(len(image))] ^= 1 << rng.randrange(8)
        crc = zlib.crc32(image) ^ (rng.random() < 0.1)
        size = len(image) + (rng.randrange(-3, 4) if rng.random() < 0.1 else 0)
        data += f"MLMODEL_{rng.choice(verbs)} {size} {crc:08x}\n".encode() + image
        data += rng.choice(plain) + b"\n" + (rng.randbytes(rng.randrange(80)) if rng.random() < 0.3 else b"")
    # However the last one was left: more than an image's worth, then a line that is one.
    data += bytes(30_000) + b"\n\0MLFOO\n"
    device = Device("native", tmp_path)
    device.start()
    device.transport.write(bytes(data))
    said = b""
    while not said.endswith(b"unknown command\r\n") or b"MLFOO" in said:
        said += device.transport.read(5.0)
    assert said.count(b"MLMODEL_OK") > 50
    assert said.count(b"MLMODEL_ERR") > 10
    assert device.start().hello().store is not None
    device.stop()


def test_a_flash_that_cannot_be_is_one_line(tmp_path):
    command = [model.native(), "--flash", tmp_path]
    refusal = pytest.raises(LinkError, match=r"exit code 2.*: cannot use the file for flash")
    with Board(ProcessTransport(command)) as board, refusal:
        board.hello(1.0)
