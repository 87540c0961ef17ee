"""Physical values and int16 counts: which channels a sensor topic has, in what unit, at what scale.

Files of sensor messages hold floating-point values and no units. A recording holds counts, and recordings must be
comparable, so the scale follows from what a topic measures, not from how far one recording happened to swing:
acceleration and rotation get the Stinger's own resolution, the magnetic field one of two resolutions. Only a topic
nobody knows gets the finest power of two that holds its values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.sessions.options import ReadOptions
from stinger.sessions.session import Channel
from stinger.sessions.units import UNITS as MOTION_UNITS

#: Earth's field is 25 to 65 microtesla, or 1 where a generator made it the unit.
_MICROTESLA = MOTION_UNITS["ut"]
_EARTH_FIELD = ("earth field", 1 / 8192)
#: No reading in units of Earth's field comes near this, and any recording in microtesla exceeds it.
_EARTH_FIELD_LIMIT = 4.0
#: Unit as a user may spell it (lower case) -> (our name, physical value of one count).
UNITS: Mapping[str, tuple[str, float]] = {
    **MOTION_UNITS,
    "µt": _MICROTESLA,
    "gauss": ("gauss", 1 / 1600),
    "earth field": _EARTH_FIELD,
    "degc": ("degC", 1 / 128),
    "unit": ("unit", 1 / 16384),
}
#: Sensor topic -> names of its channels.
TOPIC_CHANNELS: Mapping[str, tuple[str, ...]] = {
    "mag_raw": ("mx", "my", "mz"),
    "acc_raw": ("ax", "ay", "az"),
    "gyro_raw": ("gx", "gy", "gz"),
    "mag_truth": ("mx_truth", "my_truth", "mz_truth"),
    "acc_truth": ("ax_truth", "ay_truth", "az_truth"),
    "gyro_truth": ("gx_truth", "gy_truth", "gz_truth"),
    "linear_accel": ("lx", "ly", "lz"),
}
#: What a topic's values are, where its name says so.
_TOPIC_UNITS = {
    "acc_raw": "g",
    "acc_truth": "g",
    "linear_accel": "g",
    "gyro_raw": "rad/s",
    "gyro_truth": "rad/s",
    "pose": "unit",
    "pose_truth": "unit",
    "q_mag_accel": "unit",
    "q_9axis": "unit",
    "temperature": "degC",
}
UNSTATED = "unstated (N/A)"
_NUMBERED = re.compile(r"(.+)_([0-9]{1,2})")
_LOWEST, _HIGHEST = -32768, 32767


def channel_names(topic: str, width: int) -> tuple[str, ...]:
    """Name the channels of a topic with ``width`` values: ``mx my mz``, or ``pose_0 pose_1`` and so on."""
    names = TOPIC_CHANNELS.get(topic, ())
    if len(names) == width:
        return names
    return (topic,) if width == 1 else tuple(f"{topic}_{index}" for index in range(width))


def topics_of(channels: Sequence[Channel]) -> list[tuple[str, tuple[int, ...]]]:
    """Group channels into topics, the inverse of `channel_names`: each with its columns, in the order they appear."""
    names = [channel.name for channel in channels]
    left = dict.fromkeys(range(len(names)))
    topics: list[tuple[int, str, tuple[int, ...]]] = []

    def take(topic: str, columns: tuple[int, ...]) -> None:
        topics.append((columns[0], topic, columns))
        for column in columns:
            del left[column]

    for topic, wanted in TOPIC_CHANNELS.items():
        if all(name in names for name in wanted):
            take(topic, tuple(names.index(name) for name in wanted))
    bases: dict[str, list[tuple[int, int]]] = {}
    for column in left:
        match = _NUMBERED.fullmatch(names[column])
        if match:
            bases.setdefault(match[1], []).append((int(match[2]), column))
    taken = {topic for _, topic, _ in topics}
    for base, members in bases.items():
        if len(members) > 1 and [i for i, _ in members] == list(range(len(members))) and base not in taken:
            take(base, tuple(column for _, column in members))
    for column in list(left):
        take(names[column], (column,))
    return [(topic, columns) for _, topic, columns in sorted(topics)]


def choose_channels(topic: str, values: NDArray[np.floating], options: ReadOptions, where: str) -> tuple[Channel, ...]:
    """Decide unit and scale of a topic's channels.

    Args:
        topic: Its name.
        values: Its values, shape ``(n, width)``, all finite.
        options: What the user says the unit is, by channel (``ax``), topic or sensor (``acc``), and the scales a
            collection has settled on, by channel.
        where: Beginning of an error message.

    Raises:
        InputError: The user names a unit nobody knows.
    """
    channels = []
    default = _topic_scale(topic, values)
    for name in channel_names(topic, values.shape[1]):
        keys = (name, topic, topic.split("_", maxsplit=1)[0])
        said = next((options.units[key] for key in keys if key in options.units), None)
        known = UNITS.get(said.strip().lower()) if said is not None else default
        if known is None:
            raise InputError(f"{where}: unit {said!r:.20} of {name} is not known; known are {', '.join(UNITS)}")
        unit, scale = known
        channels.append(Channel(name, unit, options.scales.get(name, scale)))
    return tuple(channels)


def _topic_scale(topic: str, values: NDArray[np.floating]) -> tuple[str, float]:
    largest = float(np.abs(values).max(initial=0))
    if topic.startswith("mag"):
        return _EARTH_FIELD if largest <= _EARTH_FIELD_LIMIT else _MICROTESLA
    if topic in _TOPIC_UNITS:
        return UNITS[_TOPIC_UNITS[topic].lower()]
    # Rounded up to a power of two, with room for the rounding of the largest value itself.
    exponent = math.frexp(largest * (1 + 1 / _HIGHEST))[1] - 15 if largest else -15
    return UNSTATED, math.ldexp(1.0, min(max(exponent, -60), 90))


def quantise(values: NDArray[np.floating], channels: Sequence[Channel]) -> tuple[NDArray[np.int16], tuple[str, ...]]:
    """Turn physical values of shape ``(n, channels)`` into counts; what does not fit is clipped and counted.

    Returns:
        Counts, and one line per clipped channel.
    """
    counts = np.empty(values.shape, dtype=np.int16)
    faults = []
    for column, channel in enumerate(channels):
        exact = np.rint(values[:, column].astype(np.float64) / channel.scale)
        clipped = int(np.count_nonzero((exact < _LOWEST) | (exact > _HIGHEST)))
        if clipped:
            faults.append(f"{channel.name}: {clipped} of {len(values)} values clipped to int16")
        counts[:, column] = np.clip(exact, _LOWEST, _HIGHEST)
    return counts, tuple(faults)


def check_channels(channels: Sequence[Channel], where: str) -> None:
    """Refuse channels that cannot be written as physical values and read back.

    Raises:
        InputError: A scale is not a positive number, or a name is empty, unprintable or there twice.
    """
    names = [channel.name for channel in channels]
    if len(set(names)) != len(names):
        raise InputError(f"{where}: two channels have the same name; rename one")
    for channel in channels:
        if not channel.name or len(channel.name) > 64 or not channel.name.isprintable():
            raise InputError(f"{where}: channel name {channel.name!r:.30} is empty, too long or unprintable; rename it")
        if not 1e-30 <= channel.scale <= 1e30:
            raise InputError(f"{where}: channel {channel.name} has scale {channel.scale}, which is no resolution")
