"""The words of the Stinger's own exporter: keys of its ``meta.json`` and ``summary.json``, with its values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.windows.cuts import Cut
from stinger.windows.spec import ExploreSpec

#: Parameters that its ``meta.json`` repeats, in its order.
_PARAMETERS = (
    "neg_mult",
    "neg_strategy",
    "neg_mixed_near_frac",
    "neg_min_motion_quantile",
    "neg_match_pos_motion",
    "neg_pos_motion_q",
    "neg_min_sep_ms",
    "neg_with_replacement",
    "neg_near_min_ms",
    "neg_near_max_ms",
    "neg_avoid_post_ms",
    "neg_avoid_edges",
)
#: Keys of its ``meta.json`` that say how a dataset was made.
EXPORTER_KEYS = frozenset(
    ("input_csv", "window_ms", "lead_ms", "estimated_dt_ms", "estimated_hz", "positives", "negatives", *_PARAMETERS)
)


def exporter_meta(cuts: Sequence[Cut], spec: ExploreSpec, labels: NDArray[np.uint8]) -> dict[str, Any]:
    """Keys of ``meta.json``; times are those asked for, not those of whole samples."""
    parameters = spec.parameters()
    dt = cuts[0].facts["timestamp_dt_ms"]
    return {
        "input_csv": _csv_name([cut.name for cut in cuts]),
        "window_ms": _whole(spec.shot_window_ms),
        "lead_ms": parameters["lead_ms"],
        "estimated_dt_ms": dt["median"],
        "estimated_hz": dt["estimated_hz"],
        "positives": int((labels == 1).sum()),
        "negatives": int((labels == 0).sum()),
        **{name: parameters[name] for name in _PARAMETERS},
    }


def exporter_summary(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of ``summary.json``, from a dataset's ``meta``.

    Of several logs these are the sums, and the sample times of the first.
    """
    facts: list[dict[str, Any]] = meta["inputs"]
    duration_ms = sum(one["duration_ms"] for one in facts)
    summary: dict[str, Any] = {
        "input_csv": _csv_name([str(one["name"]) for one in facts]),
        "samples": sum(one["samples"] for one in facts),
        "duration_ms": duration_ms,
        "duration_s": round(duration_ms / 1000, 6),
        "i16_clipping_samples": sum(one["i16_clipping_samples"] for one in facts),
        "timestamp_dt_ms": facts[0]["timestamp_dt_ms"],
    }
    if "shots" in meta:
        parameters = meta["parameters"]
        accepted, rejected = meta["shots"]["accepted"], meta["shots"]["too soon after the last"]
        summary["trigger"] = {
            "rising_edges_all": accepted + rejected,
            "rising_edges_accepted": accepted,
            "rising_edges_rejected": rejected,
            "min_shot_gap_ms": parameters["min_shot_gap_ms"],
            "rejected_reason": "too close to previous accepted shot",
            "shot_pre_ms": parameters["shot_pre_ms"],
            "shot_post_ms": parameters["shot_post_ms"],
            "lead_ms": parameters["lead_ms"],
            "window_ms": meta["exporter"]["window_ms"],
        }
    return summary


def _csv_name(names: Sequence[str]) -> str:
    """The exporter read CSV only: a ``.bin`` is called as its CSV form would be."""
    first = PurePath(names[0] or "log").with_suffix(".csv").name
    return first if len(names) == 1 else f"{first} and {len(names) - 1} more"


def _whole(value: float) -> float | int:
    return int(value) if float(value).is_integer() else value
