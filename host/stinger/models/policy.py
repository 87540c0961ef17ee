"""Policies: from a stream of probabilities to on and off, in integers that host and board share bit for bit.

A policy sees every sample of a stream: its time, whether the window was full (*ready*), and then the probability of
the class it acts on and how much the blaster turned within the window. It keeps an envelope of the probability, which
rises and falls at rates of its own, and two thresholds (hysteresis)::

    gate      a ready sample brings a new probability p; it counts as 0 if the sum over the window of
              gx*gx + gy*gy + gz*gz is below gate_lsb**2 * window: the blaster lies still
    held      the newest probability is held until the next; it counts as 0 once it is older than stale_us
    tick      d = (held << 3) - e
              e += (attack * d + 4095) >> 12   if d > 0     moves by attack/4096 of the way, rounded up,
              e += (release * d) >> 12         otherwise    so that the envelope arrives
    off->on   e >= on << 3
    on->off   e < off << 3, and at least min_on_us have passed since it went on
    time      each sample is one tick at its own time. If more than one and a half periods have passed since the last
              sample, ticks one period apart are made up first, with the probability held; after 1024 periods or more,
              or if time went back, the policy starts afresh: off, envelope 0, nothing held

Probabilities and thresholds are in units of 1/32768, the envelope ``e`` in units of 2**-18, rates in 1/4096 per
period, times in microseconds. Time is compared modulo 2**32, as the board counts it. A model's two classes are
(neutral, shot), so policies act on the second unless told otherwise.

`device/stinger_ml/stinger_policy.c` is the same in C; `tests/vectors/policy.json` holds both to it. `Policy.stock`
is what the blaster's own firmware does with its idle setting.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stinger.errors import UsageError
from stinger.models.policy_settings import LIMITS, ONE, RATE_ONE, Policy
from stinger.sessions.session import Channel

__all__ = [
    "ENVELOPE_SHIFT",
    "LIMITS",
    "MAX_MISSED",
    "ONE",
    "RATE_ONE",
    "Policy",
    "PolicyTrace",
    "default_policy",
    "gyro_triad",
    "motion_energy",
    "run_many",
    "run_policy",
    "to_units",
]

#: Envelope units in a probability unit are 2**ENVELOPE_SHIFT.
ENVELOPE_SHIFT = 3
#: Periods of silence after which a policy starts afresh.
MAX_MISSED = 1024
_MASK = 0xFFFFFFFF
_OFF, _HELD_ON, _ON = 0, 1, 2


@dataclass(frozen=True)
class PolicyTrace:
    """What a policy made of a stream.

    Attributes:
        on: Whether it was on after each sample, bool, shape ``(n,)``.
        envelope: Its envelope then, int32 in units of 2**-18, shape ``(n,)``.
    """

    on: NDArray[np.bool_]
    envelope: NDArray[np.int32]


def to_units(probability: NDArray[np.floating]) -> NDArray[np.uint16]:
    """Probabilities 0..1 in units of 1/32768, to the nearest; the same shape."""
    units: NDArray[np.uint16] = np.rint(np.clip(probability, 0.0, 1.0) * ONE).astype(np.uint16)
    return units


def gyro_triad(channel_names: Sequence[str]) -> int | None:
    """Index of the first of the consecutive channels ``gx``, ``gy``, ``gz``; None without them."""
    names = list(channel_names)
    return next((i for i in range(len(names) - 2) if names[i : i + 3] == ["gx", "gy", "gz"]), None)


def default_policy(
    channels: Sequence[Channel], classes: Sequence[str], *, window: int, period_us: int
) -> Policy | None:
    """The policy a new model gets: the stock one for models of shots on the Stinger's own gyroscope, else none.

    Args:
        channels: The model's channels; the stock gate is in counts of a gyroscope of +-2000 deg/s.
        classes: Its classes; of shots they are anything and ``shot``.
        window: Samples in its window.
        period_us: Its sample period.
    """
    gyro = gyro_triad([channel.name for channel in channels])
    if gyro is None or len(classes) != 2 or classes[1] != "shot":
        return None
    if any(c.unit != "deg/s" or not math.isclose(c.scale, 1 / 16.4, rel_tol=1e-3) for c in channels[gyro : gyro + 3]):
        return None
    return Policy.stock(window=window, period_us=period_us, gyro=gyro)


def motion_energy(windows: NDArray[np.int16], gyro: int | Sequence[int]) -> NDArray[np.int64]:
    """Sum over each window of the squared length of the gyroscope vector.

    Args:
        windows: int16, shape ``(n, window, channels)``.
        gyro: First of the three gyroscope channels, or all three.

    Returns:
        int64, shape ``(n,)``, in counts squared.
    """
    channels = range(gyro, gyro + 3) if isinstance(gyro, int) else gyro
    total = np.zeros(len(windows), dtype=np.int64)
    for channel in channels:
        x = windows[:, :, channel].astype(np.int64)
        total += np.einsum("ij,ij->i", x, x)
    return total


def run_policy(
    policy: Policy,
    t_us: NDArray[np.int64],
    ready: NDArray[np.bool_],
    probability: NDArray[np.uint16],
    motion: NDArray[np.int64],
) -> PolicyTrace:
    """Run a policy over a stream, from its beginning.

    Args:
        policy: The policy.
        t_us: Time of each sample in microseconds, int64, shape ``(n,)``.
        ready: Whether the window was full there, bool, shape ``(n,)``.
        probability: Of the class it acts on, in units of 1/32768, shape ``(n,)``; unused where not ready.
        motion: `motion_energy` of the window, int64, shape ``(n,)``; unused where not ready.

    Raises:
        UsageError: The arrays differ in length, or a probability is above 1.
    """
    _check_stream(t_us, ready, probability, motion)
    gated = np.where(motion < policy.gate_energy, 0, probability).tolist()
    machine = _Machine(policy)
    on: list[bool] = []
    envelope: list[int] = []
    for t, is_ready, new in zip((t_us & _MASK).tolist(), ready.tolist(), gated, strict=True):
        machine.update(t, new if is_ready else None)
        on.append(machine.phase != _OFF)
        envelope.append(machine.envelope)
    return PolicyTrace(np.array(on, dtype=np.bool_), np.array(envelope, dtype=np.int32))


class _Machine:
    """The state of one policy, as ``stinger_policy_state`` holds it."""

    __slots__ = ("envelope", "held", "held_t", "last_t", "on_t", "phase", "policy", "started")

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.started = False
        self.last_t = self.held_t = self.on_t = 0
        self.envelope = self.held = self.phase = 0

    def update(self, t: int, new: int | None) -> None:
        """Take one sample at time ``t``, which brought a gated probability or None."""
        policy = self.policy
        period = policy.period_us
        step = (t - self.last_t) & _MASK
        if not self.started or step // MAX_MISSED >= period:
            self.started = True
            self.envelope = self.held = self.phase = 0
        else:
            while step > period + period // 2:
                self.last_t = (self.last_t + period) & _MASK
                step -= period
                self._tick(self.last_t)
        if new is not None:
            self.held = new
            self.held_t = t
        self.last_t = t
        self._tick(t)

    def _tick(self, t: int) -> None:
        policy = self.policy
        if self.held and (t - self.held_t) & _MASK > policy.stale_us:
            self.held = 0
        d = (self.held << ENVELOPE_SHIFT) - self.envelope
        self.envelope += (policy.attack * d + RATE_ONE - 1) >> 12 if d > 0 else (policy.release * d) >> 12
        if self.phase == _OFF:
            if self.envelope >= policy.on << ENVELOPE_SHIFT:
                self.phase = _HELD_ON
                self.on_t = t
            return
        if self.phase == _HELD_ON and (t - self.on_t) & _MASK >= policy.min_on_us:
            self.phase = _ON
        if self.phase == _ON and self.envelope < policy.off << ENVELOPE_SHIFT:
            self.phase = _OFF


def run_many(
    policies: Sequence[Policy],
    t_us: NDArray[np.int64],
    ready: NDArray[np.bool_],
    probability: NDArray[np.uint16],
    motion: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Run many policies over one stream at once, with the results of `run_policy`.

    Args:
        policies: All for the same period.
        t_us: As for `run_policy`.
        ready: As for `run_policy`.
        probability: As for `run_policy`.
        motion: As for `run_policy`.

    Returns:
        Whether each was on after each sample, bool, shape ``(policies, n)``.

    Raises:
        UsageError: The arrays differ in length, or the policies in their period.
    """
    _check_stream(t_us, ready, probability, motion)
    if len({policy.period_us for policy in policies}) > 1:
        raise UsageError("policies that run together must be for one sample period")
    on = np.zeros((len(t_us), len(policies)), dtype=np.bool_)
    if len(policies):
        machines = _Machines(policies)
        gates = np.array([policy.gate_energy for policy in policies], dtype=np.int64)
        unit = np.int64(1 << ENVELOPE_SHIFT)
        times, is_ready = (t_us & _MASK).tolist(), ready.tolist()
        for begin in range(0, len(times), _BLOCK):
            rows = slice(begin, begin + _BLOCK)
            p = probability[rows].astype(np.int64)[:, None] * unit
            new = np.where(motion[rows, None] < gates, 0, p)
            for i, row in enumerate(new, begin):
                machines.update(times[i], row if is_ready[i] else None)
                on[i] = machines.is_on
    return np.ascontiguousarray(on.T)


#: Samples whose gated probabilities `run_many` prepares at a time.
_BLOCK = 4096


class _Machines:
    """The states of many policies: `_Machine` with arrays of one element per policy."""

    def __init__(self, policies: Sequence[Policy]) -> None:
        def column(name: str) -> NDArray[np.int64]:
            return np.array([getattr(policy, name) for policy in policies], dtype=np.int64)

        n = len(policies)
        self._period = policies[0].period_us
        self._attack, self._release = column("attack"), column("release")
        self._on, self._off = column("on") << ENVELOPE_SHIFT, column("off") << ENVELOPE_SHIFT
        self._stale, self._min_on = column("stale_us"), column("min_on_us")
        self._holds = bool((self._min_on > 0).any())
        self._started = False
        self._last_t = self._held_t = 0
        self._held = np.zeros(n, dtype=np.int64)  # in envelope units
        self._envelope = np.zeros(n, dtype=np.int64)
        self.is_on = np.zeros(n, dtype=np.bool_)
        self._may_go = np.ones(n, dtype=np.bool_)  # the shortest time on is over
        self._on_t = np.zeros(n, dtype=np.int64)

    def update(self, t: int, new: NDArray[np.int64] | None) -> None:
        step = (t - self._last_t) & _MASK
        if not self._started or step // MAX_MISSED >= self._period:
            self._started = True
            self._envelope[:] = 0
            self._held = np.zeros_like(self._envelope)
            self.is_on[:] = False
            self._may_go[:] = True
        else:
            while step > self._period + self._period // 2:
                self._last_t = (self._last_t + self._period) & _MASK
                step -= self._period
                self._tick(self._last_t, fresh=False)
        if new is not None:
            self._held = new
            self._held_t = t
        self._last_t = t
        self._tick(t, fresh=new is not None)

    def _tick(self, t: int, *, fresh: bool) -> None:
        if not fresh:
            age = (t - self._held_t) & _MASK
            self._held = np.where(age > self._stale, 0, self._held)
        d = self._held - self._envelope
        up = d > 0
        d *= np.where(up, self._attack, self._release)
        d += up * np.int64(RATE_ONE - 1)
        d >>= 12
        self._envelope += d
        rises = self._envelope >= self._on
        stays = self._envelope >= self._off
        if not self._holds:
            self.is_on = rises | (self.is_on & stays)
            return
        self._may_go |= ((t - self._on_t) & _MASK) >= self._min_on
        goes_on = rises & ~self.is_on
        self.is_on = goes_on | (self.is_on & (stays | ~self._may_go))
        self._on_t[goes_on] = t
        self._may_go[goes_on] = False


def _check_stream(
    t_us: NDArray[np.int64],
    ready: NDArray[np.bool_],
    probability: NDArray[np.uint16],
    motion: NDArray[np.int64],
) -> None:
    n = len(t_us)
    if any(array.shape != (n,) for array in (t_us, ready, probability, motion)):
        raise UsageError("a policy needs one time, ready mark, probability and motion per sample")
    if n and (int(probability.max()) > ONE or int(probability.min()) < 0):
        raise UsageError(f"a policy takes probabilities in units of 1/{ONE}, from 0 to {ONE}")
