"""Which integers a model becomes: the cheapest of the ordinary path that are near enough, else what comes nearest.

Near enough is what the export measures (`stinger_export.parity`), on samples made from the model, on its calibration
features and, where there are such, on held-out windows. What `quantise` makes is near enough on the calibration
features alone. Where it is not on the rest, wider weights are tried, then fine-tuning, which learns from none of the
first and the last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stinger.errors import UsageError
from stinger.models.spec import ModelSpec, TrainedModel
from stinger_export.forms import is_boosted, is_forest
from stinger_export.integer import finetune
from stinger_export.integer.model import ONE, Convolutional, IntegerModel, Network
from stinger_export.integer.quantise import TARGET_LOSS, WIDTHS, floating_network, quantise, widths, with_widths
from stinger_export.parity import Parity

#: Probabilities come in units of 1/32768: no weights are nearer than this, so none are looked for.
_FINEST = 4 / ONE
#: Wider weights that are tried, at most: the next ones by bytes, and the widest.
_MOST_WIDER = 8

Judge = Callable[[IntegerModel], Sequence[Parity]]


def require_weights(spec: ModelSpec, weights: str) -> None:
    """Refuse widths of weights that there are not, or for a model without weights.

    Raises:
        UsageError: As said.
    """
    if weights not in WIDTHS:
        raise UsageError(f"--weights {weights!r} is unknown; choose {', '.join(WIDTHS)}")
    if weights != "auto" and (is_forest(spec) or is_boosted(spec)):
        raise UsageError(f"--weights {weights}: {spec.family} is made of trees, which have no weights; leave it out")


def quantise_within(
    model: TrainedModel,
    judge: Judge,
    *,
    weights: str = "auto",
    max_loss: float,
    on_progress: Callable[[str], None] = lambda _: None,
) -> tuple[IntegerModel, list[Parity], dict[str, Any]]:
    """Make the integer model; of a network that fails, with wider weights, and fine-tuned if it still fails.

    Args:
        model: The model.
        judge: Measures integers against the model.
        weights: Which widths weights may have, a key of `WIDTHS`.
        max_loss: Largest change of a probability allowed.
        on_progress: Told before wider weights and fine-tuning, which take seconds.

    Returns:
        The integer model, what the judge says of it, and how it was made, as plain JSON values: ``weights`` as
        asked for, ``bits`` of each layer's weights, ``widening`` and ``fine_tuning``, None unless they were tried.
        In both, ``loss_before`` and ``loss_after`` are the largest change of a probability that the judge found without
        it and with it, ``kept`` says which of the two this is; ``widening`` also has the bits ``from`` which it began
        and how many others were ``tried``, ``fine_tuning`` its ``rows`` and ``epochs``.

    Raises:
        UsageError: There are no such widths.
        InputError: The model has no integer form.
    """
    integer = quantise(model, weights)
    best, widening, tuning = _Judged(integer, list(judge(integer))), None, None
    if best.failed and isinstance(integer.body, Network | Convolutional) and max_loss >= _FINEST:
        if wider := _wider(model, integer, weights):
            on_progress("integer, trying wider weights")
            best, widening = _widen(model, best, wider, judge)
        if best.failed and finetune.available():
            on_progress("integer, fine-tuning its weights")
            best, tuning = _fine_tune(model, best, min(TARGET_LOSS, max_loss / 2), judge)
        best = best.explained(_remark(weights, widened=widening is not None, tuned=tuning is not None))
    made = {"weights": weights, "bits": _bits(best.integer), "widening": widening, "fine_tuning": tuning}
    return best.integer, best.parities, made


@dataclass(frozen=True)
class _Judged:
    """Integers, and what the judge says of them."""

    integer: IntegerModel
    parities: list[Parity]

    @property
    def failed(self) -> bool:
        return any(parity.failure is not None for parity in self.parities)

    @property
    def loss(self) -> float:
        return max(parity.max_difference for parity in self.parities)

    def better_than(self, other: _Judged) -> bool:
        return (self.failed, self.loss) < (other.failed, other.loss)

    def explained(self, remark: str) -> _Judged:
        """Add a remark to what failed."""
        lines = [p if p.failure is None else replace(p, failure=f"{p.failure} ({remark})") for p in self.parities]
        return replace(self, parities=lines)


def _wider(model: TrainedModel, integer: IntegerModel, weights: str) -> list[tuple[int, ...]]:
    """Widths beyond those of a network, those that take the fewest bytes first, a bounded number."""
    candidates = widths(floating_network(model), weights)
    left = candidates[candidates.index(tuple(_bits(integer))) + 1 :]
    return left if len(left) <= _MOST_WIDER else [*left[: _MOST_WIDER - 1], left[-1]]


def _widen(
    model: TrainedModel, start: _Judged, candidates: Sequence[tuple[int, ...]], judge: Judge
) -> tuple[_Judged, dict[str, Any]]:
    """Try wider weights until some do not fail; what comes nearest stays."""
    best, floating, tried = start, floating_network(model), 0
    for bits in candidates:
        integer = with_widths(model, floating, bits)
        judged = _Judged(integer, list(judge(integer)))
        tried += 1
        if judged.better_than(best):
            best = judged
        if not judged.failed:
            break
    told = {"from": _bits(start.integer), "tried": tried}
    return best, {**told, **_difference(start, best)}


def _fine_tune(model: TrainedModel, start: _Judged, goal: float, judge: Judge) -> tuple[_Judged, dict[str, Any]]:
    done = finetune.fine_tune(model, start.integer, goal)
    tuned = _Judged(done.integer, list(judge(done.integer)))
    told = {"rows": done.rows, "epochs": done.epochs, **_difference(start, tuned)}
    return tuned if told["kept"] else start, told


def _difference(before: _Judged, after: _Judged) -> dict[str, Any]:
    return {
        "kept": after.better_than(before),
        "loss_before": _digits(before.loss),
        "loss_after": _digits(after.loss),
    }


def _remark(weights: str, *, widened: bool, tuned: bool) -> str:
    """What was done, or could be, about integers that fail."""
    if not tuned:
        return finetune.NEEDS_TORCH
    tried = "even with wider weights and after fine-tuning them" if widened else "even after fine-tuning its weights"
    return tried + ("; --weights auto may give them more bits" if weights == "8" else "")


def _bits(integer: IntegerModel) -> list[int]:
    """Width of each layer's weights; of trees, none."""
    layers = integer.body.layers if isinstance(integer.body, Network | Convolutional) else ()
    return [8 * layer.weight.dtype.itemsize for layer in layers]


def _digits(value: float) -> float:
    return float(f"{value:.3g}")
