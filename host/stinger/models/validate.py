"""Whether an estimator is the model its spec says, and a clean copy of it.

scikit-learn's methods read dozens of attributes and believe them all, and its trees follow their indices without
looking. So an estimator from a file is never run: its weights are checked, and put into a new estimator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import LabelBinarizer, StandardScaler

from stinger.errors import InputError
from stinger.models.boosted import Trees
from stinger.models.calibrated import CalibratedRidgeClassifier
from stinger.models.families import FAMILIES
from stinger.models.spec import ModelSpec

MAX_LAYERS = 8
MAX_UNITS = 4096
MAX_TREES = 1000
#: Most feature vectors a model carries for setting the ranges of its integer form.
MAX_CALIBRATION = 4096
#: Most bytes of them; it takes very long windows as features to get there.
MAX_CALIBRATION_BYTES = 32 * 2**20


def rebuilt(estimator: Any, spec: ModelSpec, name: str) -> Any:
    """Return a new estimator with the options of the spec and the checked weights of this one.

    Nothing of the given estimator's code runs. Predicting with the new one reads no memory but its own, ends, and
    gives exactly what the given one would.

    Args:
        estimator: A fitted estimator, possibly from an untrusted file.
        spec: The manifest it came with.
        name: What to call it in messages.

    Raises:
        InputError: Anything is missing or does not fit.
    """
    family = FAMILIES[spec.family]
    if not _options_fit(spec.options, family.defaults):
        raise InputError(f"{name}: its options are not those of a {spec.family}; train it again")
    fresh = family.unfitted(spec.seed, channels=len(spec.channels), **spec.options)
    features, classes = len(spec.feature_set), len(spec.classes)
    try:
        fits = _COPIES[spec.family](estimator, fresh, features, classes)
    except (AttributeError, TypeError, ValueError, IndexError, KeyError):
        fits = False
    if not fits:
        raise InputError(
            f"{name} does not hold a {spec.family} of {features} features and {classes} classes, "
            "as its manifest says; save the model again"
        )
    return fresh


def _options_fit(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> bool:
    """Whether each option is known and a number (or list of numbers) as its default is."""

    def fits(value: Any, default: Any) -> bool:
        if isinstance(default, tuple):
            return (
                isinstance(value, (list, tuple))
                and 1 <= len(value) < MAX_LAYERS
                and all(type(v) is int and 1 <= v <= MAX_UNITS for v in value)
            )
        if isinstance(default, float):
            return type(value) in (int, float) and math.isfinite(value) and value >= 0
        return value is None or (type(value) is int and 1 <= value < 2**31)

    return all(key in defaults and fits(value, defaults[key]) for key, value in options.items())


def calibration_rows(features: int, dtype: Any) -> int:
    """Most feature vectors of this length and type that a model carries for setting the ranges of its integer form."""
    return max(1, min(MAX_CALIBRATION, MAX_CALIBRATION_BYTES // (features * int(np.dtype(dtype).itemsize))))


def check_calibration(calibration: NDArray[Any], spec: ModelSpec, name: str) -> None:
    """Refuse calibration features that are not of the feature set's type, shape ``(1..calibration_rows, features)``.

    Raises:
        InputError: They are something else.
    """
    shape, features = calibration.shape, len(spec.feature_set)
    dtype = np.dtype(np.int16 if spec.feature_set.integer else np.float64)
    most = calibration_rows(features, dtype)
    if calibration.dtype != dtype or shape[1:] != (features,) or not 1 <= shape[0] <= most:
        raise InputError(
            f"{name}: calibration is {calibration.dtype}{shape}, it must be {dtype} with {features} columns and "
            f"1 to {most} rows; train the model again"
        )
    if not np.isfinite(calibration).all():
        raise InputError(f"{name}: calibration holds numbers that are not finite; train the model again")


def _finite(array: Any, shape: tuple[int, ...]) -> bool:
    return bool(
        type(array) is np.ndarray and array.shape == shape and array.dtype == np.float64 and np.isfinite(array).all()
    )


def _labels(estimator: Any, classes: int) -> bool:
    return bool(np.array_equal(estimator.classes_, np.arange(classes)))


def _scaler(estimator: Any, fresh: Any, features: int) -> bool:
    """Copy the scaler of a pipeline."""
    if type(estimator) is not Pipeline or [step for step, _ in estimator.steps] != ["scale", "classify"]:
        return False
    given: Any = estimator.steps[0][1]
    scaler: Any = fresh.steps[0][1]
    if type(given) is not StandardScaler or given.with_mean is not True or given.with_std is not True:
        return False
    if not all(_finite(part, (features,)) for part in (given.mean_, given.scale_, given.var_)):
        return False
    scaler.mean_, scaler.scale_, scaler.var_ = given.mean_, given.scale_, given.var_
    scaler.n_features_in_ = features
    return bool((given.scale_ > 0).all())


def _linear(estimator: Any, fresh: Any, features: int, classes: int) -> bool:
    if not _scaler(estimator, fresh, features):
        return False
    given: Any = estimator.steps[1][1]
    classifier: Any = fresh.steps[1][1]
    rows = 1 if classes == 2 else classes
    if type(given) is not type(classifier) or not _labels(given, classes):
        return False
    if type(given) is not CalibratedRidgeClassifier and (
        type(given) is not LogisticRegression or given.solver != "lbfgs"
    ):
        return False
    classifier.coef_, classifier.intercept_ = given.coef_, given.intercept_
    classifier.classes_, classifier.n_features_in_ = np.arange(classes), features
    return _finite(given.coef_, (rows, features)) and _finite(given.intercept_, (rows,))


def _mlp(estimator: Any, fresh: Any, features: int, classes: int) -> bool:
    if not _scaler(estimator, fresh, features):
        return False
    given: Any = estimator.steps[1][1]
    classifier: Any = fresh.steps[1][1]
    outputs, activation = (1, "logistic") if classes == 2 else (classes, "softmax")
    if type(given) is not MLPClassifier or given.activation != "relu" or not _labels(given, classes):
        return False
    widths = [features, *classifier.hidden_layer_sizes, outputs]
    shapes = list(pairwise(widths))
    if not len(given.coefs_) == len(given.intercepts_) == len(shapes) or given.out_activation_ != activation:
        return False
    classifier.coefs_, classifier.intercepts_ = list(given.coefs_), list(given.intercepts_)
    classifier.n_layers_, classifier.n_outputs_, classifier.out_activation_ = len(widths), outputs, activation
    classifier.classes_, classifier.n_features_in_ = np.arange(classes), features
    classifier._label_binarizer = LabelBinarizer().fit(np.arange(classes))
    return all(_finite(w, shape) for w, shape in zip(given.coefs_, shapes, strict=True)) and all(
        _finite(b, shape[1:]) for b, shape in zip(given.intercepts_, shapes, strict=True)
    )


def _forest(estimator: Any, fresh: Any, features: int, classes: int) -> bool:
    if type(estimator) is not type(fresh) or not _labels(estimator, classes):
        return False
    given, member = estimator.estimators_, type(fresh.estimator)
    if type(given) is not list or len(given) != fresh.n_estimators or len(given) > MAX_TREES:
        return False
    if not all(type(tree) is member and _leads(tree.tree_, features, classes) for tree in given):
        return False
    options = {option: getattr(fresh, option) for option in fresh.estimator_params}
    fresh.estimators_ = [member(**options) for _ in given]
    for copy, tree in zip(fresh.estimators_, given, strict=True):
        copy.tree_ = tree.tree_
    for part in (fresh, *fresh.estimators_):
        _describe_tree(part, features, classes)
    return True


def _tree(estimator: Any, fresh: Any, features: int, classes: int) -> bool:
    if type(estimator) is not type(fresh) or not _labels(estimator, classes):
        return False
    fresh.tree_ = estimator.tree_
    _describe_tree(fresh, features, classes)
    return _leads(estimator.tree_, features, classes)


def _describe_tree(fresh: Any, features: int, classes: int) -> None:
    fresh.n_features_in_, fresh.n_outputs_, fresh.n_classes_ = features, 1, classes
    fresh.classes_ = np.arange(classes)


def _boosted(estimator: Any, fresh: Any, features: int, classes: int) -> bool:
    if type(estimator) is not type(fresh) or not _labels(estimator, classes):
        return False
    trees: Trees = estimator.trees_
    fresh.keep(trees)
    fresh.classes_, fresh.n_features_in_ = np.arange(classes), features
    return trees.sound(features, 1 if classes == 2 else classes)


def _torch(estimator: Any, fresh: Any, features: int, classes: int) -> bool:
    if type(estimator) is not type(fresh) or not _labels(estimator, classes):
        return False
    weights, biases = estimator.coefs_, estimator.intercepts_
    shapes = fresh.shapes(features, classes)
    if type(weights) is not list or type(biases) is not list or not len(weights) == len(biases) == len(shapes):
        return False
    fresh.mean_, fresh.scale_ = estimator.mean_, estimator.scale_
    fresh.coefs_, fresh.intercepts_ = list(weights), list(biases)
    fresh.classes_, fresh.n_features_in_ = np.arange(classes), features
    scaled = shapes[0][1]  # features of a perceptron, channels of a convolution
    return bool(
        _finite(fresh.mean_, (scaled,))
        and _finite(fresh.scale_, (scaled,))
        and (fresh.scale_ > 0).all()
        and all(_finite(w, shape) for w, shape in zip(weights, shapes, strict=True))
        and all(_finite(b, shape[:1]) for b, shape in zip(biases, shapes, strict=True))
    )


def _leads(tree: Any, features: int, classes: int) -> bool:
    """Whether every path through a tree ends in a leaf that holds probabilities."""
    # The capacity is what is allocated: the arrays below are views of node_count entries.
    if not 1 <= tree.node_count == tree.capacity:
        return False
    if tree.n_features != features or tree.n_outputs != 1 or tree.n_classes.tolist() != [classes]:
        return False
    left, right, count = tree.children_left, tree.children_right, tree.node_count
    leaf = left == -1
    inner, at = ~leaf, np.arange(count)
    # A child comes after its parent, so every path ends.
    linked = [(child > at) & (child < count) for child in (left, right)]
    share = tree.value[:, 0, :]
    return bool(
        np.array_equal(leaf, right == -1)
        and linked[0][inner].all()
        and linked[1][inner].all()
        and ((tree.feature[inner] >= 0) & (tree.feature[inner] < features)).all()
        and np.isfinite(tree.threshold).all()
        and tree.value.shape == (count, 1, classes)
        and (share >= 0).all()
        and np.allclose(share.sum(axis=1), 1, rtol=0, atol=1e-6)
    )


#: How the weights of each family are checked and copied.
_COPIES: dict[str, Callable[[Any, Any, int, int], bool]] = {
    "logreg": _linear,
    "ridge": _linear,
    "mlp": _mlp,
    "rf": _forest,
    "et": _forest,
    "hgb": _boosted,
    "dt": _tree,
    "xgb": _boosted,
    "torch-mlp": _torch,
    "torch-cnn": _torch,
}
