"""Sweeps as xarray trees: opened lazily, with what is missing said."""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from simulator.errors import ConfigError, IncompleteWarning, Problem
from simulator.results.provenance import RESULTS_FORMAT, SOFTWARE
from simulator.sweep.layout import Blocks, Layout
from simulator.sweep.manifest import Manifest, manifest
from simulator.sweep.store import ARRAYS, EXTENDED, SCENARIOS, SUMMARY, Block, SweepStore, write
from simulator.text import csv_text, visible

COMPLETE, N_SCENARIOS, N_FINISHED, FAILED = "complete", "n_scenarios", "n_scenarios_finished", "failed"
UNFINISHED = "unfinished"
"""Attributes that an opened sweep has beside its record; the last two only where there is something to tell."""

_ROUNDED = 12
_QUANTILES = ("median", "lower", "upper", "median_standard_error")
_STUDIES = ("n_finite", "n_not_reached", "n_undefined")
_SHARES = ("share_not_reached", "share_undefined")
_COLUMNS = {
    "targets": ("target", "group", "name", "stored_unit", "reported", *_QUANTILES, "percentile", *_SHARES),
    "estimates": ("estimate", "of_group", "estimator", "stored_unit", "", *_QUANTILES, "", *_SHARES),
}
"""Nodes of which the summary has a row for each label of a dimension, the first; the others are variables, or empty."""
_MEDIAN = 5
_GROUPED = {"statistics": "group", "decisions": "decision"}
_ESTIMATES = ("rmst", "administrations_mean", "time_on_treatment", "decision_probability", "interval_width")
_ERROR = "_standard_error"


def open_sweep(folder: Path) -> xr.DataTree:
    """Open the store of a sweep. Numbers are read as they are used; text is loaded.

    What is not finished is NaN: then `IncompleteWarning` is given, and the attribute ``complete`` is 0. Every file is
    held against the manifest whenever it is read: one that is missing or not as it was written raises ConfigError where
    its numbers are asked for, naming the scenarios.

    Raises
    ------
    ConfigError
        If the folder holds no sweep of ours, or one of a newer version, or what says what is in it is damaged.
    """
    records = manifest(SweepStore(folder))
    tree = opened(records)
    blocks = records.blocks
    assert blocks is not None
    if tree.attrs.get("software") != SOFTWARE:
        raise _refused(folder, "must be results of Lobule: this Zarr store has no record of ours")
    if not 1 <= tree.attrs.get("results_format", 0) <= RESULTS_FORMAT:
        raise _refused(folder, f"must have format 1 to {RESULTS_FORMAT}; a newer Lobule may open it")
    n_scenarios, n_finished = int(np.prod(blocks.shape)), 0
    failed: dict[str, str] = {}
    committed = records.committed
    for number, block in committed.items():
        n_finished += len(blocks.scenarios(number)) - len(block.failed)
        failed |= block.failed
    tree.attrs |= {COMPLETE: int(n_finished == n_scenarios), N_SCENARIOS: n_scenarios, N_FINISHED: n_finished}
    if failed:
        tree.attrs[FAILED] = json.dumps(failed)
    if missing := sorted(set(range(len(blocks))) - committed.keys()):
        tree.attrs[UNFINISHED] = json.dumps({"block": list(blocks.block), "numbers": missing})
    if n_finished < n_scenarios:
        less = f"{folder}: {n_finished:,} of {n_scenarios:,} scenarios are finished; the others show NaN"
        warnings.warn(visible(less + (f"; {len(failed)} failed" if failed else "")), IncompleteWarning, stacklevel=3)
    return tree


def opened(records: Manifest) -> xr.DataTree:
    """Open the arrays that a manifest lists, of whose records none may be damaged."""
    from zarr.storage import LocalStore

    from simulator.sweep.proven_store import ProvenStore

    folder = records.folder
    extending = (folder / EXTENDED).exists()
    if not (folder / ARRAYS / "zarr.json").exists() and (extending or not records.listed):
        why = "is just being extended; try again, or give the command again" if extending else "holds no sweep"
        raise _refused(folder, why)
    records.refuse_damaged()
    if records.blocks is None:
        raise _refused(folder, "has no manifest, which says what is finished; give the sweep's command again")
    proven = ProvenStore(LocalStore(folder / ARRAYS, read_only=True), records)
    try:
        # xarray's types know paths alone; it hands Zarr what it is given
        lazy = xr.open_datatree(proven, engine="zarr", consolidated=False, chunks=None)  # type: ignore[arg-type]
        nodes = {node.path: _ordered(node.to_dataset(inherit=False)) for node in lazy.subtree}
    except ConfigError:
        raise
    except PermissionError as error:
        raise _refused(folder, "must be readable: permission denied") from error
    except Exception as error:  # whatever zarr and its codecs make of what somebody else wrote
        raise _refused(folder, "is damaged; give the sweep's command again, which mends it") from error
    overrides = nodes[f"/{SCENARIOS}"]["overrides"]
    records.overrides = [str(each) for each in overrides.values.ravel()]
    scenarios = overrides.dims  # the one place where the order of the dimensions stands
    ordered = [*scenarios, *(name for name in nodes["/"].coords if name not in scenarios)]
    return xr.DataTree.from_dict(nodes | {"/": nodes["/"][ordered]})


def _ordered(dataset: xr.Dataset) -> xr.Dataset:
    """Give a fixed order and text as objects; a listing of a folder has neither."""
    variables = {}
    for name in sorted(dataset.variables, key=str):
        variable = dataset.variables[name].to_base_variable()
        if variable.dtype.kind == "T" or variable.dtype == object:
            variable = xr.Variable(variable.dims, np.asarray(variable.values).astype(object), variable.attrs)
        variable.encoding = {}
        variables[name] = variable
    return xr.Dataset(variables, attrs=dataset.attrs).set_coords(list(dataset.coords))


class Finished:
    """The scenarios that a store has whole, for a larger sweep to take."""

    def __init__(self, folder: Path, names: tuple[str, ...]) -> None:
        self.store, self.names = SweepStore(folder), names
        shape = self.store.shape()
        self.blocks = None if shape is None else Blocks(*shape)
        self._tree: xr.DataTree | None = None
        self._block: tuple[int, dict[str, xr.Dataset] | None] = (-1, None)
        self._sums: tuple[int, dict[int, dict[str, Any]]] = (-1, {})

    @cached_property
    def _records(self) -> dict[int, Block]:
        return self.store.committed()

    def has(self, place: tuple[int, ...]) -> bool:
        """Whether the scenario at a place is said to be there; only `run` looks whether it is whole."""
        block = None if self.blocks is None else self._records.get(self.blocks.number(place))
        return block is not None and self.blocks is not None and str(self.blocks.index(place)) not in block.failed

    def run(self, place: tuple[int, ...], layout: Layout) -> Mapping[str, xr.Dataset] | None:
        """Return the nodes of the scenario at a place of this store, or None where it is not whole."""
        if self.blocks is None:
            return None
        number = self.blocks.number(place)
        if self._block[0] != number:
            self._block = number, self._loaded(number, layout)
        held = self._block[1]
        if held is None or str(self.blocks.index(place)) in self._failed:
            return None
        region = self.blocks.region(number)
        within = {name: at - cut.start for name, at, cut in zip(self.names, place, region, strict=True)}
        found = {}
        for name, dataset in held.items():
            sources = {each.name: each.source for each in layout.nodes[name].fields if each.name in dataset}
            found[name] = dataset.isel(within).rename(sources)
        return found

    def sums(self, place: tuple[int, ...]) -> dict[str, Any] | None:
        """Return the sums of the scenario at a place, or None where they are not kept."""
        if self.blocks is None:
            return None
        number = self.blocks.number(place)
        if self._sums[0] != number:
            self._sums = number, self.store.sums(number)
        return self._sums[1].get(self.blocks.index(place))

    def _loaded(self, number: int, layout: Layout) -> dict[str, xr.Dataset] | None:
        block = self.store.block(number)
        if block is None or self.blocks is None:
            return None
        self._failed = set(block.failed)
        if self._tree is None:
            self._tree = opened(manifest(self.store))
        cut = dict(zip(self.names, self.blocks.region(number), strict=True))
        held = {}
        for name, node in layout.nodes.items():
            if name in self._tree.children:
                dataset = self._tree.children[name].to_dataset(inherit=False).reset_coords(drop=True)
                held[name] = dataset[[each.name for each in node.fields if each.name in dataset]].isel(cut).load()
        return held


def write_summary(folder: Path, tree: xr.DataTree) -> None:
    """Write ``summary.csv``: a row for each scenario and target, decision, and mean of a group."""
    swept = [str(name) for name in tree.to_dataset().coords]
    header = (
        "quantity",
        "group",
        "name",
        "unit",
        "reported",
        "estimate",
        "lower",
        "upper",
        "standard_error",
        "percentile",
        *_SHARES,
    )
    write(folder / SUMMARY, csv_text(itertools.chain([[*swept, *header]], _rows(tree, swept))).encode())


def _rows(tree: xr.DataTree, swept: list[str]) -> Iterator[list[Any]]:
    """Yield the rows of each scenario, the last axis fastest; what shares a point of the first axis is read at once."""
    root = tree.to_dataset()
    first, *others = root.sizes
    nodes = {name: tree[name].to_dataset() for name in (*_COLUMNS, *_GROUPED) if name in tree.children}
    nodes = {name: node for name, node in nodes.items() if node.data_vars}
    for at in range(root.sizes[first]):
        labels = [_spread(root[name].isel({first: at}, missing_dims="ignore"), root, others) for name in swept]
        listed: list[list[Any]] = []
        estimates = []
        for name, node in nodes.items():
            if name in _COLUMNS:
                wanted = [each for each in (*_COLUMNS[name], *_STUDIES) if each in node]
                found, dim = _with_shares(node[wanted].isel({first: at}).load()), _COLUMNS[name][0]
                listed.append([_spread(found[c], root, others, dim) if c in found else "" for c in _COLUMNS[name]])
            else:
                found, dim = _with_errors(node).isel({first: at}).load(), _GROUPED[name]
                for each in (each for each in _ESTIMATES if each in found):
                    pair = (_spread(found[one], root, others, dim) for one in (each, f"{each}{_ERROR}"))
                    estimates.append((each, found[each].attrs, found[dim].values, *pair))
        for place in np.ndindex(*(root.sizes[name] for name in others)):
            here = [label[place].item() if isinstance(label[place], np.generic) else label[place] for label in labels]
            for columns in listed:
                for number in range(columns[0].shape[-1]):
                    row = [each if isinstance(each, str) else each[(*place, number)] for each in columns]
                    undefined = not isinstance(row[-1], str) and row[-1] > 0
                    if undefined or not np.isnan(row[_MEDIAN]):
                        yield [*here, *(each if isinstance(each, str) else _number(each) for each in row)]
            for name, about, rows, values, errors in estimates:
                for number, label in enumerate(rows):
                    value, error = values[(*place, number)], errors[(*place, number)]
                    if not np.isnan(value):
                        described = [name, label, about["long_name"], about["units"]]
                        yield [*here, *described, "", _number(value), "", "", _number(error), "", "", ""]


def _with_shares(node: xr.Dataset) -> xr.Dataset:
    """Return a node with the shares of studies in which a number was not reached or is undefined, if it counts them."""
    if not set(_STUDIES) <= set(node):
        return node
    total = sum(node[name] for name in _STUDIES)
    return node.assign({share: node[f"n_{share.removeprefix('share_')}"] / total for share in _SHARES})


def _with_errors(dataset: xr.Dataset) -> xr.Dataset:
    """Return those estimates of a node that the summary tells, with their errors."""
    return dataset[[each for name in _ESTIMATES if name in dataset for each in (name, f"{name}{_ERROR}")]]


def _spread(values: xr.DataArray, root: xr.Dataset, others: list[Any], *more: str) -> Any:
    """Return values over all of the other axes, and ``more`` dimensions after them."""
    missing = {name: root.sizes[name] for name in others if name not in values.dims}
    return values.expand_dims(missing).transpose(*others, *more).values


def _number(number: float) -> str:
    return "" if np.isnan(number) else f"{number:.{_ROUNDED}g}"


def _refused(path: Path, allowed: str) -> ConfigError:
    return ConfigError(Problem("results", str(path), allowed))
