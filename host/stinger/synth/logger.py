"""The Stinger's logger: what of a movement ends up in the log, and with which timestamps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_STILL_GYRO = 45
_STILL_CHANGE = 30
_STILL_SAMPLES = 150
_LIVELY_GYRO = 240
_LIVELY_CHANGE = 140
_LIVELY_SAMPLES = 10
#: Chance per sample that the ring buffer is full, and how many samples are then lost.
_DROP_CHANCE = 1 / 3000
_DROP_SAMPLES = (3, 30)


@dataclass(frozen=True)
class Log:
    """What the logger did.

    Attributes:
        t_us: Clock at every sample, recorded or not, whole milliseconds, shape ``(n,)``.
        kept: Indices of the recorded samples.
    """

    t_us: NDArray[np.int64]
    kept: NDArray[np.int64]


def record(
    rng: np.random.Generator,
    samples: NDArray[np.int16],
    trigger: NDArray[np.bool_],
    wanted: int,
    usb: NDArray[np.bool_] | None = None,
) -> Log:
    """Record until ``wanted`` samples are in the log.

    Args:
        rng: Source of clock jitter and drops.
        samples: Acceleration and rotation in counts at 100 Hz, shape ``(n, 6)``.
        trigger: Trigger per sample, shape ``(n,)``.
        wanted: Samples to record.
        usb: Where USB is open, which pauses the logger, shape ``(n,)``; nowhere if None.
    """
    # The loop that polls the sensor sees a sample up to a millisecond late.
    steps_ms = rng.choice([9, 10, 11], size=len(samples), p=[0.125, 0.75, 0.125])
    t_ms = int(rng.integers(20_000, 900_000)) + np.cumsum(steps_ms)
    kept = ~paused(samples, trigger) & ~_dropped(rng, len(samples))
    if usb is not None:
        kept &= ~usb
    return Log(t_ms.astype(np.int64) * 1000, np.flatnonzero(kept)[:wanted])


def paused(samples: NDArray[np.int16], trigger: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Apply the stillness rule.

    Pause after 150 consecutive still samples (every |gyro| <= 45 and every change <= 30); resume after 10
    consecutive samples with a |gyro| > 45 or a change >= 140 (a |gyro| >= 240, which the rule also names, is
    contained in that); never paused while the trigger is down, and samples with the trigger down count for neither
    run. A change is from the sample before, recorded or not; the first has none.

    Returns:
        True for each sample that is not recorded, shape ``(n,)``.
    """
    counts = samples.astype(np.int64)
    gyro = np.abs(counts[:, 3:]).max(axis=1)
    change = np.abs(np.diff(counts, axis=0, prepend=counts[:1])).max(axis=1)
    still = ((gyro <= _STILL_GYRO) & (change <= _STILL_CHANGE)).tolist()
    lively = ((gyro >= _LIVELY_GYRO) | (gyro > _STILL_GYRO) | (change >= _LIVELY_CHANGE)).tolist()
    out = np.zeros(len(samples), dtype=np.bool_)
    asleep, run = False, 0
    for i, down in enumerate(trigger.tolist()):
        if down:
            asleep, run = False, 0
            continue
        run = run + 1 if (lively if asleep else still)[i] else 0
        out[i] = asleep
        if run == (_LIVELY_SAMPLES if asleep else _STILL_SAMPLES):
            asleep, run = not asleep, 0
    return out


def _dropped(rng: np.random.Generator, n: int) -> NDArray[np.bool_]:
    dropped = np.zeros(n, dtype=np.bool_)
    for start in np.flatnonzero(rng.random(n) < _DROP_CHANCE).tolist():
        dropped[start : start + int(rng.integers(*_DROP_SAMPLES))] = True
    return dropped
