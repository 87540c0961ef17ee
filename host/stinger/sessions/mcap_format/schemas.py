"""JSON schemas of the messages in our MCAP files, as Foxglove and other readers want to find them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from stinger.sessions.session import Channel

#: A reader knows messages by these names.
SENSOR_EVENT = "sensor_event"
LOG = "foxglove.Log"
IMU = "stinger.Imu"
COMPRESSED_IMAGE = "foxglove.CompressedImage"
INPUT_VALUES = "input_values"
CLASSIFICATION = "classification"

_TIME = {
    "type": "object",
    "title": "time",
    "properties": {
        "sec": {"type": "integer", "minimum": 0},
        "nsec": {"type": "integer", "minimum": 0, "maximum": 999_999_999},
    },
}
_LEVELS = ("UNKNOWN", "DEBUG", "INFO", "WARNING", "ERROR", "FATAL")


def sensor_event() -> bytes:
    """Return the schema of one reading of one sensor, as magnetic-distortion recordings have it."""
    return _schema(
        SENSOR_EVENT,
        {
            "id": {"type": "string", "description": "Topic"},
            "timestamp": {"type": "number", "description": "Nanoseconds"},
            "values": {"type": "array", "items": {"type": "number"}},
        },
        ("id", "timestamp", "values"),
    )


def log() -> bytes:
    """Return Foxglove's schema of a log message, with what our events have beyond it."""
    return _schema(
        LOG,
        {
            "timestamp": _TIME,
            "level": {
                "title": "foxglove.LogLevel",
                "oneOf": [{"title": title, "const": value} for value, title in enumerate(_LEVELS)],
            },
            "message": {"type": "string", "description": "What the event says; empty where one ends"},
            "name": {"type": "string", "description": "label, prediction or mark"},
            "file": {"type": "string", "description": "Recording"},
            "line": {"type": "integer", "minimum": 0, "description": "Number of the event in its recording"},
            "end": _TIME | {"description": "When the event ends"},
        },
        ("timestamp", "level", "message", "name", "file", "line"),
    )


def imu(channels: Sequence[Channel], *, trigger: bool) -> bytes:
    """Return the schema of one sample of all channels: plain numbers, which a plot can show."""
    properties: dict[str, object] = {
        channel.name: {"type": "number", "description": f"{channel.unit}, one count is {channel.scale!r}"}
        for channel in channels
    }
    if trigger:
        properties["trigger"] = {"type": "integer", "minimum": 0, "maximum": 1}
    return _schema(IMU, properties, tuple(properties))


def compressed_image() -> bytes:
    """Return Foxglove's schema of a compressed picture."""
    return _schema(
        COMPRESSED_IMAGE,
        {
            "timestamp": _TIME | {"description": "Timestamp of image"},
            "frame_id": {"type": "string", "description": "Frame of reference"},
            "data": {"type": "string", "contentEncoding": "base64", "description": "Compressed image data"},
            "format": {"type": "string", "description": "Image format: png"},
        },
        ("timestamp", "frame_id", "data", "format"),
    )


def input_values() -> bytes:
    """Return the schema of an array for a model."""
    data = {"type": "string", "contentEncoding": "base64", "description": "NumPy's .npy, frames before bands"}
    return _schema(INPUT_VALUES, {"data": data}, ("data",))


def classification() -> bytes:
    """Return the schema of what a model says of one window."""
    return _schema(
        CLASSIFICATION,
        {
            "predicted_class_id": {"type": "integer", "minimum": 0, "description": "Number of the class"},
            "label": {"type": "string", "description": "Name of the class"},
        },
        ("predicted_class_id", "label"),
    )


def _schema(title: str, properties: dict[str, object], required: Sequence[str]) -> bytes:
    schema = {"title": title, "type": "object", "properties": properties, "required": list(required)}
    return json.dumps(schema, separators=(",", ":")).encode()
