"""Many runs as one labelled set of arrays: swept dimensions first, the union of each run's coordinates after them.

The layout follows from what is declared alone, so that it is known before anything is simulated and whoever writes a
part of the arrays writes the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

Array = NDArray[Any]
Region = tuple[slice, ...]

VOCABULARY = frozenset(
    "scenario replicate arm patient group term time landmark target visit event state quantile history obs "
    "trajectory name printed unit stored_unit population estimator variable analysis_set provenance role scale "
    "decimals half_width looks_until looks_at reported simulated median lower upper percentile overrides assumed "
    "estimate of_group against_group decision rule of_target interval_method interval_level decision_threshold".split()
)
"""Names that dimensions, coordinates and variables of the results have: a swept key with one of them keeps its path."""

BLOCK_SCENARIOS = 128
BLOCK_PATIENTS = 1_000_000
BLOCK_BYTES = 2**26
FEWEST_BLOCKS = 16
"""What a block may hold at most: more cost less each, fewer lose less to a kill."""
_RAGGED = {"patient", "history"}
"""Dimensions of the histories of sample patients, which only a single run keeps."""


@dataclass(frozen=True, eq=False)
class LabelledAxis:
    """A swept dimension: its size, and its coordinates (all along it) with their attributes."""

    name: str
    size: int
    coordinates: Mapping[str, tuple[Array, Mapping[str, Any]]]


@dataclass(frozen=True, eq=False)
class ScenarioKind:
    """What scenarios of one kind bring: their nodes, with the full extent of every coordinate. Values are not used."""

    nodes: Mapping[str, xr.Dataset]
    extents: Mapping[str, Array]  # coordinates that one short run does not show in full


@dataclass(frozen=True, eq=False)
class Coordinate:
    """A coordinate as stored: whole, known beforehand."""

    dims: tuple[str, ...]
    values: Array
    attrs: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Field:
    """A variable that scenarios fill: its dimensions after the swept ones."""

    name: str
    source: str  # its name in a single run
    dims: tuple[str, ...]
    attrs: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Node:
    """One node of the tree."""

    coordinates: Mapping[str, Coordinate]
    fields: tuple[Field, ...]
    attrs: Mapping[str, Any]

    @cached_property
    def places(self) -> dict[str, dict[Any, int]]:
        """Where each label of an index stands."""
        return {
            name: {label: place for place, label in enumerate(coordinate.values.tolist())}
            for name, coordinate in self.coordinates.items()
            if coordinate.dims == (name,)
        }

    def shape(self, field: Field) -> tuple[int, ...]:
        """Sizes of a variable's own dimensions."""
        return tuple(self.coordinates[dim].values.size for dim in field.dims)


def place_of(index: int, shape: Sequence[int]) -> tuple[int, ...]:
    """Return the place on each axis of a scenario by its number, the last axis fastest; no product is too large."""
    places = []
    for size in reversed(shape):
        index, place = divmod(index, size)
        places.append(place)
    return tuple(reversed(places))


@dataclass(frozen=True)
class Blocks:
    """Scenarios on a grid, the last axis fastest, cut into blocks that are committed whole."""

    shape: tuple[int, ...]  # points of each axis
    block: tuple[int, ...]  # points of each axis in one block

    def __len__(self) -> int:
        return math.prod(self.grid)

    @property
    def grid(self) -> tuple[int, ...]:
        """Blocks along each axis."""
        return tuple(-(-size // points) for size, points in zip(self.shape, self.block, strict=True))

    def region(self, number: int) -> Region:
        """Return the points of a block on each axis."""
        places = np.unravel_index(number, self.grid)
        return tuple(
            slice(int(place) * points, min((int(place) + 1) * points, size))
            for place, points, size in zip(places, self.block, self.shape, strict=True)
        )

    def scenarios(self, number: int) -> list[int]:
        """Return the scenarios of a block, in order."""
        places = np.meshgrid(*(np.arange(cut.start, cut.stop) for cut in self.region(number)), indexing="ij")
        return [int(index) for index in np.ravel_multi_index([each.ravel() for each in places], self.shape)]

    def index(self, place: tuple[int, ...]) -> int:
        """Return the number of the scenario at a place."""
        return int(np.ravel_multi_index(place, self.shape))

    def place(self, index: int) -> tuple[int, ...]:
        """Return the place of a scenario on each axis."""
        return place_of(index, self.shape)

    def number(self, place: tuple[int, ...]) -> int:
        """Return the block in which a place lies."""
        return int(
            np.ravel_multi_index([at // points for at, points in zip(place, self.block, strict=True)], self.grid)
        )


@dataclass(frozen=True, eq=False)
class Layout:
    """Everything about the arrays of a sweep but what is in them."""

    axes: tuple[LabelledAxis, ...]
    nodes: Mapping[str, Node]
    notes: Mapping[str, Coordinate]  # what is known of each scenario beforehand
    attrs: Mapping[str, Any]
    block: tuple[int, ...]  # points of each axis in one block

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the swept dimensions."""
        return tuple(axis.name for axis in self.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Points of each axis."""
        return tuple(axis.size for axis in self.axes)

    @property
    def blocks(self) -> Blocks:
        """How the scenarios are cut."""
        return Blocks(self.shape, self.block)

    @property
    def bare(self) -> Layout:
        """What filling a block needs: indices, and no description of anything."""
        nodes = {}
        for name, node in self.nodes.items():
            indices = {key: each for key, each in node.coordinates.items() if each.dims == (key,)}
            nodes[name] = replace(node, coordinates=indices)
        axes = tuple(replace(axis, coordinates={}) for axis in self.axes)
        return replace(self, axes=axes, nodes=nodes, notes={}, attrs={})

    @property
    def n_bytes(self) -> int:
        """Bytes of all arrays, before compression."""
        return math.prod(self.shape) * sum(
            8 * math.prod(node.shape(field)) for node in self.nodes.values() for field in node.fields
        )

    def filled(self, block: int, runs: Sequence[Mapping[str, xr.Dataset] | None]) -> Iterator[tuple[str, Field, Array]]:
        """Yield each variable of a block with the values of its scenarios in their places; None leaves NaN."""
        extent = tuple(cut.stop - cut.start for cut in self.blocks.region(block))
        for name, node in self.nodes.items():
            # Variables, not arrays with coordinates: xarray makes those anew whenever they are asked for.
            brought = [(number, run[name].variables) for number, run in enumerate(runs) if run is not None]
            places = [_places(node, variables) for _, variables in brought]
            for field in node.fields:
                values = np.full((len(runs), *node.shape(field)), np.nan)
                for (number, variables), where in zip(brought, places, strict=True):
                    if field.source in variables:
                        _place(values[number, ...], variables[field.source].values, [where[dim] for dim in field.dims])
                yield name, field, values.reshape(*extent, *node.shape(field))


def _places(node: Node, variables: Mapping[Any, xr.Variable]) -> dict[str, list[int]]:
    """Where each label of a run stands in the union of all, by dimension."""
    return {
        dim: [there[label] for label in variables[dim].values.tolist()]
        for dim, there in node.places.items()
        if dim in variables
    }


def _place(into: Array, values: Array, places: Sequence[list[int]]) -> None:
    into[np.ix_(*places) if places else ...] = values


def layout_of(
    axes: Sequence[LabelledAxis],
    kinds: Sequence[ScenarioKind],
    kind_of: Array,
    *,
    notes: Mapping[str, tuple[Array, Mapping[str, Any]]],
    attrs: Mapping[str, Any],
    patients: int,
) -> Layout:
    """Return the layout of scenarios whose kinds are given by number, in the shape of the axes.

    ``notes`` has that shape too. ``patients`` is the number of patients that a scenario simulates at most; it decides
    how large a block is.
    """
    taken = {name for axis in axes for name in axis.coordinates}
    names = dict.fromkeys(name for kind in kinds for name in kind.nodes)
    nodes = {name: _node(name, axes, kinds, kind_of, taken) for name in names}
    largest = (
        max((8 * math.prod(node.shape(field)) for node in nodes.values() for field in node.fields), default=8) or 8
    )
    n = math.prod(axis.size for axis in axes)
    bounds = (BLOCK_SCENARIOS, -(-n // FEWEST_BLOCKS), BLOCK_PATIENTS // max(patients, 1), BLOCK_BYTES // largest)
    most = max(1, min(bounds))
    dims = tuple(axis.name for axis in axes)
    known_at = {name: Coordinate(dims, values, about) for name, (values, about) in notes.items()}
    return Layout(tuple(axes), nodes, known_at, attrs, _block([axis.size for axis in axes], most))


def _block(shape: Sequence[int], most: int) -> tuple[int, ...]:
    """Points of each axis in a block of about ``most`` scenarios: whole axes from the last one on."""
    block = []
    for size in reversed(shape):
        block.append(min(size, most))
        most //= block[-1]
        most = max(most, 1) if block[-1] == size else 1
    return tuple(reversed(block))


def _node(
    name: str, axes: Sequence[LabelledAxis], kinds: Sequence[ScenarioKind], kind_of: Array, taken: set[str]
) -> Node:
    present = {number: kind.nodes[name] for number, kind in enumerate(kinds) if name in kind.nodes}
    extents = {number: kinds[number].extents for number in present}
    first: dict[str, xr.Variable] = {}
    for dataset in present.values():
        for named in dataset.variables:
            first.setdefault(str(named), dataset[named].variable)
    kept = {key: variable for key, variable in first.items() if not _RAGGED & set(variable.dims)}
    coordinates: dict[str, Coordinate] = {}
    for key, variable in kept.items():
        if variable.dims == (key,):
            labels = [extents[n].get(key, each[key].values) for n, each in present.items() if key in each.variables]
            coordinates[key] = Coordinate((key,), _union(labels), variable.attrs)
    for key, variable in kept.items():
        if key not in coordinates and all(key in each.coords for each in present.values() if key in each.variables):
            index = coordinates[str(variable.dims[0])]
            coordinates[key] = _described(key, variable.attrs, index, present, axes, kind_of)
    fields = tuple(
        Field(f"simulated_{key}" if key in taken else key, key, tuple(map(str, variable.dims)), _common(key, present))
        for key, variable in kept.items()
        if key not in coordinates
    )
    attrs = _agreed([dataset.attrs for dataset in present.values()])
    return Node(coordinates, fields, attrs)


def _union(labels: Sequence[Array]) -> Array:
    """All labels: numbers ascending, names in the order in which they first appear."""
    if labels[0].dtype.kind in "iuf":
        return np.unique(np.concatenate(labels))
    return np.array(list(dict.fromkeys(name for each in labels for name in each.tolist())), dtype=object)


def _described(
    key: str,
    attrs: Mapping[str, Any],
    index: Coordinate,
    present: Mapping[int, xr.Dataset],
    axes: Sequence[LabelledAxis],
    kind_of: Array,
) -> Coordinate:
    """A coordinate beside an index: along it alone where all scenarios agree, else along the swept dimensions too."""
    dim = index.dims[0]
    place = {label: number for number, label in enumerate(index.values.tolist())}
    text = next(iter(present.values()))[key].dtype == object
    rows = {}
    for number, dataset in present.items():
        row = np.full(index.values.size, "", dtype=object) if text else np.full(index.values.size, np.nan)
        row[[place[label] for label in dataset[dim].values.tolist()]] = dataset[key].values
        rows[number] = row
    known_at = {
        number: np.isin(index.values.astype(object), present[number][dim].values.astype(object)) for number in rows
    }
    whole = next(iter(rows.values())).copy()
    known = next(iter(known_at.values())).copy()
    agree = True
    for number, row in rows.items():
        both = known & known_at[number]
        same = [a == b or (a != a and b != b) for a, b in zip(whole[both], row[both], strict=True)]
        agree = agree and all(same)
        whole[known_at[number]] = row[known_at[number]]
        known |= known_at[number]
    if agree:
        return Coordinate((dim,), whole, attrs)
    blank = np.full(index.values.size, "", dtype=object) if text else np.full(index.values.size, np.nan)
    every = np.stack([rows.get(number, blank) for number in range(int(kind_of.max()) + 1)])[kind_of]
    return Coordinate((*(axis.name for axis in axes), dim), every, attrs)


def _common(key: str, present: Mapping[int, xr.Dataset]) -> dict[str, Any]:
    return _agreed([dataset[key].attrs for dataset in present.values() if key in dataset.variables])


def _agreed(attrs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Attributes of all; one that differs says every meaning that it has."""
    keys = dict.fromkeys(key for each in attrs for key in each)
    return {
        str(key): " | ".join(dict.fromkeys(str(each[key]) for each in attrs if each.get(key)))
        if len({str(each.get(key)) for each in attrs}) > 1
        else attrs[0][key]
        for key in keys
    }
