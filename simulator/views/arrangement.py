"""Which swept key stands where in figures of a sweep, and what is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import xarray as xr

from simulator.errors import ConfigError, unknown
from simulator.sweep.scenarios import DRAW, SAMPLED, SweptDimension, drawn, part, reference, swept

MOST_POINTS, MOST_LINES, MOST_FACETS, MOST_CELLS, MOST_DOTS = 60, 6, 4, 16, 400
"""Labels along an axis, lines, facets, labels along each side of a heat map, and points of a scatter that are shown."""


@dataclass(frozen=True)
class Arrangement:
    """Roles of the swept dimensions; empty where there is none."""

    x: str
    by: str = ""
    facets: str = ""
    held: Mapping[str, Any] = field(default_factory=dict)  # label at which each other dimension is held
    shape: str = "lines"  # or "cells" of a heat map, or "points" of a sampled design

    @property
    def most(self) -> dict[str, int]:
        """How many labels of each dimension are shown."""
        along = {"lines": MOST_POINTS, "cells": MOST_CELLS, "points": MOST_DOTS}[self.shape]
        found = {self.x: along, self.by: MOST_CELLS if self.shape == "cells" else MOST_LINES, self.facets: MOST_FACETS}
        return {name: number for name, number in found.items() if name}


def arranged(tree: xr.DataTree, against: Mapping[str, Any] | None = None) -> Arrangement:
    """Return where each swept dimension stands: draws or the longest along x, shorter ones by line and by facet.

    What is left is held at the reference (`scenarios.reference`, of which ``against`` is).
    """
    at = reference(tree, against)
    grid = sorted((each for each in swept(tree) if not each.sampled), key=_longest_number_first)
    names = [each.name for each in grid]
    sizes = {each.name: len(each.labels) for each in grid}
    names = [name for name in names if sizes[name] > 1] or names
    if SAMPLED in at:
        first, shape, rest = SAMPLED, "points", list(reversed(names))  # the fewest labels by colour
    elif names:
        first, shape, rest = names[0], "lines", names[1:]
    else:
        return Arrangement(DRAW, shape="points")
    by, facets = [*rest, "", ""][:2]
    if shape == "lines" and by and sizes[by] > MOST_LINES:
        shape = "cells"
    roles = {first, by, facets}
    return Arrangement(first, by, facets, {name: label for name, label in at.items() if name not in roles}, shape)


def shown(tree: xr.DataTree, arrangement: Arrangement, keep: Mapping[str, Any] | None = None) -> xr.DataTree:
    """Return the part of a sweep that figures show: what is held is held, long dimensions are thinned (`part`)."""
    return part(tree, arrangement.held, most=arrangement.most, keep=keep)


def asked(
    tree: xr.DataTree, *, x: str | None, by: str | None, at: Mapping[str, Any] | None, most: Mapping[str, int]
) -> tuple[xr.DataTree, str, str]:
    """Return the part of a sweep for one figure and its two dimensions: as asked for, else as `arranged` has them.

    ``x`` may be a coordinate of a sampled design. Raises ConfigError on a name or label that is not swept.
    """
    usual, sampled = arranged(tree, at), drawn(tree)
    known = [each.name for each in swept(tree)]
    given = {key: name for key, name in (("x", x), ("by", by)) if name}
    listed = [*known, *sampled]
    problems = [unknown(key, name, listed, what="swept key") for key, name in given.items() if name not in listed]
    if problems:
        raise ConfigError(problems)
    free = [name for name in (usual.x, usual.by, usual.facets) if name and name not in (at or {})] or [usual.x]
    along = SAMPLED if x in sampled else x or free[0]
    other = by if by is not None else next((name for name in free if name != along), "")
    fixed = {name: label for name, label in reference(tree, at).items() if name not in (along, other)}
    counts = {along: most.get("x", MOST_POINTS)} | ({other: most.get("by", MOST_LINES)} if other else {})
    return part(tree, fixed, most=counts, keep=at), along, other


def _longest_number_first(each: SweptDimension) -> tuple[int, bool]:
    return -len(each.labels), not each.numeric
