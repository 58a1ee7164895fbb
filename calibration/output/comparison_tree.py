"""A comparison as nodes of the tree of results.

`survival`: survival by alternative, group and time, and averaged, with a flag on what is extrapolated. `alternatives`:
evidence and probability of each, and its numbers; only where several were fitted. Times are days.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from calibration.diagnostics.comparison import Comparison
from calibration.output.results import described, units_of
from calibration.posterior.fit import Fit
from calibration.samplers.summary import LEVELS

_ENDS = ("lower", "median", "upper")
ALONE = "calibration"
"""Name of the only side where nothing is compared."""

DataColumn = tuple[tuple[str, ...], Any, str, str]


def comparison_nodes(found: Comparison) -> dict[str, xr.Dataset]:
    """Return the nodes by name."""
    nodes = {"survival": _survival(found)}
    if len(found.sides) > 1:
        nodes["alternatives"] = _alternatives(found)
    return nodes


def labels(found: Comparison) -> list[str]:
    """Return what the sides are called."""
    return [name or ALONE for name in found.names]


def _survival(found: Comparison) -> xr.Dataset:
    first = found.sides[0].survival
    one, each, at = ("alternative",), ("alternative", "group"), ("alternative", "group", "time")
    to = f"mean survival time within {first.restricted_to:g} days"
    columns: dict[str, DataColumn] = {}
    for level, (end, share) in enumerate(zip(_ENDS, LEVELS, strict=True)):
        over = f"{100 * share:g} % quantile of draws"
        both = f"{over} of all alternatives, each weighing its probability"
        columns |= {
            f"survival_{end}": (at, found.share[:, level], f"share alive, {over}", "1"),
            f"averaged_survival_{end}": (at[1:], found.averaged_share[level], f"share alive, {both}", "1"),
            f"restricted_mean_{end}": (each, found.mean[:, level], f"{to}, {over}", "d"),
            f"averaged_restricted_mean_{end}": (each[1:], found.averaged_mean[level], f"{to}, {both}", "d"),
        }
    until = [found.informed[group] for group in first.groups]
    beyond = "whether it is beyond the last informative time: extrapolated by the family of hazards"
    columns |= {
        "last_informative_time": (
            each[1:],
            until,
            "last time at which a fitted target looks at survival; 0: never",
            "d",
        ),
        "extrapolated": (at[1:], found.extrapolated, beyond, "1"),
        "restricted_mean_extrapolated": (each[1:], found.mean_extrapolated, beyond, "1"),
        "probability": (one, found.probabilities, "probability after the data", "1"),
        "closed_form": (one, [side.survival.closed for side in found.sides], "whether by closed forms", "1"),
    }
    coordinates = {
        "alternative": (labels(found), "choices of the model"),
        "group": (first.groups, "group of patients"),
    }
    dataset = described(columns, **coordinates)
    return dataset.assign_coords(time=("time", first.times, {"long_name": "time since entry", "units": "d"}))


def _alternatives(found: Comparison) -> xr.Dataset:
    names = found.differing
    rows = [{row.name: row for row in side.rows} for side in found.sides]
    units = units_of(found.sides[0].fitted)
    each, of = ("alternative",), ("alternative", "parameter")

    def quantiles(when: str, end: str) -> Any:
        return [
            [getattr(getattr(side[name], when), end) if name in side else np.nan for name in names] for side in rows
        ]

    columns: dict[str, DataColumn] = {
        "prior_probability": (each, found.weighing.probabilities(), "probability before the data", "1"),
        "probability": (each, found.probabilities, "probability after the data", "1"),
        "log_evidence": (
            each, [side.log_evidence for side in found.sides],
            "log probability of all fitted targets, readings summed out", "1",
        ),
        "log_evidence_standard_error": (
            each, [side.log_evidence_error for side in found.sides],
            "Monte-Carlo standard error of the log evidence, at most", "1",
        ),
        "possible_share": (
            each, [_possible(side.fitted) for side in found.sides],
            "share of the posterior that the model can produce, least of the readings", "1",
        ),
        "converged": (
            each, [all(reading.converged for reading in side.fitted.readings) for side in found.sides],
            "whether every search ended before its stages ran out, and the random numbers move it little", "1",
        ),
        "unit": (of[1:], [units.get(name, "1") for name in names], "unit of the quantiles", ""),
    }  # fmt: skip
    for when in ("prior", "posterior"):
        for end, share in zip(_ENDS, LEVELS, strict=True):
            columns[f"{when}_{end}"] = (
                of,
                quantiles(when, end),
                f"{100 * share:g} % quantile of the {when}",
                "see unit",
            )
    return described(
        columns,
        alternative=(labels(found), "choices of the model"),
        parameter=(names, "number that differs between alternatives; it may mean another thing under each"),
    )


def _possible(fitted: Fit) -> float:
    return min(
        (reading.truncation.share for reading in fitted.readings if reading.truncation is not None), default=np.nan
    )
