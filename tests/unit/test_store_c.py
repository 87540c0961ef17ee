"""The model store in C: whatever the power does, a start finds the old image or the new one, whole."""

from __future__ import annotations

import ctypes
import itertools
import struct
import subprocess
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stinger.errors import InputError
from stinger_export.stock.image import parse_image
from stinger_export.toolchain import compile_host, device_sources

LIBRARY = device_sources() / "stinger_ml"
STOCK = Path(__file__).parent.parent / "data" / "golden"
SECTOR, UNIT, SLOT = 512, 64, 1024


@pytest.fixture(scope="module")
def power(tmp_path_factory):
    """Run the simulated flash of store_power.c under sanitizers."""
    program = tmp_path_factory.mktemp("store") / "power"
    sources = [Path(__file__).parent / "store_power.c", LIBRARY / "stinger_store.c", LIBRARY / "stinger_crc.c"]
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"]
    compile_host(sources, program, include=[LIBRARY], flags=sanitize)

    def run(*arguments: object) -> list[list[int | str]]:
        command = [program, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout[-500:] + done.stderr[-1500:]
        return [[int(w) if w.isdigit() else w for w in line.split()] for line in done.stdout.splitlines()]

    return run


def test_calls_out_of_turn_and_sizes_that_make_no_sense(power):
    assert power("api") == [["ok"]]


def test_power_fails_at_every_operation_and_again_in_the_update_after_it(power):
    [[first, second]] = power("cuts", SECTOR, UNIT, SLOT, 1)
    assert first > 5 * 100
    assert second > 10_000


def test_power_fails_on_the_flash_of_an_rp2040(power):
    [[first, second]] = power("cuts", 4096, 256, 8192, 150)
    assert first > 5 * 200
    assert second > 100


@pytest.mark.parametrize("seed", [1, 1001])
def test_any_order_of_updates_on_any_flash(power, seed):
    died = power("wander", seed, 60, 150)
    assert len(died) == 60
    assert sum(count for [count] in died) > 500


def test_no_changed_bit_is_given_out(power):
    [[other, said]] = power("flips")
    assert said == "ok"
    assert other > 100


def test_worn_cells_refuse_an_update_and_keep_the_old_image(power):
    [[refused]] = power("worn")
    assert refused > 100


def record(sequence: int, active: int, previous: int, slots: list[tuple[int, int, int]], generation: int = 5) -> bytes:
    head = struct.pack("<4sIBBHI", b"MLJ1", sequence, active, previous, 0, generation)
    body = head + b"".join(struct.pack("<III", *slot) for slot in slots)
    return (body + struct.pack("<I", zlib.crc32(body))).ljust(UNIT, b"\xff")


def flash_with(path: Path, places: dict[int, bytes], images: tuple[bytes, bytes]) -> Path:
    journal = bytearray(b"\xff" * (2 * SECTOR))
    for place, data in places.items():
        journal[place * UNIT : place * UNIT + len(data)] = data
    path.write_bytes(bytes(journal) + b"".join(image.ljust(SLOT, b"\xff") for image in images))
    return path


IMAGES = (b"the old one", b"a new one, which is longer")
SLOTS = [(len(image), zlib.crc32(image), 4 + i) for i, image in enumerate(IMAGES)]
BUILTIN, NOTHING = 2, 3


def test_numbers_of_records_wrap(power, tmp_path):
    places = {6: record(0xFFFFFFFE, 0, 3, SLOTS), 7: record(0xFFFFFFFF, 1, 0, SLOTS), 8: record(0, 0, 1, SLOTS)}
    start, after = power("look", flash_with(tmp_path / "flash", places, IMAGES))
    assert start == [0, 1, len(IMAGES[0]), 5]
    assert 30 < after[0] < 60  # two records each, and places that no record went to
    assert after[1] == 25


def test_an_older_record_does_not_count_wherever_it_lies(power, tmp_path):
    for older, newer in itertools.permutations([0, 3, 7, 8, 15], 2):
        places = {older: record(100, 1, 0, SLOTS), newer: record(101, 0, 1, SLOTS)}
        assert power("look", flash_with(tmp_path / "flash", places, IMAGES))[0][0] == 0


HOSTILE = {
    "a slot that there is not": record(9, 4, 0, SLOTS),
    "a way back that there is not": record(9, 1, 4, SLOTS),
    "back to itself": record(9, 1, 1, SLOTS),
    "an empty slot": record(9, 1, 0, [SLOTS[0], (0, 0, 0)]),
    "back to an empty slot": record(9, 1, 0, [(0, 0, 0), SLOTS[1]]),
    "more than a slot": record(9, 1, 0, [SLOTS[0], (SLOT + 1, 0, 0)]),
    "more than the address space": record(9, 1, 0, [SLOTS[0], (0xFFFFFFFF, 0, 0)]),
    "another kind": b"MLJ2" + record(9, 1, 0, SLOTS)[4:],
    "one bit": bytes([record(9, 1, 0, SLOTS)[0]]) + bytes([record(9, 1, 0, SLOTS)[1] ^ 1]) + record(9, 1, 0, SLOTS)[2:],
}


@pytest.mark.parametrize("wrong", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_record_that_makes_no_sense_is_passed_over(power, tmp_path, wrong):
    places = {0: record(8, 0, NOTHING, SLOTS), 1: wrong}
    assert power("look", flash_with(tmp_path / "flash", places, IMAGES))[0] == [0, NOTHING, len(IMAGES[0]), 5]
    assert power("look", flash_with(tmp_path / "flash", {1: wrong}, IMAGES))[0] == [BUILTIN, NOTHING, 0, 0]


def test_an_image_that_changed_is_given_up_for_the_one_before_it(power, tmp_path):
    changed = (IMAGES[0], IMAGES[1][:-1] + b"!")
    for places, active in [({0: record(8, 1, 0, SLOTS)}, 0), ({0: record(8, 1, BUILTIN, SLOTS)}, BUILTIN)]:
        assert power("look", flash_with(tmp_path / "flash", places, changed))[0][:2] == [active, NOTHING]
    both = (b"T" + IMAGES[0][1:], changed[1])
    assert power("look", flash_with(tmp_path / "flash", {0: record(8, 1, 0, SLOTS)}, both))[0][0] == BUILTIN


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    library = tmp_path_factory.mktemp("stock") / "stock.so"
    compile_host([LIBRARY / "stinger_stock.c", LIBRARY / "stinger_crc.c"], library, include=[LIBRARY])
    return ctypes.CDLL(str(library))


KINDS = {"stock_lr.mlmd": 1, "stock_mlp.mlmd": 2}


@pytest.mark.parametrize("name", KINDS)
def test_stock_images_are_recognised(stock, name):
    data = (STOCK / name).read_bytes()
    assert stock.stinger_stock_open(data, len(data)) == KINDS[name]
    assert stock.stinger_stock_open(data, len(data) - 4) == 0
    last = struct.unpack_from("<I", data, len(data) - 4)[0]
    place = {1: 54, 2: 4156}[KINDS[name]]
    assert stock.stinger_stock_number(data, place) & 0xFFFFFFFF == last


@settings(max_examples=200, deadline=None)
@given(
    name=st.sampled_from(sorted(KINDS)),
    place=st.integers(0, 1 << 16),
    new=st.sampled_from([b"\0", b"\1", b"\xff", b"\x80\x7f", b"\0\0\x80\x7f", b"\0\0\xc0\xff"]),
    repair=st.booleans(),
)
def test_stock_images_are_refused_as_by_python(stock, name, place, new, repair):
    data = bytearray((STOCK / name).read_bytes())
    at = place % len(data) if place % 3 else place % 24
    data[at : at + len(new)] = new
    del data[(STOCK / name).stat().st_size :]
    if repair:
        data[20:24] = struct.pack("<I", zlib.crc32(bytes(data[24:])))
    try:
        parse_image(bytes(data))
        expected = True
    except InputError:
        expected = False
    assert (stock.stinger_stock_open(bytes(data), len(data)) != 0) == expected
