"""Which integers a model becomes: those of the ordinary path if they are near enough, else fine-tuned ones if it can.

Near enough is what the export measures (`stinger_export.parity`), on samples made from the model, on its calibration
features and, where there are such, on held-out windows; fine-tuning learns from none of the first and the last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from stinger.errors import UsageError
from stinger.models.spec import ModelSpec, TrainedModel
from stinger_export.forms import is_boosted, is_forest
from stinger_export.integer import finetune
from stinger_export.integer.model import ONE, Convolutional, IntegerModel, Network
from stinger_export.integer.quantise import TARGET_LOSS, WIDTHS, quantise
from stinger_export.parity import Parity

#: Probabilities come in units of 1/32768: no weights are nearer than this, so none are looked for.
_FINEST = 4 / ONE

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
    """Make the integer model, its network's weights fine-tuned if it fails without.

    Args:
        model: The model.
        judge: Measures integers against the model.
        weights: Which widths weights may have, a key of `WIDTHS`.
        max_loss: Largest change of a probability allowed.
        on_progress: Told before fine-tuning, which takes seconds.

    Returns:
        The integer model, what the judge says of it, and how it was made, as plain JSON values: ``weights`` as
        asked for, ``bits`` of each layer's weights, and ``fine_tuning``, None unless it was tried; there
        ``loss_before`` and ``loss_after`` are the largest change of a probability that the judge found without it and
        with it, ``kept`` says which of the two this is.

    Raises:
        UsageError: There are no such widths.
        InputError: The model has no integer form.
    """
    integer = quantise(model, weights)
    parities, tuning = list(judge(integer)), None
    if _failed(parities) and isinstance(integer.body, Network) and max_loss >= _FINEST:
        if finetune.available():
            on_progress("integer, fine-tuning its weights")
            done = finetune.fine_tune(model, integer, min(TARGET_LOSS, max_loss / 2))
            tuned = list(judge(done.integer))
            before, after = _loss(parities), _loss(tuned)
            kept = (_failed(tuned), after) < (_failed(parities), before)
            tuning = {
                "kept": kept,
                "rows": done.rows,
                "epochs": done.epochs,
                "loss_before": _digits(before),
                "loss_after": _digits(after),
            }
            if kept:
                integer, parities = done.integer, tuned
            parities = _explained(parities, "even after fine-tuning its weights" + _wider(weights))
        else:
            parities = _explained(parities, finetune.NEEDS_TORCH)
    layers = integer.body.layers if isinstance(integer.body, Network | Convolutional) else ()
    bits = [8 * layer.weight.dtype.itemsize for layer in layers]
    return integer, parities, {"weights": weights, "bits": bits, "fine_tuning": tuning}


def _failed(parities: Sequence[Parity]) -> bool:
    return any(parity.failure is not None for parity in parities)


def _loss(parities: Sequence[Parity]) -> float:
    return max(parity.max_difference for parity in parities)


def _wider(weights: str) -> str:
    return "; --weights auto may give them more bits" if weights == "8" else ""


def _explained(parities: Sequence[Parity], remark: str) -> list[Parity]:
    return [p if p.failure is None else replace(p, failure=f"{p.failure} ({remark})") for p in parities]


def _digits(value: float) -> float:
    return float(f"{value:.3g}")
