"""Decisions of every simulated study as a node of the tree: their probabilities, and the width of the intervals.

Every figure has its Monte-Carlo error beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from simulator.experiment.decisions import Decision
from simulator.study.crossed import error_of_share, spreads
from simulator.study.decisions import decided
from simulator.tables import Floats

_REPLICATE = {"long_name": "replicate study", "units": "1"}
_DRAW = {"long_name": "draw of the posterior", "units": "1"}
_PROBABILITY = "probability that a study decides so"
_WIDTH = "width of the interval, mean over the studies in which it is defined"
_TEXTS: dict[str, tuple[str, Callable[[Decision], str]]] = {
    "rule": ("what is decided", lambda decision: decision.said),
    "of_target": ("target whose interval is looked at", lambda decision: decision.target),
    "interval_method": ("kind of interval", lambda decision: decision.method),
}


def decisions_dataset(
    decisions: Mapping[str, Decision], intervals: ArrayLike, *, draws: Sequence[int] | None = None
) -> xr.Dataset:
    """Return what would be decided in each simulated study, and how often.

    ``intervals`` has the shape (replicate, decision, 2), of draws of a posterior (draw, replicate, decision, 2): lower
    and upper end, 0 to 1, NaN where nobody is counted. A study without an interval does not decide so. Over draws, the
    probability is that over all studies of all draws, its error that of the crossed design (`study.crossed`).
    """
    ends = np.asarray(intervals, dtype=np.float64)
    if ends.ndim != (3 if draws is None else 4) or ends.shape[-2:] != (len(decisions), 2):
        raise ValueError(f"intervals: shape {ends.shape}, expected (…, replicates, {len(decisions)}, 2)")
    rules = list(decisions.values())
    crossed = ends[None] if draws is None else ends  # (draw, replicate, decision, 2)
    yes = decided(crossed, rules).astype(np.float64)
    width = crossed[..., 1] - crossed[..., 0]
    places = range(len(rules))
    shares, errors = [yes[..., k].mean() for k in places], [error_of_share(yes[..., k]) for k in places]
    means, errors_of_means = zip(*(mean_of(width[..., k]) for k in places), strict=True)
    dims = ("replicate", "decision") if draws is None else ("draw", "replicate", "decision")
    each = "end of the interval in each study; NaN undefined"
    return xr.Dataset(
        {
            "interval_lower": (dims, ends[..., 0], _about(f"lower {each}")),
            "interval_upper": (dims, ends[..., 1], _about(f"upper {each}")),
            "decision_probability": _of(shares, _PROBABILITY),
            "decision_probability_standard_error": _of(errors, _error(_PROBABILITY)),
            "interval_width": _of(means, _WIDTH),
            "interval_width_standard_error": _of(errors_of_means, _error(_WIDTH)),
        },
        coords={
            "decision": _of(list(decisions), "decision", ""),
            **{name: _of([text(rule) for rule in rules], said, "") for name, (said, text) in _TEXTS.items()},
            "interval_level": _of([rule.level for rule in rules], "confidence level of the two-sided interval"),
            "decision_threshold": _of([rule.threshold for rule in rules], "share that a bound is held against"),
            "replicate": ("replicate", np.arange(ends.shape[-3]), _REPLICATE),
            **({} if draws is None else {"draw": ("draw", np.asarray(draws, dtype=np.int64), _DRAW)}),
        },
        attrs={"Conventions": "CF-1.11"},
    )


def mean_of(values: Floats) -> tuple[float, float]:
    """Mean of numbers (draw, replicate) that are defined, and its Monte-Carlo error."""
    known = values[~np.isnan(values)]
    if known.size == 0:
        return math.nan, math.nan
    if len(values) > 1:
        found = spreads(values)
        if not math.isnan(found.monte_carlo):
            return found.mean, found.monte_carlo
    spread = float(known.std(ddof=1)) if known.size > 1 else math.nan
    return float(known.mean()), spread / math.sqrt(len(values) if len(values) > 1 else known.size)


def _error(what: str) -> str:
    return f"Monte-Carlo standard error: {what}"


def _about(long_name: str, units: str = "1") -> dict[str, str]:
    return {"long_name": long_name, "units": units}


def _of(values: Sequence[Any], long_name: str, units: str = "1") -> tuple[str, NDArray[Any], dict[str, str]]:
    return column("decision", values, long_name, units)


def column(
    dim: str, values: Sequence[Any] | NDArray[Any], long_name: str, units: str
) -> tuple[str, NDArray[Any], dict[str, str]]:
    """Return numbers or texts along one dimension as a variable."""
    array = np.asarray(values)
    return dim, array.astype(object) if array.dtype.kind in "UT" else array, _about(long_name, units)
