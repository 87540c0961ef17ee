"""Feature sets inside scikit-learn: its own checks, pipelines, searches and cross-validation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator
from toy import channels_for, toy_dataset

from stinger.features.sets import FEATURE_SETS, feature_set
from stinger.features.transformer import WindowFeatures

DATA = toy_dataset(per_class=60)
FLAT = DATA.windows.reshape(len(DATA.windows), -1)
SIX = ("ax", "ay", "az", "gx", "gy", "gz")
#: Sets that take any channels; the checks bring windows of one to ten numbers, too few for six channels.
ANY_CHANNELS = ["summary", "rich", "flatten", "float-summary", "float-rich", "float-flatten"]


@pytest.mark.parametrize("name", ANY_CHANNELS)
def test_scikit_learns_own_checks(name):
    """All of them, nothing excused; integer sets get a scale, as the checks bring fractions.

    The one check that does not run needs scipy's array API switched on in the environment before it is imported.
    """
    scales = None if name.startswith("float-") else 1 / 64
    results = check_estimator(WindowFeatures(name, channels=("x",), scales=scales), on_skip=None, on_fail=None)
    unhappy = {r["check_name"]: str(r["exception"]) for r in results if r["status"] != "passed"}
    assert set(unhappy) <= {"check_array_api_input"}, unhappy
    assert len(results) > 35


@pytest.mark.parametrize("name", FEATURE_SETS)
def test_transform_is_the_feature_set(name):
    data = toy_dataset(per_class=60, channels=channels_for(name))
    channels = [c.name for c in data.channels]
    flat = data.windows.reshape(len(data.windows), -1)
    expected = feature_set(name, channels, data.window).compute(data.windows)
    transformer = WindowFeatures(name, channels=None if len(channels) == 6 else channels)
    for windows in (data.windows, flat, flat.astype(np.int64), flat.astype(np.float64), flat.astype(np.float32)):
        computed = clone(transformer).fit_transform(windows)
        assert computed.dtype == expected.dtype
        np.testing.assert_array_equal(computed, expected)
    np.testing.assert_array_equal(transformer.fit(data.windows.tolist()).transform(flat), expected)
    names = transformer.get_feature_names_out()
    assert names.tolist() == list(transformer.feature_set_.names)
    assert transformer.n_features_in_ == flat.shape[1]


def test_pipeline_search_and_cross_validation():
    pipeline = make_pipeline(WindowFeatures(), StandardScaler(), LogisticRegression())
    scores = cross_validate(pipeline, FLAT, DATA.labels, cv=3, error_score="raise")["test_score"]
    direct = cross_validate(
        make_pipeline(StandardScaler(), LogisticRegression()),
        feature_set("rich", SIX, DATA.window).compute(DATA.windows).astype(float),
        DATA.labels,
        cv=3,
    )["test_score"]
    np.testing.assert_array_equal(scores, direct)
    grid = {"windowfeatures__feature_set": ["summary", "invariant", "float-invariant-rich"]}
    search = GridSearchCV(pipeline, grid, cv=3, error_score="raise").fit(FLAT, DATA.labels)
    assert search.best_score_ > 0.8
    assert len(search.cv_results_["params"]) == 3
    assert search.best_estimator_[:-1].get_feature_names_out()[0] in ("mean_ax", "mean_|jerk|")


def test_physical_values_become_counts():
    """As a sensor would have stored them: the nearest count."""
    scales = np.array([1 / 2048] * 3 + [1 / 16.4] * 3)
    physical = DATA.windows * scales + scales * 0.3
    computed = WindowFeatures("rich", scales=list(scales)).fit_transform(physical)
    np.testing.assert_array_equal(computed, feature_set("rich", SIX, DATA.window).compute(DATA.windows))


@pytest.mark.parametrize(
    ("parameters", "windows", "message"),
    [
        ({"feature_set": "ritch"}, FLAT, "did you mean rich"),
        ({"feature_set": "invariant", "channels": ("x", "y", "z")}, FLAT, "need an accelerometer"),
        ({"channels": ()}, FLAT, "at least one channel"),
        ({"channels": ("a", "b", "c", "d", "e", "f", "g")}, FLAT, "samples of 7 channels .* X has 300 feature"),
        ({"window": 49}, FLAT, "49 samples of 6 channels"),
        ({}, DATA.windows[:, :, :4], "X has 4 channels, expected 6"),
        ({}, FLAT[:, :6], "2 to 1024 samples, not 1"),
        ({}, FLAT[:0], "0 sample"),
        ({}, FLAT / 2048, "takes counts, whole numbers .* give the scales"),
        ({}, FLAT.astype(int) * 40, "takes counts, whole numbers from -32768 to 32767, not "),
        ({"scales": 1e-6}, FLAT, "takes counts, whole numbers from -32768 to 32767, not "),
        ({"scales": 0}, FLAT, "one positive number"),
        ({"scales": [1, 2]}, FLAT, "one for each of 6 channels"),
        ({"scales": float("nan")}, FLAT, "one positive number"),
        ({"feature_set": "float-rich"}, np.full((3, 300), np.nan), "NaN"),
        ({}, np.full((3, 300), np.inf), "infinity"),
        ({}, sparse.csr_array(FLAT), "[Ss]parse"),
        ({}, np.array([["a"] * 300]), "could not convert|numeric"),
        ({}, np.zeros((2, 2, 2, 6)), "dim 4|ndim"),
    ],
)
def test_mistakes_are_value_errors(parameters, windows, message):
    with pytest.raises((ValueError, TypeError), match=message):
        WindowFeatures(**parameters).fit(windows)


def test_other_windows_than_fitted_are_refused():
    fitted = WindowFeatures().fit(FLAT)
    with pytest.raises(ValueError, match="294 features"):
        fitted.transform(FLAT[:, :294])
    with pytest.raises(ValueError, match="takes counts"):
        fitted.transform(FLAT + 0.5)
    with pytest.raises(NotFittedError):
        WindowFeatures().transform(FLAT)
