"""Our graphs against those that skl2onnx makes of the same estimators: somebody else's reading of scikit-learn."""

import numpy as np
import onnxruntime
import pytest
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from toy import toy_dataset

from stinger.models.train import train
from stinger_export.forms import portable
from stinger_export.onnx_graph import run_graph, to_onnx_classifier


def by_skl2onnx(estimator, features):
    types = [("features", FloatTensorType([None, features.shape[1]]))]
    model = convert_sklearn(estimator, initial_types=types, options={id(estimator): {"zipmap": False}}, target_opset=18)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["label", "probabilities"], {"features": features.astype(np.float32)})


# Trees behind a scaler would not agree there; ours have none.
@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("family", ["logreg", "mlp", "rf", "dt"])
def test_probabilities_are_those_of_skl2onnx(family, classes):
    model = train(toy_dataset(classes=classes, per_class=60), family, folds=0)
    features = model.spec.feature_set.compute(toy_dataset(classes=classes, per_class=200, seed=3).windows)
    _, theirs = by_skl2onnx(portable(model), features)
    label, ours, _ = run_graph(to_onnx_classifier(model), features)
    assert np.abs(ours - theirs).max() <= 1e-5
    assert label.tolist() == theirs.argmax(axis=1).tolist()
