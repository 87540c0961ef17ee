"""Is a recording of the magnetic field fit to learn from? What to look at before anything is trained on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from stinger.markdown import grid
from stinger.sessions.describe import clipped_of, gaps_of
from stinger.sessions.session import Session
from stinger.sessions.vectors import vector_strength
from stinger.windows.labelled import label_events

#: A step this much longer or shorter than the period blurs what changes from sample to sample.
_JITTER = 0.1
#: Of all samples, how many may be equal to the one before in every channel.
_REPEATED = 0.01
#: How far a calibrated sensor's mean strength may be from that of the undistorted field, or of gravity.
_OFF = 0.1
#: The rarest label must have this share of what each would have if all were equal.
_BALANCE = 0.5
#: Labels explain more than this of how far stretches are from the usual field, if they are right.
_EXPLAINED = 0.3
#: With fewer stretches that is chance.
_FEW_STRETCHES = 9


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Attributes:
        what: What was looked at.
        measured: What was found, in words and numbers.
        complaint: What is wrong with it; empty if nothing is.
    """

    what: str
    measured: str
    complaint: str = ""

    @property
    def fine(self) -> bool:
        """Whether nothing is wrong."""
        return not self.complaint


def data_quality(session: Session) -> list[Finding]:
    """Look at a recording as somebody should who wants to learn from it.

    Args:
        session: A recording with a magnetometer; what else it has is looked at, too.
    """
    if len(session) < 2:
        return [Finding("length", f"{len(session)} samples", "too short to say anything")]
    findings = [_length(session), _gaps(session), _jitter(session), _clipping(session), _repeats(session)]
    field, gravity = vector_strength(session, "m"), vector_strength(session, "a")
    labels = label_events(session)
    if field is not None:
        findings.append(_range(session, field, labels))
    if gravity is not None and _unit(session, "a") == "g":
        middle = float(np.median(gravity))
        complaint = "" if abs(middle - 1) <= _OFF else "gravity should be 1 g: wrong unit, or a wrong scale"
        findings.append(Finding("gravity", f"median |a| {middle:.3f} g", complaint))
    findings.append(_balance(session, labels))
    if field is not None and len({label for _, _, label in labels}) > 1:
        findings.append(_told_apart(field, labels))
    return findings


def quality_table(findings: Sequence[Finding]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows for people."""
    return ["what", "measured", "verdict"], [[f.what, f.measured, f.complaint or "fine"] for f in findings]


def quality_markdown(findings: Sequence[Finding]) -> str:
    """Return the same table in markdown."""
    return grid(*quality_table(findings))


def _unit(session: Session, letter: str) -> str:
    return next(channel.unit for channel in session.channels if channel.name == f"{letter}x")


def _length(session: Session) -> Finding:
    rate = 1e6 / session.period_us
    return Finding("length", f"{len(session):,} samples, {session.duration_s:.1f} s at {rate:.4g} Hz")


def _gaps(session: Session) -> Finding:
    gaps = gaps_of(session)
    if not gaps.count:
        return Finding("gaps", "none")
    share = gaps.total_s / max(session.duration_s, 1e-9)
    measured = f"{gaps.count}, {gaps.total_s:.2f} s missing ({share:.1%}), longest step {gaps.longest_s:.2f} s"
    return Finding("gaps", measured, "samples are missing: no window may span a gap")


def _jitter(session: Session) -> Finding:
    steps = np.diff(session.t_us)[~session.gap_before[1:]]
    if not len(steps):
        return Finding("rate jitter", "no two samples in a row", "nothing but gaps")
    away = np.abs(steps - session.period_us) / session.period_us
    mean, spread, worst = float(np.mean(steps)) / 1000, float(np.std(steps)) / 1000, float(np.percentile(away, 99))
    measured = f"steps of {mean:.3f} ± {spread:.3f} ms, 1 % of them off by {worst:.0%} of the period"
    return Finding("rate jitter", measured, "" if worst <= _JITTER else "ticks are uneven: put it on one clock")


def _clipping(session: Session) -> Finding:
    clipped = {name: count for name, count in clipped_of(session).items() if count}
    if not clipped:
        return Finding("saturation", "no sample at the limits of int16")
    measured = ", ".join(f"{name} {count:,}" for name, count in clipped.items()) + " samples at the limits"
    return Finding("saturation", measured, "the truth may lie beyond: choose a larger range")


def _repeats(session: Session) -> Finding:
    same = float((np.diff(session.samples, axis=0) == 0).all(axis=1).mean())
    complaint = "" if same <= _REPEATED else "a sensor is stuck, or slower than it says, or has no noise at all"
    return Finding("repeated samples", f"{same:.1%} equal to the one before", complaint)


def _range(session: Session, field: NDArray[np.float64], labels: Sequence[tuple[int, int, str]]) -> Finding:
    low, middle, high = np.percentile(field, (0, 50, 100)).tolist()
    unit = _unit(session, "m").replace("earth field", "of Earth's field")
    measured = f"|m| from {low:.3f} to {high:.3f}, median {middle:.3f} {unit}"
    quiet = [field[a:b] for a, b, label in labels if label == "none"]
    if not quiet or "Earth" not in unit:
        return Finding("field strength", measured)
    mean = float(np.concatenate(quiet).mean())
    complaint = "" if abs(mean - 1) <= _OFF else "undistorted it should be 1: calibrate the sensor"
    return Finding("field strength", f"{measured}; undistorted {mean:.3f}", complaint)


def _balance(session: Session, labels: Sequence[tuple[int, int, str]]) -> Finding:
    if not labels:
        named = session.label is not None
        return Finding("labels", f"all of it {session.label}" if named else "none", "" if named else "label it")
    shares: dict[str, float] = {}
    for a, b, label in labels:
        shares[label] = shares.get(label, 0.0) + (b - a) / len(session)
    measured = ", ".join(f"{name} {shares[name]:.1%}" for name in sorted(shares))
    if len(shares) == 1:
        return Finding("labels", measured)
    rare = min(shares, key=lambda name: shares[name])
    even = sum(shares.values()) / len(shares)
    complaint = "" if shares[rare] >= _BALANCE * even else f"{rare!r} is rare: record more of it"
    return Finding("labels", measured, complaint)


def _told_apart(field: NDArray[np.float64], labels: Sequence[tuple[int, int, str]]) -> Finding:
    """How much of what differs between stretches their labels explain: a label without meaning explains nothing."""
    names = sorted({label for _, _, label in labels})
    of_label = {name: [field[a:b] for a, b, label in labels if label == name] for name in names}
    measured = ", ".join(
        f"{name} {np.concatenate(parts).mean():.3f} ± {np.concatenate(parts).std():.3f}"
        for name, parts in of_label.items()
    )
    means, owner = _stretch_means(of_label)
    noise = float(np.mean([part.std() for parts in of_label.values() for part in parts]))
    if float(means.std()) <= noise:
        return Finding("|m| by label", measured, "the field is the same whatever the label: labels say nothing")
    if len(means) < _FEW_STRETCHES:
        return Finding("|m| by label", measured)
    usual = means[owner == names.index("none")].mean() if "none" in names else np.median(means)
    # A magnet can weaken the field as well as strengthen it, and how far it does differs widely: by rank.
    away = rankdata(np.abs(means - usual))
    within = sum(float(((away[owner == k] - away[owner == k].mean()) ** 2).sum()) for k in range(len(names)))
    total = float(((away - away.mean()) ** 2).sum())
    # As many means as labels explain something by chance; that much is taken off.
    explained = 1 - (within / (len(away) - len(names))) / (total / (len(away) - 1)) if total else 0.0
    complaint = "" if explained > _EXPLAINED else "the field differs, but hardly by label: labels are wrong"
    shown = f"; labels explain {max(0.0, explained):.0%} of how far stretches are from {usual:.3f}"
    return Finding("|m| by label", measured + shown, complaint)


def _stretch_means(
    of_label: Mapping[str, Sequence[NDArray[np.float64]]],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Mean of each stretch, and the number of its label: samples of one know of each other, so it counts once."""
    means = [(float(part.mean()), number) for number, parts in enumerate(of_label.values()) for part in parts]
    return np.array([mean for mean, _ in means]), np.array([number for _, number in means], dtype=np.int64)
