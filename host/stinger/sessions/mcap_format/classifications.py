"""What a model says of each window of a recording: MCAP with the topic ``classification``.

Each message is ``{"predicted_class_id", "label"}`` at the window's log time, which is the time of its last sample.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError
from stinger.sessions.mcap_format import schemas as mcap_schemas
from stinger.sessions.mcap_format.about import is_one_line
from stinger.sessions.mcap_format.messages import json_messages
from stinger.sessions.mcap_format.writing import open_writer

TOPIC = mcap_schemas.CLASSIFICATION
MAX_CLASSIFICATIONS = 1_000_000
MAX_LABEL = 64
_MAX_CLASS = 1 << 31
_ADVICE = "classify the recording again"


@dataclass(frozen=True)
class Classifications:
    """What a model said.

    Attributes:
        times_ns: When each window ended, int64, shape ``(n,)``, in order.
        class_ids: Number of the class of each, int64, shape ``(n,)``.
        labels: Name of the class of each.
    """

    times_ns: NDArray[np.int64]
    class_ids: NDArray[np.int64]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.times_ns)


def write_classifications(
    path: Path, times_ns: NDArray[np.int64], class_ids: NDArray[np.integer[Any]], labels: Sequence[str]
) -> None:
    """Write what a model says of each window; the same facts give the same bytes.

    Args:
        path: Where to.
        times_ns: When each window ended, shape ``(n,)``, none negative, in order.
        class_ids: Number of the class of each, shape ``(n,)``.
        labels: Name of the class of each, ``n`` of them; the same number always has the same name.

    Raises:
        InputError: They cannot be written so that they read back, or the place cannot be written.
    """
    rows = list(zip(np.asarray(times_ns).tolist(), np.asarray(class_ids).tolist(), labels, strict=False))
    if not 0 < len(rows) == len(times_ns) == len(class_ids) == len(labels) <= MAX_CLASSIFICATIONS:
        raise InputError(
            f"{path.name}: {len(times_ns)} times, {len(class_ids)} classes and {len(labels)} labels; "
            f"as many of each are needed, 1 to {MAX_CLASSIFICATIONS}"
        )
    names: dict[int, str] = {}
    last = 0
    for time_ns, class_id, label in (_checked(*row, path.name) for row in rows):
        if time_ns < last or names.setdefault(class_id, label) != label:
            raise InputError(f"{path.name}: times out of order, or class {class_id} has two names; {_ADVICE}")
        last = time_ns
    with open_writer(path) as writer:
        schema = writer.register_schema(mcap_schemas.CLASSIFICATION, "jsonschema", mcap_schemas.classification())
        channel = writer.register_channel(TOPIC, "json", schema)
        for number, (time_ns, class_id, label) in enumerate(rows):
            text = json.dumps({"predicted_class_id": class_id, "label": label})
            writer.add_message(channel, time_ns, text.encode(), time_ns, number)


def read_classifications(path: Path) -> Classifications:
    """Read what a model said, in order of time.

    Raises:
        InputError: The file is missing, damaged, or holds something else.
    """
    rows: list[tuple[int, int, str]] = []
    for _, time_ns, message in json_messages(path, (TOPIC,)):
        said = message.get("predicted_class_id"), message.get("label")
        rows.append(_checked(time_ns, *said, f"{path.name}: {TOPIC}"))
        if len(rows) > MAX_CLASSIFICATIONS:
            raise InputError(f"{path.name}: more than {MAX_CLASSIFICATIONS} classifications; split the file")
    rows.sort(key=lambda row: row[0])
    return Classifications(
        times_ns=np.array([row[0] for row in rows], dtype=np.int64),
        class_ids=np.array([row[1] for row in rows], dtype=np.int64),
        labels=tuple(row[2] for row in rows),
    )


def _checked(time_ns: Any, class_id: Any, label: Any, where: str) -> tuple[int, int, str]:
    if type(time_ns) is not int or not 0 <= time_ns < 1 << 63:
        raise InputError(f"{where}: a time is not within 63 bits of nanoseconds; {_ADVICE}")
    if type(class_id) is not int or not 0 <= class_id < _MAX_CLASS:
        raise InputError(f"{where}: a class is not a number of one; {_ADVICE}")
    if not isinstance(label, str) or not 0 < len(label) <= MAX_LABEL or not is_one_line(label):
        raise InputError(f"{where}: a label is empty, longer than {MAX_LABEL} characters or unprintable; {_ADVICE}")
    return time_ns, class_id, label
