"""Model images in C: what the board's loader opens runs as in numpy, and it opens nothing that Python refuses."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_driver import ImageDriver, by_numpy
from toy import extreme_windows, toy_dataset

from stinger.errors import InputError
from stinger.features.sets import ON_DEVICE
from stinger.models.policy import Policy
from stinger.models.train import train
from stinger_export.image.model import from_image, to_image
from stinger_export.image.sections import MAX_BYTES
from stinger_export.integer.quantise import quantise

FAMILIES = ("logreg", "mlp", "rf", "hgb", "dt", "torch-cnn")
#: Families that are tried on another feature set than rich; a window has more features than a byte counts.
FEATURES = {"dt": "flatten", "torch-cnn": "flatten"}
SMALL = {
    "rf": {"n_estimators": 5, "max_depth": 4},
    "mlp": {"hidden_layer_sizes": (10, 5)},
    "hgb": {"max_iter": 7, "min_samples_leaf": 5},
    "torch-cnn": {"filters": (5, 6), "kernel_size": 5, "epochs": 3},
}
STATUS = {0: "ok", 1: "foreign", 2: "damaged", 3: "malformed", 4: "too large"}
WINDOWS = extreme_windows(50, 6)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    return ImageDriver.build(tmp_path_factory.mktemp("image"), WINDOWS)


def made(family: str, classes: int, policy: Policy | None = None, features: str = "rich"):
    dataset, features = toy_dataset(classes=classes, per_class=60), FEATURES.get(family, features)
    model = train(dataset, family, features=features, options=SMALL.get(family), folds=0)
    return quantise(replace(model, spec=replace(model.spec, policy=policy)))


@pytest.fixture(scope="module")
def images():
    return {family: to_image(made(family, 2, Policy.stock())) for family in FAMILIES}


def with_crc(data: bytes) -> bytes:
    return data[:12] + struct.pack("<I", zlib.crc32(data[:12] + data[16:])) + data[16:]


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_image_runs_as_in_numpy(opened, family, classes):
    data = to_image(made(family, classes))
    assert opened(data) == [by_numpy(data, WINDOWS)]


@pytest.mark.parametrize("features", ON_DEVICE)
def test_every_feature_set_of_the_device_has_its_number(opened, features):
    data = to_image(made("logreg", 3, features=features))
    assert opened(data) == [by_numpy(data, WINDOWS)]


def test_foreign_damaged_and_large_ones_are_told_apart(opened, images):
    data = images["mlp"]
    v1 = b"MLMD\x01\x00" + data[6:]
    cut, flipped = data[:-4], data[:99] + bytes([data[99] ^ 1]) + data[100:]
    huge = with_crc(data[:8] + struct.pack("<I", MAX_BYTES + 1) + data[12:] + bytes(MAX_BYTES + 1 - len(data)))
    many = to_image(made("logreg", 9))
    status = [STATUS[int(line.split()[0])] for line in opened(b"", b"MLMD", v1, cut, flipped, huge, many, data)]
    assert status == ["foreign", "foreign", "foreign", "damaged", "damaged", "damaged", "too large", "ok"]


# Every byte of the header, the small sections and the tables, one by one, with a right CRC.
@pytest.mark.parametrize("family", FAMILIES)
def test_both_loaders_agree_on_every_changed_byte(opened, images, family):
    data = images[family]
    tried = [
        with_crc(data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :])
        for at in [*range(0, min(len(data), 900)), *range(900, len(data), 41)]
        for flip in (0x01, 0x80)
    ]
    lines = opened(*tried)
    assert len(lines) == len(tried)
    for one, line in zip(tried, lines, strict=True):
        compare(one, line)
    assert sum(line.startswith("0") for line in lines) > 100


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    family=st.sampled_from(FAMILIES),
    changes=st.lists(st.tuples(st.integers(4, 1 << 20), st.binary(min_size=1, max_size=6)), min_size=1, max_size=4),
)
def test_both_loaders_agree_on_anything_with_a_right_crc(opened, images, family, changes):
    data = bytearray(images[family])
    for place, new in changes:
        at = place % (len(data) - 6)
        data[at : at + len(new)] = new
    one = with_crc(bytes(data))
    (line,) = opened(one)
    compare(one, line)


def compare(data: bytes, line: str) -> None:
    try:
        expected = by_numpy(data, WINDOWS) if window_of(data) == 50 else None
    except InputError:
        # Python also refuses what no board looks at: names that are not printable, scales, and the model's hash.
        return
    if expected is not None and not line.endswith("refused"):
        assert line == expected


def window_of(data: bytes) -> int:
    return from_image(data).spec.window
