"""What tuning a policy is worth: the job of `stinger bench streaming`.

For each of several synthetic people a model is trained on some sessions, a policy tuned on cross-fitted answers to the
same sessions, and both are let loose on sessions that neither has met. There the tuned policy stays as it is, while
the stock policy's threshold is moved, in hindsight, until it anticipates the same share of shots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no types

from stinger.errors import UsageError
from stinger.evaluation.streaming import Figures, total
from stinger.evaluation.tuning import MAX_ON, Match, Recording, measure_all, stock_policies
from stinger.models.policy import Policy
from stinger.models.train import fit_rows
from stinger.sessions.session import Session
from stinger.synth.shots import make_session
from stinger.synth.styles import STYLES, find_style
from stinger.windows.cut import cut
from stinger.windows.spec import preset
from stinger.workflow.crossfit import cross_fitted, stock_policy
from stinger.workflow.pool import map_ordered
from stinger.workflow.progress import Progress
from stinger.workflow.tune import SHIPPED, tuned_on

#: Those of the synthetic people who differ most in what they do; the others hold the blaster differently.
FIVE = ("standard", "steady", "nervous", "runner", "rapid")
_PERCENT = range(5, 96)


@dataclass(frozen=True)
class StreamingBenchOptions:
    """How much to try.

    Attributes:
        styles: Who plays, names of `STYLES`.
        family: Model family.
        features: Feature set.
        train_sessions: Sessions of each to train and tune on.
        test_sessions: Sessions of each that are held out.
        minutes: Length of a session.
        max_on: Share of neutral time that a tuned policy may be on, at most.
        seed: Seed of the first session of each, and of training.
        workers: Styles at a time; None is as many as there are processors.
    """

    styles: Sequence[str] = FIVE
    family: str = "rf"
    features: str = "rich"
    train_sessions: int = 6
    test_sessions: int = 8
    minutes: float = 5.0
    max_on: float = MAX_ON
    seed: int = 1
    workers: int | None = None

    def __post_init__(self) -> None:
        """Refuse what measures nothing."""
        if not self.styles or len(set(self.styles)) < len(self.styles):
            raise UsageError(f"name at least one style, each once; known are {', '.join(STYLES)}")
        for style in self.styles:
            find_style(style)
        if self.train_sessions < 2 or self.test_sessions < 1 or not 0 < self.minutes <= 60:
            raise UsageError("a streaming bench needs 2 sessions to train on, 1 to hold out, of at most 60 minutes")
        Match(1, self.max_on)


@dataclass(frozen=True)
class Outcome:
    """What came out for one style, on the held-out sessions.

    Attributes:
        style: Who played.
        policy: The policy that was tuned.
        trained: Its figures on the training sessions.
        tuned: Its figures.
        stock: Those of the stock policy as shipped.
        equal_per_minute: False spin-ups per minute of the stock policy where it anticipates the same share.
        equal_on_share: Its share of neutral time on there.
        equal_percent: Its setting there, rounded down.
    """

    style: str
    policy: Policy
    trained: Figures
    tuned: Figures
    stock: Figures
    equal_per_minute: float
    equal_on_share: float
    equal_percent: int

    @property
    def equal_spin_ups(self) -> float:
        """False spin-ups that the stock policy needs for as many shots, in the same neutral time."""
        return self.equal_per_minute * self.tuned.minutes


def bench_streaming(options: StreamingBenchOptions, progress: Progress) -> dict[str, Any]:
    """Compare tuned policies with the stock policy at equal anticipated share.

    Returns:
        ``options``, ``rows`` (one for each style) and ``total``, in plain JSON values. The total adds up spin-ups
        and neutral time.

    Raises:
        UsageError: Unknown family or features.
        InputError: So short sessions hold too little to learn.
    """
    progress.step(f"{', '.join(options.styles)}: making sessions, training, tuning, measuring")
    jobs = [_Job(style, options) for style in options.styles]
    with progress.bar("styles") as show:
        done = list(map_ordered(_compare, jobs, workers=options.workers, progress=show))
    tuned, minutes = total([one.tuned for one in done]), sum(one.tuned.minutes for one in done)
    equal = sum(one.equal_spin_ups for one in done)
    return {
        "options": asdict(options) | {"styles": list(options.styles)},
        "rows": [_to_json(one) for one in done],
        "total": {
            "tuned": tuned.to_json(),
            "stock": total([one.stock for one in done]).to_json(),
            "stock_at_equal_share": {
                "false_spin_ups_per_minute": equal / minutes,
                "neutral_on_share": sum(one.equal_on_share * one.tuned.minutes for one in done) / minutes,
            },
        },
    }


def table(report: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows for people."""
    header = [
        "style", "anticipated by both", "false spin-ups/min: tuned", "stock at equal share", "change",
        "neutral time on: tuned", "stock", "stock as shipped",
    ]  # fmt: skip
    parts = [*report["rows"], {"style": "all", **report["total"]}]
    return header, [_cells(part) for part in parts]


def markdown(report: Mapping[str, Any]) -> str:
    """Return the table in markdown."""
    header, rows = table(report)
    lines = [header, ["---", *("---:" for _ in header[1:])], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


@dataclass(frozen=True)
class _Job:
    name: str
    options: StreamingBenchOptions


def _compare(job: _Job) -> Outcome:
    options = job.options
    with threadpool_limits(1):
        sessions = _sessions(job.name, options)
        dataset = cut(sessions, preset("personal", split="given", seed=options.seed))
        model = fit_rows(dataset, dataset.training, options.family, features=options.features, seed=options.seed)
        scored = [one.recording for one in cross_fitted(model, dataset, sessions, Progress())]
        training, held_out = scored[: options.train_sessions], scored[options.train_sessions :]
        base = stock_policy(model.spec)
        shipped = measure_all(training, [base])[0]
        goal = Match(shipped.anticipated, max(options.max_on, shipped.on_share))
        found = tuned_on(training, base, goal, Progress(), workers=1)
        return _at_equal_share(job.name, found.chosen, found.figures, base, held_out)


def _sessions(style: str, options: StreamingBenchOptions) -> list[Session]:
    sessions = []
    for number in range(options.train_sessions + options.test_sessions):
        session, _ = make_session(options.seed + number, options.minutes, find_style(style))
        sessions.append(replace(session, split="train" if number < options.train_sessions else "test"))
    return sessions


def _at_equal_share(
    style: str, chosen: Policy, trained: Figures, base: Policy, held_out: Sequence[Recording]
) -> Outcome:
    """Move the stock policy's threshold until it anticipates what the tuned policy does.

    Between two settings its figures are interpolated. Where no setting anticipates so much, the one that anticipates
    most stands in, to the stock policy's favour.
    """
    settings = list(stock_policies(base, _PERCENT).values())
    tuned, *stock = measure_all(held_out, [chosen, *settings])
    enough = [i for i, one in enumerate(stock) if one.anticipated >= tuned.anticipated]
    at = max(enough) if enough else max(range(len(stock)), key=lambda i: (stock[i].anticipated, i))
    here, above = stock[at], stock[min(at + 1, len(stock) - 1)]
    rest = here.anticipated - above.anticipated
    part = (here.anticipated - tuned.anticipated) / rest if enough and rest else 0.0
    return Outcome(
        style=style,
        policy=chosen,
        trained=trained,
        tuned=tuned,
        stock=stock[SHIPPED - _PERCENT.start],
        equal_per_minute=here.per_minute + part * (above.per_minute - here.per_minute),
        equal_on_share=here.on_share + part * (above.on_share - here.on_share),
        equal_percent=_PERCENT[at],
    )


def _to_json(one: Outcome) -> dict[str, Any]:
    return {
        "style": one.style,
        "policy": one.policy.to_json(),
        "described": one.policy.describe(),
        "training": one.trained.to_json(),
        "tuned": one.tuned.to_json(),
        "stock": one.stock.to_json(),
        "stock_at_equal_share": {
            "percent": one.equal_percent,
            "false_spin_ups_per_minute": one.equal_per_minute,
            "neutral_on_share": one.equal_on_share,
        },
    }


def _cells(part: Mapping[str, Any]) -> list[str]:
    tuned, stock, equal = part["tuned"], part["stock"], part["stock_at_equal_share"]
    rate, of_stock = tuned["false_spin_ups_per_minute"], equal["false_spin_ups_per_minute"]
    return [
        part["style"],
        f"{tuned['anticipated']} of {tuned['shots'] - tuned['impossible']} ({tuned['anticipated_share']:.0%})",
        f"{rate:.2f}",
        f"{of_stock:.2f}",
        f"{rate / of_stock - 1:+.0%}" if of_stock else "-",
        f"{tuned['neutral_on_share']:.1%}",
        f"{equal['neutral_on_share']:.1%}",
        f"{stock['anticipated_share']:.0%} at {stock['false_spin_ups_per_minute']:.2f}",
    ]
