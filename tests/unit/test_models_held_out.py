"""Held-out windows that a model carries: which, how they are stored, and what is refused."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from cli_in_process import run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy import toy_dataset

from stinger.errors import InputError
from stinger.models import held_out
from stinger.models.spec import HeldOut, TrainedModel
from stinger.models.store import HELD_OUT, MANIFEST, load_model, save_model
from stinger.models.train import train
from stinger.workflow.check import check_bundle
from stinger.workflow.progress import Progress
from stinger_export.bundle import export_bundle

DATA = toy_dataset(per_class=60)


@cache
def trained() -> TrainedModel:
    return train(DATA, "logreg", name="toy", folds=0)


def put(directory: Path, content: bytes) -> None:
    """Another file of held-out windows, with a manifest that agrees."""
    (directory / HELD_OUT).write_bytes(content)
    manifest = json.loads((directory / MANIFEST).read_text())
    manifest["held_out_sha256"] = hashlib.sha256(content).hexdigest()
    (directory / MANIFEST).write_text(json.dumps(manifest))


def npz(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def test_a_model_keeps_what_was_held_out(tmp_path):
    kept = trained().held_out
    np.testing.assert_array_equal(kept.windows, DATA.windows[DATA.held_out])
    np.testing.assert_array_equal(kept.labels, DATA.labels[DATA.held_out])
    for name in ("a", "b"):
        save_model(trained(), tmp_path / name)
    loaded = load_model(tmp_path / "a")
    np.testing.assert_array_equal(loaded.held_out.windows, kept.windows)
    np.testing.assert_array_equal(loaded.held_out.labels, kept.labels)
    save_model(loaded, tmp_path / "b")
    assert (tmp_path / "a" / HELD_OUT).read_bytes() == (tmp_path / "b" / HELD_OUT).read_bytes()
    save_model(replace(trained(), held_out=None), tmp_path / "b")
    assert not (tmp_path / "b" / HELD_OUT).exists()
    assert load_model(tmp_path / "b").held_out is None


def test_of_many_windows_some_are_kept_of_every_class(monkeypatch):
    monkeypatch.setattr(held_out, "MAX_WINDOWS", 20)
    windows = np.arange(1000, dtype=np.int16).reshape(1000, 1, 1)
    labels = np.zeros(1000, np.uint8)
    labels[503] = 1
    rows = np.arange(1000) >= 500
    first, second, other = (held_out.keep(windows, labels, rows, seed) for seed in (1, 1, 2))
    assert len(first.windows) == len(np.unique(first.windows)) == 20
    assert first.windows.min() >= 500
    assert (np.diff(first.windows[:, 0, 0]) > 0).all()
    assert first.labels.sum() == other.labels.sum() == 1
    np.testing.assert_array_equal(first.windows, second.windows)
    assert (first.windows != other.windows).any()
    monkeypatch.setattr(held_out, "MAX_BYTES", 2 * 7)
    assert len(held_out.keep(windows, labels, rows, 1).windows) == 7


@pytest.mark.parametrize(
    ("windows", "labels", "message"),
    [
        (np.zeros((2, 49, 6), np.int16), np.zeros(2, np.uint8), r"int16\(2, 49, 6\)"),
        (np.zeros((2, 50, 6), np.int32), np.zeros(2, np.uint8), "held-out windows are int32"),
        (np.zeros((0, 50, 6), np.int16), np.zeros(0, np.uint8), "1 to 2000"),
        (np.zeros((2001, 50, 6), np.int16), np.zeros(2001, np.uint8), "1 to 2000"),
        (np.zeros((2, 50, 6), np.int16), np.array([0, 2], np.uint8), "not classes of the model"),
        (np.zeros((2, 50, 6), np.int16), np.zeros(3, np.uint8), "not classes of the model"),
        (np.zeros((2, 50, 6), np.int16), np.zeros(2), "not classes of the model"),
    ],
)
def test_other_windows_are_refused(tmp_path, windows, labels, message):
    with pytest.raises(InputError, match=message):
        save_model(replace(trained(), held_out=HeldOut(windows, labels)), tmp_path / "m")
    save_model(trained(), tmp_path / "m")
    put(tmp_path / "m", npz(windows=windows, labels=labels))
    with pytest.raises(InputError, match=message):
        load_model(tmp_path / "m")


def test_changed_missing_and_superfluous_arrays_are_noticed(tmp_path):
    save_model(trained(), tmp_path / "m")
    good = (tmp_path / "m" / HELD_OUT).read_bytes()
    (tmp_path / "m" / HELD_OUT).write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(InputError, match="SHA-256"):
        load_model(tmp_path / "m")
    for arrays in (
        {"windows": DATA.windows[:3]},
        {"windows": DATA.windows[:3], "labels": DATA.labels[:3], "x": DATA.start},
    ):
        put(tmp_path / "m", npz(**arrays))
        with pytest.raises(InputError, match="does not hold windows and labels"):
            load_model(tmp_path / "m")
    (tmp_path / "m" / HELD_OUT).unlink()
    with pytest.raises(InputError, match="cannot read"):
        load_model(tmp_path / "m")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_bytes_are_windows_or_a_clean_error(tmp_path, data):
    good = npz(windows=DATA.windows[:3], labels=DATA.labels[:3])
    at = data.draw(st.integers(0, len(good) - 1))
    path = tmp_path / "h.npz"
    path.write_bytes(
        good[:at] + data.draw(st.binary(min_size=1, max_size=4)) + good[at + data.draw(st.integers(0, 9)) :]
    )
    try:
        read = held_out.read(path, trained().spec, "train the model again")
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017 - both outcomes are fine, a third is not
    else:
        assert read.windows.shape[1:] == (50, 6)


def test_exports_are_measured_on_them_and_say_so(tmp_path):
    bundle = export_bundle(trained(), tmp_path / "b", targets=["integer", "onnx"])
    count = int(DATA.held_out.sum())
    assert bundle.manifest["measured_on"] == {"windows": count, "source": "model"}
    assert [p["windows"] for p in bundle.manifest["parity"] if p["target"].endswith("held out")] == [count, count]
    assert f"{count} held-out windows that the model keeps" in (bundle.path / "README.md").read_text()
    save_model(trained(), tmp_path / "with")
    save_model(replace(trained(), held_out=None), tmp_path / "without")
    common = ("--target", "integer", "--no-cost", "--out", tmp_path / "b")
    code, out, _ = run("export", tmp_path / "with", *common)
    assert code == 0
    assert f"on its training windows and on {count} held-out windows that the model keeps" in out
    assert "AUC loss" in out
    code, out, _ = run("export", tmp_path / "without", *common)
    assert code == 0
    assert "on no held-out ones: the model keeps none; give --data the dataset" in out
    assert "training windows only" in (tmp_path / "b" / "README.md").read_text()


def test_check_measures_on_them_again(tmp_path):
    bundle = export_bundle(trained(), tmp_path / "b", targets=["integer", "onnx"])
    found = check_bundle(bundle, Progress(io.StringIO()))
    assert found.failures == []
    again = [c for c in found.comparisons if c.windows == len(trained().held_out.labels) and c.levels[0] == "L0"]
    assert [c.levels for c in again] == [("L0", "L2"), ("L0", "L1")]
