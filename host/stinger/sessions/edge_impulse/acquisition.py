"""One Edge Impulse acquisition, in JSON or CBOR: ``payload.interval_ms``, ``sensors`` and rows of ``values``.

Values are physical numbers and become int16 counts at the Stinger's own resolution, so that one firmware serves
both; the scale is kept in each channel. What `edge_impulse_write` adds for us makes reading exact.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NoReturn

import cbor2
import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.sessions.edge_impulse.about import About
from stinger.sessions.options import ReadOptions
from stinger.sessions.session import Channel, Session
from stinger.sessions.units import ROTATION_COUNTS, UNITS

MAX_SENSORS = 32
#: An acquisition in JSON; in CBOR it is denser.
MAX_JSON_BYTES = 16 << 20
MAX_CBOR_BYTES = 8 << 20
#: payload, values, row, number.
_MAX_DEPTH = 8
#: A gyroscope without a unit is stored as if it said deg/s, which keeps real ones (max about 530) in range.
UNSTATED = ("unstated (N/A)", 1 / ROTATION_COUNTS)
_SHORT_NAME = re.compile(r"(a)cc([xyz])|(g)yr([xyz])|(m)ag([xyz])", re.IGNORECASE)
_SENSOR_KEYS = {"a": "acc", "g": "gyro", "m": "mag"}
TRIGGER = "trigger"
#: The tag that only says "this is CBOR"; every other would make an object of its own.
_SELF_DESCRIBED = b"\xd9\xd9\xf7"
_AGAIN = "export it again"


def load_json(data: bytes | str, where: str) -> Any:
    """Parse JSON without constants that are no numbers.

    Raises:
        InputError: It is no JSON.
    """

    def refuse(constant: str) -> NoReturn:
        raise InputError(f"{where} holds {constant}, which is no number; remove it or {_AGAIN}")

    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not valid JSON ({one_line(error)}); {_AGAIN}") from error


def load_cbor(data: bytes, where: str) -> Any:
    """Parse one CBOR item that uses no tags, with nothing after it.

    Raises:
        InputError: It is no such CBOR, or too large.
    """
    if len(data) > MAX_CBOR_BYTES:
        raise InputError(f"{where} is larger than {MAX_CBOR_BYTES >> 20} MiB; split it")
    stream = io.BytesIO(data.removeprefix(_SELF_DESCRIBED))
    try:
        decoder = cbor2.CBORDecoder(
            stream, tag_hook=_no_tag, semantic_decoders=_NoTags(), max_depth=_MAX_DEPTH, strict_hashable_types=True
        )
        content = decoder.decode()
    except (cbor2.CBORDecodeError, EOFError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise InputError(f"{where} is not valid CBOR ({one_line(error)}); {_AGAIN}") from error
    if stream.read(1):
        raise InputError(f"{where}: something follows the CBOR; {_AGAIN}")
    return content


class _NoTags(Mapping[int, Any]):
    """A decoder for every tag that decodes none."""

    def __getitem__(self, tag: int) -> Any:
        return _no_tag

    def __iter__(self) -> Iterator[int]:
        return iter(())

    def __len__(self) -> int:
        return 1


def _no_tag(*_: object) -> NoReturn:
    raise ValueError("it holds a tag")


def parse_acquisition(content: Any, name: str, where: str, options: ReadOptions, about: About | None) -> Session:
    """Turn a decoded acquisition into a session.

    Args:
        content: What the JSON or CBOR says.
        name: What to call the session.
        where: Beginning of an error message.
        options: What the user says about units that the file does not state.
        about: What our own writer said about the whole recording, if it did.

    Raises:
        InputError: The acquisition is not what it must be.
    """
    payload = content.get("payload") if isinstance(content, dict) else None
    if not isinstance(payload, dict):
        raise InputError(f"{where}: no 'payload'; this is not an Edge Impulse acquisition")
    names, units = _sensors(payload.get("sensors"), where)
    trigger = TRIGGER in names and names[-1] == TRIGGER and units[-1].strip().upper() in ("", "N/A")
    interval_us = _interval_us(payload.get("interval_ms"), where)
    least = 1 if about else 2
    values = _values(payload.get("values"), len(names), where, least)
    pressed = None
    if trigger and (about is None or about.trigger) and len(names) > 1 and np.isin(values[:, -1], (0, 1)).all():
        pressed = values[:, -1].astype(np.uint8)
        names, units, values = names[:-1], units[:-1], values[:, :-1]
    channels = about.channels if about else _channels(names, units, where, options)
    if len(channels) != len(names) or (about and about.trigger and pressed is None):
        raise InputError(f"{where}: its sensors are not those of its description; {_AGAIN}")
    counts = np.rint(values / np.array([c.scale for c in channels]))
    clipped = (counts < -32768) | (counts > 32767)
    faults = tuple(
        f"{channel.name}: {number} of {len(values)} values clipped to int16"
        for channel, number in zip(channels, clipped.sum(axis=0).tolist(), strict=True)
        if number
    )
    return Session(
        name=name,
        t_us=np.rint(np.arange(len(values)) * interval_us).astype(np.int64),
        samples=np.clip(counts, -32768, 32767).astype(np.int16),
        channels=channels,
        period_us=round(interval_us),
        trigger=pressed,
        faults=faults,
    )


def _interval_us(interval: object, where: str) -> float:
    if isinstance(interval, int | float) and not isinstance(interval, bool) and 0.01 <= interval <= 60_000:
        return interval * 1000
    raise InputError(f"{where}: interval_ms must be 0.01 to 60000 milliseconds, is {str(interval)[:20]!r}")


def _sensors(sensors: object, where: str) -> tuple[list[str], list[str]]:
    """Return short names and units as stated."""
    if not isinstance(sensors, list) or not 1 <= len(sensors) <= MAX_SENSORS:
        raise InputError(f"{where}: 'sensors' must list 1 to {MAX_SENSORS} sensors")
    names, units = [], []
    for number, sensor in enumerate(sensors):
        name = sensor.get("name") if isinstance(sensor, dict) else None
        unit = sensor.get("units") if isinstance(sensor, dict) else None
        if not isinstance(name, str) or not isinstance(unit, str):
            raise InputError(f"{where}: sensor {number} has no name or no units")
        names.append(_short_name(name))
        units.append(unit)
    return names, units


def _channels(names: Sequence[str], units: Sequence[str], where: str, options: ReadOptions) -> tuple[Channel, ...]:
    channels = []
    for name, stated in zip(names, units, strict=True):
        unstated = stated.strip().upper() in ("", "N/A")
        said = options.units.get(name, options.units.get(_SENSOR_KEYS.get(name[0], ""))) if unstated else None
        unit = stated if said is None else said
        known = UNITS.get(unit.strip().lower())
        if known is None and unstated and name.startswith("g"):
            known = UNSTATED
        if known is None:
            raise InputError(f"{where}: sensor {name!r} has unit {unit[:16]!r}; known units are {', '.join(UNITS)}")
        channels.append(Channel(name, *known))
    if len(set(names)) != len(names):
        raise InputError(f"{where}: two sensors have the same name; rename one")
    return tuple(channels)


def _short_name(name: str) -> str:
    match = _SHORT_NAME.fullmatch(name.strip())
    if match:
        return "".join(part for part in match.groups() if part).lower()
    return re.sub(r"[^a-z0-9]+", "_", name.strip().lower())[:32] or "sensor"


def _values(rows: object, width: int, where: str, least: int) -> NDArray[np.float64]:
    """Check the table of values and return it as ``(n, width)``."""
    if not isinstance(rows, list) or len(rows) < least:
        raise InputError(f"{where}: no samples (fewer than two rows of 'values'); remove that acquisition")
    if any(type(row) is not list or len(row) != width for row in rows):
        bad = next(i for i, row in enumerate(rows) if type(row) is not list or len(row) != width)
        raise InputError(f"{where}, row {bad}: {width} values expected, one per sensor")
    numeric = set(map(type, chain.from_iterable(rows))) <= {int, float}
    try:
        table = np.array(rows, dtype=np.float64) if numeric else None
    except OverflowError:
        table = None
    if table is None or not np.isfinite(table).all():
        bad = next(i for i, row in enumerate(rows) if not all(_is_finite(value) for value in row))
        raise InputError(f"{where}, row {bad}: holds something that is no finite number")
    return table


def _is_finite(value: object) -> bool:
    if type(value) is int:
        return abs(value) < 10**300
    return type(value) is float and math.isfinite(value)


def one_line(error: BaseException) -> str:
    """Shorten an exception of a library to part of one line."""
    return " ".join(str(error).split())[:100] or type(error).__name__
