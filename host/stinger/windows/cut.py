"""From sessions to a dataset: chooses how to cut by what the sessions are."""

from __future__ import annotations

from collections.abc import Sequence

from stinger.errors import InputError
from stinger.sessions.session import Session
from stinger.windows.dataset import Dataset
from stinger.windows.labelled import LabelledWindows, cut_labelled
from stinger.windows.shot_rules import Shots, ShotWindows, find_shots
from stinger.windows.shots import cut_shots

__all__ = ["LabelledWindows", "ShotWindows", "Shots", "cut", "cut_labelled", "cut_shots", "find_shots"]


def cut(sessions: Sequence[Session], *, seed: int = 1) -> Dataset:
    """Cut windows with the defaults for the kind of recording, a share of them held out.

    Labelled recordings give one class per label; recordings with a trigger give "idle" and "shot".

    Args:
        sessions: One or more recordings of one kind.
        seed: Seed of every choice made.

    Raises:
        InputError: The sessions have neither labels nor shots, are of both kinds, or hold too little.
    """
    if not sessions:
        raise InputError("no recordings to cut; give at least one")
    labelled = [session for session in sessions if session.label is not None]
    triggered = [session for session in sessions if session.trigger is not None]
    if labelled and triggered:
        raise InputError(
            f"{labelled[0].name} has a label and {triggered[0].name} a trigger; cut the two kinds separately"
        )
    if labelled:
        return cut_labelled(sessions, LabelledWindows(seed=seed))
    if not triggered:
        raise InputError(f"{sessions[0].name}: neither a label nor a trigger, so nothing to learn; label it")
    return cut_shots(sessions, ShotWindows(seed=seed))
