"""What a calibration found of each number: before and after the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from simulator.results.assumptions import grounds_of
from simulator.units import any_number
from simulator.views.figures.style import (
    ASSUMED,
    INK,
    MUTED,
    OKABE_ITO,
    assumed_patch,
    axes,
    figure_of,
    literal,
    nothing,
    of_a_run,
)  # fmt: skip

_POSTERIOR = OKABE_ITO[0]
_LONGEST = 46  # letters of a label
_WIDEST = 4.0  # widths of the prior to either side; an interval further out is cut off there


@dataclass(frozen=True)
class CalibratedRow:
    """A number with a prior, in its own unit (days or per day): central 95 % before and after the data.

    ``contraction``: see `samplers.summary.Row`. ``informed``: whether it counts as calibrated; if not, its point
    value is that of the prior. ``value``: the point value, NaN where there are several. Ends that a file has not: NaN.
    """

    path: str
    value: float
    before: tuple[float, float]
    after: tuple[float, float]
    contraction: float
    informed: bool


def calibrated_rows(tree: xr.DataTree) -> list[CalibratedRow]:
    """Return the parameters of a run that are calibrated, or whose record says what they were before the data.

    Raises
    ------
    ConfigError
        If the tree is a sweep.
    """
    rows = []
    for path, leaf in grounds_of(of_a_run(tree)).declared.items():
        informed = leaf.get("provenance") == "calibrated"
        if informed or (leaf.get("prior") and leaf.get("contraction") is not None):
            value, contraction = any_number(leaf.get("value")), any_number(leaf.get("contraction"))
            rows.append(
                CalibratedRow(path, value, _ends(leaf.get("prior")), _ends(leaf.get("interval")), contraction, informed)
            )
    return rows


def calibrated(tree: xr.DataTree, ax: Axes | None = None, *, most: int | None = None) -> Figure:
    """Draw the central 95 % of each calibrated number before and after the data, on the scale of what it was before.

    0 and 100 % are the ends of the prior interval; a number of which a file says no prior is not drawn. What no target
    informs is hatched. ``most``: no more numbers than this are drawn.

    Raises
    ------
    ConfigError
        If the tree is a sweep.
    """
    rows = [row for row in calibrated_rows(tree) if can_be_drawn(row)][:most]
    n = max(len(rows), 1)
    ax = axes(ax, 7.0, 1.4 + 0.24 * n)
    if not rows:
        nothing(ax, "no number is known before and after data")
        return figure_of(ax)
    for y, row in enumerate(rows):
        ax.barh(y, 100, height=0.62, color=MUTED, alpha=0.25, linewidth=0)
        low, high = (_place(row, end) for end in row.after)
        colour = _POSTERIOR if row.informed else MUTED
        ax.barh(y, high - low, left=low, height=0.3, color=colour, alpha=0.75, linewidth=0)
        if not row.informed:
            ax.barh(y, 100, height=0.62, facecolor="none", edgecolor=MUTED, hatch=ASSUMED, linewidth=0)
        if math.isfinite(row.value):
            ax.plot(_place(row, row.value), y, "o", color=INK, markersize=3.5)
    ax.set_yticks(np.arange(n), [literal(_shortened(row.path)) for row in rows], fontsize="small")
    ax.set_ylim(n - 0.5, -0.5)
    ax.set_xlabel("Place within the prior interval (%)")
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    handles: list[Any] = [
        Patch(color=MUTED, alpha=0.25, linewidth=0, label="prior"),
        Patch(color=_POSTERIOR, alpha=0.75, linewidth=0, label="posterior"),
        Line2D([], [], linestyle="none", marker="o", color=INK, markersize=3.5, label="point value"),
    ]
    if not all(row.informed for row in rows):
        handles.append(assumed_patch("hardly or not informed"))
    ax.legend(handles=handles, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, frameon=False, fontsize="small")
    return figure_of(ax)


def can_be_drawn(row: CalibratedRow) -> bool:
    """Whether a row has a prior of some width, and an interval."""
    return row.before[0] < row.before[1] and row.after[0] <= row.after[1]


def _ends(declared: Any) -> tuple[float, float]:
    return (any_number(declared[0]), any_number(declared[1])) if declared else (math.nan, math.nan)


def _place(row: CalibratedRow, value: float) -> float:
    lower, upper = row.before
    return 100.0 * min(max((value - lower) / (upper - lower), -_WIDEST), 1.0 + _WIDEST)


def _shortened(path: str) -> str:
    """Return a path with its last words, in which long ones differ."""
    return path if len(path) <= _LONGEST else f"…{path[1 - _LONGEST :]}"
