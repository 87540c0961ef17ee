"""MCAP, both ways: our recordings for Foxglove, and magnetic-distortion recordings with their labels.

Reading gives our own files back exactly. In others it takes the raw sensor topics: those with the same timestamps
become one recording with channels ``mx my mz ax ay az gx gy gz``, others a recording each, named
``file:topic``; `read_topics` reads poses and truths. Labels beside the file become events, and the label of the
recording if one covers all of it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from stinger.sessions.mcap_format.quantities import TOPIC_CHANNELS
from stinger.sessions.mcap_format.reading import read_sessions_of
from stinger.sessions.mcap_format.stream import MAGIC
from stinger.sessions.mcap_format.writing import sensors_fit, write_imu, write_sensors
from stinger.sessions.options import ReadOptions
from stinger.sessions.session import Session

NAME = "an MCAP recording (.mcap)"
SUFFIXES: tuple[str, ...] = (".mcap",)


def recognise(data_head: bytes, path: Path) -> bool:
    """Whether a file is MCAP, by its first bytes; its name does not matter."""
    del path
    return data_head.startswith(MAGIC)


def read(path: Path, options: ReadOptions) -> list[Session]:
    """Read the recordings of an MCAP file.

    Raises:
        InputError: The file is missing, damaged, implausibly large, or holds no recording.
    """
    return read_sessions_of(path, options)


def read_topics(path: Path, topics: Collection[str], options: ReadOptions) -> list[Session]:
    """Read given sensor topics (``pose_truth``, ``mag_truth``) of a file that is not ours; see `read`."""
    return read_sessions_of(path, options, topics)


def write(sessions: Sequence[Session], path: Path) -> None:
    """Write recordings as MCAP.

    Recordings with a magnetometer become sensor topics with labels beside them, as magnetic-distortion tools expect;
    all others, and several recordings of the same sensors, become what Foxglove plots.

    Raises:
        InputError: They cannot be written, or the place cannot.
    """
    names = {channel.name for session in sessions for channel in session.channels}
    if names.issuperset(TOPIC_CHANNELS["mag_raw"]) and sensors_fit(sessions):
        write_sensors(sessions, path)
    else:
        write_imu(sessions, path)
