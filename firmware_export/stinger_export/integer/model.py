"""Integer models: the numbers the device holds, and their arithmetic in numpy (parity level L2).

Every operation here and in `network` has its twin in ``device/stinger_ml`` (`stinger_forest.c`); both are
specified by the comments in ``stinger_ml.h``. int64 is used throughout, and the exporter proves that no value on
the device leaves int32, so that both give the same bits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.models.policy import motion_energy, run_policy
from stinger.models.spec import ModelSpec
from stinger_export.integer.network import (
    LOGIT_UNIT,
    ONE,
    Convolutional,
    Layer,
    Network,
    Scaler,
    exp_negative,
    over_time,
    probabilities,
)

__all__ = [
    "LOGIT_UNIT",
    "ONE",
    "Body",
    "Boosted",
    "Convolutional",
    "Decisions",
    "Forest",
    "IntegerModel",
    "Layer",
    "Network",
    "Nodes",
    "Scaler",
    "exp_negative",
    "over_time",
]


@dataclass(frozen=True)
class Decisions:
    """What the device answers for each window.

    Attributes:
        label: Class index, uint8, shape ``(n,)``.
        probability: In units of 1/32768, uint16, shape ``(n, classes)``.
        score: Logits in 1/1024, or summed leaf values; int32, shape ``(n, scores)``.
        feature: The integer features, int16, shape ``(n, features)``.
    """

    label: NDArray[np.uint8]
    probability: NDArray[np.uint16]
    score: NDArray[np.int32]
    feature: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True)
class Nodes:
    """Decision trees: ``feature <= threshold ? left : right``; a negative child ``c`` is leaf ``-(c + 1)``.

    Nodes of a tree follow each other level by level from left to right, trees in their order.

    Attributes:
        feature: Feature index of each node, uint16.
        threshold: int16 of each node.
        left: Child where the comparison holds, int16.
        right: The other child, int16.
        roots: Root of each tree, coded like a child, int16.
    """

    feature: NDArray[np.uint16]
    threshold: NDArray[np.int16]
    left: NDArray[np.int16]
    right: NDArray[np.int16]
    roots: NDArray[np.int16]

    def walk(self, feature: NDArray[np.int16]) -> Iterator[NDArray[np.int64]]:
        """Yield for each tree the leaf that every feature vector ends in, int64, shape ``(n,)``."""
        rows = np.arange(len(feature))
        for root in self.roots:
            child = np.full(len(feature), root, dtype=np.int64)
            while (inner := child >= 0).any():
                node = child[inner]
                goes_left = feature[rows[inner], self.feature[node]] <= self.threshold[node]
                child[inner] = np.where(goes_left, self.left[node], self.right[node])
            yield -(child + 1)


@dataclass(frozen=True)
class Forest(Nodes):
    """Trees whose leaves are averaged.

    Attributes:
        leaves: uint16, shape ``(leaves, classes)``, each row summing to 32768.
    """

    leaves: NDArray[np.uint16]

    def decide(self, feature: NDArray[np.int16]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return probabilities and scores (summed leaf values) of feature vectors."""
        total = np.zeros((len(feature), self.leaves.shape[1]), dtype=np.int64)
        for leaf in self.walk(feature):
            total += self.leaves[leaf]
        trees = len(self.roots)
        return (total + trees // 2) // trees, total


@dataclass(frozen=True)
class Boosted(Nodes):
    """Boosted trees: tree ``t`` adds the value of its leaf to output ``t % outputs``.

    Attributes:
        leaves: int16, shape ``(leaves,)``, in units of ``2**-shift / 1024`` of a logit.
        baseline: int32, shape ``(outputs,)``, in the same unit; the rounding of the shift is in it.
        shift: Right shift from sums to logits.
    """

    leaves: NDArray[np.int16]
    baseline: NDArray[np.int32]
    shift: int

    def decide(self, feature: NDArray[np.int16]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return probabilities and scores (logits in 1/1024) of feature vectors."""
        outputs = len(self.baseline)
        total = np.tile(self.baseline.astype(np.int64), (len(feature), 1))
        for number, leaf in enumerate(self.walk(feature)):
            total[:, number % outputs] += self.leaves[leaf]
        score = total >> self.shift
        return probabilities(score), score


#: What a model consists of beside its features.
Body = Network | Forest | Boosted | Convolutional


@dataclass(frozen=True)
class IntegerModel:
    """A model as the device holds it.

    Attributes:
        spec: The manifest of the model it was made from.
        body: A `Network`, a `Forest`, `Boosted` trees or a `Convolutional` network.
    """

    spec: ModelSpec
    body: Body

    def decide(self, windows: NDArray[np.int16]) -> Decisions:
        """Classify windows ``(n, window, channels)`` exactly as the device does."""
        feature = self.spec.feature_set.compute(windows)
        probability, score = self.body.decide(feature)
        # Labels come from scores: probabilities are rounded. argmax takes the lower class on a tie, as C does.
        label = (score[:, 0] > 0) if score.shape[1] == 1 else score.argmax(axis=1)
        return Decisions(
            label=label.astype(np.uint8),
            probability=probability.astype(np.uint16),
            score=score.astype(np.int32),
            feature=feature,
        )

    def switch(
        self, t_us: NDArray[np.int64], ready: NDArray[np.bool_], windows: NDArray[np.int16], decisions: Decisions
    ) -> NDArray[np.bool_]:
        """Say what the policy makes of a stream, from its beginning.

        Args:
            t_us: Time of each sample, int64, shape ``(n,)``.
            ready: Whether it completes a window, shape ``(n,)``.
            windows: The windows completed, shape ``(ready, window, channels)``.
            decisions: What `decide` says of them.

        Returns:
            Whether the policy is on after each sample, shape ``(n,)``; never, without a policy.
        """
        policy = self.spec.policy
        if policy is None:
            return np.zeros(len(t_us), dtype=np.bool_)
        probability = np.zeros(len(t_us), dtype=np.uint16)
        motion = np.zeros(len(t_us), dtype=np.int64)
        probability[ready] = decisions.probability[:, policy.positive]
        if policy.gate_lsb:
            motion[ready] = motion_energy(windows, policy.gyro)
        return run_policy(policy, t_us, ready, probability, motion).on

    def in_range(self, feature: NDArray[np.int16]) -> NDArray[np.bool_]:
        """Say which feature vectors lie in the range the integers were made for, ``(n, features)`` -> ``(n,)``.

        Outside it, a network's inputs or hidden units are cut off and the estimator's probabilities need not be met;
        trees have no such limit.
        """
        if isinstance(self.body, Network | Convolutional):
            return self.body.in_range(feature)
        return np.ones(len(feature), dtype=np.bool_)

    @cached_property
    def hash(self) -> str:
        """16 hex digits that identify these integers and what they are applied to."""
        digest = hashlib.sha256()
        identity: dict[str, Any] = {
            "feature_set": self.spec.features,
            "window": self.spec.window,
            "period_us": self.spec.period_us,
            "channels": [c.name for c in self.spec.channels],
            "classes": list(self.spec.classes),
        }
        if self.spec.policy is not None:
            identity["policy"] = self.spec.policy.to_json()
        digest.update(json.dumps(identity, sort_keys=True).encode())
        for array in self.arrays():
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    def arrays(self) -> list[NDArray[Any]]:
        """Every array the device holds, in a fixed order."""
        if not isinstance(self.body, Network | Convolutional):
            f = self.body
            arrays: list[NDArray[Any]] = [f.feature, f.threshold, f.left, f.right, f.roots, f.leaves]
            if isinstance(f, Boosted):
                arrays += [f.baseline, np.array([f.shift], dtype=np.uint8)]
            return arrays
        s = self.body.scaler
        arrays = [s.scale, s.offset, s.shift]
        for layer in self.body.layers:
            arrays += [layer.weight, layer.bias, layer.scale, layer.pre, layer.post]
        if isinstance(self.body, Convolutional):
            arrays.append(np.array([self.body.kernel], dtype=np.uint8))
        return arrays
