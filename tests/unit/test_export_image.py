"""Model images of version 2: lossless, deterministic, and nothing that cannot run gets through."""

import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_models import FAMILIES, made, with_crc
from toy import extreme_windows, toy_dataset

from stinger.errors import InputError
from stinger.models.policy import Policy
from stinger.models.train import train
from stinger_export.image.model import from_image, read_model_image, to_image, write_model_image
from stinger_export.image.sections import MAX_BYTES, Section, pack, unpack
from stinger_export.integer.quantise import quantise


@pytest.fixture(scope="module")
def models():
    return {family: made(family, policy=Policy.stock()) for family in FAMILIES}


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_comes_back_whole(family, classes, tmp_path):
    model = made(family, classes)
    data = to_image(model)
    assert data == to_image(model)
    assert len(data) % 4 == 0
    back = from_image(data)
    assert back.hash == model.hash
    kept = (
        "name",
        "family",
        "features",
        "window",
        "period_us",
        "lead_us",
        "channels",
        "classes",
        "data_hash",
        "policy",
    )
    assert [getattr(back.spec, name) for name in kept] == [getattr(model.spec, name) for name in kept]
    windows = extreme_windows(50, 6)
    np.testing.assert_array_equal(back.decide(windows).score, model.decide(windows).score)
    assert to_image(back) == data
    write_model_image(model, tmp_path / "m.mlmd")
    assert read_model_image(tmp_path / "m.mlmd").hash == model.hash


@pytest.mark.parametrize("family", FAMILIES)
def test_a_policy_comes_along(models, family):
    back = from_image(to_image(models[family]))
    assert back.spec.policy == Policy.stock()
    without = replace(models[family], spec=replace(models[family].spec, policy=None))
    assert from_image(to_image(without)).spec.policy is None


def test_weights_of_sixteen_bits_and_odd_numbers_of_trees(models):
    layers = models["mlp"].body.layers
    wide = tuple(replace(layer, weight=layer.weight.astype(np.int16)) for layer in layers)
    model = replace(models["mlp"], body=replace(models["mlp"].body, layers=wide))
    assert from_image(to_image(model)).body.layers[0].weight.dtype == np.int16
    assert len(models["rf"].body.roots) % 2 == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_every_damaged_byte_is_noticed(models, family):
    data = to_image(models[family])
    for at in range(0, len(data), 7):
        with pytest.raises(InputError):
            from_image(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
    for cut in range(0, len(data), 31):
        with pytest.raises(InputError):
            from_image(data[:cut])


@settings(max_examples=400, deadline=None)
@given(
    family=st.sampled_from(FAMILIES),
    changes=st.lists(st.tuples(st.integers(16, 1 << 20), st.binary(min_size=1, max_size=4)), max_size=3),
)
def test_what_has_a_right_crc_runs_or_is_refused(models, family, changes):
    data = bytearray(to_image(models[family]))
    for place, new in changes:
        at = place % (len(data) - 4)
        data[at : at + len(new)] = new
    try:
        model = from_image(with_crc(bytes(data)))
    except InputError:
        return
    answer = model.decide(extreme_windows(model.spec.window, len(model.spec.channels)))
    assert (answer.label < len(model.spec.classes)).all()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_refused_cleanly(data):
    for candidate in (
        data,
        b"MLMD" + data,
        with_crc(b"MLMD\x02\x00\x01\x00" + struct.pack("<II", 16 + len(data), 0) + data),
    ):
        with pytest.raises(InputError):
            from_image(candidate)


def test_what_may_be_skipped_is_and_the_rest_is_not(models):
    sections = unpack(to_image(models["logreg"]))
    assert from_image(pack([*sections, Section("note", b"x")])).hash == models["logreg"].hash
    with pytest.raises(InputError, match="unknown section NOTE"):
        from_image(pack([*sections, Section("NOTE", b"x")]))
    with pytest.raises(InputError, match="2 sections FORM"):
        from_image(pack([sections[0], *sections]))
    with pytest.raises(InputError, match="another order"):
        from_image(pack(sections[::-1]))
    with pytest.raises(InputError, match="0 sections SCAL"):
        from_image(pack([section for section in sections if section.tag != "SCAL"]))


def test_what_no_board_holds_is_refused(models):
    with pytest.raises(InputError, match="at most"):
        pack([Section("BIGG", bytes(MAX_BYTES))])
    with pytest.raises(InputError, match="at most"):
        pack([Section("MANY", b"")] * 33)
    spec = replace(models["logreg"].spec, features="float-rich")
    with pytest.raises(InputError, match="no board computes float-rich"):
        to_image(replace(models["logreg"], spec=spec))


def test_convolutions_that_do_not_fit_together_are_refused(models):
    sections = unpack(to_image(models["torch-cnn"]))
    place = next(i for i, section in enumerate(sections) if section.tag == "CONV")
    for payload, why in (
        (bytes([4, 3, 0, 0]), "kernel"),
        (bytes([5, 2, 0, 0]), "number of layers"),
        (bytes([7, 3, 0, 0]), "shape of weights"),
        (bytes([5, 3, 1, 0]), "number of layers"),
    ):
        changed = [*sections[:place], Section("CONV", payload), *sections[place + 1 :]]
        with pytest.raises(InputError, match=why):
            from_image(pack(changed))
    with pytest.raises(InputError, match="0 sections CONV"):
        from_image(pack([*sections[:place], *sections[place + 1 :]]))
    rich = replace(models["torch-cnn"], spec=replace(models["torch-cnn"].spec, features="rich"))
    with pytest.raises(InputError, match="features that are not the window"):
        from_image(to_image(rich))


def test_version_1_and_other_files_are_told_apart():
    with pytest.raises(InputError, match="version 1"):
        unpack(b"MLMD\x01\x00" + bytes(20))
    with pytest.raises(InputError, match="not a model image"):
        unpack(b"GIF89a" + bytes(20))


def test_three_triads_are_read_back():
    integer = quantise(train(toy_dataset(per_class=20, window=8, channels=9), "logreg", features="rich", folds=0))
    assert integer.spec.feature_set.triads == (0, 3, 6)
    read = from_image(to_image(integer))
    assert read.hash == integer.hash
    assert read.spec.feature_set == integer.spec.feature_set
