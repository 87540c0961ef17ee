"""Whole recordings through a model and its policies: the job of `stinger evaluate`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from stinger.errors import InputError, UsageError
from stinger.evaluation.streaming import Figures, figures, intervals, total
from stinger.files import read_bytes, replace_dir, write_text
from stinger.models.policy import Policy, PolicyTrace, run_policy
from stinger.models.spec import ModelSpec, TrainedModel
from stinger.models.store import load_model
from stinger.plots.streaming import Behaviour, plot_leads, plot_timeline
from stinger.sessions.options import ReadOptions
from stinger.sessions.read import read_sessions
from stinger.sessions.session import Session
from stinger.windows.dataset import Dataset
from stinger.windows.store import read_dataset
from stinger.workflow.crossfit import UNSEEN, Answers, Scored, cross_fitted, require_recipe, stock_policy
from stinger.workflow.progress import Progress

STOCK, STORED = "stock", "stored"
REPORT = "evaluation.json"
LEADS = "leads.png"
_MAX_POLICY_BYTES = 1 << 16


@dataclass(frozen=True)
class EvaluateOptions:
    """What `stinger evaluate` can be told.

    Attributes:
        model: Model directory.
        logs: Recordings, folders or zips of them.
        train_dir: The dataset the model was trained on, for recordings it has seen.
        policies: ``stock``, ``stored`` or files; by default stock, and the model's own if it is another.
        out: Where pictures and the report go.
        read: What the files do not say themselves.
    """

    model: Path
    logs: Sequence[Path]
    train_dir: Path | None = None
    policies: Sequence[str] = ()
    out: Path | None = None
    read: ReadOptions = field(default_factory=ReadOptions)


@dataclass(frozen=True)
class Evaluation:
    """What came out.

    Attributes:
        spec: The model.
        level: ``L2`` or ``L0``; see `Answers`.
        policies: The policies by name.
        recordings: The recordings with their answers.
        figures: Of each policy on each recording.
        notes: What whoever reads the figures has to know, one line each.
    """

    spec: ModelSpec
    level: str
    policies: Mapping[str, Policy]
    recordings: Sequence[Scored]
    figures: Mapping[str, Sequence[Figures]]
    notes: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {
            "model": self.spec.name,
            "family": self.spec.family,
            "features": self.spec.features,
            "level": self.level,
            "policies": {name: policy.to_json() for name, policy in self.policies.items()},
            "recordings": [
                {
                    "name": one.session.name,
                    "answered": one.how,
                    "recorded_s": round(one.seconds, 3),
                    "policies": {name: self.figures[name][i].to_json() for name in self.policies},
                }
                for i, one in enumerate(self.recordings)
            ],
            "total": {
                name: total(parts).to_json()
                | {"intervals_95": {what: figure.to_json() for what, figure in intervals(parts).items()}}
                for name, parts in self.figures.items()
            },
            "notes": list(self.notes),
        }

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return header and rows for people: each recording with each policy, then the totals."""
        header = [
            "recording", "answered", "policy", "shots", "anticipated", "lead (ms)", "false spin-ups/min",
            "neutral time on", "neutral (min)",
        ]  # fmt: skip
        rows = [
            [one.session.name if first else "", one.how if first else "", name, *_cells(self.figures[name][i])]
            for i, one in enumerate(self.recordings)
            for first, name in _with_first(self.policies)
        ]
        if len(self.recordings) > 1:
            rows += [
                ["all" if first else "", "", name, *_cells(total(self.figures[name]))]
                for first, name in _with_first(self.policies)
            ]
        return header, rows

    def intervals(self) -> list[str]:
        """Say in a line for each policy how sure the totals are."""
        lines = []
        for name, parts in self.figures.items():
            known = intervals(parts)
            share, rate = known["anticipated_share"], known["false_spin_ups_per_minute"]
            sure = []
            if not math.isnan(share.low):
                sure.append(f"{share.low:.0%} to {share.high:.0%} anticipated")
            if not math.isnan(rate.low):
                sure.append(f"{rate.low:.2f} to {rate.high:.2f} false spin-ups a minute")
            lines.append(f"{name}: 95 % sure of {', '.join(sure) or 'nothing'}")
        return lines


def evaluate(options: EvaluateOptions, progress: Progress) -> Evaluation:
    """Run a model over whole recordings, each answered by a model that never saw it, and through policies.

    With ``out``, writes a timeline of each recording, the lead times and the report there.

    Raises:
        UsageError: The options do not fit together.
        InputError: Something cannot be read, does not fit the model, or has no shots.
    """
    model = load_model(options.model)
    policies = _policies(model.spec, options.policies)
    dataset = read_recipe(model, options.train_dir) if options.train_dir is not None else None
    sessions = read_logs(options.logs, options.read, progress)
    progress.step(f"answering {len(sessions)} recording(s) with {model.spec.name}")
    scored = cross_fitted(model, dataset, sessions, progress)
    require_shots(scored)
    progress.step("running policies")
    traces = {name: [_trace(policy, one) for one in scored] for name, policy in policies.items()}
    level = Answers(model).level
    evaluation = Evaluation(
        spec=model.spec,
        level=level,
        policies=policies,
        recordings=scored,
        figures={
            name: [figures(one.recording.asked, trace.on) for one, trace in zip(scored, of_policy, strict=True)]
            for name, of_policy in traces.items()
        },
        notes=_notes(model.spec, level, policies, scored),
    )
    if options.out is not None:
        _write(evaluation, traces, options.out, progress)
    return evaluation


def read_logs(paths: Sequence[Path], options: ReadOptions, progress: Progress) -> list[Session]:
    """Read every recording of some paths.

    Raises:
        InputError: One of them cannot be read.
    """
    progress.step(f"reading {', '.join(str(path) for path in paths)}")
    return [session for path in paths for session in read_sessions(path, options)]


def read_recipe(model: TrainedModel, train_dir: Path) -> Dataset:
    """Read the dataset that a model was trained on.

    Raises:
        InputError: It is another, or damaged.
    """
    dataset = read_dataset(train_dir)
    require_recipe(model, dataset, str(train_dir))
    return dataset


def require_shots(scored: Sequence[Scored]) -> None:
    """Refuse recordings in which nobody shoots.

    Raises:
        InputError: There is no shot in any of them.
    """
    if not any(len(one.recording.asked.shots) for one in scored):
        names = scored[0].session.name + (f" and {len(scored) - 1} more" if len(scored) > 1 else "")
        raise InputError(f"{names}: no shots in {sum(one.seconds for one in scored):.0f} s; give recordings with shots")


def _policies(spec: ModelSpec, wanted: Sequence[str]) -> dict[str, Policy]:
    own = [] if spec.policy is None or spec.policy == stock_policy(spec) else [STORED]
    names = list(wanted) or [STOCK, *own]
    policies: dict[str, Policy] = {}
    for name in names:
        if name == STOCK:
            policies[STOCK] = stock_policy(spec)
        elif name == STORED:
            if spec.policy is None:
                raise UsageError(f"model {spec.name} has no policy of its own; make one with `stinger tune`")
            policies[STORED] = spec.policy
        else:
            policies[PurePosixPath(name).stem] = _read_policy(Path(name), spec)
    return policies


def _read_policy(path: Path, spec: ModelSpec) -> Policy:
    advice = "give stock, stored or a policy.json that `stinger tune` wrote"
    try:
        policy = Policy.from_json(json.loads(read_bytes(path, _MAX_POLICY_BYTES, advice)))
        policy.check_fits(
            window=spec.window, period_us=spec.period_us, channels=len(spec.channels), classes=len(spec.classes)
        )
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON; {advice}") from error
    except InputError as error:
        where = "" if str(path) in str(error) else f"{path}: "
        raise InputError(f"{where}{error}") from error
    return policy


def _trace(policy: Policy, one: Scored) -> PolicyTrace:
    r = one.recording
    return run_policy(policy, r.t_us, r.ready, r.probability, r.motion)


def _notes(spec: ModelSpec, level: str, policies: Mapping[str, Policy], scored: Sequence[Scored]) -> list[str]:
    notes = [f"{one.session.name}: {fault}" for one in scored for fault in one.session.faults]
    if level == "L0":
        notes.append(f"{spec.family} on {spec.features} has no integer form: these are the estimator's answers")
    impossible = sum(int((~one.recording.asked.possible).sum()) for one in scored)
    if impossible:
        notes.append(f"{impossible} shot(s) come so soon after a gap that nothing can anticipate them: not counted")
    seen = sum(one.how != UNSEEN for one in scored)
    untuned = spec.policy is None or spec.policy == stock_policy(spec)
    if seen and STORED in policies and not untuned:
        notes.append(
            f"the stored policy may have been tuned on {seen} of these recordings: there its figures flatter it"
        )
    if untuned and set(policies) == {STOCK}:
        notes.append(f"model {spec.name} has no policy of its own yet; make one with `stinger tune`")
    return notes


def _write(evaluation: Evaluation, traces: Mapping[str, Sequence[PolicyTrace]], out: Path, progress: Progress) -> None:
    progress.step(f"drawing {out}")
    with replace_dir(out) as building, progress.bar("pictures") as show:
        names = _picture_names([one.session.name for one in evaluation.recordings])
        for i, (one, name) in enumerate(zip(evaluation.recordings, names, strict=True)):
            behaviours = {policy: Behaviour(evaluation.policies[policy], traces[policy][i]) for policy in traces}
            plot_timeline(one.recording, behaviours, building / name)
            show(i + 1, len(names))
        whole = {name: total(parts) for name, parts in evaluation.figures.items()}
        leads = {name: one.lead_us for name, one in whole.items()}
        plot_leads(leads, next(iter(whole.values())).possible, building / LEADS)
        write_text(building / REPORT, json.dumps(evaluation.to_json(), indent=2) + "\n")


def _picture_names(recordings: Sequence[str]) -> list[str]:
    """A file name for each recording, all different: those from different folders may share theirs."""
    stems = [PurePosixPath(name).stem or "recording" for name in recordings]
    return [
        f"timeline-{stem}.png" if stems.count(stem) == 1 else f"timeline-{stem}-{number}.png"
        for number, stem in enumerate(stems, start=1)
    ]


def _with_first(names: Mapping[str, Any]) -> list[tuple[bool, str]]:
    return [(number == 0, name) for number, name in enumerate(names)]


def _cells(one: Figures) -> list[str]:
    lead = "-" if not one.lead_us else f"{one.lead_ms(0.5):.0f}"
    return [
        str(one.shots),
        f"{one.anticipated} of {one.possible}" + (f" ({one.share:.0%})" if one.possible else ""),
        lead,
        f"{one.per_minute:.2f}" if one.neutral_us else "-",
        f"{one.on_share:.1%}" if one.neutral_us else "-",
        f"{one.minutes:.1f}",
    ]
