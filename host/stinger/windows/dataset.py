"""A dataset: labelled windows and where each one came from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from stinger.sessions.session import Channel


@dataclass(frozen=True)
class Dataset:
    """Labelled windows cut from one or more sessions.

    Attributes:
        windows: int16, shape ``(n, window, channels)``.
        labels: Class index of each window, uint8, shape ``(n,)``.
        classes: Class names.
        groups: What must not be torn apart by a split (shot number or recording), int64, shape ``(n,)``.
        held_out: True for windows that no training may see, shape ``(n,)``.
        session: Index of the session each window was cut from, int64, shape ``(n,)``.
        start: Index of each window's first sample in its session, int64, shape ``(n,)``.
        channels: What the windows' channels are.
        period_us: Sample period in microseconds.
        lead_us: Time from window end to event, microseconds.
        meta: Parameters, counts of what was refused and why, input hashes; plain JSON values, and under
            ``index`` further int64 columns of the index, each of shape ``(n,)``.
        embargoed: True for windows that are neither for training nor held out, because they share raw samples with
            a held-out one, shape ``(n,)``; None where there are none.
        subject: Index into ``meta["subjects"]`` of who was recorded, -1 where unknown, int64, shape ``(n,)``; None
            where nobody is known.
    """

    windows: NDArray[np.int16]
    labels: NDArray[np.uint8]
    classes: tuple[str, ...]
    groups: NDArray[np.int64]
    held_out: NDArray[np.bool_]
    session: NDArray[np.int64]
    start: NDArray[np.int64]
    channels: tuple[Channel, ...]
    period_us: int
    lead_us: int
    meta: dict[str, object] = field(default_factory=dict)
    embargoed: NDArray[np.bool_] | None = None
    subject: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def window(self) -> int:
        """Samples per window."""
        return int(self.windows.shape[1])

    @property
    def training(self) -> NDArray[np.bool_]:
        """True for windows to learn from: not held out, and not embargoed; shape ``(n,)``."""
        return ~self.held_out if self.embargoed is None else ~self.held_out & ~self.embargoed

    def rows(self, chosen: NDArray[np.bool_]) -> Dataset:
        """Return the dataset of the chosen rows, ``chosen`` of shape ``(n,)``."""
        meta = dict(self.meta)
        columns = meta.get("index")
        if isinstance(columns, dict):
            meta["index"] = {name: column[chosen] for name, column in columns.items()}
        return replace(
            self,
            windows=self.windows[chosen],
            labels=self.labels[chosen],
            groups=self.groups[chosen],
            held_out=self.held_out[chosen],
            session=self.session[chosen],
            start=self.start[chosen],
            embargoed=None if self.embargoed is None else self.embargoed[chosen],
            subject=None if self.subject is None else self.subject[chosen],
            meta=meta,
        )

    def without_embargoed(self) -> Dataset:
        """Return the dataset of all windows that are for training or held out."""
        if self.embargoed is None:
            return self
        return replace(self.rows(~self.embargoed), embargoed=None)
