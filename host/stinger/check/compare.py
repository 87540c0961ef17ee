"""Comparing two parity levels, window by window."""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.link.replay import ReplayResult
from stinger.models.policy import Policy
from stinger_export.integer.model import ONE, Decisions
from stinger_export.parity import TIE


@dataclass(frozen=True)
class Comparison:
    """How two levels compare over the same windows.

    Attributes:
        levels: Names of the two levels, e.g. ``("L0", "L2")``.
        windows: Windows compared.
        flips: Windows whose labels differ, ties aside.
        ties: Windows whose labels differ and where the first level's two likeliest classes are equal (to rounding).
        max_difference: Largest difference of a probability.
        bound: Largest difference allowed; 0 where every output bit must agree.
        failure: One line saying what is wrong, or None.
        policy_samples: Samples at which the policy's on or off was compared, too.
    """

    levels: tuple[str, str]
    windows: int
    flips: int
    ties: int
    max_difference: float
    bound: float
    failure: str | None
    policy_samples: int = 0

    @property
    def name(self) -> str:
        """The levels as text, ``L0-L2``."""
        return "-".join(self.levels)


def compare_probabilities(
    levels: tuple[str, str],
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    second_label: NDArray[np.integer],
    *,
    bound: float,
    flips_allowed: float = 0.0,
    tie: float = TIE,
) -> Comparison:
    """Compare a level with one that approximates it.

    Args:
        levels: Their names.
        first: Probabilities of the first, ``(n, classes)``; its label is the likeliest class, the lower on a tie.
        second: Probabilities of the second, same shape.
        second_label: Labels of the second, ``(n,)``.
        bound: Largest difference of a probability allowed.
        flips_allowed: Share of windows whose label may differ.
        tie: A margin between the two likeliest classes up to which another label is no flip.
    """
    n = len(first)
    difference = np.abs(first - second).max(axis=1) if n else np.zeros(0)
    ordered = np.sort(first, axis=1)
    tied = ordered[:, -1] - ordered[:, -2] <= tie
    differs = first.argmax(axis=1) != second_label
    flips, ties = int((differs & ~tied).sum()), int((differs & tied).sum())
    worst = float(difference.max()) if n else 0.0
    failure = None
    if not n:
        failure = f"{levels[0]} and {levels[1]}: there are no windows to compare"
    elif not worst <= bound:  # catches NaN too
        at = int(np.nanargmax(np.where(np.isnan(difference), np.inf, difference)))
        failure = f"{levels[1]} differs from {levels[0]} by {worst:.2g} at window {at}, at most {bound:g} is allowed"
    elif flips > flips_allowed * n:
        at = int(np.flatnonzero(differs & ~tied)[0])
        failure = f"{levels[1]} gives {flips} of {n} windows another label than {levels[0]}, first at window {at}"
    return Comparison(levels, n, flips, ties, worst, bound, failure)


def feature_crc(feature: NDArray[np.int16]) -> NDArray[np.uint16]:
    """CRC-16/CCITT-FALSE of each int16 little-endian feature vector, as boards report it; ``(n, f)`` -> ``(n,)``."""
    rows = np.ascontiguousarray(feature, dtype="<i2")
    return np.array([binascii.crc_hqx(row.tobytes(), 0xFFFF) for row in rows], dtype=np.uint16)


def compare_exactly(
    levels: tuple[str, str],
    expected: Decisions,
    ready: NDArray[np.bool_],
    result: ReplayResult,
    *,
    on: NDArray[np.bool_] | None = None,
    on_known: NDArray[np.bool_] | None = None,
    policy: Policy | None = None,
) -> Comparison:
    """Compare a board's answers, in every output bit, with what the integer model says.

    Args:
        levels: Their names; the second is the board's.
        expected: Decisions of the integer model, one per ready sample.
        ready: Samples at which a window is complete, ``(samples,)``.
        result: The board's answers, one per sample.
        on: Whether the policy must be on after each sample, ``(samples,)``; not compared if not given, or if the
            answers do not tell.
        on_known: Samples at which that is known; all, if not given.
        policy: The policy itself, for boards that tell theirs: not every constant shows in every stream.
    """
    n = len(expected)
    switched = np.zeros(len(ready), dtype=np.bool_)
    if on is not None and result.on is not None:
        switched |= True if on_known is None else on_known
    failure = first_difference(expected, ready, result, on, switched)
    if failure is None and policy is not None and result.policy is not None:
        failure = _constant_difference(policy, result.policy)
    both = ready & result.ready
    rows = np.flatnonzero(both[ready])
    label = result.label[both]
    flips = int((label != expected.label[rows]).sum())
    probability = result.probability[both].astype(np.int64)
    same_shape = probability.shape == (len(rows), expected.probability.shape[1])
    difference = np.abs(probability - expected.probability[rows]) / ONE if same_shape else np.ones(1)
    if failure is not None:
        failure = f"{levels[1]} is not {levels[0]}: {failure}"
    worst = float(difference.max()) if difference.size else 0.0
    return Comparison(levels, n, flips, 0, worst, 0.0, failure, int(switched.sum()))


def first_difference(
    expected: Decisions,
    ready: NDArray[np.bool_],
    result: ReplayResult,
    on: NDArray[np.bool_] | None = None,
    switched: NDArray[np.bool_] | None = None,
) -> str | None:
    """Name the first sample at which a board's answer differs from the integer model's, and the field.

    Fields are looked at from cause to effect: window, features, scores, probabilities, label, policy. Whether the
    policy is on is compared at the samples marked in ``switched``.
    """
    if len(expected) == 0:
        return "there is no complete window to compare"
    if (wrong := np.flatnonzero(ready != result.ready)).size:
        at = int(wrong[0])
        return f"sample {at}: window {'full' if ready[at] else 'not full'} expected, the board says otherwise"
    at_ready = np.flatnonzero(ready)
    if result.score.shape[1] != expected.score.shape[1] or result.probability.shape[1] != expected.probability.shape[1]:
        return f"sample {int(at_ready[0])}: another number of classes or scores"
    fields: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {
        "features (CRC)": (feature_crc(expected.feature)[:, None], result.feature_crc[ready][:, None]),
        "score": (expected.score, result.score[ready]),
        "probability": (expected.probability, result.probability[ready]),
        "label": (expected.label[:, None], result.label[ready][:, None]),
    }
    first = {name: np.flatnonzero((a != b).any(axis=1)) for name, (a, b) in fields.items()}
    differing = {name: int(rows[0]) for name, rows in first.items() if rows.size}
    policy = _policy_difference(on, result.on, switched)
    if not differing or (policy is not None and policy[0] < at_ready[min(differing.values())]):
        return None if policy is None else policy[1]
    row = min(differing.values())
    name = next(name for name, at in differing.items() if at == row)
    a, b = fields[name]
    return (
        f"sample {int(at_ready[row])}: {name} {_plain(b[row])}, expected {_plain(a[row])} "
        f"({len(first[name])} of {len(expected)} windows differ there)"
    )


def _policy_difference(
    on: NDArray[np.bool_] | None, answer: NDArray[np.bool_] | None, switched: NDArray[np.bool_] | None
) -> tuple[int, str] | None:
    """Return the first sample at which the policy is not what it must be, and a line about it."""
    if on is None or answer is None or switched is None:
        return None
    wrong = np.flatnonzero((on != answer) & switched)
    if not wrong.size:
        return None
    at = int(wrong[0])
    said, expected = ("on" if value else "off" for value in (answer[at], on[at]))
    return (
        at,
        f"sample {at}: policy {said}, expected {expected} ({len(wrong)} of {switched.sum()} samples differ there)",
    )


def _constant_difference(expected: Policy, answer: Policy) -> str | None:
    said = answer.to_json()
    wrong = [name for name, value in expected.to_json().items() if said[name] != value]
    return f"policy with {wrong[0]} {said[wrong[0]]}, expected {getattr(expected, wrong[0])}" if wrong else None


def _plain(values: NDArray[np.integer]) -> str:
    return ", ".join(str(int(v)) for v in values)
