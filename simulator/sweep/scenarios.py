"""What was swept, and single scenarios of a sweep.

A place is the number of a label along each swept dimension. What is taken from a sweep is taken before it is read, so
that a part of a large store costs no more than the part.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import xarray as xr

from simulator.errors import ConfigError, Problem, unknown
from simulator.sweep.layout import Blocks, place_of
from simulator.sweep.tree import FAILED as FAILURES
from simulator.sweep.tree import UNFINISHED
from simulator.units import any_number, read_in

SWEEP, RECORDS, SAMPLED, DRAW, COHORT = "sweep", "records", "scenario", "draw", "cohort"
"""Attributes with the overrides of a sweep and the records of scenarios; names of dimensions with a meaning."""

MOST_RECORDS = 16
"""Sets of group choices whose first scenario is recorded in full."""

FINISHED, FAILED, MISSING = "finished", "failed", "not finished yet"
_CONFIG = ("config", "evidence", "parameters")


@dataclass(frozen=True, eq=False)
class SweptDimension:
    """A swept dimension: its labels in order, and the keys that stand behind it."""

    name: str
    keys: tuple[str, ...]
    labels: tuple[Any, ...]
    units: str

    @property
    def sampled(self) -> bool:
        """Whether its points are draws: of intervals, or of a posterior."""
        return self.name in (SAMPLED, DRAW)

    @property
    def numeric(self) -> bool:
        """Whether its labels are numbers."""
        return all(isinstance(label, int | float) for label in self.labels)

    @property
    def key(self) -> str:
        """The swept key, several joined."""
        return ", ".join(self.keys)


def is_sweep(tree: xr.DataTree) -> bool:
    """Whether a tree is that of a sweep, with the overrides of every scenario."""
    return SWEEP in tree.root.attrs and "scenarios" in tree.children and bool(tree.root.sizes)


def swept(tree: xr.DataTree) -> tuple[SweptDimension, ...]:
    """Return the swept dimensions in order. Raises ConfigError if the tree is not that of a sweep."""
    if not is_sweep(tree):
        raise ConfigError(Problem("results", tree.name or "DataTree", "must be those of a sweep"))
    described = {axis["dimension"]: axis["keys"] for axis in _read(tree.root.attrs[SWEEP]).get("axes", [])}
    root = tree.to_dataset()
    made = []
    for name in map(str, tree["scenarios"]["overrides"].dims):
        labels = root[name].values.tolist() if name in root.coords else list(range(root.sizes[name]))
        units = str(root[name].attrs.get("units", "")) if name in root.coords else ""
        keys = tuple(map(str, described.get(name, (name,))))
        made.append(SweptDimension(name, keys, tuple(labels), "" if units == "1" else units))
    return tuple(made)


def drawn(tree: xr.DataTree) -> tuple[str, ...]:
    """Return the coordinates of a sampled design: what was drawn, by name; empty where nothing was."""
    root = tree.to_dataset()
    return tuple(str(name) for name, each in root.coords.items() if each.dims == (SAMPLED,) and name != SAMPLED)


def reference(tree: xr.DataTree, against: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return labels of the scenario that others are held against, for every swept dimension.

    That of ``against`` where it names one; else the value that the files have, if it is among the labels; else the
    first label.

    Raises
    ------
    ConfigError
        If ``against`` names what is not swept, or no label.
    """
    given, known = dict(against or {}), swept(tree)
    problems = [unknown("at", str(name), [each.name for each in known], what="swept dimension")
                for name in given if name not in {each.name for each in known}]  # fmt: skip
    config: Any = next(iter(_read(tree.root.attrs.get("configurations", "{}")).values()), {})
    found = {}
    for each in known:
        if each.name in given:
            label = label_of(given[each.name], each.labels, each.units)
            if label not in each.labels:
                listed = ", ".join(map(str, each.labels[:20]))
                problems.append(Problem(f"at.{each.name}", given[each.name], f"must be one of {listed}"))
            found[each.name] = label
        else:
            said = _declared(config, each.key)
            same = (label for label in each.labels if said is not None and _means(label, said, each.units))
            found[each.name] = next(same, each.labels[0])
    if problems:
        raise ConfigError(problems)
    return found


def share_caused(tree: xr.DataTree) -> str:
    """Return the swept dimension of `response_effect`, the share that response causes; empty if it is not swept."""
    keys = set()
    for config in _read(tree.root.attrs.get("configurations", "{}")).values():
        for name, event in ((config.get("model") or {}).get("events") or {}).items():
            hazard = event.get("hazard") or {}
            if hazard.get("solved_for"):
                keys |= {hazard.get("response_effect"), f"model.events.{name}.hazard.response_effect"}
    return next((each.name for each in swept(tree) if each.key in keys), "")


@lru_cache(maxsize=8)
def _read(text: str) -> Any:
    """An attribute in JSON, read once; never changed."""
    return json.loads(text)


def _declared(config: Any, key: str) -> Any:
    """Value of a key as the files have it; None if it is not there."""
    for step in key.split("."):
        config = config.get(step) if isinstance(config, Mapping) else None
    return config.get("value") if isinstance(config, Mapping) else config


def label_of(given: Any, labels: Sequence[Any], unit: str) -> Any:
    """Return the label that is meant: ``'3 wk'`` is 21 among numbers of days. What means none is returned as it is."""
    if given in labels:
        return labels[labels.index(given)]
    if not isinstance(given, str) or not all(isinstance(label, int | float) for label in labels):
        return given
    with suppress(ValueError):
        return next((label for label in labels if _close(label, read_in(unit, given))), given)
    return given


def _means(label: Any, said: Any, units: str) -> bool:
    """Whether a label is what a file says: the same number, perhaps with a unit, or the same word."""
    if isinstance(label, int | float):
        with suppress(ValueError):
            return _close(label, read_in(units, said))
    return str(label) == str(said) or _close(any_number(label), any_number(said))


def _close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-9)


def part(
    tree: xr.DataTree,
    labels: Mapping[str, Any],
    *,
    most: Mapping[str, int] | None = None,
    keep: Mapping[str, Any] | None = None,
) -> xr.DataTree:
    """Return the part of a sweep with these labels, whose dimensions go; nothing is read.

    ``most``: how many labels to leave of other dimensions, evenly spaced, that of `reference` among them, of which
    ``keep`` is.
    """
    known = {each.name: each for each in swept(tree)}
    where: dict[str, Any] = {name: known[name].labels.index(label) for name, label in labels.items()}
    kept = reference(tree, keep)
    for name, number in (most or {}).items():
        if name not in where and len(known[name].labels) > number:
            where[name] = thinned(len(known[name].labels), number, keep=known[name].labels.index(kept[name]))
    return _cut(tree, where)


def _cut(tree: xr.DataTree, where: Mapping[str, Any]) -> xr.DataTree:
    nodes = {node.path: node.to_dataset(inherit=False) for node in tree.subtree}
    cut = {
        path: node.isel({name: at for name, at in where.items() if name in node.dims}, drop=True)
        for path, node in nodes.items()
    }
    return xr.DataTree.from_dict(cut)


def thinned(n: int, most: int, *, keep: int | None = None) -> list[int]:
    """Return places of at most so many of n labels: evenly spaced, the first and the last, and the one to keep."""
    if n <= most:
        return list(range(n))
    places = {round(at) for at in np.linspace(0, n - 1, max(most, 2))}
    if keep is not None and keep not in places:
        places -= {min(places - {0, n - 1} or places, key=lambda at: abs(at - keep))}
        places |= {keep}
    return sorted(places)


def one(tree: xr.DataTree, labels: Mapping[str, Any]) -> xr.DataTree:
    """Return one scenario as a tree like a single run's, without single studies and what is of other scenarios only.

    Its record is that of the first scenario with the same group choices, with the overrides of this one: what
    events rest on follows from it. A store without records gives a tree that has none.
    """
    known = swept(tree)
    places = {each.name: each.labels.index(labels[each.name]) for each in known}
    cut = _cut(tree, places)
    nodes = {
        node.path: node.to_dataset().drop_dims("replicate", errors="ignore").load()
        for node in cut.subtree if node.path not in ("/", "/scenarios")
    }  # fmt: skip
    for path, of in (("/targets", "target"), ("/statistics", "group"), ("/estimates", "estimate")):
        if path in nodes and of in nodes[path].dims:
            nodes[path] = nodes[path].isel({of: _present(nodes[path], of)})
    nodes["/statistics"] = nodes["/statistics"].isel(time=_present(nodes["/statistics"], "time"))
    made = xr.DataTree.from_dict(nodes)
    made.attrs = record_at(tree, places) | {"overrides": str(cut["scenarios"]["overrides"].item())}
    return made


def _present(node: xr.Dataset, dim: str) -> list[int]:
    """Places of a dimension at which some number of the node is known."""
    known = np.zeros(node.sizes[dim], dtype=bool)
    for each in node.data_vars.values():
        if dim in each.dims and each.dtype.kind == "f":
            others = tuple(axis for axis, name in enumerate(each.dims) if name != dim)
            known |= ~np.isnan(each.values).all(axis=others)
    return np.flatnonzero(known).tolist()


def record_at(tree: xr.DataTree, places: Mapping[str, int]) -> dict[str, Any]:
    """Return the record of the first scenario that has the group choices of a place; empty if none is kept."""
    for each in _read(tree.root.attrs.get(RECORDS, "[]")):
        if all(places.get(name) == at for name, at in each["at"].items()):
            record: dict[str, Any] = dict(each["record"])
            return record | {name: json.dumps(record[name], ensure_ascii=False) for name in _CONFIG if name in record}
    return {}


def records(kept: Iterable[tuple[Mapping[str, int], Mapping[str, Any]]]) -> str:
    """Return records of scenarios, each with the places that it stands for, as one attribute of a sweep."""
    listed = [
        {"at": dict(at), "record": {**record, **{name: json.loads(record[name]) for name in _CONFIG}}}
        for at, record in kept
    ]
    return json.dumps(listed, ensure_ascii=False, separators=(",", ":"))


def states(tree: xr.DataTree) -> xr.DataArray:
    """Return, for every scenario of an opened sweep, whether it is finished, has failed, or is not finished yet."""
    known = swept(tree)
    shape = tuple(len(each.labels) for each in known)
    state = np.full(shape, FINISHED, dtype=object)
    unfinished = json.loads(tree.root.attrs.get(UNFINISHED, "{}"))
    for number in unfinished.get("numbers", ()):
        state[Blocks(shape, tuple(unfinished["block"])).region(number)] = MISSING
    for index in failures(tree):
        state[place_of(index, shape)] = FAILED
    return xr.DataArray(state, dims=tuple(each.name for each in known))


def variable(node: xr.Dataset, name: str) -> str:
    """Return the name that a statistic has in a sweep, whose dimensions may have taken its own."""
    return name if name in node.data_vars else f"simulated_{name}"


def failures(tree: xr.DataTree) -> dict[int, str]:
    """Return what was said of each scenario that failed, by its number."""
    return {int(index): str(said) for index, said in json.loads(tree.root.attrs.get(FAILURES, "{}")).items()}


def overrides_of(tree: xr.DataTree, places: Sequence[int]) -> str:
    """Return the overrides that give the scenario at a place in a single run, one a line."""
    overrides: Any = tree["scenarios"].to_dataset()["overrides"].values
    return str(overrides[tuple(places)])
