"""Who plays: the numbers in which people differ, and some people.

`STANDARD` is the player of `stinger demo`. The others each differ from it in several ways that a model notices:
how the blaster is held against gravity, how fast and how long they aim, how their hands tremble, what they do
between shots, and how often they aim without shooting.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from stinger.errors import UsageError

#: Least and greatest sensible value of each number.
_FACTOR, _SHARE, _ANGLE = (0.1, 5.0), (0.0, 0.95), (-90.0, 90.0)


@dataclass(frozen=True)
class Style:
    """How somebody plays. Shares are probabilities; factors are relative to `STANDARD`.

    Attributes:
        name: What to call them; the `subject` of their sessions.
        roll_deg: How far the blaster is tilted to the right when held.
        pitch_deg: How far the muzzle points up on an average target.
        ready_deg: Pitch between engagements.
        aim_speed: Factor of how quickly the blaster is raised and lowered.
        hold_time: Factor of how long a target is held.
        calm: How much of the tremor is left when the trigger is about to be pulled; 1 is all of it.
        tremor: Factor of the hand's tremor and drift.
        squeeze: Factor of how much taking up the trigger moves the blaster.
        kick: Factor of the recoil that the hands let through.
        vigour: Factor of how strongly walking, running and handling move the blaster.
        travel: Share of moments between engagements with walking, running or handling.
        walk: Weight of walking in that.
        run: Weight of running.
        handle: Weight of reloading, looking, carrying about.
        rest: Share of engagements before which the blaster is put down for a while.
        service: Share of engagements before which USB is plugged in, which pauses the logger.
        snap: Share of shots from the move, without aiming.
        feint: Share of aiming that ends without a shot: the hard negatives.
        feint_squeeze: Share of those in which the trigger is taken up nevertheless.
        burst: Chance that another shot follows a shot.
        burst_quick: Share of those that follow within half a second.
        spread: How much their factors and angles differ from session to session.
    """

    name: str = "standard"
    roll_deg: float = 0.0
    pitch_deg: float = 1.0
    ready_deg: float = -25.0
    aim_speed: float = 1.0
    hold_time: float = 1.0
    calm: float = 0.4
    tremor: float = 1.0
    squeeze: float = 1.0
    kick: float = 1.0
    vigour: float = 1.0
    travel: float = 0.55
    walk: float = 0.4
    run: float = 0.3
    handle: float = 0.3
    rest: float = 0.1
    service: float = 0.0
    snap: float = 0.05
    feint: float = 0.2
    feint_squeeze: float = 0.15
    burst: float = 0.3
    burst_quick: float = 0.5
    spread: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what nobody can play."""
        for name, value in self.numbers().items():
            low, high = _range(name)
            if not (math.isfinite(value) and low <= value <= high):
                raise UsageError(f"style {self.name}: {name} must be {low:g} to {high:g}, is {value:g}")
        if self.walk + self.run + self.handle <= 0:
            raise UsageError(f"style {self.name}: walk, run and handle must not all be 0")

    def numbers(self) -> dict[str, float]:
        """Every parameter by name."""
        return {name: value for name, value in asdict(self).items() if name != "name"}

    def changed(self, numbers: Mapping[str, float]) -> Style:
        """Return the same person with some numbers changed.

        Raises:
            UsageError: A number is out of its range.
        """
        changes: dict[str, Any] = dict(numbers)
        return replace(self, **changes)

    def in_session(self, rng: np.random.Generator) -> Style:
        """Return how they play in one session: everybody is a little different every day."""
        if not self.spread:
            return self
        changed: dict[str, float] = {}
        for name, value in self.numbers().items():
            low, high = _range(name)
            if (low, high) == _FACTOR:
                changed[name] = float(np.clip(value * math.exp(rng.normal(0, self.spread)), low, high))
            elif (low, high) == _ANGLE:
                changed[name] = float(np.clip(value + rng.normal(0, 30 * self.spread), low, high))
        return self.changed(changed)


def _range(name: str) -> tuple[float, float]:
    if name.endswith("_deg"):
        return _ANGLE
    if name in ("aim_speed", "hold_time", "tremor", "squeeze", "kick", "vigour"):
        return _FACTOR
    return (0.0, 1.0) if name in ("walk", "run", "handle", "calm", "feint_squeeze", "burst_quick") else _SHARE


#: The numbers a style consists of, in order.
PARAMETERS = tuple(field.name for field in fields(Style) if field.name != "name")

STANDARD = Style()
_PEOPLE = (
    STANDARD,
    # Takes time, hardly trembles, seldom moves and seldom fires twice.
    Style(
        name="steady", roll_deg=4, pitch_deg=3, aim_speed=0.55, hold_time=1.7, calm=0.55, tremor=0.45, squeeze=0.5,
        kick=0.7, vigour=0.7, travel=0.35, walk=0.7, run=0.05, handle=0.25, snap=0.0, feint=0.3, burst=0.08,
        service=0.01, spread=0.2,
    ),
    # Trembles as much before a shot as without one, aims often and thinks better of it.
    Style(
        name="nervous", roll_deg=-5, pitch_deg=-1, aim_speed=1.3, hold_time=0.8, calm=0.9, tremor=2.4, squeeze=1.7,
        travel=0.6, walk=0.3, run=0.2, handle=0.5, feint=0.5, feint_squeeze=0.5, burst=0.4, burst_quick=0.7,
        service=0.01, spread=0.2,
    ),
    # Always on the move; many shots come out of it without aiming.
    Style(
        name="runner", roll_deg=8, pitch_deg=2, ready_deg=-40, aim_speed=1.7, hold_time=0.5, calm=0.7, tremor=1.5,
        kick=1.2, vigour=1.4, travel=0.75, walk=0.2, run=0.7, handle=0.1, rest=0.04, snap=0.3, feint=0.25,
        burst=0.25, service=0.005, spread=0.2,
    ),
    # Fires from the hip: the muzzle low, hardly raised.
    Style(
        name="hip", roll_deg=22, pitch_deg=-14, ready_deg=-22, aim_speed=1.2, hold_time=0.6, calm=0.8, tremor=1.3,
        squeeze=1.4, kick=1.4, vigour=1.1, travel=0.6, snap=0.15, feint=0.25, burst=0.35, burst_quick=0.7,
        service=0.01, spread=0.2,
    ),
    # Holds it sideways, as in films.
    Style(
        name="tilted", roll_deg=-70, pitch_deg=4, ready_deg=-30, aim_speed=1.1, hold_time=0.9, calm=0.6, tremor=1.2,
        squeeze=1.2, kick=1.3, travel=0.5, snap=0.1, feint=0.3, burst=0.45, burst_quick=0.6, service=0.01, spread=0.2,
    ),
    # Shoots in long quick bursts after a short look, muzzle high.
    Style(
        name="rapid", roll_deg=-12, pitch_deg=16, ready_deg=-10, aim_speed=1.5, hold_time=0.45, calm=0.6, tremor=0.9,
        squeeze=0.7, kick=0.8, vigour=1.2, travel=0.45, walk=0.3, run=0.4, handle=0.3, feint=0.12, burst=0.75,
        burst_quick=0.85, service=0.01, spread=0.2,
    ),
)  # fmt: skip
#: Everybody, by name.
STYLES = {style.name: style for style in _PEOPLE}


def find_style(name: str) -> Style:
    """Look up somebody.

    Raises:
        UsageError: Nobody has that name.
    """
    if name not in STYLES:
        raise UsageError(f"unknown style {name!r}; known: {', '.join(STYLES)}")
    return STYLES[name]
