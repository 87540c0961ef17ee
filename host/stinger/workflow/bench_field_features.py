"""What each part of the `magnetic` features is worth: a forest with and without it, where it might matter.

Windows within one level of distortion are what models are trained and compared on. A board also sees windows that span
a change; they count as what their newest sample is. And a device whose own parts are magnetised, which nobody
calibrated, adds to every field what the gyroscope can tell apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stinger.features.sets import feature_set
from stinger.sessions.mcap_format.labels import LEVELS
from stinger.sessions.session import Session
from stinger.synth.imperfections import Imperfections
from stinger.workflow.bench_magnetic import make_session
from stinger.workflow.progress import Progress

_STRENGTH, _VERTICAL, _LATEST = (0, 1), (3, 4, 5), (2, 6)
_DIP, _TURNING = (7, 8), (9, 10, 11, 12)
_EVERYTHING = tuple(range(13))
#: Rows of the table: which features.
GROUPS: dict[str, tuple[int, ...]] = {
    "strength": _STRENGTH,
    "strength, vertical": _STRENGTH + _VERTICAL,
    "... and dip, horizontal": _STRENGTH + _VERTICAL + _DIP,
    "... and latest": _STRENGTH + _VERTICAL + _LATEST,
    "... and turning": _STRENGTH + _VERTICAL + _TURNING,
    "all": _EVERYTHING,
}


@dataclass(frozen=True)
class Situation:
    """A column of the table.

    Attributes:
        iron: Hard iron of the device.
        spanning: Whether windows may span a change.
        only: Of the situation before, those windows only that do.
        linear: A logistic regression in the forest's place.
    """

    iron: float = Imperfections().hard_iron
    spanning: bool = False
    only: bool = False
    linear: bool = False


SITUATIONS = {
    "within a level": Situation(),
    "the same, logreg": Situation(linear=True),
    "at any time": Situation(spanning=True),
    "across a change": Situation(spanning=True, only=True),
    "hard iron 0.1": Situation(iron=0.1),
}
_STRIDE, _FOLDS, _TREES, _LEAF = 17, 4, 30, 3


def feature_worth(recordings: int, *, window: int = 50, seed: int = 1, progress: Progress | None = None) -> list[Any]:
    """Measure.

    Args:
        recordings: How many of a minute, at 100 Hz; folds hold out whole ones.
        window: Samples of a window.
        seed: Of the first recording, and of the forests.
        progress: Told of each step.

    Returns:
        For each of `GROUPS` its name and the accuracy in each of `SITUATIONS`, in plain JSON values.
    """
    progress = progress or Progress()
    rows: list[Any] = [{"features": name, "accuracy": {}} for name in GROUPS]
    for name, situation in SITUATIONS.items():
        if situation.only:
            continue  # part of what was measured before
        progress.step(f"asking what features are worth: {name}")
        levels, spanning = Imperfections(hard_iron=situation.iron), situation.spanning
        parts = [_windows(make_session(seed + i, levels), window, spanning=spanning) for i in range(recordings)]
        features, labels, spans = (np.concatenate([part[i] for part in parts]) for i in range(3))
        fold = np.repeat(np.arange(recordings) % _FOLDS, [len(part[1]) for part in parts])
        for row, chosen in zip(rows, GROUPS.values(), strict=True):
            model = _model(situation, seed)
            right = _right(model, features[:, chosen].astype(np.float64), labels, fold)
            row["accuracy"][name] = float(right.mean())
            if spanning:
                row["accuracy"]["across a change"] = float(right[spans].mean())
    return rows


def _windows(
    session: Session, window: int, *, spanning: bool
) -> tuple[NDArray[np.int16], NDArray[np.int64], NDArray[np.bool_]]:
    """Features, label of the newest sample, and whether a window spans a change."""
    starts = np.array([event.start_us for event in session.events])
    segment = np.searchsorted(starts, session.t_us, side="right") - 1
    level = np.array([LEVELS.index(event.label) for event in session.events])[segment]
    at = np.arange(0, len(session.t_us) - window + 1, _STRIDE)
    spans = segment[at] != segment[at + window - 1]
    at = at if spanning else at[~spans]
    names = [channel.name for channel in session.channels]
    windows = np.stack([session.samples[i : i + window] for i in at])
    features = feature_set("magnetic", names, window).compute(windows)
    return features, level[at + window - 1], segment[at] != segment[at + window - 1]


def _model(situation: Situation, seed: int) -> Any:
    if situation.linear:
        return make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    return RandomForestClassifier(_TREES, min_samples_leaf=_LEAF, random_state=seed, n_jobs=1)


def _right(
    model: Any, features: NDArray[np.float64], labels: NDArray[np.int64], fold: NDArray[np.int64]
) -> NDArray[np.bool_]:
    right = np.zeros(len(labels), dtype=np.bool_)
    for k in range(_FOLDS):
        fitted = clone(model).fit(features[fold != k], labels[fold != k])
        right[fold == k] = fitted.predict(features[fold == k]) == labels[fold == k]
    return right


def table(rows: Sequence[Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows for people."""
    lines = [[row["features"], *(f"{x:.3f}" for x in row["accuracy"].values())] for row in rows]
    return ["features", *SITUATIONS], lines
