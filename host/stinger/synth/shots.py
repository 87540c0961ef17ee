"""Synthetic blaster sessions: somebody plays for a few minutes, and the Stinger's logger records it.

Most shots are aimed: the blaster is raised, settles, is held, the trigger is squeezed. Some are snap shots on the
move, and some aiming ends without a shot; so a model can learn what precedes a shot, but not perfectly. Who plays
is a `Style`. The logger pauses while the blaster lies still or USB is open and now and then drops samples, by the
rules of the real one.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from stinger.errors import UsageError
from stinger.sessions.session import STINGER_CHANNELS, Session
from stinger.synth import motion
from stinger.synth.logger import record
from stinger.synth.motion import RATE_HZ, Array, Movement
from stinger.synth.styles import STANDARD, Style
from stinger.synth.truth import Aim, ShotTruth, Stretch

MAX_MINUTES = 120.0
#: Activities of which next to nothing is in the log.
UNRECORDED = ("rest", "service")

#: Deviation of the sensors' own noise at 100 Hz, counts.
_NOISE = np.array([7.0, 7.0, 8.0, 2.0, 2.0, 2.0])
_COUNTS = np.array([1 / channel.scale for channel in STINGER_CHANNELS])


class _Player:
    """Plays: keeps the pose between activities and remembers what was done."""

    def __init__(self, rng: np.random.Generator, style: Style) -> None:
        self.rng = rng
        self.style = style
        self.parts: list[Movement] = []
        self.names: list[str] = []
        self.pose: Array = np.array([style.roll_deg, style.ready_deg, 0.0])
        self.recorded = 0
        mix = np.array([style.walk, style.run, style.handle])
        self._mix = mix / mix.sum()

    def do(self, name: str, movement: Movement) -> None:
        """Append one activity."""
        self.parts.append(movement)
        self.names.append(name)
        self.pose = movement.pose[-1]
        if name not in UNRECORDED:
            self.recorded += len(movement)

    def play(self, wanted: float) -> None:
        """Play until about ``wanted`` samples can have been recorded."""
        rng = self.rng
        while self.recorded < wanted:
            if self.style.service and rng.random() < self.style.service:
                self.do("service", motion.handle(rng, self.pose, rng.uniform(2, 15), 0.5))
            if rng.random() < self.style.rest:
                self.rest()
            while rng.random() < self.style.travel:
                self.travel()
            self.engage()

    def usb_open(self) -> NDArray[np.bool_]:
        """Where USB is plugged in, per sample played."""
        return np.repeat([name == "service" for name in self.names], [len(part) for part in self.parts])

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
        ][self.rng.choice(3, p=self._mix)]
        make = {"walk": motion.walk, "run": motion.run, "handle": motion.handle}[activity]
        self.do(activity, make(self.rng, self.pose, self.rng.uniform(low, high), self.style.vigour))

    def engage(self) -> None:
        """Aim and shoot once or more, or think better of it."""
        rng, style = self.rng, self.style
        if rng.random() < style.snap:
            # A snap shot: no raising, no hold.
            self._shoot()
            return
        fires = rng.random() < 1 - style.feint
        self._aim(fires=fires)
        if fires:
            self._shoot()
            while rng.random() < style.burst:
                pause = rng.uniform(0.15, 0.5) if rng.random() < style.burst_quick else rng.uniform(0.9, 1.8)
                hold = motion.settle(rng, self.pose, pause, 0.5, style.tremor)
                self.do("hold", self._squeeze(hold))
                self._shoot()
        if rng.random() < 0.8:
            self.do("lower", motion.move(rng, self.pose, self._ready(), rng.uniform(0.3, 0.8) / style.aim_speed))

    def _aim(self, *, fires: bool) -> None:
        rng, style = self.rng, self.style
        target = np.array([
            style.roll_deg + rng.normal(0, 4), rng.normal(style.pitch_deg, 6), self.pose[2] + rng.normal(0, 35),
        ])  # fmt: skip
        self.do("raise", motion.move(rng, self.pose, target, rng.uniform(0.25, 0.5) / style.aim_speed))
        # Who will shoot holds a little calmer; how much varies more than the difference.
        calm = float(np.clip(rng.normal(style.calm if fires else 1.0, 0.2), 0.1, 1.5))
        seconds = rng.uniform(0.5, 1.0 if fires else 1.4) * style.hold_time
        hold = motion.settle(rng, self.pose, seconds, calm, style.tremor)
        if fires or rng.random() < style.feint_squeeze:
            hold = self._squeeze(hold)
        self.do("hold", hold)

    def _squeeze(self, hold: Movement) -> Movement:
        return motion.squeeze(self.rng, hold, self.rng.uniform(0.8, 1.8) * self.style.squeeze)

    def _shoot(self) -> None:
        self.do("shoot", motion.shoot(self.rng, self.pose, self.style.kick))

    def _ready(self) -> Array:
        spread = self.rng.normal(0, [8, 8, 20])
        return np.array([self.style.roll_deg, self.style.ready_deg, self.pose[2]]) + spread


def make_session(seed: int, minutes: float = 4.0, style: Style = STANDARD) -> tuple[Session, ShotTruth]:
    """Make a synthetic blaster session.

    Args:
        seed: The same seed and style give the same bytes.
        minutes: How much is recorded, at 100 Hz; the pauses come on top.
        style: Who plays; their name is the session's subject.

    Returns:
        The session, with the Stinger's channels, a trigger and marks of what really happened, and the same in full.

    Raises:
        UsageError: ``minutes`` is not above 0 and at most `MAX_MINUTES`, or the seed is negative.
    """
    if not 0 < minutes <= MAX_MINUTES:
        raise UsageError(f"a session must be above 0 and at most {MAX_MINUTES:g} minutes long, not {minutes:g}")
    if seed < 0:
        raise UsageError(f"a seed must be 0 or more, not {seed}")
    # Two people do not do the same things at the same time.
    person = zlib.crc32(style.name.encode())
    rng = np.random.default_rng(seed if style.name == STANDARD.name else [seed, person])
    today = style.in_session(np.random.default_rng([seed, person, 1]))
    wanted = max(2, round(minutes * 60 * RATE_HZ))
    player = _Player(rng, today)
    player.travel()
    # A tenth more is enough for the dropped samples; a hand so calm that the logger takes it for rest plays on.
    enough = 1.1 * wanted + RATE_HZ
    while True:
        player.play(enough)
        played = motion.join(player.parts)
        samples = _measure(rng, played)
        log = record(rng, samples, played.trigger, wanted, player.usb_open())
        if len(log.kept) == wanted:
            break
        enough *= 1.2
    truth = _truth(player, played, log.t_us[: int(log.kept[-1]) + 1])
    session = Session(
        name=f"synthetic-{seed}" if style.name == STANDARD.name else f"synthetic-{style.name}-{seed}",
        t_us=log.t_us[log.kept],
        samples=samples[log.kept],
        channels=STINGER_CHANNELS,
        period_us=1_000_000 // RATE_HZ,
        trigger=played.trigger[log.kept].astype(np.uint8),
        subject=style.name,
        events=truth.events(),
    )
    return session, truth


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
    return ShotTruth(tuple(t_us[pulls].tolist()), tuple(aims), tuple(activities), player.style)
