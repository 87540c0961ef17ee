"""Writing a session as a table that reads back as it was; see `csv_format`."""

from __future__ import annotations

import csv
import io

import numpy as np

from stinger.sessions.session import Channel, Session
from stinger.sessions.units import UNITS

_ROWS = 1 << 15


def render(session: Session, delimiter: str) -> bytes:
    """Return the text of a table."""
    labels = _labels(session)
    words = [("subject", session.subject), ("split", session.split)]
    constant = [(role, text) for role, text in words if text is not None]
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    header = ["t_us", *(_heading(channel) for channel in session.channels)]
    header += ["trigger"] if session.trigger is not None else []
    header += (["label"] if labels is not None else []) + [role for role, _ in constant]
    writer.writerow(header)
    physical = [_is_plain(channel) for channel in session.channels]
    for start in range(0, len(session), _ROWS):
        stop = min(start + _ROWS, len(session))
        columns: list[list[object]] = [session.t_us[start:stop].tolist()]
        for i, channel in enumerate(session.channels):
            counts = session.samples[start:stop, i]
            columns.append([f"{v:.7g}" for v in (counts * channel.scale).tolist()] if physical[i] else counts.tolist())
        if session.trigger is not None:
            columns.append(session.trigger[start:stop].tolist())
        if labels is not None:
            columns.append(labels[start:stop].tolist())
        columns += [[text] * (stop - start) for _, text in constant]
        writer.writerows(zip(*columns, strict=True))
    return out.getvalue().encode("utf-8")


def _is_plain(channel: Channel) -> bool:
    """Say whether a unit settles the scale, so that cells can be physical numbers."""
    known = UNITS.get(channel.unit.lower())
    return known == (channel.unit, channel.scale)


def _heading(channel: Channel) -> str:
    if _is_plain(channel):
        return f"{channel.name} [{channel.unit}]"
    return f"{channel.name} [{channel.scale!r} {channel.unit}]"


def _labels(session: Session) -> np.ndarray[tuple[int], np.dtype[np.object_]] | None:
    """Label per sample, from the recording's or from events that lie apart."""
    if session.label is not None:
        return np.full(len(session), session.label, dtype=object)
    events = [event for event in session.events if event.kind == "label"]
    if not events:
        return None
    labels = np.full(len(session), "", dtype=object)
    for event in events:
        a, b = np.searchsorted(session.t_us, [event.start_us, event.end_us + 1])
        labels[a:b] = event.label
    return labels
