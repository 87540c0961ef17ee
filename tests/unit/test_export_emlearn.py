"""The emlearn header, compiled for this computer, against the estimator it was made from."""

from __future__ import annotations

import copy
import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from toy import extreme_windows, toy_dataset

from stinger.errors import InputError
from stinger.models.families import FAMILIES
from stinger.models.spec import TrainedModel
from stinger.models.train import train
from stinger_export.emlearn_header import include_dir, run_emlearn, to_emlearn
from stinger_export.forms import FORESTS, NETWORKS
from stinger_export.toolchain import compile_host


@cache
def trained(family: str, classes: int = 2) -> TrainedModel:
    return train(toy_dataset(classes=classes), family, name=f"toy_{family.replace('-', '_')}")


def many_features(model: TrainedModel) -> np.ndarray:
    classes = len(model.spec.classes)
    windows = toy_dataset(classes=classes, per_class=1600 // classes, seed=5).windows
    return model.spec.feature_set.compute(np.concatenate([windows, extreme_windows(50, 6)]))


def at_the_thresholds(model: TrainedModel) -> np.ndarray:
    """For every split of the forest one vector just below it and one just above."""
    rows = []
    base = model.calibration[0].astype(np.int64)
    for tree in model.estimator.estimators_:
        t = tree.tree_
        for node in np.flatnonzero(t.children_left != -1):
            for step in (0, 1):
                row = base.copy()
                row[t.feature[node]] = np.floor(t.threshold[node]) + step
                rows.append(row)
    return np.array(rows).astype(np.int16)


@pytest.mark.parametrize("classes", [2, 4])
def test_trees_give_the_estimators_answers(tmp_path, classes):
    model = trained("rf", classes)
    features = np.concatenate([many_features(model), at_the_thresholds(model)])
    expected = model.predict_proba_features(features)
    label, probability = run_emlearn(to_emlearn(model), features, tmp_path)
    assert len(features) >= 1000
    assert np.abs(probability - expected).max() <= 1e-6
    # Not even ties differ: leaves in 1/128 add up exactly on both sides.
    np.testing.assert_array_equal(label, expected.argmax(axis=1))
    assert len(np.unique(label)) == classes


def test_exact_ties_go_to_the_lower_class_on_both_sides(tmp_path):
    model = copy.deepcopy(trained("rf"))
    forest = model.estimator
    forest.estimators_ = forest.estimators_[:6]
    forest.n_estimators = 6
    for tree in forest.estimators_:
        leaf = tree.tree_.children_left == -1
        first = tree.tree_.value[leaf, 0, :1] > 0.5
        tree.tree_.value[leaf, 0] = np.where(first, [[90 / 128, 38 / 128]], [[38 / 128, 90 / 128]])
    features = many_features(model)
    expected = model.predict_proba_features(features)
    tied = expected[:, 0] == expected[:, 1]
    assert tied.any()
    label, probability = run_emlearn(to_emlearn(model), features, tmp_path)
    np.testing.assert_array_equal(label, expected.argmax(axis=1))
    assert (probability[tied, 0] == probability[tied, 1]).all()


@pytest.mark.parametrize("classes", [2, 4])
def test_forest_that_was_not_rounded_at_training_flips_only_ties(tmp_path, classes):
    """A forest from elsewhere loses at most half a 128th per leaf; only what is a tie within that can flip."""
    model = trained("rf", classes)
    plain = FAMILIES["rf"].build(1)
    dataset = toy_dataset(classes=classes)
    plain.fit(model.spec.feature_set.compute(dataset.windows).astype(np.float64), dataset.labels)
    foreign = replace(model, estimator=plain)
    features = many_features(foreign)
    expected = foreign.predict_proba_features(features)
    label, probability = run_emlearn(to_emlearn(foreign), features, tmp_path)
    worst = np.abs(probability - expected).max()
    assert worst <= 0.005
    flipped = label != expected.argmax(axis=1)
    top = np.sort(expected[flipped], axis=1)
    assert (top[:, -1] - top[:, -2] <= 2 * worst).all()


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("family", NETWORKS)
def test_nets_agree_with_the_estimator(tmp_path, family, classes):
    model = trained(family, classes)
    features = many_features(model)
    expected = model.predict_proba_features(features)
    label, probability = run_emlearn(to_emlearn(model), features, tmp_path)
    assert np.abs(probability - expected).max() <= 1e-4
    np.testing.assert_array_equal(label, expected.argmax(axis=1))
    assert len(np.unique(label)) == classes


def test_net_of_small_weights_keeps_its_digits(tmp_path):
    """With six decimals, as emlearn prints them, these weights would be zero."""
    model = copy.deepcopy(trained("logreg"))
    model.estimator.steps[0][1].scale_ = model.estimator.steps[0][1].scale_ * 1e-5
    model.estimator.steps[1][1].coef_ *= 1e-5
    features = many_features(model)
    expected = model.predict_proba_features(features)
    _, probability = run_emlearn(to_emlearn(model), features, tmp_path)
    assert np.ptp(expected[:, 1]) > 0.5
    assert np.abs(probability - expected).max() <= 1e-4


@pytest.mark.parametrize("family", [*NETWORKS, *FORESTS])
def test_header_says_what_it_is_and_never_varies(family):
    model = trained(family)
    header = to_emlearn(model)
    assert header == to_emlearn(copy.deepcopy(model))
    assert header.kind == ("trees" if family in FORESTS else "net")
    text = header.header_text
    assert text.isascii()
    assert f"int stinger_{model.spec.name}_predict_proba(const int16_t *features, float *out);" in text
    for name in model.spec.feature_set.names:
        assert f" {name}\n" in text
    if family in NETWORKS:
        assert "0.000000f" not in text


def test_class_names_cannot_leave_the_comment():
    model = trained("logreg")
    named = replace(model, spec=replace(model.spec, classes=("*/ #error out /*", "µ\\")))
    comment = to_emlearn(named).header_text.split("*/")[0]
    assert " 0 ?? ?error out ??\n" in comment
    assert " 1 ??\n" in comment


@pytest.mark.parametrize("family", [*NETWORKS, *FORESTS])
def test_two_headers_live_in_one_program(tmp_path, family):
    first, second = trained(family), replace(trained(family, 4), spec=replace(trained(family, 4).spec, name="other"))
    for header in (to_emlearn(first), to_emlearn(second)):
        (tmp_path / f"{header.name}.h").write_text(header.header_text)
    (tmp_path / "main.c").write_text(
        f'#include "{first.spec.name}.h"\n#include "other.h"\n'
        "int main(void) { int16_t f[30] = {0}; float p[4];\n"
        f"return stinger_{first.spec.name}_predict_proba(f, p) + stinger_other_predict_proba(f, p); }}\n"
    )
    program = tmp_path / "main"
    compile_host([tmp_path / "main.c"], program, include=[include_dir()], strict=False, libraries=["m"])
    assert subprocess.run([program], check=False).returncode == 0


def test_split_above_every_feature_is_refused_and_below_is_kept(tmp_path):
    model = copy.deepcopy(trained("rf"))
    tree = model.estimator.estimators_[0].tree_
    tree.threshold[0] = -40000.5
    features = many_features(model)
    _, probability = run_emlearn(to_emlearn(model), features, tmp_path)
    np.testing.assert_allclose(probability, model.predict_proba_features(features), rtol=0, atol=1e-6)
    tree.threshold[0] = 32767.0
    with pytest.raises(InputError, match="splits above every int16 feature"):
        to_emlearn(model)


def test_weights_beyond_float_are_refused():
    model = copy.deepcopy(trained("logreg"))
    model.estimator.steps[1][1].coef_[0, 0] = 1e300
    with pytest.raises(InputError, match="too large for a C float"):
        to_emlearn(model)


def test_features_of_another_kind_are_refused(tmp_path):
    header = to_emlearn(trained("rf"))
    for features in (np.zeros((1, 29), np.int16), np.zeros((1, 30), np.float32)):
        with pytest.raises(InputError, match=r"int16 features of shape \(n, 30\)"):
            run_emlearn(header, features, tmp_path)


def test_importing_leaves_numpy_as_it_was():
    program = (
        "import numpy as np; np.seterr(under='warn'); before = np.geterr()\n"
        "import stinger_export.emlearn_header\n"
        "assert np.geterr() == before, np.geterr()\n"
        "import sys; assert 'emlearn.bayes' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
