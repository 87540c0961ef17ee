"""Model images and arithmetic of the stock firmware, against images and answers that are not ours."""

import gzip
import struct
import zlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stinger.errors import InputError, UsageError
from stinger.sessions.read import read_sessions
from stinger_export.stock.arithmetic import run_stock
from stinger_export.stock.image import SHAPES, WINDOW, StockModel, parse_image, read_image, write_image

DATA = Path(__file__).parent.parent / "data"
GOLDEN = DATA / "golden"
KINDS = ("lr", "mlp")


def image(kind: str) -> bytes:
    return (GOLDEN / f"stock_{kind}.mlmd").read_bytes()


def with_payload(data: bytes, payload: bytes) -> bytes:
    return data[:16] + struct.pack("<II", len(payload), zlib.crc32(payload)) + payload


@pytest.fixture(scope="module")
def answers():
    with gzip.open(GOLDEN / "stock_predictions_b.csv.gz", "rt") as table:
        return np.genfromtxt(table, delimiter=",", names=True)


@pytest.fixture(scope="module")
def windows():
    session = read_sessions(DATA / "session_b.bin")[0]
    return np.lib.stride_tricks.sliding_window_view(session.samples, WINDOW, axis=0).transpose(0, 2, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_images_come_out_byte_for_byte(kind, tmp_path):
    model = read_image(GOLDEN / f"stock_{kind}.mlmd")
    assert model.kind == kind
    write_image(model, tmp_path / "again.mlmd")
    assert (tmp_path / "again.mlmd").read_bytes() == image(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_are_those_of_the_stock_firmware(kind, answers, windows):
    assert len(windows) == len(answers) == 23_951
    got = run_stock(read_image(GOLDEN / f"stock_{kind}.mlmd"), windows)
    assert np.abs(got.probability - answers[f"p_{kind}"]).max() <= 1e-6
    assert np.abs(got.after_gate - answers[f"p_{kind}_gated"]).max() <= 1e-6
    np.testing.assert_allclose(got.gyro_rms, answers["gyro_rms"], rtol=1e-6)
    # Exactly where the firmware's own probability became 0, and often enough to mean something.
    np.testing.assert_array_equal(got.gated, answers["gyro_rms"] < 60)
    assert got.gated.sum() > 500


def test_windows_of_another_shape_are_refused():
    model = read_image(GOLDEN / "stock_lr.mlmd")
    with pytest.raises(UsageError, match="int16 windows"):
        run_stock(model, np.zeros((3, 40, 6), dtype=np.int16))
    with pytest.raises(UsageError, match="int16 windows"):
        run_stock(model, np.zeros((3, 50, 6), dtype=np.int32))


def test_extreme_weights_and_windows_give_probabilities(windows):
    extreme = np.full((2, 50, 6), -32768, dtype=np.int16)
    extreme[1] = 32767
    for kind in KINDS:
        model = read_image(GOLDEN / f"stock_{kind}.mlmd")
        wild = replace(model, scale=np.zeros_like(model.scale))
        for one in (model, wild):
            p = run_stock(one, extreme).probability
            assert np.isfinite(p).all()
            assert ((p >= 0) & (p <= 1)).all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda b: b[:10], "does not begin"),
        (lambda b: b"XLMD" + b[4:], "does not begin"),
        (lambda b: b[:4] + b"\x02\x00" + b[6:], "version 2"),
        (lambda b: b[:6] + b"\x31\x00" + b[8:], "header"),
        (lambda b: b[:8] + b"\x05" + b[9:], "header"),
        (lambda b: b[:9] + b"\x01" + b[10:], "header"),
        (lambda b: b[:10] + b"\x13\x00" + b[12:], "header"),
        (lambda b: b[:12] + b"\x01\x00" + b[14:], "header"),
        (lambda b: b[:-1], "bytes of weights"),
        (lambda b: b + b"\x00", "bytes of weights"),
        (lambda b: b[:-1] + bytes([b[-1] ^ 1]), "CRC-32"),
        (lambda b: with_payload(b, b[24:-4] + struct.pack("<f", np.nan)), "not finite"),
        (lambda b: with_payload(b, b[24:-4] + struct.pack("<f", np.inf)), "not finite"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_what_the_firmware_would_refuse_is_refused(kind, change, says):
    with pytest.raises(InputError, match=says) as caught:
        parse_image(change(image(kind)), "x.mlmd")
    assert "\n" not in str(caught.value)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=400), cut=st.integers(0, 300), kind=st.sampled_from(KINDS))
def test_any_bytes_give_a_model_or_a_clean_refusal(data, cut, kind):
    for candidate in (data, image(kind)[:cut] + data, data + image(kind)[cut:]):
        try:
            parse_image(candidate)
        except InputError:
            continue
        assert candidate == image(kind)


@pytest.mark.parametrize("shape", SHAPES.values())
def test_models_of_other_shapes_cannot_be_made(shape):
    rng = np.random.default_rng(1)
    layers = tuple((rng.normal(size=(o, i)).astype(np.float32), np.zeros(o, np.float32)) for i, o in pairwise(shape))
    good = StockModel(np.zeros(shape[0], np.float32), np.ones(shape[0], np.float32), layers)
    assert parse_image(good.to_bytes()).to_bytes() == good.to_bytes()
    with pytest.raises(InputError, match="has no model"):
        replace(good, mean=np.zeros(5, np.float32))
    with pytest.raises(InputError, match="float32"):
        replace(good, scale=np.ones(shape[0]))
