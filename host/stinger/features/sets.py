"""Every feature set by name: the one table that commands, models and exporters look in.

Plain names are integer sets, the device's own definitions; ``float-`` names are the floating-point definitions of the
toolchain before this one, for comparison. To add a set, write a module with a function like the ones below and give
its names a row here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches

from stinger.errors import InputError, UsageError
from stinger.features import coupled, flatten, floating, integer, invariant, magnetic
from stinger.features.base import FeatureSet

#: Name -> what builds it from its name, the channels' names and the window.
_BUILDERS: Mapping[str, Callable[[str, Sequence[str], int], FeatureSet]] = {
    "summary": integer.feature_set,
    "rich": integer.feature_set,
    "invariant": invariant.feature_set,
    "invariant_rich": invariant.feature_set,
    "flatten": flatten.feature_set,
    "coupled": coupled.feature_set,
    "magnetic": magnetic.feature_set,
    "float-summary": floating.feature_set,
    "float-rich": floating.feature_set,
    "float-invariant": floating.feature_set,
    "float-invariant-rich": floating.feature_set,
    "float-flatten": floating.feature_set,
}
#: Names of all feature sets, integer ones first.
FEATURE_SETS: tuple[str, ...] = tuple(_BUILDERS)
#: The integer sets that ``device/stinger_ml`` computes.
ON_DEVICE: tuple[str, ...] = ("summary", "rich", "coupled", "magnetic", "invariant", "invariant_rich", "flatten")


def require_on_device(name: str) -> None:
    """Refuse a feature set that ``device/stinger_ml`` cannot compute, before anything is made for the device.

    Raises:
        InputError: It computes other sets only.
    """
    if name not in ON_DEVICE:
        raise InputError(
            f"the device does not compute {name} features, only {', '.join(ON_DEVICE)}; "
            "train with --features rich to export"
        )


def on_device_for(channel_names: Sequence[str], window: int) -> tuple[str, ...]:
    """Names of the sets that the device computes of such windows."""
    possible = []
    for name in ON_DEVICE:
        with suppress(UsageError):
            feature_set(name, channel_names, window)
            possible.append(name)
    return tuple(possible)


def feature_set(name: str, channel_names: Sequence[str], window: int) -> FeatureSet:
    """Look up a feature set.

    Args:
        name: One of `FEATURE_SETS`.
        channel_names: Names of the window's channels, in order.
        window: Samples per window.

    Raises:
        UsageError: Unknown name, impossible window, or channels that lack a sensor the set needs.
    """
    build = _BUILDERS.get(name)
    if build is None:
        near = get_close_matches(name.lower().replace("_", "-"), [n.replace("_", "-") for n in FEATURE_SETS], n=1)
        meant = [n for n in FEATURE_SETS if near and n.replace("_", "-") == near[0]]
        hint = f"did you mean {meant[0]}? " if meant else ""
        raise UsageError(f"unknown feature set {name!r}; {hint}known: {', '.join(FEATURE_SETS)}")
    return build(name, tuple(channel_names), window)
