"""The dataset directory: what is written comes back, what was tampered with does not."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stinger.errors import InputError
from stinger.sessions.read import read_sessions
from stinger.synth.shots import make_session
from stinger.windows.cut import cut
from stinger.windows.dataset import Dataset
from stinger.windows.explore import assemble, cut_session
from stinger.windows.spec import preset
from stinger.windows.store import data_hash, read_dataset, write_dataset

DATA = Path(__file__).parent.parent / "data"
FILES = ("windows_i16le.bin", "labels_u8.bin", "meta.json", "index.csv")


@pytest.fixture(scope="module")
def shots():
    return cut([make_session(1, 1.0)[0]])


@pytest.fixture
def stored(shots, tmp_path):
    write_dataset(shots, tmp_path / "train")
    return tmp_path / "train"


def assert_equal(a: Dataset, b: Dataset):
    for field in ("windows", "labels", "groups", "held_out", "session", "start"):
        left, right = getattr(a, field), getattr(b, field)
        np.testing.assert_array_equal(left, right)
        assert left.dtype == right.dtype
    np.testing.assert_equal(a.meta, b.meta)
    for field in ("classes", "channels", "period_us", "lead_us"):
        assert getattr(a, field) == getattr(b, field)


def test_shots_round_trip(shots, stored):
    assert_equal(read_dataset(stored), shots)
    assert data_hash(read_dataset(stored)) == data_hash(shots)


def test_labelled_round_trip(tmp_path):
    dataset = cut(read_sessions(DATA / "nicla_motion_edge_impulse_export.zip"))
    write_dataset(dataset, tmp_path / "train")
    assert_equal(read_dataset(tmp_path / "train"), dataset)
    row = (tmp_path / "train" / "index.csv").read_text().splitlines()[1].split(",")
    assert row == ["0", "0", "", "", "", "", "0", "983", "", "0", "0", "0", "1", "0", "-1"]


def test_the_layout_is_the_one_in_the_field(shots, stored):
    lines = (stored / "index.csv").read_bytes().decode().split("\r\n")
    assert lines[0].startswith(
        "row,label,shot_num,shot_timestamp_ms,distance_to_shot_ms,event_timestamp_ms,window_start_ms,window_end_ms,source"
    )
    first = dict(zip(lines[0].split(","), lines[1].split(","), strict=True))
    assert first["source"] == "pos"
    assert first["label"] == "1"
    assert first["distance_to_shot_ms"] == "0"
    assert first["event_timestamp_ms"] == first["shot_timestamp_ms"]
    assert 480 <= int(first["window_end_ms"]) - int(first["window_start_ms"]) <= 500
    assert 80 <= int(first["shot_timestamp_ms"]) - int(first["window_end_ms"]) <= 130
    assert lines[len(shots)].split(",")[8] == "neg"
    raw = np.fromfile(stored / "windows_i16le.bin", dtype="<i2")
    np.testing.assert_array_equal(raw.reshape(shots.windows.shape), shots.windows)
    np.testing.assert_array_equal(np.fromfile(stored / "labels_u8.bin", dtype=np.uint8), shots.labels)
    assert json.loads((stored / "meta.json").read_text())["window_samples"] == 50


def test_writing_twice_gives_the_same_bytes(shots, stored, tmp_path):
    write_dataset(shots, tmp_path / "again")
    for name in FILES:
        assert (stored / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_the_hash_sees_data_and_not_remarks(shots):
    assert data_hash(replace(shots, meta={})) == data_hash(shots)
    for change in (
        {"labels": shots.labels[::-1].copy()},
        {"held_out": ~shots.held_out},
        {"groups": shots.groups + 1},
        {"classes": ("a", "b")},
        {"lead_us": 0},
        {"windows": shots.windows + np.int16(1)},
    ):
        assert data_hash(replace(shots, **change)) != data_hash(shots)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_or_short_file_is_an_input_error(stored, name):
    whole = (stored / name).read_bytes()
    (stored / name).write_bytes(whole[:-1])
    if name != "meta.json":  # whose last byte is a line end
        with pytest.raises(InputError, match="explore again"):
            read_dataset(stored)
    (stored / name).unlink()
    with pytest.raises(InputError, match="cannot read"):
        read_dataset(stored)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"stinger-dataset"', '"other"'),
        ('"version": 2', '"version": 3'),
        ('"version": 2', '"version": true'),
        ('"version": 2', '"version": 1'),
        ('"window_samples": 50', '"window_samples": 49'),
        ('"window_samples": 50', '"window_samples": -50'),
        ('"window_samples": 50', '"window_samples": true'),
        ('"window_samples": 50', '"window_samples": 5e9'),
        ('"period_us": 10000', '"period_us": 0'),
        ('"period_us": 10000', '"period_us": 20000'),
        ('"lead_us": 100000', '"lead_us": null'),
        ('"idle"', "7"),
        ('"name": "ax"', '"nom": "ax"'),
        ('"scale": 0.00048828125', '"scale": NaN'),
        ('"scale": 0.00048828125', '"scale": "1"'),
        ('"classes"', '"klasses"'),
        ('"channels": [', '"channels": 3, "x": ['),
        ('"channel_units": [', '"channel_units": 3, "x": ['),
        ('"whole_hash": "', '"whole_hash": "0'),
        ('"meta": {', '"meta": 3, "x": {'),
    ],
)
def test_a_wrong_manifest_is_an_input_error(stored, old, new):
    text = (stored / "meta.json").read_text()
    assert old in text
    (stored / "meta.json").write_text(text.replace(old, new))
    with pytest.raises(InputError) as caught:
        read_dataset(stored)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["windows_i16le.bin", "labels_u8.bin"])
def test_one_changed_byte_is_noticed(stored, name):
    data = bytearray((stored / name).read_bytes())
    data[0] ^= 1
    (stored / name).write_bytes(bytes(data))
    with pytest.raises(InputError):
        read_dataset(stored)


def test_a_label_without_a_class_is_named(stored):
    data = bytearray((stored / "labels_u8.bin").read_bytes())
    data[3] = 9
    (stored / "labels_u8.bin").write_bytes(bytes(data))
    with pytest.raises(InputError, match="label 9 of 2 classes"):
        read_dataset(stored)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(FILES), st.integers(0, 10**6), st.binary(min_size=1, max_size=4))
def test_any_damage_is_harmless_or_an_input_error(tmp_path_factory, shots, name, at, patch):
    directory = tmp_path_factory.getbasetemp() / "damage"
    write_dataset(shots, directory)
    data = bytearray((directory / name).read_bytes())
    at %= len(data)
    data[at : at + len(patch)] = patch
    (directory / name).write_bytes(bytes(data))
    try:
        dataset = read_dataset(directory)
    except InputError:
        return
    # What still reads holds the same data: only remarks can have changed.
    assert data_hash(dataset) == data_hash(shots)


@pytest.fixture(scope="module")
def whole():
    """A dataset with embargoed windows and a known person."""
    session = replace(make_session(1, 1.5)[0], subject="ada")
    spec = preset("personal", split="random")
    return assemble([cut_session(session, spec)], spec)


def test_embargoed_windows_are_stored_and_not_given_to_training(whole, tmp_path):
    write_dataset(whole, tmp_path / "train")
    assert whole.embargoed.sum() > 5
    again = read_dataset(tmp_path / "train", whole=True)
    assert_equal(again, whole)
    np.testing.assert_array_equal(again.embargoed, whole.embargoed)
    assert again.subject.tolist() == [0] * len(whole)
    assert again.meta["subjects"] == ["ada"]
    usable = read_dataset(tmp_path / "train")
    assert usable.embargoed is None
    assert len(usable) == (~whole.embargoed).sum()
    np.testing.assert_array_equal(usable.windows, whole.windows[~whole.embargoed])
    assert [len(column) for column in usable.meta["index"].values()] == [len(usable)] * 6
    assert data_hash(usable) == data_hash(whole)


@pytest.mark.parametrize("column", ["embargoed", "subject", "held_out"])
def test_a_changed_cell_of_ours_is_noticed(whole, tmp_path, column):
    write_dataset(whole, tmp_path / "train")
    path = tmp_path / "train" / "index.csv"
    lines = path.read_bytes().decode().split("\r\n")
    place = lines[0].split(",").index(column)
    cells = lines[3].split(",")
    cells[place] = {"0": "1", "1": "0"}[cells[place]]
    lines[3] = ",".join(cells)
    path.write_bytes("\r\n".join(lines).encode())
    with pytest.raises(InputError, match="changed after"):
        read_dataset(tmp_path / "train")


def test_a_dataset_of_version_1_still_reads(shots, stored):
    meta = json.loads((stored / "meta.json").read_text())
    meta["format"], meta["version"], meta["channels"] = "stinger-dataset", 1, meta.pop("channel_units")
    for key in ("dataset", "whole_hash", "positives"):
        del meta[key]
    (stored / "meta.json").write_text(json.dumps(meta))
    lines = (stored / "index.csv").read_text().splitlines()
    (stored / "index.csv").write_bytes("".join(",".join(line.split(",")[:13]) + "\r\n" for line in lines).encode())
    old = read_dataset(stored)
    for field in ("windows", "labels", "groups", "held_out", "session", "start"):
        np.testing.assert_array_equal(getattr(old, field), getattr(shots, field))
    assert old.embargoed is None
    assert old.subject is None


def test_a_failed_write_leaves_what_was_there(shots, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="not made by stinger"):
        write_dataset(shots, tmp_path / "mine")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    with pytest.raises(InputError, match="cannot read"):
        read_dataset(tmp_path / "nothing")
