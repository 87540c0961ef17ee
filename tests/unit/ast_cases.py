"""Small recordings and small transformers, for tests of what is done with them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from stinger.features.spectrogram import SpectrogramSpec
from stinger.models.ast.examples import Examples, Source, StoredInputs, examples_of_sessions
from stinger.models.ast.folder import AstSpec, new_net, save_folder
from stinger.models.ast.libraries import alone
from stinger.models.ast.sizes import Shape
from stinger.sessions.session import Session
from stinger.synth.imperfections import Imperfections
from stinger.workflow.bench_magnetic import make_session

CLASSES = ("high", "low", "none")
#: Nine seconds in 64 coarse frames: 30 patches.
SPEC = SpectrogramSpec(frames=64, mel_bins=32, frame_ms=200.0, hop_ms=140.0)
SHAPE = Shape(
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=16,
    frequency_stride=8,
    time_stride=8,
    max_length=SPEC.frames,
    num_mel_bins=SPEC.mel_bins,
)


@cache
def sessions(count: int = 4, seconds: float = 15.0) -> list[Session]:
    return [make_session(seed, Imperfections(), seconds=seconds) for seed in range(1, count + 1)]


def examples(count: int = 4, seconds: float = 15.0) -> Examples:
    return examples_of_sessions(sessions(count, seconds), spec=SPEC)


def made_up(labels, sequence, segment, start_s, *, window_s=3.0, shas=None) -> Examples:
    """Examples without recordings."""
    start_ns = (np.array(start_s) * 1e9).astype(np.int64)
    names = range(max(sequence) + 1)
    return Examples(
        inputs=StoredInputs(np.zeros((len(labels), *SPEC.shape), np.float32), SPEC, SPEC),
        labels=np.array(labels),
        classes=CLASSES,
        sequence=np.array(sequence),
        segment=np.array(segment),
        start_ns=start_ns,
        end_ns=start_ns + int(window_s * 1e9),
        sources=tuple(Source(f"r{i}", (shas or {}).get(i, f"{i:064x}")) for i in names),
        channels=("mx", "my", "mz"),
        window_s=window_s,
    )


def spec(**changes) -> AstSpec:
    said = {"name": "small", "classes": CLASSES, "channels": ("mx", "my", "mz"), "window_s": 3.0, "spectrogram": SPEC}
    return AstSpec(**{**said, **changes})


def saved(folder: Path, seed: int = 1, **changes) -> Path:
    """Save a transformer with random weights."""
    folder.mkdir(parents=True)
    with alone(1, seed):
        save_folder(new_net(SHAPE, CLASSES), spec(**changes), folder)
    return folder
