"""JSON messages of chosen topics, one at a time: for files that hold no recording but what was made from one."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from mcap.records import Metadata

from stinger.errors import InputError
from stinger.sessions.mcap_format.stream import Batch, Topic, read_items


def json_messages(
    path: Path, topics: Collection[str], on_metadata: Callable[[Metadata], None] | None = None
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Read the messages of some topics in the order in which the file has them, topic by topic within a chunk.

    Args:
        path: The file.
        topics: Which topics; their messages must be JSON objects.
        on_metadata: Is given each metadata record.

    Yields:
        Topic, log time in nanoseconds (less than 2^63) and message.

    Raises:
        InputError: The file is damaged, has none of the topics, or a message is not what it must be.
    """
    seen: dict[str, None] = {}

    def wanted(topic: Topic) -> bool:
        seen[topic.name] = None
        return topic.name in topics and topic.encoding == "json"

    for item in read_items(path, wanted):
        if isinstance(item, Metadata) and on_metadata is not None:
            on_metadata(item)
        elif isinstance(item, Batch):
            where = f"{path.name}: {item.topic.name}"
            for time_ns, content in zip(item.times, item.contents, strict=True):
                if time_ns >= 1 << 63:
                    raise InputError(f"{where}: a log time is not within 63 bits of nanoseconds; make the file again")
                yield item.topic.name, time_ns, _message(content, where)
    if not any(topic in seen for topic in topics):
        raise InputError(
            f"{path.name}: no topic {' or '.join(topics)}; its topics are: {', '.join([*seen][:8]) or 'none'}"
        )


def _message(content: bytes, where: str) -> dict[str, Any]:
    try:
        message = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: a message is not valid JSON; make the file again") from error
    if not isinstance(message, dict):
        raise InputError(f"{where}: a message is not a JSON object; make the file again")
    return message
