"""Synthetic blaster sessions: somebody plays for a few minutes, and the Stinger's logger records it.

Most shots are aimed: the blaster is raised, settles, is held, the trigger is squeezed. Some are snap shots on the
move, and some aiming ends without a shot; so a model can learn what precedes a shot, but not perfectly. The
logger pauses while the blaster lies still and now and then drops samples, by the rules of the real one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stinger.errors import UsageError
from stinger.sessions.session import STINGER_CHANNELS, Session
from stinger.synth import motion
from stinger.synth.logger import record
from stinger.synth.motion import RATE_HZ, Array, Movement

MAX_MINUTES = 120.0

#: Deviation of the sensors' own noise at 100 Hz, counts.
_NOISE = np.array([7.0, 7.0, 8.0, 2.0, 2.0, 2.0])
_COUNTS = np.array([1 / channel.scale for channel in STINGER_CHANNELS])
_LOW_READY = np.array([0.0, -25.0, 0.0])


@dataclass(frozen=True)
class Stretch:
    """One activity in time; microseconds on the session's clock.

    Attributes:
        activity: ``rest``, ``handle``, ``walk``, ``run``, ``raise``, ``hold``, ``shoot`` or ``lower``.
        start_us: First sample's time.
        stop_us: Time at which the next activity begins.
    """

    activity: str
    start_us: int
    stop_us: int


@dataclass(frozen=True)
class Aim:
    """Raising and holding on a target.

    Attributes:
        start_us: When raising begins.
        stop_us: When the hold ends, with the trigger or without.
        fired: Whether a shot ends it.
    """

    start_us: int
    stop_us: int
    fired: bool


@dataclass(frozen=True)
class ShotTruth:
    """What really happened in a synthetic session, also where the logger paused.

    Attributes:
        shots_us: Time of every trigger pull, ascending.
        aims: Every aiming, in order.
        activities: What was done, without holes from the session's beginning to its end.
    """

    shots_us: tuple[int, ...]
    aims: tuple[Aim, ...]
    activities: tuple[Stretch, ...]


class _Player:
    """Plays: keeps the pose between activities and remembers what was done."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.parts: list[Movement] = []
        self.names: list[str] = []
        self.pose: Array = _LOW_READY.copy()
        self.moving = 0

    def do(self, name: str, movement: Movement) -> None:
        """Append one activity."""
        self.parts.append(movement)
        self.names.append(name)
        self.pose = movement.pose[-1]
        if name != "rest":
            self.moving += len(movement)

    def rest(self) -> None:
        """Put it down on its side, leave it, pick it up."""
        rng = self.rng
        lying = np.array([rng.choice([-90.0, 90.0]), 0.0, self.pose[2]]) + rng.normal(0, 3, 3)
        self.do("handle", motion.move(rng, self.pose, lying, rng.uniform(0.5, 0.9)))
        self.do("rest", motion.still(self.pose, rng.uniform(3, 14)))
        self.do("handle", motion.move(rng, self.pose, self._ready(), rng.uniform(0.4, 0.8)))

    def travel(self) -> None:
        """Walk, run or handle it for some seconds."""
        activity, low, high = [
            ("walk", 1.0, 4.0),
            ("run", 0.8, 3.0),
            ("handle", 0.8, 3.0),
        ][self.rng.choice(3, p=[0.4, 0.3, 0.3])]
        make = {"walk": motion.walk, "run": motion.run, "handle": motion.handle}[activity]
        self.do(activity, make(self.rng, self.pose, self.rng.uniform(low, high)))

    def engage(self) -> None:
        """Aim and shoot once or more, or think better of it."""
        rng = self.rng
        if rng.random() < 0.05:
            # A snap shot: no raising, no hold.
            self.do("shoot", motion.shoot(rng, self.pose))
            return
        fires = rng.random() < 0.8
        self._aim(fires=fires)
        if fires:
            self.do("shoot", motion.shoot(rng, self.pose))
            while rng.random() < 0.3:
                pause = rng.uniform(0.15, 0.5) if rng.random() < 0.5 else rng.uniform(0.9, 1.8)
                hold = motion.settle(rng, self.pose, pause, 0.5)
                self.do("hold", motion.squeeze(rng, hold, rng.uniform(0.8, 1.8)))
                self.do("shoot", motion.shoot(rng, self.pose))
        if rng.random() < 0.8:
            self.do("lower", motion.move(rng, self.pose, self._ready(), rng.uniform(0.3, 0.8)))

    def _aim(self, *, fires: bool) -> None:
        rng = self.rng
        target = np.array([rng.normal(0, 4), rng.normal(1, 6), self.pose[2] + rng.normal(0, 35)])
        self.do("raise", motion.move(rng, self.pose, target, rng.uniform(0.25, 0.5)))
        # Who will shoot holds a little calmer; how much varies more than the difference.
        calm = float(np.clip(rng.normal(0.4 if fires else 1.0, 0.2), 0.1, 1.5))
        hold = motion.settle(rng, self.pose, rng.uniform(0.5, 1.0 if fires else 1.4), calm)
        if fires or rng.random() < 0.15:
            hold = motion.squeeze(rng, hold, rng.uniform(0.8, 1.8))
        self.do("hold", hold)

    def _ready(self) -> Array:
        return np.array([0.0, _LOW_READY[1], self.pose[2]]) + self.rng.normal(0, [8, 8, 20])


def make_session(seed: int, minutes: float = 4.0) -> tuple[Session, ShotTruth]:
    """Make a synthetic blaster session.

    Args:
        seed: The same seed gives the same bytes.
        minutes: How much is recorded, at 100 Hz; the pauses come on top.

    Returns:
        The session, with the Stinger's channels and a trigger, and what really happened.

    Raises:
        UsageError: ``minutes`` is not above 0 and at most `MAX_MINUTES`, or the seed is negative.
    """
    if not 0 < minutes <= MAX_MINUTES:
        raise UsageError(f"a session must be above 0 and at most {MAX_MINUTES:g} minutes long, not {minutes:g}")
    if seed < 0:
        raise UsageError(f"a seed must be 0 or more, not {seed}")
    rng = np.random.default_rng(seed)
    wanted = max(2, round(minutes * 60 * RATE_HZ))
    player = _Player(rng)
    player.travel()
    # Whatever is not rest is recorded but for the dropped samples, so a tenth more is always enough.
    while player.moving < 1.1 * wanted + RATE_HZ:
        if rng.random() < 0.1:
            player.rest()
        while rng.random() < 0.55:
            player.travel()
        player.engage()
    played = motion.join(player.parts)
    samples = _measure(rng, played)
    log = record(rng, samples, played.trigger, wanted)
    session = Session(
        name=f"synthetic-{seed}",
        t_us=log.t_us[log.kept],
        samples=samples[log.kept],
        channels=STINGER_CHANNELS,
        period_us=1_000_000 // RATE_HZ,
        trigger=played.trigger[log.kept].astype(np.uint8),
    )
    return session, _truth(player, played, log.t_us[: int(log.kept[-1]) + 1])


def _measure(rng: np.random.Generator, played: Movement) -> NDArray[np.int16]:
    """What the sensor says: scaled, noisy, a little biased, rounded and saturated to int16."""
    force, rates = motion.sense(played)
    bias = rng.normal(0, [15, 15, 15, 4, 4, 4])
    counts = np.concatenate([force, rates], axis=1) * _COUNTS + bias
    counts += rng.standard_normal(counts.shape) * _NOISE
    saturated: NDArray[np.int16] = np.clip(np.rint(counts), -32768, 32767).astype(np.int16)
    return saturated


def _truth(player: _Player, played: Movement, t_us: NDArray[np.int64]) -> ShotTruth:
    """Bring what was played onto the session's clock, up to its last sample."""
    bounds = np.minimum(np.cumsum([0, *map(len, player.parts)]), len(t_us) - 1)
    times = t_us[bounds].tolist()
    activities = [
        Stretch(name, start, stop)
        for name, start, stop in zip(player.names, times[:-1], times[1:], strict=True)
        if stop > start
    ]
    aims = [
        Aim(before.start_us, hold.stop_us, fired=after.activity == "shoot")
        for before, hold, after in zip(activities, activities[1:], activities[2:], strict=False)
        if before.activity == "raise"
    ]
    down = played.trigger[: len(t_us)]
    pulls = np.flatnonzero(down[1:] & ~down[:-1]) + 1
    return ShotTruth(tuple(t_us[pulls].tolist()), tuple(aims), tuple(activities))
