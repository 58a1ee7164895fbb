"""A comparison as nodes of the tree of results.

`survival`: survival by alternative, group and time, and averaged, with a flag on what is extrapolated. `alternatives`:
evidence and probability of each, and its numbers; only where several were fitted. Times are days.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

import xarray as xr

from calibration.diagnostics.comparison import Comparison
from calibration.output.columns import ENDS, RowValue, Variable, described, interval, variables
from calibration.posterior.fit import Fit
from calibration.samplers.summary import Row

ALONE = "calibration"
"""Name of the only side where nothing is compared."""
CONVERGED = "ended before its stages ran out, and the random numbers move it little"


def comparison_nodes(found: Comparison) -> dict[str, xr.Dataset]:
    """Return the nodes by name."""
    nodes = {"survival": _survival(found)}
    if len(found.sides) > 1:
        nodes["alternatives"] = _alternatives(found)
    return nodes


def _names(found: Comparison) -> tuple[list[str], str, str]:
    return [name or ALONE for name in found.names], "choices of the model", "1"


def _survival(found: Comparison) -> xr.Dataset:
    first = found.sides[0].survival
    one, each, at = ("alternative",), ("alternative", "group"), ("alternative", "group", "time")
    to = f"mean survival time within {first.restricted_to:g} days"
    columns: dict[str, Variable] = {}
    for k, (end, level) in enumerate(ENDS.items()):
        over = f"{100 * level:g} % quantile of draws"
        both = f"{over} of all alternatives, each weighing its probability"
        columns |= {
            f"survival_{end}": (at, found.share[:, k], f"share alive, {over}", "1"),
            f"averaged_survival_{end}": (at[1:], found.averaged_share[k], f"share alive, {both}", "1"),
            f"restricted_mean_{end}": (each, found.mean[:, k], f"{to}, {over}", "d"),
            f"averaged_restricted_mean_{end}": (each[1:], found.averaged_mean[k], f"{to}, {both}", "d"),
        }
    until = [found.informed[group] for group in first.groups]
    last = "last time at which a fitted target looks at survival; 0: never"
    beyond = "whether it is beyond the last informative time: extrapolated by the family of hazards"
    columns |= {
        "last_informative_time": (each[1:], until, last, "d"),
        "extrapolated": (at[1:], found.extrapolated, beyond, "1"),
        "restricted_mean_extrapolated": (each[1:], found.mean_extrapolated, beyond, "1"),
        "probability": (one, found.probabilities, "probability after the data", "1"),
        "closed_form": (one, [side.survival.closed for side in found.sides], "whether by closed forms", "1"),
    }
    groups, times = (first.groups, "group of patients", "1"), (first.times, "time since entry", "d")
    return described(columns, alternative=_names(found), group=groups, time=times)


def _alternatives(found: Comparison) -> xr.Dataset:
    names, units = found.differing, found.sides[0].fitted.units
    numbers = [{row.name: row for row in side.rows} for side in found.sides]
    possible = "share of the posterior that the model can produce, least of the readings"
    error = "Monte-Carlo standard error of the log evidence, at most"
    sides = {
        "log_evidence": RowValue("log_evidence", "log probability of all fitted targets, readings summed out"),
        "log_evidence_standard_error": RowValue("log_evidence_error", error),
        "possible_share": RowValue(lambda side: _possible(side.fitted), possible),
        "converged": RowValue("fitted.converged", f"whether every search {CONVERGED}"),
    }
    quantiles = {
        name: RowValue(partial(_values, names, column), column.long_name, column.units, "parameter")
        for when in ("prior", "posterior")
        for name, column in interval(when, when, f"the {when}").items()
    }
    one = ("alternative",)
    columns: dict[str, Variable] = {
        "prior_probability": (one, found.weighing.probabilities(), "probability before the data", "1"),
        "probability": (one, found.probabilities, "probability after the data", "1"),
        **variables("alternative", found.sides, sides),
        "unit": (("parameter",), [units.get(name, "1") for name in names], "unit of the quantiles", ""),
        **variables("alternative", numbers, quantiles),
    }
    said = "number that differs between alternatives; it may mean another thing under each"
    return described(columns, alternative=_names(found), parameter=(names, said, "1"))


def _values(names: Sequence[str], column: RowValue, rows: Mapping[str, Row]) -> list[float]:
    """Return what a column says of each number of one side; NaN of those that it has not."""
    return [column.value(rows[name]) if name in rows else math.nan for name in names]


def _possible(fitted: Fit) -> float:
    return min(
        (reading.truncation.share for reading in fitted.readings if reading.truncation is not None), default=math.nan
    )
