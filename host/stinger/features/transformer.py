"""Feature sets as a scikit-learn transformer, for ``Pipeline``, ``GridSearchCV`` and ``cross_validate``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from stinger.errors import UsageError
from stinger.features.arithmetic import INT16_MAX, INT16_MIN
from stinger.features.base import FeatureSet
from stinger.features.floating import FloatFeatures
from stinger.features.sets import feature_set as find_set
from stinger.sessions.session import STINGER_CHANNELS


class WindowFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Compute a feature set from windows.

    Integer sets take counts: int16, or any numbers that are whole and within int16; with ``scales`` they take
    physical values, which become counts as in a sensor. The ``float-`` sets take any finite numbers. Mistakes are
    ``ValueError``, as everywhere in scikit-learn.

    Args:
        feature_set: One of `stinger.features.sets.FEATURE_SETS`.
        channels: Names of the windows' channels, in order; by default the Stinger's ``ax ay az gx gy gz``.
        window: Samples per window; by default whatever the windows have.
        scales: Physical value of one count, for all channels or for each (as in `stinger.sessions.session.Channel`);
            values are divided by it and rounded to the nearest count, halves to even. None: they are counts.

    Attributes:
        feature_set_: The feature set computed, after ``fit``.
        n_features_in_: Values per window: samples times channels.
    """

    feature_set_: FeatureSet
    n_features_in_: int

    def __init__(
        self,
        feature_set: str = "rich",
        channels: Sequence[str] | None = None,
        window: int | None = None,
        scales: float | Sequence[float] | None = None,
    ) -> None:
        self.feature_set = feature_set
        self.channels = channels
        self.window = window
        self.scales = scales

    def fit(self, X: ArrayLike, y: object = None) -> Self:  # noqa: ARG002  # scikit-learn's signature
        """Check that the feature set exists for these windows; there is nothing to learn.

        Args:
            X: Windows, ``(n, window, channels)``, or flattened row by row, ``(n, window * channels)``.
            y: Ignored.

        Raises:
            ValueError: No such feature set, or windows it cannot take.
        """
        channels = [c.name for c in STINGER_CHANNELS] if self.channels is None else list(self.channels)
        if not channels:
            raise ValueError("channels must name at least one channel")
        values = self._validated(X, channels, reset=True)
        window, rest = divmod(values.shape[1], len(channels))
        if rest or (self.window is not None and window != self.window):
            wanted = f"{self.window} samples" if self.window is not None else "samples"
            raise ValueError(
                f"windows must hold {wanted} of {len(channels)} channels ({', '.join(channels)}), "
                f"but X has {values.shape[1]} feature(s)"
            )
        try:
            found = find_set(self.feature_set, channels, window)
        except UsageError as error:
            raise ValueError(f"X has {values.shape[1]} feature(s): {error}") from error
        self._taken(values, found)
        self.feature_set_ = found
        return self

    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """Compute features.

        Args:
            X: Windows, as in `fit`.

        Returns:
            Shape ``(n, features)``: int16 for integer sets, float64 for the others.

        Raises:
            ValueError: Windows of another shape than those fitted, or values the set cannot take.
        """
        check_is_fitted(self)
        found = self.feature_set_
        values = self._validated(X, found.channel_names, reset=False)
        windows = self._taken(values, found)
        return found.compute_values(windows) if isinstance(found, FloatFeatures) else found.compute(windows)

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:  # noqa: ARG002  # as above
        """Name the features.

        Args:
            input_features: Ignored; names follow from the channels.
        """
        check_is_fitted(self)
        return np.array(self.feature_set_.names, dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = []
        tags.requires_fit = True
        return tags

    def _validated(self, X: ArrayLike, channels: Sequence[str], *, reset: bool) -> NDArray[Any]:
        """Return X as numbers, one window a row, and remember or check their count."""
        if (np.ndim(X) if isinstance(X, list | tuple) else getattr(X, "ndim", 2)) == 3:
            shape = np.shape(X)
            if shape[2] != len(channels):
                raise ValueError(f"X has {shape[2]} channels, expected {len(channels)} ({', '.join(channels)})")
            X = np.asarray(X).reshape(shape[0], -1)
        values: NDArray[Any] = validate_data(self, X, reset=reset, dtype="numeric", ensure_min_samples=1)
        return values

    def _taken(self, values: NDArray[Any], found: FeatureSet) -> NDArray[Any]:
        """Return windows ``(n, window, channels)`` in the type the set computes from, or refuse them."""
        windows = values.reshape(len(values), found.window, len(found.channel_names))
        if self.scales is not None:
            windows = np.rint(windows / self._checked_scales(len(found.channel_names)))
        if not found.integer:
            return windows.astype(np.float64, copy=False)
        if windows.dtype == np.int16:
            return windows
        whole = windows == np.trunc(windows)
        if not whole.all() or windows.min() < INT16_MIN or windows.max() > INT16_MAX:
            what = windows[~whole][0] if not whole.all() else windows.flat[np.abs(windows).argmax()]
            raise ValueError(
                f"{found.name} takes counts, whole numbers from {INT16_MIN} to {INT16_MAX}, not {what:g}; "
                "give the scales of physical values, or use a float- set"
            )
        return windows.astype(np.int16)

    def _checked_scales(self, channels: int) -> NDArray[np.float64]:
        scales = np.asarray(self.scales, dtype=np.float64)
        if scales.shape not in ((), (channels,)) or not (np.isfinite(scales) & (scales > 0)).all():
            raise ValueError(f"scales must be one positive number, or one for each of {channels} channels")
        return scales
