"""How large a transformer is: the published one, and what can be trained from nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stinger.errors import InputError, UsageError
from stinger.features.spectrogram import AST, SpectrogramSpec

#: Trained on two million clips of AudioSet; what fine-tuning starts from if nobody says.
PUBLISHED = "MIT/ast-finetuned-audioset-10-10-0.4593"
#: What a configuration may say: the least and the most of each number. More than any published AST has.
BOUNDS: Mapping[str, tuple[int, int]] = {
    "hidden_size": (4, 2048),
    "num_hidden_layers": (1, 48),
    "num_attention_heads": (1, 64),
    "intermediate_size": (4, 8192),
    "patch_size": (1, 64),
    "frequency_stride": (1, 64),
    "time_stride": (1, 64),
    "max_length": (1, 4096),
    "num_mel_bins": (1, 512),
}
#: What every published one has, and what is built here: another value would be another function.
_FIXED: Mapping[str, Any] = {"hidden_act": "gelu", "qkv_bias": True, "layer_norm_eps": 1e-12}
#: Attention compares every patch with every other.
MAX_PATCHES = 8192


@dataclass(frozen=True)
class Shape:
    """The numbers that a transformer is built from; names are those of transformers' `ASTConfig`."""

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    patch_size: int = 16
    frequency_stride: int = 10
    time_stride: int = 10
    max_length: int = AST.frames
    num_mel_bins: int = AST.mel_bins

    def __post_init__(self) -> None:
        """Refuse what cannot be built.

        Raises:
            InputError: A number is out of bounds, or contradicts another.
        """
        for name, (low, high) in BOUNDS.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise InputError(f"{name} must be a whole number from {low} to {high}, is {value!r:.40}")
        if self.hidden_size % self.num_attention_heads:
            raise InputError(f"hidden_size {self.hidden_size} is no multiple of {self.num_attention_heads} heads")
        if self.patch_size > min(self.max_length, self.num_mel_bins):
            raise InputError(f"patches of {self.patch_size} do not fit {self.max_length} frames of {self.num_mel_bins}")
        if self.patches > MAX_PATCHES:
            raise InputError(f"{self.patches} patches, at most {MAX_PATCHES} are possible")

    @property
    def patches(self) -> int:
        """How many patches a spectrogram is seen as."""
        bands = (self.num_mel_bins - self.patch_size) // self.frequency_stride + 1
        return bands * ((self.max_length - self.patch_size) // self.time_stride + 1)

    def parameters(self, classes: int) -> int:
        """How many weights it has."""
        h, m = self.hidden_size, self.intermediate_size
        layer = 4 * h * (h + 1) + (h + 1) * m + (m + 1) * h + 4 * h
        ends = 2 * h + (self.patches + 2) * h + (self.patch_size**2 + 1) * h + 2 * h
        return self.num_hidden_layers * layer + ends + 2 * h + (h + 1) * classes


@dataclass(frozen=True)
class Size:
    """A transformer to train from nothing: its shape, and the spectrograms it looks at."""

    shape: Shape
    spectrogram: SpectrogramSpec


def _seen(shape: Mapping[str, int], spec: SpectrogramSpec) -> Size:
    return Size(Shape(**shape, max_length=spec.frames, num_mel_bins=spec.mel_bins), spec)


#: `tiny` sees coarser spectrograms (256 frames of 80 ms, 64 bands: still nine seconds of sound), which is what makes it
#: quick; the others see what the published one sees, `base` with the published one's very shape.
SIZES: Mapping[str, Size] = {
    "tiny": _seen(
        {
            "hidden_size": 64,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "intermediate_size": 128,
            "frequency_stride": 12,
            "time_stride": 12,
        },
        SpectrogramSpec(frames=256, mel_bins=64, frame_ms=80.0, hop_ms=35.5),
    ),
    "small": _seen(
        {"hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 3, "intermediate_size": 768}, AST
    ),
    "base": _seen({}, AST),
}


def size(name: str) -> Size:
    """Look up a size.

    Raises:
        UsageError: There is no such size.
    """
    if name not in SIZES:
        raise UsageError(f"size {name!r} is unknown; choose {', '.join(SIZES)}")
    return SIZES[name]


def shape_of(config: Mapping[str, Any], where: str) -> Shape:
    """Read the shape out of a model's ``config.json``.

    Raises:
        InputError: It is not of an Audio Spectrogram Transformer, or out of bounds.
    """
    if config.get("model_type") != "audio-spectrogram-transformer":
        raise InputError(f"{where} is not of an audio-spectrogram-transformer; give a folder with such a model")
    other = next((name for name, value in _FIXED.items() if config.get(name, value) != value), None)
    if other is not None:
        raise InputError(
            f"{where}: {other} is {config[other]!r:.40}, only {_FIXED[other]} is built; give another model"
        )
    try:
        return Shape(**{name: config[name] for name in BOUNDS if name in config})
    except InputError as error:
        raise InputError(f"{where}: {error}; give another model") from error
