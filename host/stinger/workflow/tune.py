"""A policy for a model, chosen on the recordings it was trained on: the job of `stinger tune`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stinger.errors import InputError
from stinger.evaluation.streaming import Figures, intervals, total
from stinger.evaluation.tuning import MAX_ON, Budget, Match, Recording, Tuned, measure_on, tune
from stinger.files import replace_dir, write_text
from stinger.models.policy import Policy
from stinger.models.spec import TrainedModel
from stinger.models.store import load_model, save_model
from stinger.plots.streaming import plot_trade_off
from stinger.sessions.options import ReadOptions
from stinger.sessions.session import Session
from stinger.windows.dataset import Dataset
from stinger.windows.describe import session_hash
from stinger.workflow.crossfit import Scored, cross_fitted, stock_policy, trained_on
from stinger.workflow.evaluate import read_logs, read_recipe, require_shots
from stinger.workflow.pool import map_ordered
from stinger.workflow.progress import Progress

TRADE_OFF, POLICY, REPORT = "trade-off.png", "policy.json", "tuning.json"
#: The setting that the stock policy comes with.
SHIPPED = 50
#: Policies times samples below which worker processes would take longer to start than to work.
_SMALL = 1_000_000_000


@dataclass(frozen=True)
class TuneOptions:
    """What `stinger tune` can be told.

    Attributes:
        model: Model directory; the policy is stored there.
        logs: The recordings it was trained on, or folders or zips of them.
        train_dir: The dataset it was trained on.
        out: Where the picture, the policy and the report go.
        budget: False spin-ups per minute of neutral time, at most.
        max_on: Share of neutral time on, at most.
        store: Write the policy into the model directory.
        workers: Processes that measure policies; None is as many as there are processors.
        read: What the files do not say themselves.
    """

    model: Path
    logs: Sequence[Path]
    train_dir: Path
    out: Path
    budget: float = 1.0
    max_on: float = MAX_ON
    store: bool = True
    workers: int | None = None
    read: ReadOptions = field(default_factory=ReadOptions)


@dataclass(frozen=True)
class TuneResult:
    """What came out.

    Attributes:
        model: The model, with the policy.
        tuned: The search and what it found.
        recordings: The recordings it was made on.
        parts: Figures of the chosen policy on each of them.
        notes: What whoever reads the figures has to know, one line each.
    """

    model: TrainedModel
    tuned: Tuned
    recordings: Sequence[Scored]
    parts: Sequence[Figures]
    notes: Sequence[str]

    @property
    def described(self) -> str:
        """The chosen policy in one line."""
        channels = self.model.spec.channels
        gate = channels[self.tuned.chosen.gyro] if self.tuned.chosen.gate_lsb else None
        return self.tuned.chosen.describe(*((gate.scale, gate.unit) if gate is not None else ()))

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        goal = self.tuned.goal
        return {
            "model": self.model.spec.name,
            "goal": vars(goal),
            "policy": self.tuned.chosen.to_json(),
            "described": self.described,
            "figures": self.tuned.figures.to_json()
            | {"intervals_95": {what: figure.to_json() for what, figure in intervals(self.parts).items()}},
            "stock": {str(percent): one.to_json() for percent, one in self.tuned.stock.items()},
            "trade_off": [{"policy": policy.to_json(), "figures": one.to_json()} for policy, one in self.tuned.front()],
            "policies_tried": len(self.tuned.tried),
            "recordings": [{"name": one.session.name, "answered": one.how} for one in self.recordings],
            "notes": list(self.notes),
        }

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return header and rows: the stock policy as shipped, what was chosen, and what else could have been."""
        header = ["policy", "anticipated", "false spin-ups/min", "neutral time on", "lead (ms)"]
        front = [one for _, one in self.tuned.front()]
        # A handful of the others, evenly spread over what they anticipate.
        shown = [front[round(i * (len(front) - 1) / 5)] for i in range(6)] if len(front) > 6 else front
        rows = [_row(f"stock ({SHIPPED} %)", self.tuned.stock[SHIPPED]), _row("chosen", self.tuned.figures)]
        return header, rows + [_row("also possible", one) for one in shown if one != self.tuned.figures]


def tune_model(options: TuneOptions, progress: Progress) -> TuneResult:
    """Choose a policy for a model on cross-fitted answers to its training recordings, and store it with the model.

    Raises:
        UsageError: The budget is impossible, or the options do not fit together.
        InputError: Something cannot be read, does not belong to the model, or holds too little.
    """
    goal = Budget(options.budget, options.max_on)
    model = load_model(options.model)
    dataset = read_recipe(model, options.train_dir)
    sessions = read_logs(options.logs, options.read, progress)
    training, notes = _training_only(model, dataset, sessions)
    progress.step(f"answering {len(training)} recording(s) with refits of {model.spec.name} that never saw them")
    scored = cross_fitted(model, dataset, training, progress, training_only=True)
    require_shots(scored)
    progress.step("trying policies")
    tuned = tuned_on([one.recording for one in scored], stock_policy(model.spec), goal, progress, options.workers)
    parts = [measure_on(one.recording, [tuned.chosen])[0] for one in scored]
    result = TuneResult(replace(model, spec=replace(model.spec, policy=tuned.chosen)), tuned, scored, parts, notes)
    with replace_dir(options.out) as building:
        plot_trade_off(
            tuned.stock,
            [one for _, one in tuned.front()],
            tuned.figures,
            building / TRADE_OFF,
            budget=options.budget,
            shipped=SHIPPED,
            title=f"{model.spec.name}: {len(scored)} training recording(s), cross-fitted",
        )
        write_text(building / POLICY, json.dumps(tuned.chosen.to_json(), indent=2) + "\n")
        write_text(building / REPORT, json.dumps(result.to_json(), indent=2) + "\n")
    if options.store:
        save_model(result.model, options.model)
    return result


def tuned_on(
    recordings: Sequence[Recording],
    base: Policy,
    goal: Budget | Match,
    progress: Progress,
    workers: int | None = None,
) -> Tuned:
    """Search for a policy, with worker processes where that is quicker; the result does not depend on them."""
    samples = sum(len(one.t_us) for one in recordings)

    def measure(policies: Sequence[Policy]) -> list[Figures]:
        # All policies of a recording at once: they share envelopes.
        jobs = [_Job(one, tuple(policies)) for one in recordings]
        alone = workers == 1 or len(policies) * samples < _SMALL
        with progress.bar(f"{len(policies)} policies") as show:
            done = map_ordered(
                _measure,
                jobs,
                backend="serial" if alone else "processes",
                workers=None if alone else workers,
                progress=show,
            )
            return [total(of_one) for of_one in zip(*done, strict=True)]

    return tune(measure, base, goal)


@dataclass(frozen=True)
class _Job:
    recording: Recording
    policies: tuple[Policy, ...]

    @property
    def name(self) -> str:
        return self.recording.name


def _measure(job: _Job) -> list[Figures]:
    return measure_on(job.recording, job.policies)


def _training_only(
    model: TrainedModel, dataset: Dataset, sessions: Sequence[Session]
) -> tuple[list[Session], list[str]]:
    """Leave out what the model was not trained on: it is kept for `stinger evaluate`."""
    seen = trained_on(model.spec)
    inputs: Any = dataset.meta.get("inputs", [])
    known = {str(one.get("sha256")) for one in inputs}
    training, notes = [], []
    for session in sessions:
        digest = session_hash(session)
        if digest in seen:
            training.append(session)
            notes += [f"{session.name}: {fault}" for fault in session.faults]
        else:
            held_out = "it is held out" if digest in known else "it is not in the dataset"
            notes.append(f"{session.name}: not tuned on, {held_out}")
    if not training:
        raise InputError(
            f"none of these {len(sessions)} recording(s) was trained on; give the recordings of the model's dataset"
        )
    missing = len(seen) - len(training)
    if missing > 0:
        notes.append(f"{missing} of the {len(seen)} recordings that the model was trained on were not given")
    return training, notes


def _row(name: str, one: Figures) -> list[str]:
    lead = f"{one.lead_ms(0.5):.0f}" if one.lead_us else "-"
    anticipated = f"{one.anticipated} of {one.possible} ({one.share:.0%})"
    return [name, anticipated, f"{one.per_minute:.2f}", f"{one.on_share:.1%}", lead]
