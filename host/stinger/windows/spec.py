"""How windows are cut: everything `stinger explore` can be told about a dataset.

Names and defaults are those of the Stinger's own exporter; times are in milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from stinger.errors import UsageError

#: `strict` refuses windows that would lie, `reference` cuts what the Stinger's own exporter cuts.
GAP_POLICIES = ("strict", "reference")
#: Where negatives are looked for; see `stinger.windows.sampling`.
STRATEGIES = ("far", "near", "mixed", "blend")
#: What gives a window its class.
CLASS_SOURCES = ("auto", "shots", "recordings", "events")
#: What is held out; see `stinger.windows.splits`.
SPLIT_KINDS = ("auto", "given", "random", "time", "group", "session", "subject")
AVOIDED_EDGES = ("all", "accepted")

_SHOT_WINDOW_MS = 500.0
_LABEL_WINDOW_MS = 1000.0


@dataclass(frozen=True)
class ExploreSpec:
    """How windows are cut from recordings.

    Attributes:
        gap_policy: One of `GAP_POLICIES`.
        classes: One of `CLASS_SOURCES`; `auto` takes a recording's own label, else its trigger, else its events.
        channels: Names of the channels to keep, in this order; None keeps all.
        window_ms: Length of a window; None is 500 before shots and 1000 in labelled recordings.
        lead_ms: From a positive's end to its trigger edge.
        stride: Step between windows of labelled recordings, as a share of a window.
        min_shot_gap_ms: An edge this soon after the last accepted one is the same shot.
        neg_strategy: One of `STRATEGIES`.
        neg_mult: Negatives wanted for each positive.
        neg_mixed_near_frac: Share of near ones among them (`mixed` and `blend`).
        neg_moving_frac: Share of moving ones among them (`blend`).
        neg_min_motion_quantile: The stillest share of the candidates, which is left out.
        neg_match_pos_motion: Keep candidates that move as much as positives do.
        neg_pos_motion_q: How much of the positives' range of motion is cut off at both ends for that.
        neg_min_sep_ms: Least time between two negatives.
        neg_with_replacement: Draw candidates with repeats before choosing.
        neg_near_min_ms: Nearest end of a near negative before the positive's start.
        neg_near_max_ms: Farthest end of a near negative before the positive's start.
        neg_avoid_post_ms: Recoil and reaction after an edge, forbidden to negatives.
        neg_avoid_edges: Which edges forbid: `all`, or only `accepted` ones.
        shot_pre_ms: What a picture of a shot shows before it.
        shot_post_ms: What a picture of a shot shows after it.
        split: One of `SPLIT_KINDS`: what is held out; `auto` takes what the recordings say themselves, else groups.
        test_size: Share held out.
        embargo: Leave out training windows that share raw samples with held-out ones.
        seed: Seed of every choice.
    """

    gap_policy: str = "strict"
    classes: str = "auto"
    channels: tuple[str, ...] | None = None
    window_ms: float | None = None
    lead_ms: float = 100
    stride: float = 0.5
    min_shot_gap_ms: float = 1000
    neg_strategy: str = "far"
    neg_mult: int = 1
    neg_mixed_near_frac: float = 0.5
    neg_moving_frac: float = 0.5
    neg_min_motion_quantile: float = 0.0
    neg_match_pos_motion: bool = False
    neg_pos_motion_q: float = 0.1
    neg_min_sep_ms: float = 250
    neg_with_replacement: bool = False
    neg_near_min_ms: float = 200
    neg_near_max_ms: float = 2000
    neg_avoid_post_ms: float = 1000
    neg_avoid_edges: str = "all"
    shot_pre_ms: float = 1000
    shot_post_ms: float = 200
    split: str = "auto"
    test_size: float = 0.25
    embargo: bool = True
    seed: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot be cut."""
        for name, known in (
            ("gap_policy", GAP_POLICIES),
            ("classes", CLASS_SOURCES),
            ("neg_strategy", STRATEGIES),
            ("neg_avoid_edges", AVOIDED_EDGES),
            ("split", SPLIT_KINDS),
        ):
            if getattr(self, name) not in known:
                raise UsageError(f"--{_flag(name)} {getattr(self, name)!r} is unknown; choose {', '.join(known)}")
        for name, value in asdict(self).items():
            if name.endswith("_ms") and value is not None and not 0 <= value < 1e9:
                raise UsageError(f"--{_flag(name)} must be 0 ms or more, is {value:g}")
            if name.endswith(("_frac", "_q", "_quantile")) and not 0 <= value <= 1:
                raise UsageError(f"--{_flag(name)} must be 0 to 1, is {value:g}")
        if self.window_ms is not None and self.window_ms <= 0:
            raise UsageError(f"--window-ms must be more than 0, is {self.window_ms:g}")
        if self.neg_mult < 1:
            raise UsageError(f"--neg-mult must be 1 or more, is {self.neg_mult}: there is nothing to learn otherwise")
        if self.neg_near_min_ms > self.neg_near_max_ms:
            raise UsageError(f"--neg-near-min-ms {self.neg_near_min_ms:g} is more than --neg-near-max-ms")
        if not 0 < self.stride <= 1:
            raise UsageError(f"--stride must be above 0 and at most 1, is {self.stride:g}")
        if not 0 < self.test_size < 1:
            raise UsageError(f"--test-size must be above 0 and below 1, is {self.test_size:g}")
        if self.channels is not None and len(set(self.channels)) != max(1, len(self.channels)):
            raise UsageError("--channels must name at least one channel, each once")
        if self.neg_strategy == "blend" and self.neg_mixed_near_frac + self.neg_moving_frac > 1:
            raise UsageError("--neg-mixed-near-frac and --neg-moving-frac are more than 1 together")

    @property
    def strict(self) -> bool:
        """Whether windows that would lie are refused."""
        return self.gap_policy == "strict"

    @property
    def shot_window_ms(self) -> float:
        """Length of a window before a shot."""
        return _SHOT_WINDOW_MS if self.window_ms is None else self.window_ms

    @property
    def label_window_ms(self) -> float:
        """Length of a window in a labelled recording."""
        return _LABEL_WINDOW_MS if self.window_ms is None else self.window_ms

    def parameters(self) -> dict[str, Any]:
        """All fields as JSON values; whole milliseconds without a decimal point."""
        return {name: _plain(name, value) for name, value in asdict(self).items()}


#: What differs from the defaults, for each named way of cutting.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    # The exporter's own recommendation: harder, more realistic negatives.
    "recommended": {
        "neg_strategy": "mixed",
        "neg_mixed_near_frac": 0.6,
        "neg_mult": 8,
        "neg_min_motion_quantile": 0.2,
        "neg_match_pos_motion": True,
        "neg_pos_motion_q": 0.05,
        "neg_min_sep_ms": 200,
        "neg_with_replacement": True,
        "neg_avoid_post_ms": 2000,
    },
    # What `demo` and `deploy` train on: a model for one hand has to know everything that hand does between shots.
    "personal": {
        "neg_strategy": "blend",
        "neg_mult": 12,
        "neg_mixed_near_frac": 0.4,
        "neg_moving_frac": 0.45,
        "neg_min_motion_quantile": 0.25,
        "neg_near_min_ms": 0,
        "neg_min_sep_ms": 100,
    },
}


def preset(name: str, **changes: Any) -> ExploreSpec:
    """Return a named way of cutting, with changes.

    Raises:
        UsageError: There is no such preset, or a change is not possible.
    """
    if name not in PRESETS:
        raise UsageError(f"unknown preset {name!r}; choose {', '.join(PRESETS)}")
    return replace(ExploreSpec(), **{**PRESETS[name], **changes})


def _flag(name: str) -> str:
    return name.replace("_", "-")


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    if name.endswith("_ms") and isinstance(value, float) and value.is_integer():
        return int(value)
    return value
