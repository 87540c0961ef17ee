"""What an exporter sees of a model: one of five kinds of estimator, whichever family it is of.

Families differ in how they are fitted. What is left of them is a standardised linear layer, standardised layers of
rectified linear units, a convolutional network, a forest of decision trees or boosted ones, and those the exporters
know. The device's targets take fewer than ONNX does: `require_exportable` and `require_onnx`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import LabelBinarizer, StandardScaler

from stinger.errors import InputError, UsageError
from stinger.features.sets import require_on_device
from stinger.models.families import family
from stinger.models.spec import ModelSpec, TrainedModel

#: Families whose models are a forest.
FORESTS = ("rf", "et", "dt")
#: Families whose models are standardised features and dense layers.
NETWORKS = ("logreg", "ridge", "mlp", "torch-mlp")
#: Families whose models are boosted trees.
BOOSTED = ("hgb", "xgb")
#: Families whose models are convolutions of the window's samples.
CONVOLUTIONS = ("torch-cnn",)


def require_exportable(spec: ModelSpec) -> None:
    """Refuse a model that has no form on the device, before anything is made of it.

    Raises:
        InputError: Its family has none, its family and its features do not go together, or the device does not compute
            those.
    """
    known = (*NETWORKS, *FORESTS, *BOOSTED, *CONVOLUTIONS)
    if spec.family not in known:
        raise InputError(
            f"model {spec.name} cannot be exported: {spec.family} has no integer form; train one of {', '.join(known)}"
        )
    _require_taken(spec)
    require_on_device(spec.features)


def require_onnx(spec: ModelSpec) -> None:
    """Refuse a model that has no ONNX form, before anything is made of it.

    Raises:
        InputError: Its family has none, or its family and its features do not go together.
    """
    known = (*NETWORKS, *FORESTS, *BOOSTED, *CONVOLUTIONS)
    if spec.family not in known:
        raise InputError(
            f"model {spec.name} cannot be exported: {spec.family} has no ONNX form; train one of {', '.join(known)}"
        )
    _require_taken(spec)


def _require_taken(spec: ModelSpec) -> None:
    try:
        family(spec.family).check_features(spec.features)
    except UsageError as error:
        raise InputError(f"model {spec.name} cannot be exported: {error}; train it anew") from error


def portable(model: TrainedModel) -> Any:
    """Return the model as a standardised linear or dense network, a forest, boosted trees or a convolutional network.

    That is ``Pipeline(StandardScaler, LogisticRegression or MLPClassifier)``, a forest classifier, an estimator with
    ``trees_`` or a ``TorchCNNClassifier``.

    Its ``predict_proba`` is the model's own to float64 rounding.

    Raises:
        InputError: As `require_exportable`.
    """
    require_exportable(model.spec)
    return _form(model)


def onnx_form(model: TrainedModel) -> Any:
    """Return the model as `portable` does, of any features.

    Raises:
        InputError: As `require_onnx`.
    """
    require_onnx(model.spec)
    return _form(model)


def _form(model: TrainedModel) -> Any:
    estimator: Any = model.estimator
    if model.spec.family == "ridge":
        return Pipeline([("scale", estimator[0]), ("classify", _logistic(estimator[1]))])
    if model.spec.family == "torch-mlp":
        return _perceptron(estimator)
    if model.spec.family == "dt":
        return _forest_of_one(estimator)
    return estimator


def is_forest(spec: ModelSpec) -> bool:
    """Whether the portable form is a forest."""
    return spec.family in FORESTS


def is_boosted(spec: ModelSpec) -> bool:
    """Whether the portable form is boosted trees, an estimator with ``trees_``."""
    return spec.family in BOOSTED


def is_convolution(spec: ModelSpec) -> bool:
    """Whether the portable form is a convolutional network."""
    return spec.family in CONVOLUTIONS


def _logistic(linear: Any) -> LogisticRegression:
    classifier = LogisticRegression()
    classifier.coef_, classifier.intercept_ = linear.coef_, linear.intercept_
    classifier.classes_, classifier.n_features_in_ = linear.classes_, linear.n_features_in_
    return classifier


def _perceptron(network: Any) -> Pipeline:
    weights = [weight.T for weight in network.coefs_]
    biases = list(network.intercepts_)
    classes = len(network.classes_)
    if classes == 2:
        # A softmax of two logits is the logistic function of their difference.
        weights[-1] = weights[-1][:, 1:] - weights[-1][:, :1]
        biases[-1] = biases[-1][1:] - biases[-1][:1]
    scaler = StandardScaler()
    scaler.mean_, scaler.scale_, scaler.var_ = network.mean_, network.scale_, network.scale_**2
    scaler.n_features_in_ = network.n_features_in_
    if len(weights) == 1:
        classifier: Any = LogisticRegression()
        classifier.coef_, classifier.intercept_ = weights[0].T, biases[0]
    else:
        classifier = MLPClassifier([len(bias) for bias in biases[:-1]], activation="relu")
        classifier.coefs_, classifier.intercepts_ = weights, biases
        classifier.n_layers_, classifier.n_outputs_ = len(weights) + 1, len(biases[-1])
        classifier.out_activation_ = "logistic" if classes == 2 else "softmax"
        classifier._label_binarizer = LabelBinarizer().fit(np.arange(classes))
    classifier.classes_, classifier.n_features_in_ = network.classes_, network.n_features_in_
    return Pipeline([("scale", scaler), ("classify", classifier)])


def _forest_of_one(tree: Any) -> RandomForestClassifier:
    forest = RandomForestClassifier(1)
    forest.estimators_ = [tree]
    forest.classes_, forest.n_classes_ = tree.classes_, tree.n_classes_
    forest.n_features_in_, forest.n_outputs_ = tree.n_features_in_, tree.n_outputs_
    return forest
