"""Convolutional networks as integers: numpy against plain Python, C against numpy, and near the estimator."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from test_integer_parity import difficult_stream
from toy import extreme_windows, toy_dataset

from stinger.check.compare import compare_exactly
from stinger.check.prove import host_levels, prove
from stinger.check.replay import replay_native
from stinger.errors import InputError
from stinger.link.board import Board
from stinger.models.torch_net import TorchCNNClassifier
from stinger.models.train import train
from stinger.sessions.read import read_sessions
from stinger.sessions.session import Channel
from stinger.windows.cut import cut
from stinger.windows.replay import stream_of
from stinger.workflow.export_parts import parts_of
from stinger_export.bundle import export_bundle, load_bundle
from stinger_export.emlearn_header import to_emlearn
from stinger_export.firmware import build_firmware
from stinger_export.integer.c_source import write_c_source
from stinger_export.integer.convolution import floating_convolutions
from stinger_export.integer.model import ONE, Convolutional
from stinger_export.integer.quantise import TARGET_LOSS, quantise
from stinger_export.integer.store import load_integer, save_integer
from stinger_virtual.transport import EmulatedTransport

SESSION_B = Path(__file__).parents[1] / "data" / "session_b.bin"
# classes, window, channels, filters, kernel
SHAPES = [
    (2, 50, 6, (16, 32), 9),
    (3, 7, 2, (4, 5, 3), 3),
    (5, 59, 9, (7,), 5),
    (2, 59, 1, (6, 1), 7),
    (3, 2, 3, (9, 8), 9),
    (2, 13, 4, (5, 6), 1),
]


def dataset_of(classes, window, channels, per_class=60):
    dataset = toy_dataset(classes=classes, per_class=per_class, window=window, channels=channels)
    return replace(dataset, channels=tuple(Channel(f"c{i}", "count", 1.0) for i in range(channels)))


@cache
def trained(shape):
    classes, window, channels, filters, kernel = shape
    options = {"filters": filters, "kernel_size": kernel, "epochs": 6}
    dataset = dataset_of(classes, window, channels)
    return train(dataset, "torch-cnn", features="flatten", options=options, folds=0, name="cnn")


def plain_logits(body: Convolutional, window: list[list[int]]) -> list[int]:
    """The logits of one window, by the comments of stinger_ml.h, number by number; no sum may leave int32."""

    def accumulate(layer, row, inputs):
        total = int(layer.bias[row])
        for weight, value in zip(layer.weight[row].tolist(), inputs, strict=True):
            total += weight * value
            assert abs(total) < 2**31
        return total

    s = body.scaler
    steps = [
        [
            max(-32767, min(32767, (x * int(s.scale[c]) + int(s.offset[c])) >> int(s.shift[c])))
            for c, x in enumerate(sample)
        ]
        for sample in window
    ]
    half = body.kernel // 2
    for layer in body.layers[:-1]:
        blank = [0] * len(steps[0])
        padded = [blank] * half + steps + [blank] * half
        made = []
        for at in range(0, len(steps), 2):
            patch = [value for step in padded[at : at + body.kernel] for value in step]
            out = []
            for row in range(len(layer.bias)):
                acc = min(65535, max(0, accumulate(layer, row, patch)) >> int(layer.pre[row]))
                post = int(layer.post[row])
                out.append(min(32767, (acc * int(layer.scale[row]) + (1 << (post - 1))) >> post))
            made.append(out)
        steps = made
    count = len(steps)
    mean = [(2 * sum(column) + count) // (2 * count) for column in zip(*steps, strict=True)]
    last = body.layers[-1]
    limited = [max(-32768, min(32767, accumulate(last, r, mean) >> int(last.pre[r]))) for r in range(len(last.bias))]
    return [(a * int(last.scale[r])) >> int(last.post[r]) for r, a in enumerate(limited)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_c_equals_numpy_in_every_bit(shape, tmp_path):
    classes, window, channels = shape[:3]
    model = quantise(trained(shape))
    if shape == SHAPES[1]:
        wide = tuple(replace(layer, weight=layer.weight.astype(np.int16)) for layer in model.body.layers)
        model = replace(model, body=replace(model.body, layers=wide))
    write_c_source(model, tmp_path)
    stream = difficult_stream(dataset_of(classes, window, channels))
    result = replay_native(tmp_path, stream, sanitize=True)
    comparison = compare_exactly(("L2", "L3"), model.decide(stream.windows(window)), stream.ready(window), result)
    assert comparison.failure is None
    assert comparison.windows > 1000


@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
def test_numpy_equals_plain_integers_at_the_extremes(shape):
    body = quantise(trained(shape)).body
    windows = extreme_windows(*shape[1:3])
    scores = body.scores(windows.reshape(len(windows), -1))
    assert scores.tolist() == [plain_logits(body, window.tolist()) for window in windows]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SHAPES[1:]).flatmap(lambda s: st.tuples(st.just(s), hnp.arrays(np.int16, s[1:3]))))
def test_numpy_equals_plain_integers_on_any_window(case):
    shape, window = case
    body = quantise(trained(shape)).body
    assert body.scores(window.reshape(1, -1)).tolist() == [plain_logits(body, window.tolist())]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_probabilities_stay_near_the_estimator(shape):
    model = trained(shape)
    integer = quantise(model)
    calibrated = integer.body.decide(model.calibration)[0] / ONE
    assert np.abs(calibrated - model.predict_proba_features(model.calibration)).max() <= TARGET_LOSS
    windows = dataset_of(*shape[:3], per_class=300).windows
    decided = integer.decide(windows)
    expected = model.predict_proba(windows)
    assert np.abs(decided.probability / ONE - expected).max() <= 0.03
    flipped = expected[decided.label != expected.argmax(axis=1)]
    assert (np.diff(np.sort(flipped, axis=1)[:, -2:]) <= 0.01).all()
    assert len(flipped) <= 0.02 * len(expected)


def test_weights_get_sixteen_bits_where_eight_lose_too_much():
    model = trained(SHAPES[0])
    eight = quantise(model, target=1.0).body
    assert {layer.weight.dtype for layer in eight.layers} == {np.dtype(np.int8)}
    loss = np.abs(eight.decide(model.calibration)[0] / ONE - model.predict_proba_features(model.calibration)).max()
    finer = quantise(model, target=loss / 2).body
    assert np.dtype(np.int16) in {layer.weight.dtype for layer in finer.layers}
    left = np.abs(finer.decide(model.calibration)[0] / ONE - model.predict_proba_features(model.calibration)).max()
    assert left <= loss / 2


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_overflow_is_proven_impossible_for_every_input(shape):
    for layer in quantise(trained(shape)).body.layers:
        bound = np.abs(layer.weight.astype(np.int64)).sum(axis=1) * 32767 + np.abs(layer.bias.astype(np.int64))
        assert (bound < 2**31).all()


def test_the_build_reserves_exactly_what_the_layers_take(tmp_path):
    """With one number less the model does not fit and no window is ever ready; with it, see above, sanitizers agree."""
    model = quantise(trained(SHAPES[3]))
    write_c_source(model, tmp_path)
    limits = tmp_path / "stinger_limits.h"
    # 59 + 6 steps of one number, then 30 + 6 of six, and seven behind each.
    assert "#define STINGER_MAX_ACTIVATIONS 295\n" in limits.read_text()
    stream = difficult_stream(dataset_of(*SHAPES[3][:3]))
    limits.write_text(limits.read_text().replace("ACTIVATIONS 295", "ACTIVATIONS 294"))
    assert not replay_native(tmp_path, stream).ready.any()


def test_the_board_gives_the_same_bits(tmp_path):
    shape = (3, 21, 3, (5, 6), 5)
    model = quantise(trained(shape))
    write_c_source(model, tmp_path / "model")
    firmware = build_firmware(tmp_path / "model", tmp_path / "firmware")
    stream, part = difficult_stream(dataset_of(*shape[:3])), slice(0, 120)
    few = replace(stream, samples=stream.samples[part], t_us=stream.t_us[part], gap_before=stream.gap_before[part])
    with Board(EmulatedTransport(firmware.bin.read_bytes())) as board:
        result = board.replay(few.samples, few.t_us, few.gap_before)
    comparison = compare_exactly(("L2", "L4"), model.decide(few.windows(21)), few.ready(21), result)
    assert comparison.failure is None
    assert comparison.windows == 100


def test_a_bundle_proves_itself(tmp_path):
    model = trained(SHAPES[0])
    with pytest.raises(InputError, match="emlearn knows no convolutions"):
        to_emlearn(model)
    bundle = load_bundle(export_bundle(model, tmp_path / "bundle").path)
    assert bundle.targets == ("integer", "onnx", "mlmd")
    levels = host_levels(bundle, bundle.replay)
    boards = {"L3": replay_native(bundle.source_dir, bundle.replay)}
    proof = prove(bundle, levels, boards, in_range_only=True)
    assert proof.failures == ()
    assert [c.name for c in proof.comparisons] == ["L0-L1", "L0-L2", "L2-L3"]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_round_trip_through_a_file(shape, tmp_path):
    model = quantise(trained(shape))
    save_integer(model, tmp_path / "m.npz")
    assert load_integer(tmp_path / "m.npz", model.spec).hash == model.hash


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("kernel", lambda a: a + 1, "kernel"),
        ("kernel", lambda a: a + 2, "shape of weights"),
        ("kernel", lambda a: a.astype(np.int16), "kernel"),
        ("layer0_weight", lambda a: a[:, :-1], "shape of weights"),
        ("layer1_bias", lambda a: a + np.int32(2**31 - 2**24), "overflow"),
        ("layer0_post", lambda a: a * 0 + 17, "range of shifts"),
        ("scaler_scale", lambda a: a[1:], "length of the scaler"),
    ],
)
def test_damaged_files_are_refused(name, change, message, tmp_path):
    model, path = quantise(trained(SHAPES[1])), tmp_path / "m.npz"
    save_integer(model, path)
    with np.load(path) as file:
        arrays = {n: file[n] for n in file.files}
    np.savez(path, **(arrays | {name: change(arrays[name])}))
    with pytest.raises(InputError, match=message):
        load_integer(path, model.spec)


def test_convolutions_need_the_window_as_features(tmp_path):
    model, path = quantise(trained(SHAPES[0])), tmp_path / "m.npz"
    save_integer(model, path)
    with pytest.raises(InputError, match="features that are not the window"):
        load_integer(path, replace(model.spec, features="rich"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 257}, "look at 255 steps at most, in 7 layers, not at 257 in 1"),
        ({"filters": (2,) * 8}, "in 7 layers, not at 9 in 8"),
        ({"filters": (1025,)}, "has 1,024 filters of 65,528 weights at most, not 1,025"),
    ],
)
def test_what_no_board_holds_is_refused_in_one_line(options, message):
    windows = dataset_of(2, 9, 1).windows.reshape(-1, 9)
    labels = np.arange(len(windows)) % 2
    estimator = TorchCNNClassifier(1, **{"filters": (2,), "epochs": 1, **options}).fit(windows, labels)
    with pytest.raises(InputError, match=message) as caught:
        floating_convolutions(estimator)
    assert "\n" not in str(caught.value)


def test_windows_that_cut_nothing_off_are_in_range_and_near_the_estimator():
    model = trained(SHAPES[0])
    integer = quantise(model)
    assert integer.in_range(model.calibration).all()
    limit = extreme_windows(50, 6).reshape(-1, 300)
    inside = integer.in_range(limit)
    assert 0 < inside.sum() < len(limit)
    difference = np.abs(integer.body.decide(limit)[0] / ONE - model.predict_proba_features(limit)).max(axis=1)
    assert difference[inside].max() <= 0.03


def test_one_sample_beyond_the_scaler_takes_a_window_out_of_range():
    integer = quantise(trained(SHAPES[0]))
    windows = np.zeros((3, 300), dtype=np.int16)
    windows[:, 2::6] = 2048
    windows[1, 6 * 49 + 4] = 20
    scaler = integer.body.scaler
    shift = np.where(np.arange(6) == 4, 0, scaler.shift).astype(np.uint8)
    offset = np.where(np.arange(6) == 4, 0, scaler.offset).astype(np.int32)
    finer = replace(integer.body, scaler=replace(scaler, shift=shift, offset=offset))
    assert integer.in_range(windows).tolist() == [True, True, True]
    assert replace(integer, body=finer).in_range(windows).tolist() == [True, False, True]


def test_parts_add_up_to_what_was_measured():
    model = trained(SHAPES[0])
    parts = parts_of(quantise(model), model.calibration, flash=20_000, ram=6_000, cycles=10**6)
    assert sum(part.flash for part in parts) == 20_000
    assert sum(part.cycles or 0 for part in parts) == 10**6
    assert [part.name for part in parts[:4]] == [
        "scaler",
        "layer 1 (54x16, 25 times, 8 bits)",
        "layer 2 (144x32, 13 times, 8 bits)",
        "layer 3 (32x1, 8 bits)",
    ]


def test_a_whole_session_with_recoil_stays_near_the_estimator():
    session = read_sessions(SESSION_B)[0]
    model = train(cut([session]), "torch-cnn", features="flatten", options={"filters": (8, 12), "epochs": 10}, folds=0)
    windows = stream_of([(session, 0, len(session))]).windows(model.spec.window)[::3]
    decisions = quantise(model).decide(windows)
    expected = model.predict_proba_features(decisions.feature)
    assert len(windows) > 7_000
    assert np.abs(decisions.probability / ONE - expected).max() <= 0.03
    assert np.mean(expected.argmax(axis=1) != decisions.label) <= 0.005
