"""Datasets of the Stinger's own exporter: read as they are, with the overlaps that they really have."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stinger.errors import InputError
from stinger.sessions.session import STINGER_CHANNELS
from stinger.sessions.stinger_log import read_bin
from stinger.windows.exported import sample_numbers
from stinger.windows.splits import sharing, split
from stinger.windows.store import read_dataset, write_dataset

GOLDEN = Path(__file__).parent.parent / "data" / "golden"
EXPORTS = ("default", "near", "far_motion", "recommended")


@pytest.fixture(scope="module")
def t_ms():
    return read_bin(GOLDEN / "session_a.bin").t_us // 1000


def overlaps(start: np.ndarray, window: int) -> np.ndarray:
    return np.abs(start[:, None] - start[None, :]) < window


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_is_read_with_groups_overlaps_and_a_split(t_ms, name):
    folder = GOLDEN / f"export_a_{name}"
    data = read_dataset(folder, whole=True)
    assert data.windows.tobytes() == (folder / "windows_i16le.bin").read_bytes()
    assert data.labels.tobytes() == (folder / "labels_u8.bin").read_bytes()
    assert (data.classes, data.channels) == (("idle", "shot"), STINGER_CHANNELS)
    assert (data.window, data.period_us, data.lead_us) == (50, 10_000, 100_000)
    index = data.meta["index"]
    true = np.searchsorted(t_ms, index["window_start_ms"])
    np.testing.assert_array_equal(t_ms[true], index["window_start_ms"])
    np.testing.assert_array_equal(overlaps(data.start, 50), overlaps(true, 50))
    np.testing.assert_array_equal(data.groups, index["shot_num"])
    assert not np.intersect1d(data.groups[data.held_out], data.groups[data.training]).size
    assert not sharing(data.session, data.start, 50, data.held_out, data.training).any()
    np.testing.assert_array_equal(split(data, "group").test, data.held_out)


def test_an_export_can_be_written_as_a_dataset_of_ours(tmp_path):
    data = read_dataset(GOLDEN / "export_a_recommended", whole=True)
    write_dataset(data, tmp_path / "train")
    again = read_dataset(tmp_path / "train", whole=True)
    for column in ("windows", "labels", "start", "groups", "held_out", "embargoed"):
        np.testing.assert_array_equal(getattr(again, column), getattr(data, column))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    window=st.integers(2, 60),
    jitter=st.integers(0, 9),
    gaps=st.integers(0, 5),
    windows=st.integers(1, 60),
)
def test_sample_numbers_share_what_the_true_ones_share(seed, window, jitter, gaps, windows):
    rng = np.random.default_rng(seed)
    step = 10 + rng.integers(-jitter, jitter + 1, 600)
    step[rng.integers(0, 600, gaps)] += rng.integers(0, 30_000, gaps)
    t = 1000 + np.cumsum(np.maximum(1, step))
    true = rng.integers(0, 600 - window, windows)
    found = sample_numbers(t[true], t[true + window - 1], window, 10.0)
    np.testing.assert_array_equal(overlaps(found, window), overlaps(true, window))
    assert found.min() >= 0


def damaged(folder: Path, how: str) -> None:
    index, meta = folder / "index.csv", folder / "meta.json"
    text = json.loads(meta.read_text())
    lines = index.read_bytes().decode().split("\r\n")
    if how == "meta":
        text["positives"] = "many"
    elif how == "dt":
        text["estimated_dt_ms"] = 0
    elif how == "count":
        text["negatives"] += 1
    elif how == "channels":
        text["channels"] = ["ax", 3]
    elif how == "times":
        cells = lines[5].split(",")
        lines[5] = ",".join([*cells[:6], cells[7], cells[6], cells[8]])
    elif how == "column":
        lines = [lines[0], *(",".join([*line.split(",")[:2], "", *line.split(",")[3:]]) for line in lines[1:-1]), ""]
    elif how == "label":
        lines[1] = lines[1].replace("0,1,", "0,0,", 1)
    meta.write_text(json.dumps(text))
    index.write_bytes("\r\n".join(lines).encode())


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("meta", "damaged"),
        ("dt", "estimated_dt_ms"),
        ("count", "294 windows take"),
        ("channels", "channels"),
        ("times", "times that no windows"),
        ("column", "shot_num"),
        ("label", "labels differ"),
    ],
)
def test_a_damaged_export_is_refused_in_one_line(tmp_path, how, message):
    folder = tmp_path / "export"
    shutil.copytree(GOLDEN / "export_a_recommended", folder)
    damaged(folder, how)
    with pytest.raises(InputError, match=message) as caught:
        read_dataset(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
