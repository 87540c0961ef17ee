"""Mirrored and turned training windows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from toy import toy_dataset

from stinger.errors import UsageError
from stinger.features.arithmetic import isqrt
from stinger.models.augment import Augmentation, augment, augment_dataset

SIX = ["ax", "ay", "az", "gx", "gy", "gz"]


def test_a_mirror_flips_acceleration_along_its_axis_and_turning_about_the_others():
    window = np.array([[[1, 2, 3, 4, 5, 6], [-1, -2, -3, -4, -5, -32768]]], dtype=np.int16)
    for axis, signs in {"x": [-1, 1, 1, 1, -1, -1], "y": [1, -1, 1, -1, 1, -1], "z": [1, 1, -1, -1, -1, 1]}.items():
        windows, rows = augment(window, SIX, Augmentation(mirror=axis))
        assert rows.tolist() == [0, 0]
        assert (windows[0] == window[0]).all()
        assert windows[1].tolist() == (window[0].astype(int) * signs).clip(-32768, 32767).tolist()


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.int16, (3, 5, 6), elements=st.integers(-18000, 18000)), st.integers(0, 99))
def test_turning_keeps_lengths_and_angles(windows, seed):
    turned, rows = augment(windows, SIX, Augmentation(rotations=2, degrees=60, seed=seed))
    assert rows.tolist() == [0, 1, 2] * 3
    before, after = windows[rows].astype(np.int64), turned.astype(np.int64)
    for part in (slice(0, 3), slice(3, 6)):
        lengths = [isqrt((x[:, :, part] ** 2).sum(axis=2)) for x in (before, after)]
        assert np.abs(lengths[0] - lengths[1]).max() <= 2
    products = [(x[:, :, :3] * x[:, :, 3:]).sum(axis=2) for x in (before, after)]
    size = np.sqrt((before.astype(float) ** 2).sum(axis=2))
    assert (np.abs(products[0] - products[1]) <= 2 * size + 2).all()


def test_every_sample_of_a_window_is_turned_alike_and_every_window_differently():
    windows = np.tile(np.array([2048, 0, 0, 0, 0, 900], dtype=np.int16), (4, 10, 1))
    turned, _ = augment(windows, SIX, Augmentation(rotations=1, degrees=20))
    assert (turned[4:] == turned[4:, :1]).all()
    assert len({tuple(window[0]) for window in turned[4:].tolist()}) == 4
    angles = np.degrees(np.arccos(turned[4:, 0, 0] / 2048))
    assert (angles < 90).all()


def test_copies_are_the_same_for_the_same_seed_and_stay_with_their_window():
    dataset = toy_dataset(per_class=20)
    augmentation = Augmentation(mirror="y", rotations=2, seed=3)
    first, again = (augment_dataset(dataset, augmentation) for _ in range(2))
    assert augmentation.copies == 6
    assert len(first) == 6 * len(dataset)
    assert (first.windows == again.windows).all()
    assert (first.windows[: len(dataset)] == dataset.windows).all()
    for name in ("labels", "groups", "held_out", "session", "start"):
        assert (getattr(first, name) == np.tile(getattr(dataset, name), 6)).all()
    other = augment_dataset(dataset, Augmentation(mirror="y", rotations=2, seed=4))
    assert (other.windows != first.windows).any()


def test_channels_that_are_no_sensor_stay_as_they_are():
    windows = np.arange(7 * 4, dtype=np.int16).reshape(1, 4, 7)
    changed, _ = augment(windows, ["pressure", *SIX], Augmentation(mirror="z", rotations=1))
    assert (changed[:, :, 0] == windows[:, :, 0]).all()


def test_mistakes_are_named():
    with pytest.raises(UsageError, match="unknown mirror axis 'left'; choose one of x, y, z"):
        Augmentation(mirror="left")
    with pytest.raises(UsageError, match="degrees 0 to 180, not 1 and 200"):
        Augmentation(rotations=1, degrees=200)
    with pytest.raises(UsageError, match="augmented features need an accelerometer"):
        augment(np.zeros((1, 4, 3), dtype=np.int16), ["gx", "gy", "gz"], Augmentation(mirror="x"))
