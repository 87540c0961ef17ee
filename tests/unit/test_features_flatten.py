"""The window itself as features, on the device: C and images against numpy, and more features than a byte counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_integer_parity import difficult_stream
from toy import toy_dataset

from stinger.check.compare import compare_exactly
from stinger.check.prove import host_levels, prove
from stinger.check.replay import replay_native
from stinger.errors import InputError
from stinger.link.board import Board
from stinger.models.policy import Policy
from stinger.models.train import train
from stinger_export.bundle import export_bundle, load_bundle
from stinger_export.exercise import exercise_stream
from stinger_export.firmware import build_firmware
from stinger_export.image.model import from_image, to_image
from stinger_export.integer.c_source import limits_header, write_c_source
from stinger_export.integer.forest import quantise_forest
from stinger_export.integer.layout import MAX_INPUTS
from stinger_export.integer.quantise import quantise
from stinger_virtual.transport import EmulatedTransport

SMALL = {"rf": {"n_estimators": 8}, "mlp": {"hidden_layer_sizes": (12, 6)}, "hgb": {"max_iter": 10}}


def trained(family, policy=None, **shape):
    dataset = toy_dataset(**{"per_class": 60, **shape})
    model = train(dataset, family, features="flatten", options=SMALL.get(family), folds=0)
    return dataset, replace(model, spec=replace(model.spec, policy=policy))


@pytest.mark.parametrize(
    ("family", "classes", "window", "channels"),
    [
        ("logreg", 2, 50, 6),
        ("mlp", 3, 50, 6),
        ("rf", 2, 50, 6),
        ("hgb", 3, 59, 6),
        ("ridge", 2, 7, 1),
        ("mlp", 2, 2, 3),
    ],
)
def test_c_equals_numpy_in_every_bit(family, classes, window, channels, tmp_path):
    dataset, model = trained(family, classes=classes, window=window, channels=channels)
    integer = quantise(model)
    assert (integer.decide(dataset.windows).feature == dataset.windows.reshape(len(dataset), -1)).all()
    write_c_source(integer, tmp_path)
    stream = difficult_stream(dataset)
    result = replay_native(tmp_path, stream, sanitize=True)
    comparison = compare_exactly(("L2", "L3"), integer.decide(stream.windows(window)), stream.ready(window), result)
    assert comparison.failure is None
    assert comparison.windows > 1000


def test_the_policys_gate_sees_the_gyroscope_at_every_level(tmp_path):
    """A gate that is passed by some windows only: of the sums, it is all that is kept."""
    dataset, model = trained("logreg", Policy.stock())
    integer, stream = quantise(model), difficult_stream(dataset)
    write_c_source(integer, tmp_path)
    ready, windows = stream.ready(50), stream.windows(50)
    expected = integer.decide(windows)
    on = integer.switch(stream.t_us, ready, windows, expected)
    result = replay_native(tmp_path, stream)
    comparison = compare_exactly(("L2", "L3"), expected, ready, result, on=on, policy=model.spec.policy)
    assert comparison.failure is None
    assert 0 < on.sum() < len(on)
    still = replace(model.spec, policy=replace(Policy.stock(), gate_lsb=0))
    assert (replace(integer, spec=still).switch(stream.t_us, ready, windows, expected) != on).any()


@pytest.mark.parametrize("family", ["logreg", "dt"])
def test_a_bundle_proves_itself(family, tmp_path):
    """Real levels, emlearn's among them, and the stream that the export made."""
    bundle = load_bundle(export_bundle(trained(family)[1], tmp_path / "bundle").path)
    assert bundle.targets == ("integer", "onnx", "emlearn", "mlmd")
    proof = prove(
        bundle,
        host_levels(bundle, bundle.replay),
        {"L3": replay_native(bundle.source_dir, bundle.replay)},
        in_range_only=True,
    )
    assert proof.failures == ()
    assert [c.name for c in proof.comparisons] == ["L0-L1", "L0-L2", "L2-L3", "L0-emlearn"]


def test_the_board_gives_the_same_bits(tmp_path):
    dataset, model = trained("rf", window=50)
    integer = quantise(model)
    assert integer.body.feature.max() > 255
    write_c_source(integer, tmp_path / "model")
    firmware = build_firmware(tmp_path / "model", tmp_path / "firmware")
    stream = difficult_stream(dataset)
    part = slice(0, 160)
    with Board(EmulatedTransport(firmware.bin.read_bytes())) as board:
        assert board.hello().model.feature_set == "flatten"
        result = board.replay(stream.samples[part], stream.t_us[part], stream.gap_before[part])
    few = replace(stream, samples=stream.samples[part], t_us=stream.t_us[part], gap_before=stream.gap_before[part])
    comparison = compare_exactly(("L2", "L4"), integer.decide(few.windows(50)), few.ready(50), result)
    assert comparison.failure is None
    assert comparison.windows > 100


@pytest.mark.parametrize("family", ["logreg", "rf", "hgb"])
def test_an_image_keeps_features_beyond_a_byte(family):
    integer = quantise(trained(family)[1])
    again = from_image(to_image(integer))
    assert again.hash == integer.hash
    assert len(again.spec.feature_set) == 300


def test_the_build_has_no_code_for_other_features():
    text = limits_header(quantise(trained("logreg")[1]))
    assert "#define STINGER_WITH_FLATTEN 1\n" in text


def test_the_stream_made_of_a_model_is_what_it_learnt_from():
    _, model = trained("logreg")
    windows = exercise_stream(model).samples.reshape(-1, 75, 6)[:32]
    known = {window.tobytes() for window in model.calibration}
    assert all(window[:50].tobytes() in known for window in windows)
    assert (windows[:, 50:] == windows[:, 25:50][:, ::-1]).all()


def test_windows_that_no_board_holds_are_refused():
    _, model = trained("rf")
    with pytest.raises(InputError, match="outside its vector of"):
        quantise_forest(model.estimator, MAX_INPUTS + 1, 2)
    long = replace(model, spec=replace(model.spec, family="logreg", window=1024, channels=model.spec.channels * 11))
    with pytest.raises(InputError, match="a window of 1,024 samples of 66 channels is more than the device's 65,528"):
        quantise(replace(long, calibration=np.zeros((1, 1024 * 66), np.int16)))
