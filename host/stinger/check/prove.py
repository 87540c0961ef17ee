"""Proof that a bundle's levels agree: estimator, ONNX, integer numpy, host C, board C, emlearn.

===== ==========================================
L0    the fitted estimator
L1    the ONNX graph in onnxruntime
L2    integer reference in numpy
L3    generated C on the host
L4    the same C on an (emulated) Cortex-M0+
===== ==========================================

L2, L3 and L4 must agree in every output bit, and on the policy's on or off after every sample, with a full window or
without. L1 and emlearn approximate L0 as closely as float32 does; L2 stays within a stated loss of L0.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.check.compare import Comparison, compare_exactly, compare_probabilities
from stinger.evaluation.metrics import accuracy, average_precision
from stinger.link.replay import ReplayResult
from stinger.models.policy import Policy
from stinger.windows.replay import ReplayStream
from stinger_export.bundle import Bundle
from stinger_export.emlearn_header import run_emlearn
from stinger_export.forms import is_forest
from stinger_export.integer.model import ONE, Decisions
from stinger_export.onnx_graph import run_onnx
from stinger_export.parity import EMLEARN_NET_BOUND, EMLEARN_TREE_BOUND, ONNX_BOUND, TIE, like_calibration

#: Largest loss of held-out accuracy from L0 to L2.
ACCURACY_LOSS = 0.005

Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class HostLevels:
    """What the levels on this computer say about each complete window of a stream.

    Attributes:
        ready: Samples at which a window is complete, ``(samples,)``.
        l0: Probabilities of the estimator, ``(windows, classes)``.
        l1: Probabilities and labels of the ONNX graph; None for a bundle without one.
        l2: Decisions of the integer model.
        emlearn: Probabilities and labels of the emlearn header; None for a bundle without one.
        on: Whether the integer model's policy is on after each sample, ``(samples,)``.
    """

    ready: NDArray[np.bool_]
    l0: Probabilities
    l1: tuple[Probabilities, NDArray[np.integer]] | None
    l2: Decisions
    emlearn: tuple[Probabilities, NDArray[np.integer]] | None
    on: NDArray[np.bool_]


@dataclass(frozen=True)
class Truth:
    """Held-out windows whose class is known.

    Attributes:
        position: Stream position of each window's last sample, ``(n,)``.
        label: Its class, ``(n,)``.
    """

    position: NDArray[np.int64]
    label: NDArray[np.uint8]


@dataclass(frozen=True)
class Proof:
    """The outcome for one model.

    Attributes:
        name: The model's name.
        family: Its family.
        comparisons: All pairs of levels compared.
        metrics: For each level, ``accuracy`` on the held-out windows and, for two classes, ``pr_auc``.
        failures: One line for each thing that does not hold; empty when everything does.
        policy: The model's policy, if it has one.
    """

    name: str
    family: str
    comparisons: tuple[Comparison, ...]
    metrics: dict[str, dict[str, float]]
    failures: tuple[str, ...]
    policy: Policy | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the proof as plain JSON values."""
        return {
            "model": self.name,
            "family": self.family,
            "metrics": self.metrics,
            "policy": None if self.policy is None else self.policy.to_json(),
            "comparisons": [
                {
                    "levels": list(c.levels),
                    "windows": c.windows,
                    "label_flips": c.flips,
                    "ties": c.ties,
                    "max_probability_difference": c.max_difference,
                    "bound": c.bound,
                    "policy_samples": c.policy_samples,
                    "failure": c.failure,
                }
                for c in self.comparisons
            ],
            "failures": list(self.failures),
        }


def host_levels(bundle: Bundle, stream: ReplayStream, *, emlearn: bool = True, onnx: bool = True) -> HostLevels:
    """Evaluate every level that needs no board.

    Args:
        bundle: The exported model.
        stream: Samples to classify.
        emlearn: Compile and run the emlearn header, too.
        onnx: Run the ONNX graph, too.

    Raises:
        InputError: The bundle's files are damaged.
        ToolchainError: The emlearn header cannot be compiled, or onnxruntime is missing.
    """
    windows = stream.windows(bundle.spec.window)
    l2 = bundle.integer.decide(windows)
    l1 = None
    if onnx and (graph := bundle.onnx()) is not None:
        label, probability = run_onnx(graph, windows)
        l1 = (probability.astype(np.float64), label)
    ready = stream.ready(bundle.spec.window)
    return HostLevels(
        ready=ready,
        l0=bundle.model.predict_proba_features(l2.feature),
        l1=l1,
        l2=l2,
        emlearn=emlearn_level(bundle, l2) if emlearn else None,
        on=bundle.integer.switch(stream.t_us, ready, windows, l2),
    )


def emlearn_level(bundle: Bundle, decided: Decisions) -> tuple[Probabilities, NDArray[np.integer]] | None:
    """Compile the emlearn header and run it on the features of decisions; None for a bundle without one.

    Raises:
        InputError: The header is not the model's.
        ToolchainError: It cannot be compiled.
    """
    header = bundle.emlearn()
    if header is None:
        return None
    with tempfile.TemporaryDirectory(prefix="stinger-emlearn-") as work:
        label, probability = run_emlearn(header, decided.feature, Path(work))
    return probability.astype(np.float64), label


def prove(
    bundle: Bundle,
    levels: HostLevels,
    boards: dict[str, ReplayResult],
    truth: Truth | None = None,
    *,
    in_range_only: bool = False,
) -> Proof:
    """Compare all levels.

    Args:
        bundle: The exported model.
        levels: What the host's levels say.
        boards: Answers of the exact levels by name (``L3``, ``L4``), one per sample of the same stream.
        truth: Held-out windows in the stream, if their classes are known.
        in_range_only: Compare L2 with L0 only on windows like the calibration windows, and on those; for samples that
            go beyond them on purpose.
    """
    l0, label, probability = levels.l0, levels.l2.label.astype(np.int64), levels.l2.probability / ONE
    if in_range_only:
        l0, label, probability = like_calibration(bundle.model, bundle.integer, l0, levels.l2)
    forest = is_forest(bundle.spec)
    eml_bound = EMLEARN_TREE_BOUND if forest else EMLEARN_NET_BOUND
    comparisons = []
    if levels.l1 is not None:
        comparisons.append(compare_probabilities(("L0", "L1"), levels.l0, *levels.l1, bound=ONNX_BOUND))
    comparisons += [
        compare_probabilities(
            ("L0", "L2"),
            l0,
            probability,
            label,
            bound=bundle.max_loss,
            flips_allowed=1.0,  # what flips may cost is bounded by ACCURACY_LOSS
        ),
        *(
            compare_exactly(("L2", name), levels.l2, levels.ready, result, on=levels.on, policy=bundle.spec.policy)
            for name, result in boards.items()
        ),
    ]
    if levels.emlearn is not None:
        tie = TIE if forest else 2 * eml_bound
        comparisons.append(
            compare_probabilities(("L0", "emlearn"), levels.l0, *levels.emlearn, bound=eml_bound, tie=tie)
        )
    failures = [c.failure for c in comparisons if c.failure is not None]
    metrics = _metrics(levels, boards, truth) if truth is not None else {}
    if metrics:
        loss = metrics["L0"]["accuracy"] - metrics["L2"]["accuracy"]
        if loss > ACCURACY_LOSS:
            failures.append(f"L2 loses {100 * loss:.2f} points of accuracy from L0, at most {100 * ACCURACY_LOSS:g}")
    return Proof(
        name=bundle.spec.name,
        family=bundle.spec.family,
        comparisons=tuple(comparisons),
        metrics=metrics,
        failures=tuple(f"{bundle.spec.name}: {line}" for line in failures),
        policy=bundle.spec.policy,
    )


def _metrics(levels: HostLevels, boards: dict[str, ReplayResult], truth: Truth) -> dict[str, dict[str, float]]:
    row = np.cumsum(levels.ready)[truth.position] - 1
    measured = {
        "L0": _measure(levels.l0[row], levels.l0[row].argmax(axis=1), truth.label),
        **({} if levels.l1 is None else {"L1": _measure(levels.l1[0][row], levels.l1[1][row], truth.label)}),
        "L2": _measure(levels.l2.probability[row] / ONE, levels.l2.label[row], truth.label),
    }
    for name, result in boards.items():
        probability = result.probability[truth.position] / ONE
        measured[name] = _measure(probability, result.label[truth.position], truth.label)
    if levels.emlearn is not None:
        measured["emlearn"] = _measure(levels.emlearn[0][row], levels.emlearn[1][row], truth.label)
    return measured


def _measure(probability: Probabilities, label: NDArray[np.integer], truth: NDArray[np.uint8]) -> dict[str, float]:
    measured = {"accuracy": accuracy(truth, label)}
    if probability.shape[1] == 2:
        measured["pr_auc"] = average_precision(truth, probability[:, 1])
    return measured
