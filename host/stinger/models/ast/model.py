"""A trained transformer: windows in, class probabilities out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.features.spectrogram import check_input_values, input_values
from stinger.models.ast.folder import ABOUT, AstSpec, check_folder, is_ast_folder, load_net
from stinger.models.ast.libraries import Library, alone
from stinger.models.ast.tarball import opened_tarball
from stinger.sessions.session import Session
from stinger.windows.describe import select_channels

#: Windows in memory at a time.
_BATCH = 8
#: A window may be this much longer or shorter than those of training: clocks differ, and samples are whole.
_TOLERANCE = 0.05
#: Where a run of `stinger train --family ast` keeps its model.
MODEL = "model"


@dataclass(frozen=True)
class AstModel:
    """A transformer with its spec.

    Attributes:
        spec: What it was trained for.
        net: The network, in transformers' own type.
        threads: Processors that predicting may use; the answers depend on it in their last bits.
    """

    spec: AstSpec
    net: Library
    threads: int = 1

    @classmethod
    def load(cls, path: Path, *, threads: int = 1) -> AstModel:
        """Read a model: its folder, the output of a training run, or a ``.model.tar.gz``.

        Raises:
            InputError: It is missing, damaged, or holds anything that a model has no use for.
            UsageError: The extra `ast` is missing.
        """
        if path.is_file():
            with opened_tarball(path) as folder:
                return cls.load(folder, threads=threads)
        checked = check_folder(found_in(path) or path)
        if checked.about is None:
            raise InputError(f"{path} does not say what it was trained for ({ABOUT} is missing); train it first")
        with alone(threads, checked.about.seed):
            return cls(checked.about, load_net(checked), threads)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights."""
        return int(sum(weights.numel() * weights.element_size() for weights in self.net.parameters()))

    def predict_proba(self, windows: NDArray[np.floating], rate_hz: float) -> NDArray[np.float64]:
        """Class probabilities of windows.

        Args:
            windows: Physical values, shape ``(n, samples, channels)``; channels in the order of the spec.
            rate_hz: The recording's own rate.

        Returns:
            Float64, shape ``(n, classes)``.

        Raises:
            InputError: They have other channels, or another length, than the windows of training.
        """
        if windows.ndim != 3 or windows.shape[2] != len(self.spec.channels):
            raise InputError(
                f"windows have shape {windows.shape}, expected (n, samples, {len(self.spec.channels)}): "
                f"{', '.join(self.spec.channels)}"
            )
        if abs(windows.shape[1] / rate_hz - self.spec.window_s) > _TOLERANCE * self.spec.window_s:
            raise InputError(
                f"windows of {windows.shape[1] / rate_hz:.3g} s, {self.spec.name} was trained on windows of "
                f"{self.spec.window_s:g} s"
            )
        answers = np.empty((len(windows), len(self.spec.classes)))
        for first in range(0, len(windows), _BATCH):
            part = slice(first, first + _BATCH)
            answers[part] = self.predict_proba_inputs(input_values(windows[part], rate_hz, self.spec.spectrogram))
        return answers

    def predict_proba_inputs(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Class probabilities of spectrograms ``(n, frames, mel_bins)``: ``(n, classes)``.

        Raises:
            InputError: They are not what the model looks at.
        """
        check_input_values(values, self.spec.spectrogram)
        answers = np.empty((len(values), len(self.spec.classes)))
        with alone(self.threads, self.spec.seed) as torch, torch.inference_mode():
            device = next(self.net.parameters()).device
            for first in range(0, len(values), _BATCH):
                batch = torch.from_numpy(np.ascontiguousarray(values[first : first + _BATCH])).to(device)
                shares = self.net(input_values=batch).logits.double().softmax(dim=1)
                answers[first : first + _BATCH] = shares.cpu().numpy()
        return answers

    def columns(self, session: Session) -> list[int]:
        """Return the columns of a recording that the model looks at.

        Raises:
            UsageError: A channel is missing.
        """
        return select_channels(session, self.spec.channels)


def found_in(path: Path) -> Path | None:
    """Return the transformer's folder in a folder: itself, or what a training run put there; None if there is none."""
    return next((folder for folder in (path, path / MODEL) if is_ast_folder(folder)), None)
