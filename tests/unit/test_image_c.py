"""Model images in C: what the board's loader opens runs as in numpy, and it opens nothing that Python refuses."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_driver import ImageDriver, answered, by_numpy
from image_models import FAMILIES, made, with_crc
from toy import channels_for, extreme_windows, toy_dataset

from stinger.errors import StingerError
from stinger.features.sets import ON_DEVICE
from stinger.models.policy import Policy
from stinger.models.train import train
from stinger_export.image import model as image
from stinger_export.image.model import from_image, to_image
from stinger_export.image.sections import MAX_BYTES, Section, pack, unpack
from stinger_export.integer.model import IntegerModel
from stinger_export.integer.quantise import quantise

STATUS = {0: "ok", 1: "foreign", 2: "damaged", 3: "malformed", 4: "too large"}
TOO_LARGE = "4"
#: What Python may say about an image that a board runs all the same: all of texts, which no board looks into, of which
#: follow the triads and with them the number of features; and of times of a policy that are too long to make sense.
OF_TEXTS = ("text", "channel", "decode", "to float", "triads", "number of features", "a policy's")
WINDOWS = extreme_windows(50, 6)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    return ImageDriver.build(tmp_path_factory.mktemp("image"), WINDOWS)


@pytest.fixture(scope="module")
def images():
    return {family: to_image(made(family, policy=Policy.stock())) for family in FAMILIES}


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_image_runs_as_in_numpy(opened, family, classes):
    data = to_image(made(family, classes))
    assert opened(data) == [by_numpy(data, WINDOWS)]


@pytest.mark.parametrize("features", ON_DEVICE)
def test_every_feature_set_of_the_device_has_its_number(opened, features, tmp_path):
    data, channels = to_image(made("logreg", 3, features=features)), channels_for(features)
    if channels == 6:
        assert opened(data) == [by_numpy(data, WINDOWS)]
        return
    assert opened(data) == ["0 refused"]  # more channels than this build has
    larger = ImageDriver.build(tmp_path, extreme_windows(50, channels))
    assert larger(data) == [by_numpy(data, larger.windows)]


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
    """Hold what C says of an image to what Python says of it, its hash aside: no board computes that."""
    opens, runs = line.startswith("0"), line.startswith("0") and not line.endswith("refused")
    model, refusal = read_unhashed(data)
    if model is None:
        assert not runs or any(word in refusal for word in OF_TEXTS), refusal
    else:
        assert opens or line.startswith(TOO_LARGE)
        if runs and model.spec.window == 50:
            assert line == answered(model, WINDOWS)


def read_unhashed(data: bytes) -> tuple[IntegerModel | None, str]:
    """Read an image without looking at the model's hash: it, or None and why not."""
    try:
        return image._model([section for section in unpack(data) if section.tag.isupper()]), ""
    except (ValueError, KeyError, IndexError, struct.error, StingerError) as error:
        return None, str(error)


def with_nodes(data: bytes, tag: str, nodes: list[tuple[int, int]], roots: list[int]) -> bytes:
    """The image with other trees: (left, right) of each node, all of which go left, and as many roots as it had."""
    sections = unpack(data)
    place = next(i for i, section in enumerate(sections) if section.tag == tag)
    payload = sections[place].payload
    trees, count = struct.unpack_from("<HH", payload)
    assert len(roots) == trees
    table = b"".join(struct.pack("<hhhH", 32767, left, right, 0) for left, right in nodes)
    links = struct.pack(f"<{trees}h", *roots) + bytes(2 * (trees % 2))
    head = payload[:2] + struct.pack("<H", len(nodes)) + payload[4:8]
    leaves = payload[8 + 8 * count + len(links) :]
    return pack([*sections[:place], Section(tag, head + table + links + leaves), *sections[place + 1 :]])


ORDERS = {
    # A tree of four nodes, one of two and leaves: what both take.
    "level by level": ([(1, 2), (3, -1), (-1, -1), (-1, -1), (-1, 5), (-1, -1)], [0, 4], True),
    "two trees of one node": ([(-1, -1), (-1, -1)], [0, 1], True),
    "no nodes": ([], [], True),
    "one root twice": ([(-1, -1)], [0, 0], False),
    "two trees share a chain": ([(1, -1), (2, -1), (-1, -1), (1, -1)], [0, 3], False),
    "a root inside another tree": ([(1, -1), (-1, -1)], [0, 1], False),
    "both children are one": ([(1, 1), (-1, -1)], [0], False),
    "one node has two parents": ([(1, 2), (3, -1), (3, -1), (-1, -1)], [0], False),
    "a node that nothing leads to": ([(-1, -1), (-1, -1)], [0], False),
    "a node behind the last": ([(1, -1)], [0], False),
    "itself": ([(0, -1)], [0], False),
    "its parent": ([(1, -1), (0, -1)], [0], False),
    "children the other way round": ([(2, 1), (-1, -1), (-1, -1)], [0], False),
    "depth first": ([(1, 3), (2, -1), (-1, -1), (-1, -1)], [0], False),
    "trees the other way round": ([(-1, -1), (-1, -1)], [1, 0], False),
    "a long chain": ([(i + 1, -1) for i in range(9000)] + [(-1, -1)], [0], True),
    "a long chain for every tree": ([(i + 1, -1) for i in range(9000)] + [(-1, -1)], [0] * 4, False),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("family", "tag"), [("rf", "TREE"), ("hgb", "BOOS")])
def test_nodes_that_do_not_lie_level_by_level_are_refused(opened, images, family, tag, order):
    nodes, roots, taken = ORDERS[order]
    trees = len(from_image(images[family]).body.roots)
    changed = with_nodes(images[family], tag, nodes, roots + [-1] * (trees - len(roots)))
    (line,) = opened(changed)
    assert line.startswith("0") == taken
    if taken:
        assert line == answered(read_unhashed(changed)[0], WINDOWS)
    else:
        assert STATUS[int(line)] == "malformed"
        assert "each with one parent" in read_unhashed(changed)[1]


SMALL_TREES = st.integers(0, 4).flatmap(
    lambda count: st.tuples(
        st.lists(st.tuples(*[st.integers(-1, count)] * 2), min_size=count, max_size=count),
        st.lists(st.integers(-1, count), min_size=5, max_size=5),
    )
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(SMALL_TREES, min_size=20, max_size=20))
def test_both_loaders_agree_on_any_small_trees(opened, images, cases):
    changed = [with_nodes(images["rf"], "TREE", *case) for case in cases]
    for (nodes, roots), one, line in zip(cases, changed, opened(*changed), strict=True):
        # Said another way: walking through tree after tree, level by level, meets every node once, in its place.
        met: list[int] = []
        for root in roots:
            level = [root]
            while level and len(met) <= len(nodes):
                met += [node for node in level if node >= 0]
                level = [link for node in level if 0 <= node < len(nodes) for link in nodes[node]]
        assert line.startswith("0") == (met == list(range(len(nodes))))
        compare(one, line)


@pytest.mark.parametrize("family", ["rf", "et", "hgb", "xgb"])
def test_whoever_grew_the_trees_their_nodes_lie_level_by_level(family):
    model = train(toy_dataset(classes=3, per_class=60), family, features="rich", folds=0)
    body = quantise(model).body
    assert len(body.feature) > 100
    links = np.stack([body.left, body.right], axis=1)
    inner = links[links >= 0]
    # Beside the roots, every node is a child once, and children count up.
    roots = body.roots[body.roots >= 0]
    assert sorted([*inner.tolist(), *roots.tolist()]) == list(range(len(body.feature)))
    assert (np.diff(inner) > 0).all()
    windows = toy_dataset(classes=3, per_class=60, seed=9).windows
    decided = quantise(model).decide(windows)
    assert np.abs(decided.probability / 32768 - model.predict_proba(windows)).max() < 0.005
