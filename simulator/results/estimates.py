"""Statistics that a user asked for, of every simulated study, as a node.

Beside what each study finds stand the mean over studies with its Monte-Carlo error, and how studies vary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from simulator.evidence.statistic import Statistic
from simulator.results.decisions import column, mean_of
from simulator.results.tree import STORED, error_of_quantile, in_unit, studies_by_outcome
from simulator.study.ranks import CENTRAL, order_statistics

NODE, SHARE = "estimates", "response_effect"
"""Name of the node, and of its coordinate with the share under which a contrast between arms is found."""
_DIM = "estimate"


def estimates_dataset(
    estimates: Mapping[str, Statistic],
    simulated: ArrayLike,
    *,
    draws: Sequence[int] | None = None,
    shares: ArrayLike | None = None,
) -> xr.Dataset:
    """Return what each simulated study finds, and how studies vary.

    ``simulated`` has the shape (replicate, estimate), of draws of a posterior (draw, replicate, estimate): shares 0 to
    1, times in days; +inf not reached, NaN undefined. The mean is over the studies in which the value is finite
    (``n_finite``); quantiles are over all in which it is defined. ``shares``: `response_effect` under which each is
    found, NaN where it is not found at both ends.
    """
    values = np.asarray(simulated, dtype=np.float64)
    if values.ndim != (2 if draws is None else 3) or values.shape[-1] != len(estimates):
        raise ValueError(f"estimates: shape {values.shape}, expected (…, replicates, {len(estimates)})")
    crossed = values[None] if draws is None else values
    places, statistics = range(len(estimates)), list(estimates.values())
    finite = np.where(np.isfinite(crossed), crossed, np.nan)
    means, errors = zip(*(mean_of(finite[..., k]) for k in places), strict=True)
    pooled = crossed.reshape(-1, len(estimates))
    quantiles = dict(zip(("median", "lower", "upper"), order_statistics(pooled, (0.5, *CENTRAL)), strict=True))
    levels = {"median": 0.5, "lower": CENTRAL[0], "upper": CENTRAL[1]}

    def of(numbers: Sequence[Any], long_name: str, units: str = STORED) -> tuple[str, Any, dict[str, str]]:
        dim, values, attrs = column(_DIM, numbers, long_name, units)
        return dim, values, {"long_name": attrs["long_name"], **in_unit(units)}

    variables: dict[str, Any] = {
        "mean": of(means, "mean over the studies in which it is finite"),
        "mean_standard_error": of(errors, "Monte-Carlo standard error of mean"),
        "study_sd": of([_sd(finite[..., k]) for k in places], "standard deviation over those studies"),
    }
    for name, level in levels.items():
        variables[name] = of(quantiles[name], f"{100 * level:g} % quantile over the simulated studies")
        found = [error_of_quantile(crossed[..., k], level) for k in places]
        variables[f"{name}_standard_error"] = of(found, f"Monte-Carlo standard error of {name}")
    variables |= studies_by_outcome(_DIM, pooled)
    dims = ("replicate", _DIM) if draws is None else ("draw", "replicate", _DIM)
    every = {"long_name": "value in each simulated study; ±inf not reached, NaN undefined", **in_unit(STORED)}
    coords: dict[str, Any] = {
        _DIM: of(list(estimates), "statistic that was asked for", ""),
        "stored_unit": of([each.unit for each in statistics], "unit of the values", ""),
        "estimator": of([each.named for each in statistics], "estimator", ""),
        "variable": of([each.variable for each in statistics], "what the estimator is of", ""),
        "analysis_set": of([each.population for each in statistics], "population of the study that it takes", ""),
        "of_group": of([_who(each.where) for each in statistics], "subgroup", ""),
        "against_group": of([_who(each.against) for each in statistics], "subgroup that it is compared with", ""),
        "time": of(
            [math.nan if each.time is None else each.time for each in statistics],
            "time of a landmark, end of a restricted mean",
            "d",
        ),
        "replicate": ("replicate", np.arange(values.shape[-2]), {"long_name": "replicate study", "units": "1"}),
    }
    if shares is not None:
        about = "share of the responders' advantage that response causes, where both ends are found"
        coords[SHARE] = of(list(np.asarray(shares, np.float64)), about, "1")
    if draws is not None:
        coords["draw"] = "draw", np.asarray(draws, np.int64), {"long_name": "draw of the posterior", "units": "1"}
    return xr.Dataset({"simulated": (dims, values, every), **variables}, coords=coords)


def _sd(values: Any) -> float:
    known = values[~np.isnan(values)]
    return float(known.std(ddof=1)) if known.size > 1 else math.nan


def _who(where: Any) -> str:
    """A subgroup in words, as it is declared."""
    given = {} if where is None else where.model_dump(exclude_none=True)
    return ", ".join(f"{key} {value:g} d" if key == "landmark" else f"{key} {value}" for key, value in given.items())
