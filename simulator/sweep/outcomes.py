"""What scenarios of a sweep are compared by: numbers of a store, one for each scenario."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from simulator.errors import ConfigError, unknown
from simulator.sweep.scenarios import is_sweep, swept, variable
from simulator.units import DAYS_PER, UNITS

TARGETS, ESTIMATES, STATISTICS, DECISIONS = "targets", "estimates", "statistics", "decisions"
ERROR = "_standard_error"
LANDMARKS = (1, 2, 5)
"""Years at which survival is shown, as far as a sweep looks: at the nearest time before that the store has."""

_DAYS, _SHARE = ("d", 1.0), ("%", 100.0)


@dataclass(frozen=True, eq=False)
class ShownOutcome:
    """A number that every scenario has: where it stands, and how it is shown."""

    id: str
    name: str
    node: str
    value: str  # variable; its Monte-Carlo error stands beside it
    unit: str  # as shown
    scale: float = 1.0  # shown units in a stored one
    at: Mapping[str, int] = field(default_factory=dict)  # places along the dimensions of the node
    spread: bool = False  # whether the central 95 % of studies stand beside it
    reported: bool = False

    @property
    def label(self) -> str:
        """Name and unit for an axis."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def paired(self) -> bool:
        """Whether every study's value is kept, so that scenarios are compared study by study."""
        return self.node in (TARGETS, ESTIMATES)


def outcomes(tree: xr.DataTree) -> list[ShownOutcome]:
    """Return what scenarios are compared by: statistics of all patients, estimates, decisions, and reported numbers."""
    made = [*_statistics(tree["statistics"].to_dataset())]
    for node, write in ((ESTIMATES, _estimates), (DECISIONS, _decisions), (TARGETS, _targets)):
        if node in tree.children and tree[node].to_dataset().data_vars:
            made += write(tree[node].to_dataset())
    return made


def outcome_of(tree: xr.DataTree, id_: str) -> ShownOutcome:
    """Return the outcome of an id. Raises ConfigError if there is none, or the tree is not that of a sweep."""
    if not is_sweep(tree):
        swept(tree)  # refuses it
    known = {each.id: each for each in outcomes(tree)}
    if id_ not in known:
        raise ConfigError(unknown("outcome", id_, known, what="outcome"))
    return known[id_]


def numbers(tree: xr.DataTree, outcome: ShownOutcome) -> xr.Dataset:
    """Return ``value``, ``error``, and if it has them ``lower``, ``upper``, ``reported``, in shown units.

    The dimensions are the swept ones, in their order; NaN where a scenario has none or is not finished.
    """
    node = tree[outcome.node].to_dataset()
    columns = {"value": outcome.value, "error": f"{outcome.value}{ERROR}"}
    columns |= {"lower": "lower", "upper": "upper"} if outcome.spread else {}
    columns |= {"reported": "reported"} if outcome.reported else {}
    found = node[[name for name in columns.values() if name in node]].isel(outcome.at, drop=True)
    if "quantile" in found.dims:
        found = found.drop_dims("quantile")
    dims = [each.name for each in swept(tree)]
    made = {}
    for name, source in columns.items():
        if source in found:
            values = found[source].load() * outcome.scale
            missing = {dim: tree.sizes[dim] for dim in dims if dim not in values.dims}
            made[name] = values.expand_dims(missing).transpose(*dims)
    return xr.Dataset(made)


def _statistics(node: xr.Dataset) -> list[ShownOutcome]:
    all_patients = {"group": 0}
    time = node["time"].values
    made = []
    for years in LANDMARKS:
        day = DAYS_PER["y"] * years
        if time[-1] >= day * (1 - 1e-9):
            place = _before(time, day)
            label = f"Alive at day {time[place]:g}"
            at = all_patients | {"time": place}
            made.append(ShownOutcome(f"survival_{years}y", label, STATISTICS, "overall_survival", *_SHARE, at))
    until = f"day {time[-1]:g}"
    if "rmst" in node:
        differ = " | " in str(node["rmst"].attrs.get("long_name", ""))  # horizons of scenarios
        end = "the horizon" if differ else until
        made.append(ShownOutcome("rmst", f"Mean time lived until {end}", STATISTICS, "rmst", "days", 1.0, all_patients))
    if "cumulative_incidence" in node:
        for place, event in enumerate(map(str, node["event"].values)):
            if not event.startswith("death"):
                at = all_patients | {"event": place, "time": time.size - 1}
                label = f"{event[:1].upper()}{event[1:].replace('_', ' ')} by {until}"
                made.append(ShownOutcome(f"event_{event}", label, STATISTICS, "cumulative_incidence", *_SHARE, at))
    for id_, label, unit in (
        ("administrations_mean", "Administrations per patient", ""),
        ("time_on_treatment", "Time on treatment", "days"),
    ):
        if variable(node, id_) in node:
            made.append(ShownOutcome(id_, label, STATISTICS, variable(node, id_), unit, 1.0, all_patients))
    return made


def _before(time: Any, day: float) -> int:
    """Place of the last step of a grid up to a day. Ends of horizons stand between steps, and not in every scenario."""
    step = time[1] - time[0] if time.size > 1 else day
    regular = np.flatnonzero(np.isclose(time, step * np.floor(day / step * (1 + 1e-9))))
    return int(regular[0]) if regular.size else int(np.searchsorted(time, day * (1 + 1e-9), side="right")) - 1


def _estimates(node: xr.Dataset) -> list[ShownOutcome]:
    made = []
    units = _texts(node["stored_unit"], "estimate")
    for place, name in enumerate(map(str, node["estimate"].values)):
        unit = UNITS[units[place]].label if units[place] in UNITS else units[place]
        at = {"estimate": place}
        made.append(ShownOutcome(f"estimate.{name}", name, ESTIMATES, "mean", unit, 1.0, at, spread=True))
    return made


def _decisions(node: xr.Dataset) -> list[ShownOutcome]:
    made = []
    for place, name in enumerate(map(str, node["decision"].values)):
        at, label = {"decision": place}, f"Probability of decision {name}"
        made.append(ShownOutcome(f"decision.{name}", label, DECISIONS, "decision_probability", *_SHARE, at))
    return made


def _targets(node: xr.Dataset) -> list[ShownOutcome]:
    made = []
    units, names = (_texts(node[what], "target") for what in ("unit", "name"))
    scales = _rows(node["scale"], "target")
    for place, id_ in enumerate(map(str, node["target"].values)):
        scale = next((float(each) for each in scales[place] if not np.isnan(each)), 1.0)
        label, at = f"{id_} {names[place]}", {"target": place}
        made.append(ShownOutcome(id_, label, TARGETS, "median", units[place], scale, at, spread=True, reported=True))
    return made


def _rows(values: xr.DataArray, dim: str) -> Any:
    """Values as an array whose first dimension is this one, and whose second are scenarios that differ in it."""
    first = values.transpose(dim, ...).values
    return first.reshape(first.shape[0], math.prod(first.shape[1:]))


def _texts(said: xr.DataArray, dim: str) -> list[str]:
    """Texts by label; of scenarios that differ in one, the first that is not empty."""
    return [next((str(text) for text in row if str(text)), "") for row in _rows(said, dim)]


def loaded(tree: xr.DataTree) -> xr.DataTree:
    """Return the part of a sweep that `outcomes` and `numbers` look at, in memory: of all patients, no single study."""
    nodes = {"/": tree.to_dataset(), "/scenarios": tree["scenarios"].to_dataset()}
    for name in (TARGETS, ESTIMATES, DECISIONS):
        if name in tree.children:
            node = tree[name].to_dataset()
            nodes[f"/{name}"] = node[[key for key, each in node.data_vars.items() if "replicate" not in each.dims]]
    node = tree[STATISTICS].to_dataset()
    wanted = {each.value for each in _statistics(node)} | {variable(node, "n_patients")}
    kept = [key for key in node.data_vars if str(key).removesuffix(ERROR) in wanted]
    nodes[f"/{STATISTICS}"] = node[kept].isel(group=slice(0, 1))
    made = xr.DataTree.from_dict({path: node.load() for path, node in nodes.items()})
    made.attrs = dict(tree.attrs)
    return made


def difference(
    made: xr.DataTree, of: ShownOutcome, what: str = "difference"
) -> tuple[xr.DataArray, xr.DataArray] | None:
    """Return a column of a contrast with its Monte-Carlo error, in shown units; None where contrasts have none.

    ``what``: ``difference`` or ``ratio``.
    """
    if of.node not in made.children:
        return None
    node = made[of.node].to_dataset()
    name = what if of.paired else f"{of.value}_{what}"
    if name not in node:
        return None
    scale = of.scale if what == "difference" else 1.0
    gap, error = (node[each].isel(of.at, drop=True) for each in (name, f"{name}{ERROR}"))
    return gap * scale, error * scale
