"""Every form that a model can be exported to, made and measured before anything is written.

A form whose parity with the model was not measured is not exported. A form that was asked for by name and that the
model cannot have is an error; without names, every form that the model allows is made, and the others are listed with
the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from onnx import ModelProto

from stinger.errors import CheckFailedError, InputError, StingerError, ToolchainError, UsageError
from stinger.models.spec import HeldOut, TrainedModel
from stinger.windows.replay import ReplayStream
from stinger_export.emlearn_header import EmlearnHeader, to_emlearn
from stinger_export.exercise import exercise_stream
from stinger_export.image.model import to_image
from stinger_export.integer.model import IntegerModel
from stinger_export.onnx_graph import to_onnx, to_onnx_classifier
from stinger_export.parity import (
    INTEGER_BOUND,
    Parity,
    Samples,
    answers,
    emlearn_parity,
    held_out_parity,
    image_parity,
    integer_parity,
    onnx_parity,
    scores,
    stock_header_parity,
    stock_parity,
)
from stinger_export.quantisation import quantise_within, require_weights
from stinger_export.stock.convert import to_stock
from stinger_export.stock.header import stock_header
from stinger_export.stock.image import StockModel
from stinger_export.vectors import Vectors, make_vectors

#: Names of the forms, in the order in which they are made, and what of `Exports` each consists of.
_PARTS = {
    "integer": ("integer",),
    "onnx": ("onnx", "onnx_features"),
    "emlearn": ("emlearn",),
    "mlmd": ("mlmd", "stock_image"),
    "stock-header": ("stock_header",),
}
TARGETS = tuple(_PARTS)


@dataclass
class Exports:
    """What a model was exported to; a form that was not made is None.

    Attributes:
        model: The model.
        replay: Samples made from it.
        integer: The integer model.
        onnx: The ONNX graph from windows.
        onnx_features: The ONNX graph from features only.
        emlearn: The emlearn header.
        mlmd: The model image, version 2.
        stock: The stock firmware's model, for its image or its header.
        stock_image: The model image of the stock firmware, version 1.
        stock_header: The C header for the stock firmware's build.
        parity: One measurement of each form.
        not_exported: Why the others were not made.
        held_out: Per level ``accuracy``, ``roc_auc`` and, for two classes, ``pr_auc``, if there are held-out windows.
        vectors: Test vectors.
        measured_on: How many held-out ``windows`` these are, and whether they come from the ``model`` or from ``data``
            given; None if there are none.
        quantisation: How the integer model was made; see `quantise_within`.
    """

    model: TrainedModel
    replay: ReplayStream
    integer: IntegerModel | None = None
    onnx: ModelProto | None = None
    onnx_features: ModelProto | None = None
    emlearn: EmlearnHeader | None = None
    mlmd: bytes | None = None
    stock: StockModel | None = None
    stock_image: bytes | None = None
    stock_header: str | None = None
    parity: list[Parity] = field(default_factory=list)
    not_exported: dict[str, str] = field(default_factory=dict)
    held_out: dict[str, dict[str, float]] = field(default_factory=dict)
    vectors: Vectors = field(default_factory=dict)
    measured_on: dict[str, Any] | None = None
    quantisation: dict[str, Any] | None = None

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the forms that were made."""
        return tuple(name for name, parts in _PARTS.items() if any(getattr(self, p) is not None for p in parts))


def parse_targets(text: str | None) -> tuple[str, ...] | None:
    """Read a list such as ``onnx,mlmd``; None is what nothing was asked for.

    Raises:
        UsageError: A name is unknown.
    """
    if text is None:
        return None
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in TARGETS]
    if unknown or not names:
        raise UsageError(f"unknown target {unknown[0] if unknown else text!r}; known: {', '.join(TARGETS)}")
    return names


def make_exports(
    model: TrainedModel,
    targets: Sequence[str] | None = None,
    *,
    max_loss: float = INTEGER_BOUND,
    held_out: HeldOut | None = None,
    weights: str = "auto",
    on_progress: Callable[[str], None] = lambda _: None,
) -> Exports:
    """Make every form and measure it.

    Args:
        model: The model.
        targets: Names of forms, ``mlmd`` includes ``integer`` where there is one; by default whatever the model
            allows.
        max_loss: Largest change of a probability from the model to its integers.
        held_out: Windows to measure the loss on, beside those made from the model; by default those that the model
            keeps.
        weights: Which widths a network's integer weights may have: ``auto``, ``8`` or ``16``.
        on_progress: Called with the name of each form before it is made.

    Raises:
        UsageError: A form was asked for that the model cannot have.
        InputError: The model can have none at all.
        ToolchainError: A form was asked for that needs a compiler, and there is none.
        CheckFailedError: A form is further from the model than allowed.
    """
    require_weights(model.spec, weights)
    samples = Samples(model, exercise_stream(model), model.held_out if held_out is None else held_out)
    made = Exports(model, samples.stream)
    if samples.held_out is not None:
        source = "model" if held_out is None else "data"
        made.measured_on = {"windows": len(samples.held_out.labels), "source": source}
    makers: dict[str, Callable[[Exports, Samples, float], list[Parity]]] = {**_MAKE}
    makers["integer"] = partial(_integer, weights=weights, on_progress=on_progress)
    wanted = TARGETS if targets is None else tuple(n for n in TARGETS if n in (*targets, *_needs(targets)))
    reasons: dict[str, StingerError] = {}
    for name in wanted:
        on_progress(name)
        try:
            made.parity += makers[name](made, samples, max_loss)
        except (InputError, UsageError) as error:
            for part in _PARTS[name]:
                setattr(made, part, None)
            if targets is not None and name in targets:
                if isinstance(error, ToolchainError):
                    raise
                raise UsageError(f"model {model.spec.name} has no {name} form: {error}") from error
            reasons[name] = error
    if not made.targets:
        raise next(iter(reasons.values()))
    skipped = {} if targets is None else dict.fromkeys((n for n in TARGETS if n not in wanted), "not asked for")
    made.not_exported = {**{name: str(error) for name, error in reasons.items()}, **skipped}
    if samples.held_out is not None:
        _score(made, samples)
    if failed := [p for p in made.parity if p.failure is not None]:
        raise CheckFailedError(f"model {model.spec.name}, {failed[0].target}: {failed[0].failure}; nothing was written")
    windows, label = (samples.windows, None) if held_out is None else (held_out.windows, held_out.labels)
    made.vectors = make_vectors(windows, label, model, graph=made.onnx, integer=made.integer, stock=made.stock)
    return made


def _needs(targets: Sequence[str]) -> tuple[str, ...]:
    return ("integer",) if "mlmd" in targets else ()


def _integer(
    made: Exports,
    samples: Samples,
    max_loss: float,
    weights: str = "auto",
    on_progress: Callable[[str], None] = lambda _: None,
) -> list[Parity]:
    def judge(integer: IntegerModel) -> list[Parity]:
        return [integer_parity(samples, integer, max_loss), *_held_out(samples, integer, max_loss)]

    made.integer, parity, made.quantisation = quantise_within(
        made.model, judge, weights=weights, max_loss=max_loss, on_progress=on_progress
    )
    return parity


def _onnx(made: Exports, samples: Samples, max_loss: float) -> list[Parity]:
    made.onnx = to_onnx(made.model)
    made.onnx_features = to_onnx_classifier(made.model)
    measured = [onnx_parity(samples, made.onnx), onnx_parity(samples, made.onnx_features)]
    return [*measured, *_held_out(samples, made.onnx, max_loss)]


def _held_out(samples: Samples, form: IntegerModel | ModelProto, max_loss: float) -> list[Parity]:
    return [] if samples.held_out is None else [held_out_parity(samples, form, max_loss)]


def _emlearn(made: Exports, samples: Samples, _: float) -> list[Parity]:
    made.emlearn = to_emlearn(made.model)
    return [emlearn_parity(samples, made.emlearn)]


def _mlmd(made: Exports, samples: Samples, _: float) -> list[Parity]:
    """Make the images that the model allows: version 2 of its integers, version 1 for the stock firmware."""
    parity = []
    if made.integer is not None:
        made.mlmd = to_image(made.integer)
        parity.append(image_parity(samples, made.integer, made.mlmd))
    try:
        stock = to_stock(made.model)
    except UsageError as error:
        if not parity:
            raise InputError(f"it has no integers for an image of version 2; version 1: {error}") from error
        return parity
    made.stock, made.stock_image = stock, stock.to_bytes()
    return [*parity, stock_parity(samples, stock)]


def _stock_header(made: Exports, samples: Samples, _: float) -> list[Parity]:
    made.stock = to_stock(made.model)
    made.stock_header = stock_header(made.stock, made.model.spec)
    return [stock_header_parity(samples, made.stock_header)]


_MAKE: dict[str, Callable[[Exports, Samples, float], list[Parity]]] = {
    "integer": _integer,
    "onnx": _onnx,
    "emlearn": _emlearn,
    "mlmd": _mlmd,
    "stock-header": _stock_header,
}


def _score(made: Exports, samples: Samples) -> None:
    held_out, l0 = samples.held_out, samples.held_out_l0
    if held_out is None or l0 is None:
        return
    levels = {"L0": (l0.argmax(axis=1), l0)}
    levels |= {
        level: answers(form, held_out.windows)
        for level, form in (("L1", made.onnx), ("L2", made.integer))
        if form is not None
    }
    for level, (label, probability) in levels.items():
        measured = scores(held_out.labels, probability, label)
        made.held_out[level] = {name: float(f"{value:.6g}") for name, value in measured.items()}
