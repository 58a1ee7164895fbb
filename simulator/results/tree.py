"""Arrays in, one self-describing tree out.

The only place where xarray objects are built. Every variable has ``long_name`` and ``units`` ("" for text), but for
numbers of a node in which each label has a unit of its own: its coordinate ``stored_unit`` says it, and the node makes
no claim to CF. Times are days, shares 0 to 1; text is object dtype; codes carry ``flag_values`` and ``flag_meanings``;
missing is NaN and "not reached" +inf.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from simulator import units
from simulator.evidence.entries import EvidenceEntry
from simulator.results.assumptions import Look, look_of
from simulator.study.crossed import error_of_share, spreads
from simulator.study.ranks import CENTRAL, TOLERANCE, as_printed, mid_rank, order_statistics
from simulator.study.scope import ALL_PATIENTS
from simulator.study.statistics import LabelledArray
from simulator.tables import Floats

STORED = "unit: coordinate stored_unit"
"""Comment of numbers that have the unit of their target or estimate; they have no attribute ``units``."""
CF = {"Conventions": "CF-1.11"}
"""Attribute of the nodes whose variables all have units."""
REPLICATE = {"long_name": "replicate study", "units": "1"}

DataColumn = tuple[Any, NDArray[Any], dict[str, Any]]
"""Dimensions, values and attributes of a variable."""


def build(
    *,
    targets: xr.Dataset,
    statistics: xr.Dataset,
    record: Mapping[str, str | int | float],
    patients: xr.Dataset | None = None,
    events: xr.Dataset | None = None,
    spread: xr.Dataset | None = None,
    decisions: xr.Dataset | None = None,
    estimates: xr.Dataset | None = None,
) -> xr.DataTree:
    """Return the tree of a run: the record as its attributes, a node for each dataset that is given.

    Raises
    ------
    ValueError
        If a variable has no ``long_name`` or no unit; each is named.
    """
    nodes = {
        "targets": targets,
        "statistics": statistics,
        "spread": spread,
        "estimates": estimates,
        "decisions": decisions,
        "patients": patients,
        "events": events,
    }
    return assembled({name: node for name, node in nodes.items() if node is not None}, record)


def assembled(given: Mapping[str, xr.Dataset], record: Mapping[str, str | int | float]) -> xr.DataTree:
    """Return a tree with these nodes and a record as its attributes. Raises ValueError as `build`."""
    bare = [
        f"{name}.{variable}: no {attribute}"
        for name, node in given.items()
        for variable, values in node.variables.items()
        for attribute in ("long_name", "units")
        if attribute not in values.attrs and not (attribute == "units" and values.attrs.get("comment") == STORED)
    ]
    if bare:
        raise ValueError("; ".join(bare))
    root = xr.Dataset(attrs=dict(record))
    return xr.DataTree.from_dict({"/": root, **{f"/{name}": node for name, node in given.items()}})


def targets_dataset(entries: Sequence[EvidenceEntry], simulated: ArrayLike) -> xr.Dataset:
    """Return each reported number beside what the simulated studies of the same size report.

    ``simulated`` has the shape (replicate, target): shares 0 to 1, times in days, anything else in the
    printed unit; +inf where a median was not reached, NaN where nobody was in the group.
    """
    values = np.asarray(simulated, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != len(entries):
        raise ValueError(f"simulated targets: shape {values.shape}, expected (replicates, {len(entries)})")
    return _targets(entries, [entries], values[None], ("replicate", "target"))


def targets_over_draws(
    entries: Sequence[Sequence[EvidenceEntry]], simulated: ArrayLike, draws: Sequence[int]
) -> xr.Dataset:
    """Return the same of studies whose parameters are draws of a posterior, and the spreads apart.

    ``simulated`` has the shape (draw, replicate, target), ``entries`` are those of each draw, since a draw may read
    the text in another way; they have the same ids. ``draws`` are the draws' numbers. Median, interval and percentile
    are over all studies of all draws.
    """
    values = np.asarray(simulated, dtype=np.float64)
    if values.ndim != 3 or values.shape[::2] != (len(draws), len(entries[0])) or len(entries) != len(draws):
        raise ValueError(f"simulated targets: shape {values.shape}, expected (draws, replicates, targets)")
    dataset = _targets(entries[0], entries, values, ("draw", "replicate", "target"))
    found = [spreads(values[:, :, k]) for k in range(values.shape[2])]
    apart = {
        "mean": ("mean", "mean over all studies of all draws"),
        "study_sd": ("study", "study sampling: standard deviation over the studies of one draw"),
        "study_sd_standard_error": ("study_error", "Monte-Carlo standard error of study_sd"),
        "parameter_sd": (
            "parameter",
            "parameters: standard deviation over draws, apart from random variation of studies",
        ),
        "parameter_sd_standard_error": ("parameter_error", "Monte-Carlo standard error of parameter_sd"),
        "monte_carlo_error": ("monte_carlo", "Monte Carlo: standard error of mean, over draws and replicates"),
    }
    variables = {
        name: _of_target([getattr(each, attribute) for each in found], long_name, STORED)
        for name, (attribute, long_name) in apart.items()
    }
    return dataset.assign(variables).assign_coords(draw=_draw(draws))


def _targets(
    entries: Sequence[EvidenceEntry],
    of_draws: Sequence[Sequence[EvidenceEntry]],
    values: Floats,
    dims: tuple[str, ...],
) -> xr.Dataset:
    reported = np.array([[_reported(entry) for entry in each] for each in of_draws], dtype=np.float64)
    bounds = [[entry.bound for entry in each] for each in of_draws]
    half_width = np.array([[entry.half_width or 0.0 for entry in each] for each in of_draws], dtype=np.float64)
    every_study = {"long_name": "value in each simulated study; +inf not reached, NaN undefined"}
    replicate = ("replicate", np.arange(values.shape[1]), REPLICATE)
    return xr.Dataset(
        {
            "reported": _of_target(reported[0], "reported value", STORED),
            "simulated": (dims, values.reshape(values.shape[-len(dims) :]), every_study | in_unit(STORED)),
            **_spread(values, reported, half_width, bounds),
        },
        coords=target_coordinates(entries) | {"replicate": replicate},
    )


def _draw(draws: Sequence[int]) -> DataColumn:
    return "draw", np.asarray(draws, dtype=np.int64), {"long_name": "draw of the posterior", "units": "1"}


def target_coordinates(entries: Sequence[EvidenceEntry]) -> dict[str, DataColumn]:
    """Return what is known of each target, by the name of the coordinate, all along ``target``."""
    half_width = np.array([entry.half_width or 0.0 for entry in entries], dtype=np.float64)
    looks = [look_of(entry) or Look((), np.nan) for entry in entries]
    return {
        "target": _of_target([entry.id for entry in entries], "evidence id", ""),
        **{
            name: _of_target([text(entry) for entry in entries], long_name, "")
            for name, (long_name, text) in _TEXTS.items()
        },
        "time": _of_target([_time(entry) for entry in entries], "time of a landmark", "d"),
        "scale": _of_target([_scale(entry) for entry in entries], "printed units per stored unit", "1"),
        "decimals": _of_target([entry.decimals or 0 for entry in entries], "decimals as printed", "1"),
        "half_width": _of_target(half_width, "half a printed unit, half a patient if counted", STORED),
        "looks_until": _of_target([look.until for look in looks], "last time at which it looks at survival", "d"),
        "looks_at": _of_target([" ".join(look.groups) for look in looks], "groups whose survival it looks at", ""),
    }


def _spread(
    values: Floats, reported: Floats, half_width: Floats, bounds: Sequence[Sequence[str | None]]
) -> dict[str, DataColumn]:
    """Where the studies (draw, replicate, target) lie and where the reported value falls among them, with errors.

    ``reported``, ``half_width`` and ``bounds`` have the shape (draw, target). Ranks are of what studies would print;
    median and interval are of what they find.
    """
    targets = range(values.shape[2])
    printed = [as_printed(values[:, :, k], [each[k] for each in bounds], reported[:, k].tolist()) for k in targets]
    ranks = [mid_rank(printed[k], reported[:, k], half_width[:, k]) for k in targets]
    pooled = values.reshape(values.shape[0] * values.shape[1], len(targets))
    levels = (0.5, *CENTRAL)
    median, lower, upper = order_statistics(pooled, levels) if len(pooled) else np.full((3, len(targets)), np.nan)
    found = {
        "median": (median, "median over the simulated studies"),
        "lower": (lower, "2.5 % quantile over the simulated studies"),
        "upper": (upper, "97.5 % quantile over the simulated studies"),
    }
    spread = {name: _of_target(data, long_name, STORED) for name, (data, long_name) in found.items()}
    percentile = [rank.percentile for rank in ranks]
    spread["percentile"] = _of_target(percentile, "mid-rank of the reported value among the simulated", "1")
    for name, level in (("median", 0.5), ("lower", CENTRAL[0]), ("upper", CENTRAL[1])):
        errors = [error_of_quantile(values[:, :, k], level) for k in targets]
        what = f"Monte-Carlo standard error of {name}"
        spread[f"{name}_standard_error"] = _of_target(errors, what, STORED)
    what = "Monte-Carlo standard error of percentile"
    spread["percentile_standard_error"] = _of_target([rank.percentile_error for rank in ranks], what, "1")
    misses = [_miss_probability(printed[k].ravel(), float(half_width[0, k])) for k in targets]
    what = "probability that one of the simulated studies itself falls outside the central 95 %"
    spread["miss_probability"] = _of_target(misses, what, "1")
    return spread | studies_by_outcome("target", pooled)


def studies_by_outcome(dim: str, pooled: Floats) -> dict[str, DataColumn]:
    """Return in how many studies (studies, labels) a number is finite, was not reached, and is undefined."""
    return {
        name: (
            dim,
            flags.sum(axis=0, dtype=np.int64),
            {"long_name": f"simulated studies in which {what}", "units": "1"},
        )
        for name, flags, what in (
            ("n_finite", np.isfinite(pooled), "it is finite"),
            ("n_not_reached", np.isinf(pooled), "it was not reached"),
            ("n_undefined", np.isnan(pooled), "it is undefined"),
        )
    }


def statistics_dataset(variables: Mapping[str, LabelledArray]) -> xr.Dataset:
    """Return the node of the statistics; a variable named like its only dimension becomes its index.

    A variable without units is a number of its own kind ("1") or text ("").
    """
    columns = {name: _column(variable.values) for name, variable in variables.items()}
    return xr.Dataset(
        {
            name: (variable.dims, columns[name], {"units": _units_of(columns[name])} | variable.attrs)
            for name, variable in variables.items()
        },
        attrs=CF,
    )


def statistics_over_draws(
    parts: Sequence[Mapping[str, LabelledArray]], draws: Sequence[int]
) -> tuple[xr.Dataset, xr.Dataset]:
    """Return the node of the statistics with a dimension ``draw``, and the node ``spread``: what draws do to them.

    Histories of single patients are left out. An administration that nobody got in some draw is given to a share of
    0 there. In ``spread`` a statistic is its mean over draws; beside it stand ``_lower`` and ``_upper``, the central
    95 % of draws, ``_parameter_sd``, their standard deviation, and ``_monte_carlo_error``, that of the mean: the random
    numbers of the patients, which all draws share, and the number of draws.

    Raises
    ------
    ValueError
        If draws differ in a dimension other than the number of administrations.
    """
    first, statistics, spread = parts[0], {}, {}
    for name, variable in first.items():
        if {"patient", "history"} & set(variable.dims):
            continue
        columns = _equally_long([part[name].values for part in parts], variable.dims)
        attrs = {"units": _units_of(columns[0])} | variable.attrs
        if variable.dims == (name,) or columns[0].dtype == object:
            longest = max(columns, key=len)
            statistics[name] = spread[name] = (variable.dims, _column(longest), attrs)
            continue
        stacked = np.stack(columns)
        statistics[name] = (("draw", *variable.dims), stacked, attrs)
        if name.endswith("_standard_error"):
            continue
        error = f"{name}_standard_error"
        errors = np.stack(_equally_long([p[error].values for p in parts], variable.dims)) if error in first else None
        spread |= _over_draws(name, variable.dims, stacked, errors, attrs)
    return xr.Dataset(statistics, coords={"draw": _draw(draws)}, attrs=CF), xr.Dataset(spread, attrs=CF)


def _over_draws(
    name: str, dims: tuple[str, ...], values: NDArray[Any], errors: NDArray[Any] | None, attrs: Mapping[str, Any]
) -> dict[str, DataColumn]:
    """Mean over draws (draw, …), and the spread of draws where the statistic has a Monte-Carlo error."""

    def column(data: NDArray[Any], what: str) -> DataColumn:
        return dims, data, {**attrs, "long_name": f"{attrs.get('long_name', name)}, {what}"}

    with np.errstate(invalid="ignore"):
        out = {name: column(values.mean(axis=0), "mean over draws")}
        if errors is None:
            return out
        lower, upper = order_statistics(values, CENTRAL)
        sd = values.std(axis=0, ddof=1) if len(values) > 1 else np.full(values.shape[1:], np.nan)
        monte_carlo = np.sqrt((errors**2).mean(axis=0) + sd**2 / len(values))
    out[f"{name}_lower"] = column(lower, "2.5 % quantile over draws")
    out[f"{name}_upper"] = column(upper, "97.5 % quantile over draws")
    out[f"{name}_parameter_sd"] = column(sd, "standard deviation over draws")
    out[f"{name}_monte_carlo_error"] = column(monte_carlo, "Monte-Carlo standard error of the mean over draws")
    return out


def _equally_long(columns: Sequence[NDArray[Any]], dims: tuple[str, ...]) -> list[NDArray[Any]]:
    """Pad shares of administrations with 0, up to the most that anybody got."""
    if "visit" in dims:
        axis = dims.index("visit")
        most = max(column.shape[axis] for column in columns)
        columns = [np.pad(c, [(0, most - c.shape[axis] if a == axis else 0) for a in range(c.ndim)]) for c in columns]
    if len({column.shape for column in columns}) > 1:
        raise ValueError(f"draws differ in the size of {', '.join(dims)}")
    return list(columns)


def error_of_quantile(values: Floats, level: float) -> float:
    """Monte-Carlo standard error of a quantile over the studies (draw, replicate).

    Half the distance between the order statistics one standard deviation of the rank to either side, binomial where
    there is one draw: 0 where the studies repeat one value there, +inf where one of them is not reached.
    """
    ranked = np.sort(values[~np.isnan(values)])
    n = ranked.size
    if n == 0:
        return np.nan
    rank = int(np.ceil(level * n)) - 1
    if len(values) == 1:
        reach = int(np.ceil(np.sqrt(n * level * (1 - level))))
    else:
        below = np.where(np.isnan(values), np.nan, values <= ranked[rank])
        reach = int(np.ceil(n * error_of_share(below)))
    low, high = ranked[max(rank - reach, 0)], ranked[min(rank + reach, n - 1)]
    return 0.0 if low == high else float((high - low) / 2)


def _miss_probability(values: Floats, half_width: float) -> float:
    """Share of the replicates that would themselves lie outside the central 95 % if they were reported."""
    ranked = np.sort(values[~np.isnan(values)])
    if ranked.size == 0:
        return np.nan
    reach = half_width + TOLERANCE * np.maximum(1.0, np.abs(ranked))
    with np.errstate(invalid="ignore"):
        low, high = (np.where(np.isinf(ranked), ranked, ranked + side * reach) for side in (-1, 1))
    below, upto = np.searchsorted(ranked, low, side="left"), np.searchsorted(ranked, high, side="right")
    own = (below + upto) / (2 * ranked.size)
    return float(np.mean((own < CENTRAL[0]) | (own > CENTRAL[1])))


def _reported(entry: EvidenceEntry) -> float:
    if entry.reported is None:
        raise ValueError(f"{entry.id}: has no reported value, so it is no target")
    return entry.reported


def _stored_unit(entry: EvidenceEntry) -> str:
    if entry.unit == "%" or entry.counted:
        return "1"
    try:
        units.days(f"1 {entry.unit}")
    except ValueError:
        return entry.unit
    return "d"


def _scale(entry: EvidenceEntry) -> float:
    """Printed units in one stored unit."""
    if entry.unit == "patients" and entry.denominator is not None:
        return float(entry.denominator)
    return 1.0 / entry.scaled(1.0)


def _time(entry: EvidenceEntry) -> float:
    time = entry.statistic.time if entry.statistic else None
    return np.nan if time is None else time


def _group(entry: EvidenceEntry) -> str:
    if entry.statistic is None or entry.statistic.against:
        return ""
    where = entry.statistic.where
    if where.status or where.ever or where.never or where.landmark or (where.arm and where.stratum):
        return ""
    return f"arm.{where.arm}" if where.arm else where.stratum or ALL_PATIENTS


def _analysis_set(entry: EvidenceEntry) -> str:
    return entry.statistic.population if entry.statistic else ""


def _units_of(values: NDArray[Any]) -> str:
    return "" if values.dtype == object else "1"


def _of_target(data: Sequence[Any] | NDArray[Any], long_name: str, units: str) -> DataColumn:
    return "target", _column(data), {"long_name": long_name, **in_unit(units)}


def in_unit(units: str) -> dict[str, str]:
    """Return the attribute that says a unit: ``units``, or the comment `STORED` where labels differ in it."""
    return {"comment": STORED} if units == STORED else {"units": units}


def _column(data: Sequence[Any] | NDArray[Any]) -> NDArray[Any]:
    array = np.asarray(data)
    return array.astype(object) if array.dtype.kind in "UT" else array


_TEXTS: dict[str, tuple[str, Callable[[EvidenceEntry], str]]] = {
    "stored_unit": ("unit of the values of this target", _stored_unit),  # first, since plots of one target show it
    "name": ("what was reported", lambda entry: entry.name),
    "printed": ("the number as printed", lambda entry: entry.printed),
    "unit": ("unit in which it is printed", lambda entry: entry.unit),
    "population": ("population in which it was observed", lambda entry: entry.population),
    "estimator": ("estimator of the paper", lambda entry: entry.estimator_name or ""),
    "variable": ("what the estimator is of", lambda e: e.statistic.variable if e.statistic else ""),
    "group": ("stratum, arm.<arm> or all; empty for any other subgroup", _group),
    "analysis_set": ("population of the study that the estimator takes", _analysis_set),
    "provenance": ("provenance class", lambda entry: entry.provenance),
    "role": ("use in calibration", lambda entry: entry.role or ""),
}
