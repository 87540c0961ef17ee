"""Cutting sessions that are at hand, the way `demo` and `deploy` do it."""

from __future__ import annotations

from collections.abc import Sequence

from stinger.sessions.session import Session
from stinger.windows.dataset import Dataset
from stinger.windows.explore import assemble, cut_session
from stinger.windows.spec import ExploreSpec, preset


def cut(sessions: Sequence[Session], spec: ExploreSpec | None = None, *, seed: int = 1) -> Dataset:
    """Cut sessions into windows for training and held-out windows; embargoed ones are left out.

    Args:
        sessions: One or more recordings of one kind.
        spec: How to cut; by default the preset ``personal``.
        seed: Seed of every choice, where no spec is given.

    Raises:
        InputError: The sessions have neither labels nor shots, are of both kinds, or hold too little.
    """
    spec = preset("personal", seed=seed) if spec is None else spec
    return assemble([cut_session(s, spec, i) for i, s in enumerate(sessions)], spec).without_embargoed()
