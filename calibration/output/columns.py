"""Nodes of a tree of results, column by column: what a table says of its rows, as variables with long names and units.

The rows of a table are objects of one kind: one for each parameter, target, reading, block or simulated paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.samplers.summary import LEVELS, CredibleInterval

ENDS = dict(zip(("lower", "median", "upper"), LEVELS, strict=True))
"""Ends and middle of a credible interval, by name: the share of draws below each."""

Variable = tuple[tuple[str, ...], Any, str, str]
"""Dimensions, values, long name and units."""


class RowValue(NamedTuple):
    """One variable of a table.

    ``of``: attribute of a row, dots allowed, or a function of it; what is None anywhere on that path is NaN.
    ``across``: the variable's second dimension, where a row has a sequence.
    """

    of: str | Callable[[Any], Any]
    long_name: str
    units: str = "1"
    across: str = ""

    def value(self, row: Any) -> Any:
        """Return what it says of a row."""
        if not isinstance(self.of, str):
            return self.of(row)
        for step in self.of.split("."):
            row = None if row is None else getattr(row, step)
        return math.nan if row is None else row


def interval(name: str, of: str, said: str) -> dict[str, RowValue]:
    """Return the columns of a `CredibleInterval`, the attribute ``of`` of a row: ``<name>_lower`` and so on."""
    return {
        f"{name}_{end}": RowValue(f"{of}.{end}", f"{100 * level:g} % quantile of {said}", "see unit")
        for end, level in ENDS.items()
    }


def variables(dimension: str, rows: Sequence[Any], columns: Mapping[str, RowValue]) -> dict[str, Variable]:
    """Return the variables of a table whose rows lie along a dimension."""
    return {
        name: ((dimension, c.across) if c.across else (dimension,), [*map(c.value, rows)], c.long_name, c.units)
        for name, c in columns.items()
    }


def described(
    variables: Mapping[str, Variable], **coordinates: tuple[Sequence[Any] | NDArray[Any], str, str]
) -> xr.Dataset:
    """Return variables with coordinates, each of values, long name and units."""
    data, coords = (
        {name: (of, array(values), {"long_name": said, "units": unit}) for name, (of, values, said, unit) in some}
        for some in (variables.items(), ((name, ((name,), *given)) for name, given in coordinates.items()))
    )
    return xr.Dataset(data, coords=coords)


def array(values: Sequence[Any] | NDArray[Any]) -> NDArray[Any]:
    """Return an array; of texts one of objects."""
    found = np.asarray(values)
    return found.astype(object) if found.dtype.kind in "UT" else found


# --------------------------------------------------------------------------------------------------------- of a report


def aligned(lines: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yield columns as wide as they must be, the first to the left, a rule beneath the head."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for number, (name, *others) in enumerate(lines):
        yield "  ".join([name.ljust(widths[0]), *(o.rjust(w) for o, w in zip(others, widths[1:], strict=True))])
        if number == 0:
            yield "─" * (sum(widths) + 2 * (len(widths) - 1))


def shown(interval: CredibleInterval) -> str:
    """Return median and central 95 %."""
    return f"{figure(interval.median)} ({figure(interval.lower)}–{figure(interval.upper)})"


def figure(value: float) -> str:
    """Three significant digits: the third is about the Monte-Carlo error of an effective size of some thousands."""
    if value == 0.0 or not math.isfinite(value):
        return f"{value:g}"
    if not 1e-3 <= abs(value) < 1e5:
        return f"{value:.3g}"
    places = max(2 - math.floor(math.log10(abs(value))), 0)
    return f"{value:.{min(places, 4)}f}"
