"""What a calibration found of each number: before and after the data. Knows the record of a run."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from simulator import units
from simulator.results.assumptions import ASSUMPTION, grounds_of
from simulator.views.figures.style import ASSUMED, INK, MUTED, OKABE_ITO, assumed_patch, axes, figure_of, literal, short

_POSTERIOR = OKABE_ITO[0]
_WIDEST = 4.0  # widths of the prior to either side; an interval further out is cut off there


@dataclass(frozen=True)
class CalibratedRow:
    """A number with a prior, in its own unit (days or per day): central 95 % before and after the data.

    ``contraction``: see `calibration.summary.Row`. ``informed``: whether targets inform it; if not, ``after`` is the
    prior again. ``value``: what the run takes.
    """

    path: str
    value: float
    before: tuple[float, float]
    after: tuple[float, float]
    contraction: float
    informed: bool


def calibrated_rows(tree: xr.DataTree) -> list[CalibratedRow]:
    """Return the parameters of a run of which its record says what they were before and after the data."""
    rows = []
    for path, leaf in grounds_of(tree).declared.items():
        if not all(leaf.get(key) is not None for key in ("prior", "interval", "contraction")):
            continue
        before, after = ((_number(leaf[key][0]), _number(leaf[key][1])) for key in ("prior", "interval"))
        if before[0] < before[1] and all(map(math.isfinite, after)):
            informed = leaf.get("provenance", "assumed") not in ASSUMPTION
            rows.append(
                CalibratedRow(path, _number(leaf["value"]), before, after, float(leaf["contraction"]), informed)
            )
    return rows


def calibrated(tree: xr.DataTree, ax: Axes | None = None) -> Figure:
    """Draw the central 95 % of each calibrated number before and after the data, on the scale of what it was before.

    0 and 100 % are the ends of the prior interval. Numbers that no target informs keep their prior, hatched.
    """
    rows = calibrated_rows(tree)
    n = max(len(rows), 1)
    ax = axes(ax, 7.0, 1.4 + 0.24 * n)
    for y, row in enumerate(rows):
        ax.barh(y, 100, height=0.62, color=MUTED, alpha=0.25, linewidth=0)
        if row.informed:
            low, high = (_place(row, end) for end in row.after)
            ax.barh(y, high - low, left=low, height=0.3, color=_POSTERIOR, alpha=0.75, linewidth=0)
        else:
            ax.barh(y, 100, height=0.62, facecolor="none", edgecolor=MUTED, hatch=ASSUMED, linewidth=0)
        if math.isfinite(row.value):
            ax.plot(_place(row, row.value), y, "o", color=INK, markersize=3.5)
    if not rows:
        ax.text(50, 0, "no number with a prior", ha="center", va="center", fontsize="small", color=MUTED)
    ax.set_yticks(np.arange(n), [literal(short(row.path, 46)) for row in rows] or [""], fontsize="small")
    ax.set_ylim(n - 0.5, -0.5)
    ax.set_xlabel("Place within the prior interval (%)")
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    handles: list[Any] = [
        Patch(color=MUTED, alpha=0.25, linewidth=0, label="prior"),
        Patch(color=_POSTERIOR, alpha=0.75, linewidth=0, label="posterior"),
        Line2D([], [], linestyle="none", marker="o", color=INK, markersize=3.5, label="value of this run"),
    ]
    if not all(row.informed for row in rows):
        handles.append(assumed_patch("no target informs it"))
    ax.legend(handles=handles, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, frameon=False, fontsize="small")
    return figure_of(ax)


def _number(value: object) -> float:
    """Return a declared number, a time in days or a rate per day; NaN if it is none."""
    for read in (units.number, units.days, units.per_day):
        with suppress(ValueError):
            return read(value)
    return math.nan


def _place(row: CalibratedRow, value: float) -> float:
    lower, upper = row.before
    return 100.0 * min(max((value - lower) / (upper - lower), -_WIDEST), 1.0 + _WIDEST)
