"""How far each exported form is from the model it was made from, measured at export and again by every check.

Levels: L0 the fitted estimator, L1 ONNX in onnxruntime, L2 the integer reference in numpy. The samples are those of
`stinger_export.exercise`, made from the model alone, and the training windows whose features the model keeps; L1 and
L2 are also measured on held-out windows, whose classes are known, so that a loss of AUC shows.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from stinger.evaluation.metrics import accuracy, average_precision, roc_auc
from stinger.models.spec import HeldOut, TrainedModel
from stinger.windows.replay import ReplayStream
from stinger_export.emlearn_header import EmlearnHeader, run_emlearn
from stinger_export.exercise import usual_samples
from stinger_export.image.model import from_image, to_image
from stinger_export.integer.model import ONE, Boosted, Decisions, Forest, IntegerModel
from stinger_export.onnx_graph import run_onnx
from stinger_export.stock.arithmetic import run_stock
from stinger_export.stock.header import read_stock_header
from stinger_export.stock.image import StockModel, parse_image

#: Largest change of a probability from L0: float32 arithmetic, and integer arithmetic.
ONNX_BOUND = 1e-5
INTEGER_BOUND = 0.03
#: emlearn: float32 networks, and trees whose leaves hold 8 bits.
EMLEARN_NET_BOUND = 1e-4
EMLEARN_TREE_BOUND = 0.005
#: The stock firmware: float32 with a variance of one pass, which loses digits where the mean is large.
STOCK_BOUND = 0.005
#: A margin between the two likeliest classes below which the estimator itself breaks a tie by rounding.
TIE = 1e-6

Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class Parity:
    """One exported form against the model.

    Attributes:
        target: What was exported.
        levels: The two levels compared.
        windows: Windows compared.
        flips: Windows whose labels differ, ties aside.
        max_difference: Largest difference of a probability.
        mean_difference: Mean over the windows of the largest difference of a class.
        agreement: Share of windows with the same label.
        bound: Largest difference allowed.
        failure: One line saying what is wrong, or None.
        auc_loss: On held-out windows of more than one class, the loss of ROC AUC (`scores`); a gain is negative.
    """

    target: str
    levels: tuple[str, str]
    windows: int
    flips: int
    max_difference: float
    mean_difference: float
    agreement: float
    bound: float
    failure: str | None = None
    auc_loss: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; figures have three digits, as more would only tell processors apart."""
        values = {k: _three_digits(v) if isinstance(v, float) else v for k, v in asdict(self).items()}
        return {**values, "levels": list(self.levels)}


class Samples:
    """What the forms of one model are asked.

    Args:
        model: The model.
        stream: What `exercise_stream` made of it.
        held_out: Held-out windows, if there are any.
    """

    def __init__(self, model: TrainedModel, stream: ReplayStream, held_out: HeldOut | None = None) -> None:
        self.model = model
        self.held_out = held_out
        self.held_out_l0: Probabilities | None = None if held_out is None else model.predict_proba(held_out.windows)
        self.stream = stream
        self.windows = stream.windows(model.spec.window)
        ready = np.flatnonzero(stream.ready(model.spec.window))
        #: Windows like those of the training data, not made of extremes.
        self.usual: NDArray[np.bool_] = ready < usual_samples(model.spec)
        self.features = model.spec.feature_set.compute(self.windows)
        self.l0: Probabilities = model.predict_proba_features(self.features)


def onnx_parity(samples: Samples, graph: ModelProto) -> Parity:
    """Compare a graph in onnxruntime, from windows or from features only, with the estimator."""
    from_features = graph.graph.input[0].name == "features"
    name, level = ("onnx, from features", "L1 features") if from_features else ("onnx", "L1")
    label, probability = run_onnx(graph, samples.features if from_features else samples.windows)
    if probability.shape != samples.l0.shape or label.shape != samples.l0.shape[:1]:
        failure = "the graph answers for another number of classes"
        return Parity(name, ("L0", level), 0, 0, 1.0, 1.0, 0.0, ONNX_BOUND, failure)
    return _compare(name, ("L0", level), samples.l0, probability, label, bound=ONNX_BOUND)


def emlearn_parity(samples: Samples, header: EmlearnHeader) -> Parity:
    """Compile the emlearn header for this computer and compare it with the estimator.

    Raises:
        ToolchainError: There is no compiler, or it refuses.
    """
    bound = EMLEARN_TREE_BOUND if header.kind == "trees" else EMLEARN_NET_BOUND
    with tempfile.TemporaryDirectory(prefix="stinger-emlearn-") as work:
        label, probability = run_emlearn(header, samples.features, Path(work))
    tie = TIE if header.kind == "trees" else 2 * bound
    return _compare("emlearn", ("L0", "emlearn"), samples.l0, probability, label, bound=bound, tie=tie)


def integer_parity(samples: Samples, integer: IntegerModel, max_loss: float = INTEGER_BOUND) -> Parity:
    """Compare the integer model with the estimator, on calibration windows and windows like them."""
    l0, label, probability = like_calibration(samples.model, integer, samples.l0, integer.decide(samples.windows))
    return _compare(
        "integer",
        ("L0", "L2"),
        l0,
        probability,
        label,
        bound=max_loss,
        undecided=2 * max_loss,
    )


def like_calibration(
    model: TrainedModel, integer: IntegerModel, l0: Probabilities, decided: Decisions
) -> tuple[Probabilities, NDArray[np.int64], Probabilities]:
    """Choose the windows for which the integers must give the model's probabilities.

    Trees give them for every window. A network does where its training windows lie: in the range of each feature's
    calibration values, widened by its own width on either side. Tens of deviations away, where recoil and the corners
    of int16 are, the rounding of a weight counts tens of times, and what remains true is only that L2 to L5 agree.

    Args:
        model: The model.
        integer: Its integers.
        l0: What the estimator says of some windows, ``(n, classes)``.
        decided: What the integers say of them.

    Returns:
        What the estimator says of the calibration windows and those of the given ones that are like them, and labels
        and probabilities that the integers give for the same.
    """
    kept = model.calibration
    meant = integer.in_range(decided.feature)
    if not isinstance(integer.body, (Forest, Boosted)):
        low, high = kept.min(axis=0).astype(np.int64), kept.max(axis=0).astype(np.int64)
        meant &= ((decided.feature >= 2 * low - high) & (decided.feature <= 2 * high - low)).all(axis=1)
    probability, score = integer.body.decide(kept)
    label = (score[:, 0] > 0).astype(np.int64) if score.shape[1] == 1 else score.argmax(axis=1)
    return (
        np.concatenate([l0[meant], model.predict_proba_features(kept)]),
        np.concatenate([decided.label[meant].astype(np.int64), label]),
        np.concatenate([decided.probability[meant], probability]) / ONE,
    )


def held_out_parity(samples: Samples, form: IntegerModel | ModelProto, max_loss: float = INTEGER_BOUND) -> Parity:
    """Compare the integer model or the ONNX graph with the estimator on held-out windows.

    What it loses of the ROC AUC is bounded by ``max_loss``, too, or by what exchanging one pair of windows costs where
    there are so few that this is more.

    Raises:
        ValueError: There are no held-out windows.
    """
    if samples.held_out is None or samples.held_out_l0 is None:
        raise ValueError("there are no held-out windows")
    label, probability = answers(form, samples.held_out.windows)
    if isinstance(form, IntegerModel):
        name, level, bound, undecided = "integer", "L2", max_loss, 2 * max_loss
    else:
        name, level, bound, undecided = "onnx", "L1", ONNX_BOUND, TIE
    parity = _compare(
        f"{name}, held out", ("L0", level), samples.held_out_l0, probability, label, bound=bound, undecided=undecided
    )
    truth, l0 = samples.held_out.labels, samples.held_out_l0
    count = np.unique(truth, return_counts=True)[1]
    if len(count) < 2:
        return parity
    before, after = scores(truth, l0, l0.argmax(axis=1)), scores(truth, probability, label)
    loss = before["roc_auc"] - after["roc_auc"]
    allowed = max(max_loss, 1 / float((count * (len(truth) - count)).min()) + TIE)
    failure = parity.failure
    if failure is None and not loss <= allowed:
        failure = f"{level} loses {loss:.2g} of the ROC AUC of L0 on held-out windows, at most {allowed:.2g} is allowed"
    return replace(parity, failure=failure, auc_loss=loss)


def answers(form: IntegerModel | ModelProto, windows: NDArray[np.int16]) -> tuple[NDArray[np.integer], Probabilities]:
    """Labels ``(n,)`` and probabilities ``(n, classes)`` of a form for windows ``(n, window, channels)``."""
    if isinstance(form, IntegerModel):
        decided = form.decide(windows)
        return decided.label, decided.probability / ONE
    label, probability = run_onnx(form, windows)
    return label, probability.astype(np.float64)


def scores(truth: NDArray[Any], probability: Probabilities, label: NDArray[Any]) -> dict[str, float]:
    """``accuracy``, ``roc_auc`` (the mean over the classes, each against the others) and, of two classes, ``pr_auc``.

    AUCs are left out where the windows are all of one class.

    Args:
        truth: Classes, shape ``(n,)``.
        probability: Of each class, shape ``(n, classes)``.
        label: What was answered, shape ``(n,)``.
    """
    measured = {"accuracy": accuracy(truth, label)}
    present = np.unique(truth).tolist()
    if len(present) > 1:
        classes = [1] if probability.shape[1] == 2 else present
        measured["roc_auc"] = float(np.mean([roc_auc(truth == k, probability[:, k]) for k in classes]))
        if probability.shape[1] == 2:
            measured["pr_auc"] = average_precision(truth, probability[:, 1])
    return measured


def image_parity(samples: Samples, integer: IntegerModel, image: bytes | None = None) -> Parity:
    """Read the image back and compare every output bit with the integer model."""
    again = from_image(to_image(integer) if image is None else image, "model.mlmd")
    if again.hash != integer.hash:
        return Parity("mlmd", ("L2", "mlmd"), 0, 0, 1.0, 1.0, 0.0, 0.0, "the image holds another model")
    expected, got = integer.decide(samples.windows), again.decide(samples.windows)
    parity = _compare("mlmd", ("L2", "mlmd"), expected.probability / ONE, got.probability / ONE, got.label, bound=0.0)
    same = np.array_equal(expected.score, got.score) and np.array_equal(expected.label, got.label)
    failure = None if same else "the image read back decides otherwise"
    return Parity(**{**parity.__dict__, "flips": int((expected.label != got.label).sum()), "failure": failure})


def stock_parity(samples: Samples, stock: StockModel) -> Parity:
    """Compare the stock firmware's float32 arithmetic, before its motion gate, with the estimator."""
    return _stock_parity("mlmd", "stock", samples, parse_image(stock.to_bytes(), "stock.mlmd"))


def stock_header_parity(samples: Samples, text: str) -> Parity:
    """Compare the numbers that a header for the stock firmware's build holds with the estimator."""
    return _stock_parity("stock-header", "stock header", samples, read_stock_header(text))


def _stock_parity(target: str, level: str, samples: Samples, stock: StockModel) -> Parity:
    p = run_stock(stock, samples.windows[samples.usual]).probability.astype(np.float64)
    both = np.stack([1 - p, p], axis=1)
    return _compare(
        target,
        ("L0", level),
        samples.l0[samples.usual],
        both,
        (p > 0.5).astype(np.int64),
        bound=STOCK_BOUND,
        tie=2 * STOCK_BOUND,
    )


def _compare(
    target: str,
    levels: tuple[str, str],
    first: Probabilities,
    second: NDArray[Any],
    label: NDArray[np.integer],
    *,
    bound: float,
    tie: float = TIE,
    undecided: float = 0.0,
) -> Parity:
    """Compare probabilities ``(n, classes)`` and labels with a first level's; its label is the likeliest class.

    Another label is a flip where the margin between the first level's two likeliest classes is above ``tie``, and a
    failure where it is also above ``undecided``: such a window may go either way within the bound.
    """
    difference = np.abs(first - second.astype(np.float64)).max(axis=1)
    ordered = np.sort(first, axis=1)
    differs = first.argmax(axis=1) != label
    margin = ordered[:, -1] - ordered[:, -2]
    flips = int((differs & (margin > tie)).sum())
    decided = int((differs & (margin > max(tie, undecided))).sum())
    worst = float(difference.max(initial=0.0))
    failure = None
    if not len(first):
        failure = "there are no windows to compare"
    elif not worst <= bound:  # catches NaN too
        failure = f"{levels[1]} differs from {levels[0]} by {worst:.2g}, at most {bound:g} is allowed"
    elif decided:
        failure = f"{levels[1]} gives {decided} of {len(first)} windows another label than {levels[0]}"
    mean, agree = (float(difference.mean()), float(1 - differs.mean())) if len(first) else (0.0, 0.0)
    return Parity(target, levels, len(first), flips, worst, mean, agree, bound, failure)


def _three_digits(value: float) -> float:
    return float(f"{value:.3g}")
